//! Sets the stage for a row, runs it, and looks at what comes of it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use xks_preflight::sandbox::dns::SandboxDns;
use xks_preflight::sandbox::pki::Pki;
use xks_preflight::sandbox::proxy::{Credentials, KeyMaterials, ProxySettings, SandboxProxy};

use super::row::{How, Row, Seen};
use crate::peers::{self, ACCESS_KEY_ID, BINARY, HOST, PATH, Run, SECRET};

/// Proxies of one authority, and the files that `check` needs to get to them.
pub(crate) struct Stage {
    pub(crate) directory: PathBuf,
    pub(crate) proxies: Vec<SandboxProxy>,
    pki: Arc<Pki>,
}

impl Stage {
    /// The files, and no proxy yet.
    pub(crate) fn new() -> Self {
        let pki = Arc::new(Pki::new(peers::wall_clock()()).unwrap());
        let directory = peers::output_directory("matrix");
        std::fs::write(directory.join("ca.pem"), pki.root_pem()).unwrap();
        peers::write_console_file(&directory.join("proxy.secret.json"), PATH, SECRET);
        peers::write_kms_lists(&directory, &pki);
        std::fs::write(directory.join("good.secret"), SECRET).unwrap();
        std::fs::write(directory.join("short.secret"), "TestSecretDoNotLeak").unwrap();
        std::fs::write(directory.join("repeating.secret"), "DoNotLeak".repeat(6)).unwrap();
        std::fs::write(directory.join("other.secret"), SECRET.chars().rev().collect::<String>()).unwrap();
        Self { directory, proxies: Vec::new(), pki }
    }

    /// One more proxy, at an address of its own, with the keys, the fleet and the credential of the others unless
    /// `adapt` says otherwise.
    pub(crate) async fn add_proxy(&mut self, adapt: impl FnOnce(&mut ProxySettings)) -> &SandboxProxy {
        let mut settings = ProxySettings::new(Arc::clone(&self.pki), peers::wall_clock(), HOST, PATH);
        settings.bind = SocketAddr::from(([127, 0, 0, 1 + u8::try_from(self.proxies.len()).unwrap()], 0));
        settings.credentials = Credentials::default().with(ACCESS_KEY_ID, SECRET.to_owned());
        settings.keys = KeyMaterials::of_test_client("seed");
        adapt(&mut settings);
        self.proxies.push(SandboxProxy::start(settings).await.unwrap());
        self.proxies.last().unwrap()
    }

    /// Runs `check` against all the proxies, or as the arguments say. `{directory}` in them is the stage's, with
    /// the files `ca.pem`, `proxy.secret.json`, `kms-list.*` and `*.secret`; `{path}` and `{id}` are those of the proxies; `{0}` is the address of the first proxy, and so on.
    pub(crate) async fn check(&self, arguments: &[&str]) -> Seen {
        let fill = |text: &str| {
            let text = text.replace("{directory}", self.directory.to_str().unwrap());
            let text = text.replace("{path}", PATH).replace("{id}", ACCESS_KEY_ID);
            let numbered = self.proxies.iter().enumerate();
            numbered.fold(text, |text, (at, proxy)| text.replace(&format!("{{{at}}}"), &proxy.address().to_string()))
        };
        let mut words = vec!["check".to_owned(), "--output".to_owned(), "json".to_owned()];
        let mut give = |option: &str, value: &str| {
            if !arguments.contains(&option) {
                words.extend([option.to_owned(), fill(value)]);
            }
        };
        give("--endpoint", &format!("https://{HOST}"));
        give("--connectivity", "public");
        give("--ca-file", "{directory}/ca.pem");
        give("--samples", "2");
        if !arguments.contains(&"--access-key-id") {
            give("--proxy-config", "{directory}/proxy.secret.json");
        }
        if !arguments.contains(&"--resolver") {
            let addresses: Vec<String> = self.proxies.iter().map(|proxy| proxy.address().to_string()).collect();
            give("--connect-to", &addresses.join(","));
        }
        words.extend(arguments.iter().map(|text| fill(text)));
        let mut command = tokio::process::Command::new(BINARY);
        command
            .args(&words)
            .env("XKS_PREFLIGHT_LOG", "trace")
            .env_remove("XKS_PREFLIGHT_SECRET_ACCESS_KEY")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let run = Run::from(command.output().await.unwrap());
        peers::keep(&self.directory, &run);
        Seen { exit: Some(run.code), report: run.json() }
    }
}

/// Runs a row once.
pub(crate) async fn run(row: &'static Row) -> Seen {
    let misbehave = async |proxy: &SandboxProxy| {
        let fault = row.fault.parse().unwrap_or_else(|error| panic!("{}: {error}", row.fault));
        proxy.set_faults([fault]).await;
    };
    let mut stage = Stage::new();
    match row.how {
        How::By(runner) => return runner(row).await,
        How::Service(spoil) => return crate::vpc::seen(spoil).await,
        How::Name(host) => {
            let dns = SandboxDns::start(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
            super::names::fill(&dns);
            let (resolver, endpoint) = (dns.address().to_string(), format!("https://{host}"));
            let name = ["--resolver", resolver.as_str(), "--endpoint", endpoint.as_str()];
            return stage.check(&[&name, row.arguments].concat()).await;
        }
        How::Proxy => misbehave(stage.add_proxy(|_| {}).await).await,
        How::SecondAddress => {
            stage.add_proxy(|_| {}).await;
            misbehave(stage.add_proxy(|_| {}).await).await;
        }
        How::Values => {
            stage.add_proxy(|_| {}).await;
        }
    }
    stage.check(row.arguments).await
}
