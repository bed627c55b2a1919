//! Answers that must never count: a server that is no daemon, is another one, or speaks of something else.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::elsewhere::{MAIN, run};
use super::{finding, preflight};
use crate::daemon::stage::{Daemon, Stage};

/// A server that gives to everybody what it was told to, and remembers what it was asked.
struct Impostor {
    address: String,
    answer: Arc<Mutex<Option<Vec<u8>>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Impostor {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (answer, asked) = (Arc::<Mutex<Option<Vec<u8>>>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (given, noted) = (Arc::clone(&answer), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&given), Arc::clone(&noted)));
            }
        });
        Self { address, answer, asked }
    }

    fn gives(&self, answer: impl Into<Vec<u8>>) {
        *self.answer.lock().unwrap() = Some(answer.into());
    }

    fn gives_report(&self, report: &Value) {
        self.gives(http(&report.to_string()));
    }
}

fn http(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Reads a whole request, then answers; without an answer it keeps still for as long as it is let.
async fn serve(mut stream: TcpStream, answer: Arc<Mutex<Option<Vec<u8>>>>, asked: Arc<Mutex<Vec<String>>>) {
    let mut read = Vec::new();
    let mut part = [0_u8; 4096];
    loop {
        let count = stream.read(&mut part).await.unwrap_or(0);
        read.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&read).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n").filter(|_| count > 0) else { return };
        let length =
            head.to_ascii_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            asked.lock().unwrap().push(text);
            break;
        }
    }
    let answer = answer.lock().unwrap().clone();
    match answer {
        Some(answer) => drop(stream.write_all(&answer).await),
        // Until the other side has had enough.
        None => drop(stream.read(&mut part).await),
    }
}

async fn staged(name: &str) -> (Stage, Impostor, Daemon) {
    let stage = Stage::new(name).await;
    let impostor = Impostor::start().await;
    let url = &impostor.address;
    stage.configured_with(&format!("[[perspectives]]\nname = \"eu\"\nurl = \"http://{url}\"\ntimeout = \"2s\"\n"));
    let daemon = run(&stage, "config.toml", MAIN).await;
    (stage, impostor, daemon)
}

/// What is changed in a right answer.
type Change = fn(&mut Value);

/// A right answer, as a daemon of that name would give it to the question that was asked.
async fn right(stage: &Stage, daemon: &Daemon) -> Value {
    let mut body = stage.body(json!({ "XksProxyUriEndpoint": crate::daemon::stage::NEW }));
    body["options"]["perspectives"] = json!(false);
    let answer = daemon.call("POST", "/v1/preflights", Some(&body)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let mut report = answer.json();
    assert_eq!(report["verdict"], "ready", "{report:#}");
    assert_eq!(report["perspectives"], json!([]), "nobody was asked");
    report["perspective"] = json!("eu");
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_whole_report_about_what_was_asked_by_who_was_meant_counts() {
    let (stage, impostor, daemon) = staged("impostors").await;
    let good = right(&stage, &daemon).await;
    impostor.gives_report(&good);
    assert_eq!(preflight(&stage, &daemon).await["verdict"], "ready", "the control");

    let changes: [(&str, Change, &str); 12] = [
        ("another name", |report| report["perspective"] = json!("us"), "a misconfiguration is likely"),
        ("another schema", |report| report["schema"] = json!("xks-preflight/report/2"), "has the schema"),
        ("another host", |report| report["subject"]["endpoint"] = json!("https://evil.example.com"), "(endpoint)"),
        ("another path", |report| report["subject"]["path"] = json!("/kms/xks/v1"), "(path)"),
        ("another Region", |report| report["subject"]["region"] = json!("us-west-2"), "(region)"),
        (
            "another key id",
            |report| report["subject"]["access_key_id"] = json!("AKIAI2SFODNN7EXAMPLE"),
            "(access_key_id)",
        ),
        ("another secret", |report| report["subject"]["settings_digest"] = json!("00"), "(settings_digest)"),
        ("a verdict unheard of", |report| report["verdict"] = json!("splendid"), "no report that is understood"),
        ("no findings", |report| report["findings"] = json!([]), "contradicts itself"),
        ("nothing looked at", |report| report["addresses"] = json!([]), "contradicts itself"),
        (
            "ready with a failed must",
            |report| {
                let findings = report["findings"].as_array_mut().unwrap();
                findings.iter_mut().find(|one| one["check"] == "tls.validity").unwrap()["outcome"] = json!("failed");
            },
            "it says ready, and tls.validity is failed",
        ),
        ("no id", |report| report["id"] = json!("../../etc/passwd"), "no report that is understood"),
    ];
    for (what, change, told) in changes {
        let mut report = good.clone();
        change(&mut report);
        impostor.gives_report(&report);
        does_not_count(&stage, &daemon, what, told).await;
    }
    daemon.terminate().await;
}

/// What the impostor gives is no answer, whatever else is well.
async fn does_not_count(stage: &Stage, daemon: &Daemon, what: &str, told: &str) {
    let report = preflight(stage, daemon).await;
    assert_eq!(report["verdict"], "inconclusive", "{what}: {report:#}");
    let other = &report["perspectives"][0];
    assert_eq!((&other["verdict"], &other["report_url"]), (&Value::Null, &Value::Null), "{what}: {other}");
    let detail = other["detail"].as_str().unwrap();
    assert!(detail.contains(told), "{what}: {detail}");
    assert!(detail.len() < 3_000, "{what}: {}", detail.len());
    let quorum = finding(&report, "perspective.quorum");
    assert_eq!(quorum["outcome"], "own_fault", "{what}: {quorum}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_bounded_in_size_and_time_and_never_a_yes() {
    let (stage, impostor, daemon) = staged("nonsense").await;
    let whole = |text: &str| http(text).into_bytes();
    let head = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    let megabytes = [head.clone(), vec![b'['; 2 * 1024 * 1024]].concat();
    let deep = whole(&"[".repeat(100_000));
    let hostile = "<script>alert(1)</script>\u{202e}\u{7}";
    let refusal = json!({ "reason": hostile, "detail": hostile.repeat(1_000) }).to_string();
    let refused = format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\n\r\n{refusal}", refusal.len());
    let moved = "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    for (what, answer, told) in [
        ("no HTTP", b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(), "the connection broke"),
        ("an answer cut off", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_vec(), "the connection broke"),
        ("no JSON", whole("ready"), "no report that is understood"),
        ("other JSON", whole("{\"verdict\":\"ready\"}"), "no report that is understood"),
        ("nested too deep", deep, "no report that is understood"),
        ("two megabytes", megabytes, "larger than 1048576 bytes"),
        (
            "a refusal in hostile words",
            refused.into_bytes(),
            "it answers 403 (unreadable): <script>alert(1)</script>  ",
        ),
        ("a redirection", moved.as_bytes().to_vec(), "it answers 307"),
    ] {
        impostor.gives(answer);
        does_not_count(&stage, &daemon, what, told).await;
    }
    *impostor.answer.lock().unwrap() = None;
    does_not_count(&stage, &daemon, "silence", "no answer within 2 s").await;

    // What it says of its findings is shown cut, in one line and escaped.
    let mut report = right(&stage, &daemon).await;
    report["verdict"] = json!("blocked");
    for finding in report["findings"].as_array_mut().unwrap() {
        if finding["check"] == "tls.validity" {
            finding["outcome"] = json!("failed");
            finding["problem"] = json!("Expired <b>");
            finding["detail"] = json!(hostile.repeat(10_000));
        }
    }
    impostor.gives_report(&report);
    let report = preflight(&stage, &daemon).await;
    assert_eq!(report["verdict"], "blocked", "{report:#}");
    let told = finding(&report, "perspective.agreement")["detail"].as_str().unwrap().to_owned();
    assert!(told.contains("eu finds it blocked by tls.validity ((unreadable))") && told.len() < 1_000, "{told}");
    let page = daemon.call("GET", &format!("/preflights/{}", report["id"].as_str().unwrap()), None).await;
    assert!(!page.body.contains("<script>alert") && page.body.contains("&lt;script&gt;alert(1)"), "{}", page.body);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_is_all_that_is_needed_and_is_in_no_log() {
    let (stage, impostor, daemon) = staged("question").await;
    let good = right(&stage, &daemon).await;
    impostor.gives_report(&good);
    preflight(&stage, &daemon).await;
    let asked = impostor.asked.lock().unwrap().pop().unwrap();
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v1/preflights HTTP/1.1\r\n"), "{head}");
    assert!(!head.to_ascii_lowercase().contains("traceparent"), "no collector is named: {head}");
    let body: Value = serde_json::from_str(body).unwrap();
    let members: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(body["XksProxyUriEndpoint"], crate::daemon::stage::NEW, "{members:?}");
    assert_eq!(body["XksProxyAuthenticationCredential"]["RawSecretAccessKey"], crate::peers::SECRET);
    assert_eq!(body["options"], json!({ "perspectives": false }), "whoever is asked asks nobody");
    assert!(body["CustomKeyStoreId"].is_null(), "the other daemon need not know the key store");
    // At trace level, as all daemons of these tests.
    assert!(!daemon.telling().contains("DoNotLeak"));
    daemon.terminate().await;
}
