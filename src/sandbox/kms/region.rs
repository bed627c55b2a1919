//! What one account holds in one Region: custom key stores, KMS keys, and the clusters and VPC endpoint services that
//! stand behind them.

use std::{collections::BTreeMap, time::SystemTime};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    super::cloudhsm::{Clusters, Refusal},
    signature::sha256_hex,
    store::{Backing, ConnectionState, Connectivity, ExternalKeyStore, Record, Store},
    wire::{Failure, Query, epoch_seconds, list_entry},
};

/// A KMS key.
#[derive(Debug)]
pub(super) struct Key {
    id: String,
    /// The store that holds it and the id of the external key; `None` for a key that KMS itself holds.
    custom: Option<(String, String)>,
    created_at: SystemTime,
    /// Whether its key policy keeps the caller from describing it.
    pub(super) denied: bool,
    /// Its state, where that does not follow from the store's.
    pub(super) state: Option<String>,
}

/// The account's holdings. Its methods never wait.
#[derive(Debug)]
pub(super) struct Region {
    pub(super) name: String,
    pub(super) account_id: String,
    pub(super) store_quota: usize,
    /// VPC endpoint services by name with their private DNS name; `None` accepts any.
    pub(super) vpc_services: Option<BTreeMap<String, String>>,
    /// CloudHSM clusters; `None` accepts any.
    pub(super) clusters: Option<Clusters>,
    records: Vec<Record>,
    keys: Vec<Key>,
    minted: u64,
    /// Lets the ids of several accounts and Regions differ; empty for one alone.
    pub(super) salt: String,
    attempts: u64,
}

/// Page size where the caller names none: KMS's default of ListKeys.
const DEFAULT_LIMIT: i64 = 100;

impl Region {
    pub(super) fn new(name: String, account_id: String, store_quota: usize) -> Self {
        Self {
            name,
            account_id,
            store_quota,
            vpc_services: None,
            clusters: None,
            records: Vec::new(),
            keys: Vec::new(),
            minted: 0,
            salt: String::new(),
            attempts: 0,
        }
    }

    /// Ends every transition that is due at this instant; everything else reads the states as they were then.
    pub(super) fn settle(&mut self, now: Instant) {
        for record in &mut self.records {
            record.settle(now);
        }
    }

    /// A digest that no other call gives: ids are the same in every run, so failures can be compared.
    fn mint(&mut self, kind: &str) -> String {
        self.minted += 1;
        sha256_hex(format!("{}{kind} {}", self.salt, self.minted).as_bytes())
    }

    pub(super) fn stores(&self) -> impl Iterator<Item = &Store> {
        self.records.iter().map(Record::store)
    }

    pub(super) fn is_full(&self) -> bool {
        self.records.len() >= self.store_quota
    }

    /// Adds a disconnected store and says its id.
    pub(super) fn add(&mut self, name: String, backing: Backing, created_at: SystemTime) -> String {
        let id = format!("cks-{}", self.mint("custom key store").get(..17).unwrap_or_default());
        let connection = ConnectionState::Disconnected;
        self.records.push(Record::new(Store { id: id.clone(), name, backing, connection, created_at }));
        id
    }

    pub(super) fn find(&mut self, id: &str) -> Option<&mut Record> {
        self.records.iter_mut().find(|record| record.store().id == id)
    }

    /// The store of this id, or KMS's word for there being none.
    pub(super) fn store(&self, id: &str) -> Result<&Store, Failure> {
        self.stores().find(|store| store.id == id).ok_or_else(|| not_found(id))
    }

    /// The record of this id, or KMS's word for there being none.
    pub(super) fn record(&mut self, id: &str) -> Result<&mut Record, Failure> {
        self.find(id).ok_or_else(|| not_found(id))
    }

    /// A number for a transition that no other has.
    pub(super) fn next_attempt(&mut self) -> u64 {
        self.attempts += 1;
        self.attempts
    }

    /// Deletes a store that holds no keys.
    pub(super) fn delete(&mut self, id: &str) -> Result<(), Failure> {
        if self.keys.iter().any(|key| key.custom.as_ref().is_some_and(|(store, _)| store == id)) {
            return Err(Failure::new("CustomKeyStoreHasCMKsException", "The custom key store contains KMS keys."));
        }
        self.records.retain(|record| record.store().id != id);
        Ok(())
    }

    /// Adds a key and says its ARN.
    pub(super) fn add_key(&mut self, custom: Option<(String, String)>, created_at: SystemTime) -> String {
        let digest = self.mint("key");
        let part = |from: usize, to: usize| digest.get(from..to).unwrap_or_default();
        let id = format!("{}-{}-4{}-8{}-{}", part(0, 8), part(8, 12), part(12, 15), part(15, 18), part(18, 30));
        let arn = self.arn(&id);
        self.keys.push(Key { id, custom, created_at, denied: false, state: None });
        arn
    }

    /// Changes a key; `false` if there is none of this ARN.
    pub(super) fn change_key(&mut self, arn: &str, change: impl FnOnce(&mut Key)) -> bool {
        let prefix = self.arn("");
        let key = self.keys.iter_mut().find(|key| arn.strip_prefix(&prefix) == Some(&key.id));
        key.map(change).is_some()
    }

    /// Deletes a key; `false` if there is none of this ARN.
    pub(super) fn delete_key(&mut self, arn: &str) -> bool {
        let (prefix, before) = (self.arn(""), self.keys.len());
        self.keys.retain(|key| arn.strip_prefix(&prefix) != Some(&key.id));
        self.keys.len() != before
    }

    fn arn(&self, key_id: &str) -> String {
        format!("arn:aws:kms:{}:{}:key/{key_id}", self.name, self.account_id)
    }

    /// DescribeCustomKeyStores.
    pub(super) fn describe_stores(&self, query: &Query, shown: Option<&str>) -> Result<Value, Failure> {
        let entry = |store: &Store| {
            let mut entry = list_entry(store);
            if let Some(state) = shown {
                entry["ConnectionState"] = json!(state);
            }
            entry
        };
        let wanted = match (&query.custom_key_store_id, &query.custom_key_store_name) {
            (Some(_), Some(_)) => {
                return Err(Failure::validation("CustomKeyStoreId and CustomKeyStoreName cannot both be specified."));
            }
            (Some(id), None) => Some((self.stores().find(|store| &store.id == id), id)),
            (None, Some(name)) => Some((self.stores().find(|store| &store.name == name), name)),
            (None, None) => None,
        };
        if let Some((found, wanted)) = wanted {
            let store = found.ok_or_else(|| not_found(wanted))?;
            return Ok(json!({ "CustomKeyStores": [entry(store)], "Truncated": false }));
        }
        let stores: Vec<&Store> = self.stores().collect();
        let (page, next) = page(&stores, query, |store| &store.id)?;
        let mut answer = json!({
            "CustomKeyStores": page.iter().map(|store| entry(store)).collect::<Vec<_>>(),
            "Truncated": next.is_some(),
        });
        if let Some(next) = next {
            answer["NextMarker"] = json!(next);
        }
        Ok(answer)
    }

    /// ListKeys.
    pub(super) fn list_keys(&self, query: &Query) -> Result<Value, Failure> {
        let (page, next) = page(&self.keys, query, |key| &key.id)?;
        let keys: Vec<Value> = page.iter().map(|key| json!({ "KeyId": key.id, "KeyArn": self.arn(&key.id) })).collect();
        let mut answer = json!({ "Keys": keys, "Truncated": next.is_some() });
        if let Some(next) = next {
            answer["NextMarker"] = json!(next);
        }
        Ok(answer)
    }

    /// DescribeKey, by key id or ARN.
    pub(super) fn describe_key(&self, query: &Query) -> Result<Value, Failure> {
        let wanted = query.key_id.as_deref().unwrap_or_default();
        let id = wanted.strip_prefix(&self.arn("")).unwrap_or(wanted);
        let key = self
            .keys
            .iter()
            .find(|key| key.id == id)
            .ok_or_else(|| Failure::new("NotFoundException", format!("Key '{wanted}' does not exist")))?;
        if key.denied {
            return Err(Failure::new(
                "AccessDeniedException",
                format!(
                    "User is not authorized to perform: kms:DescribeKey on resource: {} because no resource-based \
                     policy allows the kms:DescribeKey action",
                    self.arn(&key.id)
                ),
            ));
        }
        let store = key.custom.as_ref().and_then(|(id, _)| self.stores().find(|store| &store.id == id));
        let usable = key.custom.is_none() || store.is_some_and(|s| s.connection == ConnectionState::Connected);
        let mut metadata = json!({
            "AWSAccountId": self.account_id,
            "KeyId": key.id,
            "Arn": self.arn(&key.id),
            "CreationDate": epoch_seconds(key.created_at),
            "Enabled": key.state.is_none(),
            "Description": "",
            "KeyUsage": "ENCRYPT_DECRYPT",
            // KMS shows the state of the store here, never that of the external key.
            "KeyState": key.state.as_deref().unwrap_or(if usable { "Enabled" } else { "Unavailable" }),
            "Origin": "AWS_KMS",
            "KeyManager": "CUSTOMER",
            "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
            "KeySpec": "SYMMETRIC_DEFAULT",
            "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
            "MultiRegion": false,
        });
        if let Some((store_id, external_id)) = &key.custom {
            metadata["CustomKeyStoreId"] = json!(store_id);
            if let Some(Backing::CloudHsm(hsm)) = store.map(|store| &store.backing) {
                metadata["Origin"] = json!("AWS_CLOUDHSM");
                metadata["CloudHsmClusterId"] = json!(hsm.cluster_id);
            } else {
                metadata["Origin"] = json!("EXTERNAL_KEY_STORE");
                metadata["XksKeyConfiguration"] = json!({ "Id": external_id });
            }
        }
        Ok(json!({ "KeyMetadata": metadata }))
    }

    /// Whether the cluster can take the place of `present`, or be a store's first one.
    pub(super) fn check_cluster(&self, id: &str, present: Option<&str>) -> Result<(), Failure> {
        self.clusters.as_ref().map_or(Ok(()), |clusters| clusters.fit_for_update(id, present)).map_err(cluster_refused)
    }

    /// Whether a store with this cluster may begin to connect.
    pub(super) fn check_connect(&self, id: &str) -> Result<(), Failure> {
        self.clusters.as_ref().map_or(Ok(()), |clusters| clusters.fit_for_connect(id)).map_err(cluster_refused)
    }

    /// Whether the VPC endpoint service exists and carries the endpoint's host as its private DNS name.
    pub(super) fn check_service(&self, xks: &ExternalKeyStore) -> Result<(), Failure> {
        let (Connectivity::VpcEndpointService { name, .. }, Some(services)) = (&xks.connectivity, &self.vpc_services)
        else {
            return Ok(());
        };
        let Some(private_dns_name) = services.get(name) else {
            return Err(Failure::new(
                "XksProxyVpcEndpointServiceNotFoundException",
                "KMS cannot find the VPC endpoint service. Verify its name and that KMS is an allowed principal.",
            ));
        };
        if !private_dns_name.eq_ignore_ascii_case(&xks.host()) {
            return Err(Failure::new(
                "XksProxyVpcEndpointServiceInvalidConfigurationException",
                "The private DNS name of the VPC endpoint service differs from the host of the proxy URI endpoint.",
            ));
        }
        Ok(())
    }
}

fn cluster_refused(refusal: Refusal) -> Failure {
    let (name, message) = match refusal {
        Refusal::NotFound => {
            ("CloudHsmClusterNotFoundException", "The CloudHSM cluster does not exist in this account and Region.")
        }
        Refusal::NotActive => ("CloudHsmClusterNotActiveException", "The CloudHSM cluster is not active."),
        Refusal::InvalidConfiguration => (
            "CloudHsmClusterInvalidConfigurationException",
            "The CloudHSM cluster lacks active HSMs or private subnets in two Availability Zones, or a rule of its \
             security group.",
        ),
        Refusal::NotRelated => (
            "CloudHsmClusterNotRelatedException",
            "The CloudHSM cluster does not share a backup history with the original cluster.",
        ),
    };
    Failure::new(name, message)
}

fn not_found(wanted: &str) -> Failure {
    let wanted: String = wanted.chars().take(256).collect();
    Failure::new("CustomKeyStoreNotFoundException", format!("Custom key store '{wanted}' does not exist."))
}

/// One page and the marker of the next. The marker names the last item seen, so it survives additions.
fn page<'a, T>(
    items: &'a [T],
    query: &Query,
    id: impl Fn(&T) -> &String,
) -> Result<(&'a [T], Option<String>), Failure> {
    let invalid = || Failure::new("InvalidMarkerException", "Could not deserialize marker.");
    let start = match &query.marker {
        None => 0,
        Some(marker) => {
            let last = STANDARD.decode(marker).map_err(|_| invalid())?;
            let seen = items.iter().position(|item| id(item).as_bytes() == last);
            seen.ok_or_else(invalid)? + 1
        }
    };
    let limit = usize::try_from(query.limit.unwrap_or(DEFAULT_LIMIT)).unwrap_or(1);
    let rest = items.get(start..).unwrap_or_default();
    let page = rest.get(..limit).unwrap_or(rest);
    let next = page.last().filter(|_| page.len() < rest.len()).map(|last| STANDARD.encode(id(last)));
    Ok((page, next))
}
