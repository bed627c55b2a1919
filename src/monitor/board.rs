//! What is known of each key store at this moment.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use super::history::History;
use crate::check::{Latency, Report, Verdict};
use crate::clock::Timestamp;
use crate::key_store::{CustomKeyStoreId, KeyStore};

/// How many probes are kept in short: at one a minute three quarters of an hour.
const GLANCES: usize = 48;

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
    /// Whether it is probed.
    pub watched: bool,
    /// What KMS told last; `None` when KMS cannot be read or knows no such key store.
    pub description: Option<KeyStore>,
    /// When KMS told it.
    pub described_at: Option<Timestamp>,
    /// The latest report on its current settings.
    pub latest: Option<Arc<Report>>,
    /// Why it was not probed when its turn came last, if it was not.
    pub not_probed: Option<String>,
    /// When the latest canary of its current settings was made, if there is one.
    pub canary: Option<Timestamp>,
    /// The last time that KMS showed another name or other settings than before, or the key store no more.
    pub changed: Option<Changed>,
    history: History,
    glances: VecDeque<Glance>,
}

/// A change of a key store that was seen between two looks at KMS, whoever made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The look before, which showed the former settings.
    pub after: Timestamp,
    /// The look that showed the change.
    pub at: Timestamp,
    /// Whether the access key id is another one.
    pub credential: bool,
}

impl Changed {
    /// What is different, if anything; the connection state is no setting.
    fn between(before: (&KeyStore, Timestamp), now: Option<&KeyStore>, at: Timestamp) -> Option<Self> {
        let (before, after) = before;
        let same = now.is_some_and(|now| now.name == before.name && now.configuration == before.configuration);
        let credential = |store: &KeyStore| store.xks().map(|xks| xks.access_key_id.clone());
        let other = now.is_some_and(|now| credential(now) != credential(before));
        (!same).then_some(Self { after, at, credential: other })
    }
}

impl Sighting {
    pub(crate) fn unseen(id: CustomKeyStoreId, watched: bool) -> Self {
        Self {
            id,
            watched,
            description: None,
            described_at: None,
            latest: None,
            not_probed: None,
            canary: None,
            changed: None,
            history: History::default(),
            glances: VecDeque::new(),
        }
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

#[derive(Debug, Default)]
struct Contents {
    sightings: BTreeMap<CustomKeyStoreId, Arc<Sighting>>,
    describe_failure: Option<String>,
}

#[derive(Debug)]
pub(super) struct Board {
    contents: RwLock<Contents>,
    failures_kept: usize,
}

impl Board {
    pub(super) fn new(watched: impl Iterator<Item = CustomKeyStoreId>, failures_kept: usize) -> Self {
        let sightings = watched.map(|id| (id.clone(), Arc::new(Sighting::unseen(id, true)))).collect();
        Self { contents: RwLock::new(Contents { sightings, describe_failure: None }), failures_kept }
    }

    /// Watches these key stores from now on, and no others; what is known of them stays. Of one that is no longer watched
    /// only what KMS told stays: its reports would be taken for new ones.
    pub(super) fn watch(&self, watched: &BTreeSet<CustomKeyStoreId>) {
        let mut contents = self.write();
        contents.sightings.retain(|id, sighting| watched.contains(id) || sighting.description.is_some());
        for (id, sighting) in &mut contents.sightings {
            if sighting.watched && !watched.contains(id) {
                let Sighting { description, described_at, changed, .. } = sighting.as_ref().clone();
                let left = Sighting::unseen(id.clone(), false);
                *sighting = Arc::new(Sighting { description, described_at, changed, ..left });
            }
        }
        for id in watched {
            let sighting = contents.sightings.entry(id.clone());
            let sighting = sighting.or_insert_with(|| Arc::new(Sighting::unseen(id.clone(), true)));
            Arc::make_mut(sighting).watched = true;
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<Sighting>> {
        self.read().sightings.values().cloned().collect()
    }

    pub(super) fn get(&self, id: &CustomKeyStoreId) -> Option<Arc<Sighting>> {
        self.read().sightings.get(id).cloned()
    }

    pub(super) fn describe_failure(&self) -> Option<String> {
        self.read().describe_failure.clone()
    }

    /// KMS told of all key stores: whatever it did not name is gone, and forgotten unless it is watched.
    pub(super) fn described(&self, stores: Vec<KeyStore>, at: Timestamp) {
        let mut contents = self.write();
        contents.describe_failure = None;
        contents.sightings.retain(|id, sighting| sighting.watched || stores.iter().any(|store| store.id == *id));
        for sighting in contents.sightings.values_mut() {
            let sighting = Arc::make_mut(sighting);
            let now = stores.iter().find(|store| store.id == sighting.id);
            let before = sighting.description.as_ref().zip(sighting.described_at);
            sighting.changed = before.and_then(|before| Changed::between(before, now, at)).or(sighting.changed);
            sighting.description = None;
            sighting.described_at = Some(at);
        }
        for store in stores {
            let sighting = contents.sightings.entry(store.id.clone());
            let sighting = sighting.or_insert_with(|| Arc::new(Sighting::unseen(store.id.clone(), false)));
            let sighting = Arc::make_mut(sighting);
            sighting.description = Some(store);
            sighting.described_at = Some(at);
        }
    }

    /// KMS did not answer: what it told before stays.
    pub(super) fn not_described(&self, why: String) {
        self.write().describe_failure = Some(why);
    }

    pub(super) fn probed(&self, id: &CustomKeyStoreId, report: Arc<Report>) {
        if let Some(sighting) = self.write().sightings.get_mut(id) {
            let sighting = Arc::make_mut(sighting);
            sighting.glances.push_back(Glance::of(&report));
            if sighting.glances.len() > GLANCES {
                sighting.glances.pop_front();
            }
            sighting.history.add(report.clone(), self.failures_kept);
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

    #[test]
    fn what_kms_does_not_name_any_more_is_forgotten_unless_watched() {
        let board = Board::new([id("cks-watched")].into_iter(), 5);
        board.described(vec![store("cks-watched"), store("cks-other")], Timestamp::from_unix(1));
        assert_eq!(board.all().len(), 2);
        assert!(!board.get(&id("cks-other")).unwrap().watched);
        board.described(vec![], Timestamp::from_unix(2));
        assert!(board.get(&id("cks-other")).is_none());
        let left = board.get(&id("cks-watched")).unwrap();
        assert!(left.description.is_none() && left.watched);
    }

    #[test]
    fn a_change_is_seen_between_two_looks_and_a_connection_state_is_none() {
        let board = Board::new([id("cks-watched")].into_iter(), 5);
        let changed = || board.get(&id("cks-watched")).unwrap().changed;
        board.described(vec![store("cks-watched")], Timestamp::from_unix(1));
        let disconnected = KeyStore { state: ConnectionState::Disconnected, ..store("cks-watched") };
        board.described(vec![disconnected], Timestamp::from_unix(2));
        assert_eq!(changed(), None);
        let renamed = KeyStore { name: CustomKeyStoreName::parse("other").unwrap(), ..store("cks-watched") };
        board.described(vec![renamed.clone()], Timestamp::from_unix(3));
        let seen = |after, at| {
            let (after, at) = (Timestamp::from_unix(after), Timestamp::from_unix(at));
            Some(Changed { after, at, credential: false })
        };
        assert_eq!(changed(), seen(2, 3));
        board.described(vec![renamed], Timestamp::from_unix(4));
        assert_eq!(changed(), seen(2, 3));
        board.described(vec![], Timestamp::from_unix(5));
        assert_eq!(changed(), seen(4, 5));
    }

    #[test]
    fn what_is_watched_changes_and_what_kms_told_stays() {
        let board = Board::new([id("cks-a"), id("cks-b")].into_iter(), 5);
        board.described(vec![store("cks-b"), store("cks-c")], Timestamp::from_unix(1));
        board.not_probed(&id("cks-b"), "no credential".into());
        board.watch(&BTreeSet::from([id("cks-c"), id("cks-d")]));
        let seen =
            |text: &str| board.get(&id(text)).map(|s| (s.watched, s.description.is_some(), s.not_probed.is_some()));
        assert_eq!(seen("cks-a"), None, "KMS knows no such key store, and nobody watches it");
        assert_eq!(seen("cks-b"), Some((false, true, false)));
        assert_eq!(seen("cks-c"), Some((true, true, false)));
        assert_eq!(seen("cks-d"), Some((true, false, false)));
    }

    #[test]
    fn a_failed_read_leaves_what_was_known() {
        let board = Board::new([id("cks-watched")].into_iter(), 5);
        board.described(vec![store("cks-watched")], Timestamp::from_unix(1));
        board.not_described("throttled".into());
        assert!(board.get(&id("cks-watched")).unwrap().description.is_some());
        assert_eq!(board.describe_failure().as_deref(), Some("throttled"));
    }
}
