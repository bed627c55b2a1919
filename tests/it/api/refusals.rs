//! What is not let in: by whom, and in what form.

use serde_json::json;

use super::bench::{Bench, NEW, SECRET};

#[tokio::test(flavor = "multi_thread")]
async fn who_may_ask_for_what() {
    let bench = Bench::new("api-access").await;
    let stranger = xks_preflight::access::Token::from_random(&[9; 32]);
    let json = [("content-type", "application/json")];
    let none = "update-00000000-0000-7000-8000-000000000000";
    let gets = ["/v1/checks", "/v1/key-stores", "/v1/updates", "/metrics"].map(str::to_owned);
    let posts = ["/v1/preflights".to_owned(), "/v1/updates".to_owned(), format!("/v1/updates/{none}/cancel")];
    for path in &gets {
        for (token, status) in
            [(None, 401), (Some(&stranger), 401), (Some(&bench.viewer), 200), (Some(&bench.operator), 200)]
        {
            assert_eq!(bench.call("GET", path, token, &[], "").await.status, status, "{path}");
        }
    }
    for path in &posts {
        for (token, statuses) in [
            (None, [401].as_slice()),
            (Some(&stranger), &[401]),
            (Some(&bench.viewer), &[403]),
            (Some(&bench.operator), &[404, 422]),
        ] {
            let answer = bench.call("POST", path, token, &json, "{}").await;
            assert!(statuses.contains(&answer.status), "{path}: {}", answer.body);
        }
    }
    for path in ["/healthz", "/readyz", "/-/healthy", "/-/ready", "/openapi.json"] {
        assert_eq!(bench.call("GET", path, None, &[], "").await.status, 200, "{path}");
    }
    let refused = bench.call("GET", "/v1/checks", None, &[], "").await;
    assert!(refused.header("www-authenticate").starts_with("Bearer"));
}

/// A request, and what must come back.
struct Case {
    method: &'static str,
    path: String,
    content_type: &'static str,
    body: String,
    status: u16,
    reason: &'static str,
}

fn post(path: &str, body: &(impl ToString + ?Sized), status: u16, reason: &'static str) -> Case {
    let body = body.to_string();
    Case { method: "POST", path: path.to_owned(), content_type: "application/json", body, status, reason }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_a_problem_document() {
    let bench = Bench::new("api-problems").await;
    let store = bench.store.clone();
    let get = |path: &str, status, reason| Case { method: "GET", ..post(path, &"", status, reason) };
    let updates = "/v1/updates";
    let cases = [
        post(updates, &"", 400, "not_json"),
        post(updates, &"{\"a\":", 400, "not_json"),
        post(updates, &"[".repeat(10_000), 400, "not_json"),
        post(updates, &"{\"a\":".repeat(10_000), 400, "not_json"),
        post(updates, &"x".repeat(70_000), 413, "body_too_large"),
        Case { content_type: "text/plain", ..post(updates, &"{}", 415, "not_json_type") },
        post(updates, &"[]", 422, "invalid_body"),
        post(updates, &"{}", 422, "invalid_body"),
        post(updates, &json!({ "CustomKeyStoreId": store, "Unknown": 1 }), 422, "invalid_body"),
        post(updates, &json!({ "CustomKeyStoreId": store, "XksProxyUriEndpoint": "http://x" }), 422, "invalid_body"),
        post(updates, &json!({ "CustomKeyStoreId": store, "options": { "force": true } }), 422, "invalid_body"),
        post(updates, &json!({ "CustomKeyStoreId": store, "options": { "refusals": true } }), 422, "invalid_body"),
        post(updates, &json!({ "CustomKeyStoreId": store }), 409, "nothing_to_change"),
        post(
            updates,
            &json!({ "CustomKeyStoreId": store, "CloudHsmClusterId": "cluster-2a23b4cdefg" }),
            422,
            "members",
        ),
        post(updates, &json!({ "CustomKeyStoreId": "cks-none", "XksProxyUriEndpoint": NEW }), 404, "no_such_key_store"),
        post(
            updates,
            &json!({ "CustomKeyStoreId": store, "XksProxyAuthenticationCredential": { "Source": "none" } }),
            422,
            "invalid_body",
        ),
        post("/v1/updates?force=1", &"{}", 422, "invalid_body"),
        post("/v1/preflights", &"{}", 422, "invalid_body"),
        post("/v1/preflights", &json!({ "CustomKeyStoreId": "cks-none" }), 404, "no_such_key_store"),
        post("/v1/checks", &"{}", 405, "method_not_allowed"),
        post("/v1/updates/update-1/cancel", &"{}", 404, "no_such_update"),
        get("/v1/updates/update-00000000-0000-7000-8000-000000000000", 404, "no_such_update"),
        get("/v1/updates/..%2f..%2fetc/events", 404, "no_such_update"),
        get("/v1/updates?limit=0", 422, "invalid_body"),
        get("/v1/key-stores/cks-none", 404, "no_such_key_store"),
        get("/v1/key-stores/%ff", 400, "malformed_request"),
        get("/v1/preflights/report-1", 404, "no_such_report"),
        get("/nowhere", 404, "no_such_path"),
    ];
    for case in cases {
        let headers = [("content-type", case.content_type)];
        let answer = bench.call(case.method, &case.path, Some(&bench.operator), &headers, &case.body).await;
        let start: String = case.body.chars().take(60).collect();
        let what = format!("{} {} {start}: {}", case.method, case.path, answer.body);
        assert_eq!(answer.status, case.status, "{what}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{what}");
        let problem = answer.json();
        assert_eq!(problem["reason"], case.reason, "{what}");
        assert_eq!(problem["status"], case.status, "{what}");
        assert_eq!(problem["type"], format!("urn:xks-preflight:problem:{}", case.reason), "{what}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{what}");
        assert!(problem["instance"].as_str().is_some_and(|path| case.path.starts_with(path)), "{what}");
    }
    assert!(bench.mutations().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_faults_of_a_body_are_told_at_once_and_no_secret_with_them() {
    let bench = Bench::new("api-faults").await;
    let body = json!({
        "CustomKeyStoreId": bench.store,
        "XksProxyUriEndpoint": "http://10.0.0.1",
        "XksProxyUriPath": 7,
        "XksProxyAuthenticationCredential": { "AccessKeyId": SECRET, "RawSecretAccessKey": format!("{SECRET}%"), "Extra": 1 },
        SECRET: 1,
    });
    let answer = bench.post("/v1/updates", &body).await;
    let problem = answer.json();
    let pointers: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    assert_eq!(
        pointers,
        [
            "/XksProxyUriEndpoint",
            "/XksProxyUriPath",
            "/XksProxyAuthenticationCredential/AccessKeyId",
            "/XksProxyAuthenticationCredential/RawSecretAccessKey",
            "/XksProxyAuthenticationCredential/Extra",
            "/(a name of 47 characters)",
        ]
    );
}
