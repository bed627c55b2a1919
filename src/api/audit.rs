//! The audit trail, and signed evidence of updates.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::Service;
use super::access::Admitted;
use super::problem::{Fault, Problem, ProblemDocument};
use super::updates::{AnyQuery, order_refused, parameters, update_id, visible};
use crate::audit::Line;
use crate::chain::Chain;
use crate::driver::OrderError;
use crate::journal::{JournalError, LinesWanted};
use crate::key_store::CustomKeyStoreId;
use crate::notary::EvidenceError;

/// Lines of the audit trail in their order. Those about key stores that the caller may not see come without their
/// contents, so that the chain can be verified all the same; with a filter they are left out.
#[utoipa::path(
    get, path = "/v1/audit", tag = "audit", operation_id = "listAudit",
    params(
        ("after" = Option<i64>, Query, minimum = 0, description = "Only lines with a greater number"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000, description = "At most so many, 1 to 1000; default 100"),
        ("key_store" = Option<String>, Query, pattern = "^[A-Za-z0-9_-]{1,64}$", description = "Only lines about this CustomKeyStoreId"),
        ("update" = Option<String>, Query, pattern = "^update-[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$", description = "Only lines about this update"),
        ("format" = Option<String>, Query, pattern = "^(json|jsonl)$", description = "json, or jsonl for JSON Lines; as Accept: application/x-ndjson"),
    ),
    responses(
        (status = 200, description = "Members lines, next (after= of the next page, or null at the end) and head (the last line of the whole trail, SEQUENCE:HASH); or the lines alone as JSON Lines", content(
            (Object = "application/json"),
            (String = "application/x-ndjson"),
        )),
        (status = "default", description = "Not answered as asked", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    Extension(admitted): Extension<Admitted>,
    headers: HeaderMap,
    query: AnyQuery,
) -> Result<Response, Problem> {
    let caller = admitted.each();
    let mut query = parameters(query, &["after", "limit", "key_store", "update", "format"])?;
    let wrong = |name: &str, detail: &str| {
        Problem::invalid(vec![Fault { pointer: format!("?{name}"), detail: detail.to_owned() }])
    };
    let number = |text: Option<String>, default: u64| text.map_or(Some(default), |text| text.parse::<u64>().ok());
    // Databases count lines in 63 bits.
    let after = number(query.remove("after"), 0).filter(|after| i64::try_from(*after).is_ok());
    let after = after.ok_or_else(|| wrong("after", "must be a whole number below 2^63"))?;
    let limit = number(query.remove("limit"), 100).filter(|limit| (1..=1_000).contains(limit));
    let limit = limit.ok_or_else(|| wrong("limit", "must be a whole number from 1 to 1000"))?;
    let key_store = query.remove("key_store").map(|text| CustomKeyStoreId::parse(&text)).transpose();
    let key_store = key_store.map_err(|invalid| wrong("key_store", invalid.rule))?;
    let update = query.remove("update").map(|text| update_id(&text)).transpose();
    let update = update.map_err(|_| wrong("update", "is not the id of an update"))?;
    let asked = query.remove("format");
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let jsonl = match asked.as_deref() {
        None => accepts.contains("application/x-ndjson"),
        Some("json") => false,
        Some("jsonl") => true,
        Some(_) => return Err(wrong("format", "must be json or jsonl")),
    };
    let filtered = key_store.is_some() || update.is_some();
    let limit = usize::try_from(limit).unwrap_or(1_000);
    let wanted = LinesWanted { after, limit, key_store, update };
    let trail = service.notary.trail();
    let stored = trail.lines(&wanted).await.map_err(failed)?;
    let shown = stored.iter().filter_map(|text| shown(&service, caller, text, filtered));
    if jsonl {
        let lines: String = shown.flat_map(|text| [text, "\n".to_owned()]).collect();
        return Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response());
    }
    let head = trail.head().await.map_err(failed)?;
    let sequence = |text: &String| Line::parse(text).ok().map(|line| line.sequence);
    let next = stored.last().filter(|_| stored.len() == limit).and_then(sequence);
    // What was damaged cannot be JSON any more, and is shown as it is.
    let lines: Vec<Value> = shown.map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text))).collect();
    Ok(Json(json!({ "lines": lines, "next": next, "head": head.to_string() })).into_response())
}

/// A line as the caller may see it.
pub(crate) fn shown(service: &Service, caller: &Admitted, text: &str, filtered: bool) -> Option<String> {
    let Ok(line) = Line::parse(text) else {
        // Whoever may see everything sees what is damaged, too.
        return caller.sees_all().then(|| text.to_owned());
    };
    let about = line.entry.as_ref().and_then(|entry| entry.key_store.as_ref());
    if about.map_or_else(|| caller.sees_all(), |id| caller.sees(service, id)) {
        return Some(text.to_owned());
    }
    (!filtered).then(|| line.withheld().to_string())
}

/// The public key that verifies evidence.
#[utoipa::path(
    get, path = "/v1/audit/key", tag = "audit", operation_id = "getAuditKey",
    responses(
        (status = 200, description = "Members algorithm (Ed25519), key_id (SHA-256 of the SubjectPublicKeyInfo) and public_key (PEM)", body = Object),
        (status = "default", description = "Not answered as asked", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn key(State(service): State<Arc<Service>>) -> Result<Json<Value>, Problem> {
    let key = service.notary.public_key().ok_or_else(|| no_evidence(&EvidenceError::NoSigningKey))?;
    Ok(Json(json!({ "algorithm": "Ed25519", "key_id": key.id(), "public_key": key.pem() })))
}

/// Everything about one update, signed: plan, events, reports, approvals, KMS's answers and its lines of the audit
/// trail. An envelope after DSSE; verify it with `xks-preflight audit verify-evidence`.
#[utoipa::path(
    get, path = "/v1/updates/{id}/evidence", tag = "audit", operation_id = "getEvidence",
    params(("id" = String, Path, description = "The update's id")),
    responses(
        (status = 200, description = "Members payloadType, payload (base64) and signatures", body = Object),
        (status = "default", description = "Not answered as asked", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn evidence(
    State(service): State<Arc<Service>>,
    Extension(admitted): Extension<Admitted>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let record = visible(&service, &admitted, &id).await?;
    let envelope = service.notary.evidence(record.events.clone()).await.map_err(|error| no_evidence(&error))?;
    Ok(Json(envelope).into_response())
}

fn no_evidence(error: &EvidenceError) -> Problem {
    let detail = Chain(error).to_string();
    match error {
        EvidenceError::NoSigningKey => Problem::new(StatusCode::CONFLICT, "no_signing_key", detail),
        EvidenceError::TooLong => Problem::new(StatusCode::CONFLICT, "evidence_too_long", detail),
        EvidenceError::Unreadable(_) => Problem::new(StatusCode::CONFLICT, "audit_trail_damaged", detail),
        EvidenceError::Journal(_) => {
            tracing::error!(error = detail, "evidence cannot be put together");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "journal", detail)
        }
        EvidenceError::Coding(_) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail),
    }
}

pub(crate) fn failed(error: JournalError) -> Problem {
    order_refused(&OrderError::Journal(error))
}
