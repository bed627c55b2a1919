//! Load through the API: whom the operator allows, one at a time, and no longer than a request.

use serde_json::{Value, json};
use xks_preflight::sandbox::proxy::SeenRequest;

use super::bench::{BOUND, Bench, KEY_ID, NEW, OLD, PATH, SECRET};
use xks_preflight::api::Bounds;

fn with_load(endpoint: &str, capacity: &Value) -> Value {
    json!({
        "XksProxyUriEndpoint": endpoint,
        "XksProxyUriPath": PATH,
        "XksProxyAuthenticationCredential": { "AccessKeyId": KEY_ID, "RawSecretAccessKey": SECRET },
        "options": { "capacity": capacity },
    })
}

fn fault(answer: &super::bench::Answer) -> (u16, String) {
    let json = answer.json();
    (answer.status, json["errors"][0]["pointer"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn load_is_put_on_allowed_proxies_one_at_a_time() {
    let bounds = Bounds { body: 64 * 1024, request: 2 * BOUND, requests: 32, streams: 4 };
    let bench = Bench::with_bounds("api-capacity", bounds).await;
    let report = bench.post("/v1/preflights", &with_load(NEW, &json!({ "rate": 100, "seconds": 1 }))).await.json();
    let load = &report["capacity"];
    assert_eq!((&load["requests"], &load["outcomes"]["answered"]), (&100.into(), &100.into()), "{report:#}");
    assert_eq!(report["verdict"], "ready");

    let refused = bench.post("/v1/preflights", &with_load(OLD, &json!({ "rate": 100, "seconds": 1 }))).await;
    assert_eq!(fault(&refused), (422, "/options/capacity".to_owned()), "{}", refused.body);
    assert!(refused.body.contains("preflight.capacity_allow"), "{}", refused.body);
    // The monitor asks, too, as KMS's own health checks do, and tries the test key.
    let seen = bench.current.history();
    let by_monitor = |request: &SeenRequest| {
        request.external_key_id.is_some() || request.kms_operation.as_deref() == Some("KmsHealthCheck")
    };
    let asked = seen.iter().filter(|request| !by_monitor(request)).count();
    assert_eq!(asked, 0, "nothing is sent to a proxy that may not be loaded");

    let seen = bench.candidate.history().len();
    let load = with_load(NEW, &json!({ "rate": 50, "seconds": 5 }));
    let (first, second) = tokio::join!(bench.post("/v1/preflights", &load), async {
        // The first is under way once it has asked more than a pre-flight does.
        let under_way = async {
            while bench.candidate.history().len() < seen + 20 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(BOUND, under_way).await.unwrap();
        bench.post("/v1/preflights", &load).await
    });
    assert_eq!((first.status, second.status), (200, 429), "{}", second.body);
    assert_eq!((&second.json()["reason"], second.header("retry-after")), (&"load_under_way".into(), "10"));
}

#[tokio::test(flavor = "multi_thread")]
async fn load_beyond_its_bounds_is_refused() {
    let bench = Bench::new("api-capacity-bounds").await;
    for (capacity, pointer) in [
        (json!({ "rate": 0, "seconds": 10 }), "/options/capacity"),
        (json!({ "rate": 2001, "seconds": 10 }), "/options/capacity"),
        (json!({ "rate": 10, "seconds": 301 }), "/options/capacity"),
        (json!({ "rate": 2000, "seconds": 300 }), "/options/capacity"),
        (json!({ "rate": 10, "seconds": 60 }), "/options/capacity/seconds"),
        (json!({ "rate": "fast", "seconds": 1 }), "/options/capacity/rate"),
        (json!({ "rate": 10 }), "/options/capacity/seconds"),
        (json!({ "rate": 10, "seconds": 1, "forever": true }), "/options/capacity/forever"),
        (json!(true), "/options/capacity"),
    ] {
        let answer = bench.post("/v1/preflights", &with_load(NEW, &capacity)).await;
        assert_eq!(fault(&answer), (422, pointer.to_owned()), "{capacity}: {}", answer.body);
    }
    let update = json!({ "CustomKeyStoreId": bench.store, "XksProxyUriEndpoint": NEW,
        "options": { "dry_run": true, "capacity": { "rate": 10, "seconds": 1 } } });
    let answer = bench.post("/v1/updates", &update).await;
    assert_eq!(fault(&answer), (422, "/options/capacity".to_owned()), "{}", answer.body);
    assert!(bench.candidate.history().is_empty());
}
