//! One task per open update: load, observe, decide, journal the intent, perform, journal the outcome.
//!
//! # How it works
//!
//! [`Driver::submit`] plans against what KMS shows, records the plan, and starts a task. The task asks
//! [`decide`](crate::update::decide) what is next and does it; there is no policy here. Every mutation is recorded
//! before it is sent and after it is answered. [`Driver::start`] takes up every update that was open when the process
//! last ended, through the very same loop: a restart is not a second way of doing things.
//!
//! An update is driven under a lease of the journal, which is renewed all the time. A mutation is sent only while the
//! lease outlasts the longest call to KMS, and nothing is recorded under a lease that has gone to somebody else.
//!
//! # What can go wrong
//!
//! - The process ends at any point: the next start reads the record and looks at the key store.
//! - The journal fails: the task stops, reads the update again after a while, and goes on from what is recorded.
//! - The journal is out of reach: the lease ends, and nothing more is sent to KMS until it is renewed. Somebody else may
//!   take the update over meanwhile; then its task here stops.
//! - KMS cannot be read: nothing is decided from ignorance; the task looks again, more and more patiently.

mod barrier;
mod connection;
mod examiner;
mod follow;
mod in_force;
mod lease;
mod maker;
mod orders;
mod perform;
mod records;
mod recover;
mod replicas;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, Stream};
use secrecy::SecretString;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::connection::ConnectionRequest;
pub use self::examiner::{
    ExamineError, Examiner, ExaminerParts, ExaminerSettings, Extra, KeyTests, Observer, ReportKeeper,
};
pub use self::lease::LeaseTerms;
pub use self::maker::{Authority, CreationError, CreationRequest, Maker, MakerParts};
use self::orders::Order;
pub use self::orders::{OrderError, Seen};
use crate::clock::{Clock, Timestamp};
use crate::current::Current;
use crate::id::{IdSource, UpdateId};
use crate::journal::{
    Created, FreezeKeeper, Idempotency, Journal, JournalError, NewUpdate, OrderDesk, SecretPurpose, VigilKeeper,
};
use crate::key_store::{
    AccessKeyId, Change, Configuration, ConnectionState, CredentialRef, CredentialSource, CustomKeyStoreId,
    Fingerprint, KeyStore, KeyStorePassword, ProxyCredential,
};
use crate::kms::{KeyStoreReader, KeyStoreWriter, KmsError};
use crate::preflight::Judging;
use crate::update::{
    Denied, Disruption, KnownKeys, Options, Plan, PlanRefused, Policy, PreflightSummary, Recorded, Round, State,
    Wanted, plan,
};

/// Runs pre-flights for updates.
#[async_trait]
pub trait Verifier: Send + Sync {
    /// Probes exactly the settings that are asked for. `Err` means that we could not, for the reason given; it counts
    /// as inconclusive.
    async fn preflight(&self, request: PreflightRequest) -> Result<PreflightSummary, String>;
}

/// What to probe.
#[derive(Clone, Debug)]
pub struct PreflightRequest {
    /// The update's plan: [`PlanBody::new`](crate::update::PlanBody::new) is the candidate,
    /// [`PlanBody::expected`](crate::update::PlanBody::expected) the present.
    pub plan: Plan,
    /// Why.
    pub round: Round,
    /// The credential that the candidate is probed with, if its secret is held.
    pub credential: Option<ProxyCredential>,
    /// The credential of the former settings, if its secret is held.
    pub former_credential: Option<ProxyCredential>,
}

/// The credentials that the configuration names.
pub trait ConfiguredCredentials: Send + Sync {
    /// The newest credential of this name that its proxies accept: KMS may not have it yet.
    fn by_name(&self, name: &str) -> Option<ProxyCredential>;

    /// The credential that a plan means by this name: the one with this fingerprint, for as long as anybody here has it,
    /// though the name may stand for another one by now. If nobody has it, whatever the name stands for.
    fn planned(&self, name: &str, fingerprint: &Fingerprint) -> Option<ProxyCredential>;

    /// The credential with this access key id that KMS has for the key store, as far as the configuration and what was
    /// told tell, with its name. The name may stand for a newer one by now.
    fn present(&self, key_store: &CustomKeyStoreId, access_key_id: &AccessKeyId) -> Option<(String, ProxyCredential)>;

    /// The credential of this fingerprint, if anybody here has it, with its name.
    fn with_fingerprint(&self, fingerprint: &Fingerprint) -> Option<(String, ProxyCredential)>;

    /// KMS was told this credential, and has it for the key store from now on.
    fn told(&self, key_store: &CustomKeyStoreId, credential: &CredentialRef, now: Timestamp);
}

/// How often the driver looks at a key store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between two looks, and after a first failure to look; default 5 seconds (DescribeCustomKeyStores: 5 requests a
    /// second for everybody in the account and Region).
    pub interval: Duration,
    /// The longest pause after repeated failures, and the time between looks while a person must agree; default one
    /// minute.
    pub longest: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { interval: Duration::from_secs(5), longest: Duration::from_mins(1) }
    }
}

/// Tells how many KMS keys of a key store are known; nothing before anybody has counted.
pub type KeyCounter = Arc<dyn Fn(&CustomKeyStoreId) -> Option<KnownKeys> + Send + Sync>;

/// What a driver is made of.
pub struct Parts {
    /// The record.
    pub journal: Arc<dyn Journal>,
    /// Keeps freezes.
    pub freezes: Arc<dyn FreezeKeeper>,
    /// Keeps what was seen of watched candidates.
    pub vigils: Arc<dyn VigilKeeper>,
    /// Tells how many KMS keys of a key store are known, for forecasts.
    pub known_keys: KeyCounter,
    /// Reads key stores.
    pub reader: Arc<dyn KeyStoreReader>,
    /// Changes key stores; without it the driver only observes.
    pub writer: Option<Arc<dyn KeyStoreWriter>>,
    /// Runs pre-flights.
    pub verifier: Arc<dyn Verifier>,
    /// Credentials by name.
    pub credentials: Arc<dyn ConfiguredCredentials>,
    /// Which failures are accepted.
    pub judging: Judging,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Identifiers.
    pub ids: Arc<IdSource>,
    /// How updates are planned and when they may begin; a plan keeps what held when it was made.
    pub policy: Arc<Current<Policy>>,
    /// How often KMS is asked.
    pub pace: Pace,
    /// In whose name and for how long updates are leased.
    pub lease: LeaseTerms,
    /// Where orders are left for the replica that drives; without it this driver is the only one.
    pub desk: Option<Arc<dyn OrderDesk>>,
}

/// A request for an update.
#[derive(Debug)]
pub struct UpdateRequest {
    /// Which key store.
    pub key_store: CustomKeyStoreId,
    /// What shall be changed; its credential and password are taken from the members below.
    pub change: Change,
    /// The credential to change to.
    pub credential: Option<GivenCredential>,
    /// The password to change to.
    pub password: Option<KeyStorePassword>,
    /// The password of kmsuser in the present cluster, where somebody has set one to go back to; of no use without
    /// `password`.
    pub former_password: Option<KeyStorePassword>,
    /// The credential now in force, where neither the configuration nor an earlier update holds it.
    pub former_credential: Option<ProxyCredential>,
    /// The requester's choices.
    pub options: Options,
    /// Who asks.
    pub by: String,
    /// So that a repeated request finds the same update.
    pub idempotency: Option<Idempotency>,
}

/// How a credential is given.
#[derive(Debug)]
pub enum GivenCredential {
    /// Both halves, in the request; kept sealed.
    Inline(ProxyCredential),
    /// By its name in the configuration.
    Configured(String),
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// The update.
    pub id: UpdateId,
    /// Whether it was already there: the same request came before.
    pub existing: bool,
}

/// Why a request is not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// There is no writer.
    #[error("this instance only observes: it changes no key store")]
    ObserveOnly,
    /// The process is about to end.
    #[error("this instance is shutting down: ask again when it is back")]
    ShuttingDown,
    /// The key store cannot be read.
    #[error("key store cannot be read")]
    Kms(#[source] KmsError),
    /// No plan can be made.
    #[error("update is refused")]
    Plan(#[source] PlanRefused),
    /// Nobody said that the outage is known.
    #[error(
        "the change needs the key store disconnected ({because}): its keys will be out of use for about ten minutes, \
         those of a CloudHSM key store up to 25; acknowledge the outage to go on"
    )]
    OutageNotAcknowledged {
        /// The members that KMS accepts only while DISCONNECTED.
        because: String,
    },
    /// No such name.
    #[error("no credential is configured under the name {0}, or its source could not be read yet")]
    UnknownCredential(String),
    /// Another update of the key store is open.
    #[error(
        "key store is being changed by {update}{}: wait for it, cancel it while it has changed nothing, or roll it back",
        owner.as_ref().map(ToString::to_string).unwrap_or_default()
    )]
    Locked {
        /// The update.
        update: UpdateId,
        /// Whose it is, unless its record cannot be read.
        owner: Option<Owner>,
    },
    /// Changes are frozen, no window opens in time, or the new settings were not watched for long enough.
    #[error("update is not begun")]
    Denied(#[source] Denied),
    /// The idempotency key was used before.
    #[error("idempotency key was used for another request, which became {0}")]
    KeyReused(UpdateId),
    /// The record cannot be written, or secrets not be kept.
    #[error("update cannot be recorded")]
    Journal(#[source] JournalError),
}

/// Whose the open update of a key store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Who asked for it.
    pub by: String,
    /// When.
    pub since: Timestamp,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " of {}, open since {}", self.by, self.since)
    }
}

/// An update as recorded.
#[derive(Clone, Debug)]
pub struct UpdateRecord {
    /// Where it is.
    pub state: State,
    /// What happened.
    pub events: Vec<Recorded>,
}

impl UpdateRecord {
    /// The update's identifier.
    pub fn id(&self) -> UpdateId {
        self.state.plan().id
    }

    /// The number of the last event.
    pub fn last_event(&self) -> u64 {
        self.events.last().map_or(0, |recorded| recorded.sequence)
    }
}

/// Drives updates. A handle; clones drive the same ones.
#[derive(Clone)]
pub struct Driver(Arc<Inner>);

struct Inner {
    parts: Parts,
    records: records::Records,
    news: broadcast::Sender<(UpdateId, Recorded)>,
    orders: Mutex<HashMap<UpdateId, mpsc::Sender<Order>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Driver {
    /// A driver; nothing runs before [`Driver::start`] or [`Driver::submit`].
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Inner {
            parts,
            records: records::Records::default(),
            news: broadcast::channel(1024).0,
            orders: Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }))
    }

    /// Makes the plan that [`Driver::submit`] would record, and records nothing.
    pub async fn plan(&self, request: &UpdateRequest) -> Result<Plan, SubmitError> {
        Ok(self.prepare(request).await?.0)
    }

    /// Plans, records and starts an update, or finds the one that the same request has started before.
    pub async fn submit(&self, request: UpdateRequest) -> Result<Submitted, SubmitError> {
        if let Some(earlier) = self.admit(request.idempotency.as_ref()).await? {
            return Ok(earlier);
        }
        let (plan, secrets) = self.prepare(&request).await?;
        if let Disruption::Disconnect { because } = &plan.disruption
            && self.0.parts.policy.get().acknowledge_outage
            && !plan.outage_acknowledged
        {
            return Err(SubmitError::OutageNotAcknowledged { because: because.join(", ") });
        }
        self.create(plan, request.idempotency, secrets).await
    }

    /// The update that the request with this key has become, if it came before.
    pub async fn find(&self, idempotency: &Idempotency) -> Result<Option<UpdateId>, SubmitError> {
        let found = self.0.parts.journal.find(idempotency).await.map_err(SubmitError::Journal)?;
        found.map(|earlier| Ok(submitted(earlier, None)?.id)).transpose()
    }

    /// Whether anything can be begun here, and what the same request has begun before.
    async fn admit(&self, idempotency: Option<&Idempotency>) -> Result<Option<Submitted>, SubmitError> {
        let parts = &self.0.parts;
        if parts.writer.is_none() {
            return Err(SubmitError::ObserveOnly);
        }
        if self.0.stop.is_cancelled() {
            return Err(SubmitError::ShuttingDown);
        }
        let Some(idempotency) = idempotency else { return Ok(None) };
        // Before anything else: by now the key store may well show what the first request asked for.
        let earlier = parts.journal.find(idempotency).await.map_err(SubmitError::Journal)?;
        earlier.map(|earlier| submitted(earlier, None)).transpose()
    }

    /// Records a plan and starts its update.
    async fn create(
        &self,
        plan: Plan,
        idempotency: Option<Idempotency>,
        secrets: Vec<(SecretPurpose, SecretString)>,
    ) -> Result<Submitted, SubmitError> {
        self.open_for(&plan).await?;
        let (id, at) = (plan.id, plan.created_at);
        let (key_store, by) = (plan.key_store.clone(), plan.requested_by.clone());
        let broken = plan.break_glass.as_ref().map(|glass| glass.reason.clone());
        let new = NewUpdate { plan, at, idempotency, secrets };
        // In a task of its own: whoever asked may leave in the middle, and what is recorded must be driven.
        let driver = self.clone();
        let recording = self.0.tasks.spawn(async move {
            let created = driver.0.parts.journal.create(new).await.map_err(SubmitError::Journal)?;
            if created == Created::New {
                tracing::info!(update = %id, %key_store, by, "update planned");
                if let Some(reason) = broken {
                    let loud = "glass is broken: an update passes by approval, freeze, windows and hours of green";
                    tracing::error!(update = %id, %key_store, by, reason, "{loud}");
                }
                driver.drive(id);
            }
            if let Created::Locked(open) = created {
                return Err(driver.locked(open).await);
            }
            submitted(created, Some(id))
        });
        // Nobody aborts it.
        recording.await.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()))
    }

    /// An update's record.
    pub async fn get(&self, id: UpdateId) -> Result<Arc<UpdateRecord>, OrderError> {
        let found = self.0.records(&[id]).await?.pop();
        found.ok_or(OrderError::Journal(JournalError::NotFound(id)))
    }

    /// Updates, newest first, older than `before`, at most `limit`.
    pub async fn list(&self, before: Option<UpdateId>, limit: usize) -> Result<Vec<Arc<UpdateRecord>>, OrderError> {
        let ids = self.0.parts.journal.list(before, limit).await.map_err(OrderError::Journal)?;
        self.0.records(&ids).await
    }

    /// The updates that have not concluded, oldest first.
    pub async fn open(&self) -> Result<Vec<Arc<UpdateRecord>>, OrderError> {
        let ids = self.0.parts.journal.open_updates().await.map_err(OrderError::Journal)?;
        self.0.records(&ids).await
    }

    /// The open update of a key store, if there is one.
    pub async fn open_of(&self, key_store: &CustomKeyStoreId) -> Result<Option<Arc<UpdateRecord>>, OrderError> {
        self.0.open_of(key_store).await
    }

    /// What has happened and will happen to an update after event number `after`; ends with its conclusion or this
    /// process.
    pub async fn events(
        &self,
        id: UpdateId,
        after: u64,
    ) -> Result<impl Stream<Item = Result<Recorded, JournalError>> + Send + use<>, JournalError> {
        // Listening before reading: what is recorded in between comes twice and is told once.
        let news = self.0.news.subscribe();
        let past = self.0.parts.journal.load(id).await?;
        let inner = Arc::clone(&self.0);
        let looks = tokio::time::interval(replicas::LOOK);
        let reading = follow::Reading { inner, id, after, past: past.into_iter().collect(), news, looks, over: false };
        Ok(stream::unfold(reading, follow::Reading::next))
    }

    /// Stops every task at the next safe point and waits for that. Nothing is lost: [`Driver::start`] goes on from
    /// what is recorded. A call to KMS that is under way is waited for, which its time limit bounds.
    pub async fn shutdown(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Whether an update that disconnects must say that the outage is known.
    pub fn outage_must_be_acknowledged(&self) -> bool {
        self.0.parts.policy.get().acknowledge_outage
    }

    /// Who has the key store, and since when.
    async fn locked(&self, update: UpdateId) -> SubmitError {
        let owner = self.get(update).await.ok().map(|record| {
            let plan = record.state.plan();
            Owner { by: plan.requested_by.clone(), since: plan.created_at }
        });
        SubmitError::Locked { update, owner }
    }

    async fn prepare(
        &self,
        request: &UpdateRequest,
    ) -> Result<(Plan, Vec<(SecretPurpose, SecretString)>), SubmitError> {
        let Parts { journal, reader, credentials, clock, ids, policy, .. } = &self.0.parts;
        let mut secrets = Vec::new();
        let secret =
            |credential: &ProxyCredential| SecretString::from(credential.secret_access_key.expose().to_owned());
        let mut change = Change { credential: None, password: request.password.is_some(), ..request.change.clone() };
        match &request.credential {
            None => {}
            Some(GivenCredential::Inline(credential)) => {
                secrets.push((SecretPurpose::NewCredential, secret(credential)));
                change.credential = Some(credential.reference(CredentialSource::Sealed));
            }
            Some(GivenCredential::Configured(name)) => {
                let found = credentials.by_name(name);
                let credential = found.ok_or_else(|| SubmitError::UnknownCredential(name.clone()))?;
                let source = if request.options.rotate.is_some() {
                    secrets.push((SecretPurpose::NewCredential, secret(&credential)));
                    CredentialSource::Sealed
                } else {
                    CredentialSource::Configured(name.clone())
                };
                change.credential = Some(credential.reference(source));
            }
        }
        let sealed = |password: &KeyStorePassword| SecretString::from(password.expose().to_owned());
        let former_password = request.former_password.as_ref().filter(|_| request.password.is_some());
        secrets.extend(request.password.iter().map(|new| (SecretPurpose::NewPassword, sealed(new))));
        secrets.extend(former_password.map(|former| (SecretPurpose::FormerPassword, sealed(former))));
        let observed = reader.key_store(&request.key_store).await.map_err(SubmitError::Kms)?;
        if request.password.is_none() && options_connect(&request.options, &observed) {
            self.login_was_not_refused(&request.key_store).await?;
        }
        let former = match (&request.former_credential, observed.xks()) {
            (Some(credential), _) => Some((credential.clone(), CredentialSource::Sealed)),
            (None, Some(xks)) => self.held(&request.key_store, &xks.access_key_id, change.credential.as_ref()).await?,
            (None, None) => None,
        };
        // A rotation may take days, in which somebody edits the configuration: it keeps both secrets itself.
        let keep = request.options.rotate.is_some();
        let former = former.map(|(held, source)| (held, if keep { CredentialSource::Sealed } else { source }));
        let former_credential: Option<CredentialRef> = former.map(|(credential, source)| {
            if source == CredentialSource::Sealed {
                secrets.push((SecretPurpose::FormerCredential, secret(&credential)));
            }
            credential.reference(source)
        });
        if !secrets.is_empty() && !journal.keeps_secrets() {
            return Err(SubmitError::Journal(JournalError::Seal(crate::journal::SealError::NoKey)));
        }
        let now = clock.now();
        let options = request.options.clone();
        let waivers = (self.0.parts.judging)(Some(&request.key_store), now).waivers;
        let (id, by, former_password) = (UpdateId::new(ids, now), request.by.clone(), former_password.is_some());
        let keys = (self.0.parts.known_keys)(&request.key_store);
        let wanted = Wanted { id, change, options, former_credential, former_password, waivers, keys, by };
        let plan = plan(&observed, wanted, &policy.get(), now).map_err(SubmitError::Plan)?;
        Ok((plan, secrets))
    }
}

/// Whether the update would connect a CloudHSM key store that is found DISCONNECTED.
fn options_connect(options: &Options, observed: &KeyStore) -> bool {
    let cloud_hsm = matches!(observed.configuration, Configuration::CloudHsm(_));
    cloud_hsm && options.connect && observed.state == ConnectionState::Disconnected
}

fn submitted(created: Created, new: Option<UpdateId>) -> Result<Submitted, SubmitError> {
    match (created, new) {
        (Created::New, Some(id)) => Ok(Submitted { id, existing: false }),
        (Created::New, None) => Err(SubmitError::ShuttingDown),
        (Created::Existing(id), _) => Ok(Submitted { id, existing: true }),
        (Created::KeyReused(id), _) => Err(SubmitError::KeyReused(id)),
        (Created::Locked(update), _) => Err(SubmitError::Locked { update, owner: None }),
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("policy", &self.0.parts.policy).finish_non_exhaustive()
    }
}
