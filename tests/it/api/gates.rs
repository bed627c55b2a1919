//! Gates for tools that roll out proxies: a status, or one of three values.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use xks_preflight::access::Token;
use xks_preflight::sandbox::fault::Fault;

use super::bench::{ADMIN, Answer, Bench, ELSEWHERE, HERE, NEW, PATH, PROBER, SECRET, token};

const STATUS: &str = "/v1/gates/status";
const ANALYSIS: &str = "/v1/gates/analysis";

async fn ask(bench: &Bench, who: &Token, path: &str, body: &Value) -> Answer {
    bench.call("POST", path, Some(who), &[("content-type", "application/json")], &body.to_string()).await
}

fn candidate() -> Value {
    json!({ "XksProxyUriEndpoint": NEW, "XksProxyUriPath": PATH, "CredentialSource": "main" })
}

/// As Flagger sends it (its CanaryWebhookPayload), with members of a later version.
fn flagger(metadata: &Value) -> Value {
    json!({ "name": "xks-proxy", "namespace": "xks", "phase": "Progressing", "checksum": "85d557f47b",
            "failedChecks": 0, "metadata": metadata })
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_ready_passes() {
    let bench = Bench::new("api-gates").await;
    let prober = token(PROBER);
    let of_the_store = json!({ "CustomKeyStoreId": bench.store, "XksProxyUriEndpoint": NEW });
    let present = json!({ "CustomKeyStoreId": bench.store });
    for body in [candidate(), of_the_store.clone(), present, flagger(&candidate())] {
        let answer = ask(&bench, &prober, STATUS, &body).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, "text/plain; charset=utf-8"),
            "{}",
            answer.body
        );
        assert!(answer.body.starts_with("ready: KMS would accept these settings"), "{}", answer.body);
        let analysis = ask(&bench, &prober, ANALYSIS, &body).await.json();
        assert_eq!((&analysis["result"], &analysis["check"]), (&json!("pass"), &json!(null)), "{analysis}");
        let kept = bench.get(&format!("/v1/preflights/{}", analysis["report"].as_str().unwrap())).await.json();
        assert_eq!(kept["verdict"], "ready");
    }

    bench.candidate.set_fault(Fault::CertificateExpired).await;
    for body in [candidate(), of_the_store, flagger(&candidate())] {
        let answer = ask(&bench, &prober, STATUS, &body).await;
        assert_eq!((answer.status, &answer.json()["reason"]), (412, &json!("gate_blocked")), "{}", answer.body);
        assert!(answer.json()["detail"].as_str().unwrap().contains("tls.validity"), "{}", answer.body);
        let analysis = ask(&bench, &prober, ANALYSIS, &body).await.json();
        assert_eq!((&analysis["result"], &analysis["check"]), (&json!("fail"), &json!("tls.validity")), "{analysis}");
        assert_eq!(analysis["exception"], "XksProxyUriUnreachableException");
    }

    // Only KMS has the certificate that this proxy asks for: nothing can be told from here.
    bench.candidate.set_fault(Fault::ClientCertificateRequired).await;
    let untold = candidate();
    let answer = ask(&bench, &prober, STATUS, &flagger(&untold)).await;
    assert_eq!((answer.status, &answer.json()["reason"]), (424, &json!("gate_inconclusive")), "{}", answer.body);
    let analysis = ask(&bench, &prober, ANALYSIS, &untold).await.json();
    assert_eq!(analysis["result"], "inconclusive", "{analysis}");
    assert!(analysis["check"].is_string(), "{analysis}");
    assert!(bench.mutations().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_understood_or_not_allowed_does_not_pass() {
    let bench = Bench::new("api-gates-refused").await;
    let prober = token(PROBER);
    let with = |name: &str, value: Value| {
        let mut body = candidate();
        body[name] = value;
        body
    };
    for (body, pointer) in [
        (json!({}), "/XksProxyUriEndpoint"),
        (with("XksProxyUriPath", json!(1)), "/XksProxyUriPath"),
        (with("RawSecretAccessKey", json!(SECRET)), "/(another)"),
        (with("XksProxyAuthenticationCredential", json!({ "Source": "main" })), "/(another)"),
        (flagger(&with("force", json!("true"))), "/metadata/(another)"),
        (flagger(&json!("x")), "/metadata"),
        (json!({ "CustomKeyStoreId": "cks/1" }), "/CustomKeyStoreId"),
    ] {
        for path in [STATUS, ANALYSIS] {
            let answer = ask(&bench, &prober, path, &body).await;
            assert_eq!((answer.status, &answer.json()["reason"]), (422, &json!("invalid_body")), "{}", answer.body);
            assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{}", answer.body);
        }
    }
    let of_the_store = json!({ "CustomKeyStoreId": bench.store, "XksProxyUriEndpoint": NEW });
    for path in [STATUS, ANALYSIS] {
        assert_eq!(ask(&bench, &bench.viewer, path, &candidate()).await.status, 403);
        assert_eq!(ask(&bench, &token(ELSEWHERE), path, &of_the_store).await.status, 403);
        // A candidate that belongs to no key store is for those who have to do with all of them.
        assert_eq!(ask(&bench, &token(HERE), path, &candidate()).await.status, 403);
        assert_eq!(ask(&bench, &token(HERE), path, &of_the_store).await.status, 200);
        assert_eq!(bench.call("POST", path, None, &[], "{}").await.status, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_url_opens_gates_and_nothing_else() {
    let bench = Bench::new("api-gates-password").await;
    // What Go's client makes of https://:TOKEN@HOST.
    let basic = |place: u8| format!("Basic {}", STANDARD.encode(format!(":{}", token(place).expose())));
    for (place, path, body, status) in [
        (PROBER, STATUS, candidate(), 200),
        (PROBER, ANALYSIS, candidate(), 200),
        (ADMIN, "/v1/preflights", json!({ "CustomKeyStoreId": bench.store }), 401),
        (ADMIN, "/v1/updates", json!({ "CustomKeyStoreId": bench.store, "XksProxyUriEndpoint": NEW }), 401),
        (ADMIN, "/v1/freeze", json!({ "reason": "x" }), 401),
        (99, STATUS, candidate(), 401),
    ] {
        let headers = [("content-type", "application/json"), ("authorization", &basic(place))];
        let answer = bench.call("POST", path, None, &headers, &body.to_string()).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
    }
    assert!(bench.mutations().is_empty());
}
