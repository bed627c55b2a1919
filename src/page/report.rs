//! A report as a page: the verdict in KMS's words, what to do, and how it was seen.

use axum::extract::Path;
use axum::response::Html;
use maud::{Markup, html};

use super::frame::{self, Tone, badge};
use super::session::Visitor;
use super::{chart, legible};
use crate::api::preflights::kept;
use crate::api::problem::Problem;
use crate::check::{
    AddressEvidence, Certificate, Finding, Latency, Level, Outcome, Remark, Report, Resolution, Sample, TlsEvidence,
    Trust, Verdict,
};
use crate::clock::Timestamp;
use crate::key_store::{KmsException, KmsOutcome};
use crate::render::json;
use crate::xks::{EkmHealth, HealthStatus};

/// How many samples of one address are drawn; the rest is in the quantiles.
const DRAWN: usize = 8;

/// One report.
pub(super) async fn show(visitor: Visitor, Path(id): Path<String>) -> Result<Html<String>, Problem> {
    let report = kept(visitor.service(), &visitor.admitted, &id)?;
    let subject = &report.evidence.subject;
    let title =
        subject.cluster.as_ref().map_or_else(|| subject.endpoint.clone(), |cluster| cluster.cluster.to_string());
    let body = html! {
        div {
            div.head {
                p.muted { "Report " code { (report.id) } }
                h1 { (legible::line(&title)) }
                @if subject.cluster.is_none() {
                    p.muted {
                        code { (legible::line(&subject.path)) } " · " (subject.connectivity) " · " (subject.region.as_str())
                        " · access key id " code { (legible::line(&subject.access_key_id)) }
                    }
                }
                @if subject.lab { p.muted { "In a laboratory: roots that KMS does not trust count as trusted." } }
            }
            (judgement(&report, visitor.now))
            (grounds(&report, visitor.now))
        }
    };
    Ok(frame::page(&visitor, "/preflights", "Report", &body))
}

/// What a report comes to: its verdict, and what somebody must do about.
pub(super) fn judgement(report: &Report, now: Timestamp) -> Markup {
    html! {
        (verdict(report, now))
        @for group in &OPEN {
            @let found = of(report, group);
            @if !found.is_empty() {
                section.card aria-label=(group.0) {
                    h2 { (group.0) span.count { (found.len()) } }
                    @for finding in found { (open(report, finding)) }
                }
            }
        }
    }
}

/// How that was seen.
pub(super) fn grounds(report: &Report, now: Timestamp) -> Markup {
    html! {
        (perspectives(report))
        (waterfall(report))
        (certificates(report, now))
        @if let Some(health) = json::health(report) { (key_managers(&health)) }
        (folded(report))
    }
}

/// A verdict's word, form and colour.
pub(super) fn verdict_badge(verdict: Verdict) -> Markup {
    badge(verdict_tone(verdict), verdict.as_str())
}

fn verdict_tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Ready => Tone::Good,
        Verdict::Blocked => Tone::Bad,
        Verdict::Inconclusive => Tone::Warn,
    }
}

fn verdict(report: &Report, now: Timestamp) -> Markup {
    let verdict = report.verdict();
    html! {
        section class=(format!("notice verdict {}", verdict_tone(verdict).class())) aria-label="Verdict" {
            p { (verdict_badge(verdict)) " " (legible::paragraph(&json::kms_message(report))) "." }
            @for reservation in report.reservations() { p.sub { (legible::paragraph(&reservation)) } }
            p.sub {
                "Probed " (legible::fully(report.started_at(), now)) ", from " (legible::line(&report.perspective)) "; it took "
                (legible::milliseconds(report.took)) "."
            }
        }
    }
}

/// A heading and what belongs under it.
type Group = (&'static str, fn(&Report, &Finding) -> bool);

const OPEN: [Group; 5] = [
    ("Blocking", |report, finding| finding.is_failed() && report.level(finding.check) == Level::Must),
    ("Could not be told", |_, finding| matches!(finding.outcome, Outcome::OwnFault(_))),
    ("Warnings", |report, finding| finding.is_failed() && report.level(finding.check) == Level::Should),
    ("Advice", |report, finding| finding.is_failed() && report.level(finding.check) == Level::Advice),
    ("Waived", |_, finding| matches!(finding.outcome, Outcome::Waived { .. })),
];

const FOLDED: [Group; 3] = [
    ("passed", |_, finding| matches!(finding.outcome, Outcome::Passed(_))),
    ("not reached", |_, finding| matches!(finding.outcome, Outcome::NotReached { .. })),
    ("not applicable", |_, finding| matches!(finding.outcome, Outcome::NotApplicable(_))),
];

fn of<'r>(report: &'r Report, (_, belongs): &Group) -> Vec<&'r Finding> {
    report.findings.iter().filter(|finding| belongs(report, finding)).collect()
}

/// The checks that nobody must do anything about.
fn folded(report: &Report) -> Markup {
    html! {
        section.card aria-label="Other checks" {
            h2 { @if OPEN.iter().any(|group| !of(report, group).is_empty()) { "Other checks" } @else { "Checks" } }
            @for group in &FOLDED {
                @let found = of(report, group);
                @if !found.is_empty() {
                    details id=(format!("checks-{}", group.0.replace(' ', "-"))) {
                        summary { (found.len()) " " (group.0) }
                        ul.folded {
                            @for finding in found {
                                li { (id(finding)) " " span.muted { (legible::paragraph(&detail(finding))) } (place(finding)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn id(finding: &Finding) -> Markup {
    html! { a href=(format!("/checks#{}", finding.check.id)) { code { (finding.check.id) } } }
}

fn place(finding: &Finding) -> Markup {
    html! { @if let Some(address) = finding.address { " " span.muted { "at " code { (address) } } } }
}

fn detail(finding: &Finding) -> String {
    match &finding.outcome {
        Outcome::Passed(detail) | Outcome::NotApplicable(detail) => detail.clone(),
        Outcome::NotReached { stopped_at } => format!("the probe ended in stage {stopped_at}"),
        Outcome::Failed(problem) | Outcome::OwnFault(problem) => problem.detail.clone(),
        Outcome::Waived { problem, waiver } => format!("{} ({waiver})", problem.detail),
    }
}

fn open(report: &Report, finding: &Finding) -> Markup {
    let level = report.level(finding.check);
    let tone = match (&finding.outcome, level) {
        (Outcome::Failed(_), Level::Must) => Tone::Bad,
        (Outcome::Waived { .. }, _) | (_, Level::Advice) => Tone::Still,
        _ => Tone::Warn,
    };
    html! {
        article.finding {
            h3 { (badge(tone, level.as_str())) (id(finding)) (place(finding)) }
            p.muted { "Wanted: " (finding.check.title) }
            p.detail { "Found: " (legible::paragraph(&detail(finding))) }
            @if let Some(kms) = &finding.kms { p.muted { (in_kms_words(kms)) } }
            p.remedy { strong { "To do: " } (finding.remedy()) }
            p.cite { (finding.check.citation.source) ", " (finding.check.citation.section) }
        }
    }
}

/// What KMS would make of it.
pub(super) fn in_kms_words(kms: &KmsOutcome) -> Markup {
    let exceptions: Vec<&str> = [kms.exception, kms.also].into_iter().flatten().map(KmsException::as_str).collect();
    html! {
        @if !exceptions.is_empty() {
            "KMS would raise " @for (at, name) in exceptions.iter().enumerate() { @if at > 0 { " or " } code { (name) } }
        }
        @if let Some(code) = &kms.connection_error_code {
            @if exceptions.is_empty() { "A" } @else { "; a" } " connect would end FAILED with " code { (code.as_str()) }
        }
        @match kms.retryable { Some(true) => "; retryable", Some(false) => "; not retryable", None => "" }
    }
}

/// A row for each place that was looked from.
fn perspectives(report: &Report) -> Markup {
    let Some(told) = &report.evidence.perspectives else { return html! {} };
    html! {
        section.card aria-label="Perspectives" {
            h2 { "Perspectives" span.count { (told.others.asked.len() + 1) } }
            p.muted { (told.others.quorum) " of the others must find the same; one that finds it blocked blocks it." }
            ul.managers {
                li {
                    (verdict_badge(told.own.verdict)) strong { (legible::line(&told.own.perspective)) }
                    span.muted { "this daemon" (by(told.own.decisive.as_ref())) }
                }
                @for other in &told.others.asked {
                    li {
                        @match &other.answer {
                            Ok(answer) => {
                                (verdict_badge(answer.view.verdict)) strong { (legible::line(&other.name)) }
                                span.muted { (legible::milliseconds(other.took)) (by(answer.view.decisive.as_ref())) }
                                @if let Some(url) = json::report_url(other) {
                                    a href=(url) rel="noopener noreferrer" { "its report" }
                                }
                            },
                            Err(problem) => {
                                (badge(Tone::Warn, "no answer")) strong { (legible::line(&other.name)) }
                                span.muted { (legible::paragraph(&problem.detail)) }
                            },
                        }
                    }
                }
            }
        }
    }
}

fn by(decisive: Option<&Remark>) -> Markup {
    html! {
        @if let Some(remark) = decisive {
            ", by " code { (legible::line(&remark.check)) } ": " (legible::paragraph(&remark.detail))
        }
    }
}

fn waterfall(report: &Report) -> Markup {
    let addresses = &report.evidence.addresses;
    if addresses.is_empty() {
        return html! {};
    }
    let drawn = |address: &AddressEvidence| address.samples.iter().take(DRAWN).cloned().collect::<Vec<Sample>>();
    let all: Vec<Sample> = addresses.iter().flat_map(drawn).collect();
    let scale = chart::scale(all.iter().flat_map(Sample::attempts));
    let latency = Latency::of(addresses);
    html! {
        section.card aria-label="Latency" {
            div.line {
                h2 { "Latency" }
                p.key aria-hidden="true" {
                    @for (class, name) in [("connect", "connect"), ("tls", "TLS"), ("request", "request")] {
                        span { svg viewBox="0 0 10 10" width="10" height="10" { rect class=(class) width="10" height="10" rx="2" {} } (name) }
                    }
                    span { svg.bar.dash viewBox="0 0 10 10" width="10" height="10" { line.limit x1="5" x2="5" y1="0" y2="10" {} } "250 ms, KMS's limit" }
                }
            }
            @if latency.cold.count > 0 {
                p.muted {
                    "Fresh connections: median " (legible::milliseconds(latency.cold.p50)) ", slowest " (legible::milliseconds(latency.cold.max))
                    " of " (latency.cold.count)
                    @if latency.warm.count > 0 { ". Kept ones: median " (legible::milliseconds(latency.warm.p50)) }
                    @if let Resolution::Answered { took, .. } = &report.evidence.resolution {
                        ". Resolving the name took " (legible::milliseconds(*took)) " and does not count"
                    }
                    "."
                }
            }
            @for address in addresses {
                h3 { code { (address.address) } }
                ol.waterfall {
                    @for sample in address.samples.iter().take(DRAWN) {
                        @for (at, attempt) in sample.attempts().enumerate() {
                            li {
                                span.what { (json::kind(sample.kind)) @if at > 0 { " retry" } }
                                (chart::bar(attempt, scale))
                                span.took {
                                    (legible::milliseconds(attempt.total()))
                                    span.parts {
                                        @for (name, took) in [("connect", attempt.connect), ("TLS", attempt.tls), ("request", attempt.request)] {
                                            @if let Some(took) = took { span { (name) " " (legible::milliseconds(took)) } " " }
                                        }
                                    }
                                }
                                @if let Some(stop) = &attempt.stop {
                                    span.stop { "ended in " (stop.stage) ": " (legible::line(&stop.problem.detail)) }
                                }
                            }
                        }
                    }
                }
                @if address.samples.len() > DRAWN { p.muted { (address.samples.len() - DRAWN) " more samples are in the quantiles." } }
            }
        }
    }
}

fn certificates(report: &Report, now: Timestamp) -> Markup {
    let seen = |address: &AddressEvidence| address.tls.clone().map(|tls| (address.address, tls));
    let mut chains: Vec<(Vec<std::net::SocketAddr>, TlsEvidence)> = Vec::new();
    for (address, tls) in report.evidence.addresses.iter().filter_map(seen) {
        // Behind most names every address shows the same chain.
        match chains.iter_mut().find(|(_, known)| known.chain == tls.chain && known.trust == tls.trust) {
            Some((addresses, _)) => addresses.push(address),
            None => chains.push((vec![address], tls)),
        }
    }
    html! {
        @for (addresses, tls) in &chains {
            section.card aria-label="Certificates" {
                h2 { "Certificates" }
                p.muted {
                    "At " @for (at, address) in addresses.iter().enumerate() { @if at > 0 { ", " } code { (address) } }
                    @if let Some(version) = &tls.version { " · " (version) }
                    @if let Some(suite) = &tls.cipher_suite { " · " code { (suite) } }
                }
                ol.chain { @for certificate in &tls.chain { (one(certificate, now)) } li { (root(&tls.trust)) } }
            }
        }
    }
}

fn one(certificate: &Certificate, now: Timestamp) -> Markup {
    let name = certificate.common_name.as_deref().unwrap_or(&certificate.subject);
    let days = certificate.not_after.seconds_since(now) / 86_400.0;
    let tone = match days {
        _ if days < 0.0 || certificate.not_before > now => Tone::Bad,
        _ if days < 30.0 => Tone::Warn,
        _ => Tone::Good,
    };
    let word = if days < 0.0 {
        "expired"
    } else if certificate.not_before > now {
        "not valid yet"
    } else {
        "valid"
    };
    html! {
        li {
            p.line {
                strong { (legible::line(name)) } (badge(tone, word))
                span.muted { @if days < 0.0 { "ended " } @else { "ends " } (legible::fully(certificate.not_after, now)) " · " (certificate.key) }
            }
            @if !certificate.san.is_empty() { p.sub { "for " (legible::line(&certificate.san.join(", "))) } }
            p.sub { "issued by " (legible::line(&certificate.issuer)) }
            p.sub { "SHA-256 " code { (certificate.sha256) } }
        }
    }
}

fn root(trust: &Trust) -> Markup {
    html! {
        @match trust {
            Trust::Trusted { root, listing, .. } => {
                p.line {
                    strong { (legible::line(root)) }
                    @match listing {
                        Some(listing) if listing.listed => (badge(Tone::Good, "on AWS's list")),
                        Some(listing) => { (badge(Tone::Bad, "not on AWS's list")) span.muted { (listing.list) } },
                        None => (badge(Tone::Still, "of a laboratory")),
                    }
                }
            },
            Trust::Untrusted(problem) => p.line { (badge(Tone::Bad, "no trusted root")) span.muted { (legible::line(&problem.detail)) } },
        }
    }
}

fn key_managers(health: &HealthStatus) -> Markup {
    html! {
        section.card aria-label="Proxy and key managers" {
            h2 { "Proxy and key managers" }
            dl.facts {
                div { dt { "Proxy" } dd { (legible::line(&health.xks_proxy_vendor)) " " (legible::line(&health.xks_proxy_model)) } }
                div { dt { "Proxies in the fleet" } dd { (health.xks_proxy_fleet_size) } }
                div { dt { "Key manager by" } dd { (legible::line(&health.ekm_vendor)) } }
            }
            ul.managers {
                @for manager in &health.ekm_fleet_details {
                    @let tone = match manager.health_status {
                        EkmHealth::Active => Tone::Good,
                        EkmHealth::Degraded => Tone::Warn,
                        EkmHealth::Unavailable => Tone::Bad,
                    };
                    li { (badge(tone, manager.health_status.as_str())) code { (legible::line(&manager.id)) } span.muted { (legible::line(&manager.model)) } }
                }
            }
        }
    }
}
