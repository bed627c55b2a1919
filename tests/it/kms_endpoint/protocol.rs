//! Bare HTTP: what is refused before any SDK would say so.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
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

/// What comes before the connection ends, which it must do by itself.
async fn until_it_ends(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    // A reset, too, is an end.
    let _ = tokio::time::timeout(BOUND, stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_large_callers_hold_no_place() {
    let stage = Stage::new("drop-in-slow").await;
    stage.limited("connections = 4\nheader_timeout = \"1s\"");
    let daemon = Daemon::start(&stage, None).await;
    let (endless, large) = ("x".repeat(100), "x".repeat(100_000));
    let body = "POST / HTTP/1.1\r\nHost: gate\r\nConnection: close\r\nContent-Length: 10\r\n\r\n{";
    let chunked = "POST / HTTP/1.1\r\nHost: gate\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let many = "x-many: 1\r\n".repeat(200);
    for (sent, status) in [
        // A head that never ends, a body that never comes, and one that comes without an end.
        ("POST / HTTP/1.1\r\nHost: gate\r\nX-Slow: ".to_owned(), ""),
        (body.to_owned(), "HTTP/1.1 408 "),
        (format!("{chunked}1\r\n{{\r\n"), "HTTP/1.1 408 "),
        (format!("{chunked}186a0\r\n{large}\r\n"), "HTTP/1.1 413 "),
        // Heads that are too large, or have too much in them.
        (format!("POST / HTTP/1.1\r\nHost: gate\r\nX-Large: {large}\r\n\r\n"), "HTTP/1.1 431 "),
        (format!("POST /{large} HTTP/1.1\r\nHost: gate\r\n\r\n"), "HTTP/1.1 4"),
        (format!("POST / HTTP/1.1\r\nHost: gate\r\n{many}\r\n"), "HTTP/1.1 431 "),
        // No HTTP at all.
        (endless, ""),
    ] {
        // More of them than there are places, all at once: each must go before the next is served.
        let mut streams = Vec::new();
        for _ in 0..6 {
            let mut stream = TcpStream::connect(&daemon.kms_endpoint).await.unwrap();
            // It may be refused before all of it has been read.
            let _ = stream.write_all(sent.as_bytes()).await;
            streams.push(stream);
        }
        for mut stream in streams {
            let answer = until_it_ends(&mut stream).await;
            assert!(answer.starts_with(status), "{}: {answer}", sent.chars().take(80).collect::<String>());
        }
    }
    let (status, _, body) = exchange(&daemon, &request("POST", "/", "", "{}")).await;
    assert_eq!(status, 400, "{body}");
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_does_not_go_on_holds_no_place() {
    let stage = Stage::new("drop-in-handshake").await;
    stage.listening_with_tls("localhost");
    stage.limited("connections = 2\nheader_timeout = \"1s\"");
    let daemon = Daemon::start(&stage, None).await;
    // Nothing; the first bytes of a record; and plain HTTP.
    for sent in [&b""[..], &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01], b"POST / HTTP/1.1\r\nHost: gate\r\n\r\n"] {
        let mut streams = Vec::new();
        for _ in 0..4 {
            let mut stream = TcpStream::connect(&daemon.kms_endpoint).await.unwrap();
            let _ = stream.write_all(sent).await;
            streams.push(stream);
        }
        for mut stream in streams {
            let answer = until_it_ends(&mut stream).await;
            assert!(!answer.contains("HTTP/1.1"), "{answer}");
        }
    }
    daemon.terminate().await;
}
