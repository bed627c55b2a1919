//! CreateCustomKeyStore through the endpoint: pre-flighted, sent once, written down, and refused to whoever may not.

use std::time::Duration;

use aws_sdk_kms::Client;
use aws_sdk_kms::config::retry::RetryConfig;
use aws_sdk_kms::error::ProvideErrorMetadata as _;
use aws_sdk_kms::operation::create_custom_key_store::builders::CreateCustomKeyStoreFluentBuilder;
use aws_sdk_kms::types::{CustomKeyStoreType, XksProxyAuthenticationCredentialType, XksProxyConnectivityType};
use serde_json::{Value, json};
use xks_preflight::sandbox::kms::{ConnectionState, KmsFault, Operation};

use super::refusals::trail;
use super::{BOUND, DEPLOY, client, code, expired};
use crate::daemon::stage::{Daemon, NEW, Stage, until};
use crate::peers::{ACCESS_KEY_ID, PATH, SECRET};

const MAKER: &str = "XKSPFMAKERMAKER22222";
const CREATE: &str = "CreateCustomKeyStore";
const ADMINISTRATOR: &str = "xkspf_TestAdministratorDoNotLeak123456789012345";

fn create(client: &Client, name: &str) -> CreateCustomKeyStoreFluentBuilder {
    let credential =
        XksProxyAuthenticationCredentialType::builder().access_key_id(ACCESS_KEY_ID).raw_secret_access_key(SECRET);
    client
        .create_custom_key_store()
        .custom_key_store_name(name)
        .custom_key_store_type(CustomKeyStoreType::ExternalKeyStore)
        .xks_proxy_connectivity(XksProxyConnectivityType::PublicEndpoint)
        .xks_proxy_uri_endpoint(NEW)
        .xks_proxy_uri_path(PATH)
        .xks_proxy_authentication_credential(credential.build().unwrap())
}

/// The lines about creations.
fn lines(trail: &[Value]) -> Vec<&Value> {
    trail.iter().filter(|entry| entry["action"] == "kms_create").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_one_is_made_once_and_two_lines_tell_of_it() {
    let stage = Stage::new("create-good").await;
    let daemon = Daemon::start(&stage, None).await;
    let maker = client(&daemon, MAKER, None);
    // KMS takes longer than the client waits for an attempt: the SDK repeats the call under its own number.
    stage.kms.inject(Operation::CreateCustomKeyStore, KmsFault::Slow(Duration::from_secs(1)), 1);
    let hasty = {
        let patient = client(&daemon, MAKER, Some(Duration::from_millis(700))).config().to_builder();
        Client::from_conf(patient.retry_config(RetryConfig::standard().with_max_attempts(20)).build())
    };
    let made = create(&hasty, "new-vault").send().await.unwrap();
    let id = made.custom_key_store_id().unwrap();
    let store = stage.kms.store(id).unwrap();
    assert_eq!((store.name.as_str(), &store.connection), ("new-vault", &ConnectionState::Disconnected));
    assert_eq!(store.external().unwrap().endpoint, NEW);
    let another = create(&maker, "new-vault").send().await.unwrap_err().into_service_error();
    assert!(another.is_custom_key_store_name_in_use_exception(), "{another:?}");
    assert_eq!(stage.mutating_calls(), [CREATE]);

    let metrics = daemon.call("GET", "/metrics", None).await.body;
    for counted in [
        "xks_preflight_kms_requests_total{operation=\"CreateCustomKeyStore\",result=\"ok\"} 1",
        "operation=\"CreateCustomKeyStore\",result=\"CustomKeyStoreNameInUseException\"} 1",
    ] {
        assert!(metrics.contains(counted), "{counted}: {metrics}");
    }
    let trail = trail(&stage, daemon).await;
    let [intended, made, refused] = lines(&trail)[..] else { panic!("{trail:#?}") };
    assert_eq!((&intended["decision"], &made["decision"]), (&json!("allowed"), &json!("recorded")));
    assert_eq!(refused["decision"], "denied");
    assert_eq!(intended["by"], json!({ "name": "maker", "method": "kms_credential" }));
    assert!(intended["report"].is_string() && intended["report"] == made["report"], "{intended} {made}");
    assert!(made["kms_request_id"].is_string(), "{made}");
    assert_eq!(made["key_store"], id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_one_is_refused_in_the_words_of_kms_and_nothing_is_sent() {
    let stage = Stage::new("create-bad").await;
    stage.new.set_fault(expired()).await;
    let daemon = Daemon::start(&stage, None).await;
    let maker = client(&daemon, MAKER, None);
    let refused = create(&maker, "new-vault").send().await.unwrap_err().into_service_error();
    assert!(refused.is_xks_proxy_uri_unreachable_exception(), "{refused:?}");
    let message = refused.message().unwrap();
    assert!(message.contains("tls.validity") && message.contains("nothing was made"), "{message}");
    let id = message.split_once("/v1/preflights/").unwrap().1;
    let report = daemon.call("GET", &format!("/v1/preflights/{id}"), None).await;
    assert_eq!((report.status, report.json()["verdict"].as_str()), (200, Some("blocked")));
    // Another secret than the proxy's.
    stage.new.set_fault(None).await;
    let wrong = XksProxyAuthenticationCredentialType::builder()
        .access_key_id(ACCESS_KEY_ID)
        .raw_secret_access_key("OtherSecretDoNotLeak0123456789012345678901234");
    let wrong = create(&maker, "new-vault").xks_proxy_authentication_credential(wrong.build().unwrap());
    let refused = wrong.send().await.unwrap_err().into_service_error();
    assert!(refused.is_xks_proxy_incorrect_authentication_credential_exception(), "{refused:?}");
    // KMS makes a CloudHSM key store where no type is said, and this gate none.
    let untyped = maker.create_custom_key_store().custom_key_store_name("new-vault").send().await.unwrap_err();
    assert_eq!(code(&untyped), "AccessDeniedException");
    assert!(stage.mutating_calls().is_empty(), "{:?}", stage.mutating_calls());
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_makes_none_and_nobody_does_during_a_freeze() {
    let stage = Stage::guarded(
        "create-guarded",
        "two",
        &[
            ("ann", "xkspf_TestApproverDoNotLeakA123456789012345678901", "approver"),
            ("bob", "xkspf_TestApproverDoNotLeakB123456789012345678901", "approver"),
            ("root", ADMINISTRATOR, "admin"),
        ],
    )
    .await;
    let daemon = Daemon::start(&stage, None).await;
    // Without the policy; by a name outside of the scope; one that only an id would cover.
    for (who, name, words) in [
        (DEPLOY, "new-vault", "create = true"),
        (MAKER, "vault", "lacks the permission change on key stores called \"vault\""),
        (MAKER, "cks-new-vault", "lacks the permission change"),
    ] {
        let refused = create(&client(&daemon, who, None), name).send().await.unwrap_err();
        assert_eq!(code(&refused), "AccessDeniedException");
        assert!(refused.message().unwrap().contains(words), "{refused:?}");
    }
    let freeze = async |method, body: &Value| {
        daemon.try_call_as(ADMINISTRATOR, method, "/v1/freeze", Some(body)).await.unwrap().status
    };
    assert_eq!(freeze("POST", &json!({ "reason": "quarter end" })).await, 201);
    let maker = client(&daemon, MAKER, None);
    let refused = create(&maker, "new-vault").send().await.unwrap_err();
    assert_eq!(code(&refused), "AccessDeniedException");
    assert!(refused.message().unwrap().contains("frozen by root"), "{refused:?}");
    assert!(stage.mutating_calls().is_empty());
    assert_eq!(freeze("DELETE", &Value::Null).await, 200);
    // That changes need two people's approval does not concern what has no keys.
    create(&maker, "new-vault").send().await.unwrap();
    assert_eq!(stage.mutating_calls(), [CREATE]);
    let metrics = daemon.call("GET", "/metrics", None).await.body;
    assert!(metrics.contains("gate_denials_total{reason=\"frozen\"} 1"), "{metrics}");
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_is_made_up_for_by_looking() {
    let stage = Stage::new("create-lost").await;
    let daemon = Daemon::start(&stage, None).await;
    let maker = client(&daemon, MAKER, None);
    stage.kms.inject(Operation::CreateCustomKeyStore, KmsFault::ReplyLost { applied: true }, 1);
    let made = create(&maker, "new-vault").send().await.unwrap();
    assert_eq!(stage.kms.store(made.custom_key_store_id().unwrap()).unwrap().name, "new-vault");
    assert_eq!(stage.mutating_calls(), [CREATE]);

    // KMS takes each URI once; what was never made can be made afterwards.
    stage.kms.inject(Operation::CreateCustomKeyStore, KmsFault::ReplyLost { applied: false }, 1);
    let elsewhere = |client: &Client| create(client, "new-safe").xks_proxy_uri_endpoint(crate::daemon::stage::OLD);
    let unknown = elsewhere(&maker).send().await.unwrap_err();
    assert_eq!(code(&unknown), "KMSInternalException", "SDKs repeat this one");
    assert!(unknown.message().unwrap().contains("asking again is safe"), "{unknown:?}");
    let refused = elsewhere(&maker).send().await.unwrap_err().into_service_error();
    // The simulated KMS's own word, forwarded: the first key store has this URI.
    assert!(refused.is_xks_proxy_uri_in_use_exception(), "{refused:?}");
    let trail = trail(&stage, daemon).await;
    let told: Vec<_> = lines(&trail).iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect();
    for words in ["is there with these settings", "no such key store is seen", "was refused: XksProxyUriInUseException"]
    {
        assert_eq!(told.iter().filter(|message| message.contains(words)).count(), 1, "{words}: {told:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sdk_that_repeats_an_unanswered_call_gets_its_key_store() {
    let stage = Stage::new("create-repeated").await;
    let daemon = Daemon::start(&stage, None).await;
    stage.kms.inject(Operation::CreateCustomKeyStore, KmsFault::ReplyLost { applied: false }, 1);
    let repeating = client(&daemon, MAKER, None).config().to_builder();
    let repeating = Client::from_conf(repeating.retry_config(RetryConfig::standard()).build());
    let made = create(&repeating, "new-vault").send().await.unwrap();
    assert_eq!(stage.kms.store(made.custom_key_store_id().unwrap()).unwrap().name, "new-vault");
    assert_eq!(stage.mutating_calls(), [CREATE, CREATE]);
    assert_eq!(stage.mutations(), [CREATE]);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_sent_is_waited_for_at_the_end() {
    let stage = Stage::new("create-ending").await;
    let daemon = Daemon::start(&stage, None).await;
    // Longer than requests may go on once the daemon is told to stop.
    stage.kms.inject(Operation::CreateCustomKeyStore, KmsFault::Slow(Duration::from_secs(12)), 1);
    let maker = client(&daemon, MAKER, None);
    let waiting = tokio::spawn(create(&maker, "new-vault").send());
    until(BOUND, "the call is sent", || async { stage.mutating_calls() == [CREATE] }).await;
    let trail = trail(&stage, daemon).await;
    assert!(waiting.await.unwrap().is_err(), "cut off");
    let [intended, made] = lines(&trail)[..] else { panic!("{trail:#?}") };
    assert_eq!((&intended["decision"], &made["decision"]), (&json!("allowed"), &json!("recorded")));
    assert!(made["message"].as_str().unwrap().contains("made cks-"), "{made}");
}
