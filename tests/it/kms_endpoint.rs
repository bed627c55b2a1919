//! The KMS drop-in endpoint before a real daemon, asked by the AWS SDK for Rust and by the clients that people have.

mod clients;
mod creation;
mod protocol;
mod refusals;

use std::time::Duration;

use aws_sdk_kms::Client;
use aws_sdk_kms::config::retry::RetryConfig;
use aws_sdk_kms::config::timeout::TimeoutConfig;
use aws_sdk_kms::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::types::XksProxyAuthenticationCredentialType;
use xks_preflight::sandbox::fault::Fault;
use xks_preflight::sandbox::kms::ConnectionState;

use crate::daemon::stage::{Daemon, KMS_ID, KMS_SECRET, NEW, OLD, Stage, until};

const COLD: [&str; 3] = ["DisconnectCustomKeyStore", "UpdateCustomKeyStore", "ConnectCustomKeyStore"];
const DEPLOY: &str = "XKSPFWHOLESEQUENCE22";
const WATCH: &str = "XKSPFVIEWERVIEWER222";
const PAYMENTS: &str = "XKSPFSCOPEDBYNAME222";
const ELSEWHERE: &str = "XKSPFSCOPEDELSEWHERE";
const BOUND: Duration = Duration::from_mins(1);

/// A client that signs with this credential and makes one attempt.
pub(crate) fn client(daemon: &Daemon, access_key_id: &str, patience: Option<Duration>) -> Client {
    let mut timeouts = TimeoutConfig::builder();
    timeouts.set_operation_attempt_timeout(patience);
    let config = aws_sdk_kms::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(access_key_id, KMS_SECRET, None, None, "test"))
        .endpoint_url(format!("http://{}", daemon.kms_endpoint))
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts.build())
        .build();
    Client::from_conf(config)
}

fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> &str {
    error.code().unwrap_or("no exception")
}

fn expired() -> Fault {
    "certificate-expired".parse().unwrap()
}

async fn when_it_is(stage: &Stage, wanted: ConnectionState) {
    until(BOUND, "the key store changes its state", || async { stage.shown().1 == wanted }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_candidate_is_answered_when_it_is_verified() {
    let stage = Stage::new("drop-in-good").await;
    let daemon = Daemon::start(&stage, None).await;
    let update = client(&daemon, DEPLOY, None).update_custom_key_store().custom_key_store_id(&stage.key_store);
    update.clone().xks_proxy_uri_endpoint(NEW).send().await.unwrap();
    assert_eq!(stage.mutations(), COLD);
    assert_eq!(stage.shown(), (NEW.to_owned(), ConnectionState::Connected));
    let id = daemon.only_update().await;
    let record = daemon.call("GET", &format!("/v1/updates/{id}"), None).await.json();
    assert_eq!(record["status"], "verified", "{record:#}");
    assert_eq!(record["plan"]["requested_by"], "deploy", "{record:#}");
    // As it is already, it is asked for its health and not touched.
    update.clone().xks_proxy_uri_endpoint(NEW).send().await.unwrap();
    stage.new.set_fault(expired()).await;
    let refused = update.xks_proxy_uri_endpoint(NEW).send().await.unwrap_err();
    assert_eq!(code(&refused), "XksProxyUriUnreachableException");
    assert_eq!(stage.mutations(), COLD);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_candidate_is_refused_with_the_exception_of_kms_and_nothing_is_sent() {
    let stage = Stage::new("drop-in-bad").await;
    stage.new.set_fault(expired()).await;
    let daemon = Daemon::start(&stage, None).await;
    let update = client(&daemon, DEPLOY, None).update_custom_key_store().custom_key_store_id(&stage.key_store);
    let refused = update.xks_proxy_uri_endpoint(NEW).send().await.unwrap_err().into_service_error();
    assert!(refused.is_xks_proxy_uri_unreachable_exception(), "{refused:?}");
    let message = refused.message().unwrap();
    assert!(message.contains("tls."), "{message}");
    let address = message.split_once("/v1/preflights/").unwrap().1.split(',').next().unwrap();
    let report = daemon.call("GET", &format!("/v1/preflights/{address}"), None).await;
    assert_eq!((report.status, report.json()["verdict"].as_str()), (200, Some("blocked")));
    assert!(stage.mutating_calls().is_empty(), "{:?}", stage.mutating_calls());
    let metrics = daemon.call("GET", "/metrics", None).await.body;
    let counted =
        "kms_endpoint_requests_total{operation=\"UpdateCustomKeyStore\",result=\"XksProxyUriUnreachableException\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_needs_a_disconnect_is_refused_as_kms_does_unless_the_policy_allows_it() {
    let stage = Stage::new("drop-in-cold").await;
    let daemon = Daemon::start(&stage, None).await;
    let update = client(&daemon, KMS_ID, None).update_custom_key_store().custom_key_store_id(&stage.key_store);
    let refused = update.clone().xks_proxy_uri_endpoint(NEW).send().await.unwrap_err().into_service_error();
    assert!(refused.is_custom_key_store_invalid_state_exception(), "{refused:?}");
    assert!(stage.mutating_calls().is_empty());
    // What KMS takes of a CONNECTED key store is made in place.
    let (id, secret) = ("SANDBOXSECONDACCESSKEYID", "TestSecretDoNotLeakSecond0123456789abcdefghijklm");
    stage.old.add_credential(id, secret.to_owned());
    let credential = XksProxyAuthenticationCredentialType::builder().access_key_id(id).raw_secret_access_key(secret);
    update.xks_proxy_authentication_credential(credential.build().unwrap()).send().await.unwrap();
    assert_eq!(stage.mutations(), ["UpdateCustomKeyStore"]);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_loses_patience_finds_its_update_again() {
    let stage = Stage::new("drop-in-patience").await;
    stage.kms.set_delays(Duration::from_secs(1), Duration::from_secs(1));
    let daemon = Daemon::start(&stage, None).await;
    let update = |patience| {
        let client = client(&daemon, DEPLOY, patience);
        let update = client.update_custom_key_store().custom_key_store_id(&stage.key_store);
        update.xks_proxy_uri_endpoint(NEW).send()
    };
    let hasty = update(Some(Duration::from_millis(200))).await.unwrap_err();
    assert!(matches!(hasty, SdkError::TimeoutError(_)), "{hasty:?}");
    update(None).await.unwrap();
    daemon.only_update().await;
    assert_eq!(stage.mutating_calls(), COLD);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_the_repeated_request_finds_its_update_again() {
    let stage = Stage::new("drop-in-restart").await;
    stage.kms.set_delays(Duration::from_secs(2), Duration::from_secs(2));
    let daemon = Daemon::start(&stage, None).await;
    let request = |daemon: &Daemon| {
        let client = client(daemon, DEPLOY, None);
        client.update_custom_key_store().custom_key_store_id(&stage.key_store).xks_proxy_uri_endpoint(NEW).send()
    };
    let waiting = tokio::spawn(request(&daemon));
    until(BOUND, "a first mutation", || async { !stage.mutations().is_empty() }).await;
    daemon.terminate().await;
    let told = waiting.await.unwrap().unwrap_err();
    assert_eq!(code(&told), "KMSInternalException", "SDKs repeat this one");
    let daemon = Daemon::start(&stage, None).await;
    request(&daemon).await.unwrap();
    daemon.only_update().await;
    assert_eq!(stage.mutating_calls(), COLD);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connect_is_made_only_if_it_would_work() {
    let stage = Stage::new("drop-in-connect").await;
    let daemon = Daemon::start(&stage, None).await;
    let deploy = client(&daemon, DEPLOY, None);
    let connect = || deploy.connect_custom_key_store().custom_key_store_id(&stage.key_store).send();
    // Connected already: KMS takes it and does nothing.
    connect().await.unwrap();
    deploy.disconnect_custom_key_store().custom_key_store_id(&stage.key_store).send().await.unwrap();
    when_it_is(&stage, ConnectionState::Disconnected).await;
    // Only one update of a key store is open at once: a disconnect ends when DISCONNECTED is seen.
    stage.old.set_fault(expired()).await;
    until(BOUND, "the disconnect is over", || async { daemon.is_idle().await }).await;
    let refused = connect().await.unwrap_err().into_service_error();
    assert!(refused.is_custom_key_store_invalid_state_exception(), "{refused:?}");
    assert!(refused.message().unwrap().contains("/v1/preflights/"), "{refused:?}");
    assert_eq!(stage.mutating_calls(), ["DisconnectCustomKeyStore"]);
    stage.old.set_fault(None).await;
    connect().await.unwrap();
    when_it_is(&stage, ConnectionState::Connected).await;
    assert_eq!(stage.mutating_calls(), ["DisconnectCustomKeyStore", "ConnectCustomKeyStore"]);
    until(BOUND, "the connect is over", || async { daemon.is_idle().await }).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disconnect_without_a_way_back_is_refused_unless_the_policy_allows_it() {
    let stage = Stage::new("drop-in-disconnect").await;
    stage.old.set_fault(expired()).await;
    let daemon = Daemon::start(&stage, None).await;
    let disconnect =
        |id| client(&daemon, id, None).disconnect_custom_key_store().custom_key_store_id(&stage.key_store).send();
    let refused = disconnect(KMS_ID).await.unwrap_err().into_service_error();
    assert!(refused.is_custom_key_store_invalid_state_exception(), "{refused:?}");
    assert!(stage.mutating_calls().is_empty());
    disconnect(DEPLOY).await.unwrap();
    when_it_is(&stage, ConnectionState::Disconnected).await;
    assert_eq!(stage.mutating_calls(), ["DisconnectCustomKeyStore"]);
    until(BOUND, "the disconnect is over", || async { daemon.is_idle().await }).await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_or_changes_what_no_grant_covers() {
    let stage = Stage::new("drop-in-scopes").await;
    let daemon = Daemon::start(&stage, None).await;
    let (store, name) = (stage.key_store.as_str(), "payments");
    for id in [KMS_ID, WATCH, PAYMENTS] {
        let seen =
            client(&daemon, id, None).describe_custom_key_stores().custom_key_store_id(store).send().await.unwrap();
        let seen = &seen.custom_key_stores()[0];
        let xks = seen.xks_proxy_configuration().unwrap();
        assert_eq!((seen.custom_key_store_name(), xks.uri_endpoint()), (Some(name), Some(OLD)), "{id}");
        assert!(seen.creation_date().is_some());
    }
    let elsewhere = client(&daemon, ELSEWHERE, None);
    assert!(elsewhere.describe_custom_key_stores().send().await.unwrap().custom_key_stores().is_empty());
    let hidden = elsewhere.describe_custom_key_stores().custom_key_store_id(store).send().await.unwrap_err();
    assert_eq!(code(&hidden), "CustomKeyStoreNotFoundException");
    for id in [WATCH, ELSEWHERE] {
        let client = client(&daemon, id, None);
        let update = client.update_custom_key_store().custom_key_store_id(store).new_custom_key_store_name("mine");
        assert_eq!(code(&update.send().await.unwrap_err()), "AccessDeniedException", "{id}");
        let connect = client.connect_custom_key_store().custom_key_store_id(store);
        assert_eq!(code(&connect.send().await.unwrap_err()), "AccessDeniedException", "{id}");
        let disconnect = client.disconnect_custom_key_store().custom_key_store_id(store);
        assert_eq!(code(&disconnect.send().await.unwrap_err()), "AccessDeniedException", "{id}");
    }
    assert!(stage.mutating_calls().is_empty());
    let scoped = client(&daemon, PAYMENTS, None).update_custom_key_store().custom_key_store_id(store);
    scoped.new_custom_key_store_name("payments-2").send().await.unwrap();
    assert_eq!(stage.mutations(), ["UpdateCustomKeyStore"]);
    // What is not served is said with what is.
    let refused = client(&daemon, KMS_ID, None).list_keys().send().await.unwrap_err();
    assert_eq!(code(&refused), "AccessDeniedException");
    assert!(refused.message().unwrap().contains("DescribeCustomKeyStores"));
    daemon.terminate().await;
}
