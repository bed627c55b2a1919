use super::*;
use crate::check::{
    Fleet, OtherPerspective, OtherPerspectives, PerspectiveEvidence, Remark, RemoteReport, View, judge::judge,
};
use crate::id::{IdSource, ReportId};
use crate::key_store::{ConnectionErrorCode, KmsException, KmsOutcome};

pub(super) const SPOILS: &[(&str, Spoil)] = &[
    ("perspective.answers", |e| others(e)[1].answer = silent()),
    ("perspective.agreement", |e| others(e)[1].answer = told("us", Verdict::Blocked)),
    ("perspective.quorum", |e| others(e)[1].answer = told("us", Verdict::Blocked)),
    ("perspective.same_proxy", |e| {
        let Ok(report) = &mut others(e)[1].answer else { panic!("it answers") };
        report.view.fleet = Some(Fleet { proxy: ("v".into(), "m".into()), key_managers: ["3".to_owned()].into() });
    }),
];

/// Evidence on which every check of this chapter passes.
pub(super) fn passing() -> Vec<Evidence> {
    vec![good_elsewhere()]
}

fn others(evidence: &mut Evidence) -> &mut Vec<OtherPerspective> {
    let mut found = good_elsewhere();
    std::mem::swap(evidence, &mut found);
    &mut evidence.perspectives.as_mut().unwrap().others.asked
}

fn good_elsewhere() -> Evidence {
    let asked = [("eu", told("eu", Verdict::Ready)), ("us", told("us", Verdict::Ready))];
    heard(Verdict::Ready, 2, asked.map(|(name, answer)| (name.to_owned(), answer)).into())
}

type Answer = Result<RemoteReport, Problem>;

fn heard(own: Verdict, quorum: usize, asked: Vec<(String, Answer)>) -> Evidence {
    let asked = asked.into_iter().map(|(name, answer)| OtherPerspective {
        url: format!("https://{name}.example.com"),
        name,
        took: Duration::from_millis(80),
        answer,
    });
    let others = OtherPerspectives { quorum, asked: asked.collect() };
    Evidence { perspectives: Some(PerspectiveEvidence { own: view("here", own), others }), ..good() }
}

fn view(name: &str, verdict: Verdict) -> View {
    let remark = |check: &str| Remark {
        check: check.to_owned(),
        problem: Some("expired".to_owned()),
        detail: "as told".to_owned(),
    };
    View {
        perspective: name.to_owned(),
        verdict,
        decisive: match verdict {
            Verdict::Ready => None,
            Verdict::Blocked => Some(remark("tls.validity")),
            Verdict::Inconclusive => Some(remark("dns.resolves")),
        },
        certificates: ["00".repeat(32)].into(),
        fleet: Some(Fleet { proxy: ("v".into(), "m".into()), key_managers: ["1".to_owned(), "2".to_owned()].into() }),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "one of the answers that there are")]
fn told(name: &str, verdict: Verdict) -> Answer {
    let kms = KmsOutcome::of(KmsException::XksProxyUriUnreachable, ConnectionErrorCode::XksProxyTimedOut);
    Ok(RemoteReport {
        id: ReportId::new(&IdSource::from_seed(1), now()),
        lab: false,
        view: view(name, verdict),
        kms: (verdict == Verdict::Blocked).then_some(kms),
    })
}

fn silent() -> Answer {
    Err(Problem::own(ProblemKind::Unanswered, "it answers 503"))
}

fn finding(evidence: &Evidence, id: &str) -> Finding {
    judge(evidence, &JudgingPolicy::default()).into_iter().find(|finding| finding.check.id == id).unwrap()
}

/// Every combination of three others with every quorum: what passes, and that nothing else does.
#[test]
fn ready_takes_as_many_as_the_quorum_says_and_nobody_against() {
    let answers: [fn(&str) -> Answer; 4] = [
        |name| told(name, Verdict::Ready),
        |name| told(name, Verdict::Blocked),
        |name| told(name, Verdict::Inconclusive),
        |_| silent(),
    ];
    let mut tried = 0;
    for combination in 0..4_usize.pow(3) {
        let chosen = [combination % 4, combination / 4 % 4, combination / 16];
        for own in Verdict::ALL {
            for quorum in 1..=3 {
                let named = chosen.iter().enumerate().map(|(at, kind)| {
                    let name = format!("other-{at}");
                    let answer = answers[*kind](&name);
                    (name, answer)
                });
                let evidence = heard(own, quorum, named.collect());
                let count = |kind: usize| chosen.iter().filter(|one| **one == kind).count();
                let (ready, blocked, silent) = (count(0), count(1), count(2) + count(3));
                let agreement = finding(&evidence, "perspective.agreement").outcome;
                let quorate = finding(&evidence, "perspective.quorum").outcome;
                let pass = |outcome: &Outcome| matches!(outcome, Outcome::Passed(_));
                let both = pass(&agreement) && pass(&quorate);
                if own == Verdict::Ready {
                    assert_eq!(
                        both,
                        ready >= quorum && blocked == 0,
                        "{chosen:?}, {quorum}: {agreement:?} {quorate:?}"
                    );
                }
                let contradicted = if own == Verdict::Blocked { ready > 0 } else { blocked > 0 };
                assert_eq!(!pass(&agreement), contradicted, "{own} {chosen:?}: {agreement:?}");
                // Too few answers are our own trouble, and never the candidate's.
                let too_few =
                    matches!(&quorate, Outcome::OwnFault(problem) if problem.kind == ProblemKind::TooFewPerspectives);
                assert_eq!(too_few, 3 - silent < quorum, "{own} {chosen:?}, {quorum}: {quorate:?}");
                tried += 1;
            }
        }
    }
    assert_eq!(tried, 64 * 9);
}

#[test]
fn a_disagreement_names_both_what_each_found_and_where_to_read_it() {
    let there = |verdict| vec![("eu".to_owned(), told("eu", verdict))];
    let blocked = finding(&heard(Verdict::Ready, 1, there(Verdict::Blocked)), "perspective.agreement");
    let detail = blocked.outcome.problem().unwrap().detail.clone();
    assert!(
        detail.starts_with(
            "here finds it ready; eu finds it blocked by tls.validity (expired): as told; its report: \
             https://eu.example.com/preflights/report-"
        ),
        "{detail}"
    );
    assert_eq!(blocked.kms.unwrap().exception, Some(KmsException::XksProxyUriUnreachable), "by the way of that one");
    let ready = finding(&heard(Verdict::Blocked, 1, there(Verdict::Ready)), "perspective.agreement");
    let detail = ready.outcome.problem().unwrap().detail.clone();
    assert!(
        detail.starts_with("here finds it blocked by tls.validity (expired): as told; eu finds it ready"),
        "{detail}"
    );
    assert_eq!(ready.kms, None, "what KMS would raise is told by what blocks here");
}

#[test]
fn nobody_is_asked_about_values_that_are_not_fit_for_the_network() {
    let evidence = heard(Verdict::Blocked, 1, Vec::new());
    for check in CATALOGUE.iter().filter(|check| check.stage == Stage::Perspective) {
        assert_eq!(
            finding(&evidence, check.id).outcome,
            Outcome::NotReached { stopped_at: Stage::Input },
            "{}",
            check.id
        );
    }
    let lonely = judged(&good());
    let lonely = lonely.iter().filter(|finding| finding.check.stage == Stage::Perspective);
    assert!(lonely.into_iter().all(|finding| matches!(finding.outcome, Outcome::NotApplicable(_))));
}
