//! Deadlines: one instant by which a whole attempt must be over, shared by its stages.
//!
//! Every stage waits for the same instant, so the stage that is waiting when it comes is the one that ran out of time,
//! and the error can name it. Nothing around the stages has a limit of its own that could fire first.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

/// When an attempt must be over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    at: Instant,
    limit: Duration,
}

/// What became of a stage, and how long it took: until it was done or given up.
#[derive(Debug)]
pub(super) struct Timed<T> {
    /// How long.
    pub(super) took: Duration,
    /// What it yielded; `None` if the deadline came first.
    pub(super) result: Option<T>,
}

impl Deadline {
    /// The instant `limit` from now.
    pub(super) fn after(limit: Duration) -> Self {
        Self { at: Instant::now() + limit, limit }
    }

    /// The whole time that was allowed, for messages.
    pub(super) fn limit(self) -> Duration {
        self.limit
    }

    /// Waits for `stage`, but not beyond the deadline.
    pub(super) async fn bound<T>(self, stage: impl Future<Output = T>) -> Timed<T> {
        let began = Instant::now();
        let result = timeout_at(self.at, stage).await.ok();
        Timed { took: began.elapsed(), result }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_stage_that_waits_at_the_deadline_is_the_one_that_ends() {
        let deadline = Deadline::after(Duration::from_millis(250));
        let first = deadline.bound(tokio::time::sleep(Duration::from_millis(100))).await;
        assert_eq!((first.took, first.result), (Duration::from_millis(100), Some(())));
        let second = deadline.bound(tokio::time::sleep(Duration::from_millis(200))).await;
        assert_eq!((second.took, second.result), (Duration::from_millis(150), None));
        let third = deadline.bound(std::future::pending::<()>()).await;
        assert_eq!((third.took, third.result), (Duration::ZERO, None));
    }
}
