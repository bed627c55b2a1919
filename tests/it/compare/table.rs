//! The comparison as the README shows it, and every row for who wants to look.

use std::fmt::Write as _;

use super::tools::Tool;
use super::{Outcome, Shown, is_fault};

impl Outcome {
    /// In the table of all rows.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::NotMet => "",
            Self::RightReason => "right reason",
            Self::Detected => "detected",
            Self::WronglyPassed => "**passed**",
            Self::Content => "content",
            Self::Warned => "warned",
            Self::FalseAlarm => "**false alarm**",
        }
    }
}

/// Counts over some rows.
#[derive(Default)]
struct Score {
    faults: usize,
    detected: usize,
    right_reason: usize,
    ready: usize,
    false_alarms: usize,
}

impl Score {
    fn of<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> Self {
        let mut score = Self::default();
        for outcome in outcomes {
            let (fault, detected) = match outcome {
                Outcome::NotMet => continue,
                Outcome::RightReason | Outcome::Detected => (true, true),
                Outcome::WronglyPassed => (true, false),
                Outcome::Content | Outcome::Warned | Outcome::FalseAlarm => (false, false),
            };
            score.faults += usize::from(fault);
            score.ready += usize::from(!fault);
            score.detected += usize::from(detected);
            score.right_reason += usize::from(*outcome == Outcome::RightReason);
            score.false_alarms += usize::from(*outcome == Outcome::FalseAlarm);
        }
        score
    }

    fn passed(&self) -> usize {
        self.faults - self.detected
    }
}

/// What a tool made of all rows, in a line.
pub(super) fn summary(shown: &[Shown], outcomes: &[Outcome]) -> String {
    let score = Score::of(outcomes.iter());
    format!(
        "met {} of {} rows; of {} faults {} detected, {} for the right reason, {} wrongly passed; {} false alarms of {}",
        score.faults + score.ready,
        shown.len(),
        score.faults,
        score.detected,
        score.right_reason,
        score.passed(),
        score.false_alarms,
        score.ready,
    )
}

/// The summary, the groups, and how the tools were run.
pub(super) fn report(tools: &[Tool], shown: &[Shown], outcomes: &[Vec<Outcome>]) -> String {
    let faults = shown.iter().filter(|shown| is_fault(shown.row)).count();
    let date = std::env::var("XKS_COMPARE_DATE").unwrap();
    let mut report = format!(
        "Measured on {date}: {} rows, {faults} faults that must not pass and {} rows that are `ready`.\n\n\
         | tool | faults met | detected | for the right reason | wrongly passed | `ready` rows met | false alarms |\n\
         |---|---|---|---|---|---|---|\n",
        shown.len(),
        shown.len() - faults,
    );
    for (tool, of_tool) in tools.iter().zip(outcomes) {
        let score = Score::of(of_tool.iter());
        if score.faults == 0 {
            writeln!(report, "| {} | not run | | | | | |", tool.name()).unwrap();
            continue;
        }
        writeln!(
            report,
            "| {} | {} | {} | {} | {} | {} | {} |",
            tool.name(),
            score.faults,
            score.detected,
            score.right_reason,
            score.passed(),
            score.ready,
            score.false_alarms,
        )
        .unwrap();
    }
    report.push_str("\nBy chapter of the matrix: detected / for the right reason / wrongly passed.\n\n| faults |");
    for tool in tools {
        write!(report, " {} |", tool.name()).unwrap();
    }
    writeln!(report, "\n|---|{}", "---|".repeat(tools.len())).unwrap();
    let mut groups: Vec<&str> = shown.iter().map(|shown| shown.group).collect();
    groups.dedup();
    for group in groups {
        let faults = shown.iter().filter(|shown| shown.group == group && is_fault(shown.row)).count();
        if faults == 0 {
            continue;
        }
        write!(report, "| {group} ({faults}) |").unwrap();
        for of_tool in outcomes {
            let in_group = shown.iter().zip(of_tool).filter(|(shown, _)| shown.group == group);
            let score = Score::of(in_group.map(|(_, outcome)| outcome));
            let of = if score.faults == faults { String::new() } else { format!(" of {}", score.faults) };
            match score.faults {
                0 => report.push_str(" not met |"),
                _ => write!(report, " {} / {} / {}{of} |", score.detected, score.right_reason, score.passed()).unwrap(),
            }
        }
        report.push('\n');
    }
    report.push('\n');
    for tool in tools {
        writeln!(report, "- {}: {}.", tool.name(), tool.about()).unwrap();
    }
    report
}

/// Every row.
pub(super) fn rows(tools: &[Tool], shown: &[Shown], outcomes: &[Vec<Outcome>]) -> String {
    let names: Vec<&str> = tools.iter().map(Tool::name).collect();
    let dashes = "---|".repeat(names.len());
    let mut rows = format!("| row | must be | {} |\n|---|---|{dashes}\n", names.join(" | "));
    for (at, shown) in shown.iter().enumerate() {
        let expected = &shown.row.expected;
        let finding = expected.finding().map_or(String::new(), |(check, problem)| format!(" {check}: {problem}"));
        write!(rows, "| {} | {}{finding} |", shown.row.label().replace('|', "\\|"), expected.verdict()).unwrap();
        for of_tool in outcomes {
            write!(rows, " {} |", of_tool[at].words()).unwrap();
        }
        rows.push('\n');
    }
    rows
}
