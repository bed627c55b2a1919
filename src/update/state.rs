//! Where an update is, and the one function that moves it.

use std::time::Duration;

use serde::Serialize;

use super::approval::{Approval, Consent, Proposal};
use super::barrier::Barriers;
use super::gate::{Denied, Permit, PreflightPassed, PreflightSummary};
use super::plan::Plan;
use super::policy::ApprovalRule;
use super::rotation::Rotating;
use super::transition;
use super::{Direction, Ending, Event, Refusal, Round, Step, StepOutcome};
use crate::clock::Timestamp;
use crate::key_store::{ConnectionErrorCode, ConnectionState};

/// An event that cannot follow: the record was altered, or this program has a fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event {event} cannot follow while {phase}: {why}")]
pub struct IllegalEvent {
    /// The event's name.
    pub event: &'static str,
    /// Where the update was.
    pub phase: &'static str,
    /// The rule.
    pub why: &'static str,
}

/// An update as its events have left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    plan: Plan,
    phase: Phase,
    cancelled: Option<String>,
}

/// Where an update is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Only planned.
    Planned,
    /// A pre-flight before the first mutation is running, or was when we stopped.
    Preflighting {
        /// Which one.
        round: Round,
        /// The approval, when it is already there.
        approval: Option<Approval>,
        /// Attempts of the first mutation that certainly had no effect.
        attempts: u32,
    },
    /// A pre-flight before the first mutation did not pass.
    NotPassed(PreflightSummary),
    /// The first pre-flight passed.
    Passed(Proposal),
    /// A person must agree, or one more.
    AwaitingApproval(Proposal),
    /// Whoever must agree has agreed.
    Approved(Approval),
    /// The second pre-flight passed: the first mutation may happen.
    Ready(Ready),
    /// The first mutation was intended.
    Running(Run),
    /// Of a rotation: the update is verified, and the former credential is on its way out.
    Rotating(Rotating),
    /// It goes back.
    RollingBack(Return),
    /// It is over.
    Concluded(Ending),
}

/// Everything is in place for the first mutation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    pub(super) passed: PreflightPassed,
    pub(super) approval: Approval,
    /// Attempts of the first mutation that certainly had no effect.
    pub(super) attempts: u32,
    /// How the last of them ended.
    pub(super) failure: Option<StepOutcome>,
}

/// On the way to the new settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub(super) ready: Ready,
    /// How many of the plan's steps are done.
    pub(super) done: usize,
    /// Attempts of the next step so far.
    pub(super) attempts: u32,
    /// A step that was intended and not settled.
    pub(super) unsettled: Option<Step>,
    /// How the last attempt of the next step ended, if not well.
    pub(super) failure: Option<StepOutcome>,
    /// Whether the new settings may be in force.
    pub(super) maybe_applied: bool,
    /// Whether an attempt of the update may have had an effect that nobody can see.
    pub(super) blind: bool,
    /// Whether an attempt of the next step was not answered and may take effect late.
    pub(super) unseen: bool,
    /// How the cluster refused kmsuser's login, if it did; see [`login_refused`].
    pub(super) login_refused: Option<RefusedLogin>,
    /// The verifications that have run, and the last one's result.
    pub(super) verifications: u32,
    pub(super) verified: Option<PreflightSummary>,
    pub(super) rollback_wanted: Option<String>,
}

impl Run {
    /// Whether no mutation is known to have had an effect, though one may have had it late, or where nobody can see it.
    ///
    /// What comes next is the first mutation then, and needs all that the first one needs, however often it was sent.
    pub fn is_still_first(&self) -> bool {
        self.done == 0
    }
}

/// How a cluster refuses the login of `kmsuser`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedLogin {
    /// The password is wrong.
    InvalidCredentials,
    /// There were too many wrong ones.
    UserLockedOut,
}

impl RefusedLogin {
    /// The code in which the connect ended.
    pub(super) fn code(self) -> ConnectionErrorCode {
        match self {
            Self::InvalidCredentials => ConnectionErrorCode::InvalidCredentials,
            Self::UserLockedOut => ConnectionErrorCode::UserLockedOut,
        }
    }
}

/// On the way back to the former settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Return {
    pub(super) why: String,
    pub(super) unsettled: Option<Step>,
    /// Whether a new secret, which nobody can see, may be in force.
    pub(super) maybe_applied: bool,
    /// Whether an update with a new secret was sent whose effect nobody could see.
    pub(super) maybe_blind: bool,
    /// Whether KMS was told the former settings again.
    pub(super) restored: bool,
    /// How the cluster refused the login with what is in force, if it did; see [`login_refused`].
    pub(super) login_refused: Option<RefusedLogin>,
    pub(super) tries: Tries,
    pub(super) failure: Option<StepOutcome>,
}

/// Attempts of each step on the way back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    disconnect: u32,
    update: u32,
    connect: u32,
}

impl Tries {
    pub(super) fn of(self, step: Step) -> u32 {
        match step {
            Step::Disconnect => self.disconnect,
            Step::Update => self.update,
            Step::Connect => self.connect,
        }
    }

    pub(super) fn count(&mut self, step: Step) {
        let tries = match step {
            Step::Disconnect => &mut self.disconnect,
            Step::Update => &mut self.update,
            Step::Connect => &mut self.connect,
        };
        *tries = tries.saturating_add(1);
    }
}

/// An update's status in answers and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StatusName {
    /// Planned, nothing has begun.
    Planned,
    /// A pre-flight before the first mutation is running or has just passed.
    Preflighting,
    /// Ended: the settings are not fit.
    Blocked,
    /// Waiting for a person.
    AwaitingApproval,
    /// Ended: not allowed to begin.
    Refused,
    /// Changing the key store, or verifying the change.
    Running,
    /// Ended: new settings in force.
    Verified,
    /// Restoring the former settings.
    RollingBack,
    /// Ended: former settings in force.
    RolledBack,
    /// Ended: stopped by a person, before anything was changed; of a rotation also while it waited for a person, with the
    /// new credential in force.
    Abandoned,
    /// Ended: a person must look.
    Stuck,
}

impl StatusName {
    /// Every status, for labels.
    pub const ALL: [Self; 11] = [
        Self::Planned,
        Self::Preflighting,
        Self::Blocked,
        Self::AwaitingApproval,
        Self::Refused,
        Self::Running,
        Self::Verified,
        Self::RollingBack,
        Self::RolledBack,
        Self::Abandoned,
        Self::Stuck,
    ];

    /// The word in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Preflighting => "preflighting",
            Self::Blocked => "blocked",
            Self::AwaitingApproval => "awaiting_approval",
            Self::Refused => "refused",
            Self::Running => "running",
            Self::Verified => "verified",
            Self::RollingBack => "rolling_back",
            Self::RolledBack => "rolled_back",
            Self::Abandoned => "abandoned",
            Self::Stuck => "stuck",
        }
    }

    /// Whether the update is over.
    pub fn is_final(self) -> bool {
        matches!(
            self,
            Self::Blocked | Self::Refused | Self::Verified | Self::RolledBack | Self::Abandoned | Self::Stuck
        )
    }
}

/// An update's status with the step under way: `disconnect`, `update`, `connect` or `verify`; of a rotation also
/// `propagate`, `await_removal` or `prove_refused`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The status.
    pub status: StatusName,
    /// The step under way, while running or rolling back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<&'static str>,
}

impl State {
    /// The state of an update whose first event is `event`.
    pub fn begin(event: &Event) -> Result<Self, IllegalEvent> {
        match event {
            Event::Planned { plan } => Ok(Self { plan: Plan::clone(plan), phase: Phase::Planned, cancelled: None }),
            other => Err(IllegalEvent { event: other.name(), phase: "nothing is planned", why: "a plan comes first" }),
        }
    }

    /// The state after all of `events`; `None` without any.
    pub fn replay<'a>(events: impl IntoIterator<Item = &'a Event>) -> Result<Option<Self>, IllegalEvent> {
        events.into_iter().try_fold(None, |state: Option<Self>, event| match state {
            None => Self::begin(event).map(Some),
            Some(state) => state.apply(event).map(Some),
        })
    }

    /// The only transition function, live and after a restart alike.
    pub fn apply(self, event: &Event) -> Result<Self, IllegalEvent> {
        let illegal = {
            let phase = self.phase.name();
            move |why| IllegalEvent { event: event.name(), phase, why }
        };
        let Self { plan, phase, cancelled } = self;
        if let Event::CancelRequested { by } = event {
            if let Phase::Rotating(rotating) = &phase {
                rotating.may_be_cancelled().map_err(illegal)?;
            }
            return match phase {
                Phase::Concluded(_) => Err(illegal("it has ended: nothing is left to cancel")),
                Phase::RollingBack(_) => Err(illegal("it is going back to the former settings already")),
                Phase::Running(_) => {
                    Err(illegal("only an update that has changed nothing can be cancelled; roll this one back"))
                }
                phase => Ok(Self { plan, phase, cancelled: cancelled.or_else(|| Some(by.clone())) }),
            };
        }
        let rollback_wanted = match &phase {
            Phase::Running(run) => run.rollback_wanted.clone(),
            _ => None,
        };
        let phase = match (phase, event) {
            (Phase::Concluded(_), _) => {
                return Err(illegal("it is over; to go back, ask for an update to the former settings"));
            }
            (_, Event::Planned { .. }) => return Err(illegal("it has its plan")),
            (_, Event::Concluded { ending }) => Phase::Concluded(ending.clone()),
            (Phase::Running(run), Event::Observed { state, .. }) => {
                Phase::Running(Run { login_refused: login_refused(&plan, state).or(run.login_refused), ..run })
            }
            (Phase::RollingBack(back), Event::Observed { state, .. }) => {
                Phase::RollingBack(Return { login_refused: login_refused(&plan, state).or(back.login_refused), ..back })
            }
            (phase, Event::Observed { .. }) => phase,
            (phase, Event::PreflightStarted { round }) => {
                transition::preflight_started(phase, *round).map_err(illegal)?
            }
            (phase, Event::PreflightFinished { round, summary }) => {
                transition::preflight_finished(&plan, phase, *round, summary).map_err(illegal)?
            }
            (Phase::Passed(proposal), Event::ApprovalRequested {}) if plan.approval != ApprovalRule::None => {
                Phase::AwaitingApproval(proposal)
            }
            (Phase::AwaitingApproval(proposal), Event::ApprovalGiven { by, digest, outage_acknowledged }) => {
                let consent = Consent { by, digest, outage_acknowledged: *outage_acknowledged };
                let proposal = proposal.with(&plan, &consent).map_err(|denied| illegal(denied.reason()))?;
                match proposal.approval(&plan) {
                    Some(approval) => Phase::Approved(approval),
                    None => Phase::AwaitingApproval(proposal),
                }
            }
            (Phase::Passed(_), Event::BrokeGlass { by, .. }) => match Approval::by_break_glass(&plan, by) {
                Some(approval) => Phase::Approved(approval),
                None => return Err(illegal("its plan passes nothing by, or not for them")),
            },
            (Phase::Running(run), Event::RollbackRequested { by }) => {
                Phase::Running(Run { rollback_wanted: Some(by.clone()), ..run })
            }
            (Phase::Rotating(rotating), Event::RollbackRequested { by }) => {
                Phase::Rotating(rotating.rollback_requested(by).map_err(illegal)?)
            }
            (Phase::Rotating(rotating), Event::Watched { round, waited_ms, summary }) => {
                let waited = Duration::from_millis(*waited_ms);
                Phase::Rotating(rotating.watched(&plan, *round, waited, summary).map_err(illegal)?)
            }
            (Phase::Rotating(rotating), Event::RemovalAwaited { until }) => {
                Phase::Rotating(rotating.removal_awaited(*until).map_err(illegal)?)
            }
            (Phase::Rotating(rotating), Event::RemovalReported { .. }) => {
                Phase::Rotating(rotating.removal_reported().map_err(illegal)?)
            }
            (Phase::Rotating(rotating), Event::RollbackDecided { why }) => Phase::RollingBack(rotating.going_back(why)),
            (phase, Event::StepIntended { direction, step, .. }) => {
                transition::intended(&plan, phase, *direction, *step).map_err(illegal)?
            }
            (phase, Event::StepSettled { direction, step, outcome }) => {
                transition::settled(&plan, phase, *direction, *step, outcome).map_err(illegal)?
            }
            (Phase::Running(run), Event::RollbackDecided { why }) if run.unsettled.is_none() => {
                Phase::RollingBack(Return {
                    why: why.clone(),
                    unsettled: None,
                    maybe_applied: run.maybe_applied,
                    maybe_blind: run.blind,
                    restored: false,
                    login_refused: run.login_refused,
                    tries: Tries::default(),
                    failure: None,
                })
            }
            _ => return Err(illegal("nothing of the kind is under way")),
        };
        // Going back was asked for, and it turned out that there is nothing to go back from.
        let cancelled = if matches!(phase, Phase::Ready(_)) { cancelled.or(rollback_wanted) } else { cancelled };
        Ok(Self { plan, phase, cancelled })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Where it is.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Who cancelled it, if somebody did.
    pub fn cancelled_by(&self) -> Option<&str> {
        self.cancelled.as_deref()
    }

    /// How it ended, if it did.
    pub fn ending(&self) -> Option<&Ending> {
        match &self.phase {
            Phase::Concluded(ending) => Some(ending),
            _ => None,
        }
    }

    /// What keeps the update from its first mutation at this moment although nothing is missing any more, if something
    /// does.
    pub fn barred(&self, now: Timestamp, barriers: &Barriers) -> Option<Denied> {
        barriers.let_pass(&self.plan, now).err().filter(|_| self.lacks_nothing())
    }

    /// Whether only freezes and windows can keep the update from its first mutation.
    pub fn lacks_nothing(&self) -> bool {
        match &self.phase {
            Phase::Passed(_) => self.plan.approval == ApprovalRule::None || self.plan.break_glass.is_some(),
            Phase::Approved(_) | Phase::Ready(_) | Phase::Preflighting { round: Round::Last, .. } => true,
            Phase::Running(run) => run.is_still_first() && run.unsettled.is_none(),
            _ => false,
        }
    }

    /// Whether a look of a rotation tells anything that the record does not.
    pub fn is_news(&self, round: Round, look: &PreflightSummary) -> bool {
        matches!(&self.phase, Phase::Rotating(rotating) if rotating.is_news(round, look))
    }

    /// What is up for approval, while it is.
    pub fn proposal(&self) -> Option<&Proposal> {
        match &self.phase {
            Phase::AwaitingApproval(proposal) => Some(proposal),
            _ => None,
        }
    }

    /// The event that a person's yes becomes at this moment, or why it counts for nothing.
    pub fn consent(&self, consent: &Consent<'_>, now: Timestamp, barriers: &Barriers) -> Result<Event, Denied> {
        let plan = &self.plan;
        let over = matches!(&self.phase, Phase::Concluded(Ending::Refused { reason: Refusal::Expired, .. }));
        let before = !matches!(
            &self.phase,
            Phase::Running(_) | Phase::Rotating(_) | Phase::RollingBack(_) | Phase::Concluded(_)
        );
        if over || (before && now > plan.expires_at) {
            return Err(Denied::Expired { at: plan.expires_at });
        }
        let Some(proposal) = self.proposal().filter(|_| self.cancelled.is_none()) else {
            return Err(Denied::NotAwaitingApproval { phase: self.phase.name() });
        };
        proposal.clone().with(plan, consent)?;
        barriers.not_frozen(now)?;
        let Consent { by, digest, outage_acknowledged } = *consent;
        Ok(Event::ApprovalGiven { by: by.to_owned(), digest: digest.clone(), outage_acknowledged })
    }

    /// Which attempt of a step would be the next one, counted from 1.
    pub fn next_attempt(&self, direction: Direction, step: Step) -> u32 {
        let made = match (&self.phase, direction) {
            (Phase::Ready(ready), Direction::Forward) => ready.attempts,
            (Phase::Running(run), Direction::Forward) => run.attempts,
            (Phase::RollingBack(back), Direction::Back) => back.tries.of(step),
            _ => 0,
        };
        made.saturating_add(1)
    }

    /// Permission for the step that comes next: the first mutation needs a fresh pre-flight, approval and a plan that
    /// has not expired; later ones follow from it.
    pub fn permit(
        &self,
        direction: Direction,
        step: Step,
        now: Timestamp,
        barriers: &Barriers,
    ) -> Result<Permit, Denied> {
        let not_next = Err(Denied::NotNext { step });
        match (&self.phase, direction) {
            (Phase::Ready(ready), Direction::Forward) if self.plan.steps.first() == Some(&step) => {
                if self.cancelled.is_some() {
                    return not_next;
                }
                Permit::first(&self.plan, &ready.passed, &ready.approval, barriers, step, now)
            }
            (Phase::Running(run), Direction::Forward)
                if run.unsettled.is_none() && self.plan.steps.get(run.done) == Some(&step) =>
            {
                // Nothing is known to have changed yet: sent again, the first mutation is still the first.
                if run.is_still_first() {
                    Permit::first(&self.plan, &run.ready.passed, &run.ready.approval, barriers, step, now)
                } else {
                    Permit::onward(&self.plan, direction, step)
                }
            }
            (Phase::RollingBack(back), Direction::Back) if back.unsettled.is_none() => {
                Permit::onward(&self.plan, direction, step)
            }
            _ => not_next,
        }
    }

    /// The status in the outward contract's words.
    pub fn status(&self) -> Status {
        let plain = |status| Status { status, step: None };
        match &self.phase {
            Phase::Planned => plain(StatusName::Planned),
            Phase::Preflighting { .. }
            | Phase::NotPassed(_)
            | Phase::Passed(_)
            | Phase::Approved(_)
            | Phase::Ready(_) => plain(StatusName::Preflighting),
            Phase::AwaitingApproval(_) => plain(StatusName::AwaitingApproval),
            Phase::Running(run) => {
                // A connect or disconnect that KMS has accepted is under way until the next step begins.
                let under_way = run.unsettled.or_else(|| self.plan.steps.get(run.done.checked_sub(1)?).copied());
                let verifying = run.unsettled.is_none() && run.verifications > 0;
                let step = if verifying { Some("verify") } else { under_way.map(Step::as_str) };
                Status { status: StatusName::Running, step }
            }
            Phase::Rotating(rotating) => Status { status: StatusName::Running, step: Some(rotating.stage().as_str()) },
            Phase::RollingBack(back) => {
                Status { status: StatusName::RollingBack, step: back.unsettled.map(Step::as_str) }
            }
            Phase::Concluded(ending) => plain(ending.status()),
        }
    }
}

/// How a login of `kmsuser` was refused, if the connect of a CloudHSM key store ended so. Five refused logins lock the
/// user out (CloudHSM key stores, troubleshooting), so a password that was refused is not tried again.
fn login_refused(plan: &Plan, state: &ConnectionState) -> Option<RefusedLogin> {
    match state {
        _ if !plan.is_cloud_hsm() => None,
        ConnectionState::Failed(ConnectionErrorCode::InvalidCredentials) => Some(RefusedLogin::InvalidCredentials),
        ConnectionState::Failed(ConnectionErrorCode::UserLockedOut) => Some(RefusedLogin::UserLockedOut),
        _ => None,
    }
}

impl Phase {
    fn name(&self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Preflighting { .. } => "pre-flighting",
            Self::NotPassed(_) => "blocked by its pre-flight",
            Self::Passed(_) => "pre-flighted",
            Self::AwaitingApproval(_) => "awaiting approval",
            Self::Approved(_) => "approved",
            Self::Ready(_) => "ready for the first mutation",
            Self::Running(_) => "running",
            Self::Rotating(_) => "rotating",
            Self::RollingBack(_) => "rolling back",
            Self::Concluded(_) => "concluded",
        }
    }
}
