//! A simulated AWS KMS, as far as custom key stores go, for real AWS SDKs to talk to on loopback.
//!
//! It is the other party. It speaks AWS JSON 1.1 and verifies every signature; it holds stores with their connection
//! states and the rules about what may be changed when; it calls proxies itself, with a signed GetHealthStatus, before
//! it takes new settings and when it connects; and it never shows a secret. All of that is written apart from the
//! product's own prober and judges, so that a misunderstanding on one side meets resistance on the other.
//!
//! Tests put stores in place ([`SandboxKms::add_store`]), make KMS misbehave ([`SandboxKms::inject`]), act as somebody
//! else ([`SandboxKms::tamper`]) and read what really happened ([`SandboxKms::history`]).
//!
//! Where AWS's sources leave a point open or contradict one another, the place in the code says which side was taken.

mod change;
mod constraint;
mod fault;
mod health;
mod history;
mod operation;
mod region;
mod server;
mod signature;
mod store;
#[cfg(test)]
mod tests;
mod wire;

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, SystemTime},
};

use rustls::RootCertStore;
use tokio::{net::TcpListener, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{fault::Faults, health::HealthCaller, history::History, region::Region};
pub use self::{
    fault::{KmsFault, MAX_HANG},
    history::{Call, Operation, Outcome},
    store::{Backing, CloudHsm, ConnectionState, Connectivity, ExternalKeyStore, Secret, SeedStore, Store},
};
pub(in crate::sandbox) use self::{signature::Verifier, wire::Failure};
use super::{cloudhsm::Clusters, sts::Sessions};

/// Where the simulated KMS takes the wall clock from, for signatures, certificates and dates.
pub type WallClock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// What a simulated KMS is made of. Begin with [`KmsSettings::new`] and change what matters.
#[derive(Clone)]
pub struct KmsSettings {
    /// Where to listen; port 0 picks a free one. Loopback only.
    pub bind: SocketAddr,
    /// The Region in signatures and ARNs.
    pub region: String,
    /// The account in ARNs, 12 digits.
    pub account_id: String,
    /// The access key id that callers must sign with.
    pub access_key_id: String,
    /// The secret access key that callers must sign with.
    pub secret_access_key: Secret,
    /// Where proxies are found: host name to address, in place of DNS and port 443.
    pub routes: BTreeMap<String, SocketAddr>,
    /// The roots that a proxy's certificate must chain to.
    pub roots: RootCertStore,
    /// How long a store stays `CONNECTING`, at the least. AWS: about five minutes.
    pub connect_delay: Duration,
    /// How long a store stays `DISCONNECTING`. AWS: about five minutes.
    pub disconnect_delay: Duration,
    /// How long one GetHealthStatus may take, TCP and TLS included. AWS: 250 ms.
    pub attempt_timeout: Duration,
    /// How many stores CreateCustomKeyStore permits. AWS: 10.
    pub store_quota: usize,
    /// The VPC endpoint services that exist, by name, with their private DNS name; `None` accepts any.
    pub vpc_services: Option<BTreeMap<String, String>>,
    /// The CloudHSM clusters that exist; `None` accepts any, with any password.
    pub clusters: Option<Clusters>,
    /// The temporary credentials that are accepted if they are of this account, too.
    pub sessions: Sessions,
    /// The wall clock.
    pub clock: WallClock,
}

impl KmsSettings {
    /// Region `us-east-1`, account `111122223333`, a free port, no proxies, AWS's time-out and quota, and transitions
    /// of 20 ms.
    pub fn new(clock: WallClock, access_key_id: &str, secret_access_key: &str) -> Self {
        Self {
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            region: "us-east-1".to_owned(),
            account_id: "111122223333".to_owned(),
            access_key_id: access_key_id.to_owned(),
            secret_access_key: Secret::new(secret_access_key),
            routes: BTreeMap::new(),
            roots: RootCertStore::empty(),
            connect_delay: Duration::from_millis(20),
            disconnect_delay: Duration::from_millis(20),
            attempt_timeout: Duration::from_millis(250),
            store_quota: 10,
            vpc_services: None,
            clusters: None,
            sessions: Sessions::default(),
            clock,
        }
    }
}

/// The simulated KMS could not be started.
#[derive(Debug, thiserror::Error)]
pub enum KmsStartError {
    /// The address is not on loopback, and the sandbox is not for others.
    #[error("the simulated KMS listens on loopback only, not on {0}; choose an address in 127.0.0.0/8")]
    NotLoopback(SocketAddr),
    /// The address cannot be listened on.
    #[error("the simulated KMS cannot listen on {address}; choose another address or port 0")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The TLS client for proxies cannot be made: a fault of this program.
    #[error("the simulated KMS cannot make its TLS client, a fault of this program")]
    Tls(#[source] rustls::Error),
}

/// Everything that changes.
struct State {
    region: Region,
    faults: Faults,
    history: History,
    connect_delay: Duration,
    disconnect_delay: Duration,
}

/// The running KMS, shared by its connections.
struct Kms {
    state: Mutex<State>,
    health: HealthCaller,
    verifier: Verifier,
    account_id: String,
    sessions: Sessions,
    clock: WallClock,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// For tasks that outlive the call which began them.
    own: Weak<Kms>,
}

impl Kms {
    /// The state, with every transition ended that is due by now.
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a failing test; the state behind it is still the best there is.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.region.settle(Instant::now());
        state
    }

    /// Whether the account has this access key.
    fn knows(&self, access_key_id: &str) -> bool {
        let session = || self.sessions.find(access_key_id).is_some_and(|session| session.account_id == self.account_id);
        self.verifier.access_key_id == access_key_id || session()
    }

    fn verify(&self, head: &http::request::Parts, body: &[u8]) -> Result<(), Failure> {
        let now = (self.clock)();
        let session = signature::claimed(head).and_then(|(id, _)| self.sessions.find(id));
        match session.filter(|session| session.account_id == self.account_id) {
            Some(session) => signature::verify_session(&session, &self.verifier.region, head, body, now),
            None => self.verifier.verify(head, body, now),
        }
    }
}

/// Every account and Region that is served at one address, the first one first.
#[derive(Default)]
struct Front(Mutex<Vec<Weak<Kms>>>);

impl Front {
    fn add(&self, kms: &Arc<Kms>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(kms));
    }

    /// The account and Region that a request is for, as its signature says: whose credentials, and for which Region. The
    /// first one refuses what is for none.
    fn of(&self, head: &http::request::Parts) -> Option<Arc<Kms>> {
        let all: Vec<Arc<Kms>> =
            self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect();
        let claimed = signature::claimed(head);
        let meant =
            claimed.and_then(|(id, region)| all.iter().find(|kms| kms.knows(id) && kms.verifier.region == region));
        meant.or(all.first()).cloned()
    }
}

/// A UUID for `x-amzn-RequestId` and `kmsRequestId`.
fn request_id() -> String {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string()
}

/// A simulated KMS that listens on loopback. Dropping it stops it.
pub struct SandboxKms {
    kms: Arc<Kms>,
    front: Arc<Front>,
    address: SocketAddr,
}

impl Drop for SandboxKms {
    fn drop(&mut self) {
        self.kms.stop.cancel();
    }
}

impl SandboxKms {
    /// Starts a simulated KMS.
    pub async fn start(settings: KmsSettings) -> Result<Self, KmsStartError> {
        if !settings.bind.ip().is_loopback() {
            return Err(KmsStartError::NotLoopback(settings.bind));
        }
        let failed = |source| KmsStartError::Listen { address: settings.bind, source };
        let listener = TcpListener::bind(settings.bind).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let front = Arc::new(Front::default());
        let kms = Self::make(settings, "")?;
        front.add(&kms);
        kms.tasks.spawn(server::serve(kms.clone(), Arc::clone(&front), listener));
        Ok(Self { kms, front, address })
    }

    /// Serves another account or Region at the same address: the signature of a request tells which one it is for. Its
    /// own address is not listened on.
    pub fn beside(&self, settings: KmsSettings) -> Result<Self, KmsStartError> {
        let salt = format!("{}/{} ", settings.account_id, settings.region);
        let kms = Self::make(settings, &salt)?;
        self.front.add(&kms);
        Ok(Self { kms, front: Arc::clone(&self.front), address: self.address })
    }

    fn make(settings: KmsSettings, salt: &str) -> Result<Arc<Kms>, KmsStartError> {
        let health = HealthCaller::new(
            settings.region.clone(),
            settings.clock.clone(),
            settings.attempt_timeout,
            settings.roots,
            settings.routes,
        )
        .map_err(KmsStartError::Tls)?;
        let mut region = Region::new(settings.region.clone(), settings.account_id.clone(), settings.store_quota);
        salt.clone_into(&mut region.salt);
        region.vpc_services = settings.vpc_services;
        region.clusters = settings.clusters;
        let state = State {
            region,
            faults: Faults::default(),
            history: History::default(),
            connect_delay: settings.connect_delay,
            disconnect_delay: settings.disconnect_delay,
        };
        Ok(Arc::new_cyclic(|own| Kms {
            state: Mutex::new(state),
            health,
            verifier: Verifier {
                access_key_id: settings.access_key_id,
                secret: settings.secret_access_key,
                region: settings.region,
                service: "kms",
            },
            account_id: settings.account_id,
            sessions: settings.sessions,
            clock: settings.clock,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            own: own.clone(),
        }))
    }

    /// The endpoint to give to an SDK.
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops: open connections are closed without an answer, and every task has ended when this returns.
    pub async fn shutdown(self) {
        self.kms.stop.cancel();
        self.kms.tasks.close();
        self.kms.tasks.wait().await;
    }

    /// Puts a store in place as it is, without any check, and says its id.
    pub fn add_store(&self, seed: SeedStore) -> String {
        let now = (self.kms.clock)();
        let mut state = self.kms.lock();
        let id = state.region.add(seed.name, seed.backing, now);
        let attempt = state.region.next_attempt();
        let connected = Instant::now() + state.connect_delay;
        let disconnected = Instant::now() + state.disconnect_delay;
        if let Some(record) = state.region.find(&id) {
            match seed.connection {
                ConnectionState::Connecting => {
                    record.begin_connect(attempt, Some(connected));
                    record.connected(attempt, ConnectionState::Connected);
                }
                ConnectionState::Disconnecting => record.begin_disconnect(attempt, Some(disconnected)),
                connection => record.change(|store| store.connection = connection),
            }
        }
        id
    }

    /// Adds a KMS key to a store and says its ARN. In a CloudHSM store the external key id is not used.
    pub fn add_key(&self, store_id: &str, external_key_id: &str) -> String {
        let custom = Some((store_id.to_owned(), external_key_id.to_owned()));
        self.kms.lock().region.add_key(custom, (self.kms.clock)())
    }

    /// Adds a KMS key that is in no custom key store and says its ARN.
    pub fn add_ordinary_key(&self) -> String {
        self.kms.lock().region.add_key(None, (self.kms.clock)())
    }

    /// From now on DescribeKey of this key is denied, or allowed again; `false` if there is no such key.
    pub fn deny_key(&self, arn: &str, denied: bool) -> bool {
        self.kms.lock().region.change_key(arn, |key| key.denied = denied)
    }

    /// From now on this key shows this `KeyState`, such as `PendingDeletion`; `false` if there is no such key.
    pub fn set_key_state(&self, arn: &str, state: &str) -> bool {
        self.kms.lock().region.change_key(arn, |key| key.state = Some(state.to_owned()))
    }

    /// Deletes a key, as KMS does when the waiting period is over; `false` if there is no such key.
    pub fn delete_key(&self, arn: &str) -> bool {
        self.kms.lock().region.delete_key(arn)
    }

    /// From now on an operation is throttled beyond so many requests a second, as KMS does for account and Region.
    pub fn set_quota(&self, operation: Operation, per_second: u32) {
        self.kms.lock().faults.limit(operation, per_second);
    }

    /// The store as it is now, its secret included; `None` if there is none of this id.
    pub fn store(&self, id: &str) -> Option<Store> {
        self.kms.lock().region.store(id).ok().cloned()
    }

    /// Deletes a store as somebody else would, without any check and without a trace in the history; `false` if there is
    /// none of this id, or if it holds keys.
    pub fn delete_store(&self, id: &str) -> bool {
        let mut state = self.kms.lock();
        state.region.find(id).is_some() && state.region.delete(id).is_ok()
    }

    /// Changes a store as somebody else would, without any check and without a trace in the history; `false` if there is
    /// none of this id. A change of state ends the transition that was under way.
    pub fn tamper(&self, id: &str, change: impl FnOnce(&mut Store)) -> bool {
        let mut state = self.kms.lock();
        let record = state.region.find(id);
        let found = record.is_some();
        if let Some(record) = record {
            record.change(change);
        }
        found
    }

    /// Changes a store as somebody else would right before the next call of this operation is looked at: the race that
    /// no caller of KMS can exclude.
    pub fn tamper_before(&self, operation: Operation, id: &str, change: impl FnOnce(&mut Store) + Send + 'static) {
        self.kms.lock().faults.intrude(operation, id.to_owned(), Box::new(change));
    }

    /// From now on the proxy of this host is found at this address.
    pub fn route(&self, host: &str, to: SocketAddr) {
        self.kms.health.route(host, to);
    }

    /// From now on connecting and disconnecting take this long; what is under way keeps its time.
    pub fn set_delays(&self, connect: Duration, disconnect: Duration) {
        let mut state = self.kms.lock();
        state.connect_delay = connect;
        state.disconnect_delay = disconnect;
    }

    /// From now on these VPC endpoint services exist, by name, with their private DNS name; `None` accepts any.
    pub fn set_vpc_services(&self, services: Option<BTreeMap<String, String>>) {
        self.kms.lock().region.vpc_services = services;
    }

    /// Lets the next `times` calls of an operation suffer a fault, after those already waiting; `u32::MAX` until
    /// [`clear_faults`](Self::clear_faults).
    pub fn inject(&self, operation: Operation, fault: KmsFault, times: u32) {
        self.kms.lock().faults.inject(operation, fault, times);
    }

    /// Forgets every fault and every [`tamper_before`](Self::tamper_before) that waits.
    pub fn clear_faults(&self) {
        self.kms.lock().faults.clear();
    }

    /// Every request in order, without secrets; of a great many, the latest.
    pub fn history(&self) -> Vec<Call> {
        self.kms.lock().history.calls()
    }

    /// The requests that changed a store, in order.
    pub fn mutations(&self) -> Vec<Call> {
        let mut calls = self.history();
        calls.retain(|call| call.applied);
        calls
    }
}
