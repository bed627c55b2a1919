//! Gauges, projected from what is known at the moment of a scrape.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, Opts, Registry};

use super::{
    AUDIT_ENTRIES, BREAK_GLASS_OPEN, BUILD_INFO, CANARY_TIMESTAMP, CERTIFICATE_NOT_AFTER, CHECK_FAILING,
    CONFIG_LAST_RELOAD_SUCCESS, CONFIG_LAST_RELOAD_SUCCESSFUL, CREDENTIAL_PENDING, CREDENTIAL_SET,
    CREDENTIAL_SOURCE_READ, DISCOVERY_FAILING, DISCOVERY_SUCCESS, DRIFT, EXTERNAL_KEY_MANAGER_STATE, FROZEN,
    KEY_STORE_CONNECTION_STATE, KEY_STORE_INFO, KMS_KEYS, Metric, PROBE_DURATION, PROBE_SUCCESS, PROXY_FLEET_SIZE,
    ROTATION_REMOVAL_AWAITED, ROTATION_STEP, UPDATE_OPEN, WAIVER_END,
};
use crate::check::{AddressEvidence, CATALOGUE, Report, Resolution, Sample, Verdict, Waiver};
use crate::clock::Timestamp;
use crate::key_store::{ConnectionState, CustomKeyStoreId, KeyStore};
use crate::keyring::Standing;
use crate::monitor::{PlaceSight, Sighting};
use crate::update::{Stage, StatusName};
use crate::xks::{EkmHealth, HealthStatus};

/// Everything that gauges are projected from.
#[derive(Clone, Debug)]
pub struct Scene {
    /// What the monitor knows.
    pub sightings: Vec<Arc<Sighting>>,
    /// What came of asking each account and Region.
    pub places: Vec<PlaceSight>,
    /// Updates that have not concluded.
    pub open_updates: Vec<OpenUpdate>,
    /// The freezes in force, by key store; absent means every one.
    pub freezes: Vec<Option<CustomKeyStoreId>>,
    /// The waivers in force, by the key store that they hold for.
    pub waivers: Vec<(CustomKeyStoreId, Waiver)>,
    /// When the credential of each external key store was set, as far as is known.
    pub credentials_set: BTreeMap<CustomKeyStoreId, Timestamp>,
    /// How the credential of each watched key store stands to its source.
    pub credential_sources: Vec<(CustomKeyStoreId, Standing)>,
    /// When settings of a key store last showed that no update of ours made.
    pub drifts: BTreeMap<CustomKeyStoreId, Timestamp>,
    /// How many KMS keys were found.
    pub key_counts: Vec<KeyCounts>,
    /// How the configuration was when it was last read.
    pub configuration: ConfigurationStanding,
    /// The number of the last line of the audit trail, if it could be read.
    pub audit_entries: Option<u64>,
}

/// How the configuration was when it was last read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigurationStanding {
    /// Whether it was good; if not, the former one is in force.
    pub good: bool,
    /// When a good one was last read.
    pub good_at: Timestamp,
}

/// An update that has not concluded.
#[derive(Clone, Debug)]
pub struct OpenUpdate {
    /// Of this key store.
    pub key_store: CustomKeyStoreId,
    /// Where it is.
    pub status: StatusName,
    /// Whether it passes by approval, freeze and windows.
    pub breaks_glass: bool,
    /// Of a rotation after its update.
    pub rotation: Option<OpenRotation>,
}

/// A rotation whose update is verified.
#[derive(Clone, Debug)]
pub struct OpenRotation {
    /// Where it is.
    pub stage: Stage,
    /// For how long a person is to remove the former credential, in seconds.
    pub removal_awaited: Option<f64>,
}

/// The KMS keys of one key store.
#[derive(Clone, Debug)]
pub struct KeyCounts {
    /// Of this key store.
    pub key_store: CustomKeyStoreId,
    /// In it.
    pub found: usize,
    /// Of account and Region, and AWS denies to tell where they are.
    pub denied: usize,
    /// Of account and Region, and not looked at yet.
    pub outstanding: usize,
}

impl Scene {
    /// `every_check`: whether checks that do not fail have a series, too.
    pub(super) fn project(&self, every_check: bool) -> Result<Vec<MetricFamily>, prometheus::Error> {
        let canvas = Canvas { registry: Registry::new() };
        canvas.gauge(&BUILD_INFO)?.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        let good = canvas.gauge(&CONFIG_LAST_RELOAD_SUCCESSFUL)?;
        good.with_label_values(&[] as &[&str]).set(number(self.configuration.good));
        let good_at = canvas.gauge(&CONFIG_LAST_RELOAD_SUCCESS)?;
        good_at.with_label_values(&[] as &[&str]).set(self.configuration.good_at.unix() as f64);
        let entries = canvas.gauge(&AUDIT_ENTRIES)?;
        if let Some(sequence) = self.audit_entries {
            entries.with_label_values(&[] as &[&str]).set(sequence as f64);
        }
        self.updates(&canvas)?;
        self.discovery(&canvas)?;
        let ends = canvas.gauge(&WAIVER_END)?;
        for (key_store, waiver) in &self.waivers {
            let Some(until) = waiver.until else { continue };
            ends.with_label_values(&[key_store.as_str(), &waiver.check]).set(until.unix() as f64);
        }
        for (metric, times) in [(&CREDENTIAL_SET, &self.credentials_set), (&DRIFT, &self.drifts)] {
            let gauge = canvas.gauge(metric)?;
            for (key_store, at) in times {
                gauge.with_label_values(&[key_store.as_str()]).set(at.unix() as f64);
            }
        }
        let (pending, read) = (canvas.gauge(&CREDENTIAL_PENDING)?, canvas.gauge(&CREDENTIAL_SOURCE_READ)?);
        for (key_store, standing) in &self.credential_sources {
            let is_read = !matches!(standing, Standing::Unread { .. });
            read.with_label_values(&[key_store.as_str()]).set(number(is_read));
            if let Standing::Pending { since, .. } | Standing::Untold { since, .. } = standing {
                pending.with_label_values(&[key_store.as_str()]).set(since.unix() as f64);
            }
        }
        self.keys(&canvas)?;
        self.descriptions(&canvas)?;
        self.reports(&canvas, every_check)?;
        Ok(canvas.registry.gather())
    }

    fn updates(&self, canvas: &Canvas) -> Result<(), prometheus::Error> {
        let open = canvas.gauge(&UPDATE_OPEN)?;
        let broken = canvas.gauge(&BREAK_GLASS_OPEN)?;
        let frozen = canvas.gauge(&FROZEN)?;
        // From zero on, so that alerts have something to compare with.
        frozen.with_label_values(&[""]);
        let step = canvas.gauge(&ROTATION_STEP)?;
        let awaited = canvas.gauge(&ROTATION_REMOVAL_AWAITED)?;
        for sighting in &self.sightings {
            for name in Stage::NAMES {
                step.with_label_values(&[sighting.id.as_str(), name]);
            }
            awaited.with_label_values(&[sighting.id.as_str()]);
            broken.with_label_values(&[sighting.id.as_str()]);
            frozen.with_label_values(&[sighting.id.as_str()]);
        }
        for key_store in &self.freezes {
            frozen.with_label_values(&[key_store.as_ref().map_or("", CustomKeyStoreId::as_str)]).set(1.0);
        }
        for update in &self.open_updates {
            if let Some(rotation) = &update.rotation {
                let key_store = update.key_store.as_str();
                step.with_label_values(&[key_store, rotation.stage.as_str()]).set(1.0);
                awaited.with_label_values(&[key_store]).set(rotation.removal_awaited.unwrap_or(0.0));
            }
            if update.breaks_glass {
                broken.with_label_values(&[update.key_store.as_str()]).inc();
            }
            open.with_label_values(&[update.key_store.as_str(), update.status.as_str()]).inc();
        }
        Ok(())
    }

    fn discovery(&self, canvas: &Canvas) -> Result<(), prometheus::Error> {
        let failing = canvas.gauge(&DISCOVERY_FAILING)?;
        let success = canvas.gauge(&DISCOVERY_SUCCESS)?;
        for PlaceSight { place, told_at, failure } in &self.places {
            let labels = [place.account.as_str(), place.region.as_str()];
            failing.with_label_values(&labels).set(number(failure.is_some()));
            if let Some(at) = told_at {
                success.with_label_values(&labels).set(at.unix() as f64);
            }
        }
        Ok(())
    }

    fn keys(&self, canvas: &Canvas) -> Result<(), prometheus::Error> {
        let keys = canvas.gauge(&KMS_KEYS)?;
        for KeyCounts { key_store, found, denied, outstanding } in &self.key_counts {
            for (state, count) in [("found", found), ("denied", denied), ("outstanding", outstanding)] {
                keys.with_label_values(&[key_store.as_str(), state]).set(*count as f64);
            }
        }
        Ok(())
    }

    fn descriptions(&self, canvas: &Canvas) -> Result<(), prometheus::Error> {
        let state = canvas.gauge(&KEY_STORE_CONNECTION_STATE)?;
        let info = canvas.gauge(&KEY_STORE_INFO)?;
        let described = self.sightings.iter().filter_map(|sighting| sighting.description.as_ref());
        for KeyStore { id, name, state: found, configuration, .. } in described {
            let known = ConnectionState::NAMES.contains(&found.name());
            for each in ConnectionState::NAMES {
                state.with_label_values(&[id.as_str(), each]).set(number(found.name() == each));
            }
            // A state that AWS added later is shown, but under a word of ours: labels are closed.
            state.with_label_values(&[id.as_str(), "UNRECOGNIZED"]).set(number(!known));
            let connectivity = match configuration {
                crate::key_store::Configuration::Xks(xks) => xks.connectivity.kind().as_str(),
                _ => "",
            };
            info.with_label_values(&[id.as_str(), name.as_str(), configuration.store_type(), connectivity]).set(1.0);
        }
        Ok(())
    }

    fn reports(&self, canvas: &Canvas, every_check: bool) -> Result<(), prometheus::Error> {
        let success = canvas.gauge(&PROBE_SUCCESS)?;
        let failing = canvas.gauge(&CHECK_FAILING)?;
        let duration = canvas.gauge(&PROBE_DURATION)?;
        let managers = canvas.gauge(&EXTERNAL_KEY_MANAGER_STATE)?;
        let fleet = canvas.gauge(&PROXY_FLEET_SIZE)?;
        let canaries = canvas.gauge(&CANARY_TIMESTAMP)?;
        let not_after = canvas.gauge(&CERTIFICATE_NOT_AFTER)?;
        for sighting in self.sightings.iter().filter(|sighting| sighting.watched) {
            let id = sighting.id.as_str();
            let report = sighting.latest.as_deref();
            if let Some(at) = sighting.canary {
                canaries.with_label_values(&[id]).set(at.unix() as f64);
            }
            // Before its first turn nothing is known; when its turn came and it could not be probed, that is no success.
            if report.is_some() || sighting.not_probed.is_some() {
                let ready = report.is_some_and(|report| report.verdict() == Verdict::Ready);
                success.with_label_values(&[id]).set(number(ready));
            }
            for check in CATALOGUE.iter() {
                let level = report.map_or(check.level, |report| report.level(check)).as_str();
                let fails = report.is_some_and(|r| r.findings.iter().any(|f| f.check == check && f.is_failed()));
                if fails || every_check {
                    failing.with_label_values(&[id, check.id, level]).set(number(fails));
                }
            }
            let Some(report) = report else { continue };
            for (phase, took) in phases(report) {
                duration.with_label_values(&[id, phase]).set(took.as_secs_f64());
            }
            for (position, at) in expiries(&report.evidence.addresses) {
                not_after.with_label_values(&[id, &position]).set(at as f64);
            }
            let Some(health) = health(report) else { continue };
            fleet.with_label_values(&[id]).set(health.xks_proxy_fleet_size as f64);
            for each in EkmHealth::ALL {
                let count = health.ekm_fleet_details.iter().filter(|manager| manager.health_status == each).count();
                managers.with_label_values(&[id, each.as_str()]).set(count as f64);
            }
        }
        Ok(())
    }
}

struct Canvas {
    registry: Registry,
}

impl Canvas {
    fn gauge(&self, metric: &Metric) -> Result<GaugeVec, prometheus::Error> {
        let gauge = GaugeVec::new(Opts::new(metric.full_name(), metric.help), metric.labels)?;
        self.registry.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    }
}

fn number(yes: bool) -> f64 {
    if yes { 1.0 } else { 0.0 }
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
