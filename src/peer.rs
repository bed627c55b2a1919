//! Another server that the operator named, called over HTTPS: where it is, whom to trust there, who we are, and one
//! bounded call.
//!
//! Each call has a connection of its own: calls are seconds apart at the least. Redirections are not followed, because
//! whoever was named was meant. Clear text is spoken on this machine only. Time is bounded by the caller.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Builder;
use http::uri::Scheme;
use http::{HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;
use zeroize::Zeroizing;

/// A server, and how to be let in.
#[derive(Clone)]
pub struct Peer {
    url: String,
    host: String,
    port: u16,
    authority: String,
    /// Path and query of the address.
    path: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// The whole `Authorization` header.
    authorization: Option<HeaderValue>,
}

/// A certificate to show, and its key.
pub struct Identity {
    /// The leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's.
    pub key: PrivateKeyDer<'static>,
}

/// Why a server cannot be called at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPeer {
    /// Its address.
    #[error("must be https://HOST[:PORT][/PATH], or http:// with a loopback address")]
    Address,
    /// The certificate to be shown to it.
    #[error("must be a certificate and the private key that belongs to it")]
    Identity,
    /// The token to be sent to it.
    #[error("must be a bearer token: visible ASCII characters without spaces")]
    Token,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody is there, or no way leads there.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// Without TLS nothing is sent but to a loopback address.
    #[error("localhost leads to another machine, and without https nothing is sent there")]
    NotLoopback,
    /// It is somebody else, or does not take us.
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    /// It does not speak HTTP, or the connection ended before the answer did.
    #[error("the connection broke before the answer was complete")]
    Http(#[source] hyper::Error),
    /// More than anybody would read.
    #[error("the answer is larger than {largest} bytes")]
    TooLarge {
        /// The bound.
        largest: usize,
    },
    /// It was not sent.
    #[error("the request cannot be made")]
    Request(#[source] http::Error),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Peer {
    /// Reads an address. Its certificate is trusted under these roots; `identity` is shown if it asks for one.
    pub fn parse(text: &str, roots: Arc<RootCertStore>, identity: Option<Identity>) -> Result<Self, InvalidPeer> {
        let uri: Uri = text.parse().map_err(|_| InvalidPeer::Address)?;
        let plain = |authority: &&http::uri::Authority| !authority.as_str().contains('@');
        let authority = uri.authority().filter(plain).ok_or(InvalidPeer::Address)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let loopback = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        let secure = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP && loopback => false,
            _ => return Err(InvalidPeer::Address),
        };
        let tls = if secure {
            let name = ServerName::try_from(host.clone()).map_err(|_| InvalidPeer::Address)?;
            Some((connector(roots, identity)?, name))
        } else {
            None
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let (url, authority) = (text.to_owned(), authority.to_string());
        Ok(Self { url, host, port, authority, path, tls, authorization: None })
    }

    /// Is let in by a token.
    pub fn with_token(mut self, token: &str) -> Result<Self, InvalidPeer> {
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidPeer::Token);
        }
        let text = Zeroizing::new(format!("Bearer {token}"));
        let mut value = HeaderValue::from_str(&text).map_err(|_| InvalidPeer::Token)?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(self)
    }

    /// The address as it was given.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether nobody but this machine can read what is sent, or nobody at all but the server.
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// A request for the address, or for a path below it, with everything that is the same in all of them.
    pub fn request(&self, method: Method, below: &str) -> Builder {
        let whole =
            if below.is_empty() { self.path.clone() } else { format!("{}{below}", self.path.trim_end_matches('/')) };
        let builder = Request::builder()
            .method(method)
            .uri(whole)
            .header(header::HOST, &self.authority)
            .header(header::USER_AGENT, concat!("xks-preflight/", env!("CARGO_PKG_VERSION")));
        match &self.authorization {
            Some(authorization) => builder.header(header::AUTHORIZATION, authorization),
            None => builder,
        }
    }

    /// Sends a request and reads the whole answer, whatever its status, if it has so many bytes at most.
    pub async fn call(&self, request: Request<Full<Bytes>>, largest: usize) -> Result<Response<Bytes>, CallError> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(CallError::Connect)?;
        let stream: Box<dyn Stream> = match &self.tls {
            // Without TLS a secret may not leave this machine, wherever the name leads at the moment.
            None if !tcp.peer_addr().map_err(CallError::Connect)?.ip().to_canonical().is_loopback() => {
                return Err(CallError::NotLoopback);
            }
            None => Box::new(tcp),
            Some((connector, name)) => Box::new(connector.connect(name.clone(), tcp).await.map_err(CallError::Tls)?),
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(CallError::Http)?;
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let (head, body) = sender.send_request(request).await.map_err(CallError::Http)?.into_parts();
        let body = Limited::new(body, largest).collect().await.map_err(|error| match error.downcast() {
            Ok(error) => CallError::Http(*error),
            Err(_) => CallError::TooLarge { largest },
        })?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

fn connector(roots: Arc<RootCertStore>, identity: Option<Identity>) -> Result<TlsConnector, InvalidPeer> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| InvalidPeer::Address)?
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(Identity { chain, key }) => {
            builder.with_client_auth_cert(chain, key).map_err(|_| InvalidPeer::Identity)?
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Result<Peer, InvalidPeer> {
        Peer::parse(text, Arc::new(RootCertStore::empty()), None)
    }

    #[test]
    fn addresses_are_of_https_or_of_this_machine() {
        for (good, path) in [
            ("https://gate.example.com", "/v1/x"),
            ("https://gate.example.com:8443/xks/", "/xks/v1/x"),
            ("http://127.0.0.1:9", "/v1/x"),
            ("http://[::1]:9/", "/v1/x"),
        ] {
            let request = peer(good).unwrap().request(Method::GET, "/v1/x").body(()).unwrap();
            assert_eq!(request.uri().path(), path, "{good}");
        }
        let itself = peer("https://gate.example.com/keys/?a=b").unwrap().request(Method::GET, "").body(()).unwrap();
        assert_eq!(itself.uri(), "/keys/?a=b", "to the letter");
        for bad in [
            "",
            "gate.example.com",
            "http://gate.example.com",
            "ftp://127.0.0.1/",
            "https://me:DoNotLeak@gate.example.com",
            "/v1",
            "https:///v1",
        ] {
            assert_eq!(peer(bad).err(), Some(InvalidPeer::Address), "{bad}");
        }
    }

    #[tokio::test]
    async fn without_tls_nothing_is_sent_to_another_machine() {
        // Any address of this machine but a loopback one stands for another machine; nothing is sent to find it.
        let asking = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        asking.connect("192.0.2.1:9").unwrap();
        let elsewhere = asking.local_addr().unwrap().ip();
        assert!(!elsewhere.is_loopback(), "this machine has a network");
        for (host, sent) in [("127.0.0.1".to_owned(), true), (elsewhere.to_string(), false)] {
            let listener = tokio::net::TcpListener::bind((host.as_str(), 0)).await.unwrap();
            let mut peer = peer(&format!("http://localhost:{}", listener.local_addr().unwrap().port())).unwrap();
            // As if the name led there.
            peer.host = host;
            let request = peer.request(Method::GET, "/v1/x").body(Full::new(Bytes::new())).unwrap();
            let served = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut read = [0_u8; 1024];
                tokio::io::AsyncReadExt::read(&mut stream, &mut read).await.unwrap()
            };
            let (answer, read) = tokio::join!(peer.call(request, 1024), served);
            assert_eq!(read > 0, sent, "{answer:?}");
            assert_eq!(matches!(answer, Err(CallError::NotLoopback)), !sent, "{answer:?}");
        }
    }

    #[test]
    fn a_token_is_never_shown() {
        let named = peer("https://gate.example.com").unwrap().with_token("xkspf_DoNotLeak").unwrap();
        let request = named.request(Method::GET, "/").body(()).unwrap();
        assert_eq!(request.headers()[header::AUTHORIZATION].as_bytes(), b"Bearer xkspf_DoNotLeak");
        assert!(!format!("{named:?} {request:?}").contains("DoNotLeak"));
        for text in ["", "two words", "a\u{7f}"] {
            assert_eq!(peer("https://gate.example.com").unwrap().with_token(text).err(), Some(InvalidPeer::Token));
        }
    }
}
