//! Samples: what a good one holds, when one is repeated, what a connection is kept for.

use super::*;
use crate::check::Trust;
use crate::key_store::ExternalKeyId;
use crate::sandbox::fault::{Fault as ProxyFault, Misbehaviour};
use crate::xks::{HealthStatus, KeyMetadata, KeyRequestMetadata, key_metadata_request};

#[tokio::test]
async fn a_good_proxy_leaves_complete_evidence() {
    let bench = Bench::new();
    let proxy = bench.proxy().await;
    let cold = bench.cold(proxy.address()).await;

    assert!(cold.sample.retry.is_none() && cold.connection.is_some());
    let attempt = cold.sample.last();
    assert!(attempt.stop.is_none(), "{attempt:?}");
    assert!([attempt.connect, attempt.tls, attempt.request].iter().all(Option::is_some));
    let exchange = attempt.exchange.as_ref().unwrap();
    assert_eq!((exchange.status, exchange.content_type.as_deref()), (200, Some("application/json")));
    assert_eq!((exchange.date, exchange.received_at), (Some(now()), now()));
    HealthStatus::parse(&exchange.body).unwrap();

    let tls = cold.tls.unwrap();
    assert_eq!(tls.version.as_deref(), Some("TLSv1.3"));
    assert_eq!(tls.cipher_suite.as_deref(), Some("TLS_AES_256_GCM_SHA384"));
    assert_eq!(tls.alpn.as_deref(), Some("http/1.1"));
    assert!(tls.handshake_complete && tls.name_matches && !tls.client_certificate_requested);
    assert_eq!(tls.chain.len(), 2);
    assert_eq!(
        (tls.chain[0].san.as_slice(), tls.chain[0].common_name.as_deref()),
        (&[HOST.to_owned()][..], Some(HOST))
    );
    assert_eq!(tls.chain[0].issuer, tls.chain[1].subject);
    assert_eq!(tls.chain[0].signature_algorithm, "ecdsa-with-SHA256");
    assert_eq!(tls.chain[0].key, crate::check::PublicKey::Ec(256));
    let Trust::Trusted { root, root_sha256, .. } = &tls.trust else { panic!("{:?}", tls.trust) };
    assert!(root.contains("Sandbox Root CA"), "{root}");
    assert_eq!(*root_sha256, certificate::sha256(bench.pki.root_der()));

    let seen = proxy.history();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].authenticated);
    assert_eq!((seen[0].host.as_deref(), seen[0].path.as_str()), (Some(HOST), "/tenant/kms/xks/v1/health"));
    assert_eq!(seen[0].kms_operation.as_deref(), Some("KmsHealthCheck"));
    assert_eq!(seen[0].kms_request_id.as_deref(), Some(exchange.request_id.as_str()));
    assert!(exchange.request_id.starts_with("xks-preflight-"));
    assert!(bench.prober.is_lab());
}

#[tokio::test]
async fn warm_samples_and_key_operations_share_one_connection() {
    let bench = Bench::new();
    let proxy = bench.proxy().await;
    let mut connection = bench.cold(proxy.address()).await.connection.unwrap();
    for _ in 0..3 {
        let warm = bench.prober.warm_sample(&target(), &mut connection, AMPLE).await;
        let attempt = warm.last();
        assert!(attempt.exchange.is_some() && attempt.connect.is_none() && attempt.tls.is_none(), "{attempt:?}");
    }
    let key = ExternalKeyId::parse("foo").unwrap();
    let body = key_metadata_request(&KeyRequestMetadata {
        aws_principal_arn: "arn:aws:iam::123456789012:user/Alice".to_owned(),
        kms_key_arn: None,
        kms_operation: "DescribeKey".to_owned(),
        kms_request_id: "r-17".to_owned(),
    });
    let operation = XksOperation::GetKeyMetadata(&key);
    let exchange = bench.prober.exchange(&target(), &mut connection, operation, body, AMPLE).await.unwrap();
    assert_eq!((exchange.status, exchange.request_id.as_str()), (200, "r-17"));
    KeyMetadata::parse(&exchange.body).unwrap();

    let seen = proxy.history();
    assert_eq!(seen.len(), 5);
    assert!(seen.iter().all(|request| request.authenticated && request.connection == 1));
}

#[tokio::test]
async fn samples_can_be_taken_by_spawned_tasks() {
    let bench = Bench::new();
    let proxy = bench.proxy().await;
    let (prober, address) = (Arc::new(bench.prober), proxy.address());
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let prober = Arc::clone(&prober);
            tokio::spawn(async move {
                let mut cold = prober.cold_sample(&target(), Destination::of_a_test(address), AMPLE).await;
                prober.warm_sample(&target(), cold.connection.as_mut().unwrap(), AMPLE).await
            })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap().last().exchange.is_some());
    }
    assert_eq!(proxy.history().len(), 16);
}

#[tokio::test]
async fn only_a_network_time_out_is_repeated_and_on_a_fresh_connection() {
    let bench = Bench::new();
    let proxy = bench.proxy().await;
    proxy.set_faults([Misbehaviour::always(ProxyFault::StallAfterRequest).for_first(1)]).await;
    let cold =
        bench.prober.cold_sample(&target(), Destination::of_a_test(proxy.address()), Duration::from_secs(2)).await;
    let first = cold.sample.first.stop.as_ref().unwrap();
    assert_eq!((first.stage, first.problem.kind), (Stage::Http, ProblemKind::TimedOut));
    assert!(cold.sample.last().exchange.is_some());
    let connections: Vec<u64> = proxy.history().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [1, 2]);

    for fault in [ProxyFault::CloseWithoutAnswer, ProxyFault::InternalException, ProxyFault::CertificateExpired] {
        proxy.set_fault(fault).await;
        let before = proxy.accepted_connections();
        assert!(bench.cold(proxy.address()).await.sample.retry.is_none());
        assert_eq!(proxy.accepted_connections(), before + 1, "{fault}");
    }
}

#[tokio::test]
async fn patience_tells_slow_from_dead_without_a_retry() {
    let bench = Bench::new();
    let proxy = bench.proxy().await;
    proxy.set_fault(ProxyFault::SlowAnswer).await;
    let patient = bench.prober.patient_sample(&target(), Destination::of_a_test(proxy.address()), AMPLE).await;
    assert_eq!(patient.kind, SampleKind::Patient);
    assert!(patient.last().exchange.is_some() && patient.retry.is_none());
    assert!(patient.last().request.unwrap() >= Duration::from_millis(600));
}

#[tokio::test]
async fn a_connection_that_the_server_closes_is_not_kept() {
    let bench = Bench::new();
    let proxy = bench.proxy().await;
    proxy.set_fault(ProxyFault::ConnectionCloseAfterEach).await;
    let cold = bench.cold(proxy.address()).await;
    assert!(cold.sample.last().exchange.is_some());
    assert!(cold.connection.is_none());
}

#[tokio::test]
async fn a_connection_that_broke_says_so_and_sends_nothing_more() {
    let bench = Bench::new();
    let proxy = bench.proxy().await;
    let mut connection = bench.cold(proxy.address()).await.connection.unwrap();
    proxy.set_fault(ProxyFault::CloseWithoutAnswer).await;
    for expected_requests in [2, 2] {
        let warm = bench.prober.warm_sample(&target(), &mut connection, AMPLE).await;
        let stop = warm.last().stop.as_ref().unwrap();
        assert_eq!((stop.stage, stop.problem.kind), (Stage::Http, ProblemKind::Closed), "{stop:?}");
        assert_eq!(proxy.history().len(), expected_requests);
    }
}

#[tokio::test]
async fn a_kept_connection_whose_proxy_went_away_is_closed() {
    let bench = Bench::new();
    let proxy = bench.proxy().await;
    let mut connection = bench.cold(proxy.address()).await.connection.unwrap();
    proxy.shutdown().await;
    let warm = bench.prober.warm_sample(&target(), &mut connection, AMPLE).await;
    let stop = warm.last().stop.as_ref().unwrap();
    assert_eq!(stop.stage, Stage::Http);
    assert!(matches!(stop.problem.kind, ProblemKind::Closed | ProblemKind::Reset), "{stop:?}");
}

#[tokio::test]
async fn refusals_are_complete_answers() {
    let bench = Bench::new();
    let proxy = bench.proxy().await;
    for (fault, status) in [
        (ProxyFault::AuthenticationFailedException, 401),
        (ProxyFault::Html502, 502),
        (ProxyFault::Redirect302, 302),
        (ProxyFault::EmptyBody, 200),
    ] {
        proxy.set_fault(fault).await;
        let cold = bench.cold(proxy.address()).await;
        let exchange = cold.sample.last().exchange.as_ref().unwrap();
        assert_eq!(exchange.status, status, "{fault}");
        assert_eq!(exchange.location.is_some(), fault == ProxyFault::Redirect302);
    }
}

#[tokio::test]
async fn nothing_shows_the_secret_or_the_signature() {
    let bench = Bench::new();
    let proxy = bench.proxy().await;
    let cold = bench.cold(proxy.address()).await;
    let shown = format!("{:?} {:?} {cold:?}", bench.prober, target());
    assert!(!shown.contains("DoNotLeak") && !shown.contains("AWS4-HMAC-SHA256"), "{shown}");
}
