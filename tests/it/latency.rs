//! KMS's 250 ms and its one retry, as `check` holds them.

use crate::peers::{Peer, Run};
use serde_json::Value;

async fn with_fault(peer: &Peer, fault: &str) -> Run {
    peer.proxy.set_faults([fault.parse().unwrap()]).await;
    peer.check(&["--output", "json"]).await
}

fn finding(json: &Value, check: &str) -> Value {
    let findings = json["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["check"] == check).cloned().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_after_150_ms_is_ready() {
    let peer = Peer::start("latency-150").await;
    let run = with_fault(&peer, "slow-answer:ms=150").await;
    assert_eq!((run.code, run.json()["verdict"].clone()), (0, "ready".into()), "{}", run.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_after_400_ms_is_blocked_and_the_stage_is_named() {
    let peer = Peer::start("latency-400").await;
    let run = with_fault(&peer, "slow-answer:ms=400").await;
    let json = run.json();
    assert_eq!((run.code, &json["verdict"]), (1, &"blocked".into()), "{}", run.stdout);
    let late = finding(&json, "latency.within_limit");
    let detail = late["detail"].as_str().unwrap();
    assert!(late["outcome"] == "failed" && detail.contains("in stage http"), "{detail}");
    assert!(detail.contains("with patience an answer comes after 4"), "{detail}");
    assert_eq!(json["kms"]["connection_error_code"], "XKS_PROXY_TIMED_OUT");
    assert_eq!(json["kms"]["retryable"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_late_answer_saved_by_the_retry_is_a_warning() {
    let peer = Peer::start("latency-retry").await;
    let run = with_fault(&peer, "slow-answer:ms=400,first=1").await;
    let json = run.json();
    assert_eq!((run.code, &json["verdict"]), (0, &"ready".into()), "{}", run.stdout);
    let within = finding(&json, "latency.within_limit");
    assert!(within["detail"].as_str().unwrap().contains("1 needed KMS's one retry"), "{within}");
    assert_eq!(finding(&json, "latency.tail")["outcome"], "failed");
    assert_eq!(finding(&json, "latency.tail")["level"], "should");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_told_never_passes() {
    let peer = Peer::start("inconclusive").await;
    let run = with_fault(&peer, "client-certificate-required").await;
    assert_eq!((run.code, run.json()["verdict"].clone()), (3, "inconclusive".into()), "{}", run.stdout);
    let junit = peer.check(&["--output", "junit"]).await;
    assert!(junit.code == 3 && junit.stdout.contains("<error "), "{}", junit.stdout);
    let quiet = peer.check(&["--quiet"]).await;
    assert_eq!((quiet.code, quiet.stdout.as_str()), (3, ""));
}
