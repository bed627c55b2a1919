use super::*;
use crate::check::Enumeration;
use crate::key_store::{ExternalKeyId, KmsKey};

pub(super) const SPOILS: &[(&str, Spoil)] =
    &[("key.enumerated", |e| e.keys.enumeration = Some(enumeration(&["k"], 1)))];

/// Evidence on which every check of this chapter passes.
pub(super) fn passing() -> Vec<Evidence> {
    let mut evidence = good();
    evidence.keys.enumeration = Some(enumeration(&["one", "two"], 0));
    vec![evidence]
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
    let mut evidence = good();
    assert!(matches!(outcome(&evidence, "key.enumerated"), Outcome::NotApplicable(_)));
    evidence.keys.enumeration = Some(enumeration(&["k"], 3));
    assert!(outcome(&evidence, "key.enumerated").problem().unwrap().detail.contains("3 of the account"));
    let incomplete = Some(Problem::own(ProblemKind::Throttled, "KMS throttles"));
    evidence.keys.enumeration = Some(Enumeration { incomplete, ..enumeration(&["k"], 2) });
    let Outcome::OwnFault(problem) = outcome(&evidence, "key.enumerated") else { panic!() };
    assert!(problem.detail.contains("KMS throttles") && problem.detail.contains("2 denied"), "{}", problem.detail);
}

/// With room for key ids of so many characters after endpoint and path.
fn with_room_for(key_id: usize) -> Evidence {
    let mut evidence = good();
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
