//! A TLS server that records what KMS sends to a proxy and answers as told.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response, request::Parts};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

#[derive(Clone)]
struct Answer {
    status: u16,
    body: String,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    requests: Vec<(Parts, Bytes)>,
}

pub(super) struct Peer {
    pub(super) address: SocketAddr,
    certificate: CertificateDer<'static>,
    answer: Arc<Mutex<Answer>>,
    /// While true, requests are taken and not answered.
    held: watch::Sender<bool>,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) fn health(states: &[&str]) -> Value {
    let fleet: Vec<Value> =
        states.iter().map(|state| json!({ "id": "hsm", "model": "m", "healthStatus": state })).collect();
    json!({
        "xksProxyFleetSize": 1, "xksProxyVendor": "v", "xksProxyModel": "m", "ekmVendor": "v", "ekmFleetDetails": fleet,
    })
}

impl Peer {
    pub(super) async fn start(host: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([host.to_owned()]).expect("certificate");
        let certificate = made.cert.der().clone();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let tls = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key.into())
            .expect("certificate");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("address");
        let body = health(&["ACTIVE"]).to_string();
        let answer = Arc::new(Mutex::new(Answer { status: 200, body }));
        let held = watch::Sender::new(false);
        let seen = Arc::new(Mutex::new(Seen::default()));
        let tls = TlsAcceptor::from(Arc::new(tls));
        let task = tokio::spawn(accept(listener, tls, answer.clone(), held.subscribe(), seen.clone()));
        Self { address, certificate, answer, held, seen, task }
    }

    pub(super) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("root");
        roots
    }

    pub(super) fn answers(&self, status: u16, body: &Value) {
        *self.answer.lock().expect("answer") = Answer { status, body: body.to_string() };
    }

    pub(super) fn refuses(&self, status: u16, error_name: &str) {
        self.answers(status, &json!({ "errorName": error_name }));
    }

    /// Answers no more until released.
    pub(super) fn holds(&self) {
        self.held.send_replace(true);
    }

    /// Answers what was held back, and everything after it.
    pub(super) fn releases(&self) {
        self.held.send_replace(false);
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.lock().expect("seen").connections
    }

    pub(super) fn requests(&self) -> Vec<(Parts, Bytes)> {
        self.seen.lock().expect("seen").requests.clone()
    }

    /// The `kmsOperation` of every request.
    pub(super) fn operations(&self) -> Vec<String> {
        let operation = |body: &Bytes| {
            let body: Value = serde_json::from_slice(body).expect("JSON");
            body["requestMetadata"]["kmsOperation"].as_str().expect("kmsOperation").to_owned()
        };
        self.requests().iter().map(|(_, body)| operation(body)).collect()
    }
}

async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    answer: Arc<Mutex<Answer>>,
    held: watch::Receiver<bool>,
    seen: Arc<Mutex<Seen>>,
) {
    while let Ok((socket, _)) = listener.accept().await {
        seen.lock().expect("seen").connections += 1;
        let (tls, answer, held, seen) = (tls.clone(), answer.clone(), held.clone(), seen.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(socket).await else { return };
            let service = service_fn(move |request: Request<Incoming>| {
                let (answer, mut held, seen) = (answer.clone(), held.clone(), seen.clone());
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await.expect("body").to_bytes();
                    seen.lock().expect("seen").requests.push((parts, body));
                    let answer = answer.lock().expect("answer").clone();
                    held.wait_for(|held| !held).await.expect("peer");
                    let response = Response::builder().status(answer.status).body(Full::<Bytes>::from(answer.body));
                    Ok::<_, Infallible>(response.expect("response"))
                }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
