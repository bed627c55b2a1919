//! The last reports of one key store: failures are kept longer, because they are what somebody will ask about.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::check::{Report, Verdict};

/// How many reports with verdict ready are kept at most: one healthy report is like the other, and each takes memory.
const SUCCESSES: usize = 5;

#[derive(Clone, Debug, Default)]
pub(super) struct History {
    successes: VecDeque<Arc<Report>>,
    failures: VecDeque<Arc<Report>>,
}

impl History {
    /// Adds the newest report and lets go what is too much or too old beside it.
    pub(super) fn add(&mut self, report: Arc<Report>, failures_kept: usize, age: Duration) {
        let at = report.started_at();
        let (kept, most) = match report.verdict() {
            // Where room is short, it is for failures.
            Verdict::Ready => (&mut self.successes, SUCCESSES.min(failures_kept / 2)),
            Verdict::Blocked | Verdict::Inconclusive => (&mut self.failures, failures_kept),
        };
        kept.push_front(report);
        kept.truncate(most.max(1));
        let is_young = |report: &Arc<Report>| at.seconds_since(report.started_at()) <= age.as_secs_f64();
        self.successes.retain(is_young);
        self.failures.retain(is_young);
    }

    /// Newest first.
    pub(super) fn reports(&self) -> Vec<Arc<Report>> {
        let mut reports: Vec<_> = self.successes.iter().chain(&self.failures).cloned().collect();
        reports.sort_by_key(|report| std::cmp::Reverse(report.started_at()));
        reports
    }
}
