//! The simulated KMS against the real AWS SDK, and against a small TLS proxy that answers as told.

mod connect;
mod describe;
mod faults;
mod peer;
mod protocol;
mod update;

use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_sdk_kms::{
    Client,
    config::{BehaviorVersion, Credentials, Region as SdkRegion, retry::RetryConfig},
    error::{ProvideErrorMetadata, SdkError},
    types::XksProxyAuthenticationCredentialType,
};

use self::peer::Peer;
use super::*;

const HOST: &str = "proxy.sandbox.test";
const ENDPOINT: &str = "https://proxy.sandbox.test";
const PATH: &str = "/one/kms/xks/v1";
const ACCESS_KEY_ID: &str = "AKIAI2SFODNN7EXAMPLE";
const SECRET: &str = "FirstProxySecretDoNotLeak0123456789abcdefghij+/";
const NEW_SECRET: &str = "OtherProxySecretDoNotLeak0123456789abcdefghij+/";
const SERVICE: &str = "com.amazonaws.vpce.us-east-1.vpce-svc-0123456789abcdef0";
const CALLER_ID: &str = "AKIACALLER";
const CALLER_SECRET: &str = "CallerSecretDoNotLeak";

/// A proxy, a KMS that finds it, and an SDK client of that KMS.
struct Scene {
    peer: Peer,
    kms: SandboxKms,
    client: Client,
    /// Seconds by which the KMS's clock is off.
    skew: Arc<AtomicI64>,
}

impl Scene {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut KmsSettings)) -> Self {
        let peer = Peer::start(HOST).await;
        let skew = Arc::new(AtomicI64::new(0));
        let mut settings = KmsSettings::new(clock(skew.clone()), CALLER_ID, CALLER_SECRET);
        settings.routes.insert(HOST.to_owned(), peer.address);
        settings.roots = peer.roots();
        // Generous: the tests share the machine. The time-out itself has a test of its own.
        settings.attempt_timeout = Duration::from_secs(20);
        settings.connect_delay = Duration::ZERO;
        settings.disconnect_delay = Duration::ZERO;
        change(&mut settings);
        let kms = SandboxKms::start(settings).await.expect("loopback");
        let client = client(&kms, CALLER_ID, CALLER_SECRET);
        Self { peer, kms, client, skew }
    }

    fn add(&self, connection: ConnectionState) -> String {
        self.kms.add_store(SeedStore::public("first", ENDPOINT, PATH, ACCESS_KEY_ID, SECRET).in_state(connection))
    }

    fn state(&self, id: &str) -> ConnectionState {
        self.kms.store(id).expect("store").connection
    }

    async fn reaches(&self, id: &str, state: ConnectionState) {
        eventually(&format!("store in {state:?}"), || self.state(id) == state).await;
    }
}

/// The SDK judges signatures and dates by the system's clock, so the simulated KMS must stand in the same time.
#[expect(clippy::disallowed_methods, reason = "the SDK client on the other side reads the system's clock")]
fn clock(skew: Arc<AtomicI64>) -> WallClock {
    Arc::new(move || {
        let skew = skew.load(Ordering::SeqCst);
        let by = Duration::from_secs(skew.unsigned_abs());
        if skew < 0 { SystemTime::now() - by } else { SystemTime::now() + by }
    })
}

fn client(kms: &SandboxKms, access_key_id: &str, secret: &str) -> Client {
    let config = aws_sdk_kms::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(SdkRegion::new("us-east-1"))
        .endpoint_url(kms.endpoint_url())
        .credentials_provider(Credentials::new(access_key_id, secret, None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .build();
    Client::from_conf(config)
}

/// Waits until something holds, at most 20 s.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        ticks.tick().await;
    }
    panic!("never: {what}");
}

/// The exception's name as the SDK read it.
fn code<T: Debug, E: ProvideErrorMetadata + Debug>(result: Result<T, SdkError<E>>) -> String {
    let error = result.expect_err("an exception");
    error.code().unwrap_or_else(|| panic!("no exception but {error:?}")).to_owned()
}

fn message<T: Debug, E: ProvideErrorMetadata + Debug>(result: Result<T, SdkError<E>>) -> String {
    result.expect_err("an exception").message().unwrap_or_default().to_owned()
}

fn credential(secret: &str) -> XksProxyAuthenticationCredentialType {
    XksProxyAuthenticationCredentialType::builder()
        .access_key_id(ACCESS_KEY_ID)
        .raw_secret_access_key(secret)
        .build()
        .expect("both halves")
}
