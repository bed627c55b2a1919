use super::*;
use crate::check::{
    Deviation, FormerSettings, FormerTrial, Guess, Guessed, OfferEvidence, RefusalEvidence, SignatureEvidence, Trial,
};

const REFUSED: &str = r#"{"errorName":"AuthenticationFailedException"}"#;

pub(super) const SPOILS: &[(&str, Spoil)] = &[
    ("http.http1", |e| stop(e, Stage::Tls, ProblemKind::NoHttp1)),
    ("http.get_refused", |e| spoil(e, Deviation::Get)),
    ("http.unknown_path_refused", |e| spoil(e, Deviation::UnknownPath)),
    ("sigv4.refuses_unsigned", |e| spoil(e, Deviation::Unsigned)),
    ("sigv4.refuses_wrong_secret", |e| spoil(e, Deviation::WrongSecret)),
    ("sigv4.refuses_unknown_key_id", |e| spoil(e, Deviation::UnknownAccessKeyId)),
    ("sigv4.refuses_stale", |e| spoil(e, Deviation::Stale)),
    ("sigv4.old_credential_still_accepted", |e| former(e, answer(401, REFUSED))),
];

/// Evidence on which every check of this chapter passes.
pub(super) fn passing() -> Vec<Evidence> {
    let mut refusing = good();
    refusing.refusals = Some(RefusalEvidence { trials: Deviation::ALL.map(right).to_vec() });
    let mut rotating = good();
    former(&mut rotating, answer(200, HEALTHY));
    vec![refusing, rotating]
}

/// What the addresses of good evidence make of other offers.
pub(super) fn offers() -> Vec<OfferEvidence> {
    let offer = |last| OfferEvidence {
        address: address(last).address,
        without_alpn: Ok(answer(200, HEALTHY)),
        preferred: Some("http/1.1".to_owned()),
    };
    vec![offer(1), offer(2)]
}

fn answer(status: u16, body: &str) -> ExchangeEvidence {
    answered(status, body).first.exchange.unwrap()
}

fn trial(deviation: Deviation, answer: Result<ExchangeEvidence, Stop>) -> Trial {
    Trial { address: address(1).address, deviation, answer }
}

/// As a proxy by the book answers.
fn right(deviation: Deviation) -> Trial {
    let exchange = match deviation {
        Deviation::Get => answer(405, ""),
        Deviation::UnknownPath => answer(404, r#"{"errorName":"InvalidUriPathException"}"#),
        _ => answer(401, REFUSED),
    };
    trial(deviation, Ok(exchange))
}

fn tried(e: &mut Evidence, deviation: Deviation, answer: Result<ExchangeEvidence, Stop>) {
    let others = Deviation::ALL.into_iter().filter(|other| *other != deviation).map(right);
    e.refusals = Some(RefusalEvidence { trials: others.chain([trial(deviation, answer)]).collect() });
}

fn spoil(e: &mut Evidence, deviation: Deviation) {
    tried(e, deviation, Ok(answer(200, HEALTHY)));
}

fn former(e: &mut Evidence, answer: ExchangeEvidence) {
    let path = Some(XksProxyUriPath::parse("/rotated/kms/xks/v1").unwrap());
    plane(e).change = Change { path, ..Change::default() };
    e.signature.former = FormerSettings::Tried(FormerTrial {
        access_key_id: "AKIAI2SFODNN7EXAMPLE".to_owned(),
        other_credential: true,
        other_path: None,
        answers: vec![(address(1).address, Ok(answer))],
    });
}

fn outcome(evidence: &Evidence, id: &str) -> Outcome {
    judged(evidence).into_iter().find(|finding| finding.check.id == id).unwrap().outcome
}

fn detail(evidence: &Evidence, id: &str) -> String {
    match outcome(evidence, id) {
        Outcome::Passed(detail) | Outcome::NotApplicable(detail) => detail,
        other => other.problem().unwrap().detail.clone(),
    }
}

#[test]
fn exactly_the_deviation_that_is_carried_out_fails() {
    for (id, spoil) in SPOILS.iter().filter(|(id, _)| !matches!(*id, "http.http1")) {
        let mut evidence = good();
        spoil(&mut evidence);
        let failed: Vec<_> = judged(&evidence).into_iter().filter(Finding::is_failed).map(|f| f.check.id).collect();
        assert_eq!(failed, [*id]);
    }
}

#[test]
fn without_the_wish_for_refusals_their_checks_do_not_apply() {
    for id in ["sigv4.refuses_unsigned", "sigv4.refuses_stale", "http.get_refused", "http.unknown_path_refused"] {
        assert_eq!(detail(&good(), id), "refusals were not asked for");
    }
    assert_eq!(report(good(), &JudgingPolicy::default()).verdict(), Verdict::Ready);
}

#[test]
fn another_refusal_than_the_right_one_passes_and_is_told() {
    for (status, body, words) in [
        (401, REFUSED, "refused with 401 AuthenticationFailedException"),
        (403, "<html>", "refused with 403; the specification wants 401 AuthenticationFailedException"),
        (
            400,
            r#"{"errorName":"ValidationException"}"#,
            "refused with 400 ValidationException; the specification wants 401 AuthenticationFailedException",
        ),
        (
            200,
            REFUSED,
            "refused with 200 AuthenticationFailedException; the specification wants 401 AuthenticationFailedException",
        ),
    ] {
        let mut evidence = good();
        tried(&mut evidence, Deviation::Unsigned, Ok(answer(status, body)));
        assert_eq!(outcome(&evidence, "sigv4.refuses_unsigned"), Outcome::Passed(words.to_owned()), "{status} {body}");
    }
}

#[test]
fn what_could_not_be_told_never_passes() {
    let answers = [(429, r#"{"errorName":"ThrottlingException"}"#), (502, "<html>"), (302, ""), (503, "")];
    let answers = answers.map(|(status, body)| Ok(answer(status, body))).into_iter();
    let stops = ProblemKind::ALL.iter().map(|kind| Err(stopped(Stage::Http, *kind).first.stop.unwrap()));
    for answer in answers.chain(stops) {
        let mut evidence = good();
        tried(&mut evidence, Deviation::WrongSecret, answer.clone());
        assert!(matches!(outcome(&evidence, "sigv4.refuses_wrong_secret"), Outcome::OwnFault(_)), "{answer:?}");
        assert_eq!(report(evidence, &JudgingPolicy::default()).verdict(), Verdict::Inconclusive, "{answer:?}");
    }
    // Asked for, and not tried at an address.
    let mut evidence = good();
    evidence.refusals = Some(RefusalEvidence::default());
    assert_eq!(report(evidence, &JudgingPolicy::default()).verdict(), Verdict::Inconclusive);
}

#[test]
fn http1_without_alpn_is_judged_at_each_address() {
    let spoiled = |problem: Problem| {
        let mut evidence = good();
        evidence.offers[0].without_alpn = Err(Stop { stage: Stage::Tls, problem });
        evidence
    };
    let refused = spoiled(Problem::target(ProblemKind::Alert, "no_application_protocol"));
    assert!(
        matches!(outcome(&refused, "http.http1"), Outcome::Failed(problem) if problem.kind == ProblemKind::NoHttp1)
    );
    let unreachable = spoiled(Problem::path(ProblemKind::Unreachable, "no route"));
    assert!(matches!(outcome(&unreachable, "http.http1"), Outcome::OwnFault(_)));
    let mut untried = good();
    untried.offers.clear();
    assert_eq!(report(untried, &JudgingPolicy::default()).verdict(), Verdict::Inconclusive);
    let mut http2 = good();
    http2.offers[0].preferred = Some("h2".to_owned());
    assert!(detail(&http2, "http.http1").contains("HTTP/2"));
}

#[test]
fn hints_tell_the_reasons_for_a_refused_signature_apart() {
    let told = |guesses: Vec<(Guess, u16)>, ahead: i64| {
        let mut evidence = good();
        body(&mut evidence, 401, r#"{"errorName":"AuthenticationFailedException","errorMessage":"who?"}"#);
        exchange(&mut evidence).date = Some(Timestamp::from_unix(now().unix() + ahead));
        let guesses = guesses.into_iter().map(|(guess, status)| Guessed {
            address: address(1).address,
            guess,
            answer: Ok(answer(status, if status == 200 { HEALTHY } else { REFUSED })),
        });
        evidence.signature = SignatureEvidence { guesses: guesses.collect(), former: FormerSettings::Unknown };
        detail(&evidence, "sigv4.accepted")
    };
    let region = Guess { region: Some(Region::parse("eu-west-1").unwrap()), ..Guess::default() };
    let host = Guess { host: Some("xks.example.com:443".to_owned()), ..Guess::default() };
    let clock = Guess { clock: Some(600.0), ..Guess::default() };
    for (detail, hint) in [
        (
            told(vec![(clock.clone(), 200)], 600),
            "the proxy's clock is +600 s from ours; secret and access key id are right",
        ),
        (told(vec![(host.clone(), 401), (region.clone(), 200)], 0), "the proxy is set up for Region eu-west-1;"),
        (told(vec![(host.clone(), 200)], 0), "Host reaches the proxy as xks.example.com:443"),
        (told(vec![(host, 401), (region, 401)], 0), "left are another secret, an access key id"),
        (told(vec![(clock, 401)], 600), "+600 s from ours, which is not the only reason"),
        (told(Vec::new(), 600), "which alone may be the reason"),
        (told(Vec::new(), 0), "Host, path or Region are not what it expects"),
    ] {
        assert!(detail.contains(hint), "{detail}");
        assert!(detail.contains(r#"and says "who?""#), "{detail}");
    }
}

#[test]
fn former_settings_that_are_not_held_are_not_reached_where_they_go_on_working() {
    let mut evidence = super::good();
    evidence.signature.former = FormerSettings::Unknown;
    assert!(matches!(outcome(&evidence, "sigv4.old_credential_still_accepted"), Outcome::NotApplicable(_)));
    let path = crate::key_store::XksProxyUriPath::parse("/new/kms/xks/v1").unwrap();
    super::plane(&mut evidence).change = Change { path: Some(path), ..Change::default() };
    assert!(matches!(outcome(&evidence, "sigv4.old_credential_still_accepted"), Outcome::NotReached { .. }));
    super::plane(&mut evidence).after_update = true;
    assert!(matches!(outcome(&evidence, "sigv4.old_credential_still_accepted"), Outcome::NotApplicable(_)));
}

#[test]
fn the_former_settings_are_of_no_interest_to_a_cold_change() {
    let id = "sigv4.old_credential_still_accepted";
    let mut evidence = good();
    former(&mut evidence, answer(401, REFUSED));
    assert!(detail(&evidence, id).contains("the former credential (access key id AKIAI2SFODNN7EXAMPLE) is refused"));
    evidence.aws.control_plane = Some(control_plane());
    assert!(matches!(outcome(&evidence, id), Outcome::NotApplicable(_)));
    let mut throttled = good();
    former(&mut throttled, answer(429, ""));
    assert!(matches!(outcome(&throttled, id), Outcome::OwnFault(_)));
}
