//! Gates for tools that roll out proxies by themselves: may this candidate be what KMS talks to?
//!
//! Both ask for a pre-flight and change nothing. A body is a flat object of texts and holds no secret, because it stands
//! in a manifest. Nothing but `ready` passes.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::Service;
use super::access::Admitted;
use super::body;
use super::preflights::examine;
use super::problem::{Fault, Problem, ProblemDocument};
use super::schema::{GateBody, StatusBody};
use super::updates::{AnyQuery, parameters};
use crate::check::{Report, Verdict};
use crate::key_store::KmsException;
use crate::render;

/// The members of a candidate, in KMS's own names; a credential only by its name in the configuration.
const MEMBERS: [&str; 8] = [
    "CustomKeyStoreId",
    "XksProxyUriEndpoint",
    "XksProxyUriPath",
    "XksProxyConnectivity",
    "XksProxyVpcEndpointServiceName",
    "XksProxyVpcEndpointServiceOwner",
    "Region",
    SOURCE,
];
const SOURCE: &str = "CredentialSource";

/// What an analysis gives.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Analysis {
    /// Whether the candidate may be used: `pass` if its pre-flight is ready, `fail` if it is blocked, else
    /// `inconclusive`, which is not to be taken for either.
    result: GateResult,
    /// The report's id; see `GET /v1/preflights/{id}`.
    report: String,
    /// The first check in the way of `pass`.
    check: Option<&'static str>,
    /// What KMS would raise.
    exception: Option<&'static str>,
    /// For people.
    detail: String,
}

/// The three values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum GateResult {
    Pass,
    Fail,
    Inconclusive,
}

impl From<&Report> for Analysis {
    fn from(report: &Report) -> Self {
        let result = match report.verdict() {
            Verdict::Ready => GateResult::Pass,
            Verdict::Blocked => GateResult::Fail,
            Verdict::Inconclusive => GateResult::Inconclusive,
        };
        let finding = report.not_ready();
        let problem = finding.and_then(|finding| finding.outcome.problem());
        let verdict = report.verdict().as_str();
        let found = match (finding, problem) {
            (Some(finding), Some(problem)) => format!(" {}: {};", finding.check.id, problem.detail),
            (Some(finding), None) => format!(" {} could not be told;", finding.check.id),
            (None, _) => String::new(),
        };
        let exception = report.decisive().and_then(|finding| finding.kms.as_ref()?.exception);
        Self {
            result,
            report: report.id.to_string(),
            check: finding.map(|finding| finding.check.id),
            exception: exception.map(KmsException::as_str),
            detail: format!("{verdict}:{found} {}", render::json::kms_message(report)),
        }
    }
}

/// The status alone tells, for webhooks such as Flagger's: 200 if the candidate's pre-flight is ready, and nothing else.
/// What Flagger sends is taken as it is; the candidate is in its metadata.
#[utoipa::path(
    post, path = "/v1/gates/status", tag = "gates", operation_id = "askGate",
    request_body(content = StatusBody, description = "A candidate, or an object with one under metadata, whose other members are the caller's own. CustomKeyStoreId: of a key store, which the candidate changes; without it the candidate stands for itself"),
    responses(
        (status = 200, description = "Ready", body = String, content_type = "text/plain"),
        (status = 412, description = "gate_blocked: the pre-flight is blocked", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 424, description = "gate_inconclusive: it could not be told; ask again", body = ProblemDocument, content_type = "application/problem+json"),
        (status = "default", description = "Not answered as asked", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("bearer" = []), ("mutual_tls" = []), ("basic" = [])),
)]
pub(super) async fn status(
    State(service): State<Arc<Service>>,
    Extension(admitted): Extension<Admitted>,
    query: AnyQuery,
    request: Request,
) -> Result<Response, Problem> {
    let report = judged(&service, &admitted, query, request).await?;
    let Analysis { result, detail, report, .. } = Analysis::from(&*report);
    let told = format!("{detail}; see GET /v1/preflights/{report}");
    match result {
        GateResult::Pass => {
            Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{told}\n")).into_response())
        }
        GateResult::Fail => Err(Problem::new(StatusCode::PRECONDITION_FAILED, "gate_blocked", told)),
        GateResult::Inconclusive => Err(Problem::new(StatusCode::FAILED_DEPENDENCY, "gate_inconclusive", told)),
    }
}

/// One of three values, for analyses such as Argo's: `pass`, `fail` or `inconclusive`.
#[utoipa::path(
    post, path = "/v1/gates/analysis", tag = "gates", operation_id = "analyse",
    request_body(content = GateBody, description = "A candidate. CustomKeyStoreId: of a key store, which the candidate changes; without it the candidate stands for itself"),
    responses(
        (status = 200, description = "Judged, whatever the result", body = Analysis),
        (status = "default", description = "Not answered as asked: no result, so nothing passes", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("bearer" = []), ("mutual_tls" = []), ("basic" = [])),
)]
pub(super) async fn analysis(
    State(service): State<Arc<Service>>,
    Extension(admitted): Extension<Admitted>,
    query: AnyQuery,
    request: Request,
) -> Result<Json<Analysis>, Problem> {
    let report = judged(&service, &admitted, query, request).await?;
    Ok(Json(Analysis::from(&*report)))
}

async fn judged(
    service: &Service,
    admitted: &Admitted,
    query: AnyQuery,
    request: Request,
) -> Result<Arc<Report>, Problem> {
    parameters(query, &[])?;
    let (_, map) = body::received(service, admitted, request).await?;
    examine(service, admitted, candidate(map)?, None).await
}

/// The body of a pre-flight of this candidate.
fn candidate(mut map: Map<String, Value>) -> Result<Map<String, Value>, Problem> {
    // Whatever else a webhook says of itself is its own.
    let (map, at) = match map.remove("metadata") {
        Some(Value::Object(metadata)) => (metadata, "/metadata"),
        Some(_) => {
            let fault = Fault { pointer: "/metadata".to_owned(), detail: "must be an object".to_owned() };
            return Err(Problem::invalid(vec![fault]));
        }
        None => (map, ""),
    };
    let fault = |(name, value): (&String, &Value)| {
        let detail = match value {
            _ if !MEMBERS.contains(&name.as_str()) => {
                format!("is not a member that is known here: {}", MEMBERS.join(", "))
            }
            Value::String(_) | Value::Null => return None,
            _ => "must be a string".to_owned(),
        };
        let shown = if MEMBERS.contains(&name.as_str()) { name } else { "(another)" };
        Some(Fault { pointer: format!("{at}/{shown}"), detail })
    };
    let faults: Vec<Fault> = map.iter().filter_map(fault).collect();
    if !faults.is_empty() {
        return Err(Problem::invalid(faults));
    }
    let mut map = map;
    if let Some(source) = map.remove(SOURCE).filter(|source| !source.is_null()) {
        map.insert("XksProxyAuthenticationCredential".to_owned(), json!({ "Source": source }));
    }
    if map.contains_key("CustomKeyStoreId") {
        // Nothing is disconnected by looking.
        map.insert("options".to_owned(), json!({ "acknowledge_outage": true }));
    }
    Ok(map)
}
