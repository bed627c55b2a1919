//! The recorder of one handshake: lets it finish whatever the certificate, and notes what was seen.
//!
//! It is no verifier that trusts everything by oversight. The handshake's own signature is verified (so that the chain
//! is evidence about *this* server), and the chain is judged in `trust` before a single byte of a request is
//! sent; see `tls`.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, SignatureScheme};

/// What a handshake showed, even if it did not finish.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorded {
    /// As served.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// The OCSP response stapled to it; empty if there is none.
    pub(super) ocsp_response: Vec<u8>,
    /// `TLSv1.2` or `TLSv1.3`, known from the signature message on.
    pub(super) version: Option<&'static str>,
    /// Whether the handshake's signature fits the leaf.
    pub(super) signature_fits: bool,
    /// Whether a client certificate was asked for.
    pub(super) client_certificate_requested: bool,
    /// Whether one was presented.
    pub(super) client_certificate_presented: bool,
}

/// Records one handshake.
pub(super) struct Recorder {
    algorithms: WebPkiSupportedAlgorithms,
    client_key: Option<Arc<CertifiedKey>>,
    recorded: Mutex<Recorded>,
}

impl Recorder {
    pub(super) fn new(algorithms: WebPkiSupportedAlgorithms, client_key: Option<Arc<CertifiedKey>>) -> Self {
        Self { algorithms, client_key, recorded: Mutex::default() }
    }

    /// What was seen so far.
    pub(super) fn recorded(&self) -> Recorded {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signature(
        &self,
        version: &'static str,
        verified: Result<HandshakeSignatureValid, rustls::Error>,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let mut recorded = self.lock();
        recorded.version = Some(version);
        recorded.signature_fits = verified.is_ok();
        verified
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = std::iter::once(end_entity).chain(intermediates);
        let mut recorded = self.lock();
        recorded.chain = chain.map(|certificate| certificate.clone().into_owned()).collect();
        recorded.ocsp_response = ocsp_response.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signature("TLSv1.2", verify_tls12_signature(message, cert, dss, &self.algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signature("TLSv1.3", verify_tls13_signature(message, cert, dss, &self.algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ResolvesClientCert for Recorder {
    fn resolve(&self, _root_hint_subjects: &[&[u8]], sigschemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let usable = self.client_key.clone().filter(|key| key.key.choose_scheme(sigschemes).is_some());
        let mut recorded = self.lock();
        recorded.client_certificate_requested = true;
        recorded.client_certificate_presented = usable.is_some();
        usable
    }

    /// Always, so that rustls asks when the server does: the asking itself is what must be noted.
    fn has_certs(&self) -> bool {
        true
    }
}
