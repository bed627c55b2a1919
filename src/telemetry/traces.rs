//! Spans as traces, sent to a collector by OTLP over HTTP.
//!
//! # How it works
//!
//! [`Recorder`] is a layer below the logs' own. It gives every span of ours a place in a trace, notes its fields, and
//! hands it over when it closes; [`Exporter`] sends what was handed over, some at a time, in OTLP's JSON encoding
//! (OpenTelemetry Protocol, OTLP/HTTP). A trace begins where a request's `traceparent` says, or here.
//!
//! The OpenTelemetry crates would do this, too, with fifteen more crates and a second `rand`, for what is two screens here:
//! one signal, one encoding, no sampling but the caller's.
//!
//! # What can go wrong
//!
//! Nobody waits for a collector. What does not fit into the queue, and what is not taken, is lost; how much is told in the
//! logs. A span's fields are those that a log line would have, so no secret is among them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, header};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::chain::Chain;
use crate::clock::{Clock, Timestamp};
use crate::peer::Peer;
use crate::trace::{TraceContext, hexadecimal};

/// Spans that wait to be sent, at most.
const QUEUE: usize = 4_096;

/// Spans in one request, at most.
const BATCH: usize = 512;

/// For how long spans are gathered before they are sent.
const GATHERING: Duration = Duration::from_secs(1);

/// How long a collector may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The largest answer of a collector that is read, in bytes.
const LARGEST: usize = 64 * 1024;

/// The most fields of a span that are kept, and the longest text in one, in characters.
const FIELDS: usize = 32;
const LONGEST: usize = 512;

/// The field that says where a span's trace began, if that was elsewhere.
const PARENT: &str = "traceparent";

/// The field that says which side of a call a span is: `server` or `client`.
const KIND: &str = "kind";

/// Gives spans their places in traces, and hands them over when they close.
pub(super) struct Recorder {
    clock: Arc<dyn Clock>,
    finished: mpsc::Sender<Finished>,
    lost: Arc<AtomicU64>,
}

/// Sends what was recorded.
pub struct Exporter {
    peer: Peer,
    perspective: String,
    finished: mpsc::Receiver<Finished>,
    lost: Arc<AtomicU64>,
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Exporter").field(&self.peer).finish()
    }
}

/// A span that is under way.
struct Open {
    parent: Option<[u8; 8]>,
    begun: Timestamp,
    fields: Fields,
}

/// A span that has closed.
struct Finished {
    here: TraceContext,
    name: &'static str,
    open: Open,
    ended: Timestamp,
}

#[derive(Default)]
struct Fields {
    parent: Option<TraceContext>,
    kind: Option<String>,
    attributes: Vec<(&'static str, Value)>,
}

/// Both halves; `perspective` says whose spans these are.
pub(super) fn halves(peer: Peer, perspective: String, clock: Arc<dyn Clock>) -> (Recorder, Exporter) {
    let (sender, finished) = mpsc::channel(QUEUE);
    let lost = Arc::new(AtomicU64::new(0));
    (Recorder { clock, finished: sender, lost: Arc::clone(&lost) }, Exporter { peer, perspective, finished, lost })
}

/// Whether this is a span of ours: those of other crates tell what they like.
pub(super) fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target().starts_with("xks_preflight")
}

impl<S: Subscriber + for<'l> LookupSpan<'l>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let above = || span.parent()?.scope().find_map(|span| span.extensions().get::<TraceContext>().copied());
        let parent = fields.parent.take().or_else(above);
        let here = TraceContext {
            trace: parent.map_or_else(rand::random, |parent| parent.trace),
            span: rand::random(),
            sampled: parent.is_none_or(|parent| parent.sampled),
        };
        let mut extensions = span.extensions_mut();
        extensions.insert(here);
        extensions.insert(Open { parent: parent.map(|parent| parent.span), begun: self.clock.now(), fields });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            values.record(&mut open.fields);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let mut extensions = span.extensions_mut();
        let Some(open) = extensions.remove::<Open>() else { return };
        let Some(here) = extensions.get_mut::<TraceContext>().copied().filter(|here| here.sampled) else { return };
        let finished = Finished { here, name: span.name(), open, ended: self.clock.now() };
        if self.finished.try_send(finished).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Fields {
    fn note(&mut self, field: &Field, value: Value) {
        match (field.name(), value.as_str()) {
            (PARENT, Some(text)) => self.parent = TraceContext::parse(text),
            (KIND, Some(text)) => self.kind = Some(text.to_owned()),
            (name, _) if self.attributes.len() < FIELDS => self.attributes.push((name, value)),
            _ => {}
        }
    }

    fn text(&mut self, field: &Field, text: &str) {
        let cut: String = text.chars().take(LONGEST).collect();
        self.note(field, json!({ "stringValue": cut }));
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if matches!(field.name(), PARENT | KIND) {
            self.note(field, json!(value));
        } else {
            self.text(field, value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.note(field, json!({ "boolValue": value }));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        // 64 bits are text in protobuf's JSON.
        self.note(field, json!({ "intValue": value.to_string() }));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.note(field, json!({ "intValue": value.to_string() }));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.note(field, json!({ "doubleValue": value }));
    }
}

impl Exporter {
    /// Sends until `stop`, then what is left.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut well = true;
        loop {
            let mut batch = Vec::new();
            let ended = match stop.run_until_cancelled(self.finished.recv()).await {
                Some(Some(first)) => {
                    batch.push(first);
                    let gathering = self.finished.recv_many(&mut batch, BATCH - 1);
                    let gathered = async {
                        gathering.await;
                        // Some come at once; give others a moment.
                        std::future::pending::<()>().await;
                    };
                    let _ = tokio::time::timeout(GATHERING, stop.run_until_cancelled(gathered)).await;
                    false
                }
                Some(None) => return,
                None => true,
            };
            while batch.len() < BATCH || ended {
                let Ok(more) = self.finished.try_recv() else { break };
                batch.push(more);
            }
            if !batch.is_empty() {
                self.send(&batch, &mut well).await;
            }
            if ended {
                return;
            }
        }
    }

    async fn send(&self, batch: &[Finished], well: &mut bool) {
        let sent = match tokio::time::timeout(PATIENCE, self.post(batch)).await {
            Ok(sent) => sent,
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        };
        let lost = self.lost.swap(0, Ordering::Relaxed);
        match &sent {
            Ok(()) if *well && lost == 0 => {}
            Ok(()) => tracing::info!(collector = self.peer.url(), lost, "traces are taken by the collector"),
            // Told once, until it is well again.
            Err(why) if *well => {
                tracing::warn!(collector = self.peer.url(), why, "traces are not taken by the collector and are lost");
            }
            Err(_) => {}
        }
        *well = sent.is_ok();
    }

    async fn post(&self, batch: &[Finished]) -> Result<(), String> {
        let body = Bytes::from(self.document(batch).to_string());
        let request = self.peer.request(Method::POST, "/v1/traces").header(header::CONTENT_TYPE, "application/json");
        let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
        let answer = self.peer.call(request, LARGEST).await.map_err(|error| Chain(&error).to_string())?;
        if answer.status().is_success() { Ok(()) } else { Err(format!("it answers {}", answer.status().as_u16())) }
    }

    /// `ExportTraceServiceRequest` in protobuf's JSON, with trace and span ids in hexadecimal as OTLP wants them.
    fn document(&self, batch: &[Finished]) -> Value {
        let text = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
        let version = env!("CARGO_PKG_VERSION");
        let resource = [
            text("service.name", "xks-preflight"),
            text("service.version", version),
            text("service.instance.id", &self.perspective),
        ];
        json!({ "resourceSpans": [{
            "resource": { "attributes": resource },
            "scopeSpans": [{
                "scope": { "name": "xks-preflight", "version": version },
                "spans": batch.iter().map(span).collect::<Vec<_>>(),
            }],
        }] })
    }
}

fn span(finished: &Finished) -> Value {
    let Finished { here, name, open, ended } = finished;
    let attributes = open.fields.attributes.iter().map(|(key, value)| json!({ "key": key, "value": value }));
    json!({
        "traceId": hexadecimal(&here.trace),
        "spanId": hexadecimal(&here.span),
        "parentSpanId": open.parent.map(|parent| hexadecimal(&parent)).unwrap_or_default(),
        "name": name,
        // SPAN_KIND_INTERNAL, _SERVER, _CLIENT
        "kind": match open.fields.kind.as_deref() { Some("server") => 2, Some("client") => 3, _ => 1 },
        "startTimeUnixNano": open.begun.unix_nanos().to_string(),
        // A clock that was set back makes no negative time.
        "endTimeUnixNano": ended.unix_nanos().max(open.begun.unix_nanos()).to_string(),
        "attributes": attributes.collect::<Vec<_>>(),
    })
}
