//! A client certificate that nobody vouches for, and servers that say with a page what they lack.

use super::*;
use crate::check::StrangerTrial;

async fn with_faults(bench: &Bench, faults: &[&str]) -> SandboxProxy {
    let proxy = bench.proxy().await;
    proxy.set_faults(faults.iter().map(|fault| fault.parse().unwrap())).await;
    proxy
}

#[tokio::test]
async fn only_a_proxy_that_verifies_nothing_accepts_a_stranger() {
    let bench = Bench::new();
    for (faults, expected) in [
        (&["client-certificate-unverified"][..], StrangerTrial::Accepted),
        // Even an answer that refuses the request is the proxy's own: the certificate let it through.
        (&["client-certificate-unverified", "throttling-exception"], StrangerTrial::Accepted),
        (&["client-certificate-required"], StrangerTrial::Refused),
        (&["client-certificate-required-tls12"], StrangerTrial::Refused),
        (&["client-certificate-requested"], StrangerTrial::Refused),
        // A front that refuses with a page.
        (&["client-certificate-unverified", "html-400"], StrangerTrial::Refused),
    ] {
        let proxy = with_faults(&bench, faults).await;
        let trial = bench.prober.try_stranger(&target(), Destination::of_a_test(proxy.address()), AMPLE).await;
        assert_eq!(trial, expected, "{faults:?}");
    }
}

#[tokio::test]
async fn no_request_goes_to_a_server_that_is_not_authenticated() {
    let bench = Bench::new();
    let proxy = with_faults(&bench, &["client-certificate-unverified", "certificate-expired"]).await;
    let trial = bench.prober.try_stranger(&target(), Destination::of_a_test(proxy.address()), AMPLE).await;
    assert!(matches!(&trial, StrangerTrial::Untold(problem) if problem.kind == ProblemKind::Expired), "{trial:?}");
    assert!(proxy.history().is_empty());
}

#[tokio::test]
async fn a_page_for_lack_of_a_client_certificate_is_no_answer_of_the_proxy() {
    let bench = Bench::new();
    let lacking = with_faults(&bench, &["client-certificate-requested", "html-400"]).await;
    let cold = bench.cold(lacking.address()).await;
    assert_eq!(stop_of(&cold), Some((Stage::Tls, ProblemKind::ClientCertificate)), "{}", detail_of(&cold));
    // Without a demand, a page is a page; and the proxy's own refusal in JSON stays one.
    let plain = with_faults(&bench, &["html-400"]).await;
    assert_eq!(stop_of(&bench.cold(plain.address()).await), None);
    let own = with_faults(&bench, &["client-certificate-requested", "validation-exception"]).await;
    assert_eq!(stop_of(&bench.cold(own.address()).await), None);
}
