//! Reads of the API while 50 updates are open: 2,000 a second, of which no one waits for another.
//!
//! The daemon keeps to one processor, the generator and the simulated peers to another. Half of the updates wait for an
//! approval, the others for the key store to connect. Every request has a time at which it is due, whatever became of
//! those before it, and its latency counts from then: a daemon that stalls is charged for all that came meanwhile.
//!
//! `cargo bench --bench reads`
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that cannot go on stops")]

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

#[path = "daemon/scene.rs"]
#[expect(dead_code, reason = "the other benchmark uses the rest")]
mod scene;

use scene::{Connection, Scene, Terms, candidate};

const OPEN: usize = 50;
const RATE: u64 = 2_000;
const SECONDS: u64 = 20;
/// Thrown away: connections are made, caches filled.
const WARM_UP: u64 = 3;
const CONNECTIONS: usize = 64;
/// Latencies are recorded up to this, in microseconds.
const LONGEST: u64 = 60_000_000;

/// What is read, and how often of ten.
const KINDS: [&str; 4] = ["one update", "one key store", "20 updates", "50 key stores"];

fn main() {
    // The process itself starts once more, on the other processor.
    if std::env::var_os("XKS_BENCH_PINNED").is_none() {
        let again = std::env::current_exe().unwrap();
        let status = Command::new("taskset").arg("-c").arg("1").arg(again).env("XKS_BENCH_PINNED", "1").status();
        std::process::exit(status.unwrap().code().unwrap_or(1));
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(bench());
}

async fn bench() {
    let terms = Terms {
        stores: OPEN,
        approval: "one",
        connect: Duration::from_hours(1),
        processor: Some(0),
        hosts: None,
        more: "",
    };
    let scene = Scene::start(terms).await;
    let updates = open_updates(&scene).await;
    let paths = Arc::new(Paths { updates, stores: scene.stores.clone() });
    println!(
        "{OPEN} updates open, {RATE} reads a second for {SECONDS} s, daemon on one processor; ms: p50, p99, p99.9, most"
    );
    load(&scene, &paths, WARM_UP).await;
    let before = scene.processor_seconds();
    let (histograms, failed) = load(&scene, &paths, SECONDS).await;
    let share = (scene.processor_seconds() - before) / SECONDS as f64;
    let mut all = Histogram::new_with_max(LONGEST, 3).unwrap();
    for (kind, histogram) in KINDS.iter().zip(&histograms) {
        tell(kind, histogram);
        all.add(histogram).unwrap();
    }
    tell("all", &all);
    println!("failed: {failed}; the daemon used {:.0} % of its processor", 100.0 * share);
    scene.end();
}

fn tell(kind: &str, histogram: &Histogram<u64>) {
    let ms = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
    let (p50, p99, p999, most) = (ms(0.5), ms(0.99), ms(0.999), ms(1.0));
    println!("{kind:<14} {:>7} requests {p50:>8.2} {p99:>8.2} {p999:>8.2} {most:>8.2}", histogram.len());
}

struct Paths {
    updates: Vec<String>,
    stores: Vec<String>,
}

impl Paths {
    /// What request number `number` reads.
    fn of(&self, number: u64) -> (usize, String) {
        let at = usize::try_from(number / 10).unwrap() % OPEN;
        match number % 10 {
            0..6 => (0, format!("/v1/updates/{}", self.updates[at])),
            6..8 => (1, format!("/v1/key-stores/{}", self.stores[at])),
            8 => (2, "/v1/updates".to_owned()),
            _ => (3, "/v1/key-stores".to_owned()),
        }
    }
}

/// Asks for one update of each key store, and approves every other one, so that its key store goes on to CONNECTING.
async fn open_updates(scene: &Scene) -> Vec<String> {
    let mut connection = Connection::open(scene.api).await.unwrap();
    let mut updates = Vec::new();
    for (number, store) in scene.stores.iter().enumerate() {
        let body = json!({
            "CustomKeyStoreId": store,
            "XksProxyUriEndpoint": candidate(number),
            "options": { "acknowledge_outage": true },
        });
        let update = connection.json("POST", "/v1/updates", &body).await;
        updates.push(update["id"].as_str().unwrap().to_owned());
    }
    for (number, update) in updates.iter().enumerate() {
        let waiting = until(&mut connection, update, |shown| shown["status"] == "awaiting_approval").await;
        if number % 2 == 1 {
            continue;
        }
        let mut approver = Connection::open(scene.api).await.unwrap();
        approver.as_token(2);
        let yes = json!({ "digest": waiting["approval_digest"], "acknowledge_outage": true });
        approver.json("POST", &format!("/v1/updates/{update}/approve"), &yes).await;
    }
    for update in updates.iter().step_by(2) {
        until(&mut connection, update, |shown| shown["step"] == "connect").await;
    }
    updates
}

async fn until(connection: &mut Connection, update: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_mins(3);
    let mut look = tokio::time::interval(Duration::from_millis(50));
    loop {
        look.tick().await;
        let shown = connection.json("GET", &format!("/v1/updates/{update}"), &Value::Null).await;
        if holds(&shown) {
            return shown;
        }
        assert!(Instant::now() < deadline, "{shown}");
    }
}

/// Reads at the rate for so long; gives latencies in microseconds by kind, and how many were not answered 200.
async fn load(scene: &Scene, paths: &Arc<Paths>, seconds: u64) -> ([Histogram<u64>; 4], u64) {
    let next = Arc::new(AtomicU64::new(0));
    let begin = Instant::now() + Duration::from_millis(100);
    let workers = (0..CONNECTIONS).map(|_| {
        let (next, paths, api) = (Arc::clone(&next), Arc::clone(paths), scene.api);
        tokio::spawn(async move {
            let mut histograms = [(); 4].map(|()| Histogram::new_with_max(LONGEST, 3).unwrap());
            let mut failed = 0;
            let mut connection = Connection::open(api).await.unwrap();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= seconds * RATE {
                    return (histograms, failed);
                }
                let due = begin + Duration::from_micros(number * 1_000_000 / RATE);
                sleep_until(due).await;
                let (kind, path) = paths.of(number);
                let (status, body) = connection.get(&path).await;
                if status != 200 || body.is_empty() {
                    failed += 1;
                }
                let latency = u64::try_from(due.elapsed().as_micros()).unwrap();
                histograms[kind].record(latency.min(LONGEST)).unwrap();
            }
        })
    });
    let mut sums = [(); 4].map(|()| Histogram::new_with_max(LONGEST, 3).unwrap());
    let mut failures = 0;
    for worker in workers.collect::<Vec<_>>() {
        let (histograms, failed) = worker.await.unwrap();
        failures += failed;
        for (sum, histogram) in sums.iter_mut().zip(&histograms) {
            sum.add(histogram).unwrap();
        }
    }
    (sums, failures)
}
