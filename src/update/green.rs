//! Hours of green: settings that were watched for a while before anybody relies on them.
//!
//! A candidate is probed on the monitor's schedule, and each look is folded into its [`Vigil`]. It is **green** since the
//! first of the looks that were all `ready`, at exactly the same settings and secret, none long after the one before.
//! Whatever is not `ready` ends that, and so does silence: a time in which nobody looked proves nothing. A [`GreenRule`]
//! asks for so much of it before the first mutation of a change of the proxy.

use std::fmt;
use std::time::Duration;

use super::gate::{PreflightSummary, SettingsDigest};
use super::plan::Plan;
use crate::check::Verdict;
use crate::clock::Timestamp;
use crate::key_store::{CandidateName, CustomKeyStoreId};

/// When somebody asks again whose time has come, and whose latest look is a little older.
const SOON: Duration = Duration::from_secs(1);

/// One finished look at a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// The key store that the candidate is for.
    pub key_store: CustomKeyStoreId,
    /// The candidate.
    pub candidate: CandidateName,
    /// What was probed, when, and what came of it.
    pub summary: PreflightSummary,
    /// Whether something since the look before is missing: one that could not be recorded, or could not be made.
    pub interrupted: bool,
}

/// What is known of a candidate that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vigil {
    /// The key store that the candidate is for.
    pub key_store: CustomKeyStoreId,
    /// The candidate.
    pub candidate: CandidateName,
    /// Exactly what was probed.
    pub settings: SettingsDigest,
    /// The end of the first look from which on all were `ready`; absent if the latest was not.
    pub green_since: Option<Timestamp>,
    /// The end of the latest look.
    pub last: Timestamp,
    /// What came of it.
    pub verdict: Verdict,
    /// The same for people.
    pub message: String,
}

/// How a candidate stands at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// `ready` for so long, from the first of the looks to the latest, which was a moment ago.
    Green(Duration),
    /// The latest look was not `ready`.
    Red,
    /// Nobody has looked for too long.
    Silent,
}

impl Vigil {
    /// What is known after one more look. `silence` is the longest pause between two looks that interrupts nothing.
    pub fn after(before: Option<&Self>, look: Look, silence: Duration) -> Self {
        let Look { key_store, candidate, summary, interrupted } = look;
        let at = summary.finished_at;
        // Replicas' looks may arrive a little out of order. What is said to come from far ahead tells of a clock that was
        // set back, and of nothing else.
        let before = before.filter(|before| before.settings == summary.settings && before.last <= at.plus(silence));
        let last = before.map_or(at, |before| before.last.max(at));
        let goes_on = before.filter(|before| !interrupted && at <= before.last.plus(silence));
        let green_since = match summary.verdict {
            Verdict::Ready => Some(goes_on.and_then(|before| before.green_since).unwrap_or(last)),
            Verdict::Blocked | Verdict::Inconclusive => None,
        };
        let PreflightSummary { settings, verdict, message, .. } = summary;
        Self { key_store, candidate, settings, green_since, last, verdict, message }
    }

    /// How it stands at `now`.
    pub fn colour(&self, now: Timestamp, silence: Duration) -> Colour {
        let Some(since) = self.green_since else { return Colour::Red };
        if now > self.last.plus(silence) || self.last > now.plus(silence) {
            return Colour::Silent;
        }
        // What comes after the latest look nobody has seen.
        let seen = self.last.unix_millis() - since.unix_millis();
        Colour::Green(Duration::from_millis(u64::try_from(seen).unwrap_or(0)))
    }
}

/// How much green the changes of one key store's proxy need at a moment, and what is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GreenRule {
    /// So much; zero asks for none.
    pub required: Duration,
    /// The longest pause between two looks that interrupts nothing.
    pub silence: Duration,
    /// The candidates of the key store that were watched.
    pub vigils: Vec<Vigil>,
    /// The latest verified change of its proxy.
    pub latest: Option<ProxyChange>,
}

/// From which settings to which a verified update led.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyChange {
    /// The settings before it.
    pub from: SettingsDigest,
    /// The settings that it brought into force.
    pub to: SettingsDigest,
}

impl ProxyChange {
    /// What a plan does to the way in which KMS talks to the proxy, if it does anything to that and the former secret is known.
    pub fn of(plan: &Plan) -> Option<Self> {
        let from = plan.former_settings().filter(|_| plan.changes_proxy())?;
        Some(Self { from, to: plan.settings() })
    }

    /// Whether the other takes this one back.
    fn is_undone_by(&self, other: &Self) -> bool {
        self.from == other.to && self.to == other.from
    }
}

impl GreenRule {
    /// Whether a candidate with exactly the plan's settings has been green for long enough at `now`, or none need be.
    pub fn met(&self, plan: &Plan, now: Timestamp) -> Result<(), NotGreen> {
        if self.required.is_zero() || !plan.changes_proxy() || self.goes_back(plan) {
            return Ok(());
        }
        let settings = plan.settings();
        let same = self.vigils.iter().filter(|vigil| vigil.settings == settings);
        let green = |vigil: &&Vigil| match vigil.colour(now, self.silence) {
            Colour::Green(so_far) => Some(so_far),
            Colour::Red | Colour::Silent => None,
        };
        let lacking = |lacks| NotGreen { required: self.required, lacks };
        let Some(best) = same.max_by_key(|vigil| (green(vigil), vigil.last)) else {
            let others = self.vigils.iter().filter(|vigil| now <= vigil.last.plus(self.silence));
            let watched = others.map(|vigil| vigil.candidate.clone()).collect();
            return Err(lacking(Lacks::Watch { watched }));
        };
        let candidate = best.candidate.clone();
        Err(lacking(match (green(&best), best.green_since) {
            (Some(so_far), _) if so_far >= self.required => return Ok(()),
            (Some(so_far), Some(since)) => {
                // It takes one more look at least.
                let enough_at = since.plus(self.required).max(now.plus(SOON));
                Lacks::Time { candidate, so_far, enough_at }
            }
            (None, Some(_)) => Lacks::Looks { candidate, last: best.last },
            (_, None) => {
                Lacks::Readiness { candidate, last: best.last, verdict: best.verdict, message: best.message.clone() }
            }
        }))
    }
}

impl GreenRule {
    /// Whether a plan restores what was in force before the latest verified change. Nobody can watch these settings for hours
    /// when the new ones fail, and they were in use until then.
    fn goes_back(&self, plan: &Plan) -> bool {
        let change = self.latest.as_ref().zip(ProxyChange::of(plan));
        change.is_some_and(|(latest, now)| latest.is_undone_by(&now))
    }
}

/// Why a change of the proxy may not begin yet: it was not watched, or not for long enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotGreen {
    /// How long a candidate with exactly these settings must have been green.
    pub required: Duration,
    /// What is missing.
    pub lacks: Lacks,
}

/// What is missing for enough green.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lacks {
    /// No candidate with exactly these settings is watched.
    Watch {
        /// Those that are; they have other settings or another secret.
        watched: Vec<CandidateName>,
    },
    /// It is green, and was not for long enough.
    Time {
        /// Which.
        candidate: CandidateName,
        /// For how long it was.
        so_far: Duration,
        /// When that will be enough.
        enough_at: Timestamp,
    },
    /// Its latest look was not `ready`.
    Readiness {
        /// Which.
        candidate: CandidateName,
        /// When the latest look ended.
        last: Timestamp,
        /// What came of it.
        verdict: Verdict,
        /// Why, for people.
        message: String,
    },
    /// Nobody has looked at it for too long.
    Looks {
        /// Which.
        candidate: CandidateName,
        /// When the latest look ended.
        last: Timestamp,
    },
}

impl NotGreen {
    /// When it will be enough, if it stays green; absent if it is not green.
    pub fn enough_at(&self) -> Option<Timestamp> {
        match &self.lacks {
            Lacks::Time { enough_at, .. } => Some(*enough_at),
            Lacks::Watch { .. } | Lacks::Readiness { .. } | Lacks::Looks { .. } => None,
        }
    }
}

impl fmt::Display for NotGreen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "needs {} of green; ", Span(self.required))?;
        match &self.lacks {
            Lacks::Watch { watched } if watched.is_empty() => f.write_str(
                "no candidate with exactly these settings and credential is watched (key_stores[].candidates)",
            ),
            Lacks::Watch { watched } => {
                let watched: Vec<&str> = watched.iter().map(CandidateName::as_str).collect();
                write!(
                    f,
                    "no candidate with exactly these settings and credential is watched; of {} something differs",
                    watched.join(", ")
                )
            }
            Lacks::Time { candidate, so_far, enough_at } => {
                write!(f, "candidate {candidate} has {}, first possible at {enough_at}", Span(*so_far))
            }
            Lacks::Readiness { candidate, last, verdict, message } => {
                write!(f, "candidate {candidate} was {} at {last}: {message}", verdict.as_str())
            }
            Lacks::Looks { candidate, last } => {
                write!(f, "candidate {candidate} was last looked at {last}, which is too long ago to count")
            }
        }
    }
}

/// A time as people say it: the two largest units, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
        match (days, seconds / 3_600, minutes, seconds % 60) {
            // 24 h and 36 h are what people write.
            (2.., _, _, _) if hours == 0 => write!(f, "{days} d"),
            (2.., _, _, _) => write!(f, "{days} d {hours} h"),
            (_, hours @ 1.., 0, _) => write!(f, "{hours} h"),
            (_, hours @ 1.., minutes, _) => write!(f, "{hours} h {minutes} min"),
            (_, 0, minutes @ 1.., 0) => write!(f, "{minutes} min"),
            (_, 0, minutes @ 1.., seconds) => write!(f, "{minutes} min {seconds} s"),
            (_, 0, 0, seconds) => write!(f, "{seconds} s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::{IdSource, ReportId};

    const SILENCE: Duration = Duration::from_mins(5);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(1_000_000 + seconds)
    }

    fn look(second: i64, verdict: Verdict, settings: &str) -> Look {
        Look {
            key_store: CustomKeyStoreId::parse("cks-1").unwrap(),
            candidate: CandidateName::parse("tuesday").unwrap(),
            summary: PreflightSummary {
                report: ReportId::new(&IdSource::from_seed(1), at(second)),
                verdict,
                settings: SettingsDigest::stated(settings),
                exception: None,
                message: verdict.as_str().to_owned(),
                finished_at: at(second),
                credentials: None,
            },
            interrupted: false,
        }
    }

    fn folded(looks: impl IntoIterator<Item = Look>) -> Vigil {
        let fold = |vigil: Option<Vigil>, look| Some(Vigil::after(vigil.as_ref(), look, SILENCE));
        looks.into_iter().fold(None, fold).unwrap()
    }

    fn green(second: i64) -> Look {
        look(second, Verdict::Ready, "a")
    }

    #[test]
    fn it_is_green_since_the_first_look_of_those_that_follow_closely() {
        let vigil = folded([green(0), green(60), green(360)]);
        assert_eq!((vigil.green_since, vigil.last), (Some(at(0)), at(360)));
        assert_eq!(vigil.colour(at(400), SILENCE), Colour::Green(Duration::from_mins(6)), "nobody has seen the rest");
        assert_eq!(folded([green(0)]).colour(at(299), SILENCE), Colour::Green(Duration::ZERO));
        assert_eq!(vigil.colour(at(661), SILENCE), Colour::Silent);
        assert_eq!(vigil.colour(at(0), SILENCE), Colour::Silent, "a clock that was set back proves nothing");
    }

    #[test]
    fn whatever_is_not_ready_ends_it_and_so_does_silence_or_another_secret() {
        for verdict in [Verdict::Blocked, Verdict::Inconclusive] {
            let vigil = folded([green(0), look(60, verdict, "a")]);
            assert_eq!((vigil.green_since, vigil.colour(at(61), SILENCE)), (None, Colour::Red));
            assert_eq!(Vigil::after(Some(&vigil), green(120), SILENCE).green_since, Some(at(120)));
        }
        assert_eq!(folded([green(0), green(301)]).green_since, Some(at(301)));
        assert_eq!(folded([green(0), look(60, Verdict::Ready, "b")]).green_since, Some(at(60)));
        // There and back is not the same as never away.
        assert_eq!(folded([green(0), look(60, Verdict::Ready, "b"), green(120)]).green_since, Some(at(120)));
        assert_eq!(folded([green(0), Look { interrupted: true, ..green(60) }]).green_since, Some(at(60)));
    }

    #[test]
    fn looks_of_replicas_out_of_order_prove_no_more_and_hide_nothing() {
        let late_red = folded([green(0), green(60), look(59, Verdict::Blocked, "a")]);
        assert_eq!((late_red.green_since, late_red.last), (None, at(60)));
        let late_green = folded([look(60, Verdict::Blocked, "a"), green(59)]);
        assert_eq!(late_green.green_since, Some(at(60)), "not before the look that was red");
        // A clock that was a day ahead and was set right.
        assert_eq!(folded([green(86_400), green(0)]).green_since, Some(at(0)));
    }

    #[test]
    fn times_are_told_as_people_say_them() {
        let told = |seconds| Span(Duration::from_secs(seconds)).to_string();
        let minutes = 60;
        for (seconds, expected) in [
            (0, "0 s"),
            (59, "59 s"),
            (90, "1 min 30 s"),
            (5 * minutes, "5 min"),
            (192 * minutes, "3 h 12 min"),
            (24 * 60 * minutes, "24 h"),
            (48 * 60 * minutes, "2 d"),
            (49 * 60 * minutes, "2 d 1 h"),
        ] {
            assert_eq!(told(seconds), expected);
        }
    }

    proptest! {
        /// Whatever was seen and whenever: what counts as green is a time in which every look was ready, at the same
        /// settings, and no pause was long.
        #[test]
        fn green_is_never_more_than_was_seen(
            seen in prop::collection::vec((1..600_i64, 0..8_u8, any::<bool>()), 1..40),
        ) {
            let mut second = 0;
            let mut looks = Vec::new();
            for (pause, what, interrupted) in seen {
                second += pause;
                let (verdict, settings) = match what {
                    0 => (Verdict::Blocked, "a"),
                    1 => (Verdict::Inconclusive, "a"),
                    2 => (Verdict::Ready, "b"),
                    _ => (Verdict::Ready, "a"),
                };
                looks.push(Look { interrupted: interrupted && what == 3, ..look(second, verdict, settings) });
            }
            let vigil = folded(looks.clone());
            let last = looks.last().unwrap();
            prop_assert_eq!(vigil.last, last.summary.finished_at);
            let Some(since) = vigil.green_since else {
                prop_assert_ne!(last.summary.verdict, Verdict::Ready);
                return Ok(());
            };
            let counted: Vec<&Look> = looks.iter().filter(|look| look.summary.finished_at >= since).collect();
            for (index, look) in counted.iter().enumerate() {
                prop_assert_eq!(look.summary.verdict, Verdict::Ready);
                prop_assert_eq!(&look.summary.settings, &vigil.settings);
                prop_assert!(index == 0 || !look.interrupted);
            }
            for pair in counted.windows(2) {
                let pause = pair[1].summary.finished_at.seconds_since(pair[0].summary.finished_at);
                prop_assert!(pause <= SILENCE.as_secs_f64());
            }
        }
    }
}
