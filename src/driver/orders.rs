//! What people want of an update that runs: given to its task, which alone changes it, and answered when it is recorded.

use std::sync::PoisonError;

use tokio::sync::oneshot;

use super::Driver;
use crate::id::UpdateId;
use crate::journal::JournalError;
use crate::update::{Consent, Denied, Event, Status};

/// Why an order to an update is not taken.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The update is not at a point where this is possible.
    #[error("not possible while {}: {why}", status.status.as_str())]
    NotNow {
        /// Where it is.
        status: Status,
        /// The rule.
        why: &'static str,
    },
    /// The gate does not take it.
    #[error("approval is not taken")]
    Denied(#[source] Denied),
    /// The update has gone on since whoever orders looked at it.
    #[error("the update has gone on since: it is at event {found}; look at it again")]
    Stale {
        /// The number of its last event.
        found: u64,
    },
    /// Nobody drives the update, or whoever does has not answered.
    #[error(
        "nobody who drives the update has answered (this instance only observes, or one has just gone): look at the \
         update, and ask again"
    )]
    NotDriven,
    /// The record cannot be read or written, or there is no such update.
    #[error("update cannot be read or recorded")]
    Journal(#[source] JournalError),
    /// The record makes no sense.
    #[error("update's record cannot be followed")]
    Record(#[source] crate::update::IllegalEvent),
}

/// What whoever orders had seen of the update: the number of its last event, if they care.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen(pub Option<u64>);

impl Seen {
    pub(super) fn is(self, found: u64) -> Result<(), OrderError> {
        if self.0.is_none_or(|seen| seen == found) { Ok(()) } else { Err(OrderError::Stale { found }) }
    }
}

/// What a person wants of a running update, and where the answer goes.
pub(super) struct Order {
    pub(super) event: Event,
    pub(super) seen: Seen,
    pub(super) answer: oneshot::Sender<Result<(), OrderError>>,
}

impl Driver {
    /// Ends an update that has changed nothing yet.
    pub async fn cancel(&self, id: UpdateId, by: &str, seen: Seen) -> Result<(), OrderError> {
        self.order(id, Event::CancelRequested { by: by.to_owned() }, seen).await
    }

    /// Takes an update that has begun back to the former settings.
    pub async fn rollback(&self, id: UpdateId, by: &str, seen: Seen) -> Result<(), OrderError> {
        self.order(id, Event::RollbackRequested { by: by.to_owned() }, seen).await
    }

    /// A person says that the former credential of a rotation is removed at the proxy: it is looked at once.
    pub async fn removed(&self, id: UpdateId, by: &str, seen: Seen) -> Result<(), OrderError> {
        self.order(id, Event::RemovalReported { by: by.to_owned() }, seen).await
    }

    /// A person's yes to exactly the plan and report that it names.
    pub async fn approve(&self, id: UpdateId, consent: &Consent<'_>, seen: Seen) -> Result<(), OrderError> {
        let record = self.get(id).await?;
        seen.is(record.last_event())?;
        let barriers = self.0.barriers_of(&record.state).await.map_err(OrderError::Journal)?;
        let now = self.0.parts.clock.now();
        let event = record.state.consent(consent, now, &barriers).map_err(OrderError::Denied)?;
        self.order(id, event, seen).await
    }

    async fn order(&self, id: UpdateId, event: Event, seen: Seen) -> Result<(), OrderError> {
        let mut known = None;
        loop {
            let record = self.get(id).await?;
            seen.is(record.last_event())?;
            // Refused here already where possible, so that the answer does not wait for the task.
            if let Err(illegal) = record.state.clone().apply(&event) {
                return Err(OrderError::NotNow { status: record.state.status(), why: illegal.why });
            }
            let last = record.last_event();
            match self.hand_over(id, &event, seen).await {
                // Its task may have come to the end just then, which says what the answer is. If nothing has happened
                // since the last look, nobody is at work.
                Err(OrderError::NotDriven) if known != Some(last) => known = Some(last),
                answer => return answer,
            }
        }
    }

    /// Gives the order to whoever drives the update.
    async fn hand_over(&self, id: UpdateId, event: &Event, seen: Seen) -> Result<(), OrderError> {
        let task = self.0.orders.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        if let Some(task) = task {
            let (answer, answered) = oneshot::channel();
            let order = Order { event: event.clone(), seen, answer };
            task.send(order).await.map_err(|_| OrderError::NotDriven)?;
            // Dropped: whether it is recorded is not known.
            let answer = answered.await.map_err(|_| OrderError::NotDriven)?;
            if !matches!(answer, Err(OrderError::NotDriven)) {
                return answer;
            }
        }
        match &self.0.parts.desk {
            Some(desk) => self.order_elsewhere(desk, id, event.clone(), seen).await,
            None => Err(OrderError::NotDriven),
        }
    }
}
