//! The configuration read anew by the real daemon: under an update that is at work, over connections that stay open, and
//! with files that are no good.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use xks_preflight::aws::{AwsCredentials, AwsKms, AwsKmsSettings};
use xks_preflight::key_store::Region;
use xks_preflight::kms::KeyStoreReader as _;
use xks_preflight::sandbox::kms::{ConnectionState, SeedStore};
use xks_preflight::sandbox::pki::{IssuedCertificate, Pki};

use crate::daemon::stage::{BOUND, Daemon, KMS_ID, KMS_SECRET, NEW, OLD, Stage, TOKEN, until};
use crate::peers::{ACCESS_KEY_ID, PATH, SECRET, wall_clock};
use crate::postgres::shared;

const ADMIN: &str = "xkspf_TestAdminDoNotLeak0123456789012345678901234";
const GOING: &str = "xkspf_TestGoingDoNotLeak0123456789012345678901234";
const COMING: &str = "xkspf_TestComingDoNotLeak012345678901234567890123";
/// No token at all.
const NOBODY: &str = "";
/// What the daemon says once it has taken a configuration.
const TAKEN: &str = "configuration is read anew";

/// A connection over TLS that stays open.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// The certificate that the daemon showed.
    leaf: CertificateDer<'static>,
}

impl Connection {
    /// `None` if the daemon's certificate is not of this authority.
    async fn open(daemon: &Daemon, authority: &[u8]) -> Option<Self> {
        Self::open_as(daemon, authority, None).await
    }

    /// The same, showing a certificate.
    async fn open_as(daemon: &Daemon, authority: &[u8], shown: Option<&IssuedCertificate>) -> Option<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let client = match shown {
            None => builder.with_no_client_auth(),
            Some(shown) => {
                let chain = CertificateDer::pem_slice_iter(shown.chain_pem().as_bytes());
                let key = PrivateKeyDer::from_pem_slice(shown.key_pem().as_bytes()).unwrap();
                builder.with_client_auth_cert(chain.map(Result::unwrap).collect(), key).unwrap()
            }
        };
        let tcp = TcpStream::connect(&daemon.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(client)).connect(name, tcp).await.ok()?;
        let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Some(Self { sender, leaf })
    }

    async fn send(&mut self, token: &str, method: &str, path: &str, body: Option<&Value>) -> hyper::Response<Incoming> {
        let body = body.map(ToString::to_string).unwrap_or_default();
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        let request = request.header("content-type", "application/json");
        let request =
            if token == NOBODY { request } else { request.header("authorization", format!("Bearer {token}")) };
        let request = request.body(Full::from(body)).unwrap();
        // The end of the answer before may not have got round yet.
        self.sender.ready().await.unwrap();
        tokio::time::timeout(BOUND, self.sender.send_request(request)).await.unwrap().unwrap()
    }

    async fn ask(&mut self, token: &str, method: &str, path: &str, body: Option<&Value>) -> (u16, String) {
        let answer = self.send(token, method, path, body).await;
        let status = answer.status().as_u16();
        (status, whole(answer.into_body()).await)
    }
}

async fn whole(body: Incoming) -> String {
    let body = tokio::time::timeout(BOUND, body.collect()).await.unwrap().unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

fn pem(file: &Path) -> Vec<u8> {
    std::fs::read(file).unwrap()
}

fn without(stage: &Stage, name: &str) {
    let file = stage.directory.join("config.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = text.split_once(&format!("[[tokens]]\nname = \"{name}\"")).unwrap();
    let rest = rest.split_once("\n[[").map(|(_, rest)| format!("[[{rest}")).unwrap_or_default();
    std::fs::write(file, format!("{before}{rest}")).unwrap();
}

async fn reload(daemon: &Daemon, token: &str) -> (u16, Value) {
    let answer = daemon.try_call_as(token, "POST", "/-/reload", None).await.unwrap();
    (answer.status, answer.json())
}

fn keys(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one.as_str().or(one["key"].as_str()).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_changes_everything_while_an_update_is_connecting() {
    let stage = Stage::new("reload-connecting").await;
    stage.with_people(&[("boss", ADMIN, "admin"), ("going", GOING, "viewer")]);
    let first_authority = pem(&stage.listening_with_tls("localhost"));
    // Idle connections are closed after header_timeout, and this is not about that.
    stage.limited("failures_per_minute = 1000\nheader_timeout = \"60s\"");
    // Long enough for everything that happens meanwhile, on a busy machine, too.
    stage.kms.set_delays(Duration::from_secs(15), Duration::from_millis(100));
    let second = stage
        .kms
        .add_store(SeedStore::public("second", OLD, PATH, ACCESS_KEY_ID, SECRET).in_state(ConnectionState::Connected));
    let daemon = Daemon::start(&stage, None).await;
    let mut early = Connection::open(&daemon, &first_authority).await.unwrap();
    let body = stage.body(json!({ "XksProxyUriEndpoint": NEW }));
    let (status, answer) = early.ask(TOKEN, "POST", "/v1/updates", Some(&body)).await;
    assert_eq!(status, 202, "{answer}");
    let id = serde_json::from_str::<Value>(&answer).unwrap()["id"].as_str().unwrap().to_owned();
    let events = format!("/v1/updates/{id}/events");
    // Two that listen: one stays known, the other does not.
    let mut listening = Connection::open(&daemon, &first_authority).await.unwrap();
    let stays = listening.send(TOKEN, "GET", &events, None).await.into_body();
    let mut other = Connection::open(&daemon, &first_authority).await.unwrap();
    let goes = other.send(GOING, "GET", &events, None).await.into_body();
    until(BOUND, "CONNECTING", || async { stage.shown().1 == ConnectionState::Connecting }).await;

    without(&stage, "going");
    stage.with_people(&[("coming", COMING, "operator")]);
    stage.configured_with(&format!("[[key_stores]]\nid = \"{second}\"\ncredential = \"proxy\"\n"));
    let waiver =
        "check = \"latency.tail\"\nowner = \"ops\"\nreason = \"being mended\"\nuntil = \"2099-01-01T00:00:00Z\"";
    stage.configured_with(&format!("[[preflight.waivers]]\n{waiver}\n"));
    let second_authority = pem(&stage.with_listening_certificate("localhost"));
    daemon.signal("-HUP").await;
    until(BOUND, "the configuration is taken", || async { daemon.has_told(TAKEN) }).await;
    assert_eq!(stage.shown().1, ConnectionState::Connecting, "the update is in the middle of it");
    // Whoever is no longer known hears no more; their stream ends although the update goes on.
    let heard = whole(goes).await;
    assert!(!heard.contains("event: concluded"), "{heard}");
    assert_eq!(stage.shown().1, ConnectionState::Connecting);
    // The connection that was open goes on, with other rights on it.
    assert_eq!(early.ask(GOING, "GET", "/v1/key-stores", None).await.0, 401);
    assert_eq!(early.ask(COMING, "GET", "/v1/key-stores", None).await.0, 200);
    let (_, stores) = early.ask(TOKEN, "GET", "/v1/key-stores", None).await;
    let stores: Value = serde_json::from_str(&stores).unwrap();
    let watched = |id: &str| {
        let stores = stores["key_stores"].as_array().unwrap();
        stores.iter().find(|store| store["id"] == id).map(|store| store["watched"].clone())
    };
    assert_eq!((watched(&second), watched(&stage.key_store)), (Some(json!(true)), Some(json!(true))), "{stores:#}");
    // A new one is made with the new certificate, which the former authority did not sign.
    assert!(Connection::open(&daemon, &first_authority).await.is_none());
    let mut late = Connection::open(&daemon, &second_authority).await.unwrap();
    assert_ne!(late.leaf, early.leaf);
    let (_, metrics) = late.ask(TOKEN, "GET", "/metrics", None).await;
    assert!(metrics.contains("xks_preflight_config_last_reload_successful 1"), "{metrics}");
    let metric = format!("xks_preflight_waiver_end_timestamp_seconds{{key_store=\"{second}\",check=\"latency.tail\"}}");
    assert!(metrics.contains(&metric), "{metrics}");
    // The update ends as it was planned, and whoever stayed known heard all of it on the stream from before.
    let heard = whole(stays).await;
    assert!(heard.contains("event: concluded"), "{heard}");
    let (_, update) = late.ask(TOKEN, "GET", &format!("/v1/updates/{id}"), None).await;
    let update: Value = serde_json::from_str(&update).unwrap();
    assert_eq!(update["status"], "verified", "{update:#}");
    assert_eq!(stage.mutations(), ["DisconnectCustomKeyStore", "UpdateCustomKeyStore", "ConnectCustomKeyStore"]);
    let (_, trail) = late.ask(ADMIN, "GET", "/v1/audit", None).await;
    assert!(trail.contains("configuration_loaded") && trail.contains("changed: key_stores"), "{trail}");
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_changes_nothing_and_tells_every_fault() {
    let stage = Stage::new("reload-bad").await;
    stage.with_people(&[("boss", ADMIN, "admin"), ("going", GOING, "viewer")]);
    let daemon = Daemon::start(&stage, None).await;
    let metric = async |name: &str| {
        let metrics = daemon.call("GET", "/metrics", None).await.body;
        let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("xks_preflight_{name} ")));
        line.unwrap().to_owned()
    };
    let good = std::fs::read_to_string(stage.directory.join("config.toml")).unwrap();
    let read_at = metric("config_last_reload_success_timestamp_seconds").await;
    assert!(read_at.parse::<f64>().unwrap() > 1.7e9, "{read_at}");

    without(&stage, "going");
    stage.with_people(&[("coming", COMING, "operator")]);
    stage.configured_with("[[key_stores]]\nid = \"cks-1\"\ncredential = \"nobody\"\n");
    stage.reconfigured("samples = 1", "samples = 0");
    stage.reconfigured("poll_interval = \"100ms\"", "poll_intervall = \"100ms\"");
    // Not everybody may, and nobody learns anything by trying.
    for token in [TOKEN, GOING] {
        let (status, refused) = reload(&daemon, token).await;
        assert_eq!((status, &refused["reason"]), (403, &json!("forbidden")), "{refused}");
    }
    assert_eq!(reload(&daemon, COMING).await.0, 401);
    let (status, answer) = reload(&daemon, ADMIN).await;
    assert_eq!((status, &answer["reason"]), (422, &json!("invalid_configuration")), "{answer:#}");
    let mut told: Vec<&str> =
        answer["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    told.sort_unstable();
    assert_eq!(told, ["key_stores[1].credential", "preflight.samples", "update.poll_intervall"], "{answer:#}");
    assert!(answer["errors"][0]["detail"].as_str().unwrap().starts_with("line "), "{answer:#}");
    for fault in told {
        assert!(daemon.has_told(fault), "{fault} is in the log");
    }
    assert_eq!(metric("config_last_reload_successful").await, "0");
    assert_eq!(metric("config_last_reload_success_timestamp_seconds").await, read_at);
    // Nothing of it is in force, not even what would have been good.
    assert_eq!(daemon.try_call_as(GOING, "GET", "/v1/checks", None).await.unwrap().status, 200);
    assert_eq!(daemon.try_call_as(COMING, "GET", "/v1/checks", None).await.unwrap().status, 401);
    let trail = daemon.call("GET", "/v1/audit", None).await.body;
    assert!(trail.contains("the configuration has faults"), "{trail}");

    // A file that is not there is no end either.
    std::fs::remove_file(stage.directory.join("config.toml")).unwrap();
    daemon.signal("-HUP").await;
    until(BOUND, "it is told", || async { daemon.has_told("cannot be read") }).await;

    std::fs::write(stage.directory.join("config.toml"), good).unwrap();
    let (status, answer) = reload(&daemon, ADMIN).await;
    assert_eq!((status, &answer["changed"], &answer["needs_restart"]), (200, &json!([]), &json!([])), "{answer:#}");
    assert_eq!(metric("config_last_reload_successful").await, "1");
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_restart_is_named_and_the_rest_takes_effect() {
    let stage = Stage::new("reload-restart").await;
    stage.with_people(&[("boss", ADMIN, "admin")]);
    let daemon = Daemon::start(&stage, None).await;
    stage.reconfigured("failures_per_minute = 1000", "failures_per_minute = 2000");
    stage.reconfigured("poll_interval = \"1s\"", "poll_interval = \"2s\"");
    stage.with_secret("sealing-key.secret", "OTEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=");
    stage.reconfigured("poll_interval = \"100ms\"", "poll_interval = \"100ms\"\napproval = \"one\"");
    stage.with_people(&[("agrees", COMING, "approver")]);
    for _ in 0..2 {
        let (status, answer) = reload(&daemon, ADMIN).await;
        assert_eq!(status, 200, "{answer:#}");
        let waiting = ["http.failures_per_minute", "journal.sealing_key", "kms.poll_interval"];
        assert_eq!(keys(&answer["needs_restart"]), waiting, "as long as the file says so");
    }
    let trail = daemon.call("GET", "/v1/audit", None).await.body;
    assert!(trail.contains(
        "changed: http.failures_per_minute, journal.sealing_key, kms.poll_interval, tokens, update.approval"
    ));
    assert!(trail.contains("\"boss\""), "{trail}");
    // The policy holds for the next plan.
    let id = daemon.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    let status = async || daemon.call("GET", &format!("/v1/updates/{id}"), None).await.json()["status"].clone();
    until(BOUND, "the update waits", || async { status().await == "awaiting_approval" }).await;
    assert!(stage.mutations().is_empty());
    daemon.terminate().await;
}

/// The new secret is in the plan by its fingerprint; the file says another one before KMS is told.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_goes_on_with_the_secret_that_it_was_planned_with() {
    const NEXT_ID: &str = "SANDBOXSECONDACCESSKEYID";
    let planned = "TestSecretDoNotLeakPlanned0123456789abcdefghijk";
    let stage = Stage::new("reload-secret").await;
    stage.with_people(&[("boss", ADMIN, "admin")]);
    stage.new.add_credential(NEXT_ID, planned.to_owned());
    stage.with_secret("next.secret", planned);
    stage.configured_with(&format!(
        "[credentials.next]\naccess_key_id = \"{NEXT_ID}\"\nsecret = {{ file = \"next.secret\" }}\n"
    ));
    // The secret is sent after the disconnect.
    stage.kms.set_delays(Duration::from_millis(100), Duration::from_secs(4));
    let daemon = Daemon::start(&stage, None).await;
    let change = json!({ "XksProxyUriEndpoint": NEW, "XksProxyAuthenticationCredential": { "Source": "next" } });
    let id = daemon.submit(&stage, change).await;
    until(BOUND, "DISCONNECTING", || async { stage.shown().1 == ConnectionState::Disconnecting }).await;
    stage.with_secret("next.secret", "TestSecretDoNotLeakOtherone0123456789abcdefghij");
    let (status, answer) = reload(&daemon, ADMIN).await;
    assert_eq!((status, &answer["changed"]), (200, &json!(["credentials"])), "{answer:#}");
    assert_eq!(stage.mutations(), ["DisconnectCustomKeyStore"], "the secret is not sent yet");
    let ended = daemon.follow(&id).await;
    assert_eq!(ended["status"], "verified", "{ended:#}");
    assert_eq!(stage.mutations().len(), 3);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_of_the_drop_in_endpoint_ends_with_its_section() {
    let stage = Stage::new("reload-kms").await;
    stage.with_people(&[("boss", ADMIN, "admin")]);
    let daemon = Daemon::start(&stage, None).await;
    let client = AwsKms::new(AwsKmsSettings {
        region: Region::parse("us-east-1").unwrap(),
        endpoint_url: Some(format!("http://{}", daemon.kms_endpoint)),
        credentials: Some(
            AwsCredentials {
                access_key_id: KMS_ID.into(),
                secret_access_key: KMS_SECRET.to_owned().into(),
                session_token: None,
            }
            .into(),
        ),
        timeout: BOUND,
    });
    let client = client.await;
    assert_eq!(client.key_stores().await.unwrap().len(), 1);
    stage.reconfigured(KMS_ID, "XKSPFSOMEBODYELSE222");
    assert_eq!(reload(&daemon, ADMIN).await.0, 200);
    let refused = client.key_stores().await.unwrap_err();
    assert!(format!("{refused:?}").contains("security token"), "{refused:?}");
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_is_known_nobody_reloads_but_a_signal() {
    let stage = Stage::new("reload-nobody").await;
    without(&stage, "tester");
    let daemon = Daemon::start(&stage, None).await;
    assert_eq!(reload(&daemon, "nobody").await.0, 403);
    // From nobody to somebody: whoever called without a token is asked for one.
    stage.with_people(&[("boss", ADMIN, "admin")]);
    daemon.signal("-HUP").await;
    until(BOUND, "the configuration is taken", || async { daemon.has_told(TAKEN) }).await;
    assert_eq!(daemon.call("GET", "/v1/checks", None).await.status, 401);
    assert_eq!(daemon.try_call_as(ADMIN, "GET", "/v1/checks", None).await.unwrap().status, 200);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_an_authority_that_no_longer_counts_is_nobodys_on_open_connections_too() {
    let stage = Stage::new("reload-client-ca").await;
    stage.with_people(&[("boss", ADMIN, "admin")]);
    let server = pem(&stage.listening_with_tls("localhost"));
    stage.limited("failures_per_minute = 1000\nheader_timeout = \"60s\"");
    let (former, new) = (Pki::new(wall_clock()()).unwrap(), Pki::new(wall_clock()()).unwrap());
    let trusts = |authorities: &[&Pki]| {
        let pem: String = authorities.iter().map(|authority| authority.root_pem()).collect();
        std::fs::write(stage.directory.join("clients.pem"), pem).unwrap();
    };
    trusts(&[&former]);
    stage.reconfigured("tls_key_file", "client_ca_file = \"clients.pem\"\ntls_key_file");
    stage.configured_with("[[client_certificates]]\nname = \"robot\"\ndns = \"robot\"\nrole = \"operator\"\n");
    let daemon = Daemon::start(&stage, None).await;
    let as_robot = async |authority: &Pki| {
        let issued = authority.issue_client("robot").unwrap();
        Connection::open_as(&daemon, &server, Some(&issued)).await.unwrap()
    };
    let (mut robot, mut follows) = (as_robot(&former).await, as_robot(&former).await);
    stage.kms.set_delays(Duration::from_secs(15), Duration::from_millis(100));
    let body = stage.body(json!({ "XksProxyUriEndpoint": NEW }));
    let (status, answer) = robot.ask(NOBODY, "POST", "/v1/updates", Some(&body)).await;
    assert_eq!(status, 202, "{answer}");
    let id = serde_json::from_str::<Value>(&answer).unwrap()["id"].as_str().unwrap().to_owned();

    // One authority more, and the former one: whoever is connected goes on.
    trusts(&[&new, &former]);
    assert_eq!(reload_over(&mut robot).await, 200);
    assert_eq!(robot.ask(NOBODY, "GET", "/v1/key-stores", None).await.0, 200);
    let stream = follows.send(NOBODY, "GET", &format!("/v1/updates/{id}/events"), None).await.into_body();

    trusts(&[&new]);
    assert_eq!(reload_over(&mut robot).await, 200);
    let (status, answer) = robot.ask(NOBODY, "GET", "/v1/key-stores", None).await;
    assert_eq!(status, 401, "{answer}");
    assert!(daemon.has_told("the authority of its certificate no longer counts here"));
    let heard = whole(stream).await;
    assert!(!heard.contains("event: concluded"), "{heard}");
    // The same name of the authority that counts now.
    let mut again = as_robot(&new).await;
    assert_eq!(again.ask(NOBODY, "GET", "/v1/key-stores", None).await.0, 200);
    daemon.terminate().await;
}

/// A token that is sent counts, and not the certificate of the connection.
async fn reload_over(connection: &mut Connection) -> u16 {
    connection.ask(ADMIN, "POST", "/-/reload", None).await.0
}

/// Whoever sends slowly is let in before the body is there, and what counts is who is known when it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_arrives_after_its_token_was_taken_away_is_not_taken() {
    let stage = Stage::new("reload-slow-body").await;
    stage.with_people(&[("boss", ADMIN, "admin"), ("going", GOING, "admin")]);
    let daemon = Daemon::start(&stage, None).await;
    let update = stage.body(json!({ "XksProxyUriEndpoint": NEW }));
    let bodies = [
        ("/v1/updates", update.clone()),
        ("/v1/freeze", json!({ "reason": "whoever goes" })),
        ("/v1/preflights", json!({ "CustomKeyStoreId": stage.key_store })),
    ];
    let mut going = Vec::new();
    for (path, body) in &bodies {
        going.push((Begun::open(&daemon, GOING, path, &body.to_string()).await, path));
    }
    let stays = Begun::open(&daemon, TOKEN, "/v1/updates", &update.to_string()).await;
    without(&stage, "going");
    assert_eq!(reload(&daemon, ADMIN).await.0, 200);
    for (begun, path) in going {
        let answer = begun.finish().await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{path}: {answer}");
    }
    let trail = daemon.try_call_as(ADMIN, "GET", "/v1/audit", None).await.unwrap().body;
    assert!(trail.contains("\"going\"") && trail.contains("unauthenticated"), "{trail}");
    let freezes = daemon.call("GET", "/v1/freeze", None).await.json();
    assert_eq!(freezes["freezes"], json!([]));
    assert_eq!(daemon.call("GET", "/v1/updates", None).await.json()["updates"], json!([]));
    // Whoever is known all the time is not disturbed.
    let answer = stays.finish().await;
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    daemon.follow(&daemon.only_update().await).await;
    daemon.terminate().await;
}

/// A request whose caller was let in, and whose body is still to come.
struct Begun {
    stream: TcpStream,
    body: String,
}

impl Begun {
    async fn open(daemon: &Daemon, token: &str, path: &str, body: &str) -> Self {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\nExpect: 100-continue\r\n\r\n",
            daemon.address,
            body.len()
        );
        let mut stream = TcpStream::connect(&daemon.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let goes_on = b"HTTP/1.1 100 Continue\r\n\r\n";
        let mut answer = vec![0; goes_on.len()];
        tokio::time::timeout(BOUND, stream.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(answer, goes_on, "{}", String::from_utf8_lossy(&answer));
        Self { stream, body: body.to_owned() }
    }

    async fn finish(mut self) -> String {
        self.stream.write_all(self.body.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(BOUND, self.stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }
}

/// What open updates mean is in the journal, which may be slow: whoever is new must not find the former rules until then.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_new_finds_everything_that_they_came_with() {
    const NEXT_ID: &str = "SANDBOXSECONDACCESSKEYID";
    let database = shared().database().await;
    let stage = Stage::on_postgres("reload-at-once", &database.url()).await;
    stage.new.add_credential(NEXT_ID, SECRET.to_owned());
    let daemon = Daemon::start(&stage, None).await;
    stage.with_people(&[("coming", COMING, "operator")]);
    stage.with_secret("next.secret", SECRET);
    stage.configured_with(&format!(
        "[credentials.next]\naccess_key_id = \"{NEXT_ID}\"\nsecret = {{ file = \"next.secret\" }}\n"
    ));
    let silent = database.client().await;
    silent.batch_execute("BEGIN; LOCK TABLE xks_preflight.updates IN ACCESS EXCLUSIVE MODE").await.unwrap();
    daemon.signal("-HUP").await;
    let known = || async { daemon.try_call_as(COMING, "GET", "/v1/checks", None).await.unwrap().status == 200 };
    until(BOUND, "whoever is new is known", known).await;
    let candidate = json!({
        "XksProxyUriEndpoint": NEW,
        "XksProxyUriPath": PATH,
        "XksProxyAuthenticationCredential": { "Source": "next" },
    });
    let answer = daemon.try_call_as(COMING, "POST", "/v1/preflights", Some(&candidate)).await.unwrap();
    assert_eq!(answer.status, 200, "the new credential is there, too: {}", answer.body);
    assert_eq!(answer.json()["verdict"], "ready", "{}", answer.body);
    silent.batch_execute("COMMIT").await.unwrap();
    daemon.terminate().await;
}

/// The README's table of them is compared in `readme`.
#[test]
fn what_waits_for_a_restart_are_keys_of_the_configuration() {
    let schema = xks_preflight::config::schema();
    for (key, _) in xks_preflight::config::AT_START {
        let pointer: String = key.split('.').flat_map(|part| ["/properties/", part]).collect();
        assert!(schema.pointer(&pointer).is_some(), "{key} is no key of the configuration");
    }
}
