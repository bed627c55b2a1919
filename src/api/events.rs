//! The events of an update as they happen: server-sent events (HTML standard, section 9.2).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, StreamExt as _};

use super::Service;
use super::access::Admitted;
use super::problem::{Problem, ProblemDocument};
use super::updates::{order_refused, visible};
use crate::chain::Chain;
use crate::driver::OrderError;
use crate::update::Recorded;

/// Everything that was recorded of an update and everything that will be, until it has ended. `Last-Event-ID` goes on
/// after that event.
#[utoipa::path(
    get, path = "/v1/updates/{id}/events", tag = "updates", operation_id = "followUpdate",
    params(
        ("id" = String, Path, description = "The update's id"),
        ("Last-Event-ID" = Option<u64>, Header, description = "The last event that was seen"),
    ),
    responses(
        (status = 200, description = "One event for each recorded one: its number as id, its name as event, its JSON as data", body = String, content_type = "text/event-stream"),
        (status = "default", description = "Not answered as asked", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn follow(
    State(service): State<Arc<Service>>,
    Extension(admitted): Extension<Admitted>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>, Problem> {
    let id = visible(&service, &admitted, &id).await?.id();
    let after = match headers.get("last-event-id") {
        None => 0,
        Some(value) => value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(|| {
            Problem::new(StatusCode::BAD_REQUEST, "malformed_request", "Last-Event-ID must be a whole number")
        })?,
    };
    let place = service.streams.clone().try_acquire_owned().map_err(|_| {
        let detail = "too many event streams are open; close one, or look at the update now and then";
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_streams", detail).retry_after(Duration::from_secs(10))
    })?;
    let events = service.driver.events(id, after).await.map_err(|error| order_refused(&OrderError::Journal(error)))?;
    let draining = service.draining.clone();
    let withdrawn = withdrawn(&service, &admitted);
    let events = events
        .take_until(async move {
            tokio::select! {
                () = draining.cancelled() => {}
                () = withdrawn => {}
            }
        })
        // An unreadable journal ends the stream; the client comes back with Last-Event-ID.
        .take_while(|recorded| {
            if let Err(error) = recorded {
                tracing::error!(error = %Chain(error), "event stream ended early");
            }
            std::future::ready(recorded.is_ok())
        })
        .filter_map(|recorded| std::future::ready(recorded.ok()))
        .map(move |recorded| {
            let _held = &place;
            Ok(event(&recorded))
        });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

/// Ends when whoever listens is no longer known: a stream may outlive what its caller was let in by.
fn withdrawn(service: &Service, admitted: &Admitted) -> impl Future<Output = ()> + Send + use<> {
    let admitted = admitted.clone();
    let mut callers = service.callers.follow();
    async move {
        while admitted.is_known_to(&callers.borrow_and_update()) {
            if callers.changed().await.is_err() {
                return;
            }
        }
    }
}

fn event(recorded: &Recorded) -> Event {
    let data = serde_json::to_string(recorded).unwrap_or_default();
    Event::default().id(recorded.sequence.to_string()).event(recorded.event.name()).data(data)
}
