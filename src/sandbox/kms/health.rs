//! The simulated KMS's own GetHealthStatus: what KMS sends to a proxy before it takes new settings and when it connects,
//! and what it concludes from the answer.
//!
//! Written apart from the product's prober on purpose: this is the other party, and one misunderstanding of the XKS
//! proxy API shared by both would hide itself.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::{
    CipherSuite, ClientConfig, RootCertStore,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{ServerName, UnixTime},
    time_provider::TimeProvider,
};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{WallClock, request_id, store::ExternalKeyStore, wire::Failure};

/// The most of an answer that is read.
const MAX_ANSWER: usize = 64 * 1024;

/// Why KMS does not accept the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProxyFailure {
    /// No such host, or the TCP connection is refused.
    Unreachable,
    /// No TCP connection in time, the retry included.
    ConnectTimedOut,
    /// TLS could not be agreed on, or the certificate is not acceptable.
    Tls,
    /// No answer in time, the retry included.
    TimedOut,
    /// The proxy's `AuthenticationFailedException`.
    AuthenticationFailed,
    /// The proxy's `InvalidUriPathException`.
    InvalidUriPath,
    /// The proxy's `AccessDeniedException`.
    AccessDenied,
    /// The proxy's `ThrottlingException`.
    Throttled,
    /// The proxy's `DependencyTimeoutException`.
    DependencyTimeout,
    /// Every external key manager is `UNAVAILABLE`.
    AllUnavailable,
    /// Any other answer that is no health status.
    InvalidResponse,
}

impl ProxyFailure {
    /// The exception of CreateCustomKeyStore and UpdateCustomKeyStore (XKS proxy API specification, "Error codes").
    ///
    /// The specification gives TLS faults as unreachable (the troubleshooting guide disagrees) and says nothing of
    /// `AccessDeniedException`, which no proxy should send here: it counts as a response that KMS cannot interpret.
    pub(super) fn exception(self) -> Failure {
        let (name, message) = match self {
            Self::Unreachable | Self::ConnectTimedOut => {
                ("XksProxyUriUnreachableException", "KMS cannot communicate with the external key store proxy.")
            }
            Self::Tls => (
                "XksProxyUriUnreachableException",
                "KMS cannot establish a TLS connection with the external key store proxy.",
            ),
            Self::TimedOut => (
                "XksProxyUriUnreachableException",
                "The external key store proxy did not respond to the request in the time allotted.",
            ),
            Self::Throttled => (
                "XksProxyUriUnreachableException",
                "KMS rejected the request because the external key store proxy reported a high request rate.",
            ),
            Self::DependencyTimeout => (
                "XksProxyUriUnreachableException",
                "The external key store proxy timed out while trying to access the external key manager.",
            ),
            Self::AllUnavailable => (
                "XksProxyUriUnreachableException",
                "The external key store proxy reports that all external key managers are unavailable.",
            ),
            Self::AuthenticationFailed => (
                "XksProxyIncorrectAuthenticationCredentialException",
                "The external key store proxy could not authenticate KMS: the authentication credential is incorrect.",
            ),
            Self::InvalidUriPath => (
                "XksProxyInvalidConfigurationException",
                "The external key store proxy rejected the request because the specified URI path is not valid.",
            ),
            Self::AccessDenied | Self::InvalidResponse => (
                "XksProxyInvalidResponseException",
                "KMS cannot interpret the response it received from the external key store proxy.",
            ),
        };
        Failure::new(name, message)
    }

    /// The `ConnectionErrorCode` in which a connect ends.
    pub(super) fn connection_error_code(self) -> &'static str {
        match self {
            // Throttling: no source names a code; a proxy that does not serve KMS counts as not reachable.
            Self::Unreachable | Self::ConnectTimedOut | Self::Throttled | Self::AllUnavailable => {
                "XKS_PROXY_NOT_REACHABLE"
            }
            Self::Tls => "XKS_PROXY_INVALID_TLS_CONFIGURATION",
            Self::TimedOut | Self::DependencyTimeout => "XKS_PROXY_TIMED_OUT",
            Self::AuthenticationFailed => "INVALID_CREDENTIALS",
            Self::InvalidUriPath => "XKS_PROXY_INVALID_CONFIGURATION",
            Self::AccessDenied => "XKS_PROXY_ACCESS_DENIED",
            Self::InvalidResponse => "XKS_PROXY_INVALID_RESPONSE",
        }
    }
}

/// The injected wall clock as rustls wants it, so that certificates are judged at the same instant as signatures.
struct CertificateClock(WallClock);

impl fmt::Debug for CertificateClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CertificateClock")
    }
}

impl TimeProvider for CertificateClock {
    fn current_time(&self) -> Option<UnixTime> {
        (self.0)().duration_since(SystemTime::UNIX_EPOCH).ok().map(UnixTime::since_unix_epoch)
    }
}

/// Calls proxies as KMS does.
pub(super) struct HealthCaller {
    region: String,
    clock: WallClock,
    attempt_timeout: Duration,
    tls: Arc<ClientConfig>,
    routes: Mutex<BTreeMap<String, SocketAddr>>,
}

/// The cipher suites that the specification names; KMS offers no other.
const CIPHER_SUITES: [CipherSuite; 4] = [
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
];

impl HealthCaller {
    pub(super) fn new(
        region: String,
        clock: WallClock,
        attempt_timeout: Duration,
        roots: RootCertStore,
        routes: BTreeMap<String, SocketAddr>,
    ) -> Result<Self, rustls::Error> {
        let mut provider: CryptoProvider = aws_lc_rs::default_provider();
        provider.cipher_suites.retain(|suite| CIPHER_SUITES.contains(&suite.suite()));
        let time = Arc::new(CertificateClock(clock.clone()));
        let tls = ClientConfig::builder_with_details(Arc::new(provider), time)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let routes = routes.into_iter().map(|(host, at)| (host.to_ascii_lowercase(), at)).collect();
        Ok(Self { region, clock, attempt_timeout, tls: Arc::new(tls), routes: Mutex::new(routes) })
    }

    /// From now on this host is found at this address.
    pub(super) fn route(&self, host: &str, to: SocketAddr) {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_ascii_lowercase(), to);
    }

    /// Asks the proxy for its health on behalf of `operation`; once more if the first attempt timed out.
    pub(super) async fn call(&self, xks: &ExternalKeyStore, operation: &str) -> Result<(), ProxyFailure> {
        match self.attempt(xks, operation).await {
            Err(ProxyFailure::ConnectTimedOut | ProxyFailure::TimedOut) => self.attempt(xks, operation).await,
            other => other,
        }
    }

    /// One attempt on a connection of its own; the time-out covers everything, as no source grants TCP and TLS more.
    async fn attempt(&self, xks: &ExternalKeyStore, operation: &str) -> Result<(), ProxyFailure> {
        let until = tokio::time::Instant::now() + self.attempt_timeout;
        let host = xks.host();
        let route = self.routes.lock().unwrap_or_else(PoisonError::into_inner).get(&host).copied();
        let address = route.ok_or(ProxyFailure::Unreachable)?;
        let socket = tokio::time::timeout_at(until, TcpStream::connect(address))
            .await
            .map_err(|_| ProxyFailure::ConnectTimedOut)?
            .map_err(|_| ProxyFailure::Unreachable)?;
        tokio::time::timeout_at(until, self.exchange(socket, host, xks, operation))
            .await
            .unwrap_or(Err(ProxyFailure::TimedOut))
    }

    async fn exchange(
        &self,
        socket: TcpStream,
        host: String,
        xks: &ExternalKeyStore,
        operation: &str,
    ) -> Result<(), ProxyFailure> {
        // The request goes out in several small writes; waiting to merge them would eat the time-out.
        socket.set_nodelay(true).map_err(|_| ProxyFailure::Unreachable)?;
        let request = self.signed(&host, xks, operation).ok_or(ProxyFailure::Unreachable)?;
        let name = ServerName::try_from(host).map_err(|_| ProxyFailure::Tls)?;
        let stream = TlsConnector::from(self.tls.clone()).connect(name, socket).await.map_err(|_| ProxyFailure::Tls)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|_| ProxyFailure::InvalidResponse)?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|_| ProxyFailure::InvalidResponse)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            Ok((status, body.map_err(|_| ProxyFailure::InvalidResponse)?.to_bytes()))
        };
        // The connection lives inside this future, so a time-out closes it too.
        tokio::pin!(connection);
        tokio::pin!(answer);
        let (status, body) = tokio::select! {
            answer = &mut answer => answer?,
            _ = &mut connection => answer.await?,
        };
        judge(status.is_success(), &body)
    }

    /// The signed request; `None` if the endpoint or the path makes no URI.
    fn signed(&self, host: &str, xks: &ExternalKeyStore, operation: &str) -> Option<Request<Full<Bytes>>> {
        let body =
            json!({ "requestMetadata": { "kmsRequestId": request_id(), "kmsOperation": operation } }).to_string();
        let path = format!("{}/health", xks.path);
        let identity = Credentials::new(&xks.access_key_id, xks.secret.expose(), None, None, "sandbox KMS").into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("kms-xks-proxy")
            .time((self.clock)())
            .settings(SigningSettings::default())
            .build()
            .ok()?
            .into();
        let url = format!("https://{host}{path}");
        let headers = std::iter::once(("host", host));
        let signable = SignableRequest::new("POST", url, headers, SignableBody::Bytes(body.as_bytes())).ok()?;
        let (instructions, _) = sign(signable, &params).ok()?.into_parts();
        let mut request = Request::post(path)
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body))
            .ok()?;
        instructions.apply_to_request_http1x(&mut request);
        Some(request)
    }
}

/// What KMS concludes from an answer: it goes by `errorName`, never by the status of an error.
fn judge(success: bool, body: &[u8]) -> Result<(), ProxyFailure> {
    let answer: Value = serde_json::from_slice(body).map_err(|_| ProxyFailure::InvalidResponse)?;
    if let Some(name) = answer.get("errorName") {
        return Err(match name.as_str().unwrap_or_default() {
            "AuthenticationFailedException" => ProxyFailure::AuthenticationFailed,
            "InvalidUriPathException" => ProxyFailure::InvalidUriPath,
            "AccessDeniedException" => ProxyFailure::AccessDenied,
            "ThrottlingException" => ProxyFailure::Throttled,
            "DependencyTimeoutException" => ProxyFailure::DependencyTimeout,
            _ => ProxyFailure::InvalidResponse,
        });
    }
    let text = |name: &str| answer.get(name).is_some_and(Value::is_string);
    let size = answer.get("xksProxyFleetSize").and_then(Value::as_u64).is_some_and(|size| size > 0);
    let fleet = answer.get("ekmFleetDetails").and_then(Value::as_array);
    let fleet = fleet.filter(|fleet| (1..=10).contains(&fleet.len())).ok_or(ProxyFailure::InvalidResponse)?;
    if !success || !size || !text("xksProxyVendor") || !text("xksProxyModel") || !text("ekmVendor") {
        return Err(ProxyFailure::InvalidResponse);
    }
    let mut usable = false;
    for manager in fleet {
        let named = ["id", "model"].iter().all(|name| manager.get(name).is_some_and(Value::is_string));
        usable |= match manager.get("healthStatus").and_then(Value::as_str) {
            Some("ACTIVE" | "DEGRADED") if named => true,
            Some("UNAVAILABLE") if named => false,
            _ => return Err(ProxyFailure::InvalidResponse),
        };
    }
    if usable { Ok(()) } else { Err(ProxyFailure::AllUnavailable) }
}
