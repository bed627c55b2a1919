//! What other tools make of the faults of the fault matrix. `tests/compare` installs them and runs this; without it,
//! this is left out.
//!
//! Every tool meets every row of the matrix that one proxy (or one of two addresses) can show, each time with a proxy
//! of its own, unless the row is none of its subjects. Where the matrix says `blocked` or `inconclusive`, a tool *detects*
//! the fault if it does not say that all is well, gives the *right reason* if what it says names the cause (`words.rs`:
//! a generous measure), and has *wrongly passed* it if it says that all is well. Where the matrix says `ready`, a tool
//! that is not content raises a *false alarm*, unless it names what the matrix warns of.
//!
//! Before anything counts, a tool must be content with a healthy proxy. A false alarm is looked at twice more, for the
//! machine may be busy; nothing else is repeated, for no tool.

mod table;
mod tools;
mod words;

use std::path::Path;

use futures_util::{StreamExt as _, stream};
use xks_preflight::sandbox::fault::{Layer, Misbehaviour};

use self::tools::Tool;
use crate::matrix::row::Expected;
use crate::matrix::{CHAPTERS, How, Row, Stage};

/// Probes at the same time, all of one tool.
const AT_ONCE: usize = 2;

/// How often a tool may raise a false alarm before it counts.
const TRIES: usize = 3;

/// What a tool made of a row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// None of its subjects, or it was not run.
    NotMet,
    /// Not content with what must not pass, for the right reason.
    RightReason,
    /// Not content with what must not pass.
    Detected,
    /// Content with what must not pass.
    WronglyPassed,
    /// Content with what is `ready`.
    Content,
    /// Not content with what is `ready`, and it names what the matrix warns of.
    Warned,
    /// Not content with what is `ready`.
    FalseAlarm,
}

/// A row that one proxy can show, and the group it is counted in.
struct Shown {
    group: &'static str,
    row: &'static Row,
}

/// The rows that a tool can be pointed at, from the outside in.
fn shown() -> Vec<Shown> {
    let all = CHAPTERS.iter().flat_map(|(chapter, rows)| rows.iter().map(move |row| (*chapter, row)));
    all.filter_map(|(chapter, row)| {
        let sometimes = chapter.starts_with("Sometimes");
        match row.how {
            How::Proxy => Some(Shown { group: if sometimes { "Only sometimes" } else { chapter }, row }),
            How::SecondAddress => Some(Shown { group: "At the second of two addresses", row }),
            How::Values | How::Name(_) | How::By(_) | How::Service(_) => None,
        }
    })
    .collect()
}

/// Whether it must not pass.
fn is_fault(row: &Row) -> bool {
    matches!(row.expected, Expected::Blocked(..) | Expected::Inconclusive(..))
}

/// Whether the row is about the connection, TLS or the certificate.
fn is_about_tls(row: &Row) -> bool {
    match row.expected.finding() {
        Some((check, _)) => check.starts_with("tls.") || check.starts_with("tcp."),
        None => row.fault.parse::<Misbehaviour>().unwrap().fault.layer() <= Layer::Certificate,
    }
}

/// A proxy that misbehaves as the row says, or a healthy one.
async fn stage(row: Option<&Row>) -> Stage {
    let mut stage = Stage::new();
    let first = stage.add_proxy(|_| {}).await.address();
    if row.is_some_and(|row| matches!(row.how, How::SecondAddress)) {
        // A name has one port at all its addresses.
        stage.add_proxy(|settings| settings.bind.set_port(first.port())).await;
    }
    if let (Some(row), Some(proxy)) = (row, stage.proxies.last()) {
        proxy.set_faults([row.fault.parse().unwrap()]).await;
    }
    stage
}

async fn judged(tool: &Tool, row: &'static Row) -> Outcome {
    if !tool.has_subject(row) {
        return Outcome::NotMet;
    }
    let mut tries = 1;
    loop {
        let stage = stage(Some(row)).await;
        let said = tool.probe(&stage, Some(row)).await;
        let outcome = match (is_fault(row), said.content, said.right_reason) {
            (true, true, _) => Outcome::WronglyPassed,
            (true, false, true) => Outcome::RightReason,
            (true, false, false) => Outcome::Detected,
            (false, true, _) => Outcome::Content,
            (false, false, true) => Outcome::Warned,
            (false, false, false) => Outcome::FalseAlarm,
        };
        let note = format!("{}\n{}\n\n{}", row.label(), outcome.words(), said.output);
        let file = format!("{}.said", tool.name().replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
        std::fs::write(stage.directory.join(file), note).unwrap();
        if outcome != Outcome::FalseAlarm || tries == TRIES {
            return outcome;
        }
        tries += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs other tools and half an hour; tests/compare installs and runs them"]
async fn other_tools() {
    let (tools, shown) = (tools::all().await, shown());
    let mut outcomes = Vec::new();
    for tool in &tools {
        let said = tool.probe(&stage(None).await, None).await;
        assert!(said.content, "{} is not content with a healthy proxy:\n{}", tool.name(), said.output);
        let mut of_tool: Vec<(usize, Outcome)> = stream::iter(shown.iter().enumerate())
            .map(async |(at, shown)| (at, judged(tool, shown.row).await))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        of_tool.sort_unstable_by_key(|(at, _)| *at);
        let of_tool: Vec<Outcome> = of_tool.into_iter().map(|(_, outcome)| outcome).collect();
        println!("{}: {}", tool.name(), table::summary(&shown, &of_tool));
        outcomes.push(of_tool);
    }
    let (report, rows) = (table::report(&tools, &shown, &outcomes), table::rows(&tools, &shown, &outcomes));
    std::fs::write(std::env::var_os("XKS_COMPARE_OUTPUT").unwrap(), format!("{report}\n{rows}")).unwrap();
    if std::env::var_os("XKS_COMPARE_WRITE").is_some() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        let readme = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, crate::readme::with_block(&readme, "compared", &report)).unwrap();
    }
}

#[test]
fn every_problem_that_a_tool_can_meet_has_words() {
    let without: Vec<&str> = shown()
        .iter()
        .filter(|shown| is_fault(shown.row))
        .filter_map(|shown| shown.row.expected.finding())
        .map(|(_, problem)| problem)
        .filter(|problem| words::of(problem).is_empty())
        .collect();
    assert!(without.is_empty(), "no words for {without:?}");
}

#[test]
fn the_readme_tells_how_many_rows_were_run() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let block = readme.split("<!-- compared: ").nth(1).and_then(|rest| rest.split("<!-- /compared -->").next());
    let block = block.expect("README has no block compared");
    for tool in Tool::NAMES {
        assert!(block.contains(&format!("| {tool} |")), "{tool} is not in the comparison");
    }
    let faults = shown().iter().filter(|shown| is_fault(shown.row)).count();
    let told = block.split(" faults that must not pass").next().and_then(|before| before.rsplit(' ').next());
    let told: usize = told.and_then(|number| number.parse().ok()).expect("the comparison tells how many faults");
    // The matrix may grow after a measurement; a tenth more is time for a new one.
    assert!(told <= faults && faults <= told + told / 10, "{told} faults were measured, the matrix has {faults} now");
}
