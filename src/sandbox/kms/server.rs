//! The HTTP side: connections, bounds, signatures, faults, and AWS JSON 1.1 in and out.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use time::{OffsetDateTime, macros::format_description};
use tokio::{net::TcpListener, sync::Semaphore};

use super::{
    Front, Kms, MAX_HANG,
    fault::KmsFault,
    history::{Operation, Outcome},
    request_id,
    wire::Failure,
};

/// The most of a request that is read; the largest member, a trust anchor, has 5000 characters.
const MAX_REQUEST: usize = 16 * 1024;

/// How long a caller may take for its head, and again for its body.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// How many connections are served at once; further ones wait in the listener's queue.
const MAX_CONNECTIONS: usize = 256;

/// Pause after a failed accept, which is a shortage of the machine (file descriptors) and not of one caller.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The connection is closed without an answer. hyper closes it when the service returns an error.
#[derive(Debug, thiserror::Error)]
#[error("the sandbox withholds its answer")]
struct Withheld;

type Reply = Response<Full<Bytes>>;

/// Serves until stopped.
pub(super) async fn serve(kms: Arc<Kms>, front: Arc<Front>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = kms.stop.cancelled() => return,
            accepted = async { (places.clone().acquire_owned().await, listener.accept().await) } => accepted,
        };
        let (Ok(place), accepted) = accepted else { return };
        let Ok((socket, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let served = front.clone();
        let stop = kms.stop.clone();
        kms.tasks.spawn(async move {
            let service = service_fn(move |request| handle(served.clone(), request));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(READ_TIMEOUT)
                // The date comes from the injected clock: SDKs correct their own clock by it.
                .auto_date_header(false)
                .serve_connection(TokioIo::new(socket), service);
            tokio::select! {
                // How a connection ends is the caller's affair; what it asked is in the history.
                _ = connection => {}
                () = stop.cancelled() => {}
            }
            drop(place);
        });
    }
}

async fn handle(front: Arc<Front>, request: Request<Incoming>) -> Result<Reply, Withheld> {
    let (head, body) = request.into_parts();
    let kms = front.of(&head).ok_or(Withheld)?;
    if head.method == Method::GET && head.uri.path() == "/history" {
        return Ok(changes(&kms));
    }
    let body = tokio::time::timeout(READ_TIMEOUT, Limited::new(body, MAX_REQUEST).collect()).await;
    let operation = operation(&head);
    let Some(body) = body.ok().and_then(Result::ok).map(Collected::to_bytes) else {
        let mut state = kms.lock();
        let sequence = state.history.begin(operation, &Value::Null);
        state.history.note(sequence, |call| call.outcome = Outcome::Dropped);
        return Err(Withheld);
    };
    // No body at all means no parameters, as the AWS CLI sends it for some operations.
    let parameters: Option<Value> = if body.is_empty() { Some(json!({})) } else { serde_json::from_slice(&body).ok() };
    let parameters = parameters.filter(Value::is_object);
    let sequence = kms.lock().history.begin(operation, parameters.as_ref().unwrap_or(&Value::Null));
    let checked = check(&kms, &head, &body, operation, parameters);
    let outcome = match checked {
        Ok((operation, parameters)) => carry_out(&kms, operation, parameters, sequence).await?,
        Err(failure) => Err(failure),
    };
    let noted = match &outcome {
        Ok(_) => Outcome::Succeeded,
        Err(failure) => Outcome::Failed(failure.name.to_string()),
    };
    kms.lock().history.note(sequence, |call| {
        call.outcome = noted;
        call.answered = true;
    });
    reply(&kms, outcome)
}

/// What was applied, one change a line, oldest first: for people who want to see that nothing else was.
fn changes(kms: &Kms) -> Reply {
    let state = kms.lock();
    let lines: Vec<String> = state
        .history
        .calls()
        .into_iter()
        .filter(|call| call.applied)
        .map(|call| format!("{} {}\n", call.operation.map_or("?", Operation::as_str), call.parameters))
        .collect();
    Response::new(Full::new(Bytes::from(lines.concat())))
}

/// The operation that `X-Amz-Target` names, if it is one of ours.
fn operation(head: &Parts) -> Option<Operation> {
    let target = head.headers.get("x-amz-target")?.to_str().ok()?;
    let name = target.strip_prefix("TrentService.")?;
    Operation::ALL.into_iter().find(|operation| operation.as_str() == name)
}

/// Everything that is wrong with a request whatever it asks.
fn check(
    kms: &Kms,
    head: &Parts,
    body: &[u8],
    operation: Option<Operation>,
    parameters: Option<Value>,
) -> Result<(Operation, Value), Failure> {
    let unknown = || Failure::new("UnknownOperationException", "The operation is not known to this endpoint.");
    if head.method != Method::POST || head.uri.path() != "/" {
        return Err(Failure { status: StatusCode::NOT_FOUND, ..unknown() });
    }
    kms.verify(head, body)?;
    let operation = operation.ok_or_else(unknown)?;
    let parameters =
        parameters.ok_or_else(|| Failure::new("SerializationException", "The request is not a JSON object."))?;
    Ok((operation, parameters))
}

/// Carries the operation out under the fault that waits for it. `Err` withholds the answer.
async fn carry_out(
    kms: &Arc<Kms>,
    operation: Operation,
    parameters: Value,
    sequence: u64,
) -> Result<Result<Value, Failure>, Withheld> {
    let fault = {
        let mut state = kms.lock();
        for (id, intrusion) in state.faults.take_intrusions(operation) {
            if let Some(record) = state.region.find(&id) {
                record.change(intrusion);
            }
        }
        state.faults.take(operation)
    };
    if let Some(failure) = fault.as_ref().and_then(KmsFault::exception) {
        return Ok(Err(failure));
    }
    match fault {
        Some(KmsFault::Unavailable) => {
            // No exception, but the history wants a name and `reply` goes by the status.
            let status = StatusCode::SERVICE_UNAVAILABLE;
            return Ok(Err(Failure { status, ..Failure::new("503", "") }));
        }
        Some(KmsFault::Answers(answer)) => return Ok(Ok(answer)),
        Some(KmsFault::ReplyLost { applied: false } | KmsFault::Hang { applied: false }) => {
            kms.lock().history.note(sequence, |call| call.outcome = Outcome::Dropped);
            if matches!(fault, Some(KmsFault::Hang { .. })) {
                pause(kms, MAX_HANG).await;
            }
            return Err(Withheld);
        }
        _ => {}
    }
    // A task of its own: a caller that hangs up must not undo half of what it asked for, KMS would not notice either.
    let performer = kms.clone();
    let cause = fault.clone();
    let task = kms.tasks.spawn(async move {
        let outcome = performer.perform(operation, parameters, cause.as_ref(), sequence).await;
        let noted = match &outcome {
            Ok(_) => Outcome::Succeeded,
            Err(failure) => Outcome::Failed(failure.name.to_string()),
        };
        performer.lock().history.note(sequence, |call| call.outcome = noted);
        outcome
    });
    let outcome = task.await.map_err(|_| Withheld)?;
    match fault {
        Some(KmsFault::ReplyLost { .. }) => return Err(Withheld),
        Some(KmsFault::Hang { .. }) => {
            pause(kms, MAX_HANG).await;
            return Err(Withheld);
        }
        Some(KmsFault::Slow(by)) => pause(kms, by.min(MAX_HANG)).await,
        _ => {}
    }
    Ok(outcome)
}

/// Waits, but not beyond the end of the sandbox.
async fn pause(kms: &Kms, time: Duration) {
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        () = kms.stop.cancelled() => {}
    }
}

fn reply(kms: &Kms, outcome: Result<Value, Failure>) -> Result<Reply, Withheld> {
    let (status, body) = match outcome {
        Ok(answer) => (StatusCode::OK, answer.to_string()),
        Err(failure) if failure.status == StatusCode::SERVICE_UNAVAILABLE => (failure.status, String::new()),
        Err(failure) => (failure.status, failure.body().to_string()),
    };
    let format =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    let date = OffsetDateTime::from((kms.clock)()).format(&format).map_err(|_| Withheld)?;
    let mut response = Response::builder().status(status).header(header::DATE, date);
    if !body.is_empty() {
        response = response
            .header("x-amzn-RequestId", request_id())
            .header(header::CONTENT_TYPE, "application/x-amz-json-1.1");
    }
    response.body(Full::from(body)).map_err(|_| Withheld)
}
