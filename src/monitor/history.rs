//! The last reports of one key store: failures are kept longer, because they are what somebody will ask about.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::check::{Report, Verdict};

/// How many reports with verdict ready are kept at most: one healthy report is like the other, and each takes memory.
const SUCCESSES: usize = 5;

#[derive(Clone, Debug, Default)]
pub(super) struct History {
    successes: VecDeque<Arc<Report>>,
    failures: VecDeque<Arc<Report>>,
}

impl History {
    pub(super) fn add(&mut self, report: Arc<Report>, failures_kept: usize) {
        let (kept, most) = match report.verdict() {
            Verdict::Ready => (&mut self.successes, SUCCESSES.min(failures_kept)),
            Verdict::Blocked | Verdict::Inconclusive => (&mut self.failures, failures_kept),
        };
        kept.push_front(report);
        kept.truncate(most.max(1));
    }

    /// Newest first.
    pub(super) fn reports(&self) -> Vec<Arc<Report>> {
        let mut reports: Vec<_> = self.successes.iter().chain(&self.failures).cloned().collect();
        reports.sort_by_key(|report| std::cmp::Reverse(report.started_at()));
        reports
    }
}
