//! Updates: asking for one, looking at it, stopping it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};

use super::access::{Admitted, Authorized};
use super::precondition::{self, etag};
use super::problem::{Fault, Problem, ProblemDocument};
use super::request::{self, Asked};
use super::schema::{ChangeBody, SubmitAnswer, UpdateOptions, Updates};
use super::view::{self, Barred, UpdateView};
use super::{Service, approvals, body, preflights};
use crate::access::Permission;
use crate::chain::Chain;
use crate::driver::{Extra, GivenCredential, OrderError, SubmitError, Submitted, UpdateRecord, UpdateRequest};
use crate::id::UpdateId;
use crate::journal::{Idempotency, JournalError};
use crate::key_store::{CustomKeyStoreId, Place};
use crate::kms::KmsError;
use crate::metrics::Denial;
use crate::monitor::WatchedCandidate;
use crate::render;
use crate::update::PlanRefused;

/// How many pages of updates are looked through for those that a caller may see.
const PAGES: usize = 20;

/// The query of a request; unknown parameters are refused.
pub(super) type AnyQuery = Result<Query<BTreeMap<String, String>>, QueryRejection>;

/// The query `?CustomKeyStoreId=`.
pub(super) type KeyStoreQuery = AnyQuery;

/// Plans, pre-flights and carries out an update; with `dry_run` it stops after the plan and its pre-flight.
#[utoipa::path(
    post, path = "/v1/updates", tag = "updates", operation_id = "submitUpdate",
    params(
        ("CustomKeyStoreId" = Option<String>, Query, pattern = "^[A-Za-z0-9_-]{1,64}$", description = "Of a console file that is posted as it is"),
        ("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,255}$", description = "A repeated request with this key finds the same update"),
    ),
    request_body(content = ChangeBody<UpdateOptions>, description = "KMS's own member names: CustomKeyStoreId, NewCustomKeyStoreName, XksProxyUriEndpoint, XksProxyUriPath, XksProxyConnectivity, XksProxyVpcEndpointServiceName, XksProxyVpcEndpointServiceOwner, XksProxyAuthenticationCredential (AccessKeyId and RawSecretAccessKey, or Source), KeyStorePassword, CloudHsmClusterId; options: dry_run, acknowledge_outage, connect, rotate (true: the credential alone changes, and the former one is proven refused in the end), propagation_seconds (of a rotation: 300 or more), break_glass (reason), former_credential, former_password"),
    responses(
        (status = 202, description = "Taken; Location leads to it", body = UpdateView),
        (status = 200, description = "The update that the same request made before, or for a dry run members plan, report, and barred: what would keep it from its first mutation now, or null", body = SubmitAnswer),
        (status = "default", description = "Not answered as asked", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn submit(
    State(service): State<Arc<Service>>,
    Extension(admitted): Extension<Admitted>,
    query: KeyStoreQuery,
    request: Request,
) -> Result<Response, Problem> {
    let key = match request.headers().get("idempotency-key") {
        None => None,
        Some(value) => Some(request::idempotency_key(admitted.name(), value.to_str().unwrap_or_default())?),
    };
    let (key_store, map) = read(&service, &admitted, query, request).await?;
    let (request, dry_run) = wanted(&service, &admitted, map, key_store, key)?;
    if dry_run {
        let plan = service.driver.plan(&request).await.map_err(|error| refused(&service, error))?;
        let report = preflights::planned(&service, &plan, &request, &Extra::default()).await?;
        let report = render::json::report(&report);
        let barred = service.driver.would_be_barred(&plan).await;
        let barred = barred.map_err(|error| order_refused(&OrderError::Journal(error)))?;
        let barred = barred.map(|denied| Barred::of(&denied, &plan));
        return Ok(Json(json!({ "plan": view::plan(&plan), "report": report, "barred": barred })).into_response());
    }
    let submitted = service.driver.submit(request).await.map_err(|error| refused(&service, error))?;
    let record = service.driver.get(submitted.id).await.map_err(|error| order_refused(&error))?;
    let status = if submitted.existing { StatusCode::OK } else { StatusCode::ACCEPTED };
    let location = format!("/v1/updates/{}", submitted.id);
    let headers = [(header::LOCATION, HeaderValue::try_from(location).ok()), (header::ETAG, Some(etag(&record)))];
    let headers: HeaderMap = headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    Ok((status, headers, Json(UpdateView::from(&*record))).into_response())
}

/// What is asked for, if the caller may ask for it, and whether for a plan only.
fn wanted(
    service: &Service,
    admitted: &Admitted,
    map: Map<String, Value>,
    key_store: Option<CustomKeyStoreId>,
    key: Option<String>,
) -> Result<(UpdateRequest, bool), Problem> {
    let asked = request::change(map, key_store)?;
    let authorized = authorize(service, admitted, &asked)?;
    if asked.options.break_glass.is_some() {
        admitted.also(service, Permission::BreakGlass, &asked.key_store)?;
    }
    let idempotency = key.map(|key| Idempotency { key, request_digest: asked.digest.clone() });
    Ok((update_request(service, &asked, &authorized, idempotency), asked.dry_run))
}

/// Begins an update, if the caller may.
pub(crate) async fn ask(service: &Service, admitted: &Admitted, map: Map<String, Value>) -> Result<Submitted, Problem> {
    let (request, _) = wanted(service, admitted, map, None, None)?;
    service.driver.submit(request).await.map_err(|error| refused(service, error))
}

/// Updates of the key stores that the caller may see, newest first.
#[utoipa::path(
    get, path = "/v1/updates", tag = "updates", operation_id = "listUpdates",
    params(
        ("before" = Option<String>, Query, pattern = "^update-[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$", description = "Only updates older than this one"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 100, description = "At most so many, 1 to 100; default 20"),
    ),
    responses(
        (status = 200, description = "Member updates", body = Updates),
        (status = "default", description = "Not answered as asked", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    Extension(admitted): Extension<Admitted>,
    query: AnyQuery,
) -> Result<Json<Value>, Problem> {
    let mut query = parameters(query, &["before", "limit"])?;
    let wrong = |name: &str, detail: &str| {
        Problem::invalid(vec![Fault { pointer: format!("?{name}"), detail: detail.to_owned() }])
    };
    let before = query.remove("before").map(|text| UpdateId::parse(&text)).transpose();
    let before = before.map_err(|_| wrong("before", "is not the id of an update"))?;
    let limit = query.remove("limit").map_or(Some(20), |text| text.parse().ok().filter(|n| (1..=100).contains(n)));
    let limit = limit.ok_or_else(|| wrong("limit", "must be a whole number from 1 to 100"))?;
    let records = latest(&service, &admitted, before, limit).await?;
    let views: Vec<_> = records.iter().map(|record| UpdateView::from(&**record)).collect();
    Ok(Json(json!({ "updates": views })))
}

/// Updates that the caller may see, newest first.
pub(crate) async fn latest(
    service: &Service,
    admitted: &Admitted,
    mut before: Option<UpdateId>,
    limit: usize,
) -> Result<Vec<Arc<UpdateRecord>>, Problem> {
    let caller = admitted.each();
    let mut seen: Vec<Arc<UpdateRecord>> = Vec::new();
    // Pages are filled with what the caller may see, within bounds: one update among very many may need a second request.
    for _ in 0..PAGES {
        let records = service.driver.list(before, limit).await.map_err(|error| order_refused(&error))?;
        before = records.last().map(|record| record.id()).or(before);
        let more = records.len() == limit;
        let shown = records.into_iter().filter(|record| caller.sees_update(service, record.state.plan()));
        seen.extend(shown.take(limit - seen.len()));
        if !more || seen.len() == limit {
            break;
        }
    }
    Ok(seen)
}

/// One update.
#[utoipa::path(
    get, path = "/v1/updates/{id}", tag = "updates", operation_id = "getUpdate",
    params(("id" = String, Path, description = "The update's id")),
    responses(
        (status = 200, description = "The update; its ETag serves for If-Match", body = UpdateView),
        (status = "default", description = "Not answered as asked", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn one(
    State(service): State<Arc<Service>>,
    Extension(admitted): Extension<Admitted>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let record = visible(&service, &admitted, &id).await?;
    let barred = service.driver.barred(&record).await.map_err(|error| order_refused(&OrderError::Journal(error)))?;
    let mut view = UpdateView::from(&*record);
    view.waiting_for = barred.map(|denied| denied.to_string());
    Ok(([(header::ETAG, etag(&record))], Json(view)).into_response())
}

/// Ends an update that has changed nothing yet.
#[utoipa::path(
    post, path = "/v1/updates/{id}/cancel", tag = "updates", operation_id = "cancelUpdate",
    params(
        ("id" = String, Path, description = "The update's id"),
        ("If-Match" = Option<String>, Header, description = "The ETag of the update as it was looked at"),
    ),
    responses(
        (status = 202, description = "Recorded; the update ends abandoned", body = UpdateView),
        (status = "default", description = "Not answered as asked", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn cancel(
    State(service): State<Arc<Service>>,
    Extension(admitted): Extension<Admitted>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (id, authorized) = order(&service, &admitted, &id).await?;
    service
        .driver
        .cancel(id, &authorized.by, precondition::seen(&headers)?)
        .await
        .map_err(|error| order_refused(&error))?;
    taken(&service, id).await
}

/// Takes an update that has begun back to the former settings.
#[utoipa::path(
    post, path = "/v1/updates/{id}/rollback", tag = "updates", operation_id = "rollBackUpdate",
    params(
        ("id" = String, Path, description = "The update's id"),
        ("If-Match" = Option<String>, Header, description = "The ETag of the update as it was looked at"),
    ),
    responses(
        (status = 202, description = "Recorded; the former settings are being restored", body = UpdateView),
        (status = "default", description = "Not answered as asked", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn rollback(
    State(service): State<Arc<Service>>,
    Extension(admitted): Extension<Admitted>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (id, authorized) = order(&service, &admitted, &id).await?;
    service
        .driver
        .rollback(id, &authorized.by, precondition::seen(&headers)?)
        .await
        .map_err(|error| order_refused(&error))?;
    taken(&service, id).await
}

/// Tells that the former credential of a rotation is removed at the proxy: the daemon looks at once.
#[utoipa::path(
    post, path = "/v1/updates/{id}/removed", tag = "updates", operation_id = "reportRemoval",
    params(
        ("id" = String, Path, description = "The id of an update with options.rotate, in step await_removal or prove_refused"),
        ("If-Match" = Option<String>, Header, description = "The ETag of the update as it was looked at"),
    ),
    responses(
        (status = 202, description = "Recorded; whether it is true is being proven", body = UpdateView),
        (status = "default", description = "Not answered as asked", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn removed(
    State(service): State<Arc<Service>>,
    Extension(admitted): Extension<Admitted>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (id, authorized) = order(&service, &admitted, &id).await?;
    service
        .driver
        .removed(id, &authorized.by, precondition::seen(&headers)?)
        .await
        .map_err(|error| order_refused(&error))?;
    taken(&service, id).await
}

/// The update of this id, if the caller may see it: one that it may not see is as good as not there.
pub(crate) async fn visible(service: &Service, admitted: &Admitted, id: &str) -> Result<Arc<UpdateRecord>, Problem> {
    let record = service.driver.get(update_id(id)?).await.map_err(|error| order_refused(&error))?;
    if admitted.sees_update(service, record.state.plan()) { Ok(record) } else { Err(no_such_update()) }
}

/// The update that the caller wants something of, and that it may: by the update's key store.
pub(crate) async fn order(service: &Service, admitted: &Admitted, id: &str) -> Result<(UpdateId, Authorized), Problem> {
    let record = visible(service, admitted, id).await?;
    let authorized = admitted.on(service, &record.state.plan().key_store)?;
    Ok((record.id(), authorized))
}

/// Whether the caller may ask for this: on the key store, under a name that it is to get, and with a credential that is
/// another key store's.
pub(super) fn authorize(service: &Service, admitted: &Admitted, asked: &Asked) -> Result<Authorized, Problem> {
    let authorized = admitted.on(service, &asked.key_store)?;
    if let Some(name) = &asked.change.name {
        admitted.under(service, &asked.key_store, Some(name))?;
    }
    if let Some(GivenCredential::Configured(name)) = &asked.credential {
        may_be_given(service, admitted, &asked.key_store, name)?;
    }
    Ok(authorized)
}

/// Whether the caller may give this configured credential to the key store: it has it, the configuration says so or plans
/// it (a candidate), or the caller may change a key store that has it. Anybody's else is a matter of all: its secret would go to KMS, and signatures
/// with it to a proxy of the caller's choice.
fn may_be_given(service: &Service, admitted: &Admitted, to: &CustomKeyStoreId, name: &str) -> Result<(), Problem> {
    let surroundings = service.surroundings.get();
    let scoped = service.scoped_name_of(to);
    if surroundings.given_to.get(name).is_some_and(|scope| scope.covers(to, scoped.as_ref())) {
        return Ok(());
    }
    let plans_it = |candidate: &WatchedCandidate| candidate.credential.as_deref() == Some(name);
    if service.monitor.watched(to).is_some_and(|store| store.candidates.iter().any(plans_it)) {
        return Ok(());
    }
    let has_it = |id: &CustomKeyStoreId| {
        service.monitor.watched(id).is_some_and(|store| store.credential.as_deref() == Some(name))
    };
    let sightings = service.monitor.sightings();
    let mut owners = sightings.iter().map(|sighting| &sighting.id).filter(|id| has_it(id)).peekable();
    if let Some(first) = owners.peek().copied() {
        let may = owners.any(|id| id == to || admitted.may(service, id));
        return if may { Ok(()) } else { admitted.on(service, first).map(drop) };
    }
    let is_lent = |place: &Place| surroundings.lent.get(place).is_some_and(|names| names.contains(name));
    if service.monitor.place_of(to).is_some_and(is_lent) { Ok(()) } else { admitted.on_all(service).map(drop) }
}

pub(super) async fn taken(service: &Service, id: UpdateId) -> Result<Response, Problem> {
    let record = service.driver.get(id).await.map_err(|error| order_refused(&error))?;
    Ok((StatusCode::ACCEPTED, [(header::ETAG, etag(&record))], Json(UpdateView::from(&*record))).into_response())
}

/// Query and body of a request that may carry a console file.
pub(super) async fn read(
    service: &Service,
    admitted: &Admitted,
    query: KeyStoreQuery,
    request: Request,
) -> Result<(Option<CustomKeyStoreId>, Map<String, Value>), Problem> {
    let id = parameters(query, &["CustomKeyStoreId"])?.remove("CustomKeyStoreId");
    let id = id.map(|text| CustomKeyStoreId::parse(&text)).transpose().map_err(|invalid| {
        Problem::invalid(vec![Fault { pointer: "?CustomKeyStoreId".to_owned(), detail: invalid.rule.to_owned() }])
    })?;
    let (_, map) = body::received(service, admitted, request).await?;
    Ok((id, map))
}

pub(super) fn parameters(query: AnyQuery, known: &[&str]) -> Result<BTreeMap<String, String>, Problem> {
    let Query(query) =
        query.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "malformed_query", "the query cannot be read"))?;
    let unknown: Vec<Fault> = query
        .keys()
        .filter(|name| !known.contains(&name.as_str()))
        .map(|name| Fault {
            pointer: format!("?{}", name.chars().take(40).collect::<String>()),
            detail: format!("is not known here; known: {}", known.join(", ")),
        })
        .collect();
    if unknown.is_empty() { Ok(query) } else { Err(Problem::invalid(unknown)) }
}

pub(crate) fn update_id(text: &str) -> Result<UpdateId, Problem> {
    UpdateId::parse(text).map_err(|_| no_such_update())
}

fn no_such_update() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no_such_update", "no update of this id is recorded; see GET /v1/updates")
}

pub(super) fn update_request(
    service: &Service,
    asked: &Asked,
    authorized: &Authorized,
    idempotency: Option<Idempotency>,
) -> UpdateRequest {
    let mut options = asked.options.clone();
    // Where nobody has to say it, everybody has said it.
    options.acknowledge_outage |= !service.driver.outage_must_be_acknowledged();
    UpdateRequest {
        key_store: asked.key_store.clone(),
        change: asked.change.clone(),
        credential: asked.credential.as_ref().map(|given| match given {
            GivenCredential::Inline(credential) => GivenCredential::Inline(credential.clone()),
            GivenCredential::Configured(name) => GivenCredential::Configured(name.clone()),
        }),
        password: asked.password.clone(),
        former_password: asked.former_password.clone(),
        former_credential: asked.former_credential.clone(),
        options,
        by: authorized.by.clone(),
        idempotency,
    }
}

/// Why no update was made.
pub(super) fn refused(service: &Service, error: SubmitError) -> Problem {
    let detail = Chain(&error).to_string();
    match error {
        SubmitError::ObserveOnly => Problem::new(StatusCode::FORBIDDEN, "observe_only", detail),
        SubmitError::ShuttingDown => unavailable("shutting_down", detail),
        SubmitError::Kms(error) => kms(&error, detail),
        SubmitError::Plan(why) => {
            service.metrics.denied(Denial::Unplannable);
            let (status, reason) = match why {
                PlanRefused::Members { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "members"),
                PlanRefused::NothingToChange => (StatusCode::CONFLICT, "nothing_to_change"),
                PlanRefused::State { .. } | PlanRefused::NotDisconnected { .. } => {
                    (StatusCode::CONFLICT, "wrong_state")
                }
                PlanRefused::Rotation { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "rotation"),
                PlanRefused::Unrecognized { .. } => (StatusCode::CONFLICT, "unrecognized_key_store"),
                PlanRefused::DigestDiffers | PlanRefused::NotRecordable => {
                    (StatusCode::INTERNAL_SERVER_ERROR, "internal")
                }
            };
            Problem::new(status, reason, detail)
        }
        SubmitError::OutageNotAcknowledged { .. } => {
            service.metrics.denied(Denial::Unacknowledged);
            let detail = format!("{detail}: \"options\": {{\"acknowledge_outage\": true}}");
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "outage_not_acknowledged", detail)
        }
        SubmitError::UnknownCredential(_) => {
            let pointer = "/XksProxyAuthenticationCredential/Source".to_owned();
            Problem::invalid(vec![Fault { pointer, detail }])
        }
        SubmitError::Locked { update, .. } => Problem::new(StatusCode::LOCKED, "locked", detail).update(&update),
        SubmitError::Denied(denied) => {
            service.metrics.denied(Denial::of(&denied));
            approvals::denied(&denied)
        }
        SubmitError::KeyReused(id) => Problem::new(StatusCode::CONFLICT, "idempotency_key_reused", detail).update(&id),
        SubmitError::Journal(JournalError::Seal(_)) => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "secret_cannot_be_kept", detail)
        }
        SubmitError::Journal(_) => {
            tracing::error!(error = detail, "update not recorded");
            unavailable("journal", detail)
        }
    }
}

fn kms(error: &KmsError, detail: String) -> Problem {
    match error {
        _ if error.is_not_found() => Problem::new(StatusCode::NOT_FOUND, "no_such_key_store", detail),
        KmsError::Throttled { .. } => unavailable("kms_throttled", detail),
        KmsError::AccessDenied { .. } => Problem::new(StatusCode::BAD_GATEWAY, "kms_access_denied", detail),
        _ => Problem::new(StatusCode::BAD_GATEWAY, "kms", detail),
    }
}

fn unavailable(reason: &'static str, detail: String) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason, detail).retry_after(Duration::from_secs(5))
}

/// Why an update is not shown, or does not obey.
pub(crate) fn order_refused(error: &OrderError) -> Problem {
    let detail = Chain(error).to_string();
    match error {
        OrderError::NotNow { .. } => Problem::new(StatusCode::CONFLICT, "not_now", detail),
        OrderError::Denied(denied) => approvals::denied(denied),
        OrderError::Stale { .. } => Problem::new(StatusCode::PRECONDITION_FAILED, "stale", detail),
        OrderError::NotDriven => unavailable("not_driven", detail),
        OrderError::Journal(JournalError::NotFound(_)) => no_such_update(),
        OrderError::Journal(_) => unavailable("journal", detail),
        OrderError::Record(_) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unreadable_record", detail),
    }
}
