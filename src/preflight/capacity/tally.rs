//! What came of the requests so far, and whether it is enough to stop.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::check::{KMS_TIME_LIMIT, LoadLatency, LoadOutcome, LoadStop, Problem};

/// How many of the latest requests are looked at for errors.
const LATEST: usize = 100;

/// More failures than this among the latest end the load.
const TOLERATED_ERRORS: usize = 5;

/// So many connections in a row that could not be opened end the load.
const UNCONNECTED_IN_A_ROW: u32 = 5;

/// The longest latency that is told apart, in microseconds; nothing is waited for longer than two seconds.
const HIGHEST: u64 = 10_000_000;

/// A request that is over.
#[derive(Debug)]
pub(super) struct Ended {
    /// When, after the beginning of the schedule.
    pub(super) at: Duration,
    /// After it was due.
    pub(super) latency: Duration,
    /// How long after it was due it was begun.
    pub(super) lag: Duration,
    pub(super) outcome: LoadOutcome,
    pub(super) problem: Option<Problem>,
}

/// Counts and histograms.
#[derive(Debug)]
pub(super) struct Tally {
    /// Requests begun.
    pub(super) begun: u64,
    /// Ended requests by how they ended.
    pub(super) outcomes: BTreeMap<LoadOutcome, u64>,
    /// Right answers after KMS's limit.
    pub(super) late: u64,
    /// Why the first that failed did.
    pub(super) first_failure: Option<Problem>,
    /// Right answers within the schedule and KMS's limit after it.
    in_schedule: u64,
    latencies: Histogram<u64>,
    lags: Histogram<u64>,
    /// Whether the latest requests failed.
    latest: VecDeque<bool>,
    unconnected_in_a_row: u32,
    stop: Option<LoadStop>,
}

impl Tally {
    /// `None` only if the histogram's bounds are wrong.
    pub(super) fn new() -> Option<Self> {
        let histogram = Histogram::new_with_bounds(1, HIGHEST, 3).ok()?;
        Some(Self {
            begun: 0,
            outcomes: BTreeMap::new(),
            late: 0,
            first_failure: None,
            in_schedule: 0,
            latencies: histogram.clone(),
            lags: histogram,
            latest: VecDeque::with_capacity(LATEST + 1),
            unconnected_in_a_row: 0,
            stop: None,
        })
    }

    /// Notes a request that is over; `length` is that of the schedule.
    pub(super) fn note(&mut self, ended: Ended, length: Duration) {
        let Ended { at, latency, lag, outcome, problem } = ended;
        *self.outcomes.entry(outcome).or_default() += 1;
        self.latencies.saturating_record(microseconds(latency));
        self.lags.saturating_record(microseconds(lag));
        let answered = outcome == LoadOutcome::Answered;
        if answered {
            self.late += u64::from(latency > KMS_TIME_LIMIT);
            self.in_schedule += u64::from(at <= length + KMS_TIME_LIMIT);
        } else if self.first_failure.is_none() {
            self.first_failure = problem;
        }
        self.latest.push_back(!answered);
        if self.latest.len() > LATEST {
            self.latest.pop_front();
        }
        self.unconnected_in_a_row = match outcome {
            LoadOutcome::Unconnected => self.unconnected_in_a_row + 1,
            _ => 0,
        };
        if self.stop.is_none() {
            self.stop = self.reason_to_stop(outcome);
        }
    }

    fn reason_to_stop(&self, outcome: LoadOutcome) -> Option<LoadStop> {
        if outcome == LoadOutcome::Throttled {
            Some(LoadStop::Throttled)
        } else if self.unconnected_in_a_row >= UNCONNECTED_IN_A_ROW {
            Some(LoadStop::Unconnected)
        } else if self.latest.iter().filter(|failed| **failed).count() > TOLERATED_ERRORS {
            Some(LoadStop::Errors)
        } else {
            None
        }
    }

    /// Why to go no further, if so.
    pub(super) fn stop(&self) -> Option<LoadStop> {
        self.stop
    }

    pub(super) fn answered(&self) -> u64 {
        self.outcomes.get(&LoadOutcome::Answered).copied().unwrap_or_default()
    }

    pub(super) fn ended(&self) -> u64 {
        self.outcomes.values().sum()
    }

    /// Right answers per second: of the whole schedule, or of what there was of it when it was stopped.
    pub(super) fn achieved(&self, length: Duration, took: Duration) -> f64 {
        let time = if self.stop.is_some() { took } else { length };
        let rate = self.in_schedule as f64 / time.as_secs_f64();
        if rate.is_finite() { rate } else { 0.0 }
    }

    pub(super) fn latency(&self) -> LoadLatency {
        let at = |quantile| Duration::from_micros(self.latencies.value_at_quantile(quantile));
        LoadLatency { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: Duration::from_micros(self.latencies.max()) }
    }

    /// Within this time 99 of 100 requests were begun.
    pub(super) fn lag(&self) -> Duration {
        Duration::from_micros(self.lags.value_at_quantile(0.99))
    }
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
