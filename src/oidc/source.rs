//! Where a provider's keys come from: an address, or a file that somebody else keeps up to date.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Collected, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::key_set::{InvalidKeySet, KeySet};

/// The largest set of keys that is read, in bytes: a key has one or two KiB, with its certificates.
const LARGEST: usize = 256 * 1024;

/// Where keys come from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// Fetched.
    Url(KeyUrl),
    /// Read.
    File(PathBuf),
}

/// An address of keys: https, or http on this machine.
#[derive(Clone)]
pub struct KeyUrl {
    url: String,
    host: String,
    port: u16,
    authority: String,
    path: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// Text that is no address of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be https://HOST[:PORT]/PATH, or http:// with a loopback address: whoever can change the keys on their way can be \
     anybody"
)]
pub struct InvalidKeyUrl;

/// Why keys were not had.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("cannot be read")]
    Io(#[from] io::Error),
    #[error("is larger than {LARGEST} bytes")]
    TooLarge,
    #[error("the connection broke")]
    Http(#[from] hyper::Error),
    #[error("the answer is {0}; redirections are not followed")]
    Status(StatusCode),
    #[error("the request cannot be made")]
    Request(#[from] http::Error),
    #[error(transparent)]
    Keys(#[from] InvalidKeySet),
}

impl KeySource {
    pub(super) async fn load(&self) -> Result<KeySet, LoadError> {
        let bytes = match self {
            Self::Url(url) => url.fetch().await?,
            Self::File(path) => {
                let mut bytes = Vec::new();
                let file = tokio::fs::File::open(path).await?;
                file.take(LARGEST as u64 + 1).read_to_end(&mut bytes).await?;
                if bytes.len() > LARGEST {
                    return Err(LoadError::TooLarge);
                }
                Bytes::from(bytes)
            }
        };
        Ok(KeySet::parse(&bytes)?)
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(&url.url),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl KeyUrl {
    /// Reads an address. Certificates are trusted under these roots.
    pub fn parse(text: &str, roots: Arc<RootCertStore>) -> Result<Self, InvalidKeyUrl> {
        let uri: Uri = text.parse().map_err(|_| InvalidKeyUrl)?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or(InvalidKeyUrl)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let loopback = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        let secure = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP && loopback => false,
            _ => return Err(InvalidKeyUrl),
        };
        let tls = if secure {
            let name = ServerName::try_from(host.clone()).map_err(|_| InvalidKeyUrl)?;
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|_| InvalidKeyUrl)?
                .with_root_certificates(roots)
                .with_no_client_auth();
            Some((TlsConnector::from(Arc::new(config)), name))
        } else {
            None
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Ok(Self { url: text.to_owned(), host, port, authority: authority.to_string(), path, tls })
    }

    /// One connection for each fetch: they are minutes apart. Time is bounded by the caller.
    async fn fetch(&self) -> Result<Bytes, LoadError> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(tcp),
            Some((connector, name)) => Box::new(connector.connect(name.clone(), tcp).await?),
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let request = Request::get(&self.path)
            .header(header::HOST, &self.authority)
            .header(header::ACCEPT, "application/jwk-set+json, application/json")
            .header(header::USER_AGENT, concat!("xks-preflight/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(LoadError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), LARGEST).collect().await;
        body.map(Collected::to_bytes).map_err(|error| match error.downcast::<hyper::Error>() {
            Ok(error) => LoadError::Http(*error),
            Err(_) => LoadError::TooLarge,
        })
    }
}

impl fmt::Debug for KeyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_https_or_of_this_machine() {
        let roots = Arc::new(RootCertStore::empty());
        for good in [
            "https://idp.example.com/keys",
            "https://idp.example.com:8443/a?b=c",
            "http://127.0.0.1:9/k",
            "http://[::1]:9/",
        ] {
            let url = KeyUrl::parse(good, roots.clone()).unwrap();
            assert_eq!(KeySource::Url(url).to_string(), good);
        }
        for bad in [
            "",
            "idp.example.com",
            "http://idp.example.com/k",
            "ftp://127.0.0.1/",
            "https://me@idp.example.com/",
            "/keys",
            "https:///keys",
        ] {
            assert_eq!(KeyUrl::parse(bad, roots.clone()).err(), Some(InvalidKeyUrl), "{bad}");
        }
    }
}
