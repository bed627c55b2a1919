//! What we need of KMS, in our own words: reading key stores, and changing them under a permit.
//!
//! Observe-only mode is the absence of a [`KeyStoreWriter`], not a setting of it.

use async_trait::async_trait;

use crate::key_store::{CustomKeyStoreId, KeyStore, KeyStorePassword, KmsException, ProxyCredential};
use crate::update::Permit;

/// Reads key stores (DescribeCustomKeyStores: 5 requests per second for the whole account and Region).
#[async_trait]
pub trait KeyStoreReader: Send + Sync {
    /// Every custom key store of the account and Region, in KMS's order.
    async fn key_stores(&self) -> Result<Vec<KeyStore>, KmsError>;

    /// One key store; `CustomKeyStoreNotFound` comes as [`KmsError::Refused`].
    async fn key_store(&self, id: &CustomKeyStoreId) -> Result<KeyStore, KmsError>;
}

/// Changes key stores.
#[async_trait]
pub trait KeyStoreWriter: Send + Sync {
    /// Makes the one call that the permit allows, once: no retries. `secrets` holds what the permit's change has by
    /// reference.
    ///
    /// Connect and disconnect are asynchronous at KMS: a receipt says only that they have begun.
    async fn carry_out(&self, permit: Permit, secrets: &Secrets) -> Result<Receipt, KmsError>;
}

/// The secrets that belong to one mutation, fetched for it and dropped after it.
#[derive(Debug, Default)]
pub struct Secrets {
    /// For a change with a credential.
    pub credential: Option<ProxyCredential>,
    /// For a change with a password.
    pub password: Option<KeyStorePassword>,
}

/// KMS accepted a mutation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// KMS's request id, which CloudTrail shows, too.
    pub request_id: Option<String>,
}

/// Why KMS did not do what was asked. Display never holds request contents.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KmsError {
    /// KMS answered with an exception: nothing was changed.
    #[error("KMS refused {operation} with {exception}: {message}")]
    Refused {
        /// KMS's operation.
        operation: &'static str,
        /// The exception.
        exception: KmsException,
        /// KMS's own message.
        message: String,
        /// KMS's request id.
        request_id: Option<String>,
    },
    /// KMS answered with an exception that this program does not know: nothing was changed.
    #[error("KMS refused {operation} with {code}, which this version does not know: {message}")]
    Unrecognized {
        /// KMS's operation.
        operation: &'static str,
        /// The exception's name.
        code: String,
        /// KMS's own message.
        message: String,
        /// KMS's request id.
        request_id: Option<String>,
    },
    /// Too many requests, ours and everybody else's in the account: nothing was changed.
    #[error("KMS throttles {operation}: {message}")]
    Throttled {
        /// KMS's operation.
        operation: &'static str,
        /// KMS's own message.
        message: String,
    },
    /// The identity we use lacks a permission, or its credentials are missing or expired: nothing was changed.
    #[error("AWS denies {operation}: {message}; grant kms:{operation} on resource * to the identity used here")]
    AccessDenied {
        /// KMS's operation.
        operation: &'static str,
        /// AWS's own message.
        message: String,
    },
    /// KMS failed internally (KMSInternalException, HTTP 5xx): whether a mutation had an effect is not known.
    #[error("KMS failed internally at {operation}: {message}")]
    Unavailable {
        /// KMS's operation.
        operation: &'static str,
        /// KMS's own message.
        message: String,
    },
    /// The request certainly never reached KMS.
    #[error("request {operation} was not sent: {why}")]
    NotSent {
        /// KMS's operation.
        operation: &'static str,
        /// What kept it here.
        why: String,
    },
    /// The request was sent and no answer that can be read came back: the cure is to look.
    #[error("no answer to {operation}: {why}")]
    Ambiguous {
        /// KMS's operation.
        operation: &'static str,
        /// What happened to the answer.
        why: String,
    },
}

/// What a failed mutation did to the key store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing, and the same request may succeed later.
    NoneYet,
    /// Nothing, and the same request will fail again.
    None,
    /// Nobody knows without looking.
    Unknown,
}

impl KmsError {
    /// What a mutation that failed like this did to the key store.
    pub fn effect(&self) -> Effect {
        match self {
            Self::Throttled { .. } | Self::NotSent { .. } => Effect::NoneYet,
            Self::Refused { .. } | Self::Unrecognized { .. } | Self::AccessDenied { .. } => Effect::None,
            Self::Unavailable { .. } | Self::Ambiguous { .. } => Effect::Unknown,
        }
    }

    /// Whether a read that failed like this is worth another try.
    pub fn is_worth_another_try(&self) -> bool {
        self.effect() != Effect::None
    }

    /// The exception, if KMS raised one that this program knows.
    pub fn exception(&self) -> Option<KmsException> {
        match self {
            Self::Refused { exception, .. } => Some(*exception),
            Self::Throttled { .. } => Some(KmsException::Throttling),
            Self::AccessDenied { .. } => Some(KmsException::AccessDenied),
            Self::Unavailable { .. } => Some(KmsException::KmsInternal),
            Self::Unrecognized { .. } | Self::NotSent { .. } | Self::Ambiguous { .. } => None,
        }
    }

    /// KMS's request id, if there was an answer with one.
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Refused { request_id, .. } | Self::Unrecognized { request_id, .. } => request_id.as_deref(),
            _ => None,
        }
    }

    /// KMS's own words: the exception's name and its message; for what KMS did not say, all of this error.
    pub fn said(&self) -> String {
        match self {
            Self::Refused { exception, message, .. } => format!("{exception}: {message}"),
            Self::Unrecognized { code, message, .. } => format!("{code}: {message}"),
            _ => self.to_string(),
        }
    }

    /// Whether KMS says that there is no such key store.
    pub fn is_not_found(&self) -> bool {
        self.exception() == Some(KmsException::CustomKeyStoreNotFound)
    }

    /// A word for a metric label.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "refused",
            Self::Unrecognized { .. } => "unrecognized",
            Self::Throttled { .. } => "throttled",
            Self::AccessDenied { .. } => "access_denied",
            Self::Unavailable { .. } => "unavailable",
            Self::NotSent { .. } => "not_sent",
            Self::Ambiguous { .. } => "ambiguous",
        }
    }
}
