//! What an update will cost those who use the keys, told before anybody agrees to it.

use serde::{Deserialize, Serialize};

use crate::key_store::{Configuration, KeyStore};

/// How many KMS keys of a key store are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownKeys {
    /// So many were found.
    pub found: usize,
    /// Whether there can be no others.
    pub complete: bool,
}

/// The outage that a plan brings about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forecast {
    /// About so long: AWS speaks of about 5 minutes to disconnect, about 5 to connect an external key store, and up to 20
    /// to connect one with a CloudHSM cluster.
    pub minutes: u32,
    /// The KMS keys that cannot be used meanwhile; absent if nobody has counted.
    pub affected_keys: Option<KnownKeys>,
}

impl Forecast {
    /// Of a plan that disconnects the key store.
    pub(super) fn of(store: &KeyStore, keys: Option<KnownKeys>) -> Self {
        let minutes = match store.configuration {
            Configuration::CloudHsm(_) => 25,
            Configuration::Xks(_) | Configuration::Unrecognized { .. } => 10,
        };
        Self { minutes, affected_keys: keys }
    }
}
