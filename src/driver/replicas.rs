//! Several replicas on one journal: updates whose driver is gone are taken over, and orders reach the one that drives.
//!
//! # How it works
//!
//! Every replica patrols: it asks for the lease of each open update that it does not drive, and drives those that it
//! gets. An order to an update that is driven elsewhere is left at the journal's [`OrderDesk`]; each replica looks there
//! for orders to its own updates, gives them to their tasks as if they had come in here, and leaves the answer.
//!
//! # What can go wrong
//!
//! Nobody drives the update just then, because its driver has gone and its lease has not ended: the order is taken back
//! after a while, and whoever gave it is told that nothing was recorded.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Driver, Order, OrderError, Seen};
use crate::chain::Chain;
use crate::id::UpdateId;
use crate::journal::{JournalError, LeftOrder, MOST_PATIENCE, OrderAnswer, OrderDesk, OrderStanding};
use crate::update::Event;

/// Between two looks at the desk, and at what another replica records.
pub(super) const LOOK: Duration = Duration::from_millis(250);
/// Between two looks when the desk cannot be read.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// A lease that has ended is found within this part of its length.
const PATROLS: u32 = 4;

impl Driver {
    /// Whether this replica drives the update.
    pub(super) fn drives(&self, id: UpdateId) -> bool {
        self.0.orders.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&id)
    }

    /// Starts to look after updates and orders of other replicas, until shutdown.
    pub(super) fn join_replicas(&self, desk: &Arc<dyn OrderDesk>) {
        let patrol = self.clone();
        self.0.tasks.spawn(async move {
            while patrol.pause(patrol.0.parts.lease.ttl / PATROLS).await {
                patrol.look_for_the_abandoned().await;
            }
        });
        let (driver, desk) = (self.clone(), Arc::clone(desk));
        self.0.tasks.spawn(async move {
            let mut pause = LOOK;
            while driver.pause(pause).await {
                pause = match driver.look_at_the_desk(&desk).await {
                    Ok(()) => LOOK,
                    Err(error) => {
                        tracing::warn!(error = %Chain(&error), "orders from other replicas cannot be read");
                        LOOK_AGAIN
                    }
                };
            }
        });
    }

    /// Whether to go on afterwards.
    async fn pause(&self, pause: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(pause) => true,
            () = self.0.stop.cancelled() => false,
        }
    }

    /// Asks for the lease of every open update that is not driven here.
    async fn look_for_the_abandoned(&self) {
        match self.0.parts.journal.open_updates().await {
            Ok(open) => open.into_iter().filter(|id| !self.drives(*id)).for_each(|id| self.drive(id)),
            Err(error) => tracing::warn!(error = %Chain(&error), "open updates cannot be read"),
        }
    }

    async fn look_at_the_desk(&self, desk: &Arc<dyn OrderDesk>) -> Result<(), JournalError> {
        for left in desk.waiting().await? {
            let task = self.0.orders.lock().unwrap_or_else(PoisonError::into_inner).get(&left.update).cloned();
            let Some(task) = task else { continue };
            if !desk.take(left.id).await? {
                continue;
            }
            let LeftOrder { id, order: event, seen, .. } = left;
            let (answer, answered) = oneshot::channel();
            // A task that ends meanwhile drops the order, which is then not answered.
            let _ = task.send(Order { event, seen: Seen(seen), answer }).await;
            let desk = Arc::clone(desk);
            self.0.tasks.spawn(async move {
                let answer = match answered.await {
                    Ok(Ok(())) => OrderAnswer::Recorded,
                    Ok(Err(_)) => OrderAnswer::Refused,
                    // Whether it is recorded is not known.
                    Err(_) => return,
                };
                if let Err(error) = desk.answer(id, answer).await {
                    tracing::warn!(error = %Chain(&error), "answer to an order cannot be left");
                }
            });
        }
        Ok(())
    }

    /// Has an order obeyed by the replica that drives the update.
    pub(super) async fn order_elsewhere(
        &self,
        desk: &Arc<dyn OrderDesk>,
        update: UpdateId,
        event: Event,
        seen: Seen,
    ) -> Result<(), OrderError> {
        let id = desk.leave(update, &event, seen.0).await.map_err(OrderError::Journal)?;
        let until = Instant::now() + MOST_PATIENCE;
        let answer = loop {
            match desk.standing(id).await.map_err(OrderError::Journal)? {
                OrderStanding::Answered(answer) => break answer,
                OrderStanding::Waiting | OrderStanding::Taken if Instant::now() < until => {
                    if !self.pause(LOOK).await {
                        // This replica ends; whoever drives may still obey it.
                        return Err(OrderError::NotDriven);
                    }
                }
                OrderStanding::Waiting => match desk.withdraw(id).await.map_err(OrderError::Journal)? {
                    OrderStanding::Answered(answer) => break answer,
                    _ => return Err(OrderError::NotDriven),
                },
                OrderStanding::Taken | OrderStanding::Withdrawn => return Err(OrderError::NotDriven),
            }
        };
        match answer {
            OrderAnswer::Recorded => Ok(()),
            // Why, is seen in the record, as whoever drives saw it.
            OrderAnswer::Refused => {
                let record = self.get(update).await?;
                seen.is(record.last_event())?;
                let status = record.state.status();
                let why =
                    record.state.clone().apply(&event).err().map_or("the replica that drives it refused", |no| no.why);
                Err(OrderError::NotNow { status, why })
            }
        }
    }
}
