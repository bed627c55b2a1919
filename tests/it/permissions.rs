//! A missing permission is found before an update begins, by asking IAM.

use serde_json::{Value, json};
use xks_preflight::sandbox::query::QueryFault;

use crate::api::bench::{Bench, NEW, ROLE};

const SIMULATE: &str = "SimulatePrincipalPolicy";

async fn judged(bench: &Bench, change: &Value) -> Value {
    let report = bench.post("/v1/preflights", change).await.json();
    // A warning, whatever comes of it: IAM's word is not KMS's.
    assert_eq!(report["verdict"], "ready", "{:#}", report["kms"]);
    let mut findings = report["findings"].as_array().unwrap().iter();
    findings.find(|finding| finding["check"] == "kms.permissions").unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_are_simulated_and_what_is_missing_is_named() {
    let bench = Bench::new("permissions").await;
    let cold = json!({ "CustomKeyStoreId": bench.store, "XksProxyUriEndpoint": NEW, "options": { "acknowledge_outage": true } });
    let warm = json!({ "CustomKeyStoreId": bench.store, "NewCustomKeyStoreName": "renamed" });
    let finding = judged(&bench, &cold).await;
    assert_eq!(finding["outcome"], "passed", "{finding}");
    assert!(finding["detail"].as_str().unwrap().contains(ROLE), "{finding}");
    let asked = bench.iam.history().remove(0);
    assert!(asked.parameters.iter().any(|(_, value)| value == "kms:UpdateCustomKeyStore"), "{asked:?}");

    bench.iam.decide("kms:ConnectCustomKeyStore", "explicitDeny");
    let finding = judged(&bench, &cold).await;
    assert_eq!((finding["outcome"].as_str(), finding["problem"].as_str()), (Some("failed"), Some("access_denied")));
    let detail = finding["detail"].as_str().unwrap();
    assert!(detail.contains("kms:ConnectCustomKeyStore (explicitDeny)"), "{finding}");
    assert_eq!(finding["kms"]["exception"], "AccessDeniedException", "{finding}");
    // A change in place connects nothing.
    assert_eq!(judged(&bench, &warm).await["outcome"], "passed");
    bench.iam.decide("kms:UpdateCustomKeyStore", "implicitDeny");
    assert_eq!(judged(&bench, &warm).await["outcome"], "failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_iam_that_cannot_be_asked_is_our_own_fault() {
    let bench = Bench::new("permissions-faults").await;
    let change = json!({ "CustomKeyStoreId": bench.store, "NewCustomKeyStoreName": "renamed" });
    for fault in [
        QueryFault::Denied,
        QueryFault::NotXml,
        QueryFault::Truncated,
        QueryFault::Oversized,
        QueryFault::AnotherAnswer,
        QueryFault::Unavailable,
    ] {
        bench.iam.inject(SIMULATE, fault, u32::MAX);
        let finding = judged(&bench, &change).await;
        assert_eq!(finding["outcome"], "own_fault", "{fault:?}: {finding}");
        assert!(finding["detail"].as_str().unwrap().contains("iam:SimulatePrincipalPolicy"), "{fault:?}: {finding}");
        bench.iam.clear_faults();
    }
    // What fails in passing is asked again.
    bench.iam.inject(SIMULATE, QueryFault::Throttled, 1);
    bench.iam.inject(SIMULATE, QueryFault::Dropped, 1);
    assert_eq!(judged(&bench, &change).await["outcome"], "passed");
}
