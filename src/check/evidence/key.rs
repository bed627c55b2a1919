//! What was seen of the keys behind a proxy.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::key_store::KmsKey;

use super::Problem;

/// What was seen of the keys behind the candidate.
#[derive(Clone, Debug, Default)]
pub struct KeyEvidence {
    /// The KMS keys of the store, if they were asked for.
    pub enumeration: Option<Enumeration>,
}

/// The KMS keys of one key store, as far as they could be found.
#[derive(Clone, Debug)]
pub struct Enumeration {
    /// Those that were found, each with its external key, by ARN. Shared, because many reports are kept.
    pub keys: Arc<[KmsKey]>,
    /// How many keys of account and Region could not be described because AWS denied it: some of them may belong to the
    /// store.
    pub denied: usize,
    /// Why not all keys of account and Region were looked at, if so.
    pub incomplete: Option<Problem>,
    /// When it ended.
    pub at: Timestamp,
}

impl Enumeration {
    /// Whether every key of the store is among those found.
    pub fn is_complete(&self) -> bool {
        self.denied == 0 && self.incomplete.is_none()
    }
}
