//! Whether a pre-flight is bound by round trips or by us.
//!
//! A healthy candidate with four addresses, five cold and five warm samples of each, and the metadata of 100 keys. Every
//! proxy holds each answer back for a while, as distance does; the longest chain of exchanges that have to wait for one
//! another is then known: ten samples, and as many questions for metadata as one of the concurrent lanes gets. The wall
//! time of the whole pre-flight - handshakes, judging and all - stands beside it.
//!
//! `cargo bench --bench preflight` prints both and their ratio.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that cannot go on stops")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use xks_preflight::check::{AwsEvidence, Verdict};
use xks_preflight::clock::SystemClock;
use xks_preflight::id::IdSource;
use xks_preflight::key_store::{ConnectivityKind, ExternalKeyId, Region};
use xks_preflight::preflight::{Candidate, CandidateKeys, KeyThoroughness, OfferedCredential, Preflight, Thoroughness};
use xks_preflight::probe::{Egress, Prober, ProberSettings, ResolverSettings, TrustRoots};
use xks_preflight::sandbox::pki::Pki;
use xks_preflight::sandbox::proxy::{Credentials, ExternalKey, KeyMaterials, ProxySettings, SandboxProxy};

const HOST: &str = "xks.example.com";
const PATH: &str = "/example/kms/xks/v1";
const ACCESS_KEY_ID: &str = "SANDBOXTESTACCESSKEYID";
const SECRET: &str = "BenchSecretDoNotLeak7dHk2Lq9ZtRw4XyBn6MvCs3PjF";
const ADDRESSES: u8 = 4;
const SAMPLES: usize = 5;
const KEYS: usize = 100;
const ROUNDS: usize = 5;

#[tokio::main]
async fn main() {
    #[expect(clippy::disallowed_methods, reason = "the proxies live in real time")]
    let clock: Arc<dyn Fn() -> SystemTime + Send + Sync> = Arc::new(SystemTime::now);
    let pki = Arc::new(Pki::new(clock()).unwrap());
    let mut proxies = Vec::new();
    for number in 1..=ADDRESSES {
        let mut settings = ProxySettings::new(pki.clone(), Arc::clone(&clock), HOST, PATH);
        settings.bind = SocketAddr::from(([127, 0, 0, number], 0));
        settings.credentials = Credentials::default().with(ACCESS_KEY_ID, SECRET);
        settings.keys = key_ids().fold(KeyMaterials::default(), |keys, id| {
            let key = ExternalKey::from_seed(id.as_str());
            keys.with(id.as_str(), key)
        });
        proxies.push(SandboxProxy::start(settings).await.unwrap());
    }
    let preflight = preflight(&pki);
    let candidate = candidate(&proxies);
    // The lanes are shared by the addresses: a fleet is not to be flooded.
    let lanes = KeyThoroughness::default().concurrency / usize::from(ADDRESSES);
    let chain = 2 * SAMPLES + KEYS.div_ceil(lanes);
    println!("{ADDRESSES} addresses, {SAMPLES} cold and {SAMPLES} warm samples each, {KEYS} keys; best of {ROUNDS}");
    for held_back in [0, 5, 20, 50] {
        for proxy in &proxies {
            let misbehaviour = format!("slow-answer:ms={held_back}").parse().unwrap();
            proxy.set_faults((held_back > 0).then_some(misbehaviour)).await;
        }
        let mut best = Duration::MAX;
        for _ in 0..ROUNDS {
            best = best.min(round(&preflight, &candidate).await);
        }
        let bound = Duration::from_millis(held_back) * u32::try_from(chain).unwrap();
        let ratio =
            if bound.is_zero() { String::new() } else { format!("{:.2}", best.as_secs_f64() / bound.as_secs_f64()) };
        println!(
            "answers after {held_back:>2} ms: wall {:>7.1} ms, longest chain {chain} exchanges = {:>6.1} ms  {ratio}",
            best.as_secs_f64() * 1e3,
            bound.as_secs_f64() * 1e3
        );
    }
}

async fn round(preflight: &Preflight, candidate: &Candidate) -> Duration {
    let thoroughness = Thoroughness { cold: SAMPLES, warm: SAMPLES, ..Thoroughness::default() };
    let begun = Instant::now();
    let report = preflight.run(candidate, AwsEvidence::default(), &thoroughness).await;
    let took = begun.elapsed();
    assert_eq!(report.verdict(), Verdict::Ready, "{:?}", report.decisive());
    assert_eq!(report.evidence.keys.addresses.len(), usize::from(ADDRESSES));
    took
}

fn key_ids() -> impl Iterator<Item = ExternalKeyId> {
    (0..KEYS).map(|number| ExternalKeyId::parse(&format!("external-{number}")).unwrap())
}

fn preflight(pki: &Pki) -> Preflight {
    let ids = || Arc::new(IdSource::from_entropy());
    let prober = Prober::new(ProberSettings {
        trust: TrustRoots::laboratory(pki.root_pem().as_bytes()).unwrap(),
        client_certificate: None,
        resolver: ResolverSettings::System,
        egress: Egress::default(),
        clock: Arc::new(SystemClock),
        ids: ids(),
    });
    Preflight::new(prober.unwrap(), Arc::new(SystemClock), ids(), "bench".to_owned())
}

fn candidate(proxies: &[SandboxProxy]) -> Candidate {
    Candidate {
        endpoint: format!("https://{HOST}"),
        path: PATH.to_owned(),
        connectivity: ConnectivityKind::PublicEndpoint,
        vpc_endpoint_service: None,
        vpc_endpoint_service_owner: None,
        region: Region::parse("us-east-1").unwrap(),
        credential: OfferedCredential::new(ACCESS_KEY_ID, SECRET),
        connect_to: proxies.iter().map(|proxy| proxy.address().to_string()).collect(),
        keys: CandidateKeys { named: key_ids().collect(), ..CandidateKeys::default() },
        baseline: None,
        kms_operation: "KmsHealthCheck".to_owned(),
    }
}
