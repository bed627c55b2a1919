//! Every KMS key of a key store is found, or the enumeration says what is missing.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use xks_preflight::aws::{AwsCredentials, AwsKms, AwsKmsSettings};
use xks_preflight::check::{Enumeration, ProblemKind};
use xks_preflight::clock::SystemClock;
use xks_preflight::enumeration::{Enumerator, Pace};
use xks_preflight::key_store::{CustomKeyStoreId, Region};
use xks_preflight::sandbox::kms::{ConnectionState, KmsFault, KmsSettings, Operation, SandboxKms, SeedStore};

use crate::api::bench::{BOUND, Bench, NEW};
use crate::peers;

const SECRET: &str = "TestSecretDoNotLeak7dHk2Lq9ZtRw4XyBn6MvCs3PjFg1";

/// Fast, and patient for a short time: tests do not wait.
const PACE: Pace = Pace { per_second: 2_000, concurrency: 16, attempts: 4, pause: Duration::from_millis(5) };

/// A simulated KMS with one external key store, and what enumerates its keys.
struct Stage {
    kms: SandboxKms,
    store: String,
    enumerator: Arc<Enumerator>,
}

impl Stage {
    async fn new(pace: Pace) -> Self {
        let settings = KmsSettings::new(peers::wall_clock(), "AKIACALLER", "CallerSecretDoNotLeak");
        let kms = SandboxKms::start(settings).await.unwrap();
        let store = kms.add_store(store("keys"));
        let aws = AwsKms::new(AwsKmsSettings {
            region: Region::parse("us-east-1").unwrap(),
            endpoint_url: Some(kms.endpoint_url()),
            credentials: Some(
                AwsCredentials {
                    access_key_id: "AKIACALLER".into(),
                    secret_access_key: "CallerSecretDoNotLeak".to_owned().into(),
                    session_token: None,
                }
                .into(),
            ),
            timeout: Duration::from_secs(20),
        });
        let enumerator = Arc::new(Enumerator::new(Arc::new(aws.await), Arc::new(SystemClock), pace));
        Self { kms, store, enumerator }
    }

    async fn with_keys(keys: usize) -> (Self, Vec<String>) {
        let stage = Self::new(PACE).await;
        let arns = stage.add(keys);
        (stage, arns)
    }

    fn add(&self, keys: usize) -> Vec<String> {
        (0..keys).map(|number| self.kms.add_key(&self.store, &format!("external-{number}"))).collect()
    }

    async fn refreshed(&self) -> Enumeration {
        self.enumerator.refreshed(&id(&self.store), BOUND).await
    }

    /// How many requests KMS has had.
    fn requests(&self) -> u64 {
        self.kms.history().last().map_or(0, |call| call.sequence)
    }
}

fn store(name: &str) -> SeedStore {
    SeedStore::public(name, "https://xks.example.com", "/kms/xks/v1", "AKIAI2SFODNN7EXAMPLE", SECRET)
}

fn id(text: &str) -> CustomKeyStoreId {
    CustomKeyStoreId::parse(text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_pages_are_described_once() {
    let stage = Stage::new(PACE).await;
    let other = stage.kms.add_store(store("others"));
    let mut arns = stage.add(1_200);
    for number in 0..10 {
        stage.kms.add_key(&other, &format!("other-{number}"));
    }
    for _ in 0..1_290 {
        stage.kms.add_ordinary_key();
    }
    let found = stage.refreshed().await;
    assert!(found.is_complete(), "{found:?}");
    arns.sort();
    assert_eq!(found.keys.iter().map(|key| key.arn.clone()).collect::<Vec<_>>(), arns);
    assert!(found.keys.iter().all(|key| key.external_key_id.as_str().starts_with("external-")));
    assert_eq!(stage.enumerator.known(&id(&other)).keys.len(), 10);
    assert_eq!(stage.requests(), 3 + 2_500);
    // A new key costs the pages and itself; one that is gone is forgotten.
    stage.kms.add_key(&stage.store, "new");
    assert!(stage.kms.delete_key(&arns[0]));
    assert_eq!(stage.refreshed().await.keys.len(), 1_200);
    assert_eq!(stage.requests(), 3 + 2_500 + 3 + 1);
    let progress = stage.enumerator.progress();
    assert_eq!((progress.running, progress.listed, progress.outstanding), (false, 2_500, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_wait_for_deletion_count_and_keys_that_are_gone_do_not() {
    let (stage, arns) = Stage::with_keys(4).await;
    stage.kms.set_key_state(&arns[0], "PendingDeletion");
    stage.kms.set_key_state(&arns[1], "Disabled");
    // One is deleted after it was listed.
    let gone = KmsFault::Exception { name: "NotFoundException".to_owned(), message: "deleted".to_owned() };
    stage.kms.inject(Operation::DescribeKey, gone, 1);
    let found = stage.refreshed().await;
    assert!(found.is_complete() && found.keys.len() == 3, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_keys_are_counted_and_asked_about_again() {
    let (stage, arns) = Stage::with_keys(6).await;
    for arn in &arns[..2] {
        assert!(stage.kms.deny_key(arn, true));
    }
    let found = stage.refreshed().await;
    assert_eq!((found.keys.len(), found.denied, found.incomplete.as_ref()), (4, 2, None));
    assert!(!found.is_complete());
    stage.kms.deny_key(&arns[0], false);
    let found = stage.refreshed().await;
    assert_eq!((found.keys.len(), found.denied), (5, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_is_named() {
    let (stage, arns) = Stage::with_keys(300).await;
    stage.kms.inject(Operation::ListKeys, KmsFault::AccessDenied, 1);
    let found = stage.refreshed().await;
    let problem = found.incomplete.unwrap();
    assert_eq!(problem.kind, ProblemKind::AccessDenied);
    assert!(problem.detail.contains("kms:ListKeys"), "{}", problem.detail);
    for arn in &arns {
        stage.kms.deny_key(arn, true);
    }
    let before = stage.requests();
    let found = stage.refreshed().await;
    let problem = found.incomplete.unwrap();
    assert!(problem.detail.contains("kms:DescribeKey"), "{}", problem.detail);
    // A hundred denials say enough.
    assert!(found.denied >= 100 && stage.requests() - before < 130, "{} requests", stage.requests() - before);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_that_may_not_be_described_is_no_empty_key_store() {
    let (stage, arns) = Stage::with_keys(1).await;
    stage.kms.deny_key(&arns[0], true);
    let found = stage.refreshed().await;
    assert!(found.keys.is_empty() && found.denied == 1, "{found:?}");
    let problem = found.incomplete.unwrap();
    assert_eq!(problem.kind, ProblemKind::AccessDenied);
    assert!(problem.detail.contains("kms:DescribeKey"), "{}", problem.detail);
    stage.add(1);
    let found = stage.refreshed().await;
    assert_eq!((found.keys.len(), found.denied, found.incomplete), (1, 1, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_and_short_outages_are_waited_out() {
    let (stage, _) = Stage::with_keys(60).await;
    stage.kms.inject(Operation::ListKeys, KmsFault::Throttling, 2);
    stage.kms.inject(Operation::DescribeKey, KmsFault::Throttling, 2);
    stage.kms.inject(Operation::DescribeKey, KmsFault::Internal, 1);
    stage.kms.inject(Operation::DescribeKey, KmsFault::Unavailable, 1);
    stage.kms.inject(Operation::DescribeKey, KmsFault::ReplyLost { applied: false }, 1);
    let found = stage.refreshed().await;
    assert!(found.is_complete() && found.keys.len() == 60, "{:?}", found.incomplete);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_others_use_up_slows_it_down() {
    let stage = Stage::new(Pace { attempts: 12, ..PACE }).await;
    stage.add(400);
    stage.kms.set_quota(Operation::DescribeKey, 150);
    let found = stage.refreshed().await;
    assert!(found.is_complete() && found.keys.len() == 400, "{:?}", found.incomplete);
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_for_ever_ends_and_the_next_sweep_goes_on() {
    let (stage, _) = Stage::with_keys(200).await;
    stage.kms.inject(Operation::DescribeKey, KmsFault::Slow(Duration::ZERO), 50);
    stage.kms.inject(Operation::DescribeKey, KmsFault::Throttling, u32::MAX);
    let found = stage.refreshed().await;
    assert_eq!(found.incomplete.as_ref().unwrap().kind, ProblemKind::Throttled);
    assert_eq!(found.keys.len(), 50);
    stage.kms.clear_faults();
    let before = stage.requests();
    let found = stage.refreshed().await;
    assert!(found.is_complete() && found.keys.len() == 200, "{:?}", found.incomplete);
    // A list, and the keys that were not found yet; those on their way when the first sweep ended may be counted late.
    let asked = stage.requests() - before;
    assert!((1 + 150..=1 + 150 + 16).contains(&asked), "{asked} requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_end_in_time_says_so_and_loses_nothing() {
    let stage = Stage::new(Pace { per_second: 500, ..PACE }).await;
    stage.add(300);
    let none = stage.enumerator.known(&id(&stage.store));
    assert_eq!(none.incomplete.unwrap().kind, ProblemKind::TimedOut);
    let some = stage.enumerator.refreshed(&id(&stage.store), Duration::from_millis(200)).await;
    let problem = some.incomplete.unwrap();
    assert!(problem.kind == ProblemKind::TimedOut && problem.detail.contains("of 300 keys"), "{}", problem.detail);
    assert!(!stage.enumerator.progress().running);
    let all = stage.refreshed().await;
    assert!(all.is_complete() && all.keys.len() == 300);
    // Two lists, every key, and those that were on their way when it was stopped.
    assert!(stage.requests() <= 2 + 300 + 16, "{} requests", stage.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_at_once_share_a_sweep() {
    let (stage, _) = Stage::with_keys(20).await;
    let all = futures_util::future::join_all((0..10).map(|_| stage.refreshed())).await;
    assert!(all.iter().all(|found| found.is_complete() && found.keys.len() == 20));
    // The first one, and one for all those that came while it ran.
    assert!(stage.requests() <= 20 + 2, "{} requests", stage.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptions_that_make_no_sense_are_told_and_the_other_keys_found() {
    let good = |arn: &str, id: Value| {
        json!({ "KeyMetadata": {
            "KeyId": "k", "Arn": arn, "Origin": "EXTERNAL_KEY_STORE", "CustomKeyStoreId": "cks-1",
            "XksKeyConfiguration": { "Id": id },
        } })
    };
    for (answer, words) in [
        (json!({}), "no KeyMetadata"),
        (json!({ "KeyMetadata": { "KeyId": "k" } }), "without Arn"),
        (good("arn:aws:kms:us-east-1:111122223333:key/other", json!("k")), "another key"),
        (json!({ "KeyMetadata": null }), "no KeyMetadata"),
        // Not even what the SDK can read: KMS may be half asleep, so it is asked again, and in the end given up.
        (json!([1, 2]), "DescribeKey"),
        (good("arn", json!({ "deep": 1 })), "DescribeKey"),
    ] {
        let (stage, _) = Stage::with_keys(3).await;
        stage.kms.inject(Operation::DescribeKey, KmsFault::Answers(answer.clone()), u32::MAX);
        let found = stage.refreshed().await;
        let problem = found.incomplete.unwrap();
        assert_eq!(problem.kind, ProblemKind::Unread, "{answer}");
        assert!(problem.detail.contains(words), "{answer}: {}", problem.detail);
        stage.kms.clear_faults();
        assert!(stage.refreshed().await.is_complete(), "{answer}");
    }
    let (stage, _) = Stage::with_keys(3).await;
    stage.kms.inject(Operation::DescribeKey, KmsFault::Answers(json!({})), 1);
    let found = stage.refreshed().await;
    assert!(!found.is_complete() && found.keys.len() == 2, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_make_no_sense_end() {
    let key = json!({ "KeyId": "k", "KeyArn": "arn:aws:kms:us-east-1:111122223333:key/k" });
    for (answer, words) in [
        (json!({ "Keys": [{ "KeyId": "k" }], "Truncated": false }), "without KeyArn"),
        (json!({ "Keys": [{ "KeyId": "k", "KeyArn": "k" }], "Truncated": false }), "KeyArn"),
        (json!({ "Keys": [key], "Truncated": true }), "NextMarker"),
        (json!({ "Keys": [key], "Truncated": true, "NextMarker": "for ever" }), "NextMarker"),
        (json!({ "Keys": 7 }), "ListKeys"),
    ] {
        let (stage, _) = Stage::with_keys(3).await;
        stage.kms.inject(Operation::ListKeys, KmsFault::Answers(answer.clone()), u32::MAX);
        let problem = stage.refreshed().await.incomplete.unwrap();
        assert_eq!(problem.kind, ProblemKind::Unread, "{answer}");
        assert!(problem.detail.contains(words), "{answer}: {}", problem.detail);
        stage.kms.clear_faults();
        assert_eq!(stage.refreshed().await.keys.len(), 3, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_tells_the_keys_and_judges_with_them() {
    let bench = Bench::new("enumeration").await;
    let mut arns: Vec<String> = (0..5).map(|n| bench.kms.add_key(&bench.store, &format!("external-{n}"))).collect();
    arns.sort();
    let path = format!("/v1/key-stores/{}/keys", bench.store);
    let all = bench.until(&path, |answer| answer.json()["found"] == 5).await.json();
    assert_eq!((&all["denied"], &all["incomplete"], &all["next"]), (&json!(0), &Value::Null, &Value::Null));
    assert_eq!(all["progress"]["listed"], 5);
    assert!(all["keys"][0]["external_key_id"].as_str().unwrap().starts_with("external-"));
    let told = |page: &Value| {
        let keys = page["keys"].as_array().unwrap().iter();
        keys.map(|key| key["arn"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(told(&all), arns);
    let first = bench.get(&format!("{path}?limit=3")).await.json();
    assert_eq!((told(&first), &first["next"]), (arns[..3].to_vec(), &json!(arns[2])));
    let rest = bench.get(&format!("{path}?limit=3&after={}", arns[2])).await.json();
    assert_eq!((told(&rest), &rest["next"]), (arns[3..].to_vec(), &Value::Null));
    assert_eq!(bench.get(&format!("{path}?limit=0")).await.status, 422);
    assert_eq!(bench.get("/v1/key-stores/cks-none/keys").await.status, 404);
    let found = format!("xks_preflight_kms_keys{{key_store=\"{}\",state=\"found\"}} 5", bench.store);
    bench.until("/metrics", |answer| answer.body.contains(&found)).await;

    let change = json!({ "CustomKeyStoreId": bench.store, "XksProxyUriEndpoint": NEW, "options": { "acknowledge_outage": true } });
    let enumerated = |report: &Value| {
        let mut findings = report["findings"].as_array().unwrap().iter();
        findings.find(|finding| finding["check"] == "key.enumerated").unwrap().clone()
    };
    // A key that was made a moment ago is judged, too.
    let sixth = bench.kms.add_key(&bench.store, "external-6");
    let report = bench.post("/v1/preflights", &change).await.json();
    let finding = enumerated(&report);
    assert_eq!(finding["outcome"], "passed", "{finding}");
    assert!(finding["detail"].as_str().unwrap().starts_with("6 KMS keys"), "{finding}");

    let denied = bench.kms.add_key(&bench.store, "external-7");
    bench.kms.deny_key(&denied, true);
    let finding = enumerated(&bench.post("/v1/preflights", &change).await.json());
    assert_eq!((finding["outcome"].as_str(), finding["problem"].as_str()), (Some("failed"), Some("access_denied")));
    assert!(finding["detail"].as_str().unwrap().contains("1 of the account"), "{finding}");
    bench.kms.delete_key(&denied);
    bench.kms.delete_key(&sixth);
    bench.kms.inject(Operation::ListKeys, KmsFault::AccessDenied, u32::MAX);
    let report = bench.post("/v1/preflights", &change).await.json();
    let finding = enumerated(&report);
    assert_eq!(finding["outcome"], "own_fault", "{finding}");
    assert!(finding["detail"].as_str().unwrap().contains("kms:ListKeys"), "{finding}");
    // The candidate may lack keys that were not found: nothing is ready by that.
    assert_eq!(report["verdict"], "inconclusive");
    assert_eq!(bench.kms.store(&bench.store).unwrap().connection, ConnectionState::Connected);
}
