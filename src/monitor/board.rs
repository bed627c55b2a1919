//! What is known of each key store at this moment.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use super::history::History;
use crate::check::{Latency, Report, Verdict};
use crate::clock::Timestamp;
use crate::key_store::{CustomKeyStoreId, KeyStore, Place};

/// How many probes are kept in short: at one a minute three quarters of an hour.
const GLANCES: usize = 48;

/// How many reports are kept of all key stores together, each a few tens of KiB: an outage of everything must not take all
/// memory. With more key stores each keeps fewer, and the latest always.
const MOST_REPORTS: usize = 20_000;

/// One probe in short, for charts: full reports are too large to be kept for every point.
#[derive(Clone, Copy, Debug)]
pub struct Glance {
    /// When it began.
    pub at: Timestamp,
    /// The slowest attempt on a fresh connection, all stages together; `None` if the network was never used.
    pub slowest: Option<Duration>,
    /// What came of it.
    pub verdict: Verdict,
}

impl Glance {
    fn of(report: &Report) -> Self {
        let cold = Latency::of(&report.evidence.addresses).cold;
        Self { at: report.started_at(), slowest: (cold.count > 0).then_some(cold.max), verdict: report.verdict() }
    }
}

/// What is known of one key store.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// Which.
    pub id: CustomKeyStoreId,
    /// Where it is: as KMS told, before that as the configuration says.
    pub place: Option<Place>,
    /// Whether the configuration names it.
    pub configured: bool,
    /// Whether it is probed.
    pub watched: bool,
    /// What KMS told last; `None` when KMS cannot be read or knows no such key store.
    pub description: Option<KeyStore>,
    /// When KMS told it.
    pub described_at: Option<Timestamp>,
    /// The latest report; on former settings until those that KMS shows by now have had their turn, see
    /// [`Sighting::current`].
    pub latest: Option<Arc<Report>>,
    /// Why it was not probed when its turn came last, if it was not.
    pub not_probed: Option<String>,
    /// When the latest canary of its current settings was made, if there is one.
    pub canary: Option<Timestamp>,
    history: History,
    glances: VecDeque<Glance>,
}

/// What two looks at an account and Region show differently of one key store; the connection state is no setting.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The key store.
    pub key_store: CustomKeyStoreId,
    /// Where.
    pub place: Place,
    /// As it was; `None` if it was not there.
    pub before: Option<KeyStore>,
    /// As it is; `None` if it is there no more.
    pub now: Option<KeyStore>,
    /// The look before.
    pub after: Timestamp,
    /// The look that showed it.
    pub at: Timestamp,
}

impl Sighting {
    /// Nothing is known of it yet.
    pub(crate) fn unseen(id: CustomKeyStoreId, place: Option<Place>, configured: bool) -> Self {
        Self {
            id,
            place,
            configured,
            watched: configured,
            description: None,
            described_at: None,
            latest: None,
            not_probed: None,
            canary: None,
            history: History::default(),
            glances: VecDeque::new(),
        }
    }

    /// The latest report, if it is on the settings that KMS shows.
    pub fn current(&self) -> Option<&Arc<Report>> {
        self.latest.as_ref().filter(|report| !self.is_former(report))
    }

    /// Whether a report is on other settings than those that KMS shows now.
    pub fn is_former(&self, report: &Report) -> bool {
        let now = self.description.as_ref();
        now.is_some_and(|store| !report.evidence.subject.is_of(&store.configuration))
    }

    /// The latest reports, newest first; failures go further back.
    pub fn reports(&self) -> Vec<Arc<Report>> {
        self.history.reports()
    }

    /// The latest probes in short, oldest first.
    pub fn glances(&self) -> impl ExactSizeIterator<Item = &Glance> {
        self.glances.iter()
    }
}

/// What came of asking one account and Region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceSight {
    /// Which.
    pub place: Place,
    /// When KMS told of its key stores last, if it ever did.
    pub told_at: Option<Timestamp>,
    /// Why it did not at the last attempt, if so; what it told before is still shown.
    pub failure: Option<String>,
}

#[derive(Debug)]
struct Contents {
    sightings: BTreeMap<CustomKeyStoreId, Arc<Sighting>>,
    places: Vec<PlaceSight>,
}

impl Contents {
    fn place(&mut self, place: &Place) -> Option<&mut PlaceSight> {
        self.places.iter_mut().find(|sight| sight.place == *place)
    }

    fn differences(&self, place: &Place, now: &[KeyStore], (after, at): (Timestamp, Timestamp)) -> Vec<Difference> {
        let known = |id: &CustomKeyStoreId| self.sightings.get(id)?.description.as_ref();
        let difference = |before: Option<&KeyStore>, now: Option<&KeyStore>| {
            let key_store = before.or(now)?.id.clone();
            let place = place.clone();
            Some(Difference { key_store, place, before: before.cloned(), now: now.cloned(), after, at })
        };
        let differs =
            |before: &KeyStore, now: &KeyStore| before.name != now.name || before.configuration != now.configuration;
        let there = now.iter().filter_map(|store| match known(&store.id) {
            Some(before) if !differs(before, store) => None,
            before => difference(before, Some(store)),
        });
        let here = |sighting: &&Arc<Sighting>| sighting.place.as_ref() == Some(place);
        let gone = self.sightings.values().filter(here).filter_map(|sighting| {
            let before = sighting.description.as_ref()?;
            if now.iter().any(|store| store.id == before.id) { None } else { difference(Some(before), None) }
        });
        there.chain(gone).collect()
    }
}

#[derive(Debug)]
pub(super) struct Board {
    contents: RwLock<Contents>,
    failures_kept: usize,
    kept_for: Duration,
}

impl Board {
    pub(super) fn new(
        configured: impl Iterator<Item = (CustomKeyStoreId, Option<Place>)>,
        places: impl Iterator<Item = Place>,
        failures_kept: usize,
        kept_for: Duration,
    ) -> Self {
        let unseen = |(id, place): (CustomKeyStoreId, _)| (id.clone(), Arc::new(Sighting::unseen(id, place, true)));
        let sightings = configured.map(unseen).collect();
        let places = places.map(|place| PlaceSight { place, told_at: None, failure: None }).collect();
        Self { contents: RwLock::new(Contents { sightings, places }), failures_kept, kept_for }
    }

    /// These key stores are configured from now on, and no others; what is known of them stays. Of one that is not any
    /// more only what KMS told stays: its reports would be taken for new ones.
    pub(super) fn configure(&self, configured: BTreeMap<CustomKeyStoreId, Option<Place>>) {
        let mut contents = self.write();
        contents.sightings.retain(|id, sighting| configured.contains_key(id) || sighting.description.is_some());
        for (id, sighting) in &mut contents.sightings {
            if sighting.configured && !configured.contains_key(id) {
                let Sighting { place, description, described_at, .. } = sighting.as_ref().clone();
                let left = Sighting::unseen(id.clone(), place, false);
                *sighting = Arc::new(Sighting { description, described_at, ..left });
            }
        }
        for (id, place) in configured {
            let sighting = contents.sightings.entry(id.clone());
            let sighting = Arc::make_mut(sighting.or_insert_with(|| Arc::new(Sighting::unseen(id, place, true))));
            (sighting.configured, sighting.watched) = (true, true);
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<Sighting>> {
        self.read().sightings.values().cloned().collect()
    }

    pub(super) fn get(&self, id: &CustomKeyStoreId) -> Option<Arc<Sighting>> {
        self.read().sightings.get(id).cloned()
    }

    pub(super) fn places(&self) -> Vec<PlaceSight> {
        self.read().places.clone()
    }

    /// Why this place could not be read; of an unknown one, why some place could not.
    pub(super) fn failure_at(&self, place: Option<&Place>) -> Option<String> {
        let contents = self.read();
        let mut sights = contents.places.iter().filter(|sight| place.is_none_or(|place| sight.place == *place));
        sights.find_map(|sight| sight.failure.clone())
    }

    /// The key stores that are probed.
    pub(super) fn watched(&self) -> BTreeSet<CustomKeyStoreId> {
        let contents = self.read();
        contents.sightings.values().filter(|sighting| sighting.watched).map(|sighting| sighting.id.clone()).collect()
    }

    /// KMS told of all key stores of a place: whatever it did not name is gone, and forgotten unless it is configured.
    /// What is different from what it told before; the first time there is nothing to compare with.
    pub(super) fn described(&self, place: &Place, stores: Vec<KeyStore>, at: Timestamp) -> Vec<Difference> {
        let mut contents = self.write();
        let before = contents.place(place).and_then(|sight| sight.told_at);
        let differences = before.map(|after| contents.differences(place, &stores, (after, at))).unwrap_or_default();
        if let Some(sight) = contents.place(place) {
            *sight = PlaceSight { place: place.clone(), told_at: Some(at), failure: None };
        }
        let told = |id: &CustomKeyStoreId| stores.iter().find(|store| store.id == *id);
        let here = |sighting: &Sighting| sighting.place.as_ref().is_none_or(|known| known == place);
        contents.sightings.retain(|id, sighting| sighting.configured || !here(sighting) || told(id).is_some());
        for sighting in contents.sightings.values_mut().filter(|sighting| here(sighting)) {
            let sighting = Arc::make_mut(sighting);
            sighting.description = None;
            sighting.described_at = Some(at);
        }
        for store in stores {
            let sighting = contents.sightings.entry(store.id.clone());
            let unseen = || Arc::new(Sighting::unseen(store.id.clone(), None, false));
            let sighting = Arc::make_mut(sighting.or_insert_with(unseen));
            sighting.place = Some(place.clone());
            sighting.description = Some(store);
            sighting.described_at = Some(at);
        }
        differences
    }

    /// Decides which of the key stores that nobody configured are probed; `Err` says why one cannot be.
    pub(super) fn enlist(&self, wants: impl Fn(&KeyStore) -> Result<bool, String>) {
        for sighting in self.write().sightings.values_mut().filter(|sighting| !sighting.configured) {
            let Some(wanted) = sighting.description.as_ref().map(&wants) else { continue };
            let sighting = Arc::make_mut(sighting);
            match wanted {
                Ok(wanted) => {
                    if wanted && !sighting.watched {
                        sighting.not_probed = None;
                    }
                    sighting.watched = wanted;
                }
                Err(why) => {
                    sighting.watched = false;
                    sighting.latest = None;
                    sighting.not_probed = Some(why);
                }
            }
        }
    }

    /// KMS did not answer in a place: what it told before stays.
    pub(super) fn not_described(&self, place: &Place, why: String) {
        if let Some(sight) = self.write().place(place) {
            sight.failure = Some(why);
        }
    }

    pub(super) fn probed(&self, id: &CustomKeyStoreId, report: Arc<Report>) {
        let mut contents = self.write();
        let share = (MOST_REPORTS / contents.sightings.len().max(1)).max(1);
        if let Some(sighting) = contents.sightings.get_mut(id) {
            let sighting = Arc::make_mut(sighting);
            sighting.glances.push_back(Glance::of(&report));
            if sighting.glances.len() > GLANCES {
                sighting.glances.pop_front();
            }
            sighting.history.add(report.clone(), self.failures_kept.min(share), self.kept_for);
            sighting.latest = Some(report);
            sighting.not_probed = None;
        }
    }

    pub(super) fn has_canary(&self, id: &CustomKeyStoreId, at: Option<Timestamp>) {
        if let Some(sighting) = self.write().sightings.get_mut(id) {
            Arc::make_mut(sighting).canary = at;
        }
    }

    /// An old report about settings that can no longer be probed would be taken for a new one: it leaves the place of
    /// the latest and stays in the history.
    pub(super) fn not_probed(&self, id: &CustomKeyStoreId, why: String) {
        if let Some(sighting) = self.write().sightings.get_mut(id) {
            let sighting = Arc::make_mut(sighting);
            sighting.latest = None;
            sighting.not_probed = Some(why);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Contents> {
        self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Contents> {
        self.contents.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_store::{Configuration, ConnectionState, CustomKeyStoreName};

    fn id(text: &str) -> CustomKeyStoreId {
        CustomKeyStoreId::parse(text).unwrap()
    }

    fn store(text: &str) -> KeyStore {
        KeyStore {
            id: id(text),
            name: CustomKeyStoreName::parse(text).unwrap(),
            created: None,
            state: ConnectionState::Connected,
            configuration: Configuration::Unrecognized { why: "a test".into() },
        }
    }

    fn at(region: &str) -> Place {
        Place::home(crate::key_store::Region::parse(region).unwrap())
    }

    fn here() -> Place {
        at("us-east-1")
    }

    fn board() -> Board {
        let places = [here(), at("eu-west-1")];
        Board::new([(id("cks-watched"), Some(here()))].into_iter(), places.into_iter(), 5, Duration::from_hours(24))
    }

    #[test]
    fn places_do_not_touch_each_others_key_stores() {
        let board = board();
        board.described(&here(), vec![store("cks-watched"), store("cks-a")], Timestamp::from_unix(1));
        board.described(&at("eu-west-1"), vec![store("cks-b")], Timestamp::from_unix(2));
        board.not_described(&at("eu-west-1"), "silence".into());
        board.described(&here(), vec![store("cks-watched")], Timestamp::from_unix(3));
        assert!(board.get(&id("cks-a")).is_none(), "gone");
        let other = board.get(&id("cks-b")).unwrap();
        assert_eq!((other.place.clone(), other.described_at), (Some(at("eu-west-1")), Some(Timestamp::from_unix(2))));
        let failures: Vec<_> = board.places().into_iter().map(|sight| sight.failure).collect();
        assert_eq!(failures, [None, Some("silence".to_owned())]);
    }

    #[test]
    fn what_nobody_configured_is_probed_if_that_is_wanted_and_possible() {
        let board = board();
        board.described(&here(), vec![store("cks-watched"), store("cks-a"), store("cks-b")], Timestamp::from_unix(1));
        let wants = |store: &KeyStore| if store.id == id("cks-a") { Ok(true) } else { Err("no credential".to_owned()) };
        board.enlist(wants);
        assert_eq!(board.watched(), [id("cks-a"), id("cks-watched")].into());
        assert_eq!(board.get(&id("cks-b")).unwrap().not_probed.as_deref(), Some("no credential"));
        assert!(board.get(&id("cks-watched")).unwrap().not_probed.is_none());
        board.enlist(|_| Ok(true));
        assert_eq!(board.watched().len(), 3);
        assert_eq!(board.get(&id("cks-b")).unwrap().not_probed, None);
        board.enlist(|_| Ok(false));
        assert_eq!(board.watched(), [id("cks-watched")].into());
    }

    #[test]
    fn what_kms_does_not_name_any_more_is_forgotten_unless_watched() {
        let board = board();
        board.described(&here(), vec![store("cks-watched"), store("cks-other")], Timestamp::from_unix(1));
        assert_eq!(board.all().len(), 2);
        assert!(!board.get(&id("cks-other")).unwrap().watched);
        board.described(&here(), vec![], Timestamp::from_unix(2));
        assert!(board.get(&id("cks-other")).is_none());
        let left = board.get(&id("cks-watched")).unwrap();
        assert!(left.description.is_none() && left.watched);
    }

    #[test]
    fn what_is_configured_changes_and_what_kms_told_stays() {
        let configured = [id("cks-a"), id("cks-b")].map(|id| (id, Some(here())));
        let board = Board::new(configured.into_iter(), [here()].into_iter(), 5, Duration::from_hours(24));
        board.described(&here(), vec![store("cks-b"), store("cks-c")], Timestamp::from_unix(1));
        board.not_probed(&id("cks-b"), "no credential".into());
        board.configure([id("cks-c"), id("cks-d")].map(|id| (id, Some(here()))).into());
        let seen =
            |text: &str| board.get(&id(text)).map(|s| (s.watched, s.description.is_some(), s.not_probed.is_some()));
        assert_eq!(seen("cks-a"), None, "KMS knows no such key store, and nobody watches it");
        assert_eq!(seen("cks-b"), Some((false, true, false)));
        assert_eq!(seen("cks-c"), Some((true, true, false)));
        assert_eq!(seen("cks-d"), Some((true, false, false)));
    }

    #[test]
    fn two_looks_differ_in_what_is_added_changed_and_gone_and_the_first_in_nothing() {
        let board = board();
        let look = |stores: Vec<KeyStore>, at| {
            let seen = board.described(&here(), stores, Timestamp::from_unix(at));
            let told = |d: &Difference| (d.key_store.to_string(), d.before.is_some(), d.now.is_some(), d.after.unix());
            seen.iter().map(told).collect::<Vec<_>>()
        };
        assert_eq!(look(vec![store("cks-watched"), store("cks-a")], 1), []);
        let disconnected = KeyStore { state: ConnectionState::Disconnected, ..store("cks-a") };
        assert_eq!(look(vec![store("cks-watched"), disconnected], 2), []);
        board.not_described(&here(), "silence".into());
        let renamed = KeyStore { name: CustomKeyStoreName::parse("other").unwrap(), ..store("cks-a") };
        assert_eq!(
            look(vec![renamed.clone(), store("cks-b")], 4),
            [
                ("cks-a".to_owned(), true, true, 2),
                ("cks-b".to_owned(), false, true, 2),
                ("cks-watched".to_owned(), true, false, 2),
            ]
        );
        assert_eq!(look(vec![renamed, store("cks-b")], 5), []);
        assert_eq!(board.described(&at("eu-west-1"), vec![store("cks-c")], Timestamp::from_unix(6)).len(), 0);
    }

    #[test]
    fn a_failed_read_leaves_what_was_known() {
        let board = board();
        board.described(&here(), vec![store("cks-watched")], Timestamp::from_unix(1));
        board.not_described(&here(), "throttled".into());
        assert!(board.get(&id("cks-watched")).unwrap().description.is_some());
        assert_eq!(board.failure_at(Some(&here())).as_deref(), Some("throttled"));
    }
}
