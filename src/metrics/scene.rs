//! Gauges, projected from what is known at the moment of a scrape.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::encode::{Family, Gauge};
use super::projection::{Projection, Projections};
use super::{
    AUDIT_ENTRIES, BREAK_GLASS_OPEN, BUILD_INFO, CANARY_TIMESTAMP, CANDIDATE_GREEN_REQUIRED, CANDIDATE_GREEN_SINCE,
    CANDIDATE_PROBE_SUCCESS, CERTIFICATE_NOT_AFTER, CHECK_FAILING, CONFIG_LAST_RELOAD_SUCCESS,
    CONFIG_LAST_RELOAD_SUCCESSFUL, CREDENTIAL_PENDING, CREDENTIAL_SET, CREDENTIAL_SOURCE_READ, DISCOVERY_FAILING,
    DISCOVERY_SUCCESS, DRIFT, EXTERNAL_KEY_MANAGER_STATE, FROZEN, KEY_STORE_CONNECTION_STATE, KEY_STORE_INFO, KMS_KEYS,
    PERSPECTIVE_ANSWERED, PERSPECTIVE_UP, PROBE_DURATION, PROBE_SUCCESS, PROXY_FLEET_SIZE, ROTATION_REMOVAL_AWAITED,
    ROTATION_STEP, UPDATE_OPEN, WAIVER_END,
};
use crate::check::{CATALOGUE, Check, Waiver};
use crate::clock::Timestamp;
use crate::key_store::{CandidateName, ConnectionState, CustomKeyStoreId, KeyStore};
use crate::keyring::Standing;
use crate::monitor::{PlaceSight, Sighting};
use crate::perspective::Attended;
use crate::update::{Stage, StatusName};

/// Everything that gauges are projected from.
#[derive(Clone, Debug)]
pub struct Scene {
    /// What the monitor knows.
    pub sightings: Vec<Arc<Sighting>>,
    /// The candidates that are watched.
    pub candidates: Vec<CandidateGauges>,
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
    /// How the other perspectives did when they were last asked.
    pub perspectives: Vec<(String, Attended)>,
    /// How the configuration was when it was last read.
    pub configuration: ConfigurationStanding,
    /// The number of the last line of the audit trail, if it could be read.
    pub audit_entries: Option<u64>,
}

/// A watched candidate whose settings are not in force.
#[derive(Clone, Debug)]
pub struct CandidateGauges {
    /// Of this key store.
    pub key_store: CustomKeyStoreId,
    /// Its name.
    pub candidate: CandidateName,
    /// Whether it was ready when its turn came last; absent before that.
    pub ready: Option<bool>,
    /// Since when it is green, if it is.
    pub green_since: Option<Timestamp>,
    /// For how long it must have been.
    pub required: Duration,
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
    pub(super) fn project(&self, every_check: bool, projections: &Projections) -> Vec<Family> {
        let mut gauges = vec![];
        let mut single = |metric, values: &[&str], value| {
            let mut gauge = Gauge::new(metric);
            gauge.row(values, value);
            gauges.push(gauge);
        };
        single(&BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1.0);
        single(&CONFIG_LAST_RELOAD_SUCCESSFUL, &[], number(self.configuration.good));
        single(&CONFIG_LAST_RELOAD_SUCCESS, &[], self.configuration.good_at.unix() as f64);
        if let Some(sequence) = self.audit_entries {
            single(&AUDIT_ENTRIES, &[], sequence as f64);
        }
        let mut ends = Gauge::new(&WAIVER_END);
        let end = |(key_store, waiver): &'_ (CustomKeyStoreId, Waiver)| {
            Some(((key_store.clone(), waiver.check.clone()), waiver.until?))
        };
        for ((key_store, check), until) in self.waivers.iter().filter_map(end).collect::<BTreeMap<_, _>>() {
            ends.row(&[key_store.as_str(), &check], until.unix() as f64);
        }
        gauges.push(ends);
        for (metric, times) in [(&CREDENTIAL_SET, &self.credentials_set), (&DRIFT, &self.drifts)] {
            let mut gauge = Gauge::new(metric);
            for (key_store, at) in times {
                gauge.row(&[key_store.as_str()], at.unix() as f64);
            }
            gauges.push(gauge);
        }
        gauges.extend(self.updates());
        gauges.extend(self.discovery());
        gauges.extend(self.candidates());
        gauges.extend(self.perspectives());
        gauges.extend(self.credential_sources());
        gauges.extend(self.descriptions());
        gauges.push(self.keys());
        let projections = projections.of(self.watched());
        gauges.extend(self.reports(&projections));
        gauges.push(self.checks(every_check, &projections));
        gauges.into_iter().filter_map(Gauge::finish).collect()
    }

    fn perspectives(&self) -> [Gauge; 2] {
        let (mut up, mut answered) = (Gauge::new(&PERSPECTIVE_UP), Gauge::new(&PERSPECTIVE_ANSWERED));
        for (name, attended) in &self.perspectives {
            up.row(&[name.as_str()], number(attended.up));
            if let Some(at) = attended.answered_at {
                answered.row(&[name.as_str()], at.unix() as f64);
            }
        }
        [up, answered]
    }

    fn credential_sources(&self) -> [Gauge; 2] {
        let (mut pending, mut read) = (Gauge::new(&CREDENTIAL_PENDING), Gauge::new(&CREDENTIAL_SOURCE_READ));
        for (key_store, standing) in &self.credential_sources {
            let is_read = !matches!(standing, Standing::Unread { .. });
            read.row(&[key_store.as_str()], number(is_read));
            if let Standing::Pending { since, .. }
            | Standing::Untold { since, .. }
            | Standing::Elsewhere { since, .. } = standing
            {
                pending.row(&[key_store.as_str()], since.unix() as f64);
            }
        }
        [pending, read]
    }

    fn updates(&self) -> [Gauge; 5] {
        // Rows are there from zero on, so that alerts have something to compare with.
        let ids: Vec<&str> = self.sightings.iter().map(|sighting| sighting.id.as_str()).collect();
        let zeros = || ids.iter().map(|id| (*id, 0.0)).collect::<BTreeMap<&str, f64>>();
        let (mut frozen, mut awaited, mut broken) = (zeros(), zeros(), zeros());
        let mut steps: BTreeMap<&str, Option<Stage>> = ids.iter().map(|id| (*id, None)).collect();
        let mut open = BTreeMap::<_, f64>::new();
        frozen.insert("", 0.0);
        for key_store in &self.freezes {
            frozen.insert(key_store.as_ref().map_or("", CustomKeyStoreId::as_str), 1.0);
        }
        for update in &self.open_updates {
            let id = update.key_store.as_str();
            if let Some(rotation) = &update.rotation {
                steps.insert(id, Some(rotation.stage));
                awaited.insert(id, rotation.removal_awaited.unwrap_or(0.0));
            }
            if update.breaks_glass {
                *broken.entry(id).or_default() += 1.0;
            }
            *open.entry((id, update.status.as_str())).or_default() += 1.0;
        }
        let mut step = Gauge::new(&ROTATION_STEP);
        for (id, stage) in steps {
            for name in Stage::NAMES {
                step.row(&[id, name], number(stage.is_some_and(|stage| stage.as_str() == name)));
            }
        }
        let mut opened = Gauge::new(&UPDATE_OPEN);
        for ((id, status), count) in open {
            opened.row(&[id, status], count);
        }
        let each = |metric, values: BTreeMap<&str, f64>| {
            let mut gauge = Gauge::new(metric);
            for (id, value) in values {
                gauge.row(&[id], value);
            }
            gauge
        };
        [each(&FROZEN, frozen), each(&ROTATION_REMOVAL_AWAITED, awaited), each(&BREAK_GLASS_OPEN, broken), step, opened]
    }

    fn discovery(&self) -> [Gauge; 2] {
        let (mut failing, mut success) = (Gauge::new(&DISCOVERY_FAILING), Gauge::new(&DISCOVERY_SUCCESS));
        for PlaceSight { place, told_at, failure } in &self.places {
            let labels = [place.account.as_str(), place.region.as_str()];
            failing.row(&labels, number(failure.is_some()));
            if let Some(at) = told_at {
                success.row(&labels, at.unix() as f64);
            }
        }
        [failing, success]
    }

    fn candidates(&self) -> [Gauge; 3] {
        let mut success = Gauge::new(&CANDIDATE_PROBE_SUCCESS);
        let mut green_since = Gauge::new(&CANDIDATE_GREEN_SINCE);
        let mut required = Gauge::new(&CANDIDATE_GREEN_REQUIRED);
        for gauges in &self.candidates {
            let labels = [gauges.key_store.as_str(), gauges.candidate.as_str()];
            if let Some(ready) = gauges.ready {
                success.row(&labels, number(ready));
            }
            if let Some(at) = gauges.green_since {
                green_since.row(&labels, at.unix() as f64);
            }
            required.row(&labels, gauges.required.as_secs_f64());
        }
        [success, green_since, required]
    }

    fn keys(&self) -> Gauge {
        let mut keys = Gauge::new(&KMS_KEYS);
        for KeyCounts { key_store, found, denied, outstanding } in &self.key_counts {
            for (state, count) in [("found", found), ("denied", denied), ("outstanding", outstanding)] {
                keys.row(&[key_store.as_str(), state], *count as f64);
            }
        }
        keys
    }

    fn descriptions(&self) -> [Gauge; 2] {
        let (mut state, mut info) = (Gauge::new(&KEY_STORE_CONNECTION_STATE), Gauge::new(&KEY_STORE_INFO));
        let described = self.sightings.iter().filter_map(|sighting| sighting.description.as_ref());
        for KeyStore { id, name, state: found, configuration, .. } in described {
            let known = ConnectionState::NAMES.contains(&found.name());
            for each in ConnectionState::NAMES {
                state.row(&[id.as_str(), each], number(found.name() == each));
            }
            // A state that AWS added later is shown, but under a word of ours: labels are closed.
            state.row(&[id.as_str(), "UNRECOGNIZED"], number(!known));
            let connectivity = match configuration {
                crate::key_store::Configuration::Xks(xks) => xks.connectivity.kind().as_str(),
                _ => "",
            };
            info.row(&[id.as_str(), name.as_str(), configuration.store_type(), connectivity], 1.0);
        }
        [state, info]
    }

    fn watched(&self) -> impl Iterator<Item = &Sighting> {
        self.sightings.iter().map(Arc::as_ref).filter(|sighting| sighting.watched)
    }

    fn checks(&self, every_check: bool, projections: &HashMap<CustomKeyStoreId, Arc<Projection>>) -> Gauge {
        let mut failing = Gauge::new(&CHECK_FAILING);
        for sighting in self.watched() {
            let id = sighting.id.as_str();
            let report = sighting.current();
            let level = |check: &Check| report.map_or(check.level, |report| report.level(check)).as_str();
            let fails = projections.get(&sighting.id).map_or(&[][..], |projection| &projection.failing);
            if every_check {
                for check in CATALOGUE.iter() {
                    failing.row(&[id, check.id, level(check)], number(fails.contains(&check)));
                }
            } else {
                for check in fails {
                    failing.row(&[id, check.id, level(check)], 1.0);
                }
            }
        }
        failing
    }

    fn reports(&self, projections: &HashMap<CustomKeyStoreId, Arc<Projection>>) -> [Gauge; 6] {
        let (mut success, mut duration) = (Gauge::new(&PROBE_SUCCESS), Gauge::new(&PROBE_DURATION));
        let (mut managers, mut fleets) = (Gauge::new(&EXTERNAL_KEY_MANAGER_STATE), Gauge::new(&PROXY_FLEET_SIZE));
        let (mut canaries, mut not_after) = (Gauge::new(&CANARY_TIMESTAMP), Gauge::new(&CERTIFICATE_NOT_AFTER));
        for sighting in self.watched() {
            let id = sighting.id.as_str();
            let projection = projections.get(&sighting.id);
            if let Some(at) = sighting.canary {
                canaries.row(&[id], at.unix() as f64);
            }
            // Before its first turn nothing is known; when its turn came and it could not be probed, that is no success.
            if projection.is_some() || sighting.not_probed.is_some() {
                success.row(&[id], number(projection.is_some_and(|projection| projection.is_ready)));
            }
            let Some(projection) = projection else { continue };
            for (phase, took) in &projection.phases {
                duration.row(&[id, phase], took.as_secs_f64());
            }
            for (position, at) in &projection.expiries {
                not_after.row(&[id, position], *at as f64);
            }
            let Some(fleet) = &projection.fleet else { continue };
            fleets.row(&[id], fleet.size);
            for (state, count) in &fleet.managers {
                managers.row(&[id, state], *count as f64);
            }
        }
        [success, duration, managers, fleets, canaries, not_after]
    }
}

fn number(yes: bool) -> f64 {
    if yes { 1.0 } else { 0.0 }
}
