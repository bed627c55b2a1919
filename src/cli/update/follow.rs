//! Following an update to its end. Its events come as a stream; a stream that breaks is taken up where it broke.

use http::StatusCode;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::client::{Call, CallError, Client};
use super::sse;
use super::words::{awaits_removal, ended, may_await_removal, text};

/// What is told while an update is followed.
pub(super) enum News<'a> {
    /// Something happened to it.
    Event(&'a Value),
    /// The daemon does not answer, which is told once until it answers again.
    Away(&'a CallError),
}

/// An update being followed.
pub(super) struct Follower<'a> {
    client: &'a Client,
    id: &'a str,
    last: u64,
    /// Whether the daemon gave a sign of life since this was last asked.
    alive: bool,
    /// Whether it is also followed no further when a person must remove a credential, by an event after this one.
    until_person: Option<u64>,
}

impl<'a> Follower<'a> {
    /// Begins with the first event.
    pub(super) fn new(client: &'a Client, id: &'a str) -> Self {
        Self { client, id, last: 0, alive: false, until_person: None }
    }

    /// Goes no further either when, after this event, a person must remove a credential.
    pub(super) fn until_person(self, after: u64) -> Self {
        Self { until_person: Some(after), ..self }
    }

    /// Tells every event once and returns the update when it has ended, or waits for a person; says when the daemon is
    /// away, and gives up when it stays so.
    pub(super) async fn follow(mut self, tell: &mut dyn FnMut(News<'_>)) -> Result<Value, CallError> {
        let patience = self.client.patience;
        let mut losses = 0_u32;
        let mut away = false;
        loop {
            let streamed = match self.stream(&mut |event| tell(News::Event(event))).await {
                Err(error) if error.is_final() => return Err(error),
                other => other,
            };
            // A stream ends with the update, with the daemon, or with something between.
            let shown = update(self.client, self.id).await;
            if let Err(error) = &shown
                && !away
                && !error.is_final()
            {
                tell(News::Away(error));
            }
            away = shown.is_err();
            match shown {
                Ok(shown) if ended(text(&shown, "/status")) => {
                    // The stream may have been left in the middle. What is missing is only told, so it may fail.
                    if self.until_person.take().is_some() {
                        let _ = self.stream(&mut |event| tell(News::Event(event))).await;
                    }
                    return Ok(shown);
                }
                Ok(shown) if self.until_person.is_some() && awaits_removal(&shown) => return Ok(shown),
                Err(error) if error.is_final() || losses >= patience.losses => return Err(error),
                Ok(_) if losses >= patience.losses => {
                    let ended = || self.client.foreign("the event stream ends before the update does");
                    return Err(streamed.err().unwrap_or_else(ended));
                }
                _ => {}
            }
            losses = if std::mem::take(&mut self.alive) { 0 } else { losses + 1 };
            sleep(patience.pause * (1 << losses.min(4))).await;
        }
    }

    /// Tells the events of one stream, until it ends or has told that a person may be waited for.
    pub(super) async fn stream(&mut self, tell: &mut dyn FnMut(&Value)) -> Result<(), CallError> {
        let path = format!("/v1/updates/{}/events", self.id);
        let header = (self.last > 0).then(|| ("last-event-id", self.last.to_string()));
        let mut answer = self.client.open(Call { header, ..Call::get(&path) }, "text/event-stream").await?;
        if answer.response.status() != StatusCode::OK {
            return Err(self.client.foreign("it is no event stream"));
        }
        let within = self.client.patience.silence;
        let mut parser = sse::Parser::default();
        loop {
            let frame = timeout(within, answer.response.body_mut().frame())
                .await
                .map_err(|_| CallError::TimedOut { url: self.client.server.url.clone(), within })?;
            let Some(frame) = frame else { return Ok(()) };
            let frame = frame.map_err(|source| self.client.lost(source))?;
            let Some(bytes) = frame.data_ref() else { continue };
            self.alive = true;
            for message in parser.feed(bytes).map_err(|error| self.client.foreign(&error.to_string()))? {
                let event: Value =
                    serde_json::from_str(&message.data).map_err(|_| self.client.foreign("an event is not JSON"))?;
                let sequence = message.id.or_else(|| event.get("sequence").and_then(Value::as_u64));
                if sequence.is_some_and(|sequence| sequence <= self.last) {
                    continue;
                }
                self.last = sequence.unwrap_or(self.last);
                tell(&event);
                if self.until_person.is_some_and(|seen| self.last > seen) && may_await_removal(&event) {
                    return Ok(());
                }
            }
        }
    }
}

/// What the daemon shows of an update.
pub(super) async fn update(client: &Client, id: &str) -> Result<Value, CallError> {
    let shown = client.call(Call::get(&format!("/v1/updates/{id}"))).await?;
    if text(&shown, "/status").is_empty() { Err(client.foreign("it is no update")) } else { Ok(shown) }
}
