//! A report for people: the verdict first, then what to do, then how it was seen.

use std::fmt::Write as _;
use std::time::Duration;

use super::json;
use crate::check::{
    AddressEvidence, Attempt, CapacityEvidence, Finding, KMS_TIME_LIMIT, Latency, Level, OcspStaple, Outcome, Report,
    Resolution, SampleKind, Stage, TlsEvidence, Verdict,
};

/// A heading and what belongs under it.
type Group = (&'static str, fn(&Report, &Finding) -> bool);

/// Width of the waterfall in characters; it stands for KMS's limit.
const WIDTH: usize = 50;

/// How many samples of one address are drawn; the rest is in the quantiles.
const DRAWN: usize = 8;

/// Where text is broken.
const COLUMNS: usize = 110;

/// The report as text.
pub fn report(report: &Report, colour: bool) -> String {
    let paint = Paint { colour };
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_report(&mut out, report, paint);
    out
}

fn write_report(out: &mut String, report: &Report, paint: Paint) -> std::fmt::Result {
    let subject = &report.evidence.subject;
    let lab = if subject.lab { ", LAB: roots of a laboratory count as trusted" } else { "" };
    if let Some(cluster) = &subject.cluster {
        writeln!(out, "{} of {}", paint.bold(cluster.cluster.as_str()), cluster.key_store)?;
        writeln!(out, "AWS_CLOUDHSM in {}{lab}", subject.region)?;
    } else {
        writeln!(out, "{}{}", paint.bold(&subject.endpoint), paint.bold(&subject.path))?;
        let (connectivity, region, id) = (subject.connectivity, &subject.region, &subject.access_key_id);
        writeln!(out, "{connectivity} in {region}, access key id {id}{lab}")?;
    }
    writeln!(out)?;
    write_verdict(out, report, paint)?;
    write_findings(out, report, paint)?;
    write_waterfalls(out, report, paint)?;
    write_perspectives(out, report)?;
    write_load(out, report)?;
    write_footer(out, report)
}

fn write_verdict(out: &mut String, report: &Report, paint: Paint) -> std::fmt::Result {
    let verdict = report.verdict();
    let word = verdict.as_str().to_uppercase();
    let shown = match verdict {
        Verdict::Ready => paint.good(&word),
        Verdict::Blocked => paint.bad(&word),
        Verdict::Inconclusive => paint.warn(&word),
    };
    let indent = word.len() + 2;
    let mut message = json::kms_message(report);
    message.extend(json::not_compared(report));
    writeln!(out, "{shown}  {}", wrapped(&message, indent))?;
    Ok(())
}

fn write_findings(out: &mut String, report: &Report, paint: Paint) -> std::fmt::Result {
    let groups: [Group; 5] = [
        ("blocks", |r, f| f.is_failed() && r.level(f.check) == Level::Must),
        ("could not be told", |r, f| {
            r.level(f.check) == Level::Must
                && r.failed_musts().next().is_none()
                && matches!(f.outcome, Outcome::OwnFault(_) | Outcome::NotReached { .. })
        }),
        ("warnings", |r, f| {
            r.level(f.check) == Level::Should && matches!(f.outcome, Outcome::Failed(_) | Outcome::OwnFault(_))
        }),
        ("advice", |r, f| f.is_failed() && r.level(f.check) == Level::Advice),
        ("waived", |_, f| matches!(f.outcome, Outcome::Waived { .. })),
    ];
    for (title, belongs) in groups {
        let findings: Vec<&Finding> = report.findings.iter().filter(|f| belongs(report, f)).collect();
        if findings.is_empty() {
            continue;
        }
        writeln!(out, "\n{}", paint.bold(title))?;
        let (unreached, told): (Vec<&Finding>, Vec<&Finding>) =
            findings.into_iter().partition(|finding| matches!(finding.outcome, Outcome::NotReached { .. }));
        for finding in told {
            write_finding(out, report, finding, paint)?;
        }
        write_unreached(out, &unreached)?;
    }
    let count = |outcome: &str| report.findings.iter().filter(|f| f.outcome.as_str() == outcome).count();
    writeln!(
        out,
        "\n{} checks passed, {} failed, {} not applicable, {} not reached",
        count("passed"),
        count("failed"),
        count("not_applicable"),
        count("not_reached")
    )
}

/// The checks that were not come to, by the stage where the probe ended: one line says as much as twenty.
fn write_unreached(out: &mut String, unreached: &[&Finding]) -> std::fmt::Result {
    let mut stages: Vec<(Stage, Vec<&str>)> = Vec::new();
    for finding in unreached {
        let Outcome::NotReached { stopped_at } = finding.outcome else { continue };
        match stages.iter_mut().find(|(stage, _)| *stage == stopped_at) {
            Some((_, ids)) if ids.contains(&finding.check.id) => {}
            Some((_, ids)) => ids.push(finding.check.id),
            None => stages.push((stopped_at, vec![finding.check.id])),
        }
    }
    for (stage, ids) in stages {
        writeln!(out, "  not reached, the probe ended in stage {stage}")?;
        writeln!(out, "      {}", wrapped(&ids.join(", "), 6))?;
    }
    Ok(())
}

fn write_finding(out: &mut String, report: &Report, finding: &Finding, paint: Paint) -> std::fmt::Result {
    let at = finding.address.map(|address| format!(" at {address}")).unwrap_or_default();
    let id = match report.level(finding.check) {
        Level::Must if finding.is_failed() => paint.bad(finding.check.id),
        Level::Must | Level::Should => paint.warn(finding.check.id),
        Level::Advice => paint.dim(finding.check.id),
    };
    let detail = match &finding.outcome {
        Outcome::NotReached { stopped_at } => format!("not reached, the probe ended in stage {stopped_at}"),
        Outcome::Waived { problem, waiver } => format!("{} ({waiver})", problem.detail),
        Outcome::OwnFault(problem) => format!("a fault on our side: {}", problem.detail),
        Outcome::Failed(problem) => problem.detail.clone(),
        Outcome::Passed(detail) | Outcome::NotApplicable(detail) => detail.clone(),
    };
    writeln!(out, "  {id}{at}")?;
    writeln!(out, "      {}", wrapped(&detail, 6))?;
    if finding.outcome.problem().is_some() {
        writeln!(out, "   {}  {}", paint.dim("->"), wrapped(finding.remedy(), 7))?;
    }
    Ok(())
}

fn write_waterfalls(out: &mut String, report: &Report, paint: Paint) -> std::fmt::Result {
    if let Resolution::Answered { took, ipv4, ipv6 } = &report.evidence.resolution {
        let ipv6 = if ipv6.is_empty() { String::new() } else { format!(", {} IPv6 (ignored by KMS)", ipv6.len()) };
        writeln!(out, "\ndns       {:>7.1} ms  {} IPv4 addresses{ipv6}", json::milliseconds(*took), ipv4.len())?;
    }
    for address in &report.evidence.addresses {
        write_waterfall(out, address, report, paint)?;
    }
    let latency = Latency::of(&report.evidence.addresses);
    for (name, quantiles) in [("cold", latency.cold), ("warm", latency.warm)] {
        if quantiles.count > 0 {
            writeln!(
                out,
                "{name}: p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms, max {:.1} ms over {} samples",
                json::milliseconds(quantiles.p50),
                json::milliseconds(quantiles.p95),
                json::milliseconds(quantiles.p99),
                json::milliseconds(quantiles.max),
                quantiles.count
            )?;
        }
    }
    Ok(())
}

fn write_waterfall(out: &mut String, address: &AddressEvidence, report: &Report, paint: Paint) -> std::fmt::Result {
    writeln!(out, "\n{}  {}", paint.bold(&address.address.to_string()), tls_line(address, report))?;
    if let Some(tls) = &address.tls {
        writeln!(out, "            {}", paint.dim(&certificate_line(tls)))?;
    }
    writeln!(
        out,
        "            {}",
        paint.dim(&format!(
            "0 ms{:>width$} ms = KMS's limit   C connect  T TLS  R request",
            KMS_TIME_LIMIT.as_millis(),
            width = WIDTH - 2
        ))
    )?;
    for sample in address.samples.iter().take(DRAWN) {
        for (index, attempt) in sample.attempts().enumerate() {
            let name = if index == 0 { json::kind(sample.kind) } else { "retry" };
            writeln!(out, "  {name:<8} |{}| {}", bar(attempt, sample.kind, paint), timing(attempt))?;
        }
    }
    if address.samples.len() > DRAWN {
        writeln!(out, "  {}", paint.dim(&format!("and {} samples more", address.samples.len() - DRAWN)))?;
    }
    Ok(())
}

fn tls_line(address: &AddressEvidence, report: &Report) -> String {
    let Some(tls) = &address.tls else { return String::new() };
    let mut parts: Vec<String> = [tls.version.clone(), tls.cipher_suite.clone()].into_iter().flatten().collect();
    if let Some(leaf) = tls.chain.first() {
        let days = leaf.not_after.seconds_since(report.started_at()) / 86_400.0;
        let name = leaf.san.first().or(leaf.common_name.as_ref()).map_or("?", String::as_str);
        parts.push(if days < 0.0 {
            format!("certificate of {name}, expired {:.0} days ago", -days)
        } else {
            format!("certificate of {name}, {days:.0} days left")
        });
    }
    parts.join(", ")
}

/// What else a person asks of a certificate, whether or not it is any good.
fn certificate_line(tls: &TlsEvidence) -> String {
    let issuer = tls.chain.first().map_or("?", |leaf| leaf.issuer.as_str());
    let key = tls.chain.first().map_or_else(String::new, |leaf| format!(", {}", leaf.key));
    let staple = match &tls.ocsp_staple {
        None => "no OCSP staple".to_owned(),
        Some(OcspStaple { produced_at: None }) => "OCSP staple".to_owned(),
        Some(OcspStaple { produced_at: Some(at) }) => format!("OCSP staple of {at}"),
    };
    format!("issued by {issuer}{key}, {} served, {staple}", tls.chain.len())
}

/// The stages of an attempt to scale, cut at KMS's limit.
fn bar(attempt: &Attempt, kind: SampleKind, paint: Paint) -> String {
    let scale = |duration: Duration| duration.as_secs_f64() / KMS_TIME_LIMIT.as_secs_f64() * WIDTH as f64;
    let mut drawn = String::new();
    let mut elapsed = Duration::ZERO;
    for (letter, took) in [('C', attempt.connect), ('T', attempt.tls), ('R', attempt.request)] {
        let Some(took) = took else { continue };
        elapsed += took;
        // A stage that happened is seen, however short.
        while drawn.len() < WIDTH && ((drawn.len() as f64) < scale(elapsed) - 0.5 || !drawn.contains(letter)) {
            drawn.push(letter);
        }
    }
    let padding = " ".repeat(WIDTH.saturating_sub(drawn.len()));
    let late = kind != SampleKind::Warm && (attempt.stop.is_some() || attempt.total() > KMS_TIME_LIMIT);
    format!("{}{padding}", if late { paint.bad(&drawn) } else { paint.good(&drawn) })
}

fn timing(attempt: &Attempt) -> String {
    let mut text = format!("{:>6.1} ms", json::milliseconds(attempt.total()));
    let mut stages = Vec::new();
    for (name, took) in [("connect", attempt.connect), ("tls", attempt.tls), ("request", attempt.request)] {
        if let Some(took) = took {
            stages.push(format!("{name} {:.1}", json::milliseconds(took)));
        }
    }
    let _ = write!(text, "  {}", stages.join(", "));
    if let Some(exchange) = &attempt.exchange {
        let _ = write!(text, "; status {}", exchange.status);
    }
    if let Some(stop) = &attempt.stop {
        let _ = write!(text, "; {} in stage {}", stop.problem.kind.meaning(), stop.stage);
    }
    text
}

/// A line for each perspective that was asked, and where its report is.
fn write_perspectives(out: &mut String, report: &Report) -> std::fmt::Result {
    let Some(told) = &report.evidence.perspectives else { return Ok(()) };
    writeln!(out, "\nfrom elsewhere ({} must find the same)", told.others.quorum)?;
    for other in &told.others.asked {
        let said = match &other.answer {
            Ok(answer) => match &answer.view.decisive {
                Some(remark) => format!("{} by {}", answer.view.verdict, remark.check),
                None => answer.view.verdict.to_string(),
            },
            Err(problem) => format!("no answer that counts: {}", problem.detail),
        };
        writeln!(out, "  {:<20} {}", other.name, wrapped(&said, 23))?;
        if let Some(url) = json::report_url(other) {
            writeln!(out, "  {:<20} {url}", "")?;
        }
    }
    Ok(())
}

fn write_load(out: &mut String, report: &Report) -> std::fmt::Result {
    let Some(CapacityEvidence::Loaded(load)) = &report.evidence.capacity else { return Ok(()) };
    writeln!(
        out,
        "load: {} at {}/s for {:.0} s: {:.1}/s achieved, p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, max {:.1} ms over {} \
         connections",
        load.operation,
        load.rate,
        load.planned.as_secs_f64(),
        load.achieved,
        json::milliseconds(load.latency.p50),
        json::milliseconds(load.latency.p99),
        json::milliseconds(load.latency.p999),
        json::milliseconds(load.latency.max),
        load.connections
    )?;
    let mut outcomes: Vec<String> =
        load.outcomes.iter().map(|(outcome, count)| format!("{count} {}", outcome.as_str())).collect();
    let ended: u64 = load.outcomes.values().sum();
    let under_way = load.requests.saturating_sub(ended);
    outcomes.extend((under_way > 0).then(|| format!("{under_way} given up under way")));
    write!(out, "      {} requests: {}, {} of them late", load.requests, outcomes.join(", "), load.late)?;
    match load.stopped {
        Some(stop) => writeln!(out, "; ended after {:.1} s, because {stop}", load.took.as_secs_f64()),
        None => writeln!(out),
    }
}

fn write_footer(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(
        out,
        "\n{} from {} at {}, took {:.0} ms, xks-preflight {}",
        report.id,
        report.perspective,
        report.started_at(),
        report.took.as_secs_f64() * 1e3,
        env!("CARGO_PKG_VERSION")
    )
}

/// Proxies, AWS and name servers have a say in what is shown. None of them may steer the terminal: an escape sequence in
/// the id of a key manager could write a verdict of its own.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Breaks text at spaces so that it fits the columns, with following lines indented.
fn wrapped(text: &str, indent: usize) -> String {
    let text = printable(text);
    let mut out = String::new();
    let mut column = indent;
    for word in text.split(' ') {
        let width = word.chars().count();
        if column > indent && column + 1 + width > COLUMNS {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if column > indent {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
    out
}

/// ANSI colours, or none.
#[derive(Clone, Copy)]
struct Paint {
    colour: bool,
}

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        let text = printable(text);
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text }
    }

    fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    fn warn(self, text: &str) -> String {
        self.with("33", text)
    }

    fn bad(self, text: &str) -> String {
        self.with("1;31", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(connect: u64, tls: u64, request: u64) -> Attempt {
        let ms = |n| Some(Duration::from_millis(n));
        Attempt { connect: ms(connect), tls: ms(tls), request: ms(request), ..Attempt::default() }
    }

    #[test]
    fn bars_are_to_scale_and_end_at_the_limit() {
        let plain = Paint { colour: false };
        let drawn = bar(&attempt(50, 50, 25), SampleKind::Cold, plain);
        assert_eq!(drawn, format!("{}{}{}{}", "C".repeat(10), "T".repeat(10), "R".repeat(5), " ".repeat(25)));
        assert_eq!(bar(&attempt(1, 1, 900), SampleKind::Cold, plain).len(), WIDTH);
        assert!(bar(&attempt(0, 0, 0), SampleKind::Cold, plain).starts_with("CTR "));
    }

    #[test]
    fn nobody_outside_steers_the_terminal() {
        let hostile = "hsm-1\u{1b}[2J\u{1b}[1;32mREADY\r\u{9b}0m";
        for shown in [wrapped(hostile, 6), Paint { colour: false }.bold(hostile)] {
            assert!(shown.contains("READY") && !shown.chars().any(char::is_control), "{shown:?}");
        }
        assert_eq!(Paint { colour: true }.bold(hostile).matches('\u{1b}').count(), 2);
    }

    #[test]
    fn text_is_broken_at_spaces() {
        let text = "word ".repeat(60);
        assert!(wrapped(&text, 6).lines().all(|line| line.len() <= COLUMNS));
    }
}
