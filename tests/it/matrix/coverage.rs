//! Every check both passes and fails somewhere in the matrix, and every fault of the sandbox's proxy is in it. What is
//! not is listed here, and the lists may only shrink: an entry that has been covered fails the test.

use std::collections::BTreeSet;

use xks_preflight::check::CATALOGUE;
use xks_preflight::sandbox::fault::{Fault, Misbehaviour};

use super::{How, results, rows};

/// A check, what it does nowhere in the matrix, and why.
type Gap = (&'static str, &'static str, &'static str);

/// What real sockets on loopback cannot show; the judges' own tests show it on evidence made for it.
const NOT_ON_LOOPBACK: &[Gap] = &[
    ("tcp.round_trip", "failed", "a connection on loopback takes no 35 ms, and none can be made to"),
    ("dns.private_name", "failed", "the name would have a public address, which a test must not connect to"),
];

/// Faults that show only beside the current proxy; rows of `keys.rs` bring them about by a function.
const BESIDE_ANOTHER: &[Fault] = &[Fault::KeyMaterialSwapped];

#[tokio::test(flavor = "multi_thread")]
async fn every_check_passes_and_fails_somewhere() {
    let findings = || results_findings();
    let seen: BTreeSet<(String, String)> = findings().await;
    let gaps: BTreeSet<(&str, &str)> = NOT_ON_LOOPBACK.iter().map(|(check, outcome, _)| (*check, *outcome)).collect();
    let mut wrong = Vec::new();
    for check in CATALOGUE.iter() {
        for outcome in ["passed", "failed"] {
            let shown = seen.contains(&(check.id.to_owned(), outcome.to_owned()));
            match (shown, gaps.contains(&(check.id, outcome))) {
                (false, false) => wrong.push(format!("(\"{}\", \"{outcome}\", \"\"),", check.id)),
                // A machine that is busy may take that long for once.
                (true, true) if check.id == "tcp.round_trip" => {}
                (true, true) => wrong.push(format!("{} {outcome} is covered: take it out of the list", check.id)),
                _ => {}
            }
        }
    }
    for (check, ..) in gaps.iter().filter(|(check, _)| CATALOGUE.iter().all(|known| known.id != *check)) {
        wrong.push(format!("{check} is no check"));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// What fails by chance beside another fault is no proof that anybody meant it.
#[test]
fn every_check_is_what_some_row_is_about() {
    let meant: BTreeSet<&str> = rows().filter_map(|row| row.expected.finding()).map(|(check, _)| check).collect();
    let gaps: BTreeSet<&str> =
        NOT_ON_LOOPBACK.iter().filter(|(_, outcome, _)| *outcome == "failed").map(|(check, ..)| *check).collect();
    let missing = CATALOGUE.iter().map(|check| check.id).filter(|id| !meant.contains(id) && !gaps.contains(id));
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&str>::new());
}

/// The union of what the rows showed: check and outcome.
async fn results_findings() -> BTreeSet<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let judged = results().await.iter();
    judged.flat_map(|judged| judged.seen.findings()).map(|f| (text(&f["check"]), text(&f["outcome"]))).collect()
}

#[test]
fn every_fault_of_the_proxy_is_brought_about() {
    let told = rows().filter(|row| matches!(row.how, How::Proxy | How::SecondAddress));
    let brought: BTreeSet<Fault> = told.map(|row| row.fault.parse::<Misbehaviour>().unwrap().fault).collect();
    let mut wrong = Vec::new();
    for fault in Fault::ALL {
        match (brought.contains(fault), BESIDE_ANOTHER.contains(fault)) {
            (false, false) => wrong.push(format!("Fault::{fault:?},")),
            (true, true) => wrong.push(format!("{fault} is covered: take it out of the list")),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
