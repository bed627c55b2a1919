//! The real daemon, as a process: from request to ending, through signals and kill -9.

mod approvals;
mod keys;
mod logs;
pub(crate) mod stage;
mod steering;

use std::time::Duration;

use serde_json::json;
use xks_preflight::sandbox::kms::ConnectionState;

use self::stage::{Daemon, NEW, OLD, Stage};

const COLD: [&str; 3] = ["DisconnectCustomKeyStore", "UpdateCustomKeyStore", "ConnectCustomKeyStore"];

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_update_ends_verified_with_exactly_three_mutations() {
    let stage = Stage::new("verified").await;
    let daemon = Daemon::start(&stage, None).await;
    let id = daemon.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    let ended = daemon.follow(&id).await;
    assert_eq!(ended["status"], "verified", "{ended:#}");
    assert_eq!(stage.mutations(), COLD);
    assert_eq!(stage.shown(), (NEW.to_owned(), ConnectionState::Connected));
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_update_changes_nothing_and_names_the_exception() {
    let stage = Stage::new("blocked").await;
    stage.new.set_fault("certificate-expired".parse::<xks_preflight::sandbox::fault::Fault>().unwrap()).await;
    let daemon = Daemon::start(&stage, None).await;
    let id = daemon.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    let ended = daemon.follow(&id).await;
    assert_eq!(ended["status"], "blocked", "{ended:#}");
    assert_eq!(ended["exception"], "XksProxyUriUnreachableException");
    assert!(stage.mutations().is_empty(), "{:?}", stage.mutations());
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_store_configured_for_refusals_gets_no_proxy_that_accepts_anybody() {
    let stage = Stage::refusing("refusing").await;
    stage.new.set_fault("accepts-unsigned".parse::<xks_preflight::sandbox::fault::Fault>().unwrap()).await;
    let daemon = Daemon::start(&stage, None).await;
    let id = daemon.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    let ended = daemon.follow(&id).await;
    assert_eq!(ended["status"], "blocked", "{ended:#}");
    assert!(ended["message"].as_str().is_some_and(|text| text.starts_with("sigv4.refuses_unsigned")), "{ended:#}");
    assert!(stage.mutations().is_empty(), "{:?}", stage.mutations());
    // The monitor, which looks at the present proxy all the time, does not send them.
    let marked = |proxy: &xks_preflight::sandbox::proxy::SandboxProxy| {
        let ids = proxy.history().into_iter().filter_map(|request| request.kms_request_id);
        ids.filter(|id| id.starts_with("xks-preflight-refusal-")).count()
    };
    assert_eq!(marked(&stage.old), 0);
    assert!(marked(&stage.new) >= 4);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_update_is_made_in_place_with_a_secret_that_stays_sealed() {
    let stage = Stage::new("hot").await;
    let (id, secret) = ("SANDBOXSECONDACCESSKEYID", "TestSecretDoNotLeakSecond0123456789abcdefghijklm");
    stage.old.add_credential(id, secret.to_owned());
    let daemon = Daemon::start(&stage, None).await;
    let credential = json!({ "AccessKeyId": id, "RawSecretAccessKey": secret });
    let id = daemon.submit(&stage, json!({ "XksProxyAuthenticationCredential": credential })).await;
    let ended = daemon.follow(&id).await;
    assert_eq!(ended["status"], "verified", "{ended:#}");
    assert_eq!(stage.mutations(), ["UpdateCustomKeyStore"]);
    daemon.terminate().await;
}

/// Kills the process right after each journal write, the first, the second and so on, and starts it again.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_journal_write_it_goes_on_to_the_same_ending() {
    let mut killed = 0;
    for write in 1..100 {
        let stage = Stage::new("killed").await;
        let doomed = Daemon::start(&stage, Some(write)).await;
        let submitted = doomed.try_submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
        let Some(status) = doomed.killed_before_the_end(submitted.as_deref()).await else {
            // More writes than the update has: every one was tried.
            assert!(write > 10, "an update has more than {write} journal writes");
            break;
        };
        assert_eq!(status, Some(9), "the process ends by SIGKILL");
        killed += 1;
        let daemon = Daemon::start(&stage, None).await;
        let id = daemon.only_update().await;
        let ended = daemon.follow(&id).await;
        assert_eq!(ended["status"], "verified", "killed at write {write}: {ended:#}");
        assert_eq!(stage.shown(), (NEW.to_owned(), ConnectionState::Connected), "killed at write {write}");
        assert_eq!(stage.mutations(), COLD, "killed at write {write}");
        daemon.terminate().await;
    }
    assert!(killed > 10, "killed {killed} times only");
}

/// The same on PostgreSQL, for some of the writes: the next process must wait for the end of the killed one's lease.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_some_journal_writes_to_postgresql_it_goes_on_to_the_same_ending() {
    let mut killed = 0;
    for write in [1, 3, 8, 15] {
        let database = crate::postgres::shared().database().await;
        let stage = Stage::on_postgres("killed-postgresql", &database.url()).await;
        let doomed = Daemon::start(&stage, Some(write)).await;
        let submitted = doomed.try_submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
        let status = doomed.killed_before_the_end(submitted.as_deref()).await;
        assert_eq!(status, Some(Some(9)), "the process ends by SIGKILL at write {write}");
        killed += 1;
        let daemon = Daemon::start(&stage, None).await;
        let id = daemon.only_update().await;
        let ended = daemon.follow(&id).await;
        assert_eq!(ended["status"], "verified", "killed at write {write}: {ended:#}");
        assert_eq!(stage.shown(), (NEW.to_owned(), ConnectionState::Connected), "killed at write {write}");
        assert_eq!(stage.mutations(), COLD, "killed at write {write}");
        daemon.terminate().await;
    }
    assert_eq!(killed, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_connect_is_rolled_back_to_the_former_settings() {
    use xks_preflight::sandbox::kms::{KmsFault, Operation};
    let stage = Stage::new("rolled-back").await;
    stage.kms.inject(Operation::ConnectCustomKeyStore, KmsFault::ConnectFails("XKS_PROXY_TIMED_OUT".into()), 4);
    let daemon = Daemon::start(&stage, None).await;
    let id = daemon.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    // Every connect of the new settings fails; those of the former ones are let through once it goes back.
    stage.when_update_is_back(Duration::from_mins(1)).await;
    stage.kms.clear_faults();
    let ended = daemon.follow(&id).await;
    assert_eq!(ended["status"], "rolled_back", "{ended:#}");
    assert_eq!(stage.shown(), (OLD.to_owned(), ConnectionState::Connected));
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_is_settled_by_reading_back() {
    use xks_preflight::sandbox::kms::{KmsFault, Operation};
    let stage = Stage::new("lost-reply").await;
    stage.kms.inject(Operation::UpdateCustomKeyStore, KmsFault::ReplyLost { applied: true }, 1);
    let daemon = Daemon::start(&stage, None).await;
    let id = daemon.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    let ended = daemon.follow(&id).await;
    assert_eq!(ended["status"], "verified", "{ended:#}");
    assert_eq!(stage.mutations(), COLD);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_sigterm_interrupts_goes_on_after_the_restart() {
    let stage = Stage::new("sigterm").await;
    // Long enough that the signal comes while the key store is DISCONNECTING.
    stage.kms.set_delays(Duration::from_secs(2), Duration::from_secs(2));
    let daemon = Daemon::start(&stage, None).await;
    let id = daemon.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    stage::until(Duration::from_mins(1), "a first mutation", || async { !stage.mutations().is_empty() }).await;
    daemon.terminate().await;
    assert_eq!(stage.mutations(), ["DisconnectCustomKeyStore"]);
    let daemon = Daemon::start(&stage, None).await;
    assert_eq!(daemon.follow(&id).await["status"], "verified");
    assert_eq!(stage.mutations(), COLD);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_makes_no_update() {
    let stage = Stage::observing("observer").await;
    let daemon = Daemon::start(&stage, None).await;
    let body = stage.body(json!({ "XksProxyUriEndpoint": NEW }));
    let answer = daemon.call("POST", "/v1/updates", Some(&body)).await;
    assert!((400..500).contains(&answer.status), "{}: {}", answer.status, answer.body);
    assert!(stage.mutations().is_empty());
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_ends_nothing() {
    let stage = Stage::new("hangup").await;
    let daemon = Daemon::start(&stage, None).await;
    daemon.signal("-HUP").await;
    assert_eq!(daemon.call("GET", "/healthz", None).await.status, 200);
    // It ends by the signal that drains, with its exit code.
    daemon.terminate().await;
}
