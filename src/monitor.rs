//! Continuous probing of every key store: the configured ones, and those that KMS tells of.
//!
//! # How it works
//!
//! One task for each account and Region asks KMS now and then what the key stores there are like; one task for each key
//! store probes the settings that KMS has for it. All begin at a random point of their period and go on with jitter, so
//! that many do not fall into step. A key store that nobody configured is probed, too, unless that is switched off, if a
//! credential fits the access key id that KMS shows, of those that are lent to its account and Region: whoever makes a
//! key store there chooses that id and the endpoint, and must not get requests signed with the secrets of others.
//! A store is never probed twice at once, and all stores together only so many at a time. The latest
//! report of each is kept, and a short history in which failures outlive successes. Of a key store with a test key a
//! canary is kept now and then ([`Canaries`]), and the latest one must decrypt at every probe: key material that was
//! swapped behind unchanged settings shows at once.
//!
//! Of a key store for which other settings are planned those candidates are probed, too, in rhythms of their own; see
//! [`Candidates`].
//!
//! A store behind a VPC endpoint service is judged by that service, too, which is read anew every five minutes: a lost
//! principal or a lost verification shows nowhere else before the store has to connect again.
//!
//! # What can go wrong
//!
//! - KMS of an account and Region cannot be read: the last description is used, or the settings in the configuration if
//!   there never was one. The other accounts and Regions do not notice.
//! - No credential is configured, or lent, for the access key id that KMS shows: the store is not probed and says why. Probing
//!   with another credential would report a fault that the proxy does not have.

mod board;
mod canary;
mod candidate;
mod history;
mod patrol;
mod roster;
mod service_watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use board::Board;
pub use board::{Difference, Glance, PlaceSight, Sighting};
pub use canary::Canaries;
use candidate::CandidateBoard;
pub use candidate::{CandidateSight, Candidates, Standing, WatchedCandidate};
use patrol::Beat;
use service_watch::ServiceWatch;

use crate::chain::Chain;
use crate::check::{AwsEvidence, Report};
use crate::clock::Clock;
use crate::current::Current;
use crate::key_store::{
    AccessKeyId, CustomKeyStoreId, ExternalKeyId, KeyStore, Place, ProxyCredential, Region, XksConfiguration,
};
use crate::places::Places;
use crate::preflight::{Candidate, CandidateKeys, Preflight, Surroundings, Thoroughness};

/// When and how much to probe.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// From one probe of a key store to its next; default one minute.
    pub interval: Duration,
    /// The part of the interval, 0 to 1, by which each pause is longer or shorter at random; default 0.2.
    pub jitter: f64,
    /// How many key stores are probed at once; default 64.
    pub concurrency: usize,
    /// How many key stores behind one host are probed at once; default 4.
    pub per_host: usize,
    /// From one DescribeCustomKeyStores to the next in each account and Region, more or less; default 30 seconds. All who
    /// work there share 5 a second.
    pub describe_every: Duration,
    /// How many failing reports are kept of each key store; default 20. Of those that pass a few are enough.
    pub history: usize,
    /// How old a kept report may become; default 30 days.
    pub history_age: Duration,
    /// How much to look at each probe; how to judge comes from the surroundings.
    pub thoroughness: Thoroughness,
    /// Whether key stores that nobody configured are probed where a credential that is lent there fits; default `true`.
    pub watch_discovered: bool,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            interval: Duration::from_mins(1),
            jitter: 0.2,
            concurrency: 64,
            per_host: 4,
            describe_every: Duration::from_secs(30),
            history: 20,
            history_age: Duration::from_hours(30 * 24),
            // Guesses at a refused signature at every probe might lock the credential out.
            thoroughness: Thoroughness { cold: 2, warm: 1, diagnosis: false, ..Thoroughness::default() },
            watch_discovered: true,
        }
    }
}

/// A key store that is probed.
#[derive(Clone, Debug)]
pub struct WatchedStore {
    /// Which.
    pub id: CustomKeyStoreId,
    /// The name of its credential in the configuration, when several share an access key id.
    pub credential: Option<String>,
    /// Its settings while KMS cannot be asked.
    pub settings: Option<XksConfiguration>,
    /// A key for test operations and canaries.
    pub test_key: Option<ExternalKeyId>,
    /// Where it is, as far as the configuration tells.
    pub place: Option<Place>,
    /// Settings that are planned for it, probed as its present ones are.
    pub candidates: Vec<WatchedCandidate>,
}

impl WatchedStore {
    /// One that nobody configured.
    fn discovered(id: CustomKeyStoreId) -> Self {
        Self { id, credential: None, settings: None, test_key: None, place: None, candidates: Vec::new() }
    }

    fn expected(&self) -> (CustomKeyStoreId, Option<Place>) {
        (self.id.clone(), self.place.clone())
    }
}

fn by_id(stores: Vec<WatchedStore>) -> BTreeMap<CustomKeyStoreId, WatchedStore> {
    stores.into_iter().map(|store| (store.id.clone(), store)).collect()
}

/// Told of every finished probe.
pub type Observer = Arc<dyn Fn(&CustomKeyStoreId, &Report) + Send + Sync>;

/// What a monitor is made of.
pub struct Parts {
    /// Runs the probes.
    pub preflight: Arc<Preflight>,
    /// Credentials and routes.
    pub surroundings: Arc<Current<Surroundings>>,
    /// Every account and Region, with whoever reads AWS there.
    pub places: Arc<Places>,
    /// Dates descriptions.
    pub clock: Arc<dyn Clock>,
    /// Seeds phases and jitter.
    pub seed: u64,
    /// What to probe in any case, at first; see [`Monitor::watch`].
    pub stores: Vec<WatchedStore>,
    /// Keeps canaries, if they are to be kept.
    pub canaries: Option<Canaries>,
    /// Keeps what is seen of candidates.
    pub candidates: Candidates,
    /// Told of every finished probe.
    pub observer: Observer,
    /// Told of every probe that begins, by how much after its time.
    pub late: Arc<dyn Fn(Duration) + Send + Sync>,
    /// Told what two looks at KMS show differently, if anybody wants to know.
    pub differences: Option<mpsc::Sender<Difference>>,
}

/// Probes key stores until it is stopped.
pub struct Monitor {
    parts: Parts,
    watching: Current<BTreeMap<CustomKeyStoreId, WatchedStore>>,
    schedule: Schedule,
    board: Board,
    candidates: CandidateBoard,
    services: ServiceWatch,
    /// The places that were asked at least once.
    asked: watch::Sender<BTreeSet<Place>>,
    /// Told when other key stores are to be probed than before.
    roster: Notify,
    running: AtomicBool,
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").field("schedule", &self.schedule).finish_non_exhaustive()
    }
}

impl Monitor {
    /// Knows its key stores, and nothing of them yet.
    pub fn new(parts: Parts, schedule: Schedule) -> Self {
        parts.places.expect(parts.stores.iter().map(WatchedStore::expected));
        let configured = parts.stores.iter().map(WatchedStore::expected);
        let board = Board::new(configured, parts.places.all().cloned(), schedule.history, schedule.history_age);
        let candidates = CandidateBoard::new(schedule.history, schedule.history_age);
        candidates.configure(&parts.stores);
        Self {
            candidates,
            watching: Current::new(by_id(parts.stores.clone())),
            parts,
            schedule,
            board,
            services: ServiceWatch::default(),
            asked: watch::Sender::default(),
            roster: Notify::new(),
            running: AtomicBool::new(false),
        }
    }

    /// These key stores are configured from now on, and no others. Those that were probed before keep their rhythm, and
    /// what is known of them; a probe that is under way of one that is not probed any more ends without a report.
    pub fn watch(&self, stores: Vec<WatchedStore>) {
        self.parts.places.expect(stores.iter().map(WatchedStore::expected));
        self.board.configure(stores.iter().map(WatchedStore::expected).collect());
        self.candidates.configure(&stores);
        self.watching.replace(by_id(stores));
        self.board.enlist(|store| self.wants(store));
        self.roster.notify_one();
    }

    /// What is known of every key store: the configured ones and those that KMS told of.
    pub fn sightings(&self) -> Vec<Arc<Sighting>> {
        self.board.all()
    }

    /// What is known of one key store.
    pub fn sighting(&self, id: &CustomKeyStoreId) -> Option<Arc<Sighting>> {
        self.board.get(id)
    }

    /// What came of asking each account and Region, in the order of the configuration.
    pub fn places(&self) -> Vec<PlaceSight> {
        self.board.places()
    }

    /// Why KMS could not be read at the last attempt, if so; where there are several accounts and Regions, in which.
    pub fn describe_failure(&self) -> Option<String> {
        let places = self.board.places();
        let several = places.len() > 1;
        let failures = places.into_iter().filter_map(|sight| {
            let why = sight.failure?;
            Some(if several { format!("{}: {why}", sight.place) } else { why })
        });
        Some(failures.collect::<Vec<_>>().join("; ")).filter(|failures| !failures.is_empty())
    }

    /// The Region of a key store; that of the daemon if KMS told of no such key store.
    pub fn region_of(&self, id: &CustomKeyStoreId) -> Region {
        let place = self.parts.places.place_of(id);
        place.map_or_else(|| self.parts.surroundings.get().region.clone(), |place| place.region.clone())
    }

    /// The account and Region of a key store, as far as they are known.
    pub fn place_of(&self, id: &CustomKeyStoreId) -> Option<&Place> {
        self.parts.places.place_of(id)
    }

    /// Whether a key store is in the daemon's own account, whatever the Region. Without other accounts every one is.
    pub fn is_of_home(&self, id: &CustomKeyStoreId) -> bool {
        let places = &self.parts.places;
        let only_home = || places.all().all(|place| place.account.is_home());
        places.place_of(id).map_or_else(only_home, |place| place.account.is_home())
    }

    /// What is configured about a key store.
    pub fn watched(&self, id: &CustomKeyStoreId) -> Option<WatchedStore> {
        self.watching.get().get(id).cloned()
    }

    /// The present settings of a key store, watched or not, without its keys; the error says why it cannot be probed.
    pub fn present(&self, id: &CustomKeyStoreId) -> Result<Candidate, String> {
        let unwatched = || WatchedStore::discovered(id.clone());
        let candidate = self.candidate(&self.watched(id).unwrap_or_else(unwatched))?;
        Ok(Candidate { keys: CandidateKeys::default(), ..candidate })
    }

    /// Probes until `stop`; every task has ended when this returns.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        self.running.store(true, Ordering::Release);
        roster::run(&self, stop).await;
        self.running.store(false, Ordering::Release);
    }

    /// The host of a key store's endpoint in lower case, as far as its settings are known.
    fn host(&self, id: &CustomKeyStoreId) -> Option<String> {
        let sighting = self.board.get(id)?;
        Some(sighting.description.as_ref()?.xks()?.endpoint.host().to_ascii_lowercase())
    }

    /// Whether [`Monitor::run`] is at work.
    pub fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    /// Asks one place for its key stores.
    async fn look(&self, place: &Place) {
        match self.parts.places.look(place).await {
            Ok(stores) => {
                let differences = self.board.described(place, stores, self.parts.clock.now());
                self.board.enlist(|store| self.wants(store));
                self.roster.notify_one();
                if let Some(to) = &self.parts.differences {
                    for difference in differences {
                        // Nobody listens any more when the process ends.
                        let _ = to.send(difference).await;
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%place, error = %Chain(&error), "key stores cannot be read from KMS");
                self.board.not_described(place, error.to_string());
            }
        }
        self.asked.send_modify(|asked| {
            asked.insert(place.clone());
        });
    }

    /// Whether a key store that nobody configured is to be probed; `Err` says why it cannot be.
    fn wants(&self, store: &KeyStore) -> Result<bool, String> {
        let Some(xks) = store.xks().filter(|_| self.schedule.watch_discovered) else { return Ok(false) };
        match self.credential(&store.id, &xks.access_key_id) {
            Some(_) => Ok(true),
            None if self.lacks_told(&store.id, &xks.access_key_id) => Err(untold(&xks.access_key_id)),
            None => Err(format!(
                "no credential known here: no configured key store of its account and Region uses one with access key id \
                 {}, and none is lent there",
                xks.access_key_id
            )),
        }
    }

    /// The credential that KMS means by the access key id of this key store: its own or any other one, if it is
    /// configured; else of those that are lent to its place.
    pub fn credential(&self, id: &CustomKeyStoreId, access_key_id: &AccessKeyId) -> Option<ProxyCredential> {
        self.named_credential(id, access_key_id).map(|(_, credential)| credential)
    }

    /// The same, with its name.
    pub fn named_credential(
        &self,
        id: &CustomKeyStoreId,
        access_key_id: &AccessKeyId,
    ) -> Option<(String, ProxyCredential)> {
        let surroundings = self.parts.surroundings.get();
        match self.watched(id) {
            Some(store) => surroundings.credentials.with_access_key_id(id, access_key_id, store.credential.as_deref()),
            None => surroundings.lent_to(self.parts.places.place_of(id)?, id, access_key_id),
        }
    }

    fn lacks_told(&self, id: &CustomKeyStoreId, access_key_id: &AccessKeyId) -> bool {
        self.parts.surroundings.get().credentials.lacks_told(id, access_key_id)
    }

    /// Until KMS was asked once where the key store is: before that nobody knows what to probe.
    async fn first_description(&self, id: &CustomKeyStoreId) {
        let mut asked = self.asked.subscribe();
        let places = &self.parts.places;
        let enough = |asked: &BTreeSet<Place>| match places.place_of(id) {
            Some(place) => asked.contains(place),
            None => places.all().all(|place| asked.contains(place)),
        };
        // An error means that the sender is gone, and with it the monitor.
        let _ended = asked.wait_for(enough).await;
    }

    async fn probe(&self, store: &WatchedStore) {
        match self.candidate(store) {
            Ok(mut candidate) => {
                let kept = match &self.parts.canaries {
                    Some(canaries) => canaries.of(store, &candidate).await.map(|kept| (canaries, kept)),
                    None => None,
                };
                if let Some((_, kept)) = &kept {
                    candidate.keys.canaries.clone_from(kept);
                }
                let judging = (self.parts.surroundings.get().judging)(Some(&store.id), self.parts.clock.now());
                let thoroughness = Thoroughness { judging, ..self.schedule.thoroughness.clone() };
                let ports = self.parts.places.of(&store.id);
                let reader = ports.and_then(|ports| ports.vpc.as_deref());
                let beat = Beat { key_store: store.id.clone(), candidate: None };
                let vpc = self.services.look(reader, &beat, &candidate).await;
                let aws = AwsEvidence { vpc, ..AwsEvidence::default() };
                let report = self.parts.preflight.run(&candidate, aws, &thoroughness).await;
                (self.parts.observer)(&store.id, &report);
                let report = Arc::new(report);
                self.board.probed(&store.id, Arc::clone(&report));
                if let Some((canaries, _)) = kept {
                    let (preflight, clock) = (&self.parts.preflight, self.parts.clock.as_ref());
                    let latest = canaries.tend(store, &candidate, &report, preflight, clock).await;
                    self.board.has_canary(&store.id, latest.map(|canary| canary.at));
                }
            }
            Err(why) => {
                tracing::warn!(key_store = %store.id, why, "key store cannot be probed");
                self.board.not_probed(&store.id, why);
            }
        }
    }

    fn candidate(&self, store: &WatchedStore) -> Result<Candidate, String> {
        let sighting = self.board.get(&store.id);
        let described = sighting.as_ref().and_then(|sighting| sighting.description.as_ref());
        if let Some(described) = described
            && described.xks().is_none()
        {
            return Err(format!("it is of type {}, which has no proxy", described.configuration.store_type()));
        }
        let settings =
            described.and_then(|described| described.xks()).or(store.settings.as_ref()).ok_or_else(|| {
                self.board.failure_at(self.parts.places.place_of(&store.id)).map_or_else(
                    || "KMS shows no such key store in this account and Region".to_owned(),
                    |failure| format!("its settings are not known: {failure}"),
                )
            })?;
        let surroundings = self.parts.surroundings.get();
        let credential = self.credential(&store.id, &settings.access_key_id).ok_or_else(|| {
            if self.lacks_told(&store.id, &settings.access_key_id) {
                return untold(&settings.access_key_id);
            }
            format!(
                "no credential with access key id {} is configured for it; add the one that KMS uses",
                settings.access_key_id
            )
        })?;
        let region = self.region_of(&store.id);
        let mut candidate = surroundings.candidate(&region, settings, credential.into(), "KmsHealthCheck");
        candidate.keys.test.clone_from(&store.test_key);
        Ok(candidate)
    }
}
/// Why a key store is not probed whose credential nobody here has, although its source shows one of the same name.
fn untold(access_key_id: &AccessKeyId) -> String {
    format!(
        "KMS was told another secret under access key id {access_key_id} than its source shows, and nobody here has that one: \
         put it back at the source, or tell KMS the one that is there by an update that names it"
    )
}
