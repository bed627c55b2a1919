//! The keys behind a candidate, through the real binary: metadata, round trips, and whether they are the same keys.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use serde_json::Value;
use xks_preflight::sandbox::fault::{Fault, Misbehaviour};
use xks_preflight::sandbox::pki::Pki;
use xks_preflight::sandbox::proxy::{Credentials, ExternalKey, Fleet, KeyMaterials, ProxySettings, SandboxProxy};

use crate::peers::{self, ACCESS_KEY_ID, BINARY, Run, SECRET};

const PATH: &str = "/kms/xks/v1";
const TEST_KEY: &str = "xks-preflight-test";

/// The current proxy and a candidate with copies of its keys.
struct Pair {
    current: SandboxProxy,
    candidate: SandboxProxy,
    directory: PathBuf,
}

impl Pair {
    async fn start(name: &str) -> Self {
        let pki = Arc::new(Pki::new(peers::wall_clock()()).unwrap());
        let start = |host: &str| {
            let mut settings = ProxySettings::new(Arc::clone(&pki), peers::wall_clock(), host, PATH);
            settings.credentials = Credentials::default().with(ACCESS_KEY_ID, SECRET.to_owned());
            settings.keys = KeyMaterials::default()
                .with(TEST_KEY, ExternalKey::from_seed("one").with_ciphertext_metadata(*b"version=1"))
                .with("payments", ExternalKey::from_seed("two"));
            settings.fleet = Fleet::default();
            SandboxProxy::start(settings)
        };
        let (current, candidate) =
            (start("current.example.com").await.unwrap(), start("candidate.example.com").await.unwrap());
        let directory = peers::output_directory(name);
        std::fs::write(directory.join("ca.pem"), pki.root_pem()).unwrap();
        peers::write_console_file(&directory.join("proxy.secret.json"), PATH, SECRET);
        Self { current, candidate, directory }
    }

    /// `check` of the candidate, with the current proxy to compare with.
    async fn check(&self, more: &[&str]) -> Run {
        let current = self.current.address().to_string();
        let baseline = ["--baseline-endpoint", "https://current.example.com", "--baseline-connect-to", &current];
        self.run(baseline.iter().chain(more).copied(), true).await
    }

    /// `check` of the candidate alone.
    async fn check_alone(&self, more: &[&str]) -> Run {
        self.run(more.iter().copied(), false).await
    }

    async fn run(&self, more: impl Iterator<Item = &str>, with_baseline: bool) -> Run {
        let mut command = tokio::process::Command::new(BINARY);
        command
            .args(["check", "--endpoint", "https://candidate.example.com", "--output", "json", "--samples", "2"])
            .args(["--connect-to", &self.candidate.address().to_string()])
            .arg("--ca-file")
            .arg(self.directory.join("ca.pem"))
            .arg("--proxy-config")
            .arg(self.directory.join("proxy.secret.json"))
            .args(more)
            .env("XKS_PREFLIGHT_LOG", "trace")
            .stdin(Stdio::null());
        if with_baseline {
            command.arg("--baseline-proxy-config").arg(self.directory.join("proxy.secret.json"));
        }
        let run = Run::from(command.output().await.unwrap());
        peers::keep(&self.directory, &run);
        run
    }
}

fn finding<'a>(report: &'a Value, check: &str) -> &'a Value {
    let findings = report["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["check"] == check).unwrap_or_else(|| panic!("no finding of {check}"))
}

/// Ids of the checks that failed.
fn failed(report: &Value) -> Vec<&str> {
    let findings = report["findings"].as_array().unwrap().iter();
    findings.filter(|finding| finding["outcome"] == "failed").filter_map(|finding| finding["check"].as_str()).collect()
}

/// Runs until it is as expected: KMS's 250 ms are real here, and the machine may be busy with other things.
async fn until_as_expected(run: impl AsyncFn() -> Run, code: i32, expected: impl Fn(&Value) -> bool) -> (i32, Value) {
    let mut last = run().await;
    for _ in 0..3 {
        if last.code == code && expected(&last.json()) {
            break;
        }
        // Slowness never makes anything ready: one wrong ready is a fault, however seldom.
        assert!(code == 0 || last.code != 0, "{:#}", last.json());
        last = run().await;
    }
    (last.code, last.json())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_keys_are_ready_and_proven_both_ways() {
    let pair = Pair::start("same-keys").await;
    let all_passed = |report: &Value| {
        ["key.metadata", "key.round_trip", "key.continuity", "key.continuity_back", "health.deep"]
            .iter()
            .all(|check| finding(report, check)["outcome"] == "passed")
    };
    let (code, report) = until_as_expected(
        async || pair.check(&["--test-key-id", TEST_KEY, "--key-id", "payments"]).await,
        0,
        all_passed,
    )
    .await;
    assert!(code == 0 && all_passed(&report), "{report:#}");
    assert!(failed(&report).is_empty(), "{:?}", failed(&report));
    // The keys of customers are not used, only looked at.
    let seen = pair.candidate.history();
    let used: Vec<_> = seen.iter().filter(|request| request.external_key_id.as_deref() == Some("payments")).collect();
    assert!(!used.is_empty() && used.iter().all(|request| request.path.ends_with("/metadata")), "{used:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn swapped_material_under_the_same_ids_is_blocked_by_continuity_alone() {
    let pair = Pair::start("swapped-keys").await;
    pair.candidate.set_fault(Fault::KeyMaterialSwapped).await;
    let alone = |report: &Value| failed(report) == ["key.continuity", "key.continuity_back"];
    let (code, report) = until_as_expected(async || pair.check(&["--test-key-id", TEST_KEY]).await, 1, alone).await;
    assert!(code == 1 && alone(&report), "{code}: {report:#}");
    let told = finding(&report, "key.continuity");
    assert_eq!((&told["problem"], &report["kms"]["exception"]), (&"different_keys".into(), &Value::Null));
    assert!(told["detail"].as_str().unwrap().contains("would be lost"), "{told}");
    for check in ["key.metadata", "key.round_trip", "health.same_fleet", "health.deep"] {
        assert_eq!(finding(&report, check)["outcome"], "passed", "{check}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_current_proxy_and_without_a_canary_nothing_is_proven() {
    let pair = Pair::start("current-dead").await;
    for fault in ["listener-closed", "internal-exception:operation=encrypt", "tls-stall"] {
        pair.current.set_faults([fault.parse::<Misbehaviour>().unwrap()]).await;
        let untold = |report: &Value| finding(report, "key.continuity")["outcome"] == "own_fault";
        let (code, report) =
            until_as_expected(async || pair.check(&["--test-key-id", TEST_KEY]).await, 3, untold).await;
        assert!(code == 3 && untold(&report), "{fault}: {code}: {report:#}");
        assert_eq!(report["verdict"], "inconclusive");
        assert_eq!(finding(&report, "key.continuity")["problem"], "no_proof", "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_asked_for_is_not_done_and_is_said() {
    let pair = Pair::start("no-test-key").await;
    let told = |report: &Value| finding(report, "key.continuity")["outcome"] == "not_applicable";
    let (code, report) = until_as_expected(async || pair.check(&[]).await, 0, told).await;
    assert!(code == 0 && told(&report), "{report:#}");
    assert!(finding(&report, "key.continuity")["detail"].as_str().unwrap().starts_with("NOT PROVEN"));
    assert!(report["kms"]["message"].as_str().unwrap().contains("NOT PROVEN"), "{}", report["kms"]);
    assert!(pair.candidate.history().iter().all(|request| request.external_key_id.is_none()));
    let (code, report) =
        until_as_expected(async || pair.check_alone(&["--test-key-id", TEST_KEY]).await, 0, told).await;
    assert!(code == 0 && told(&report), "{report:#}");
    assert_eq!(finding(&report, "key.round_trip")["outcome"], "passed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_current_proxy_itself_is_recognised() {
    let pair = Pair::start("same-proxy").await;
    let address = pair.candidate.address().to_string();
    let arguments = ["--baseline-endpoint", "https://candidate.example.com", "--baseline-connect-to", &address];
    let arguments: Vec<&str> = arguments.into_iter().chain(["--test-key-id", TEST_KEY]).collect();
    let same = |report: &Value| {
        finding(report, "key.continuity")["detail"].as_str().is_some_and(|detail| detail.contains("the same proxy"))
    };
    let (code, report) = until_as_expected(async || pair.run(arguments.iter().copied(), true).await, 0, same).await;
    assert!(code == 0 && same(&report), "{report:#}");
}

/// Faults of keys: the check that says so and the kind of problem.
const FAULTS: &[(&str, &str, &str)] = &[
    ("key-spec-rsa", "key.metadata", "unusable_key"),
    ("key-spec-missing", "key.metadata", "schema"),
    ("key-disabled", "key.metadata", "unusable_key"),
    ("key-status-unknown", "key.metadata", "schema"),
    ("key-usage-without-encrypt", "key.metadata", "unusable_key"),
    ("key-usage-without-decrypt", "key.metadata", "unusable_key"),
    ("key-usage-eleven", "key.metadata", "schema"),
    ("key-not-found-exception:operation=metadata", "key.metadata", "not_found"),
    ("throttling-exception:operation=metadata", "key.metadata", "throttled"),
    ("stall-after-request:operation=metadata", "key.metadata", "timed_out"),
    ("key-material-swapped", "key.continuity", "different_keys"),
    ("cdiv-wrong", "key.round_trip", "integrity_value"),
    ("cdiv-missing", "key.round_trip", "schema"),
    ("ciphertext-corrupted", "key.round_trip", "broken_round_trip"),
    ("ciphertext-too-long", "key.round_trip", "schema"),
    ("ciphertext-not-base64", "key.round_trip", "schema"),
    ("initialization-vector-short", "key.round_trip", "schema"),
    ("authentication-tag-short", "key.round_trip", "schema"),
    ("ciphertext-metadata-overlong", "key.round_trip", "schema"),
    ("additional-data-ignored", "key.round_trip", "unauthenticated"),
    ("plaintext-wrong", "key.round_trip", "broken_round_trip"),
    ("invalid-state-exception:operation=encrypt", "key.round_trip", "unusable_key"),
    ("invalid-key-usage-exception:operation=decrypt", "key.round_trip", "unusable_key"),
    ("throttling-exception:operation=decrypt", "key.round_trip", "proxy_error"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_keys_blocks_and_is_named_and_kms_would_not_notice() {
    let pair = Pair::start("key-faults").await;
    let mut wrong = Vec::new();
    for (fault, check, problem) in FAULTS {
        pair.candidate.set_faults([fault.parse::<Misbehaviour>().unwrap()]).await;
        let named = |report: &Value| {
            failed(report).iter().all(|id| id.starts_with("key.") || *id == "health.deep")
                && finding(report, check)["outcome"] == "failed"
                && finding(report, check)["problem"] == *problem
                && report["kms"]["exception"].is_null()
        };
        let (code, report) = until_as_expected(async || pair.check(&["--test-key-id", TEST_KEY]).await, 1, named).await;
        if code != 1 || !named(&report) {
            wrong.push(format!("{fault}: exit {code}, {:?}, {}", failed(&report), finding(&report, check)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_key_among_many_is_named_over_few_connections() {
    let pair = Pair::start("many-keys").await;
    let ids: Vec<String> = (0..500).map(|number| format!("key-{number:04}")).collect();
    let all = ids.iter().fold(KeyMaterials::default(), |keys, id| keys.with(id, ExternalKey::from_seed(id)));
    pair.candidate.set_keys(all);
    let mut arguments: Vec<&str> = ids.iter().flat_map(|id| ["--key-id", id]).collect();
    let passed = |report: &Value| finding(report, "key.metadata")["outcome"] == "passed";
    let (code, report) = until_as_expected(async || pair.check_alone(&arguments).await, 0, passed).await;
    assert!(code == 0 && passed(&report), "{report:#}");
    arguments.extend(["--key-id", "forgotten"]);
    let before = pair.candidate.accepted_connections();
    let named = |report: &Value| {
        finding(report, "key.metadata")["detail"].as_str().is_some_and(|detail| detail.contains("forgotten: "))
    };
    let run = pair.check_alone(&arguments).await;
    let report = run.json();
    assert!(run.code == 1 && named(&report), "{report:#}");
    let connections = pair.candidate.accepted_connections() - before;
    assert!(connections < 40, "{connections} connections for 501 keys");
}
