//! What was seen under load.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Problem;
use crate::check::Stage;

/// What became of the load that was asked for.
#[derive(Clone, Debug)]
pub enum CapacityEvidence {
    /// It was not begun: the candidate is not fit for one request, so it was spared hundreds.
    NotReached {
        /// The stage of the first check that must hold and was not seen to.
        stopped_at: Stage,
    },
    /// It could not be made, for a reason of ours.
    OwnFault(Problem),
    /// It was made.
    Loaded(Box<LoadEvidence>),
}

/// What was asked under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadOperation {
    /// GetHealthStatus.
    GetHealthStatus,
    /// Encrypt with the test key.
    Encrypt,
}

impl LoadOperation {
    /// The specification's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GetHealthStatus => "GetHealthStatus",
            Self::Encrypt => "Encrypt",
        }
    }
}

impl fmt::Display for LoadOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How one request of the load ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LoadOutcome {
    /// With the right answer, however late.
    Answered,
    /// With ThrottlingException.
    Throttled,
    /// With another error of the proxy.
    Refused,
    /// With an answer that is neither right nor an error of the proxy.
    Invalid,
    /// Without a complete answer in time.
    TimedOut,
    /// Without a connection: none could be opened.
    Unconnected,
    /// With a connection broken before the answer was complete.
    Broken,
    /// Never sent: every connection that may be open was waiting for an answer.
    Unsent,
    /// With a fault of this machine.
    OwnFault,
}

impl LoadOutcome {
    /// The word used in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Throttled => "throttled",
            Self::Refused => "refused",
            Self::Invalid => "invalid",
            Self::TimedOut => "timed_out",
            Self::Unconnected => "unconnected",
            Self::Broken => "broken",
            Self::Unsent => "unsent",
            Self::OwnFault => "own_fault",
        }
    }
}

/// Why a load was ended before its time, to spare the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadStop {
    /// The proxy answered ThrottlingException.
    Throttled,
    /// More than 5 of the latest 100 requests failed.
    Errors,
    /// Five connections in a row could not be opened.
    Unconnected,
}

impl fmt::Display for LoadStop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Throttled => "the proxy answered ThrottlingException",
            Self::Errors => "more than 5 of the latest 100 requests failed",
            Self::Unconnected => "five connections in a row could not be opened",
        })
    }
}

/// What was seen of a load. Latency counts from the instant at which the schedule wanted a request sent, whether or
/// not it could be sent then, so that a proxy that stalls cannot hide it by slowing the questions down.
#[derive(Clone, Debug)]
pub struct LoadEvidence {
    /// What was asked.
    pub operation: LoadOperation,
    /// The asked rate, in requests per second.
    pub rate: u32,
    /// How long it was meant to last.
    pub planned: Duration,
    /// How long it lasted, up to the end of the last request.
    pub took: Duration,
    /// How many requests were begun.
    pub requests: u64,
    /// How many of them ended how. Those under way when the load was stopped are in none.
    pub outcomes: BTreeMap<LoadOutcome, u64>,
    /// How many of the answers took longer than KMS waits.
    pub late: u64,
    /// Right answers per second of the schedule; those to the last requests have KMS's limit to arrive.
    pub achieved: f64,
    /// How long requests took; those that failed or were given up are in it with the time until then.
    pub latency: LoadLatency,
    /// Within this time after its instant 99 of 100 requests were begun: how well this machine kept the schedule.
    pub lag: Duration,
    /// How many connections were opened in all.
    pub connections: usize,
    /// Why it was ended before its time, if it was.
    pub stopped: Option<LoadStop>,
    /// Why the first request that failed did.
    pub first_failure: Option<Problem>,
}

impl LoadEvidence {
    /// How many requests ended like this.
    pub fn count(&self, outcome: LoadOutcome) -> u64 {
        self.outcomes.get(&outcome).copied().unwrap_or_default()
    }

    /// How many requests failed for a reason that is not ours.
    pub fn errors(&self) -> u64 {
        let failed = |outcome| !matches!(outcome, LoadOutcome::Answered | LoadOutcome::OwnFault);
        self.outcomes.iter().filter(|(outcome, _)| failed(**outcome)).map(|(_, count)| count).sum()
    }
}

/// Quantiles of latency under load, to three digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadLatency {
    /// Median.
    pub p50: Duration,
    /// 99 of 100 are not slower.
    pub p99: Duration,
    /// 999 of 1,000 are not slower.
    pub p999: Duration,
    /// The slowest.
    pub max: Duration,
}
