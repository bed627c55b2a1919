//! How long the overview of 1,000 key stores takes, from the request to the last byte.
//!
//! Starts the binary before a simulated KMS with 1,000 connected external key stores behind one sandbox proxy, waits until
//! each was probed, and asks for `/` while probing goes on.
//!
//! `cargo bench --bench page`
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that cannot go on stops")]

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::RootCertStore;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;
use xks_preflight::sandbox::kms::{ConnectionState, KmsSettings, SandboxKms, SeedStore};
use xks_preflight::sandbox::pki::Pki;
use xks_preflight::sandbox::proxy::{Credentials, ProxySettings, SandboxProxy};

const STORES: usize = 1_000;
const PATH: &str = "/bench/kms/xks/v1";
const ACCESS_KEY_ID: &str = "SANDBOXTESTACCESSKEYID";
const SECRET: &str = "BenchSecretDoNotLeak7dHk2Lq9ZtRw4XyBn6MvCs3PjF";
const ASKED: usize = 50;

#[tokio::main]
async fn main() {
    #[expect(clippy::disallowed_methods, reason = "the peers of a real process live in real time")]
    let clock: Arc<dyn Fn() -> SystemTime + Send + Sync> = Arc::new(SystemTime::now);
    let directory = std::env::temp_dir().join(format!("xks-preflight-page-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let pki = Arc::new(Pki::new(clock()).unwrap());
    let mut settings = ProxySettings::new(Arc::clone(&pki), Arc::clone(&clock), "xks.example.com", PATH);
    settings.host_names = vec!["*.xks.example.com".to_owned()];
    settings.credentials = Credentials::default().with(ACCESS_KEY_ID, SECRET.to_owned());
    let proxy = SandboxProxy::start(settings).await.unwrap();
    let mut settings = KmsSettings::new(clock, "AKIASANDBOXKMSCALLER", "AwsSecretDoNotLeak0123456789");
    let mut roots = RootCertStore::empty();
    roots.add(pki.root_der().clone()).unwrap();
    settings.roots = roots;
    let kms = SandboxKms::start(settings).await.unwrap();
    let (mut stores, mut routes) = (String::new(), String::new());
    for number in 0..STORES {
        let host = format!("s{number}.xks.example.com");
        let store =
            SeedStore::public(&format!("store-{number}"), &format!("https://{host}"), PATH, ACCESS_KEY_ID, SECRET);
        let id = kms.add_store(store.in_state(ConnectionState::Connected));
        writeln!(stores, "[[key_stores]]\nid = \"{id}\"\ncredential = \"proxy\"").unwrap();
        writeln!(routes, "[[preflight.routes]]\nhost = \"{host}\"\nconnect_to = [\"{}\"]", proxy.address()).unwrap();
    }
    std::fs::write(directory.join("ca.pem"), pki.root_pem()).unwrap();
    let console = format!(
        r#"{{"XksProxyUriPath":"{PATH}","XksProxyAuthenticationCredential":{{"AccessKeyId":"{ACCESS_KEY_ID}","RawSecretAccessKey":"{SECRET}"}}}}"#
    );
    std::fs::write(directory.join("proxy.json"), console).unwrap();
    std::fs::set_permissions(directory.join("proxy.json"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let config = format!(
        "[listen]\napi = \"127.0.0.1:0\"\n[journal]\npath = \"journal.sqlite\"\n[kms]\nregion = \"us-east-1\"\n\
         endpoint_url = \"{}\"\n[credentials.proxy]\nconsole_file = \"proxy.json\"\n[preflight]\n\
         ca_files = [\"ca.pem\"]\n[monitor]\ninterval = \"60s\"\n{stores}{routes}",
        kms.endpoint_url()
    );
    std::fs::write(directory.join("config.toml"), config).unwrap();
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_xks-preflight"))
        .args(["serve", "--config"])
        .arg(directory.join("config.toml"))
        .env("AWS_ACCESS_KEY_ID", "AKIASANDBOXKMSCALLER")
        .env("AWS_SECRET_ACCESS_KEY", "AwsSecretDoNotLeak0123456789")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(daemon.stderr.take().unwrap()).lines().map_while(Result::ok);
    let running = told.find(|line| line.contains("xks-preflight is running")).unwrap();
    let address = running.split_once("address=").unwrap().1.split_whitespace().next().unwrap().to_owned();
    // What else it tells is thrown away, so that it never waits for a reader.
    std::thread::spawn(move || told.for_each(drop));
    let deadline = Instant::now() + Duration::from_mins(4);
    let mut look = tokio::time::interval(Duration::from_secs(2));
    loop {
        look.tick().await;
        let (_, page) = overview(&address).await;
        let left = page.matches("no probe yet").count();
        if left == 0 && page.matches("<tr>").count() > STORES || Instant::now() > deadline {
            let ready = page.matches("ready</span>").count();
            println!("{STORES} key stores, {left} not probed yet, {ready} times ready, {} bytes", page.len());
            break;
        }
    }
    let mut times = Vec::new();
    for _ in 0..ASKED {
        times.push(overview(&address).await.0);
    }
    times.sort_unstable();
    println!("overview: median {:?}, slowest of {ASKED} {:?}", times[ASKED / 2], times[ASKED - 1]);
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    std::fs::remove_dir_all(directory).unwrap();
}

/// The overview, and how long it took.
async fn overview(address: &str) -> (Duration, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let asked = Instant::now();
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    (asked.elapsed(), String::from_utf8_lossy(&answer).into_owned())
}
