//! The proxy's TLS: a right configuration, the wrong ones, and the bytes of servers that do not manage a handshake.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use rustls::{
    CipherSuite, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::UnixTime,
    server::{NoClientAuth, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
    time_provider::TimeProvider,
};

use super::{ProxyError, WallClock};
use crate::sandbox::{
    fault::Fault,
    pki::{Chain, Leaf, Pki},
};

const DAY: Duration = Duration::from_hours(24);

/// A ServerHello of a server that knows nothing newer than TLS 1.1: version 3.2, no session, ECDHE-ECDSA with
/// AES-128-CBC. Such a server disregards the `supported_versions` extension, so it answers instead of alerting.
const TLS11_SERVER_HELLO_HEAD: [u8; 11] = [22, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2];
const TLS11_SERVER_HELLO_TAIL: [u8; 4] = [0, 0xc0, 0x09, 0];
/// A record header that announces more of a ServerHello than follows.
const HALF_SERVER_HELLO: [u8; 9] = [22, 3, 3, 0, 122, 2, 0, 0, 118];

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
        if handshake == Some(Fault::CipherSuitesUnsupported) {
            let weaker = [
                CipherSuite::TLS13_AES_128_GCM_SHA256,
                CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            ];
            provider.cipher_suites.retain(|suite| weaker.contains(&suite.suite()));
        }
        let provider = Arc::new(provider);
        let only_12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
        let versions = if handshake == Some(Fault::Tls12Only) { only_12 } else { rustls::ALL_VERSIONS };
        let issued = self.pki.issue(&self.leaf(certificate))?;
        let key = provider.key_provider.load_private_key(issued.key)?;
        // Unchecked on purpose: a reversed chain does not begin with the certificate of the key.
        let resolver = SingleCertAndKey::from(CertifiedKey::new(issued.chain, key));
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
        if !matches!(handshake, Some(Fault::ClientCertificateRequired | Fault::ClientCertificateRequested)) {
            return Ok(Arc::new(NoClientAuth));
        }
        let mut roots = RootCertStore::empty();
        roots.add(self.pki.root_der().clone())?;
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        if handshake == Some(Fault::ClientCertificateRequested) {
            builder = builder.allow_unauthenticated();
        }
        Ok(builder.build()?)
    }

    fn leaf(&self, fault: Option<Fault>) -> Leaf {
        let now = self.pki.now();
        let right = self.pki.leaf(self.host_names.iter().cloned());
        let with = |chain| Leaf { chain, ..right.clone() };
        match fault {
            Some(Fault::CertificateExpired) => Leaf { not_before: now - 91 * DAY, not_after: now - DAY, ..right },
            Some(Fault::CertificateExpiringSoon) => Leaf { not_after: now + 5 * DAY, ..right },
            Some(Fault::CertificateNotYetValid) => Leaf { not_before: now + DAY, ..right },
            Some(Fault::CertificateWrongName) => self.pki.leaf(["another-host.example.net"]),
            Some(Fault::CertificateCommonNameOnly) => Leaf { dns_names: Vec::new(), ..right },
            Some(Fault::CertificateSelfSigned) => with(Chain::SelfSigned),
            Some(Fault::CertificateUnknownRoot) => with(Chain::UnknownRoot),
            Some(Fault::CertificateMissingIntermediate) => with(Chain::MissingIntermediate),
            Some(Fault::CertificateExpiredIntermediate) => with(Chain::ExpiredIntermediate),
            Some(Fault::CertificateChainReversed) => with(Chain::Reversed),
            Some(Fault::CertificateChainUnordered) => with(Chain::Unordered),
            Some(Fault::CertificateSha1Signature) => with(Chain::Sha1Signature),
            Some(Fault::CertificateSurplus) => with(Chain::Surplus),
            _ => right,
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("host_names", &self.host_names).finish_non_exhaustive()
    }
}

/// What a server that does not speak TLS, or not well, sends in answer to a ClientHello; None sends nothing.
pub(super) fn instead_of_handshake(fault: Fault) -> Option<Vec<u8>> {
    match fault {
        Fault::PlainHttp => {
            let body = "The plain HTTP request was expected on this port\n";
            let head =
                format!("HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            Some([head.as_bytes(), body.as_bytes()].concat())
        }
        Fault::NotTls => Some(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()),
        Fault::TlsAlert => Some(vec![21, 3, 3, 0, 2, 2, 40]),
        Fault::Tls11Only => Some([&TLS11_SERVER_HELLO_HEAD[..], &[0x5a; 32], &TLS11_SERVER_HELLO_TAIL].concat()),
        Fault::TlsCloseMidHandshake => Some([&HALF_SERVER_HELLO[..], &[0x5a; 60]].concat()),
        _ => None,
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
