//! A report as JUnit XML: every check is a test case, so that pipelines show it where they show tests.

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

use crate::check::{Finding, Level, Outcome, Report};

/// The report as JUnit XML. Failed Musts are failures, own faults and unreached Musts errors, the rest passes or is
/// skipped; warnings are written as system output.
pub fn report(report: &Report) -> String {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    // Writing to a Vec cannot fail.
    let _ = write(&mut writer, report);
    let mut text = String::from_utf8_lossy(&writer.into_inner()).into_owned();
    text.push('\n');
    text
}

fn write(writer: &mut Writer<Vec<u8>>, report: &Report) -> std::io::Result<()> {
    let kinds: Vec<Kind> = report.findings.iter().map(|finding| Kind::of(report, finding)).collect();
    let count = |kind: Kind| kinds.iter().filter(|other| **other == kind).count().to_string();
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let mut suite = BytesStart::new("testsuite");
    suite.push_attribute(("name", "xks-preflight"));
    suite.push_attribute(("tests", kinds.len().to_string().as_str()));
    suite.push_attribute(("failures", count(Kind::Failure).as_str()));
    suite.push_attribute(("errors", count(Kind::Error).as_str()));
    suite.push_attribute(("skipped", count(Kind::Skipped).as_str()));
    suite.push_attribute(("timestamp", report.started_at().to_string().as_str()));
    suite.push_attribute(("time", format!("{:.3}", report.took.as_secs_f64()).as_str()));
    writer.write_event(Event::Start(suite))?;
    for (finding, kind) in report.findings.iter().zip(kinds) {
        case(writer, finding, kind)?;
    }
    writer.write_event(Event::End(BytesEnd::new("testsuite")))
}

fn case(writer: &mut Writer<Vec<u8>>, finding: &Finding, kind: Kind) -> std::io::Result<()> {
    let mut start = BytesStart::new("testcase");
    let name = match finding.address {
        Some(address) => format!("{} {address}", finding.check.id),
        None => finding.check.id.to_owned(),
    };
    start.push_attribute(("classname", finding.check.stage.as_str()));
    start.push_attribute(("name", name.as_str()));
    let (element, message) = match (kind, &finding.outcome) {
        (Kind::Failure, outcome) => ("failure", told(outcome)),
        (Kind::Error, outcome) => ("error", told(outcome)),
        (Kind::Skipped, outcome) => ("skipped", told(outcome)),
        (Kind::Passed, Outcome::Passed(_)) => return writer.write_event(Event::Empty(start)),
        (Kind::Passed, outcome) => ("system-out", told(outcome)),
    };
    writer.write_event(Event::Start(start))?;
    let mut inner = BytesStart::new(element);
    if element != "system-out" {
        inner.push_attribute(("message", printable(&message).as_str()));
    }
    writer.write_event(Event::Start(inner))?;
    let remedy = finding.outcome.problem().map(|_| format!("\n{}", finding.remedy())).unwrap_or_default();
    writer.write_event(Event::Text(BytesText::new(&printable(&format!("{message}{remedy}")))))?;
    writer.write_event(Event::End(BytesEnd::new(element)))?;
    writer.write_event(Event::End(BytesEnd::new("testcase")))
}

fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Passed(detail) | Outcome::NotApplicable(detail) => detail.clone(),
        Outcome::NotReached { stopped_at } => format!("not reached, the probe ended in stage {stopped_at}"),
        Outcome::Failed(problem) | Outcome::OwnFault(problem) => problem.detail.clone(),
        Outcome::Waived { problem, waiver } => format!("{} ({waiver})", problem.detail),
    }
}

/// XML 1.0 has no place for most control characters.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || *c == '\n').collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Passed,
    Failure,
    Error,
    Skipped,
}

impl Kind {
    fn of(report: &Report, finding: &Finding) -> Self {
        let must = report.level(finding.check) == Level::Must;
        match finding.outcome {
            Outcome::Failed(_) if must => Self::Failure,
            Outcome::OwnFault(_) if must => Self::Error,
            Outcome::NotReached { .. } if must && report.failed_musts().next().is_none() => Self::Error,
            Outcome::NotApplicable(_) | Outcome::NotReached { .. } => Self::Skipped,
            Outcome::Passed(_) | Outcome::Failed(_) | Outcome::OwnFault(_) | Outcome::Waived { .. } => Self::Passed,
        }
    }
}
