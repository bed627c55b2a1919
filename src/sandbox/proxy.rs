//! A simulated external key store proxy: a real peer on loopback.
//!
//! # How it works
//!
//! One task listens; each connection is a task of its own, of which there are at most [`Limits::connections`], each
//! living at most [`Limits::connection_time`]. A connection goes through the same layers as at a real proxy - TCP, TLS,
//! HTTP/1.1, routing, signature, operation - and at each layer asks the board of faults whether to misbehave there.
//! HTTP is hyper's; when the answer must be something that no HTTP server would send, hyper lets go of the connection
//! and the bytes are written by hand.
//!
//! The order of refusals is that of AWS's sample proxy: an unknown path is refused before any signature is looked at,
//! and a method other than POST only after.
//!
//! # What can go wrong
//!
//! Nothing here decides anything for the product. A port that is taken is a [`ProxyError::Listen`]; everything later
//! concerns one connection only and is at most a debug log line.

mod board;
mod connection;
mod external_key;
mod history;
mod listener;
mod payload;
mod reply;
mod service;
mod signature;
mod tls;
mod wire;

#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use secrecy::SecretString;

use self::{board::Board, history::History, listener::Listening, tls::Tls};
pub use self::{
    external_key::{ExternalKey, KeyMaterials, KeyStatus},
    history::SeenRequest,
    signature::{Credentials, Distrust},
    wire::{EkmHealth, ErrorName, Fleet, KeyManager},
};
use super::{
    fault::{Layer, Misbehaviour},
    pki::{Pki, PkiError},
};

/// Where the proxy takes the wall time from, for signatures, the Date header and client certificates.
pub type WallClock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Everything a proxy needs to start.
#[derive(Clone)]
pub struct ProxySettings {
    /// Where to listen; port 0 takes any free one. Default 127.0.0.1:0.
    pub bind: SocketAddr,
    /// The DNS names in its certificate.
    pub host_names: Vec<String>,
    /// The `XksProxyUriPath`: an optional prefix and `/kms/xks/v1`.
    pub uri_path: String,
    /// The Region it expects in the scope of signatures. Default us-east-1.
    pub region: String,
    /// The credentials it accepts; two at a time while one is being replaced.
    pub credentials: Credentials,
    /// Its keys. Give clones of the same to two proxies to make them replicas.
    pub keys: KeyMaterials,
    /// What its health answer says.
    pub fleet: Fleet,
    /// Who signs its certificate.
    pub pki: Arc<Pki>,
    /// Its clock.
    pub clock: WallClock,
    /// Its bounds.
    pub limits: Limits,
}

/// The bounds of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; more wait in the accept queue.
    pub connections: usize,
    /// How long a connection may live, stalled or not.
    pub connection_time: Duration,
    /// How many of the latest requests are remembered.
    pub history: usize,
}

impl Default for Limits {
    /// 256 connections of two minutes at most, 10,000 remembered requests.
    fn default() -> Self {
        Self { connections: 256, connection_time: Duration::from_mins(2), history: 10_000 }
    }
}

impl ProxySettings {
    /// A proxy on any free port of 127.0.0.1 for one host name, without credentials and keys.
    pub fn new(pki: Arc<Pki>, clock: WallClock, host_name: impl Into<String>, uri_path: impl Into<String>) -> Self {
        Self {
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            host_names: vec![host_name.into()],
            uri_path: uri_path.into(),
            region: "us-east-1".to_owned(),
            credentials: Credentials::default(),
            keys: KeyMaterials::default(),
            fleet: Fleet::default(),
            pki,
            clock,
            limits: Limits::default(),
        }
    }
}

impl fmt::Debug for ProxySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxySettings")
            .field("bind", &self.bind)
            .field("host_names", &self.host_names)
            .field("uri_path", &self.uri_path)
            .field("region", &self.region)
            .field("credentials", &self.credentials)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

/// A proxy that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The address cannot be listened on: taken, or not of this machine.
    #[error("the sandbox proxy cannot listen on {address}; free the port or choose another")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The certificate could not be made.
    #[error("the sandbox proxy has no certificate")]
    Certificate(#[from] PkiError),
    /// The TLS library refused the configuration.
    #[error("the sandbox proxy cannot configure TLS")]
    Tls(#[from] rustls::Error),
    /// The TLS library refused to verify client certificates.
    #[error("the sandbox proxy cannot verify client certificates")]
    ClientVerifier(#[from] rustls::server::VerifierBuilderError),
}

/// What the connections of one proxy have in common.
struct Shared {
    uri_path: String,
    region: String,
    credentials: RwLock<Credentials>,
    keys: RwLock<KeyMaterials>,
    fleet: RwLock<Fleet>,
    latency: RwLock<Duration>,
    board: Board,
    history: History,
    tls: Tls,
    clock: WallClock,
    limits: Limits,
    connections: AtomicU64,
}

/// A running proxy. Dropping it stops it; [`Self::shutdown`] also waits until the port is closed.
pub struct SandboxProxy {
    shared: Arc<Shared>,
    listening: Listening,
}

impl SandboxProxy {
    /// Starts listening and returns once connections are accepted.
    pub async fn start(settings: ProxySettings) -> Result<Self, ProxyError> {
        let ProxySettings { bind, host_names, uri_path, region, credentials, keys, fleet, pki, clock, limits } =
            settings;
        let tls = Tls::new(pki, host_names, Arc::clone(&clock));
        tls.config(None, None)?;
        let shared = Arc::new(Shared {
            uri_path,
            region,
            credentials: RwLock::new(credentials),
            keys: RwLock::new(keys),
            fleet: RwLock::new(fleet),
            latency: RwLock::default(),
            board: Board::default(),
            history: History::new(limits.history),
            tls,
            clock,
            limits,
            connections: AtomicU64::new(0),
        });
        let listening = Listening::start(Arc::clone(&shared), bind).await?;
        Ok(Self { shared, listening })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.listening.address()
    }

    /// Sets one fault on everything, or none. Returns once it is in force.
    pub async fn set_fault(&self, fault: impl Into<Option<super::fault::Fault>>) {
        self.set_faults(fault.into().map(Misbehaviour::always)).await;
    }

    /// Replaces all faults; their counts begin anew. Of several in one layer the first that acts wins. Returns once
    /// they are in force, that is, with the port closed or open again if that is what they change.
    pub async fn set_faults(&self, misbehaviours: impl IntoIterator<Item = Misbehaviour>) {
        let misbehaviours: Vec<Misbehaviour> = misbehaviours.into_iter().collect();
        // Certificates are made now rather than in the first handshake, whose time is not theirs.
        let in_layer = |layer| misbehaviours.iter().map(|set| set.fault).find(|fault| fault.layer() == layer);
        let _ = self.shared.tls.config(in_layer(Layer::Tls), in_layer(Layer::Certificate));
        self.shared.board.set(misbehaviours);
        self.listening.follow(self.shared.board.closes_listener()).await;
    }

    /// The faults now set.
    pub fn faults(&self) -> Vec<Misbehaviour> {
        self.shared.board.current()
    }

    /// Every answer waits so long from now on, besides any fault.
    pub fn set_latency(&self, latency: Duration) {
        *self.shared.latency.write().unwrap_or_else(PoisonError::into_inner) = latency;
    }

    /// Accepts another credential, or another secret for a known access key id.
    pub fn add_credential(&self, access_key_id: impl Into<String>, secret: impl Into<SecretString>) {
        let mut credentials = self.shared.credentials.write().unwrap_or_else(PoisonError::into_inner);
        credentials.add(access_key_id.into(), secret.into());
    }

    /// Accepts a credential no more; tells whether it did before.
    pub fn remove_credential(&self, access_key_id: &str) -> bool {
        self.shared.credentials.write().unwrap_or_else(PoisonError::into_inner).remove(access_key_id)
    }

    /// Replaces what the health answer says.
    pub fn set_fleet(&self, fleet: Fleet) {
        *self.shared.fleet.write().unwrap_or_else(PoisonError::into_inner) = fleet;
    }

    /// Replaces the key managers in the health answer.
    pub fn set_ekm_fleet(&self, managers: Vec<KeyManager>) {
        self.shared.fleet.write().unwrap_or_else(PoisonError::into_inner).ekm_fleet_details = managers;
    }

    /// Replaces all keys.
    pub fn set_keys(&self, keys: KeyMaterials) {
        *self.shared.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// The latest requests, oldest first.
    pub fn history(&self) -> Vec<SeenRequest> {
        self.shared.history.requests()
    }

    /// Forgets the requests seen so far.
    pub fn clear_history(&self) {
        self.shared.history.clear();
    }

    /// How many connections were ever accepted, whatever became of them.
    pub fn accepted_connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Stops and returns when the port is closed and every connection has ended.
    pub async fn shutdown(self) {
        self.listening.stop().await;
    }
}

impl fmt::Debug for SandboxProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxProxy")
            .field("address", &self.address())
            .field("uri_path", &self.shared.uri_path)
            .field("faults", &self.faults())
            .finish_non_exhaustive()
    }
}
