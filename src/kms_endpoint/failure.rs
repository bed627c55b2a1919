//! How a refusal is written: AWS JSON 1.1, as SDKs read it.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::id::UpdateId;
use crate::key_store::KmsException;
use crate::metrics::Denial;

/// An exception on its way to the caller. Its message holds nothing of the request's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) name: &'static str,
    pub(super) message: String,
    pub(super) status: StatusCode,
    /// What was decided against the caller; `None` where a request could not be read or something failed, which is no
    /// decision.
    pub(super) decided: Option<Decided>,
    /// After how long it may be sent again.
    pub(super) retry_after: Option<Duration>,
}

/// A decision against a caller: it goes into the audit trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decided {
    /// Under which reason it is counted; `None` if the journal counts it.
    pub(super) denial: Option<Denial>,
    /// The update in which it was decided, or which stands in the way.
    pub(super) update: Option<UpdateId>,
}

impl Failure {
    /// A client's fault: 400, which no SDK repeats by itself.
    pub(super) fn new(name: &'static str, message: impl Into<String>) -> Self {
        let status = StatusCode::BAD_REQUEST;
        Self { name, message: message.into(), status, decided: None, retry_after: None }
    }

    /// An exception of KMS with KMS's own status: 500 for the one that SDKs repeat, 400 for all others.
    pub(super) fn of(exception: KmsException, message: impl Into<String>) -> Self {
        let status = match exception {
            KmsException::KmsInternal => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        Self { status, ..Self::new(exception.as_str(), message) }
    }

    /// Nothing was decided, and asking again may help.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::of(KmsException::KmsInternal, message)
    }

    /// Says that it is a decision against the caller, to be counted under this reason.
    pub(super) fn denied(mut self, denial: Denial) -> Self {
        self.decided = Some(Decided { denial: Some(denial), update: None });
        self
    }

    /// Says that it is a decision about this update, which the journal counts.
    pub(super) fn in_update(mut self, update: UpdateId) -> Self {
        self.decided = Some(Decided { denial: None, update: Some(update) });
        self
    }

    pub(super) fn body(&self) -> Value {
        json!({ "__type": self.name, "message": self.message })
    }
}
