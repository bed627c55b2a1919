//! Who may do what: roles, scopes, and what a refusal says.

use serde_json::{Value, json};
use xks_preflight::access::Token;
use xks_preflight::sandbox::kms::{KmsFault, Operation};

use super::bench::{ADMIN, APPROVER, BOTH, Bench, ELSEWHERE, EXPIRED, HERE, KEY_ID, NEW, PROBER, SECRET, token};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

impl Bench {
    async fn told(&self, method: &str, path: &str, place: u8, body: &Value) -> (u16, String) {
        let body = if method == "GET" { String::new() } else { body.to_string() };
        let answer = self.call(method, path, Some(&token(place)), &JSON, &body).await;
        if answer.status >= 400 {
            assert_eq!(answer.header("content-type"), "application/problem+json", "{method} {path}: {}", answer.body);
            assert_eq!(answer.json()["status"], answer.status);
        }
        (answer.status, answer.body)
    }
}

/// However it ended: a busy machine answers too late for KMS, and this is not about that.
fn ended(status: &Value) -> bool {
    ["verified", "blocked", "rolled_back", "refused", "abandoned"].iter().any(|word| status == word)
}

/// Every operation that the description names.
fn operations() -> Vec<(String, String)> {
    let document = serde_json::to_value(xks_preflight::api::document()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let each = paths.iter().flat_map(|(path, item)| {
        let methods =
            item.as_object().unwrap().keys().filter(|key| ["get", "post", "put", "delete"].contains(&key.as_str()));
        methods.map(|method| (method.to_uppercase(), path.clone()))
    });
    each.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_may_do_what_its_permissions_say() {
    let bench = Bench::new("access-roles").await;
    let none = "update-00000000-0000-7000-8000-000000000000";
    let nothing = json!({});
    // What comes of it when the caller may: the body has faults, or there is no such update.
    for (method, path, allowed) in [
        ("GET", "/v1/checks".to_owned(), vec![1, 2, PROBER, APPROVER, ADMIN, ELSEWHERE, HERE, BOTH]),
        ("GET", "/v1/updates".to_owned(), vec![1, 2, PROBER, APPROVER, ADMIN, ELSEWHERE, HERE, BOTH]),
        ("GET", format!("/v1/key-stores/{}", bench.store), vec![1, 2, PROBER, APPROVER, ADMIN, HERE, BOTH]),
        ("GET", "/metrics".to_owned(), vec![1, 2, PROBER, APPROVER, ADMIN]),
        ("POST", "/v1/preflights".to_owned(), vec![2, PROBER, APPROVER, ADMIN, ELSEWHERE, HERE, BOTH]),
        ("POST", "/v1/gates/status".to_owned(), vec![2, PROBER, APPROVER, ADMIN, ELSEWHERE, HERE, BOTH]),
        ("POST", "/v1/gates/analysis".to_owned(), vec![2, PROBER, APPROVER, ADMIN, ELSEWHERE, HERE, BOTH]),
        ("POST", "/v1/updates".to_owned(), vec![2, ADMIN, ELSEWHERE, HERE, BOTH]),
        ("POST", format!("/v1/updates/{none}/cancel"), vec![2, ADMIN, ELSEWHERE, HERE, BOTH]),
        ("POST", format!("/v1/updates/{none}/removed"), vec![2, ADMIN, ELSEWHERE, HERE, BOTH]),
        ("POST", format!("/v1/updates/{none}/rollback"), vec![2, ADMIN, ELSEWHERE, HERE, BOTH]),
    ] {
        for place in [1, 2, PROBER, APPROVER, ADMIN, ELSEWHERE, HERE, BOTH] {
            let (status, body) = bench.told(method, &path, place, &nothing).await;
            let wanted = if allowed.contains(&place) { [200, 404, 422].as_slice() } else { &[403] };
            assert!(wanted.contains(&status), "{method} {path} as {place}: {status} {body}");
        }
        assert_eq!(bench.told(method, &path, EXPIRED, &nothing).await.0, 401, "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_operation_is_open_to_strangers() {
    let bench = Bench::new("access-strangers").await;
    let operations = operations();
    assert!(operations.len() >= 13, "{operations:?}");
    let known = token(1);
    let truncated = &known.expose()[..known.expose().len() - 1];
    let lower = known.expose().to_lowercase();
    let authorizations = ["", "Bearer", "Bearer ", "Basic eDp5", "Bearer xkspf_", "Bearer a.b.c", &"x".repeat(8_000)]
        .map(str::to_owned)
        .into_iter()
        .chain([truncated, &lower, &format!("{}x", known.expose())].map(|token| format!("Bearer {token}")))
        .chain([format!("bearer {}", Token::from_random(&[99; 32]).expose()), format!("Token {}", known.expose())]);
    let mut told = std::collections::BTreeSet::new();
    for authorization in authorizations {
        for (method, path) in &operations {
            let headers = [JSON[0], ("authorization", authorization.as_str())];
            let answer = bench.call(method, path, None, &headers, "{}").await;
            assert_eq!(answer.status, 401, "{method} {path} {authorization}: {}", answer.body);
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{method} {path}");
            let mut document = answer.json();
            document.as_object_mut().unwrap().remove("instance");
            told.insert(document.to_string());
        }
    }
    // Whatever is wrong with a token that nobody has, the answer is the same.
    assert_eq!(told.len(), 1, "{told:#?}");
    let expired = bench.call("GET", "/v1/checks", Some(&token(EXPIRED)), &[], "").await;
    assert_eq!((expired.status, expired.json()["reason"].as_str()), (401, Some("expired_token")));
    let count = |reason: &str| {
        let line = format!("xks_preflight_gate_denials_total{{reason=\"{reason}\"}} ");
        move |metrics: &str| -> u64 {
            metrics.lines().find_map(|one| one.strip_prefix(&line)).unwrap().parse().unwrap()
        }
    };
    let metrics = bench.get("/metrics").await.body;
    assert_eq!(count("expired_token")(&metrics), 1);
    assert!(count("unauthenticated")(&metrics) >= 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_of_key_stores_out_of_scope_and_nothing_done_to_them() {
    let bench = Bench::new("access-scopes").await;
    let store = bench.store.clone();
    let change = json!({ "CustomKeyStoreId": store, "XksProxyUriEndpoint": NEW });
    let mut agreed = change.clone();
    agreed["options"] = json!({ "acknowledge_outage": true });
    let made = bench.post("/v1/updates", &agreed).await;
    assert_eq!(made.status, 202, "{}", made.body);
    let update = made.json()["id"].as_str().unwrap().to_owned();
    let ended = bench.until(&format!("/v1/updates/{update}"), |answer| ended(&answer.json()["status"])).await;
    let report = ended.json()["report"].as_str().unwrap().to_owned();
    let mutations = bench.mutations().len();
    let mut asked = 0;
    for (method, path) in operations() {
        let id = match path.split('/').nth(2) {
            Some("key-stores") => &store,
            Some("preflights") => &report,
            _ => &update,
        };
        let path = path.replace("{id}", id);
        let asked_for = match path.as_str() {
            "/v1/freeze" => json!({ "key_store": store, "reason": "forged" }),
            _ => change.clone(),
        };
        let (status, body) = bench.told(&method, &path, ELSEWHERE, &asked_for).await;
        // The path is the caller's own word, and so is the id that the refusal names.
        let mut told: Value = serde_json::from_str(&body).unwrap_or(json!(body));
        if status == 403 || status == 404 {
            assert!(
                ["forbidden", "no_such_update", "no_such_report"].contains(&told["reason"].as_str().unwrap()),
                "{body}"
            );
            told = json!("");
        } else if path == "/v1/freeze" && method != "GET" {
            assert_eq!((status, told["reason"].as_str()), (422, Some("invalid_body")), "{body}");
        } else {
            assert_eq!((method.as_str(), status), ("GET", 200), "{method} {path}: {body}");
        }
        let told = told.to_string();
        assert!(
            !told.contains(&store) && !told.contains(&update) && !told.contains("current.example"),
            "{path}: {told}"
        );
        asked += 1;
    }
    assert!(asked >= 13);
    assert_eq!(bench.mutations().len(), mutations);
    let count = bench.get("/v1/updates").await.json()["updates"].as_array().unwrap().len();
    assert_eq!(count, 1);

    // Who may see it and may not change it is told so, with what is missing.
    for path in [format!("/v1/updates/{update}/rollback"), format!("/v1/updates/{update}/cancel")] {
        let (status, body) = bench.told("POST", &path, BOTH, &json!({})).await;
        let detail = format!(
            "both lacks the permission change on key store {store}; it is viewer of store; operator of cks-elsewhere*, other-*"
        );
        let document: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (status, document["reason"].as_str(), document["detail"].as_str()),
            (403, Some("forbidden"), Some(&*detail))
        );
        // Who may change it hears of the update itself.
        assert_eq!(bench.told("POST", &path, HERE, &json!({})).await.0, 409);
    }
    for place in [HERE, BOTH] {
        assert!(bench.told("GET", "/v1/key-stores", place, &json!({})).await.1.contains(&store));
        assert!(bench.told("GET", "/v1/updates", place, &json!({})).await.1.contains(&update));
        assert_eq!(bench.told("GET", &format!("/v1/preflights/{report}"), place, &json!({})).await.0, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_holds_for_new_names_and_for_free_candidates() {
    let bench = Bench::new("access-names").await;
    let store = bench.store.clone();
    for (path, body, status) in [
        // Out of the own scope, and within it.
        ("/v1/updates", json!({ "CustomKeyStoreId": store, "NewCustomKeyStoreName": "other-1" }), 403),
        ("/v1/preflights", json!({ "CustomKeyStoreId": store, "NewCustomKeyStoreName": "other-1" }), 403),
        ("/v1/preflights", json!({ "CustomKeyStoreId": store, "NewCustomKeyStoreName": "storage" }), 200),
        // The credential is that of this very key store.
        (
            "/v1/preflights",
            json!({ "CustomKeyStoreId": store, "XksProxyUriEndpoint": NEW, "XksProxyAuthenticationCredential": { "Source": "main" } }),
            200,
        ),
        // A candidate of no key store.
        (
            "/v1/preflights",
            json!({ "XksProxyUriEndpoint": NEW, "XksProxyUriPath": "/kms/xks/v1",
                    "XksProxyAuthenticationCredential": { "AccessKeyId": KEY_ID, "RawSecretAccessKey": SECRET } }),
            403,
        ),
    ] {
        let (got, told) = bench.told("POST", path, HERE, &body).await;
        assert_eq!(got, status, "{path} {body}: {told}");
    }
    let free = json!({ "XksProxyUriEndpoint": NEW, "XksProxyUriPath": "/kms/xks/v1",
        "XksProxyAuthenticationCredential": { "AccessKeyId": KEY_ID, "RawSecretAccessKey": SECRET } });
    let (status, told) = bench.told("POST", "/v1/preflights", PROBER, &free).await;
    assert_eq!(status, 200, "{told}");
    // What was found there is nobody's who has to do with some key stores only.
    let report = serde_json::from_str::<Value>(&told).unwrap()["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/preflights/{report}");
    assert_eq!(bench.told("GET", &path, HERE, &json!({})).await.0, 404);
    assert_eq!(bench.told("GET", &path, 1, &json!({})).await.0, 200);
    assert_eq!(bench.mutations(), Vec::<&str>::new());
    // Somebody else's key store is not even planned for, and its credential is not lent.
    let elsewhere = json!({ "CustomKeyStoreId": "cks-elsewhere1", "XksProxyUriEndpoint": NEW,
        "XksProxyAuthenticationCredential": { "Source": "main" } });
    let (status, told) = bench.told("POST", "/v1/updates", ELSEWHERE, &elsewhere).await;
    assert_eq!(status, 403, "{told}");
    assert!(told.contains("on key store"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn places_are_told_to_whoever_sees_a_key_store_there() {
    let bench = Bench::new("access-places").await;
    let told = async |place| bench.call("GET", "/v1/key-stores", Some(&token(place)), &[], "").await.json();
    for (place, seen) in [(1, 1), (HERE, 1), (ELSEWHERE, 0)] {
        let answer = told(place).await;
        assert_eq!(answer["places"].as_array().unwrap().len(), seen, "{answer}");
    }
    // Why KMS cannot be read may tell of an account: whoever is for some key stores gets no summary.
    bench.kms.inject(Operation::DescribeCustomKeyStores, KmsFault::Throttling, 1_000);
    bench.until("/v1/key-stores", |answer| answer.json()["describe_failure"].is_string()).await;
    for place in [HERE, ELSEWHERE] {
        assert!(told(place).await["describe_failure"].is_null());
    }
}
