//! Candidates of key stores: settings that somebody plans, probed from now on as the present ones are.
//!
//! # How it works
//!
//! A candidate is what KMS shows of its key store with some members changed, exactly as a plan makes it; so it changes
//! with the key store, and when the planned settings have come into force there is nothing left to probe. It is looked at
//! as a pre-flight looks at it, with fewer samples: the keys behind it must be those of the present proxy, or of its
//! canaries. Every look is kept durably and folded into the candidate's [`Vigil`], which the gate may ask for.
//!
//! # What can go wrong
//!
//! - It cannot be probed, or a look cannot be recorded: that ends its green with the next look that is.
//! - Nobody looks for a while: the gate does not count that time; see [`Vigil::colour`].

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use super::history::History;
use super::patrol::Beat;
use super::{Monitor, WatchedStore};
use crate::chain::Chain;
use crate::check::{AwsEvidence, CurrentProxy, Report, Verdict};
use crate::clock::Timestamp;
use crate::current::Current;
use crate::journal::VigilKeeper;
use crate::key_store::{CandidateName, Change, CredentialSource, CustomKeyStoreId, XksConfiguration};
use crate::preflight::{Baseline, Candidate, Thoroughness};
use crate::update::{Colour, Look, Policy, PreflightSummary, SettingsDigest, Vigil, changed};

/// How many failing reports of a candidate are kept at most.
const MOST_REPORTS: usize = 20;

/// Where what is seen of candidates is kept, and what counts.
pub struct Candidates {
    /// Keeps it.
    pub keeper: Arc<dyn VigilKeeper>,
    /// Says which pause interrupts a candidate's green.
    pub policy: Arc<Current<Policy>>,
}

/// Settings that are planned for a key store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedCandidate {
    /// Its name, unique among those of the key store.
    pub name: CandidateName,
    /// What is to be different; its credential is taken from the member below.
    pub change: Change,
    /// The name of the credential that KMS is to be told, if another than the one in force.
    pub credential: Option<String>,
}

/// What is known of a candidate.
#[derive(Clone, Debug)]
pub struct CandidateSight {
    /// The key store that it is for.
    pub key_store: CustomKeyStoreId,
    /// Its name.
    pub name: CandidateName,
    /// What is configured about it.
    planned: WatchedCandidate,
    /// Its settings, as far as they are known.
    pub settings: Option<XksConfiguration>,
    /// The latest report on them.
    pub latest: Option<Arc<Report>>,
    /// Why it was not probed when its turn came last, if it was not.
    pub not_probed: Option<String>,
    /// Whether the key store has these very settings by now.
    pub in_force: bool,
    /// What all looks at these settings come to, those of other replicas and of former processes included.
    pub vigil: Option<Vigil>,
    /// Whether a look since the last recorded one is missing in the vigil.
    interrupted: bool,
    /// Where the latest look connected instead of to the addresses of the name.
    way: Option<Vec<String>>,
    history: History,
}

/// How a candidate stands at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its turn has not come yet.
    Unseen,
    /// It cannot be probed.
    NotProbed,
    /// The key store has its settings already.
    InForce,
    /// `ready` for so long.
    Green(Duration),
    /// The latest look was not `ready`.
    Red,
    /// Nobody has looked for too long.
    Silent,
}

impl Standing {
    /// The word in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unseen => "unseen",
            Self::NotProbed => "not_probed",
            Self::InForce => "in_force",
            Self::Green(_) => "green",
            Self::Red => "red",
            Self::Silent => "silent",
        }
    }
}

impl CandidateSight {
    fn unseen(key_store: CustomKeyStoreId, planned: WatchedCandidate) -> Self {
        Self {
            key_store,
            name: planned.name.clone(),
            planned,
            settings: None,
            latest: None,
            not_probed: None,
            in_force: false,
            vigil: None,
            interrupted: false,
            way: None,
            history: History::default(),
        }
    }

    /// How it stands at `now`. `silence` is the longest pause between two looks that interrupts nothing.
    pub fn standing(&self, now: Timestamp, silence: Duration) -> Standing {
        if self.in_force {
            return Standing::InForce;
        }
        if self.not_probed.is_some() {
            return Standing::NotProbed;
        }
        match self.vigil.as_ref().map(|vigil| vigil.colour(now, silence)) {
            None => Standing::Unseen,
            Some(Colour::Green(so_far)) => Standing::Green(so_far),
            Some(Colour::Red) => Standing::Red,
            Some(Colour::Silent) => Standing::Silent,
        }
    }

    /// The latest reports, newest first; failures go further back.
    pub fn reports(&self) -> Vec<Arc<Report>> {
        self.history.reports()
    }
}

type Sights = BTreeMap<(CustomKeyStoreId, CandidateName), Arc<CandidateSight>>;

/// What is known of each candidate at this moment.
#[derive(Debug)]
pub(super) struct CandidateBoard {
    sights: RwLock<Sights>,
    failures_kept: usize,
    kept_for: Duration,
}

impl CandidateBoard {
    pub(super) fn new(failures_kept: usize, kept_for: Duration) -> Self {
        Self { sights: RwLock::default(), failures_kept: failures_kept.min(MOST_REPORTS), kept_for }
    }

    /// There are these candidates from now on, and no others; what is known of them stays, unless something else is
    /// planned under their names.
    pub(super) fn configure(&self, stores: &[WatchedStore]) {
        let mut sights = self.write();
        let mut before = std::mem::take(&mut *sights);
        for store in stores {
            for candidate in &store.candidates {
                let key = (store.id.clone(), candidate.name.clone());
                let known = before.remove(&key).filter(|sight| sight.planned == *candidate);
                let unseen = || Arc::new(CandidateSight::unseen(store.id.clone(), candidate.clone()));
                let sight = known.unwrap_or_else(unseen);
                sights.insert(key, sight);
            }
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<CandidateSight>> {
        self.sights.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn of(&self, id: &CustomKeyStoreId) -> Vec<Arc<CandidateSight>> {
        let sights = self.sights.read().unwrap_or_else(PoisonError::into_inner);
        sights.values().filter(|sight| sight.key_store == *id).cloned().collect()
    }

    fn get(&self, id: &CustomKeyStoreId, name: &CandidateName) -> Option<Arc<CandidateSight>> {
        let key = (id.clone(), name.clone());
        self.sights.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }

    fn note(&self, id: &CustomKeyStoreId, name: &CandidateName, note: impl FnOnce(&mut CandidateSight)) {
        if let Some(sight) = self.write().get_mut(&(id.clone(), name.clone())) {
            note(Arc::make_mut(sight));
        }
    }

    /// A finished look; without a vigil it could not be recorded.
    fn looked(&self, planned: &Planned, report: Arc<Report>, vigil: Option<Vigil>) {
        self.note(&planned.key_store, &planned.name, |sight| {
            sight.interrupted = vigil.is_none();
            sight.vigil = vigil.or(sight.vigil.take()).filter(|vigil| vigil.settings == planned.digest);
            sight.settings = Some(planned.settings.clone());
            (sight.in_force, sight.not_probed) = (false, None);
            sight.history.add(Arc::clone(&report), self.failures_kept, self.kept_for);
            sight.latest = Some(report);
        });
    }

    fn write(&self) -> RwLockWriteGuard<'_, Sights> {
        self.sights.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A candidate as it is to be probed now.
struct Planned {
    key_store: CustomKeyStoreId,
    name: CandidateName,
    settings: XksConfiguration,
    digest: SettingsDigest,
    candidate: Candidate,
    /// The settings that KMS shows.
    present: XksConfiguration,
    /// Whether the key store has these settings already.
    in_force: bool,
}

impl Monitor {
    /// What is known of every candidate, by key store and name.
    pub fn candidates(&self) -> Vec<Arc<CandidateSight>> {
        self.candidates.all()
    }

    /// What is known of the candidates of one key store, by name.
    pub fn candidates_of(&self, id: &CustomKeyStoreId) -> Vec<Arc<CandidateSight>> {
        self.candidates.of(id)
    }

    /// How a candidate stands at this moment.
    pub fn standing_of(&self, sight: &CandidateSight) -> Standing {
        sight.standing(self.parts.clock.now(), self.parts.candidates.policy.get().green_gap)
    }

    /// For how long a candidate for this key store must have been green before a change of its proxy; zero for not at all.
    pub fn require_green_for(&self, id: &CustomKeyStoreId) -> Duration {
        self.parts.candidates.policy.get().require_green_for(id)
    }

    /// The host of a candidate's endpoint in lower case, as far as its settings are known.
    pub(super) fn candidate_host(&self, id: &CustomKeyStoreId, name: &CandidateName) -> Option<String> {
        let (store, candidate) = self.configured_candidate(id, name)?;
        let planned = self.planned(&store, &candidate).ok()?;
        Some(planned.settings.endpoint.host().to_ascii_lowercase())
    }

    /// What former processes saw of a candidate is known again.
    pub(super) async fn recall(&self, id: &CustomKeyStoreId, name: &CandidateName) {
        let Some((store, candidate)) = self.configured_candidate(id, name) else { return };
        let Ok(planned) = self.planned(&store, &candidate) else { return };
        match self.parts.candidates.keeper.vigils(id).await {
            Ok(vigils) => {
                let is_it = |vigil: &Vigil| vigil.candidate == *name && vigil.settings == planned.digest;
                let Some(vigil) = vigils.into_iter().find(is_it) else { return };
                self.candidates.note(id, name, |sight| sight.vigil = Some(vigil));
            }
            Err(error) => {
                tracing::warn!(key_store = %id, candidate = %name, error = %Chain(&error), "what was seen cannot be read");
            }
        }
    }

    /// Looks at a candidate once.
    pub(super) async fn probe_candidate(&self, id: &CustomKeyStoreId, name: &CandidateName) {
        // What is configured about it may have changed since its last turn.
        let Some((store, candidate)) = self.configured_candidate(id, name) else { return };
        let mut planned = match self.planned(&store, &candidate) {
            Ok(planned) if planned.in_force => {
                let Planned { settings, .. } = planned;
                return self.candidates.note(id, name, |sight| {
                    let history = std::mem::take(&mut sight.history);
                    let unseen = CandidateSight::unseen(id.clone(), sight.planned.clone());
                    *sight = CandidateSight { settings: Some(settings), in_force: true, history, ..unseen };
                });
            }
            Ok(planned) => planned,
            Err(why) => {
                tracing::warn!(key_store = %id, candidate = %name, why, "candidate cannot be probed");
                return self.candidates.note(id, name, |sight| {
                    (sight.latest, sight.in_force, sight.interrupted) = (None, false, true);
                    sight.not_probed = Some(why);
                });
            }
        };
        if let Some(canaries) = &self.parts.canaries {
            planned.candidate.keys.canaries = canaries.made_by(&store, &planned.present).await;
        }
        let judging = (self.parts.surroundings.get().judging)(Some(id), self.parts.clock.now());
        let thoroughness = Thoroughness { judging, ..self.schedule.thoroughness.clone() };
        let reader = self.parts.places.of(id).and_then(|ports| ports.vpc.as_deref());
        let beat = Beat { key_store: id.clone(), candidate: Some(name.clone()) };
        let vpc = self.services.look(reader, &beat, &planned.candidate).await;
        let aws = AwsEvidence { vpc, ..AwsEvidence::default() };
        let report = Arc::new(self.parts.preflight.run(&planned.candidate, aws, &thoroughness).await);
        let summary = PreflightSummary::of(&report);
        let before = self.candidates.get(id, name);
        let way = Some(planned.candidate.connect_to.clone());
        let elsewhere = before.as_ref().is_some_and(|sight| sight.way.is_some() && sight.way != way);
        let interrupted = elsewhere || before.as_ref().is_some_and(|sight| sight.interrupted);
        self.candidates.note(id, name, |sight| sight.way = way);
        let look = Look { key_store: id.clone(), candidate: name.clone(), summary, interrupted };
        let silence = self.parts.candidates.policy.get().green_gap;
        let vigil = self.parts.candidates.keeper.look(look, silence).await;
        let vigil = vigil.inspect_err(|error| {
            let error = Chain(error);
            tracing::warn!(key_store = %id, candidate = %name, %error, "a look is not recorded, which ends its green");
        });
        told(id, name, before.and_then(|sight| Some(sight.vigil.as_ref()?.verdict)), &report);
        self.candidates.looked(&planned, report, vigil.ok());
    }

    fn configured_candidate(
        &self,
        id: &CustomKeyStoreId,
        name: &CandidateName,
    ) -> Option<(WatchedStore, WatchedCandidate)> {
        let store = self.watched(id)?;
        let candidate = store.candidates.iter().find(|candidate| candidate.name == *name)?.clone();
        Some((store, candidate))
    }

    /// The candidate as a plan would make it of what KMS shows; the error says why it cannot be probed.
    fn planned(&self, store: &WatchedStore, candidate: &WatchedCandidate) -> Result<Planned, String> {
        let sighting = self.board.get(&store.id);
        let described = sighting.as_ref().and_then(|sighting| sighting.description.as_ref()).ok_or_else(|| {
            self.board.failure_at(self.parts.places.place_of(&store.id)).map_or_else(
                || "KMS shows no such key store in this account and Region".to_owned(),
                |failure| format!("the settings of its key store are not known: {failure}"),
            )
        })?;
        let present = described.xks().ok_or("its key store is of another type, which has no proxy")?;
        let surroundings = self.parts.surroundings.get();
        let in_force = self.credential(&store.id, &present.access_key_id);
        let credential = match &candidate.credential {
            Some(name) => {
                let newest = surroundings.credentials.newest(name);
                newest.ok_or_else(|| format!("the source of credential {name} could not be read yet"))?
            }
            None => in_force.clone().ok_or_else(|| {
                format!("no credential with access key id {} is configured for its key store", present.access_key_id)
            })?,
        };
        let source = candidate.credential.clone().map(CredentialSource::Configured);
        let change =
            Change { credential: source.map(|source| credential.reference(source)), ..candidate.change.clone() };
        let new = changed(described, &change);
        let settings = new
            .as_ref()
            .and_then(|new| new.xks())
            .ok_or("it is to be reached through a VPC endpoint service, and neither the candidate nor KMS names one")?;
        let digest = SettingsDigest::of_xks(settings, Some(&credential.fingerprint()));
        let is_in_force =
            in_force.as_ref().is_some_and(|held| SettingsDigest::of_xks(present, Some(&held.fingerprint())) == digest);
        let region = self.region_of(&store.id);
        let mut probed = surroundings.candidate(&region, settings, credential.into(), "KmsHealthCheck");
        probed.keys.test.clone_from(&store.test_key);
        probed.keys.current = CurrentProxy::between(present, settings);
        probed.baseline = in_force.map(|credential| {
            Box::new(Baseline {
                endpoint: present.endpoint.clone(),
                path: present.path.clone(),
                credential,
                connectivity: Some(present.connectivity.kind()),
                connect_to: surroundings.connect_to(&present.endpoint),
            })
        });
        Ok(Planned {
            key_store: store.id.clone(),
            name: candidate.name.clone(),
            settings: settings.clone(),
            digest,
            candidate: probed,
            present: present.clone(),
            in_force: is_in_force,
        })
    }
}

/// A change of the verdict is told once.
fn told(id: &CustomKeyStoreId, name: &CandidateName, before: Option<Verdict>, report: &Report) {
    let verdict = report.verdict();
    if before == Some(verdict) {
        return;
    }
    if verdict == Verdict::Ready {
        tracing::info!(key_store = %id, candidate = %name, "candidate is ready");
    } else {
        let why = PreflightSummary::of(report).message;
        tracing::warn!(key_store = %id, candidate = %name, verdict = verdict.as_str(), why, "candidate is not ready");
    }
}
