//! AWS's Query protocol on loopback: form-encoded requests in, XML out, every signature verified, faults on command.

use std::{
    collections::{HashMap, VecDeque},
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, request::Parts};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::kms::{Failure, Secret, Verifier, WallClock};

/// The most of a request that is read.
const MAX_REQUEST: usize = 64 * 1024;

/// How long a caller may take for its head, and again for its body.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The size of an answer that is far too large.
const OVERSIZED: usize = 32 * 1024 * 1024;

/// Who may call a simulated service, and how it tells the time.
#[derive(Clone)]
pub struct QuerySettings {
    /// The Region in signatures.
    pub region: String,
    /// The access key id that callers must sign with.
    pub access_key_id: String,
    /// The secret access key that callers must sign with.
    pub secret_access_key: Secret,
    /// The wall clock.
    pub clock: WallClock,
}

impl fmt::Debug for QuerySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuerySettings").field("region", &self.region).finish_non_exhaustive()
    }
}

/// One kind of misbehaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryFault {
    /// The caller lacks the permission.
    Denied,
    /// Too many requests.
    Throttled,
    /// A 503 with a load balancer's page.
    Unavailable,
    /// A 200 that is no XML.
    NotXml,
    /// A 200 whose XML ends in the middle.
    Truncated,
    /// A 200 with 32 MiB of XML.
    Oversized,
    /// A 200 with the XML of another operation.
    AnotherAnswer,
    /// The connection is closed without an answer.
    Dropped,
}

/// One request: the operation and its parameters, as they were sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryCall {
    /// `Action`.
    pub action: String,
    /// Everything else, in the order of sending.
    pub parameters: Vec<(String, String)>,
}

impl QueryCall {
    /// The value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The values of `<prefix>.1`, `<prefix>.2` and so on.
    pub(super) fn list(&self, prefix: &str) -> Vec<&str> {
        (1..).map_while(|number| self.get(&format!("{prefix}.{number}"))).collect()
    }
}

/// A refusal on its way to the caller.
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
}

/// What one service is made of.
pub(super) trait Service: Send + Sync + 'static {
    /// Its name in the credential scope.
    const SIGNING_NAME: &'static str;
    /// What callers without permission are told.
    const DENIED: &'static str;
    /// What callers are told who call too often, and the status of it.
    const THROTTLED: (StatusCode, &'static str);
    /// What callers are told whose signature is not right.
    const UNSIGNED: &'static str;

    /// The answer's XML.
    fn answer(&self, call: &QueryCall) -> Result<String, Refusal>;

    /// A refusal's XML.
    fn refusal(code: &str, message: &str) -> String;
}

/// A running service.
pub(super) struct Server<S> {
    shared: Arc<Shared<S>>,
    address: SocketAddr,
}

struct Shared<S> {
    service: S,
    verifier: Verifier,
    clock: WallClock,
    log: Mutex<Log>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Default)]
struct Log {
    calls: Vec<QueryCall>,
    faults: HashMap<String, VecDeque<(QueryFault, u32)>>,
}

/// The connection is closed without an answer. hyper closes it when the service returns an error.
#[derive(Debug, thiserror::Error)]
#[error("the sandbox withholds its answer")]
struct Withheld;

impl<S> Drop for Server<S> {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

impl<S: Service> Server<S> {
    /// Listens on a free port of loopback.
    pub(super) async fn start(settings: QuerySettings, service: S) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let verifier = Verifier {
            access_key_id: settings.access_key_id,
            secret: settings.secret_access_key,
            region: settings.region,
            service: S::SIGNING_NAME,
        };
        let shared = Arc::new(Shared {
            service,
            verifier,
            clock: settings.clock,
            log: Mutex::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        shared.tasks.spawn(serve(shared.clone(), listener));
        Ok(Self { shared, address })
    }

    pub(super) fn endpoint_url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn service(&self) -> &S {
        &self.shared.service
    }

    /// Lets the next `times` calls of an action suffer a fault.
    pub(super) fn inject(&self, action: &str, fault: QueryFault, times: u32) {
        self.shared.lock().faults.entry(action.to_owned()).or_default().push_back((fault, times));
    }

    pub(super) fn clear_faults(&self) {
        self.shared.lock().faults.clear();
    }

    pub(super) fn history(&self) -> Vec<QueryCall> {
        self.shared.lock().calls.clone()
    }
}

impl<S> Shared<S> {
    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn take(&mut self, action: &str) -> Option<QueryFault> {
        let waiting = self.faults.get_mut(action)?;
        let (fault, left) = waiting.front_mut()?;
        let fault = *fault;
        *left = left.saturating_sub(1);
        if *left == 0 {
            waiting.pop_front();
        }
        Some(fault)
    }
}

async fn serve<S: Service>(shared: Arc<Shared<S>>, listener: TcpListener) {
    loop {
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((socket, _)) = accepted else { return };
        let (served, stop) = (shared.clone(), shared.stop.clone());
        shared.tasks.spawn(async move {
            let service = service_fn(move |request| handle(served.clone(), request));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(READ_TIMEOUT)
                .auto_date_header(false)
                .serve_connection(TokioIo::new(socket), service);
            tokio::select! {
                // How a connection ends is the caller's affair.
                _ = connection => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

async fn handle<S: Service>(
    shared: Arc<Shared<S>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Withheld> {
    let (head, body) = request.into_parts();
    let body = tokio::time::timeout(READ_TIMEOUT, Limited::new(body, MAX_REQUEST).collect()).await;
    let body = body.map_err(|_| Withheld)?.map_err(|_| Withheld)?.to_bytes();
    let call = call(&body);
    let fault = {
        let mut log = shared.lock();
        log.calls.push(call.clone());
        log.take(&call.action)
    };
    let refuse = |status, code: &str, message: &str| (status, S::refusal(code, message));
    let (status, text) = match fault {
        Some(QueryFault::Dropped) => return Err(Withheld),
        Some(QueryFault::Unavailable) => {
            (StatusCode::SERVICE_UNAVAILABLE, "<html><body><h1>503 Service Unavailable</h1></body></html>".to_owned())
        }
        Some(QueryFault::Throttled) => refuse(S::THROTTLED.0, S::THROTTLED.1, "Request limit exceeded."),
        Some(QueryFault::Denied) => {
            let message = format!("You are not authorized to perform this operation: {}.", call.action);
            refuse(StatusCode::FORBIDDEN, S::DENIED, &message)
        }
        Some(QueryFault::NotXml) => (StatusCode::OK, r#"{"this": "is JSON"}"#.to_owned()),
        Some(QueryFault::AnotherAnswer) => {
            (StatusCode::OK, "<DescribeRegionsResponse><regionInfo/></DescribeRegionsResponse>".to_owned())
        }
        Some(QueryFault::Oversized) => {
            (StatusCode::OK, format!("<{0}Response>{1}</{0}Response>", call.action, " ".repeat(OVERSIZED)))
        }
        fault @ (None | Some(QueryFault::Truncated)) => match answer(&shared, &head, &body, &call) {
            Ok(mut text) => {
                if fault.is_some() {
                    text.truncate(text.len() / 2);
                }
                (StatusCode::OK, text)
            }
            Err(refusal) => refuse(refusal.status, refusal.code, &refusal.message),
        },
    };
    let response = Response::builder().status(status).header(http::header::CONTENT_TYPE, "text/xml;charset=UTF-8");
    response.body(Full::from(text)).map_err(|_| Withheld)
}

fn answer<S: Service>(shared: &Shared<S>, head: &Parts, body: &[u8], call: &QueryCall) -> Result<String, Refusal> {
    if head.method != Method::POST || head.uri.path() != "/" {
        let message = format!("no {} {}", head.method, head.uri.path());
        return Err(Refusal { status: StatusCode::NOT_FOUND, code: "InvalidAction", message });
    }
    let unsigned = |failure: Failure| Refusal {
        status: StatusCode::UNAUTHORIZED,
        code: S::UNSIGNED,
        message: format!("{}: {}", failure.name, failure.message),
    };
    shared.verifier.verify(head, body, (shared.clock)()).map_err(unsigned)?;
    shared.service.answer(call)
}

/// Reads `Action=…&Version=…&…`.
fn call(body: &[u8]) -> QueryCall {
    let mut parameters: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
    let mut taken = |name: &str| {
        let at = parameters.iter().position(|(key, _)| key == name)?;
        Some(parameters.remove(at).1)
    };
    let action = taken("Action").unwrap_or_default();
    let _version = taken("Version");
    QueryCall { action, parameters }
}

/// An element with escaped text.
pub(super) fn element(name: &str, text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<{name}>{text}</{name}>")
}

/// An element, if there is something to put into it.
pub(super) fn optional(name: &str, text: Option<&str>) -> String {
    text.map(|text| element(name, text)).unwrap_or_default()
}

/// An element that holds others.
pub(super) fn holding(name: &str, inner: impl IntoIterator<Item = String>) -> String {
    let inner: String = inner.into_iter().collect();
    format!("<{name}>{inner}</{name}>")
}
