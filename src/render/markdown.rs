//! A report as Markdown: for pull requests, tickets and pages.

use std::fmt::Write as _;

use super::json;
use crate::check::{CapacityEvidence, Finding, Outcome, Report};

/// The report as Markdown: verdict, what KMS would do, and a table of everything that did not pass.
pub fn report(report: &Report) -> String {
    let mut out = String::new();
    let subject = &report.evidence.subject;
    // Writing to a String cannot fail.
    let what = match &subject.cluster {
        Some(cluster) => format!("{} of {}", cluster.cluster, cluster.key_store),
        None => format!("{}{}", subject.endpoint, subject.path),
    };
    let _ = writeln!(out, "## {}: {}\n", report.verdict(), cell(&what));
    let not_compared = json::not_compared(report).unwrap_or_default();
    let _ = writeln!(out, "{}.\n", cell(&format!("{}{not_compared}", json::kms_message(report))));
    let shown: Vec<&Finding> = report.findings.iter().filter(|finding| finding.outcome.problem().is_some()).collect();
    if !shown.is_empty() {
        out.push_str("| check | level | outcome | detail | remedy |\n|---|---|---|---|---|\n");
        for finding in shown {
            let _ = writeln!(
                out,
                "| `{}`{} | {} | {} | {} | {} |",
                finding.check.id,
                finding.address.map(|address| format!(" {address}")).unwrap_or_default(),
                report.level(finding.check).as_str(),
                finding.outcome.as_str(),
                cell(&detail(&finding.outcome)),
                cell(finding.remedy())
            );
        }
        out.push('\n');
    }
    if let Some(CapacityEvidence::Loaded(load)) = &report.evidence.capacity {
        let _ = writeln!(
            out,
            "{} at {}/s for {:.0} s: {:.1}/s achieved, p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, max {:.1} ms.\n",
            load.operation,
            load.rate,
            load.planned.as_secs_f64(),
            load.achieved,
            json::milliseconds(load.latency.p50),
            json::milliseconds(load.latency.p99),
            json::milliseconds(load.latency.p999),
            json::milliseconds(load.latency.max)
        );
    }
    let _ = writeln!(
        out,
        "{} from {} at {}, xks-preflight {}{}",
        report.id,
        cell(&report.perspective),
        report.started_at(),
        env!("CARGO_PKG_VERSION"),
        if subject.lab { ", **lab**: roots of a laboratory count as trusted" } else { "" }
    );
    out
}

fn detail(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Waived { problem, waiver } => format!("{} ({waiver})", problem.detail),
        other => other.problem().map(|problem| problem.detail.clone()).unwrap_or_default(),
    }
}

/// Text from outside, made safe for a table's cell.
pub(super) fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '\\' | '`' | '*' | '_' | '<' | '>' | '[' | ']' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
