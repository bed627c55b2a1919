//! What we need of KMS, in our own words: reading key stores and the KMS keys in them, and changing key stores under a
//! permit.
//!
//! Observe-only mode is the absence of a [`KeyStoreWriter`], not a setting of it.

use async_trait::async_trait;

use crate::chain::Chain;
use crate::check::{Permissions, Problem, ProblemKind};
use crate::key_store::{CustomKeyStoreId, ExternalKeyId, KeyStore, KeyStorePassword, KmsException, ProxyCredential};
use crate::update::{CreationPermit, Permit};

/// Reads key stores (DescribeCustomKeyStores: 5 requests per second for the whole account and Region).
#[async_trait]
pub trait KeyStoreReader: Send + Sync {
    /// Every custom key store of the account and Region, in KMS's order.
    async fn key_stores(&self) -> Result<Vec<KeyStore>, KmsError>;

    /// One key store; `CustomKeyStoreNotFound` comes as [`KmsError::Refused`].
    async fn key_store(&self, id: &CustomKeyStoreId) -> Result<KeyStore, KmsError>;

    /// Every custom key store of the account and Region that this one is in, itself among them: what KMS compares with
    /// when it is changed. Whoever reads one account and Region only need not look at the id.
    async fn beside(&self, id: &CustomKeyStoreId) -> Result<Vec<KeyStore>, KmsError> {
        let _ = id;
        self.key_stores().await
    }
}

/// Reads key stores for whoever shall see them as KMS describes them.
#[async_trait]
pub trait KeyStoreDescriber: Send + Sync {
    /// Every custom key store of the account and Region (DescribeCustomKeyStores).
    async fn descriptions(&self) -> Result<Vec<KeyStoreDescription>, KmsError>;
}

/// A key store with KMS's whole description of it.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyStoreDescription {
    /// What this program knows of it.
    pub store: KeyStore,
    /// `CustomKeyStoresListEntry` in AWS JSON 1.1.
    pub entry: serde_json::Value,
}

/// Reads KMS keys. KMS cannot be asked for the keys of one key store, only for all of the account and Region and then
/// for each by itself (developer guide, finding the key material).
///
/// Both methods make one attempt: whoever goes through many keys paces and repeats by itself.
#[async_trait]
pub trait KeyLister: Send + Sync {
    /// One page of ListKeys (500 requests per second for the whole account and Region), as large as KMS makes them.
    /// `marker` is the `next` of the page before.
    async fn keys(&self, marker: Option<&str>) -> Result<KeyPage, KmsError>;

    /// Where a key is kept (DescribeKey: 2,000 requests per second for the whole account and Region); `None` if there
    /// is no such key any more. The answer never changes as long as the key exists.
    async fn home(&self, arn: &str) -> Result<Option<KeyHome>, KmsError>;
}

/// A page of ListKeys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPage {
    /// The keys' ARNs.
    pub arns: Vec<String>,
    /// Asks for the next page; `None` on the last.
    pub next: Option<String>,
}

/// Where the key material of a KMS key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyHome {
    /// Behind the proxy of an external key store.
    ExternalKeyStore {
        /// Which.
        key_store: CustomKeyStoreId,
        /// `XksKeyConfiguration.Id`
        external_key_id: ExternalKeyId,
    },
    /// In KMS or in a CloudHSM cluster: no proxy is asked for it.
    Elsewhere,
}

/// Tells what the identity used here may do, without doing it: KMS has no dry run of its own for key stores.
#[async_trait]
pub trait PermissionReader: Send + Sync {
    /// What IAM says of [`SIMULATED_ACTIONS`](crate::check::SIMULATED_ACTIONS); why it could not be asked is an own
    /// fault.
    async fn permissions(&self) -> Result<Permissions, Problem>;
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

/// Makes key stores.
#[async_trait]
pub trait KeyStoreMaker: Send + Sync {
    /// Makes the one CreateCustomKeyStore that the permit allows, once: no retries. The credential is the one whose
    /// access key id the permit's settings have.
    async fn make(&self, permit: CreationPermit, credential: &ProxyCredential) -> Result<Made, KmsError>;
}

/// KMS made a key store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its id.
    pub id: CustomKeyStoreId,
    /// KMS's request id, which CloudTrail shows, too.
    pub request_id: Option<String>,
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
    #[error(
        "AWS denies {operation}: {message}; unless it is the credentials that AWS does not know, grant kms:{operation} on \
         resource * to the identity used here"
    )]
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
    /// KMS answered, and the answer lacks what it must have.
    #[error("the answer of KMS to {operation} cannot be understood: {why}")]
    NotUnderstood {
        /// KMS's operation.
        operation: &'static str,
        /// What is wrong with it.
        why: String,
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
            Self::Refused { .. }
            | Self::Unrecognized { .. }
            | Self::AccessDenied { .. }
            | Self::NotUnderstood { .. } => Effect::None,
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
            Self::Unrecognized { .. } | Self::NotUnderstood { .. } | Self::NotSent { .. } | Self::Ambiguous { .. } => {
                None
            }
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

    /// For a pre-flight: that `what` could not be read says nothing about the candidate.
    pub fn as_problem(&self, what: &str) -> Problem {
        let kind = match self {
            Self::AccessDenied { .. } => ProblemKind::AccessDenied,
            Self::Throttled { .. } => ProblemKind::Throttled,
            _ => ProblemKind::Unread,
        };
        Problem::own(kind, format!("{what} cannot be read: {}", Chain(self)))
    }

    /// A word for a metric label.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "refused",
            Self::Unrecognized { .. } => "unrecognized",
            Self::Throttled { .. } => "throttled",
            Self::AccessDenied { .. } => "access_denied",
            Self::Unavailable { .. } => "unavailable",
            Self::NotUnderstood { .. } => "not_understood",
            Self::NotSent { .. } => "not_sent",
            Self::Ambiguous { .. } => "ambiguous",
        }
    }
}
