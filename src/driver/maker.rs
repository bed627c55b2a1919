//! Makes key stores: pre-flight, a line in the audit trail, one call, another line.
//!
//! # How it works
//!
//! There is no record to be driven: making a key store takes nothing out of use, and KMS takes a name once, so that
//! nothing is ever made twice. What was decided and what came of it stands in the audit trail. A few requests are worked
//! on at once, and go on although whoever asked hangs up; their calls to KMS are made one after the other.
//!
//! # What can go wrong
//!
//! - KMS does not answer: the key stores are looked at until the new one is seen, or for a while. If it is not seen, the
//!   caller is told that nobody knows, and that asking again is safe.
//! - The process is told to stop: what has not been sent is not sent, and what was is waited for. If it is killed, the
//!   trail has the intention without an outcome. The key store is there or it is not.
//! - A client repeats a call that was answered: it is given the same answer for as long as this process remembers, and
//!   the key store that was not seen the first time if it is there by now.
//! - Whoever asked may not any more when the pre-flight has passed: nothing is sent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::examiner::{ExamineError, Examiner, Extra};
use crate::audit::{Action, By, Decision, Entry};
use crate::chain::Chain;
use crate::clock::Clock;
use crate::current::Current;
use crate::journal::{AuditTrail, FreezeKeeper, JournalError};
use crate::key_store::{CustomKeyStoreId, CustomKeyStoreName, KeyStore, ProxyCredential};
use crate::kms::{Effect, KeyStoreMaker, KeyStoreReader, KmsError, Made};
use crate::preflight::Surroundings;
use crate::update::{Creation, CreationPermit, Denied, Policy, PreflightSummary};

/// KMS's operation.
const OPERATION: &str = "CreateCustomKeyStore";

/// How often the key stores are looked at for one whose making was not answered.
const LOOKS: u32 = 5;

/// Calls whose answers are remembered.
const REMEMBERED: usize = 200;

/// Requests worked on at once: an account has ten key stores, and a proxy that hangs must not keep others waiting.
const AT_ONCE: usize = 4;

/// What a maker is made of.
pub struct MakerParts {
    /// Reads key stores.
    pub reader: Arc<dyn KeyStoreReader>,
    /// Makes key stores; without it nothing is made.
    pub maker: Option<Arc<dyn KeyStoreMaker>>,
    /// Pre-flights.
    pub examiner: Arc<Examiner>,
    /// Makes candidates of settings.
    pub surroundings: Arc<Current<Surroundings>>,
    /// Knows the freezes.
    pub freezes: Arc<dyn FreezeKeeper>,
    /// Where decisions are written.
    pub trail: Arc<dyn AuditTrail>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Says how old a pre-flight may be when the call is sent.
    pub policy: Arc<Current<Policy>>,
    /// Between two looks at the key stores.
    pub pause: Duration,
}

/// A request for a key store.
#[derive(Debug)]
pub struct CreationRequest {
    /// What to make.
    pub creation: Creation,
    /// The credential that the proxy shares with KMS from then on.
    pub credential: ProxyCredential,
    /// Who asks.
    pub by: By,
    /// The same in every repetition of one call, and in no other.
    pub call: Option<String>,
    /// Whether whoever asks may still do so: asked again when all else is decided.
    pub may_still: Authority,
}

/// Tells whether something is still allowed.
pub struct Authority(pub Box<dyn Fn() -> bool + Send + Sync>);

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

/// Why there is no new key store.
#[derive(Debug, thiserror::Error)]
pub enum CreationError {
    /// There is no maker.
    #[error("this instance only observes (kms.observe_only)")]
    ObserveOnly,
    /// The process ends.
    #[error("this instance stops; nothing was sent, and another one takes the request")]
    ShuttingDown,
    /// Too many are worked on.
    #[error("{AT_ONCE} key stores are being made already; ask again in a moment")]
    Busy,
    /// A reload took the right away.
    #[error("the credential may not make key stores any more; nothing was sent")]
    NoLongerAllowed,
    /// KMS takes a name once.
    #[error("{id} is called {name} already")]
    NameInUse {
        /// Who has it.
        id: CustomKeyStoreId,
        /// The name.
        name: CustomKeyStoreName,
    },
    /// The pre-flight did not pass.
    #[error("{}", .0.message)]
    NotReady(Box<PreflightSummary>),
    /// The gate stays shut.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// There is no report.
    #[error("pre-flight cannot be run")]
    Unexamined(#[from] ExamineError),
    /// KMS refused, or could not be asked.
    #[error(transparent)]
    Kms(#[from] KmsError),
    /// KMS did not answer, and the key store is not seen.
    #[error(
        "KMS did not say whether it made {name} ({error}), and DescribeCustomKeyStores does not show it; asking again is \
         safe, because KMS takes a name once"
    )]
    Unknown {
        /// The name.
        name: CustomKeyStoreName,
        /// What became of the answer.
        error: KmsError,
    },
    /// The journal cannot be reached: nothing was sent.
    #[error("the decision cannot be written, so nothing was sent")]
    Journal(#[from] JournalError),
    /// A fault of this program.
    #[error(
        "the task that makes key stores ended early, a fault of xks-preflight; look for the key store before asking again"
    )]
    Lost,
}

/// Makes key stores.
#[derive(Clone)]
pub struct Maker(Arc<Inner>);

struct Inner {
    parts: MakerParts,
    places: Arc<Semaphore>,
    calls: Mutex<Calls>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What was answered to which call, newest first. Whoever has it makes its call to KMS alone.
#[derive(Default)]
struct Calls(VecDeque<(String, Option<CustomKeyStoreId>)>);

impl Calls {
    /// The key store that was made for this call.
    fn answered(&self, call: Option<&str>) -> Option<CustomKeyStoreId> {
        self.find(call)?.clone()
    }

    /// Whether this call was sent to KMS and nobody knows what came of it.
    fn is_open(&self, call: Option<&str>) -> bool {
        self.find(call) == Some(&None)
    }

    fn find(&self, call: Option<&str>) -> Option<&Option<CustomKeyStoreId>> {
        let call = call?;
        self.0.iter().find(|(known, _)| known == call).map(|(_, id)| id)
    }

    fn remember(&mut self, call: Option<&str>, id: Option<CustomKeyStoreId>) {
        let Some(call) = call else { return };
        self.0.retain(|(known, _)| known != call);
        self.0.push_front((call.to_owned(), id));
        self.0.truncate(REMEMBERED);
    }
}

impl std::fmt::Debug for Maker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Maker").finish_non_exhaustive()
    }
}

impl Maker {
    /// Ready to make.
    pub fn new(parts: MakerParts) -> Self {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        Self(Arc::new(Inner { parts, places, calls: Mutex::default(), tasks, stop }))
    }

    /// Makes a key store. It goes on if the caller does not wait.
    pub async fn make(&self, request: CreationRequest) -> Result<CustomKeyStoreId, CreationError> {
        let inner = Arc::clone(&self.0);
        if inner.stop.is_cancelled() {
            return Err(CreationError::ShuttingDown);
        }
        let place = Arc::clone(&inner.places).try_acquire_owned().map_err(|_| CreationError::Busy)?;
        let made = self.0.tasks.spawn(async move {
            let made = inner.make(request).await;
            drop(place);
            made
        });
        // A panic there has been told by the runtime already.
        made.await.unwrap_or(Err(CreationError::Lost))
    }

    /// Sends nothing any more, and waits for what was sent.
    pub async fn shutdown(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

impl Inner {
    async fn make(&self, request: CreationRequest) -> Result<CustomKeyStoreId, CreationError> {
        let CreationRequest { creation, credential, by, call, may_still } = request;
        let (parts, call) = (&self.parts, call.as_deref());
        let maker = parts.maker.as_ref().ok_or(CreationError::ObserveOnly)?;
        if let Some(id) = self.calls.lock().await.answered(call) {
            return Ok(id);
        }
        // Early, so that nobody waits for a pre-flight that leads to nothing.
        CreationPermit::not_frozen(&parts.freezes.freezes().await?, parts.clock.now())?;
        if let Some(id) = self.is_there(&creation, call, &*self.calls.lock().await).await? {
            return Ok(id);
        }
        let (surroundings, settings) = (parts.surroundings.get(), &creation.settings);
        let candidate = surroundings.candidate(&surroundings.region, settings, credential.clone().into(), OPERATION);
        let extra = Extra::default();
        let examined = parts.examiner.candidate(&candidate, None, &extra);
        let report = self.stop.run_until_cancelled(examined).await.ok_or(CreationError::ShuttingDown)??;
        let summary = PreflightSummary::of(&report);
        let permit = || async {
            let freezes = parts.freezes.freezes().await?;
            let now = parts.clock.now();
            let (creation, fingerprint) = (creation.clone(), credential.fingerprint());
            let valid_for = parts.policy.get().preflight_valid_for;
            let permit = CreationPermit::of(creation, &fingerprint, &summary, &freezes, valid_for, now);
            permit.map_err(|denied| match denied {
                Denied::NotReady { .. } => CreationError::NotReady(Box::new(summary.clone())),
                other => CreationError::Denied(other),
            })
        };
        // What is refused is told and written by whoever was asked.
        let _would_do = permit().await?;
        let mut calls = self.calls.lock().await;
        if let Some(id) = calls.answered(call) {
            return Ok(id);
        }
        if let Some(id) = self.is_there(&creation, call, &calls).await? {
            return Ok(id);
        }
        let write = Lines { parts, by: &by, name: &creation.name, summary: &summary };
        write.intended().await?;
        // Again, after the line was written: a freeze that somebody was told of meanwhile holds.
        let permit = match permit().await {
            _ if self.stop.is_cancelled() => Err(CreationError::ShuttingDown),
            Ok(_) if !may_still.0() => Err(CreationError::NoLongerAllowed),
            other => other,
        };
        let permit = match permit {
            Ok(permit) => permit,
            Err(refused) => {
                write.ended(None, None, &format!("was not sent: {}", Chain(&refused))).await;
                return Err(refused);
            }
        };
        match maker.make(permit, &credential).await {
            Ok(Made { id, request_id }) => {
                calls.remember(call, Some(id.clone()));
                write.ended(Some(&id), request_id, &format!("made {id}")).await;
                Ok(id)
            }
            Err(error) if error.effect() == Effect::Unknown => {
                let seen = self.look_for(&creation).await;
                calls.remember(call, seen.clone());
                let came = match &seen {
                    Some(id) => format!("was not answered ({error}); {id} is there with these settings"),
                    None => format!("was not answered ({error}), and no such key store is seen"),
                };
                write.ended(seen.as_ref(), None, &came).await;
                seen.ok_or(CreationError::Unknown { name: creation.name, error })
            }
            Err(error) => {
                let request_id = error.request_id().map(ToOwned::to_owned);
                write.ended(None, request_id, &format!("was refused: {}", error.said())).await;
                Err(CreationError::Kms(error))
            }
        }
    }

    /// Whether the key store is there by now for which this very call was sent, unanswered; another of its name is in the
    /// way.
    async fn is_there(
        &self,
        creation: &Creation,
        call: Option<&str>,
        calls: &Calls,
    ) -> Result<Option<CustomKeyStoreId>, CreationError> {
        match named(self.parts.reader.key_stores().await?, &creation.name) {
            None => Ok(None),
            Some(store) if calls.is_open(call) && creation.is(&store) => Ok(Some(store.id)),
            Some(other) => Err(CreationError::NameInUse { id: other.id, name: creation.name.clone() }),
        }
    }

    /// The key store of this name and with these settings, as soon as KMS shows it. Before the call there was none of
    /// this name.
    async fn look_for(&self, creation: &Creation) -> Option<CustomKeyStoreId> {
        for look in 0..LOOKS {
            if look > 0 {
                tokio::time::sleep(self.parts.pause).await;
            }
            match self.parts.reader.key_stores().await {
                Ok(stores) => {
                    let found = named(stores, &creation.name);
                    if let Some(store) = found.filter(|store| creation.is(store)) {
                        return Some(store.id);
                    }
                }
                Err(error) => tracing::warn!(error = %Chain(&error), "key stores cannot be read after {OPERATION}"),
            }
        }
        None
    }
}

fn named(stores: Vec<KeyStore>, name: &CustomKeyStoreName) -> Option<KeyStore> {
    stores.into_iter().find(|store| store.name == *name)
}

/// The lines of one creation in the audit trail.
struct Lines<'c> {
    parts: &'c MakerParts,
    by: &'c By,
    name: &'c CustomKeyStoreName,
    summary: &'c PreflightSummary,
}

impl Lines<'_> {
    fn entry(&self, decision: Decision, message: String) -> Entry {
        let now = self.parts.clock.now();
        let entry = Entry::new(now, Some(self.by.clone()), Action::KmsCreate, decision, message);
        Entry { report: Some(self.summary.report), ..entry }
    }

    /// What is about to be sent; it must not be before this is written.
    async fn intended(&self) -> Result<(), JournalError> {
        let settings = &self.summary.settings;
        let message = format!("{OPERATION} of {:?} is about to be sent; settings {settings}", self.name.as_str());
        self.parts.trail.note(&self.entry(Decision::Allowed, message)).await.map(|_| ())
    }

    /// What came of it. It has happened, whether it can be written or not.
    async fn ended(&self, id: Option<&CustomKeyStoreId>, kms_request_id: Option<String>, came: &str) {
        let message = format!("{OPERATION} of {:?} {came}", self.name.as_str());
        tracing::info!(name = self.name.as_str(), kms_request_id, by = self.by.name, "{message}");
        let entry = self.entry(Decision::Recorded, message);
        let entry = Entry { key_store: id.cloned(), kms_request_id, ..entry };
        if let Err(error) = self.parts.trail.note(&entry).await {
            tracing::error!(error = %Chain(&error), "the outcome of {OPERATION} is not in the audit trail");
        }
    }
}
