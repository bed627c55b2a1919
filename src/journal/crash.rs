//! A process that ends at a journal write, for tests of what a restart or another replica makes of it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Ends the process right after the n-th write.
#[derive(Debug)]
pub(super) struct Crash(AtomicU64);

impl Crash {
    pub(super) fn after(writes: u64) -> Self {
        Self(AtomicU64::new(writes))
    }

    pub(super) fn count(&self) {
        if self.0.fetch_sub(1, Ordering::SeqCst) <= 1 {
            let own = std::process::id().to_string();
            // SIGKILL is what nothing can catch; should there be no `kill`, an abort cleans up nothing either.
            let _ = std::process::Command::new("kill").args(["-9", &own]).status();
            std::process::abort();
        }
    }
}
