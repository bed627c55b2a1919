//! One request and its answer, on a connection to an authenticated server.
//!
//! hyper's connection is driven by whoever waits for the answer, in the same task: nothing runs on after an exchange,
//! and dropping the connection closes the socket.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HOST, HeaderName, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use time::PrimitiveDateTime;
use time::macros::format_description;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::classify::{self, Introduction};
use super::deadline::Deadline;
use super::tls::Secured;
use crate::check::{ExchangeEvidence, LARGEST_BODY, Problem, ProblemKind, Stage, Stop, TlsEvidence};
use crate::clock::{Clock, Timestamp};

const X_AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");

/// The largest head of an answer, in bytes.
const LARGEST_HEAD: usize = 64 * 1024;

/// The most header fields of an answer.
const MOST_HEADERS: usize = 100;

/// The most interim answers (1xx) before the final one. Nobody has a reason to send us any.
const MOST_INTERIM_ANSWERS: usize = 8;

/// The longest header value that is kept as evidence, in bytes.
const LONGEST_KEPT_VALUE: usize = 1024;

type Http1 = http1::Connection<TokioIo<TlsStream<TcpStream>>, Full<Bytes>>;

/// An open connection to an authenticated proxy, for more than one request. Dropping it closes it.
pub struct KeptConnection {
    sender: SendRequest<Full<Bytes>>,
    /// Gone once either side has closed.
    connection: Option<Http1>,
    introduction: Introduction,
}

impl fmt::Debug for KeptConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptConnection").field("open", &self.connection.is_some()).finish_non_exhaustive()
    }
}

/// A request, ready to be written.
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) host: String,
    pub(super) path: String,
    /// `None` leaves the header out.
    pub(super) authorization: Option<String>,
    pub(super) x_amz_date: String,
    /// A comment in `User-Agent`.
    pub(super) remark: Option<String>,
    pub(super) body: Vec<u8>,
    pub(super) request_id: String,
}

/// Begins HTTP/1.1 on a secured stream.
pub(super) async fn open(secured: Secured) -> Result<(KeptConnection, TlsEvidence), Box<(Stop, TlsEvidence)>> {
    let Secured { stream, evidence } = secured;
    let introduction = Introduction {
        client_certificate_requested: evidence.client_certificate_requested,
        client_certificate_presented: evidence.client_certificate_presented,
        answered: false,
    };
    let opened = http1::Builder::new()
        .max_buf_size(LARGEST_HEAD)
        .max_headers(MOST_HEADERS)
        .handshake(TokioIo::new(stream))
        .await;
    match opened {
        Ok((sender, connection)) => {
            Ok((KeptConnection { sender, connection: Some(connection), introduction }, evidence))
        }
        Err(error) => Err(Box::new((classify::exchange(&error, introduction), evidence))),
    }
}

/// Sends one request and reads the whole answer. The time is from the first byte sent to the last byte read.
pub(super) async fn send(
    kept: &mut KeptConnection,
    outgoing: Outgoing,
    clock: &dyn Clock,
    deadline: Deadline,
) -> (Duration, Result<ExchangeEvidence, Stop>) {
    let interim = Arc::new(AtomicUsize::new(0));
    let request = match request(&outgoing, &interim) {
        Ok(request) => request,
        Err(error) => {
            let problem = Problem::own(ProblemKind::LocalResources, format!("the request could not be made ({error})"));
            return (Duration::ZERO, Err(Stop { stage: Stage::Http, problem }));
        }
    };
    if kept.connection.is_none() {
        return (Duration::ZERO, Err(classify::connection_gone()));
    }
    let mut head_arrived = false;
    let timed = deadline.bound(answer(kept, request, &interim, clock, &mut head_arrived)).await;
    let outcome = timed.result.unwrap_or_else(|| Err(classify::answer_timed_out(deadline.limit(), head_arrived)));
    match outcome {
        Ok(answer) => {
            kept.introduction.answered = true;
            (timed.took, Ok(answer.evidence(outgoing.request_id)))
        }
        Err(stop) => {
            // Whatever else may come on it belongs to a question that nobody asks any more.
            kept.connection = None;
            (timed.took, Err(stop))
        }
    }
}

impl KeptConnection {
    /// Whether it is still open, as far as that has shown by now.
    pub fn is_open(&mut self) -> bool {
        if let Some(open) = self.connection.as_mut()
            && Pin::new(open).poll(&mut Context::from_waker(Waker::noop())).is_ready()
        {
            self.connection = None;
        }
        self.connection.is_some()
    }

    /// After an answer: whether the server keeps it open for another request. It shows at once; `limit` bounds the
    /// wait for a server that is in the middle of something.
    pub async fn stays_open(&mut self, limit: Duration) -> bool {
        self.settle(Deadline::after(limit)).await
    }

    /// Whether another request may be sent on it, once the connection has settled after an answer.
    pub(super) async fn settle(&mut self, deadline: Deadline) -> bool {
        let Self { sender, connection, .. } = self;
        let ready = deadline.bound(drive(connection, sender.ready())).await;
        matches!(ready.result, Some(Ok(()))) && connection.is_some()
    }
}

struct Answer {
    head: http::response::Parts,
    received_at: Timestamp,
    body: Vec<u8>,
}

impl Answer {
    fn evidence(self, request_id: String) -> ExchangeEvidence {
        let Self { head, received_at, body } = self;
        ExchangeEvidence {
            status: head.status.as_u16(),
            content_type: kept_value(&head.headers, &CONTENT_TYPE),
            location: kept_value(&head.headers, &LOCATION),
            date: kept_value(&head.headers, &DATE).as_deref().and_then(http_date),
            received_at,
            body,
            request_id,
        }
    }
}

fn request(outgoing: &Outgoing, interim: &Arc<AtomicUsize>) -> Result<Request<Full<Bytes>>, http::Error> {
    const AGENT: &str = concat!("xks-preflight/", env!("CARGO_PKG_VERSION"));
    let agent = outgoing.remark.as_ref().map_or_else(|| AGENT.to_owned(), |remark| format!("{AGENT} ({remark})"));
    let mut builder = Request::builder()
        .method(outgoing.method.clone())
        .uri(&outgoing.path)
        .header(HOST, &outgoing.host)
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, agent)
        .header(X_AMZ_DATE, &outgoing.x_amz_date);
    if let Some(authorization) = &outgoing.authorization {
        let mut authorization = HeaderValue::try_from(authorization)?;
        authorization.set_sensitive(true);
        builder = builder.header(AUTHORIZATION, authorization);
    }
    let mut request = builder.body(Full::new(Bytes::copy_from_slice(&outgoing.body)))?;
    let interim = Arc::clone(interim);
    hyper::ext::on_informational(&mut request, move |_| {
        interim.fetch_add(1, Ordering::Relaxed);
    });
    Ok(request)
}

async fn answer(
    kept: &mut KeptConnection,
    request: Request<Full<Bytes>>,
    interim: &AtomicUsize,
    clock: &dyn Clock,
    head_arrived: &mut bool,
) -> Result<Answer, Stop> {
    let KeptConnection { sender, connection, introduction } = kept;
    let introduction = *introduction;
    let responded = {
        let mut response = pin!(drive(connection, sender.send_request(request)));
        poll_fn(|context| {
            let polled = response.as_mut().poll(context);
            if interim.load(Ordering::Relaxed) > MOST_INTERIM_ANSWERS {
                return Poll::Ready(None);
            }
            polled.map(Some)
        })
        .await
    };
    let response: Response<Incoming> = match responded {
        None => return Err(classify::too_many_interim_answers(MOST_INTERIM_ANSWERS)),
        Some(response) => response.map_err(|error| classify::exchange(&error, introduction))?,
    };
    *head_arrived = true;
    let received_at = clock.now();
    let (head, mut incoming) = response.into_parts();
    let introduction = Introduction { answered: true, ..introduction };
    let announced = incoming.size_hint().exact();
    if announced.is_some_and(|bytes| bytes > LARGEST_BODY as u64) {
        return Err(classify::body_too_large(announced));
    }
    let mut body = Vec::new();
    while let Some(frame) = drive_frame(connection, &mut incoming).await {
        let frame = frame.map_err(|error| classify::exchange(&error, introduction))?;
        let Some(data) = frame.data_ref() else { continue };
        if body.len() + data.len() > LARGEST_BODY {
            return Err(classify::body_too_large(None));
        }
        body.extend_from_slice(data);
    }
    Ok(Answer { head, received_at, body })
}

async fn drive_frame(
    connection: &mut Option<Http1>,
    incoming: &mut Incoming,
) -> Option<Result<hyper::body::Frame<Bytes>, hyper::Error>> {
    drive(connection, async { Ok(incoming.frame().await) }).await.unwrap_or_else(|error| Some(Err(error)))
}

/// Waits for `work`, which needs the connection to make progress.
async fn drive<T>(
    connection: &mut Option<Http1>,
    work: impl Future<Output = Result<T, hyper::Error>>,
) -> Result<T, hyper::Error> {
    let mut work = pin!(work);
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(done);
        }
        let Some(open) = connection.as_mut() else { return Poll::Pending };
        let Poll::Ready(ended) = Pin::new(open).poll(context) else { return work.as_mut().poll(context) };
        *connection = None;
        // The end of the connection wakes the work up, too; if that only says so, the connection's error says why.
        match (work.as_mut().poll(context), ended) {
            (Poll::Ready(Err(error)), Err(why)) if error.is_canceled() || error.is_closed() => Poll::Ready(Err(why)),
            (Poll::Pending, Err(why)) => Poll::Ready(Err(why)),
            (polled, _) => polled,
        }
    })
    .await
}

fn kept_value(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?.as_bytes();
    Some(String::from_utf8_lossy(&value[..value.len().min(LONGEST_KEPT_VALUE)]).into_owned())
}

/// Reads an IMF-fixdate (RFC 9110, section 5.6.7). The two obsolete forms are not read: whoever sends them is not
/// worth a guess about clocks.
fn http_date(text: &str) -> Option<Timestamp> {
    let form =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    let at = PrimitiveDateTime::parse(text, form).ok()?.assume_utc();
    Some(Timestamp::from_unix(at.unix_timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read() {
        let at = http_date("Mon, 23 Nov 2026 21:04:57 GMT").unwrap();
        assert_eq!(at.to_string(), "2026-11-23T21:04:57.000Z");
        assert_eq!(http_date("yesterday"), None);
        assert_eq!(http_date(""), None);
    }
}
