//! Signed evidence of updates: what it proves, and every way in which it may contradict itself.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use xks_preflight::audit::{EVIDENCE_SCHEMA, Evidence, Head, Line, SigningKey, document_hash};

use super::{Scene, command};
use crate::peers::SECRET;

#[tokio::test(flavor = "multi_thread")]
async fn evidence_is_verified_offline_and_no_changed_one_is() {
    let scene = Scene::new("evidence").await;
    let server = scene.server();
    let key = command(&["audit", "key", "--server", &server]).await;
    assert_eq!(key.code, 0, "{}", key.err);
    let key = scene.file("gate.pem", &key.out);
    let bundle = command(&["audit", "evidence", &scene.id, "--server", &server]).await;
    assert_eq!(bundle.code, 0, "{}", bundle.err);
    let bundle = bundle.out;
    scene.daemon.terminate().await;

    let directory = scene.stage.directory.clone();
    let judged = async |name: &str, bundle: &str, key: &str| {
        let file = directory.join(name);
        fs::write(&file, bundle).unwrap();
        command(&["audit", "verify-evidence", file.to_str().unwrap(), "--public-key", key]).await
    };
    let proven = judged("evidence.json", &bundle, &key).await;
    assert_eq!(proven.code, 0, "{}{}", proven.out, proven.err);
    for words in
        ["ended verified at", "3 reports of its pre-flights", "disconnect: done; KMS request id", "not proven:"]
    {
        assert!(proven.out.contains(words), "{words}: {}", proven.out);
    }
    assert!(!proven.out.contains("unknown"), "{}", proven.out);

    // Whatever is changed in the envelope.
    let envelope: Value = serde_json::from_str(&bundle).unwrap();
    let payload = envelope["payload"].as_str().unwrap();
    let other = if payload.as_bytes()[200] == b'A' { 'B' } else { 'A' };
    let mut changed = envelope.clone();
    changed["payload"] = json!(format!("{}{other}{}", &payload[..200], &payload[201..]));
    let refused = judged("changed.json", &changed.to_string(), &key).await;
    assert_eq!(refused.code, 1, "{}", refused.out);
    assert!(refused.out.contains("the signature does not hold"), "{}", refused.out);
    let mut unsigned = envelope.clone();
    unsigned["signatures"] = json!([]);
    assert_eq!(judged("unsigned.json", &unsigned.to_string(), &key).await.code, 1);

    // Signed by somebody else: another key.
    let other = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
    let other = scene.stage.directory.join("other.pem").to_str().map(|path| (path.to_owned(), fs::write(path, other)));
    let refused = judged("other.json", &bundle, &other.unwrap().0).await;
    assert_eq!(refused.code, 1, "{}", refused.out);
    assert!(refused.out.contains("signed with key"), "{}", refused.out);
    assert!(!bundle.contains(SECRET));
}

/// Rechained from the first line on, so that only the contents can contradict.
fn rechained(evidence: &mut Evidence) {
    let first = &evidence.lines[0];
    let mut head = Head { sequence: first.sequence - 1, hash: first.previous };
    for line in &mut evidence.lines {
        *line = Line::following(head, line.entry.clone().unwrap());
        head = line.head();
    }
    evidence.head = head;
}

/// The line that has this in its entry.
fn line_with(evidence: &Evidence, text: &str) -> usize {
    evidence.lines.iter().position(|line| line.to_string().contains(text)).unwrap()
}

type Tampering = fn(&mut Evidence);

/// Whoever has the signing key can sign anything; what contradicts itself is refused all the same.
const TAMPERINGS: [(&str, Tampering, &str); 13] = [
    (
        "a plan's digest",
        |it| it.plan_digest = serde_json::from_value(json!("0".repeat(64))).unwrap(),
        "the plan is another",
    ),
    (
        "an update's key store",
        |it| it.key_store = serde_json::from_value(json!("cks-another")).unwrap(),
        "the plan is another",
    ),
    ("an event is missing", |it| drop(it.events.remove(4)), "one is missing before 5"),
    (
        "an event is missing, and the others are renumbered",
        |it| {
            it.events.remove(4);
            for (event, number) in it.events.iter_mut().zip(1..) {
                event.sequence = number;
            }
        },
        "",
    ),
    (
        "events in another order",
        |it| {
            it.events.swap(4, 5);
            let [one, other] = &mut it.events[4..6] else { panic!("two") };
            std::mem::swap(&mut one.sequence, &mut other.sequence);
        },
        "",
    ),
    (
        "an event's time",
        |it| {
            let last = it.events.last_mut().unwrap();
            last.at = last.at.plus(std::time::Duration::from_secs(1));
        },
        "says something else than event",
    ),
    (
        "an outcome",
        |it| {
            let mut event = serde_json::to_value(&it.events).unwrap();
            let settled =
                event.as_array_mut().unwrap().iter_mut().find(|event| event.to_string().contains("request_id"));
            let text = settled.as_ref().unwrap().to_string();
            let id = text.split("request_id\":\"").nth(1).unwrap().split('"').next().unwrap();
            *settled.unwrap() =
                serde_json::from_str(&text.replace(id, "00000000-0000-0000-0000-000000000000")).unwrap();
            it.events = serde_json::from_value(event).unwrap();
        },
        "says something else than event",
    ),
    ("a line is missing", |it| drop(it.lines.remove(3)), "are missing: they were removed"),
    ("lines in another order", |it| it.lines.swap(2, 3), "broken at line"),
    (
        "a line that was written anew, and the chain with it",
        |it| {
            let at = line_with(it, "mutation_intended");
            it.lines[at].entry.as_mut().unwrap().message = String::from("nothing was sent");
            rechained(it);
        },
        "says something else than event",
    ),
    (
        "a line without its event's contents",
        |it| {
            let at = line_with(it, "update_concluded");
            it.lines[at].entry = None;
        },
        "the audit trail has no entry for event",
    ),
    ("a head before the last line", |it| it.head = it.lines[0].head(), "the audit trail has no entry for event"),
    (
        "a report",
        |it| it.reports[0].document = it.reports[0].document.replacen("\"ready\"", "\"blocked\"", 1),
        "is not the one whose SHA-256 is in the audit trail",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rightly_signed_and_contradicts_itself_is_refused() {
    let scene = Scene::new("evidence-contradictions").await;
    let bundle = command(&["audit", "evidence", &scene.id, "--server", &scene.server()]).await;
    assert_eq!(bundle.code, 0, "{}", bundle.err);
    scene.daemon.terminate().await;
    let pem = fs::read_to_string(scene.stage.directory.join("audit-key.secret")).unwrap();
    let key = SigningKey::parse(&pem).unwrap();
    let envelope: Value = serde_json::from_str(&bundle.out).unwrap();
    let payload = STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap();
    let sound: Evidence = serde_json::from_slice(&payload).unwrap();
    let public = scene.stage.directory.join("gate.pem");
    fs::write(&public, key.public().pem()).unwrap();
    let judged = async |payload: &str| {
        let file = scene.stage.directory.join("signed.json");
        fs::write(&file, serde_json::to_string(&key.envelope(payload)).unwrap()).unwrap();
        command(&["audit", "verify-evidence", file.to_str().unwrap(), "--public-key", public.to_str().unwrap()]).await
    };
    let proven = judged(&sound.payload().unwrap()).await;
    assert_eq!(proven.code, 0, "{}{}", proven.out, proven.err);
    assert_eq!(proven.out.matches("not proven:").count(), 1, "{}", proven.out);
    for (name, tamper, words) in TAMPERINGS {
        let mut evidence = sound.clone();
        tamper(&mut evidence);
        assert_ne!(evidence, sound, "{name}");
        let refused = judged(&evidence.payload().unwrap()).await;
        assert_eq!(refused.code, 1, "{name}: {}{}", refused.out, refused.err);
        assert!(refused.out.starts_with("refused: ") && refused.out.contains(words), "{name}: {}", refused.out);
    }
    // What the types of this program cannot even say.
    let text = sound.payload().unwrap();
    for (name, from, to, words) in [
        ("a value in the plan", "https://new.xks.example.com", "https://old.xks.example.com", "cannot be read"),
        ("another schema", EVIDENCE_SCHEMA, "xks-preflight/evidence/2", "has the schema"),
        ("a member more", "{\"schema\"", "{\"more\":1,\"schema\"", "cannot be read"),
    ] {
        assert!(text.contains(from), "{name}");
        let refused = judged(&text.replacen(from, to, 1)).await;
        assert_eq!(refused.code, 1, "{name}: {}{}", refused.out, refused.err);
        assert!(refused.out.contains(words), "{name}: {}", refused.out);
    }
    // A report whose verdict is another one than was recorded, with the trail made to fit it.
    let mut evidence = sound.clone();
    let report = &mut evidence.reports[0];
    report.document = report.document.replacen("\"ready\"", "\"blocked\"", 1);
    let (id, hash) = (report.id, document_hash(report.document.as_bytes()));
    for line in &mut evidence.lines {
        let entry = line.entry.as_mut().unwrap();
        if entry.document.is_some() && entry.report == Some(id) {
            entry.document = Some(hash);
        }
    }
    rechained(&mut evidence);
    let refused = judged(&evidence.payload().unwrap()).await;
    assert!(refused.out.contains("has another verdict than the one that was recorded"), "{}", refused.out);
    // Words of another version are no contradiction, and are told.
    let mut evidence = sound;
    evidence.version = String::from("0.0.1");
    let at = line_with(&evidence, "mutation_intended");
    evidence.lines[at].entry.as_mut().unwrap().message = String::from("put otherwise");
    rechained(&mut evidence);
    let told = judged(&evidence.payload().unwrap()).await;
    assert_eq!(told.code, 0, "{}", told.out);
    assert!(told.out.contains("; version 0.0.1 chose them"), "{}", told.out);
}
