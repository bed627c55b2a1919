//! What is known of key stores.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::Service;
use super::problem::{Problem, ProblemDocument};
use super::view::KeyStoreView;
use crate::key_store::CustomKeyStoreId;
use crate::monitor::Sighting;
use crate::render;

/// All key stores that are configured or that KMS told of.
#[utoipa::path(
    get, path = "/v1/key-stores", tag = "key stores", operation_id = "listKeyStores",
    responses(
        (status = 200, description = "Member key_stores: every key store; describe_failure: why KMS could not be read, or null", body = Object),
        (status = "default", description = "Not answered as asked", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(State(service): State<Arc<Service>>) -> Json<Value> {
    let sightings = service.monitor.sightings();
    let views: Vec<_> = sightings.iter().map(|sighting| KeyStoreView::from(sighting.as_ref())).collect();
    Json(json!({ "key_stores": views, "describe_failure": service.monitor.describe_failure() }))
}

/// One key store with its latest report.
#[utoipa::path(
    get, path = "/v1/key-stores/{id}", tag = "key stores", operation_id = "getKeyStore",
    params(("id" = String, Path, description = "CustomKeyStoreId")),
    responses(
        (status = 200, description = "The key store", body = KeyStoreView),
        (status = "default", description = "Not answered as asked", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn one(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
) -> Result<Json<KeyStoreView>, Problem> {
    Ok(Json(KeyStoreView::from(sighting(&service, &id)?.as_ref())))
}

/// The latest reports of one key store, newest first; failures go further back than successes.
#[utoipa::path(
    get, path = "/v1/key-stores/{id}/reports", tag = "key stores", operation_id = "listReports",
    params(("id" = String, Path, description = "CustomKeyStoreId")),
    responses(
        (status = 200, description = "Member reports: reports of schema xks-preflight/report/1", body = Object),
        (status = "default", description = "Not answered as asked", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn reports(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let reports = sighting(&service, &id)?.reports();
    let reports: Vec<_> = reports.iter().map(|report| render::json::report(report)).collect();
    Ok(Json(json!({ "reports": reports })))
}

fn sighting(service: &Service, id: &str) -> Result<Arc<Sighting>, Problem> {
    CustomKeyStoreId::parse(id).ok().and_then(|id| service.monitor.sighting(&id)).ok_or_else(|| {
        let detail = "no key store of this id is configured, and KMS told of none; see GET /v1/key-stores";
        Problem::new(StatusCode::NOT_FOUND, "no_such_key_store", detail)
    })
}
