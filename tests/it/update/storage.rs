//! What the journal's storage does to an update under way: gone, full, read-only, restored from a backup; and clocks that
//! jump. Nothing is sent to KMS that is not recorded first, and nothing twice.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use xks_preflight::audit::{Head, verify};
use xks_preflight::chain::Chain;
use xks_preflight::check::Verdict;
use xks_preflight::clock::{Clock, SystemClock, Timestamp};
use xks_preflight::driver::{Driver, PreflightRequest, Verifier};
use xks_preflight::id::{IdSource, ReportId};
use xks_preflight::journal::{
    AuditTrail as _, Journal, LinesWanted, OpenError, OrderDesk as _, SealingKey, SqliteJournal, SqliteOptions,
};
use xks_preflight::sandbox::kms::ConnectionState;
use xks_preflight::update::{Ending, Event, PreflightSummary, Round};

use super::bench::{BOUND, Bench, NEW, OLD, Says, ending, journal};
use crate::daemon::stage::until;
use crate::journal::contract::{new, planned};
use crate::postgres::{Database, Server, shared};

const COLD: [&str; 3] = ["DisconnectCustomKeyStore", "UpdateCustomKeyStore", "ConnectCustomKeyStore"];
const NOW: Duration = Duration::from_millis(10);

fn key() -> SealingKey {
    SealingKey::parse(&SecretString::from("0a".repeat(32))).unwrap()
}

async fn begun(bench: &Bench) {
    until(BOUND, "a first mutation", || async { !bench.calls().is_empty() }).await;
}

async fn disconnected(bench: &Bench) {
    until(BOUND, "it is DISCONNECTED", || async { bench.shown().1 == ConnectionState::Disconnected }).await;
}

/// Whether the driver can record: it is asked for an update that nobody could make.
async fn until_it_records(driver: &Driver, bench: &Bench, records: bool) {
    let refused = || async {
        let answer = driver.submit(bench.endpoint_request()).await;
        matches!(answer, Err(xks_preflight::driver::SubmitError::Journal(_))) != records
    };
    until(BOUND, "the journal has changed its mind", refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_down_in_the_middle_stops_the_update_until_it_is_back() {
    let (bench, server) = (Bench::new().await, Server::start());
    bench.kms.set_delays(NOW, Duration::from_secs(1));
    let journal = server.database().await.journal(Some(key())).await;
    let driver = bench.driver(Arc::new(journal), &Says::ready());
    let id = driver.submit(bench.endpoint_request()).await.unwrap().id;
    begun(&bench).await;
    server.stop();
    disconnected(&bench).await;
    until_it_records(&driver, &bench, false).await;
    assert_eq!(bench.calls(), COLD[..1], "nothing is sent that cannot be recorded");
    server.run_again();
    assert_eq!(ending(&driver, id).await, Ending::Verified);
    assert_eq!(bench.calls(), COLD);
    driver.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_turns_read_only_stops_the_update_until_it_can_be_written() {
    let (bench, server) = (Bench::new().await, Server::start());
    bench.kms.set_delays(NOW, Duration::from_secs(1));
    let journal = server.database().await.journal(Some(key())).await;
    let other = journal.clone();
    let driver = bench.driver(Arc::new(journal), &Says::ready());
    let id = driver.submit(bench.endpoint_request()).await.unwrap().id;
    begun(&bench).await;
    server.set("default_transaction_read_only = on");
    disconnected(&bench).await;
    assert!(driver.get(id).await.is_ok(), "it can still be read");
    let event = Event::CancelRequested { by: "op".into() };
    until(BOUND, "it is read-only", || async { other.leave(id, &event, None).await.is_err() }).await;
    assert_eq!(bench.calls(), COLD[..1], "nothing is sent that cannot be recorded");
    server.set("default_transaction_read_only = off");
    assert_eq!(ending(&driver, id).await, Ending::Verified);
    assert_eq!(bench.calls(), COLD);
    driver.shutdown().await;
}

/// A small disk of its own, in memory. Needs root, as `tests/run` has or gets.
struct Disk(TempDir);

impl Disk {
    fn mounted(options: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        as_root("mount", &["-t", "tmpfs", "-o", options, "tmpfs"], directory.path());
        Self(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        as_root("umount", &["--lazy"], self.0.path());
    }
}

fn as_root(program: &str, arguments: &[&str], path: &Path) {
    use std::os::unix::fs::MetadataExt as _;
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let mut command = if root { Command::new(program) } else { Command::new("sudo") };
    if !root {
        command.args(["-n", program]);
    }
    let output = command.args(arguments).arg(path).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_the_update_until_there_is_room() {
    let (bench, disk) = (Bench::new().await, Disk::mounted("size=2m,mode=0777"));
    bench.kms.set_delays(NOW, Duration::from_secs(1));
    let journal = journal(disk.path());
    let driver = bench.driver(Arc::new(journal), &Says::ready());
    let id = driver.submit(bench.endpoint_request()).await.unwrap().id;
    begun(&bench).await;
    let filler = disk.path().join("filler");
    let full = std::fs::write(&filler, vec![1; 4 << 20]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    disconnected(&bench).await;
    assert!(driver.get(id).await.is_ok(), "it can still be read");
    assert!(bench.calls().len() < 3, "{:?}", bench.calls());
    std::fs::remove_file(&filler).unwrap();
    assert_eq!(ending(&driver, id).await, Ending::Verified);
    assert_eq!(bench.calls(), COLD);
    driver.shutdown().await;
}

/// The disk with the database's tables is full: what fits in the pages that are there is of no help.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_the_database_stops_the_update_until_there_is_room() {
    let (bench, server, disk) = (Bench::new().await, Server::start(), Disk::mounted("size=24m,mode=0777"));
    bench.kms.set_delays(NOW, Duration::from_secs(3));
    let tables = disk.path().join("tables");
    std::fs::create_dir(&tables).unwrap();
    owned_by_the_server(&tables);
    let database = server.database_in(&tables).await;
    let journal = database.journal(Some(key())).await;
    // Every row needs a page of its own, so that none finds room in a page that is there.
    database
        .execute("ALTER TABLE xks_preflight.events SET (fillfactor = 10); ALTER TABLE xks_preflight.audit SET (fillfactor = 10)")
        .await;
    let other = journal.clone();
    let driver = bench.driver(Arc::new(journal), &Says::ready());
    let id = driver.submit(bench.endpoint_request()).await.unwrap().id;
    begun(&bench).await;
    let filler = disk.path().join("filler");
    let full = std::fs::write(&filler, vec![1; 32 << 20]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    disconnected(&bench).await;
    // A new update is refused, and nothing of it is left behind.
    let another = planned(&IdSource::from_seed(1), "cks-another", 1);
    let refused = async {
        loop {
            match other.create(new(&another, None, "")).await {
                Err(error) => return Chain(&error).to_string(),
                Ok(_) => tokio::task::yield_now().await,
            }
        }
    };
    let told = tokio::time::timeout(BOUND, refused).await.unwrap();
    assert!(told.contains("No space left on device"), "{told}");
    assert!(driver.get(id).await.is_ok(), "it can still be read");
    assert_eq!(other.list(None, 10).await.unwrap(), [id], "all or nothing");
    assert_eq!(bench.calls(), COLD[..1], "nothing is sent that cannot be recorded");
    std::fs::remove_file(&filler).unwrap();
    assert_eq!(ending(&driver, id).await, Ending::Verified);
    assert_eq!(bench.calls(), COLD);
    let lines = other.lines(&LinesWanted { limit: 1_000, ..LinesWanted::default() }).await.unwrap();
    verify(Head::genesis(), &lines, None).unwrap();
    driver.shutdown().await;
}

fn owned_by_the_server(directory: &Path) {
    use std::os::unix::fs::MetadataExt as _;
    // Whoever is no administrator runs the server as itself.
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        as_root("chown", &["postgres:postgres"], directory);
    }
}

#[test]
fn a_read_only_disk_is_told_at_the_start() {
    let disk = Disk::mounted("size=1m,ro");
    let options =
        SqliteOptions { path: disk.path().join("journal.sqlite"), sealing_key: None, crash_after_writes: None };
    let refused = SqliteJournal::open(options).unwrap_err();
    assert!(
        matches!(&refused, OpenError::File { source, .. } if source.kind() == std::io::ErrorKind::ReadOnlyFilesystem)
    );
}

/// A clock that somebody sets.
#[derive(Debug, Default)]
struct Set(AtomicI64);

impl Clock for Set {
    fn now(&self) -> Timestamp {
        let hours = self.0.load(Ordering::SeqCst);
        let by = Duration::from_secs(hours.unsigned_abs() * 3_600);
        if hours < 0 { SystemClock.now().minus(by) } else { SystemClock.now().plus(by) }
    }
}

/// Passes every pre-flight, and sets the clock during one of them.
struct Sets {
    clock: Arc<Set>,
    during: Round,
    hours: Mutex<i64>,
}

#[async_trait]
impl Verifier for Sets {
    async fn preflight(&self, request: PreflightRequest) -> Result<PreflightSummary, String> {
        if request.round == self.during {
            self.clock.0.fetch_add(std::mem::take(&mut *self.hours.lock().unwrap()), Ordering::SeqCst);
        }
        let now = self.clock.now();
        Ok(PreflightSummary {
            report: ReportId::new(&IdSource::from_entropy(), now),
            verdict: Verdict::Ready,
            settings: request.plan.settings(),
            exception: None,
            message: "as told".into(),
            finished_at: now,
            credentials: None,
        })
    }
}

#[tokio::test]
async fn a_clock_that_jumps_ends_no_update_that_has_begun_and_begins_none_that_has_expired() {
    // Forward beyond the plan's end before anything is changed: it is not begun. Whatever the clock does later, it ends.
    for (during, hours, begins) in [
        (Round::First, 48, false),
        (Round::First, -48, true),
        (Round::Verification, 48, true),
        (Round::Verification, -48, true),
    ] {
        let (bench, directory) = (Bench::new().await, tempfile::tempdir().unwrap());
        let clock = Arc::new(Set::default());
        let sets = Arc::new(Sets { clock: Arc::clone(&clock), during, hours: Mutex::new(hours) });
        let mut parts = bench.parts(Arc::new(journal(directory.path())));
        parts.clock = clock;
        parts.verifier = sets;
        let driver = Driver::new(parts);
        let id = driver.submit(bench.endpoint_request()).await.unwrap().id;
        let ending = ending(&driver, id).await;
        if begins {
            assert_eq!(ending, Ending::Verified, "{during:?} {hours}");
            assert_eq!(bench.calls(), COLD, "{during:?} {hours}");
        } else {
            assert!(matches!(&ending, Ending::Refused { .. }), "{during:?} {hours}: {ending:?}");
            assert_eq!(bench.shown(), (OLD.to_owned(), ConnectionState::Connected));
            assert_eq!(bench.calls(), [""; 0]);
        }
        driver.shutdown().await;
    }
}

/// Begins an update, backs the journal up by this while it goes on, and loses the process and the journal.
fn lost_in_the_middle<J>(
    world: &Runtime,
    bench: &Bench,
    open: impl Future<Output = J>,
    backup: impl Future<Output = ()>,
) where
    J: Journal + 'static,
{
    bench.kms.set_delays(NOW, Duration::from_secs(3));
    let process = Runtime::new().unwrap();
    process.block_on(async {
        let driver = bench.driver(Arc::new(open.await), &Says::ready());
        driver.submit(bench.endpoint_request()).await.unwrap();
        begun(bench).await;
        backup.await;
    });
    process.shutdown_timeout(Duration::from_secs(10));
    world.block_on(disconnected(bench));
    assert_eq!(bench.calls(), COLD[..1]);
}

async fn goes_on(bench: &Bench, journal: impl Journal + 'static) {
    let id = journal.open_updates().await.unwrap()[0];
    let driver = bench.driver(Arc::new(journal), &Says::ready());
    assert_eq!(driver.start().await.unwrap(), 1);
    assert_eq!(ending(&driver, id).await, Ending::Verified);
    assert_eq!(bench.calls(), COLD);
    assert_eq!(bench.shown(), (NEW.to_owned(), ConnectionState::Connected));
    driver.shutdown().await;
}

#[test]
fn a_sqlite_journal_that_is_restored_in_the_middle_goes_on_by_observing() {
    let world = Runtime::new().unwrap();
    let bench = world.block_on(Bench::new());
    let (lost, restored) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to): (PathBuf, PathBuf) = (lost.path().join("journal.sqlite"), restored.path().join("journal.sqlite"));
    lost_in_the_middle(&world, &bench, async { journal(lost.path()) }, async {
        let open = rusqlite::Connection::open(&from).unwrap();
        open.execute("VACUUM INTO ?1", [to.to_str().unwrap()]).unwrap();
    });
    drop(lost);
    world.block_on(goes_on(&bench, journal(restored.path())));
}

#[test]
fn a_postgresql_journal_that_is_restored_in_the_middle_goes_on_by_observing() {
    let world = Runtime::new().unwrap();
    let bench = world.block_on(Bench::new());
    let (lost, restored): (Database, Database) =
        world.block_on(async { (shared().database().await, shared().database().await) });
    let directory = tempfile::tempdir().unwrap();
    let dump = directory.path().join("journal.dump");
    lost_in_the_middle(&world, &bench, lost.journal(Some(key())), async {
        lost.tool("pg_dump", &["-Fc", "-f"], &dump);
    });
    restored.tool("pg_restore", &["--exit-on-error"], &dump);
    world.block_on(async { goes_on(&bench, restored.journal(Some(key())).await).await });
}
