//! Freezes in the journal's file.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::super::{FreezeKeeper, JournalError};
use super::{Inner, SqliteJournal};
use crate::audit::frozen;
use crate::clock::Timestamp;
use crate::key_store::CustomKeyStoreId;
use crate::update::Freeze;

/// In place of a key store's id: no id is empty.
const ALL: &str = "";

#[async_trait]
impl FreezeKeeper for SqliteJournal {
    async fn freeze(&self, freeze: &Freeze) -> Result<(), JournalError> {
        let freeze = freeze.clone();
        self.run(move |inner, connection| {
            let transaction = inner.begin(connection)?;
            transaction
                .execute(
                    "INSERT OR REPLACE INTO freezes (key_store, reason, frozen_by, since, until) \
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![
                        freeze.key_store.as_ref().map_or(ALL, CustomKeyStoreId::as_str),
                        freeze.reason,
                        freeze.by,
                        freeze.since.to_string(),
                        freeze.until.map(|until| until.to_string()),
                    ],
                )
                .map_err(|error| inner.failed(error))?;
            inner.append_line(&transaction, frozen(&freeze))?;
            inner.commit(transaction)
        })
        .await
    }

    async fn lift(&self, key_store: Option<&CustomKeyStoreId>) -> Result<Option<Freeze>, JournalError> {
        let key_store = key_store.map_or(ALL, CustomKeyStoreId::as_str).to_owned();
        self.run(move |inner, connection| {
            let transaction = inner.begin(connection)?;
            let lifted = inner.freezes(&transaction, "WHERE key_store = ?1", [&key_store])?;
            transaction
                .execute("DELETE FROM freezes WHERE key_store = ?1", [&key_store])
                .map_err(|error| inner.failed(error))?;
            inner.commit(transaction)?;
            Ok(lifted.into_iter().next())
        })
        .await
    }

    async fn freezes(&self) -> Result<Vec<Freeze>, JournalError> {
        self.run(|inner, connection| inner.freezes(connection, "ORDER BY key_store", [])).await
    }
}

impl Inner {
    fn freezes(
        &self,
        connection: &Connection,
        which: &str,
        parameters: impl rusqlite::Params,
    ) -> Result<Vec<Freeze>, JournalError> {
        let sql = format!("SELECT key_store, reason, frozen_by, since, until FROM freezes {which}");
        let mut statement = connection.prepare_cached(&sql).map_err(|error| self.failed(error))?;
        let mut rows = statement.query(parameters).map_err(|error| self.failed(error))?;
        let mut freezes = Vec::new();
        while let Some(row) = rows.next().map_err(|error| self.failed(error))? {
            freezes.push(self.freeze_of(row)?);
        }
        Ok(freezes)
    }

    fn freeze_of(&self, row: &Row<'_>) -> Result<Freeze, JournalError> {
        let text = |index| row.get::<_, String>(index).map_err(|error| self.failed(error));
        let instant = |text: &str| Timestamp::parse(text).map_err(|error| self.malformed(Box::new(error)));
        let key_store = match text(0)?.as_str() {
            ALL => None,
            id => Some(CustomKeyStoreId::parse(id).map_err(|error| self.malformed(Box::new(error)))?),
        };
        let until: Option<String> = row.get(4).map_err(|error| self.failed(error))?;
        let until = until.map(|until| instant(&until)).transpose()?;
        Ok(Freeze { key_store, reason: text(1)?, by: text(2)?, since: instant(&text(3)?)?, until })
    }
}
