//! The house in which updates are asked for: who may agree, who freezes changes and lifts that, and which hours are kept
//! free for outages. What stands in the way is told twice: for the code under test in its own types, and for the oracle
//! by arithmetic of its own.

use super::watched::WatchedCandidate;
use super::world::World;
use super::*;
use crate::update::freeze::Freeze;
use crate::update::window::{Window, Windows};

/// Who says something about an update; the first three are its author.
const CROWD: [&str; 9] = [AUTHOR, "Ann", " ann ", "", "bob", "BOB ", "cid", "cid", "dora"];

pub(super) struct House {
    /// Whether anybody freezes anything.
    freezers: bool,
    freezes: Vec<Freeze>,
    hours: Vec<Hours>,
    windows: Windows,
    /// Of an update whose new settings must have been watched.
    candidate: Option<WatchedCandidate>,
}

/// Hours kept free every week, in minutes.
#[derive(Clone, Debug)]
struct Hours {
    /// Of our key store alone, of all, or of another one alone.
    of: Of,
    /// Monday first.
    days: [bool; 7],
    from: i64,
    to: i64,
    east_of_utc: i64,
    zone: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Ours,
    All,
    Another,
}

impl Of {
    fn any(random: &mut StdRng) -> Self {
        match random.random_range(0..4) {
            0 | 1 => Self::Ours,
            2 => Self::All,
            _ => Self::Another,
        }
    }

    fn id(self) -> Option<CustomKeyStoreId> {
        match self {
            Self::Ours => Some(store(ConnectionState::Connected).id),
            Self::All => None,
            Self::Another => Some(CustomKeyStoreId::parse("cks-00000000000000000").unwrap()),
        }
    }
}

/// What somebody says about an update.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) by: &'static str,
    pub(super) right_digest: bool,
    pub(super) outage_acknowledged: bool,
}

impl House {
    /// Nobody is there.
    pub(super) fn empty() -> Self {
        Self { freezers: false, freezes: Vec::new(), hours: Vec::new(), windows: Windows::default(), candidate: None }
    }

    /// People who freeze, and half the time hours to keep to.
    pub(super) fn any(random: &mut StdRng) -> Self {
        let count = if random.random_bool(0.5) { 0 } else { random.random_range(1..3) };
        let hours: Vec<_> = (0..count).map(|_| Hours::any(random)).collect();
        let windows = Windows(hours.iter().map(Hours::window).collect());
        Self { freezers: true, freezes: Vec::new(), hours, windows, candidate: None }
    }

    /// The same, and the new settings of the plan must have been watched.
    pub(super) fn watching(self, candidate: WatchedCandidate) -> Self {
        Self { candidate: Some(candidate), ..self }
    }

    /// As the driver reads them.
    pub(super) fn barriers(&self, now: Timestamp) -> Barriers {
        let id = store(ConnectionState::Connected).id;
        let opening = self.windows.opening(&id, now);
        let green = self.candidate.as_ref().map(WatchedCandidate::rule).unwrap_or_default();
        Barriers { freeze: Freeze::longest(self.freezes.clone(), &id, now), opening, green }
    }

    /// Somebody freezes changes, once in so many times, or lifts that.
    pub(super) fn freeze_or_lift(&mut self, world: &mut World, once_in: u32) {
        if let Some(candidate) = &mut self.candidate {
            candidate.look_until(world.now, &mut world.random, once_in);
        }
        if !self.freezers {
            return;
        }
        if world.chance(once_in) {
            let ends = world.random.random_bool(0.6).then(|| world.random.random_range(10..1_800));
            let key_store = Of::any(&mut world.random).id();
            // One for each key store and one for all: a new one takes the place of the former.
            self.freezes.retain(|former| former.key_store != key_store);
            self.freezes.push(Freeze {
                key_store,
                reason: "end of the quarter".into(),
                by: "dora".into(),
                since: world.now,
                until: ends.map(|seconds| world.now.plus(Duration::from_secs(seconds))),
            });
        }
        if world.chance(8) && !self.freezes.is_empty() {
            let at = world.random.random_range(0..self.freezes.len());
            self.freezes.remove(at);
        }
    }

    /// What somebody says, if anybody does.
    pub(super) fn says(&self, random: &mut StdRng) -> Option<Said> {
        self.freezers.then(|| Said {
            by: CROWD[random.random_range(0..CROWD.len())],
            right_digest: random.random_ratio(5, 6),
            outage_acknowledged: random.random_ratio(5, 6),
        })
    }

    // --- for the oracle ---

    /// Whether changes of our key store are frozen.
    pub(super) fn is_frozen(&self, now: Timestamp) -> bool {
        let ours = [Of::Ours.id(), None];
        self.freezes
            .iter()
            .any(|freeze| ours.contains(&freeze.key_store) && freeze.until.is_none_or(|until| until > now))
    }

    /// Whether the new settings were watched for long enough, or need not be.
    pub(super) fn is_watched(&self, plan: &Plan, now: Timestamp) -> bool {
        let member = |member: &Member| *member != Member::Name;
        let is_of_proxy = plan.new.xks().is_some() && plan.change.members().iter().any(member);
        !is_of_proxy || self.candidate.as_ref().is_none_or(|candidate| candidate.is_enough(now))
    }

    /// Whether keys may be taken out of use.
    pub(super) fn is_open(&self, now: Timestamp) -> bool {
        let own = self.hours.iter().any(|hours| hours.of == Of::Ours);
        let of = if own { Of::Ours } else { Of::All };
        let mut kept = self.hours.iter().filter(|hours| hours.of == of).peekable();
        kept.peek().is_none() || kept.any(|hours| hours.contain(now))
    }
}

impl Hours {
    /// Around the beginning, so that a plan may wait for them, miss them, or see them end.
    fn any(random: &mut StdRng) -> Self {
        let (east_of_utc, zone) = [(0, "UTC"), (540, "Asia/Tokyo")][random.random_range(0..2)];
        let starts = beginning().unix() / 60 + east_of_utc + random.random_range(-60..100);
        let from = starts.rem_euclid(1_440);
        let longest = if random.random_bool(0.3) { 5 } else { 90 };
        let to = (from + random.random_range(1..longest)).rem_euclid(1_440);
        let every = random.random_bool(0.7);
        let days = [(); 7].map(|()| every || random.random_bool(0.5));
        Self { of: Of::any(random), days, from, to, east_of_utc, zone }
    }

    fn window(&self) -> Window {
        let days = DAYS.iter().zip(self.days).filter(|(_, kept)| *kept);
        let time = |minutes: i64| Window::time(&format!("{:02}:{:02}", minutes / 60, minutes % 60)).unwrap();
        Window::new(
            self.of.id(),
            days.map(|(day, _)| Window::day(day).unwrap()).collect(),
            (time(self.from), time(self.to)),
            Window::time_zone(self.zone).unwrap(),
        )
    }

    fn contain(&self, now: Timestamp) -> bool {
        let local = now.unix_millis() + self.east_of_utc * 60_000;
        let length = (self.to - self.from).rem_euclid(1_440) * 60_000;
        let today = local.div_euclid(86_400_000);
        [today - 1, today].into_iter().any(|day| {
            // The first day of all was a Thursday.
            let weekday = usize::try_from((day + 3).rem_euclid(7)).unwrap();
            let opens = day * 86_400_000 + self.from * 60_000;
            self.days[weekday] && opens <= local && local < opens + length
        })
    }
}
