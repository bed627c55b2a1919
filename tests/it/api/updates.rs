//! Updates from the request to their ending, seen from the API and from KMS.

use serde_json::{Value, json};

use super::bench::{Bench, KEY_ID, NEW, NEW_SECRET};

/// The update's events by name, from its stream, which ends with it.
async fn followed(bench: &Bench, id: &str) -> Vec<String> {
    let stream = bench.get(&format!("/v1/updates/{id}/events")).await;
    assert_eq!(stream.header("content-type"), "text/event-stream");
    stream.body.lines().filter_map(|line| line.strip_prefix("event: ")).map(str::to_owned).collect()
}

async fn submitted(bench: &Bench, body: &Value) -> String {
    let answer = bench.post("/v1/updates", body).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("location"), format!("/v1/updates/{id}"));
    id
}

fn cold(bench: &Bench) -> Value {
    json!({
        "CustomKeyStoreId": bench.store,
        "XksProxyUriEndpoint": NEW,
        "options": { "acknowledge_outage": true },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_update_ends_verified_with_exactly_three_mutations() {
    let bench = Bench::new("api-cold").await;
    let id = submitted(&bench, &cold(&bench)).await;
    let events = followed(&bench, &id).await;
    assert_eq!(events.first().map(String::as_str), Some("planned"));
    assert_eq!(events.last().map(String::as_str), Some("concluded"));
    let update = bench.get(&format!("/v1/updates/{id}")).await.json();
    assert_eq!(update["status"], "verified", "{update}");
    assert_eq!(update["plan"]["waivers"][0]["owner"], "ann", "{update}");
    assert_eq!(bench.mutations(), ["DisconnectCustomKeyStore", "UpdateCustomKeyStore", "ConnectCustomKeyStore"]);
    let report = bench.get(&format!("/v1/preflights/{}", update["report"].as_str().unwrap())).await.json();
    assert_eq!((&report["verdict"], &report["schema"]), (&json!("ready"), &json!("xks-preflight/report/1")));
    let list = bench.get("/v1/updates?limit=5").await.json();
    assert_eq!(list["updates"][0]["id"], json!(id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_update_touches_kms_once() {
    let bench = Bench::new("api-hot").await;
    for proxy in [&bench.current, &bench.candidate] {
        proxy.add_credential("AKIAI3SFODNN7EXAMPLE", NEW_SECRET.to_owned());
    }
    let credential = json!({ "AccessKeyId": "AKIAI3SFODNN7EXAMPLE", "RawSecretAccessKey": NEW_SECRET });
    let body = json!({ "CustomKeyStoreId": bench.store, "XksProxyAuthenticationCredential": credential });
    let id = submitted(&bench, &body).await;
    followed(&bench, &id).await;
    let update = bench.get(&format!("/v1/updates/{id}")).await.json();
    assert_eq!(update["status"], "verified", "{update}");
    assert_eq!(bench.mutations(), ["UpdateCustomKeyStore"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_update_changes_nothing_and_names_the_exception() {
    let bench = Bench::new("api-blocked").await;
    bench.candidate.set_fault(xks_preflight::sandbox::fault::Fault::CertificateExpired).await;
    let id = submitted(&bench, &cold(&bench)).await;
    followed(&bench, &id).await;
    let update = bench.get(&format!("/v1/updates/{id}")).await.json();
    assert_eq!(update["status"], "blocked", "{update}");
    assert_eq!(update["exception"], "XksProxyUriUnreachableException", "{update}");
    assert!(bench.mutations().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_records_nothing() {
    let bench = Bench::new("api-dry").await;
    for body in [
        json!({ "CustomKeyStoreId": bench.store, "XksProxyUriEndpoint": NEW, "dry_run": true }),
        json!({ "CustomKeyStoreId": bench.store, "XksProxyUriEndpoint": NEW, "options": { "dry_run": true } }),
    ] {
        let answer = bench.post("/v1/updates", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let answer = answer.json();
        assert_eq!(answer["plan"]["steps"], json!(["disconnect", "update", "connect"]));
        assert_eq!(answer["plan"]["change"], json!({ "XksProxyUriEndpoint": NEW }));
        assert!(answer["report"]["findings"].is_array());
    }
    assert_eq!(bench.get("/v1/updates").await.json()["updates"], json!([]));
    assert!(bench.mutations().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_finds_its_update() {
    let bench = Bench::new("api-idempotent").await;
    let headers = [("content-type", "application/json"), ("idempotency-key", "change-4711")];
    let send = |body: Value| {
        let (bench, text) = (&bench, body.to_string());
        async move { bench.call("POST", "/v1/updates", Some(&bench.operator), &headers, &text).await }
    };
    let first = send(cold(&bench)).await;
    let id = first.json()["id"].as_str().unwrap().to_owned();
    followed(&bench, &id).await;
    let again = send(cold(&bench)).await;
    assert_eq!((first.status, again.status, again.json()["id"].as_str()), (202, 200, Some(id.as_str())));
    let other = send(json!({ "CustomKeyStoreId": bench.store, "NewCustomKeyStoreName": "other" })).await;
    assert_eq!((other.status, &other.json()["reason"]), (409, &json!("idempotency_key_reused")));
    assert_eq!(bench.mutations().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_after_the_last_event_that_was_seen() {
    let bench = Bench::new("api-stream").await;
    let id = submitted(&bench, &cold(&bench)).await;
    let all = followed(&bench, &id).await;
    let path = format!("/v1/updates/{id}/events");
    let rest = bench.call("GET", &path, Some(&bench.viewer), &[("last-event-id", "3")], "").await;
    let ids: Vec<&str> = rest.body.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(ids.first(), Some(&"4"));
    assert_eq!(ids.len(), all.len() - 3);
    let garbled = bench.call("GET", &path, Some(&bench.viewer), &[("last-event-id", "x")], "").await;
    assert_eq!(garbled.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_must_be_acknowledged() {
    let bench = Bench::new("api-outage").await;
    let answer =
        bench.post("/v1/updates", &json!({ "CustomKeyStoreId": bench.store, "XksProxyUriEndpoint": NEW })).await;
    assert_eq!((answer.status, &answer.json()["reason"]), (422, &json!("outage_not_acknowledged")));
    assert_eq!(bench.get("/v1/updates").await.json()["updates"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_file_is_taken_as_it_is() {
    let bench = Bench::new("api-console").await;
    let credential = json!({ "AccessKeyId": KEY_ID, "RawSecretAccessKey": super::bench::SECRET });
    let file = json!({ "XksProxyUriPath": super::bench::PATH, "XksProxyAuthenticationCredential": credential });
    let id = {
        let answer = bench.post(&format!("/v1/updates?CustomKeyStoreId={}", bench.store), &file).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        answer.json()["id"].as_str().unwrap().to_owned()
    };
    followed(&bench, &id).await;
    assert_eq!(bench.get(&format!("/v1/updates/{id}")).await.json()["status"], "verified");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_come_too_late_for_an_update_that_is_over() {
    let bench = Bench::new("api-orders").await;
    let id = submitted(&bench, &cold(&bench)).await;
    followed(&bench, &id).await;
    for order in ["cancel", "rollback"] {
        let answer = bench.post(&format!("/v1/updates/{id}/{order}"), &json!({})).await;
        assert_eq!((answer.status, &answer.json()["reason"]), (409, &json!("not_now")), "{order}");
    }
}
