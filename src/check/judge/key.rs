//! Judges of the keys behind a proxy.

use super::{Judgement, each_address, failed, not_applicable, passed, stopped_before, whole};
use crate::check::report::NOT_PROVEN;
use crate::check::{
    AddressEvidence, CurrentProxy, Enumeration, Evidence, KeyEvidence, KeyProofs, KeyTally, KeysAtAddress, Outcome,
    Problem, ProblemKind, Proving, Stage,
};

const NO_TEST_KEY: &str =
    "no test key is configured (--test-key-id, or key_stores[].test_key_id), and nobody's keys are used without it";

pub(in crate::check) fn enumerated(evidence: &Evidence) -> Vec<Judgement> {
    let Some(enumeration) = &evidence.keys.enumeration else {
        return whole(not_applicable("the keys of no key store were looked for"));
    };
    let found = enumeration.keys.len();
    whole(match (&enumeration.incomplete, enumeration.denied) {
        (None, 0) => passed(format!("{found} KMS keys are in the key store")),
        (None, denied) => failed(Problem::target(
            ProblemKind::AccessDenied,
            format!(
                "AWS denies DescribeKey of {denied} of the account's keys, any of which may be in the key store; {found} \
                 were found in it"
            ),
        )),
        (Some(problem), denied) => failed(Problem {
            detail: format!("{}; {found} keys of the key store were found, {denied} denied", problem.detail),
            ..problem.clone()
        }),
    })
}

pub(in crate::check) fn metadata(evidence: &Evidence) -> Vec<Judgement> {
    let keys = &evidence.keys;
    let store = keys.enumeration.as_ref();
    if store.is_none() && keys.named == 0 && keys.proving == Proving::Nothing {
        return whole(not_applicable(
            "the key store's keys are not known here: they were neither enumerated nor named (--key-id)",
        ));
    }
    let unfinished = store.and_then(|store| store.incomplete.as_ref()).filter(|_| !after_update(evidence));
    if keys.addresses.iter().any(|at| at.metadata.as_ref().is_some_and(|tally| tally.wanted == 0)) {
        return whole(match (unfinished, store.map_or(0, |store| store.denied)) {
            (Some(why), _) => failed(not_every_key_known(why, "no key of it was found so far")),
            (None, 0) => passed("the key store has no key"),
            (None, denied) => passed(format!("no key of the key store was found; AWS denies DescribeKey of {denied}")),
        });
    }
    let scope = match store {
        Some(store) if store.is_complete() => "of the key store",
        Some(_) => "of the key store, which may have more",
        None if keys.named > 0 => "named one by one; the key store's others are not known here",
        None => "tested; the key store's others are not known here",
    };
    let told = at_each_address(evidence, |at| {
        at.metadata.as_ref().map(|tally| told(tally, &format!("{} as KMS needs them, {scope}", keys_of(tally.passed))))
    });
    match unfinished {
        Some(why) if all_pass(&told) => {
            whole(failed(not_every_key_known(why, "those that were found are as KMS needs them")))
        }
        _ => told,
    }
}

/// That a key was not found says nothing of it: it is our own fault, whoever's it was that the search did not end.
fn not_every_key_known(why: &Problem, otherwise: &str) -> Problem {
    let detail = format!(
        "not every key of the key store is known here, so nothing tells whether the candidate has them all: {} \
         ({otherwise})",
        why.detail
    );
    Problem::own(why.kind, detail)
}

/// What is wanted of every key and was told of some only, does not pass.
fn of_every_key(evidence: &Evidence, told: Vec<Judgement>) -> Vec<Judgement> {
    let keys = &evidence.keys;
    if !keys.every_key_wanted || after_update(evidence) {
        return told;
    }
    let unknown = match &keys.enumeration {
        None => Some((ProblemKind::Unread, "the keys of the key store were not looked for".to_owned())),
        Some(Enumeration { incomplete: Some(why), .. }) => Some((why.kind, why.detail.clone())),
        Some(Enumeration { denied: 0, .. }) => None,
        Some(Enumeration { denied, .. }) => {
            let detail = format!(
                "AWS denies DescribeKey of {denied} of the account's keys, any of which may be in the key store; allow it, \
                 or prove a test key only"
            );
            Some((ProblemKind::AccessDenied, detail))
        }
    };
    match unknown {
        Some((kind, why)) if keys.proving == Proving::Nothing || all_pass(&told) => {
            let detail =
                format!("every key is to be proven (continuity = \"every_key\"), and not all are known: {why}");
            whole(failed(Problem::own(kind, detail)))
        }
        None if keys.proving == Proving::Nothing => whole(not_applicable("the key store has no key")),
        _ => told,
    }
}

fn all_pass(told: &[Judgement]) -> bool {
    told.iter().all(|judgement| matches!(judgement.outcome, Outcome::Passed(_)))
}

fn after_update(evidence: &Evidence) -> bool {
    evidence.aws.control_plane.as_ref().is_some_and(|plane| plane.after_update)
}

pub(in crate::check) fn round_trip(evidence: &Evidence) -> Vec<Judgement> {
    let told = if evidence.keys.proving == Proving::Nothing {
        whole(not_applicable(NO_TEST_KEY))
    } else {
        with_proofs(evidence, |proofs| {
            told(&proofs.round_trip, &format!("Encrypt and Decrypt work with {}", with(&evidence.keys)))
        })
    };
    of_every_key(evidence, told)
}

pub(in crate::check) fn continuity(evidence: &Evidence) -> Vec<Judgement> {
    of_every_key(evidence, continuity_of_known(evidence))
}

fn continuity_of_known(evidence: &Evidence) -> Vec<Judgement> {
    if let Some(why) = nothing_to_prove(evidence) {
        return whole(not_applicable(why));
    }
    with_proofs(evidence, |proofs| {
        let Some(tally) = &proofs.continuity else { return failed(no_current_proxy(evidence.keys.current)) };
        if let Some(unreached) = behind_round_trip(proofs, tally) {
            return unreached;
        }
        let how = match (proofs.canary, evidence.keys.current) {
            (Some(at), _) => format!("by a canary that the current proxy encrypted at {at}"),
            (None, CurrentProxy::Same) => {
                "it is the same proxy: endpoint, path, connectivity and destination stay".to_owned()
            }
            (None, _) => "encrypted through the current proxy, decrypted through the candidate".to_owned(),
        };
        told(tally, &format!("the same keys ({}): {how}", with(&evidence.keys)))
    })
}

pub(in crate::check) fn continuity_back(evidence: &Evidence) -> Vec<Judgement> {
    if let Some(why) = nothing_to_prove(evidence) {
        return whole(not_applicable(why));
    }
    if !about_a_change(evidence) {
        return whole(not_applicable("there is no other proxy to go back to"));
    }
    with_proofs(evidence, |proofs| {
        let Some(tally) = &proofs.continuity_back else { return Outcome::NotReached { stopped_at: Stage::Key } };
        behind_round_trip(proofs, tally).unwrap_or_else(|| {
            told(
                tally,
                "encrypted through the candidate, decrypted through the current proxy; going back stays possible",
            )
        })
    })
}

/// Why continuity is no subject here, if so. That it cannot be proven although it is one, is another thing.
fn nothing_to_prove(evidence: &Evidence) -> Option<String> {
    let keys = &evidence.keys;
    if after_update(evidence) {
        return Some("the change is made already; this was told before it".to_owned());
    }
    match (about_a_change(evidence), keys.proving == Proving::Nothing) {
        (true, true) if keys.current == CurrentProxy::Same => Some(format!(
            "the proxy stays: endpoint, path and connectivity; its keys were not looked at: {NO_TEST_KEY}"
        )),
        (true, true) => Some(format!(
            "{NOT_PROVEN} that the keys behind the candidate are the same keys: {NO_TEST_KEY}. KMS would not notice other \
             keys, and what is encrypted under the present ones would be lost"
        )),
        (false, true) => Some(NO_TEST_KEY.to_owned()),
        (false, false) if keys.addresses.iter().all(|at| lacks_continuity(at.proofs.as_ref())) => {
            Some("the current proxy is not given".to_owned())
        }
        _ => None,
    }
}

fn about_a_change(evidence: &Evidence) -> bool {
    evidence.aws.control_plane.is_some() || evidence.keys.current != CurrentProxy::NotGiven
}

fn lacks_continuity(proofs: Option<&KeyProofs>) -> bool {
    proofs.is_none_or(|proofs| proofs.continuity.is_none())
}

fn no_current_proxy(current: CurrentProxy) -> Problem {
    let why = current.why_not_asked();
    let detail = format!(
        "the current proxy cannot be asked ({why}) and no canary of it is kept, so nothing proves that the candidate has \
         the same keys"
    );
    Problem::own(ProblemKind::NoProof, detail)
}

/// A key that does not even survive a round trip says nothing of whether it is the same key.
fn behind_round_trip(proofs: &KeyProofs, tally: &KeyTally) -> Option<Outcome> {
    let broken = proofs.round_trip.passed < proofs.round_trip.wanted;
    (broken && tally.failed == 0).then_some(Outcome::NotReached { stopped_at: Stage::Key })
}

/// Failures first, then what is not told; only a whole count passes.
fn told(tally: &KeyTally, good: &str) -> Outcome {
    if let Some(first) = tally.examples.first() {
        return failed(Problem { detail: failures(tally), ..first.problem.clone() });
    }
    match (&tally.untold, tally.left()) {
        (Some(why), 1..) if tally.wanted == 1 => failed(why.clone()),
        (Some(why), left @ 1..) => {
            let detail = format!("{left} of {} keys are not told: {}", tally.wanted, why.detail);
            failed(Problem { detail, ..why.clone() })
        }
        (None, 1..) => Outcome::NotReached { stopped_at: Stage::Key },
        (_, 0) => passed(good),
    }
}

fn failures(tally: &KeyTally) -> String {
    let named: Vec<String> =
        tally.examples.iter().map(|failure| format!("{}: {}", failure.key, failure.problem.detail)).collect();
    let mut text = named.join("; ");
    if tally.wanted > 1 {
        text = format!("{} of {} keys fail: {text}", tally.failed, tally.wanted);
    }
    if tally.failed > named.len() {
        text.push_str("; and others");
    }
    if tally.left() > 0 {
        text.push_str("; not every key was looked at");
    }
    text
}

fn with_proofs(evidence: &Evidence, judge: impl Fn(&KeyProofs) -> Outcome) -> Vec<Judgement> {
    at_each_address(evidence, |at| at.proofs.as_ref().map(&judge))
}

fn at_each_address(evidence: &Evidence, judge: impl Fn(&KeysAtAddress) -> Option<Outcome>) -> Vec<Judgement> {
    each_address(evidence, |address| {
        let at = evidence.keys.addresses.iter().find(|at| at.address == address.address);
        at.and_then(&judge).unwrap_or_else(|| not_reached(address))
    })
}

fn not_reached(address: &AddressEvidence) -> Outcome {
    stopped_before(address, Stage::Http)
        .or_else(|| address.first_stop().map(|stop| Outcome::NotReached { stopped_at: stop.stage }))
        .unwrap_or(Outcome::NotReached { stopped_at: Stage::Health })
}

fn keys_of(count: usize) -> String {
    if count == 1 { "1 key is".to_owned() } else { format!("{count} keys are") }
}

fn with(keys: &KeyEvidence) -> String {
    match &keys.proving {
        Proving::Nothing => "no key".to_owned(),
        Proving::TestKey(key) => format!("test key {key}"),
        Proving::EveryKey(count) => format!("every key that is known, {count}"),
    }
}
