//! Judges of how long it took.

use std::time::Duration;

use super::{Judgement, each_address, failed, passed, whole};
use crate::check::{
    AddressEvidence, Attempt, Evidence, KMS_TIME_LIMIT, Latency, Outcome, Problem, ProblemKind, SampleKind, Stage,
};

/// AWS suggests an alarm from here.
const TAIL_LIMIT: Duration = Duration::from_millis(200);

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Whether an attempt used up the time it had.
fn is_late(attempt: &Attempt) -> bool {
    attempt.total() > KMS_TIME_LIMIT
        || attempt.stop.as_ref().is_some_and(|stop| stop.problem.kind == ProblemKind::TimedOut)
}

pub(in crate::check) fn within_limit(evidence: &Evidence) -> Vec<Judgement> {
    each_address(evidence, |address| {
        if let Some(late) = address.cold().map(super::super::Sample::last).find(|attempt| is_late(attempt)) {
            return failed(Problem::target(ProblemKind::TimedOut, told(address, late)));
        }
        let complete = || address.cold().filter(|sample| sample.last().exchange.is_some());
        let Some(slowest) = complete().map(|sample| sample.last().total()).max() else {
            let stopped_at = address.first_stop().map_or(Stage::Tcp, |stop| stop.stage);
            return Outcome::NotReached { stopped_at };
        };
        let saved = complete().filter(|sample| sample.retry.is_some()).count();
        let seen = format!("the slowest of {} took {:.0} ms", complete().count(), milliseconds(slowest));
        passed(if saved == 0 { seen } else { format!("{seen}; {saved} needed KMS's one retry") })
    })
}

/// Which stage used the time and, if a patient look told, how long an answer really takes.
fn told(address: &AddressEvidence, late: &Attempt) -> String {
    let stage = late.slowest_stage();
    let stage_took = match stage {
        Stage::Tcp => late.connect,
        Stage::Tls => late.tls,
        _ => late.request,
    };
    let what = match stage {
        Stage::Tcp => "connecting",
        Stage::Tls => "the TLS handshake",
        _ => "waiting for the answer to the request",
    };
    let patient = address
        .samples
        .iter()
        .filter(|sample| sample.kind == SampleKind::Patient)
        .find(|sample| sample.last().exchange.is_some())
        .map(|sample| format!("; with patience an answer comes after {:.0} ms", milliseconds(sample.last().total())));
    format!(
        "stopped after {:.0} ms of the {} ms limit, {:.0} of them in stage {stage} ({what}){}",
        milliseconds(late.total()),
        KMS_TIME_LIMIT.as_millis(),
        milliseconds(stage_took.unwrap_or_default()),
        patient.unwrap_or_default()
    )
}

pub(in crate::check) fn tail(evidence: &Evidence) -> Vec<Judgement> {
    let latency = Latency::of(&evidence.addresses);
    let answered = evidence.addresses.iter().any(|address| address.exchanges().next().is_some());
    if !answered {
        return whole(Outcome::NotReached { stopped_at: Stage::Http });
    }
    let p99 = latency.cold.p99.max(latency.warm.p99);
    let seen = format!("p99 is {:.0} ms over {} samples", milliseconds(p99), latency.cold.count + latency.warm.count);
    whole(if p99 > TAIL_LIMIT { failed(Problem::target(ProblemKind::Slow, seen)) } else { passed(seen) })
}
