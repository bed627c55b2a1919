//! What the gate takes for a proof, and what it does not: approvals, drift, expiry.

use std::time::Duration;

use proptest::prelude::*;

use super::lives::{endpoint_change, store, summary};
use super::*;
use crate::check::Verdict;
use crate::clock::Timestamp;
use crate::id::{IdSource, ReportId, UpdateId};
use crate::key_store::{Change, ConnectionState, CustomKeyStoreName, XksProxyUriPath};

const AUTHOR: &str = "ann";

fn now() -> Timestamp {
    Timestamp::from_unix(1_000_000)
}

fn moment(now: Timestamp) -> Moment {
    Moment { now, waited: Duration::ZERO }
}

fn planned(change: Change, policy: &Policy) -> Plan {
    let wanted = Wanted {
        id: UpdateId::new(&IdSource::from_seed(1), now()),
        change,
        options: Options::default(),
        former_credential: None,
        former_password: false,
        waivers: Vec::new(),
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
    state.consent(&Consent { by, digest, outage_acknowledged: true }, now())
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
        assert_eq!(state.consent(&stated, now()), Err(Denied::OtherPlan));
        let forged = Event::ApprovalGiven { by: "bob".into(), digest, outage_acknowledged: true };
        assert_eq!(state.clone().apply(&forged).unwrap_err().why, "other_plan");
    }
    let digest = state.proposal().unwrap().digest().clone();
    let unaware = Consent { by: "bob", digest: &digest, outage_acknowledged: false };
    assert_eq!(state.consent(&unaware, now()), Err(Denied::OutageNotAcknowledged));
    let forged = Event::ApprovalGiven { by: AUTHOR.into(), digest: digest.clone(), outage_acknowledged: true };
    assert_eq!(state.clone().apply(&forged).unwrap_err().why, "author_may_not_approve");

    let approved = state.clone().apply(&consent(&state, "bob").unwrap()).unwrap();
    assert_eq!(decide(&approved, Some(&plan.expected), moment(now())), Decision::Preflight(Round::Last));
    assert!(matches!(approved.phase(), Phase::Approved(approval) if approval.by() == ["bob"]));
    let again = approved.consent(&Consent { by: "cid", digest: &digest, outage_acknowledged: true }, now());
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
    assert!(state.consent(&given, plan.expires_at).is_ok());
    assert_eq!(state.consent(&given, late), Err(Denied::Expired { at: plan.expires_at }));
    let Decision::Conclude(ending) = decide(&state, Some(&plan.expected), moment(late)) else { panic!("it waits") };
    assert!(matches!(ending, Ending::Refused { reason: Refusal::Expired, .. }), "{ending:?}");
    let over = state.apply(&Event::Concluded { ending }).unwrap();
    assert_eq!(over.consent(&given, late), Err(Denied::Expired { at: plan.expires_at }));
    assert_eq!(over.status().status, StatusName::Refused);
}

#[test]
fn a_change_in_place_has_no_outage_to_acknowledge() {
    let path = XksProxyUriPath::parse("/new/kms/xks/v1").unwrap();
    let policy = Policy { approval: ApprovalRule::One, ..Policy::default() };
    let state = awaiting(&planned(Change { path: Some(path), ..Change::default() }, &policy));
    let digest = state.proposal().unwrap().digest();
    assert!(state.consent(&Consent { by: "bob", digest, outage_acknowledged: false }, now()).is_ok());
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
            let event = state.consent(&Consent { by, digest: &digest, outage_acknowledged: aware }, now());
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
