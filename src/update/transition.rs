//! The transitions of [`State::apply`](super::State::apply), one function for each kind of event.

use super::approval::{Approval, Proposal};
use super::gate::{PreflightPassed, PreflightSummary};
use super::plan::Plan;
use super::rotation::Rotating;
use super::state::{Phase, Ready, Return, Run};
use super::{Direction, How, Round, Step, StepOutcome};
use crate::check::Verdict;

pub(super) fn preflight_started(phase: Phase, round: Round) -> Result<Phase, &'static str> {
    let (approval, attempts) = match (phase, round) {
        // After a first pre-flight that passed, the second follows directly when nobody has to agree.
        (Phase::Planned | Phase::Preflighting { round: Round::First, .. }, Round::First)
        | (Phase::Passed(_), Round::Last) => (None, 0),
        (Phase::Approved(approval), Round::Last) => (Some(approval), 0),
        (Phase::Ready(ready), Round::Last) => (Some(ready.approval), ready.attempts),
        (Phase::Preflighting { round: Round::Last, approval, attempts }, Round::Last) => (approval, attempts),
        (Phase::Running(run), Round::Verification) => {
            let verifications = run.verifications.saturating_add(1);
            return Ok(Phase::Running(Run { verifications, verified: None, ..run }));
        }
        _ => return Err("this pre-flight does not come now"),
    };
    Ok(Phase::Preflighting { round, approval, attempts })
}

pub(super) fn preflight_finished(
    plan: &Plan,
    phase: Phase,
    round: Round,
    summary: &PreflightSummary,
) -> Result<Phase, &'static str> {
    match (phase, round) {
        (Phase::Preflighting { round: Round::First, .. }, Round::First) => Ok(match Proposal::of(plan, summary) {
            Ok(proposal) => Phase::Passed(proposal),
            Err(_) => Phase::NotPassed(summary.clone()),
        }),
        (Phase::Preflighting { round: Round::Last, approval, attempts }, Round::Last) => {
            let approval = approval.or_else(|| Approval::not_required(plan)).ok_or("nobody has agreed to the plan")?;
            Ok(match PreflightPassed::of(plan, summary) {
                Ok(passed) => Phase::Ready(Ready { passed, approval, attempts, failure: None }),
                Err(_) => Phase::NotPassed(summary.clone()),
            })
        }
        (Phase::Running(run), Round::Verification) => {
            // A verification of other settings proves nothing, whatever it says.
            let verdict = if summary.settings == plan.settings() { summary.verdict } else { Verdict::Inconclusive };
            if let (Verdict::Ready, Some(terms)) = (verdict, &plan.rotation) {
                return Ok(Phase::Rotating(Rotating::begin(terms.clone(), &run)));
            }
            Ok(Phase::Running(Run { verified: Some(PreflightSummary { verdict, ..summary.clone() }), ..run }))
        }
        _ => Err("this pre-flight is not running"),
    }
}

pub(super) fn intended(plan: &Plan, phase: Phase, direction: Direction, step: Step) -> Result<Phase, &'static str> {
    match (phase, direction) {
        (Phase::Ready(ready), Direction::Forward) if plan.steps.first() == Some(&step) => Ok(Phase::Running(Run {
            done: 0,
            attempts: ready.attempts.saturating_add(1),
            ready,
            unsettled: Some(step),
            failure: None,
            maybe_applied: step == Step::Update,
            blind: false,
            unseen: false,
            login_refused: None,
            verifications: 0,
            verified: None,
            rollback_wanted: None,
        })),
        (Phase::Running(run), Direction::Forward)
            if run.unsettled.is_none() && plan.steps.get(run.done) == Some(&step) =>
        {
            Ok(Phase::Running(Run {
                attempts: run.attempts.saturating_add(1),
                unsettled: Some(step),
                maybe_applied: run.maybe_applied || step == Step::Update,
                ..run
            }))
        }
        (Phase::RollingBack(mut back), Direction::Back) if back.unsettled.is_none() => {
            back.tries.count(step);
            Ok(Phase::RollingBack(Return { unsettled: Some(step), ..back }))
        }
        _ => Err("this step is not what comes next"),
    }
}

pub(super) fn settled(
    plan: &Plan,
    phase: Phase,
    direction: Direction,
    step: Step,
    outcome: &StepOutcome,
) -> Result<Phase, &'static str> {
    match (phase, direction) {
        (Phase::Running(run), Direction::Forward) => settled_forward(plan, run, step, outcome),
        (Phase::RollingBack(back), Direction::Back) if back.unsettled == Some(step) => {
            let done = matches!(outcome, StepOutcome::Done { .. });
            Ok(Phase::RollingBack(Return {
                unsettled: None,
                restored: back.restored || (done && step == Step::Update),
                // Whoever refused the login did so with other settings than those that are in force now.
                login_refused: back.login_refused.filter(|_| !(done && step == Step::Update)),
                failure: (!done).then(|| outcome.clone()),
                ..back
            }))
        }
        _ => Err("this step was not intended"),
    }
}

fn settled_forward(plan: &Plan, run: Run, step: Step, outcome: &StepOutcome) -> Result<Phase, &'static str> {
    // What is found already so needs no intention: nothing is going to be done.
    let found = matches!(outcome, StepOutcome::Done { how: How::FoundAlreadySo, .. });
    let expected = plan.steps.get(run.done) == Some(&step);
    if run.unsettled != Some(step) && !(run.unsettled.is_none() && found && expected) {
        return Err("this step was not intended");
    }
    match outcome {
        StepOutcome::Done { .. } => Ok(Phase::Running(Run {
            done: run.done.saturating_add(1),
            attempts: 0,
            unsettled: None,
            unseen: false,
            failure: None,
            maybe_applied: run.maybe_applied || step == Step::Update,
            ..run
        })),
        // The first mutation had no effect, so none has happened yet: back behind the gate, where a fresh pre-flight
        // is needed again. Not so when an earlier attempt may take effect late, or did so where nobody can see it: then
        // there may be something to undo.
        StepOutcome::Refused { .. } | StepOutcome::NotDone { .. }
            if run.is_still_first() && !run.unseen && !run.blind =>
        {
            Ok(Phase::Ready(Ready { attempts: run.attempts, failure: Some(outcome.clone()), ..run.ready }))
        }
        _ => {
            let blind = run.blind || matches!(outcome, StepOutcome::Unobservable { .. });
            Ok(Phase::Running(Run {
                unsettled: None,
                failure: Some(outcome.clone()),
                unseen: run.unseen || matches!(outcome, StepOutcome::NotSeen { .. }),
                blind,
                maybe_applied: blind || (run.maybe_applied && step != Step::Update),
                ..run
            }))
        }
    }
}
