//! A simulated KMS with one connected key store, its proxy and a candidate; and the daemon as a process before them.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::RootCertStore;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use xks_preflight::sandbox::cloudhsm::{CloudHsmSettings, Clusters, SandboxCloudHsm};
use xks_preflight::sandbox::ec2::{Ec2State, SandboxEc2, SecurityGroup};
use xks_preflight::sandbox::kms::{ConnectionState, KmsSettings, Operation, SandboxKms, Secret, SeedStore};
use xks_preflight::sandbox::pki::Pki;
use xks_preflight::sandbox::proxy::{Credentials, ExternalKey, KeyMaterials, ProxySettings, SandboxProxy};
use xks_preflight::sandbox::query::QuerySettings;

use crate::peers::{ACCESS_KEY_ID, BINARY, PATH, SECRET, output_directory, wall_clock, write_console_file};

pub(crate) const OLD: &str = "https://old.xks.example.com";
pub(crate) const NEW: &str = "https://new.xks.example.com";
const TEST_KEY: &str = "xks-preflight-test";
pub(crate) const AWS_ACCESS_KEY_ID: &str = "AKIASANDBOXKMSCALLER";
pub(crate) const AWS_SECRET: &str = "AwsSecretDoNotLeak0123456789";
pub(crate) const KMS_ID: &str = "XKSPFTERRAFORMTESTER";
pub(crate) const KMS_SECRET: &str = "KmsEndpointSecretDoNotLeak0123456789abcd";
pub(crate) const TOKEN: &str = "xkspf_TestTokenDoNotLeak0123456789012345678901234";
/// Longer than anything here takes on a busy machine.
pub(crate) const BOUND: Duration = Duration::from_mins(2);

pub(crate) struct Stage {
    pub(crate) kms: SandboxKms,
    pub(crate) cloudhsm: Option<SandboxCloudHsm>,
    pub(crate) ec2: Option<SandboxEc2>,
    pub(crate) old: SandboxProxy,
    pub(crate) new: SandboxProxy,
    pub(crate) key_store: String,
    pub(crate) directory: PathBuf,
    pki: Arc<Pki>,
}

impl Stage {
    pub(crate) async fn new(name: &str) -> Self {
        Self::with(name, "", "").await
    }

    /// With a test key, and a monitor that hurries.
    pub(crate) async fn with_test_key(name: &str) -> Self {
        Self::with(name, "", &format!("test_key_id = \"{TEST_KEY}\"\n[monitor]\ninterval = \"1s\"")).await
    }

    /// With a CloudHSM, too, and an EC2 for the clusters' security group only.
    pub(crate) async fn with_clusters(name: &str, clusters: Clusters) -> Self {
        let settings = CloudHsmSettings::new(clusters.clone(), wall_clock(), AWS_ACCESS_KEY_ID, AWS_SECRET);
        let cloudhsm = SandboxCloudHsm::start(settings).await.unwrap();
        let query = QuerySettings {
            region: "us-east-1".to_owned(),
            access_key_id: AWS_ACCESS_KEY_ID.to_owned(),
            secret_access_key: Secret::new(AWS_SECRET),
            clock: wall_clock(),
        };
        let security_groups = vec![SecurityGroup::of_cluster("sg-0123456789abcdef0")];
        let ec2 = SandboxEc2::start(query, Ec2State { security_groups, ..Ec2State::default() }).await.unwrap();
        let section = format!(
            "[cloudhsm]\nendpoint_url = \"{}\"\n[vpc]\ncheck_service = false\nec2_endpoint_url = \"{}\"",
            cloudhsm.endpoint_url(),
            ec2.endpoint_url()
        );
        Self {
            cloudhsm: Some(cloudhsm),
            ec2: Some(ec2),
            ..Self::made(name, &section, "", Some(clusters), |store| store).await
        }
    }

    /// With a daemon that signs evidence.
    pub(crate) async fn signing(name: &str) -> Self {
        let stage = Self::new(name).await;
        stage.with_signing_key();
        stage
    }

    /// With a daemon that signs evidence from its next start on.
    pub(crate) fn with_signing_key(&self) {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
        private(&self.directory.join("audit-key.secret"));
        std::fs::write(self.directory.join("audit-key.secret"), key).unwrap();
        self.reconfigured("[update]\n", "[audit]\nsigning_key = { file = \"audit-key.secret\" }\n[update]\n");
    }

    /// With a daemon that may only look.
    pub(crate) async fn observing(name: &str) -> Self {
        Self::with(name, "observe_only = true", "").await
    }

    /// With a key store whose updates need approval, and more people: name, token and role.
    pub(crate) async fn guarded(name: &str, approval: &str, people: &[(&str, &str, &str)]) -> Self {
        let stage = Self::with(name, "", &format!("approval = \"{approval}\"")).await;
        stage.with_people(people);
        stage
    }

    /// With more people: name, token and role.
    pub(crate) fn with_people(&self, people: &[(&str, &str, &str)]) {
        let file = self.directory.join("config.toml");
        let mut configuration = std::fs::read_to_string(&file).unwrap();
        for (name, token, role) in people {
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
            let hash: Vec<String> = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            let lines = ["[[tokens]]", &format!("name = \"{name}\""), &format!("role = \"{role}\"")].join("\n");
            configuration = [configuration, lines, format!("sha256 = \"{}\"\n", hash.concat())].join("\n");
        }
        std::fs::write(file, configuration).unwrap();
    }

    /// With a daemon that also sends what the proxy must refuse.
    pub(crate) async fn refusing(name: &str) -> Self {
        Self::with(name, "", "refusals = true").await
    }

    /// With a key store behind a VPC endpoint service, and a daemon that asks these endpoints about the service.
    pub(crate) async fn behind_service(name: &str, service: &str, ec2: &str, elbv2: &str) -> Self {
        let more = format!("[vpc]\nec2_endpoint_url = \"{ec2}\"\nelbv2_endpoint_url = \"{elbv2}\"");
        Self::made(name, &more, "", None, |store| store.behind_service(service, "111122223333")).await
    }

    async fn with(name: &str, kms_settings: &str, key_store_settings: &str) -> Self {
        Self::made(name, kms_settings, key_store_settings, None, |store| store).await
    }

    /// With its journal in PostgreSQL, and leases as short as calls to a simulated KMS allow.
    pub(crate) async fn on_postgres(name: &str, url: &str) -> Self {
        let stage = Self::with(name, "timeout = \"5s\"", "").await;
        let journal =
            format!("postgres_url = \"{url}\"\npostgres_password = {{ file = \"postgres.secret\" }}\nlease = \"10s\"");
        stage.reconfigured("path = \"journal.sqlite\"", &journal);
        private(&stage.directory.join("postgres.secret"));
        std::fs::write(stage.directory.join("postgres.secret"), crate::postgres::PASSWORD).unwrap();
        stage
    }

    /// With its PostgreSQL believed by this authority alone.
    pub(crate) fn trusting_postgres(&self, authority_pem: &str) {
        std::fs::write(self.directory.join("postgres-ca.pem"), authority_pem).unwrap();
        self.reconfigured("lease = \"10s\"", "lease = \"10s\"\npostgres_ca_file = \"postgres-ca.pem\"");
    }

    /// With these limits on callers, in place of loose ones.
    pub(crate) fn limited(&self, settings: &str) {
        self.reconfigured("failures_per_minute = 1000", settings);
    }

    /// With TLS on its listeners, under this name; the file of the authority.
    pub(crate) fn listening_with_tls(&self, name: &str) -> PathBuf {
        let authority = self.with_listening_certificate(name);
        let files = "tls_certificate_file = \"listen.pem\"\ntls_key_file = \"listen.key\"";
        self.reconfigured("kms = \"127.0.0.1:0\"", &format!("kms = \"127.0.0.1:0\"\n{files}"));
        authority
    }

    /// With another certificate of another authority in the files that the listeners have theirs from; the file of the
    /// authority.
    pub(crate) fn with_listening_certificate(&self, name: &str) -> PathBuf {
        let pki = Pki::new(wall_clock()()).unwrap();
        let issued = pki.issue(&pki.leaf([name])).unwrap();
        let authority = self.directory.join("listen-ca.pem");
        std::fs::write(&authority, pki.root_pem()).unwrap();
        std::fs::write(self.directory.join("listen.pem"), issued.chain_pem()).unwrap();
        private(&self.directory.join("listen.key"));
        std::fs::write(self.directory.join("listen.key"), issued.key_pem()).unwrap();
        authority
    }

    /// With a file that holds a secret.
    pub(crate) fn with_secret(&self, name: &str, secret: &str) {
        private(&self.directory.join(name));
        std::fs::write(self.directory.join(name), secret).unwrap();
    }

    /// With other lines of the configuration in place of these.
    pub(crate) fn reconfigured(&self, lines: &str, other: &str) {
        let file = self.directory.join("config.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let changed = text.replace(lines, other);
        assert_ne!(text, changed);
        std::fs::write(file, changed).unwrap();
    }

    /// Another proxy behind the name of the present one, at an address of its own; a daemon that is started afterwards
    /// knows it.
    pub(crate) async fn beside_the_old(&self) -> SandboxProxy {
        let beside = proxy(&self.pki, OLD).await;
        let alone = self.old.address().to_string();
        self.reconfigured(&alone, &format!("{alone}\", \"{}", beside.address()));
        beside
    }

    /// Another proxy of this endpoint that no daemon knows of yet.
    pub(crate) async fn another(&self, endpoint: &str) -> SandboxProxy {
        proxy(&self.pki, endpoint).await
    }

    /// The same, of another fleet.
    pub(crate) async fn another_fleet(&self, endpoint: &str) -> SandboxProxy {
        proxy_with(&self.pki, endpoint, |settings| {
            "another-ekm".clone_into(&mut settings.fleet.ekm_fleet_details[0].id);
        })
        .await
    }

    /// With more at the end of its configuration file.
    pub(crate) fn configured_with(&self, more: &str) {
        let file = self.directory.join("config.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, [&text, more].join("\n")).unwrap();
    }

    /// Another configuration file, with one URL for another.
    pub(crate) fn configured_for(&self, name: &str, url: &str, other: &str) -> PathBuf {
        let text = std::fs::read_to_string(self.directory.join("config.toml")).unwrap();
        let file = self.directory.join(name);
        std::fs::write(&file, text.replace(url, other)).unwrap();
        file
    }

    async fn made(
        name: &str,
        kms_settings: &str,
        key_store_settings: &str,
        clusters: Option<Clusters>,
        place: impl FnOnce(SeedStore) -> SeedStore,
    ) -> Self {
        let pki = Arc::new(Pki::new(wall_clock()()).unwrap());
        let (old, new) = (proxy(&pki, OLD).await, proxy(&pki, NEW).await);
        let mut settings = KmsSettings::new(wall_clock(), AWS_ACCESS_KEY_ID, AWS_SECRET);
        let mut roots = RootCertStore::empty();
        roots.add(pki.root_der().clone()).unwrap();
        settings.roots = roots;
        settings.clusters = clusters;
        // The simulated KMS shares a busy machine with everything else; its own limit is not the subject.
        settings.attempt_timeout = Duration::from_secs(20);
        settings.routes.insert("old.xks.example.com".to_owned(), old.address());
        settings.routes.insert("new.xks.example.com".to_owned(), new.address());
        let kms = SandboxKms::start(settings).await.unwrap();
        let store = SeedStore::public("payments", OLD, PATH, ACCESS_KEY_ID, SECRET);
        let key_store = kms.add_store(place(store).in_state(ConnectionState::Connected));
        let directory = output_directory(name);
        std::fs::write(directory.join("ca.pem"), pki.root_pem()).unwrap();
        private(&directory.join("proxy.secret.json"));
        write_console_file(&directory.join("proxy.secret.json"), PATH, SECRET);
        private(&directory.join("sealing-key.secret"));
        std::fs::write(directory.join("sealing-key.secret"), "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=").unwrap();
        private(&directory.join("kms-endpoint.secret"));
        std::fs::write(directory.join("kms-endpoint.secret"), KMS_SECRET).unwrap();
        let stage = Self { kms, cloudhsm: None, ec2: None, old, new, key_store, directory, pki };
        std::fs::write(stage.directory.join("config.toml"), stage.configuration(kms_settings, key_store_settings))
            .unwrap();
        stage
    }

    /// KMS of another account or Region, to be served beside this one.
    pub(crate) fn another_kms(&self, account: &str, region: &str, access_key_id: &str, secret: &str) -> KmsSettings {
        let mut settings = KmsSettings::new(wall_clock(), access_key_id, secret);
        account.clone_into(&mut settings.account_id);
        region.clone_into(&mut settings.region);
        settings.roots.add(self.pki.root_der().clone()).unwrap();
        settings.attempt_timeout = Duration::from_secs(20);
        settings
    }

    /// A proxy for key stores of another Region; a daemon that is started afterwards finds it.
    pub(crate) async fn proxy_in(&self, region: &str, host: &str) -> SandboxProxy {
        let mut settings = ProxySettings::new(Arc::clone(&self.pki), wall_clock(), host, PATH);
        region.clone_into(&mut settings.region);
        settings.credentials = Credentials::default().with(ACCESS_KEY_ID, SECRET.to_owned());
        settings.keys = KeyMaterials::default().with(TEST_KEY, ExternalKey::from_seed("shared"));
        let proxy = SandboxProxy::start(settings).await.unwrap();
        let route = format!("routes = [\n  {{ host = \"{host}\", connect_to = [\"{}\"] }},", proxy.address());
        self.reconfigured("routes = [", &route);
        proxy
    }

    fn configuration(&self, kms_settings: &str, key_store_settings: &str) -> String {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, TOKEN.as_bytes());
        let hash: Vec<String> = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!(
            r#"
[listen]
api = "127.0.0.1:0"
kms = "127.0.0.1:0"
[http]
failures_per_minute = 1000
[journal]
path = "journal.sqlite"
sealing_key = {{ file = "sealing-key.secret" }}
[kms]
region = "us-east-1"
endpoint_url = "{kms}"
poll_interval = "1s"
{kms_settings}
[credentials.proxy]
console_file = "proxy.secret.json"
[[key_stores]]
id = "{key_store}"
credential = "proxy"
{key_store_settings}
[preflight]
ca_files = ["ca.pem"]
samples = 1
routes = [
  {{ host = "old.xks.example.com", connect_to = ["{old}"] }},
  {{ host = "new.xks.example.com", connect_to = ["{new}"] }},
]
[update]
poll_interval = "100ms"
{kms_credentials}
[[tokens]]
name = "tester"
role = "operator"
sha256 = "{hash}"
"#,
            kms = self.kms.endpoint_url(),
            kms_credentials = kms_credentials(),
            key_store = self.key_store,
            old = self.old.address(),
            new = self.new.address(),
            hash = hash.concat(),
        )
    }

    /// What KMS applied, in order.
    pub(crate) fn mutations(&self) -> Vec<&'static str> {
        self.kms.mutations().into_iter().filter_map(|call| call.operation).map(Operation::as_str).collect()
    }

    /// The calls of operations that change key stores, in order, whatever KMS did with them.
    pub(crate) fn mutating_calls(&self) -> Vec<&'static str> {
        let operations = self.kms.history().into_iter().filter_map(|call| call.operation);
        operations.filter(|operation| operation.is_mutation()).map(Operation::as_str).collect()
    }

    /// The endpoint in force and the connection state.
    pub(crate) fn shown(&self) -> (String, ConnectionState) {
        let store = self.kms.store(&self.key_store).unwrap();
        (store.external().unwrap().endpoint.clone(), store.connection)
    }

    /// Until the former endpoint is in force again after the new one was.
    pub(crate) async fn when_update_is_back(&self, bound: Duration) {
        let updates = || self.mutations().into_iter().filter(|name| *name == "UpdateCustomKeyStore").count();
        until(bound, "the update is taken back", || async { updates() >= 2 }).await;
    }

    pub(crate) fn body(&self, mut members: Value) -> Value {
        if members["CustomKeyStoreId"].is_null() {
            members["CustomKeyStoreId"] = json!(self.key_store);
        }
        members["options"] = json!({ "acknowledge_outage": true });
        members
    }
}

/// A proxy that accepts the credential of all, and has the test key.
async fn proxy(pki: &Arc<Pki>, endpoint: &str) -> SandboxProxy {
    proxy_with(pki, endpoint, |_| ()).await
}

async fn proxy_with(pki: &Arc<Pki>, endpoint: &str, adapt: impl FnOnce(&mut ProxySettings)) -> SandboxProxy {
    let host = endpoint.trim_start_matches("https://");
    let mut settings = ProxySettings::new(Arc::clone(pki), wall_clock(), host, PATH);
    settings.credentials = Credentials::default().with(ACCESS_KEY_ID, SECRET.to_owned());
    settings.keys = KeyMaterials::default().with(TEST_KEY, ExternalKey::from_seed("shared"));
    adapt(&mut settings);
    SandboxProxy::start(settings).await.unwrap()
}

/// The credentials of the KMS drop-in endpoint: name, access key id, and what else is said of it.
const KMS_CREDENTIALS: [(&str, &str, &str); 6] = [
    ("terraform", KMS_ID, "role = \"operator\""),
    ("deploy", "XKSPFWHOLESEQUENCE22", "role = \"operator\"\nrun_whole_sequence = true\nprove_reconnect = false"),
    ("watch", "XKSPFVIEWERVIEWER222", "role = \"viewer\""),
    ("payments", "XKSPFSCOPEDBYNAME222", "role = \"operator\"\nkey_stores = [\"pay*\"]"),
    ("elsewhere", "XKSPFSCOPEDELSEWHERE", "role = \"operator\"\nkey_stores = [\"other*\"]"),
    ("maker", "XKSPFMAKERMAKER22222", "role = \"operator\"\nkey_stores = [\"new-*\"]\ncreate = true"),
];

fn kms_credentials() -> String {
    let credential = |(name, id, more): &(&str, &str, &str)| {
        let secret = "secret = { file = \"kms-endpoint.secret\" }";
        format!("[[kms_credentials]]\nname = \"{name}\"\naccess_key_id = \"{id}\"\n{secret}\n{more}\n")
    };
    KMS_CREDENTIALS.iter().map(credential).collect()
}

/// An empty file for its owner alone.
pub(crate) fn private(file: &std::path::Path) {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file).unwrap();
}

/// Looks until something holds, at most for so long.
pub(crate) async fn until<F: Future<Output = bool>>(bound: Duration, what: &str, mut holds: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + bound;
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "not within {bound:?}: {what}");
        pause.tick().await;
    }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

pub(crate) struct Daemon {
    process: Child,
    pub(crate) address: String,
    pub(crate) kms_endpoint: String,
    told: Arc<Mutex<String>>,
    logs: JoinHandle<()>,
}

impl Daemon {
    /// Starts the binary; with `crash_after` it is killed right after that many journal writes.
    pub(crate) async fn start(stage: &Stage, crash_after: Option<u64>) -> Self {
        Self::start_with(stage, &stage.directory.join("config.toml"), crash_after).await
    }

    /// Starts it with another configuration file.
    pub(crate) async fn start_with(stage: &Stage, config: &std::path::Path, crash_after: Option<u64>) -> Self {
        let mut command = Command::new(BINARY);
        command.args(["--log-level", "trace", "serve", "--config"]).arg(config);
        if let Some(writes) = crash_after {
            command.args(["--crash-after-journal-writes", &writes.to_string()]);
        }
        Self::run(stage, command).await
    }

    /// Runs a command that becomes the daemon, until it listens.
    pub(crate) async fn run(stage: &Stage, mut command: Command) -> Self {
        command
            .env("AWS_ACCESS_KEY_ID", AWS_ACCESS_KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", AWS_SECRET)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut told = String::new();
        let mut kms_endpoint = String::new();
        let address = loop {
            let line = tokio::time::timeout(BOUND, lines.next_line()).await.unwrap().unwrap();
            let line = line.unwrap_or_else(|| panic!("the daemon ended at once:\n{told}"));
            told.push_str(&line);
            told.push('\n');
            if let Some((_, rest)) = line.split_once("kms_endpoint=") {
                rest.split_whitespace().next().unwrap().clone_into(&mut kms_endpoint);
            }
            let running = line.contains("xks-preflight is running");
            if let Some((_, rest)) = line.split_once("address=").filter(|_| running) {
                break rest.split_whitespace().next().unwrap().to_owned();
            }
        };
        // The logs, at trace level, are searched for secrets when the suite is over.
        let log = stage.directory.join(format!("daemon-{}.log", process.id().unwrap_or_default()));
        let told = Arc::new(Mutex::new(told));
        let telling = Arc::clone(&told);
        let logs = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let mut told = telling.lock().unwrap();
                told.push_str(&line);
                told.push('\n');
            }
            std::fs::write(log, &*telling.lock().unwrap()).unwrap();
        });
        Self { process, address, kms_endpoint, told, logs }
    }

    /// Starts the binary, which must end with a failure; what it told.
    pub(crate) async fn refuses_to_start(stage: &Stage) -> String {
        Self::refuses_to_start_with(stage, &[]).await
    }

    /// The same in an environment with these variables.
    pub(crate) async fn refuses_to_start_with(stage: &Stage, variables: &[(&str, &str)]) -> String {
        let mut command = Command::new(BINARY);
        command
            .envs(variables.iter().copied())
            .args(["serve", "--config"])
            .arg(stage.directory.join("config.toml"))
            .kill_on_drop(true);
        let ended = tokio::time::timeout(BOUND, command.output()).await.unwrap().unwrap();
        assert!(!ended.status.success());
        String::from_utf8_lossy(&ended.stderr).into_owned()
    }

    /// One request on a connection of its own. `None` if the daemon is gone.
    pub(crate) async fn try_call(&self, method: &str, path: &str, body: Option<&Value>) -> Option<Answer> {
        self.try_call_as(TOKEN, method, path, body).await
    }

    /// The same as somebody else.
    pub(crate) async fn try_call_as(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Option<Answer> {
        self.send(&format!("Authorization: Bearer {token}\r\n"), method, path, body).await
    }

    /// The same with more headers.
    pub(crate) async fn try_call_with(
        &self,
        headers: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Option<Answer> {
        self.send(&format!("Authorization: Bearer {TOKEN}\r\n{headers}"), method, path, body).await
    }

    /// The same as nobody in particular.
    pub(crate) async fn try_call_bare(&self, path: &str) -> Option<Answer> {
        self.send("", "GET", path, None).await
    }

    async fn send(&self, authorization: &str, method: &str, path: &str, body: Option<&Value>) -> Option<Answer> {
        let body = body.map(ToString::to_string).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{authorization}Connection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let mut stream = TcpStream::connect(&self.address).await.ok()?;
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        tokio::time::timeout(BOUND, stream.read_to_end(&mut answer)).await.ok()?.ok()?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split_whitespace().nth(1)?.parse().ok()?;
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        Some(Answer { status, body: if chunked { dechunked(body) } else { body.to_owned() } })
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.try_call(method, path, body).await.unwrap_or_else(|| panic!("no answer to {method} {path}"))
    }

    pub(crate) async fn try_submit(&self, stage: &Stage, members: Value) -> Option<String> {
        let answer = self.try_call("POST", "/v1/updates", Some(&stage.body(members))).await?;
        assert_eq!(answer.status, 202, "{}", answer.body);
        Some(answer.json()["id"].as_str().unwrap().to_owned())
    }

    /// Asks for an update; its id.
    pub(crate) async fn submit(&self, stage: &Stage, members: Value) -> String {
        self.try_submit(stage, members).await.unwrap()
    }

    /// Follows the update's event stream to its end and gives the update.
    pub(crate) async fn follow(&self, id: &str) -> Value {
        let events = self.call("GET", &format!("/v1/updates/{id}/events"), None).await;
        assert_eq!(events.status, 200, "{}", events.body);
        let update = self.call("GET", &format!("/v1/updates/{id}"), None).await;
        assert_eq!(update.status, 200, "{}", update.body);
        update.json()
    }

    /// The one update in the journal.
    pub(crate) async fn only_update(&self) -> String {
        let updates = self.call("GET", "/v1/updates", None).await.json();
        let updates = updates["updates"].as_array().unwrap();
        assert_eq!(updates.len(), 1);
        updates[0]["id"].as_str().unwrap().to_owned()
    }

    /// Whether no update is open.
    pub(crate) async fn is_idle(&self) -> bool {
        let updates = self.call("GET", "/v1/updates", None).await.json();
        updates["updates"].as_array().unwrap().iter().all(|update| {
            !matches!(update["status"].as_str(), Some("planned" | "preflighting" | "running" | "rolling_back"))
        })
    }

    /// Waits for the end of the process (gives the signal) or of the update (gives nothing).
    pub(crate) async fn killed_before_the_end(mut self, id: Option<&str>) -> Option<Option<i32>> {
        use std::os::unix::process::ExitStatusExt as _;
        let concluded = async {
            let Some(id) = id else { return std::future::pending().await };
            // A stream that breaks off is the process's end, which the other branch sees.
            let events = format!("/v1/updates/{id}/events");
            let _ = self.try_call("GET", &events, None).await;
            let ended = self.try_call("GET", &format!("/v1/updates/{id}"), None).await;
            match ended.map(|answer| answer.json()["status"].clone()) {
                Some(status) if status == "verified" => {}
                _ => std::future::pending().await,
            }
        };
        let killed = tokio::time::timeout(BOUND, concluded_or_killed(concluded, self.address.clone())).await.unwrap();
        if killed {
            let status: ExitStatus = self.process.wait().await.unwrap();
            self.logs.await.unwrap();
            Some(status.signal())
        } else {
            self.terminate().await;
            None
        }
    }

    /// Whether its log has this in it.
    pub(crate) fn has_told(&self, text: &str) -> bool {
        self.told.lock().unwrap().contains(text)
    }

    /// Its log so far.
    pub(crate) fn telling(&self) -> String {
        self.told.lock().unwrap().clone()
    }

    /// Sends it a signal.
    pub(crate) async fn signal(&self, signal: &str) {
        let id = self.process.id().unwrap().to_string();
        let sent = Command::new("kill").args([signal, &id]).status().await.unwrap();
        assert!(sent.success());
    }

    /// SIGKILL.
    pub(crate) async fn kill(mut self) {
        self.process.kill().await.unwrap();
        self.logs.await.unwrap();
    }

    /// SIGTERM: drains and ends with exit code 0.
    pub(crate) async fn terminate(self) {
        self.signal("-TERM").await;
        self.ends_well().await;
    }

    /// The process that was started.
    pub(crate) fn process(&self) -> u32 {
        self.process.id().unwrap()
    }

    /// Waits for the end after a SIGTERM.
    pub(crate) async fn ends_well(mut self) {
        let status = tokio::time::timeout(BOUND, self.process.wait()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(0), "SIGTERM drains and ends well");
        self.logs.await.unwrap();
    }
}

/// Whether the process went away before the update was concluded.
async fn concluded_or_killed(concluded: impl Future<Output = ()>, address: String) -> bool {
    let gone = until(BOUND, "the process ends", || async { TcpStream::connect(&address).await.is_err() });
    tokio::select! {
        () = concluded => false,
        () = gone => true,
    }
}

/// The body of a chunked answer.
fn dechunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        let Some(chunk) = rest.get(..size).filter(|_| size > 0) else { break };
        whole.push_str(chunk);
        body = rest.get(size + 2..).unwrap_or_default();
    }
    whole
}
