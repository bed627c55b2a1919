//! What a probe costs beyond the handshake it consists of.
//!
//! Measures client CPU time (user and system, from /proc/self/stat) of whole cold pre-flights - fresh TCP, TLS 1.3,
//! signed POST, all evidence, all checks judged - beside a bare loop that does the same handshake and an unsigned POST
//! with nothing but tokio-rustls. The sandbox's proxy serves both from a process of its own. Rounds alternate, so that
//! a machine that speeds up or slows down does so for both.
//!
//! `cargo bench --bench probe` prints microseconds per probe and the ratio.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that cannot go on stops")]

use std::io::{BufRead, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use xks_preflight::check::{AwsEvidence, JudgingPolicy, Verdict};
use xks_preflight::clock::SystemClock;
use xks_preflight::id::IdSource;
use xks_preflight::key_store::{ConnectivityKind, Region};
use xks_preflight::preflight::{Candidate, CandidateKeys, OfferedCredential, Preflight, Thoroughness};
use xks_preflight::probe::{Egress, Prober, ProberSettings, ResolverSettings, TrustRoots};
use xks_preflight::sandbox::pki::Pki;
use xks_preflight::sandbox::proxy::{Credentials, ProxySettings, SandboxProxy};

const HOST: &str = "xks.example.com";
const PATH: &str = "/example/kms/xks/v1";
const ACCESS_KEY_ID: &str = "SANDBOXTESTACCESSKEYID";
const SECRET: &str = "BenchSecretDoNotLeak7dHk2Lq9ZtRw4XyBn6MvCs3PjF";
const ROUNDS: usize = 8;
const PROBES: usize = 500;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    if std::env::args().any(|argument| argument == "--serve") {
        return serve().await;
    }
    let mut server = Command::new(std::env::current_exe().unwrap())
        .arg("--serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let address: SocketAddr = lines.next().unwrap().unwrap().parse().unwrap();
    let root: String = lines.map(Result::unwrap).take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");

    let preflight = preflight(&root);
    let candidate = candidate(address);
    let connector = bare_connector(&root);
    let (mut probed, mut bare, mut connections) = (Vec::new(), Vec::new(), 0.0);
    for round in 0..=ROUNDS {
        let bare_micros = measure(|| bare_probe(&connector, address)).await;
        let opened = connections_opened();
        let probe_micros = measure(|| whole_probe(&preflight, &candidate)).await;
        connections = ((connections_opened() - opened) as f64 / PROBES as f64).round();
        // The first round warms up.
        if round > 0 {
            bare.push(bare_micros);
            probed.push(probe_micros);
        }
    }
    drop(server.stdin.take());
    server.wait().unwrap();
    let (bare, probed) = (median(bare), median(probed));
    println!("client CPU per probe, median of {ROUNDS} rounds of {PROBES}:");
    println!("  bare handshake and POST   {bare:7.1} us");
    println!("  whole cold pre-flight     {probed:7.1} us in {connections} connections");
    println!("  ratio of one connection   {:7.2}", probed / connections / bare);
}

async fn serve() {
    #[expect(clippy::disallowed_methods, reason = "a peer in a process of its own lives in real time")]
    let clock: Arc<dyn Fn() -> SystemTime + Send + Sync> = Arc::new(SystemTime::now);
    let pki = Arc::new(Pki::new(clock()).unwrap());
    let mut settings = ProxySettings::new(Arc::clone(&pki), clock, HOST, PATH);
    settings.credentials = Credentials::default().with(ACCESS_KEY_ID, SECRET.to_owned());
    settings.limits.history = 1;
    let proxy = SandboxProxy::start(settings).await.unwrap();
    let mut out = std::io::stdout();
    writeln!(out, "{}\n{}", proxy.address(), pki.root_pem()).unwrap();
    writeln!(out).unwrap();
    out.flush().unwrap();
    // Ends with the benchmark, which holds the other end.
    let wait = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    let _ = wait.await;
}

async fn measure<F: Future<Output = ()>>(mut one: impl FnMut() -> F) -> f64 {
    let before = cpu_micros();
    for _ in 0..PROBES {
        one().await;
    }
    (cpu_micros() - before) / PROBES as f64
}

/// CPU time of this process; the kernel counts in ticks of 10 ms, hence hundreds of probes a round.
fn cpu_micros() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks * 10_000.0
}

/// Connections that this machine has opened so far (`ActiveOpens` in /proc/net/snmp).
fn connections_opened() -> u64 {
    let snmp = std::fs::read_to_string("/proc/net/snmp").unwrap();
    let mut rows = snmp.lines().filter(|line| line.starts_with("Tcp:")).map(str::split_whitespace);
    let (names, values) = (rows.next().unwrap(), rows.next().unwrap());
    names.zip(values).find(|(name, _)| *name == "ActiveOpens").unwrap().1.parse().unwrap()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    f64::midpoint(values[values.len() / 2], values[(values.len() - 1) / 2])
}

fn preflight(root: &str) -> Preflight {
    let prober = Prober::new(ProberSettings {
        trust: TrustRoots::laboratory(root.as_bytes()).unwrap(),
        client_certificate: None,
        resolver: ResolverSettings::System,
        egress: Egress::default(),
        clock: Arc::new(SystemClock),
        ids: Arc::new(IdSource::from_entropy()),
    });
    let ids = Arc::new(IdSource::from_entropy());
    Preflight::new(prober.unwrap(), Arc::new(SystemClock), ids, "bench".to_owned())
}

fn candidate(address: SocketAddr) -> Candidate {
    Candidate {
        endpoint: format!("https://{HOST}"),
        path: PATH.to_owned(),
        connectivity: ConnectivityKind::PublicEndpoint,
        vpc_endpoint_service: None,
        vpc_endpoint_service_owner: None,
        region: Region::parse("us-east-1").unwrap(),
        credential: OfferedCredential::new(ACCESS_KEY_ID, SECRET),
        connect_to: vec![address.to_string()],
        keys: CandidateKeys::default(),
        baseline: None,
        kms_operation: "KmsHealthCheck".to_owned(),
    }
}

async fn whole_probe(preflight: &Preflight, candidate: &Candidate) {
    let once = Thoroughness { cold: 1, warm: 0, judging: JudgingPolicy::default(), ..Thoroughness::default() };
    let report = preflight.run(candidate, AwsEvidence::default(), &once).await;
    assert_eq!(report.verdict(), Verdict::Ready, "{:?}", report.decisive());
}

fn bare_connector(root: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap()).unwrap();
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519];
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut config = config;
    config.resumption = rustls::client::Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

async fn bare_probe(connector: &TlsConnector, address: SocketAddr) {
    let tcp = TcpStream::connect(address).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let mut tls = connector.connect(ServerName::try_from(HOST).unwrap(), tcp).await.unwrap();
    let body = r#"{"requestMetadata":{"kmsRequestId":"1","kmsOperation":"KmsHealthCheck"}}"#;
    let request = format!(
        "POST {PATH}/health HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    tls.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0_u8; 4096];
    let length = tls.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 401"), "unsigned requests are refused");
}
