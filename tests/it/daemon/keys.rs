//! Key continuity in the daemon: with the current proxy alive, and from a canary on the day when it is gone.

use std::time::Duration;

use serde_json::{Value, json};
use xks_preflight::sandbox::fault::Fault;

use super::stage::{self, Daemon, NEW, Stage};

/// Longer than a probe and a canary take on a busy machine.
const BOUND: Duration = Duration::from_mins(1);

/// Whether the metrics have a series of this metric with this label that ends so.
async fn shows(daemon: &Daemon, metric: &str, label: &str, end: &str) -> bool {
    let metrics = daemon.call("GET", "/metrics", None).await.body;
    metrics.lines().any(|line| line.starts_with(metric) && line.contains(label) && line.ends_with(end))
}

async fn until_canary(daemon: &Daemon) {
    let kept = async || shows(daemon, "xks_preflight_canary_timestamp_seconds{", "key_store", "").await;
    stage::until(BOUND, "a canary is kept", kept).await;
}

/// Asks for the update to the new endpoint; the ended update and the report on it.
async fn update(daemon: &Daemon, stage: &Stage) -> (Value, Value) {
    let id = daemon.submit(stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    let ended = daemon.follow(&id).await;
    let report = ended["report"].as_str().unwrap_or_default();
    let report = daemon.call("GET", &format!("/v1/preflights/{report}"), None).await;
    assert_eq!(report.status, 200, "{ended:#}: {}", report.body);
    (ended, report.json())
}

fn musts_that_fail(report: &Value) -> Vec<&str> {
    let findings = report["findings"].as_array().unwrap().iter();
    let failed = findings.filter(|finding| finding["outcome"] == "failed" && finding["level"] == "must");
    failed.filter_map(|finding| finding["check"].as_str()).collect()
}

fn continuity(report: &Value) -> &Value {
    report["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "key.continuity").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_keys_are_proven_by_the_current_proxy() {
    let stage = Stage::with_test_key("continuity-same").await;
    let daemon = Daemon::start(&stage, None).await;
    let (ended, report) = update(&daemon, &stage).await;
    assert_eq!(ended["status"], "verified", "{ended:#}");
    assert_eq!(report["verdict"], "ready");
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_keys_under_the_same_ids_are_blocked_before_anything_is_changed() {
    let stage = Stage::with_test_key("continuity-swapped").await;
    stage.new.set_fault(Fault::KeyMaterialSwapped).await;
    let daemon = Daemon::start(&stage, None).await;
    let (ended, report) = update(&daemon, &stage).await;
    assert_eq!(ended["status"], "blocked", "{ended:#}");
    assert_eq!(musts_that_fail(&report), ["key.continuity"]);
    assert_eq!(continuity(&report)["problem"], "different_keys");
    assert!(stage.mutations().is_empty(), "{:?}", stage.mutations());
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_proves_the_same_keys_when_the_current_proxy_is_gone_even_after_a_restart() {
    let stage = Stage::with_test_key("canary-same").await;
    let daemon = Daemon::start(&stage, None).await;
    until_canary(&daemon).await;
    daemon.terminate().await;
    stage.old.set_fault(Fault::ListenerClosed).await;
    let daemon = Daemon::start(&stage, None).await;
    let (ended, report) = update(&daemon, &stage).await;
    assert_eq!(ended["status"], "verified", "{ended:#} {report:#}");
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_gives_other_keys_away_when_the_current_proxy_is_gone() {
    let stage = Stage::with_test_key("canary-swapped").await;
    stage.new.set_fault(Fault::KeyMaterialSwapped).await;
    let daemon = Daemon::start(&stage, None).await;
    until_canary(&daemon).await;
    stage.old.set_fault(Fault::ListenerClosed).await;
    let (ended, report) = update(&daemon, &stage).await;
    assert_eq!(ended["status"], "blocked", "{ended:#}");
    assert_eq!(musts_that_fail(&report), ["key.continuity"]);
    assert_eq!(continuity(&report)["problem"], "different_keys");
    assert!(stage.mutations().is_empty(), "{:?}", stage.mutations());
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_gives_other_keys_away_when_the_current_name_leads_to_them_already() {
    let stage = Stage::with_test_key("canary-both-swapped").await;
    let daemon = Daemon::start(&stage, None).await;
    until_canary(&daemon).await;
    // As if the name of the current proxy led to the candidate's fleet: what one encrypts, the other decrypts.
    stage.old.set_fault(Fault::KeyMaterialSwapped).await;
    stage.new.set_fault(Fault::KeyMaterialSwapped).await;
    let (ended, report) = update(&daemon, &stage).await;
    assert_eq!(ended["status"], "blocked", "{ended:#}");
    assert_eq!(musts_that_fail(&report), ["key.continuity"]);
    let told = continuity(&report);
    assert_eq!(told["problem"], "different_keys");
    assert!(told["detail"].as_str().unwrap().contains("into the canary of"), "{told}");
    assert!(stage.mutations().is_empty(), "{:?}", stage.mutations());
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_gives_swapped_keys_away_where_the_proxy_stays() {
    let stage = Stage::with_test_key("canary-in-place").await;
    let daemon = Daemon::start(&stage, None).await;
    until_canary(&daemon).await;
    stage.old.set_fault(Fault::KeyMaterialSwapped).await;
    let change = stage.body(json!({ "NewCustomKeyStoreName": "renamed" }));
    let report = daemon.call("POST", "/v1/preflights", Some(&change)).await.json();
    assert_eq!(report["verdict"], "blocked", "{report:#}");
    assert_eq!(musts_that_fail(&report), ["key.continuity"]);
    assert!(continuity(&report)["detail"].as_str().unwrap().contains("into the canary of"), "{}", continuity(&report));
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_current_proxy_and_canary_the_update_is_not_made() {
    let stage = Stage::with_test_key("no-canary").await;
    stage.old.set_fault(Fault::ListenerClosed).await;
    let daemon = Daemon::start(&stage, None).await;
    let (ended, report) = update(&daemon, &stage).await;
    assert_eq!(ended["status"], "blocked", "{ended:#}");
    assert_eq!(report["verdict"], "inconclusive");
    assert!(ended["message"].as_str().is_some_and(|message| message.contains("no canary")), "{ended:#}");
    assert_eq!(
        (&continuity(&report)["outcome"], &continuity(&report)["problem"]),
        (&"own_fault".into(), &"no_proof".into())
    );
    assert!(stage.mutations().is_empty(), "{:?}", stage.mutations());
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn key_material_that_is_swapped_behind_unchanged_settings_shows_in_the_metrics() {
    let stage = Stage::with_test_key("swapped-in-place").await;
    let daemon = Daemon::start(&stage, None).await;
    until_canary(&daemon).await;
    stage.old.set_fault(Fault::KeyMaterialSwapped).await;
    let shown = async || shows(&daemon, "xks_preflight_check_failing{", "\"key.continuity\"", " 1").await;
    stage::until(BOUND, "the metrics show it", shown).await;
    daemon.terminate().await;
}
