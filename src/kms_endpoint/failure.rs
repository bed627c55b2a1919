//! How a refusal is written: AWS JSON 1.1, as SDKs read it.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::key_store::KmsException;

/// An exception on its way to the caller. Its message holds nothing of the request's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) name: &'static str,
    pub(super) message: String,
    pub(super) status: StatusCode,
}

impl Failure {
    /// A client's fault: 400, which no SDK repeats by itself.
    pub(super) fn new(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, message: message.into(), status: StatusCode::BAD_REQUEST }
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

    pub(super) fn body(&self) -> Value {
        json!({ "__type": self.name, "message": self.message })
    }
}
