//! What was seen of watched candidates, in the database.

use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::Row;

use super::super::vigil::Stored;
use super::super::{JournalError, VigilKeeper};
use super::{Inner, PostgresJournal};
use crate::key_store::CustomKeyStoreId;
use crate::update::{Look, Vigil};

#[async_trait]
impl VigilKeeper for PostgresJournal {
    async fn look(&self, look: Look, silence: Duration) -> Result<Vigil, JournalError> {
        self.0.bounded(self.0.look(look, silence)).await
    }

    async fn vigils(&self, key_store: &CustomKeyStoreId) -> Result<Vec<Vigil>, JournalError> {
        let sql = "SELECT key_store, candidate, settings, green_since, last, verdict, message FROM vigils \
                   WHERE key_store = $1 ORDER BY candidate";
        self.0.rows(sql, &[&key_store.as_str()]).await?.iter().map(|row| self.0.vigil(row)).collect()
    }
}

impl Inner {
    async fn look(&self, look: Look, silence: Duration) -> Result<Vigil, JournalError> {
        let mut borrowed = self.borrow().await?;
        let client = borrowed.client()?;
        let transaction = client.transaction().await.map_err(|error| self.failed(error))?;
        // A row that is not there yet cannot be locked, and no look may be lost to another replica's first one.
        let alone = "LOCK TABLE vigils IN SHARE ROW EXCLUSIVE MODE";
        transaction.batch_execute(alone).await.map_err(|error| self.failed(error))?;
        let sql = "SELECT key_store, candidate, settings, green_since, last, verdict, message FROM vigils \
                   WHERE key_store = $1 AND candidate = $2";
        let rows = self.query(&transaction, sql, &[&look.key_store.as_str(), &look.candidate.as_str()]).await?;
        let before = rows.first().map(|row| self.vigil(row)).transpose()?;
        let vigil = Vigil::after(before.as_ref(), look, silence);
        let Stored { key_store, candidate, settings, green_since, last, verdict, message } = Stored::from(&vigil);
        let sql = "INSERT INTO vigils (key_store, candidate, settings, green_since, last, verdict, message) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (key_store, candidate) DO UPDATE \
                   SET settings = $3, green_since = $4, last = $5, verdict = $6, message = $7";
        self.query(&transaction, sql, &[&key_store, &candidate, &settings, &green_since, &last, &verdict, &message])
            .await?;
        let forgotten_before = Stored::forgotten_before(&vigil);
        self.query(&transaction, "DELETE FROM vigils WHERE last < $1", &[&forgotten_before]).await?;
        self.commit(transaction).await?;
        borrowed.give_back();
        Ok(vigil)
    }

    fn vigil(&self, row: &Row) -> Result<Vigil, JournalError> {
        let stored = Stored {
            key_store: self.get(row, 0)?,
            candidate: self.get(row, 1)?,
            settings: self.get(row, 2)?,
            green_since: self.get(row, 3)?,
            last: self.get(row, 4)?,
            verdict: self.get(row, 5)?,
            message: self.get(row, 6)?,
        };
        stored.read().map_err(|error| self.failed(error))
    }
}
