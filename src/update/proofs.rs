//! What the gate takes for a proof, and what it does not: approvals, drift, expiry.

use std::time::Duration;

use proptest::prelude::*;

use super::lives::{decide, endpoint_change, store, summary};
use super::*;
use crate::check::Verdict;
use crate::clock::Timestamp;
use crate::id::{IdSource, ReportId, UpdateId};
use crate::key_store::{CandidateName, Change, ConnectionState, CustomKeyStoreName, XksProxyUriPath};

const AUTHOR: &str = "ann";

fn now() -> Timestamp {
    Timestamp::from_unix(1_000_000)
}

fn moment(now: Timestamp) -> Moment {
    Moment { now, waited: Duration::ZERO }
}

fn planned(change: Change, policy: &Policy) -> Plan {
    planned_with(change, None, policy)
}

fn planned_with(change: Change, former_credential: Option<crate::key_store::CredentialRef>, policy: &Policy) -> Plan {
    let wanted = Wanted {
        id: UpdateId::new(&IdSource::from_seed(1), now()),
        change,
        options: Options::default(),
        former_credential,
        former_password: false,
        waivers: Vec::new(),
        keys: None,
        by: AUTHOR.into(),
    };
    plan(&store(ConnectionState::Connected), wanted, policy, now()).unwrap()
}

fn cold(approval: ApprovalRule) -> Plan {
    planned(endpoint_change(), &Policy { approval, ..Policy::default() })
}

/// The state after the first pre-flight, with its events.
fn preflighted(plan: &Plan) -> (State, Vec<Event>) {
    let events = vec![
        Event::Planned { plan: Box::new(plan.clone()) },
        Event::PreflightStarted { round: Round::First },
        Event::PreflightFinished { round: Round::First, summary: summary(plan, Verdict::Ready, now()) },
    ];
    (State::replay(&events).unwrap().unwrap(), events)
}

fn awaiting(plan: &Plan) -> State {
    preflighted(plan).0.apply(&Event::ApprovalRequested {}).unwrap()
}

fn consent(state: &State, by: &str) -> Result<Event, Denied> {
    let digest = state.proposal().unwrap().digest();
    state.consent(&Consent { by, digest, outage_acknowledged: true }, now(), &Barriers::default())
}

#[test]
fn one_person_who_is_not_the_author_agrees_to_exactly_this_plan_and_report() {
    let plan = cold(ApprovalRule::One);
    let (state, _) = preflighted(&plan);
    assert_eq!(decide(&state, Some(&plan.expected), moment(now())), Decision::RequestApproval);
    let skipped = state.clone().apply(&Event::PreflightStarted { round: Round::Last }).unwrap();
    let passed = Event::PreflightFinished { round: Round::Last, summary: summary(&plan, Verdict::Ready, now()) };
    assert!(skipped.apply(&passed).is_err(), "nobody has agreed");
    let state = state.apply(&Event::ApprovalRequested {}).unwrap();
    assert_eq!(state.status().status, StatusName::AwaitingApproval);
    assert_eq!(decide(&state, Some(&plan.expected), moment(now())), Decision::AwaitGate);

    for name in [AUTHOR, "Ann", " ann ", ""] {
        assert!(matches!(consent(&state, name), Err(Denied::AuthorMayNotApprove { .. })), "{name:?}");
    }
    let plan_alone = ApprovalDigest::stated(plan.digest().as_str());
    for digest in [plan_alone, ApprovalDigest::stated("")] {
        let stated = Consent { by: "bob", digest: &digest, outage_acknowledged: true };
        assert_eq!(state.consent(&stated, now(), &Barriers::default()), Err(Denied::OtherPlan));
        let forged = Event::ApprovalGiven { by: "bob".into(), digest, outage_acknowledged: true };
        assert_eq!(state.clone().apply(&forged).unwrap_err().why, "other_plan");
    }
    let digest = state.proposal().unwrap().digest().clone();
    let unaware = Consent { by: "bob", digest: &digest, outage_acknowledged: false };
    assert_eq!(state.consent(&unaware, now(), &Barriers::default()), Err(Denied::OutageNotAcknowledged));
    let forged = Event::ApprovalGiven { by: AUTHOR.into(), digest: digest.clone(), outage_acknowledged: true };
    assert_eq!(state.clone().apply(&forged).unwrap_err().why, "author_may_not_approve");

    let approved = state.clone().apply(&consent(&state, "bob").unwrap()).unwrap();
    assert_eq!(decide(&approved, Some(&plan.expected), moment(now())), Decision::Preflight(Round::Last));
    assert!(matches!(approved.phase(), Phase::Approved(approval) if approval.by() == ["bob"]));
    let again = approved.consent(
        &Consent { by: "cid", digest: &digest, outage_acknowledged: true },
        now(),
        &Barriers::default(),
    );
    assert!(matches!(again, Err(Denied::NotAwaitingApproval { .. })));
}

#[test]
fn another_report_is_another_thing_to_agree_to() {
    let plan = cold(ApprovalRule::One);
    let digest = |change: &dyn Fn(&mut PreflightSummary)| {
        let mut summary = summary(&plan, Verdict::Ready, now());
        change(&mut summary);
        let state = State::begin(&Event::Planned { plan: Box::new(plan.clone()) }).unwrap();
        let state = state.apply(&Event::PreflightStarted { round: Round::First }).unwrap();
        let state = state.apply(&Event::PreflightFinished { round: Round::First, summary }).unwrap();
        let state = state.apply(&Event::ApprovalRequested {}).unwrap();
        state.proposal().unwrap().digest().clone()
    };
    let same = digest(&|_| ());
    assert_eq!(digest(&|_| ()), same);
    assert_ne!(digest(&|summary| summary.report = ReportId::new(&IdSource::from_seed(9), now())), same);
    assert_ne!(digest(&|summary| summary.message = "with a waiver".into()), same);
    assert_ne!(digest(&|summary| summary.finished_at = now().plus(Duration::from_secs(1))), same);
}

#[test]
fn two_are_two_people() {
    let plan = cold(ApprovalRule::Two);
    let state = awaiting(&plan);
    let first = consent(&state, "bob").unwrap();
    let state = state.apply(&first).unwrap();
    assert_eq!(state.status().status, StatusName::AwaitingApproval);
    assert_eq!(state.proposal().unwrap().consents(), ["bob"]);
    assert!(matches!(consent(&state, "BOB"), Err(Denied::AlreadyApproved { .. })));
    assert_eq!(state.clone().apply(&first).unwrap_err().why, "already_approved");
    assert!(matches!(consent(&state, AUTHOR), Err(Denied::AuthorMayNotApprove { .. })));
    let state = state.clone().apply(&consent(&state, "cid").unwrap()).unwrap();
    assert!(matches!(state.phase(), Phase::Approved(approval) if approval.by() == ["bob", "cid"]));
}

#[test]
fn an_expired_plan_is_refused_while_it_waits_and_nobody_can_approve_it() {
    let plan = cold(ApprovalRule::One);
    let state = awaiting(&plan);
    let late = plan.expires_at.plus(Duration::from_secs(1));
    let digest = state.proposal().unwrap().digest().clone();
    let given = Consent { by: "bob", digest: &digest, outage_acknowledged: true };
    assert!(state.consent(&given, plan.expires_at, &Barriers::default()).is_ok());
    assert_eq!(state.consent(&given, late, &Barriers::default()), Err(Denied::Expired { at: plan.expires_at }));
    let Decision::Conclude(ending) = decide(&state, Some(&plan.expected), moment(late)) else { panic!("it waits") };
    assert!(matches!(ending, Ending::Refused { reason: Refusal::Expired, .. }), "{ending:?}");
    let over = state.apply(&Event::Concluded { ending }).unwrap();
    assert_eq!(over.consent(&given, late, &Barriers::default()), Err(Denied::Expired { at: plan.expires_at }));
    assert_eq!(over.status().status, StatusName::Refused);
}

#[test]
fn a_change_in_place_has_no_outage_to_acknowledge() {
    let path = XksProxyUriPath::parse("/new/kms/xks/v1").unwrap();
    let policy = Policy { approval: ApprovalRule::One, ..Policy::default() };
    let state = awaiting(&planned(Change { path: Some(path), ..Change::default() }, &policy));
    let digest = state.proposal().unwrap().digest();
    assert!(
        state.consent(&Consent { by: "bob", digest, outage_acknowledged: false }, now(), &Barriers::default()).is_ok()
    );
}

#[test]
fn a_key_store_may_have_a_rule_of_its_own() {
    let id = store(ConnectionState::Connected).id;
    let mut policy = Policy { approval: ApprovalRule::Two, ..Policy::default() };
    policy.approval_of.insert(id, ApprovalRule::None);
    assert_eq!(planned(endpoint_change(), &policy).approval, ApprovalRule::None);
}

#[test]
fn drift_is_told_member_by_member_with_what_was_expected_and_found() {
    let plan = cold(ApprovalRule::One);
    let state = awaiting(&plan);
    let mut found = plan.new.clone();
    found.name = CustomKeyStoreName::parse("renamed").unwrap();
    found.state = ConnectionState::Disconnected;
    let Decision::Conclude(Ending::Refused { why, reason: Refusal::Drift }) =
        decide(&state, Some(&found), moment(now()))
    else {
        panic!("not refused")
    };
    for told in [
        "CustomKeyStoreName: expected store, found renamed",
        "UriEndpoint: expected https://old.example.com, found https://new.example.com",
        "ConnectionState: expected CONNECTED, found DISCONNECTED",
    ] {
        assert!(why.contains(told), "{why}");
    }
    assert!(!why.contains("UriPath"), "{why}");
}

proptest! {
    /// Whatever people say, in whatever order: the approval is there when so many different people other than the author
    /// have agreed to the right digest, and never before; and a replay comes to the same.
    #[test]
    fn an_approval_is_of_distinct_people_who_are_not_the_author(
        two in any::<bool>(),
        said in prop::collection::vec((0..4_usize, any::<bool>(), any::<bool>()), 0..8),
    ) {
        let plan = cold(if two { ApprovalRule::Two } else { ApprovalRule::One });
        let (state, mut events) = preflighted(&plan);
        events.push(Event::ApprovalRequested {});
        let mut state = state.apply(&Event::ApprovalRequested {}).unwrap();
        let right = state.proposal().unwrap().digest().clone();
        let mut agreed = std::collections::BTreeSet::new();
        for (who, digest_is_right, aware) in said {
            let by = [AUTHOR, "bob", "Bob", "cid"][who];
            let digest = if digest_is_right { right.clone() } else { ApprovalDigest::stated("other") };
            let open = state.proposal().is_some();
            let event = state.consent(&Consent { by, digest: &digest, outage_acknowledged: aware }, now(), &Barriers::default());
            let counts = open && by != AUTHOR && digest_is_right && aware && agreed.insert(by.to_lowercase());
            prop_assert_eq!(event.is_ok(), counts);
            if let Ok(event) = event {
                state = state.apply(&event).unwrap();
                events.push(event);
            }
            let enough = agreed.len() >= plan.approval.people();
            prop_assert_eq!(matches!(state.phase(), Phase::Approved(_)), enough);
        }
        prop_assert_eq!(State::replay(&events).unwrap().unwrap(), state);
    }
}

fn frozen(until: Option<Timestamp>) -> Barriers {
    let freeze = Freeze { key_store: None, reason: "quarter end".into(), by: "cid".into(), since: now(), until };
    Barriers { freeze: Some(freeze), ..Barriers::default() }
}

fn closed(opens_at: Option<Timestamp>) -> Barriers {
    Barriers { opening: Opening::Closed { opens_at }, ..Barriers::default() }
}

/// The state just before the first mutation.
fn ready(plan: &Plan) -> State {
    let mut state = preflighted(plan).0;
    if plan.approval != ApprovalRule::None {
        state = state.apply(&Event::ApprovalRequested {}).unwrap();
        state = state.clone().apply(&consent(&state, "bob").unwrap()).unwrap();
    }
    let state = state.apply(&Event::PreflightStarted { round: Round::Last }).unwrap();
    let summary = summary(plan, Verdict::Ready, now());
    state.apply(&Event::PreflightFinished { round: Round::Last, summary }).unwrap()
}

#[test]
fn a_freeze_stops_the_first_mutation_and_nothing_after_it() {
    let plan = cold(ApprovalRule::One);
    let state = awaiting(&plan);
    let digest = state.proposal().unwrap().digest().clone();
    let given = Consent { by: "bob", digest: &digest, outage_acknowledged: true };
    assert!(matches!(state.consent(&given, now(), &frozen(None)), Err(Denied::Frozen(_))));
    // Whoever has asked may wait for its end.
    let next = super::decide(&state, Some(&plan.expected), moment(now()), &frozen(None));
    assert_eq!(next, Decision::AwaitGate);

    let ready = ready(&plan);
    let first = |barriers: &Barriers| ready.permit(Direction::Forward, Step::Disconnect, now(), barriers);
    assert!(matches!(first(&frozen(None)), Err(Denied::Frozen(_))));
    assert!(matches!(first(&frozen(Some(now().plus(Duration::from_secs(1))))), Err(Denied::Frozen(_))));
    assert!(first(&frozen(Some(now()))).is_ok(), "it has ended");
    let Decision::Conclude(Ending::Refused { reason: Refusal::Frozen, why }) =
        super::decide(&ready, Some(&plan.expected), moment(now()), &frozen(None))
    else {
        panic!("not refused")
    };
    assert!(why.contains("quarter end") && why.contains("cid"), "{why}");

    let direction = Direction::Forward;
    let begun = ready.apply(&Event::StepIntended { direction, step: Step::Disconnect, attempt: 1 }).unwrap();
    let outcome = StepOutcome::Done { request_id: None, how: How::Performed };
    let begun = begun.apply(&Event::StepSettled { direction, step: Step::Disconnect, outcome }).unwrap();
    assert!(begun.permit(direction, Step::Update, now(), &frozen(None)).is_ok());
    let back = begun.apply(&Event::RollbackDecided { why: "it failed".into() }).unwrap();
    assert!(back.permit(Direction::Back, Step::Connect, now(), &frozen(None)).is_ok(), "the right to restore");
}

#[test]
fn a_first_mutation_that_may_come_late_is_not_sent_again_into_a_freeze() {
    let plan = cold(ApprovalRule::None);
    let direction = Direction::Forward;
    let state = ready(&plan).apply(&Event::StepIntended { direction, step: Step::Disconnect, attempt: 1 }).unwrap();
    let outcome = StepOutcome::NotSeen { why: "as before".into() };
    let state = state.apply(&Event::StepSettled { direction, step: Step::Disconnect, outcome }).unwrap();
    assert!(state.permit(direction, Step::Disconnect, now(), &frozen(None)).is_err());
    let later = Moment { now: now(), waited: Duration::from_mins(1) };
    let next = super::decide(&state, Some(&plan.expected), later, &frozen(None));
    assert!(matches!(&next, Decision::RollBack { why } if why.contains("frozen")), "{next:?}");
}

/// What was seen of a candidate with the plan's settings: green for so many minutes, or red.
fn watched(plan: &Plan, minutes: Option<u64>) -> Vigil {
    let PreflightSummary { settings, message, .. } = summary(plan, Verdict::Ready, now());
    Vigil {
        key_store: plan.key_store.clone(),
        candidate: CandidateName::parse("tuesday").unwrap(),
        settings,
        green_since: minutes.map(|minutes| now().minus(Duration::from_mins(minutes))),
        last: now(),
        verdict: if minutes.is_some() { Verdict::Ready } else { Verdict::Blocked },
        message,
    }
}

/// A house that asks for an hour.
fn asking(vigils: Vec<Vigil>) -> Barriers {
    let (required, silence) = (Duration::from_hours(1), Duration::from_mins(5));
    let green = GreenRule { required, silence, vigils, latest: None };
    Barriers { green, ..Barriers::default() }
}

#[test]
fn green_that_comes_in_time_is_waited_for_and_no_other() {
    let plan = planned(endpoint_change(), &Policy { plan_valid_for: Duration::from_mins(20), ..Policy::default() });
    let state = preflighted(&plan).0;
    let decided = |barriers: &Barriers| super::decide(&state, Some(&plan.expected), moment(now()), barriers);
    assert_eq!(decided(&asking(vec![watched(&plan, Some(60))])), Decision::Preflight(Round::Last));
    assert_eq!(decided(&asking(vec![watched(&plan, Some(45))])), Decision::Rest(Duration::from_mins(15)));
    let another = Vigil { settings: SettingsDigest::stated("of another"), ..watched(&plan, Some(600)) };
    let silent = Vigil { last: now().minus(Duration::from_mins(6)), ..watched(&plan, Some(600)) };
    for (vigils, told) in [
        (vec![], "no candidate with exactly these settings"),
        (vec![watched(&plan, Some(30))], "candidate tuesday has 30 min, first possible at"),
        (vec![watched(&plan, None)], "candidate tuesday was blocked at"),
        (vec![another], "of tuesday something differs"),
        (vec![silent], "which is too long ago to count"),
    ] {
        let barriers = asking(vigils);
        let Decision::Conclude(Ending::Refused { reason: Refusal::NotGreen, why }) = decided(&barriers) else {
            panic!("not refused, with {barriers:?}")
        };
        assert!(why.contains("needs 1 h of green") && why.contains(told), "{why}");
        let permit = ready(&plan).permit(Direction::Forward, Step::Disconnect, now(), &barriers);
        assert!(matches!(permit, Err(Denied::NotGreen(_))), "{permit:?}");
    }
    // Of several with the same settings the best counts.
    let named =
        |name: &str, minutes| Vigil { candidate: CandidateName::parse(name).unwrap(), ..watched(&plan, minutes) };
    let several = asking(vec![named("a", Some(5)), named("b", Some(90)), named("c", None)]);
    assert!(ready(&plan).permit(Direction::Forward, Step::Disconnect, now(), &several).is_ok());
    // The later of two is waited for, and one that never ends is told.
    let both = Barriers { opening: Opening::Closed { opens_at: None }, ..asking(vec![watched(&plan, Some(45))]) };
    let ending = decided(&both);
    assert!(matches!(ending, Decision::Conclude(Ending::Refused { reason: Refusal::OutsideWindow, .. })), "{ending:?}");
}

#[test]
fn green_is_asked_of_changes_of_the_proxy_alone_and_never_on_the_way_back() {
    let none = asking(Vec::new());
    let name = CustomKeyStoreName::parse("renamed").unwrap();
    let renaming = planned(Change { name: Some(name), ..Change::default() }, &Policy::default());
    assert!(ready(&renaming).permit(Direction::Forward, Step::Update, now(), &none).is_ok());
    let path = XksProxyUriPath::parse("/new/kms/xks/v1").unwrap();
    let hot = planned(Change { path: Some(path), ..Change::default() }, &Policy::default());
    assert!(ready(&hot).permit(Direction::Forward, Step::Update, now(), &none).is_err());
    let plan = cold(ApprovalRule::None);
    let direction = Direction::Forward;
    let begun = ready(&plan).apply(&Event::StepIntended { direction, step: Step::Disconnect, attempt: 1 }).unwrap();
    let outcome = StepOutcome::Done { request_id: None, how: How::Performed };
    let begun = begun.apply(&Event::StepSettled { direction, step: Step::Disconnect, outcome }).unwrap();
    assert!(begun.permit(direction, Step::Update, now(), &none).is_ok(), "seen through");
    let back = begun.apply(&Event::RollbackDecided { why: "it failed".into() }).unwrap();
    assert!(back.permit(Direction::Back, Step::Connect, now(), &none).is_ok(), "the right to restore");
}

#[test]
fn what_the_latest_verified_update_replaced_may_be_restored_without_green() {
    let held = super::lives::former_credential();
    let plan = planned_with(endpoint_change(), Some(held), &Policy::default());
    let there = ProxyChange::of(&plan).unwrap();
    assert_eq!(ProxyChange::of(&cold(ApprovalRule::None)), None, "whose secret is not known");
    let ProxyChange { from, to } = there.clone();
    let after = |latest| {
        let mut barriers = asking(Vec::new());
        barriers.green.latest = latest;
        ready(&plan).permit(Direction::Forward, Step::Disconnect, now(), &barriers).is_ok()
    };
    assert!(after(Some(ProxyChange { from: to.clone(), to: from.clone() })), "it led from where this one leads to");
    for other in [
        None,
        Some(there),
        Some(ProxyChange { from: to, to: SettingsDigest::stated("something else is in force by now") }),
        Some(ProxyChange { from: SettingsDigest::stated("older settings"), to: from }),
    ] {
        assert!(!after(other.clone()), "{other:?}");
    }
}

#[test]
fn a_window_that_opens_in_time_is_waited_for_and_no_other() {
    let plan = cold(ApprovalRule::None);
    let state = preflighted(&plan).0;
    let decided = |barriers: &Barriers| super::decide(&state, Some(&plan.expected), moment(now()), barriers);
    assert_eq!(decided(&closed(Some(plan.expires_at))), Decision::AwaitGate);
    for too_late in [None, Some(plan.expires_at.plus(Duration::from_secs(1)))] {
        let ending = decided(&closed(too_late));
        let refused = matches!(ending, Decision::Conclude(Ending::Refused { reason: Refusal::OutsideWindow, .. }));
        assert!(refused, "{ending:?}");
    }
    let permit = ready(&plan).permit(Direction::Forward, Step::Disconnect, now(), &closed(None));
    assert!(matches!(permit, Err(Denied::OutsideWindow { opens_at: None })));
    // What takes nothing out of use may happen at any hour.
    let path = XksProxyUriPath::parse("/new/kms/xks/v1").unwrap();
    let hot = planned(Change { path: Some(path), ..Change::default() }, &Policy::default());
    assert!(ready(&hot).permit(Direction::Forward, Step::Update, now(), &closed(None)).is_ok());
}

fn glass_broken(approval: ApprovalRule) -> Plan {
    let wanted = Wanted {
        id: UpdateId::new(&IdSource::from_seed(1), now()),
        change: endpoint_change(),
        options: Options { break_glass: Some("the proxy burns".into()), ..Options::default() },
        former_credential: None,
        former_password: false,
        waivers: Vec::new(),
        keys: Some(KnownKeys { found: 7, complete: true }),
        by: AUTHOR.into(),
    };
    plan(&store(ConnectionState::Connected), wanted, &Policy { approval, ..Policy::default() }, now()).unwrap()
}

#[test]
fn a_broken_glass_passes_by_people_and_hours_but_never_by_a_preflight() {
    let plan = glass_broken(ApprovalRule::Two);
    let green = asking(Vec::new()).green;
    let barriers = Barriers { opening: Opening::Closed { opens_at: None }, green, ..frozen(None) };
    assert_ne!(plan.digest(), cold(ApprovalRule::Two).digest(), "it is part of the plan");
    let state = preflighted(&plan).0;
    let passed_by = vec![PassedBy::Approval, PassedBy::Freeze, PassedBy::Window, PassedBy::Green];
    let decision = super::decide(&state, Some(&plan.expected), moment(now()), &barriers);
    assert_eq!(decision, Decision::BreakGlass { passed_by: passed_by.clone() });
    let broke =
        |by: &str| Event::BrokeGlass { by: by.into(), reason: "the proxy burns".into(), passed_by: passed_by.clone() };
    assert!(state.clone().apply(&broke("bob")).is_err(), "only whoever the plan names");
    assert!(preflighted(&cold(ApprovalRule::Two)).0.apply(&broke(AUTHOR)).is_err(), "its plan says nothing of it");
    let state = state.apply(&broke(AUTHOR)).unwrap();
    let decided = |state: &State| super::decide(state, Some(&plan.expected), moment(now()), &barriers);
    assert_eq!(decided(&state), Decision::Preflight(Round::Last));
    let state = state.apply(&Event::PreflightStarted { round: Round::Last }).unwrap();
    for verdict in [Verdict::Blocked, Verdict::Inconclusive] {
        let summary = summary(&plan, verdict, now());
        let state = state.clone().apply(&Event::PreflightFinished { round: Round::Last, summary }).unwrap();
        assert!(matches!(decided(&state), Decision::Conclude(Ending::Blocked { .. })), "{verdict:?}");
        assert!(state.permit(Direction::Forward, Step::Disconnect, now(), &barriers).is_err());
    }
    let passed = Event::PreflightFinished { round: Round::Last, summary: summary(&plan, Verdict::Ready, now()) };
    let state = state.apply(&passed).unwrap();
    assert_eq!(decided(&state), Decision::Perform(Step::Disconnect));
    assert!(state.permit(Direction::Forward, Step::Disconnect, now(), &barriers).is_ok());
}

#[test]
fn whoever_decides_is_told_the_outage_beforehand() {
    let forecast = glass_broken(ApprovalRule::One).forecast.unwrap();
    assert_eq!((forecast.minutes, forecast.affected_keys), (10, Some(KnownKeys { found: 7, complete: true })));
    let path = XksProxyUriPath::parse("/new/kms/xks/v1").unwrap();
    assert_eq!(planned(Change { path: Some(path), ..Change::default() }, &Policy::default()).forecast, None);
}

/// A plan as version 1 recorded it, before forecasts, approvals by several people and broken glass.
#[test]
fn a_plan_that_an_earlier_version_recorded_is_read() {
    let plan = planned(
        Change { path: Some(XksProxyUriPath::parse("/new/kms/xks/v1").unwrap()), ..Change::default() },
        &Policy::default(),
    );
    let recorded = serde_json::to_value(&plan).unwrap();
    let members: Vec<&str> = recorded["body"].as_object().unwrap().keys().map(String::as_str).collect();
    for later in ["forecast", "break_glass", "reconnect_unproven"] {
        assert!(!members.contains(&later), "{later} is left out where it says nothing, so that old digests hold");
    }
}
