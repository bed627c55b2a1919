//! Freezes, the glass, approvals on a terminal, conditions, and daemons that are not there.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use xks_preflight::sandbox::kms::ConnectionState;

use super::{run, run_at};
use crate::daemon::stage::{BOUND, Daemon, NEW, OLD, Stage, TOKEN, until};
use crate::peers::{BINARY, Run};

const COLD: [&str; 3] = ["DisconnectCustomKeyStore", "UpdateCustomKeyStore", "ConnectCustomKeyStore"];
const ANN: &str = "xkspf_TestApproverDoNotLeakA123456789012345678901";
const ROOT: &str = "xkspf_TestAdministratorDoNotLeak123456789012345";

async fn guarded(name: &str) -> (Stage, Daemon) {
    let stage = Stage::guarded(name, "one", &[("ann", ANN, "approver"), ("root", ROOT, "admin")]).await;
    let daemon = Daemon::start(&stage, None).await;
    (stage, daemon)
}

fn ended(run: &Run, code: i32, words: &str) {
    let told = format!("{}{}", run.stdout, run.stderr);
    assert_eq!(run.code, code, "{told}");
    assert!(told.contains(words), "{words}\n{told}");
    assert!(!told.contains("DoNotLeak"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_stops_everybody_but_who_breaks_the_glass() {
    let (stage, daemon) = guarded("command-glass").await;
    let apply =
        ["update", "apply", "--key-store", &stage.key_store, "--endpoint", NEW, "--acknowledge-outage", "--wait"];
    let broken = [&apply[..], &["--break-glass", "--reason", "the proxy burns"]].concat();
    let set = ["freeze", "set", "--all", "--reason", "quarter end", "--until", "2h"];
    ended(&run(&daemon, TOKEN, &["freeze", "show"]).await, 0, "Nothing is frozen.");
    ended(&run(&daemon, TOKEN, &set).await, 4, "forbidden");
    ended(&run(&daemon, ROOT, &set).await, 0, "In force:\nFreeze of every key store\n  because       quarter end\n");
    ended(&run(&daemon, TOKEN, &["freeze", "show"]).await, 0, "  by            root, since 2");
    ended(&run(&daemon, TOKEN, &apply).await, 4, "quarter end");
    ended(&run(&daemon, TOKEN, &broken).await, 4, "forbidden");
    ended(&run(&daemon, ROOT, &broken[..broken.len() - 2]).await, 2, "--reason");
    assert!(stage.mutating_calls().is_empty(), "{:?}", stage.mutating_calls());

    let done = run(&daemon, ROOT, &broken).await;
    ended(&done, 0, "root BROKE THE GLASS (the proxy burns), which passes by: approval, freeze");
    ended(&done, 0, "break-glass   the proxy burns");
    assert_eq!(stage.mutations(), COLD);
    assert_eq!(stage.shown(), (NEW.to_owned(), ConnectionState::Connected));

    ended(&run(&daemon, ROOT, &["freeze", "lift"]).await, 2, "--all");
    let one = ["freeze", "lift", "--key-store", &stage.key_store];
    ended(&run(&daemon, ROOT, &one).await, 2, "not_frozen");
    let lift = ["freeze", "lift", "--all", "--output", "json"];
    let lifted = run(&daemon, ROOT, &lift).await;
    assert_eq!(lifted.json()["reason"], "quarter end");
    ended(&run(&daemon, ROOT, &lift).await, 2, "not_frozen");
    daemon.terminate().await;
}

/// Asks for a change with the binary, and waits until it is up for approval; its id.
async fn proposed(stage: &Stage, daemon: &Daemon, author: &str, endpoint: &str) -> String {
    let apply = ["update", "apply", "--key-store", &stage.key_store, "--endpoint", endpoint, "--acknowledge-outage"];
    let taken = run(daemon, author, &[&apply[..], &["--output", "json"]].concat()).await;
    ended(&taken, 0, "is taken");
    let id = taken.json()["id"].as_str().unwrap().to_owned();
    until(BOUND, "it waits", || async { shown(daemon, &id).await["status"] == "awaiting_approval" }).await;
    id
}

async fn shown(daemon: &Daemon, id: &str) -> Value {
    run(daemon, TOKEN, &["update", "status", id, "--output", "json"]).await.json()
}

/// Runs `update approve` on a terminal of its own, and answers its question.
async fn asked(daemon: &Daemon, token: &str, id: &str, answer: &str) -> Run {
    let mut terminal = tokio::process::Command::new("python3");
    terminal.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/terminal.py"));
    terminal.args(["Type yes: ", answer, BINARY, "update", "approve", id, "--wait"]);
    terminal.env("XKS_PREFLIGHT_SERVER", format!("http://{}", daemon.address)).env("XKS_PREFLIGHT_TOKEN", token);
    let output = terminal.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    let run = Run::from(output);
    assert_ne!(run.code, 99, "the question never came: {}{}", run.stdout, run.stderr);
    run
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_asked_for_on_the_terminal() {
    let (stage, daemon) = guarded("command-approve").await;
    let id = proposed(&stage, &daemon, ROOT, NEW).await;
    ended(&run(&daemon, ANN, &["update", "approve", &id]).await, 2, "without a terminal: give --digest");
    for answer in ["", "y", "no", "yes please"] {
        ended(&asked(&daemon, ANN, &id, answer).await, 4, "not approved");
    }
    ended(&asked(&daemon, TOKEN, &id, "yes").await, 4, "forbidden");
    ended(&asked(&daemon, ROOT, &id, "yes").await, 4, "author_may_not_approve");
    assert!(stage.mutating_calls().is_empty());
    let yes = asked(&daemon, ANN, &id, "yes").await;
    let digest = shown(&daemon, &id).await["plan"]["digest"].as_str().unwrap().to_owned();
    for words in [
        &format!("XksProxyUriEndpoint: {OLD} -> {NEW}"),
        "about 10 minutes without",
        &digest,
        "approval digest",
        "is the outage known to whoever depends on the keys?",
        "approved by ann",
        "status        verified",
    ] {
        ended(&yes, 0, words);
    }
    assert_eq!(stage.mutations(), COLD);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_approval_of_the_readme_is_one_and_a_stale_condition_is_none() {
    let (stage, daemon) = guarded("command-readme").await;
    let id = proposed(&stage, &daemon, TOKEN, NEW).await;
    let seen = shown(&daemon, &id).await["last_event"].as_u64().unwrap();
    ended(&run(&daemon, TOKEN, &["update", "status", &id]).await, 0, &format!("last event    {seen}"));
    let earlier = (seen - 1).to_string();
    for order in ["cancel", "rollback", "approve"] {
        let mut arguments = vec!["update", order, &id, "--if-match", &earlier];
        let digest = "0".repeat(64);
        if order == "approve" {
            arguments.extend(["--digest", &digest]);
        }
        let token = if order == "approve" { ANN } else { TOKEN };
        ended(&run(&daemon, token, &arguments).await, 4, "stale");
    }
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let line = readme.lines().find_map(|line| line.strip_prefix("$ xks-preflight update approve ")).unwrap();
    let update = shown(&daemon, &id).await;
    let line = line.replace("update-0193...", &id).replace("5a3f...", update["approval_digest"].as_str().unwrap());
    assert!(!line.contains("..."), "{line}");
    let approve: Vec<&str> = ["update", "approve"].into_iter().chain(line.split_whitespace()).collect();
    ended(&run(&daemon, ANN, &approve).await, 0, "status        verified");
    assert_eq!(stage.mutations(), COLD);

    // What has not begun can be cancelled by whoever saw it as it is.
    let id = proposed(&stage, &daemon, TOKEN, OLD).await;
    let seen = shown(&daemon, &id).await["last_event"].to_string();
    ended(&run(&daemon, TOKEN, &["update", "cancel", &id, "--if-match", &seen, "--wait"]).await, 0, "abandoned");
    assert_eq!(stage.mutations(), COLD);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_the_daemon_has_judged_nothing() {
    let stage = Stage::new("command-nobody").await;
    let daemon = Daemon::start(&stage, None).await;
    let plan = ["update", "plan", "--key-store", &stage.key_store, "--endpoint", NEW];
    let apply = ["update", "apply", "--key-store", &stage.key_store, "--endpoint", NEW, "--acknowledge-outage"];
    let nobody = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", free.local_addr().unwrap())
    };
    for (server, words) in [
        (nobody, "is the daemon running there"),
        (format!("http://{}", daemon.kms_endpoint), "is --server right?"),
        (format!("https://{}", daemon.address), "does not speak TLS"),
        (stage.kms.endpoint_url(), "is --server right?"),
        (format!("https://{}", stage.new.address()), "cannot be trusted"),
    ] {
        for command in [&plan[..], &apply, &["freeze", "show"], &["audit", "verify"]] {
            ended(&run_at(&server, TOKEN, command).await, 3, words);
        }
    }
    // A candidate that is blocked is something else.
    stage.new.set_fault("certificate-expired".parse::<xks_preflight::sandbox::fault::Fault>().unwrap()).await;
    ended(&run(&daemon, TOKEN, &[&plan[..], &["--acknowledge-outage"]].concat()).await, 1, "tls.validity");
    assert_eq!(json!(stage.mutating_calls()), json!([]));
    daemon.terminate().await;
}
