//! The matrix as the README shows it.

use std::fmt::Write as _;

use xks_preflight::sandbox::fault::Misbehaviour;

use super::row::{Expected, How, Kms, Row};
use super::{CHAPTERS, rows};

impl Row {
    /// The fault for people, with what is particular about it.
    pub(crate) fn label(&self) -> String {
        let arguments = if matches!(self.how, How::Proxy) { self.arguments.join(" ") } else { String::new() };
        let with = if arguments.is_empty() { String::new() } else { format!(", with `{arguments}`") };
        match self.how {
            How::Proxy => format!("`{}`{with}: {}", self.fault, description(self.fault)),
            How::SecondAddress => format!("`{}`, at one of two addresses", self.fault),
            How::Values | How::Name(_) | How::Service(_) | How::By(_) => self.fault.to_owned(),
        }
    }
}

/// What the sandbox says of its fault, as the end of a sentence.
fn description(fault: &str) -> String {
    let parsed: Misbehaviour = fault.parse().unwrap_or_else(|error| panic!("{fault}: {error}"));
    let text = parsed.fault.description().trim_end_matches('.');
    // Words such as JSON and 301 stay as they are.
    let second_is_lower = text.chars().nth(1).is_some_and(char::is_lowercase);
    let mut letters = text.chars();
    match letters.next().filter(|_| second_is_lower) {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => text.to_owned(),
    }
}

/// What KMS would do, in a cell.
fn outcome(kms: Kms) -> String {
    match (kms.exception, kms.code) {
        (None, None) => String::new(),
        (Some(one), None) | (None, Some(one)) => one.replace('_', "\\_"),
        (Some(exception), Some(code)) => format!("{exception} / {}", code.replace('_', "\\_")),
    }
}

/// The summary and the table of all rows.
pub(crate) fn markdown() -> String {
    let count = |verdict: &str| rows().filter(|row| row.expected.verdict() == verdict).count();
    let permitted = rows().filter(|row| matches!(row.expected, Expected::Permitted)).count();
    let mut table = format!(
        "{} rows: {} blocked, {} inconclusive, {} ready with a warning, {permitted} odd but permitted. A single wrong \
         `ready` fails the test.\n\n<details><summary>All of them</summary>\n\n",
        rows().count(),
        count("blocked"),
        count("inconclusive"),
        count("ready") - permitted,
    );
    for (chapter, rows) in CHAPTERS {
        write!(table, "| {chapter} | verdict | check: problem | KMS would raise |\n|---|---|---|---|\n").unwrap();
        for row in *rows {
            let verdict =
                if matches!(row.expected, Expected::Warned(..)) { "ready, warned" } else { row.expected.verdict() };
            let finding =
                row.expected.finding().map(|(check, problem)| format!("`{check}`: {}", problem.replace('_', " ")));
            let cells = [
                row.label().replace('|', "\\|"),
                verdict.to_owned(),
                finding.unwrap_or_default(),
                outcome(row.expected.kms()),
            ];
            writeln!(table, "| {} |", cells.join(" | ")).unwrap();
        }
        table.push('\n');
    }
    table.push_str("</details>\n");
    table
}
