//! `GET /probe`: one probe for one scrape, in blackbox_exporter's words.
//!
//! `?key_store=ID` probes the present settings of a key store, for whoever may read it; `?target=…&path=…&credential=…`
//! any settings, for whoever may run pre-flights. A caller on a loopback address that does not say who it is gets what
//! `/metrics` would tell and no more: no target, no report, and no place that others need. The guard on where probes connect holds for both. What is found is
//! kept nowhere and counted nowhere: it belongs to whoever scrapes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::Service;
use super::access::Admitted;
use super::key_stores::no_such_key_store;
use super::problem::{Fault, Problem};
use super::updates::{AnyQuery, parameters};
use crate::access::Permission;
use crate::chain::Chain;
use crate::check::Report;
use crate::driver::Extra;
use crate::key_store::{ConnectivityKind, CustomKeyStoreId, Region, XksProxyUriEndpoint};
use crate::metrics::blackbox;
use crate::preflight::{Candidate, CandidateKeys};
use crate::render::{self, Form};

/// Prometheus says how long it waits.
const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";

/// So much of that is for the answer to arrive; blackbox_exporter's own offset.
const OFFSET: Duration = Duration::from_millis(500);

/// The least that a probe gets: shorter than this nothing is ever found.
const LEAST: Duration = Duration::from_millis(100);

const PARAMETERS: [&str; 7] = ["key_store", "target", "path", "credential", "region", "connectivity", "debug"];

/// Probes and exposes what was found.
pub(super) async fn probe(
    State(service): State<Arc<Service>>,
    admitted: Option<Extension<Admitted>>,
    query: AnyQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let admitted = admitted.map(|Extension(admitted)| admitted);
    let mut given = parameters(query, &PARAMETERS)?;
    let debug = match given.remove("debug").as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(fault("debug", "must be true or false")),
    };
    let limit = service.examiner.limit(&Extra::default());
    let within = patience(&headers)?.map_or(limit, |patience| patience.min(limit));
    let key_store = given.remove("key_store");
    let (candidate, of) = match (key_store, given.contains_key("target")) {
        (Some(id), false) => {
            if let Some((name, _)) = given.pop_first() {
                return Err(fault(&name, "goes with target, not with key_store"));
            }
            let id = CustomKeyStoreId::parse(&id).map_err(|invalid| fault("key_store", invalid.rule))?;
            match &admitted {
                Some(admitted) => drop(admitted.on(&service, &id)?),
                None if debug => {
                    return Err(Problem::anonymous("a whole report is for whoever may read the key store"));
                }
                None => {}
            }
            service.monitor.sighting(&id).ok_or_else(no_such_key_store)?;
            let present = service.monitor.present(&id);
            let unprobed = |why| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "not_probed", why);
            (present.map_err(unprobed)?, Some(id))
        }
        (None, true) => {
            // The guard lets in whoever is on this machine without a word; to name any host takes more.
            let admitted =
                admitted.as_ref().ok_or_else(|| Problem::anonymous("to name a target takes the role prober"))?;
            admitted.also_on_all(&service, Permission::Probe)?;
            (free(&service, &given)?, None)
        }
        _ => return Err(fault("key_store", "must be there, or else target with path and credential")),
    };
    let begun = tokio::time::Instant::now();
    // An error means that it did not end in time.
    let report = service.examiner.glance(&candidate, of.as_ref(), within).await.ok();
    let took = begun.elapsed();
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).filter(|_| !debug);
    let exposition = blackbox::expose(report.as_ref(), took, accept).map_err(|error| {
        tracing::error!(error = %Chain(&error), "a probe cannot be exposed, a fault of this program");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the probe cannot be exposed; the logs say more")
    })?;
    if debug {
        let text = explained(report.as_ref(), within, &exposition.body);
        return Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response());
    }
    Ok(([(header::CONTENT_TYPE, exposition.content_type)], exposition.body).into_response())
}

/// What a person wants to see when a probe fails.
fn explained(report: Option<&Report>, within: Duration, metrics: &str) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = match report {
        Some(report) => writeln!(text, "{}", render::report(report, Form::Text { colour: false })),
        None => writeln!(text, "The probe did not end within {} s.", within.as_secs_f64()),
    };
    let _ =
        writeln!(text, "Time for the probe: {} s\n\nWhat a scrape would be given:\n\n{metrics}", within.as_secs_f64());
    text
}

/// How long a scraper waits, less what the answer takes; `None` if it does not say.
fn patience(headers: &HeaderMap) -> Result<Option<Duration>, Problem> {
    let Some(value) = headers.get(SCRAPE_TIMEOUT) else { return Ok(None) };
    let seconds = value.to_str().ok().and_then(|text| text.trim().parse::<f64>().ok());
    let waits = seconds.filter(|seconds| *seconds > 0.0).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let waits = waits.ok_or_else(|| {
        let detail = "X-Prometheus-Scrape-Timeout-Seconds must be a number of seconds above 0";
        Problem::new(StatusCode::BAD_REQUEST, "invalid_header", detail)
    })?;
    Ok(Some(waits.saturating_sub(OFFSET).max(LEAST)))
}

fn free(service: &Service, given: &BTreeMap<String, String>) -> Result<Candidate, Problem> {
    let text = |name: &str| given.get(name).map(String::as_str);
    let required = |name: &str| text(name).ok_or_else(|| fault(name, "is missing"));
    let target = required("target")?;
    let endpoint = if target.contains("://") { target.to_owned() } else { format!("https://{target}") };
    let surroundings = service.surroundings.get();
    let credential = surroundings.credentials.get(required("credential")?);
    let credential = credential.ok_or_else(|| fault("credential", "no credential is configured under this name"))?;
    let region = text("region").map(Region::parse).transpose().map_err(|invalid| fault("region", invalid.rule))?;
    let connectivity = match text("connectivity") {
        None | Some("public") => ConnectivityKind::PublicEndpoint,
        Some("vpc") => ConnectivityKind::VpcEndpointService,
        Some(_) => return Err(fault("connectivity", "must be public or vpc")),
    };
    let path = required("path")?.to_owned();
    let parsed = XksProxyUriEndpoint::parse(&endpoint);
    Ok(Candidate {
        connect_to: parsed.map(|endpoint| surroundings.connect_to(&endpoint)).unwrap_or_default(),
        endpoint,
        path,
        connectivity,
        vpc_endpoint_service: None,
        vpc_endpoint_service_owner: None,
        region: region.unwrap_or_else(|| surroundings.region.clone()),
        credential: credential.clone().into(),
        keys: CandidateKeys::default(),
        baseline: None,
        kms_operation: "KmsHealthCheck".to_owned(),
    })
}

fn fault(name: &str, detail: impl Into<String>) -> Problem {
    Problem::invalid(vec![Fault { pointer: format!("?{name}"), detail: detail.into() }])
}

impl Problem {
    /// Nobody was recognised, and more was asked for than what everybody may see.
    fn anonymous(why: &str) -> Self {
        let detail = format!("{why}: send a token, or ask by key_store alone");
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail).challenge()
    }
}
