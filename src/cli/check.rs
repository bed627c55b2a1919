//! `xks-preflight check`: one pre-flight from the shell, without a daemon and without an AWS account.

mod capacity;
pub(super) mod source;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use super::{Exit, Usage, print};
use crate::chain::Chain;
use crate::check::{self, AwsEvidence, JudgingPolicy, Waiver};
use crate::clock::SystemClock;
use crate::id::IdSource;
use crate::key_store::{ConnectivityKind, ExternalKeyId, Region, XksProxyUriEndpoint};
use crate::preflight::{Baseline, Candidate, CandidateKeys, Preflight, Thoroughness};
use crate::probe::{
    ClientCertificate, Egress, KmsTrustList, Prober, ProberSettings, ResolverSettings, TrustRoots, is_connect_to,
};
use crate::render::{self, Form};

/// Options of `check`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    xks-preflight check --endpoint https://xks.example.com --proxy-config proxy.json\n  \
    XKS_PREFLIGHT_SECRET_ACCESS_KEY=... xks-preflight check --endpoint https://xks.example.com \\\n      \
    --path /example/kms/xks/v1 --access-key-id AKIAI2SFODNN7EXAMPLE --output json\n\n\
    Exit codes: 0 ready, 1 blocked, 2 usage, 3 inconclusive.")]
pub struct Arguments {
    /// XksProxyUriEndpoint: https:// and the proxy's host.
    #[arg(long, env = "XKS_PREFLIGHT_ENDPOINT", value_name = "URL")]
    endpoint: String,
    /// XksProxyUriPath, for example /example/kms/xks/v1; by default that of --proxy-config.
    #[arg(long, env = "XKS_PREFLIGHT_PATH", value_name = "PATH")]
    path: Option<String>,
    /// The proxy configuration file that the KMS console takes: path and credential.
    #[arg(long, env = "XKS_PREFLIGHT_PROXY_CONFIG", value_name = "FILE", conflicts_with_all = ["access_key_id", "secret_file"])]
    proxy_config: Option<PathBuf>,
    /// AccessKeyId of the proxy's credential (nothing to do with IAM).
    #[arg(long, env = "XKS_PREFLIGHT_ACCESS_KEY_ID", value_name = "ID")]
    access_key_id: Option<String>,
    /// File with the RawSecretAccessKey; or give it in XKS_PREFLIGHT_SECRET_ACCESS_KEY.
    #[arg(long, env = "XKS_PREFLIGHT_SECRET_FILE", value_name = "FILE", requires = "access_key_id")]
    secret_file: Option<PathBuf>,
    /// The Region of KMS, for which requests are signed.
    #[arg(long, env = "XKS_PREFLIGHT_REGION", default_value = "us-east-1", value_name = "REGION")]
    region: String,
    /// How KMS will reach the proxy.
    #[arg(long, env = "XKS_PREFLIGHT_CONNECTIVITY", value_enum, default_value_t)]
    connectivity: Connectivity,
    /// XksProxyVpcEndpointServiceName, with --connectivity vpc.
    #[arg(long, env = "XKS_PREFLIGHT_VPC_ENDPOINT_SERVICE", value_name = "NAME")]
    vpc_endpoint_service: Option<String>,
    /// Connect there instead of to the endpoint's addresses; SNI, Host and signature stay the endpoint's. Repeatable.
    #[arg(long, env = "XKS_PREFLIGHT_CONNECT_TO", value_name = "HOST:PORT", value_delimiter = ',')]
    connect_to: Vec<String>,
    /// Ask this name server instead of the machine's: IP:PORT, or IP for port 53. Repeatable.
    #[arg(long, env = "XKS_PREFLIGHT_RESOLVER", value_name = "IP:PORT", value_delimiter = ',')]
    resolver: Vec<String>,
    /// Treat these roots as trusted by KMS; marks the report as `lab`.
    #[arg(long, env = "XKS_PREFLIGHT_CA_FILE", value_name = "PEM")]
    ca_file: Option<PathBuf>,
    /// The file TrustedCertificateAuthorities as AWS publishes it: compares the root with the exact list.
    #[arg(long, env = "XKS_PREFLIGHT_KMS_TRUSTED_ROOTS", value_name = "FILE")]
    kms_trusted_roots: Option<PathBuf>,
    /// Certificate chain to present when the proxy asks for a client certificate.
    #[arg(long, env = "XKS_PREFLIGHT_CLIENT_CERT", value_name = "PEM", requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// Private key of --client-cert.
    #[arg(long, env = "XKS_PREFLIGHT_CLIENT_KEY", value_name = "PEM", requires = "client_cert")]
    client_key: Option<PathBuf>,
    /// Cold samples for each address, and as many warm ones.
    #[arg(long, env = "XKS_PREFLIGHT_SAMPLES", default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100))]
    samples: u8,
    /// Also send requests that the proxy must refuse: unsigned, wrongly signed, stale, GET, unknown path. They look
    /// like an attack in its log; their kmsRequestIds begin with xks-preflight-refusal.
    #[arg(long, env = "XKS_PREFLIGHT_REFUSALS")]
    refusals: bool,
    /// External key whose metadata the candidate must have right. Repeatable.
    #[arg(long, env = "XKS_PREFLIGHT_KEY_ID", value_name = "ID", value_delimiter = ',')]
    key_id: Vec<String>,
    /// External key for Encrypt and Decrypt; with the --baseline options it proves that the keys are the same keys.
    #[arg(long, env = "XKS_PREFLIGHT_TEST_KEY_ID", value_name = "ID")]
    test_key_id: Option<String>,
    /// Proxy configuration file of the current proxy, to compare fleets and, with --test-key-id, keys.
    #[arg(long, env = "XKS_PREFLIGHT_BASELINE_PROXY_CONFIG", value_name = "FILE", requires = "baseline_endpoint")]
    baseline_proxy_config: Option<PathBuf>,
    /// Endpoint of the current proxy.
    #[arg(long, env = "XKS_PREFLIGHT_BASELINE_ENDPOINT", value_name = "URL", requires = "baseline_proxy_config")]
    baseline_endpoint: Option<String>,
    /// Connect there for the current proxy.
    #[arg(long, env = "XKS_PREFLIGHT_BASELINE_CONNECT_TO", value_name = "HOST:PORT", requires = "baseline_endpoint")]
    baseline_connect_to: Option<String>,
    #[command(flatten)]
    load: capacity::LoadArguments,
    /// Accept the failure of a check, with a reason that the report will show. Repeatable.
    #[arg(long, env = "XKS_PREFLIGHT_WAIVE", value_name = "CHECK_ID=REASON")]
    waive: Vec<String>,
    /// The form of the report.
    #[arg(long, env = "XKS_PREFLIGHT_OUTPUT", value_enum, default_value_t)]
    output: Output,
    /// Print nothing; the exit code says it all.
    #[arg(long, env = "XKS_PREFLIGHT_QUIET")]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Connectivity {
    /// Over the internet: PUBLIC_ENDPOINT.
    #[default]
    Public,
    /// Through AWS PrivateLink: VPC_ENDPOINT_SERVICE.
    Vpc,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Output {
    #[default]
    Text,
    Json,
    Junit,
    Markdown,
}

impl From<Connectivity> for ConnectivityKind {
    fn from(connectivity: Connectivity) -> Self {
        match connectivity {
            Connectivity::Public => Self::PublicEndpoint,
            Connectivity::Vpc => Self::VpcEndpointService,
        }
    }
}

/// Runs one pre-flight and prints its report.
pub fn run(arguments: Arguments) -> anyhow::Result<Exit> {
    let form = match arguments.output {
        Output::Text => Form::Text {
            colour: std::io::stdout().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        },
        Output::Json => Form::Json,
        Output::Junit => Form::Junit,
        Output::Markdown => Form::Markdown,
    };
    let quiet = arguments.quiet;
    let prober = prober(&arguments)?;
    let (candidate, thoroughness) = candidate(arguments)?;
    let ids = Arc::new(IdSource::from_entropy());
    let preflight = Preflight::new(prober, Arc::new(SystemClock), ids, "this machine".to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime; the system refuses resources")?;
    let report = runtime.block_on(preflight.run(&candidate, AwsEvidence::default(), &thoroughness));
    if !quiet {
        print(&render::report(&report, form))?;
    }
    Ok(Exit::from(report.verdict()))
}

fn prober(arguments: &Arguments) -> anyhow::Result<Prober> {
    let trust = match &arguments.ca_file {
        Some(file) => {
            let pem = source::read(file, "--ca-file")?;
            TrustRoots::laboratory(&pem).map_err(|error| Usage(format!("--ca-file: {}", Chain(&error))))?
        }
        None => TrustRoots::mozilla(),
    };
    let trust = match &arguments.kms_trusted_roots {
        Some(file) => {
            let list = KmsTrustList::parse(&source::read(file, "--kms-trusted-roots")?);
            trust.with_kms_list(list.map_err(|error| Usage(format!("--kms-trusted-roots: {}", Chain(&error))))?)
        }
        None => trust,
    };
    let client_certificate = match (&arguments.client_cert, &arguments.client_key) {
        (Some(certificate), Some(key)) => {
            let certificate = source::read(certificate, "--client-cert")?;
            let key = source::read(key, "--client-key")?;
            let parsed = ClientCertificate::from_pem(&certificate, &key);
            Some(parsed.map_err(|error| Usage(format!("--client-cert: {}", Chain(&error))))?)
        }
        _ => None,
    };
    let resolver = ResolverSettings::parse(arguments.resolver.iter().map(String::as_str));
    Prober::new(ProberSettings {
        trust,
        client_certificate,
        resolver: resolver.map_err(|rule| Usage(format!("--resolver: {rule}")))?,
        // Whoever types the command may connect wherever it leads, and does not do so through us.
        egress: Egress::default(),
        clock: Arc::new(SystemClock),
        ids: Arc::new(IdSource::from_entropy()),
    })
    .context("cannot prepare probing; this is a fault of this machine, not of the proxy")
}

fn candidate(arguments: Arguments) -> anyhow::Result<(Candidate, Thoroughness)> {
    let mut faults = Vec::new();
    let region = Region::parse(&arguments.region).map_err(|e| faults.push(format!("--region: {}", e.rule))).ok();
    let test_key = arguments
        .test_key_id
        .as_deref()
        .and_then(|id| ExternalKeyId::parse(id).map_err(|e| faults.push(format!("--test-key-id: {}", e.rule))).ok());
    let keys = arguments.key_id.iter().map(|id| ExternalKeyId::parse(id).map_err(|e| format!("--key-id: {}", e.rule)));
    let named: Vec<ExternalKeyId> = keys.filter_map(|key| key.map_err(|fault| faults.push(fault)).ok()).collect();
    let places = arguments.connect_to.iter().map(|place| ("--connect-to", place));
    let places = places.chain(arguments.baseline_connect_to.iter().map(|place| ("--baseline-connect-to", place)));
    for (option, place) in places.filter(|(_, place)| !is_connect_to(place)) {
        faults.push(format!("{option}: {place:?} is not HOST:PORT, for example 127.0.0.1:8492"));
    }
    let waivers: Vec<Waiver> =
        arguments.waive.iter().filter_map(|text| waiver(text).map_err(|fault| faults.push(fault)).ok()).collect();
    let offered = source::credential(
        arguments.proxy_config.as_deref(),
        arguments.access_key_id,
        arguments.secret_file.as_deref(),
    )
    .map_err(|fault| faults.push(fault))
    .ok();
    let path = arguments.path.clone().or_else(|| offered.as_ref().and_then(|offered| offered.path.clone()));
    if offered.is_some() && path.is_none() {
        faults.push("--path: is needed, unless --proxy-config gives it".to_owned());
    }
    let baseline = match (&arguments.baseline_proxy_config, &arguments.baseline_endpoint) {
        (Some(file), Some(endpoint)) => {
            baseline(file, endpoint, arguments.baseline_connect_to).map_err(|fault| faults.push(fault)).ok()
        }
        _ => None,
    };
    let target = capacity::Target {
        endpoint: &arguments.endpoint,
        connect_to: &arguments.connect_to,
        lab: arguments.ca_file.is_some(),
        has_test_key: arguments.test_key_id.is_some(),
    };
    let load = arguments.load.load(&target, arguments.quiet).map_err(|fault| faults.push(fault)).ok().flatten();
    let (Some(region), Some(offered), Some(path), true) = (region, offered, path, faults.is_empty()) else {
        return Err(Usage(faults.join("\n       ")).into());
    };
    let samples = usize::from(arguments.samples);
    let refusals = arguments.refusals;
    let candidate = Candidate {
        endpoint: arguments.endpoint,
        path,
        connectivity: arguments.connectivity.into(),
        vpc_endpoint_service: arguments.vpc_endpoint_service,
        // Needed only where AWS is asked.
        vpc_endpoint_service_owner: None,
        region,
        credential: offered.credential,
        connect_to: arguments.connect_to,
        keys: CandidateKeys { test: test_key, named, ..CandidateKeys::default() },
        baseline: baseline.map(Box::new),
        kms_operation: "UpdateCustomKeyStore".to_owned(),
    };
    let judging = JudgingPolicy { promoted: Vec::new(), waivers };
    Ok((candidate, Thoroughness { cold: samples, warm: samples, refusals, load, judging, ..Thoroughness::default() }))
}

fn waiver(text: &str) -> Result<Waiver, String> {
    let (id, reason) = text.split_once('=').unwrap_or((text, ""));
    let check =
        check::find(id).ok_or_else(|| format!("--waive: there is no check {id:?}; see xks-preflight catalogue"))?;
    if reason.trim().is_empty() || reason.chars().count() > 500 {
        return Err(format!("--waive {id}: needs a reason of at most 500 characters after the equals sign"));
    }
    if check.waiver_needs_two() {
        return Err(format!(
            "--waive {id}: nobody waives this check alone; the daemon's configuration takes two names"
        ));
    }
    let owner = "whoever ran this".to_owned();
    Ok(Waiver { check: id.to_owned(), owner, approved_by: None, reason: reason.to_owned(), until: None })
}

fn baseline(file: &std::path::Path, endpoint: &str, connect_to: Option<String>) -> Result<Baseline, String> {
    let current = source::console_file(file, "--baseline-proxy-config")?;
    let endpoint = XksProxyUriEndpoint::parse(endpoint).map_err(|e| format!("--baseline-endpoint: {}", e.rule))?;
    Ok(Baseline {
        endpoint,
        path: current.path,
        credential: current.credential,
        // A proxy's file does not tell how KMS gets there.
        connectivity: None,
        connect_to: connect_to.into_iter().collect(),
    })
}
