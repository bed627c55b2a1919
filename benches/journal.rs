//! What it costs to record an event: SQLite in a file beside PostgreSQL on loopback, both durable.
//!
//! Every journal records the lives of updates one after the other (create, lease, 20 events, conclusion), and then of
//! eight key stores at once. PostgreSQL is started for it with `fsync = on`.
//!
//! `cargo bench --bench journal`
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a benchmark that cannot go on stops")]

use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::Instant;
use xks_preflight::clock::Timestamp;
use xks_preflight::id::{IdSource, UpdateId};
use xks_preflight::journal::{Created, Journal, Leased, NewUpdate, SqliteJournal, SqliteOptions};
use xks_preflight::key_store::{
    Change, Configuration, ConnectionState, Connectivity, CustomKeyStoreId, CustomKeyStoreName, KeyStore,
    XksConfiguration, XksProxyUriEndpoint, XksProxyUriPath,
};
use xks_preflight::update::{Ending, Event, Options, Plan, Policy, Standing, Wanted, plan};

#[path = "../tests/it/postgres.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod postgres;

const EVENTS: u64 = 20;
const LIVES: u32 = 40;
const AT_ONCE: u32 = 8;

#[tokio::main]
async fn main() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.sqlite");
    let sqlite = SqliteJournal::open(SqliteOptions { path, sealing_key: None, crash_after_writes: None }).unwrap();
    let server = postgres::Server::start();
    server.set("fsync = on");
    let database = server.database().await;
    let fsync: String = database.client().await.query_one("SHOW fsync", &[]).await.unwrap().get(0);
    assert_eq!(fsync, "on");
    let postgres = database.journal(None).await;
    let journals: [(&str, Arc<dyn Journal>); 2] = [("SQLite", Arc::new(sqlite)), ("PostgreSQL", Arc::new(postgres))];
    println!("one append, in ms: median, p99; appends/s   ({EVENTS} events of each of {LIVES} updates)");
    let mut medians = Vec::new();
    for (name, journal) in &journals {
        let mut alone = Histogram::<u64>::new(3).unwrap();
        let began = Instant::now();
        for number in 0..LIVES {
            live(&**journal, "cks-bench", number, &mut alone).await;
        }
        tell(name, "one update at a time", &alone, began.elapsed());
        medians.push(alone.value_at_quantile(0.5) as f64);
        let began = Instant::now();
        let lives = (0..AT_ONCE).map(|store| {
            let journal = Arc::clone(journal);
            tokio::spawn(async move {
                let mut histogram = Histogram::<u64>::new(3).unwrap();
                for number in 0..LIVES / AT_ONCE {
                    live(&*journal, &format!("cks-bench-{store}"), 1_000 * store + number, &mut histogram).await;
                }
                histogram
            })
        });
        let mut together = Histogram::<u64>::new(3).unwrap();
        for life in lives.collect::<Vec<_>>() {
            together.add(life.await.unwrap()).unwrap();
        }
        tell(name, "eight at once", &together, began.elapsed());
    }
    println!("median of PostgreSQL / SQLite, one at a time: {:.2}", medians[1] / medians[0]);
}

fn tell(name: &str, how: &str, histogram: &Histogram<u64>, took: Duration) {
    let ms = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
    let rate = histogram.len() as f64 / took.as_secs_f64();
    println!("{name:<11} {how:<21} {:>7.2} {:>7.2} {rate:>8.0}", ms(0.5), ms(0.99));
}

async fn live(journal: &dyn Journal, key_store: &str, number: u32, histogram: &mut Histogram<u64>) {
    let now = Timestamp::from_unix(1_800_000_000 + i64::from(number));
    let plan = planned(key_store, now);
    let id = plan.id;
    let new = NewUpdate { plan, at: now, idempotency: None, secrets: Vec::new() };
    assert_eq!(journal.create(new).await.unwrap(), Created::New);
    let Leased::Granted(fence) = journal.lease(id, "bench", Duration::from_mins(1)).await.unwrap() else {
        panic!("somebody else has it")
    };
    for sequence in 2..2 + EVENTS {
        let event = Event::Observed { state: ConnectionState::Disconnecting, standing: Standing::Former };
        let began = Instant::now();
        journal.append(id, fence, sequence, now, &event).await.unwrap();
        histogram.record(u64::try_from(began.elapsed().as_micros()).unwrap()).unwrap();
    }
    let event = Event::Concluded { ending: Ending::Verified };
    journal.append(id, fence, 2 + EVENTS, now, &event).await.unwrap();
}

fn planned(key_store: &str, now: Timestamp) -> Plan {
    let store = KeyStore {
        id: CustomKeyStoreId::parse(key_store).unwrap(),
        name: CustomKeyStoreName::parse("store").unwrap(),
        created: None,
        state: ConnectionState::Connected,
        configuration: Configuration::Xks(XksConfiguration {
            endpoint: XksProxyUriEndpoint::parse("https://xks.example.com").unwrap(),
            path: XksProxyUriPath::parse("/kms/xks/v1").unwrap(),
            access_key_id: xks_preflight::key_store::AccessKeyId::parse("AKIAI2SFODNN7EXAMPLE").unwrap(),
            connectivity: Connectivity::PublicEndpoint,
        }),
    };
    let endpoint = Some(XksProxyUriEndpoint::parse("https://new.example.com").unwrap());
    let wanted = Wanted {
        id: UpdateId::new(&IdSource::from_entropy(), now),
        change: Change { endpoint, ..Change::default() },
        options: Options { acknowledge_outage: true, ..Options::default() },
        former_credential: None,
        former_password: false,
        waivers: Vec::new(),
        keys: None,
        by: "bench".into(),
    };
    plan(&store, wanted, &Policy::default(), now).unwrap()
}
