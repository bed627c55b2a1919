//! Freezes, kept beside the journal: they hold after a restart, and for every process that shares the database.

use async_trait::async_trait;

use super::JournalError;
use crate::clock::Timestamp;
use crate::key_store::CustomKeyStoreId;
use crate::update::Freeze;

/// Keeps freezes, durably: at most one of every key store, and one of all. What is ordered has its line in the audit
/// trail, written in the same transaction.
#[async_trait]
pub trait FreezeKeeper: Send + Sync {
    /// Keeps it in place of an earlier one of the same key store, or of all.
    async fn freeze(&self, freeze: &Freeze) -> Result<(), JournalError>;

    /// Forgets that of this key store, or with `None` that of all, because `by` lifted it `at` that time; gives it, if
    /// there was one. One of all goes on when that of a key store is lifted, and the other way round. One that had ended
    /// by itself is forgotten without a line.
    async fn lift(
        &self,
        key_store: Option<&CustomKeyStoreId>,
        by: &str,
        at: Timestamp,
    ) -> Result<Option<Freeze>, JournalError>;

    /// Those that are kept, that of all first, then by key store. Some may have ended.
    async fn freezes(&self) -> Result<Vec<Freeze>, JournalError>;
}

/// In the place of a key store's id where a freeze is of all: no id is empty.
const ALL: &str = "";

/// A freeze as it stands in a table.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) key_store: String,
    pub(super) reason: String,
    pub(super) frozen_by: String,
    pub(super) since: String,
    pub(super) until: Option<String>,
}

impl Stored {
    /// What stands for this key store, or for all.
    pub(super) fn of(key_store: Option<&CustomKeyStoreId>) -> &str {
        key_store.map_or(ALL, CustomKeyStoreId::as_str)
    }

    /// As the record is written.
    pub(super) fn from(freeze: &Freeze) -> Self {
        Self {
            key_store: Self::of(freeze.key_store.as_ref()).to_owned(),
            reason: freeze.reason.clone(),
            frozen_by: freeze.by.clone(),
            since: freeze.since.to_string(),
            until: freeze.until.map(|until| until.to_string()),
        }
    }

    /// The record, unless somebody else wrote in the table.
    pub(super) fn read(self) -> Result<Freeze, Box<dyn std::error::Error + Send + Sync>> {
        let key_store = if self.key_store == ALL { None } else { Some(CustomKeyStoreId::parse(&self.key_store)?) };
        let until = self.until.map(|until| Timestamp::parse(&until)).transpose()?;
        let since = Timestamp::parse(&self.since)?;
        Ok(Freeze { key_store, reason: self.reason, by: self.frozen_by, since, until })
    }
}
