//! The handshake: a secured stream to an authenticated server, or why there is none and what was seen.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, ClientConfig, NamedGroup, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::client_certificate::ClientCertificate;
use super::deadline::Deadline;
use super::recorder::{Recorded, Recorder};
use super::trust::{self, TrustRoots};
use super::{ProberError, certificate, classify};
use crate::check::{Problem, ProblemKind, Stage, Stop, TlsEvidence, Trust};
use crate::clock::Clock;

/// The suites that KMS offers (XKS proxy API, Transport).
const KMS_SUITES: [CipherSuite; 4] = [
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
];

/// Everything about TLS that handshakes have in common; made once.
#[derive(Debug)]
pub(super) struct Terms {
    /// As KMS would.
    kms: Offers,
    /// With every suite that we can, to tell a lack of common suites from other refusals.
    wide: Offers,
    algorithms: WebPkiSupportedAlgorithms,
    roots: TrustRoots,
    client_certificate: Option<ClientCertificate>,
    clock: Arc<dyn Clock>,
}

/// The same offer with both versions of TLS that KMS speaks, and with one only.
#[derive(Debug)]
struct Offers {
    both: ClientConfig,
    tls13: ClientConfig,
    tls12: ClientConfig,
}

/// Which versions of TLS a handshake offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Versions {
    Both,
    Tls13,
    Tls12,
}

impl Offers {
    fn of(&self, versions: Versions) -> &ClientConfig {
        match versions {
            Versions::Both => &self.both,
            Versions::Tls13 => &self.tls13,
            Versions::Tls12 => &self.tls12,
        }
    }
}

/// Which cipher suites a handshake offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breadth {
    /// The four of KMS.
    Kms,
    /// Every one that we can.
    Wide,
}

/// A handshake that nobody weighs: it is for what it shows of the server's choice.
#[derive(Debug)]
pub(super) enum Choice {
    /// It finished, or went as far as the certificate; with this suite, if it finished.
    Made(Option<String>),
    /// The server refused the offer without a reason.
    Refused(Problem),
    /// It ended otherwise.
    Broken(Problem),
}

/// A server that may be spoken to.
#[derive(Debug)]
pub(super) struct Secured {
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) evidence: TlsEvidence,
}

/// A server that may not.
#[derive(Debug)]
pub(super) struct Unsecured {
    pub(super) stop: Stop,
    pub(super) evidence: Option<TlsEvidence>,
    /// Whether the server refused before it chose a suite, so that another look can tell more.
    pub(super) refused_offer: bool,
}

impl Terms {
    pub(super) fn new(
        roots: TrustRoots,
        client_certificate: Option<ClientCertificate>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ProberError> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        let config = |provider: &Arc<CryptoProvider>, versions: &[&'static SupportedProtocolVersion]| {
            let time = Arc::new(WallTime(Arc::clone(&clock)));
            // Replaced for each handshake by a recorder of its own.
            let recorder = Arc::new(Recorder::new(algorithms, None));
            let mut config = ClientConfig::builder_with_details(Arc::clone(provider), time)
                .with_protocol_versions(versions)?
                .dangerous()
                .with_custom_certificate_verifier(Arc::clone(&recorder) as _)
                .with_client_cert_resolver(recorder);
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            config.resumption = Resumption::disabled();
            config.enable_early_data = false;
            Ok::<_, rustls::Error>(config)
        };
        let offers = |provider: CryptoProvider| {
            let provider = Arc::new(provider);
            let both = config(&provider, &[&TLS13, &TLS12])?;
            Ok(Offers { both, tls13: config(&provider, &[&TLS13])?, tls12: config(&provider, &[&TLS12])? })
        };
        let mut narrow = provider();
        narrow.cipher_suites.retain(|suite| KMS_SUITES.contains(&suite.suite()));
        let kms = offers(narrow).map_err(ProberError::Tls)?;
        let wide = offers(provider()).map_err(ProberError::Tls)?;
        Ok(Self { kms, wide, algorithms, roots, client_certificate, clock })
    }

    pub(super) fn is_lab(&self) -> bool {
        self.roots.is_lab()
    }

    /// The client certificate that the operator configured.
    pub(super) fn client_certificate(&self) -> Option<&ClientCertificate> {
        self.client_certificate.as_ref()
    }
}

/// X25519 first: a post-quantum share makes a ClientHello of two segments, on which old middleboxes stumble, and costs
/// 15 % more per handshake. The others stay on offer.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups.sort_by_key(|group| group.name() != NamedGroup::X25519);
    provider
}

/// The protocols that a handshake offers by ALPN, the preferred one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alpn {
    /// `http/1.1`, as samples do.
    Http1,
    /// The extension is left out.
    None,
    /// `h2` and `http/1.1`, to see what the server prefers; for handshakes after which nothing is sent.
    Http2OrHttp1,
}

impl Alpn {
    fn protocols(self) -> Vec<Vec<u8>> {
        let offered: &[&[u8]] = match self {
            Self::Http1 => &[b"http/1.1"],
            Self::None => &[],
            Self::Http2OrHttp1 => &[b"h2", b"http/1.1"],
        };
        offered.iter().map(|protocol| protocol.to_vec()).collect()
    }
}

/// Shakes hands as `host` and judges what was presented. A stream is handed out only if the server proved to be `host`.
/// Where a client certificate is asked for, `client` is presented.
pub(super) async fn secure(
    terms: &Terms,
    socket: TcpStream,
    host: &str,
    client: Option<&ClientCertificate>,
    deadline: Deadline,
) -> (Duration, Result<Secured, Box<Unsecured>>) {
    secure_offering(terms, socket, host, client, Alpn::Http1, deadline).await
}

/// The same with another offer of protocols.
pub(super) async fn secure_offering(
    terms: &Terms,
    socket: TcpStream,
    host: &str,
    client: Option<&ClientCertificate>,
    alpn: Alpn,
    deadline: Deadline,
) -> (Duration, Result<Secured, Box<Unsecured>>) {
    let Ok(name) = ServerName::try_from(host.to_owned()) else {
        let problem = Problem::target(ProblemKind::NotFullyQualified, format!("{host:?} is no name for a TLS server"));
        let stop = Stop { stage: Stage::Tls, problem };
        return (Duration::ZERO, Err(Box::new(Unsecured { stop, evidence: None, refused_offer: false })));
    };
    let (handshake, mut config) = recording(&terms.kms.both, terms, client);
    config.alpn_protocols = alpn.protocols();
    let timed = deadline.bound(TlsConnector::from(Arc::new(config)).connect(name, socket)).await;
    let recorded = handshake.recorded();
    let refused_offer =
        recorded.chain.is_empty() && matches!(&timed.result, Some(Err(error)) if classify::is_handshake_failure(error));
    let finished = match timed.result {
        Some(Ok(stream)) => Ok(stream),
        Some(Err(error)) => Err(classify::handshake(&error, &recorded)),
        None => Err(classify::handshake_timed_out(deadline.limit())),
    };
    (timed.took, weigh(terms, finished, &recorded, host, refused_offer))
}

/// Sets what was seen against what is demanded.
fn weigh(
    terms: &Terms,
    finished: Result<TlsStream<TcpStream>, Problem>,
    recorded: &Recorded,
    host: &str,
    refused_offer: bool,
) -> Result<Secured, Box<Unsecured>> {
    let stopped = |problem, evidence| {
        let stop = Stop { stage: Stage::Tls, problem };
        Err(Box::new(Unsecured { stop, evidence, refused_offer }))
    };
    if recorded.chain.is_empty() {
        let without = || Problem::target(ProblemKind::BrokenHandshake, "the handshake finished without a certificate");
        return stopped(finished.err().unwrap_or_else(without), None);
    }
    let verdict = trust::judge(&terms.roots, &terms.algorithms, &recorded.chain, host, terms.clock.now());
    let mut evidence = TlsEvidence {
        version: recorded.version.map(ToOwned::to_owned),
        cipher_suite: None,
        alpn: None,
        client_certificate_requested: recorded.client_certificate_requested,
        client_certificate_presented: recorded.client_certificate_presented,
        chain: verdict.chain,
        trust: verdict.trust,
        name_matches: verdict.name_matches,
        handshake_complete: recorded.signature_fits,
        surplus: verdict.surplus,
        ocsp_staple: certificate::read_staple(&recorded.ocsp_response),
    };
    let stream = match finished {
        Ok(stream) => stream,
        // What is wrong with the certificate is the better explanation of a handshake that broke off after it - but
        // silence is silence.
        Err(problem) if problem.kind == ProblemKind::TimedOut => return stopped(problem, Some(evidence)),
        Err(problem) => return stopped(verdict.objection.unwrap_or(problem), Some(evidence)),
    };
    let (_, session) = stream.get_ref();
    evidence.cipher_suite = session.negotiated_cipher_suite().and_then(|suite| classify::iana_name(suite.suite()));
    evidence.alpn = session.alpn_protocol().map(|protocol| String::from_utf8_lossy(protocol).into_owned());
    match (verdict.objection, &evidence.trust) {
        (None, Trust::Trusted { .. }) if evidence.name_matches && recorded.signature_fits => {
            Ok(Secured { stream, evidence })
        }
        (Some(problem), _) => stopped(problem, Some(evidence)),
        // Not reachable while every distrust raises an objection; a stream must not depend on that.
        (None, _) => {
            let problem = Problem::target(ProblemKind::BadCertificate, "the server is not authenticated");
            stopped(problem, Some(evidence))
        }
    }
}

/// Shakes hands to see what the server chooses. Sends no request.
pub(super) async fn choice(
    terms: &Terms,
    socket: TcpStream,
    host: &str,
    (breadth, versions): (Breadth, Versions),
    deadline: Deadline,
) -> Choice {
    let Ok(name) = ServerName::try_from(host.to_owned()) else {
        return Choice::Broken(Problem::target(ProblemKind::NotFullyQualified, "no name for a TLS server"));
    };
    let offers = match breadth {
        Breadth::Kms => &terms.kms,
        Breadth::Wide => &terms.wide,
    };
    let (handshake, config) = recording(offers.of(versions), terms, terms.client_certificate());
    let connected = deadline.bound(TlsConnector::from(Arc::new(config)).connect(name, socket)).await.result;
    let recorded = handshake.recorded();
    match connected {
        Some(Ok(stream)) => {
            let (_, session) = stream.get_ref();
            Choice::Made(session.negotiated_cipher_suite().and_then(|suite| classify::iana_name(suite.suite())))
        }
        // A suite is chosen before the certificate is sent: what went wrong after it was not the suite.
        Some(Err(_)) if !recorded.chain.is_empty() => Choice::Made(None),
        Some(Err(error)) if classify::is_handshake_failure(&error) => {
            Choice::Refused(classify::handshake(&error, &recorded))
        }
        Some(Err(error)) => Choice::Broken(classify::handshake(&error, &recorded)),
        None => Choice::Broken(classify::handshake_timed_out(deadline.limit())),
    }
}

fn recording(
    template: &ClientConfig,
    terms: &Terms,
    client: Option<&ClientCertificate>,
) -> (Arc<Recorder>, ClientConfig) {
    let client_key = client.map(ClientCertificate::certified_key);
    let recorder = Arc::new(Recorder::new(terms.algorithms, client_key));
    let mut config = template.clone();
    config.dangerous().set_certificate_verifier(Arc::clone(&recorder) as _);
    config.client_auth_cert_resolver = Arc::clone(&recorder) as _;
    (recorder, config)
}

/// rustls asks for the time where we ask for it.
#[derive(Debug)]
struct WallTime(Arc<dyn Clock>);

impl TimeProvider for WallTime {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().unix()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}
