//! Other daemons, as processes behind real mutual TLS, each before proxies of its own.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Method;
use rustls::RootCertStore;
use serde_json::Value;
use xks_preflight::peer::{Identity, Peer};
use xks_preflight::sandbox::pki::Pki;
use xks_preflight::sandbox::proxy::SandboxProxy;

use crate::daemon::stage::{Daemon, NEW, Stage, private};
use crate::peers::{BINARY, wall_clock};

/// How the daemon that asks is known to the others.
const CLIENT: &str = "main.gate.example.com";

/// What the daemon that asks calls itself.
pub(crate) const MAIN: &str = "main";

/// The authority of the daemons, and where its files are.
pub(crate) struct Authority {
    pki: Pki,
}

/// A daemon that looks from elsewhere, and the proxy that it finds behind the name of the candidate.
pub(crate) struct Elsewhere {
    pub(crate) name: &'static str,
    pub(crate) daemon: Daemon,
    pub(crate) proxy: SandboxProxy,
}

impl Authority {
    /// Leaves what every daemon needs in the stage's directory.
    pub(crate) fn new(stage: &Stage) -> Self {
        let pki = Pki::new(wall_clock()()).unwrap();
        let write = |name: &str, text: &str| {
            let file = stage.directory.join(name);
            private(&file);
            std::fs::write(file, text).unwrap();
        };
        let server = pki.issue(&pki.leaf(["localhost"])).unwrap();
        let client = pki.issue_client(CLIENT).unwrap();
        let stranger = pki.issue_client("stranger.example.com").unwrap();
        write("peers-ca.pem", pki.root_pem());
        write("peers.pem", server.chain_pem());
        write("peers.key", server.key_pem());
        write("client.pem", client.chain_pem());
        write("client.key", client.key_pem());
        write("stranger.pem", stranger.chain_pem());
        write("stranger.key", stranger.key_pem());
        Self { pki }
    }

    /// Calls a daemon as the asking one would.
    pub(crate) async fn get(&self, address: &str, path: &str) -> (u16, Value) {
        let mut roots = RootCertStore::empty();
        roots.add(self.pki.root_der().clone()).unwrap();
        let shown = self.pki.issue_client(CLIENT).unwrap();
        let identity = Identity { chain: shown.chain, key: shown.key };
        let url = format!("https://localhost:{}", port(address));
        let peer = Peer::parse(&url, Arc::new(roots), Some(identity)).unwrap();
        let request = peer.request(Method::GET, path).body(Full::new(Bytes::new())).unwrap();
        let answer = peer.call(request, 1024 * 1024).await.unwrap();
        (answer.status().as_u16(), serde_json::from_slice(answer.body()).unwrap())
    }
}

impl Elsewhere {
    /// Starts one that finds a proxy of its own behind the candidate's name.
    pub(crate) async fn start(stage: &Stage, name: &'static str) -> Self {
        Self::start_before(stage, name, stage.another(NEW).await, "").await
    }

    /// Starts one that finds this proxy there, with more at the end of its configuration.
    pub(crate) async fn start_before(stage: &Stage, name: &'static str, proxy: SandboxProxy, more: &str) -> Self {
        let kms = stage.kms.endpoint_url();
        let found = proxy.address();
        let file = format!("{name}.toml");
        let text = format!(
            r#"
[listen]
api = "127.0.0.1:0"
tls_certificate_file = "peers.pem"
tls_key_file = "peers.key"
client_ca_file = "peers-ca.pem"
[journal]
path = "{name}.sqlite"
[kms]
region = "us-east-1"
endpoint_url = "{kms}"
observe_only = true
[preflight]
ca_files = ["ca.pem"]
samples = 1
routes = [{{ host = "new.xks.example.com", connect_to = ["{found}"] }}]
[[client_certificates]]
name = "{MAIN}"
dns = "{CLIENT}"
role = "prober"
{more}
"#
        );
        std::fs::write(stage.directory.join(&file), text).unwrap();
        Self { name, daemon: run(stage, &file, name).await, proxy }
    }

    /// The lines that make it a perspective of another daemon.
    pub(crate) fn section(&self) -> String {
        section(self.name, &self.daemon.address)
    }
}

/// The lines that make the daemon at this address a perspective, by client certificate.
pub(crate) fn section(name: &str, address: &str) -> String {
    let port = port(address);
    format!(
        "[[perspectives]]\nname = \"{name}\"\nurl = \"https://localhost:{port}\"\nca_file = \"peers-ca.pem\"\n\
         client_certificate_file = \"client.pem\"\nclient_key_file = \"client.key\"\n"
    )
}

/// Starts the daemon of this configuration file under a name.
pub(crate) async fn run(stage: &Stage, config: &str, name: &str) -> Daemon {
    let mut command = tokio::process::Command::new(BINARY);
    command.args(["--log-level", "trace", "serve", "--perspective", name, "--config"]);
    command.arg(stage.directory.join(Path::new(config)));
    Daemon::run(stage, command).await
}

fn port(address: &str) -> &str {
    address.rsplit(':').next().unwrap()
}
