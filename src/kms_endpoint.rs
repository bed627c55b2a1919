//! The drop-in gate: speaks KMS's own protocol, so that any AWS SDK, the AWS CLI or Terraform pointed at it is gated
//! without being changed.
//!
//! # How it works
//!
//! A request is AWS JSON 1.1, signed with SigV4 and a [`KmsCredential`] that was made here. Its operation becomes an
//! update of the [`Driver`], the very same that the API makes, and the request waits for what becomes of it:
//! `UpdateCustomKeyStore` until the new settings are verified, `ConnectCustomKeyStore` and `DisconnectCustomKeyStore`
//! until KMS has taken them, as KMS answers. A refusal comes as the exception that KMS would have raised.
//! `CreateCustomKeyStore` has nothing to be updated and goes to the [`Maker`] instead: a pre-flight, then one call.
//! `DescribeCustomKeyStores` is forwarded; nothing else is served. Like an endpoint of KMS, it is that of one account and
//! Region, the daemon's own: key stores of other places do not exist here.
//!
//! # What can go wrong
//!
//! - A client loses patience and asks again: `repeat` finds the update that the first attempt made.
//! - The process ends while somebody waits: the update goes on after the restart, and so does the client's repetition.
//! - Callers are slow, many or hostile: heads, bodies, requests and time are bounded, nothing is done before a
//!   signature holds, and whoever asks too often is throttled as KMS throttles.
//! - Somebody is refused: that is counted, logged, and a line of the audit trail.

mod admission;
mod answer;
mod creation;
mod credential;
mod describe;
mod failure;
mod gated;
mod members;
mod operation;
mod repeat;
mod signature;
mod witness;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use credential::{CredentialPolicy, KmsAccessKeyId, KmsCredential, KmsSecretAccessKey, NewKmsCredential};

use self::admission::Call;
use self::failure::Failure;
use self::operation::Operation;
use self::repeat::Told;
use self::signature::Verifier;
use self::witness::Witness;
use crate::access::Permission;
use crate::clock::Clock;
use crate::current::Current;
use crate::driver::{Driver, Examiner, Maker};
use crate::key_store::{KmsException, Place};
use crate::kms::{KeyStoreDescriber, KeyStoreReader};
use crate::listener::Limits;
use crate::metrics::Metrics;
use crate::notary::Notary;
use crate::places::Places;
use crate::update::ConnectionChange;

const PROTOCOL: &str = "application/x-amz-json-1.1";

/// What callers may use up.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The largest body, in bytes.
    pub body: usize,
    /// For a body to arrive.
    pub receive: Duration,
}

/// What the endpoint serves, and to whom.
pub struct Parts {
    /// Changes key stores.
    pub driver: Driver,
    /// Makes key stores.
    pub maker: Maker,
    /// Reads the key stores of the daemon's own account and Region.
    pub reader: Arc<dyn KeyStoreReader>,
    /// Knows where key stores are.
    pub places: Arc<Places>,
    /// Reads key stores for callers.
    pub describer: Arc<dyn KeyStoreDescriber>,
    /// Pre-flights what needs no change.
    pub examiner: Arc<Examiner>,
    /// Whoever may call; nobody else.
    pub credentials: Arc<Current<Vec<KmsCredential>>>,
    /// The Region that requests must be signed for.
    pub region: crate::key_store::Region,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Writes what was decided against callers.
    pub notary: Arc<Notary>,
    /// How often callers may ask.
    pub limits: Limits,
    /// What callers may use up.
    pub bounds: Bounds,
    /// Requests worked on at once, those that wait for an update among them.
    pub requests: usize,
    /// Cancelled when those that wait must be answered.
    pub draining: CancellationToken,
}

/// The endpoint.
struct Service {
    driver: Driver,
    maker: Maker,
    reader: Arc<dyn KeyStoreReader>,
    places: Arc<Places>,
    home: Place,
    describer: Arc<dyn KeyStoreDescriber>,
    examiner: Arc<Examiner>,
    verifier: Verifier,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    notary: Arc<Notary>,
    limits: Limits,
    bounds: Bounds,
    requests: Semaphore,
    told: Told,
    draining: CancellationToken,
}

/// The endpoint as a router: one path, one method.
pub fn router(parts: Parts) -> Router {
    let Parts {
        driver,
        maker,
        reader,
        places,
        describer,
        examiner,
        credentials,
        region,
        clock,
        metrics,
        notary,
        limits,
        bounds,
        requests,
        draining,
    } = parts;
    let service = Service {
        driver,
        maker,
        reader,
        places,
        home: Place::home(region.clone()),
        describer,
        examiner,
        verifier: Verifier { region, credentials },
        clock,
        metrics,
        notary,
        limits,
        bounds,
        requests: Semaphore::new(requests),
        told: Told::default(),
        draining,
    };
    Router::new().fallback(handle).with_state(Arc::new(service))
}

async fn handle(State(service): State<Arc<Service>>, request: Request) -> Response {
    let request_id = Uuid::from_u128(rand::random()).to_string();
    // The caller's own words are no label.
    let operation = operation::target(request.headers()).and_then(Operation::parse);
    let label = operation.map_or("other", Operation::as_str);
    let mut witness = Witness::of(request.headers());
    let outcome = service.answer(request, &mut witness).await;
    let result = outcome.as_ref().map_or_else(|failure| failure.name, |_| "ok");
    service.metrics.asked_at_kms_endpoint(label, result);
    let (status, body, retry_after) = match outcome {
        Ok(body) => (StatusCode::OK, body, None),
        Err(failure) => {
            tracing::info!(
                operation = label,
                exception = failure.name,
                message = failure.message,
                request_id,
                "KMS endpoint refuses"
            );
            witness.refused(&service, &failure).await;
            (failure.status, failure.body(), failure.retry_after)
        }
    };
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROTOCOL));
    if let Ok(request_id) = HeaderValue::from_str(&request_id) {
        headers.insert("x-amzn-requestid", request_id);
    }
    if let Some(wait) = retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
    }
    response
}

impl Service {
    async fn answer(&self, request: Request, witness: &mut Witness) -> Result<Value, Failure> {
        let Ok(_place) = self.requests.try_acquire() else {
            let message = "Too many requests are being worked on here; ask again in a moment.";
            return Err(Failure::of(KmsException::Throttling, message));
        };
        let Call { caller, operation, parameters } = self.admit(request, witness).await?;
        match operation {
            Operation::Create => self.create(&caller, parameters).await,
            Operation::Update => self.update(&caller, parameters, witness).await,
            Operation::Connect => {
                self.connection(operation, ConnectionChange::Connect, &caller, parameters, witness).await
            }
            Operation::Disconnect => {
                let anyway = !caller.credential.policy.prove_reconnect;
                let to = if anyway { ConnectionChange::DisconnectAnyway } else { ConnectionChange::Disconnect };
                self.connection(operation, to, &caller, parameters, witness).await
            }
            Operation::Describe => {
                let asked = operation::describe(parameters)?;
                let principal = &caller.credential.principal;
                principal.may_somewhere(Permission::Read).map_err(|error| answer::forbidden(&error))?;
                let told = self.describer.descriptions().await.map_err(|error| answer::kms(&error))?;
                describe::answer(told, &asked, principal)
            }
        }
    }
}
