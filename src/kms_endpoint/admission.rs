//! Who is let in: a body within its bounds, a signature that holds, and not too often.

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::failure::Failure;
use super::operation::{self, Operation};
use super::repeat::INVOCATION;
use super::witness::Witness;
use super::{KmsCredential, PROTOCOL, Service};
use crate::key_store::KmsException;
use crate::listener::Peer;
use crate::metrics::Denial;

/// A request of somebody known for an operation that is served.
pub(super) struct Call {
    pub(super) caller: Caller,
    pub(super) operation: Operation,
    pub(super) parameters: Map<String, Value>,
}

/// Whoever signed the request.
pub(super) struct Caller {
    pub(super) credential: KmsCredential,
    /// The number that the client gave its call.
    pub(super) invocation: Option<String>,
}

impl Service {
    /// Lets a request in, or says why not.
    pub(super) async fn admit(&self, request: Request, witness: &mut Witness) -> Result<Call, Failure> {
        let (head, body) = request.into_parts();
        if head.method != Method::POST || head.uri.path() != "/" {
            let unknown = Failure::new("UnknownOperationException", "Only POST / is served here.");
            return Err(Failure { status: StatusCode::NOT_FOUND, ..unknown });
        }
        let body = Zeroizing::new(self.receive(body).await?.to_vec());
        let credential = self.verifier.verify(&head, &body, self.clock.now()).map_err(|failure| {
            witness.claims(self.verifier.claimed(&head.headers).map(|known| known.principal).as_ref());
            self.stranger(head.extensions.get::<Peer>()).err().unwrap_or(failure)
        })?;
        witness.recognised(&credential.principal);
        self.limits.principal(&credential.principal.name).map_err(too_often)?;
        let operation = served(&head.headers)?;
        declared(&head.headers)?;
        let parameters = parameters(&body)?;
        let invocation = head.headers.get(INVOCATION).and_then(|value| value.to_str().ok());
        let caller = Caller { credential, invocation: invocation.map(ToOwned::to_owned) };
        Ok(Call { caller, operation, parameters })
    }

    /// Counts a request by which nobody was recognised.
    fn stranger(&self, peer: Option<&Peer>) -> Result<(), Failure> {
        peer.map_or(Ok(()), |peer| self.limits.stranger(peer.address.ip())).map_err(too_often)
    }

    async fn receive(&self, body: Body) -> Result<Bytes, Failure> {
        let read = tokio::time::timeout(self.bounds.receive, Limited::new(body, self.bounds.body).collect()).await;
        let read = read.map_err(|_| Failure {
            status: StatusCode::REQUEST_TIMEOUT,
            ..Failure::new("RequestTimeoutException", "The body did not arrive in time.")
        })?;
        let whole = read.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                let message = format!("The body is larger than {} bytes.", self.bounds.body);
                let large = Failure::new("RequestEntityTooLargeException", message);
                Failure { status: StatusCode::PAYLOAD_TOO_LARGE, ..large }
            } else {
                Failure::new("SerializationException", "The body ended before it was complete.")
            }
        })?;
        Ok(whole.to_bytes())
    }
}

/// As KMS answers whoever exceeds its quota of requests: every SDK waits and asks again.
fn too_often(wait: std::time::Duration) -> Failure {
    let message = "You have exceeded the rate at which you may call this endpoint. Reduce the frequency of your calls: \
                   http.requests_per_second, burst and failures_per_minute of the gate's configuration set it.";
    let failure = Failure::of(KmsException::Throttling, message).denied(Denial::RateLimited);
    Failure { retry_after: Some(wait), ..failure }
}

/// The operation that is named, if it is one that is served here.
fn served(headers: &HeaderMap) -> Result<Operation, Failure> {
    let name = operation::target(headers).ok_or_else(|| {
        Failure::new("UnknownOperationException", "X-Amz-Target must be TrentService. and the name of an operation.")
    })?;
    Operation::parse(name).ok_or_else(|| {
        let message = "This gate serves CreateCustomKeyStore, UpdateCustomKeyStore, ConnectCustomKeyStore, \
                       DisconnectCustomKeyStore and DescribeCustomKeyStores; send everything else to KMS itself.";
        Failure::of(KmsException::AccessDenied, message).denied(Denial::Forbidden)
    })
}

fn declared(headers: &HeaderMap) -> Result<(), Failure> {
    let declared = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if declared.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(PROTOCOL) {
        return Ok(());
    }
    let message = format!("The body must be declared as Content-Type: {PROTOCOL}.");
    Err(Failure::new("SerializationException", message))
}

/// The body as a JSON object. serde_json's messages quote no value, only the place; nesting deeper than 128 is an error
/// there.
fn parameters(body: &[u8]) -> Result<Map<String, Value>, Failure> {
    // No body at all means no parameters, as the AWS CLI sends it for some operations.
    let parsed = if body.is_empty() { Ok(json!({})) } else { serde_json::from_slice(body) };
    match parsed {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Failure::new("SerializationException", "The body must be a JSON object.")),
        Err(error) => {
            let message = format!("The body is not JSON: line {}, column {}.", error.line(), error.column());
            Err(Failure::new("SerializationException", message))
        }
    }
}
