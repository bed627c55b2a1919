//! What must have been recorded before a mutation may be sent, told anew from the events alone: the gate is not asked.

use super::*;

/// Fails the life if the mutation was not to be sent now.
pub(super) fn allows(plan: &Plan, events: &[Event], direction: Direction, step: Step, now: Timestamp) {
    let decided = events.iter().any(|event| matches!(event, Event::RollbackDecided { .. }));
    if direction == Direction::Back {
        assert!(decided, "nobody decided to go back: {step}");
        return;
    }
    assert!(!decided, "forward after it was decided to go back: {step}");
    assert!(plan.steps.contains(&step), "no step of the plan: {step}");
    let had_effect = |event: &Event| {
        let Event::StepSettled { outcome, .. } = event else { return false };
        matches!(outcome, StepOutcome::Done { .. } | StepOutcome::Unobservable { .. })
    };
    if events.iter().any(had_effect) {
        return;
    }
    let last = events.iter().rev().find_map(|event| match event {
        Event::PreflightFinished { round, summary } => Some((*round, summary)),
        _ => None,
    });
    let Some((Round::Last, passed)) = last else {
        panic!("no pre-flight directly before the first mutation: {last:?}")
    };
    assert_eq!(passed.settings, plan.settings());
    // A disconnect that was asked for in spite of what is found, and of what is out of use already, needs no more.
    assert!(passed.verdict == Verdict::Ready || plan.reconnect_unproven, "{:?}", passed.verdict);
    let age = now.seconds_since(passed.finished_at);
    assert!(age >= 0.0 && age <= plan.limits.preflight_valid_for().as_secs_f64(), "a pre-flight of {age} s ago");
    assert!(now <= plan.expires_at, "the plan had expired");
    if plan.rotation.is_some() {
        let both = CredentialsSeen { new: Acceptance::Accepted, former: Acceptance::Accepted };
        assert_eq!(passed.credentials, Some(both), "a rotation began without seeing both credentials accepted");
    }
    let consents: std::collections::BTreeSet<&str> = events
        .iter()
        .filter_map(|event| match event {
            Event::ApprovalGiven { by, .. } => Some(by.as_str()),
            _ => None,
        })
        .filter(|by| *by != plan.requested_by)
        .collect();
    let needed = match plan.approval {
        ApprovalRule::None => 0,
        ApprovalRule::One => 1,
        ApprovalRule::Two => 2,
    };
    assert!(consents.len() >= needed, "{needed} must agree, and {consents:?} did");
}
