//! Who is calling: client certificates over real TLS, tokens of identity providers, and how often they may ask.

use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer as Authority,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use xks_preflight::api::{Callers, router};
use xks_preflight::clock::{Clock as _, SystemClock};
use xks_preflight::config::Config;
use xks_preflight::current::Current;
use xks_preflight::journal::LinesWanted;
use xks_preflight::listener::{Connections, Limits, Rate, serve};
use xks_preflight::oidc::{Issuer, Pace};

use super::bench::{BOUND, Bench, token, unlimited};
use crate::oidc::provider::{Provider, Signer};
use crate::oidc::{claims, settings, url};

/// An authority for certificates of clients and servers.
struct Ca {
    pem: String,
    der: rustls::pki_types::CertificateDer<'static>,
    authority: Authority<'static, KeyPair>,
}

struct Leaf {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Ca {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(&[(DnType::CommonName, name)]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { pem: certificate.pem(), der: certificate.der().clone(), authority: Authority::new(params, key) }
    }

    fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Leaf { certificate: params.signed_by(&key, &self.authority).unwrap(), key }
    }

    fn server(&self) -> Leaf {
        self.issue(|params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params.subject_alt_names = vec![SanType::DnsName("localhost".try_into().unwrap())];
        })
    }
}

fn named(parts: &[(DnType, &str)]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for (kind, value) in parts {
        name.push(kind.clone(), *value);
    }
    name
}

/// What comes of a request for /v1/key-stores: `Err` when TLS ends it.
async fn ask(
    address: std::net::SocketAddr,
    server: &Ca,
    shown: Option<&Leaf>,
    bearer: Option<&str>,
) -> Result<(u16, Value), String> {
    let mut roots = RootCertStore::empty();
    roots.add(server.der.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let config = match shown {
        None => builder.with_no_client_auth(),
        Some(leaf) => {
            let key = PrivateKeyDer::try_from(leaf.key.serialize_der()).unwrap();
            builder.with_client_auth_cert(vec![leaf.certificate.der().clone()], key).unwrap()
        }
    };
    let asked = async {
        let tcp = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream =
            TlsConnector::from(Arc::new(config)).connect(name, tcp).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        let mut request = Request::get("/v1/key-stores").header("host", "localhost");
        if let Some(bearer) = bearer {
            request = request.header("authorization", format!("Bearer {bearer}"));
        }
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok((status, serde_json::from_slice(&body).unwrap()))
    };
    tokio::time::timeout(BOUND, asked).await.unwrap()
}

fn write(directory: &Path, name: &str, text: &str) {
    let file = directory.join(name);
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

const CONFIG: &str = r#"
[kms]
region = "us-east-1"
[listen]
api = "127.0.0.1:0"
tls_certificate_file = "server.pem"
tls_key_file = "server.key"
client_ca_file = "clients.pem"
[[client_certificates]]
name = "by-subject"
subject = "CN=deploy,O=Example"
role = "viewer"
[[client_certificates]]
name = "by-uri"
uri = "spiffe://example.org/sa/deploy"
role = "operator"
key_stores = ["other-*"]
[[client_certificates]]
name = "by-dns"
dns = "Deploy.example.com"
role = "viewer"
[[client_certificates]]
name = "by-mail"
email = "deploy@example.com"
role = "viewer"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn client_certificates_say_who_is_calling() {
    let (server, clients, strangers) = (Ca::new("servers"), Ca::new("clients"), Ca::new("strangers"));
    let directory = tempfile::tempdir().unwrap();
    let leaf = server.server();
    write(directory.path(), "server.pem", &leaf.certificate.pem());
    write(directory.path(), "server.key", &leaf.key.serialize_pem());
    write(directory.path(), "clients.pem", &clients.pem);
    write(directory.path(), "config.toml", CONFIG);
    let config = Config::load(&directory.path().join("config.toml"), &|_| None).unwrap();
    let authorities = config.listen.tls.as_ref().and_then(|tls| tls.clients.clone());
    let further = Callers { certificates: config.client_certificates, authorities, ..Callers::default() };
    let bench = Bench::with_callers("callers-certificates", further, unlimited()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = config.listen.tls.map(|tls| Arc::new(Current::new(tls)));
    let connections = Connections { most: 16, head: BOUND, tls, grace: BOUND };
    let stop = CancellationToken::new();
    let until_stopped = tokio::spawn(serve(listener, router(bench.service.clone()), connections, stop.clone()));

    let deploy = named(&[(DnType::OrganizationName, "Example"), (DnType::CommonName, "deploy")]);
    let san = |name: SanType| clients.issue(|params| params.subject_alt_names = vec![name]);
    let uri = |text: &str| san(SanType::URI(text.try_into().unwrap()));
    let by_subject = |ca: &Ca| ca.issue(|params| params.distinguished_name = deploy.clone());
    let shown = |answer: Result<(u16, Value), String>| {
        let (status, body) = answer.unwrap();
        (status, body["reason"].as_str().map(str::to_owned), body.to_string().contains(&bench.store))
    };
    let all = (200, None, true);
    let nobody = (401, Some("unauthenticated".to_owned()), false);
    let good = by_subject(&clients);
    assert_eq!(shown(ask(address, &server, Some(&good), None).await), all);
    let dns = san(SanType::DnsName("deploy.example.com".try_into().unwrap()));
    assert_eq!(shown(ask(address, &server, Some(&dns), None).await), all);
    let mail = san(SanType::Rfc822Name("deploy@example.com".try_into().unwrap()));
    assert_eq!(shown(ask(address, &server, Some(&mail), None).await), all);
    // Within its scope there is nothing.
    let spiffe = uri("spiffe://example.org/sa/deploy");
    assert_eq!(shown(ask(address, &server, Some(&spiffe), None).await), (200, None, false));
    // Known to the authority, and to nobody here.
    for unmapped in [
        uri("spiffe://example.org/sa/other"),
        clients.issue(|_| {}),
        clients.issue(|params| {
            params.distinguished_name = named(&[(DnType::CommonName, "deploy,O=Example")]);
        }),
    ] {
        assert_eq!(shown(ask(address, &server, Some(&unmapped), None).await), nobody);
    }
    // Two principals at once.
    let both = clients.issue(|params| {
        params.distinguished_name = deploy.clone();
        params.subject_alt_names = vec![SanType::DnsName("deploy.example.com".try_into().unwrap())];
    });
    assert_eq!(shown(ask(address, &server, Some(&both), None).await), nobody);
    // No certificate: a token will do; and where a token is sent, it counts.
    assert_eq!(shown(ask(address, &server, None, None).await), nobody);
    assert_eq!(shown(ask(address, &server, None, Some(token(1).expose())).await), all);
    assert_eq!(shown(ask(address, &server, Some(&good), Some("xkspf_wrong")).await), nobody);
    // What the authority did not sign, what is over, what is not yet, and what is for servers, TLS does not take.
    let past = clients.issue(|params| {
        params.distinguished_name = deploy.clone();
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    let future = clients.issue(|params| {
        params.distinguished_name = deploy.clone();
        params.not_before = date_time_ymd(2090, 1, 1);
    });
    let of_server = clients.issue(|params| {
        params.distinguished_name = deploy.clone();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    for (what, refused) in
        [("unknown authority", by_subject(&strangers)), ("past", past), ("future", future), ("server's", of_server)]
    {
        let answer = ask(address, &server, Some(&refused), None).await;
        assert!(answer.is_err(), "{what}: {answer:?}");
    }
    stop.cancel();
    assert!(until_stopped.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn identity_providers_say_who_is_calling() {
    let provider = Provider::start(&[Signer::ed("ed")]).await;
    let pace = Pace { pause: Duration::ZERO, ..Pace::default() };
    let issuers = vec![Arc::new(Issuer::new(settings(url(&provider.url()), pace)))];
    let bench = Bench::with_callers("callers-oidc", Callers { issuers, ..Callers::default() }, unlimited()).await;
    let now = SystemClock.now().unix();
    let told = async |method: &str, path: &str, token: &str| {
        let headers = [("authorization", format!("Bearer {token}")), ("content-type", "application/json".to_owned())];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        let answer = bench.call(method, path, None, &headers, if method == "GET" { "" } else { "{}" }).await;
        let reason = (answer.status >= 400).then(|| answer.json()["reason"].as_str().unwrap().to_owned());
        (answer.status, reason, answer.body)
    };
    let signer = Signer::ed("ed");
    let good = signer.token(&claims(now));
    // Before anything is known of its keys.
    provider.answer(503, "");
    let down = told("GET", "/v1/key-stores", &good).await;
    assert_eq!((down.0, down.1.as_deref()), (503, Some("identity_provider_unavailable")));
    provider.publish(&[Signer::ed("ed")]);
    let (status, _, body) = told("GET", "/v1/key-stores", &good).await;
    assert!(status == 200 && body.contains(&bench.store), "{body}");
    // A viewer changes nothing, and whoever is in no group may nothing at all.
    let (status, reason, body) = told("POST", "/v1/updates", &good).await;
    assert_eq!((status, reason.as_deref()), (403, Some("forbidden")));
    assert!(body.contains("ann@example.com lacks the permission change; it is viewer of all key stores"), "{body}");
    let mut none = claims(now);
    none["groups"] = json!(["others"]);
    let (status, _, body) = told("GET", "/v1/checks", &signer.token(&none)).await;
    assert!(status == 403 && body.contains("it has no role"), "{body}");
    // What is wrong with a token is told to nobody, unless it was good once.
    let mut expired = claims(now);
    expired["exp"] = json!(now - 3_600);
    let (status, reason, _) = told("GET", "/v1/checks", &signer.token(&expired)).await;
    assert_eq!((status, reason.as_deref()), (401, Some("expired_token")));
    let mut elsewhere = claims(now);
    elsewhere["iss"] = json!("https://other.example.com");
    let mut others = claims(now);
    others["aud"] = json!("other");
    let mut told_of = std::collections::BTreeSet::new();
    for wrong in [
        signer.renewed().token(&claims(now)),
        signer.renewed().token(&expired),
        signer.token(&elsewhere),
        signer.token(&others),
        Signer::ed("unknown").token(&claims(now)),
        good[..good.len() - 9].to_owned(),
        "eyJhbGciOiJub25lIn0.e30.".to_owned(),
    ] {
        let (status, _, body) = told("GET", "/v1/checks", &wrong).await;
        assert_eq!(status, 401, "{body}");
        told_of.insert(body);
    }
    assert_eq!(told_of.len(), 1, "{told_of:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_asks_too_often() {
    let few = |requests| Rate::within(Duration::from_hours(1), NonZeroU32::new(requests).unwrap());
    let bench = Bench::with_callers("callers-limits", Callers::default(), Limits::new(few(20), few(5))).await;
    let ask = async |token| bench.call("GET", "/v1/checks", Some(&token), &[], "").await;
    for _ in 0..20 {
        assert_eq!(ask(token(1)).await.status, 200);
    }
    let late = ask(token(1)).await;
    assert_eq!((late.status, late.json()["reason"].as_str()), (429, Some("rate_limited")));
    let wait: u64 = late.header("retry-after").parse().unwrap();
    assert!((1..=180).contains(&wait), "{wait}");
    // Others are not concerned.
    assert_eq!(ask(token(2)).await.status, 200);
    // Strangers have less, and whoever is behind the same address and is known is served all the same.
    for _ in 0..5 {
        assert_eq!(ask(token(99)).await.status, 401);
    }
    let late = ask(token(98)).await;
    assert_eq!((late.status, late.json()["reason"].as_str()), (429, Some("rate_limited")));
    assert!(late.header("retry-after").parse::<u64>().unwrap() <= 720);
    assert_eq!(ask(token(2)).await.status, 200);
    let metrics = bench.get("/metrics").await.body;
    for line in ["{reason=\"rate_limited\"} 2\n", "{reason=\"unauthenticated\"} 5\n"] {
        assert!(metrics.contains(line), "{line}");
    }
    let wanted = LinesWanted { limit: 100, ..LinesWanted::default() };
    let lines = bench.service.notary.trail().lines(&wanted).await.unwrap();
    assert_eq!(lines.iter().filter(|line| line.contains("rate_limited")).count(), 2, "{lines:#?}");
}
