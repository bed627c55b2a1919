//! Single moments of a life, each led up to by hand.

use super::*;

/// The state just before the first mutation.
fn walk(plan: &Plan) -> State {
    let mut state = State::begin(&Event::Planned { plan: Box::new(plan.clone()) }).unwrap();
    for round in [Round::First, Round::Last] {
        state = state.apply(&Event::PreflightStarted { round }).unwrap();
        let summary = summary(plan, Verdict::Ready, plan.created_at);
        state = state.apply(&Event::PreflightFinished { round, summary }).unwrap();
    }
    state
}

#[test]
fn a_permit_needs_a_fresh_preflight_of_exactly_these_settings() {
    let plan = planned(endpoint_change(), ConnectionState::Connected, None, Options::default());
    let ready = walk(&plan);
    let soon = plan.created_at.plus(Duration::from_mins(1));
    let late = plan.created_at.plus(Duration::from_secs(61));
    assert!(permit(&ready, Direction::Forward, Step::Disconnect, soon).is_ok());
    assert!(matches!(permit(&ready, Direction::Forward, Step::Disconnect, late), Err(Denied::Stale { .. })));
    assert!(permit(&ready, Direction::Forward, Step::Update, soon).is_err(), "not the first step");
    assert!(permit(&ready, Direction::Back, Step::Update, soon).is_err(), "nothing to go back from");
    let now = plan.created_at;
    let moment = Moment { now: late, waited: Duration::ZERO };
    assert_eq!(decide(&ready, Some(&plan.expected), moment), Decision::Preflight(Round::Last));
    assert_eq!(ready.status().status, StatusName::Preflighting);

    let mut other = summary(&plan, Verdict::Ready, now);
    other.settings = SettingsDigest::stated("others");
    let state = State::begin(&Event::Planned { plan: Box::new(plan.clone()) }).unwrap();
    let state = state.apply(&Event::PreflightStarted { round: Round::First }).unwrap();
    let state = state.apply(&Event::PreflightFinished { round: Round::First, summary: other }).unwrap();
    let moment = Moment { now, waited: Duration::ZERO };
    assert!(matches!(
        decide(&state, Some(&plan.expected), moment),
        Decision::Conclude(Ending::Blocked { by: BlockedBy::Preflight(_), .. })
    ));
}

#[test]
fn drift_and_expiry_refuse_before_the_first_mutation() {
    let plan = planned(endpoint_change(), ConnectionState::Connected, None, Options::default());
    let ready = walk(&plan);
    let refused = |found: Option<&KeyStore>, now| {
        matches!(
            decide(&ready, found, Moment { now, waited: Duration::ZERO }),
            Decision::Conclude(Ending::Refused { .. })
        )
    };
    let mut drifted = plan.expected.clone();
    drifted.name = CustomKeyStoreName::parse("renamed").unwrap();
    assert!(refused(Some(&drifted), plan.created_at));
    assert!(refused(Some(&store(ConnectionState::Disconnecting)), plan.created_at));
    assert!(refused(None, plan.created_at));
    assert!(refused(Some(&plan.expected), plan.expires_at.plus(Duration::from_secs(1))));
    assert!(!refused(Some(&plan.expected), plan.created_at));
}

#[test]
fn cancelling_is_for_updates_that_changed_nothing() {
    let plan = planned(endpoint_change(), ConnectionState::Connected, None, Options::default());
    let ready = walk(&plan);
    let cancelled = ready.clone().apply(&Event::CancelRequested { by: "op".into() }).unwrap();
    let moment = Moment { now: plan.created_at, waited: Duration::ZERO };
    assert_eq!(
        decide(&cancelled, Some(&plan.expected), moment),
        Decision::Conclude(Ending::Abandoned { by: "op".into() })
    );
    let running = ready
        .apply(&Event::StepIntended { direction: Direction::Forward, step: Step::Disconnect, attempt: 1 })
        .unwrap();
    assert_eq!(running.status(), Status { status: StatusName::Running, step: Some("disconnect") });
    assert!(running.apply(&Event::CancelRequested { by: "op".into() }).is_err());
}

#[test]
fn a_recorded_plan_cannot_be_altered() {
    let plan = planned(endpoint_change(), ConnectionState::Connected, None, Options::default());
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
    let altered = json.replace("new.example.com", "bad.example.com");
    let error = serde_json::from_str::<Plan>(&altered).unwrap_err();
    assert!(error.to_string().contains("was altered"), "{error}");
}

#[test]
fn a_plan_and_a_probe_of_the_same_settings_agree() {
    let held = credential(FORMER_ID, "f");
    let plan = planned(endpoint_change(), ConnectionState::Connected, Some(held.clone()), Options::default());
    let subject = crate::check::Subject {
        endpoint: "https://new.example.com".into(),
        path: "/kms/xks/v1".into(),
        connectivity: crate::key_store::ConnectivityKind::PublicEndpoint,
        vpc_endpoint_service: None,
        region: crate::key_store::Region::parse("us-east-1").unwrap(),
        access_key_id: FORMER_ID.into(),
        secret: crate::check::SecretEvidence::WellFormed {
            estimated_bits: 256.0,
            documented_example: false,
            fingerprint: held.fingerprint.to_string(),
        },
        connect_to: vec!["127.0.0.1:1".into()],
        longest_key_id: None,
        lab: false,
        cluster: None,
    };
    assert_eq!(SettingsDigest::stated(&subject.kms_settings_digest()), plan.settings());
    let other = crate::check::Subject { endpoint: "https://old.example.com".into(), ..subject };
    assert_ne!(SettingsDigest::stated(&other.kms_settings_digest()), plan.settings());
}

/// The plan's steps up to an attempt of `step` that was sent and never answered.
fn lost(plan: &Plan, step: Step) -> State {
    let direction = Direction::Forward;
    let mut state = walk(plan);
    for earlier in &plan.steps {
        state = state.apply(&Event::StepIntended { direction, step: *earlier, attempt: 1 }).unwrap();
        if *earlier == step {
            break;
        }
        let outcome = StepOutcome::Done { request_id: None, how: How::Performed };
        state = state.apply(&Event::StepSettled { direction, step: *earlier, outcome }).unwrap();
    }
    let outcome = StepOutcome::NotSeen { why: "as before".into() };
    state.apply(&Event::StepSettled { direction, step, outcome }).unwrap()
}

#[test]
fn a_first_step_that_takes_effect_late_is_seen_through_or_undone() {
    let plan = planned(endpoint_change(), ConnectionState::Connected, None, Options::default());
    let state = lost(&plan, Step::Disconnect);
    let later = Moment { now: plan.created_at, waited: Duration::from_mins(1) };
    // Nobody may say any more that nothing was changed.
    assert!(state.clone().apply(&Event::CancelRequested { by: "op".into() }).is_err());
    assert_eq!(decide(&state, Some(&plan.expected), later), Decision::Perform(Step::Disconnect));
    let disconnecting = store(ConnectionState::Disconnecting);
    let seen = decide(&state, Some(&disconnecting), later);
    assert!(
        matches!(seen, Decision::Settle(Direction::Forward, Step::Disconnect, StepOutcome::Done { .. })),
        "{seen:?}"
    );
    // It is not sent again on a pre-flight of long ago.
    let long_after = Moment { now: plan.created_at.plus(Duration::from_mins(5)), ..later };
    assert!(matches!(decide(&state, Some(&plan.expected), long_after), Decision::RollBack { .. }));
    assert!(permit(&state, Direction::Forward, Step::Disconnect, long_after.now).is_err());
}

#[test]
fn a_repeated_connect_that_is_refused_because_the_first_arrived_is_no_failure() {
    let plan = planned(endpoint_change(), ConnectionState::Connected, None, Options::default());
    let direction = Direction::Forward;
    let step = Step::Connect;
    let state = lost(&plan, step).apply(&Event::StepIntended { direction, step, attempt: 2 }).unwrap();
    let exception = Some(KmsException::CustomKeyStoreInvalidState);
    let outcome = StepOutcome::Refused { exception, message: "it is CONNECTING".into(), request_id: None };
    let state = state.apply(&Event::StepSettled { direction, step, outcome }).unwrap();
    let moment = Moment { now: plan.created_at, waited: Duration::ZERO };
    let connecting = KeyStore { state: ConnectionState::Connecting, ..plan.new.clone() };
    assert!(matches!(decide(&state, Some(&connecting), moment), Decision::Settle(_, Step::Connect, _)));
    let untouched = KeyStore { state: ConnectionState::Disconnected, ..plan.new.clone() };
    assert!(matches!(decide(&state, Some(&untouched), moment), Decision::RollBack { .. }));
}

#[test]
fn an_update_that_nobody_can_see_is_sent_again_only_as_the_first_mutation_that_it_may_be() {
    let change = Change { credential: Some(credential(FORMER_ID, "n")), ..Change::default() };
    let plan = planned(change, ConnectionState::Connected, Some(former_credential()), Options::default());
    let (direction, step) = (Direction::Forward, Step::Update);
    assert_eq!(plan.steps, [step]);
    let intended = walk(&plan).apply(&Event::StepIntended { direction, step, attempt: 1 }).unwrap();
    let outcome = StepOutcome::Unobservable { why: "a secret is shown nowhere".into() };
    let state = intended.apply(&Event::StepSettled { direction, step, outcome }).unwrap();
    let next = |now, barriers: &Barriers| {
        let moment = Moment { now, waited: Duration::from_mins(1) };
        let decided = super::super::decide(&state, Some(&plan.expected), moment, barriers);
        (decided, state.permit(direction, step, now, barriers).map(drop))
    };
    let soon = plan.created_at.plus(Duration::from_secs(30));
    let (decided, permit) = next(soon, &Barriers::default());
    assert_eq!((decided, permit), (Decision::Perform(step), Ok(())));
    // The process was away for hours: its pre-flight proves nothing any more.
    let (decided, permit) = next(plan.created_at.plus(Duration::from_hours(3)), &Barriers::default());
    assert!(matches!(decided, Decision::RollBack { .. }), "{decided:?}");
    assert!(matches!(permit, Err(Denied::Stale { .. } | Denied::Expired { .. })), "{permit:?}");
    // Changes were frozen meanwhile.
    let freeze = Freeze { key_store: None, reason: "quarter end".into(), by: "ann".into(), since: soon, until: None };
    let frozen = Barriers { freeze: Some(freeze), ..Barriers::default() };
    let (decided, permit) = next(soon, &frozen);
    assert!(matches!(decided, Decision::RollBack { .. }), "{decided:?}");
    assert!(matches!(permit, Err(Denied::Frozen(_))), "{permit:?}");
}
