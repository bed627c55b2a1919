//! A sandbox proxy with all that `check` needs to know of it, and the real binary run against it.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use serde_json::Value;
use xks_preflight::sandbox::pki::Pki;
use xks_preflight::sandbox::proxy::{Credentials, KeyMaterials, ProxySettings, SandboxProxy};

pub(crate) const HOST: &str = "xks.example.com";
pub(crate) const PATH: &str = "/example/kms/xks/v1";
pub(crate) const ACCESS_KEY_ID: &str = "SANDBOXTESTACCESSKEYID";
pub(crate) const SECRET: &str = "TestSecretDoNotLeak7dHk2Lq9ZtRw4XyBn6MvCs3PjFg1";

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_xks-preflight");

/// Where tests leave what they produced: below `XKS_TEST_OUTPUT` when it is to be searched, else a temporary place.
pub(crate) fn output_directory(name: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let base = std::env::var_os("XKS_TEST_OUTPUT").map_or_else(std::env::temp_dir, PathBuf::from);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let directory = base.join(format!("{name}-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

pub(crate) fn wall_clock() -> Arc<dyn Fn() -> SystemTime + Send + Sync> {
    #[expect(clippy::disallowed_methods, reason = "the peers of a real process live in real time")]
    Arc::new(SystemTime::now)
}

/// A proxy, its files, and the arguments that lead `check` to it.
pub(crate) struct Peer {
    pub(crate) proxy: SandboxProxy,
    pub(crate) directory: PathBuf,
    settings: ProxySettings,
}

/// What a run of the binary gave.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.stdout, self.stderr))
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Peer {
    pub(crate) async fn start(name: &str) -> Self {
        let pki = Arc::new(Pki::new(wall_clock()()).unwrap());
        let mut settings = ProxySettings::new(Arc::clone(&pki), wall_clock(), HOST, PATH);
        settings.credentials = Credentials::default().with(ACCESS_KEY_ID, SECRET.to_owned());
        settings.keys = KeyMaterials::of_test_client("seed");
        let directory = output_directory(name);
        std::fs::write(directory.join("ca.pem"), pki.root_pem()).unwrap();
        write_console_file(&directory.join("proxy.secret.json"), PATH, SECRET);
        write_kms_lists(&directory, &pki);
        Self { proxy: SandboxProxy::start(settings.clone()).await.unwrap(), directory, settings }
    }

    /// One more proxy of the same name, keys and authority, on another address.
    pub(crate) async fn second(&self, bind: &str) -> SandboxProxy {
        let settings = ProxySettings { bind: bind.parse().unwrap(), ..self.settings.clone() };
        SandboxProxy::start(settings).await.unwrap()
    }

    /// Runs `check` against the proxy with more arguments; logs at trace level are kept for the search for secrets.
    pub(crate) async fn check(&self, more: &[&str]) -> Run {
        let mut command = tokio::process::Command::new(BINARY);
        command
            .args(["check", "--endpoint", &format!("https://{HOST}"), "--connectivity", "public"])
            .args(["--connect-to", &self.proxy.address().to_string()])
            .arg("--ca-file")
            .arg(self.directory.join("ca.pem"))
            .arg("--proxy-config")
            .arg(self.directory.join("proxy.secret.json"))
            .args(more)
            .env("XKS_PREFLIGHT_LOG", "trace")
            .env_remove("XKS_PREFLIGHT_SECRET_ACCESS_KEY")
            .stdin(Stdio::null());
        let run = Run::from(command.output().await.unwrap());
        keep(&self.directory, &run);
        run
    }
}

/// Lists of authorities in the form in which AWS publishes its own: `kms-list.own` has the root of this authority and
/// one that does not exist, `kms-list.other` that one only.
pub(crate) fn write_kms_lists(directory: &Path, pki: &Pki) {
    let entry = |alias: &str, owner: &str, sha256: &[u8]| {
        let pairs: Vec<String> = sha256.iter().map(|byte| format!("{byte:02X}")).collect();
        let stars = "*".repeat(86);
        format!(
            "Alias name: {alias}\nOwner: {owner}\nIssuer: {owner}\nValid from: Thu May 05 02:37:37 PDT 2011 until: Tue \
             Dec 31 01:37:37 PST 2030\nCertificate fingerprints:\n\t SHA1: 01:02\n\t SHA256: {}\n{stars}\n{stars}\n",
            pairs.join(":"),
        )
    };
    let other = entry("nobodysroot1", "CN=Nobody's Root 1, O=Nobody's Authority, C=ZZ", &[0xa1; 32]);
    let root = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, pki.root_der());
    let own = entry("sandboxrootca", "CN=Sandbox Root CA, O=XKS sandbox", root.as_ref());
    std::fs::write(directory.join("kms-list.other"), &other).unwrap();
    std::fs::write(directory.join("kms-list.own"), other + &own).unwrap();
}

/// Leaves what a run printed where the search for secrets finds it.
pub(crate) fn keep(directory: &Path, run: &Run) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    std::fs::write(directory.join(format!("run-{number}.stdout")), &run.stdout).unwrap();
    std::fs::write(directory.join(format!("run-{number}.stderr")), &run.stderr).unwrap();
}

/// The file that the KMS console takes.
pub(crate) fn write_console_file(file: &Path, path: &str, secret: &str) {
    let contents = serde_json::json!({
        "XksProxyUriPath": path,
        "XksProxyAuthenticationCredential": { "AccessKeyId": ACCESS_KEY_ID, "RawSecretAccessKey": secret },
    });
    std::fs::write(file, contents.to_string()).unwrap();
}
