//! Following an update: what the journal holds, then what is recorded, each event once and in order.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::broadcast;
use tokio::time::Interval;

use super::Inner;
use crate::chain::Chain;
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
    /// When to look for what another replica records, which makes no news here.
    pub(super) looks: Interval,
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
                        // Another replica has recorded what was before it.
                        Ok((id, recorded)) if id == self.id && recorded.sequence > self.after + 1 => {
                            self.look_again().await;
                            continue;
                        }
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
                    _ = self.looks.tick(), if self.inner.parts.desk.is_some() => {
                        self.look_again().await;
                        continue;
                    }
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
    async fn look_again(&mut self) {
        match self.inner.parts.journal.load(self.id).await {
            Ok(past) => self.past = past.into(),
            Err(error) => {
                tracing::warn!(update = %self.id, error = %Chain(&error), "update cannot be followed for now");
            }
        }
    }
}
