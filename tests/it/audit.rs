//! The audit trail and the evidence of updates, through the real daemon and the real command.

mod evidence;
mod postgres;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::daemon::stage::{Daemon, NEW, Stage, TOKEN};
use crate::peers::{BINARY, SECRET};

const BOUND: std::time::Duration = std::time::Duration::from_mins(1);

/// How a command ended, and what it said.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) async fn command(arguments: &[&str]) -> Ended {
    let running = Command::new(BINARY).args(arguments).env("XKS_PREFLIGHT_TOKEN", TOKEN).output();
    let output = tokio::time::timeout(BOUND, running).await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// A daemon that signs evidence, and an update that it has carried out.
struct Scene {
    stage: Stage,
    daemon: Daemon,
    id: String,
}

impl Scene {
    async fn new(name: &str) -> Self {
        let stage = Stage::signing(name).await;
        let daemon = Daemon::start(&stage, None).await;
        let id = daemon.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
        assert_eq!(daemon.follow(&id).await["status"], "verified");
        Self { stage, daemon, id }
    }

    fn server(&self) -> String {
        format!("http://{}", self.daemon.address)
    }

    fn file(&self, name: &str, contents: &str) -> String {
        let path = self.stage.directory.join(name);
        fs::write(&path, contents).unwrap();
        path.to_str().unwrap().to_owned()
    }

    async fn exported(&self) -> String {
        let ended = command(&["audit", "export", "--server", &self.server()]).await;
        assert_eq!(ended.code, 0, "{}", ended.err);
        ended.out
    }
}

/// The head that `audit verify` shows.
fn head(told: &str) -> String {
    told.lines().next().and_then(|line| line.split_once("head ")).unwrap().1.to_owned()
}

/// What the lines of an exported trail say.
pub(crate) fn entries(trail: &str) -> Vec<Value> {
    trail.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["entry"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_decision_about_an_update_is_told_and_every_tampering_found() {
    let scene = Scene::new("audit").await;
    let trail = scene.exported().await;
    let told: Vec<String> = entries(&trail)
        .iter()
        .map(|entry| format!("{} {}", entry["action"].as_str().unwrap(), entry["decision"].as_str().unwrap()))
        .collect();
    let mutation = ["mutation_intended allowed", "mutation_settled recorded"];
    let verdict = ["report_kept recorded", "preflight_judged allowed"];
    let expected: Vec<&str> = [&["daemon_started recorded", "update_planned recorded"][..]]
        .into_iter()
        .chain([&verdict[..], &verdict[..]])
        .chain([&mutation[..], &mutation[..], &mutation[..]])
        .chain([&verdict[..], &["update_concluded recorded"][..]])
        .flatten()
        .copied()
        .collect();
    assert_eq!(told, expected);
    let entries = entries(&trail);
    assert!(entries[0]["message"].as_str().unwrap().contains("SHA-256 of the configuration file: "), "{}", entries[0]);
    let settled = entries.iter().filter(|entry| entry["action"] == "mutation_settled");
    assert!(settled.clone().all(|entry| entry["kms_request_id"].is_string()), "CloudTrail can be asked");
    assert!(
        entries[1..].iter().all(|entry| entry["plan"] == entries[1]["plan"] && entry["update"] == scene.id.as_str())
    );

    // Intact by every way of getting it.
    let file = scene.file("trail.jsonl", &trail);
    let from_file = command(&["audit", "verify", &file]).await;
    assert_eq!(from_file.code, 0, "{}{}", from_file.out, from_file.err);
    let head = head(&from_file.out);
    let journal = scene.stage.directory.join("journal.sqlite");
    for source in [["--server", &scene.server()], ["--journal", journal.to_str().unwrap()]] {
        let ended = command(&["audit", "verify", source[0], source[1], "--head", &head]).await;
        assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
        assert!(ended.out.contains("the remembered head"), "{}", ended.out);
    }

    // Each kind of tampering in its own words.
    let lines: Vec<&str> = trail.lines().collect();
    let joined = |lines: &[&str]| lines.iter().flat_map(|line| [*line, "\n"]).collect::<String>();
    let mut changed: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    changed[3] = changed[3].replacen("allowed", "Allowed", 1);
    let changed_byte = joined(&changed.iter().map(String::as_str).collect::<Vec<_>>());
    let denied = changed_byte.replacen("Allowed", "denied", 1);
    let mut removed = lines.clone();
    removed.remove(4);
    let mut swapped = lines.clone();
    swapped.swap(5, 6);
    let cut = &lines[..lines.len() - 1];
    for (name, contents, words) in [
        ("changed-byte", changed_byte, "broken at line 4: it was changed"),
        ("changed-decision", denied, "broken at line 4: entry 4 was changed"),
        ("removed", joined(&removed), "broken at line 5: entries 5 to 5 are missing: they were removed"),
        ("swapped", joined(&swapped), "broken at line 6: entry 7 stands where 6 belongs"),
        ("cut", joined(cut), "its end was cut off"),
    ] {
        let file = scene.file(name, &contents);
        let ended = command(&["audit", "verify", &file, "--head", &head]).await;
        assert_eq!(ended.code, 1, "{name}: {}{}", ended.out, ended.err);
        assert!(ended.out.contains(words), "{name}: {}", ended.out);
    }
    let usage = command(&["audit", "verify", &file, "--head", "nonsense"]).await;
    assert_eq!(usage.code, 2, "{}", usage.err);
    assert!(!trail.contains(SECRET) && !trail.contains(TOKEN));
    tampered_database(&scene.stage.directory, &journal, &head).await;
    scene.daemon.terminate().await;
}

/// What an administrator of the database can do to it, triggers or not.
async fn tampered_database(directory: &Path, journal: &Path, head: &str) {
    let copy = |name: &str, sql: &str| -> PathBuf {
        let path = directory.join(name);
        let source =
            rusqlite::Connection::open_with_flags(journal, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        source.execute("VACUUM INTO ?1", [path.to_str().unwrap()]).unwrap();
        let database = rusqlite::Connection::open(&path).unwrap();
        database.execute_batch("DROP TRIGGER audit_keeps_lines; DROP TRIGGER audit_changes_nothing;").unwrap();
        database.execute_batch(sql).unwrap();
        path
    };
    for (name, sql, words) in [
        (
            "db-changed",
            "UPDATE audit SET entry = replace(entry, 'allowed', 'denied') WHERE sequence = 4",
            "entry 4 was changed",
        ),
        ("db-removed", "DELETE FROM audit WHERE sequence = 4", "entries 4 to 4 are missing"),
        ("db-cut", "DELETE FROM audit WHERE sequence = (SELECT max(sequence) FROM audit)", "its end was cut off"),
    ] {
        let path = copy(name, sql);
        let ended = command(&["audit", "verify", "--journal", path.to_str().unwrap(), "--head", head]).await;
        assert_eq!(ended.code, 1, "{name}: {}{}", ended.out, ended.err);
        assert!(ended.out.contains(words), "{name}: {}", ended.out);
    }
}

/// One request without a token.
async fn stranger(address: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST /v1/updates HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer xkspf_WrongDoNotLeak\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_told_and_strangers_cannot_flood_the_trail() {
    let stage = Stage::new("audit-refusals").await;
    let daemon = Daemon::start(&stage, None).await;
    for _ in 0..100 {
        assert!(stranger(&daemon.address).await.starts_with("HTTP/1.1 401 "));
    }
    let wrong =
        daemon.call("POST", "/v1/updates/update-01890000-0000-7000-8000-000000000000/approve", Some(&json!({}))).await;
    assert_eq!(wrong.status, 403, "an operator approves nothing: {}", wrong.body);
    let trail = daemon.call("GET", "/v1/audit?limit=1000", None).await.json();
    let lines = trail["lines"].as_array().unwrap();
    let refused = |action: &str| {
        lines.iter().map(|line| &line["entry"]).filter(|entry| entry["action"] == action).cloned().collect::<Vec<_>>()
    };
    let strangers = refused("authenticate");
    assert!((30..=60).contains(&strangers.len()), "{}", strangers.len());
    assert!(strangers.iter().all(|entry| entry["by"].is_null() && entry["decision"] == "denied"));
    let [approval] = refused("approve_update").try_into().unwrap();
    assert_eq!(approval["by"], json!({ "name": "tester", "method": "token" }));
    assert_eq!(approval["update"], "update-01890000-0000-7000-8000-000000000000");
    assert!(approval["message"].as_str().unwrap().contains("forbidden"), "{approval}");
    assert!(!trail.to_string().contains("DoNotLeak"));
    let metrics = daemon.call("GET", "/metrics", None).await.body;
    assert!(metrics.contains("xks_preflight_audit_refusals_left_out_total 70"), "{metrics}");
    assert!(metrics.contains(&format!("xks_preflight_audit_entries {}", lines.len())), "{metrics}");

    // Without a key there is no evidence, and the answer says what to do.
    let key = daemon.call("GET", "/v1/audit/key", None).await;
    assert_eq!((key.status, key.json()["reason"].clone()), (409, json!("no_signing_key")));
    // The end counts what was left out.
    daemon.terminate().await;
    let journal = stage.directory.join("journal.sqlite");
    let exported = command(&["audit", "export", "--journal", journal.to_str().unwrap()]).await;
    assert_eq!(exported.code, 0, "{}", exported.err);
    let told = entries(&exported.out);
    assert!(told.iter().any(|entry| entry["action"] == "left_out" && entry["by"].is_null()), "{}", exported.out);
    assert_eq!(told.last().unwrap()["action"], "daemon_stopped");
    let verified = command(&["audit", "verify", "--journal", journal.to_str().unwrap()]).await;
    assert_eq!(verified.code, 0, "{}", verified.out);
}
