//! Errors as `application/problem+json` (RFC 9457): a stable `type`, a machine-readable `reason`, and a `detail` that
//! says what to do.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::key_store::CustomKeyStoreId;

const NO_SUCH_PATH: &str = "no_such_path";

/// One fault of a request body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Fault {
    /// Where, as a JSON pointer (RFC 6901) into the body; of a configuration file the key.
    pub(crate) pointer: String,
    /// What is wrong there; never the value, which may be a secret.
    pub(crate) detail: String,
}

/// A problem document.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct ProblemDocument {
    /// `urn:xks-preflight:problem:` and the reason.
    #[serde(rename = "type")]
    kind: String,
    /// The status in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// For programs.
    reason: &'static str,
    /// For people: what happened and what to do.
    detail: String,
    /// The path that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    /// All faults of the body at once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Fault>,
    /// The update that stands in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    update: Option<String>,
    /// When what stands in the way ends by itself, RFC 3339; absent if it does not, or if nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

/// Why a request is not answered as asked.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    document: Box<ProblemDocument>,
    retry_after: Option<Duration>,
    challenge: bool,
    about: Option<CustomKeyStoreId>,
}

impl Problem {
    /// A problem; `reason` is a word for programs and never changes its meaning.
    pub(crate) fn new(status: StatusCode, reason: &'static str, detail: impl Into<String>) -> Self {
        let document = ProblemDocument {
            kind: format!("urn:xks-preflight:problem:{reason}"),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            reason,
            detail: detail.into(),
            instance: None,
            errors: Vec::new(),
            update: None,
            until: None,
        };
        Self { status, document: Box::new(document), retry_after: None, challenge: false, about: None }
    }

    /// 422 with every fault of the body.
    pub(crate) fn invalid(errors: Vec<Fault>) -> Self {
        let count = errors.len();
        let plural = if count == 1 { "fault" } else { "faults" };
        let detail = format!("the body has {count} {plural}; each is named under errors");
        let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body", detail);
        problem.document.errors = errors;
        problem
    }

    /// 422 with every fault of the configuration file.
    pub(super) fn faulty_configuration(detail: String, errors: Vec<Fault>) -> Self {
        let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_configuration", detail);
        problem.document.errors = errors;
        problem
    }

    /// 404 for a path that leads nowhere.
    pub(crate) fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, NO_SUCH_PATH, "nothing is served under this path; see /openapi.json")
    }

    /// Whether the path leads nowhere.
    pub(crate) fn is_no_such_path(&self) -> bool {
        self.document.reason == NO_SUCH_PATH
    }

    /// What happened, for people.
    pub(crate) fn detail(&self) -> &str {
        &self.document.detail
    }

    /// Says which key store it is about, for the audit trail.
    #[must_use]
    pub(super) fn on(mut self, key_store: Option<&CustomKeyStoreId>) -> Self {
        self.about = key_store.cloned();
        self
    }

    /// After how long to ask again.
    pub(crate) fn pause(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Every fault of what was sent.
    pub(crate) fn faults(&self) -> &[Fault] {
        &self.document.errors
    }

    /// The key store that it is about, where that is known.
    pub(super) fn about(&self) -> Option<&CustomKeyStoreId> {
        self.about.as_ref()
    }

    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The word for programs.
    pub(crate) fn reason(&self) -> &'static str {
        self.document.reason
    }

    /// Adds when to ask again.
    #[must_use]
    pub(super) fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    /// Adds how to authenticate.
    #[must_use]
    pub(super) fn challenge(mut self) -> Self {
        self.challenge = true;
        self
    }

    /// Tells when what stands in the way ends.
    #[must_use]
    pub(super) fn until(mut self, until: Option<Timestamp>) -> Self {
        self.document.until = until.map(|until| until.to_string());
        self
    }

    /// Names the update that stands in the way.
    #[must_use]
    pub(super) fn update(mut self, id: &impl ToString) -> Self {
        self.document.update = Some(id.to_string());
        self
    }
}

impl IntoResponse for Problem {
    /// The body is written by [`finish`], which knows the request.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes problem documents, and makes one of every error that came about without: by the framework, or by a handler
/// that panicked half-way.
pub(super) async fn finish(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    let status = response.status();
    let problem = response.extensions_mut().remove::<Problem>();
    if problem.is_none() && !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let mut problem = problem.unwrap_or_else(|| unnamed(status));
    problem.document.instance = Some(path.chars().take(256).collect());
    let body = serde_json::to_vec(&*problem.document).unwrap_or_default();
    *response.body_mut() = Body::from(body);
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(pause) = problem.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(pause.as_secs().max(1)));
    }
    if problem.challenge {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"xks-preflight\""));
    }
    // For whoever has another form of it for people.
    response.extensions_mut().insert(problem);
    response
}

fn unnamed(status: StatusCode) -> Problem {
    match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            Problem::new(status, "method_not_allowed", "the path does not take this method; see Allow")
        }
        StatusCode::NOT_FOUND => Problem::no_such_path(),
        _ if status.is_server_error() => Problem::new(status, "internal", "a fault of this program; its logs say more"),
        _ => Problem::new(status, "malformed_request", "the request cannot be read"),
    }
}
