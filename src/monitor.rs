//! Continuous probing of every configured key store.
//!
//! # How it works
//!
//! One task asks KMS now and then what the key stores are like; one task for each configured key store probes the
//! settings that KMS has for it, beginning at a random point of the period and with jitter, so that many stores do not
//! fall into step. A store is never probed twice at once, and all stores together only so many at a time. The latest
//! report of each is kept, and a short history in which failures outlive successes. Of a key store with a test key a
//! canary is kept now and then ([`Canaries`]), and the latest one must decrypt at every probe: key material that was
//! swapped behind unchanged settings shows at once.
//!
//! A store behind a VPC endpoint service is judged by that service, too, which is read anew every five minutes: a lost
//! principal or a lost verification shows nowhere else before the store has to connect again.
//!
//! # What can go wrong
//!
//! - KMS cannot be read: the last description is used, or the settings in the configuration if there never was one.
//! - No credential is configured for the access key id that KMS shows: the store is not probed and says why. Probing
//!   with another credential would report a fault that the proxy does not have.

mod board;
mod canary;
mod history;
mod patrol;
mod service_watch;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use board::Board;
pub use board::{Changed, Glance, Sighting};
pub use canary::Canaries;
use service_watch::ServiceWatch;

use crate::check::{AwsEvidence, Report};
use crate::clock::Clock;
use crate::current::Current;
use crate::key_store::{CustomKeyStoreId, ExternalKeyId, XksConfiguration};
use crate::kms::KeyStoreReader;
use crate::preflight::{Candidate, CandidateKeys, Preflight, Surroundings, Thoroughness};
use crate::vpc::VpcReader;

/// When and how much to probe.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// From one probe of a key store to its next; default one minute.
    pub interval: Duration,
    /// The part of the interval, 0 to 1, by which each pause is longer or shorter at random; default 0.2.
    pub jitter: f64,
    /// How many key stores are probed at once; default 8.
    pub concurrency: usize,
    /// From one DescribeCustomKeyStores to the next; default 30 seconds. The whole account shares 5 a second.
    pub describe_every: Duration,
    /// How many failing reports are kept of each key store; default 20. Of those that pass a few are enough.
    pub history: usize,
    /// How much to look at each probe; how to judge comes from the surroundings.
    pub thoroughness: Thoroughness,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            interval: Duration::from_mins(1),
            jitter: 0.2,
            concurrency: 8,
            describe_every: Duration::from_secs(30),
            history: 20,
            // Guesses at a refused signature at every probe might lock the credential out.
            thoroughness: Thoroughness { cold: 2, warm: 1, diagnosis: false, ..Thoroughness::default() },
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
}

/// Told of every finished probe.
pub type Observer = Arc<dyn Fn(&CustomKeyStoreId, &Report) + Send + Sync>;

/// What a monitor is made of.
pub struct Parts {
    /// Runs the probes.
    pub preflight: Arc<Preflight>,
    /// Credentials and routes.
    pub surroundings: Arc<Current<Surroundings>>,
    /// Reads KMS, if that is allowed.
    pub reader: Option<Arc<dyn KeyStoreReader>>,
    /// Reads VPC endpoint services, if that is wanted.
    pub vpc: Option<Arc<dyn VpcReader>>,
    /// Dates descriptions.
    pub clock: Arc<dyn Clock>,
    /// Seeds phases and jitter.
    pub seed: u64,
    /// What to probe at first; see [`Monitor::watch`].
    pub stores: Vec<WatchedStore>,
    /// Keeps canaries, if they are to be kept.
    pub canaries: Option<Canaries>,
    /// Told of every finished probe.
    pub observer: Observer,
}

/// Probes key stores until it is stopped.
pub struct Monitor {
    parts: Parts,
    watching: Current<Vec<WatchedStore>>,
    schedule: Schedule,
    board: Board,
    services: ServiceWatch,
    described: watch::Sender<bool>,
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
        let board = Board::new(parts.stores.iter().map(|store| store.id.clone()), schedule.history);
        let services = ServiceWatch::new(parts.vpc.clone());
        let watching = Current::new(parts.stores.clone());
        let (described, running) = (watch::Sender::new(false), AtomicBool::new(false));
        Self { parts, watching, schedule, board, services, described, running }
    }

    /// Probes these key stores from now on, and no others. Those that were probed before keep their rhythm, and what is
    /// known of them; a probe that is under way of one that is left out ends without a report.
    pub fn watch(&self, stores: Vec<WatchedStore>) {
        self.board.watch(&stores.iter().map(|store| store.id.clone()).collect());
        self.watching.replace(stores);
    }

    /// What is known of every key store: the configured ones and those that KMS told of.
    pub fn sightings(&self) -> Vec<Arc<Sighting>> {
        self.board.all()
    }

    /// What is known of one key store.
    pub fn sighting(&self, id: &CustomKeyStoreId) -> Option<Arc<Sighting>> {
        self.board.get(id)
    }

    /// Why KMS could not be read at the last attempt, if so.
    pub fn describe_failure(&self) -> Option<String> {
        self.board.describe_failure()
    }

    /// What is configured about a key store.
    pub fn watched(&self, id: &CustomKeyStoreId) -> Option<WatchedStore> {
        self.watching.get().iter().find(|store| store.id == *id).cloned()
    }

    /// The present settings of a key store, watched or not, without its keys; the error says why it cannot be probed.
    pub fn present(&self, id: &CustomKeyStoreId) -> Result<Candidate, String> {
        let unwatched = || WatchedStore { id: id.clone(), credential: None, settings: None, test_key: None };
        let candidate = self.candidate(&self.watched(id).unwrap_or_else(unwatched))?;
        Ok(Candidate { keys: CandidateKeys::default(), ..candidate })
    }

    /// Probes until `stop`; every task has ended when this returns.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        self.running.store(true, Ordering::Release);
        let gate = Arc::new(Semaphore::new(self.schedule.concurrency.max(1)));
        let mut rng = StdRng::seed_from_u64(self.parts.seed);
        let mut tasks = JoinSet::new();
        let describer = self.clone();
        let until = stop.clone();
        tasks.spawn(async move { until.run_until_cancelled(describer.describe_for_ever()).await.unwrap_or(()) });
        let mut patrols: BTreeMap<CustomKeyStoreId, CancellationToken> = BTreeMap::new();
        let mut watching = self.watching.follow();
        while !stop.is_cancelled() {
            let stores: BTreeSet<CustomKeyStoreId> =
                watching.borrow_and_update().iter().map(|store| store.id.clone()).collect();
            patrols.retain(|id, ends| {
                let stays = stores.contains(id);
                if !stays {
                    ends.cancel();
                }
                stays
            });
            for id in stores {
                let Entry::Vacant(place) = patrols.entry(id.clone()) else { continue };
                let until = place.insert(stop.child_token()).clone();
                let (interval, jitter) = (self.schedule.interval, self.schedule.jitter);
                let rhythm = patrol::Rhythm::new(interval, jitter, StdRng::from_rng(&mut rng));
                tasks.spawn(self.clone().patrol(id, rhythm, gate.clone(), until));
            }
            tokio::select! {
                () = stop.cancelled() => {}
                // An error means that the sender is gone, and with it the monitor.
                _ = watching.changed() => {}
                Some(ended) = tasks.join_next() => told(ended),
            }
        }
        while let Some(ended) = tasks.join_next().await {
            told(ended);
        }
        self.running.store(false, Ordering::Release);
    }

    /// Probes one key store in its rhythm.
    async fn patrol(
        self: Arc<Self>,
        id: CustomKeyStoreId,
        rhythm: patrol::Rhythm,
        gate: Arc<Semaphore>,
        until: CancellationToken,
    ) {
        let patrol = Box::pin(async {
            self.first_description().await;
            let act = || {
                Box::pin(async {
                    // What is configured about it may have changed since its last turn.
                    if let Some(store) = self.watched(&id) {
                        self.probe(&store).await;
                    }
                })
            };
            patrol::patrol(rhythm, &gate, act).await;
        });
        until.run_until_cancelled(patrol).await.unwrap_or(());
    }

    /// Whether [`Monitor::run`] is at work.
    pub fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    async fn describe_for_ever(&self) {
        let Some(reader) = &self.parts.reader else {
            self.described.send_replace(true);
            return std::future::pending().await;
        };
        loop {
            match reader.key_stores().await {
                Ok(stores) => self.board.described(stores, self.parts.clock.now()),
                Err(error) => {
                    tracing::warn!(error = %crate::chain::Chain(&error), "key stores cannot be read from KMS");
                    self.board.not_described(error.to_string());
                }
            }
            self.described.send_replace(true);
            tokio::time::sleep(self.schedule.describe_every).await;
        }
    }

    /// Until KMS was asked once: before that nobody knows what to probe.
    async fn first_description(&self) {
        let mut described = self.described.subscribe();
        // An error means that the sender is gone, and with it the monitor.
        let _ended = described.wait_for(|described| *described).await;
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
                let vpc = self.services.look(&store.id, &candidate).await;
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
                self.board.describe_failure().map_or_else(
                    || "KMS shows no such key store in this account and Region".to_owned(),
                    |failure| format!("its settings are not known: {failure}"),
                )
            })?;
        let surroundings = self.parts.surroundings.get();
        let (_, credential) =
            surroundings.with_access_key_id(&settings.access_key_id, store.credential.as_deref()).ok_or_else(|| {
                format!(
                    "no credential with access key id {} is configured; add the one that KMS uses",
                    settings.access_key_id
                )
            })?;
        let mut candidate = surroundings.candidate(settings, credential.clone().into(), "KmsHealthCheck");
        candidate.keys.test.clone_from(&store.test_key);
        Ok(candidate)
    }
}

fn told(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a task of the monitor failed, a fault of this program");
    }
}
