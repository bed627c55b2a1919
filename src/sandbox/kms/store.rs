//! A custom key store as the simulated KMS keeps it, and how its connection moves with time.
//!
//! A transition is begun by Connect or Disconnect and finished by being looked at: [`Record::settle`] compares the
//! instant with the one at which the transition is due. No timer runs, so a test may jump over five minutes of
//! connecting without waiting for anything.

use std::{fmt, time::SystemTime};

use tokio::time::Instant;
use zeroize::Zeroizing;

/// A secret given to the sandbox: the secret half of a proxy credential or a `kmsuser` password.
///
/// `Debug` never shows it; it is wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the secret as it is; nothing is checked.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(Zeroizing::new(secret.into()))
    }

    /// The secret in clear, to sign with or to compare in a test.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The first eight bytes of the secret's SHA-256 in hexadecimal: enough to see that two secrets are the same one.
    pub fn fingerprint(&self) -> String {
        super::signature::sha256_hex(self.0.as_bytes()).chars().take(16).collect()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// `ConnectionState`, with the `ConnectionErrorCode` only where AWS has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// `CONNECTED`: a connect succeeded and nobody disconnected since; says nothing about present health.
    Connected,
    /// `CONNECTING`: a connect is under way.
    Connecting,
    /// `DISCONNECTED`: never connected, or disconnected on purpose.
    Disconnected,
    /// `DISCONNECTING`: a disconnect is under way.
    Disconnecting,
    /// `FAILED` with this `ConnectionErrorCode`.
    Failed(String),
    /// A word that the AWS model does not know.
    Other(String),
}

impl ConnectionState {
    /// The word on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Connected => "CONNECTED",
            Self::Connecting => "CONNECTING",
            Self::Disconnected => "DISCONNECTED",
            Self::Disconnecting => "DISCONNECTING",
            Self::Failed(_) => "FAILED",
            Self::Other(word) => word,
        }
    }
}

/// `XksProxyConnectivity`, with the VPC endpoint service only where AWS has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connectivity {
    /// `PUBLIC_ENDPOINT`.
    Public,
    /// `VPC_ENDPOINT_SERVICE`.
    VpcEndpointService {
        /// `XksProxyVpcEndpointServiceName`.
        name: String,
        /// `XksProxyVpcEndpointServiceOwner`: the account that owns the service.
        owner: String,
    },
}

impl Connectivity {
    /// The word on the wire.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Public => "PUBLIC_ENDPOINT",
            Self::VpcEndpointService { .. } => "VPC_ENDPOINT_SERVICE",
        }
    }
}

/// The settings of an external key store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalKeyStore {
    /// `XksProxyConnectivity` and what goes with it.
    pub connectivity: Connectivity,
    /// `XksProxyUriEndpoint`, `https://` and a host name.
    pub endpoint: String,
    /// `XksProxyUriPath`.
    pub path: String,
    /// The id half of the proxy credential; KMS shows it.
    pub access_key_id: String,
    /// The secret half of the proxy credential; KMS never shows it.
    pub secret: Secret,
}

impl ExternalKeyStore {
    /// The host named by the endpoint, lower case and without a trailing dot.
    pub fn host(&self) -> String {
        let host = self.endpoint.strip_prefix("https://").unwrap_or(&self.endpoint);
        host.trim_end_matches('.').to_ascii_lowercase()
    }
}

/// The settings of an AWS CloudHSM key store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudHsm {
    /// `CloudHsmClusterId`.
    pub cluster_id: String,
    /// The password of `kmsuser`; KMS never shows it.
    pub password: Secret,
    /// `TrustAnchorCertificate`, PEM.
    pub trust_anchor: String,
}

/// What holds the keys of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backing {
    /// `EXTERNAL_KEY_STORE`.
    External(ExternalKeyStore),
    /// `AWS_CLOUDHSM`.
    CloudHsm(CloudHsm),
}

/// A store to begin with, put in place without any of KMS's checks.
#[derive(Clone, Debug)]
pub struct SeedStore {
    /// `CustomKeyStoreName`.
    pub name: String,
    /// What holds the keys.
    pub backing: Backing,
    /// The state to begin in. `Connecting` and `Disconnecting` begin now and last as long as the settings say; what was
    /// connecting ends `Connected`.
    pub connection: ConnectionState,
}

impl SeedStore {
    /// A `CONNECTED` store with public connectivity.
    pub fn public(name: &str, endpoint: &str, path: &str, access_key_id: &str, secret: &str) -> Self {
        Self {
            name: name.to_owned(),
            backing: Backing::External(ExternalKeyStore {
                connectivity: Connectivity::Public,
                endpoint: endpoint.to_owned(),
                path: path.to_owned(),
                access_key_id: access_key_id.to_owned(),
                secret: Secret::new(secret),
            }),
            connection: ConnectionState::Connected,
        }
    }

    /// The same external key store behind a VPC endpoint service. A CloudHSM store is left as it is.
    #[must_use]
    pub fn behind_service(mut self, name: &str, owner: &str) -> Self {
        if let Backing::External(xks) = &mut self.backing {
            xks.connectivity = Connectivity::VpcEndpointService { name: name.to_owned(), owner: owner.to_owned() };
        }
        self
    }

    /// A `CONNECTED` AWS CloudHSM key store.
    pub fn cloud_hsm(name: &str, cluster_id: &str, password: &str, trust_anchor: &str) -> Self {
        Self {
            name: name.to_owned(),
            backing: Backing::CloudHsm(CloudHsm {
                cluster_id: cluster_id.to_owned(),
                password: Secret::new(password),
                trust_anchor: trust_anchor.to_owned(),
            }),
            connection: ConnectionState::Connected,
        }
    }

    /// The same store in another state.
    #[must_use]
    pub fn in_state(mut self, connection: ConnectionState) -> Self {
        self.connection = connection;
        self
    }
}

/// A store as it is at one instant: a snapshot, and what [`tamper`](super::SandboxKms::tamper) may change.
#[derive(Clone, Debug)]
pub struct Store {
    /// `CustomKeyStoreId`; `cks-` and 17 hexadecimal digits.
    pub id: String,
    /// `CustomKeyStoreName`.
    pub name: String,
    /// What holds the keys.
    pub backing: Backing,
    /// The state of the connection.
    pub connection: ConnectionState,
    /// `CreationDate`.
    pub created_at: SystemTime,
}

impl Store {
    /// The external settings, if this is an external key store.
    pub fn external(&self) -> Option<&ExternalKeyStore> {
        match &self.backing {
            Backing::External(xks) => Some(xks),
            Backing::CloudHsm(_) => None,
        }
    }
}

/// A transition under way.
#[derive(Debug)]
struct Pending {
    /// Which transition this is, so that a late answer of a proxy cannot end a newer one.
    attempt: u64,
    /// Not before this instant; `None` never.
    due: Option<Instant>,
    /// Where it ends; `None` until the proxy has answered.
    end: Option<ConnectionState>,
}

/// A store with the transition it is in.
#[derive(Debug)]
pub(super) struct Record {
    store: Store,
    pending: Option<Pending>,
}

impl Record {
    pub(super) fn new(store: Store) -> Self {
        Self { store, pending: None }
    }

    /// The store as it was when last settled.
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Ends a transition that is due.
    pub(super) fn settle(&mut self, now: Instant) {
        let over = self.pending.as_ref().is_some_and(|p| p.end.is_some() && p.due.is_some_and(|due| due <= now));
        if over && let Some(end) = self.pending.take().and_then(|pending| pending.end) {
            self.store.connection = end;
        }
    }

    /// Begins to connect. The end is not known until [`Record::connected`] is told. `due` `None` never ends.
    pub(super) fn begin_connect(&mut self, attempt: u64, due: Option<Instant>) {
        self.store.connection = ConnectionState::Connecting;
        self.pending = Some(Pending { attempt, due, end: None });
    }

    /// Notes how the connect called `attempt` will end; nothing if another transition took its place.
    pub(super) fn connected(&mut self, attempt: u64, end: ConnectionState) {
        if let Some(pending) = self.pending.as_mut().filter(|pending| pending.attempt == attempt) {
            pending.end = Some(end);
        }
    }

    /// Begins to disconnect. `due` `None` never ends.
    pub(super) fn begin_disconnect(&mut self, attempt: u64, due: Option<Instant>) {
        self.store.connection = ConnectionState::Disconnecting;
        self.pending = Some(Pending { attempt, due, end: Some(ConnectionState::Disconnected) });
    }

    /// Changes the store. A change of state by hand ends the transition that was under way; the id stays.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Store)) {
        let (id, before) = (self.store.id.clone(), self.store.connection.clone());
        change(&mut self.store);
        self.store.id = id;
        if self.store.connection != before {
            self.pending = None;
        }
    }
}
