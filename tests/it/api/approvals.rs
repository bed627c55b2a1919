//! The gate that people hold: approvals, freezes, and the glass in front of both.

use std::time::Duration;

use serde_json::{Value, json};
use xks_preflight::access::Token;
use xks_preflight::update::{ApprovalRule, Policy};

use super::bench::{ADMIN, APPROVER, Answer, Bench, HERE, NEW, policy, token};

const COLD: [&str; 3] = ["DisconnectCustomKeyStore", "UpdateCustomKeyStore", "ConnectCustomKeyStore"];

async fn bench(name: &str, approval: ApprovalRule) -> Bench {
    Bench::with_policy(name, Policy { approval, ..policy() }).await
}

fn change(bench: &Bench) -> Value {
    json!({ "CustomKeyStoreId": bench.store, "XksProxyUriEndpoint": NEW, "options": { "acknowledge_outage": true } })
}

async fn send(bench: &Bench, who: &Token, path: &str, body: &Value, more: &[(&str, &str)]) -> Answer {
    let headers = [&[("content-type", "application/json")], more].concat();
    bench.call("POST", path, Some(who), &headers, &body.to_string()).await
}

/// Asks for the change, waits until it is up for approval, and gives it as it is shown then.
async fn proposed(bench: &Bench, who: &Token) -> (String, Answer) {
    let answer = send(bench, who, "/v1/updates", &change(bench), &[]).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let path = format!("/v1/updates/{}", answer.json()["id"].as_str().unwrap());
    let shown = bench.until(&path, |answer| answer.json()["status"] == "awaiting_approval").await;
    (path, shown)
}

async fn ended(bench: &Bench, path: &str) -> Value {
    bench.get(&format!("{path}/events")).await;
    bench.get(path).await.json()
}

fn refused(answer: &Answer, status: u16, reason: &str) {
    assert_eq!((answer.status, &answer.json()["reason"]), (status, &json!(reason)), "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_of_an_approval_has_its_own_reason_and_changes_nothing() {
    let bench = bench("api-approve", ApprovalRule::One).await;
    let (admin, approver) = (token(ADMIN), token(APPROVER));
    let (path, shown) = proposed(&bench, &admin).await;
    let approve = format!("{path}/approve");
    let digest = shown.json()["approval_digest"].clone();
    let plan_digest = shown.json()["plan"]["digest"].clone();
    assert_eq!(shown.json()["plan"]["forecast"]["minutes"], 10, "told before anybody agrees: {}", shown.body);
    let right = json!({ "digest": digest, "acknowledge_outage": true });
    refused(&send(&bench, &admin, &approve, &right, &[]).await, 403, "author_may_not_approve");
    refused(&send(&bench, &token(HERE), &approve, &right, &[]).await, 403, "forbidden");
    // The plan's digest alone says nothing of the report.
    let other = json!({ "digest": plan_digest, "acknowledge_outage": true });
    refused(&send(&bench, &approver, &approve, &other, &[]).await, 412, "other_plan");
    refused(
        &send(&bench, &approver, &approve, &json!({ "digest": digest }), &[]).await,
        422,
        "outage_not_acknowledged",
    );
    for malformed in [json!({}), json!({ "digest": "x" }), json!({ "digest": digest, "force": true })] {
        refused(&send(&bench, &approver, &approve, &malformed, &[]).await, 422, "invalid_body");
    }
    refused(&send(&bench, &approver, &approve, &right, &[("if-match", "\"1\"")]).await, 412, "stale");
    let freeze = json!({ "reason": "quarter end", "key_store": bench.store });
    assert_eq!(send(&bench, &admin, "/v1/freeze", &freeze, &[]).await.status, 201);
    refused(&send(&bench, &approver, &approve, &right, &[]).await, 423, "frozen");
    assert!(bench.mutations().is_empty());

    let lifted = format!("/v1/freeze?key_store={}", bench.store);
    assert_eq!(bench.call("DELETE", &lifted, Some(&admin), &[], "").await.status, 200);
    refused(&bench.call("DELETE", &lifted, Some(&admin), &[], "").await, 404, "not_frozen");
    let etag = bench.get(&path).await.header("etag").to_owned();
    let taken = send(&bench, &approver, &approve, &right, &[("if-match", &etag)]).await;
    assert_eq!(taken.status, 202, "{}", taken.body);
    let update = ended(&bench, &path).await;
    assert_eq!((&update["status"], &update["approved_by"]), (&json!("verified"), &json!(["approve"])), "{update}");
    assert_eq!(bench.mutations(), COLD);
    refused(&send(&bench, &approver, &approve, &right, &[]).await, 409, "not_awaiting_approval");
    let metrics = bench.get("/metrics").await.body;
    for reason in ["author_may_not_approve", "other_plan", "outage_not_acknowledged", "frozen"] {
        let counted = format!("xks_preflight_gate_denials_total{{reason=\"{reason}\"}} 1");
        assert!(metrics.contains(&counted), "{counted} is missing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_approvals_are_of_two_people() {
    let bench = bench("api-approve-two", ApprovalRule::Two).await;
    let (path, shown) = proposed(&bench, &bench.operator).await;
    let right = json!({ "digest": shown.json()["approval_digest"], "acknowledge_outage": true });
    let approve = format!("{path}/approve");
    let first = send(&bench, &token(APPROVER), &approve, &right, &[]).await;
    assert_eq!((first.status, &first.json()["status"]), (202, &json!("awaiting_approval")), "{}", first.body);
    refused(&send(&bench, &token(APPROVER), &approve, &right, &[]).await, 409, "already_approved");
    // An update that waits has its key store, and says whose it is.
    let locked = bench.post("/v1/updates", &change(&bench)).await;
    refused(&locked, 423, "locked");
    assert!(locked.json()["detail"].as_str().unwrap().contains("of deploy, open since"), "{}", locked.body);
    let store = bench.get(&format!("/v1/key-stores/{}", bench.store)).await.json();
    assert_eq!(
        (&store["open_update"]["by"], &store["open_update"]["status"]),
        (&json!("deploy"), &json!("awaiting_approval"))
    );
    assert!(bench.mutations().is_empty());
    assert_eq!(send(&bench, &token(ADMIN), &approve, &right, &[]).await.status, 202);
    let update = ended(&bench, &path).await;
    assert_eq!((&update["status"], &update["approved_by"]), (&json!("verified"), &json!(["approve", "admin"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_fails_after_its_approval_is_blocked_all_the_same() {
    let bench = bench("api-approve-last", ApprovalRule::One).await;
    let (path, shown) = proposed(&bench, &bench.operator).await;
    bench.candidate.set_fault(xks_preflight::sandbox::fault::Fault::CertificateExpired).await;
    let right = json!({ "digest": shown.json()["approval_digest"], "acknowledge_outage": true });
    let taken = send(&bench, &token(APPROVER), &format!("{path}/approve"), &right, &[]).await;
    assert_eq!(taken.status, 202, "{}", taken.body);
    let update = ended(&bench, &path).await;
    assert_eq!((&update["status"], &update["approved_by"]), (&json!("blocked"), &json!(["approve"])), "{update}");
    assert_eq!(update["exception"], "XksProxyUriUnreachableException", "{update}");
    assert_ne!(update["report"], shown.json()["report"], "a report of its own says why");
    assert!(bench.mutations().is_empty(), "{:?}", bench.mutations());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_plan_is_refused_and_cannot_be_approved() {
    let short = Policy { approval: ApprovalRule::One, plan_valid_for: Duration::from_secs(10), ..policy() };
    let bench = Bench::with_policy("api-expired", short).await;
    let (path, shown) = proposed(&bench, &bench.operator).await;
    let update = ended(&bench, &path).await;
    assert_eq!((&update["status"], &update["reason"]), (&json!("refused"), &json!("expired")), "{update}");
    let right = json!({ "digest": shown.json()["approval_digest"], "acknowledge_outage": true });
    refused(&send(&bench, &token(APPROVER), &format!("{path}/approve"), &right, &[]).await, 409, "expired");
    assert!(bench.mutations().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_drifts_before_the_first_mutation_is_told_member_by_member() {
    let bench = bench("api-drift", ApprovalRule::One).await;
    let (path, _) = proposed(&bench, &bench.operator).await;
    assert!(bench.kms.tamper(&bench.store, |store| store.name = "renamed-in-the-console".to_owned()));
    let update = ended(&bench, &path).await;
    assert_eq!((&update["status"], &update["reason"]), (&json!("refused"), &json!("drift")), "{update}");
    let message = update["message"].as_str().unwrap();
    assert!(message.contains("CustomKeyStoreName: expected store, found renamed-in-the-console"), "{message}");
    assert!(bench.mutations().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_refuses_what_is_asked_for_and_a_broken_glass_is_loud() {
    let bench = bench("api-glass", ApprovalRule::Two).await;
    let admin = token(ADMIN);
    let until = "2999-01-01T00:00:00.000Z";
    let freeze = json!({ "reason": "quarter end", "until": until });
    refused(&send(&bench, &bench.operator, "/v1/freeze", &freeze, &[]).await, 403, "forbidden");
    refused(
        &send(&bench, &admin, "/v1/freeze", &json!({ "until": "2001-01-01T00:00:00Z" }), &[]).await,
        422,
        "invalid_body",
    );
    assert_eq!(send(&bench, &admin, "/v1/freeze", &freeze, &[]).await.status, 201);
    assert_eq!(bench.get("/v1/freeze").await.json()["freezes"][0]["by"], "admin");
    let stopped = bench.post("/v1/updates", &change(&bench)).await;
    refused(&stopped, 423, "frozen");
    assert_eq!(stopped.json()["until"], until);
    assert!(stopped.json()["detail"].as_str().unwrap().contains("quarter end"), "{}", stopped.body);

    let mut broken = change(&bench);
    broken["options"]["break_glass"] = json!({ "reason": "the proxy burns" });
    refused(&send(&bench, &bench.operator, "/v1/updates", &broken, &[]).await, 403, "forbidden");
    let mut nameless = broken.clone();
    nameless["options"]["break_glass"] = json!({ "reason": " " });
    refused(&send(&bench, &admin, "/v1/updates", &nameless, &[]).await, 422, "invalid_body");
    // Never by a pre-flight.
    bench.candidate.set_fault(xks_preflight::sandbox::fault::Fault::CertificateExpired).await;
    let taken = send(&bench, &admin, "/v1/updates", &broken, &[]).await;
    assert_eq!(taken.status, 202, "{}", taken.body);
    let path = taken.header("location").to_owned();
    assert_eq!(ended(&bench, &path).await["status"], "blocked");
    assert!(bench.mutations().is_empty());

    bench.candidate.set_fault(None).await;
    let taken = send(&bench, &admin, "/v1/updates", &broken, &[]).await;
    assert_eq!(taken.status, 202, "{}", taken.body);
    let path = taken.header("location").to_owned();
    let events = bench.get(&format!("{path}/events")).await.body;
    assert!(events.contains(r#""passed_by":["approval","freeze"]"#), "{events}");
    let update = bench.get(&path).await.json();
    assert_eq!(
        (&update["status"], &update["break_glass"]),
        (&json!("verified"), &json!("the proxy burns")),
        "{update}"
    );
    assert_eq!(bench.mutations(), COLD);
    let metrics = bench.get("/metrics").await.body;
    let counted = format!("xks_preflight_break_glass_total{{key_store=\"{}\"}} 2", bench.store);
    assert!(metrics.contains(&counted) && metrics.contains("xks_preflight_frozen{key_store=\"\"} 1"), "{metrics}");
}
