//! Canaries: ciphertext made through a proxy while it was healthy, so that its keys can be told from others later, when
//! it may be gone.

use async_trait::async_trait;

use super::JournalError;
use crate::clock::Timestamp;
use crate::key_store::{CustomKeyStoreId, ExternalKeyId, XksProxyUriEndpoint, XksProxyUriPath};
use crate::xks::Ciphertext;

/// What a proxy encrypted with a test key. The plaintext was random and is gone; only its hash is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    /// Of this key store.
    pub key_store: CustomKeyStoreId,
    /// `XksProxyUriEndpoint` of the proxy that encrypted it.
    pub endpoint: XksProxyUriEndpoint,
    /// `XksProxyUriPath` of that proxy.
    pub path: XksProxyUriPath,
    /// The test key.
    pub key: ExternalKeyId,
    /// When.
    pub at: Timestamp,
    /// What Encrypt gave.
    pub ciphertext: Ciphertext,
    /// The additional data that Encrypt was given.
    pub additional_authenticated_data: Vec<u8>,
    /// SHA-256 of the plaintext.
    pub plaintext_sha256: [u8; 32],
}

/// Keeps canaries, durably. Nothing in them is secret.
#[async_trait]
pub trait CanaryKeeper: Send + Sync {
    /// Keeps one; of each key store only the latest few stay.
    async fn keep(&self, canary: &Canary) -> Result<(), JournalError>;

    /// Those of a key store, newest first.
    async fn canaries(&self, key_store: &CustomKeyStoreId) -> Result<Vec<Canary>, JournalError>;
}
