//! One probe in the words of blackbox_exporter, so that dashboards and rules made for that work unchanged.
//!
//! Each scrape has a registry of its own: it tells of exactly this probe, and nothing goes stale. Families that do not
//! apply are absent, as they are there: without an answer there is no status, without a handshake no certificate. The
//! facts of a certificate are told even when it was refused, because that is when somebody asks for them.

use std::time::Duration;

use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, Opts, Registry};

use super::{Exposition, encode};
use crate::check::{AddressEvidence, Certificate, Report, Resolution, Sample, TlsEvidence, Trust, Verdict};
use crate::clock::Timestamp;

/// How much of a name in a certificate becomes a label, in characters.
const LONGEST_LABEL: usize = 256;

/// A family: its name, its help text and its labels.
type Family = (&'static str, &'static str, &'static [&'static str]);

const SUCCESS: Family = ("probe_success", "Whether the verdict of the probe is ready", &[]);
const DURATION: Family = ("probe_duration_seconds", "How long the whole probe took", &[]);
const DNS_LOOKUP: Family = ("probe_dns_lookup_time_seconds", "How long the name took to resolve", &[]);
const HTTP_DURATION: Family =
    ("probe_http_duration_seconds", "How long each phase of the deciding request took", &["phase"]);
const HTTP_STATUS: Family = ("probe_http_status_code", "The status of the answer", &[]);
const HTTP_SSL: Family = ("probe_http_ssl", "Whether the answer came by TLS", &[]);
const HTTP_VERSION: Family = ("probe_http_version", "The version of HTTP that was spoken", &[]);
const HTTP_REDIRECTS: Family = ("probe_http_redirects", "How many redirections were followed: none ever is", &[]);
const HTTP_LENGTH: Family =
    ("probe_http_uncompressed_body_length", "The length of the answer's body, as far as it is kept", &[]);
const IP_PROTOCOL: Family = ("probe_ip_protocol", "The version of IP: KMS speaks 4", &[]);
const EARLIEST_EXPIRY: Family =
    ("probe_ssl_earliest_cert_expiry", "When the first of the presented certificates ends, in Unix seconds", &[]);
const CHAIN_EXPIRY: Family = (
    "probe_ssl_last_chain_expiry_timestamp_seconds",
    "When the first certificate of a trusted chain ends, in Unix seconds",
    &[],
);
const CHAIN_INFO: Family = (
    "probe_ssl_last_chain_info",
    "Always 1; the labels tell of the server's certificate",
    &["fingerprint_sha256", "subject", "issuer", "subjectalternative"],
);
const TLS_VERSION: Family = ("probe_tls_version_info", "Always 1; the label tells the version of TLS", &["version"]);
const TLS_CIPHER: Family = ("probe_tls_cipher_info", "Always 1; the label tells the cipher suite", &["cipher"]);
const FAILURE: Family =
    ("probe_failure_info", "Always 1, if the probe failed; the labels tell where and why", &["phase", "reason"]);

/// The names of all families, for documents and tests.
pub const FAMILIES: [&str; 16] = [
    SUCCESS.0,
    DURATION.0,
    DNS_LOOKUP.0,
    HTTP_DURATION.0,
    HTTP_STATUS.0,
    HTTP_SSL.0,
    HTTP_VERSION.0,
    HTTP_REDIRECTS.0,
    HTTP_LENGTH.0,
    IP_PROTOCOL.0,
    EARLIEST_EXPIRY.0,
    CHAIN_EXPIRY.0,
    CHAIN_INFO.0,
    TLS_VERSION.0,
    TLS_CIPHER.0,
    FAILURE.0,
];

/// blackbox_exporter's phases of a request. An answer of KMS's size arrives with its head, so `transfer` stays 0.
const PHASES: [&str; 5] = ["resolve", "connect", "tls", "processing", "transfer"];

/// What a scrape of this probe gives. Without a report the probe did not end in time.
pub fn expose(report: Option<&Report>, took: Duration, accept: Option<&str>) -> Result<Exposition, prometheus::Error> {
    let families = families(report, took)?.iter().map(encode::Family::of).collect::<Result<_, _>>()?;
    Ok(encode::encode(families, accept))
}

fn families(report: Option<&Report>, took: Duration) -> Result<Vec<MetricFamily>, prometheus::Error> {
    let scrape = Scrape(Registry::new());
    let success = report.is_some_and(|report| report.verdict() == Verdict::Ready);
    scrape.plain(SUCCESS, f64::from(u8::from(success)))?;
    scrape.plain(DURATION, took.as_secs_f64())?;
    let Some(report) = report else {
        scrape.with(FAILURE, &[["probe", "timed_out"]])?;
        return Ok(scrape.0.gather());
    };
    if !success {
        let (phase, reason) = failure(report);
        scrape.with(FAILURE, &[[phase, reason]])?;
    }
    scrape.answer(report)?;
    scrape.certificates(&report.evidence.addresses)?;
    Ok(scrape.0.gather())
}

/// A registry of one scrape.
struct Scrape(Registry);

impl Scrape {
    fn gauge(&self, (name, help, labels): Family) -> Result<GaugeVec, prometheus::Error> {
        let gauge = GaugeVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    }

    fn plain(&self, family: Family, value: f64) -> Result<(), prometheus::Error> {
        self.gauge(family)?.with_label_values(&[] as &[&str]).set(value);
        Ok(())
    }

    /// A 1 for each of these.
    fn with<const N: usize>(&self, family: Family, all: &[[&str; N]]) -> Result<(), prometheus::Error> {
        let gauge = self.gauge(family)?;
        for labels in all {
            gauge.with_label_values(labels).set(1.0);
        }
        Ok(())
    }

    fn answer(&self, report: &Report) -> Result<(), prometheus::Error> {
        let resolved = match &report.evidence.resolution {
            Resolution::Answered { took, .. } | Resolution::Failed { took, .. } => *took,
            Resolution::NotReached | Resolution::Bypassed => Duration::ZERO,
        };
        self.plain(DNS_LOOKUP, resolved.as_secs_f64())?;
        let deciding = deciding(report);
        let attempt = deciding.map(|(_, sample)| sample.last());
        let part = |part: Option<Duration>| part.unwrap_or_default();
        let took = attempt
            .map_or([Duration::ZERO; 3], |attempt| [part(attempt.connect), part(attempt.tls), part(attempt.request)]);
        let [connect, tls, request] = took;
        let phases = self.gauge(HTTP_DURATION)?;
        for (phase, took) in PHASES.into_iter().zip([resolved, connect, tls, request, Duration::ZERO]) {
            phases.with_label_values(&[phase]).set(took.as_secs_f64());
        }
        if let Some((address, _)) = deciding {
            self.plain(IP_PROTOCOL, if address.address.is_ipv4() { 4.0 } else { 6.0 })?;
        }
        let answered = attempt.and_then(|attempt| attempt.exchange.as_ref());
        // As blackbox_exporter has it: 0 while there is no answer.
        self.plain(HTTP_STATUS, answered.map_or(0.0, |exchange| f64::from(exchange.status)))?;
        self.plain(HTTP_REDIRECTS, 0.0)?;
        self.plain(HTTP_SSL, f64::from(u8::from(answered.is_some())))?;
        if let Some(exchange) = answered {
            self.plain(HTTP_VERSION, 1.1)?;
            self.plain(HTTP_LENGTH, exchange.body.len() as f64)?;
        }
        Ok(())
    }

    fn certificates(&self, addresses: &[AddressEvidence]) -> Result<(), prometheus::Error> {
        let seen = || addresses.iter().filter_map(|address| address.tls.as_ref());
        let earliest = |chains: &mut dyn Iterator<Item = &TlsEvidence>| -> Option<Timestamp> {
            chains.flat_map(|tls| &tls.chain).map(|certificate| certificate.not_after).min()
        };
        if let Some(end) = earliest(&mut seen()) {
            self.plain(EARLIEST_EXPIRY, end.unix() as f64)?;
        }
        if let Some(end) = earliest(&mut seen().filter(|tls| matches!(tls.trust, Trust::Trusted { .. }))) {
            self.plain(CHAIN_EXPIRY, end.unix() as f64)?;
        }
        let leaves = seen().filter_map(|tls| tls.chain.first()).map(facts).collect::<Vec<_>>();
        let leaves: Vec<[&str; 4]> = leaves.iter().map(|facts| facts.each_ref().map(String::as_str)).collect();
        if !leaves.is_empty() {
            self.with(CHAIN_INFO, &leaves)?;
        }
        let versions: Vec<String> = seen().filter_map(|tls| tls.version.as_deref()).map(version).collect();
        if !versions.is_empty() {
            self.with(TLS_VERSION, &versions.iter().map(|version| [version.as_str()]).collect::<Vec<_>>())?;
        }
        let suites: Vec<&str> = seen().filter_map(|tls| tls.cipher_suite.as_deref()).collect();
        if !suites.is_empty() {
            self.with(TLS_CIPHER, &suites.iter().map(|suite| [*suite]).collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

/// Where it failed and why: what decides, or what kept us from telling. Both are of closed vocabularies.
fn failure(report: &Report) -> (&'static str, &'static str) {
    let finding = report.decisive().or_else(|| report.in_the_way()).or_else(|| report.not_ready());
    let stage = finding.map_or("probe", |finding| finding.check.stage.as_str());
    let reason = finding.and_then(|finding| finding.outcome.problem());
    (stage, reason.map_or("not_reached", |problem| problem.kind.as_str()))
}

/// The sample that is told of: one that failed, else the slowest.
fn deciding(report: &Report) -> Option<(&AddressEvidence, &Sample)> {
    let cold =
        || report.evidence.addresses.iter().flat_map(|address| address.cold().map(move |sample| (address, sample)));
    let failed = |(_, sample): &(&AddressEvidence, &Sample)| {
        sample.last().stop.is_some() || sample.last().exchange.as_ref().is_some_and(|exchange| exchange.status != 200)
    };
    cold().find(failed).or_else(|| cold().max_by_key(|(_, sample)| sample.last().total()))
}

fn facts(certificate: &Certificate) -> [String; 4] {
    let cut = |text: &str| text.chars().take(LONGEST_LABEL).collect();
    [certificate.sha256.clone(), cut(&certificate.subject), cut(&certificate.issuer), cut(&certificate.san.join(","))]
}

/// `TLS 1.3`, as Go has it.
fn version(version: &str) -> String {
    version.replace("TLSv", "TLS ")
}
