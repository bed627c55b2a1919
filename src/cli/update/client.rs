//! The daemon's HTTP API, called within bounds of time and size.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::server::{Server, TOKEN_VARIABLE};
use super::words;
use crate::cli::Exit;

/// More than any answer has: a report on a proxy with many addresses is the longest.
const LARGEST: usize = 1024 * 1024;

/// How long to wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For a connection, with TLS.
    pub(super) connect: Duration,
    /// For a whole answer; a plan comes with its pre-flight, which probes every address several times.
    pub(super) answer: Duration,
    /// For the next sign of life in an event stream; the daemon gives one every 15 seconds.
    pub(super) silence: Duration,
    /// Before an event stream is asked for again; doubles up to sixteenfold.
    pub(super) pause: Duration,
    /// How often in a row an event stream may fail before it is given up.
    pub(super) losses: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_mins(2),
            silence: Duration::from_mins(1),
            pause: Duration::from_secs(1),
            losses: 10,
        }
    }
}

/// Why there is no answer as asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("cannot connect to {url}: is the daemon running there (xks-preflight serve), and is --server right?")]
    Connect { url: String, source: std::io::Error },
    #[error("cannot connect to {url} within {} s: is --server right, and does a firewall permit it?", within.as_secs())]
    ConnectTimedOut { url: String, within: Duration },
    #[error("the daemon at {url} cannot be trusted; --server-ca-file names its authority")]
    Tls { url: String, source: std::io::Error },
    #[error("whoever is at {url} does not speak TLS: is --server right, and is it http:// perhaps?")]
    NotTls { url: String, source: std::io::Error },
    #[error("whoever is at {url} does not speak HTTP: is --server right, and is it https:// perhaps?")]
    NotHttp { url: String, source: hyper::Error },
    #[error("the daemon at {url} did not answer within {} s", within.as_secs())]
    TimedOut { url: String, within: Duration },
    #[error("the connection to {url} broke before the answer was complete")]
    Lost { url: String, source: hyper::Error },
    #[error("the answer from {url} cannot be understood ({why}): is this the address of an xks-preflight daemon?")]
    Foreign { url: String, why: String },
    #[error("{0}")]
    Problem(Box<Problem>),
}

impl CallError {
    /// Whether the request may have had its effect all the same.
    pub(super) fn may_have_worked(&self) -> bool {
        match self {
            // What is no HTTP comes from no daemon, so that none has read it.
            Self::Connect { .. }
            | Self::ConnectTimedOut { .. }
            | Self::Tls { .. }
            | Self::NotTls { .. }
            | Self::NotHttp { .. } => false,
            Self::TimedOut { .. } | Self::Lost { .. } | Self::Foreign { .. } => true,
            // Something between the daemon and here.
            Self::Problem(problem) => problem.status.is_server_error() && problem.reason.is_none(),
        }
    }

    /// Whether asking again will not help.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Problem(problem)
            if problem.status.is_client_error() && problem.status != StatusCode::TOO_MANY_REQUESTS)
    }

    /// How the command ends with it.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Problem(problem) => problem.exit(),
            // Nobody has judged anything: a candidate is not blocked because a daemon is away, and does not pass either.
            _ => Exit::Inconclusive,
        }
    }
}

/// A problem document (RFC 9457), or what little an answer without one tells.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    url: String,
    status: StatusCode,
    reason: Option<String>,
    detail: String,
    errors: Vec<(String, String)>,
    update: Option<String>,
    token_sent: bool,
}

impl Problem {
    fn read(url: &str, status: StatusCode, body: &[u8], token_sent: bool) -> Self {
        let document: Value = serde_json::from_slice(body).unwrap_or_default();
        let member = |name: &str| document.get(name).and_then(Value::as_str).map(words::clean);
        let fault = |entry: &Value| {
            let part = |name: &str| words::clean(entry.get(name).and_then(Value::as_str).unwrap_or_default());
            (part("pointer"), part("detail"))
        };
        let errors = document.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        Self {
            url: url.to_owned(),
            status,
            reason: member("reason"),
            detail: member("detail").or_else(|| member("title")).unwrap_or_default(),
            errors: errors.iter().map(fault).collect(),
            update: member("update"),
            token_sent,
        }
    }

    fn exit(&self) -> Exit {
        if self.reason.as_deref() == Some("outage_not_acknowledged") {
            return Exit::Refused;
        }
        match self.status.as_u16() {
            401 | 403 | 409 | 412 | 423 => Exit::Refused,
            // Without a reason it was not this API that answered.
            400..=428 if self.reason.is_some() => Exit::Usage,
            _ => Exit::Inconclusive,
        }
    }

    /// What to do, in the words of the command line.
    fn advice(&self) -> Option<String> {
        match (self.status, self.reason.as_deref()) {
            // Its detail says it all, or it is not the daemon's.
            (_, None) | (StatusCode::UNAUTHORIZED, Some("expired_token")) => None,
            (StatusCode::UNAUTHORIZED, _) if self.token_sent => {
                Some("the daemon does not know this token; is its hash in the configuration?".to_owned())
            }
            (StatusCode::UNAUTHORIZED, _) => Some(format!("give a token: --token-file, or {TOKEN_VARIABLE}")),
            (_, Some("stale")) => Some("look at it again; update status tells what --if-match takes".to_owned()),
            (_, Some("outage_not_acknowledged")) => Some("agree to the outage with --acknowledge-outage".to_owned()),
            _ => None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Some(reason) => write!(f, "the daemon answers {}, {reason}", self.status)?,
            None => write!(
                f,
                "{} answers {}, and not in the way of an xks-preflight daemon's API: is --server right?",
                self.url, self.status
            )?,
        }
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        for (pointer, detail) in &self.errors {
            write!(f, "\n  {pointer} {detail}")?;
        }
        if let Some(update) = &self.update {
            write!(f, "\n  it is {update}; look at it with: xks-preflight update status {update}")?;
        }
        self.advice().map_or(Ok(()), |advice| write!(f, "\n  {advice}"))
    }
}

/// Calls one daemon. Every call has a connection of its own: they are few.
pub(super) struct Client {
    pub(super) server: Server,
    pub(super) patience: Patience,
}

/// What to ask for.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    /// Below the server's address, with a slash in front.
    pub(super) path: &'a str,
    pub(super) header: Option<(&'static str, String)>,
    pub(super) body: Option<Vec<u8>>,
}

impl<'a> Call<'a> {
    pub(super) fn get(path: &'a str) -> Self {
        Self { method: Method::GET, path, header: None, body: None }
    }

    pub(super) fn post(path: &'a str) -> Self {
        Self { method: Method::POST, ..Self::get(path) }
    }

    /// Only if nothing has happened to the update since event `seen`.
    pub(super) fn if_match(self, seen: Option<u64>) -> Self {
        Self { header: seen.map(|seen| ("if-match", format!("\"{seen}\""))).or(self.header), ..self }
    }
}

/// An answer whose body is still to come; the connection lives as long.
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    _connection: AbortOnDropHandle<()>,
}

/// Whether what came back was no TLS at all, rather than TLS that is not trusted.
fn speaks_no_tls(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidMessage(_)))
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Client {
    /// Calls and reads the JSON of the answer.
    pub(super) async fn call(&self, call: Call<'_>) -> Result<Value, CallError> {
        let within = self.patience.answer;
        let late = |_| CallError::TimedOut { url: self.server.url.clone(), within };
        timeout(within, async {
            let answer = self.open(call, "application/json").await?;
            let body = self.whole(answer).await?;
            serde_json::from_slice(&body).map_err(|_| self.foreign("it is not JSON"))
        })
        .await
        .unwrap_or_else(|elapsed| Err(late(elapsed)))
    }

    /// Calls and hands over the answer if it is a good one.
    pub(super) async fn open(&self, call: Call<'_>, accept: &'static str) -> Result<Answer, CallError> {
        let connect = self.patience.connect;
        let stream = timeout(connect, self.connect())
            .await
            .unwrap_or_else(|_| Err(CallError::ConnectTimedOut { url: self.server.url.clone(), within: connect }))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|source| self.lost(source))?;
        let connection = AbortOnDropHandle::new(tokio::spawn(async move {
            // Whoever reads the answer sees the same error.
            let _ = connection.await;
        }));
        let request = self.request(call, accept)?;
        let within = self.patience.answer;
        let response = timeout(within, sender.send_request(request))
            .await
            .map_err(|_| CallError::TimedOut { url: self.server.url.clone(), within })?
            .map_err(|source| {
                if source.is_parse() {
                    CallError::NotHttp { url: self.server.url.clone(), source }
                } else {
                    self.lost(source)
                }
            })?;
        let status = response.status();
        let answer = Answer { response, _connection: connection };
        if status.is_success() {
            return Ok(answer);
        }
        let body = timeout(within, self.whole(answer))
            .await
            .map_err(|_| CallError::TimedOut { url: self.server.url.clone(), within })??;
        if status.is_client_error() || status.is_server_error() {
            let token_sent = self.server.authorization.is_some();
            return Err(CallError::Problem(Box::new(Problem::read(&self.server.url, status, &body, token_sent))));
        }
        Err(self.foreign(&format!("status {status}")))
    }

    fn request(&self, call: Call<'_>, accept: &'static str) -> Result<Request<Full<Bytes>>, CallError> {
        let mut request = Request::builder()
            .method(call.method)
            .uri(format!("{}{}", self.server.prefix, call.path))
            .header(header::HOST, &self.server.authority)
            .header(header::ACCEPT, accept)
            .header(header::USER_AGENT, concat!("xks-preflight/", env!("CARGO_PKG_VERSION")));
        if let Some(authorization) = &self.server.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if let Some((name, value)) = call.header {
            request = request.header(name, value);
        }
        if call.body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = Full::new(Bytes::from(call.body.unwrap_or_default()));
        request.body(body).map_err(|_| self.foreign("no request can be made for it"))
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, CallError> {
        let url = || self.server.url.clone();
        let tcp = TcpStream::connect((self.server.host.as_str(), self.server.port))
            .await
            .map_err(|source| CallError::Connect { url: url(), source })?;
        match &self.server.tls {
            None => Ok(Box::new(tcp)),
            Some((connector, name)) => {
                let tls = connector.connect(name.clone(), tcp).await;
                Ok(Box::new(tls.map_err(|source| {
                    if speaks_no_tls(&source) {
                        CallError::NotTls { url: url(), source }
                    } else {
                        CallError::Tls { url: url(), source }
                    }
                })?))
            }
        }
    }

    async fn whole(&self, answer: Answer) -> Result<Bytes, CallError> {
        self.bounded(answer, LARGEST).await
    }

    /// An answer's body of at most so many bytes.
    pub(super) async fn bounded(&self, answer: Answer, largest: usize) -> Result<Bytes, CallError> {
        let Answer { response, _connection } = answer;
        match Limited::new(response.into_body(), largest).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(self.foreign(&format!("it is longer than {largest} bytes")))
            }
            Err(error) => Err(match error.downcast::<hyper::Error>() {
                Ok(source) => self.lost(*source),
                Err(other) => self.foreign(&other.to_string()),
            }),
        }
    }

    /// An answer that is none of the daemon's.
    pub(super) fn foreign(&self, why: &str) -> CallError {
        CallError::Foreign { url: self.server.url.clone(), why: why.to_owned() }
    }

    /// A connection that broke.
    pub(super) fn lost(&self, source: hyper::Error) -> CallError {
        CallError::Lost { url: self.server.url.clone(), source }
    }
}
