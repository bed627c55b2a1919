//! Commands against a daemon whose answers are written down.

use std::time::Duration;

use clap::Parser;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

const ID: &str = "update-01890a5d-ac96-774b-bcce-b302099a8057";

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

fn command(arguments: &str) -> Command {
    Line::try_parse_from(["x"].into_iter().chain(arguments.split(' '))).unwrap().command
}

/// Answers one connection after the other, gives back what was asked. An empty answer is never finished.
async fn daemon(answers: Vec<String>) -> (Client, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        let mut asked = Vec::new();
        let mut open = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !whole(&request) {
                assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
            }
            asked.push(String::from_utf8(request).unwrap());
            stream.write_all(answer.as_bytes()).await.unwrap();
            if answer.is_empty() {
                open.push(stream);
            }
        }
        asked
    });
    let patience = Patience { pause: Duration::ZERO, losses: 2, ..Patience::default() };
    (Client { server: Server::parse(&url, None).unwrap(), patience }, asked)
}

fn whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}

fn answer(status: &str, body: &Value) -> String {
    let body = body.to_string();
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn shown(status: &str) -> Value {
    json!({ "id": ID, "key_store": "cks-1", "status": status, "report": "report-1", "plan": {} })
}

fn stream(events: &[(u64, Value)]) -> String {
    let events: Vec<_> = events.iter().map(|(id, event)| format!("id: {id}\ndata: {event}\n\n")).collect();
    format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}", events.concat())
}

async fn run(client: &Client, arguments: &str) -> (Result<Outcome, Failure>, Vec<String>) {
    let mut told = Vec::new();
    let outcome = carry_out(client, &command(arguments), &mut |line| told.push(line.to_owned())).await;
    (outcome, told)
}

const APPLY: &str = "apply --key-store cks-1 --path /b/kms/xks/v1 --idempotency-key k-1";

#[tokio::test]
async fn an_update_is_followed_over_a_broken_stream() {
    let first = (1, json!({ "at": "t1", "event": "preflight_started", "round": "first" }));
    let second = (2, json!({ "at": "t2", "event": "concluded", "ending": { "ending": "verified" } }));
    let (client, asked) = daemon(vec![
        answer("202 Accepted", &shown("planned")),
        stream(std::slice::from_ref(&first)),
        answer("200 OK", &shown("running")),
        // A daemon that ignores Last-Event-ID does not make anything told twice.
        stream(&[first, second]),
        answer("200 OK", &shown("verified")),
    ])
    .await;
    let (outcome, told) = run(&client, &format!("{APPLY} --wait")).await;
    assert_eq!(outcome.unwrap().exit, Exit::Done);
    assert_eq!(told[1..], ["t1  first pre-flight begins", "t2  concluded: verified"]);
    let asked = asked.await.unwrap();
    assert!(asked[0].starts_with("POST /v1/updates HTTP/1.1") && asked[0].contains("idempotency-key: k-1"));
    assert!(asked[3].contains("last-event-id: 1"), "{}", asked[3]);
}

#[tokio::test]
async fn an_inconclusive_preflight_is_told_from_a_blocking_one() {
    let event = json!({ "event": "preflight_finished", "summary": { "verdict": "inconclusive" } });
    let (client, _asked) = daemon(vec![
        answer("200 OK", &shown("blocked")),
        stream(&[(1, event)]),
        answer("404 Not Found", &json!({ "reason": "no_such_report" })),
    ])
    .await;
    let (outcome, told) = run(&client, &format!("status {ID}")).await;
    assert_eq!(outcome.unwrap().exit, Exit::Inconclusive);
    assert!(told.is_empty(), "{told:?}");
}

#[tokio::test]
async fn a_daemon_that_stays_away_leaves_the_outcome_unknown() {
    let (client, _asked) = daemon(vec![answer("202 Accepted", &shown("planned"))]).await;
    let (outcome, _) = run(&client, &format!("{APPLY} --wait")).await;
    let failure = outcome.unwrap_err();
    assert_eq!(failure.exit(), Exit::Stuck);
    assert!(failure.to_string().contains(&format!("update status {ID}")), "{failure}");
}

#[tokio::test]
async fn an_order_without_answer_may_have_been_taken() {
    let (mut client, _asked) = daemon(vec![String::new()]).await;
    client.patience.answer = Duration::from_millis(50);
    let (outcome, _) = run(&client, APPLY).await;
    let failure = outcome.unwrap_err();
    assert_eq!(failure.exit(), Exit::Stuck);
    assert!(failure.to_string().contains("--idempotency-key k-1"), "{failure}");
}

#[tokio::test]
async fn without_a_daemon_nothing_was_done() {
    let (client, asked) = daemon(Vec::new()).await;
    asked.await.unwrap();
    let (outcome, _) = run(&client, APPLY).await;
    let failure = outcome.unwrap_err();
    assert_eq!(failure.exit(), Exit::Inconclusive, "a candidate is not blocked because nobody is there to judge it");
    assert!(failure.to_string().contains("is the daemon running there"), "{failure}");
}

#[tokio::test]
async fn problems_are_told_whole_and_have_their_exit_codes() {
    let reason = |reason: &str| json!({ "reason": reason, "detail": "said the daemon" });
    let invalid = json!({ "reason": "invalid_body", "detail": "2 faults", "errors": [
        { "pointer": "/XksProxyUriPath", "detail": "must end so" }, { "pointer": "/b", "detail": "is\u{7} odd" } ] });
    let locked = json!({ "reason": "locked", "detail": "another", "update": ID });
    for (status, body, exit, words) in [
        ("401 Unauthorized", reason("unauthenticated"), Exit::Refused, "--token-file, or XKS_PREFLIGHT_TOKEN"),
        ("403 Forbidden", reason("observe_only"), Exit::Refused, "observe_only: said the daemon"),
        ("409 Conflict", reason("wrong_state"), Exit::Refused, "wrong_state"),
        ("412 Precondition Failed", reason("other_plan"), Exit::Refused, "other_plan"),
        ("423 Locked", locked, Exit::Refused, ID),
        ("422 Unprocessable Entity", reason("outage_not_acknowledged"), Exit::Refused, "--acknowledge-outage"),
        ("422 Unprocessable Entity", invalid, Exit::Usage, "\n  /XksProxyUriPath must end so\n  /b is  odd"),
        ("404 Not Found", reason("no_such_key_store"), Exit::Usage, "no_such_key_store"),
        ("429 Too Many Requests", reason("busy"), Exit::Inconclusive, "busy"),
        ("503 Service Unavailable", reason("journal"), Exit::Inconclusive, "journal"),
        ("404 Not Found", json!({}), Exit::Inconclusive, "is --server right?"),
        // Not the daemon's words: it may have got the request.
        ("502 Bad Gateway", json!("a proxy"), Exit::Stuck, "--idempotency-key k-1"),
    ] {
        let (client, _asked) = daemon(vec![answer(status, &body)]).await;
        let failure = run(&client, APPLY).await.0.unwrap_err();
        assert_eq!(failure.exit(), exit, "{status}: {failure}");
        assert!(failure.to_string().contains(words), "{status}: {failure}");
    }
}

#[tokio::test]
async fn endless_answers_are_refused() {
    let (client, _asked) = daemon(vec![answer("200 OK", &json!("x".repeat(1024 * 1024)))]).await;
    let failure = run(&client, &format!("status {ID}")).await.0.unwrap_err();
    assert!(failure.to_string().contains("longer than 1048576 bytes"), "{failure}");
}

#[tokio::test]
async fn an_id_cannot_lead_elsewhere() {
    let (client, _asked) = daemon(Vec::new()).await;
    let failure = run(&client, "cancel ../../freeze").await.0.unwrap_err();
    assert_eq!(failure.exit(), Exit::Usage);
}

fn rotating(step: &str, last_event: u64) -> Value {
    let mut shown = shown("running");
    shown["step"] = json!(step);
    shown["last_event"] = json!(last_event);
    shown
}

fn looked(sequence: u64) -> (u64, Value) {
    (sequence, json!({ "at": "t", "event": "watched", "round": "removal", "summary": { "verdict": "ready" } }))
}

#[tokio::test]
async fn a_rotation_is_followed_until_somebody_must_remove_the_former_credential() {
    let awaited = (8, json!({ "at": "t8", "event": "removal_awaited", "until": "t9" }));
    let (client, _asked) = daemon(vec![
        answer("202 Accepted", &shown("planned")),
        stream(&[awaited, looked(9)]),
        answer("200 OK", &rotating("await_removal", 9)),
    ])
    .await;
    let (outcome, told) = run(&client, &format!("{APPLY} --rotate --wait")).await;
    let outcome = outcome.unwrap();
    assert_eq!(outcome.exit, Exit::Inconclusive);
    assert!(outcome.text.contains(&format!("xks-preflight update removed {ID} --wait")), "{}", outcome.text);
    assert_eq!(told[1..], ["t8  REMOVE the former credential at every proxy now; waiting for that until t9"]);
}

#[tokio::test]
async fn a_removal_that_was_told_is_followed_to_its_proof() {
    let awaited = (8, json!({ "at": "t", "event": "removal_awaited", "until": "t9" }));
    let (client, asked) = daemon(vec![
        answer("202 Accepted", &rotating("prove_refused", 9)),
        // What was before does not end the following again.
        stream(&[awaited, looked(9), looked(10)]),
        answer("200 OK", &rotating("prove_refused", 10)),
        stream(&[looked(11)]),
        answer("200 OK", &shown("verified")),
        stream(&[(12, json!({ "at": "t12", "event": "concluded", "ending": { "ending": "verified" } }))]),
    ])
    .await;
    let (outcome, told) = run(&client, &format!("removed {ID} --wait")).await;
    assert_eq!(outcome.unwrap().exit, Exit::Done);
    assert_eq!(told.len(), 5, "{told:?}");
    assert_eq!(told[4], "t12  concluded: verified");
    assert!(asked.await.unwrap()[0].starts_with(&format!("POST /v1/updates/{ID}/removed ")));
}

#[tokio::test]
async fn a_removal_that_is_not_true_ends_the_following() {
    let (client, _asked) = daemon(vec![
        answer("202 Accepted", &rotating("prove_refused", 9)),
        stream(&[looked(10)]),
        answer("200 OK", &rotating("await_removal", 10)),
    ])
    .await;
    let (outcome, _) = run(&client, &format!("removed {ID} --wait")).await;
    assert_eq!(outcome.unwrap().exit, Exit::Inconclusive);
}

#[tokio::test]
async fn a_rotation_that_is_cancelled_is_followed_to_its_end() {
    let (client, _asked) = daemon(vec![
        answer("202 Accepted", &rotating("await_removal", 9)),
        stream(&[looked(10)]),
        answer("200 OK", &shown("abandoned")),
    ])
    .await;
    let (outcome, _) = run(&client, &format!("cancel {ID} --wait")).await;
    assert_eq!(outcome.unwrap().exit, Exit::Done);
}

#[tokio::test]
async fn whoever_else_answers_is_told_from_a_daemon() {
    let (client, _asked) = daemon(vec!["SSH-2.0-OpenSSH_9.2\r\n".to_owned()]).await;
    let failure = run(&client, APPLY).await.0.unwrap_err();
    assert!(failure.to_string().contains("does not speak HTTP"), "{failure}");
    assert_eq!(failure.exit(), Exit::Inconclusive);
}

#[tokio::test]
async fn a_daemon_without_tls_is_told_from_one_that_is_not_trusted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let answering = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await.unwrap();
        stream
    });
    let client = Client { server: Server::parse(&url, None).unwrap(), patience: Patience::default() };
    let failure = run(&client, APPLY).await.0.unwrap_err();
    assert!(failure.to_string().contains("does not speak TLS"), "{failure}");
    assert_eq!(failure.exit(), Exit::Inconclusive);
    answering.await.unwrap();
}

#[tokio::test]
async fn what_was_seen_is_a_condition_only_where_it_is_asked_for() {
    for (order, condition) in [
        (format!("cancel {ID}"), None),
        (format!("rollback {ID} --if-match 12"), Some("if-match: \"12\"")),
        (format!("cancel {ID} --if-match \"7\""), Some("if-match: \"7\"")),
        (format!("approve {ID} --digest d --if-match 7"), Some("if-match: \"7\"")),
        (format!("approve {ID} --digest d"), None),
    ] {
        let (client, asked) = daemon(vec![answer("202 Accepted", &shown("running"))]).await;
        assert_eq!(run(&client, &order).await.0.unwrap().exit, Exit::Done);
        let asked = asked.await.unwrap().concat();
        assert_eq!(asked.lines().find(|line| line.starts_with("if-match")), condition, "{order}");
    }
    for bad in ["*", "W/\"7\"", "-1", "+7", ""] {
        assert!(Line::try_parse_from(["x", "cancel", ID, "--if-match", bad]).is_err(), "{bad}");
    }
}
