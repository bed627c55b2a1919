//! The report as JSON, schema `xks-preflight/report/1`.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::check::{
    AddressEvidence, Attempt, CapacityEvidence, Certificate, Finding, KMS_TIME_LIMIT, Latency, OtherPerspective,
    Outcome, Quantiles, Report, Resolution, Sample, SampleKind, StrangerTrial, TlsEvidence, Trust, Verdict,
};
use crate::key_store::KmsOutcome;
use crate::xks::HealthStatus;

/// The value of the report's `schema` member.
pub const SCHEMA: &str = "xks-preflight/report/1";

/// The report in its contracted form. Holds no secret.
pub fn report(report: &Report) -> Value {
    let latency = Latency::of(&report.evidence.addresses);
    json!({
        "schema": SCHEMA,
        "id": report.id,
        "verdict": report.verdict(),
        "lab": report.evidence.subject.lab,
        "subject": subject(report),
        "kms": kms(report),
        "findings": report.findings.iter().map(|f| finding(report, f)).collect::<Vec<_>>(),
        "resolution": resolution(report),
        "addresses": report.evidence.addresses.iter().map(|a| address(report, a)).collect::<Vec<_>>(),
        "latency": {
            "cold": quantiles(&latency.cold),
            "warm": quantiles(&latency.warm),
            "limit_ms": KMS_TIME_LIMIT.as_millis(),
        },
        "perspectives": perspectives(report),
        "capacity": report.evidence.capacity.as_ref().map(capacity),
        "health": health(report),
        "started_at": report.started_at(),
        "duration_ms": milliseconds(report.took),
        "perspective": report.perspective,
        "version": env!("CARGO_PKG_VERSION"),
    })
}

fn subject(report: &Report) -> Value {
    let subject = &report.evidence.subject;
    if let Some(cluster) = &subject.cluster {
        return json!({
            "key_store": cluster.key_store,
            "cloud_hsm_cluster_id": cluster.cluster,
            "region": subject.region,
            "settings_digest": report.settings_digest,
        });
    }
    json!({
        "endpoint": subject.endpoint,
        "path": subject.path,
        "connectivity": subject.connectivity,
        "vpc_endpoint_service": subject.vpc_endpoint_service,
        "region": subject.region,
        "access_key_id": subject.access_key_id,
        "connect_to": subject.connect_to,
        "key_store": report.evidence.aws.control_plane.as_ref().map(|control_plane| &control_plane.key_store),
        "settings_digest": report.settings_digest,
    })
}

/// What KMS would make of it as a whole: the words of the decisive finding.
fn kms(report: &Report) -> Value {
    let decisive = report.decisive();
    let outcome = decisive.and_then(|finding| finding.kms.as_ref());
    let mut value = outcome.map_or_else(
        || json!({ "exception": null, "also": null, "connection_error_code": null, "retryable": null }),
        kms_outcome,
    );
    value["operation"] = json!("UpdateCustomKeyStore");
    value["message"] = json!(kms_message(report));
    value
}

/// What KMS would do, in one or two sentences.
pub fn kms_message(report: &Report) -> String {
    let Some(finding) = report.decisive() else {
        return match report.verdict() {
            crate::check::Verdict::Ready => accepted(report),
            crate::check::Verdict::Blocked | crate::check::Verdict::Inconclusive => untold(report),
        };
    };
    let id = finding.check.id;
    let Some(kms) = &finding.kms else {
        return format!("KMS would not notice what {id} found: it is blocked by xks-preflight alone");
    };
    let mut message = match (kms.exception, kms.also) {
        (Some(exception), Some(also)) => {
            format!("KMS would refuse UpdateCustomKeyStore with {exception} (another AWS source says {also})")
        }
        (Some(exception), None) => format!("KMS would refuse UpdateCustomKeyStore with {exception}"),
        (None, _) => "no AWS source says what UpdateCustomKeyStore makes of it".to_owned(),
    };
    if let Some(code) = &kms.connection_error_code {
        message.push_str("; ConnectCustomKeyStore would end FAILED with ");
        message.push_str(code.as_str());
    }
    match kms.retryable {
        Some(true) => message.push_str("; KMS counts it as retryable"),
        Some(false) => message.push_str("; KMS counts it as not retryable"),
        None => {}
    }
    message
}

/// That nothing speaks against the settings, and what was not proven or is waived, in the same breath.
fn accepted(report: &Report) -> String {
    let mut message = match report.refused_but_waived() {
        Some((id, exception)) => {
            format!("ready only by a waiver of {id}: KMS would refuse UpdateCustomKeyStore with {exception}")
        }
        None => "KMS would accept these settings".to_owned(),
    };
    for what in report.unproven() {
        message.push_str("; it is NOT PROVEN that ");
        message.push_str(what);
    }
    message
}

/// Of settings that are no change of a key store's, other keys are no reservation; whoever reads that they are ready
/// should know, to follow [`kms_message`].
pub(super) fn not_compared(report: &Report) -> Option<String> {
    let continuity = report.findings.iter().find(|finding| finding.check.id == "key.continuity");
    match continuity {
        Some(Finding { outcome: Outcome::NotApplicable(why), .. })
            if report.verdict() == Verdict::Ready && report.evidence.aws.control_plane.is_none() =>
        {
            Some(format!("; the keys behind them were not compared with those of another proxy: {why}"))
        }
        _ => None,
    }
}

/// That it could not be told, and what was in the way.
fn untold(report: &Report) -> String {
    let told = "what KMS would do could not be told from here";
    report.in_the_way().map_or_else(|| told.to_owned(), |finding| format!("{told}: see {}", finding.check.id))
}

fn kms_outcome(kms: &KmsOutcome) -> Value {
    json!({
        "exception": kms.exception,
        "also": kms.also,
        "connection_error_code": kms.connection_error_code,
        "retryable": kms.retryable,
    })
}

fn finding(report: &Report, finding: &Finding) -> Value {
    let check = finding.check;
    let problem = finding.outcome.problem();
    let detail = match &finding.outcome {
        Outcome::Passed(detail) | Outcome::NotApplicable(detail) => detail.clone(),
        Outcome::NotReached { stopped_at } => format!("the probe ended in stage {stopped_at}"),
        Outcome::Failed(problem) | Outcome::OwnFault(problem) => problem.detail.clone(),
        Outcome::Waived { problem, waiver } => format!("{} ({waiver})", problem.detail),
    };
    json!({
        "check": check.id,
        "stage": check.stage.as_str(),
        "level": report.level(check).as_str(),
        "outcome": finding.outcome.as_str(),
        "problem": problem.map(|problem| problem.kind),
        "detail": detail,
        "remedy": problem.map(|_| finding.remedy()),
        "address": finding.address,
        "kms": finding.kms.as_ref().map(kms_outcome),
        "waiver": match &finding.outcome {
            Outcome::Waived { waiver, .. } => Some(&**waiver),
            _ => None,
        },
        "citation": { "source": check.citation.source, "section": check.citation.section },
    })
}

fn resolution(report: &Report) -> Value {
    match &report.evidence.resolution {
        Resolution::NotReached => json!({ "outcome": "not_reached" }),
        Resolution::Bypassed => json!({ "outcome": "bypassed" }),
        Resolution::Answered { took, ipv4, ipv6 } => {
            json!({ "outcome": "answered", "dns_ms": milliseconds(*took), "ipv4": ipv4, "ipv6": ipv6 })
        }
        Resolution::Failed { took, problem } => {
            json!({ "outcome": "failed", "dns_ms": milliseconds(*took), "problem": problem.kind })
        }
    }
}

fn address(report: &Report, seen: &AddressEvidence) -> Value {
    let dns = match &report.evidence.resolution {
        Resolution::Answered { took, .. } => Some(milliseconds(*took)),
        Resolution::NotReached | Resolution::Bypassed | Resolution::Failed { .. } => None,
    };
    json!({
        "address": seen.address.ip(),
        "port": seen.address.port(),
        "family": if seen.address.is_ipv4() { "ipv4" } else { "ipv6" },
        "samples": seen.samples.iter().map(|s| sample(s, dns)).collect::<Vec<_>>(),
        "certificate": seen.tls.as_ref().and_then(leaf),
        "tls": seen.tls.as_ref().map(|tls| json!({
            "version": tls.version,
            "cipher_suite": tls.cipher_suite,
            "alpn": tls.alpn,
            "client_certificate_requested": tls.client_certificate_requested,
            "self_signed_client_certificate": seen.stranger.as_ref().map(StrangerTrial::as_str),
            "root": root(&tls.trust),
            "ocsp_staple": tls.ocsp_staple.as_ref().map(|staple| json!({ "produced_at": staple.produced_at })),
        })),
        "kms_cipher_suites": seen.suites.as_ref().map(|suites| json!({
            "TLSv1.3": suites.tls13.to_string(),
            "TLSv1.2": suites.tls12.to_string(),
        })),
    })
}

/// The root that the chain leads to, and whether AWS lists it for KMS; `null` while that cannot be told.
fn root(trust: &Trust) -> Value {
    match trust {
        Trust::Trusted { root, root_sha256, listing } => json!({
            "subject": root,
            "sha256": root_sha256,
            "on_kms_list": listing.as_ref().map(|listing| listing.listed),
        }),
        Trust::Untrusted(_) => Value::Null,
    }
}

fn sample(sample: &Sample, dns_ms: Option<f64>) -> Value {
    let attempt = sample.last();
    let took = |stage: Option<Duration>| stage.map(milliseconds);
    json!({
        "kind": kind(sample.kind),
        "dns_ms": dns_ms,
        "connect_ms": took(attempt.connect),
        "tls_ms": took(attempt.tls),
        "request_ms": took(attempt.request),
        "total_ms": milliseconds(attempt.total()),
        "status": attempt.exchange.as_ref().map(|exchange| exchange.status),
        "request_id": attempt.exchange.as_ref().map(|exchange| &exchange.request_id),
        "retried": sample.retry.is_some(),
        "stopped": stopped(attempt),
    })
}

fn stopped(attempt: &Attempt) -> Value {
    attempt.stop.as_ref().map_or(
        Value::Null,
        |stop| json!({ "stage": stop.stage.as_str(), "problem": stop.problem.kind, "detail": stop.problem.detail }),
    )
}

/// The word for a kind of sample.
pub fn kind(kind: SampleKind) -> &'static str {
    match kind {
        SampleKind::Cold => "cold",
        SampleKind::Warm => "warm",
        SampleKind::Patient => "patient",
    }
}

fn leaf(tls: &TlsEvidence) -> Option<Value> {
    let mut value = certificate(tls.chain.first()?);
    value["chain"] = tls.chain.iter().skip(1).map(certificate).collect();
    Some(value)
}

fn certificate(certificate: &Certificate) -> Value {
    json!({
        "subject": certificate.subject,
        "common_name": certificate.common_name,
        "san": certificate.san,
        "issuer": certificate.issuer,
        "not_before": certificate.not_before,
        "not_after": certificate.not_after,
        "sha256": certificate.sha256,
        "key": certificate.key.to_string(),
        "signature_algorithm": certificate.signature_algorithm,
    })
}

fn quantiles(quantiles: &Quantiles) -> Value {
    json!({
        "p50_ms": milliseconds(quantiles.p50),
        "p95_ms": milliseconds(quantiles.p95),
        "p99_ms": milliseconds(quantiles.p99),
        "max_ms": milliseconds(quantiles.max),
        "count": quantiles.count,
    })
}

/// What other perspectives say; empty if none was asked.
fn perspectives(report: &Report) -> Vec<Value> {
    let told = report.evidence.perspectives.as_ref();
    let others = told.map(|told| told.others.asked.as_slice()).unwrap_or_default();
    others.iter().map(perspective).collect()
}

fn perspective(other: &OtherPerspective) -> Value {
    let report = other.answer.as_ref().ok();
    let decisive = report.and_then(|report| report.view.decisive.as_ref());
    let problem = other.answer.as_ref().err();
    json!({
        "perspective": other.name,
        "address": other.url,
        "verdict": report.map(|report| report.view.verdict),
        "report": report.map(|report| report.id),
        "report_url": report_url(other),
        "lab": report.map(|report| report.lab),
        "check": decisive.map(|remark| &remark.check),
        "problem": decisive.map_or_else(|| problem.map(|problem| problem.kind.as_str()), |remark| remark.problem.as_deref()),
        "detail": decisive.map(|remark| &remark.detail).or_else(|| problem.map(|problem| &problem.detail)),
        "duration_ms": milliseconds(other.took),
    })
}

/// Where a person finds another perspective's report.
pub fn report_url(other: &OtherPerspective) -> Option<String> {
    other.answer.as_ref().ok().map(|report| format!("{}/preflights/{}", other.url, report.id))
}

fn capacity(capacity: &CapacityEvidence) -> Value {
    let load = match capacity {
        CapacityEvidence::NotReached { stopped_at } => {
            return json!({ "outcome": "not_reached", "stopped_at": stopped_at.as_str() });
        }
        CapacityEvidence::OwnFault(problem) => return json!({ "outcome": "own_fault", "detail": problem.detail }),
        CapacityEvidence::Loaded(load) => load,
    };
    json!({
        "outcome": "loaded",
        "operation": load.operation.as_str(),
        "asked_per_second": load.rate,
        "achieved_per_second": (load.achieved * 10.0).round() / 10.0,
        "planned_ms": milliseconds(load.planned),
        "duration_ms": milliseconds(load.took),
        "requests": load.requests,
        "outcomes": load.outcomes.iter().map(|(outcome, count)| (outcome.as_str().to_owned(), json!(count))).collect::<Map<_, _>>(),
        "late": load.late,
        "p50_ms": milliseconds(load.latency.p50),
        "p99_ms": milliseconds(load.latency.p99),
        "p999_ms": milliseconds(load.latency.p999),
        "max_ms": milliseconds(load.latency.max),
        "lag_p99_ms": milliseconds(load.lag),
        "limit_ms": KMS_TIME_LIMIT.as_millis(),
        "connections": load.connections,
        "stopped": load.stopped.map(|stop| stop.to_string()),
        "first_failure": load.first_failure.as_ref().map(|problem| &problem.detail),
    })
}

/// The proxy's own health answer, if it is a valid one.
pub fn health(report: &Report) -> Option<HealthStatus> {
    report
        .evidence
        .addresses
        .iter()
        .flat_map(AddressEvidence::exchanges)
        .find_map(|exchange| HealthStatus::parse(&exchange.body).ok())
}

/// Milliseconds with three decimals.
pub fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
