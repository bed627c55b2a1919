//! Several daemons on one PostgreSQL: taking over, fencing, orders between them.

mod relay;

use std::time::Duration;

use serde_json::json;
use xks_preflight::sandbox::kms::ConnectionState;

use self::relay::Relay;
use crate::daemon::stage::{Daemon, NEW, OLD, Stage, until};
use crate::postgres::shared;

const COLD: [&str; 3] = ["DisconnectCustomKeyStore", "UpdateCustomKeyStore", "ConnectCustomKeyStore"];
/// Longer than a lease and whatever a busy machine adds.
const BOUND: Duration = Duration::from_mins(2);

/// Until the driving daemon has begun, and the key store is on its way to DISCONNECTED.
async fn begun(stage: &Stage) {
    until(BOUND, "a first mutation", || async { !stage.mutations().is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_whose_driver_is_killed_is_ended_by_the_other() {
    let database = shared().database().await;
    let stage = Stage::on_postgres("replica-killed", &database.url()).await;
    stage.kms.set_delays(Duration::from_millis(100), Duration::from_secs(2));
    let (first, second) = (Daemon::start(&stage, None).await, Daemon::start(&stage, None).await);
    let id = first.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    begun(&stage).await;
    first.kill().await;
    let ended = second.follow(&id).await;
    assert_eq!(ended["status"], "verified", "{ended:#}");
    assert_eq!(stage.shown(), (NEW.to_owned(), ConnectionState::Connected));
    assert_eq!(stage.mutating_calls(), COLD);
    second.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_stands_still_is_taken_over_and_fenced_when_it_wakes_up() {
    let database = shared().database().await;
    let stage = Stage::on_postgres("replica-stopped", &database.url()).await;
    stage.kms.set_delays(Duration::from_millis(100), Duration::from_secs(2));
    let (first, second) = (Daemon::start(&stage, None).await, Daemon::start(&stage, None).await);
    let id = first.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    begun(&stage).await;
    first.signal("-STOP").await;
    let ended = second.follow(&id).await;
    assert_eq!(ended["status"], "verified", "{ended:#}");
    assert_eq!(stage.mutating_calls(), COLD);
    first.signal("-CONT").await;
    let fenced = || async { first.has_told("somebody else has taken the update over") };
    until(BOUND, "it is fenced", fenced).await;
    first.terminate().await;
    assert_eq!(stage.mutating_calls(), COLD, "whoever wakes up late changes nothing");
    assert_eq!(stage.shown(), (NEW.to_owned(), ConnectionState::Connected));
    second.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_is_cut_off_from_the_database_stops_and_is_taken_over() {
    let database = shared().database().await;
    let relay = Relay::to(database.port).await;
    let stage = Stage::on_postgres("replica-cut-off", &database.url()).await;
    stage.kms.set_delays(Duration::from_millis(100), Duration::from_secs(2));
    let behind = stage.configured_for("behind-relay.toml", &database.url(), &relay.url(&database.url()));
    let (first, second) = (Daemon::start_with(&stage, &behind, None).await, Daemon::start(&stage, None).await);
    let id = first.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    begun(&stage).await;
    // It goes on running, and KMS answers it as before.
    relay.hold();
    let ended = second.follow(&id).await;
    assert_eq!(ended["status"], "verified", "{ended:#}");
    assert_eq!(stage.mutating_calls(), COLD);
    assert_eq!(first.call("GET", "/readyz", None).await.status, 503);
    relay.let_go();
    let ready = || async { first.call("GET", "/readyz", None).await.status == 200 };
    until(BOUND, "the database is back", ready).await;
    first.terminate().await;
    assert_eq!(stage.mutating_calls(), COLD, "whoever was cut off changes nothing");
    second.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_down_at_the_start_is_told_and_nothing_starts() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let stage = Stage::on_postgres("replica-down", &format!("postgresql://gate@127.0.0.1:{port}/journal")).await;
    let told = Daemon::refuses_to_start(&stage).await;
    assert!(told.contains("is the server up") && told.contains("Connection refused"), "{told}");
    assert!(!told.contains("DoNotLeak"));
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_and_event_streams_reach_the_update_wherever_it_is_driven() {
    let database = shared().database().await;
    let stage = Stage::on_postgres("replica-orders", &database.url()).await;
    // Long enough to be told in the middle.
    stage.kms.set_delays(Duration::from_millis(100), Duration::from_secs(6));
    let (first, second) = (Daemon::start(&stage, None).await, Daemon::start(&stage, None).await);
    let id = first.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    begun(&stage).await;
    let cancelled = second.call("POST", &format!("/v1/updates/{id}/cancel"), None).await;
    assert_eq!(cancelled.status, 409, "it has begun: {}", cancelled.body);
    let path = format!("/v1/updates/{id}/rollback");
    let (ended, answer) = tokio::join!(second.follow(&id), second.call("POST", &path, None));
    assert!((200..300).contains(&answer.status), "{}: {}", answer.status, answer.body);
    assert_eq!(ended["status"], "rolled_back", "{ended:#}");
    assert_eq!(stage.shown(), (OLD.to_owned(), ConnectionState::Connected));
    assert!(first.has_told("event=\"rollback_requested\""), "the one that drives obeys");
    first.terminate().await;
    second.terminate().await;
}
