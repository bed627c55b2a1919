//! What a hostile proxy can make a pre-flight cost: wall time and peak memory, against bounds.
//!
//! Three roles of one program: the proxy, in a process of its own; for each fault a prober, in a process of its own,
//! too, so that its peak resident set (VmHWM of /proc/self/status) is that of one pre-flight; and whoever starts them
//! and prints the table. Ends with an error if a bound is exceeded.
//!
//! `cargo bench --bench hostile`, or `cargo test --bench hostile` for the debug build.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that cannot go on stops")]

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use xks_preflight::check::AwsEvidence;
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

/// What is done to the prober, besides nothing at all.
const FAULTS: &[&str] = &[
    "huge-body",
    "endless-body",
    "gzip-bomb",
    "json-nested-deep",
    "huge-headers",
    "endless-headers",
    "informational-flood",
    "drip-answer",
    "stall-after-request",
    "tls-stall",
    "close-on-accept",
];

/// An attempt, its retry, and the patient look; and a second for the rest of a busy machine.
const LONGEST: Duration = Duration::from_millis(250 + 250 + 2_000 + 1_000);

/// More than the healthy proxy costs, in KiB: a body of 64 KiB, a head of as much, and buffers around them.
const MOST_MEMORY: u64 = 4 * 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let role = arguments.get(1).map(String::as_str);
    match (role, arguments.get(2), arguments.get(3)) {
        (Some("--serve"), ..) => serve().await,
        (Some("--probe"), Some(address), Some(root)) => probe(address, root).await,
        _ => return measure(),
    }
    ExitCode::SUCCESS
}

fn measure() -> ExitCode {
    let mut proxy = Proxy::start();
    let file = std::env::temp_dir().join(format!("xks-preflight-hostile-{}.pem", std::process::id()));
    std::fs::write(&file, &proxy.root).unwrap();
    println!("{:<22} {:>9} {:>10} {:>9}  verdict and decisive check", "proxy", "wall", "peak RSS", "more");
    let mut healthy = None;
    let mut exceeded = false;
    for fault in std::iter::once(&"healthy").chain(FAULTS) {
        proxy.set(fault);
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--probe", &proxy.address])
            .arg(&file)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        let mut words = told.split_whitespace();
        let wall = Duration::from_millis(words.next().unwrap().parse().unwrap());
        let peak: u64 = words.next().unwrap().parse().unwrap();
        let more = peak.saturating_sub(*healthy.get_or_insert(peak));
        let beyond = wall > LONGEST || more > MOST_MEMORY;
        exceeded |= beyond;
        println!(
            "{fault:<22} {:>6} ms {peak:>6} KiB {more:>5} KiB  {}{}",
            wall.as_millis(),
            words.collect::<Vec<_>>().join(" "),
            if beyond { "  BEYOND ITS BOUNDS" } else { "" }
        );
    }
    std::fs::remove_file(file).unwrap();
    proxy.stop();
    println!("bounds: {} ms, {MOST_MEMORY} KiB more than with a healthy proxy", LONGEST.as_millis());
    if exceeded { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The proxy's process, seen from outside.
struct Proxy {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    address: String,
    root: String,
}

impl Proxy {
    fn start() -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg("--serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = process.stdin.take().unwrap();
        let mut answers = BufReader::new(process.stdout.take().unwrap());
        let address = line(&mut answers);
        let root = std::iter::repeat_with(|| line(&mut answers)).take_while(|line| !line.is_empty());
        let root = root.collect::<Vec<_>>().join("\n");
        Self { process, orders, answers, address, root }
    }

    /// Returns when the proxy does what it was told.
    fn set(&mut self, fault: &str) {
        writeln!(self.orders, "{fault}").unwrap();
        line(&mut self.answers);
    }

    fn stop(mut self) {
        drop(self.orders);
        self.process.wait().unwrap();
    }
}

fn line(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

async fn serve() {
    #[expect(clippy::disallowed_methods, reason = "a peer in a process of its own lives in real time")]
    let clock: Arc<dyn Fn() -> SystemTime + Send + Sync> = Arc::new(SystemTime::now);
    let pki = Arc::new(Pki::new(clock()).unwrap());
    let mut settings = ProxySettings::new(Arc::clone(&pki), clock, HOST, PATH);
    settings.credentials = Credentials::default().with(ACCESS_KEY_ID, SECRET.to_owned());
    let proxy = SandboxProxy::start(settings).await.unwrap();
    println!("{}\n{}\n", proxy.address(), pki.root_pem().trim_end());
    loop {
        let order = tokio::task::spawn_blocking(|| {
            let mut order = String::new();
            std::io::stdin().read_line(&mut order).map(|_| order)
        });
        let order = order.await.unwrap().unwrap();
        match order.trim() {
            "" => return,
            "healthy" => proxy.set_fault(None).await,
            fault => proxy.set_faults([fault.parse().unwrap()]).await,
        }
        println!("done");
    }
}

async fn probe(address: &str, root: &str) {
    let root = std::fs::read(root).unwrap();
    let prober = Prober::new(ProberSettings {
        trust: TrustRoots::laboratory(&root).unwrap(),
        client_certificate: None,
        resolver: ResolverSettings::System,
        egress: Egress::default(),
        clock: Arc::new(SystemClock),
        ids: Arc::new(IdSource::from_entropy()),
    });
    let ids = Arc::new(IdSource::from_entropy());
    let preflight = Preflight::new(prober.unwrap(), Arc::new(SystemClock), ids, "bench".to_owned());
    let candidate = Candidate {
        endpoint: format!("https://{HOST}"),
        path: PATH.to_owned(),
        connectivity: ConnectivityKind::PublicEndpoint,
        vpc_endpoint_service_owner: None,
        vpc_endpoint_service: None,
        region: Region::parse("us-east-1").unwrap(),
        credential: OfferedCredential::new(ACCESS_KEY_ID, SECRET),
        connect_to: vec![address.to_owned()],
        keys: CandidateKeys::default(),
        baseline: None,
        kms_operation: "KmsHealthCheck".to_owned(),
    };
    let begun = Instant::now();
    let report = preflight.run(&candidate, AwsEvidence::default(), &Thoroughness::default()).await;
    let wall = begun.elapsed().as_millis();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak = peak.split_whitespace().next().unwrap();
    let decisive = report.decisive().map_or("", |finding| finding.check.id);
    println!("{wall} {peak} {} {decisive}", report.verdict());
}
