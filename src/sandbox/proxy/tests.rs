//! The proxy over real sockets: a small client signs with the AWS SDK's signer and reads raw bytes.

mod conformance;
mod misbehaviour;

use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_sigv4::{
    http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::ServerName, time_provider::TimeProvider};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;

const HOST: &str = "xks.example.com";
const PATH: &str = "/tenant/kms/xks/v1";
const KEY_ID: &str = "SANDBOXACCESSKEYID2345";
const SECRET: &str = "TestSecretDoNotLeakTestSecretDoNotLeakTestSecret23";
/// Longer than anything a test waits for on purpose, except to see that nothing comes.
const BOUND: Duration = Duration::from_secs(10);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(500_000)
}

/// A proxy with the test client's keys and one credential, and what a client needs to talk to it.
struct Bench {
    proxy: SandboxProxy,
    config: Arc<ClientConfig>,
}

/// A request before it is signed; change what the case is about.
#[derive(Clone)]
struct Call {
    method: &'static str,
    path: String,
    body: Vec<u8>,
    content_type: &'static str,
    access_key_id: &'static str,
    secret: String,
    region: &'static str,
    signed_at: SystemTime,
    signed: bool,
}

impl Call {
    fn new(suffix: &str, body: &Value) -> Self {
        Self {
            method: "POST",
            path: format!("{PATH}{suffix}"),
            body: body.to_string().into_bytes(),
            content_type: "application/json",
            access_key_id: KEY_ID,
            secret: SECRET.to_owned(),
            region: "us-east-1",
            signed_at: now(),
            signed: true,
        }
    }

    fn health() -> Self {
        Self::new("/health", &json!({ "requestMetadata": { "kmsOperation": "KmsHealthCheck", "kmsRequestId": "r-1" } }))
    }

    /// A key operation on `foo` with these members beside the metadata.
    fn key(suffix: &str, mut members: Value) -> Self {
        members["requestMetadata"] = json!({
            "awsPrincipalArn": "arn:aws:iam::123456789012:user/Alice", "kmsOperation": "Encrypt", "kmsRequestId": "r-2",
            "kmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        });
        Self::new(&format!("/keys/foo/{suffix}"), &members)
    }

    fn bytes(&self) -> Vec<u8> {
        let Self { method, path, body, content_type, .. } = self;
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: {content_type}\r\n");
        for (name, value) in self.signed.then(|| self.signature()).into_iter().flatten() {
            head.extend([&name, ": ", &value, "\r\n"]);
        }
        let end = format!("content-length: {}\r\nconnection: close\r\n\r\n", body.len());
        [head.as_bytes(), end.as_bytes(), body].concat()
    }

    fn signature(&self) -> Vec<(String, String)> {
        let credentials =
            aws_credential_types::Credentials::new(self.access_key_id, self.secret.as_str(), None, None, "test");
        let identity = credentials.into();
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name("kms-xks-proxy")
            .time(self.signed_at)
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let uri = format!("https://{HOST}{}", self.path);
        let headers = [("host", HOST)].into_iter();
        let request = SignableRequest::new(self.method, uri, headers, SignableBody::Bytes(&self.body)).unwrap();
        let (instructions, _) = sign(request, &params).unwrap().into_parts();
        instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

/// An answer as received, head and body apart.
struct Seen {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Seen {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn error_name(&self) -> String {
        self.json()["errorName"].as_str().unwrap_or_default().to_owned()
    }
}

impl Bench {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut ProxySettings)) -> Self {
        let pki = Arc::new(Pki::new(now()).unwrap());
        let mut settings = ProxySettings::new(Arc::clone(&pki), Arc::new(now), HOST, PATH);
        settings.credentials = Credentials::default().with(KEY_ID, SECRET.to_owned());
        settings.keys = KeyMaterials::of_test_client("bench");
        change(&mut settings);
        let mut roots = RootCertStore::empty();
        roots.add(pki.root_der().clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_details(provider, Arc::new(Fixed))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { proxy: SandboxProxy::start(settings).await.unwrap(), config: Arc::new(config) }
    }

    async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.proxy.address()).await?;
        let name = ServerName::try_from(HOST).unwrap();
        timeout(BOUND, TlsConnector::from(Arc::clone(&self.config)).connect(name, tcp)).await.unwrap()
    }

    /// Everything the proxy sends in answer, up to `limit` bytes, until it closes.
    async fn raw(&self, call: &Call, limit: u64) -> io::Result<Vec<u8>> {
        let mut stream = self.connect().await?;
        stream.write_all(&call.bytes()).await?;
        let mut received = Vec::new();
        timeout(BOUND, stream.take(limit).read_to_end(&mut received)).await.unwrap()?;
        Ok(received)
    }

    async fn send(&self, call: &Call) -> Seen {
        let received = self.raw(call, 1 << 20).await.unwrap();
        let end = received.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(received[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Seen { status, head, body: received[end + 4..].to_vec() }
    }

    async fn refused(&self, call: &Call) -> (u16, String) {
        let seen = self.send(call).await;
        (seen.status, seen.error_name())
    }
}

#[derive(Debug)]
struct Fixed;

impl TimeProvider for Fixed {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        now().duration_since(SystemTime::UNIX_EPOCH).ok().map(rustls::pki_types::UnixTime::since_unix_epoch)
    }
}
