//! Candidates that are watched by the real daemon, and the hours of green that its gate asks for.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;
use xks_preflight::clock::Timestamp;
use xks_preflight::sandbox::fault::Fault;
use xks_preflight::sandbox::kms::{ConnectionState, KmsFault, Operation};

use crate::daemon::stage::{BOUND, Daemon, NEW, OLD, Stage, private, until};
use crate::kms_endpoint::client;
use crate::peers::{ACCESS_KEY_ID, BINARY, PATH, Run, write_console_file};

const ADMIN: &str = "xkspf_TestAdminDoNotLeak0123456789012345678901234";
const DEPLOY: &str = "XKSPFWHOLESEQUENCE22";
const COLD: [&str; 3] = ["DisconnectCustomKeyStore", "UpdateCustomKeyStore", "ConnectCustomKeyStore"];

/// A daemon that probes every second, and whose gate asks for so much green.
async fn stage(name: &str, require_green: &str) -> Stage {
    let stage = Stage::with_test_key(name).await;
    stage.with_people(&[("boss", ADMIN, "admin")]);
    // A busy machine may well let a few probes wait, and a restart takes its time.
    let lines = format!("[update]\nrequire_green = \"{require_green}\"\ngreen_gap = \"2m\"");
    stage.reconfigured("[update]", &lines);
    stage
}

/// With a candidate in the configuration.
fn plan_for_tuesday(stage: &Stage, members: &str) {
    let candidate = format!("[[key_stores.candidates]]\nname = \"tuesday\"\n{members}\n[monitor]");
    stage.reconfigured("[monitor]", &candidate);
}

fn to_new() -> String {
    format!("endpoint = \"{NEW}\"")
}

async fn reload(daemon: &Daemon) {
    let answer = daemon.try_call_as(ADMIN, "POST", "/-/reload", None).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// The only candidate, as the API shows it.
async fn candidate(stage: &Stage, daemon: &Daemon) -> Value {
    let answer = daemon.call("GET", &format!("/v1/key-stores/{}", stage.key_store), None).await;
    answer.json()["candidates"][0].clone()
}

/// The candidate, once it is in this state.
async fn when(stage: &Stage, daemon: &Daemon, wanted: &str) -> Value {
    until(BOUND, &format!("the candidate is {wanted}"), || async { candidate(stage, daemon).await["state"] == wanted })
        .await;
    candidate(stage, daemon).await
}

async fn metrics(daemon: &Daemon) -> String {
    daemon.call("GET", "/metrics", None).await.body
}

fn instant(value: &Value) -> Timestamp {
    Timestamp::parse(value.as_str().unwrap_or_else(|| panic!("{value} is no instant"))).unwrap()
}

async fn submit(stage: &Stage, daemon: &Daemon) -> (u16, Value) {
    let body = stage.body(json!({ "XksProxyUriEndpoint": NEW }));
    let answer = daemon.call("POST", "/v1/updates", Some(&body)).await;
    (answer.status, answer.json())
}

/// Asks for an update, which must be refused for want of green; why.
async fn refused(stage: &Stage, daemon: &Daemon) -> Value {
    let (status, problem) = submit(stage, daemon).await;
    assert_eq!((status, &problem["reason"]), (423, &json!("not_green")), "{problem:#}");
    assert!(stage.mutating_calls().is_empty(), "{:?}", stage.mutating_calls());
    problem
}

async fn command(stage: &Stage, daemon: &Daemon, arguments: &[&str]) -> Run {
    let mut command = Command::new(BINARY);
    command
        .args(["update"])
        .args(arguments)
        .args(["--key-store", &stage.key_store, "--endpoint", NEW, "--acknowledge-outage"])
        .env("XKS_PREFLIGHT_SERVER", format!("http://{}", daemon.address))
        .env("XKS_PREFLIGHT_TOKEN", crate::daemon::stage::TOKEN)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    Run::from(tokio::time::timeout(BOUND, command.output()).await.unwrap().unwrap())
}

/// The whole story: planned on Friday, refused while it is too early, remembered over a restart, and made on Tuesday.
#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_is_watched_from_a_reload_on_and_the_gate_waits_for_its_green() {
    let stage = stage("candidate-story", "2h").await;
    let daemon = Daemon::start(&stage, None).await;
    let problem = refused(&stage, &daemon).await;
    assert!(problem["detail"].as_str().unwrap().contains("needs 2 h of green; no candidate"), "{problem:#}");
    assert!(metrics(&daemon).await.contains("gate_denials_total{reason=\"not_green\"} 1"));

    plan_for_tuesday(&stage, &to_new());
    reload(&daemon).await;
    let green = when(&stage, &daemon, "green").await;
    assert_eq!((&green["name"], &green["required_seconds"]), (&json!("tuesday"), &json!(7_200)), "{green:#}");
    assert_eq!((&green["settings"]["UriEndpoint"], &green["settings"]["UriPath"]), (&json!(NEW), &json!(PATH)));
    assert_eq!(green["latest"]["verdict"], "ready", "{green:#}");
    let report = format!("/v1/preflights/{}", green["latest"]["report"].as_str().unwrap());
    let report = daemon.call("GET", &report, None).await.json();
    let continuity = |finding: &&Value| finding["check"] == "key.continuity";
    let finding = report["findings"].as_array().unwrap().iter().find(continuity).unwrap();
    assert_eq!(finding["outcome"], "passed", "the keys are compared, too: {finding:#}");
    let labels = format!("{{key_store=\"{}\",candidate=\"tuesday\"}}", stage.key_store);
    let since = instant(&green["green_since"]);
    let shown = metrics(&daemon).await;
    for line in [
        format!("xks_preflight_candidate_probe_success{labels} 1"),
        format!("xks_preflight_candidate_green_since_timestamp_seconds{labels} {}", since.unix()),
        format!("xks_preflight_candidate_green_required_seconds{labels} 7200"),
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }

    // Too early: told with the time from which on it may begin, to whatever asks.
    let problem = refused(&stage, &daemon).await;
    assert!(problem["detail"].as_str().unwrap().contains("candidate tuesday has"), "{problem:#}");
    assert_eq!(problem["until"], green["enough_at"], "{problem:#}");
    let body = stage.body(json!({ "XksProxyUriEndpoint": NEW, "dry_run": true }));
    let planned = daemon.call("POST", "/v1/updates", Some(&body)).await.json();
    assert_eq!(planned["report"]["verdict"], "ready");
    assert_eq!((&planned["barred"]["reason"], &planned["barred"]["waits"]), (&json!("not_green"), &json!(false)));
    for arguments in [["plan"].as_slice(), ["apply", "--wait"].as_slice()] {
        let run = command(&stage, &daemon, arguments).await;
        assert_eq!(run.code, 4, "{arguments:?}: {}\n{}", run.stdout, run.stderr);
        let told = format!("{}{}", run.stdout, run.stderr);
        assert!(told.contains("candidate tuesday has") && told.contains("first possible at"), "{told}");
    }
    let sdk = client(&daemon, DEPLOY, None);
    let asked = sdk.update_custom_key_store().custom_key_store_id(&stage.key_store).xks_proxy_uri_endpoint(NEW);
    let answer = asked.send().await.unwrap_err().into_service_error();
    assert!(answer.is_custom_key_store_invalid_state_exception(), "{answer:?}");
    assert!(answer.meta().message().is_some_and(|told| told.contains("needs 2 h of green")), "{answer:?}");
    assert!(stage.mutating_calls().is_empty(), "{:?}", stage.mutating_calls());

    // A restart forgets nothing.
    daemon.terminate().await;
    let daemon = Daemon::start(&stage, None).await;
    let again = when(&stage, &daemon, "green").await;
    assert_eq!(instant(&again["green_since"]), since);
    let problem = refused(&stage, &daemon).await;
    assert_eq!(problem["until"], green["enough_at"], "{problem:#}");

    stage.reconfigured("require_green = \"2h\"", "require_green = \"1s\"");
    reload(&daemon).await;
    until(BOUND, "it has been green for a second", || async {
        candidate(&stage, &daemon).await["green_seconds"].as_u64() >= Some(1)
    })
    .await;
    let (status, update) = submit(&stage, &daemon).await;
    assert_eq!(status, 202, "{update:#}");
    let ended = daemon.follow(update["id"].as_str().unwrap()).await;
    assert_eq!(ended["status"], "verified", "{ended:#}");
    assert_eq!(stage.mutations(), COLD);
    // Nothing is left to watch.
    let done = when(&stage, &daemon, "in_force").await;
    assert!(done["green_since"].is_null() && done["latest"].is_null(), "{done:#}");
    assert!(!metrics(&daemon).await.contains("candidate_probe_success{"));
    // A name is no matter of the proxy.
    let id = daemon.submit(&stage, json!({ "NewCustomKeyStoreName": "renamed" })).await;
    assert_eq!(daemon.follow(&id).await["status"], "verified");
    daemon.terminate().await;
}

/// An update that will be let in within its time is taken, waits, and begins by itself, and not before.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_waits_for_green_that_comes_in_time() {
    let stage = stage("candidate-waits", "15s").await;
    plan_for_tuesday(&stage, &to_new());
    let daemon = Daemon::start(&stage, None).await;
    let enough_at = instant(&when(&stage, &daemon, "green").await["enough_at"]);
    let (status, update) = submit(&stage, &daemon).await;
    assert_eq!(status, 202, "{update:#}");
    let id = update["id"].as_str().unwrap();
    until(BOUND, "it says what it waits for", || async {
        let update = daemon.call("GET", &format!("/v1/updates/{id}"), None).await.json();
        let told = update["waiting_for"].as_str().is_some_and(|told| told.contains("needs 15 s of green"));
        told || update["status"] == "verified"
    })
    .await;
    let ended = daemon.follow(id).await;
    assert_eq!(ended["status"], "verified", "{ended:#}");
    let events = daemon.call("GET", &format!("/v1/updates/{id}/events"), None).await.body;
    let events = events.lines().filter_map(|line| line.strip_prefix("data:"));
    let events: Vec<Value> = events.filter_map(|event| serde_json::from_str(event).ok()).collect();
    let intended = events.iter().find(|event| event["event"] == "step_intended").unwrap();
    assert!(instant(&intended["at"]) >= enough_at, "{intended:#} before {enough_at}");
    daemon.terminate().await;
}

/// Red ends it: whoever asks is told why, and what comes after counts from then on.
#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_turns_red_loses_its_green() {
    let stage = stage("candidate-red", "1s").await;
    plan_for_tuesday(&stage, &to_new());
    let daemon = Daemon::start(&stage, None).await;
    let since = instant(&when(&stage, &daemon, "green").await["green_since"]);
    stage.new.set_fault("certificate-expired".parse::<Fault>().unwrap()).await;
    let red = when(&stage, &daemon, "red").await;
    assert!(red["green_since"].is_null() && red["enough_at"].is_null(), "{red:#}");
    assert_eq!((&red["latest"]["verdict"], &red["latest"]["check"]), (&json!("blocked"), &json!("tls.validity")));
    let shown = metrics(&daemon).await;
    let success = shown.lines().find(|line| line.starts_with("xks_preflight_candidate_probe_success{")).unwrap();
    assert!(success.contains("tuesday") && success.ends_with(" 0"), "{success}");
    let problem = refused(&stage, &daemon).await;
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("candidate tuesday was blocked at") && detail.contains("tls.validity"), "{detail}");
    assert!(problem["until"].is_null(), "{problem:#}");

    stage.new.set_fault(None).await;
    let again = when(&stage, &daemon, "green").await;
    assert!(instant(&again["green_since"]) > since, "{again:#}");
    daemon.terminate().await;
}

/// The secret is part of the settings: another value at its source begins anew.
#[tokio::test(flavor = "multi_thread")]
async fn another_credential_at_its_source_begins_anew() {
    let stage = stage("candidate-credential", "2h").await;
    let (second, third) = ("SANDBOXSECONDACCESSKEYID", "SANDBOXTHIRDACCESSKEYIDS");
    let secret = "TestSecretDoNotLeakSecond0123456789abcdefghijklm";
    let next = stage.directory.join("next.secret.json");
    let show = |id: &str| {
        private(&next);
        write_console_file(&next, PATH, secret);
        let text = std::fs::read_to_string(&next).unwrap().replace(ACCESS_KEY_ID, id);
        std::fs::write(&next, text).unwrap();
    };
    for id in [second, third] {
        stage.new.add_credential(id, secret.to_owned());
    }
    show(second);
    let credentials = "[credentials.next]\nconsole_file = \"next.secret.json\"\nrefresh = \"1s\"\n[credentials.proxy]";
    stage.reconfigured("[credentials.proxy]", credentials);
    plan_for_tuesday(&stage, &format!("{}\ncredential = \"next\"", to_new()));
    let daemon = Daemon::start(&stage, None).await;
    let green = when(&stage, &daemon, "green").await;
    assert_eq!(green["settings"]["AccessKeyId"], second, "{green:#}");
    // Of an update to the endpoint alone something differs: the credential.
    let problem = refused(&stage, &daemon).await;
    assert!(problem["detail"].as_str().unwrap().contains("of tuesday something differs"), "{problem:#}");
    let body = json!({ "XksProxyUriEndpoint": NEW, "XksProxyAuthenticationCredential": { "Source": "next" } });
    let problem = daemon.call("POST", "/v1/updates", Some(&stage.body(body))).await.json();
    assert_eq!(problem["until"], green["enough_at"], "{problem:#}");

    show(third);
    until(BOUND, "the other credential is used", || async {
        let shown = candidate(&stage, &daemon).await;
        shown["settings"]["AccessKeyId"] == third && shown["state"] == "green"
    })
    .await;
    let anew = candidate(&stage, &daemon).await;
    assert!(instant(&anew["green_since"]) > instant(&green["green_since"]), "{anew:#}");
    daemon.terminate().await;
}

/// Break-glass passes by, loudly; the way back after a failure needs no green either.
#[tokio::test(flavor = "multi_thread")]
async fn broken_glass_passes_by_green_and_so_does_the_way_back() {
    let stage = stage("candidate-glass", "2h").await;
    let daemon = Daemon::start(&stage, None).await;
    let mut body = stage.body(json!({ "XksProxyUriEndpoint": NEW }));
    body["options"]["break_glass"] = json!({ "reason": "the proxy burns" });
    let forbidden = daemon.call("POST", "/v1/updates", Some(&body)).await;
    assert_eq!(forbidden.status, 403, "{}", forbidden.body);
    // The connect fails, and KMS has the former settings again at once.
    let fails = KmsFault::ConnectFails("XKS_PROXY_NOT_REACHABLE".to_owned());
    stage.kms.inject(Operation::ConnectCustomKeyStore, fails, 1);
    let taken = daemon.try_call_as(ADMIN, "POST", "/v1/updates", Some(&body)).await.unwrap();
    assert_eq!(taken.status, 202, "{}", taken.body);
    let id = taken.json()["id"].as_str().unwrap().to_owned();
    let ended = daemon.follow(&id).await;
    assert_eq!(ended["status"], "rolled_back", "{ended:#}");
    assert_eq!(stage.shown(), (OLD.to_owned(), ConnectionState::Connected));
    let events = daemon.call("GET", &format!("/v1/updates/{id}/events"), None).await.body;
    assert!(events.contains("\"passed_by\":[\"green\"]"), "{events}");
    daemon.terminate().await;
}
