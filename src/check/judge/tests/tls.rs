use super::*;
use crate::check::{StrangerTrial, SuiteEvidence, SuiteTrial};

pub(super) const SPOILS: &[(&str, Spoil)] = &[
    ("tls.cipher_suite", |e| {
        let chosen = Some("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256".to_owned());
        suites(e, SuiteTrial::VersionRefused, SuiteTrial::OtherSuites { chosen });
        tls(e).cipher_suite = None;
    }),
    ("tls.kms_trusted_root", |e| listing(e).listed = false),
];

/// Evidence on which every check of this chapter passes.
pub(super) fn passing() -> Vec<Evidence> {
    Vec::new()
}

fn suites(evidence: &mut Evidence, tls13: SuiteTrial, tls12: SuiteTrial) {
    evidence.addresses[0].suites = Some(SuiteEvidence { tls13, tls12 });
}

fn listing(evidence: &mut Evidence) -> &mut KmsListing {
    let Trust::Trusted { listing: Some(listing), .. } = &mut tls(evidence).trust else { panic!() };
    listing
}

fn outcome(id: &str, change: impl FnOnce(&mut Evidence)) -> Outcome {
    let mut evidence = good();
    change(&mut evidence);
    judged(&evidence).into_iter().find(|finding| finding.check.id == id).unwrap().outcome
}

fn detail(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Passed(detail) | Outcome::NotApplicable(detail) => detail,
        other => other.problem().map_or("", |problem| &problem.detail),
    }
}

#[test]
fn a_browsers_root_is_told_in_these_words_with_the_lists_date() {
    let outcome_of = |change: fn(&mut KmsListing)| outcome("tls.kms_trusted_root", |e| change(listing(e)));
    let absent = outcome_of(|listing| listing.listed = false);
    assert!(matches!(&absent, Outcome::Failed(problem) if problem.kind == ProblemKind::NotOnKmsList));
    assert!(detail(&absent).contains("trusted by browsers, not by KMS"), "{absent:?}");
    assert!(detail(&absent).contains("10 November 2022"), "{absent:?}");
    let renewed = outcome_of(|listing| (listing.listed, listing.namesake) = (false, true));
    assert!(detail(&renewed).contains("former certificate"), "{renewed:?}");
    let exact = outcome_of(|listing| listing.list = KmsList::Given { authorities: 3, dated: None });
    assert_eq!(detail(&exact), "root is on the exact list that was given, of 3 authorities and unknown date");
    let unlisted = |e: &mut Evidence| listing(e).listed = false;
    assert!(matches!(outcome("tls.chain_trusted", unlisted), Outcome::Passed(_)));
}

#[test]
fn a_laboratory_without_a_list_is_not_compared() {
    let outcome = outcome("tls.kms_trusted_root", |e| {
        let Trust::Trusted { listing, .. } = &mut tls(e).trust else { panic!() };
        *listing = None;
    });
    assert!(matches!(outcome, Outcome::NotApplicable(_)), "{outcome:?}");
}

#[test]
fn one_suite_with_one_version_is_enough() {
    let accepted = |suite: &str| SuiteTrial::Accepted(Some(suite.to_owned()));
    let other = || SuiteTrial::OtherSuites { chosen: None };
    let untold = || SuiteTrial::Untold(Problem::target(ProblemKind::TimedOut, "late"));
    let judged = |tls13, tls12, seen: bool| {
        outcome("tls.cipher_suite", |e| {
            suites(e, tls13, tls12);
            if !seen {
                tls(e).cipher_suite = None;
            }
        })
    };
    let both = judged(accepted("A"), accepted("B"), true);
    assert!(matches!(&both, Outcome::Passed(told) if told == "TLS 1.3 with A; TLS 1.2 with B"), "{both:?}");
    let one = judged(SuiteTrial::VersionRefused, accepted("B"), true);
    assert!(matches!(&one, Outcome::Passed(told) if told == "TLS 1.3 not spoken; TLS 1.2 with B"), "{one:?}");
    assert!(matches!(judged(untold(), untold(), true), Outcome::Passed(_)));
    assert!(matches!(judged(untold(), untold(), false), Outcome::NotReached { .. }));
    // Not a lack of suites: that the versions are refused is for tls.version to say.
    let refused = judged(SuiteTrial::VersionRefused, SuiteTrial::VersionRefused, false);
    assert!(matches!(refused, Outcome::NotReached { .. }));
    let none = judged(other(), SuiteTrial::VersionRefused, false);
    assert!(detail(&none).contains("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"), "{none:?}");
    assert!(matches!(none, Outcome::Failed(problem) if problem.kind == ProblemKind::NoCipherSuite));
}

#[test]
fn long_chains_fail_and_surplus_is_counted() {
    let outcome_of = |served: usize, surplus: usize| {
        outcome("tls.chain_complete", |e| {
            let tls = tls(e);
            tls.chain = vec![tls.chain[0].clone(); served];
            tls.surplus = surplus;
        })
    };
    assert_eq!(detail(&outcome_of(3, 1)), "3 certificates served, 1 of them not needed");
    assert!(matches!(outcome_of(10, 8), Outcome::Passed(_)));
    assert!(matches!(outcome_of(11, 9), Outcome::Failed(problem) if problem.kind == ProblemKind::TooLong));
}

#[test]
fn a_proxy_that_accepts_strangers_is_found_out() {
    let outcome_of = |trial: Option<StrangerTrial>| {
        outcome("tls.client_certificate", |e| {
            tls(e).client_certificate_requested = true;
            e.addresses[0].stranger = trial;
        })
    };
    for (trial, kind, said) in [
        (None, ProblemKind::ClientCertificate, "cks.kms.us-east-1.amazonaws.com"),
        (Some(StrangerTrial::Refused), ProblemKind::ClientCertificate, "is refused"),
        (Some(StrangerTrial::Accepted), ProblemKind::StrangerAccepted, "verifies none"),
    ] {
        let outcome = outcome_of(trial);
        assert!(detail(&outcome).contains(said), "{outcome:?}");
        assert!(matches!(outcome, Outcome::Failed(problem) if problem.kind == kind));
    }
}
