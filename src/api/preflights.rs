//! Pre-flights that somebody asks for.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value};

use super::Service;
use super::access::Admitted;
use super::problem::{Fault, Problem, ProblemDocument};
use super::request::{self, Asked, AskedPreflight, Free, FreeCredential};
use super::schema::PreflightBody;
use super::updates::{KeyStoreQuery, authorize, order_refused, read, refused, update_request};
use crate::check::Report;
use crate::driver::{ExamineError, Extra, GivenCredential, OrderError, UpdateRequest};
use crate::id::ReportId;
use crate::key_store::{CustomKeyStoreId, ProxyCredential, XksProxyUriEndpoint};
use crate::preflight::{Candidate, CandidateKeys, OfferedCredential};
use crate::render;
use crate::update::{Plan, Round};

/// Probes a candidate: a change of a key store, its present settings (no member but CustomKeyStoreId), or free-standing
/// settings (no CustomKeyStoreId). Changes nothing.
#[utoipa::path(
    post, path = "/v1/preflights", tag = "pre-flights", operation_id = "runPreflight",
    params(("CustomKeyStoreId" = Option<String>, Query, pattern = "^[A-Za-z0-9_-]{1,64}$", description = "Of a console file that is posted as it is")),
    request_body(content = PreflightBody, description = "KMS's own member names, as for POST /v1/updates; Region for free-standing settings; options.refusals sends requests that the proxy must refuse; options.perspectives, if false, asks no other perspective; options.capacity with rate (requests per second) and seconds puts load on a candidate that is ready, if preflight.capacity_allow names its host"),
    responses(
        (status = 200, description = "The report, schema xks-preflight/report/1, whatever its verdict", body = Object),
        (status = "default", description = "Not answered as asked", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn run(
    State(service): State<Arc<Service>>,
    Extension(admitted): Extension<Admitted>,
    query: KeyStoreQuery,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let (key_store, map) = read(&service, &admitted, query, request).await?;
    let report = examine(&service, &admitted, map, key_store).await?;
    Ok(Json(render::json::report(&report)))
}

/// Probes what was asked for, if the caller may.
pub(crate) async fn examine(
    service: &Service,
    admitted: &Admitted,
    map: Map<String, Value>,
    key_store: Option<CustomKeyStoreId>,
) -> Result<Arc<Report>, Problem> {
    let (asked, extra) = request::preflight(map, key_store)?;
    let authorized = match &asked {
        // Anybody's host, perhaps with a configured credential: not for those who have to do with some key stores only.
        AskedPreflight::Free(_) => admitted.on_all(service)?,
        AskedPreflight::KeyStore(asked) => authorize(service, admitted, asked)?,
    };
    fits_into_a_request(service, &extra)?;
    match asked {
        AskedPreflight::Free(free) => {
            let candidate = candidate(service, *free)?;
            service.examiner.candidate(&candidate, None, &extra).await.map_err(|error| not_examined(&error))
        }
        AskedPreflight::KeyStore(asked) if changes_nothing(service, &asked) => present(service, &asked, &extra).await,
        AskedPreflight::KeyStore(asked) => {
            let request = update_request(service, &asked, &authorized, None);
            let plan = service.driver.plan(&request).await.map_err(|error| refused(service, error))?;
            planned(service, &plan, &request, &extra).await
        }
    }
}

/// A report by its id: of an update, as long as the update is in the journal; any other, as long as it is among the latest.
#[utoipa::path(
    get, path = "/v1/preflights/{id}", tag = "pre-flights", operation_id = "getPreflight",
    params(("id" = String, Path, description = "The report's id")),
    responses(
        (status = 200, description = "The report, schema xks-preflight/report/1", body = Object),
        (status = "default", description = "Not answered as asked", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn one(
    State(service): State<Arc<Service>>,
    Extension(admitted): Extension<Admitted>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let missing = match kept(&service, admitted.each(), &id) {
        Ok(report) => return Ok(Json(render::json::report(&report)).into_response()),
        Err(missing) => missing,
    };
    let Ok(id) = ReportId::parse(&id) else { return Err(missing) };
    let journal = |error| order_refused(&OrderError::Journal(error));
    let Some((update, document)) = service.notary.trail().report(id).await.map_err(journal)? else {
        return Err(missing);
    };
    let record = service.driver.get(update).await.map_err(|error| order_refused(&error))?;
    if !admitted.sees_update(&service, record.state.plan()) {
        return Err(missing);
    }
    // As it was kept, to the byte: the audit trail has its SHA-256.
    Ok(([(header::CONTENT_TYPE, "application/json")], document).into_response())
}

/// The report of this id, if it is among the latest and the caller may see it.
pub(crate) fn kept(service: &Service, admitted: &Admitted, id: &str) -> Result<Arc<Report>, Problem> {
    let found = ReportId::parse(id).ok().and_then(|id| {
        let monitored = || {
            service.monitor.sightings().iter().find_map(|sighting| {
                let report = sighting.reports().into_iter().find(|report| report.id == id)?;
                Some((Some(sighting.id.clone()), report))
            })
        };
        let planned = || {
            service.monitor.candidates().iter().find_map(|sight| {
                let report = sight.reports().into_iter().find(|report| report.id == id)?;
                Some((Some(sight.key_store.clone()), report))
            })
        };
        service.examiner.find_of(id).or_else(monitored).or_else(planned)
    });
    // What the caller may not see is as good as not there.
    let seen = found.filter(|(of, _)| of.as_ref().map_or_else(|| admitted.sees_all(), |id| admitted.sees(service, id)));
    seen.map(|(_, report)| report).ok_or_else(|| {
        let detail = "no report of this id is kept: those of updates are, with them; of all others only the latest, and \
                      none outlives the process";
        Problem::new(StatusCode::NOT_FOUND, "no_such_report", detail)
    })
}

/// The report on a plan.
pub(super) async fn planned(
    service: &Service,
    plan: &Plan,
    request: &UpdateRequest,
    extra: &Extra,
) -> Result<Arc<Report>, Problem> {
    let surroundings = service.surroundings.get();
    let named = |name: &str| surroundings.credentials.newest(name);
    let former_credential = request.former_credential.clone().or_else(|| {
        let xks = plan.expected.xks()?;
        service.monitor.credential(&plan.key_store, &xks.access_key_id)
    });
    let credential = match &request.credential {
        Some(GivenCredential::Inline(credential)) => Some(credential.clone()),
        Some(GivenCredential::Configured(name)) => named(name),
        None => former_credential.clone(),
    };
    service
        .examiner
        .plan(plan, Round::First, credential, former_credential, extra)
        .await
        .map_err(|error| not_examined(&error))
}

/// Whether the present settings are asked about. A configured credential with the access key id that KMS has says which
/// secret to sign with; any other is a change.
fn changes_nothing(service: &Service, asked: &Asked) -> bool {
    let present =
        || service.monitor.sighting(&asked.key_store)?.description.as_ref()?.xks().map(|xks| xks.access_key_id.clone());
    let same = match &asked.credential {
        None => true,
        Some(GivenCredential::Inline(_)) => false,
        Some(GivenCredential::Configured(name)) => {
            let surroundings = service.surroundings.get();
            let (newest, used) = (surroundings.credentials.newest(name), surroundings.credentials.get(name));
            // A name that is not configured is told by whoever looks for it. One that the source shows and KMS was not
            // told is a change, although the access key id is the same.
            newest == used && (used.is_none() || used.map(|credential| credential.access_key_id) == present())
        }
    };
    asked.change.is_empty() && asked.password.is_none() && same
}

async fn present(service: &Service, asked: &Asked, extra: &Extra) -> Result<Arc<Report>, Problem> {
    let id = &asked.key_store;
    let sighting = service.monitor.sighting(id);
    let store = sighting.as_ref().and_then(|sighting| sighting.description.as_ref()).ok_or_else(|| {
        let detail = "KMS told of no key store of this id; see GET /v1/key-stores";
        Problem::new(StatusCode::NOT_FOUND, "no_such_key_store", detail)
    })?;
    let (watched, surroundings) = (service.monitor.watched(id), service.surroundings.get());
    let Some(xks) = store.xks() else {
        return service.examiner.present_cluster(store, extra).await.map_err(|error| not_examined(&error));
    };
    let credential = match &asked.credential {
        Some(GivenCredential::Inline(credential)) => credential.clone(),
        Some(GivenCredential::Configured(name)) => configured(service, name)?,
        None => {
            let found = service.monitor.credential(id, &xks.access_key_id);
            let access_key_id = xks.access_key_id.to_string();
            found.ok_or_else(|| not_examined(&ExamineError::NoSecret { access_key_id }))?
        }
    };
    let region = service.monitor.region_of(id);
    let mut candidate = surroundings.candidate(&region, xks, credential.into(), "KmsHealthCheck");
    candidate.keys.test = watched.and_then(|store| store.test_key);
    service.examiner.candidate(&candidate, Some(id), extra).await.map_err(|error| not_examined(&error))
}

fn candidate(service: &Service, free: Free) -> Result<Candidate, Problem> {
    let credential = match free.credential {
        FreeCredential::Inline(credential) => credential,
        FreeCredential::Configured(name) => OfferedCredential::from(configured(service, &name)?),
    };
    let endpoint = XksProxyUriEndpoint::parse(&free.endpoint);
    let surroundings = service.surroundings.get();
    Ok(Candidate {
        connect_to: endpoint.map(|endpoint| surroundings.connect_to(&endpoint)).unwrap_or_default(),
        endpoint: free.endpoint,
        path: free.path,
        connectivity: free.connectivity,
        vpc_endpoint_service: free.vpc_endpoint_service,
        vpc_endpoint_service_owner: free.vpc_endpoint_service_owner,
        region: free.region.unwrap_or_else(|| surroundings.region.clone()),
        credential,
        keys: CandidateKeys::default(),
        baseline: None,
        kms_operation: "CreateCustomKeyStore".to_owned(),
    })
}

fn configured(service: &Service, name: &str) -> Result<ProxyCredential, Problem> {
    service.surroundings.get().credentials.get(name).ok_or_else(|| {
        let pointer = "/XksProxyAuthenticationCredential/Source".to_owned();
        Problem::invalid(vec![Fault { pointer, detail: "no credential is configured under this name".to_owned() }])
    })
}

/// A load that outlives its request would be for nothing.
fn fits_into_a_request(service: &Service, extra: &Extra) -> Result<(), Problem> {
    let (limit, most) = (service.examiner.limit(extra), service.bounds.request);
    if extra.load.is_none() || limit <= most {
        return Ok(());
    }
    let detail = format!(
        "with a pre-flight before it such a load may take {} s, and a request may take {} s here; ask for a shorter one, \
         or raise http.request_timeout",
        limit.as_secs(),
        most.as_secs()
    );
    Err(Problem::invalid(vec![Fault { pointer: "/options/capacity/seconds".to_owned(), detail }]))
}

fn not_examined(error: &ExamineError) -> Problem {
    let detail = error.to_string();
    match error {
        ExamineError::Unrecognized { .. } => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unrecognized_key_store", detail)
        }
        ExamineError::NoSecret { .. } => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "secret_unknown", detail),
        ExamineError::LoadNotAllowed => {
            let pointer = "/options/capacity".to_owned();
            Problem::invalid(vec![Fault { pointer, detail }])
        }
        ExamineError::Loading => {
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "load_under_way", detail).retry_after(Duration::from_secs(10))
        }
        ExamineError::TimedOut { .. } => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "preflight_unavailable", detail)
            .retry_after(Duration::from_secs(5)),
    }
}
