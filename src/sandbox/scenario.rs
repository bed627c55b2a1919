//! The story that the `sandbox` command tells: a key store, its proxy, and candidates good and bad.
//!
//! One simulated KMS holds a connected external key store and a connected CloudHSM key store. Behind the first is the
//! current proxy; a healthy candidate holds the same keys, another one other keys, and the rest is broken, each in one
//! way. In front of the candidate are two VPC endpoint services, one of which KMS may not use; beside the CloudHSM
//! cluster in use are a related one and a stranger (`scenario/services.rs`). Further accounts and Regions may stand beside
//! (`scenario/places.rs`). Whoever reads the story may spoil it
//! (`scenario/control.rs`). Everything a user would have in such a
//! situation is written to a state directory: the proxies' console files, the root certificate, a sealing key.

mod control;
mod places;
mod services;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use serde_json::json;

pub use self::places::{Extent, Further, FurtherPlace};
pub use self::services::{FORSAKEN_SERVICE, PRESENT_CLUSTER, RELATED_CLUSTER, SERVICE, STRANGE_CLUSTER, Services};
use super::cloudhsm::{AuthorityError, CloudHsmStartError};
use super::fault::Misbehaviour;
use super::kms::{ConnectionState, KmsSettings, KmsStartError, SandboxKms, SeedStore};
use super::pki::{Pki, PkiError};
use super::proxy::{Credentials, ExternalKey, Fleet, KeyMaterials, ProxyError, ProxySettings, SandboxProxy, WallClock};

/// The Region of the story.
pub const REGION: &str = "us-east-1";

/// The path of every proxy.
pub const URI_PATH: &str = "/sandbox/kms/xks/v1";

/// The access key id of every proxy's credential.
pub const ACCESS_KEY_ID: &str = "SANDBOXPROXYACCESSKEYID";

/// The access key id of a second credential, which every proxy accepts as well: what the first is rotated to.
pub const NEXT_ACCESS_KEY_ID: &str = "SANDBOXNEXTACCESSKEYID";

/// The external key that is there for tests.
pub const TEST_KEY: &str = "xks-preflight-test";

/// The external keys, which all proxies have by name.
const KEYS: [&str; 3] = ["payments", "archive", TEST_KEY];

/// How long the store stays CONNECTING and DISCONNECTING: AWS takes about five minutes, a reader has less patience.
const TRANSITION: Duration = Duration::from_secs(2);

/// The control's port, counted from the KMS's.
const CONTROL: u16 = 20;

/// A proxy of the story.
struct Role {
    name: &'static str,
    about: &'static str,
    /// What it does wrong, in the words of [`Misbehaviour`].
    fault: Option<&'static str>,
    own_keys: bool,
    region: &'static str,
}

const fn role(name: &'static str, about: &'static str, fault: Option<&'static str>) -> Role {
    Role { name, about, fault, own_keys: false, region: REGION }
}

const ROLES: &[Role] = &[
    role("current", "the proxy behind the key store now", None),
    role("candidate", "a healthy candidate with the same keys", None),
    Role { own_keys: true, ..role("other-keys", "healthy, but another fleet with other keys", None) },
    role("expired", "its certificate expired yesterday", Some("certificate-expired")),
    role("slow", "answers after 400 ms", Some("slow-answer:ms=400")),
    role("unavailable", "all its key managers are UNAVAILABLE", Some("ekm-all-unavailable")),
    role("wrong-secret", "refuses the credential", Some("authentication-failed-exception")),
    role("stalled", "accepts connections and never answers", Some("tls-stall")),
    role("swapped-keys", "the same fleet and key ids, but other key material", Some("key-material-swapped")),
];

/// Why the story cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The certificate authority cannot be made.
    #[error("cannot make the sandbox's certificates")]
    Pki(#[from] PkiError),
    /// A proxy cannot start.
    #[error("cannot start the proxy {name}; if its port is taken, choose another --first-port")]
    Proxy {
        /// Which one.
        name: &'static str,
        /// Why.
        source: ProxyError,
    },
    /// The simulated KMS cannot start.
    #[error("cannot start the simulated KMS; if its port is taken, choose another --first-port")]
    Kms(#[from] KmsStartError),
    /// EC2, Elastic Load Balancing or the control cannot start.
    #[error("cannot start the sandbox's {service}; if its port is taken, choose another --first-port")]
    Service {
        /// Which one.
        service: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// CloudHSM cannot start.
    #[error("cannot start the simulated CloudHSM")]
    CloudHsm(#[from] CloudHsmStartError),
    /// The clusters' certificates cannot be made.
    #[error("cannot make the certificates of CloudHSM clusters")]
    Authority(#[from] AuthorityError),
    /// A file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A certificate cannot be used as a root.
    #[error("cannot trust the sandbox's root")]
    Root(#[source] rustls::Error),
}

/// Secrets of the story: made anew at every start, so that none is worth anything elsewhere.
#[derive(Clone)]
pub struct Secrets {
    /// `RawSecretAccessKey` of the proxies' credential; 43 to 64 characters.
    pub proxy_secret: String,
    /// The same of the second one.
    pub next_proxy_secret: String,
    /// The AWS access key id that the simulated KMS knows.
    pub aws_access_key_id: String,
    /// Its secret.
    pub aws_secret_access_key: String,
    /// An AWS secret that nobody has: other accounts let in sessions alone.
    pub nobodys_secret: String,
    /// The password of `kmsuser` in the CloudHSM clusters; 7 to 32 characters.
    pub kmsuser_password: String,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A proxy that stands.
#[derive(Debug)]
pub struct Actor {
    /// `current`, `candidate`, …
    pub name: &'static str,
    /// What there is to know about it.
    pub about: &'static str,
    /// Its `XksProxyUriEndpoint`.
    pub endpoint: String,
    /// Where it really listens.
    pub address: SocketAddr,
    /// The proxy.
    pub proxy: SandboxProxy,
}

/// Everything that stands on loopback, until it is dropped.
pub struct Scenario {
    /// The simulated KMS.
    pub kms: SandboxKms,
    /// The external key store.
    pub key_store: String,
    /// The CloudHSM key store.
    pub cloudhsm_key_store: String,
    /// What tells of VPC endpoint services and clusters.
    pub services: Services,
    /// The proxies.
    pub actors: Arc<Vec<Actor>>,
    /// Further accounts and Regions.
    pub further: Further,
    control: control::Control,
    /// The root certificate's file.
    pub ca_file: PathBuf,
    /// The console file of the proxies' credential.
    pub console_file: PathBuf,
}

impl std::fmt::Debug for Scenario {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scenario").field("key_store", &self.key_store).finish_non_exhaustive()
    }
}

impl Scenario {
    /// Starts the peers and writes their files into `directory`. With a first port the proxies take the following
    /// ones and the KMS the first; without, any free ones.
    pub async fn start(
        directory: &Path,
        first_port: Option<u16>,
        secrets: &Secrets,
        clock: WallClock,
        extent: Extent,
    ) -> Result<Self, ScenarioError> {
        let pki = Arc::new(Pki::new(clock())?);
        let ca_file = directory.join("ca.pem");
        write(&ca_file, pki.root_pem().as_bytes())?;
        let console_file = directory.join("proxy.secret.json");
        write(&console_file, console(ACCESS_KEY_ID, &secrets.proxy_secret).as_bytes())?;
        let next = console(NEXT_ACCESS_KEY_ID, &secrets.next_proxy_secret);
        write(&directory.join("next.secret.json"), next.as_bytes())?;
        let mut actors = Vec::new();
        let port = |number| first_port.map_or(0, |first| first.saturating_add(number));
        let regional = places::REGIONAL.iter().filter(|role| extent.reaches(role.region));
        for (role, number) in ROLES.iter().chain(regional).zip(1..) {
            let port = port(number);
            actors.push(start_proxy(role, port, &pki, secrets, &clock).await?);
        }
        let services = Services::start(secrets, &clock).await?;
        let settings = kms_settings(first_port.unwrap_or(0), &pki, &actors, &services, secrets, clock.clone())?;
        let kms = SandboxKms::start(settings.clone()).await?;
        let current = actors.first().map_or("", |actor| actor.endpoint.as_str());
        let store = SeedStore::public("payments-keys", current, URI_PATH, ACCESS_KEY_ID, &secrets.proxy_secret);
        let key_store = kms.add_store(store.in_state(ConnectionState::Connected));
        for key in KEYS {
            kms.add_key(&key_store, key);
        }
        let actors = Arc::new(actors);
        let further = places::start(extent, &kms, &settings, &actors, secrets, &clock).await?;
        let control = control::Control::start(port(CONTROL), Arc::clone(&actors)).await;
        let control = control.map_err(|source| ScenarioError::Service { service: "control", source })?;
        let (password, anchor) = (&secrets.kmsuser_password, &services.trust_anchor);
        let cloudhsm_key_store = kms.add_store(SeedStore::cloud_hsm("vault-keys", PRESENT_CLUSTER, password, anchor));
        Ok(Self { kms, key_store, cloudhsm_key_store, services, actors, further, control, ca_file, console_file })
    }

    /// Where proxies are told to misbehave: `PUT /proxies/NAME` with faults in the body, `GET /faults`; and to forget a
    /// credential: `DELETE /proxies/NAME/credentials/ID`.
    pub fn control_url(&self) -> String {
        format!("http://{}", self.control.address)
    }

    /// The proxy of this name.
    pub fn actor(&self, name: &str) -> Option<&Actor> {
        self.actors.iter().find(|actor| actor.name == name)
    }
}

async fn start_proxy(
    role: &Role,
    port: u16,
    pki: &Arc<Pki>,
    secrets: &Secrets,
    clock: &WallClock,
) -> Result<Actor, ScenarioError> {
    let host = format!("{}.xks.example.com", role.name);
    let mut settings = ProxySettings::new(Arc::clone(pki), Arc::clone(clock), host.as_str(), URI_PATH);
    settings.bind = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    role.region.clone_into(&mut settings.region);
    settings.credentials = Credentials::default()
        .with(ACCESS_KEY_ID, secrets.proxy_secret.clone())
        .with(NEXT_ACCESS_KEY_ID, secrets.next_proxy_secret.clone());
    let seed = if role.own_keys { role.name } else { "shared" };
    settings.keys = KEYS
        .iter()
        .fold(KeyMaterials::default(), |keys, key| keys.with(*key, ExternalKey::from_seed(&format!("{seed}/{key}"))));
    if role.own_keys {
        settings.fleet = other_fleet();
    }
    let failed = |source| ScenarioError::Proxy { name: role.name, source };
    let proxy = SandboxProxy::start(settings).await.map_err(failed)?;
    // The faults of the story are written above and known to parse; a test starts them all.
    let faults = role.fault.and_then(|text| text.parse::<Misbehaviour>().ok());
    proxy.set_faults(faults).await;
    Ok(Actor {
        name: role.name,
        about: role.about,
        endpoint: format!("https://{host}"),
        address: proxy.address(),
        proxy,
    })
}

/// A fleet that is not the others'.
fn other_fleet() -> Fleet {
    let mut fleet = Fleet::default();
    for manager in &mut fleet.ekm_fleet_details {
        manager.id = manager.id.replace("sandbox", "another");
    }
    fleet
}

fn kms_settings(
    port: u16,
    pki: &Pki,
    actors: &[Actor],
    services: &Services,
    secrets: &Secrets,
    clock: WallClock,
) -> Result<KmsSettings, ScenarioError> {
    let mut settings = KmsSettings::new(clock, &secrets.aws_access_key_id, &secrets.aws_secret_access_key);
    settings.bind = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    REGION.clone_into(&mut settings.region);
    settings.connect_delay = TRANSITION;
    settings.disconnect_delay = TRANSITION;
    settings.clusters = Some(services.clusters.clone());
    let served = |name: &str| (name.to_owned(), services::SERVED.to_owned());
    settings.vpc_services = Some(BTreeMap::from([served(SERVICE), served(FORSAKEN_SERVICE)]));
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(pki.root_der().to_vec())).map_err(ScenarioError::Root)?;
    settings.roots = roots;
    for actor in actors {
        let host = actor.endpoint.trim_start_matches("https://").to_owned();
        settings.routes.insert(host, actor.address);
    }
    Ok(settings)
}

/// The proxy configuration file that the KMS console takes.
fn console(access_key_id: &str, secret: &str) -> String {
    let credential = json!({ "AccessKeyId": access_key_id, "RawSecretAccessKey": secret });
    json!({ "XksProxyUriPath": URI_PATH, "XksProxyAuthenticationCredential": credential }).to_string()
}

/// Writes a file that only its owner reads.
fn write(path: &Path, contents: &[u8]) -> Result<(), ScenarioError> {
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(contents))
        .map_err(|source| ScenarioError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_the_story_is_one() {
        for role in ROLES.iter().chain(places::REGIONAL) {
            assert!(role.fault.is_none_or(|text| text.parse::<Misbehaviour>().is_ok()), "{}", role.name);
        }
    }
}
