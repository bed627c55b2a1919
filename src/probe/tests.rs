//! The prober against real servers on loopback: the sandbox's proxy, and servers of a few lines where it would be too
//! polite.

mod chain;
mod client_certificate;
mod name;
mod sample;
mod stop;
mod stranger;

use std::net::SocketAddr;

use super::*;
use crate::clock::{SetClock, Timestamp};
use crate::key_store::{AccessKeyId, RawSecretAccessKey};
use crate::sandbox::pki::Pki;
use crate::sandbox::proxy::{Credentials, KeyMaterials, ProxySettings, SandboxProxy};

const HOST: &str = "xks.example.com";
const PATH: &str = "/tenant/kms/xks/v1";
const KEY_ID: &str = "SANDBOXACCESSKEYID2345";
const SECRET: &str = "TestSecretDoNotLeakTestSecretDoNotLeakTestSecret23";
/// For whatever must not run out of time on a busy machine.
const AMPLE: Duration = Duration::from_secs(20);

fn now() -> Timestamp {
    Timestamp::from_unix(1_800_000_000)
}

fn target() -> Target {
    Target {
        endpoint: XksProxyUriEndpoint::parse(&format!("https://{HOST}")).unwrap(),
        path: XksProxyUriPath::parse(PATH).unwrap(),
        region: Region::parse("us-east-1").unwrap(),
        credential: ProxyCredential {
            access_key_id: AccessKeyId::parse(KEY_ID).unwrap(),
            secret_access_key: RawSecretAccessKey::parse(SECRET).unwrap(),
        },
        kms_operation: "KmsHealthCheck".to_owned(),
    }
}

/// A public key infrastructure, and a prober that trusts its root.
struct Bench {
    pki: Arc<Pki>,
    clock: SetClock,
    prober: Prober,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_, _| {})
    }

    fn with(change: impl FnOnce(&Pki, &mut ProberSettings)) -> Self {
        let pki = Arc::new(Pki::new(now().into()).unwrap());
        let clock = SetClock::new(now());
        let mut settings = ProberSettings {
            trust: TrustRoots::laboratory(pki.root_pem().as_bytes()).unwrap(),
            client_certificate: None,
            resolver: ResolverSettings::NameServers(Vec::new()),
            egress: Egress::default(),
            clock: Arc::new(clock.clone()),
            ids: Arc::new(IdSource::from_seed(1)),
        };
        change(&pki, &mut settings);
        Self { pki, clock, prober: Prober::new(settings).unwrap() }
    }

    async fn proxy(&self) -> SandboxProxy {
        let clock = Arc::new(|| now().into());
        let mut settings = ProxySettings::new(Arc::clone(&self.pki), clock, HOST, PATH);
        settings.credentials = Credentials::default().with(KEY_ID, SECRET.to_owned());
        settings.keys = KeyMaterials::of_test_client("bench");
        SandboxProxy::start(settings).await.unwrap()
    }

    async fn cold(&self, address: SocketAddr) -> ColdSample {
        self.prober.cold_sample(&target(), Destination::of_a_test(address), AMPLE).await
    }
}

/// Where and why a sample's deciding attempt stopped.
fn stop_of(cold: &ColdSample) -> Option<(Stage, ProblemKind)> {
    cold.sample.last().stop.as_ref().map(|stop| (stop.stage, stop.problem.kind))
}

fn detail_of(cold: &ColdSample) -> &str {
    cold.sample.last().stop.as_ref().map_or("", |stop| &stop.problem.detail)
}
