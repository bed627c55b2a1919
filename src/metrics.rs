//! Every metric name, help text and label, in one list; what is counted as it happens, and what is projected from the
//! latest reports at the moment of a scrape.
//!
//! # How it works
//!
//! [`METRICS`] is the list: a metric that is not in it cannot be made, and a test compares it with what is exposed.
//! Counters and histograms live as long as the process. Gauges are made anew for each scrape from a [`Scene`], so that
//! a key store that is gone leaves no stale series behind.
//!
//! # What can go wrong
//!
//! Labels are closed vocabularies (check ids, problem kinds, states) or identifiers of configured key stores; the
//! words a proxy chooses are never labels, apart from the specification's own error names.

pub mod blackbox;
mod counted;
mod encode;
mod projection;
mod scene;

use prometheus::{CounterVec, HistogramOpts, HistogramVec, Opts, Registry};

pub use counted::{CountedDescriber, CountedJournal, CountedLister, CountedMaker, CountedReader, CountedWriter};
pub use encode::Exposition;
pub use scene::{CandidateGauges, ConfigurationStanding, KeyCounts, OpenRotation, OpenUpdate, Scene};

use crate::check::{Report, Verdict};
use crate::drift::{Drift, DriftKind};
use crate::key_store::CustomKeyStoreId;
use crate::update::{Denied, Refusal};
use crate::xks::{self, ErrorName};

/// What all names begin with.
pub const PREFIX: &str = "xks_preflight_";

/// A metric's kind in the exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises; its name ends in `_total`.
    Counter,
    /// A present value, projected at scrape time.
    Gauge,
    /// Observations in buckets.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The name after [`PREFIX`].
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// One sentence for people.
    pub help: &'static str,
    /// Its labels, in order.
    pub labels: &'static [&'static str],
}

impl Metric {
    /// The whole name.
    pub fn full_name(&self) -> String {
        format!("{PREFIX}{}", self.name)
    }
}

/// Edges of `probe_seconds`: AWS's recommended round trip (35 ms), KMS's limit (250 ms), twice it, and some between.
pub const PROBE_EDGES: [f64; 10] = [0.005, 0.01, 0.02, 0.035, 0.05, 0.1, 0.2, 0.25, 0.5, 1.0];

/// Edges of `probe_lag_seconds`: a tenth of a second is nothing to a probe each minute.
pub const LAG_EDGES: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 10.0];

/// Edges of `update_disconnected_seconds`: AWS speaks of about five minutes for each transition.
pub const DISCONNECTED_EDGES: [f64; 9] = [1.0, 10.0, 60.0, 180.0, 300.0, 600.0, 900.0, 1800.0, 3600.0];

macro_rules! metrics {
    ($($ident:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        $(pub(crate) const $ident: Metric =
            Metric { name: $name, kind: Kind::$kind, help: $help, labels: &[$($label),*] };)+

        /// Every metric there is, in the order of the documents.
        pub const METRICS: &[Metric] = &[$($ident),+];
    };
}

metrics! {
    BUILD_INFO = Gauge "build_info" ["version"] "Always 1; the label tells which build runs.";
    CONFIG_LAST_RELOAD_SUCCESSFUL = Gauge "config_last_reload_successful" [] "Whether the configuration was good when it was last read.";
    CONFIG_LAST_RELOAD_SUCCESS = Gauge "config_last_reload_success_timestamp_seconds" [] "When a good configuration was last read.";
    PROBE_SUCCESS = Gauge "probe_success" ["key_store"] "Whether the verdict of the latest probe of the current settings was ready.";
    PROBE_DURATION = Gauge "probe_duration_seconds" ["key_store", "phase"] "Slowest time of each phase in the latest probe.";
    PROBE_SECONDS = Histogram "probe_seconds" ["key_store"] "Connect, TLS and request of each cold attempt, which KMS gives 0.25 seconds.";
    PROBE_LAG = Histogram "probe_lag_seconds" [] "By how much after its time each probe began: places are short, or the processor is.";
    PROBES = Counter "probes_total" ["key_store", "result", "problem"] "Probes by verdict and kind of the deciding problem.";
    CHECK_FAILING = Gauge "check_failing" ["key_store", "check", "level"] "Whether the check fails in the latest probe; every check is there.";
    WAIVER_END = Gauge "waiver_end_timestamp_seconds" ["key_store", "check"] "When the waiver of the check ends, for every waiver in force.";
    PROXY_ERRORS = Counter "proxy_errors_total" ["key_store", "error_name", "retryable"] "Errors that the proxy answered with, by the name in its answer.";
    EXTERNAL_KEY_MANAGER_STATE = Gauge "external_key_manager_state" ["key_store", "state"] "How many external key managers the proxy reports in each state.";
    PROXY_FLEET_SIZE = Gauge "proxy_fleet_size" ["key_store"] "How many proxies the proxy says serve the key store.";
    CERTIFICATE_NOT_AFTER = Gauge "certificate_not_after_timestamp_seconds" ["key_store", "position"] "End of validity of the presented certificates, the earliest over all addresses.";
    CREDENTIAL_SET = Gauge "credential_set_timestamp_seconds" ["key_store"] "When the proxy's credential was set, as far as is known: by an update, elsewhere while the daemon looked, or with the key store.";
    CREDENTIAL_PENDING = Gauge "credential_pending_timestamp_seconds" ["key_store"] "Since when the source of the credential shows another one that the proxy has not accepted or KMS was not told; absent if it does not.";
    CREDENTIAL_SOURCE_READ = Gauge "credential_source_read" ["key_store"] "Whether the source of the credential could be read when it was last looked at.";
    DRIFT = Gauge "drift_timestamp_seconds" ["key_store"] "When KMS last showed name or settings that no update of xks-preflight made; absent if never since the start.";
    DRIFTS = Counter "drift_total" ["kind"] "Changes of key stores behind our back by kind: added, changed, deleted, renamed.";
    DISCOVERY_FAILING = Gauge "discovery_failing" ["account", "region"] "Whether the key stores of the account and Region could not be read from KMS at the last attempt.";
    DISCOVERY_SUCCESS = Gauge "discovery_success_timestamp_seconds" ["account", "region"] "When KMS last told of the key stores of the account and Region; absent if never since the start.";
    PERSPECTIVE_UP = Gauge "perspective_up" ["perspective"] "Whether the other perspective gave an answer that counts when it was last asked for anything, at least every minute.";
    PERSPECTIVE_ANSWERED = Gauge "perspective_last_answer_timestamp_seconds" ["perspective"] "When the other perspective last gave an answer that counts; absent if never since the start.";
    CANARY_TIMESTAMP = Gauge "canary_timestamp_seconds" ["key_store"] "When the latest canary of the current settings was made; absent if there is none.";
    CANDIDATE_PROBE_SUCCESS = Gauge "candidate_probe_success" ["key_store", "candidate"] "Whether the verdict of the latest probe of a planned candidate was ready; absent once its settings are in force.";
    CANDIDATE_GREEN_SINCE = Gauge "candidate_green_since_timestamp_seconds" ["key_store", "candidate"] "Since when every probe of the candidate was ready, without a gap; absent while it is not green.";
    CANDIDATE_GREEN_REQUIRED = Gauge "candidate_green_required_seconds" ["key_store", "candidate"] "How long the candidate must have been green before the gate lets an update to its settings begin.";
    KEY_STORE_CONNECTION_STATE = Gauge "key_store_connection_state" ["key_store", "state"] "1 for the state that KMS shows, 0 for the others.";
    KEY_STORE_INFO = Gauge "key_store_info" ["key_store", "name", "type", "connectivity"] "Always 1; what KMS tells of the key store.";
    KMS_KEYS = Gauge "kms_keys" ["key_store", "state"] "KMS keys: found in the key store, and those of account and Region that may be in it (denied, outstanding).";
    PREFLIGHTS = Counter "preflights_total" ["verdict"] "Pre-flights of candidates by verdict.";
    UPDATES = Counter "updates_total" ["outcome"] "Concluded updates by outcome.";
    UPDATE_OPEN = Gauge "update_open" ["key_store", "status"] "Updates that have not concluded.";
    UPDATE_DISCONNECTED = Histogram "update_disconnected_seconds" [] "How long a key store was not CONNECTED because of an update, its keys being unavailable.";
    ROTATION_STEP = Gauge "rotation_step" ["key_store", "step"] "1 for the step that the rotation of a credential is in after its update, 0 for the others.";
    ROTATION_REMOVAL_AWAITED = Gauge "rotation_removal_awaited_seconds" ["key_store"] "For how long somebody is to remove the former credential of a rotation at the proxy; 0 while nobody is.";
    GATE_DENIALS = Counter "gate_denials_total" ["reason"] "Updates that were not allowed to change anything, and requests that were refused to their caller, by reason.";
    BREAK_GLASS = Counter "break_glass_total" ["key_store"] "Updates that pass by approval, freeze and windows because somebody broke the glass.";
    BREAK_GLASS_OPEN = Gauge "break_glass_open" ["key_store"] "Such updates that have not concluded.";
    FROZEN = Gauge "frozen" ["key_store"] "1 where a freeze is in force, else 0; the label is empty for a freeze of every key store.";
    KMS_ENDPOINT_REQUESTS = Counter "kms_endpoint_requests_total" ["operation", "result"] "Requests to the KMS drop-in endpoint by operation, and ok or the exception.";
    AUDIT_ENTRIES = Gauge "audit_entries" [] "The number of the last line of the audit trail; it never falls.";
    AUDIT_LEFT_OUT = Counter "audit_refusals_left_out_total" [] "Refusals without a line of their own in the audit trail, because there were too many at once.";
    KMS_REQUESTS = Counter "kms_requests_total" ["operation", "result"] "Calls of AWS KMS by operation and result.";
}

/// Why an update was kept from changing anything, or a request was refused to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The settings are not fit, or nobody could tell.
    Blocked,
    /// It was not allowed to begin for another reason.
    Refused,
    /// No plan could be made.
    Unplannable,
    /// Another update of the same key store is open.
    Locked,
    /// It puts keys out of use, and nobody said that this is known.
    Unacknowledged,
    /// The plan expired before its first mutation.
    Expired,
    /// The key store is not any more what the plan was made for.
    Drift,
    /// Whoever asked for the update tried to approve it.
    Author,
    /// An approval of another plan or report.
    OtherPlan,
    /// An approval by somebody who has given theirs.
    AlreadyApproved,
    /// An approval of what does not wait for one.
    NotAwaitingApproval,
    /// Nobody was recognised.
    Unauthenticated,
    /// A token that has expired.
    ExpiredToken,
    /// Somebody without the permission, there.
    Forbidden,
    /// A page of another site, while nobody is asked who they are.
    ForeignOrigin,
    /// Somebody asked too often.
    RateLimited,
    /// Changes are frozen.
    Frozen,
    /// Keys would be out of use outside the maintenance windows.
    OutsideWindow,
    /// The new settings were not watched, or not green for long enough.
    NotGreen,
}

impl Denial {
    /// Every reason.
    pub const ALL: [Self; 19] = [
        Self::Blocked,
        Self::Refused,
        Self::Unplannable,
        Self::Locked,
        Self::Unacknowledged,
        Self::Expired,
        Self::Drift,
        Self::Author,
        Self::OtherPlan,
        Self::AlreadyApproved,
        Self::NotAwaitingApproval,
        Self::Unauthenticated,
        Self::ExpiredToken,
        Self::Forbidden,
        Self::ForeignOrigin,
        Self::RateLimited,
        Self::Frozen,
        Self::OutsideWindow,
        Self::NotGreen,
    ];

    /// The reason for which the gate did not take something.
    pub fn of(denied: &Denied) -> Self {
        match denied {
            Denied::AuthorMayNotApprove { .. } => Self::Author,
            Denied::OtherPlan => Self::OtherPlan,
            Denied::AlreadyApproved { .. } => Self::AlreadyApproved,
            Denied::OutageNotAcknowledged => Self::Unacknowledged,
            Denied::NotAwaitingApproval { .. } => Self::NotAwaitingApproval,
            Denied::Expired { .. } => Self::Expired,
            Denied::Frozen(_) => Self::Frozen,
            Denied::OutsideWindow { .. } => Self::OutsideWindow,
            Denied::NotGreen(_) => Self::NotGreen,
            Denied::NotReady { .. } | Denied::OtherSettings { .. } | Denied::Stale { .. } => Self::Blocked,
            Denied::NothingToRestore | Denied::NotNext { .. } => Self::Refused,
        }
    }

    /// The reason for which an update was not allowed to begin.
    pub fn refused(reason: Refusal) -> Self {
        match reason {
            Refusal::Expired => Self::Expired,
            Refusal::Drift => Self::Drift,
            Refusal::Frozen => Self::Frozen,
            Refusal::OutsideWindow => Self::OutsideWindow,
            Refusal::NotGreen => Self::NotGreen,
            Refusal::Gone | Refusal::NoEffect | Refusal::Unnamed => Self::Refused,
        }
    }

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Refused => "refused",
            Self::Unplannable => "unplannable",
            Self::Locked => "locked",
            Self::Unacknowledged => "outage_not_acknowledged",
            Self::Expired => "expired",
            Self::Drift => "drift",
            Self::Author => "author_may_not_approve",
            Self::OtherPlan => "other_plan",
            Self::AlreadyApproved => "already_approved",
            Self::NotAwaitingApproval => "not_awaiting_approval",
            Self::Unauthenticated => "unauthenticated",
            Self::ExpiredToken => "expired_token",
            Self::Forbidden => "forbidden",
            Self::ForeignOrigin => "foreign_origin",
            Self::RateLimited => "rate_limited",
            Self::Frozen => "frozen",
            Self::OutsideWindow => "outside_window",
            Self::NotGreen => "not_green",
        }
    }
}

/// What is counted as it happens.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Whether every check has a series, or only those that fail.
    every_check: bool,
    projections: projection::Projections,
    probe_seconds: HistogramVec,
    probe_lag: HistogramVec,
    probes: CounterVec,
    proxy_errors: CounterVec,
    preflights: CounterVec,
    updates: CounterVec,
    update_disconnected: HistogramVec,
    gate_denials: CounterVec,
    break_glass: CounterVec,
    kms_endpoint_requests: CounterVec,
    kms_requests: CounterVec,
    audit_left_out: CounterVec,
    drifts: CounterVec,
}

impl Metrics {
    /// A registry of its own; closed vocabularies begin at zero, so that a first increment is an increase.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let metrics = Self {
            probe_seconds: histogram(&registry, &PROBE_SECONDS, &PROBE_EDGES)?,
            probe_lag: histogram(&registry, &PROBE_LAG, &LAG_EDGES)?,
            probes: counter(&registry, &PROBES)?,
            proxy_errors: counter(&registry, &PROXY_ERRORS)?,
            preflights: counter(&registry, &PREFLIGHTS)?,
            updates: counter(&registry, &UPDATES)?,
            update_disconnected: histogram(&registry, &UPDATE_DISCONNECTED, &DISCONNECTED_EDGES)?,
            gate_denials: counter(&registry, &GATE_DENIALS)?,
            break_glass: counter(&registry, &BREAK_GLASS)?,
            kms_endpoint_requests: counter(&registry, &KMS_ENDPOINT_REQUESTS)?,
            kms_requests: counter(&registry, &KMS_REQUESTS)?,
            audit_left_out: counter(&registry, &AUDIT_LEFT_OUT)?,
            drifts: counter(&registry, &DRIFTS)?,
            registry,
            every_check: true,
            projections: projection::Projections::default(),
        };
        for verdict in Verdict::ALL {
            metrics.preflights.with_label_values(&[verdict.as_str()]);
        }
        for status in crate::update::StatusName::ALL.into_iter().filter(|status| status.is_final()) {
            metrics.updates.with_label_values(&[status.as_str()]);
        }
        for kind in DriftKind::ALL {
            metrics.drifts.with_label_values(&[kind.as_str()]);
        }
        for denial in Denial::ALL {
            metrics.gate_denials.with_label_values(&[denial.as_str()]);
        }
        for operation in [
            "ConnectCustomKeyStore",
            "CreateCustomKeyStore",
            "DescribeCustomKeyStores",
            "DisconnectCustomKeyStore",
            "UpdateCustomKeyStore",
        ] {
            metrics.kms_endpoint_requests.with_label_values(&[operation, "ok"]);
        }
        metrics.probe_lag.with_label_values(&[] as &[&str]);
        metrics.update_disconnected.with_label_values(&[] as &[&str]);
        metrics.audit_left_out.with_label_values(&[] as &[&str]);
        Ok(metrics)
    }

    /// With a series for checks that fail alone: a hundred for each of thousands of key stores are too many.
    #[must_use]
    pub fn of_failing_checks(mut self) -> Self {
        self.every_check = false;
        self
    }

    /// Notes by how much after its time a probe began.
    pub fn probe_began(&self, late: std::time::Duration) {
        self.probe_lag.with_label_values(&[] as &[&str]).observe(late.as_secs_f64());
    }

    /// Counts a probe of a key store's current settings.
    pub fn probed(&self, key_store: &CustomKeyStoreId, report: &Report) {
        let key_store = key_store.as_str();
        let problem = report.problem_kind().map_or("none", crate::check::ProblemKind::as_str);
        self.probes.with_label_values(&[key_store, report.verdict().as_str(), problem]).inc();
        let seconds = self.probe_seconds.with_label_values(&[key_store]);
        // From zero on, so that the first broken glass is an increase.
        self.break_glass.with_label_values(&[key_store]);
        for sample in report.evidence.addresses.iter().flat_map(crate::check::AddressEvidence::cold) {
            for attempt in sample.attempts() {
                seconds.observe(attempt.total().as_secs_f64());
                let refusal = attempt.exchange.as_ref().filter(|exchange| exchange.status != 200);
                if let Some(Ok(refusal)) = refusal.map(|exchange| xks::Refusal::parse(&exchange.body)) {
                    self.proxy_errors.with_label_values(&proxy_error(key_store, &refusal)).inc();
                }
            }
        }
    }

    /// Counts a pre-flight of a candidate.
    pub fn preflighted(&self, verdict: Verdict) {
        self.preflights.with_label_values(&[verdict.as_str()]).inc();
    }

    /// Counts an update that was not allowed to change anything.
    pub fn denied(&self, denial: Denial) {
        self.gate_denials.with_label_values(&[denial.as_str()]).inc();
    }

    /// Counts a request to the KMS drop-in endpoint. Both are words of ours.
    pub fn asked_at_kms_endpoint(&self, operation: &'static str, result: &'static str) {
        self.kms_endpoint_requests.with_label_values(&[operation, result]).inc();
    }

    /// Counts a change behind our back, once for each of its kinds.
    pub fn drifted(&self, drift: &Drift) {
        for kind in &drift.kinds {
            self.drifts.with_label_values(&[kind.as_str()]).inc();
        }
    }

    /// Counts refusals that get no line of their own in the audit trail.
    pub fn left_out(&self, refusals: u64) {
        self.audit_left_out.with_label_values(&[] as &[&str]).inc_by(refusals as f64);
    }

    /// Everything as text, in the form that the scraper's `Accept` asks for.
    pub fn expose(&self, scene: &Scene, accept: Option<&str>) -> Result<Exposition, prometheus::Error> {
        let counted = self.registry.gather();
        let mut families = counted.iter().map(encode::Family::of).collect::<Result<Vec<_>, _>>()?;
        families.extend(scene.project(self.every_check, &self.projections));
        Ok(encode::encode(families, accept))
    }
}

fn proxy_error<'a>(key_store: &'a str, refusal: &xks::Refusal) -> [&'a str; 3] {
    // The name as sent could be anything; only the specification's names are labels.
    let name = refusal.name.map_or("unrecognized", ErrorName::as_str);
    let retryable = refusal.name.map(ErrorName::retryable);
    [key_store, name, retryable.map_or("unknown", |retryable| if retryable { "true" } else { "false" })]
}

fn counter(registry: &Registry, metric: &Metric) -> Result<CounterVec, prometheus::Error> {
    let counter = CounterVec::new(Opts::new(metric.full_name(), metric.help), metric.labels)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn histogram(registry: &Registry, metric: &Metric, edges: &[f64]) -> Result<HistogramVec, prometheus::Error> {
    let options = HistogramOpts::new(metric.full_name(), metric.help).buckets(edges.to_vec());
    let histogram = HistogramVec::new(options, metric.labels)?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}
