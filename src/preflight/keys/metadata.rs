//! GetKeyMetadata of every known key, over a few kept connections.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use futures_util::future::join_all;
use tokio::time::Instant;

use super::lane::{Lane, Trouble};
use crate::check::{Fault, KeyTally, Problem, ProblemKind};
use crate::key_store::ExternalKeyId;
use crate::probe::{Destination, Prober, Target};
use crate::xks::{ErrorName, KeyMetadata, XksOperation, key_metadata_request};

/// So many requests without any answer, and the proxy is taken for gone: 10,000 time-outs would tell no more.
const MOST_UNANSWERED: usize = 20;

/// Asks at every address for every key; one tally each, in the order of the addresses.
pub(super) async fn ask_everywhere(
    prober: &Prober,
    target: &Target,
    addresses: &[Destination],
    keys: &BTreeSet<&ExternalKeyId>,
    concurrency: usize,
    until: Instant,
) -> Vec<KeyTally> {
    let lanes = (concurrency / addresses.len().max(1)).clamp(1, keys.len().max(1));
    join_all(addresses.iter().map(|address| ask(prober, target, *address, keys, lanes, until))).await
}

/// What the lanes of one address share.
struct Round<I> {
    keys: I,
    tally: KeyTally,
    unanswered: usize,
    over: bool,
}

async fn ask(
    prober: &Prober,
    target: &Target,
    address: Destination,
    keys: &BTreeSet<&ExternalKeyId>,
    lanes: usize,
    until: Instant,
) -> KeyTally {
    let round = Mutex::new(Round { keys: keys.iter(), tally: KeyTally::of(keys.len()), unanswered: 0, over: false });
    let work = || async {
        let mut lane = super::lane(prober, target, address);
        while let Some(key) = next(&round, until) {
            let outcome = look_at(&mut lane, key).await;
            note(&round, key, outcome);
        }
    };
    join_all((0..lanes).map(|_| work())).await;
    let Round { mut tally, .. } = round.into_inner().unwrap_or_else(PoisonError::into_inner);
    tally.examples.sort_by(|one, two| one.key.cmp(&two.key));
    tally
}

fn next<'k, I: Iterator<Item = &'k &'k ExternalKeyId>>(
    round: &Mutex<Round<I>>,
    until: Instant,
) -> Option<&'k ExternalKeyId> {
    let mut round = round.lock().unwrap_or_else(PoisonError::into_inner);
    if !round.over && Instant::now() >= until && round.tally.left() > 0 {
        round.over = true;
        round.tally.leave(out_of_time("GetKeyMetadata"));
    }
    if round.over {
        return None;
    }
    round.keys.next().copied()
}

/// That our time is up says nothing about the proxy.
pub(super) fn out_of_time(what: &str) -> Problem {
    let detail = format!("the time for {what} of all keys was used up; allow more (preflight.timeout), or fewer keys");
    Problem::own(ProblemKind::TimedOut, detail)
}

fn note<I>(round: &Mutex<Round<I>>, key: &ExternalKeyId, outcome: Result<(), Trouble>) {
    let mut round = round.lock().unwrap_or_else(PoisonError::into_inner);
    let Err(Trouble { name, problem }) = outcome else {
        round.unanswered = 0;
        return round.tally.pass();
    };
    if name == Some(ErrorName::Throttling) {
        let detail = "the proxy throttles GetKeyMetadata; KMS would be throttled with every such key as well, and \
                      asking on would only make it worse";
        round.tally.leave(Problem::target(ProblemKind::Throttled, detail));
        round.over = true;
    } else if problem.fault == Fault::Own {
        round.tally.leave(problem);
        round.over = true;
    } else {
        let unanswered = name.is_none() && is_silence(problem.kind);
        round.unanswered = if unanswered { round.unanswered + 1 } else { 0 };
        if round.unanswered >= MOST_UNANSWERED {
            round.tally.leave(problem.clone());
            round.over = true;
        }
        round.tally.fail(key, problem);
    }
}

fn is_silence(kind: ProblemKind) -> bool {
    matches!(
        kind,
        ProblemKind::TimedOut
            | ProblemKind::Refused
            | ProblemKind::Reset
            | ProblemKind::Closed
            | ProblemKind::Unreachable
    )
}

async fn look_at(lane: &mut Lane<'_>, key: &ExternalKeyId) -> Result<(), Trouble> {
    let body = key_metadata_request(&lane.metadata("DescribeKey", false));
    let body = lane.ask(XksOperation::GetKeyMetadata(key), body).await?;
    let metadata = KeyMetadata::parse(&body).map_err(|violation| {
        Problem::target(ProblemKind::Schema, format!("the answer to GetKeyMetadata: {violation}"))
    })?;
    let shortcomings = metadata.shortcomings();
    if shortcomings.is_empty() {
        return Ok(());
    }
    Err(Problem::target(ProblemKind::UnusableKey, shortcomings.join(", ")).into())
}
