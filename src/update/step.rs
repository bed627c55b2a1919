//! The steps of an update and how each can end.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::key_store::KmsException;

/// One mutation of the key store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// DisconnectCustomKeyStore.
    Disconnect,
    /// UpdateCustomKeyStore.
    Update,
    /// ConnectCustomKeyStore.
    Connect,
}

impl Step {
    /// The word in records and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disconnect => "disconnect",
            Self::Update => "update",
            Self::Connect => "connect",
        }
    }

    /// The operation of KMS that makes it.
    pub fn operation(self) -> &'static str {
        match self {
            Self::Disconnect => "DisconnectCustomKeyStore",
            Self::Update => "UpdateCustomKeyStore",
            Self::Connect => "ConnectCustomKeyStore",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which way an update is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Towards the new settings.
    Forward,
    /// Back to the former settings.
    Back,
}

/// Why a pre-flight runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Round {
    /// To know whether the plan is worth anybody's time.
    First,
    /// Directly before the first mutation: whatever approval took, the world may have changed.
    Last,
    /// After the last step, of the settings now in force.
    Verification,
    /// Of a rotation: while KMS may use either credential.
    Propagation,
    /// Of a rotation: while the former credential is to be removed at the proxy.
    Removal,
}

impl Round {
    /// Whether the update is done by then.
    pub fn is_after_update(self) -> bool {
        matches!(self, Self::Verification | Self::Propagation | Self::Removal)
    }

    /// Whether it is a look of a rotation: at both credentials, and at no keys.
    pub fn is_look(self) -> bool {
        matches!(self, Self::Propagation | Self::Removal)
    }
}

/// How a step came to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// KMS said so in its answer.
    Performed,
    /// The key store showed it: the answer was lost, or the step was not needed any more.
    FoundAlreadySo,
}

/// How an intended step ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    /// The mutation is in force, or for connect and disconnect under way.
    Done {
        /// KMS's request id, for CloudTrail; absent when the answer was lost.
        request_id: Option<String>,
        /// How that is known.
        how: How,
    },
    /// KMS refused; nothing was changed by this call.
    Refused {
        /// The exception, when this program knows it.
        exception: Option<KmsException>,
        /// The exception's own name, and its message.
        message: String,
        /// KMS's request id, for CloudTrail.
        request_id: Option<String>,
    },
    /// It certainly had no effect and may be tried again.
    NotDone {
        /// Why it had none.
        why: String,
    },
    /// It was not answered and the key store shows no effect of it, which may still come late. It may be tried again:
    /// the same mutation twice is no other than once.
    NotSeen {
        /// What the key store shows.
        why: String,
    },
    /// Nobody can see whether it had an effect: it is sent again with the same values.
    Unobservable {
        /// Why it cannot be seen.
        why: String,
    },
}

impl StepOutcome {
    /// Whether the mutation is in force, or for connect and disconnect under way.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done { .. })
    }
}

impl fmt::Display for StepOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done { how: How::Performed, .. } => f.write_str("done"),
            Self::Done { how: How::FoundAlreadySo, .. } => f.write_str("found already so"),
            Self::Refused { message, .. } => write!(f, "refused by KMS: {message}"),
            Self::NotDone { why } => write!(f, "not done: {why}"),
            Self::NotSeen { why } => write!(f, "no effect is seen: {why}"),
            Self::Unobservable { why } => write!(f, "cannot be observed: {why}"),
        }
    }
}
