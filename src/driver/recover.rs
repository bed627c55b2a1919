//! Taking updates up: after a start, and again after the journal failed.

use std::collections::hash_map::Entry;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError};

use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tracing::Instrument as _;

use super::lease::{Lease, Taken};
use super::perform::{Life, Stopped};
use super::{Driver, Inner, Order, OrderError};
use crate::chain::Chain;
use crate::id::UpdateId;
use crate::journal::JournalError;

/// More orders than this wait for an update's task at no time.
const MOST_ORDERS: usize = 16;

impl Driver {
    /// Takes up every update that was open when the process last ended; gives how many. Without a writer none is.
    pub async fn start(&self) -> Result<usize, OrderError> {
        let open = self.0.parts.journal.open_updates().await.map_err(OrderError::Journal)?;
        if self.0.parts.writer.is_none() {
            for update in &open {
                tracing::warn!(%update, "update is open and this instance only observes");
            }
            return Ok(0);
        }
        for update in &open {
            self.drive(*update);
        }
        if let Some(desk) = &self.0.parts.desk {
            self.join_replicas(desk);
        }
        Ok(open.len())
    }

    /// Starts the update's task, unless it runs.
    pub(super) fn drive(&self, id: UpdateId) {
        let (sender, orders) = mpsc::channel(MOST_ORDERS);
        match self.0.orders.lock().unwrap_or_else(PoisonError::into_inner).entry(id) {
            // A patrol has been quicker than whoever recorded it.
            Entry::Occupied(_) => return,
            Entry::Vacant(place) => drop(place.insert(sender)),
        }
        let inner = Arc::clone(&self.0);
        self.0.tasks.spawn(async move {
            live(&inner, id, orders).instrument(tracing::info_span!("update", update = %id)).await;
            inner.orders.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        });
    }
}

/// Lives the update to its end, to shutdown, or until somebody else drives it, from what is recorded, as often as it
/// takes.
async fn live(inner: &Arc<Inner>, id: UpdateId, mut orders: mpsc::Receiver<Order>) {
    let lease = loop {
        match Lease::take(inner, id).await {
            Ok(Taken::Here(lease)) => break lease,
            Ok(Taken::Elsewhere { by, left }) => {
                tracing::debug!(update = %id, by, left_ms = left.as_millis(), "update is driven elsewhere");
                decline(orders);
                return;
            }
            Err(error) => {
                tracing::error!(update = %id, error = %Chain(&error), "update cannot be leased; trying again");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(inner.parts.pace.interval) => {}
            () = inner.stop.cancelled() => return,
        }
    };
    tracing::info!(update = %id, fence = %lease.fence(), "update is driven here");
    live_under(inner, id, &lease, &mut orders).await;
    lease.release().await;
    decline(orders);
}

/// Says of orders that came too late that they were not obeyed.
fn decline(mut orders: mpsc::Receiver<Order>) {
    orders.close();
    while let Ok(order) = orders.try_recv() {
        // Whoever asked may have left.
        let _ = order.answer.send(Err(OrderError::NotDriven));
    }
}

async fn live_under(inner: &Arc<Inner>, id: UpdateId, lease: &Arc<Lease>, orders: &mut mpsc::Receiver<Order>) {
    loop {
        let lived = AssertUnwindSafe(async {
            match Life::load(inner, id, lease).await {
                Ok(life) => life.run(orders).await,
                Err(stopped) => Err(stopped),
            }
        });
        // Whatever a panic left in memory is thrown away: what counts is recorded.
        let Ok(stopped) = lived.catch_unwind().await else {
            tracing::error!(update = %id, "a fault of this program ended the update's task; taking it up again");
            tokio::select! {
                () = tokio::time::sleep(inner.parts.pace.longest) => continue,
                () = inner.stop.cancelled() => return,
            }
        };
        match stopped {
            Ok(()) => return,
            Err(Stopped::Journal(JournalError::Fenced { .. })) => return left_to_others(id),
            // An append that failed may have been written: only reading again tells.
            Err(Stopped::Journal(error)) => {
                tracing::error!(update = %id, error = %Chain(&error), "journal failed; reading the update again");
            }
            Err(Stopped::Record(illegal)) => {
                tracing::error!(update = %id, error = %illegal, "record cannot be followed; the update is left alone");
                return;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(inner.parts.pace.interval) => {}
            () = inner.stop.cancelled() => return,
        }
        // However long that has taken: it may be somebody else's by now.
        if lease.is_lost_after_all().await {
            return left_to_others(id);
        }
    }
}

fn left_to_others(id: UpdateId) {
    tracing::warn!(update = %id, "somebody else has taken the update over; it is left to them");
}
