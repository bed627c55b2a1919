//! Callers that are slow or many, and the end of the service.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use xks_preflight::api::Bounds;
use xks_preflight::listener::{Connections, serve};

use super::bench::{BOUND, Bench, NEW};

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_sends_no_head_or_no_body_is_dropped() {
    let bounds = Bounds { body: 1024, request: Duration::from_secs(2), requests: 8, streams: 1 };
    let bench = Bench::with_bounds("api-slow", bounds).await;
    let head =
        "POST /v1/updates HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n";
    let token = format!("authorization: Bearer {}\r\n\r\n{{", bench.operator.expose());
    for (sent, status) in
        [("GET /healthz HTTP/1.1\r\nhost: loc".to_owned(), None), (format!("{head}{token}"), Some("408"))]
    {
        let mut stream = TcpStream::connect(bench.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // It ends by itself: the service closes the connection.
        tokio::time::timeout(BOUND, stream.read_to_string(&mut answer)).await.unwrap().unwrap_or_default();
        if let Some(status) = status {
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_never_reads_gives_its_place_back() {
    const LARGE: usize = 32 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, asked) = (CancellationToken::new(), Arc::new(Notify::new()));
    let large = {
        let asked = Arc::clone(&asked);
        move || {
            asked.notify_one();
            async { "x".repeat(LARGE) }
        }
    };
    let router = Router::new().route("/large", get(large)).route("/small", get(|| async { "small" }));
    let connections = Connections { most: 1, head: Duration::from_millis(300), tls: None, grace: BOUND };
    let served = tokio::spawn(serve(listener, router, connections, stop.clone()));
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let mut deaf = TcpStream::connect(address).await.unwrap();
    deaf.write_all(get("/large").as_bytes()).await.unwrap();
    tokio::time::timeout(BOUND, asked.notified()).await.unwrap();
    // The only place is taken now, and given back although nobody hangs up.
    let mut other = TcpStream::connect(address).await.unwrap();
    other.write_all(get("/small").as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(BOUND, other.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.ends_with("small"), "{answer}");
    drop(deaf);
    stop.cancel();
    assert!(tokio::time::timeout(BOUND, served).await.unwrap().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn event_streams_are_bounded_in_number() {
    let bounds = Bounds { body: 64 * 1024, request: BOUND, requests: 8, streams: 1 };
    let bench = Bench::with_bounds("api-streams", bounds).await;
    bench.kms.set_delays(BOUND, BOUND);
    let body = json!({ "CustomKeyStoreId": bench.store, "XksProxyUriEndpoint": NEW, "options": { "acknowledge_outage": true } });
    let id = bench.post("/v1/updates", &body).await.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/updates/{id}/events");
    let mut first = TcpStream::connect(bench.address).await.unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\r\n", bench.viewer.expose());
    first.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 15];
    first.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    let second = bench.get(&path).await;
    assert_eq!((second.status, &second.json()["reason"]), (429, &json!("too_many_streams")));
    assert!(second.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0));
    // Shutting down ends the stream, and with it the service, long before the update.
    bench.service.draining.cancel();
    bench.stop.cancel();
    assert!(tokio::time::timeout(BOUND, bench.served).await.unwrap().unwrap());
    bench.service.driver.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_shuts_down_is_not_ready() {
    let bench = Bench::new("api-unready").await;
    bench.service.draining.cancel();
    let answer = bench.get("/readyz").await;
    assert_eq!((answer.status, &answer.json()["reason"]), (503, &json!("not_ready")));
    assert_eq!(bench.get("/healthz").await.status, 200);
}
