//! What is known of key stores.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::Service;
use super::access::Admitted;
use super::problem::{Fault, Problem, ProblemDocument};
use super::schema::{KeyStores, Reports};
use super::updates::{AnyQuery, order_refused, parameters};
use super::view::{CandidateView, CredentialView, DriftView, KeyStoreView, OpenUpdateView, PlaceView};
use crate::enumeration::{Enumerator, Progress};
use crate::key_store::{CustomKeyStoreId, KmsKey};
use crate::keyring::Standing;
use crate::monitor::{CandidateSight, Sighting};
use crate::render;

/// All key stores that are configured or that KMS told of, and that the caller may see.
#[utoipa::path(
    get, path = "/v1/key-stores", tag = "key stores", operation_id = "listKeyStores",
    responses(
        (status = 200, description = "Member key_stores: every key store; places: every account and Region that is asked, with why it could not be read; describe_failure: all of these reasons, or null; drifts: the latest changes behind our back, newest first; drifts_since: from when on they can be seen", body = KeyStores),
        (status = "default", description = "Not answered as asked", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    Extension(admitted): Extension<Admitted>,
) -> Result<Json<Value>, Problem> {
    let sightings = service.monitor.sightings();
    let open = open_updates(&service).await?;
    let caller = admitted.each();
    let shown = sightings.iter().filter(|sighting| caller.sees(&service, &sighting.id));
    let views: Vec<_> = shown.map(|sighting| view(&service, sighting, &open)).collect();
    let places: Vec<_> = caller.places(&service).iter().map(PlaceView::from).collect();
    let failure = service.monitor.describe_failure().filter(|_| caller.sees_all());
    let drifts = service.drift.latest();
    let drifts: Vec<_> = drifts.iter().filter(|drift| caller.sees(&service, &drift.key_store)).collect();
    let drifts: Vec<_> = drifts.into_iter().map(|drift| DriftView::from(&**drift)).collect();
    let since = service.drift.since().to_string();
    Ok(Json(json!({
        "key_stores": views,
        "places": places,
        "describe_failure": failure,
        "drifts": drifts,
        "drifts_since": since,
    })))
}

/// The open updates by the key store that each has.
async fn open_updates(service: &Service) -> Result<BTreeMap<CustomKeyStoreId, OpenUpdateView>, Problem> {
    let open = service.driver.open().await.map_err(|error| order_refused(&error))?;
    let now = service.clock.now();
    Ok(open.iter().map(|o| (o.state.plan().key_store.clone(), OpenUpdateView::of(o, now))).collect())
}

fn view(service: &Service, sighting: &Sighting, open: &BTreeMap<CustomKeyStoreId, OpenUpdateView>) -> KeyStoreView {
    let mut view = KeyStoreView::from(sighting);
    view.candidates = candidates(service, &sighting.id);
    view.credential = credential(service, &sighting.id);
    view.open_update = open.get(&sighting.id).cloned();
    view
}

fn candidates(service: &Service, id: &CustomKeyStoreId) -> Vec<CandidateView> {
    let required = service.monitor.require_green_for(id);
    let view = |sight: &Arc<CandidateSight>| CandidateView::of(sight, service.monitor.standing_of(sight), required);
    service.monitor.candidates_of(id).iter().map(view).collect()
}

fn credential(service: &Service, id: &CustomKeyStoreId) -> Option<CredentialView> {
    service.credential_of(id).map(|(name, standing)| CredentialView::of(name, &standing))
}

impl Service {
    /// The credential that a key store is watched with, and how it stands to its source.
    pub(crate) fn credential_of(&self, id: &CustomKeyStoreId) -> Option<(String, Standing)> {
        let name = self.monitor.watched(id)?.credential?;
        let standing = self.surroundings.get().credentials.standing_at(&name, id)?;
        Some((name, standing))
    }
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
    let sighting = sighting(&service, &id)?;
    let open = service.driver.open_of(&sighting.id).await.map_err(|error| order_refused(&error))?;
    let mut view = KeyStoreView::from(&*sighting);
    view.candidates = candidates(&service, &sighting.id);
    view.credential = credential(&service, &sighting.id);
    view.open_update = open.map(|open| OpenUpdateView::of(&open, service.clock.now()));
    Ok(Json(view))
}

/// The latest reports of one key store, newest first; failures go further back than successes.
#[utoipa::path(
    get, path = "/v1/key-stores/{id}/reports", tag = "key stores", operation_id = "listReports",
    params(("id" = String, Path, description = "CustomKeyStoreId")),
    responses(
        (status = 200, description = "Member reports: reports of schema xks-preflight/report/1", body = Reports),
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

/// The KMS keys of one key store, each with its external key, by ARN: those found so far, and whether there may be more.
#[utoipa::path(
    get, path = "/v1/key-stores/{id}/keys", tag = "key stores", operation_id = "listKeys",
    params(
        ("id" = String, Path, description = "CustomKeyStoreId"),
        ("after" = Option<String>, Query, description = "Only keys whose ARN comes after this one"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 10000, description = "At most so many keys, 1 to 10000; default 1000"),
    ),
    responses(
        (status = 200, description = "Members found: how many keys of the key store are known; denied: how many keys of account and Region could not be described because AWS denies it, any of which may be in the key store; incomplete: why not all keys were looked at, or null; at: when they were; progress: of the sweep under way or the latest; keys: arn and external_key_id; next: the value of after for the next keys, or null", body = Object),
        (status = "default", description = "Not answered as asked", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn keys(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    query: AnyQuery,
) -> Result<Json<Value>, Problem> {
    let mut query = parameters(query, &["after", "limit"])?;
    let after = query.remove("after").unwrap_or_default();
    let limit =
        query.remove("limit").map_or(Some(1_000), |text| text.parse().ok().filter(|n| (1..=10_000).contains(n)));
    let limit: usize = limit.ok_or_else(|| {
        let detail = "must be a whole number from 1 to 10000".to_owned();
        Problem::invalid(vec![Fault { pointer: "?limit".to_owned(), detail }])
    })?;
    let id = sighting(&service, &id)?.id.clone();
    let known = service.enumerators.known(&id);
    let progress = service.enumerators.of(&id).map(Enumerator::progress);
    let Progress { running, listed, outstanding } = progress.unwrap_or_default();
    let rest = known.keys.get(known.keys.partition_point(|key| key.arn <= after)..).unwrap_or_default();
    let page = rest.get(..limit).unwrap_or(rest);
    let next = page.last().filter(|_| page.len() < rest.len()).map(|key| &key.arn);
    let one = |key: &KmsKey| json!({ "arn": key.arn, "external_key_id": key.external_key_id });
    let incomplete = known.incomplete.as_ref();
    Ok(Json(json!({
        "found": known.keys.len(),
        "denied": known.denied,
        "incomplete": incomplete.map(|problem| json!({ "problem": problem.kind, "detail": problem.detail })),
        "at": known.at.to_string(),
        "progress": { "running": running, "listed": listed, "outstanding": outstanding },
        "keys": page.iter().map(one).collect::<Vec<_>>(),
        "next": next,
    })))
}

pub(crate) fn sighting(service: &Service, id: &str) -> Result<Arc<Sighting>, Problem> {
    CustomKeyStoreId::parse(id).ok().and_then(|id| service.monitor.sighting(&id)).ok_or_else(no_such_key_store)
}

pub(crate) fn no_such_key_store() -> Problem {
    let detail = "no key store of this id is configured, and KMS told of none; see GET /v1/key-stores";
    Problem::new(StatusCode::NOT_FOUND, "no_such_key_store", detail)
}
