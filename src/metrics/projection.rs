//! What gauges tell of one report, kept until there is a later one: thousands of reports hold a million findings, and
//! most are the same ones at the next scrape.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::check::{AddressEvidence, Check, Report, Resolution, Sample, Verdict};
use crate::id::ReportId;
use crate::key_store::CustomKeyStoreId;
use crate::monitor::Sighting;
use crate::xks::{EkmHealth, HealthStatus};

/// What gauges tell of one report.
#[derive(Debug)]
pub(super) struct Projection {
    report: ReportId,
    pub(super) is_ready: bool,
    /// Each once, however many addresses it fails at.
    pub(super) failing: Vec<&'static Check>,
    /// The slowest deciding attempt of each phase; a phase that was not come to is absent.
    pub(super) phases: Vec<(&'static str, Duration)>,
    /// Seconds since the epoch by position in the chain.
    pub(super) expiries: BTreeMap<String, i64>,
    /// Of the latest complete health answer.
    pub(super) fleet: Option<Fleet>,
}

/// What a health answer says of its fleet.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) size: f64,
    /// How many key managers are in each state.
    pub(super) managers: Vec<(&'static str, usize)>,
}

impl Projection {
    fn of(report: &Report) -> Self {
        let mut failing: Vec<&'static Check> = Vec::new();
        // Findings come in the order of their checks.
        for finding in report.findings.iter().filter(|finding| finding.is_failed()) {
            if failing.last().is_none_or(|last| *last != finding.check) {
                failing.push(finding.check);
            }
        }
        Self {
            report: report.id,
            is_ready: report.verdict() == Verdict::Ready,
            failing,
            phases: phases(report),
            expiries: expiries(&report.evidence.addresses),
            fleet: health(report).map(|health| Fleet::of(&health)),
        }
    }
}

impl Fleet {
    fn of(health: &HealthStatus) -> Self {
        let count = |each| health.ekm_fleet_details.iter().filter(|manager| manager.health_status == each).count();
        let managers = EkmHealth::ALL.into_iter().map(|each| (each.as_str(), count(each))).collect();
        Self { size: health.xks_proxy_fleet_size as f64, managers }
    }
}

/// The projections of the latest scrape, by key store.
#[derive(Debug, Default)]
pub(super) struct Projections(Mutex<HashMap<CustomKeyStoreId, Arc<Projection>>>);

impl Projections {
    /// Those of the latest report of each key store that has one. Key stores that are not among `sightings` are forgotten.
    pub(super) fn of<'s>(
        &self,
        sightings: impl Iterator<Item = &'s Sighting>,
    ) -> HashMap<CustomKeyStoreId, Arc<Projection>> {
        let before = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let project = |sighting: &Sighting| {
            let report = sighting.current()?;
            let known = before.get(&sighting.id).filter(|known| known.report == report.id);
            let projection = known.map_or_else(|| Arc::new(Projection::of(report)), Arc::clone);
            Some((sighting.id.clone(), projection))
        };
        let now: HashMap<_, _> = sightings.filter_map(project).collect();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&now);
        now
    }
}

/// The slowest deciding attempt of each phase; a phase that was not come to is absent.
fn phases(report: &Report) -> Vec<(&'static str, Duration)> {
    let resolved = match &report.evidence.resolution {
        Resolution::Answered { took, .. } | Resolution::Failed { took, .. } => Some(*took),
        Resolution::NotReached | Resolution::Bypassed => None,
    };
    let last = || report.evidence.addresses.iter().flat_map(AddressEvidence::cold).map(Sample::last);
    [
        ("dns", resolved),
        ("connect", last().filter_map(|attempt| attempt.connect).max()),
        ("tls", last().filter_map(|attempt| attempt.tls).max()),
        ("request", last().filter_map(|attempt| attempt.request).max()),
        ("total", last().map(crate::check::Attempt::total).max()),
    ]
    .into_iter()
    .filter_map(|(phase, took)| Some((phase, took?)))
    .collect()
}

/// Seconds since the epoch by position in the chain; a chain has few positions, and a longer one is cut here.
fn expiries(addresses: &[AddressEvidence]) -> BTreeMap<String, i64> {
    let mut earliest = BTreeMap::new();
    for tls in addresses.iter().filter_map(|address| address.tls.as_ref()) {
        for (index, certificate) in tls.chain.iter().take(8).enumerate() {
            let position = if index == 0 { "leaf".to_owned() } else { format!("intermediate_{index}") };
            let at = certificate.not_after.unix();
            earliest.entry(position).and_modify(|known: &mut i64| *known = at.min(*known)).or_insert(at);
        }
    }
    earliest
}

/// The latest complete health answer.
fn health(report: &Report) -> Option<HealthStatus> {
    report
        .evidence
        .addresses
        .iter()
        .flat_map(AddressEvidence::exchanges)
        .filter(|exchange| exchange.status == 200)
        .find_map(|exchange| HealthStatus::parse(&exchange.body).ok())
}
