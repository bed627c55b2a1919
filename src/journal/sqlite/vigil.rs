//! What was seen of watched candidates, in the journal's file.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::super::vigil::Stored;
use super::super::{JournalError, VigilKeeper};
use super::{Inner, SqliteJournal};
use crate::key_store::CustomKeyStoreId;
use crate::update::{Look, Vigil};

#[async_trait]
impl VigilKeeper for SqliteJournal {
    async fn look(&self, look: Look, silence: Duration) -> Result<Vigil, JournalError> {
        self.run(move |inner, connection| {
            let transaction = inner.begin(connection)?;
            let which = "WHERE key_store = ?1 AND candidate = ?2";
            let before = inner.vigils(&transaction, which, [look.key_store.as_str(), look.candidate.as_str()])?;
            let vigil = Vigil::after(before.first(), look, silence);
            let Stored { key_store, candidate, settings, green_since, last, verdict, message } = Stored::from(&vigil);
            transaction
                .execute(
                    "INSERT OR REPLACE INTO vigils (key_store, candidate, settings, green_since, last, verdict, message) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                    params![key_store, candidate, settings, green_since, last, verdict, message],
                )
                .and_then(|_| {
                    transaction.execute("DELETE FROM vigils WHERE last < ?1", [Stored::forgotten_before(&vigil)])
                })
                .map_err(|error| inner.failed(error))?;
            inner.commit(transaction)?;
            Ok(vigil)
        })
        .await
    }

    async fn vigils(&self, key_store: &CustomKeyStoreId) -> Result<Vec<Vigil>, JournalError> {
        let key_store = key_store.clone();
        let which = "WHERE key_store = ?1 ORDER BY candidate";
        self.read(move |inner, connection| inner.vigils(connection, which, [key_store.as_str()])).await
    }
}

impl Inner {
    fn vigils(
        &self,
        connection: &Connection,
        which: &str,
        parameters: impl rusqlite::Params,
    ) -> Result<Vec<Vigil>, JournalError> {
        let sql =
            format!("SELECT key_store, candidate, settings, green_since, last, verdict, message FROM vigils {which}");
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
        candidate: row.get(1)?,
        settings: row.get(2)?,
        green_since: row.get(3)?,
        last: row.get(4)?,
        verdict: row.get(5)?,
        message: row.get(6)?,
    })
}
