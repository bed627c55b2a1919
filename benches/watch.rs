//! A daemon that watches 10,000 key stores, each once a minute.
//!
//! Starts the binary before a simulated KMS with 10,000 connected external key stores on 100 hosts, lets it probe each of
//! them for two minutes after a first one, and prints what share of a processor it used, what it holds in memory, by how
//! much probes began after their time, and how long `/metrics` and the page take with all of them. The peers run in this
//! process.
//!
//! `cargo bench --bench watch`
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that cannot go on stops")]

use std::time::Duration;

use tokio::time::Instant;

#[path = "daemon/scene.rs"]
#[expect(dead_code, reason = "the other benchmarks use the rest")]
mod scene;

use scene::{Connection, Scene, Terms};

const STORES: usize = 10_000;
const HOSTS: usize = 100;
/// From the first probes on; every key store has its turn, and memory what it will hold.
const WARM_UP: Duration = Duration::from_secs(90);
const MEASURED: Duration = Duration::from_mins(2);
const SCRAPES: usize = 5;

#[tokio::main]
async fn main() {
    let stores = std::env::var("XKS_BENCH_STORES").ok().map_or(STORES, |text| text.parse().unwrap());
    let more = std::env::var("XKS_BENCH_MONITOR").unwrap_or_default();
    let terms = Terms {
        stores,
        approval: "none",
        connect: Duration::ZERO,
        processor: None,
        hosts: Some(HOSTS.min(stores)),
        more: &more,
    };
    let begun = Instant::now();
    let scene = Scene::start(terms).await;
    println!("{stores} key stores; ready {:.1} s after the start", begun.elapsed().as_secs_f64());
    tokio::time::sleep(WARM_UP).await;
    let (probes, lag_before) = (probes(&scene).await, lag(&scene).await);
    let before = scene.processor_seconds();
    let since = Instant::now();
    tokio::time::sleep(MEASURED).await;
    let share = (scene.processor_seconds() - before) / since.elapsed().as_secs_f64();
    let lag_after = lag(&scene).await;
    let after = crate::probes(&scene).await;
    let (made, unready) = (after.0 - probes.0, after.1 - probes.1);
    let rate = made / since.elapsed().as_secs_f64();
    println!("probes: {rate:.0} a second; {unready} of {made} not ready");
    assert!(rate > 0.9 * stores as f64 / 60.0 && unready < 0.001 * made, "{}", scene.log());
    println!("processor: {:.1} % of one core", 100.0 * share);
    println!("memory: {} MB resident, at most {} MB", scene.memory("VmRSS") >> 20, scene.memory("VmHWM") >> 20);
    let begun: Vec<(f64, f64)> = lag_after.iter().zip(&lag_before).map(|((le, a), (_, b))| (*le, a - b)).collect();
    let all = begun.last().unwrap().1;
    for quantile in [0.5, 0.99, 0.999] {
        let within = begun.iter().find(|(_, count)| *count >= quantile * all).unwrap().0;
        println!("probes began late by: p{} at most {} ms", 100.0 * quantile, 1_000.0 * within);
    }
    for path in ["/metrics", "/", "/v1/key-stores"] {
        let mut connection = Connection::open(scene.api).await.unwrap();
        let mut slowest = Duration::ZERO;
        let mut total = Duration::ZERO;
        let mut size = 0;
        for _ in 0..SCRAPES {
            let asked = Instant::now();
            let (status, body) = connection.get(path).await;
            assert_eq!(status, 200, "{path}");
            slowest = slowest.max(asked.elapsed());
            total += asked.elapsed();
            size = body.len();
        }
        let mean = total / u32::try_from(SCRAPES).unwrap();
        println!(
            "GET {path}: {} ms, at most {} ms, {:.1} MB",
            mean.as_millis(),
            slowest.as_millis(),
            size as f64 / 1e6
        );
    }
    scene.end();
}

async fn metrics(scene: &Scene) -> String {
    let mut connection = Connection::open(scene.api).await.unwrap();
    let (status, body) = connection.get("/metrics").await;
    assert_eq!(status, 200);
    String::from_utf8(body.to_vec()).unwrap()
}

/// How many probes were made, and how many of them were not ready: peers and daemon share two cores here.
async fn probes(scene: &Scene) -> (f64, f64) {
    let text = metrics(scene).await;
    let (mut made, mut unready) = (0.0, 0.0);
    for line in text.lines().filter(|line| line.starts_with("xks_preflight_probes_total{")) {
        let count = line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
        made += count;
        if !line.contains("result=\"ready\"") {
            unready += count;
        }
    }
    (made, unready)
}

/// The cumulative buckets of how late probes began, in seconds.
async fn lag(scene: &Scene) -> Vec<(f64, f64)> {
    let text = metrics(scene).await;
    let buckets = text.lines().filter_map(|line| line.strip_prefix("xks_preflight_probe_lag_seconds_bucket{le=\""));
    let parse = |bucket: &str| {
        let (edge, count) = bucket.split_once("\"} ").unwrap();
        (edge.parse().unwrap_or(f64::INFINITY), count.parse().unwrap())
    };
    buckets.map(parse).collect()
}
