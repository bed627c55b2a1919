//! Canaries in the database.

use async_trait::async_trait;
use tokio_postgres::Row;

use super::super::{Canary, CanaryKeeper, JournalError};
use super::{Inner, PostgresJournal};
use crate::clock::Timestamp;
use crate::key_store::{CustomKeyStoreId, ExternalKeyId, XksProxyUriEndpoint, XksProxyUriPath};
use crate::xks::Ciphertext;

/// How many canaries of each key store are kept: one is enough, the others are for whoever changes a test key.
const KEPT: i64 = 5;

#[async_trait]
impl CanaryKeeper for PostgresJournal {
    async fn keep(&self, canary: &Canary) -> Result<(), JournalError> {
        // A statement sees nothing of what its parts change: of the former ones, one less is kept.
        let sql = "WITH new AS (INSERT INTO canaries (key_store, at, endpoint, path, key, ciphertext, \
                   initialization_vector, authentication_tag, ciphertext_metadata, additional_authenticated_data, \
                   plaintext_sha256) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)) \
                   DELETE FROM canaries WHERE key_store = $1 AND id NOT IN \
                   (SELECT id FROM canaries WHERE key_store = $1 ORDER BY id DESC LIMIT $12)";
        self.0
            .change(
                sql,
                &[
                    &canary.key_store.as_str(),
                    &canary.at.to_string(),
                    &canary.endpoint.as_str(),
                    &canary.path.as_str(),
                    &canary.key.as_str(),
                    &canary.ciphertext.data,
                    &canary.ciphertext.initialization_vector,
                    &canary.ciphertext.authentication_tag,
                    &canary.ciphertext.metadata,
                    &canary.additional_authenticated_data,
                    &canary.plaintext_sha256.as_slice(),
                    &(KEPT - 1),
                ],
            )
            .await
            .map(drop)
    }

    async fn canaries(&self, key_store: &CustomKeyStoreId) -> Result<Vec<Canary>, JournalError> {
        let sql = "SELECT at, endpoint, path, key, ciphertext, initialization_vector, authentication_tag, \
                   ciphertext_metadata, additional_authenticated_data, plaintext_sha256 \
                   FROM canaries WHERE key_store = $1 ORDER BY id DESC";
        let rows = self.0.rows(sql, &[&key_store.as_str()]).await?;
        rows.iter().map(|row| self.0.canary(key_store, row)).collect()
    }
}

impl Inner {
    fn canary(&self, key_store: &CustomKeyStoreId, row: &Row) -> Result<Canary, JournalError> {
        let text = |index| self.get::<String>(row, index);
        let bytes = |index| self.get::<Vec<u8>>(row, index);
        let ciphertext = Ciphertext {
            data: bytes(4)?,
            initialization_vector: bytes(5)?,
            authentication_tag: bytes(6)?,
            metadata: self.get(row, 7)?,
        };
        let digest = bytes(9)?;
        Ok(Canary {
            key_store: key_store.clone(),
            endpoint: XksProxyUriEndpoint::parse(&text(1)?).map_err(|error| self.failed(error))?,
            path: XksProxyUriPath::parse(&text(2)?).map_err(|error| self.failed(error))?,
            key: ExternalKeyId::parse(&text(3)?).map_err(|error| self.failed(error))?,
            at: Timestamp::parse(&text(0)?).map_err(|error| self.failed(error))?,
            ciphertext,
            additional_authenticated_data: bytes(8)?,
            plaintext_sha256: digest.try_into().map_err(|_| self.failed("plaintext_sha256 is not 32 bytes long"))?,
        })
    }
}
