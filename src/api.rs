//! The versioned HTTP API.
//!
//! # How it works
//!
//! [`Service`] holds what is asked for; [`router`] says which path leads to which handler; a
//! [listener](crate::listener) takes connections. Handlers translate in and out and decide nothing. Every error leaves as a problem document
//! (RFC 9457). Every route states what its caller needs, and on which key store.
//!
//! # What can go wrong
//!
//! Callers may be slow, many, or hostile: connections, requests at once, event streams, heads and bodies are all
//! bounded in number, size and time. Authorization is never logged.

pub(crate) mod access;
pub(crate) mod approvals;
pub(crate) mod audit;
mod body;
mod callers;
pub(crate) mod events;
pub(crate) mod freeze;
mod gates;
pub(crate) mod key_stores;
mod openapi;
mod operations;
mod past;
mod precondition;
pub(crate) mod preflights;
mod probe;
pub(crate) mod problem;
mod reload;
mod request;
mod schema;
pub(crate) mod updates;
mod view;
mod witness;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

pub use callers::Callers;
pub use openapi::document;
pub use past::PastUpdates;
pub use reload::{AtRestart, NotReloaded, Order as ReloadOrder, Reload, Reloaded};

use self::access::{Guarded, Needs, On};
use self::problem::Problem;
use crate::access::Permission::{Administer, Approve, Change, Freeze, Probe, Read};
use crate::clock::Clock;
use crate::current::Current;
use crate::drift::DriftWatch;
use crate::driver::{Driver, Examiner};
use crate::enumeration::Enumerators;
use crate::listener::Limits;
use crate::metrics::Metrics;
use crate::monitor::Monitor;
use crate::notary::Notary;
use crate::preflight::Surroundings;
use crate::trace;

/// What callers may use up.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The largest body, in bytes.
    pub body: usize,
    /// For a request to be received and answered, event streams excepted.
    pub request: Duration,
    /// Requests worked on at once.
    pub requests: usize,
    /// Event streams at once.
    pub streams: usize,
}

/// What the API serves.
#[derive(Debug)]
pub struct Service {
    /// Key stores and their reports.
    pub monitor: Arc<Monitor>,
    /// Updates.
    pub driver: Driver,
    /// Pre-flights.
    pub examiner: Arc<Examiner>,
    /// The KMS keys of key stores.
    pub enumerators: Arc<Enumerators>,
    /// What was changed behind our back.
    pub drift: Arc<DriftWatch>,
    /// Credentials and routes.
    pub surroundings: Arc<Current<Surroundings>>,
    /// Writes decisions and signs evidence.
    pub notary: Arc<Notary>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// What they tell of earlier updates.
    pub past: PastUpdates,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Who is known; while nobody is, everybody is let in as [`crate::access::Principal::anonymous`].
    pub callers: Arc<Current<Callers>>,
    /// How often they may ask.
    pub limits: Limits,
    /// Whether `/metrics` is for everybody even while callers are known: on a loopback address.
    pub open_metrics: bool,
    /// Reads the configuration anew.
    pub reload: Arc<Reload>,
    /// What callers may use up.
    pub bounds: Bounds,
    /// Places for requests.
    pub requests: Semaphore,
    /// Places for probes of callers that do not say who they are, fewer than `requests`.
    pub strangers: Semaphore,
    /// Places for event streams.
    pub streams: Arc<Semaphore>,
    /// Cancelled when event streams must end.
    pub draining: CancellationToken,
}

/// Every path of the API.
pub fn router(service: Arc<Service>) -> Router {
    let needs = Needs::new;
    let guarded = Guarded::new(service.clone())
        .route("/v1/checks", needs(Read, On::Nothing), get(operations::checks))
        .route("/v1/key-stores", needs(Read, On::Each), get(key_stores::list))
        .route("/v1/key-stores/{id}", needs(Read, On::Path), get(key_stores::one))
        .route("/v1/key-stores/{id}/reports", needs(Read, On::Path), get(key_stores::reports))
        .route("/v1/key-stores/{id}/keys", needs(Read, On::Path), get(key_stores::keys))
        .route("/v1/preflights", needs(Probe, On::Named), post(preflights::run))
        .route("/v1/preflights/{id}", needs(Read, On::Named), get(preflights::one))
        .route("/v1/gates/status", needs(Probe, On::Named).or_password(), post(gates::status))
        .route("/v1/gates/analysis", needs(Probe, On::Named).or_password(), post(gates::analysis))
        .route("/v1/freeze", needs(Read, On::Each), get(freeze::list))
        .route("/v1/freeze", needs(Freeze, On::Named), post(freeze::set).delete(freeze::lift))
        .route("/v1/updates", needs(Read, On::Each), get(updates::list))
        .route("/v1/updates", needs(Change, On::Named), post(updates::submit))
        .route("/v1/updates/{id}", needs(Read, On::Named), get(updates::one))
        .route("/v1/updates/{id}/events", needs(Read, On::Named), get(events::follow))
        .route("/v1/updates/{id}/approve", needs(Approve, On::Named), post(approvals::approve))
        .route("/v1/updates/{id}/cancel", needs(Change, On::Named), post(updates::cancel))
        .route("/v1/updates/{id}/removed", needs(Change, On::Named), post(updates::removed))
        .route("/v1/updates/{id}/rollback", needs(Change, On::Named), post(updates::rollback))
        .route("/v1/updates/{id}/evidence", needs(Read, On::Named), get(audit::evidence))
        .route("/v1/audit", needs(Read, On::Each), get(audit::list))
        .route("/v1/audit/key", needs(Read, On::Nothing), get(audit::key))
        .route("/-/reload", needs(Administer, On::All), post(reload::reload))
        .route("/metrics", needs(Read, On::All).or_open(), get(operations::metrics))
        .route("/probe", needs(Read, On::Named).or_open_to_strangers(), get(probe::probe))
        .finish();
    Router::new()
        .merge(guarded)
        .route("/openapi.json", get(openapi::serve))
        .route("/runbooks", get(crate::runbooks::serve))
        .route("/readyz", get(operations::ready))
        .route("/-/ready", get(operations::ready))
        .layer(from_fn_with_state(service.clone(), bound))
        // Liveness is told even when every place is taken.
        .route("/healthz", get(operations::alive))
        .route("/-/healthy", get(operations::alive))
        .fallback(async || Problem::no_such_path())
        // Bodies are read by hand, with a bound of their own.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn(problem::finish))
        .with_state(service)
}

/// Only so many requests at once, and none for ever.
pub(crate) async fn bound(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let Ok(_place) = service.requests.try_acquire() else {
        let detail = "too many requests are being worked on; ask again in a moment";
        return Problem::new(StatusCode::TOO_MANY_REQUESTS, "busy", detail)
            .retry_after(Duration::from_secs(1))
            .into_response();
    };
    let parent = request.headers().get(trace::HEADER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    // The query stays out of it: nobody knows what people write there.
    let span = tracing::debug_span!(
        "request",
        kind = "server",
        traceparent = parent,
        method = %request.method(),
        path = request.uri().path(),
        status = tracing::field::Empty,
    );
    let answered = tokio::time::timeout(service.bounds.request, next.run(request)).instrument(span.clone());
    if let Ok(response) = answered.await {
        span.record("status", response.status().as_u16());
        return response;
    }
    let detail = format!("no answer within {} s", service.bounds.request.as_secs());
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "timed_out", detail)
        .retry_after(Duration::from_secs(5))
        .into_response()
}
