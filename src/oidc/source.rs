//! Where a provider's keys come from: an address, or a file that somebody else keeps up to date.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode, header};
use http_body_util::Full;
use rustls::RootCertStore;
use tokio::io::AsyncReadExt as _;

use super::key_set::{InvalidKeySet, KeySet};
use crate::peer::{CallError, Peer};

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
pub struct KeyUrl(Peer);

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
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the answer is {0}; redirections are not followed")]
    Status(StatusCode),
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
            Self::Url(url) => url.fmt(f),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl KeyUrl {
    /// Reads an address. Certificates are trusted under these roots.
    pub fn parse(text: &str, roots: Arc<RootCertStore>) -> Result<Self, InvalidKeyUrl> {
        Peer::parse(text, roots, None).map(Self).map_err(|_| InvalidKeyUrl)
    }

    /// Time is bounded by the caller.
    async fn fetch(&self) -> Result<Bytes, LoadError> {
        let request =
            self.0.request(Method::GET, "").header(header::ACCEPT, "application/jwk-set+json, application/json");
        let request = request.body(Full::default()).map_err(CallError::Request)?;
        let answer = self.0.call(request, LARGEST).await?;
        if answer.status() != StatusCode::OK {
            return Err(LoadError::Status(answer.status()));
        }
        Ok(answer.into_body())
    }
}

impl fmt::Display for KeyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.url())
    }
}

impl fmt::Debug for KeyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.url())
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
