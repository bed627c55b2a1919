//! A driver that falls asleep between recording what it is about to do and doing it, and wakes up when another has done
//! it: it sends nothing.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use tokio::sync::watch;
use xks_preflight::clock::Timestamp;
use xks_preflight::driver::{Driver, LeaseTerms};
use xks_preflight::id::UpdateId;
use xks_preflight::journal::{
    Created, Fence, Idempotency, Journal, JournalError, Leased, NewUpdate, PostgresJournal, SealingKey, SecretPurpose,
};
use xks_preflight::key_store::{AccessKeyId, CustomKeyStoreId};
use xks_preflight::sandbox::kms::ConnectionState;
use xks_preflight::update::{Ending, Event, Recorded, Step};

use super::bench::{BOUND, Bench, NEW, ending};
use crate::daemon::stage::until;
use crate::postgres::shared;

const COLD: [&str; 3] = ["DisconnectCustomKeyStore", "UpdateCustomKeyStore", "ConnectCustomKeyStore"];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Sleep {
    NotYet,
    Asleep,
    Over,
}

/// The journal of a process that stands still right after it has recorded the intention to update: the answer to that
/// comes late, and so do those to all renewals.
struct Sleepy {
    journal: PostgresJournal,
    sleep: watch::Sender<Sleep>,
    fenced: watch::Sender<bool>,
}

impl Sleepy {
    async fn woken(&self) {
        self.sleep.subscribe().wait_for(|sleep| *sleep != Sleep::Asleep).await.unwrap();
    }
}

#[async_trait]
impl Journal for Sleepy {
    async fn append(
        &self,
        id: UpdateId,
        fence: Fence,
        n: u64,
        at: Timestamp,
        event: &Event,
    ) -> Result<Recorded, JournalError> {
        let recorded = self.journal.append(id, fence, n, at, event).await;
        if matches!(event, Event::StepIntended { step: Step::Update, .. }) && *self.sleep.borrow() == Sleep::NotYet {
            self.sleep.send_replace(Sleep::Asleep);
            self.woken().await;
        }
        if matches!(recorded, Err(JournalError::Fenced { .. })) {
            self.fenced.send_replace(true);
        }
        recorded
    }

    async fn create(&self, new: NewUpdate) -> Result<Created, JournalError> {
        self.journal.create(new).await
    }

    async fn find(&self, idempotency: &Idempotency) -> Result<Option<Created>, JournalError> {
        self.journal.find(idempotency).await
    }

    async fn lease(&self, update: UpdateId, holder: &str, ttl: Duration) -> Result<Leased, JournalError> {
        self.journal.lease(update, holder, ttl).await
    }

    async fn renew(&self, update: UpdateId, fence: Fence, ttl: Duration) -> Result<(), JournalError> {
        self.woken().await;
        self.journal.renew(update, fence, ttl).await
    }

    async fn release(&self, update: UpdateId, fence: Fence) -> Result<(), JournalError> {
        self.journal.release(update, fence).await
    }

    async fn load(&self, update: UpdateId) -> Result<Vec<Recorded>, JournalError> {
        self.journal.load(update).await
    }

    async fn news(&self, known: &[(UpdateId, u64)]) -> Result<Vec<Vec<Recorded>>, JournalError> {
        self.journal.news(known).await
    }

    async fn open_updates(&self) -> Result<Vec<UpdateId>, JournalError> {
        self.journal.open_updates().await
    }

    async fn list(&self, before: Option<UpdateId>, limit: usize) -> Result<Vec<UpdateId>, JournalError> {
        self.journal.list(before, limit).await
    }

    async fn with_new_credential(
        &self,
        key_store: &CustomKeyStoreId,
        before: Option<UpdateId>,
        limit: usize,
    ) -> Result<Vec<UpdateId>, JournalError> {
        self.journal.with_new_credential(key_store, before, limit).await
    }

    async fn key_stores_with_new_credential(&self) -> Result<Vec<CustomKeyStoreId>, JournalError> {
        self.journal.key_stores_with_new_credential().await
    }

    async fn secret(&self, update: UpdateId, purpose: SecretPurpose) -> Result<Option<SecretString>, JournalError> {
        self.journal.secret(update, purpose).await
    }

    async fn holder_of(
        &self,
        key_store: &CustomKeyStoreId,
        access_key_id: &AccessKeyId,
    ) -> Result<Option<UpdateId>, JournalError> {
        self.journal.holder_of(key_store, access_key_id).await
    }

    fn keeps_secrets(&self) -> bool {
        self.journal.keeps_secrets()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wakes_up_with_a_mutation_in_hand_sends_it_not() {
    let (bench, database) = (Bench::new().await, shared().database().await);
    let key = || Some(SealingKey::parse(&SecretString::from("0a".repeat(32))).unwrap());
    let terms = |holder: &str| LeaseTerms {
        holder: holder.to_owned(),
        ttl: Duration::from_secs(3),
        call: Duration::from_secs(1),
    };
    let (early, late) = (database.journal(key()).await, database.journal(key()).await);
    let sleepy =
        Arc::new(Sleepy { journal: early, sleep: watch::channel(Sleep::NotYet).0, fenced: watch::channel(false).0 });
    let mut parts = bench.parts(Arc::clone(&sleepy) as Arc<dyn Journal>);
    parts.lease = terms("early");
    let first = Driver::new(parts);
    let id = first.submit(bench.endpoint_request()).await.unwrap().id;
    let mut asleep = sleepy.sleep.subscribe();
    let asleep = asleep.wait_for(|sleep| *sleep == Sleep::Asleep);
    tokio::time::timeout(BOUND, asleep).await.unwrap().unwrap();
    assert_eq!(bench.calls(), COLD[..1]);

    let mut parts = bench.parts(Arc::new(late.clone()));
    parts.lease = terms("late");
    parts.desk = Some(Arc::new(late));
    let second = Driver::new(parts);
    second.start().await.unwrap();
    assert_eq!(ending(&second, id).await, Ending::Verified);
    assert_eq!(bench.calls(), COLD);

    sleepy.sleep.send_replace(Sleep::Over);
    until(BOUND, "whoever was asleep is fenced", || async { *sleepy.fenced.borrow() }).await;
    first.shutdown().await;
    assert_eq!(bench.calls(), COLD, "whoever wakes up late sends nothing");
    assert_eq!(bench.shown(), (NEW.to_owned(), ConnectionState::Connected));
    second.shutdown().await;
}
