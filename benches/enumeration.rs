//! How long a daemon takes to find the KMS keys of a key store, at which rate it asks, and what it holds in memory.
//!
//! Starts the binary before a simulated KMS that throttles beyond KMS's own quotas (ListKeys 500, DescribeKey 2,000
//! requests a second), first with 100 keys and then with 10,000 of which half are in the key store, and prints how long
//! the first sweep took, the rate it came to against the configured one, how often it was throttled, and the daemon's
//! peak resident set (VmHWM of /proc/PID/status).
//!
//! `cargo bench --bench enumeration`
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that cannot go on stops")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use xks_preflight::sandbox::kms::{ConnectionState, KmsSettings, Operation, SandboxKms, SeedStore};

const ACCESS_KEY_ID: &str = "SANDBOXTESTACCESSKEYID";
const SECRET: &str = "BenchSecretDoNotLeak7dHk2Lq9ZtRw4XyBn6MvCs3PjF";
const AWS_SECRET: &str = "AwsSecretDoNotLeak0123456789";
const RATE: usize = 1_000;

#[tokio::main]
async fn main() {
    for keys in [100, 10_000] {
        enumerate(keys).await;
    }
}

async fn enumerate(keys: usize) {
    #[expect(clippy::disallowed_methods, reason = "the peers of a real process live in real time")]
    let clock: Arc<dyn Fn() -> SystemTime + Send + Sync> = Arc::new(SystemTime::now);
    let kms = SandboxKms::start(KmsSettings::new(clock, "AKIASANDBOXKMSCALLER", AWS_SECRET)).await.unwrap();
    kms.set_quota(Operation::ListKeys, 500);
    kms.set_quota(Operation::DescribeKey, 2_000);
    let seed = SeedStore::public("store", "https://xks.example.com", "/kms/xks/v1", ACCESS_KEY_ID, SECRET);
    let store = kms.add_store(seed.in_state(ConnectionState::Connected));
    for number in 0..keys / 2 {
        kms.add_key(&store, &format!("external-{number}"));
        kms.add_ordinary_key();
    }
    let directory = std::env::temp_dir().join(format!("xks-preflight-enumeration-{}-{keys}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    // Taken by the daemon a moment later.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut daemon = start(&directory, address, &kms, &store);
    let begun = Instant::now();
    let found = format!("xks_preflight_kms_keys{{key_store=\"{store}\",state=\"found\"}} {}", keys / 2);
    let mut look = tokio::time::interval(Duration::from_millis(20));
    let mut metrics = String::new();
    while !metrics.contains(&found) && begun.elapsed() < Duration::from_mins(2) {
        look.tick().await;
        metrics = scrape(address).unwrap_or_default();
    }
    let took = begun.elapsed().as_secs_f64();
    assert!(metrics.contains(&found), "not all keys were found:\n{metrics}");
    let count = |result: &str| {
        let series = format!("xks_preflight_kms_requests_total{{operation=\"DescribeKey\",result=\"{result}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&series));
        line.map_or(0, |count| count.parse::<usize>().unwrap())
    };
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
    println!(
        "{keys} keys, {} in the key store: {took:.1} s from the start, {:.0} DescribeKey/s of {RATE} configured, {} \
         throttled; peak resident set {peak}",
        keys / 2,
        count("ok") as f64 / took,
        count("throttled"),
    );
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    std::fs::remove_dir_all(directory).unwrap();
    kms.shutdown().await;
}

fn start(directory: &std::path::Path, address: SocketAddr, kms: &SandboxKms, store: &str) -> Child {
    use std::os::unix::fs::PermissionsExt as _;
    let secret = directory.join("proxy.secret");
    std::fs::write(&secret, SECRET).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let config = format!(
        "[listen]\napi = \"{address}\"\n[journal]\npath = \"journal.sqlite\"\n[kms]\nregion = \"us-east-1\"\n\
         endpoint_url = \"{}\"\ndescribe_key_rate = {RATE}\n[credentials.proxy]\naccess_key_id = \"{ACCESS_KEY_ID}\"\n\
         secret = {{ file = \"proxy.secret\" }}\n[[key_stores]]\nid = \"{store}\"\ncredential = \"proxy\"\n\
         [monitor]\ninterval = \"1h\"\n",
        kms.endpoint_url()
    );
    std::fs::write(directory.join("config.toml"), config).unwrap();
    Command::new(env!("CARGO_BIN_EXE_xks-preflight"))
        .args(["serve", "--config"])
        .arg(directory.join("config.toml"))
        .env("AWS_ACCESS_KEY_ID", "AKIASANDBOXKMSCALLER")
        .env("AWS_SECRET_ACCESS_KEY", AWS_SECRET)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

/// The daemon's metrics; an error while it does not listen yet.
fn scrape(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
