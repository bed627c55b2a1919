//! The custodian: looks at the sources of credentials now and then, and has whatever changed there accepted by the proxies
//! before it is used.
//!
//! # How it works
//!
//! Each credential of the configuration has a source that can be read again. A value that is new there is pending
//! ([`Keyring`]); every external key store that the credential is for is probed with it, at its present settings, and
//! only when all of them accept it, it is used. Another secret under the same access key id is not used even then, until
//! KMS was told: nobody can see which one KMS has. A source that shows what is in use costs one reading.
//!
//! # What can go wrong
//!
//! - The proxy does not accept it, or only in some places: it stays pending, is tried again at each look, and the former
//!   one goes on being used.
//! - The source cannot be read: what is in use stays, and the reason is told.
//! - Nothing is known of the key store yet: it waits for KMS.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::chain::Chain;
use crate::check::{Acceptance, AwsEvidence};
use crate::clock::Clock;
use crate::current::Current;
use crate::driver::Driver;
use crate::key_store::{CredentialSource, ProxyCredential, Region, XksConfiguration};
use crate::keyring::{self, Keyring, Meant, News, Standing};
use crate::monitor::{Monitor, Sighting};
use crate::preflight::{Preflight, Surroundings, Thoroughness};

/// How long the start waits for sources that were not read yet.
const AT_FIRST: Duration = Duration::from_secs(30);

/// Sources that are looked at at once.
const AT_ONCE: usize = 4;

/// Reads a source: the credential, or why there is none, in words that hold nothing of it.
pub type Read = Arc<dyn Fn() -> BoxFuture<'static, Result<ProxyCredential, String>> + Send + Sync>;

/// Where a credential comes from.
#[derive(Clone)]
pub struct Source {
    /// Reads it.
    pub read: Read,
    /// From one look to the next; `None` if it cannot change while this process runs.
    pub every: Option<Duration>,
}

/// What a custodian is made of.
pub struct Parts {
    /// The credentials.
    pub keyring: Arc<Keyring>,
    /// Their sources, by name.
    pub sources: BTreeMap<String, Source>,
    /// Knows the key stores.
    pub monitor: Arc<Monitor>,
    /// Knows what KMS was told, and what open updates mean.
    pub driver: Driver,
    /// Probes them.
    pub preflight: Arc<Preflight>,
    /// Where, and how to get there.
    pub surroundings: Arc<Current<Surroundings>>,
    /// Dates what happens.
    pub clock: Arc<dyn Clock>,
}

/// Looks after the credentials.
pub struct Custodian {
    parts: Parts,
    sources: Current<BTreeMap<String, Source>>,
}

impl fmt::Debug for Custodian {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custodian").field("keyring", &self.parts.keyring).finish_non_exhaustive()
    }
}

impl Custodian {
    /// Has looked at nothing yet.
    pub fn new(mut parts: Parts) -> Self {
        let sources = Current::new(std::mem::take(&mut parts.sources));
        Self { parts, sources }
    }

    /// Looks at these sources from now on, beginning at once.
    pub fn look_at(&self, sources: BTreeMap<String, Source>) {
        self.sources.replace(sources);
    }

    /// Reads whatever was not read with the configuration, once, for half a minute at most: updates that are under way may
    /// need it.
    pub async fn begin(&self) {
        self.recall().await;
        let sources = self.sources.get();
        let unread: Vec<(String, Source)> = sources
            .iter()
            .filter(|(name, _)| self.parts.keyring.get(name).is_none())
            .map(|(name, source)| (name.clone(), source.clone()))
            .collect();
        let looks = unread.iter().map(|(name, source)| self.look(name, source));
        if tokio::time::timeout(AT_FIRST, join_all(looks)).await.is_err() {
            tracing::warn!("not every source of a credential has answered yet");
        }
    }

    /// What KMS was told by updates of ours, whoever made them and whenever: a source may have changed since, and shows
    /// then what KMS does not have.
    async fn recall(&self) {
        let Parts { keyring, driver, clock, .. } = &self.parts;
        match driver.all_last_told().await {
            Ok(told) => {
                for (key_store, credential) in told {
                    keyring.told(&key_store, &credential, clock.now());
                }
            }
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "what KMS was told cannot be read: the sources are believed about it");
            }
        }
    }

    /// Looks at every source in its rhythm, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut defined = self.sources.follow();
        let places = Arc::new(Semaphore::new(AT_ONCE));
        while !stop.is_cancelled() {
            let sources = Arc::clone(&defined.borrow_and_update());
            // Dropped, and with it every look, when the sources are others or the end has come.
            let mut looking = JoinSet::new();
            for (name, source) in sources.iter() {
                looking.spawn(Arc::clone(&self).keep_looking(name.clone(), source.clone(), Arc::clone(&places)));
            }
            tokio::select! {
                () = stop.cancelled() => {}
                // An error means that the sender is gone, and with it the custodian.
                _ = defined.changed() => {}
            }
        }
    }

    async fn keep_looking(self: Arc<Self>, name: String, source: Source, places: Arc<Semaphore>) {
        loop {
            // Closed only by dropping, which ends this task, too.
            let Ok(place) = places.acquire().await else { return };
            Box::pin(self.look(&name, &source)).await;
            drop(place);
            let Some(every) = source.every else { return };
            tokio::time::sleep(every).await;
        }
    }

    /// Reads one source, and has what is new there accepted.
    async fn look(&self, name: &str, source: &Source) {
        let Parts { keyring, clock, .. } = &self.parts;
        let before = keyring.standing(name);
        let credential = match (source.read)().await {
            Ok(credential) => credential,
            Err(why) => {
                if !matches!(&before, Some(Standing::Unread { why: known }) if *known == why) {
                    tracing::warn!(credential = name, why, "source of a credential cannot be read");
                }
                keyring.unread(name, why);
                return;
            }
        };
        self.clear_out().await;
        match keyring.noticed(name, &credential, clock.now()) {
            News::None => {}
            News::First => tracing::info!(credential = name, "source of a credential is read"),
            News::Pending => {
                if !matches!(before, Some(Standing::Pending { .. } | Standing::Untold { .. })) {
                    tracing::info!(credential = name, "source of a credential shows another one: it is probed");
                }
                match self.proxies_accept(name, &credential).await {
                    Ok(()) => self.accepted(name, &credential, matches!(before, Some(Standing::Untold { .. }))).await,
                    Err(problem) => {
                        tracing::warn!(credential = name, problem, "another credential is not accepted yet");
                        keyring.not_accepted(name, problem);
                    }
                }
            }
        }
    }

    async fn accepted(&self, name: &str, credential: &ProxyCredential, known: bool) {
        let access_key_id = credential.access_key_id.as_str();
        let told_to_all = self.told_to_all(name, credential).await;
        match self.parts.keyring.accept(name, &credential.fingerprint(), told_to_all) {
            keyring::Acceptance::Gone => {}
            keyring::Acceptance::Used => {
                tracing::info!(credential = name, access_key_id, "another credential is accepted and used");
            }
            keyring::Acceptance::Untold if known => {}
            keyring::Acceptance::Untold => tracing::warn!(
                credential = name,
                access_key_id,
                "another secret under the same access key id is accepted by the proxy, and KMS was not told: it is used \
                 once an update that names its source has told KMS"
            ),
        }
    }

    /// Whether KMS was told this credential of every key store at which it shows the access key id; no if it shows none.
    async fn told_to_all(&self, name: &str, credential: &ProxyCredential) -> bool {
        let Parts { keyring, driver, clock, .. } = &self.parts;
        let fingerprint = credential.fingerprint();
        let shows = |sighting: &Arc<Sighting>| {
            let xks = sighting.description.as_ref().and_then(|store| store.xks());
            xks.is_some_and(|xks| xks.access_key_id == credential.access_key_id)
        };
        let Ok(users) = self.users(name) else { return false };
        let users: Vec<_> = users.into_iter().filter(shows).collect();
        for Sighting { id, .. } in users.iter().map(Arc::as_ref) {
            if keyring.was_told(id, &fingerprint) {
                continue;
            }
            // Another replica may have told KMS, or this one before a restart.
            match driver.last_told(id).await {
                Ok(Some((_, told))) if told.fingerprint == fingerprint => keyring.told(id, &told, clock.now()),
                Ok(_) => return false,
                Err(error) => {
                    tracing::warn!(key_store = %id, error = %Chain(&error), "what KMS was told last cannot be read");
                    return false;
                }
            }
        }
        !users.is_empty()
    }

    /// Drops former values that nobody means any more.
    async fn clear_out(&self) {
        let Parts { keyring, driver, monitor, .. } = &self.parts;
        if !keyring.hoards() {
            return;
        }
        // Nothing is dropped while nobody can tell.
        let Ok(open) = driver.open().await else { return };
        let plans = open.iter().map(|record| record.state.plan());
        let references = plans.flat_map(|plan| [plan.change.credential.as_ref(), plan.former_credential.as_ref()]);
        let by_name = references.flatten().filter_map(|reference| match &reference.source {
            CredentialSource::Configured(name) => Some((name.clone(), reference.fingerprint.clone())),
            CredentialSource::Sealed => None,
        });
        let sightings = monitor.sightings();
        let shown = sightings.iter().filter_map(|sighting| sighting.description.as_ref()?.xks());
        let in_kms = shown.map(|xks| xks.access_key_id.clone()).collect();
        keyring.keep(&Meant { by_updates: Some(by_name.collect()), in_kms });
    }

    /// The key stores that the credential is for: those configured with it, and those whose access key id at KMS is its.
    fn users(&self, name: &str) -> Result<Vec<Arc<Sighting>>, String> {
        let Parts { monitor, .. } = &self.parts;
        if let Some(silent) = monitor.places().into_iter().find(|place| place.told_at.is_none()) {
            return Err(format!("KMS has not told of the key stores in {} yet", silent.place));
        }
        let uses = |sighting: &Arc<Sighting>| {
            let own = monitor.watched(&sighting.id).and_then(|store| store.credential);
            if own.as_deref() == Some(name) {
                return true;
            }
            let xks = sighting.description.as_ref().and_then(|store| store.xks()).filter(|_| sighting.watched);
            let found = xks.and_then(|xks| monitor.named_credential(&sighting.id, &xks.access_key_id));
            found.is_some_and(|(found, _)| found == name)
        };
        Ok(monitor.sightings().into_iter().filter(uses).collect())
    }

    /// Whether every proxy that the credential is for accepts it.
    async fn proxies_accept(&self, name: &str, credential: &ProxyCredential) -> Result<(), String> {
        for sighting in self.users(name)? {
            let xks = sighting.description.as_ref().and_then(|store| store.xks());
            let xks = xks.ok_or_else(|| format!("{}: KMS has not told its settings yet", sighting.id))?;
            let region = self.parts.monitor.region_of(&sighting.id);
            self.accepts(&region, xks, credential).await.map_err(|why| format!("{}: {why}", sighting.id))?;
        }
        // Nothing is watched with the credential of no key store, and an update that names it probes it itself.
        Ok(())
    }

    async fn accepts(
        &self,
        region: &Region,
        present: &XksConfiguration,
        credential: &ProxyCredential,
    ) -> Result<(), String> {
        let surroundings = self.parts.surroundings.get();
        let settings = XksConfiguration { access_key_id: credential.access_key_id.clone(), ..present.clone() };
        let candidate = surroundings.candidate(region, &settings, credential.clone().into(), "KmsHealthCheck");
        // One request to each address, and no guesses at why a signature is refused: a proxy may lock the credential out.
        let thoroughness = Thoroughness { cold: 1, warm: 0, diagnosis: false, ..Thoroughness::default() };
        let report = self.parts.preflight.run(&candidate, AwsEvidence::default(), &thoroughness).await;
        match report.evidence.acceptance() {
            Acceptance::Accepted => Ok(()),
            Acceptance::Refused => Err("the proxy refuses its signature".to_owned()),
            Acceptance::Differs => Err("the proxy accepts it at some addresses and refuses it at others".to_owned()),
            Acceptance::Unclear => {
                let decisive = report.decisive().and_then(|finding| finding.outcome.problem());
                Err(decisive.map_or_else(|| "the proxy does not answer".to_owned(), |problem| problem.detail.clone()))
            }
        }
    }
}
