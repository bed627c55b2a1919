//! The proxy's TLS: a right configuration, the wrong ones, and the bytes of servers that do not manage a handshake.

mod any_client;
mod instead;
mod leaf;
mod staple;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use rustls::{
    CipherSuite, ProtocolVersion, RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::UnixTime,
    server::{NoClientAuth, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
    time_provider::TimeProvider,
};

pub(super) use self::instead::instead_of_handshake;
use self::{any_client::AnyClient, leaf::leaf};
use super::{ProxyError, WallClock};
use crate::sandbox::{fault::Fault, pki::Pki};

/// The faults of the layers `Tls` and `Certificate`.
type Combination = (Option<Fault>, Option<Fault>);

/// Makes the server configuration for a combination of faults once and keeps it, so that the certificate stays the
/// same from connection to connection.
pub(super) struct Tls {
    pki: Arc<Pki>,
    host_names: Vec<String>,
    clock: WallClock,
    made: Mutex<HashMap<Combination, Arc<ServerConfig>>>,
}

impl Tls {
    pub(super) fn new(pki: Arc<Pki>, host_names: Vec<String>, clock: WallClock) -> Self {
        Self { pki, host_names, clock, made: Mutex::default() }
    }

    /// The configuration with these faults of the layers `Tls` and `Certificate`.
    pub(super) fn config(
        &self,
        handshake: Option<Fault>,
        certificate: Option<Fault>,
    ) -> Result<Arc<ServerConfig>, ProxyError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = made.get(&(handshake, certificate)) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.make(handshake, certificate)?);
        made.insert((handshake, certificate), Arc::clone(&config));
        Ok(config)
    }

    fn make(&self, handshake: Option<Fault>, certificate: Option<Fault>) -> Result<ServerConfig, ProxyError> {
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites.retain(|suite| offers(handshake, suite));
        let provider = Arc::new(provider);
        let versions: &[&SupportedProtocolVersion] = match handshake {
            Some(Fault::Tls12Only | Fault::ClientCertificateRequiredTls12) => &[&rustls::version::TLS12],
            Some(Fault::Tls13Only) => &[&rustls::version::TLS13],
            _ => rustls::ALL_VERSIONS,
        };
        let leaf = leaf(&self.pki, &self.host_names, certificate);
        // Proxies of one name share their certificate, unless a roll-out has come half way.
        let issued = match certificate {
            Some(Fault::CertificateReissued) => Arc::new(self.pki.issue(&leaf)?),
            _ => self.pki.issue_shared(&leaf)?,
        };
        let key = match certificate {
            Some(Fault::CertificateForeignKey) => self.pki.issue(&leaf)?.key,
            _ => issued.key.clone_key(),
        };
        let key = provider.key_provider.load_private_key(key)?;
        // Unchecked on purpose: a reversed chain does not begin with the certificate of the key.
        let mut certified = CertifiedKey::new(issued.chain.clone(), key);
        if certificate == Some(Fault::CertificateOcspStaple) {
            certified.ocsp = Some(staple::response(self.pki.now()));
        }
        let resolver = SingleCertAndKey::from(certified);
        let mut config =
            ServerConfig::builder_with_details(Arc::clone(&provider), Arc::new(WallTime(self.clock.clone())))
                .with_protocol_versions(versions)?
                .with_client_cert_verifier(self.client_verifier(handshake, provider)?)
                .with_cert_resolver(Arc::new(resolver));
        let protocol: &[u8] = if handshake == Some(Fault::AlpnHttp2Only) { b"h2" } else { b"http/1.1" };
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(config)
    }

    fn client_verifier(
        &self,
        handshake: Option<Fault>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, ProxyError> {
        match handshake {
            Some(Fault::ClientCertificateUnverified) => return Ok(Arc::new(AnyClient::new(&provider))),
            Some(
                Fault::ClientCertificateRequired
                | Fault::ClientCertificateRequiredTls12
                | Fault::ClientCertificateRequested,
            ) => {}
            _ => return Ok(Arc::new(NoClientAuth)),
        }
        let mut roots = RootCertStore::empty();
        roots.add(self.pki.root_der().clone())?;
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        if handshake == Some(Fault::ClientCertificateRequested) {
            builder = builder.allow_unauthenticated();
        }
        Ok(builder.build()?)
    }
}

/// Whether a proxy with this fault offers this suite.
fn offers(fault: Option<Fault>, suite: &SupportedCipherSuite) -> bool {
    let weaker = matches!(
        suite.suite(),
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    );
    let version = suite.version().version;
    match fault {
        Some(Fault::CipherSuitesUnsupported) => weaker,
        Some(Fault::Tls13SuitesUnsupported) => weaker || version == ProtocolVersion::TLSv1_2,
        Some(Fault::Tls12SuitesUnsupported) => weaker || version == ProtocolVersion::TLSv1_3,
        _ => true,
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("host_names", &self.host_names).finish_non_exhaustive()
    }
}

/// The proxy's clock as rustls wants it.
struct WallTime(WallClock);

impl TimeProvider for WallTime {
    fn current_time(&self) -> Option<UnixTime> {
        (self.0)().duration_since(SystemTime::UNIX_EPOCH).ok().map(UnixTime::since_unix_epoch)
    }
}

impl fmt::Debug for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallTime")
    }
}
