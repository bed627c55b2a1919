//! The fault matrix: **one list** of what can be wrong, and what must come of it. The tests run every row through the
//! real binary or daemon; the README's table is made of it.
//!
//! # To add a row
//!
//! Write it into the chapter it belongs to, in the words of `row.rs`:
//!
//! ```text
//! proxy("certificate-expired", blocked("tls.validity", "expired", INVALID_TLS)),
//! proxy("slow-answer:ms=400,first=1", warned("latency.tail", "slow")).with(&["--samples", "5"]),
//! second_address("html-502", blocked("http.status", "status", INVALID_RESPONSE)),
//! values("an endpoint with a port", &["--endpoint", "https://xks.example.com:443"], blocked(..)),
//! name("a name without addresses", "empty.example.com", blocked("dns.resolves", "no_address", NOT_REACHABLE)),
//! run_by(|row| Box::pin(crate::vpc::run(row)), "the service lost its principal", blocked(..)),
//! ```
//!
//! The first is a misbehaviour of the sandbox's proxy in its text form (`sandbox/fault.rs`). `run_by` is for all that
//! one `check` of one proxy cannot show - the daemon, the control plane, a key store's keys: the function may stand in
//! any test module, sets its own stage, and gives the report it got (and the exit code, if a process was run). A new
//! chapter is a file and a line in [`CHAPTERS`]. Then `UPDATE_README=1 cargo test --test it readme`, and take out of
//! [`coverage`] what is now shown.

mod answer;
mod authentication;
mod certificate;
mod cloudhsm;
mod connection;
mod control_plane;
mod coverage;
mod fleet;
mod health;
mod input;
mod keys;
mod latency;
mod load;
pub(crate) mod names;
mod partial;
mod perspectives;
mod refusal;
pub(crate) mod row;
mod stage;
mod table;
mod untold;
mod vpc;

use futures_util::{StreamExt as _, stream};
use tokio::sync::OnceCell;

pub(crate) use self::row::{How, Row, Seen};
pub(crate) use self::stage::Stage;
pub(crate) use self::table::markdown;

/// Every row, by chapter, from the outside in.
pub(crate) const CHAPTERS: &[(&str, &[Row])] = &[
    ("Values", input::ROWS),
    ("Name", names::ROWS),
    ("Connection", connection::ROWS),
    ("Certificate", certificate::ROWS),
    ("Answer", answer::ROWS),
    ("Signature", authentication::ROWS),
    ("Errors of the API", refusal::ROWS),
    ("Health", health::ROWS),
    ("Fleet and credential", fleet::ROWS),
    ("Keys, with a test key", keys::ROWS),
    ("VPC endpoint service", vpc::ROWS),
    ("VPC endpoint service that AWS does not tell of", untold::ROWS),
    ("CloudHSM cluster", cloudhsm::ROWS),
    ("What KMS says of the key stores", control_plane::ROWS),
    ("Perspectives, where other daemons are asked", perspectives::ROWS),
    ("Latency", latency::ROWS),
    ("Load, when it is asked for", load::ROWS),
    ("Sometimes, or at one of two addresses", partial::ROWS),
];

/// The least that is promised.
const FLOOR: usize = 110;

/// Rows that are run at the same time: KMS's 250 ms are real in them, and the machine is small.
const AT_ONCE: usize = 2;

/// A machine busy with other things can use up KMS's 250 ms before the fault shows.
const TRIES: usize = 4;

/// A row that was run.
struct Judged {
    row: &'static Row,
    seen: Seen,
    wrong: Option<String>,
    /// Once it was `ready` when it must not be. No other try makes that good.
    wrongly_ready: bool,
}

pub(crate) fn rows() -> impl Iterator<Item = &'static Row> {
    CHAPTERS.iter().flat_map(|(_, rows)| rows.iter())
}

/// What every row gives; run once, by whichever test comes first.
async fn results() -> &'static [Judged] {
    static RESULTS: OnceCell<Vec<Judged>> = OnceCell::const_new();
    RESULTS.get_or_init(|| stream::iter(rows()).map(judged).buffer_unordered(AT_ONCE).collect()).await
}

async fn judged(row: &'static Row) -> Judged {
    let mut wrongly_ready = false;
    let mut tries = 1;
    loop {
        let seen = stage::run(row).await;
        let wrong = row.expected.compare(&seen).err();
        wrongly_ready |= row.expected.verdict() != "ready" && seen.report["verdict"] == "ready";
        if wrong.is_none() || tries == TRIES {
            return Judged { row, seen, wrong, wrongly_ready };
        }
        tries += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_gets_its_verdict_check_problem_and_kms_outcome() {
    let results = results().await;
    let wrong: Vec<String> = results
        .iter()
        .filter_map(|judged| Some(format!("{}: {}", judged.row.label(), judged.wrong.as_ref()?)))
        .collect();
    let wrongly_ready = results.iter().filter(|judged| judged.wrongly_ready).map(|judged| judged.row.label());
    let wrongly_ready: Vec<String> = wrongly_ready.collect();
    println!(
        "fault matrix: {} rows, {} judged right, {} wrong `ready`",
        results.len(),
        results.len() - wrong.len(),
        wrongly_ready.len()
    );
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), results.len(), wrong.join("\n"));
    assert!(wrongly_ready.is_empty(), "ready, and must not be: {wrongly_ready:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_a_service_or_a_cluster_fails_its_check_alone() {
    let mut more = Vec::new();
    for judged in results().await {
        let expected = judged.row.expected.finding().map_or("", |(check, _)| check);
        for found in judged.seen.findings().filter(|found| found["outcome"] == "failed") {
            let check = found["check"].as_str().unwrap_or_default();
            // An HSM less is a zone less, and what is in another Region is not in ours.
            let pairs = [("cloudhsm.hsms", "cloudhsm.zones"), ("vpc.same_region", "vpc.service_found")];
            let follows = pairs.contains(&(expected, check));
            if check.starts_with("vpc.") || check.starts_with("cloudhsm.") {
                more.extend((check != expected && !follows).then(|| format!("{}: {check}", judged.row.label())));
            }
        }
    }
    assert!(more.is_empty(), "{}", more.join("\n"));
}

#[test]
fn it_is_as_large_as_promised_and_says_nothing_twice() {
    let faults = rows().filter(|row| row.expected.verdict() != "ready").count();
    assert!(faults >= FLOOR, "{faults} faults that must not pass");
    let mut labels: Vec<String> = rows().map(Row::label).collect();
    labels.sort_unstable();
    let twice: Vec<_> = labels.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| &pair[0]).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_to_a_server_that_failed_authentication() {
    for fault in
        ["certificate-expired", "certificate-wrong-name", "certificate-unknown-root", "certificate-self-signed"]
    {
        let mut stage = Stage::new();
        stage.add_proxy(|_| {}).await.set_faults([fault.parse().unwrap()]).await;
        let seen = stage.check(&[]).await;
        assert_eq!(seen.exit, Some(1), "{fault}");
        assert!(stage.proxies[0].history().is_empty(), "{fault}: {:?}", stage.proxies[0].history());
    }
}
