//! The crash matrix: the process ends at every journal write of a life, right before it and right after it, and another
//! goes on from the same database. Add a [`Row`] for every other life.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use xks_preflight::check::{Acceptance, Verdict};
use xks_preflight::clock::Timestamp;
use xks_preflight::driver::{Driver, UpdateRequest};
use xks_preflight::id::UpdateId;
use xks_preflight::journal::{
    Created, Fence, Idempotency, Journal, JournalError, Leased, NewUpdate, SealingKey, SecretPurpose,
};
use xks_preflight::key_store::{AccessKeyId, Change, CustomKeyStoreId, CustomKeyStoreName};
use xks_preflight::sandbox::kms::{ConnectionState, KmsFault, Operation};
use xks_preflight::update::{Ending, Event, Recorded};

use super::bench::{Bench, KEY_ID, NEW, NEXT_ID, OLD, Says, ending, follow, journal};
use crate::peers::output_directory;
use crate::postgres::{Database, shared};

const DISCONNECT: Operation = Operation::DisconnectCustomKeyStore;
const UPDATE: Operation = Operation::UpdateCustomKeyStore;
const CONNECT: Operation = Operation::ConnectCustomKeyStore;

/// A life to be interrupted.
struct Row {
    name: &'static str,
    request: fn(&Bench) -> UpdateRequest,
    /// What the first, the last and the verifying pre-flight say.
    verdicts: [Verdict; 3],
    /// What the looks of a rotation see.
    looks: [(Acceptance, Acceptance); 2],
    /// What KMS must have applied in the end, in this order and no more.
    mutations: &'static [Operation],
    /// Where it must have ended.
    ended: fn(&Ending) -> bool,
    /// The endpoint in force at the end, the name, and the access key id.
    shown: [&'static str; 3],
}

const BOTH: (Acceptance, Acceptance) = (Acceptance::Accepted, Acceptance::Accepted);
const NEW_ALONE: (Acceptance, Acceptance) = (Acceptance::Accepted, Acceptance::Refused);
const FORMER_ALONE: (Acceptance, Acceptance) = (Acceptance::Refused, Acceptance::Accepted);
const NEITHER: (Acceptance, Acceptance) = (Acceptance::Refused, Acceptance::Refused);

const ROWS: &[Row] = &[
    Row {
        name: "hot",
        request: |bench| {
            let name = Some(CustomKeyStoreName::parse("renamed").unwrap());
            UpdateRequest { change: Change { name, ..Change::default() }, ..bench.endpoint_request() }
        },
        verdicts: [Verdict::Ready; 3],
        looks: [BOTH; 2],
        mutations: &[UPDATE],
        ended: |ending| *ending == Ending::Verified,
        shown: [OLD, "renamed", KEY_ID],
    },
    Row {
        name: "cold",
        request: Bench::endpoint_request,
        verdicts: [Verdict::Ready; 3],
        looks: [BOTH; 2],
        mutations: &[DISCONNECT, UPDATE, CONNECT],
        ended: |ending| *ending == Ending::Verified,
        shown: [NEW, "store", KEY_ID],
    },
    Row {
        name: "rollback",
        request: Bench::endpoint_request,
        verdicts: [Verdict::Ready, Verdict::Ready, Verdict::Blocked],
        looks: [BOTH; 2],
        mutations: &[DISCONNECT, UPDATE, CONNECT, DISCONNECT, UPDATE, CONNECT],
        ended: |ending| matches!(ending, Ending::RolledBack { .. }),
        shown: [OLD, "store", KEY_ID],
    },
    Row {
        name: "rotation",
        request: Bench::rotation_request,
        verdicts: [Verdict::Ready; 3],
        looks: [BOTH, NEW_ALONE],
        mutations: &[UPDATE],
        ended: |ending| *ending == Ending::Verified,
        shown: [OLD, "store", NEXT_ID],
    },
    Row {
        name: "rotation, new one dies",
        request: Bench::rotation_request,
        verdicts: [Verdict::Ready; 3],
        looks: [BOTH, FORMER_ALONE],
        mutations: &[UPDATE, UPDATE],
        ended: |ending| matches!(ending, Ending::RolledBack { .. }),
        shown: [OLD, "store", KEY_ID],
    },
    Row {
        name: "rotation, both die",
        request: Bench::rotation_request,
        verdicts: [Verdict::Ready; 3],
        looks: [NEITHER; 2],
        mutations: &[UPDATE],
        ended: |ending| matches!(ending, Ending::Stuck { .. }),
        shown: [OLD, "store", NEXT_ID],
    },
];

/// What KMS does wrong, once, one after the other.
const FAULTS: &[(Operation, KmsFault)] = &[
    (UPDATE, KmsFault::ReplyLost { applied: true }),
    (CONNECT, KmsFault::ReplyLost { applied: true }),
    (UPDATE, KmsFault::ReplyLost { applied: false }),
    (DISCONNECT, KmsFault::Throttling),
    (UPDATE, KmsFault::Internal),
    (CONNECT, KmsFault::Unavailable),
    (Operation::DescribeCustomKeyStores, KmsFault::Throttling),
    (DISCONNECT, KmsFault::ReplyLost { applied: true }),
];

/// When, seen from the n-th append, the process ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    Before,
    After,
}

/// Where the journal is.
enum Place {
    Sqlite(TempDir),
    Postgres(Database),
}

impl Place {
    async fn journal(&self) -> Arc<dyn Journal> {
        match self {
            Self::Sqlite(directory) => Arc::new(journal(directory.path())),
            Self::Postgres(database) => {
                let key = SealingKey::parse(&SecretString::from("0a".repeat(32))).unwrap();
                Arc::new(database.journal(Some(key)).await)
            }
        }
    }
}

/// A journal in a process that is about to end: its n-th append never comes back.
struct Doomed {
    journal: Arc<dyn Journal>,
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

    async fn lease(&self, update: UpdateId, holder: &str, ttl: Duration) -> Result<Leased, JournalError> {
        self.journal.lease(update, holder, ttl).await
    }

    async fn renew(&self, update: UpdateId, fence: Fence, ttl: Duration) -> Result<(), JournalError> {
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

/// What came of the lives of a row.
#[derive(Default)]
struct Tally {
    runs: u32,
    as_meant: u32,
    stuck: u32,
    repeated: u32,
    silently_disconnected: u32,
    failures: Vec<String>,
}

impl Tally {
    fn count(&mut self, row: &Row, bench: &Bench, ending: &Ending, what: &str) {
        self.runs += 1;
        let stuck = matches!(ending, Ending::Stuck { .. });
        self.as_meant += u32::from((row.ended)(ending));
        self.stuck += u32::from(stuck);
        let applied: Vec<Operation> = bench.kms.mutations().iter().filter_map(|call| call.operation).collect();
        self.repeated += u32::try_from(applied.len().saturating_sub(row.mutations.len())).unwrap();
        let store = bench.kms.store(bench.store.as_str()).unwrap();
        self.silently_disconnected += u32::from(store.connection != ConnectionState::Connected && !stuck);
        let shown = [store.external().unwrap().endpoint.clone(), store.name.clone(), bench.in_force()];
        if applied != row.mutations || !(row.ended)(ending) || shown != row.shown {
            self.failures.push(format!("{} {what}: {ending:?}, {shown:?}, {applied:?}", row.name));
        }
    }
}

/// Lives until the n-th append, ends, and lives on in another process. Says whether there was an n-th append.
fn end_at(
    world: &Runtime,
    row: &Row,
    place: &Place,
    n: u64,
    when: When,
    fault: Option<usize>,
    tally: &mut Tally,
) -> bool {
    let bench = world.block_on(Bench::new());
    if let Some((operation, fault)) = fault.map(|fault| &FAULTS[fault % FAULTS.len()]) {
        bench.kms.inject(*operation, fault.clone(), 1);
    }
    let end = Arc::new(Notify::new());
    let process = Runtime::new().unwrap();
    let (id, ended) = process.block_on(async {
        let journal = place.journal().await;
        let doomed = Doomed { journal, appends_left: AtomicU64::new(n), when, end: Arc::clone(&end) };
        let driver = bench.driver(Arc::new(doomed), &Says::with_looks(row.verdicts, row.looks));
        let id = submitted(&driver, row, &bench).await;
        tokio::select! {
            () = end.notified() => (id, true),
            _ = follow(&driver, id) => (id, false),
        }
    });
    // Every task of the driver is dropped where it stands, as by a kill.
    process.shutdown_timeout(Duration::from_secs(10));

    let process = Runtime::new().unwrap();
    process.block_on(async {
        let driver = bench.driver(place.journal().await, &Says::with_looks(row.verdicts, row.looks));
        driver.start().await.unwrap();
        let ending = ending(&driver, id).await;
        tally.count(row, &bench, &ending, &format!("ended {when:?} append {n} with fault {fault:?}"));
        driver.shutdown().await;
    });
    process.shutdown_timeout(Duration::from_secs(10));
    ended
}

/// The request, made again where KMS was not there to be asked: nothing is recorded then.
async fn submitted(driver: &Driver, row: &Row, bench: &Bench) -> UpdateId {
    match driver.submit((row.request)(bench)).await {
        Ok(submitted) => submitted.id,
        Err(_) => driver.submit((row.request)(bench)).await.unwrap().id,
    }
}

/// Every row in one database.
#[expect(clippy::print_stdout, reason = "the table is for whoever runs it")]
fn matrix(database: &str, moments: &[When], place: impl Fn(&Runtime) -> Place) {
    let world = Runtime::new().unwrap();
    let mut table =
        format!("{:<11} {:<22} {:<11} runs as meant stuck repeated disconnected\n", "journal", "life", "KMS");
    let mut failures = Vec::new();
    for row in ROWS {
        let mut sound = Tally::default();
        for when in moments.iter().copied() {
            let writes =
                (1..200).take_while(|n| end_at(&world, row, &place(&world), *n, when, None, &mut sound)).count();
            assert!(writes > 5, "{}: {writes} writes", row.name);
        }
        let mut faulty = Tally::default();
        (1..200)
            .zip(0..)
            .take_while(|(n, fault)| {
                let when = if n % 2 == 0 { When::Before } else { When::After };
                end_at(&world, row, &place(&world), *n, when, Some(*fault), &mut faulty)
            })
            .count();
        for (kms, tally) in [("sound", sound), ("with faults", faulty)] {
            writeln!(
                table,
                "{database:<11} {:<22} {kms:<11} {:>4} {:>8} {:>5} {:>8} {:>12}",
                row.name, tally.runs, tally.as_meant, tally.stuck, tally.repeated, tally.silently_disconnected
            )
            .unwrap();
            failures.extend(tally.failures);
        }
    }
    println!("{table}");
    std::fs::write(output_directory("crash-matrix").join(format!("{database}.txt")), &table).unwrap();
    assert!(failures.is_empty(), "{table}{}", failures.join("\n"));
}

#[test]
fn a_process_that_ends_at_any_write_to_sqlite_is_as_if_it_had_not() {
    matrix("SQLite", &[When::Before, When::After], |_| Place::Sqlite(tempfile::tempdir().unwrap()));
}

#[test]
fn a_process_that_ends_at_any_write_to_postgresql_is_as_if_it_had_not() {
    let runtime = Runtime::new().unwrap();
    // Updates of many runs beside each other, as they are in a database.
    let database = runtime.block_on(shared().database());
    // A connection and its authentication take longer than a file: one moment at each write, here.
    matrix("PostgreSQL", &[When::After], move |_| Place::Postgres(database.clone()));
}
