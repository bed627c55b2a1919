//! Freezes in the database.

use async_trait::async_trait;
use tokio_postgres::Row;

use super::super::{FreezeKeeper, JournalError};
use super::{Inner, PostgresJournal};
use crate::clock::Timestamp;
use crate::key_store::CustomKeyStoreId;
use crate::update::Freeze;

/// In place of a key store's id: no id is empty.
const ALL: &str = "";

#[async_trait]
impl FreezeKeeper for PostgresJournal {
    async fn freeze(&self, freeze: &Freeze) -> Result<(), JournalError> {
        let sql = "INSERT INTO freezes (key_store, reason, frozen_by, since, until) VALUES ($1, $2, $3, $4, $5) \
                   ON CONFLICT (key_store) DO UPDATE SET reason = $2, frozen_by = $3, since = $4, until = $5";
        let key_store = freeze.key_store.as_ref().map_or(ALL, CustomKeyStoreId::as_str);
        let (since, until) = (freeze.since.to_string(), freeze.until.map(|until| until.to_string()));
        self.0.change(sql, &[&key_store, &freeze.reason, &freeze.by, &since, &until]).await.map(drop)
    }

    async fn lift(&self, key_store: Option<&CustomKeyStoreId>) -> Result<Option<Freeze>, JournalError> {
        let sql = "DELETE FROM freezes WHERE key_store = $1 RETURNING key_store, reason, frozen_by, since, until";
        let rows = self.0.change(sql, &[&key_store.map_or(ALL, CustomKeyStoreId::as_str)]).await?;
        rows.first().map(|row| self.0.freeze_of(row)).transpose()
    }

    async fn freezes(&self) -> Result<Vec<Freeze>, JournalError> {
        let sql = "SELECT key_store, reason, frozen_by, since, until FROM freezes ORDER BY key_store";
        self.0.rows(sql, &[]).await?.iter().map(|row| self.0.freeze_of(row)).collect()
    }
}

impl Inner {
    fn freeze_of(&self, row: &Row) -> Result<Freeze, JournalError> {
        let text = |index| self.get::<String>(row, index);
        let instant = |text: &str| Timestamp::parse(text).map_err(|error| self.failed(error));
        let key_store = match text(0)?.as_str() {
            ALL => None,
            id => Some(CustomKeyStoreId::parse(id).map_err(|error| self.failed(error))?),
        };
        let until = self.get::<Option<String>>(row, 4)?.map(|until| instant(&until)).transpose()?;
        Ok(Freeze { key_store, reason: text(1)?, by: text(2)?, since: instant(&text(3)?)?, until })
    }
}
