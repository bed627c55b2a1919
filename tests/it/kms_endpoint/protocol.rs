//! Bare HTTP: what is refused before any SDK would say so.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::BOUND;
use crate::daemon::stage::{Daemon, Stage};

/// Sends these bytes and gives status, head and body of the answer.
async fn exchange(daemon: &Daemon, request: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(&daemon.kms_endpoint).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(BOUND, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), body.to_owned())
}

fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: gate\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_of_an_sdk_is_refused_in_aws_json() {
    let stage = Stage::new("drop-in-protocol").await;
    let daemon = Daemon::start(&stage, None).await;
    let signed = "Authorization: AWS4-HMAC-SHA256 Credential=XKSPFNOBODYNOBODY222/20260101/us-east-1/kms/aws4_request, \
                  SignedHeaders=host;x-amz-date, Signature=00\r\nX-Amz-Date: 20260101T000000Z\r\n";
    let large = "x".repeat(65 * 1024);
    for (sent, status, name) in [
        (request("GET", "/", "", ""), 404, "UnknownOperationException"),
        (request("POST", "/v1/updates", "", "{}"), 404, "UnknownOperationException"),
        (request("POST", "/", "", "{}"), 400, "MissingAuthenticationTokenException"),
        (request("POST", "/?X-Amz-Signature=00", "", "{}"), 400, "IncompleteSignatureException"),
        (request("POST", "/", signed, "{}"), 400, "UnrecognizedClientException"),
        (request("POST", "/", signed, &large), 413, "RequestEntityTooLargeException"),
    ] {
        let (answered, head, body) = exchange(&daemon, &sent).await;
        let document: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((answered, document["__type"].as_str()), (status, Some(name)), "{body}");
        assert!(document["message"].as_str().is_some_and(|message| !message.is_empty()));
        assert!(head.contains("\r\ncontent-type: application/x-amz-json-1.1\r\n"), "{head}");
        assert!(head.contains("\r\nx-amzn-requestid: ") && head.contains("\r\ndate: "), "{head}");
    }
    assert!(stage.mutating_calls().is_empty());
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_holds_no_place() {
    let stage = Stage::new("drop-in-slow").await;
    let daemon = Daemon::start(&stage, None).await;
    let sent = "POST / HTTP/1.1\r\nHost: gate\r\nConnection: close\r\nContent-Length: 10\r\n\r\n{";
    let (status, _, body) = exchange(&daemon, sent).await;
    assert_eq!(status, 408, "{body}");
    daemon.terminate().await;
}
