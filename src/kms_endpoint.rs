//! The drop-in gate: speaks KMS's own protocol, so that any AWS SDK, the AWS CLI or Terraform pointed at it is gated
//! without being changed.
//!
//! # How it works
//!
//! A request is AWS JSON 1.1, signed with SigV4 and a [`KmsCredential`] that was made here. Its operation becomes an
//! update of the [`Driver`], the very same that the API makes, and the request waits for what becomes of it:
//! `UpdateCustomKeyStore` until the new settings are verified, `ConnectCustomKeyStore` and `DisconnectCustomKeyStore`
//! until KMS has taken them, as KMS answers. A refusal comes as the exception that KMS would have raised.
//! `DescribeCustomKeyStores` is forwarded; nothing else is served.
//!
//! # What can go wrong
//!
//! - A client loses patience and asks again: `repeat` finds the update that the first attempt made.
//! - The process ends while somebody waits: the update goes on after the restart, and so does the client's repetition.
//! - Callers are slow, many or hostile: heads, bodies, requests and time are bounded, and nothing is done before a
//!   signature holds.

mod answer;
mod credential;
mod describe;
mod failure;
mod members;
mod operation;
mod repeat;
mod signature;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, Limited};
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use zeroize::Zeroizing;

pub use credential::{CredentialPolicy, KmsAccessKeyId, KmsCredential, KmsSecretAccessKey, NewKmsCredential};

use self::failure::Failure;
use self::operation::Operation;
use self::repeat::{INVOCATION, Same, Told};
use self::signature::Verifier;
use crate::access::Permission;
use crate::chain::Chain;
use crate::check::Verdict;
use crate::clock::Clock;
use crate::driver::{
    ConnectionRequest, Driver, Examiner, Extra, GivenCredential, SubmitError, Submitted, UpdateRecord, UpdateRequest,
};
use crate::journal::Idempotency;
use crate::key_store::{ConnectionState, CustomKeyStoreId, KmsException};
use crate::kms::{KeyStoreDescriber, KeyStoreReader};
use crate::metrics::Metrics;
use crate::update::{ConnectionChange, Options, PlanRefused, Round, State as UpdateState};

const TARGET: &str = "x-amz-target";
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
    /// Reads key stores.
    pub reader: Arc<dyn KeyStoreReader>,
    /// Reads key stores for callers.
    pub describer: Arc<dyn KeyStoreDescriber>,
    /// Pre-flights what needs no change.
    pub examiner: Arc<Examiner>,
    /// Whoever may call; nobody else.
    pub credentials: Vec<KmsCredential>,
    /// The Region that requests must be signed for.
    pub region: crate::key_store::Region,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
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
    reader: Arc<dyn KeyStoreReader>,
    describer: Arc<dyn KeyStoreDescriber>,
    examiner: Arc<Examiner>,
    verifier: Verifier,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    bounds: Bounds,
    requests: Semaphore,
    told: Told,
    draining: CancellationToken,
}

/// The endpoint as a router: one path, one method.
pub fn router(parts: Parts) -> Router {
    let Parts { driver, reader, describer, examiner, credentials, region, clock, metrics, bounds, requests, draining } =
        parts;
    let service = Service {
        driver,
        reader,
        describer,
        examiner,
        verifier: Verifier { region, credentials },
        clock,
        metrics,
        bounds,
        requests: Semaphore::new(requests),
        told: Told::default(),
        draining,
    };
    Router::new().fallback(handle).with_state(Arc::new(service))
}

async fn handle(State(service): State<Arc<Service>>, request: Request) -> Response {
    let operation = named(request.headers());
    let outcome = service.answer(request).await;
    let result = outcome.as_ref().map_or_else(|failure| failure.name, |_| "ok");
    // The caller's own words are no label.
    let label = operation.ok().flatten().map_or("other", Operation::as_str);
    service.metrics.asked_at_kms_endpoint(label, result);
    let (status, body) = match outcome {
        Ok(body) => (StatusCode::OK, body),
        Err(failure) => {
            tracing::info!(
                operation = label,
                exception = failure.name,
                message = failure.message,
                "KMS endpoint refuses"
            );
            (failure.status, failure.body())
        }
    };
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROTOCOL));
    let request_id = Uuid::from_u128(rand::random()).to_string();
    if let Ok(request_id) = HeaderValue::from_str(&request_id) {
        headers.insert("x-amzn-requestid", request_id);
    }
    response
}

/// The operation that `X-Amz-Target` names: none is KMS's, or is not served here.
fn named(headers: &HeaderMap) -> Result<Option<Operation>, Failure> {
    let target = headers.get(TARGET).and_then(|value| value.to_str().ok());
    let name = target.and_then(|target| target.strip_prefix("TrentService.")).ok_or_else(|| {
        Failure::new("UnknownOperationException", "X-Amz-Target must be TrentService. and the name of an operation.")
    })?;
    Ok(Operation::parse(name))
}

/// Whoever signed the request, and what of it matters.
struct Caller<'s> {
    credential: &'s KmsCredential,
    invocation: Option<String>,
}

impl Service {
    async fn answer(&self, request: Request) -> Result<Value, Failure> {
        let Ok(_place) = self.requests.try_acquire() else {
            let message = "Too many requests are being worked on here; ask again in a moment.";
            return Err(Failure::of(KmsException::Throttling, message));
        };
        let (head, body) = request.into_parts();
        if head.method != Method::POST || head.uri.path() != "/" {
            let unknown = Failure::new("UnknownOperationException", "Only POST / is served here.");
            return Err(Failure { status: StatusCode::NOT_FOUND, ..unknown });
        }
        let body = Zeroizing::new(self.receive(body).await?.to_vec());
        let credential = self.verifier.verify(&head, &body, self.clock.now())?;
        let served = named(&head.headers)?.ok_or_else(|| {
            let message = "This gate serves UpdateCustomKeyStore, ConnectCustomKeyStore, DisconnectCustomKeyStore and \
                           DescribeCustomKeyStores; send everything else to KMS itself.";
            Failure::of(KmsException::AccessDenied, message)
        })?;
        let declared = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !declared.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(PROTOCOL) {
            let message = format!("The body must be declared as Content-Type: {PROTOCOL}.");
            return Err(Failure::new("SerializationException", message));
        }
        let parameters = parameters(&body)?;
        let invocation = head.headers.get(INVOCATION).and_then(|value| value.to_str().ok());
        let caller = Caller { credential, invocation: invocation.map(ToOwned::to_owned) };
        match served {
            Operation::Update => self.update(&caller, parameters).await,
            Operation::Connect => self.connection(served, ConnectionChange::Connect, &caller, parameters).await,
            Operation::Disconnect => {
                let anyway = !credential.policy.prove_reconnect;
                let to = if anyway { ConnectionChange::DisconnectAnyway } else { ConnectionChange::Disconnect };
                self.connection(served, to, &caller, parameters).await
            }
            Operation::Describe => {
                let asked = operation::describe(parameters)?;
                let principal = &credential.principal;
                principal.may_somewhere(Permission::Read).map_err(|error| answer::forbidden(&error))?;
                let told = self.describer.descriptions().await.map_err(|error| answer::kms(&error))?;
                describe::answer(told, &asked, principal)
            }
        }
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

    /// Whether the caller may change this key store. Its name is asked for only where a scope is by name.
    async fn may_change(&self, caller: &Caller<'_>, id: &CustomKeyStoreId) -> Result<(), Failure> {
        let principal = &caller.credential.principal;
        let Err(by_id) = principal.may(Permission::Change, Some((id, None))) else { return Ok(()) };
        principal.may_somewhere(Permission::Change).map_err(|error| answer::forbidden(&error))?;
        match self.reader.key_store(id).await {
            Ok(store) => principal
                .may(Permission::Change, Some((id, Some(&store.name))))
                .map_err(|error| answer::forbidden(&error)),
            // Whether it exists is none of a stranger's business.
            Err(error) if error.is_not_found() => Err(answer::forbidden(&by_id)),
            Err(error) => Err(answer::kms(&error)),
        }
    }

    async fn update(&self, caller: &Caller<'_>, parameters: Map<String, Value>) -> Result<Value, Failure> {
        let digest = digest(Operation::Update, caller, &parameters);
        let asked = operation::update(parameters)?;
        self.may_change(caller, &asked.key_store).await?;
        let whole = caller.credential.policy.run_whole_sequence;
        let key_store = asked.key_store.clone();
        // KMS looks at what is given, not at what differs: so does this, where KMS's own answer is what is wanted.
        let cold = asked.change.cold_members();
        let needs_disconnect = !whole && (!cold.is_empty() || asked.password.is_some());
        let submit = async |idempotency: Idempotency| {
            if needs_disconnect {
                self.must_be_disconnected(&asked.key_store).await?;
            }
            // Whoever lets the gate run the whole sequence knows what that means.
            let options = Options { acknowledge_outage: whole, in_place: !whole, ..Options::default() };
            let request = UpdateRequest {
                key_store: asked.key_store,
                change: asked.change,
                credential: asked.credential.map(GivenCredential::Inline),
                password: asked.password,
                former_password: None,
                former_credential: None,
                options,
                by: caller.credential.principal.name.clone(),
                idempotency: Some(idempotency),
            };
            match self.driver.submit(request).await {
                Ok(submitted) => Ok(Some(submitted)),
                Err(SubmitError::Plan(PlanRefused::NothingToChange)) => Ok(None),
                Err(error) => Err(answer::not_submitted(&error)),
            }
        };
        match self.gated(Operation::Update, caller, &digest, submit).await? {
            Some(answer) => Ok(answer),
            None => self.as_it_is(&key_store).await,
        }
    }

    /// As KMS answers a change that it takes only of a DISCONNECTED key store.
    async fn must_be_disconnected(&self, id: &CustomKeyStoreId) -> Result<(), Failure> {
        let store = self.reader.key_store(id).await.map_err(|error| answer::kms(&error))?;
        if store.state == ConnectionState::Disconnected {
            return Ok(());
        }
        let message = format!(
            "The custom key store {id} is {}, and this change needs it DISCONNECTED; disconnect it first, or let this \
             credential have the gate run the whole sequence (run_whole_sequence).",
            store.state
        );
        Err(Failure::of(KmsException::CustomKeyStoreInvalidState, message))
    }

    /// Answers for a key store that already is as it was asked for. KMS asks the proxy all the same, and so do we.
    async fn as_it_is(&self, key_store: &CustomKeyStoreId) -> Result<Value, Failure> {
        let present = self.driver.present(key_store).await;
        let (plan, credential) = present.map_err(|error| answer::not_submitted(&error))?;
        let extra = Extra::default();
        let examined = self.examiner.plan(&plan, Round::Verification, credential.clone(), credential, &extra);
        let report = examined.await.map_err(|error| Failure::internal(Chain(&error).to_string()))?;
        let summary = crate::update::PreflightSummary::of(&report);
        match summary.verdict {
            Verdict::Ready => Ok(json!({})),
            Verdict::Blocked | Verdict::Inconclusive => Err(answer::present(&summary, plan.is_cloud_hsm())),
        }
    }

    async fn connection(
        &self,
        operation: Operation,
        to: ConnectionChange,
        caller: &Caller<'_>,
        parameters: Map<String, Value>,
    ) -> Result<Value, Failure> {
        let digest = digest(operation, caller, &parameters);
        let key_store = operation::key_store(parameters)?;
        self.may_change(caller, &key_store).await?;
        let by = caller.credential.principal.name.clone();
        let submit = async |idempotency| {
            let request = ConnectionRequest { key_store, to, by, idempotency: Some(idempotency) };
            match self.driver.submit_connection(request).await {
                Ok(submitted) => Ok(Some(submitted)),
                // KMS takes a connect of a key store that is connected, and does nothing (ConnectCustomKeyStore).
                Err(SubmitError::Plan(PlanRefused::NothingToChange)) => Ok(None),
                Err(error) => Err(answer::not_submitted(&error)),
            }
        };
        Ok(self.gated(operation, caller, &digest, submit).await?.unwrap_or_else(|| json!({})))
    }

    /// Finds the request's update, or makes it, and waits until it can be answered; `None` if there is nothing to do.
    async fn gated(
        &self,
        operation: Operation,
        caller: &Caller<'_>,
        digest: &str,
        submit: impl AsyncFnOnce(Idempotency) -> Result<Option<Submitted>, Failure>,
    ) -> Result<Option<Value>, Failure> {
        let invocation = caller.invocation.as_deref();
        let record = match repeat::find(self, caller.credential, digest, invocation).await? {
            Same::Earlier(record) => *record,
            Same::New(idempotency) => match submit(idempotency).await? {
                None => return Ok(None),
                Some(submitted) => self.driver.get(submitted.id).await.map_err(|error| answer::not_read(&error))?,
            },
        };
        let record = self.when_due(operation, record).await?;
        if record.state.ending().is_some() {
            self.told.remember(record.id(), invocation);
        }
        answer::of(operation, &record).map(|()| Some(json!({})))
    }

    /// Follows the update until it can be answered.
    async fn when_due(&self, operation: Operation, mut record: UpdateRecord) -> Result<UpdateRecord, Failure> {
        let last = record.events.last().map_or(0, |recorded| recorded.sequence);
        let news = self.driver.events(record.id(), last).await.map_err(|error| answer::not_followed(&error))?;
        let mut news = pin!(news);
        while !answer::is_due(operation, &record) {
            let next = self.draining.run_until_cancelled(news.next()).await.flatten();
            let Some(next) = next else {
                let message = format!(
                    "this instance stops; the update goes on, and the same request finds it again; update /v1/updates/{}",
                    record.id()
                );
                return Err(Failure::internal(message));
            };
            let recorded = next.map_err(|error| answer::not_followed(&error))?;
            let state: Result<UpdateState, _> = record.state.apply(&recorded.event);
            record.state = state.map_err(|illegal| Failure::internal(illegal.to_string()))?;
            record.events.push(recorded);
        }
        Ok(record)
    }
}

/// Tells whether two requests of a credential are the same one.
fn digest(operation: Operation, caller: &Caller<'_>, parameters: &Map<String, Value>) -> String {
    // In the order of their names: what is sent in another order asks for the same.
    let mut sorted: Vec<(&String, &Value)> = parameters.iter().collect();
    sorted.sort_by_key(|(name, _)| *name);
    let request = Zeroizing::new(json!([operation.as_str(), sorted]).to_string());
    caller.credential.request_digest(request.as_bytes())
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
