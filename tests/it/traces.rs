//! Traces: a collector that is sent spans, and reads them as OTLP says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::daemon::stage::{BOUND, Daemon, NEW, Stage, until};
use crate::perspectives::elsewhere::{Authority, Elsewhere, MAIN, run};

/// Somebody else's trace, and the span in it from which we are asked.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const ASKER: &str = "00f067aa0ba902b7";

/// A span, as a collector keeps it.
#[derive(Clone, Debug)]
struct Span {
    instance: String,
    name: String,
    trace: String,
    id: String,
    parent: String,
    kind: u64,
    nanoseconds: u64,
    attributes: BTreeMap<String, String>,
}

/// A server that takes spans by OTLP over HTTP in JSON, and refuses what is none.
struct Collector {
    url: String,
    /// The requests as they came. They are judged where a test looks at them: what fails in a task of its own, fails unseen.
    taken: Arc<Mutex<Vec<(String, String)>>>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let taken = Arc::<Mutex<Vec<(String, String)>>>::default();
        let kept = Arc::clone(&taken);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(take(stream, Arc::clone(&kept)));
            }
        });
        Self { url, taken }
    }

    fn section(&self) -> String {
        format!("[traces]\nurl = \"{}\"\n", self.url)
    }

    fn spans(&self) -> Vec<Span> {
        let taken = self.taken.lock().unwrap().clone();
        let judged = taken.iter().flat_map(|(head, body)| {
            assert!(
                head.starts_with("post /v1/traces http/1.1") && head.contains("content-type: application/json"),
                "{head}"
            );
            assert!(!body.contains("DoNotLeak"), "a span tells a secret");
            decoded(&serde_json::from_str(body).unwrap())
        });
        judged.collect()
    }

    /// The one span of this name in this instance and trace, once it has come.
    async fn one(&self, instance: &str, name: &str, trace: &str) -> Span {
        let found =
            || self.spans().into_iter().find(|one| one.instance == instance && one.name == name && one.trace == trace);
        until(BOUND, name, || async { found().is_some() }).await;
        found().unwrap()
    }
}

async fn take(mut stream: TcpStream, kept: Arc<Mutex<Vec<(String, String)>>>) {
    let mut read = Vec::new();
    let mut part = vec![0_u8; 64 * 1024];
    loop {
        let count = stream.read(&mut part).await.unwrap_or(0);
        read.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&read).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n").filter(|_| count > 0) else { return };
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        if body.len() < length {
            continue;
        }
        kept.lock().unwrap().push((head, body.to_owned()));
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
        let _ = stream.write_all(answer.as_bytes()).await;
        return;
    }
}

/// Reads `ExportTraceServiceRequest` strictly.
fn decoded(document: &Value) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource in document["resourceSpans"].as_array().unwrap() {
        let resource_attributes = attributes(&resource["resource"]["attributes"]);
        assert_eq!(resource_attributes["service.name"], "xks-preflight");
        for scope in resource["scopeSpans"].as_array().unwrap() {
            for span in scope["spans"].as_array().unwrap() {
                let text = |name: &str| span[name].as_str().unwrap_or_else(|| panic!("{name}: {span}")).to_owned();
                let time = |name: &str| text(name).parse::<u64>().unwrap();
                let hexadecimal = |name: &str, length: usize| {
                    let id = text(name);
                    let fits = id.len() == length && id.bytes().all(|byte| byte.is_ascii_hexdigit());
                    assert!(fits || (name == "parentSpanId" && id.is_empty()), "{name}: {span}");
                    id
                };
                let (begun, ended) = (time("startTimeUnixNano"), time("endTimeUnixNano"));
                spans.push(Span {
                    instance: resource_attributes["service.instance.id"].clone(),
                    name: text("name"),
                    trace: hexadecimal("traceId", 32),
                    id: hexadecimal("spanId", 16),
                    parent: hexadecimal("parentSpanId", 16),
                    kind: span["kind"].as_u64().unwrap(),
                    nanoseconds: ended.checked_sub(begun).unwrap(),
                    attributes: attributes(&span["attributes"]),
                });
            }
        }
    }
    spans
}

fn attributes(list: &Value) -> BTreeMap<String, String> {
    let pairs = list.as_array().unwrap().iter().map(|pair| {
        let (kind, value) = pair["value"].as_object().unwrap().iter().next().unwrap();
        assert!(["stringValue", "intValue", "doubleValue", "boolValue"].contains(&kind.as_str()), "{pair}");
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (pair["key"].as_str().unwrap().to_owned(), value)
    });
    pairs.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_through_from_whoever_asks_to_every_stage_and_every_perspective() {
    let collector = Collector::start().await;
    let stage = Stage::new("traces").await;
    let _authority = Authority::new(&stage);
    let eu = Elsewhere::start_before(&stage, "eu", stage.another(NEW).await, &collector.section()).await;
    stage.configured_with(&[eu.section(), collector.section()].concat());
    let daemon = run(&stage, "config.toml", MAIN).await;
    let body = stage.body(json!({ "XksProxyUriEndpoint": NEW }));
    let parent = format!("00-{TRACE}-{ASKER}-01");
    let answer =
        daemon.try_call_with(&format!("traceparent: {parent}\r\n"), "POST", "/v1/preflights", Some(&body)).await;
    let report = answer.unwrap().json();
    assert_eq!(report["verdict"], "ready", "{report:#}");

    let request = collector.one(MAIN, "request", TRACE).await;
    assert_eq!((request.parent.as_str(), request.kind), (ASKER, 2), "{request:?}");
    assert_eq!((&request.attributes["path"], &request.attributes["status"]), (&"/v1/preflights".into(), &"200".into()));
    let preflight = collector.one(MAIN, "preflight", TRACE).await;
    assert_eq!(preflight.parent, request.id, "{preflight:?}");
    assert_eq!(preflight.attributes["report"], report["id"].as_str().unwrap());
    assert_eq!(preflight.attributes["verdict"], "ready");
    for stage in ["tcp", "tls", "http"] {
        let span = collector.one(MAIN, stage, TRACE).await;
        assert_eq!(span.parent, preflight.id, "{span:?}");
        assert!(span.nanoseconds <= preflight.nanoseconds, "{span:?}");
    }
    // The proxy's log has the same id: whoever looks for a slow request finds it on both sides.
    let sent = report["addresses"][0]["samples"][0]["request_id"].as_str().unwrap();
    let ids = || collector.spans().into_iter().filter_map(|span| span.attributes.get("kms_request_id").cloned());
    assert!(ids().any(|id| id == sent), "{sent}: {:?}", ids().collect::<Vec<_>>());
    let asking = collector.one(MAIN, "perspective", TRACE).await;
    assert_eq!((asking.kind, asking.attributes["perspective"].as_str()), (3, "eu"));
    let asked = collector.one("eu", "request", TRACE).await;
    assert_eq!(asked.parent, asking.id, "{asked:?}");
    assert_eq!(collector.one("eu", "preflight", TRACE).await.parent, asked.id);

    // An update is a trace of its own, which ends with it.
    let id = daemon.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    assert_eq!(daemon.follow(&id).await["status"], "verified");
    // What is under way when it is told to stop is sent before it ends.
    assert!(daemon.has_told(&format!("update{{update={id}}}")), "its logs name the update");
    daemon.terminate().await;
    let spans = collector.spans();
    let update = spans.iter().find(|span| span.name == "update").unwrap_or_else(|| panic!("{spans:#?}"));
    assert_eq!((update.attributes["update"].as_str(), update.parent.as_str()), (id.as_str(), ""));
    // Two here and the look after it, and two there, where the daemon goes on.
    let within = || {
        let ours = |span: &&Span| span.name == "preflight" && span.trace == update.trace;
        collector.spans().iter().filter(ours).map(|span| span.instance.clone()).collect::<Vec<_>>()
    };
    let count = |instance: &str| within().iter().filter(|of| *of == instance).count();
    until(BOUND, "its pre-flights", || async { (count(MAIN), count("eu")) == (3, 2) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_keeps_nobody_waiting_and_an_unsampled_trace_is_not_sent() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let stage = Stage::new("traces-away").await;
    stage.configured_with(&format!("[traces]\nurl = \"http://{gone}\"\n"));
    let daemon = Daemon::start(&stage, None).await;
    assert_eq!(daemon.call("GET", "/v1/key-stores", None).await.status, 200);
    until(BOUND, "it is told", || async { daemon.has_told("traces are not taken by the collector") }).await;
    daemon.terminate().await;

    let collector = Collector::start().await;
    stage.reconfigured(&format!("http://{gone}"), &collector.url);
    let daemon = Daemon::start(&stage, None).await;
    let silent = format!("traceparent: 00-{TRACE}-{ASKER}-00\r\n");
    assert_eq!(daemon.try_call_with(&silent, "GET", "/v1/checks", None).await.unwrap().status, 200);
    let wrong = "traceparent: 00-nonsense-01\r\n";
    assert_eq!(daemon.try_call_with(wrong, "GET", "/v1/key-stores", None).await.unwrap().status, 200);
    daemon.terminate().await;
    let spans = collector.spans();
    let requests: Vec<&Span> = spans.iter().filter(|span| span.name == "request").collect();
    assert!(requests.iter().all(|span| span.attributes["path"] != "/v1/checks"), "{requests:#?}");
    let fresh = requests.iter().find(|span| span.attributes["path"] == "/v1/key-stores").unwrap();
    assert_eq!(fresh.parent, "", "what is not well-formed begins a trace of its own: {fresh:?}");
}
