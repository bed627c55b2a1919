//! Whatever is decided against a caller is counted, and a line of the audit trail; and nobody asks too often.

use aws_sdk_kms::Client;
use serde_json::{Value, json};

use super::{DEPLOY, ELSEWHERE, WATCH, client, code, expired};
use crate::audit::{command, entries};
use crate::daemon::stage::{Daemon, KMS_ID, NEW, Stage};

/// A client that signs with another secret.
fn forger(daemon: &Daemon, access_key_id: &str) -> Client {
    use aws_sdk_kms::config::Credentials;
    let right = client(daemon, access_key_id, None);
    let wrong = Credentials::new(access_key_id, "KmsEndpointSecretDoNotLeak0123456789abce", None, None, "test");
    Client::from_conf(right.config().to_builder().credentials_provider(wrong).build())
}

/// The trail, once the daemon has ended.
pub(super) async fn trail(stage: &Stage, daemon: Daemon) -> Vec<Value> {
    daemon.terminate().await;
    let journal = stage.directory.join("journal.sqlite");
    let exported = command(&["audit", "export", "--journal", journal.to_str().unwrap()]).await;
    assert_eq!(exported.code, 0, "{}", exported.err);
    assert!(!exported.out.contains("DoNotLeak"), "{}", exported.out);
    entries(&exported.out)
}

fn only<'t>(trail: &'t [Value], action: &str, words: &str) -> &'t Value {
    let fits = |entry: &&Value| {
        let message = entry["message"].as_str().unwrap();
        entry["action"] == action && entry["decision"] == "denied" && message.contains(words)
    };
    let found: Vec<&Value> = trail.iter().filter(fits).collect();
    assert_eq!(found.len(), 1, "{action} {words}: {trail:#?}");
    found[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_is_counted_and_has_its_line() {
    let stage = Stage::new("drop-in-refusals").await;
    let daemon = Daemon::start(&stage, None).await;
    let store = stage.key_store.as_str();
    let update = |client: &Client| {
        client.update_custom_key_store().custom_key_store_id(store).xks_proxy_uri_endpoint(NEW).send()
    };
    // Nobody.
    let refused = update(&forger(&daemon, KMS_ID)).await.unwrap_err();
    assert_eq!(code(&refused), "InvalidSignatureException");
    let refused = update(&client(&daemon, "XKSPFNOBODYNOBODY222", None)).await.unwrap_err();
    assert_eq!(code(&refused), "UnrecognizedClientException");
    // Somebody, without the permission there; and what nobody may.
    for id in [WATCH, ELSEWHERE] {
        assert_eq!(code(&update(&client(&daemon, id, None)).await.unwrap_err()), "AccessDeniedException");
    }
    let refused = client(&daemon, KMS_ID, None).list_keys().send().await.unwrap_err();
    assert_eq!(code(&refused), "AccessDeniedException");
    // Without a type KMS would make a CloudHSM key store.
    let create = client(&daemon, KMS_ID, None).create_custom_key_store().custom_key_store_name("another");
    assert_eq!(code(&create.send().await.unwrap_err()), "AccessDeniedException");
    // The gate: a disconnect is needed, and settings that are not fit.
    let refused = update(&client(&daemon, KMS_ID, None)).await.unwrap_err();
    assert_eq!(code(&refused), "CustomKeyStoreInvalidStateException");
    stage.new.set_fault(expired()).await;
    let refused = update(&client(&daemon, DEPLOY, None)).await.unwrap_err();
    assert_eq!(code(&refused), "XksProxyUriUnreachableException");
    let id = daemon.only_update().await;
    // Bad input is no decision.
    let invalid = client(&daemon, DEPLOY, None).update_custom_key_store().custom_key_store_id(store);
    let refused = invalid.new_custom_key_store_name("x".repeat(300)).send().await.unwrap_err();
    assert_eq!(code(&refused), "ValidationException");
    assert!(stage.mutating_calls().is_empty());

    let metrics = daemon.call("GET", "/metrics", None).await.body;
    for counted in [
        "gate_denials_total{reason=\"unauthenticated\"} 2",
        "gate_denials_total{reason=\"forbidden\"} 4",
        "gate_denials_total{reason=\"unplannable\"} 1",
        "gate_denials_total{reason=\"blocked\"} 1",
    ] {
        assert!(metrics.contains(counted), "{counted}: {metrics}");
    }
    let trail = trail(&stage, daemon).await;
    let signature = only(&trail, "authenticate", "InvalidSignatureException");
    assert!(signature["by"].is_null(), "a wrong signature proves nothing: {signature}");
    assert!(signature["message"].as_str().unwrap().ends_with("; it has the access key id of terraform"), "{signature}");
    let unknown = only(&trail, "authenticate", "UpdateCustomKeyStore: UnrecognizedClientException");
    assert!(!unknown["message"].as_str().unwrap().contains("access key id of"), "{unknown}");
    for (name, action, words) in [
        ("watch", "kms_update", "AccessDeniedException: watch lacks the permission change"),
        ("elsewhere", "kms_update", "AccessDeniedException: elsewhere lacks the permission change"),
        ("terraform", "kms_update", "CustomKeyStoreInvalidStateException"),
        ("deploy", "kms_update", "XksProxyUriUnreachableException"),
    ] {
        let line = only(&trail, action, words);
        assert_eq!(line["by"], json!({ "name": name, "method": "kms_credential" }), "{line}");
        assert_eq!(line["key_store"], store, "{line}");
    }
    assert_eq!(only(&trail, "kms_update", "XksProxyUriUnreachableException")["update"], id.as_str());
    only(&trail, "kms_other", "ListKeys: AccessDeniedException");
    only(&trail, "kms_create", "CreateCustomKeyStore: AccessDeniedException");
    assert!(!trail.iter().any(|entry| entry["message"].as_str().unwrap().contains("ValidationException")));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_too_often_is_throttled_as_kms_throttles_and_nobody_else() {
    let stage = Stage::new("drop-in-rate").await;
    stage.limited("requests_per_second = 1\nburst = 2\nfailures_per_minute = 3");
    let daemon = Daemon::start(&stage, None).await;
    let describe = |client: &Client| client.describe_custom_key_stores().send();
    let ours = client(&daemon, KMS_ID, None);
    let throttled = loop {
        // Two at once, then one a second: a machine that takes a second for each is none to test on.
        if let Err(refused) = describe(&ours).await {
            break refused;
        }
    };
    assert_eq!(code(&throttled), "ThrottlingException");
    let answer = throttled.raw_response().unwrap();
    assert_eq!(answer.status().as_u16(), 400);
    assert!(answer.headers().get("retry-after").is_some_and(|wait| wait.parse::<u64>().is_ok_and(|wait| wait >= 1)));
    describe(&client(&daemon, WATCH, None)).await.unwrap();
    // Strangers from one address have a limit together, and whoever is known there is served all the same.
    let forger = forger(&daemon, KMS_ID);
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(code(&describe(&forger).await.unwrap_err()).to_owned());
    }
    let (invalid, throttled) = ("InvalidSignatureException", "ThrottlingException");
    assert_eq!(answers, [invalid, invalid, invalid, throttled]);
    describe(&client(&daemon, ELSEWHERE, None)).await.unwrap();
    let trail = trail(&stage, daemon).await;
    let line = only(&trail, "kms_describe", throttled);
    assert_eq!(line["by"], json!({ "name": "terraform", "method": "kms_credential" }), "{line}");
    assert!(only(&trail, "authenticate", throttled)["by"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_floods_the_trail() {
    let stage = Stage::new("drop-in-flood").await;
    let daemon = Daemon::start(&stage, None).await;
    let forger = forger(&daemon, KMS_ID);
    for _ in 0..100 {
        forger.describe_custom_key_stores().send().await.unwrap_err();
    }
    let metrics = daemon.call("GET", "/metrics", None).await.body;
    assert!(metrics.contains("gate_denials_total{reason=\"unauthenticated\"} 100"), "{metrics}");
    let trail = trail(&stage, daemon).await;
    let lines = trail.iter().filter(|entry| entry["action"] == "authenticate").count();
    let counted: Vec<u64> = trail
        .iter()
        .filter(|entry| entry["action"] == "left_out")
        .map(|entry| entry["message"].as_str().unwrap().split_once(' ').unwrap().0.parse().unwrap())
        .collect();
    assert!((30..=60).contains(&lines), "{lines}");
    assert_eq!(lines as u64 + counted.iter().sum::<u64>(), 100, "{counted:?}");
}
