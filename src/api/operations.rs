//! Liveness, readiness, metrics, the catalogue.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::Service;
use super::past::Ledger;
use super::problem::{Problem, ProblemDocument};
use crate::chain::Chain;
use crate::clock::Timestamp;
use crate::driver::UpdateRecord;
use crate::key_store::CustomKeyStoreId;
use crate::metrics::{CandidateGauges, KeyCounts, OpenRotation, OpenUpdate, Scene};
use crate::monitor::{CandidateSight, Sighting, Standing};
use crate::render;
use crate::update::{Event, Phase};

/// The process answers.
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// The journal can be read and the monitor runs.
pub(super) async fn ready(State(service): State<Arc<Service>>) -> Result<&'static str, Problem> {
    let unready = |detail: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", detail);
    if service.draining.is_cancelled() {
        return Err(unready("shutting down".to_owned()));
    }
    if !service.monitor.is_running() {
        return Err(unready("the monitor does not run".to_owned()));
    }
    service.driver.list(None, 1).await.map_err(|error| unready(format!("journal: {}", Chain(&error))))?;
    Ok("ok\n")
}

/// Where a rotation is, and for how long somebody is waited for.
fn rotation(record: &UpdateRecord, now: Timestamp) -> Option<OpenRotation> {
    let Phase::Rotating(rotating) = record.state.phase() else { return None };
    let awaited = record.events.iter().find(|recorded| matches!(recorded.event, Event::RemovalAwaited { .. }));
    Some(OpenRotation {
        stage: rotating.stage(),
        removal_awaited: awaited.map(|recorded| now.seconds_since(recorded.at).max(0.0)),
    })
}

/// Prometheus' text format, or OpenMetrics when that is asked for.
pub(super) async fn metrics(State(service): State<Arc<Service>>, headers: HeaderMap) -> Result<Response, Problem> {
    let open = service.driver.open().await.unwrap_or_else(|error| {
        tracing::warn!(error = %Chain(&error), "open updates are missing from this scrape");
        Vec::new()
    });
    let open_updates = open
        .iter()
        .map(|record| OpenUpdate {
            key_store: record.state.plan().key_store.clone(),
            status: record.state.status().status,
            breaks_glass: record.state.plan().break_glass.is_some(),
            rotation: rotation(record, service.clock.now()),
        })
        .collect();
    let freezes = service.driver.freezes().await.unwrap_or_else(|error| {
        tracing::warn!(error = %Chain(&error), "freezes are missing from this scrape");
        Vec::new()
    });
    let freezes = freezes.into_iter().map(|freeze| freeze.key_store).collect();
    let sightings = service.monitor.sightings();
    let key_counts = key_counts(&service, &sightings);
    let now = service.clock.now();
    let surroundings = service.surroundings.get();
    let in_force = |id: &CustomKeyStoreId| (surroundings.judging)(Some(id), now).waivers;
    let waivers = sightings.iter().filter(|sighting| sighting.watched);
    let waivers = waivers.flat_map(|s| in_force(&s.id).into_iter().map(|waiver| (s.id.clone(), waiver))).collect();
    let audit_entries = service.notary.trail().head().await.map(|head| head.sequence);
    let audit_entries = audit_entries.inspect_err(|error| {
        tracing::warn!(error = %Chain(error), "the audit trail is missing from this scrape");
    });
    let audit_entries = audit_entries.ok();
    let ledger =
        service.past.ledger(&service.driver, &sightings, &service.drift.last(), now).await.unwrap_or_else(|error| {
            tracing::warn!(error = %Chain(&error), "credential ages and drift are missing from this scrape");
            Ledger::default()
        });
    let Ledger { credentials_set, drifts } = ledger;
    let mut credential_sources = Vec::new();
    for sighting in &sightings {
        let Some((_, standing)) = service.credential_of(&sighting.id) else { continue };
        credential_sources.push((sighting.id.clone(), standing));
    }
    let scene = Scene {
        sightings,
        candidates: candidates(&service),
        places: service.monitor.places(),
        credentials_set,
        credential_sources,
        drifts,
        open_updates,
        freezes,
        waivers,
        key_counts,
        perspectives: service.examiner.attendance(),
        configuration: service.reload.standing(),
        audit_entries,
    };
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let accept = accept.map(str::to_owned);
    let metrics = Arc::clone(&service.metrics);
    // Of thousands of key stores this takes a good part of a second's time of a processor, and probes are to begin meanwhile.
    let exposed = tokio::task::spawn_blocking(move || metrics.expose(&scene, accept.as_deref())).await;
    let fault = |error: &(dyn std::error::Error + 'static)| {
        tracing::error!(error = %Chain(error), "metrics cannot be exposed, a fault of this program");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "metrics cannot be exposed; the logs say more")
    };
    let exposition = exposed.map_err(|error| fault(&error))?.map_err(|error| fault(&error))?;
    Ok(([(header::CONTENT_TYPE, exposition.content_type)], exposition.body).into_response())
}

/// Those whose settings are in force are key stores by now.
fn candidates(service: &Service) -> Vec<CandidateGauges> {
    let gauges = |sight: &Arc<CandidateSight>| {
        let standing = service.monitor.standing_of(sight);
        let ready = match standing {
            Standing::InForce => return None,
            Standing::Unseen => None,
            Standing::Green(_) => Some(true),
            Standing::Silent | Standing::NotProbed | Standing::Red => Some(false),
        };
        let green_since = sight.vigil.as_ref().and_then(|vigil| vigil.green_since);
        Some(CandidateGauges {
            key_store: sight.key_store.clone(),
            candidate: sight.name.clone(),
            ready,
            green_since: green_since.filter(|_| matches!(standing, Standing::Green(_))),
            required: service.monitor.require_green_for(&sight.key_store),
        })
    };
    service.monitor.candidates().iter().filter_map(gauges).collect()
}

/// Before a sweep has ended, nothing is told: no keys found would be taken for no keys. CloudHSM key stores have no
/// external keys.
fn key_counts(service: &Service, sightings: &[Arc<Sighting>]) -> Vec<KeyCounts> {
    let external = |sighting: &&Arc<Sighting>| sighting.description.as_ref().is_some_and(|store| store.xks().is_some());
    let count = |sighting: &Arc<Sighting>| {
        let enumerator = service.enumerators.of(&sighting.id).filter(|enumerator| enumerator.has_swept())?;
        let (known, outstanding) = (enumerator.known(&sighting.id), enumerator.progress().outstanding);
        Some(KeyCounts { key_store: sighting.id.clone(), found: known.keys.len(), denied: known.denied, outstanding })
    };
    sightings.iter().filter(external).filter_map(count).collect()
}

/// The catalogue of checks.
#[utoipa::path(
    get, path = "/v1/checks", tag = "checks", operation_id = "listChecks",
    responses(
        (status = 200, description = "Every check in its order, with level, citation, KMS outcome and remedy", body = Object),
        (status = "default", description = "Not answered as asked", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn checks() -> Json<Value> {
    Json(json!({ "checks": render::catalogue::json() }))
}
