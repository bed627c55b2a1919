//! A candidate that is watched while an update of its settings is asked for: looked at about every minute, now and then
//! not ready, and now and then not looked at. What it comes to is told twice, as in [`House`](super::house::House).

use super::*;
use crate::key_store::CandidateName;
use crate::update::green::{GreenRule, Look, Vigil};

/// The longest pause that interrupts nothing.
const SILENCE: Duration = Duration::from_mins(5);

pub(super) struct WatchedCandidate {
    required: Duration,
    vigil: Option<Vigil>,
    looks: Vec<(Timestamp, Seen)>,
    next: Timestamp,
    ours: SettingsDigest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Ready,
    NotReady,
    /// Another credential.
    Another,
}

impl WatchedCandidate {
    /// Watched for a while before the plan was made, perhaps for long enough.
    pub(super) fn any(random: &mut StdRng, plan: &Plan) -> Self {
        let required = random.random_range(60..3_000);
        let watched = random.random_range(0..2 * required);
        let next = beginning().minus(Duration::from_secs(watched));
        let required = Duration::from_secs(required);
        let mut it = Self { required, vigil: None, looks: Vec::new(), next, ours: plan.settings() };
        it.look_until(beginning(), random, 200);
        it
    }

    /// All looks that fall due up to `now`.
    pub(super) fn look_until(&mut self, now: Timestamp, random: &mut StdRng, once_in: u32) {
        while self.next <= now {
            let seen = match random.random_range(0..4 * once_in) {
                0 | 1 => Seen::NotReady,
                2 => Seen::Another,
                _ => Seen::Ready,
            };
            let settings = if seen == Seen::Another { SettingsDigest::stated("another") } else { self.ours.clone() };
            let verdict = if seen == Seen::NotReady { Verdict::Blocked } else { Verdict::Ready };
            let look = Look {
                key_store: store(ConnectionState::Connected).id,
                candidate: CandidateName::parse("tuesday").unwrap(),
                summary: PreflightSummary {
                    report: ReportId::new(&IdSource::from_seed(7), self.next),
                    verdict,
                    settings,
                    exception: None,
                    message: "a look".into(),
                    finished_at: self.next,
                    credentials: None,
                },
                interrupted: false,
            };
            self.vigil = Some(Vigil::after(self.vigil.as_ref(), look, SILENCE));
            self.looks.push((self.next, seen));
            let pause = if random.random_ratio(1, 4 * once_in) { 301..600 } else { 40..80 };
            self.next = self.next.plus(Duration::from_secs(random.random_range(pause)));
        }
    }

    /// As the driver reads it.
    pub(super) fn rule(&self) -> GreenRule {
        let vigils = self.vigil.iter().cloned().collect();
        GreenRule { required: self.required, silence: SILENCE, vigils, latest: None }
    }

    /// For the oracle: whether it has been ready all the time for long enough.
    pub(super) fn is_enough(&self, now: Timestamp) -> bool {
        let mut after = now;
        let mut since = None;
        for (at, seen) in self.looks.iter().rev() {
            if *seen != Seen::Ready || after.seconds_since(*at) > SILENCE.as_secs_f64() {
                break;
            }
            (after, since) = (*at, Some(*at));
        }
        // From the first of these looks to the latest one.
        let seen = self.looks.last().zip(since).map(|((last, _), since)| last.seconds_since(since));
        seen.is_some_and(|seen| seen >= self.required.as_secs_f64())
    }
}
