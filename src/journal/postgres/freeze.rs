//! Freezes in the database.

use async_trait::async_trait;
use tokio_postgres::Row;

use super::super::freeze::Stored;
use super::super::{FreezeKeeper, JournalError};
use super::{Inner, PostgresJournal};
use crate::audit::{frozen, lifted};
use crate::clock::Timestamp;
use crate::key_store::CustomKeyStoreId;
use crate::update::Freeze;

#[async_trait]
impl FreezeKeeper for PostgresJournal {
    async fn freeze(&self, freeze: &Freeze) -> Result<(), JournalError> {
        self.0.bounded(self.0.freeze(freeze)).await
    }

    async fn lift(
        &self,
        key_store: Option<&CustomKeyStoreId>,
        by: &str,
        at: Timestamp,
    ) -> Result<Option<Freeze>, JournalError> {
        self.0.bounded(self.0.lift(key_store, by, at)).await
    }

    async fn freezes(&self) -> Result<Vec<Freeze>, JournalError> {
        let sql = "SELECT key_store, reason, frozen_by, since, until FROM freezes ORDER BY key_store";
        self.0.rows(sql, &[]).await?.iter().map(|row| self.0.freeze_of(row)).collect()
    }
}

impl Inner {
    async fn freeze(&self, freeze: &Freeze) -> Result<(), JournalError> {
        let mut borrowed = self.borrow().await?;
        let client = borrowed.client()?;
        let transaction = client.transaction().await.map_err(|error| self.failed(error))?;
        let Stored { key_store, reason, frozen_by, since, until } = Stored::from(freeze);
        let sql = "INSERT INTO freezes (key_store, reason, frozen_by, since, until) VALUES ($1, $2, $3, $4, $5) \
                   ON CONFLICT (key_store) DO UPDATE SET reason = $2, frozen_by = $3, since = $4, until = $5";
        self.query(&transaction, sql, &[&key_store, &reason, &frozen_by, &since, &until]).await?;
        self.append_line(&transaction, frozen(freeze)).await?;
        self.commit(transaction).await?;
        borrowed.give_back();
        Ok(())
    }

    async fn lift(
        &self,
        key_store: Option<&CustomKeyStoreId>,
        by: &str,
        at: Timestamp,
    ) -> Result<Option<Freeze>, JournalError> {
        let mut borrowed = self.borrow().await?;
        let client = borrowed.client()?;
        let transaction = client.transaction().await.map_err(|error| self.failed(error))?;
        let sql = "DELETE FROM freezes WHERE key_store = $1 RETURNING key_store, reason, frozen_by, since, until";
        let rows = self.query(&transaction, sql, &[&Stored::of(key_store)]).await?;
        let found = rows.first().map(|row| self.freeze_of(row)).transpose()?;
        if let Some(freeze) = found.as_ref().filter(|freeze| freeze.is_in_force(at)) {
            self.append_line(&transaction, lifted(freeze, by, at)).await?;
        }
        self.commit(transaction).await?;
        borrowed.give_back();
        Ok(found)
    }

    fn freeze_of(&self, row: &Row) -> Result<Freeze, JournalError> {
        let stored = Stored {
            key_store: self.get(row, 0)?,
            reason: self.get(row, 1)?,
            frozen_by: self.get(row, 2)?,
            since: self.get(row, 3)?,
            until: self.get(row, 4)?,
        };
        stored.read().map_err(|error| self.failed(error))
    }
}
