//! Clients that show a certificate: whose they must be, and what is kept of one for as long as its connection lives.
//!
//! TLS judges a certificate once, when a connection is made. The authorities may be others later, because one of them is
//! no longer to be trusted; so whoever recognises a caller asks again, of those that are in force at that moment.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};

use crate::access::ClientCertificate;
use crate::clock::Timestamp;

/// The authorities whose certificates clients may show.
pub struct Authorities {
    roots: Arc<RootCertStore>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl Authorities {
    /// These and no others; an error if there are none. Who shows no certificate is let through: they may have a token.
    pub fn new(roots: RootCertStore, provider: Arc<CryptoProvider>) -> Result<Self, VerifierBuilderError> {
        let roots = Arc::new(roots);
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider);
        let verifier = builder.allow_unauthenticated().build()?;
        Ok(Self { roots, verifier })
    }

    /// What a TLS server asks.
    pub fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.verifier)
    }

    /// Whether these are the very same ones, in whatever order.
    pub fn are(&self, others: &Self) -> bool {
        let (ours, theirs) = (&self.roots.roots, &others.roots.roots);
        ours.iter().all(|one| theirs.contains(one)) && theirs.iter().all(|one| ours.contains(one))
    }

    /// Whether what a client showed when it connected would be taken now.
    pub fn take(&self, shown: &ShownCertificate, now: Timestamp) -> bool {
        let Some((leaf, intermediates)) = shown.chain.split_first() else { return false };
        let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.unix()).unwrap_or(0)));
        std::ptr::eq(self, Arc::as_ptr(&shown.under))
            || self.verifier.verify_client_cert(leaf, intermediates, now).is_ok()
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorities").field("count", &self.roots.len()).finish_non_exhaustive()
    }
}

/// A certificate that a client showed and that TLS took.
#[derive(Debug)]
pub struct ShownCertificate {
    /// What counts of it.
    pub certificate: ClientCertificate,
    /// The leaf first.
    chain: Vec<CertificateDer<'static>>,
    /// Those by whom it was taken.
    under: Arc<Authorities>,
}

impl ShownCertificate {
    /// Reads what a connection was made with; `None` when nothing was shown, or it cannot be read.
    pub(super) fn read(chain: Option<&[CertificateDer<'static>]>, under: Option<&Arc<Authorities>>) -> Option<Self> {
        let chain = chain?;
        let certificate = ClientCertificate::parse(chain.first()?)?;
        Some(Self { certificate, chain: chain.to_vec(), under: Arc::clone(under?) })
    }
}
