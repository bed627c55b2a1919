//! The daemon as a process, before a simulated KMS with external key stores behind one sandbox proxy.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use xks_preflight::access::Token;
use xks_preflight::sandbox::kms::{ConnectionState, KmsSettings, SandboxKms, SeedStore};
use xks_preflight::sandbox::pki::Pki;
use xks_preflight::sandbox::proxy::{Credentials, ProxySettings, SandboxProxy};

const PATH: &str = "/bench/kms/xks/v1";
pub(crate) const ACCESS_KEY_ID: &str = "SANDBOXTESTACCESSKEYID";
pub(crate) const SECRET: &str = "BenchSecretDoNotLeak7dHk2Lq9ZtRw4XyBn6MvCs3PjF";
pub(crate) const AWS_ACCESS_KEY_ID: &str = "AKIASANDBOXKMSCALLER";
pub(crate) const AWS_SECRET: &str = "AwsSecretDoNotLeak0123456789";
pub(crate) const KMS_ID: &str = "XKSPFTERRAFORMTESTER";
pub(crate) const KMS_SECRET: &str = "KmsEndpointSecretDoNotLeak0123456789abcd";
/// Longer than anything here takes.
const BOUND: Duration = Duration::from_mins(2);

/// The daemon and its peers.
pub(crate) struct Scene {
    pub(crate) kms: SandboxKms,
    pub(crate) stores: Vec<String>,
    pub(crate) api: SocketAddr,
    pub(crate) kms_endpoint: SocketAddr,
    daemon: Child,
    directory: PathBuf,
    proxy: SandboxProxy,
}

/// How the daemon is run.
pub(crate) struct Terms<'a> {
    pub(crate) stores: usize,
    /// How many people must approve.
    pub(crate) approval: &'a str,
    /// How long a connect takes at the simulated KMS.
    pub(crate) connect: Duration,
    /// The processor that the daemon keeps to.
    pub(crate) processor: Option<usize>,
    /// How many hosts the key stores share; without it each has one of its own, and one to be moved to.
    pub(crate) hosts: Option<usize>,
    /// What else the configuration says.
    pub(crate) more: &'a str,
}

/// Who asks for updates, and who approves them.
pub(crate) fn token(number: u8) -> Token {
    Token::from_random(&[number; 32])
}

/// The endpoint that a key store is to be moved to.
pub(crate) fn candidate(number: usize) -> String {
    format!("https://new{number}.xks.example.com")
}

impl Scene {
    pub(crate) async fn start(terms: Terms<'_>) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the peers of a real process live in real time")]
        let clock: Arc<dyn Fn() -> SystemTime + Send + Sync> = Arc::new(SystemTime::now);
        let directory = std::env::temp_dir().join(format!("xks-preflight-bench-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let pki = Arc::new(Pki::new(clock()).unwrap());
        let new = if terms.hosts.is_none() { terms.stores } else { 0 };
        let present = terms.hosts.unwrap_or(terms.stores);
        let present_hosts = (0..present).map(|number| format!("s{number}.xks.example.com"));
        let hosts: Vec<String> =
            present_hosts.chain((0..new).map(|number| format!("new{number}.xks.example.com"))).collect();
        let mut settings = ProxySettings::new(Arc::clone(&pki), Arc::clone(&clock), "xks.example.com", PATH);
        settings.host_names.clone_from(&hosts);
        settings.credentials = Credentials::default().with(ACCESS_KEY_ID, SECRET.to_owned());
        let proxy = SandboxProxy::start(settings).await.unwrap();
        let mut settings = KmsSettings::new(clock, AWS_ACCESS_KEY_ID, AWS_SECRET);
        let mut roots = RootCertStore::empty();
        roots.add(pki.root_der().clone()).unwrap();
        settings.roots = roots;
        settings.connect_delay = terms.connect;
        settings.routes = hosts.iter().map(|host| (host.clone(), proxy.address())).collect();
        let kms = SandboxKms::start(settings).await.unwrap();
        let mut stores = Vec::new();
        let mut configured = String::new();
        for number in 0..terms.stores {
            let endpoint = format!("https://s{}.xks.example.com", number % present);
            let store = SeedStore::public(&format!("store-{number}"), &endpoint, PATH, ACCESS_KEY_ID, SECRET);
            let id = kms.add_store(store.in_state(ConnectionState::Connected));
            writeln!(configured, "[[key_stores]]\nid = \"{id}\"\ncredential = \"proxy\"").unwrap();
            stores.push(id);
        }
        for host in &hosts {
            let to = proxy.address();
            writeln!(configured, "[[preflight.routes]]\nhost = \"{host}\"\nconnect_to = [\"{to}\"]").unwrap();
        }
        for (number, name, role) in [(1, "ann", "operator"), (2, "bob", "approver")] {
            let hash = token(number).hash();
            writeln!(configured, "[[tokens]]\nname = \"{name}\"\nrole = \"{role}\"\nsha256 = \"{hash}\"").unwrap();
        }
        let (api, kms_endpoint) = (free(), free());
        let configuration = format!(
            "[listen]\napi = \"{api}\"\nkms = \"{kms_endpoint}\"\n\
             [http]\nrequests_per_second = 100000\nburst = 100000\n\
             [journal]\npath = \"journal.sqlite\"\nsealing_key = {{ file = \"sealing-key.secret\" }}\n\
             [kms]\nregion = \"us-east-1\"\nendpoint_url = \"{}\"\n\
             [credentials.proxy]\nconsole_file = \"proxy.json\"\n\
             [preflight]\nca_files = [\"ca.pem\"]\n\
             [update]\napproval = \"{}\"\n\
             [[kms_credentials]]\nname = \"bench\"\naccess_key_id = \"{KMS_ID}\"\nrole = \"operator\"\n\
             secret = {{ file = \"kms-endpoint.secret\" }}\nrun_whole_sequence = true\n{}\n{configured}",
            kms.endpoint_url(),
            terms.approval,
            terms.more,
        );
        let console = json!({
            "XksProxyUriPath": PATH,
            "XksProxyAuthenticationCredential": { "AccessKeyId": ACCESS_KEY_ID, "RawSecretAccessKey": SECRET },
        })
        .to_string();
        for (name, contents) in [
            ("ca.pem", pki.root_pem()),
            ("proxy.json", console.as_str()),
            ("kms-endpoint.secret", KMS_SECRET),
            ("sealing-key.secret", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="),
            ("config.toml", configuration.as_str()),
        ] {
            write(&directory.join(name), contents);
        }
        let daemon = daemon(&directory, terms.processor);
        let scene = Self { kms, stores, api, kms_endpoint, daemon, directory, proxy };
        scene.until_ready().await;
        scene
    }

    async fn until_ready(&self) {
        let deadline = tokio::time::Instant::now() + BOUND;
        let mut look = tokio::time::interval(Duration::from_millis(100));
        loop {
            look.tick().await;
            if let Some(mut connection) = Connection::open(self.api).await
                && connection.get("/readyz").await.0 == 200
            {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{}", self.log());
        }
    }

    /// The last of what the daemon said.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        log[log.len().saturating_sub(4_000)..].to_owned()
    }

    /// The processor time that the daemon has used, in seconds.
    pub(crate) fn processor_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.daemon.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        // utime and stime, in ticks of which there are a hundred a second.
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    }

    /// A line of the daemon's /proc/PID/status in bytes, such as `VmRSS`.
    pub(crate) fn memory(&self, of: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.daemon.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(of)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    pub(crate) fn end(mut self) {
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
        std::fs::remove_dir_all(&self.directory).unwrap();
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn write(file: &Path, contents: &str) {
    use std::io::Write as _;
    let open = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file);
    open.unwrap().write_all(contents.as_bytes()).unwrap();
}

fn daemon(directory: &Path, processor: Option<usize>) -> Child {
    let binary = env!("CARGO_BIN_EXE_xks-preflight");
    let mut command = match processor {
        Some(processor) => {
            let mut command = Command::new("taskset");
            command.args(["-c", &processor.to_string(), binary]);
            command
        }
        None => Command::new(binary),
    };
    command
        .args(["serve", "--config"])
        .arg(directory.join("config.toml"))
        .env("AWS_ACCESS_KEY_ID", AWS_ACCESS_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", AWS_SECRET)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::null())
        .stderr(std::fs::File::create(directory.join("log")).unwrap())
        .spawn()
        .unwrap()
}

/// A connection to the API that is kept.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    token: String,
}

impl Connection {
    pub(crate) async fn open(api: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(api).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        Some(Self { sender, token: format!("Bearer {}", token(1).expose()) })
    }

    pub(crate) async fn get(&mut self, path: &str) -> (u16, Bytes) {
        self.ask("GET", path, "").await
    }

    pub(crate) async fn ask(&mut self, method: &str, path: &str, body: &str) -> (u16, Bytes) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "bench")
            .header("authorization", &self.token)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .unwrap();
        self.sender.ready().await.unwrap();
        let (head, body) = self.sender.send_request(request).await.unwrap().into_parts();
        (head.status.as_u16(), body.collect().await.unwrap().to_bytes())
    }

    /// As somebody else.
    pub(crate) fn as_token(&mut self, number: u8) {
        self.token = format!("Bearer {}", token(number).expose());
    }

    pub(crate) async fn json(&mut self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.ask(method, path, &body.to_string()).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        serde_json::from_str(&answer).unwrap()
    }
}
