//! Leases: at any time one holder alone drives an update.
//!
//! A lease is for a time and ends by itself, so that the updates of a holder that is gone are taken over. Every grant
//! has a higher [`Fence`] than all before it, and an event is appended under the fence of its writer: one that wakes
//! up after its lease has gone to somebody else is refused with
//! [`JournalError::Fenced`](super::JournalError::Fenced), however late that is and whatever its clock says.

use std::fmt;
use std::time::Duration;

/// Counts the grants of an update's lease, from 1. The newest alone may append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub(super) i64);

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What became of the wish for a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leased {
    /// It is the asker's, for the time it asked for, counted from before it asked.
    Granted(Fence),
    /// Somebody else has it.
    Held {
        /// Who.
        by: String,
        /// How long it still lasts by the journal's clock, unless it is renewed.
        left: Duration,
    },
}
