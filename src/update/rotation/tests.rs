//! A rotation step by step. Its random lives are in `lives/rotations.rs`.

use std::time::Duration;

use super::*;
use crate::id::{IdSource, ReportId, UpdateId};
use crate::key_store::{
    AccessKeyId, Change, Configuration, Connectivity, CredentialRef, CredentialSource, CustomKeyStoreId,
    CustomKeyStoreName, ProxyCredential, RawSecretAccessKey, XksConfiguration, XksProxyUriEndpoint, XksProxyUriPath,
};
use crate::update::{
    Barriers, Direction, Event, How, Options, Phase, PlanRefused, Policy, State, Status, StatusName, Step, StepOutcome,
    Wanted, plan,
};

fn now() -> Timestamp {
    Timestamp::from_unix(1_000_000)
}

fn store(id: &str) -> KeyStore {
    KeyStore {
        id: CustomKeyStoreId::parse("cks-1234567890abcdef0").unwrap(),
        name: CustomKeyStoreName::parse("store").unwrap(),
        created: None,
        state: ConnectionState::Connected,
        configuration: Configuration::Xks(XksConfiguration {
            endpoint: XksProxyUriEndpoint::parse("https://xks.example.com").unwrap(),
            path: XksProxyUriPath::parse("/kms/xks/v1").unwrap(),
            access_key_id: AccessKeyId::parse(id).unwrap(),
            connectivity: Connectivity::PublicEndpoint,
        }),
    }
}

const OLD: &str = "AKIAFORMERFORMERFORM";
const NEW: &str = "AKIANEWNEWNEWNEWNEWN";

fn credential(id: &str, fill: &str) -> CredentialRef {
    ProxyCredential {
        access_key_id: AccessKeyId::parse(id).unwrap(),
        secret_access_key: RawSecretAccessKey::parse(&format!("TestSecretDoNotLeak{}", fill.repeat(30))).unwrap(),
    }
    .reference(CredentialSource::Sealed)
}

fn asked(
    found: &KeyStore,
    change: Change,
    former: Option<CredentialRef>,
    seconds: Option<u64>,
) -> Result<Plan, PlanRefused> {
    let wanted = Wanted {
        id: UpdateId::new(&IdSource::from_seed(1), now()),
        change,
        options: Options { rotate: Some(Rotate { propagation_seconds: seconds }), ..Options::default() },
        former_credential: former,
        former_password: false,
        waivers: Vec::new(),
        keys: None,
        by: "tester".into(),
    };
    plan(found, wanted, &Policy::default(), now())
}

fn to_new() -> Change {
    Change { credential: Some(credential(NEW, "n")), ..Change::default() }
}

fn look(plan: &Plan, new: Acceptance, former: Acceptance) -> PreflightSummary {
    PreflightSummary {
        report: ReportId::new(&IdSource::from_seed(2), now()),
        verdict: if new == Acceptance::Accepted { Verdict::Ready } else { Verdict::Blocked },
        settings: plan.settings(),
        exception: None,
        message: "said the test".into(),
        finished_at: now(),
        credentials: Some(CredentialsSeen { new, former }),
    }
}

use Acceptance::{Accepted, Differs, Refused, Unclear};

/// A rotation whose update was verified just now.
fn rotating() -> (Plan, State) {
    let plan = asked(&store(OLD), to_new(), Some(credential(OLD, "f")), None).unwrap();
    let both = look(&plan, Accepted, Accepted);
    let (direction, step) = (Direction::Forward, Step::Update);
    let outcome = StepOutcome::Done { request_id: None, how: How::Performed };
    let events = [
        Event::Planned { plan: Box::new(plan.clone()) },
        Event::PreflightStarted { round: Round::First },
        Event::PreflightFinished { round: Round::First, summary: both.clone() },
        Event::PreflightStarted { round: Round::Last },
        Event::PreflightFinished { round: Round::Last, summary: both.clone() },
        Event::StepIntended { direction, step, attempt: 1 },
        Event::StepSettled { direction, step, outcome },
        Event::PreflightStarted { round: Round::Verification },
        Event::PreflightFinished {
            round: Round::Verification,
            summary: PreflightSummary { credentials: None, ..both },
        },
    ];
    let state = State::replay(&events).unwrap().unwrap();
    assert_eq!(state.status(), Status { status: StatusName::Running, step: Some("propagate") });
    (plan, state)
}

fn watched(plan: &Plan, state: State, round: Round, seconds: u64, new: Acceptance, former: Acceptance) -> State {
    let summary = look(plan, new, former);
    state.apply(&Event::Watched { round, waited_ms: seconds * 1_000, summary }).unwrap()
}

fn next(state: &State, now: Timestamp, waited: u64) -> Decision {
    super::super::decide(
        state,
        Some(&store(NEW)),
        Moment { now, waited: Duration::from_secs(waited) },
        &Barriers::default(),
    )
}

/// One that waits for a person.
fn waiting() -> (Plan, State) {
    let (plan, state) = rotating();
    let state = watched(&plan, state, Round::Propagation, 360, Accepted, Accepted);
    let Decision::AwaitRemoval { until } = next(&state, now(), 0) else { panic!("{:?}", next(&state, now(), 0)) };
    assert_eq!(until, now().plus(Duration::from_hours(7 * 24)));
    (plan, state.apply(&Event::RemovalAwaited { until }).unwrap())
}

#[test]
fn only_a_rotation_that_can_be_seen_through_is_planned() {
    let former = || Some(credential(OLD, "f"));
    let refused = |found: &KeyStore, change, former, seconds| match asked(found, change, former, seconds) {
        Err(error @ (PlanRefused::Rotation { .. } | PlanRefused::Members { .. })) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let path = Some(XksProxyUriPath::parse("/new/kms/xks/v1").unwrap());
    assert!(refused(&store(OLD), Change { path, ..to_new() }, former(), None).contains("and nothing else"));
    assert!(refused(&store(OLD), to_new(), None, None).contains("is not held"));
    let same = Some(credential(OLD, "n"));
    let to_same = Change { credential: Some(credential(OLD, "n")), ..Change::default() };
    assert!(refused(&store(OLD), to_same, same, None).contains("is the new one"));
    let disconnected = KeyStore { state: ConnectionState::Disconnected, ..store(OLD) };
    assert!(refused(&disconnected, to_new(), former(), None).contains("a plain update"));
    assert!(refused(&store(OLD), to_new(), former(), Some(299)).contains("at least 300"));
    assert!(refused(&store(OLD), to_new(), former(), Some(86_401)).contains("at most"));
    let plan = asked(&store(OLD), to_new(), former(), Some(300)).unwrap();
    assert_eq!(plan.rotation.as_ref().map(Rotation::propagation), Some(PROPAGATION));
}

#[test]
fn it_begins_only_when_both_credentials_are_seen_accepted() {
    let plan = asked(&store(OLD), to_new(), Some(credential(OLD, "f")), None).unwrap();
    let started = [Event::Planned { plan: Box::new(plan.clone()) }, Event::PreflightStarted { round: Round::First }];
    let started = State::replay(&started).unwrap().unwrap();
    let seen = |new, former| Some(CredentialsSeen { new, former });
    for credentials in
        [None, seen(Accepted, Refused), seen(Accepted, Differs), seen(Accepted, Unclear), seen(Unclear, Accepted)]
    {
        let summary = PreflightSummary { credentials, ..look(&plan, Accepted, Accepted) };
        let state = started.clone().apply(&Event::PreflightFinished { round: Round::First, summary }).unwrap();
        let moment = Moment { now: now(), waited: Duration::ZERO };
        let Decision::Conclude(Ending::Blocked { message, .. }) =
            super::super::decide(&state, Some(&plan.expected), moment, &Barriers::default())
        else {
            panic!("{credentials:?} is enough")
        };
        assert!(message.contains("both credentials"), "{message}");
    }
}

#[test]
fn no_clock_that_somebody_sets_shortens_the_propagation() {
    let (plan, state) = rotating();
    let years_later = now().plus(Duration::from_hours(100_000));
    assert_eq!(next(&state, years_later, 0), Decision::Rest(Duration::from_secs(30)));
    assert_eq!(next(&state, years_later, 30), Decision::Watch(Round::Propagation));
    let state = watched(&plan, state, Round::Propagation, 345, Accepted, Accepted);
    // A restart, or a clock set back: what was watched is recorded, what was waited since is not known.
    assert_eq!(next(&state, now(), 0), Decision::Rest(Duration::from_secs(15)));
    let until = years_later;
    assert!(state.clone().apply(&Event::RemovalAwaited { until }).is_err());
    let untold = watched(&plan, state.clone(), Round::Propagation, 100, Unclear, Accepted);
    assert!(!matches!(next(&untold, now(), 0), Decision::AwaitRemoval { .. }), "nothing passes because time is over");
    let state = watched(&plan, state, Round::Propagation, 15, Accepted, Accepted);
    assert!(matches!(next(&state, now(), 0), Decision::AwaitRemoval { .. }));
}

#[test]
fn a_new_credential_that_is_refused_goes_back_while_the_former_one_works() {
    for new in [Refused, Differs] {
        for (round, (plan, state)) in [(Round::Propagation, rotating()), (Round::Removal, waiting())] {
            let bad = watched(&plan, state, round, 10, new, Accepted);
            let Decision::RollBack { why } = next(&bad, now(), 0) else { panic!("{:?}", next(&bad, now(), 0)) };
            assert!(why.contains(NEW) && why.contains("wrong one"), "{why}");
            let back = bad.apply(&Event::RollbackDecided { why }).unwrap();
            assert_eq!(next(&back, now(), 0), Decision::Undo(Step::Update));
            assert!(
                back.permit(
                    Direction::Back,
                    Step::Update,
                    now().plus(Duration::from_hours(1_000)),
                    &Barriers::default()
                )
                .is_ok()
            );
        }
    }
}

#[test]
fn with_both_refused_it_looks_again_and_then_says_so() {
    let (plan, mut state) = waiting();
    for attempt in 1..=plan.limits.attempts {
        state = watched(&plan, state, Round::Removal, 10, Refused, Refused);
        let decision = next(&state, now(), 0);
        let last = attempt == plan.limits.attempts;
        assert_eq!(matches!(&decision, Decision::Conclude(Ending::Stuck { .. })), last, "{attempt}: {decision:?}");
    }
    let (_, state) = rotating();
    assert!(
        state.permit(Direction::Back, Step::Update, now(), &Barriers::default()).is_err(),
        "nobody decided to go back"
    );
}

#[test]
fn a_former_credential_that_goes_too_early_is_no_reason_to_go_back() {
    let (plan, state) = rotating();
    let early = watched(&plan, state, Round::Propagation, 30, Accepted, Refused);
    assert_eq!(next(&early, now(), 0), Decision::Rest(Duration::from_secs(30)));
    assert!(early.clone().apply(&Event::RollbackRequested { by: "op".into() }).is_err(), "to what nobody accepts");
    assert!(early.clone().apply(&Event::RemovalReported { by: "op".into() }).is_err());
    assert!(early.apply(&Event::CancelRequested { by: "op".into() }).is_err());
}

#[test]
fn it_is_proven_by_three_looks_in_a_row() {
    let (plan, state) = waiting();
    assert_eq!(next(&state, now(), 0), Decision::Rest(Duration::from_mins(5)));
    let mut state = state.apply(&Event::RemovalReported { by: "op".into() }).unwrap();
    assert_eq!(state.status().step, Some("prove_refused"));
    assert_eq!(next(&state, now(), 0), Decision::Watch(Round::Removal), "an order is followed at once");
    let not_yet = watched(&plan, state.clone(), Round::Removal, 0, Accepted, Differs);
    assert_eq!(not_yet.status().step, Some("await_removal"));
    for proof in 1..=PROOFS {
        state = watched(&plan, state, Round::Removal, 5, Accepted, Refused);
        let proven = next(&state, now(), 0) == Decision::Conclude(Ending::Verified);
        assert_eq!(proven, proof == PROOFS, "after {proof} looks");
    }
}

#[test]
fn what_is_waited_for_in_vain_passes_for_nothing() {
    let (_, state) = waiting();
    let late = now().plus(Duration::from_hours(7 * 24 + 1));
    let Decision::Conclude(ending) = next(&state, late, 0) else { panic!("no end") };
    assert_eq!((ending.status(), ending.is_new_in_force()), (StatusName::Stuck, true));
    let Ending::Unproven { by: None, why, instruction } = &ending else { panic!("{ending:?}") };
    assert!(why.contains(OLD) && why.contains("accepted") && instruction.contains(OLD), "{why}; {instruction}");
    let cancelled = state.apply(&Event::CancelRequested { by: "op".into() }).unwrap();
    let Decision::Conclude(ending) = next(&cancelled, now(), 0) else { panic!("no end") };
    assert_eq!(ending.status(), StatusName::Abandoned);
    assert!(matches!(cancelled.phase(), Phase::Rotating(_)));
}

#[test]
fn a_look_without_news_is_not_recorded() {
    let (plan, state) = waiting();
    assert!(!state.is_news(Round::Removal, &look(&plan, Accepted, Accepted)), "as at the end of the propagation");
    for (new, former) in [(Accepted, Differs), (Accepted, Refused), (Refused, Accepted), (Unclear, Accepted)] {
        assert!(state.is_news(Round::Removal, &look(&plan, new, former)), "{new:?} {former:?}");
    }
    assert!(rotating().1.is_news(Round::Propagation, &look(&plan, Accepted, Accepted)), "its time counts");
}

#[test]
fn somebody_elses_doing_is_left_alone() {
    let (_, state) = waiting();
    let decided = |found: &KeyStore, waited| {
        super::super::decide(
            &state,
            Some(found),
            Moment { now: now(), waited: Duration::from_secs(waited) },
            &Barriers::default(),
        )
    };
    // The old credential was put back in the console.
    assert!(matches!(decided(&store(OLD), 0), Decision::Conclude(Ending::Stuck { .. })));
    let disconnected = KeyStore { state: ConnectionState::Disconnected, ..store(NEW) };
    assert_eq!(decided(&disconnected, 0), Decision::Wait);
    assert!(matches!(decided(&disconnected, 3_600), Decision::Conclude(Ending::Stuck { .. })));
}
