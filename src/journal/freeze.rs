//! Freezes, kept beside the journal: they hold after a restart, and for every process that shares the database.

use async_trait::async_trait;

use super::JournalError;
use crate::key_store::CustomKeyStoreId;
use crate::update::Freeze;

/// Keeps freezes, durably: at most one of every key store, and one of all.
#[async_trait]
pub trait FreezeKeeper: Send + Sync {
    /// Keeps it in place of an earlier one of the same key store, or of all.
    async fn freeze(&self, freeze: &Freeze) -> Result<(), JournalError>;

    /// Forgets that of this key store, or with `None` that of all; gives it, if there was one. One of all goes on when
    /// that of a key store is lifted, and the other way round.
    async fn lift(&self, key_store: Option<&CustomKeyStoreId>) -> Result<Option<Freeze>, JournalError>;

    /// Those that are kept, that of all first, then by key store. Some may have ended.
    async fn freezes(&self) -> Result<Vec<Freeze>, JournalError>;
}
