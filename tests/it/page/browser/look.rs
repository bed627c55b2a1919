//! Every page in every state that it can be in, in both themes, wide and narrow: fit for axe-core, not wider than the window,
//! and as screenshots for people.

use std::path::Path;

use serde_json::{Value, json};
use xks_preflight::sandbox::fault::Fault;
use xks_preflight::sandbox::kms::{Backing, KmsFault, Operation};

use super::{ADMIN, APPROVER, VIEWER, expired, flow, probed, reaches, shots};
use crate::daemon::stage::{BOUND, Daemon, NEW, Stage, TOKEN, until};
use crate::discovery::world::{self, World};
use crate::perspectives::asking;
use crate::perspectives::elsewhere::{Authority, Elsewhere};
use crate::rotation::{QUICK, Scene};

/// Looks at pages: title and path of each.
async fn look(shots: &Path, daemon: &Daemon, pages: &[(&str, String)]) {
    look_as(TOKEN, shots, daemon, pages).await;
}

async fn look_as(token: &str, shots: &Path, daemon: &Daemon, pages: &[(&str, String)]) {
    let named: Vec<String> = pages.iter().map(|(title, path)| format!("{title}={path}")).collect();
    let arguments: Vec<&str> = ["look"].into_iter().chain(named.iter().map(String::as_str)).collect();
    let seen = flow(shots, daemon, token, &arguments).await;
    assert_eq!(seen["looked"], 4 * pages.len(), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_fit_to_be_looked_at_in_both_themes_wide_and_narrow() {
    let Some(shots) = shots() else { return };
    let people = [("approver", APPROVER, "approver"), ("viewer", VIEWER, "viewer")];
    let stage = Stage::guarded("page-look", "one", &people).await;
    let daemon = Daemon::start(&stage, None).await;
    let report = probed(&daemon, &stage).await;
    let waiting = daemon.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    reaches(&daemon, &waiting, "awaiting_approval").await;
    stage.new.set_fault(expired()).await;
    let asked = json!({ "CustomKeyStoreId": stage.key_store, "XksProxyUriEndpoint": NEW });
    let blocked = daemon.call("POST", "/v1/preflights", Some(&asked)).await.json();
    let pages = [
        ("sign-in", "/sign-in".to_owned()),
        ("overview", "/".to_owned()),
        ("key-store", format!("/key-stores/{}", stage.key_store)),
        ("report-ready", format!("/preflights/{report}")),
        ("report-blocked", format!("/preflights/{}", blocked["id"].as_str().unwrap())),
        ("report-folded", format!("/preflights/{}", blocked["id"].as_str().unwrap())),
        ("updates", "/updates".to_owned()),
        ("update", format!("/updates/{waiting}")),
        ("preflight", format!("/preflights?key_store={}", stage.key_store)),
        ("preflight-refused", format!("/preflights?key_store={}", stage.key_store)),
        ("checks", "/checks".to_owned()),
        ("audit", "/audit".to_owned()),
        ("audit-nothing", "/audit?update=update-01a221e2-3c80-777c-8db2-80eb1602fa1b".to_owned()),
        ("missing", "/key-stores/cks-unknown".to_owned()),
    ];
    look(&shots, &daemon, &pages).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_place_is_fit_to_be_looked_at() {
    let Some(shots) = shots() else { return };
    let stage = Stage::new("page-empty").await;
    stage.reconfigured(&format!("[[key_stores]]\nid = \"{}\"\ncredential = \"proxy\"\n", stage.key_store), "");
    assert!(stage.kms.delete_store(&stage.key_store));
    let daemon = Daemon::start(&stage, None).await;
    let pages = [("overview-empty", "/".to_owned()), ("updates-empty", "/updates".to_owned())];
    look(&shots, &daemon, &pages).await;
    daemon.terminate().await;
}

/// Several accounts and Regions, one of which is down, and key stores that were changed behind our back.
#[tokio::test(flavor = "multi_thread")]
async fn places_and_drift_are_fit_to_be_looked_at() {
    let Some(shots) = shots() else { return };
    let world = World::new("page-places").await;
    let watching = world.daemon().await;
    watching
        .until("four are ready", |told| {
            let ready = |store: &&Value| store["latest"]["verdict"] == "ready";
            told["key_stores"].as_array().unwrap().iter().filter(ready).count() == 4
        })
        .await;
    let (renamed, changed) = (world.store("profiled/us-east-1"), world.store("assumed/eu-west-1"));
    assert!(world.kms("profiled/us-east-1").tamper(renamed, |store| "renamed".clone_into(&mut store.name)));
    assert!(world.kms("assumed/eu-west-1").tamper(changed, |store| {
        let Backing::External(xks) = &mut store.backing else { panic!("it is external") };
        xks.endpoint = "https://elsewhere.xks.example.com".to_owned();
    }));
    world.kms("profiled/eu-west-1").inject(Operation::DescribeCustomKeyStores, KmsFault::Unavailable, u32::MAX);
    watching.until("the Region is shown", |told| world::place(told, "profiled/eu-west-1")["failure"].is_string()).await;
    watching.until("drift is seen", |told| told["drifts"].as_array().unwrap().len() == 2).await;
    watching.until("it is probed", |told| world::find(told, changed)["latest"]["verdict"] != "ready").await;
    let pages = [
        ("overview-places", "/".to_owned()),
        ("overview-filtered", "/?q=eu-west-1&standing=ready".to_owned()),
        ("key-store-drifted", format!("/key-stores/{changed}")),
        ("key-store-not-watched", format!("/key-stores/{}", world.stranger)),
    ];
    look(&shots, &watching.daemon, &pages).await;
    watching.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn perspectives_that_disagree_are_fit_to_be_looked_at() {
    let Some(shots) = shots() else { return };
    let stage = Stage::new("page-perspectives").await;
    let _authority = Authority::new(&stage);
    let eu = Elsewhere::start(&stage, "eu-central-1b").await;
    eu.proxy.set_fault(expired()).await;
    let daemon = asking(&stage, &[&eu], None).await;
    let id = daemon.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    let ended = daemon.follow(&id).await;
    assert_eq!(ended["status"], "blocked", "{ended:#}");
    let pages = [
        ("report-perspectives", format!("/preflights/{}", ended["report"].as_str().unwrap())),
        ("update-blocked", format!("/updates/{id}")),
    ];
    look(&shots, &daemon, &pages).await;
    daemon.terminate().await;
}

/// A credential that is new at its source and not accepted, key managers that fail, and a change that waits.
#[tokio::test(flavor = "multi_thread")]
async fn notices_of_credentials_and_key_managers_are_fit_to_be_looked_at() {
    let Some(shots) = shots() else { return };
    let stage = Stage::with_test_key("page-notices").await;
    let file = "console_file = \"proxy.secret.json\"";
    stage.reconfigured(file, &format!("{file}\nrefresh = \"1s\""));
    stage.old.set_fault("ekm-one-degraded".parse::<Fault>().unwrap()).await;
    let daemon = Daemon::start(&stage, None).await;
    probed(&daemon, &stage).await;
    let other = "TestSecretDoNotLeakOtherone0123456789abcdefghij";
    crate::peers::write_console_file(&stage.directory.join("proxy.secret.json"), crate::peers::PATH, other);
    let path = format!("/v1/key-stores/{}", stage.key_store);
    until(BOUND, "the credential is pending", || async {
        daemon.call("GET", &path, None).await.json()["credential"]["state"] == "pending"
    })
    .await;
    look(&shots, &daemon, &[("key-store-notices", format!("/key-stores/{}", stage.key_store))]).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rotations_and_being_stuck_are_fit_to_be_looked_at() {
    let Some(shots) = shots() else { return };
    let scene =
        Scene::new("page-rotation", &format!("{QUICK}\nlook_interval = \"100ms\"\nremoval_wait = \"10m\"")).await;
    let id = scene.submit().await;
    scene.at_step(&id, "await_removal").await;
    look(&shots, &scene.daemon, &[("update-rotating", format!("/updates/{id}"))]).await;
    scene.daemon.terminate().await;
    let impatient = format!("{QUICK}\nlook_interval = \"100ms\"\nremoval_wait = \"1s\"");
    let scene = Scene::new("page-stuck", &impatient).await;
    let id = scene.submit().await;
    assert_eq!(scene.daemon.follow(&id).await["status"], "stuck");
    let pages = [("update-stuck", format!("/updates/{id}")), ("updates-stuck", "/updates".to_owned())];
    look(&shots, &scene.daemon, &pages).await;
    scene.daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn freezes_and_broken_glass_are_fit_to_be_looked_at() {
    let Some(shots) = shots() else { return };
    let people = [("admin", ADMIN, "admin"), ("approver", APPROVER, "approver")];
    let stage = Stage::guarded("page-frozen", "one", &people).await;
    let daemon = Daemon::start(&stage, None).await;
    probed(&daemon, &stage).await;
    let pages = [("freezes-none", "/freezes".to_owned()), ("freezes-refused", "/freezes".to_owned())];
    look_as(ADMIN, &shots, &daemon, &pages).await;
    for body in [
        json!({ "reason": "quarter end: no changes until the books are closed", "until": "2999-01-31T00:00:00Z" }),
        json!({ "reason": "the key manager behind it is being replaced", "key_store": stage.key_store }),
    ] {
        let set = daemon.try_call_as(ADMIN, "POST", "/v1/freeze", Some(&body)).await.unwrap();
        assert_eq!(set.status, 201, "{}", set.body);
    }
    let mut body = stage.body(json!({ "XksProxyUriEndpoint": NEW }));
    body["options"]["break_glass"] = json!({ "reason": "INC-4711: the present proxy burns, and approvers sleep" });
    let asked = daemon.try_call_as(ADMIN, "POST", "/v1/updates", Some(&body)).await.unwrap();
    assert_eq!(asked.status, 202, "{}", asked.body);
    let id = asked.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(daemon.follow(&id).await["status"], "verified");
    let pages = [
        ("freezes", "/freezes".to_owned()),
        ("overview-frozen", "/".to_owned()),
        ("key-store-frozen", format!("/key-stores/{}", stage.key_store)),
        ("preflight-glass", format!("/preflights?key_store={}", stage.key_store)),
        ("updates-glass", "/updates".to_owned()),
        ("update-glass", format!("/updates/{id}")),
    ];
    look_as(ADMIN, &shots, &daemon, &pages).await;
    daemon.terminate().await;
}
