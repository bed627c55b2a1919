//! What a scrape gives is what the list of metrics says, and promtool agrees.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use xks_preflight::key_store::{
    AccessKeyId, CandidateName, Change, CustomKeyStoreId, ProxyCredential, RawSecretAccessKey, XksProxyUriEndpoint,
};
use xks_preflight::metrics::{Kind, METRICS, Scene};
use xks_preflight::monitor::WatchedCandidate;
use xks_preflight::perspective::Attended;
use xks_preflight::sandbox::fault::Fault;

use super::bench::{Bench, KEY_ID, NEW, NEW_SECRET};

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_the_list_is_exposed_as_the_list_says() {
    let bench = Bench::new("metrics").await;
    let mut watched = bench.service.monitor.watched(&CustomKeyStoreId::parse(&bench.store).unwrap()).unwrap();
    let change = Change { endpoint: Some(XksProxyUriEndpoint::parse(NEW).unwrap()), ..Change::default() };
    let name = CandidateName::parse("tuesday").unwrap();
    watched.candidates.push(WatchedCandidate { name, change, credential: None });
    bench.service.monitor.watch(vec![watched]);
    let healthy = "xks_preflight_external_key_manager_state{";
    let canary = "xks_preflight_canary_timestamp_seconds{";
    let planned = "xks_preflight_candidate_green_since_timestamp_seconds{";
    let probed = |body: &str| [healthy, canary, planned].iter().all(|family| body.contains(family));
    let before = bench.until("/metrics", |answer| probed(&answer.body)).await.body;
    bench.kms.set_delays(Duration::from_millis(300), Duration::from_millis(300));
    let body = json!({ "CustomKeyStoreId": bench.store, "XksProxyUriEndpoint": NEW, "options": { "acknowledge_outage": true } });
    let id = bench.post("/v1/updates", &body).await.json()["id"].as_str().unwrap().to_owned();
    let during = bench.until("/metrics", |answer| answer.body.contains("xks_preflight_update_open{")).await.body;
    bench.get(&format!("/v1/updates/{id}/events")).await;
    bench.candidate.set_fault(Fault::AuthenticationFailedException).await;
    let after = bench.until("/metrics", |answer| answer.body.contains("xks_preflight_proxy_errors_total{")).await;
    assert_eq!(after.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    // The update was ours; what somebody else does is not.
    let drift = "xks_preflight_drift_timestamp_seconds{";
    assert!(!after.body.contains(drift), "{}", after.body);
    assert!(bench.kms.tamper(&bench.store, |store| "renamed".clone_into(&mut store.name)));
    // Its source shows another secret, which the proxy does not know.
    let other = ProxyCredential {
        access_key_id: AccessKeyId::parse(KEY_ID).unwrap(),
        secret_access_key: RawSecretAccessKey::parse(NEW_SECRET).unwrap(),
    };
    bench.service.surroundings.get().credentials.noticed("main", &other, bench.service.clock.now());
    let pending = "xks_preflight_credential_pending_timestamp_seconds{";
    let told = |body: &str| body.contains(drift) && body.contains(pending);
    let drifted = bench.until("/metrics", |answer| told(&answer.body)).await.body;
    let asking = asking_others(&bench);
    let exposed = families(&format!("{before}{during}{}{drifted}{asking}", after.body));
    let listed: Vec<String> = METRICS.iter().map(xks_preflight::metrics::Metric::full_name).collect();
    for name in exposed.keys() {
        assert!(listed.contains(name), "{name} is exposed and not listed");
    }
    for metric in METRICS {
        let family = exposed.get(&metric.full_name()).unwrap_or_else(|| panic!("{} is not exposed", metric.name));
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        assert_eq!((family.kind.as_str(), family.help.as_str()), (kind, metric.help), "{}", metric.name);
        let mut labels: Vec<&str> = metric.labels.to_vec();
        labels.sort_unstable();
        assert_eq!(family.labels, labels, "{}", metric.name);
    }
    for sample in [
        "xks_preflight_updates_total{outcome=\"verified\"} 1",
        "xks_preflight_kms_requests_total{operation=\"UpdateCustomKeyStore\",result=\"ok\"} 1",
        "xks_preflight_update_disconnected_seconds_count 1",
        "xks_preflight_preflights_total{verdict=\"ready\"} 3",
    ] {
        assert!(after.body.contains(sample), "{sample} is missing in\n{}", after.body);
    }
    agrees(&after.body);
    let accept = [("accept", "application/openmetrics-text;version=1.0.0")];
    let open = bench.call("GET", "/metrics", Some(&bench.viewer), &accept, "").await;
    assert!(open.header("content-type").starts_with("application/openmetrics-text"));
    assert!(open.body.ends_with("# EOF\n"));
}

/// What a daemon tells that has other perspectives; this one has none.
fn asking_others(bench: &Bench) -> String {
    let scene = Scene {
        sightings: Vec::new(),
        candidates: Vec::new(),
        places: Vec::new(),
        open_updates: Vec::new(),
        freezes: Vec::new(),
        waivers: Vec::new(),
        credentials_set: BTreeMap::new(),
        credential_sources: Vec::new(),
        drifts: BTreeMap::new(),
        key_counts: Vec::new(),
        perspectives: vec![("eu".to_owned(), Attended { up: true, answered_at: Some(bench.service.clock.now()) })],
        configuration: bench.service.reload.standing(),
        audit_entries: None,
    };
    bench.service.metrics.expose(&scene, None).unwrap().body
}

#[derive(Default)]
struct Family {
    help: String,
    kind: String,
    labels: Vec<String>,
}

/// Reads the text format as far as it is written here.
fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            name.clone_into(&mut current);
            help.clone_into(&mut families.entry(current.clone()).or_default().help);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            kind.clone_into(&mut families.get_mut(name).unwrap().kind);
        } else if let Some(family) = families.get_mut(&current) {
            let labels =
                line.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or("", |(labels, _)| labels);
            let names = labels.split("\",").filter_map(|pair| Some(pair.split_once('=')?.0.to_owned()));
            family.labels = names.filter(|name| name != "le").collect();
            family.labels.sort_unstable();
        }
    }
    families
}

/// `promtool check metrics` finds nothing to say; without promtool it is skipped, but never under `tests/run`.
pub(super) fn agrees(text: &str) {
    let command = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match command {
        Ok(promtool) => promtool,
        Err(error) => {
            // `tests/run` sets this, and has installed promtool.
            assert!(std::env::var_os("XKS_TEST_OUTPUT").is_none(), "promtool: {error}");
            return;
        }
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let ran = promtool.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && said.trim().is_empty(), "{said}");
}
