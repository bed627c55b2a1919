//! Judges of the connection.

use std::time::Duration;

use super::{Judgement, each_address, failed, passed, whole};
use crate::check::{Evidence, Outcome, Problem, ProblemKind, RECOMMENDED_ROUND_TRIP, Stage};

pub(in crate::check) fn connects(evidence: &Evidence) -> Vec<Judgement> {
    let mut told = each_address(evidence, |address| {
        match address.cold().find_map(|sample| sample.last().stop.as_ref().filter(|stop| stop.stage == Stage::Tcp)) {
            Some(stop) => failed(stop.problem.clone()),
            None => passed(format!("{} accepts connections", address.address)),
        }
    });
    // To an address that was left out nobody connected, and KMS may.
    if evidence.left_out.is_some() && !evidence.addresses.is_empty() {
        told.extend(whole(Outcome::NotReached { stopped_at: Stage::Dns }));
    }
    told
}

pub(in crate::check) fn round_trip(evidence: &Evidence) -> Vec<Judgement> {
    each_address(evidence, |address| {
        // The quickest connect is the closest to the distance; slower ones waited for something else.
        let quickest: Option<Duration> = address
            .cold()
            .flat_map(super::super::Sample::attempts)
            .filter(|attempt| attempt.stop.as_ref().is_none_or(|stop| stop.stage > Stage::Tcp))
            .filter_map(|attempt| attempt.connect)
            .min();
        match quickest {
            None => Outcome::NotReached { stopped_at: Stage::Tcp },
            Some(took) if took > RECOMMENDED_ROUND_TRIP => {
                let detail =
                    format!("connecting takes {:.0} ms at best, 35 ms are recommended", took.as_secs_f64() * 1e3);
                failed(Problem::path(ProblemKind::Slow, detail))
            }
            Some(took) => passed(format!("{:.1} ms", took.as_secs_f64() * 1e3)),
        }
    })
}
