use super::*;
use crate::check::{CurrentProxy, Enumeration, KeyEvidence, KeyProofs, KeyTally, KeysAtAddress, Proving};
use crate::key_store::{ExternalKeyId, KmsKey};

pub(super) const SPOILS: &[(&str, Spoil)] = &[
    ("key.enumerated", |e| e.keys.enumeration = Some(enumeration(&["k"], 1))),
    ("key.metadata", |e| fail(e.keys.addresses[0].metadata.as_mut().unwrap(), ProblemKind::UnusableKey)),
    ("key.round_trip", |e| fail(&mut proofs(e).round_trip, ProblemKind::BrokenRoundTrip)),
    ("key.continuity", |e| fail(proofs(e).continuity.as_mut().unwrap(), ProblemKind::DifferentKeys)),
    ("key.continuity_back", |e| fail(proofs(e).continuity_back.as_mut().unwrap(), ProblemKind::DifferentKeys)),
];

/// Evidence on which every check of this chapter passes.
pub(super) fn passing() -> Vec<Evidence> {
    let mut enumerated = super::good();
    enumerated.keys.enumeration = Some(enumeration(&["one", "two"], 0));
    vec![super::good(), enumerated]
}

fn test_key() -> ExternalKeyId {
    ExternalKeyId::parse("xks-preflight-test").unwrap()
}

fn passed_tally() -> KeyTally {
    KeyTally { passed: 1, ..KeyTally::of(1) }
}

/// A test key that is the same at the only address.
pub(super) fn good() -> KeyEvidence {
    let proofs = KeyProofs {
        round_trip: passed_tally(),
        continuity: Some(passed_tally()),
        continuity_back: Some(passed_tally()),
        canary: None,
    };
    KeyEvidence {
        proving: Proving::TestKey(test_key()),
        current: CurrentProxy::Another,
        addresses: vec![KeysAtAddress {
            address: super::address(1).address,
            metadata: Some(passed_tally()),
            proofs: Some(proofs),
        }],
        ..KeyEvidence::default()
    }
}

pub(super) fn proofs(evidence: &mut Evidence) -> &mut KeyProofs {
    evidence.keys.addresses[0].proofs.as_mut().unwrap()
}

/// The key fails instead.
pub(super) fn fail(tally: &mut KeyTally, kind: ProblemKind) {
    *tally = KeyTally::of(1);
    tally.fail(&test_key(), Problem::target(kind, "as told"));
}

fn enumeration(ids: &[&str], denied: usize) -> Enumeration {
    let key = |id: &&str| KmsKey { arn: format!("arn:{id}"), external_key_id: ExternalKeyId::parse(id).unwrap() };
    Enumeration { keys: ids.iter().map(key).collect(), denied, incomplete: None, at: now() }
}

fn outcome(evidence: &Evidence, id: &str) -> Outcome {
    judged(evidence).into_iter().find(|finding| finding.check.id == id).unwrap().outcome
}

#[test]
fn denials_are_counted_and_what_is_unfinished_is_our_own_fault() {
    let mut evidence = super::good();
    assert!(matches!(outcome(&evidence, "key.enumerated"), Outcome::NotApplicable(_)));
    evidence.keys.enumeration = Some(enumeration(&["k"], 3));
    assert!(outcome(&evidence, "key.enumerated").problem().unwrap().detail.contains("3 of the account"));
    let incomplete = Some(Problem::own(ProblemKind::Throttled, "KMS throttles"));
    evidence.keys.enumeration = Some(Enumeration { incomplete, ..enumeration(&["k"], 2) });
    let Outcome::OwnFault(problem) = outcome(&evidence, "key.enumerated") else { panic!() };
    assert!(problem.detail.contains("KMS throttles") && problem.detail.contains("2 denied"), "{}", problem.detail);
}

#[test]
fn keys_that_were_not_found_do_not_pass_before_the_change_and_do_not_undo_it_afterwards() {
    let incomplete = Some(Problem::own(ProblemKind::AccessDenied, "AWS denies kms:ListKeys"));
    let mut evidence = super::good();
    evidence.keys.every_key_wanted = true;
    evidence.keys.enumeration = Some(Enumeration { incomplete, ..enumeration(&["k"], 0) });
    for id in ["key.metadata", "key.round_trip", "key.continuity"] {
        let Outcome::OwnFault(problem) = outcome(&evidence, id) else { panic!("{id}") };
        assert!(problem.detail.contains("kms:ListKeys"), "{}", problem.detail);
    }
    // What fails already fails.
    let mut broken = evidence.clone();
    fail(broken.keys.addresses[0].metadata.as_mut().unwrap(), ProblemKind::UnusableKey);
    assert!(matches!(outcome(&broken, "key.metadata"), Outcome::Failed(_)));
    evidence.aws.control_plane.as_mut().unwrap().after_update = true;
    assert!(matches!(outcome(&evidence, "key.metadata"), Outcome::Passed(_)));
    assert!(matches!(outcome(&evidence, "key.round_trip"), Outcome::Passed(_)));
    evidence.aws.control_plane.as_mut().unwrap().after_update = false;
    // A denied key may be another store's: it is in the way of proving every key, and of nothing else.
    evidence.keys.enumeration = Some(enumeration(&["k"], 1));
    assert!(matches!(outcome(&evidence, "key.metadata"), Outcome::Passed(_)));
    assert!(matches!(outcome(&evidence, "key.continuity"), Outcome::OwnFault(_)));
    evidence.keys.enumeration = Some(enumeration(&["k"], 0));
    assert!(matches!(outcome(&evidence, "key.continuity"), Outcome::Passed(_)));
}

/// With room for key ids of so many characters after endpoint and path.
fn with_room_for(key_id: usize) -> Evidence {
    let mut evidence = super::good();
    evidence.subject.longest_key_id = None;
    evidence.aws.control_plane = None;
    let used = evidence.subject.endpoint.len() + "/keys//metadata".len() + "/kms/xks/v1".len();
    evidence.subject.path = format!("/{}/kms/xks/v1", "p".repeat(256 - used - key_id - 1));
    evidence
}

#[test]
fn a_length_that_is_not_known_passes_only_where_it_cannot_matter() {
    let judge = |evidence: &Evidence| outcome(evidence, "input.uri_length");
    // The longest key id there can be fits, or none does: no key need be known.
    assert!(matches!(judge(&with_room_for(128)), Outcome::Passed(_)));
    assert!(matches!(judge(&with_room_for(0)), Outcome::Failed(_)));
    // Between them, without a key store: the limit is told.
    let Outcome::Passed(detail) = judge(&with_room_for(127)) else { panic!() };
    assert!(detail.contains("up to 127"), "{detail}");
    // With a key store whose keys are not all known, nobody can tell ...
    let mut store = with_room_for(40);
    store.keys.enumeration = Some(enumeration(&["short"], 1));
    assert!(matches!(judge(&store), Outcome::OwnFault(_)));
    let mut unread = with_room_for(40);
    unread.aws.control_plane = Some(control_plane());
    assert!(matches!(judge(&unread), Outcome::OwnFault(_)));
    // ... unless a key that was found is too long already.
    store.keys.enumeration = Some(enumeration(&[&"k".repeat(41)], 1));
    assert!(matches!(judge(&store), Outcome::Failed(_)));
    store.subject.longest_key_id = Some(40);
    assert!(matches!(judge(&store), Outcome::Passed(_)));
}

fn verdict(evidence: Evidence) -> Verdict {
    super::report(evidence, &JudgingPolicy::default()).verdict()
}

type Pick = fn(&mut Evidence) -> &mut KeyTally;

#[test]
fn what_is_not_told_of_a_key_never_passes() {
    let picks: [(&str, Pick); 3] = [
        ("key.metadata", |e| e.keys.addresses[0].metadata.as_mut().unwrap()),
        ("key.round_trip", |e| &mut proofs(e).round_trip),
        ("key.continuity", |e| proofs(e).continuity.as_mut().unwrap()),
    ];
    for (id, tally) in picks {
        let mut evidence = super::good();
        *tally(&mut evidence) = KeyTally { passed: 9_999, ..KeyTally::of(10_000) };
        assert!(matches!(outcome(&evidence, id), Outcome::NotReached { .. }), "{id}");
        assert_eq!(verdict(evidence.clone()), Verdict::Inconclusive, "{id}");
        tally(&mut evidence).leave(Problem::own(ProblemKind::TimedOut, "no time left"));
        assert!(matches!(outcome(&evidence, id), Outcome::OwnFault(_)), "{id}");
        assert_eq!(verdict(evidence.clone()), Verdict::Inconclusive, "{id}");
        *tally(&mut evidence) = KeyTally { passed: 9_999, ..KeyTally::of(10_000) };
        tally(&mut evidence).leave(Problem::target(ProblemKind::ProxyError, "throttled"));
        assert_eq!(verdict(evidence), Verdict::Blocked, "{id}");
    }
}

#[test]
fn an_address_whose_keys_were_not_looked_at_does_not_pass() {
    let mut evidence = super::good();
    evidence.addresses.push(super::address(2));
    assert!(matches!(outcome(&evidence, "key.continuity"), Outcome::NotReached { .. }));
    assert_eq!(verdict(evidence), Verdict::Inconclusive);
}

#[test]
fn continuity_without_anything_to_prove_it_by_is_inconclusive_for_a_change_only() {
    let mut evidence = super::good();
    evidence.keys.current = CurrentProxy::NotGiven;
    proofs(&mut evidence).continuity = None;
    proofs(&mut evidence).continuity_back = None;
    let told = outcome(&evidence, "key.continuity");
    assert!(matches!(&told, Outcome::OwnFault(problem) if problem.kind == ProblemKind::NoProof), "{told:?}");
    assert_eq!(verdict(evidence.clone()), Verdict::Inconclusive);
    evidence.aws.control_plane = None;
    assert!(matches!(outcome(&evidence, "key.continuity"), Outcome::NotApplicable(_)));
    assert_eq!(verdict(evidence), Verdict::Ready);
}

#[test]
fn a_change_without_a_test_key_says_that_nothing_is_proven() {
    let mut evidence = super::good();
    evidence.keys = KeyEvidence::default();
    let told = outcome(&evidence, "key.continuity");
    assert!(matches!(&told, Outcome::NotApplicable(why) if why.starts_with("NOT PROVEN")), "{told:?}");
    assert_eq!(verdict(evidence), Verdict::Ready);
}

#[test]
fn a_key_that_does_not_survive_a_round_trip_says_nothing_of_continuity() {
    let mut evidence = super::good();
    fail(&mut proofs(&mut evidence).round_trip, ProblemKind::BrokenRoundTrip);
    proofs(&mut evidence).continuity = Some(KeyTally::of(1));
    assert!(matches!(outcome(&evidence, "key.continuity"), Outcome::NotReached { stopped_at: Stage::Key }));
}

#[test]
fn many_failing_keys_are_counted_and_a_few_named() {
    let mut tally = KeyTally::of(10_000);
    for number in 0..10_000 {
        let key = ExternalKeyId::parse(&format!("key-{number:05}")).unwrap();
        tally.fail(&key, Problem::target(ProblemKind::NotFound, "not there"));
    }
    assert_eq!((tally.examples.len(), tally.left()), (20, 0));
    let mut evidence = super::good();
    evidence.keys.addresses[0].metadata = Some(tally);
    let detail = outcome(&evidence, "key.metadata").problem().unwrap().detail.clone();
    assert!(detail.starts_with("10000 of 10000 keys fail: key-00000: not there; key-00001"), "{detail}");
    assert!(detail.ends_with("; and others") && !detail.contains("key-00020"), "{detail}");
}
