//! Ports with a counter in front: whoever uses them need not know that they are counted.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;

use super::{Denial, Metrics};
use crate::clock::Timestamp;
use crate::id::UpdateId;
use crate::journal::{Created, Fence, Idempotency, Journal, JournalError, Leased, NewUpdate, SecretPurpose};
use crate::key_store::{AccessKeyId, ConnectionState, CustomKeyStoreId, KeyStore, ProxyCredential};
use crate::kms::{
    KeyHome, KeyLister, KeyPage, KeyStoreDescriber, KeyStoreDescription, KeyStoreMaker, KeyStoreReader, KeyStoreWriter,
    KmsError, Made, Receipt, Secrets,
};
use crate::update::{CreationPermit, Ending, Event, Mutation, Permit, Recorded, Step};

/// Counts what is read from KMS.
pub struct CountedReader {
    inner: Arc<dyn KeyStoreReader>,
    metrics: Arc<Metrics>,
}

impl CountedReader {
    /// Counts in `metrics` what `inner` does.
    pub fn new(inner: Arc<dyn KeyStoreReader>, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }
}

#[async_trait]
impl KeyStoreReader for CountedReader {
    async fn key_stores(&self) -> Result<Vec<KeyStore>, KmsError> {
        let answer = self.inner.key_stores().await;
        self.metrics.asked_kms("DescribeCustomKeyStores", answer.as_ref().err());
        answer
    }

    async fn key_store(&self, id: &CustomKeyStoreId) -> Result<KeyStore, KmsError> {
        let answer = self.inner.key_store(id).await;
        self.metrics.asked_kms("DescribeCustomKeyStores", answer.as_ref().err());
        answer
    }
}

/// Counts what is read from KMS for others.
pub struct CountedDescriber {
    inner: Arc<dyn KeyStoreDescriber>,
    metrics: Arc<Metrics>,
}

impl CountedDescriber {
    /// Counts in `metrics` what `inner` does.
    pub fn new(inner: Arc<dyn KeyStoreDescriber>, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }
}

#[async_trait]
impl KeyStoreDescriber for CountedDescriber {
    async fn descriptions(&self) -> Result<Vec<KeyStoreDescription>, KmsError> {
        let answer = self.inner.descriptions().await;
        self.metrics.asked_kms("DescribeCustomKeyStores", answer.as_ref().err());
        answer
    }
}

/// Counts what is read from KMS about keys.
pub struct CountedLister {
    inner: Arc<dyn KeyLister>,
    metrics: Arc<Metrics>,
}

impl CountedLister {
    /// Counts in `metrics` what `inner` does.
    pub fn new(inner: Arc<dyn KeyLister>, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }
}

#[async_trait]
impl KeyLister for CountedLister {
    async fn keys(&self, marker: Option<&str>) -> Result<KeyPage, KmsError> {
        let answer = self.inner.keys(marker).await;
        self.metrics.asked_kms("ListKeys", answer.as_ref().err());
        answer
    }

    async fn home(&self, arn: &str) -> Result<Option<KeyHome>, KmsError> {
        let answer = self.inner.home(arn).await;
        self.metrics.asked_kms("DescribeKey", answer.as_ref().err());
        answer
    }
}

/// Counts what is changed at KMS.
pub struct CountedWriter {
    inner: Arc<dyn KeyStoreWriter>,
    metrics: Arc<Metrics>,
}

impl CountedWriter {
    /// Counts in `metrics` what `inner` does.
    pub fn new(inner: Arc<dyn KeyStoreWriter>, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }
}

#[async_trait]
impl KeyStoreWriter for CountedWriter {
    async fn carry_out(&self, permit: Permit, secrets: &Secrets) -> Result<Receipt, KmsError> {
        let operation = match permit.mutation() {
            Mutation::Disconnect => "DisconnectCustomKeyStore",
            Mutation::Update(_) => "UpdateCustomKeyStore",
            Mutation::Connect => "ConnectCustomKeyStore",
        };
        let answer = self.inner.carry_out(permit, secrets).await;
        self.metrics.asked_kms(operation, answer.as_ref().err());
        answer
    }
}

/// Counts the key stores that are made at KMS.
pub struct CountedMaker {
    inner: Arc<dyn KeyStoreMaker>,
    metrics: Arc<Metrics>,
}

impl CountedMaker {
    /// Counts in `metrics` what `inner` does.
    pub fn new(inner: Arc<dyn KeyStoreMaker>, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }
}

#[async_trait]
impl KeyStoreMaker for CountedMaker {
    async fn make(&self, permit: CreationPermit, credential: &ProxyCredential) -> Result<Made, KmsError> {
        let answer = self.inner.make(permit, credential).await;
        self.metrics.asked_kms("CreateCustomKeyStore", answer.as_ref().err());
        answer
    }
}

/// Counts how updates end: every ending passes through the journal, whoever brought it about.
pub struct CountedJournal {
    inner: Arc<dyn Journal>,
    metrics: Arc<Metrics>,
}

impl CountedJournal {
    /// Counts in `metrics` what is recorded in `inner`.
    pub fn new(inner: Arc<dyn Journal>, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }

    async fn count(&self, update: UpdateId, ending: &Ending) {
        self.metrics.updates.with_label_values(&[ending.status().as_str()]).inc();
        match ending {
            Ending::Blocked { .. } => self.metrics.denied(Denial::Blocked),
            Ending::Refused { reason, .. } => self.metrics.denied(Denial::refused(*reason)),
            _ => {}
        }
        // Read back rather than remembered: a part of it may have happened before a restart.
        match self.inner.load(update).await {
            Ok(events) => {
                if let Some(seconds) = disconnected_for(&events) {
                    self.metrics.update_disconnected.with_label_values(&[] as &[&str]).observe(seconds);
                }
            }
            Err(error) => {
                tracing::warn!(%update, error = %crate::chain::Chain(&error), "time without connection not counted");
            }
        }
    }
}

/// Seconds from the first intended disconnect to the last time the key store was seen CONNECTED, or to the end.
fn disconnected_for(events: &[Recorded]) -> Option<f64> {
    let from = events.iter().find(|e| matches!(e.event, Event::StepIntended { step: Step::Disconnect, .. }))?;
    let connected = |e: &&Recorded| matches!(e.event, Event::Observed { state: ConnectionState::Connected, .. });
    let until = events.iter().rfind(connected).filter(|e| e.sequence > from.sequence).or(events.last())?;
    Some(until.at.seconds_since(from.at).max(0.0))
}

#[async_trait]
impl Journal for CountedJournal {
    async fn create(&self, new: NewUpdate) -> Result<Created, JournalError> {
        let broken = new.plan.break_glass.is_some().then(|| new.plan.key_store.clone());
        let created = self.inner.create(new).await;
        if let (Ok(Created::New), Some(key_store)) = (&created, broken) {
            self.metrics.break_glass.with_label_values(&[key_store.as_str()]).inc();
        }
        if matches!(created, Ok(Created::Locked(_))) {
            self.metrics.denied(Denial::Locked);
        }
        created
    }

    async fn find(&self, idempotency: &Idempotency) -> Result<Option<Created>, JournalError> {
        self.inner.find(idempotency).await
    }

    async fn lease(&self, update: UpdateId, holder: &str, ttl: Duration) -> Result<Leased, JournalError> {
        self.inner.lease(update, holder, ttl).await
    }

    async fn renew(&self, update: UpdateId, fence: Fence, ttl: Duration) -> Result<(), JournalError> {
        self.inner.renew(update, fence, ttl).await
    }

    async fn release(&self, update: UpdateId, fence: Fence) -> Result<(), JournalError> {
        self.inner.release(update, fence).await
    }

    async fn append(
        &self,
        update: UpdateId,
        fence: Fence,
        sequence: u64,
        at: Timestamp,
        event: &Event,
    ) -> Result<Recorded, JournalError> {
        let recorded = self.inner.append(update, fence, sequence, at, event).await?;
        if let Event::Concluded { ending } = event {
            self.count(update, ending).await;
        }
        Ok(recorded)
    }

    async fn load(&self, update: UpdateId) -> Result<Vec<Recorded>, JournalError> {
        self.inner.load(update).await
    }

    async fn news(&self, known: &[(UpdateId, u64)]) -> Result<Vec<Vec<Recorded>>, JournalError> {
        self.inner.news(known).await
    }

    async fn open_updates(&self) -> Result<Vec<UpdateId>, JournalError> {
        self.inner.open_updates().await
    }

    async fn list(&self, before: Option<UpdateId>, limit: usize) -> Result<Vec<UpdateId>, JournalError> {
        self.inner.list(before, limit).await
    }

    async fn with_new_credential(
        &self,
        key_store: &CustomKeyStoreId,
        before: Option<UpdateId>,
        limit: usize,
    ) -> Result<Vec<UpdateId>, JournalError> {
        self.inner.with_new_credential(key_store, before, limit).await
    }

    async fn key_stores_with_new_credential(&self) -> Result<Vec<CustomKeyStoreId>, JournalError> {
        self.inner.key_stores_with_new_credential().await
    }

    async fn secret(&self, update: UpdateId, purpose: SecretPurpose) -> Result<Option<SecretString>, JournalError> {
        self.inner.secret(update, purpose).await
    }

    async fn holder_of(
        &self,
        key_store: &CustomKeyStoreId,
        access_key_id: &AccessKeyId,
    ) -> Result<Option<UpdateId>, JournalError> {
        self.inner.holder_of(key_store, access_key_id).await
    }

    fn keeps_secrets(&self) -> bool {
        self.inner.keeps_secrets()
    }
}

impl Metrics {
    fn asked_kms(&self, operation: &str, error: Option<&KmsError>) {
        let result = error.map_or("ok", KmsError::label);
        self.kms_requests.with_label_values(&[operation, result]).inc();
    }
}
