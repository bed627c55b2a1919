//! The process ends at every journal write of a cold update, right before it and right after it, and is started again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use xks_preflight::clock::Timestamp;
use xks_preflight::id::UpdateId;
use xks_preflight::journal::{
    Created, Fence, Idempotency, Journal, JournalError, Leased, NewUpdate, SecretPurpose, SqliteJournal,
};
use xks_preflight::key_store::{AccessKeyId, CustomKeyStoreId};
use xks_preflight::sandbox::kms::ConnectionState;
use xks_preflight::update::{Ending, Event, Recorded};

use super::bench::{Bench, NEW, Says, ending, follow, journal};

/// When, seen from the n-th append, the process ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    Before,
    After,
}

/// A journal in a process that is about to end: its n-th append never comes back.
struct Doomed {
    journal: SqliteJournal,
    appends_left: AtomicU64,
    when: When,
    end: Arc<Notify>,
}

impl Doomed {
    async fn end(&self) {
        self.end.notify_one();
        std::future::pending::<()>().await;
    }
}

#[async_trait]
impl Journal for Doomed {
    async fn lease(&self, update: UpdateId, holder: &str, ttl: Duration) -> Result<Leased, JournalError> {
        self.journal.lease(update, holder, ttl).await
    }

    async fn renew(&self, update: UpdateId, fence: Fence, ttl: Duration) -> Result<(), JournalError> {
        self.journal.renew(update, fence, ttl).await
    }

    async fn release(&self, update: UpdateId, fence: Fence) -> Result<(), JournalError> {
        self.journal.release(update, fence).await
    }

    async fn append(
        &self,
        id: UpdateId,
        fence: Fence,
        n: u64,
        at: Timestamp,
        event: &Event,
    ) -> Result<Recorded, JournalError> {
        let last = self.appends_left.fetch_sub(1, Ordering::SeqCst) == 1;
        if last && self.when == When::Before {
            self.end().await;
        }
        let recorded = self.journal.append(id, fence, n, at, event).await;
        if last {
            self.end().await;
        }
        recorded
    }

    async fn create(&self, new: NewUpdate) -> Result<Created, JournalError> {
        self.journal.create(new).await
    }

    async fn find(&self, idempotency: &Idempotency) -> Result<Option<Created>, JournalError> {
        self.journal.find(idempotency).await
    }

    async fn load(&self, update: UpdateId) -> Result<Vec<Recorded>, JournalError> {
        self.journal.load(update).await
    }

    async fn open_updates(&self) -> Result<Vec<UpdateId>, JournalError> {
        self.journal.open_updates().await
    }

    async fn list(&self, before: Option<UpdateId>, limit: usize) -> Result<Vec<UpdateId>, JournalError> {
        self.journal.list(before, limit).await
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

/// Lives until the n-th append, ends, and lives on. Says whether there was an n-th append.
fn end_at(world: &Runtime, n: u64, when: When) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let bench = world.block_on(Bench::new());
    let end = Arc::new(Notify::new());
    let doomed =
        Doomed { journal: journal(directory.path()), appends_left: AtomicU64::new(n), when, end: Arc::clone(&end) };
    let process = Runtime::new().unwrap();
    let (id, ended) = process.block_on(async {
        let driver = bench.driver(Arc::new(doomed), &Says::ready());
        let id = driver.submit(bench.endpoint_request()).await.unwrap().id;
        tokio::select! {
            () = end.notified() => (id, true),
            _ = follow(&driver, id) => (id, false),
        }
    });
    // Every task of the driver is dropped where it stands, as by a kill.
    process.shutdown_timeout(Duration::from_secs(10));

    world.block_on(async {
        let driver = bench.driver(Arc::new(journal(directory.path())), &Says::ready());
        driver.start().await.unwrap();
        assert_eq!(ending(&driver, id).await, Ending::Verified, "ended {when:?} append {n}");
        assert_eq!(bench.shown(), (NEW.to_owned(), ConnectionState::Connected));
        let expected = ["DisconnectCustomKeyStore", "UpdateCustomKeyStore", "ConnectCustomKeyStore"];
        assert_eq!(bench.calls(), expected, "ended {when:?} append {n}");
        driver.shutdown().await;
    });
    ended
}

#[test]
fn a_process_that_ends_at_any_write_is_as_if_it_had_not() {
    let world = Runtime::new().unwrap();
    for when in [When::Before, When::After] {
        let appends = (1..100).take_while(|n| end_at(&world, *n, when)).count();
        assert!(appends > 15, "a cold update has more writes than {appends}");
    }
}
