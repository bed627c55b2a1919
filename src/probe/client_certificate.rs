//! The client certificate that we present where a proxy asks for one. It is never KMS's own, which nobody else holds.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// A certificate chain and the key of its leaf. `Debug` tells nothing of the key.
#[derive(Clone)]
pub struct ClientCertificate(Arc<CertifiedKey>);

/// A client certificate that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientCertificateError {
    /// The chain's text is not PEM.
    #[error("the client certificate is not PEM; give the leaf first, then its intermediates")]
    Chain(#[source] rustls::pki_types::pem::Error),
    /// There is none in the chain's text.
    #[error("the client certificate's PEM holds no certificate")]
    Empty,
    /// The key's text is not PEM, or of another kind. The source never holds the key.
    #[error("the client key is not PEM of a private key (PKCS #8, PKCS #1 or SEC 1, not encrypted)")]
    Key(#[source] rustls::pki_types::pem::Error),
    /// The key cannot be used or does not belong to the leaf.
    #[error("the client key cannot be used with the client certificate")]
    Mismatch(#[source] rustls::Error),
}

impl ClientCertificate {
    /// Reads a chain (leaf first) and the leaf's private key, and checks that they belong together.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, ClientCertificateError> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(ClientCertificateError::Chain)?;
        if chain.is_empty() {
            return Err(ClientCertificateError::Empty);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(ClientCertificateError::Key)?;
        Self::from_der(chain, key)
    }

    /// The same of what is no longer PEM.
    pub(super) fn from_der(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, ClientCertificateError> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let certified = CertifiedKey::from_der(chain, key, &provider).map_err(ClientCertificateError::Mismatch)?;
        Ok(Self(Arc::new(certified)))
    }

    pub(super) fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0)
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").field("certificates", &self.0.cert.len()).finish_non_exhaustive()
    }
}
