//! Why something could not be read of AWS: never a fault of what was asked about.

use crate::check::{Problem, ProblemKind};

/// More of AWS's message than this is cut off.
const LONGEST_MESSAGE: usize = 500;

/// A read that gave nothing. `action` is the IAM action, which is the service and the operation in one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unread {
    /// The identity we use lacks the permission, or its credentials are missing or expired.
    #[error("AWS denies it to us ({message}); allow {action} to the identity used here")]
    Denied { action: &'static str, message: String },
    /// AWS answered with an error.
    #[error("AWS refused {action} with {code}: {message}")]
    Refused { action: &'static str, code: String, message: String },
    /// No answer came, also after further attempts.
    #[error("no answer to {action}: {why}")]
    Unanswered { action: &'static str, why: String },
    /// The answer makes no sense to us.
    #[error("the answer to {action} is not understood: {why}")]
    NotUnderstood { action: &'static str, why: String },
}

/// AWS's words for a request that will not get better: no permission, no credentials, or stale ones.
const DENIALS: [&str; 15] = [
    "AccessDenied",
    "AccessDeniedException",
    "AuthFailure",
    "Blocked",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "OptInRequired",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnauthorizedOperation",
    "UnrecognizedClientException",
];

impl Unread {
    /// Sorts an error that AWS answered with.
    pub(super) fn of_code(action: &'static str, code: &str, message: &str) -> Self {
        let message: String = message.chars().take(LONGEST_MESSAGE).collect();
        if DENIALS.contains(&code) {
            Self::Denied { action, message: format!("{code}: {message}") }
        } else {
            Self::Refused { action, code: code.chars().take(LONGEST_MESSAGE).collect(), message }
        }
    }

    /// As evidence: an own fault, which makes no statement on the service.
    pub(super) fn problem(&self) -> Problem {
        let kind = match self {
            Self::Denied { .. } => ProblemKind::AccessDenied,
            Self::Refused { .. } | Self::Unanswered { .. } | Self::NotUnderstood { .. } => ProblemKind::Unread,
        };
        Problem::own(kind, self.to_string())
    }
}
