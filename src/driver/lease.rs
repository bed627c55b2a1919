//! The driver's side of a lease: renewed in the background, and never believed for longer than it surely lasts.
//!
//! # How it works
//!
//! The journal counts a lease from when it hears of it, the driver from before it asked: here it always ends first. Time
//! is measured by two clocks, and the one that has run further counts: the monotonic one, which nobody can set but which
//! stands still while a virtual machine is paused, and the wall clock, which is put right afterwards but may be set back.
//!
//! # What can go wrong
//!
//! - The journal is out of reach: the lease runs out here, and no mutation is sent until it is renewed.
//! - Somebody else has taken the update over: [`Lease::lost`] ends, and every append is refused.
//! - The process stands still between the last look at its lease and the call: no clock of ours can help. The look is
//!   therefore the last thing before the call, and the intention before it is recorded under the fence.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Inner;
use crate::chain::Chain;
use crate::clock::Timestamp;
use crate::id::UpdateId;
use crate::journal::{Fence, JournalError, Leased};

/// A lease is renewed so many times while it lasts, so that several renewals may fail.
const RENEWALS: u32 = 6;
/// This part of a lease is not relied on: clocks run at slightly different rates.
const MARGIN: u32 = 10;

/// In whose name and for how long updates are leased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseTerms {
    /// Names this process among all that drive updates from the journal.
    pub holder: String,
    /// How long a lease lasts; at least twice `call`.
    pub ttl: Duration,
    /// The longest that a call to KMS takes.
    pub call: Duration,
}

impl Default for LeaseTerms {
    /// One minute, for calls of half a minute at most, by a process that is alone.
    fn default() -> Self {
        Self { holder: "the only driver".into(), ttl: Duration::from_mins(1), call: Duration::from_secs(30) }
    }
}

impl LeaseTerms {
    /// What must be left of a lease when a mutation is sent.
    fn needed(&self) -> Duration {
        self.call + self.ttl / MARGIN
    }
}

/// What came of asking for the lease.
pub(super) enum Taken {
    /// It is ours.
    Here(Arc<Lease>),
    /// Somebody else's has not ended.
    Elsewhere { by: String, left: Duration },
}

/// The lease of one update.
pub(super) struct Lease {
    inner: Arc<Inner>,
    update: UpdateId,
    fence: Fence,
    /// When the last grant or renewal that succeeded was asked for, by both clocks.
    asked: Mutex<(Instant, Timestamp)>,
    lost: CancellationToken,
    renewing: CancellationToken,
    /// Ends the renewing with the lease, whatever became of its holder.
    _renewing: DropGuard,
}

impl Lease {
    /// Asks for it, and renews it from then on.
    pub(super) async fn take(inner: &Arc<Inner>, update: UpdateId) -> Result<Taken, JournalError> {
        let terms = &inner.parts.lease;
        let asked = now(inner);
        let fence = match inner.parts.journal.lease(update, &terms.holder, terms.ttl).await? {
            Leased::Granted(fence) => fence,
            Leased::Held { by, left } => return Ok(Taken::Elsewhere { by, left }),
        };
        let renewing = CancellationToken::new();
        let lease = Arc::new(Self {
            inner: Arc::clone(inner),
            update,
            fence,
            asked: Mutex::new(asked),
            lost: CancellationToken::new(),
            _renewing: renewing.clone().drop_guard(),
            renewing: renewing.clone(),
        });
        // Weak, so that the task keeps no lease alive.
        let renewed = Arc::downgrade(&lease);
        let pause = terms.ttl / RENEWALS;
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = renewing.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
                let Some(lease) = renewed.upgrade() else { return };
                tokio::select! {
                    () = renewing.cancelled() => return,
                    () = lease.renew() => {}
                }
            }
        });
        Ok(Taken::Here(lease))
    }

    /// What events are appended under.
    pub(super) fn fence(&self) -> Fence {
        self.fence
    }

    /// Ends when somebody else has taken the update over.
    pub(super) async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Whether it lasts longer than a call to KMS may take.
    pub(super) fn outlasts_a_call(&self) -> bool {
        let terms = &self.inner.parts.lease;
        !self.lost.is_cancelled() && terms.ttl.saturating_sub(self.age()) > terms.needed()
    }

    /// As [`Lease::outlasts_a_call`], renewed first where that is necessary.
    pub(super) async fn outlasts_a_call_or_is_renewed(&self) -> bool {
        if !self.outlasts_a_call() {
            self.renew().await;
        }
        self.outlasts_a_call()
    }

    /// Asks the journal whether somebody else has taken the update over; one that cannot be asked says nothing.
    pub(super) async fn is_lost_after_all(&self) -> bool {
        self.renew().await;
        self.lost.is_cancelled()
    }

    /// Gives it back, so that nobody has to wait for its end.
    pub(super) async fn release(&self) {
        self.renewing.cancel();
        if let Err(error) = self.inner.parts.journal.release(self.update, self.fence).await {
            tracing::warn!(update = %self.update, error = %Chain(&error), "lease cannot be given back; it ends by itself");
        }
    }

    async fn renew(&self) {
        let asked = now(&self.inner);
        match self.inner.parts.journal.renew(self.update, self.fence, self.inner.parts.lease.ttl).await {
            Ok(()) => *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = asked,
            Err(JournalError::Fenced { .. }) => self.lost.cancel(),
            Err(error) => tracing::warn!(update = %self.update, error = %Chain(&error), "lease cannot be renewed"),
        }
    }

    /// How long ago it was asked for, by the clock that has run further.
    fn age(&self) -> Duration {
        let (instant, wall) = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let by_wall = self.inner.parts.clock.now().seconds_since(wall).max(0.0);
        instant.elapsed().max(Duration::try_from_secs_f64(by_wall).unwrap_or(Duration::MAX))
    }
}

fn now(inner: &Inner) -> (Instant, Timestamp) {
    (Instant::now(), inner.parts.clock.now())
}
