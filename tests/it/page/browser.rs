//! The page in Debian's Chromium, driven by `tests/clients/page.mjs`: flows clicked through, no errors in the console,
//! nothing that the content security policy stops, nothing serious for axe-core, and screenshots for people.

mod glass;
mod look;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;
use xks_preflight::sandbox::fault::Fault;
use xks_preflight::sandbox::proxy::Fleet;

use crate::daemon::stage::{BOUND, Daemon, NEW, Stage, TOKEN, until};

const VIEWER: &str = "xkspf_ViewerTokenDoNotLeak01234567890123456789012";
const ADMIN: &str = "xkspf_AdminTokenDoNotLeak012345678901234567890123";
const APPROVER: &str = "xkspf_ApproverTokenDoNotLeak0123456789012345678901";

/// Where screenshots go; `None` outside `tests/run`, where there is no browser.
pub(super) fn shots() -> Option<PathBuf> {
    let output = std::env::var_os("XKS_TEST_OUTPUT").map(PathBuf::from)?;
    let shots = output.join("page");
    std::fs::create_dir_all(&shots).unwrap();
    Some(shots)
}

fn expired() -> Fault {
    "certificate-expired".parse().unwrap()
}

/// Runs a flow and gives what it saw; whatever went wrong in the browser fails.
pub(super) async fn flow(shots: &Path, daemon: &Daemon, token: &str, arguments: &[&str]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/page.mjs");
    let run = Command::new("node")
        .arg(script)
        .args(arguments)
        .env("ORIGIN", format!("http://{}", daemon.address))
        .env("TOKEN", token)
        .env("SHOTS", shots)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ran = tokio::time::timeout(BOUND * 4, run).await.unwrap().unwrap();
    let (stdout, stderr) = (String::from_utf8(ran.stdout).unwrap(), String::from_utf8(ran.stderr).unwrap());
    let seen: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
    assert_eq!(seen["faults"], json!([]), "{arguments:?}: {:#}", seen["faults"]);
    seen
}

fn text(seen: &Value) -> &str {
    seen["text"].as_str().unwrap()
}

/// Until the monitor has a report of the key store; the id of the latest.
pub(super) async fn probed(daemon: &Daemon, stage: &Stage) -> String {
    let path = format!("/v1/key-stores/{}", stage.key_store);
    until(BOUND, "the key store is probed", || async {
        !daemon.call("GET", &path, None).await.json()["latest"].is_null()
    })
    .await;
    daemon.call("GET", &path, None).await.json()["latest"]["report"].as_str().unwrap().to_owned()
}

/// Until an update shows this status.
async fn reaches(daemon: &Daemon, id: &str, status: &str) {
    until(BOUND, status, || async {
        daemon.call("GET", &format!("/v1/updates/{id}"), None).await.json()["status"] == status
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_candidate_is_blocked_through_the_form_and_its_secret_is_not_shown_again() {
    let Some(shots) = shots() else { return };
    let stage = Stage::new("page-preflight").await;
    let daemon = Daemon::start(&stage, None).await;
    stage.new.set_fault(expired()).await;
    let file = stage.directory.join("proxy.secret.json");
    let seen = flow(&shots, &daemon, TOKEN, &["preflight", &stage.key_store, NEW, file.to_str().unwrap()]).await;
    assert_eq!((&seen["emptied"], &seen["leaks"]), (&json!(""), &json!(false)), "{seen}");
    assert_ne!(seen["kept"], "", "{seen}");
    assert!(seen["url"].as_str().unwrap().starts_with("/preflights/"), "{seen}");
    assert!(text(&seen).contains("tls.validity") && text(&seen).contains("XksProxyUriUnreachableException"), "{seen}");
    assert!(stage.mutating_calls().is_empty());
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_clicked_and_the_page_follows_to_verified() {
    let Some(shots) = shots() else { return };
    let people = [("approver", APPROVER, "approver"), ("viewer", VIEWER, "viewer")];
    let stage = Stage::guarded("page-approve", "one", &people).await;
    let daemon = Daemon::start(&stage, None).await;
    let update = daemon.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    reaches(&daemon, &update, "awaiting_approval").await;
    let path = format!("/updates/{update}");
    // Who only looks, and who asked for it, find no button that approves.
    let viewer = flow(&shots, &daemon, VIEWER, &["buttons", &path]).await;
    assert_eq!(viewer["buttons"], json!([]), "{viewer}");
    let author = flow(&shots, &daemon, TOKEN, &["buttons", &path]).await;
    assert!(author["buttons"].to_string().contains("Cancel") && !author["buttons"].to_string().contains("Approve"));
    let seen = flow(&shots, &daemon, APPROVER, &["order", &update, "approve", "verified"]).await;
    assert!(text(&seen).contains("The new settings are in force"), "{seen}");
    assert_eq!(stage.mutations(), ["DisconnectCustomKeyStore", "UpdateCustomKeyStore", "ConnectCustomKeyStore"]);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_cancelled_by_a_click_and_changes_nothing() {
    let Some(shots) = shots() else { return };
    let stage = Stage::guarded("page-cancel", "one", &[("approver", APPROVER, "approver")]).await;
    let daemon = Daemon::start(&stage, None).await;
    let update = daemon.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    reaches(&daemon, &update, "awaiting_approval").await;
    let seen = flow(&shots, &daemon, TOKEN, &["order", &update, "cancel", "abandoned"]).await;
    assert!(text(&seen).contains("stopped it before anything was changed"), "{seen}");
    assert!(stage.mutating_calls().is_empty());
    daemon.terminate().await;
}

/// What a proxy may say of itself: markup that would run, writing turned around, and very much of it.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_text_of_a_proxy_is_shown_as_text_and_cut_short() {
    let Some(shots) = shots() else { return };
    let stage = Stage::new("page-hostile").await;
    let vendor =
        format!("<script>console.error('ran')</script><img src=x onerror=alert(1)>\u{202e}{}", "A".repeat(2_000));
    stage.old.set_fleet(Fleet { xks_proxy_vendor: vendor, ..Fleet::default() });
    let daemon = Daemon::start(&stage, None).await;
    probed(&daemon, &stage).await;
    let seen = flow(&shots, &daemon, TOKEN, &["buttons", &format!("/key-stores/{}", stage.key_store)]).await;
    assert!(
        text(&seen).contains("<script>console.error('ran')</script><img src=x onerror=alert(1)>\u{fffd}AAA"),
        "{seen}"
    );
    assert!(text(&seen).contains("more characters") && !text(&seen).contains(&"A".repeat(200)), "{seen}");
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_suffices_and_the_theme_is_kept() {
    let Some(shots) = shots() else { return };
    let stage = Stage::new("page-keyboard").await;
    let daemon = Daemon::start(&stage, None).await;
    let seen = flow(&shots, &daemon, TOKEN, &["keyboard"]).await;
    assert_eq!((&seen["first"], &seen["skipped"]), (&json!("Skip to the content"), &json!("main")), "{seen}");
    assert_eq!(seen["theme"], "dark", "{seen}");
    daemon.terminate().await;
}
