//! What is recorded of an update. No event holds a secret.

use serde::{Deserialize, Serialize};

use super::plan::Plan;
use super::{ApprovalDigest, Direction, PassedBy, PreflightSummary, Round, Standing, StatusName, Step, StepOutcome};
use crate::clock::Timestamp;
use crate::id::ReportId;
use crate::key_store::{ConnectionState, KmsException};

/// Something that happened to an update. The journal's codec gives the list a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// The plan was made; always the first event.
    Planned {
        /// The plan.
        plan: Box<Plan>,
    },
    /// A pre-flight began.
    PreflightStarted {
        /// Why.
        round: Round,
    },
    /// A pre-flight ended.
    PreflightFinished {
        /// Why it ran.
        round: Round,
        /// What it said.
        summary: PreflightSummary,
    },
    /// A person must agree before anything is changed.
    ApprovalRequested {},
    /// A person agreed.
    ApprovalGiven {
        /// Who.
        by: String,
        /// To what: the digest over the plan and the report of its first pre-flight.
        digest: ApprovalDigest,
        /// Whether they acknowledged that keys will be out of use, where they will.
        #[serde(default)]
        outage_acknowledged: bool,
    },
    /// Somebody with the right to do so passed by what stood in the way; only a plan that says so may.
    BrokeGlass {
        /// Who.
        by: String,
        /// Why, as in the plan.
        reason: String,
        /// What was passed by.
        passed_by: Vec<PassedBy>,
    },
    /// A person wants the update not to begin.
    CancelRequested {
        /// Who.
        by: String,
    },
    /// A person wants the former settings back.
    RollbackRequested {
        /// Who.
        by: String,
    },
    /// The next thing done is this step; recorded before it is done.
    StepIntended {
        /// Which way.
        direction: Direction,
        /// The step.
        step: Step,
        /// Counted from 1 for each step and direction.
        attempt: u32,
    },
    /// How the intended step ended; recorded after it.
    StepSettled {
        /// Which way.
        direction: Direction,
        /// The step.
        step: Step,
        /// How it ended.
        outcome: StepOutcome,
    },
    /// The key store shows something new.
    Observed {
        /// Its connection state.
        state: ConnectionState,
        /// Whose settings it shows.
        standing: Standing,
    },
    /// One look at both credentials of a rotation.
    Watched {
        /// In which of its steps.
        round: Round,
        /// Milliseconds since the event before, in which somebody watched.
        waited_ms: u64,
        /// What it found.
        summary: PreflightSummary,
    },
    /// KMS uses the new credential alone by now: a person must remove the former one at the proxy.
    RemovalAwaited {
        /// How long that is waited for.
        until: Timestamp,
    },
    /// A person says that the former credential is removed.
    RemovalReported {
        /// Who.
        by: String,
    },
    /// It goes back from here.
    RollbackDecided {
        /// Why.
        why: String,
    },
    /// It is over.
    Concluded {
        /// How it ended.
        ending: Ending,
    },
}

impl Event {
    /// The event's name in records and answers.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Planned { .. } => "planned",
            Self::PreflightStarted { .. } => "preflight_started",
            Self::PreflightFinished { .. } => "preflight_finished",
            Self::ApprovalRequested {} => "approval_requested",
            Self::ApprovalGiven { .. } => "approval_given",
            Self::BrokeGlass { .. } => "broke_glass",
            Self::CancelRequested { .. } => "cancel_requested",
            Self::RollbackRequested { .. } => "rollback_requested",
            Self::StepIntended { .. } => "step_intended",
            Self::StepSettled { .. } => "step_settled",
            Self::Observed { .. } => "observed",
            Self::Watched { .. } => "watched",
            Self::RemovalAwaited { .. } => "removal_awaited",
            Self::RemovalReported { .. } => "removal_reported",
            Self::RollbackDecided { .. } => "rollback_decided",
            Self::Concluded { .. } => "concluded",
        }
    }
}

/// An event with its place and time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Counted from 1 within the update.
    pub sequence: u64,
    /// When it was recorded.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Who kept an update from happening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockedBy {
    /// Our pre-flight.
    Preflight(ReportId),
    /// KMS itself, although our pre-flight had passed.
    Kms,
}

/// Why an update was not allowed to begin, in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The plan expired before its first mutation.
    Expired,
    /// The key store is not any more what the plan was made for.
    Drift,
    /// The key store does not exist any more.
    Gone,
    /// The first mutation had no effect, again and again.
    NoEffect,
    /// A freeze was in force when it would have begun.
    Frozen,
    /// No maintenance window opens before the plan expires.
    OutsideWindow,
    /// Its new settings were not watched, or not ready for long enough before the plan expires.
    NotGreen,
    /// Recorded by a version that kept no word for it.
    #[default]
    Unnamed,
}

impl Refusal {
    /// Every reason, for labels.
    pub const ALL: [Self; 8] = [
        Self::Expired,
        Self::Drift,
        Self::Gone,
        Self::NoEffect,
        Self::Frozen,
        Self::OutsideWindow,
        Self::NotGreen,
        Self::Unnamed,
    ];

    /// The word in records and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Drift => "drift",
            Self::Gone => "gone",
            Self::NoEffect => "no_effect",
            Self::Frozen => "frozen",
            Self::OutsideWindow => "outside_window",
            Self::NotGreen => "not_green",
            Self::Unnamed => "unnamed",
        }
    }
}

/// How an update ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ending", rename_all = "snake_case")]
pub enum Ending {
    /// The new settings are in force and were probed once more; of a rotation the former credential is also proven
    /// refused.
    Verified,
    /// Of a rotation: the new credential is in force and was verified, and the former one is not proven refused.
    Unproven {
        /// Who ended it before; nobody when the time was over.
        by: Option<String>,
        /// What was seen.
        why: String,
        /// What to do.
        instruction: String,
    },
    /// The former settings are in force, in the former connection state.
    RolledBack {
        /// Why it went back.
        why: String,
    },
    /// A person stopped it before anything was changed.
    Abandoned {
        /// Who.
        by: String,
    },
    /// The settings are not fit; nothing was changed.
    Blocked {
        /// Who found out.
        by: BlockedBy,
        /// What KMS raises, or would raise.
        exception: Option<KmsException>,
        /// The finding, or KMS's message.
        message: String,
    },
    /// It was not allowed to begin; nothing was changed.
    Refused {
        /// Why, and what to do.
        why: String,
        /// Why, in one word.
        #[serde(default)]
        reason: Refusal,
    },
    /// Neither way works, or nobody can tell: a person must look.
    Stuck {
        /// What happened.
        why: String,
        /// What to do.
        instruction: String,
    },
}

impl Ending {
    /// Whether the new settings are in force, and verified.
    pub fn is_new_in_force(&self) -> bool {
        matches!(self, Self::Verified | Self::Unproven { .. })
    }

    /// The status of an update that ended so.
    pub fn status(&self) -> StatusName {
        match self {
            Self::Verified => StatusName::Verified,
            // Whoever ends it knows what is left to do; a time that is over must be noticed by somebody, and nothing
            // passes because time is over.
            Self::Unproven { by: Some(_), .. } | Self::Abandoned { .. } => StatusName::Abandoned,
            Self::Unproven { by: None, .. } | Self::Stuck { .. } => StatusName::Stuck,
            Self::RolledBack { .. } => StatusName::RolledBack,
            Self::Blocked { .. } => StatusName::Blocked,
            Self::Refused { .. } => StatusName::Refused,
        }
    }
}
