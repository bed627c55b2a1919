//! Which daemon, and who is calling.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use http::uri::Scheme;
use http::{HeaderValue, Uri};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use crate::chain::Chain;
use crate::cli::check::source;
use crate::cli::{Usage, environment};

/// The variable that holds a token; never an option, because arguments are seen by everybody.
pub(super) const TOKEN_VARIABLE: &str = "XKS_PREFLIGHT_TOKEN";

/// Which daemon to talk to.
#[derive(Debug, Args)]
#[command(next_help_heading = "Daemon")]
pub(in crate::cli) struct ServerOptions {
    /// The daemon's address.
    #[arg(long, env = "XKS_PREFLIGHT_SERVER", default_value = "http://127.0.0.1:8480", value_name = "URL")]
    server: String,
    /// File with the bearer token; or give it in XKS_PREFLIGHT_TOKEN.
    #[arg(long, env = "XKS_PREFLIGHT_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Trust these roots for the daemon's certificate, and no others; by default Mozilla's.
    // A name of its own: in the environment --ca-file of `check` makes its roots count as KMS's.
    #[arg(
        long = "server-ca-file",
        visible_alias = "ca-file",
        env = "XKS_PREFLIGHT_SERVER_CA_FILE",
        value_name = "PEM"
    )]
    ca_file: Option<PathBuf>,
    /// Send tokens and credentials over http:// to another machine, too: anybody in between can read them.
    #[arg(long, env = "XKS_PREFLIGHT_ALLOW_PLAIN_HTTP")]
    allow_plain_http: bool,
}

/// A daemon's address, and how to be let in.
pub(super) struct Server {
    /// As given, without a slash at the end.
    pub(super) url: String,
    /// To connect to.
    pub(super) host: String,
    pub(super) port: u16,
    /// For the `Host` header.
    pub(super) authority: String,
    /// In front of every path, empty or with a slash in front.
    pub(super) prefix: String,
    /// Absent for http.
    pub(super) tls: Option<(TlsConnector, ServerName<'static>)>,
    /// The whole `Authorization` header.
    pub(super) authorization: Option<HeaderValue>,
    secrets_may_travel: bool,
}

impl Server {
    /// Reads the options, the token from where they say.
    pub(super) fn from_options(options: &ServerOptions) -> Result<Self, Usage> {
        let token = match &options.token_file {
            Some(file) => {
                let bytes = source::read(file, "--token-file")?;
                Some((Zeroizing::new(String::from_utf8_lossy(&bytes).trim().to_owned()), "--token-file"))
            }
            None => environment(TOKEN_VARIABLE).map(|text| (Zeroizing::new(text), TOKEN_VARIABLE)),
        };
        let authorization = token.map(|(token, source)| authorization(&token, source)).transpose()?;
        let roots = options.ca_file.as_ref().map(|file| source::read(file, "--server-ca-file")).transpose()?;
        let mut server = Self::parse(&options.server, roots.as_deref().map(Vec::as_slice))?;
        server.secrets_may_travel |= options.allow_plain_http;
        if authorization.is_some() {
            server.admits_secrets("the token")?;
        }
        server.authorization = authorization;
        Ok(server)
    }

    /// Reads the address. Without `roots` (PEM), Mozilla's count.
    pub(super) fn parse(url: &str, roots: Option<&[u8]>) -> Result<Self, Usage> {
        let fault = |rule: &str| Usage(format!("--server: {rule}; expected is https://HOST[:PORT]"));
        let uri: Uri = url.parse().map_err(|_| fault("is no address"))?;
        let authority = uri.authority().ok_or_else(|| fault("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(fault("holds a user name; a token goes into --token-file"));
        }
        if uri.query().is_some() {
            return Err(fault("holds a query"));
        }
        let secure = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(fault("is neither http nor https")),
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = if secure {
            let name = ServerName::try_from(host.clone()).map_err(|_| fault("names no valid host"))?;
            Some((connector(roots)?, name))
        } else {
            None
        };
        let loopback = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            authority: authority.to_string(),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            secrets_may_travel: secure || loopback,
            host,
            tls,
            authorization: None,
        })
    }

    /// Refuses to send `what` where anybody can read it.
    pub(super) fn admits_secrets(&self, what: &str) -> Result<(), Usage> {
        if self.secrets_may_travel {
            return Ok(());
        }
        let url = &self.url;
        Err(Usage(format!(
            "--server: {what} would be sent to {url} in the clear; use https, or --allow-plain-http if nobody else \
             can listen"
        )))
    }
}

fn authorization(token: &str, source: &str) -> Result<HeaderValue, Usage> {
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Usage(format!("{source}: holds no token; make one with: xks-preflight token new")));
    }
    let text = Zeroizing::new(format!("Bearer {token}"));
    let mut value = HeaderValue::from_str(&text).map_err(|_| Usage(format!("{source}: holds no token")))?;
    value.set_sensitive(true);
    Ok(value)
}

fn connector(roots: Option<&[u8]>) -> Result<TlsConnector, Usage> {
    let fault = |why: String| Usage(format!("--server-ca-file: {why}"));
    let mut store = RootCertStore::empty();
    if let Some(pem) = roots {
        for der in CertificateDer::pem_slice_iter(pem) {
            let der = der.map_err(|error| fault(Chain(&error).to_string()))?;
            store.add(der).map_err(|error| fault(Chain(&error).to_string()))?;
        }
        if store.is_empty() {
            return Err(fault("holds no certificate".to_owned()));
        }
    } else {
        store.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| fault(Chain(&error).to_string()))?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_understood() {
        for (url, host, port, prefix, secrets) in [
            ("http://127.0.0.1:8480", "127.0.0.1", 8480, "", true),
            ("http://localhost/", "localhost", 80, "", true),
            ("http://[::1]:8480", "::1", 8480, "", true),
            ("http://gate.example.com:8480/xks/", "gate.example.com", 8480, "/xks", false),
            ("https://gate.example.com", "gate.example.com", 443, "", true),
        ] {
            let server = Server::parse(url, None).unwrap();
            let found = (server.host.as_str(), server.port, server.prefix.as_str());
            assert_eq!(found, (host, port, prefix), "{url}");
            assert_eq!(server.admits_secrets("the token").is_ok(), secrets, "{url}");
            assert_eq!(server.tls.is_some(), url.starts_with("https"));
        }
        for url in ["", "127.0.0.1", "ftp://host", "https://me:DoNotLeak@host", "http://host/?a=b", "https://[::1"] {
            let fault = Server::parse(url, None).err().map(|usage| usage.to_string()).unwrap();
            assert!(fault.starts_with("--server: ") && !fault.contains("DoNotLeak"), "{url}: {fault}");
        }
        assert!(Server::parse("https://host", Some(b"no PEM")).is_err());
    }

    #[test]
    fn a_token_is_never_shown() {
        let value = authorization("xkspf_DoNotLeak", "--token-file").unwrap();
        assert!(!format!("{value:?}").contains("DoNotLeak"));
        assert_eq!(value.as_bytes(), b"Bearer xkspf_DoNotLeak");
        for text in ["", "two DoNotLeak words", "DoNotLeak\u{7f}"] {
            let fault = authorization(text, "--token-file").unwrap_err().to_string();
            assert!(fault.starts_with("--token-file") && !fault.contains("DoNotLeak"), "{fault}");
        }
    }
}
