//! Freezes: stopping the beginning of changes for a time, and lifting that again.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::access::{Admitted, Authorized};
use super::body::{self, Members};
use super::problem::{Fault, Problem, ProblemDocument};
use super::schema::{FreezeBody, Freezes};
use super::updates::{AnyQuery, order_refused, parameters};
use super::{Service, request};
use crate::clock::Timestamp;
use crate::driver::OrderError;
use crate::journal::JournalError;
use crate::key_store::CustomKeyStoreId;
use crate::update::Freeze;

/// A freeze in force.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FreezeView {
    /// `CustomKeyStoreId`; null means every key store.
    key_store: Option<String>,
    /// Why.
    reason: String,
    /// Who froze it.
    by: String,
    /// RFC 3339.
    since: String,
    /// When it ends by itself, RFC 3339; null means when somebody lifts it.
    until: Option<String>,
}

impl From<&Freeze> for FreezeView {
    fn from(freeze: &Freeze) -> Self {
        Self {
            key_store: freeze.key_store.as_ref().map(ToString::to_string),
            reason: freeze.reason.clone(),
            by: freeze.by.clone(),
            since: freeze.since.to_string(),
            until: freeze.until.map(|until| until.to_string()),
        }
    }
}

/// The freezes in force.
#[utoipa::path(
    get, path = "/v1/freeze", tag = "freezes", operation_id = "listFreezes",
    responses(
        (status = 200, description = "Member freezes: each with key_store (null: every one), reason, by, since and until (null: until it is lifted)", body = Freezes),
        (status = "default", description = "Not answered as asked", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    Extension(admitted): Extension<Admitted>,
) -> Result<Json<Value>, Problem> {
    let freezes = in_force(&service, &admitted).await?;
    let freezes: Vec<_> = freezes.iter().map(FreezeView::from).collect();
    Ok(Json(json!({ "freezes": freezes })))
}

/// The freezes in force that the caller may be told of.
pub(crate) async fn in_force(service: &Service, admitted: &Admitted) -> Result<Vec<Freeze>, Problem> {
    let mut freezes = service.driver.freezes().await.map_err(journal)?;
    let caller = admitted.each();
    // One of every key store is everybody's.
    freezes.retain(|freeze| freeze.key_store.as_ref().is_none_or(|id| caller.sees(service, id)));
    Ok(freezes)
}

/// Stops the beginning of changes, of one key store or of all, in place of an earlier freeze of the same. What has begun
/// is seen through or taken back all the same.
#[utoipa::path(
    post, path = "/v1/freeze", tag = "freezes", operation_id = "freeze",
    request_body(content = FreezeBody, description = "reason; key_store: a CustomKeyStoreId, absent means every one; until: when it ends by itself, RFC 3339"),
    responses(
        (status = 201, description = "In force", body = FreezeView),
        (status = "default", description = "Not answered as asked", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn set(
    State(service): State<Arc<Service>>,
    Extension(admitted): Extension<Admitted>,
    request: Request,
) -> Result<Response, Problem> {
    let (_, map) = body::received(&service, &admitted, request).await?;
    let freeze = impose(&service, &admitted, map).await?;
    Ok((StatusCode::CREATED, Json(FreezeView::from(&freeze))).into_response())
}

/// Begins a freeze, if the caller may.
pub(crate) async fn impose(service: &Service, admitted: &Admitted, map: Map<String, Value>) -> Result<Freeze, Problem> {
    let since = service.clock.now();
    let mut faults = Vec::new();
    let mut members = Members::new(map, &mut faults);
    let key_store = members.text("key_store", CustomKeyStoreId::parse);
    let reason = members.required("reason", request::reason);
    let until = members.text("until", |text| match Timestamp::parse(text) {
        Ok(until) if until > since => Ok(until),
        Ok(_) => Err("must be in the future"),
        Err(_) => Err("must be an RFC 3339 time, for example 2027-01-31T00:00:00Z"),
    });
    members.finish();
    let Some(reason) = reason.filter(|_| faults.is_empty()) else { return Err(Problem::invalid(faults)) };
    let by = authorize(service, admitted, key_store.as_ref())?.by;
    let freeze = Freeze { key_store, reason, by, since, until };
    service.driver.freeze(&freeze).await.map_err(journal)?;
    Ok(freeze)
}

/// Lifts a freeze before its time. One of every key store and one of a single key store are lifted each for itself.
#[utoipa::path(
    delete, path = "/v1/freeze", tag = "freezes", operation_id = "liftFreeze",
    params(("key_store" = Option<String>, Query, pattern = "^[A-Za-z0-9_-]{1,64}$", description = "CustomKeyStoreId; absent means the freeze of every key store")),
    responses(
        (status = 200, description = "The freeze that was lifted", body = FreezeView),
        (status = 404, description = "not_frozen: there was none", body = ProblemDocument, content_type = "application/problem+json"),
        (status = "default", description = "Not answered as asked", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn lift(
    State(service): State<Arc<Service>>,
    Extension(admitted): Extension<Admitted>,
    query: AnyQuery,
) -> Result<Json<FreezeView>, Problem> {
    let key_store = parameters(query, &["key_store"])?.remove("key_store");
    let lifted = end(&service, &admitted, key_store.as_deref()).await?;
    Ok(Json(FreezeView::from(&lifted)))
}

/// Lifts the freeze of this key store, or the one of all, if the caller may.
pub(crate) async fn end(service: &Service, admitted: &Admitted, key_store: Option<&str>) -> Result<Freeze, Problem> {
    let key_store = key_store.map(CustomKeyStoreId::parse).transpose().map_err(|invalid| {
        Problem::invalid(vec![Fault { pointer: "?key_store".to_owned(), detail: invalid.rule.to_owned() }])
    })?;
    let by = authorize(service, admitted, key_store.as_ref())?.by;
    let lifted = service.driver.lift(key_store.as_ref(), &by).await.map_err(journal)?;
    lifted.ok_or_else(|| {
        let of = key_store.map_or_else(|| "every key store".to_owned(), |id| id.to_string());
        Problem::new(StatusCode::NOT_FOUND, "not_frozen", format!("no freeze of {of} is in force; see GET /v1/freeze"))
    })
}

fn authorize(service: &Service, admitted: &Admitted, on: Option<&CustomKeyStoreId>) -> Result<Authorized, Problem> {
    on.map_or_else(|| admitted.on_all(service), |id| admitted.on(service, id))
}

fn journal(error: JournalError) -> Problem {
    order_refused(&OrderError::Journal(error))
}
