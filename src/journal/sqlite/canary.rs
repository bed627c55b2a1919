//! Canaries in the journal's file.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::super::{Canary, CanaryKeeper, JournalError};
use super::{Inner, SqliteJournal};
use crate::clock::Timestamp;
use crate::key_store::{CustomKeyStoreId, ExternalKeyId, XksProxyUriEndpoint, XksProxyUriPath};
use crate::xks::Ciphertext;

/// How many canaries of each key store are kept: one is enough, the others are for whoever changes a test key.
const KEPT: i64 = 5;

#[async_trait]
impl CanaryKeeper for SqliteJournal {
    async fn keep(&self, canary: &Canary) -> Result<(), JournalError> {
        let canary = canary.clone();
        self.run(move |inner, connection| inner.keep(connection, &canary)).await
    }

    async fn canaries(&self, key_store: &CustomKeyStoreId) -> Result<Vec<Canary>, JournalError> {
        let key_store = key_store.clone();
        self.run(move |inner, connection| inner.canaries(connection, &key_store)).await
    }
}

impl Inner {
    fn keep(&self, connection: &mut Connection, canary: &Canary) -> Result<(), JournalError> {
        let transaction = self.begin(connection)?;
        transaction
            .execute(
                "INSERT INTO canaries (key_store, at, endpoint, path, key, ciphertext, initialization_vector, \
                 authentication_tag, ciphertext_metadata, additional_authenticated_data, plaintext_sha256) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                params![
                    canary.key_store.as_str(),
                    canary.at.to_string(),
                    canary.endpoint.as_str(),
                    canary.path.as_str(),
                    canary.key.as_str(),
                    canary.ciphertext.data,
                    canary.ciphertext.initialization_vector,
                    canary.ciphertext.authentication_tag,
                    canary.ciphertext.metadata,
                    canary.additional_authenticated_data,
                    canary.plaintext_sha256,
                ],
            )
            .map_err(|error| self.failed(error))?;
        transaction
            .execute(
                "DELETE FROM canaries WHERE key_store = ?1 AND id NOT IN \
                 (SELECT id FROM canaries WHERE key_store = ?1 ORDER BY id DESC LIMIT ?2)",
                params![canary.key_store.as_str(), KEPT],
            )
            .map_err(|error| self.failed(error))?;
        self.commit(transaction)
    }

    fn canaries(&self, connection: &Connection, key_store: &CustomKeyStoreId) -> Result<Vec<Canary>, JournalError> {
        let sql = "SELECT at, endpoint, path, key, ciphertext, initialization_vector, authentication_tag, \
                   ciphertext_metadata, additional_authenticated_data, plaintext_sha256 \
                   FROM canaries WHERE key_store = ?1 ORDER BY id DESC";
        let mut statement = connection.prepare_cached(sql).map_err(|error| self.failed(error))?;
        let mut rows = statement.query([key_store.as_str()]).map_err(|error| self.failed(error))?;
        let mut canaries = Vec::new();
        while let Some(row) = rows.next().map_err(|error| self.failed(error))? {
            canaries.push(self.canary(key_store, row)?);
        }
        Ok(canaries)
    }

    fn canary(&self, key_store: &CustomKeyStoreId, row: &Row<'_>) -> Result<Canary, JournalError> {
        let text = |index| row.get::<_, String>(index).map_err(|error| self.failed(error));
        let bytes = |index| row.get::<_, Vec<u8>>(index).map_err(|error| self.failed(error));
        let ciphertext = Ciphertext {
            data: bytes(4)?,
            initialization_vector: bytes(5)?,
            authentication_tag: bytes(6)?,
            metadata: row.get(7).map_err(|error| self.failed(error))?,
        };
        Ok(Canary {
            key_store: key_store.clone(),
            endpoint: XksProxyUriEndpoint::parse(&text(1)?).map_err(|error| self.malformed(Box::new(error)))?,
            path: XksProxyUriPath::parse(&text(2)?).map_err(|error| self.malformed(Box::new(error)))?,
            key: ExternalKeyId::parse(&text(3)?).map_err(|error| self.malformed(Box::new(error)))?,
            at: Timestamp::parse(&text(0)?).map_err(|error| self.malformed(Box::new(error)))?,
            ciphertext,
            additional_authenticated_data: bytes(8)?,
            plaintext_sha256: row.get(9).map_err(|error| self.failed(error))?,
        })
    }
}
