//! A decision: who, what, on which key store, under which plan, and what came of it.

use serde::{Deserialize, Serialize};

use super::Hash;
use crate::access::{Method, Principal};
use crate::clock::Timestamp;
use crate::id::{ReportId, UpdateId};
use crate::key_store::CustomKeyStoreId;
use crate::update::PlanDigest;

/// Characters of a message; what is longer is cut, and ends with an ellipsis.
pub const LONGEST_MESSAGE: usize = 1_000;

/// One decision. The order of the members is that of the recorded form and never changes; a later member is left out of
/// the form where it is absent, so that older lines keep their digests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// When, in whole milliseconds.
    pub at: Timestamp,
    /// Who; absent when nobody was recognised.
    pub by: Option<By>,
    /// What was wanted or done.
    pub action: Action,
    /// On which key store.
    pub key_store: Option<CustomKeyStoreId>,
    /// In which update.
    pub update: Option<UpdateId>,
    /// The number of the update's event that this line is derived from.
    pub event: Option<u64>,
    /// The plan that it is bound to.
    pub plan: Option<PlanDigest>,
    /// The pre-flight report that it rests on.
    pub report: Option<ReportId>,
    /// KMS's request id, for CloudTrail.
    pub kms_request_id: Option<String>,
    /// SHA-256 of the document that is kept with this line.
    pub document: Option<Hash>,
    /// What was decided.
    pub decision: Decision,
    /// Why, for people; never a secret.
    pub message: String,
}

impl Entry {
    /// An entry without any reference; the caller adds those that it has.
    pub fn new(at: Timestamp, by: Option<By>, action: Action, decision: Decision, message: impl Into<String>) -> Self {
        Self {
            // The recorded form has milliseconds, and what is read back must be what was written.
            at: Timestamp::from_unix_millis(at.unix_millis()),
            by,
            action,
            key_store: None,
            update: None,
            event: None,
            plan: None,
            report: None,
            kms_request_id: None,
            document: None,
            decision,
            message: bounded(message.into()),
        }
    }
}

/// The message within [`LONGEST_MESSAGE`].
fn bounded(message: String) -> String {
    if message.chars().count() <= LONGEST_MESSAGE {
        return message;
    }
    message.chars().take(LONGEST_MESSAGE - 1).chain(std::iter::once('…')).collect()
}

/// Who decided, or asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct By {
    /// The principal's name.
    pub name: String,
    /// By what it was recognised, where that is known: an update's events have the name alone.
    pub method: Option<Means>,
}

impl By {
    /// This program itself.
    pub fn daemon() -> Self {
        Self { name: "xks-preflight".to_owned(), method: Some(Means::Daemon) }
    }

    /// Somebody of whom only the name was recorded.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), method: None }
    }
}

impl From<&Principal> for By {
    fn from(principal: &Principal) -> Self {
        Self { name: principal.name.clone(), method: Some(principal.how.into()) }
    }
}

/// By what somebody was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Means {
    /// A bearer token of the configuration.
    Token,
    /// A client's certificate.
    ClientCertificate,
    /// A signed token of an identity provider.
    Oidc,
    /// A credential of the KMS drop-in endpoint.
    KmsCredential,
    /// Nothing: only this machine can call.
    Loopback,
    /// Nobody asked: this program decided.
    Daemon,
}

impl From<Method> for Means {
    fn from(method: Method) -> Self {
        match method {
            Method::Token => Self::Token,
            Method::ClientCertificate => Self::ClientCertificate,
            Method::Oidc => Self::Oidc,
            Method::KmsCredential => Self::KmsCredential,
            Method::Loopback => Self::Loopback,
        }
    }
}

/// What was wanted or done. Words are never given a second meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// An update's plan was made and recorded.
    UpdatePlanned,
    /// A pre-flight of an update was judged.
    PreflightJudged,
    /// The report of an update's pre-flight was kept.
    ReportKept,
    /// A person must agree to a plan.
    ApprovalRequested,
    /// A person agreed to a plan.
    PlanApproved,
    /// A person stopped an update before it changed anything.
    UpdateCancelled,
    /// A person wants the former settings back.
    RollbackOrdered,
    /// A mutation of the key store was permitted and is about to be sent.
    MutationIntended,
    /// How a mutation ended.
    MutationSettled,
    /// Both credentials of a rotation were looked at.
    RotationWatched,
    /// A person must remove the former credential of a rotation.
    RemovalAwaited,
    /// A person says that it is removed.
    RemovalReported,
    /// An update goes back to the former settings.
    RollbackDecided,
    /// An update is over.
    UpdateConcluded,
    /// Somebody wanted to be let in.
    Authenticate,
    /// Something was asked for that only reads.
    Read,
    /// A pre-flight outside of an update was asked for.
    RunPreflight,
    /// An update was asked for.
    SubmitUpdate,
    /// A plan's approval was given or tried.
    ApproveUpdate,
    /// An update's end was asked for.
    CancelUpdate,
    /// An update's way back was asked for.
    RollBackUpdate,
    /// Changes were to be stopped.
    Freeze,
    /// Changes were to be allowed again.
    LiftFreeze,
    /// The gate was to be passed by without what it demands.
    BreakGlass,
    /// UpdateCustomKeyStore through the drop-in endpoint.
    KmsUpdate,
    /// CreateCustomKeyStore through the drop-in endpoint.
    KmsCreate,
    /// ConnectCustomKeyStore through the drop-in endpoint.
    KmsConnect,
    /// DisconnectCustomKeyStore through the drop-in endpoint.
    KmsDisconnect,
    /// DescribeCustomKeyStores through the drop-in endpoint.
    KmsDescribe,
    /// Anything else through the drop-in endpoint.
    KmsOther,
    /// This program started; the message has version and configuration digest.
    DaemonStarted,
    /// This program ended as it was told.
    DaemonStopped,
    /// The configuration was read again.
    ConfigurationLoaded,
    /// Administration that has no word of its own.
    Administer,
    /// KMS shows what no update of ours made; nobody knows who did.
    DriftSeen,
    /// Decisions that were too many to record one by one; the message counts them.
    LeftOut,
}

impl Action {
    /// The word in the recorded form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UpdatePlanned => "update_planned",
            Self::PreflightJudged => "preflight_judged",
            Self::ReportKept => "report_kept",
            Self::ApprovalRequested => "approval_requested",
            Self::PlanApproved => "plan_approved",
            Self::UpdateCancelled => "update_cancelled",
            Self::RollbackOrdered => "rollback_ordered",
            Self::MutationIntended => "mutation_intended",
            Self::MutationSettled => "mutation_settled",
            Self::RotationWatched => "rotation_watched",
            Self::RemovalAwaited => "removal_awaited",
            Self::RemovalReported => "removal_reported",
            Self::RollbackDecided => "rollback_decided",
            Self::UpdateConcluded => "update_concluded",
            Self::Authenticate => "authenticate",
            Self::Read => "read",
            Self::RunPreflight => "run_preflight",
            Self::SubmitUpdate => "submit_update",
            Self::ApproveUpdate => "approve_update",
            Self::CancelUpdate => "cancel_update",
            Self::RollBackUpdate => "roll_back_update",
            Self::Freeze => "freeze",
            Self::LiftFreeze => "lift_freeze",
            Self::BreakGlass => "break_glass",
            Self::KmsUpdate => "kms_update",
            Self::KmsCreate => "kms_create",
            Self::KmsConnect => "kms_connect",
            Self::KmsDisconnect => "kms_disconnect",
            Self::KmsDescribe => "kms_describe",
            Self::KmsOther => "kms_other",
            Self::DaemonStarted => "daemon_started",
            Self::DaemonStopped => "daemon_stopped",
            Self::ConfigurationLoaded => "configuration_loaded",
            Self::Administer => "administer",
            Self::DriftSeen => "drift_seen",
            Self::LeftOut => "left_out",
        }
    }
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It may go on.
    Allowed,
    /// It may not.
    Denied,
    /// Nothing had to be decided: this is what happened.
    Recorded,
}

impl Decision {
    /// The word in the recorded form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Recorded => "recorded",
        }
    }
}
