//! Servers that ask for a client certificate: the refusal comes in the handshake (TLS 1.2) or after it (TLS 1.3).

use rustls::crypto::aws_lc_rs;
use rustls::server::{NoClientAuth, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::sandbox::fault::Fault as ProxyFault;

/// What a small TLS server is like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Demand {
    /// Nothing of the client.
    None,
    /// A client certificate, in this version of TLS.
    Certificate(&'static SupportedProtocolVersion),
    /// Signs with a key that is not the certificate's.
    ForeignKey,
    /// Nothing, but keeps the connection open after the answer.
    Patience,
}

/// A TLS server that answers the first request of every connection with this text.
pub(super) async fn serve(pki: &Pki, demand: Demand, answer: String) -> SocketAddr {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let issued = pki.issue(&pki.leaf([HOST])).unwrap();
    let key = if demand == Demand::ForeignKey { pki.issue(&pki.leaf([HOST])).unwrap().key } else { issued.key };
    let key = provider.key_provider.load_private_key(key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(pki.root_der().clone()).unwrap();
    let (versions, verifier) = match demand {
        Demand::Certificate(version) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
            (vec![version], verifier.build().unwrap())
        }
        Demand::None | Demand::ForeignKey | Demand::Patience => {
            (rustls::ALL_VERSIONS.to_vec(), Arc::new(NoClientAuth) as _)
        }
    };
    let config = ServerConfig::builder_with_details(provider, Arc::new(Still))
        .with_protocol_versions(&versions)
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(issued.chain, key))));
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(socket).await else { continue };
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            if demand == Demand::Patience {
                open.push(stream);
            } else {
                let _ = stream.shutdown().await;
            }
        }
    });
    address
}

#[derive(Debug)]
struct Still;

impl rustls::time_provider::TimeProvider for Still {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        let seconds = u64::try_from(now().unix()).ok()?;
        Some(rustls::pki_types::UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

fn holding(common_name: &str) -> Bench {
    Bench::with(|pki, settings| {
        let issued = pki.issue_client(common_name).unwrap();
        let held = ClientCertificate::from_pem(issued.chain_pem().as_bytes(), issued.key_pem().as_bytes());
        settings.client_certificate = Some(held.unwrap());
    })
}

#[tokio::test]
async fn a_demand_is_recognised_in_both_versions() {
    let bench = Bench::new();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let address = serve(&bench.pki, Demand::Certificate(version), OK.to_owned()).await;
        let cold = bench.cold(address).await;
        assert_eq!(stop_of(&cold), Some((Stage::Tls, ProblemKind::ClientCertificate)), "{}", detail_of(&cold));
        assert!(detail_of(&cold).contains("none is configured"), "{}", detail_of(&cold));
        let tls = cold.tls.unwrap();
        assert!(tls.client_certificate_requested && !tls.client_certificate_presented && !tls.chain.is_empty());
    }
    let proxy = bench.proxy().await;
    proxy.set_fault(ProxyFault::ClientCertificateRequired).await;
    let cold = bench.cold(proxy.address()).await;
    assert_eq!(stop_of(&cold), Some((Stage::Tls, ProblemKind::ClientCertificate)));
    assert!(proxy.history().is_empty());
}

#[tokio::test]
async fn a_configured_one_is_presented() {
    let bench = holding("cks.kms.us-east-1.amazonaws.com");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let address = serve(&bench.pki, Demand::Certificate(version), OK.to_owned()).await;
        let cold = bench.cold(address).await;
        assert_eq!(stop_of(&cold), None, "{}", detail_of(&cold));
        let tls = cold.tls.unwrap();
        assert!(tls.client_certificate_requested && tls.client_certificate_presented);
    }
}

#[tokio::test]
async fn one_of_a_stranger_is_refused_as_such() {
    let stranger = holding("cks.kms.us-east-1.amazonaws.com");
    let held = stranger.pki.issue_client("cks.kms.us-east-1.amazonaws.com").unwrap();
    let bench = Bench::with(|_, settings| {
        let held = ClientCertificate::from_pem(held.chain_pem().as_bytes(), held.key_pem().as_bytes());
        settings.client_certificate = Some(held.unwrap());
    });
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let address = serve(&bench.pki, Demand::Certificate(version), OK.to_owned()).await;
        let cold = bench.cold(address).await;
        let (stage, kind) = stop_of(&cold).unwrap();
        // In TLS 1.3 our request crosses the server's alert, and the reset that it provokes may swallow the alert.
        let overtaken = version.version == rustls::ProtocolVersion::TLSv1_3 && kind == ProblemKind::Reset;
        assert!(overtaken || (stage, kind) == (Stage::Tls, ProblemKind::ClientCertificate), "{}", detail_of(&cold));
        assert!(detail_of(&cold).contains("does not accept the configured"), "{}", detail_of(&cold));
    }
}

#[test]
fn unusable_ones_are_refused_without_showing_the_key() {
    let pki = Pki::new(now().into()).unwrap();
    let (one, other) = (pki.issue_client("one").unwrap(), pki.issue_client("other").unwrap());
    let read = |chain: &str, key: &str| ClientCertificate::from_pem(chain.as_bytes(), key.as_bytes());
    assert!(matches!(read("", one.key_pem()), Err(ClientCertificateError::Empty)));
    assert!(matches!(read(one.chain_pem(), "DoNotLeak"), Err(ClientCertificateError::Key(_))));
    assert!(matches!(read(one.chain_pem(), other.key_pem()), Err(ClientCertificateError::Mismatch(_))));
    let broken = one.key_pem().replacen('\n', "\n!!DoNotLeak", 2);
    let error = read(one.chain_pem(), &broken).unwrap_err();
    assert!(!format!("{error:?}").contains("DoNotLeak"));
    assert_eq!(
        format!("{:?}", read(one.chain_pem(), one.key_pem()).unwrap()),
        "ClientCertificate { certificates: 2, .. }"
    );
}
