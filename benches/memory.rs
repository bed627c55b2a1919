//! What a daemon that watches 100 key stores holds in memory.
//!
//! Starts the binary before a simulated KMS with 100 connected external key stores behind one sandbox proxy, lets it
//! probe each of them several times, and prints its resident set (VmRSS of /proc/PID/status).
//!
//! `cargo bench --bench memory`
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that cannot go on stops")]

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::RootCertStore;
use xks_preflight::sandbox::kms::{ConnectionState, KmsSettings, SandboxKms, SeedStore};
use xks_preflight::sandbox::pki::Pki;
use xks_preflight::sandbox::proxy::{Credentials, ProxySettings, SandboxProxy};

const STORES: usize = 100;
const PATH: &str = "/bench/kms/xks/v1";
const ACCESS_KEY_ID: &str = "SANDBOXTESTACCESSKEYID";
const SECRET: &str = "BenchSecretDoNotLeak7dHk2Lq9ZtRw4XyBn6MvCs3PjF";
const PROBES_OF_EACH: usize = 5;

#[tokio::main]
async fn main() {
    #[expect(clippy::disallowed_methods, reason = "the peers of a real process live in real time")]
    let clock: Arc<dyn Fn() -> SystemTime + Send + Sync> = Arc::new(SystemTime::now);
    let directory = std::env::temp_dir().join(format!("xks-preflight-memory-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let pki = Arc::new(Pki::new(clock()).unwrap());
    let hosts: Vec<String> = (0..STORES).map(|number| format!("s{number}.xks.example.com")).collect();
    let mut settings = ProxySettings::new(Arc::clone(&pki), Arc::clone(&clock), "xks.example.com", PATH);
    settings.host_names.clone_from(&hosts);
    settings.credentials = Credentials::default().with(ACCESS_KEY_ID, SECRET.to_owned());
    let proxy = SandboxProxy::start(settings).await.unwrap();
    let mut settings = KmsSettings::new(clock, "AKIASANDBOXKMSCALLER", "AwsSecretDoNotLeak0123456789");
    let mut roots = RootCertStore::empty();
    roots.add(pki.root_der().clone()).unwrap();
    settings.roots = roots;
    let kms = SandboxKms::start(settings).await.unwrap();
    let mut stores = String::new();
    let mut routes = String::new();
    for (number, host) in hosts.iter().enumerate() {
        let endpoint = format!("https://{host}");
        let store = SeedStore::public(&format!("store-{number}"), &endpoint, PATH, ACCESS_KEY_ID, SECRET);
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
         ca_files = [\"ca.pem\"]\n[monitor]\ninterval = \"2s\"\n{stores}{routes}",
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
        .spawn()
        .unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    let mut look = tokio::time::interval(Duration::from_millis(200));
    // Two requests a probe: one cold, one warm.
    while proxy.history().len() < 2 * STORES * PROBES_OF_EACH && tokio::time::Instant::now() < deadline {
        look.tick().await;
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let resident = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    println!("{STORES} key stores, {} requests to the proxy: {resident}", proxy.history().len());
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    std::fs::remove_dir_all(directory).unwrap();
}
