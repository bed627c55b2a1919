//! Maintenance windows: when keys may be taken out of use.

use crate::clock::Timestamp;
use crate::key_store::CustomKeyStoreId;

/// Whether a window is open at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Opening {
    /// One is, or there are none to keep to.
    #[default]
    Open,
    /// None is.
    Closed {
        /// When the next one opens; absent if none does within the time that is looked at.
        opens_at: Option<Timestamp>,
    },
}

/// The maintenance windows of all key stores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Windows {}

impl Windows {
    /// Whether one is open for this key store.
    pub fn opening(&self, _key_store: &CustomKeyStoreId, _now: Timestamp) -> Opening {
        Opening::Open
    }
}
