//! KMS through the AWS SDK.
//!
//! Reads are retried by the SDK. Mutations are not: a second UpdateCustomKeyStore after a lost answer would be a
//! second mutation that nobody decided on.

use std::time::Duration;

use async_trait::async_trait;
use aws_config::identity::IdentityCache;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region as SdkRegion, SdkConfig};
use aws_sdk_kms::Client;
use aws_sdk_kms::config::retry::RetryConfig;
use aws_sdk_kms::operation::RequestId;
use aws_sdk_kms::types::CustomKeyStoresListEntry;

use super::identity::AwsIdentity;
use super::kms_translate::{connectivity, error, key_store, list_entry, proxy_credential};
use super::steering::unsteered;
use crate::key_store::{Change, CustomKeyStoreId, KeyStore, Region};
use crate::kms::{KeyStoreDescriber, KeyStoreDescription, KeyStoreReader, KeyStoreWriter, KmsError, Receipt, Secrets};
use crate::update::{Mutation, Permit};

/// An account and Region has at most ten custom key stores by default; this many pages of them end every doubt.
const MOST_PAGES: usize = 20;

/// The most that DescribeCustomKeyStores gives at once (its `Limit`): fewer requests of a rate that everybody shares.
const LARGEST_PAGE: i32 = 1_000;

/// How to reach KMS.
#[derive(Clone, Debug)]
pub struct AwsKmsSettings {
    /// The Region of the key stores.
    pub region: Region,
    /// Another endpoint than the Region's own, such as a VPC endpoint or the sandbox.
    pub endpoint_url: Option<String>,
    /// Who asks; without it the SDK's default chain finds credentials.
    pub credentials: Option<AwsIdentity>,
    /// How long one request may take. KMS calls the proxy during an update, so leave it time: 30 seconds.
    pub timeout: Duration,
}

/// KMS of one account and Region.
#[derive(Clone, Debug)]
pub struct AwsKms {
    pub(super) client: Client,
    identity: Option<AwsIdentity>,
}

impl AwsKms {
    /// A client; nothing is sent yet.
    pub async fn new(settings: AwsKmsSettings) -> Self {
        let AwsKmsSettings { region, endpoint_url, credentials, timeout } = settings;
        let identity = credentials.clone();
        Self { client: Client::new(&sdk_config(&region, endpoint_url, credentials, timeout).await), identity }
    }

    async fn update(&self, id: &CustomKeyStoreId, change: &Change, secrets: &Secrets) -> Result<Receipt, KmsError> {
        const OPERATION: &str = "UpdateCustomKeyStore";
        let missing = |what: &str| KmsError::NotSent { operation: OPERATION, why: format!("{what} is not at hand") };
        let text = |value: &dyn ToString| value.to_string();
        let credential = match (&change.credential, &secrets.credential) {
            (None, _) => None,
            (Some(wanted), Some(held)) if held.access_key_id == wanted.access_key_id => {
                Some(proxy_credential(held).map_err(|why| KmsError::NotSent { operation: OPERATION, why })?)
            }
            (Some(_), _) => return Err(missing("XksProxyAuthenticationCredential")),
        };
        let password = match (change.password, &secrets.password) {
            (false, _) => None,
            (true, Some(password)) => Some(password.expose().to_owned()),
            (true, None) => return Err(missing("KeyStorePassword")),
        };
        let request = self
            .client
            .update_custom_key_store()
            .custom_key_store_id(id.as_str())
            .set_new_custom_key_store_name(change.name.as_ref().map(|value| text(value)))
            .set_key_store_password(password)
            .set_cloud_hsm_cluster_id(change.cluster.as_ref().map(|value| text(value)))
            .set_xks_proxy_uri_endpoint(change.endpoint.as_ref().map(|value| text(value)))
            .set_xks_proxy_uri_path(change.path.as_ref().map(|value| text(value)))
            .set_xks_proxy_connectivity(change.connectivity.map(connectivity))
            // Towards PUBLIC_ENDPOINT the service name is left out, as in the developer guide's example: an empty
            // string, which the API text names too, is shorter than the model's own minimum.
            .set_xks_proxy_vpc_endpoint_service_name(change.service_name.as_ref().map(|value| text(value)))
            .set_xks_proxy_vpc_endpoint_service_owner(change.service_owner.as_ref().map(|value| text(value)))
            .set_xks_proxy_authentication_credential(credential);
        let answer = request.customize().config_override(once()).send().await.map_err(|e| error(OPERATION, &e))?;
        Ok(Receipt { request_id: answer.request_id().map(ToOwned::to_owned) })
    }

    /// Every entry of every page. This is asked again and again, so it is here that a session which AWS no longer takes
    /// is given up.
    async fn entries(&self) -> Result<Vec<CustomKeyStoresListEntry>, KmsError> {
        let told = self.told_entries().await;
        if let (Err(KmsError::AccessDenied { .. }), Some(identity)) = (&told, &self.identity) {
            identity.refused().await;
        }
        told
    }

    async fn told_entries(&self) -> Result<Vec<CustomKeyStoresListEntry>, KmsError> {
        let mut entries = Vec::new();
        let mut marker = None;
        for _ in 0..MOST_PAGES {
            let answer = self
                .client
                .describe_custom_key_stores()
                .limit(LARGEST_PAGE)
                .set_marker(marker.clone())
                .send()
                .await
                .map_err(|e| error(DESCRIBE, &e))?;
            entries.extend_from_slice(answer.custom_key_stores());
            if !answer.truncated() {
                return Ok(entries);
            }
            let next = answer.next_marker().map(ToOwned::to_owned);
            // Without a new marker the same page would come again, and its stores would count twice.
            if next.is_none() || next == marker {
                return Err(not_understood("it is Truncated and has no new NextMarker".to_owned()));
            }
            marker = next;
        }
        Err(not_understood(format!("the list does not end within {MOST_PAGES} pages")))
    }

    async fn connect(&self, id: &CustomKeyStoreId) -> Result<Receipt, KmsError> {
        let request = self.client.connect_custom_key_store().custom_key_store_id(id.as_str());
        let answer =
            request.customize().config_override(once()).send().await.map_err(|e| error("ConnectCustomKeyStore", &e))?;
        Ok(Receipt { request_id: answer.request_id().map(ToOwned::to_owned) })
    }

    async fn disconnect(&self, id: &CustomKeyStoreId) -> Result<Receipt, KmsError> {
        let request = self.client.disconnect_custom_key_store().custom_key_store_id(id.as_str());
        let answer = request
            .customize()
            .config_override(once())
            .send()
            .await
            .map_err(|e| error("DisconnectCustomKeyStore", &e))?;
        Ok(Receipt { request_id: answer.request_id().map(ToOwned::to_owned) })
    }
}

/// What every client of ours is made of. Requests that fail in passing are tried three times.
pub(super) async fn sdk_config(
    region: &Region,
    endpoint_url: Option<String>,
    credentials: Option<AwsIdentity>,
    timeout: Duration,
) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(timeout.min(Duration::from_secs(5)))
        .operation_attempt_timeout(timeout)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .region(SdkRegion::new(region.to_string()))
        .retry_config(RetryConfig::standard().with_max_attempts(3))
        .timeout_config(timeouts);
    if let Some(url) = &endpoint_url {
        loader = loader.endpoint_url(url);
    }
    if let Some(identity) = credentials {
        // It remembers credentials itself, and gives them up when AWS does.
        loader = loader.credentials_provider(identity.provider()).identity_cache(IdentityCache::no_cache());
    }
    unsteered(loader.load().await, endpoint_url)
}

/// One attempt and no more.
pub(super) fn once() -> aws_sdk_kms::config::Builder {
    aws_sdk_kms::config::Builder::new().retry_config(RetryConfig::disabled())
}

const DESCRIBE: &str = "DescribeCustomKeyStores";

fn not_understood(why: String) -> KmsError {
    KmsError::NotUnderstood { operation: DESCRIBE, why }
}

#[async_trait]
impl KeyStoreReader for AwsKms {
    async fn key_stores(&self) -> Result<Vec<KeyStore>, KmsError> {
        let entries = self.entries().await?;
        entries.iter().map(|entry| key_store(entry).map_err(not_understood)).collect()
    }

    async fn key_store(&self, id: &CustomKeyStoreId) -> Result<KeyStore, KmsError> {
        let request = self.client.describe_custom_key_stores().custom_key_store_id(id.as_str());
        let answer = request.send().await.map_err(|e| error(DESCRIBE, &e))?;
        match answer.custom_key_stores() {
            [entry] => {
                let store = key_store(entry).map_err(not_understood)?;
                if store.id == *id {
                    Ok(store)
                } else {
                    Err(not_understood("it is about another key store".to_owned()))
                }
            }
            entries => Err(not_understood(format!("{} key stores where one was asked for", entries.len()))),
        }
    }
}

#[async_trait]
impl KeyStoreWriter for AwsKms {
    async fn carry_out(&self, permit: Permit, secrets: &Secrets) -> Result<Receipt, KmsError> {
        match permit.mutation() {
            Mutation::Disconnect => self.disconnect(permit.key_store()).await,
            Mutation::Update(change) => self.update(permit.key_store(), change, secrets).await,
            Mutation::Connect => self.connect(permit.key_store()).await,
        }
    }
}

#[async_trait]
impl KeyStoreDescriber for AwsKms {
    async fn descriptions(&self) -> Result<Vec<KeyStoreDescription>, KmsError> {
        let entries = self.entries().await?;
        let described = |entry| {
            let store = key_store(entry).map_err(not_understood)?;
            Ok(KeyStoreDescription { store, entry: list_entry(entry) })
        };
        entries.iter().map(described).collect()
    }
}
