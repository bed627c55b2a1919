//! Judges under load.

use std::time::Duration;

use super::{Judgement, failed, not_applicable, passed, whole};
use crate::check::{
    CapacityEvidence, Evidence, KMS_TIME_LIMIT, LoadEvidence, LoadOutcome, Outcome, Problem, ProblemKind,
};

/// The part of the asked rate that must be achieved, in percent.
const ACHIEVED_PERCENT: f64 = 95.0;

/// When this machine begins requests later than this, a latency says more about it than about the proxy.
const TOLERATED_LAG: Duration = Duration::from_millis(25);

pub(in crate::check) fn sustained(evidence: &Evidence) -> Vec<Judgement> {
    whole(match &evidence.capacity {
        None => not_applicable("no load was asked for"),
        Some(CapacityEvidence::NotReached { stopped_at }) => Outcome::NotReached { stopped_at: *stopped_at },
        Some(CapacityEvidence::OwnFault(problem)) => failed(problem.clone()),
        Some(CapacityEvidence::Loaded(load)) => of_load(load),
    })
}

fn of_load(load: &LoadEvidence) -> Outcome {
    let seen = format!(
        "{} at {}/s: {:.1}/s achieved, p99 {:.0} ms",
        load.operation,
        load.rate,
        load.achieved,
        load.latency.p99.as_secs_f64() * 1e3
    );
    let ended = load.stopped.map(|stop| format!("; ended early, because {stop}")).unwrap_or_default();
    let own = load.count(LoadOutcome::OwnFault);
    let throttled = load.count(LoadOutcome::Throttled);
    let first = load.first_failure.as_ref();
    if own > 0 {
        let why = first.map_or("", |problem| &problem.detail);
        let detail = format!("{own} of {} requests failed for want of this machine ({why}); {seen}", load.requests);
        failed(Problem::own(ProblemKind::LocalResources, detail))
    } else if throttled > 0 {
        failed(Problem::target(ProblemKind::Throttled, format!("throttled after {}{ended}; {seen}", begun(load))))
    } else if load.errors() > 0 && load.lag > TOLERATED_LAG {
        // A machine that is late itself gives requests less time than it says: who is slow is not known.
        let why = first.map_or("", |problem| &problem.detail);
        let detail = format!(
            "{} of {} failed, first: {why}{ended}; but this machine began requests up to {:.0} ms late, so it is not known \
             whose failure that is; use a faster one or a lower rate; {seen}",
            load.errors(),
            begun(load),
            load.lag.as_secs_f64() * 1e3
        );
        failed(Problem::own(ProblemKind::LocalResources, detail))
    } else if load.errors() > 0 {
        let why = first.map_or("", |problem| &problem.detail);
        let detail = format!("{} of {} failed, first: {why}{ended}; {seen}", load.errors(), begun(load));
        failed(Problem::target(first.map_or(ProblemKind::Status, |problem| problem.kind), detail))
    } else if load.lag > TOLERATED_LAG {
        let detail = format!(
            "this machine could not keep the schedule, it began requests up to {:.0} ms late; use a faster one or a \
             lower rate; {seen}",
            load.lag.as_secs_f64() * 1e3
        );
        failed(Problem::own(ProblemKind::LocalResources, detail))
    } else if load.latency.p99 > KMS_TIME_LIMIT {
        let detail = format!("{} of {} took longer than KMS waits; {seen}", load.late, begun(load));
        failed(Problem::target(ProblemKind::Slow, detail))
    } else if load.achieved < f64::from(load.rate) * ACHIEVED_PERCENT / 100.0 {
        failed(Problem::target(ProblemKind::RateNotReached, seen))
    } else {
        passed(seen)
    }
}

fn begun(load: &LoadEvidence) -> String {
    format!("{} requests", load.requests)
}
