//! A KMS key in an external key store.

use super::ExternalKeyId;

/// A KMS key and the external key that it stands for; the pair never changes (developer guide, external keys).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KmsKey {
    /// Its ARN, as KMS tells it.
    pub arn: String,
    /// `XksKeyConfiguration.Id`
    pub external_key_id: ExternalKeyId,
}
