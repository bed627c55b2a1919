//! Freezes in the journal's file.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::super::freeze::Stored;
use super::super::{FreezeKeeper, JournalError};
use super::{Inner, SqliteJournal};
use crate::audit::{frozen, lifted};
use crate::clock::Timestamp;
use crate::key_store::CustomKeyStoreId;
use crate::update::Freeze;

#[async_trait]
impl FreezeKeeper for SqliteJournal {
    async fn freeze(&self, freeze: &Freeze) -> Result<(), JournalError> {
        let freeze = freeze.clone();
        self.run(move |inner, connection| {
            let transaction = inner.begin(connection)?;
            let Stored { key_store, reason, frozen_by, since, until } = Stored::from(&freeze);
            transaction
                .execute(
                    "INSERT OR REPLACE INTO freezes (key_store, reason, frozen_by, since, until) \
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![key_store, reason, frozen_by, since, until],
                )
                .map_err(|error| inner.failed(error))?;
            inner.append_line(&transaction, frozen(&freeze))?;
            inner.commit(transaction)
        })
        .await
    }

    async fn lift(
        &self,
        key_store: Option<&CustomKeyStoreId>,
        by: &str,
        at: Timestamp,
    ) -> Result<Option<Freeze>, JournalError> {
        let (key_store, by) = (Stored::of(key_store).to_owned(), by.to_owned());
        self.run(move |inner, connection| {
            let transaction = inner.begin(connection)?;
            let found = inner.freezes(&transaction, "WHERE key_store = ?1", [&key_store])?.into_iter().next();
            transaction
                .execute("DELETE FROM freezes WHERE key_store = ?1", [&key_store])
                .map_err(|error| inner.failed(error))?;
            if let Some(freeze) = found.as_ref().filter(|freeze| freeze.is_in_force(at)) {
                inner.append_line(&transaction, lifted(freeze, &by, at))?;
            }
            inner.commit(transaction)?;
            Ok(found)
        })
        .await
    }

    async fn freezes(&self) -> Result<Vec<Freeze>, JournalError> {
        self.read(|inner, connection| inner.freezes(connection, "ORDER BY key_store", [])).await
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
        let stored: Vec<Stored> = connection
            .prepare_cached(&sql)
            .and_then(|mut statement| statement.query_map(parameters, stored)?.collect())
            .map_err(|error| self.failed(error))?;
        stored.into_iter().map(|stored| stored.read().map_err(|error| self.malformed(error))).collect()
    }
}

fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    Ok(Stored {
        key_store: row.get(0)?,
        reason: row.get(1)?,
        frozen_by: row.get(2)?,
        since: row.get(3)?,
        until: row.get(4)?,
    })
}
