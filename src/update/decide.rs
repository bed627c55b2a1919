//! What is next: a pure function of the recorded state, of what the key store shows, and of time.

use std::time::Duration;

use super::barrier::{Barriers, PassedBy};
use super::change::drift;
use super::gate::{BOTH_NEEDED, Denied, PreflightSummary};
use super::plan::Plan;
use super::policy::ApprovalRule;
use super::rotation;
use super::state::{Phase, Ready, Return, Run, State};
use super::{BlockedBy, Direction, Ending, How, Refusal, Round, Standing, Step, StepOutcome};
use crate::check::Verdict;
use crate::clock::Timestamp;
use crate::key_store::{ConnectionState, KeyStore};

/// Time, as a decision sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Wall time, for expiry and freshness.
    pub now: Timestamp,
    /// How long it is since the last event other than an observation was recorded, or since this process took the
    /// update over, if that was later. A restart starts the waiting anew: nobody knows how long the last one waited.
    pub waited: Duration,
}

/// What the driver does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Run a pre-flight and record its result.
    Preflight(Round),
    /// Record that a person must agree.
    RequestApproval,
    /// Record that what stands in the way is passed by.
    BreakGlass {
        /// What does.
        passed_by: Vec<PassedBy>,
    },
    /// A person must agree, or a window open; nothing to do until then.
    AwaitGate,
    /// Record the intention and carry the step out, towards the new settings.
    Perform(Step),
    /// Record the intention and carry the step out, back to the former settings.
    Undo(Step),
    /// Record how a step ended; the key store shows it.
    Settle(Direction, Step, StepOutcome),
    /// Record that it goes back.
    RollBack {
        /// Why.
        why: String,
    },
    /// Of a rotation: look at both credentials and record it if it is news.
    Watch(Round),
    /// Of a rotation: record that a person must remove the former credential.
    AwaitRemoval {
        /// How long that is waited for.
        until: Timestamp,
    },
    /// Look again a little later.
    Wait,
    /// Look again after this time, or a little earlier.
    Rest(Duration),
    /// Record the end.
    Conclude(Ending),
}

/// What is next for the update in `state`, when KMS shows the key store as `found`; `None` when KMS says that it does
/// not exist.
pub fn decide(state: &State, found: Option<&KeyStore>, moment: Moment, barriers: &Barriers) -> Decision {
    let plan = state.plan();
    match state.phase() {
        Phase::Concluded(_) => Decision::Wait,
        Phase::Running(run) => match found {
            Some(found) => forward(state, run, found, moment, barriers),
            None => gone(),
        },
        Phase::Rotating(rotating) => match found {
            Some(found) => rotation::decide(plan, rotating, state.cancelled_by(), found, moment),
            None => gone(),
        },
        Phase::RollingBack(back) => match found {
            Some(found) => backward(plan, back, found, moment),
            None => gone(),
        },
        _ => before(state, found, moment, barriers),
    }
}

// --- before the first mutation: every way out leaves no trace ---

fn before(state: &State, found: Option<&KeyStore>, moment: Moment, barriers: &Barriers) -> Decision {
    let plan = state.plan();
    if let Some(by) = state.cancelled_by() {
        return Decision::Conclude(Ending::Abandoned { by: by.to_owned() });
    }
    // Known results first: they are true whatever the key store shows by now.
    match state.phase() {
        Phase::NotPassed(summary) => return Decision::Conclude(blocked(plan, summary)),
        Phase::Ready(Ready { failure: Some(StepOutcome::Refused { exception, message, .. }), .. }) => {
            return Decision::Conclude(Ending::Blocked {
                by: BlockedBy::Kms,
                exception: *exception,
                message: message.clone(),
            });
        }
        _ => {}
    }
    let Some(found) = found else {
        return refused(Refusal::Gone, "the key store does not exist any more in this account and Region".to_owned());
    };
    let drifted = drift(found, &plan.expected);
    if !drifted.is_empty() {
        let drifted = drifted.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let why = format!("the key store is not what the plan was made for ({drifted}); plan again");
        return refused(Refusal::Drift, why);
    }
    if moment.now > plan.expires_at {
        return refused(Refusal::Expired, format!("the plan expired at {}; plan again", plan.expires_at));
    }
    if let (Phase::Passed(_), Some(_)) = (state.phase(), &plan.break_glass) {
        return Decision::BreakGlass { passed_by: barriers.passed_by(plan, moment.now) };
    }
    if let Some(denied) = state.barred(moment.now, barriers) {
        return barred(plan, &denied, moment.now);
    }
    match state.phase() {
        Phase::Passed(_) if plan.approval != ApprovalRule::None => Decision::RequestApproval,
        Phase::AwaitingApproval(_) => Decision::AwaitGate,
        Phase::Passed(_) | Phase::Approved(_) => Decision::Preflight(Round::Last),
        Phase::Preflighting { round, .. } => Decision::Preflight(*round),
        Phase::Ready(ready) => first_mutation(plan, ready, moment),
        _ => Decision::Preflight(Round::First),
    }
}

/// What ends in time is waited for.
fn barred(plan: &Plan, denied: &Denied, now: Timestamp) -> Decision {
    let too_late = || format!("{denied}; the plan expires at {}", plan.expires_at);
    match (denied, denied.ends_at().filter(|at| *at <= plan.expires_at)) {
        (Denied::NotGreen(_), Some(at)) => {
            let pause = u64::try_from(at.unix_millis() - now.unix_millis()).unwrap_or(0);
            Decision::Rest(Duration::from_millis(pause))
        }
        (_, Some(_)) => Decision::AwaitGate,
        (Denied::OutsideWindow { .. }, None) => refused(Refusal::OutsideWindow, too_late()),
        (Denied::NotGreen(_), None) => refused(Refusal::NotGreen, too_late()),
        (_, None) => refused(Refusal::Frozen, denied.to_string()),
    }
}

fn first_mutation(plan: &Plan, ready: &Ready, moment: Moment) -> Decision {
    if ready.attempts >= plan.limits.attempts {
        let why = ready.failure.as_ref().map(ToString::to_string).unwrap_or_default();
        let why = format!("the first step had no effect in {} attempts ({why})", ready.attempts);
        return refused(Refusal::NoEffect, why);
    }
    if moment.waited < plan.limits.pause_after(ready.attempts) {
        return Decision::Wait;
    }
    if !ready.passed.is_fresh(plan, moment.now) {
        return Decision::Preflight(Round::Last);
    }
    // A plan without steps is not made.
    plan.steps.first().map_or(Decision::AwaitGate, |step| Decision::Perform(*step))
}

fn blocked(plan: &Plan, summary: &PreflightSummary) -> Ending {
    let message = if summary.settings == plan.settings() {
        match summary.verdict {
            Verdict::Ready => BOTH_NEEDED.to_owned(),
            Verdict::Blocked | Verdict::Inconclusive => summary.message.clone(),
        }
    } else {
        "the pre-flight probed other settings than the plan's, which proves nothing".to_owned()
    };
    Ending::Blocked { by: BlockedBy::Preflight(summary.report), exception: summary.exception, message }
}

fn refused(reason: Refusal, why: String) -> Decision {
    Decision::Conclude(Ending::Refused { why, reason })
}

// --- towards the new settings ---

fn forward(state: &State, run: &Run, found: &KeyStore, moment: Moment, barriers: &Barriers) -> Decision {
    let plan = state.plan();
    let standing = plan.standing(found);
    if standing == Standing::Foreign {
        return foreign();
    }
    if let Some(step) = run.unsettled {
        let shown = standing.shows_new();
        return settle(plan, Direction::Forward, step, shown, found, moment);
    }
    if let Some(by) = &run.rollback_wanted {
        return roll_back(format!("{by} asked for it"));
    }
    let Some(step) = plan.steps.get(run.done).copied() else {
        return arrival(plan, run, found, standing, moment);
    };
    let kept = not_yet(plan, run, step, found, standing, moment);
    // An attempt whose answer was lost took effect after all, and KMS refused to do it twice.
    if let Some(found_so @ Decision::Settle(..)) = kept {
        return found_so;
    }
    if let Some(StepOutcome::Refused { message, .. }) = &run.failure {
        return roll_back(format!("KMS refused {step}: {message}"));
    }
    if run.attempts >= plan.limits.attempts {
        let why = run.failure.as_ref().map(ToString::to_string).unwrap_or_default();
        return roll_back(format!("{step} had no effect in {} attempts ({why})", run.attempts));
    }
    if let Some(decision) = kept {
        return decision;
    }
    let too_old = || !run.ready.passed.is_fresh(plan, moment.now) || moment.now > plan.expires_at;
    if run.is_still_first() && too_old() {
        let why = run.failure.as_ref().map(ToString::to_string).unwrap_or_default();
        return roll_back(format!("{step} was sent ({why}), and its pre-flight is too old by now to send it again"));
    }
    if let Some(denied) = state.barred(moment.now, barriers) {
        let why = run.failure.as_ref().map(ToString::to_string).unwrap_or_default();
        return roll_back(format!("{step} was sent ({why}), and is not sent again: {denied}"));
    }
    if moment.waited < plan.limits.pause_after(run.attempts) { Decision::Wait } else { Decision::Perform(step) }
}

/// What keeps the next step from being carried out, if something does.
fn not_yet(
    plan: &Plan,
    run: &Run,
    step: Step,
    found: &KeyStore,
    standing: Standing,
    moment: Moment,
) -> Option<Decision> {
    let found_so = || {
        let outcome = StepOutcome::Done { request_id: None, how: How::FoundAlreadySo };
        Decision::Settle(Direction::Forward, step, outcome)
    };
    // The update is there although its call seemed to have had no effect: it arrived late.
    if step == Step::Update && standing == Standing::New {
        return Some(found_so());
    }
    if step == Step::Connect && !standing.shows_new() {
        return Some(within(moment, plan.limits.settle(), || {
            roll_back("KMS accepted the new settings and does not show them".to_owned())
        }));
    }
    let disconnected_by_us = plan.steps.get(..run.done).is_some_and(|done| done.contains(&Step::Disconnect));
    let needs = match step {
        Step::Update if !disconnected_by_us => &plan.expected.state,
        Step::Update | Step::Connect => &ConnectionState::Disconnected,
        // CONNECTED, but for a disconnect alone.
        Step::Disconnect => &plan.expected.state,
    };
    if found.state == *needs {
        return None;
    }
    Some(match (&found.state, step) {
        (ConnectionState::Disconnecting | ConnectionState::Disconnected, Step::Disconnect) if run.unseen => found_so(),
        (ConnectionState::Connected | ConnectionState::Connecting | ConnectionState::Failed(_), Step::Connect) => {
            found_so()
        }
        (ConnectionState::Disconnecting, Step::Update | Step::Connect) => {
            within(moment, plan.limits.disconnect(), || roll_back("it did not become DISCONNECTED in time".to_owned()))
        }
        // A disconnect that KMS has just accepted may not show at once.
        (ConnectionState::Connected, Step::Update) if disconnected_by_us => {
            within(moment, plan.limits.settle(), || roll_back("somebody else connected the key store".to_owned()))
        }
        (ConnectionState::Unrecognized(_), _) => {
            within(moment, plan.limits.disconnect(), || roll_back(format!("the key store is {}", found.state)))
        }
        (other, _) => roll_back(format!("the key store is {other}, which is not our doing")),
    })
}

/// All steps are done: wait for the connection state they lead to, then verify.
fn arrival(plan: &Plan, run: &Run, found: &KeyStore, standing: Standing, moment: Moment) -> Decision {
    let limits = &plan.limits;
    if !standing.shows_new() {
        return within(moment, limits.settle(), || {
            roll_back("KMS accepted the new settings and does not show them".to_owned())
        });
    }
    match (&found.state, plan.ends_connected()) {
        // There is nothing to probe for: it is out of use, as was asked for.
        (ConnectionState::Disconnected, false) if plan.only_disconnects() => Decision::Conclude(Ending::Verified),
        (ConnectionState::Disconnecting, false) if plan.only_disconnects() => {
            within(moment, limits.disconnect(), || roll_back("it did not become DISCONNECTED in time".to_owned()))
        }
        // A disconnect that KMS has just accepted may not show at once.
        (former, false) if plan.only_disconnects() && *former == plan.expected.state => {
            within(moment, limits.settle(), || roll_back(format!("the key store stays {former}")))
        }
        (ConnectionState::Connected, true) | (ConnectionState::Disconnected, false) => verification(plan, run, moment),
        (ConnectionState::Connecting, true) => {
            within(moment, limits.connect(), || roll_back("it did not become CONNECTED in time".to_owned()))
        }
        (ConnectionState::Failed(code), _) => {
            roll_back(format!("the connect ended FAILED with {code}: {}", code.meaning()))
        }
        // A connect may end at once, without ever showing as FAILED (developer guide, fixing a key store).
        (ConnectionState::Disconnected, true) => {
            within(moment, limits.settle(), || roll_back("the connect ended DISCONNECTED at once".to_owned()))
        }
        (ConnectionState::Unrecognized(_), _) => {
            within(moment, limits.connect(), || roll_back(format!("the key store is {}", found.state)))
        }
        (other, _) => roll_back(format!("the key store is {other}, which is not our doing")),
    }
}

fn verification(plan: &Plan, run: &Run, moment: Moment) -> Decision {
    let Some(summary) = &run.verified else { return Decision::Preflight(Round::Verification) };
    match summary.verdict {
        Verdict::Ready => Decision::Conclude(Ending::Verified),
        Verdict::Blocked => roll_back(format!("the verification failed: {}", summary.message)),
        Verdict::Inconclusive if run.verifications < plan.limits.attempts => {
            let pause = plan.limits.pause_after(run.verifications);
            if moment.waited < pause { Decision::Wait } else { Decision::Preflight(Round::Verification) }
        }
        // Going back would cost a second outage for what may be our own fault; saying that it is fine would be a lie.
        Verdict::Inconclusive => stuck(
            format!("the new settings are in force and could not be verified: {}", summary.message),
            "pre-flight the key store as it is (POST /v1/preflights, or `xks-preflight check` for a proxy); then keep the \
             new settings, or ask for an update back to the former ones",
        ),
    }
}

// --- back to the former settings ---

fn backward(plan: &Plan, back: &Return, found: &KeyStore, moment: Moment) -> Decision {
    let standing = plan.standing(found);
    if standing == Standing::Foreign {
        return foreign();
    }
    if let Some(step) = back.unsettled {
        return settle(plan, Direction::Back, step, standing.shows_former(), found, moment);
    }
    let must_restore = !standing.shows_former() || (plan.changes_secret() && back.maybe_applied && !back.restored);
    let restore = if must_restore { plan.restore() } else { None };
    let limits = &plan.limits;
    match &found.state {
        ConnectionState::Connected => match restore {
            Some(restore) if restore.cold_members().is_empty() => undo(plan, back, Step::Update, found, moment),
            None if must_restore => irreversible(plan, back, found),
            None if plan.was_connected() => Decision::Conclude(Ending::RolledBack { why: back.why.clone() }),
            Some(_) | None => undo(plan, back, Step::Disconnect, found, moment),
        },
        ConnectionState::Disconnected => match restore {
            Some(_) => undo(plan, back, Step::Update, found, moment),
            None if back.login_refused.is_some() && (must_restore || plan.was_connected()) => {
                login_refused(back, found)
            }
            // Without a way back, connected with the new settings is the best that is left.
            None if plan.was_connected() => undo(plan, back, Step::Connect, found, moment),
            None if must_restore => irreversible(plan, back, found),
            None => Decision::Conclude(Ending::RolledBack { why: back.why.clone() }),
        },
        ConnectionState::Failed(_) => {
            if back.tries.of(Step::Connect) >= attempts(plan, Step::Connect) {
                exhausted(back, Step::Connect, found)
            } else {
                undo(plan, back, Step::Disconnect, found, moment)
            }
        }
        ConnectionState::Connecting if restore.is_some() => undo(plan, back, Step::Disconnect, found, moment),
        ConnectionState::Connecting => {
            if moment.waited < limits.connect() {
                Decision::Wait
            } else {
                undo(plan, back, Step::Disconnect, found, moment)
            }
        }
        ConnectionState::Disconnecting => within(moment, limits.disconnect(), || too_long(back, found)),
        ConnectionState::Unrecognized(_) => within(moment, limits.connect(), || too_long(back, found)),
    }
}

fn undo(plan: &Plan, back: &Return, step: Step, found: &KeyStore, moment: Moment) -> Decision {
    let tries = back.tries.of(step);
    if tries >= attempts(plan, step) {
        return exhausted(back, step, found);
    }
    // The first attempt follows at once; what KMS has just accepted or refused gets time to show before the next. A
    // secret that was sent without an answer must arrive before the former one is sent, or it would come out on top.
    let blindly = back.maybe_blind && step == Step::Update;
    let pause = match tries {
        0 if blindly => plan.limits.settle(),
        0 => Duration::ZERO,
        _ => plan.limits.pause_after(tries).max(plan.limits.settle()),
    };
    if moment.waited < pause { Decision::Wait } else { Decision::Undo(step) }
}

/// How often a connect of a CloudHSM key store is attempted on the way back. Every one logs in to the cluster, and with
/// the one on the way forward it is still fewer than the five wrong passwords that lock `kmsuser` out.
const MOST_LOGINS_BACK: u32 = 3;

/// How often a step is attempted on the way back.
fn attempts(plan: &Plan, step: Step) -> u32 {
    let logs_in = plan.is_cloud_hsm() && step == Step::Connect;
    if logs_in { plan.limits.attempts.min(MOST_LOGINS_BACK) } else { plan.limits.attempts }
}

const LOOK: &str = "look at the key store in the KMS console and at KMS's messages in this update's events; bring it to \
                    DISCONNECTED, update it to settings that work, and connect it";

fn exhausted(back: &Return, step: Step, found: &KeyStore) -> Decision {
    let last = back.failure.as_ref().map(|failure| format!("; last: {failure}")).unwrap_or_default();
    stuck(format!("going back ({}) failed at {step}{last}; the key store is {}", back.why, found.state), LOOK)
}

fn login_refused(back: &Return, found: &KeyStore) -> Decision {
    let code = back.login_refused.map(|login| login.code().to_string()).unwrap_or_default();
    stuck(
        format!(
            "{}; the cluster refuses kmsuser with the password that KMS has now ({code}), and it is not tried again, \
             because five wrong ones lock kmsuser out; the key store is {}",
            back.why, found.state
        ),
        "set the password of kmsuser in the cluster with the CloudHSM CLI (which also unlocks it) and log it out there; \
         then ask for an update with this KeyStorePassword and the option to connect",
    )
}

fn too_long(back: &Return, found: &KeyStore) -> Decision {
    stuck(format!("going back ({}), and the key store stays {} for too long", back.why, found.state), LOOK)
}

fn irreversible(plan: &Plan, back: &Return, found: &KeyStore) -> Decision {
    let why = match &plan.rollback {
        super::Rollback::Impossible { why } => why.as_str(),
        super::Rollback::Restore(_) => "no reason is known",
    };
    stuck(
        format!(
            "{}; the former settings cannot be restored ({why}); the key store is {} with the new ones",
            back.why, found.state
        ),
        "pre-flight the key store as it is (POST /v1/preflights, or `xks-preflight check` for a proxy); then keep the new \
         settings, or give KMS the former ones yourself",
    )
}

// --- both ways ---

/// Tells from the key store how a step ended that was intended and never settled: after a crash, or a lost answer.
fn settle(
    plan: &Plan,
    direction: Direction,
    step: Step,
    settings_shown: bool,
    found: &KeyStore,
    moment: Moment,
) -> Decision {
    let changes_visibly = plan.standing(found) != Standing::Indistinguishable;
    let done = match step {
        Step::Disconnect => {
            matches!(found.state, ConnectionState::Disconnecting | ConnectionState::Disconnected)
        }
        Step::Connect => {
            matches!(found.state, ConnectionState::Connecting | ConnectionState::Connected | ConnectionState::Failed(_))
        }
        // The one thing that KMS never shows is a secret. Under an unchanged access key id nothing tells whether KMS
        // has the new one, so the update is sent again. That is no second mutation by guess: it carries the same
        // values, and KMS ends with them whether or not the first one arrived.
        Step::Update if !changes_visibly => {
            let why = "KMS shows no secrets, so it is sent again with the same values".to_owned();
            return Decision::Settle(direction, step, StepOutcome::Unobservable { why });
        }
        Step::Update => settings_shown,
    };
    if done {
        let outcome = StepOutcome::Done { request_id: None, how: How::FoundAlreadySo };
        return Decision::Settle(direction, step, outcome);
    }
    // The call may still be on its way to KMS: nothing is concluded from one look.
    within(moment, plan.limits.settle(), || {
        let why = format!("the key store is {} and shows no effect of it", found.state);
        Decision::Settle(direction, step, StepOutcome::NotSeen { why })
    })
}

fn within(moment: Moment, bound: Duration, otherwise: impl FnOnce() -> Decision) -> Decision {
    if moment.waited < bound { Decision::Wait } else { otherwise() }
}

fn roll_back(why: String) -> Decision {
    Decision::RollBack { why }
}

fn stuck(why: String, instruction: &str) -> Decision {
    Decision::Conclude(Ending::Stuck { why, instruction: instruction.to_owned() })
}

fn foreign() -> Decision {
    stuck(
        "somebody else changed the key store's settings in the middle of the update; they are left as they are"
            .to_owned(),
        "find out who changed it (CloudTrail, UpdateCustomKeyStore), decide which settings are right, and see that the \
         key store is CONNECTED with them",
    )
}

fn gone() -> Decision {
    stuck(
        "the key store does not exist any more in this account and Region".to_owned(),
        "find out who deleted it (CloudTrail, DeleteCustomKeyStore), or whether the AWS identity or Region of this \
         program was changed",
    )
}
