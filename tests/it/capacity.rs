//! Load on request, through the binary: what a healthy, a slow and a throttling proxy make of it, and who may ask.

use serde_json::Value;

use crate::peers::{HOST, Peer, Run};

async fn with_fault(peer: &Peer, fault: &str, more: &[&str]) -> Run {
    peer.proxy.set_faults([fault.parse().unwrap()]).await;
    under_load(peer, more).await
}

async fn under_load(peer: &Peer, more: &[&str]) -> Run {
    let asked = [&["--output", "json", "--samples", "1", "--capacity-seconds", "1"], more].concat();
    peer.check(&asked).await
}

fn finding(json: &Value) -> Value {
    let findings = json["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["check"] == "capacity.sustained").cloned().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_proxy_answers_every_request_of_the_schedule() {
    let peer = Peer::start("capacity").await;
    let run = under_load(&peer, &["--capacity", "200"]).await;
    let json = run.json();
    let load = &json["capacity"];
    assert_eq!((run.code, &load["requests"], &load["outcomes"]["answered"]), (0, &200.into(), &200.into()), "{json:#}");
    assert!(load["achieved_per_second"].as_f64().unwrap() > 150.0, "{load:#}");
    assert_eq!((&load["stopped"], &load["operation"]), (&Value::Null, &"GetHealthStatus".into()));
    // Connections are kept: far fewer than requests.
    let connections = load["connections"].as_u64().unwrap();
    assert!((1..100).contains(&connections), "{load:#}");
    assert_ne!(finding(&json)["outcome"], "not_applicable");
    let requests = peer.proxy.history();
    assert!(requests.len() >= 200 && requests.iter().all(|request| request.authenticated), "{}", requests.len());
    let text = peer.check(&["--capacity", "50", "--capacity-seconds", "1", "--samples", "1"]).await;
    assert!(text.stdout.contains("load: GetHealthStatus at 50/s for 1 s: "), "{}", text.stdout);
    assert!(!text.stderr.contains("load ["), "no progress where there is no terminal: {}", text.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn encrypt_is_asked_with_the_test_key() {
    let peer = Peer::start("capacity-encrypt").await;
    let asked = ["--capacity", "50", "--capacity-operation", "encrypt", "--test-key-id", "foo"];
    let json = under_load(&peer, &asked).await.json();
    let load = &json["capacity"];
    assert_eq!((&load["operation"], &load["outcomes"]["answered"]), (&"Encrypt".into(), &50.into()), "{json:#}");
    let refused = under_load(&peer, &asked[..4]).await;
    assert!(refused.code == 2 && refused.stderr.contains("needs --test-key-id"), "{}", refused.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_slows_down_under_load_is_found() {
    let peer = Peer::start("capacity-slow").await;
    // The pre-flight itself asks twice, cold and warm: then nothing is slow yet.
    let mut json = with_fault(&peer, "slow-answer:ms=400,after=3", &["--capacity", "50"]).await.json();
    // A machine busy with other things may be too late itself, which is another finding.
    for _ in 0..3 {
        if finding(&json)["problem"] == "slow" {
            break;
        }
        json = with_fault(&peer, "slow-answer:ms=400,after=3", &["--capacity", "50"]).await.json();
    }
    let found = finding(&json);
    assert_eq!((&found["outcome"], &found["problem"]), (&"failed".into(), &"slow".into()), "{json:#}");
    assert_eq!(json["verdict"], "ready");
    let load = &json["capacity"];
    assert!(load["p99_ms"].as_f64().unwrap() > 390.0 && load["late"].as_u64().unwrap() >= 40, "{load:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttling_proxy_is_left_alone_at_once() {
    let peer = Peer::start("capacity-throttling").await;
    let run = with_fault(&peer, "throttling-exception:after=20", &["--capacity", "200"]).await;
    let json = run.json();
    let found = finding(&json);
    assert_eq!((&found["outcome"], &found["problem"]), (&"failed".into(), &"throttled".into()), "{json:#}");
    assert_eq!(json["capacity"]["stopped"], "the proxy answered ThrottlingException");
    assert!(peer.proxy.history().len() < 120, "{}", peer.proxy.history().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_proxy_ends_the_load() {
    let peer = Peer::start("capacity-failing").await;
    for fault in ["internal-exception:after=20", "reset-without-answer:after=20", "json-truncated:after=20"] {
        let json = with_fault(&peer, fault, &["--capacity", "200"]).await.json();
        let found = finding(&json);
        assert_eq!(found["outcome"], "failed", "{fault}: {found:#}");
        let stopped = &json["capacity"]["stopped"];
        assert_eq!(stopped, "more than 5 of the latest 100 requests failed", "{fault}: {json:#}");
    }
    let json = with_fault(&peer, "connection-close-after-each", &["--capacity", "50"]).await.json();
    // Nothing fails: a new connection is opened for every request.
    assert_eq!(json["capacity"]["outcomes"], serde_json::json!({ "answered": 50 }), "{json:#}");
    assert_eq!(json["capacity"]["connections"], 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_is_not_fit_is_not_put_under_load() {
    let peer = Peer::start("capacity-unfit").await;
    let run = with_fault(&peer, "ekm-all-unavailable", &["--capacity", "200"]).await;
    let json = run.json();
    assert_eq!((run.code, finding(&json)["outcome"].as_str()), (1, Some("not_reached")), "{json:#}");
    assert_eq!(json["capacity"], serde_json::json!({ "outcome": "not_reached", "stopped_at": "health" }));
    assert!(peer.proxy.history().len() < 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn load_is_bounded_and_needs_consent() {
    let peer = Peer::start("capacity-consent").await;
    for (more, told) in [
        (&["--capacity", "2001"][..], "1 to 2000 requests per second"),
        (&["--capacity", "0"], "1 to 2000 requests per second"),
        (&["--capacity", "10", "--capacity-seconds", "301"], "1 to 300 seconds"),
        (&["--capacity", "2000", "--capacity-seconds", "300"], "100000 requests at most"),
        (&["--capacity", "10", "--capacity-allow", "other.example.com"], "is another host"),
        (&["--capacity-seconds", "10"], "--capacity <RPS>"),
    ] {
        let run = peer.check(more).await;
        assert!(run.code == 2 && run.stderr.contains(told), "{more:?}: {}", run.stderr);
    }
    // Not on loopback and no laboratory: the host must be said again, and nothing is sent before.
    let elsewhere = ["--connect-to", "192.0.2.1:443", "--capacity", "10"];
    let mut command = tokio::process::Command::new(crate::peers::BINARY);
    command.args(["check", "--endpoint", &format!("https://{HOST}"), "--proxy-config"]);
    command.arg(peer.directory.join("proxy.secret.json")).args(elsewhere);
    let run = Run::from(command.output().await.unwrap());
    assert!(run.code == 2 && run.stderr.contains("--capacity-allow xks.example.com"), "{}", run.stderr);
    assert!(peer.proxy.history().is_empty());
}
