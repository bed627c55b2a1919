//! Approvals and freezes outlive the process.

use serde_json::{Value, json};
use xks_preflight::sandbox::kms::ConnectionState;

use super::stage::{Answer, BOUND, Daemon, NEW, Stage, until};

const TOKENS: [(&str, &str); 3] = [
    ("ann", "xkspf_TestApproverDoNotLeakA123456789012345678901"),
    ("bob", "xkspf_TestApproverDoNotLeakB123456789012345678901"),
    ("root", "xkspf_TestAdministratorDoNotLeak123456789012345"),
];

async fn as_(daemon: &Daemon, who: usize, method: &str, path: &str, body: &Value) -> Answer {
    daemon.try_call_as(TOKENS[who].1, method, path, Some(body)).await.unwrap()
}

async fn shown(daemon: &Daemon, id: &str) -> Value {
    daemon.call("GET", &format!("/v1/updates/{id}"), None).await.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_while_awaiting_approval_keeps_the_approvals_and_the_freeze() {
    let roles = ["approver", "approver", "admin"];
    let people = TOKENS.iter().zip(roles).map(|((name, token), role)| (*name, *token, role));
    let stage = Stage::guarded("approvals", "two", &people.collect::<Vec<_>>()).await;
    let daemon = Daemon::start(&stage, None).await;
    let id = daemon.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    until(BOUND, "it waits", || async { shown(&daemon, &id).await["status"] == "awaiting_approval" }).await;
    let digest = shown(&daemon, &id).await["approval_digest"].clone();
    let right = json!({ "digest": digest, "acknowledge_outage": true });
    let approve = format!("/v1/updates/{id}/approve");
    assert_eq!(as_(&daemon, 0, "POST", &approve, &right).await.status, 202);
    let frozen = json!({ "reason": "quarter end" });
    assert_eq!(as_(&daemon, 2, "POST", "/v1/freeze", &frozen).await.status, 201);
    daemon.terminate().await;

    let daemon = Daemon::start(&stage, None).await;
    let update = shown(&daemon, &id).await;
    assert_eq!((&update["status"], &update["approved_by"]), (&json!("awaiting_approval"), &json!(["ann"])), "{update}");
    assert_eq!(update["approval_digest"], digest);
    let again = as_(&daemon, 0, "POST", &approve, &right).await;
    assert_eq!((again.status, &again.json()["reason"]), (409, &json!("already_approved")));
    let stopped = as_(&daemon, 1, "POST", &approve, &right).await;
    assert_eq!((stopped.status, &stopped.json()["reason"]), (423, &json!("frozen")));
    assert!(stage.mutations().is_empty());
    assert_eq!(as_(&daemon, 2, "DELETE", "/v1/freeze", &Value::Null).await.status, 200);
    assert_eq!(as_(&daemon, 1, "POST", &approve, &right).await.status, 202);
    assert_eq!(daemon.follow(&id).await["status"], "verified");
    assert_eq!(stage.shown(), (NEW.to_owned(), ConnectionState::Connected));
    daemon.terminate().await;
}
