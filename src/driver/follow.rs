//! Following an update: what the journal holds, then what is recorded, each event once and in order.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::broadcast;

use super::Inner;
use crate::id::UpdateId;
use crate::journal::JournalError;
use crate::update::{Event, Recorded};

/// Somebody who follows an update.
pub(super) struct Reading {
    pub(super) inner: Arc<Inner>,
    pub(super) id: UpdateId,
    /// The number of the last event that was told.
    pub(super) after: u64,
    pub(super) past: VecDeque<Recorded>,
    pub(super) news: broadcast::Receiver<(UpdateId, Recorded)>,
    pub(super) over: bool,
}

impl Reading {
    pub(super) async fn next(mut self) -> Option<(Result<Recorded, JournalError>, Self)> {
        if self.over {
            return None;
        }
        loop {
            let next = if let Some(recorded) = self.past.pop_front() {
                recorded
            } else {
                tokio::select! {
                    news = self.news.recv() => match news {
                        Ok((id, recorded)) if id == self.id => recorded,
                        Ok(_) => continue,
                        // Too slow for the news: the journal has all of it.
                        Err(broadcast::error::RecvError::Lagged(_)) => {
                            match self.inner.parts.journal.load(self.id).await {
                                Ok(past) => self.past = past.into(),
                                Err(error) => {
                                    self.over = true;
                                    return Some((Err(error), self));
                                }
                            }
                            continue;
                        }
                        Err(broadcast::error::RecvError::Closed) => return None,
                    },
                    () = self.inner.stop.cancelled() => return None,
                }
            };
            // An event told before, or a conclusion before the place where reading begins.
            let concluded = matches!(next.event, Event::Concluded { .. });
            if next.sequence <= self.after {
                if concluded {
                    return None;
                }
                continue;
            }
            self.after = next.sequence;
            self.over = concluded;
            return Some((Ok(next), self));
        }
    }
}
