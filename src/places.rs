//! The accounts and Regions whose key stores are looked at and changed, and which of them each key store is in.
//!
//! # How it works
//!
//! KMS answers for one account and Region at a time. [`Places`] holds, for each such [`Place`], whoever reads and
//! changes KMS there and whoever reads what stands behind key stores there, all under the ports' own names. It is
//! itself a [`KeyStoreReader`] and a [`KeyStoreWriter`] that sends each call to the place of the key store that it is
//! about, so that whoever changes key stores need not know that there are several places. An id of a key store is
//! unique in all of AWS, and a key store never moves.
//!
//! A place is known for a key store by what it told last ([`Places::look`]), before that by the configuration. Of a key
//! store that nobody knows every place is asked.
//!
//! # What can go wrong
//!
//! - A place does not answer: only calls about its own key stores fail. A key store that no place is known for is then
//!   not said to be absent, because it may be in the place that did not answer.
//! - The same account and Region are configured twice: what the second tells is an error, and the first has the stores.
//! - Nobody knows where a key store is that shall be changed: nothing is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use async_trait::async_trait;
use futures_util::future::join_all;

use crate::cloudhsm::{ClusterReader, SecurityGroupReader};
use crate::key_store::{CustomKeyStoreId, KeyStore, KmsException, Place};
use crate::kms::{
    KeyStoreDescriber, KeyStoreMaker, KeyStoreReader, KeyStoreWriter, KmsError, PermissionReader, Receipt, Secrets,
};
use crate::update::{Mutation, Permit};
use crate::vpc::VpcReader;

const DESCRIBE: &str = "DescribeCustomKeyStores";

/// Whoever speaks for one place.
pub struct PlacePorts {
    /// Which.
    pub place: Place,
    /// Reads its key stores.
    pub reader: Arc<dyn KeyStoreReader>,
    /// Reads them as KMS describes them.
    pub describer: Arc<dyn KeyStoreDescriber>,
    /// Changes them; absent where nothing may be changed.
    pub writer: Option<Arc<dyn KeyStoreWriter>>,
    /// Makes them; absent where nothing may be changed.
    pub maker: Option<Arc<dyn KeyStoreMaker>>,
    /// Reads VPC endpoint services, if that is wanted.
    pub vpc: Option<Arc<dyn VpcReader>>,
    /// Reads CloudHSM clusters.
    pub clusters: Arc<dyn ClusterReader>,
    /// Reads the security groups of clusters, if EC2 is asked at all.
    pub security_groups: Option<Arc<dyn SecurityGroupReader>>,
    /// Tells what the identity used there may do, if an identity is named.
    pub permissions: Option<Arc<dyn PermissionReader>>,
}

/// All places, in the order of the configuration.
pub struct Places {
    ports: Vec<PlacePorts>,
    known: RwLock<Known>,
}

/// Where key stores are, by the number of the place.
#[derive(Default)]
struct Known {
    /// What each place told last.
    told: Vec<BTreeSet<CustomKeyStoreId>>,
    /// Where each was before it was gone, or where the configuration says that it is.
    remembered: BTreeMap<CustomKeyStoreId, usize>,
}

impl Known {
    fn of(&self, key_store: &CustomKeyStoreId) -> Option<usize> {
        let told = self.told.iter().position(|told| told.contains(key_store));
        told.or_else(|| self.remembered.get(key_store).copied())
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all()).finish()
    }
}

impl Places {
    /// These places; nothing is known of key stores yet.
    pub fn new(ports: Vec<PlacePorts>) -> Self {
        let told = vec![BTreeSet::new(); ports.len()];
        Self { ports, known: RwLock::new(Known { told, remembered: BTreeMap::new() }) }
    }

    /// The configuration says that these key stores are there, where it says so; what KMS told counts more.
    pub fn expect(&self, expected: impl IntoIterator<Item = (CustomKeyStoreId, Option<Place>)>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for (id, place) in expected {
            let number = self.ports.iter().position(|ports| Some(&ports.place) == place.as_ref());
            if let Some(number) = number {
                known.remembered.entry(id).or_insert(number);
            }
        }
    }

    /// Every place.
    pub fn all(&self) -> impl ExactSizeIterator<Item = &Place> {
        self.ports.iter().map(|ports| &ports.place)
    }

    /// Whoever speaks for this place.
    pub fn at(&self, place: &Place) -> Option<&PlacePorts> {
        self.ports.iter().find(|ports| ports.place == *place)
    }

    /// Whoever speaks for the place of a key store; `None` if nobody knows where it is.
    pub fn of(&self, key_store: &CustomKeyStoreId) -> Option<&PlacePorts> {
        let number = self.known().of(key_store)?;
        self.ports.get(number)
    }

    /// Where a key store is, or was last.
    pub fn place_of(&self, key_store: &CustomKeyStoreId) -> Option<&Place> {
        self.of(key_store).map(|ports| &ports.place)
    }

    /// Every key store of one place. From now on they are known to be there.
    pub async fn look(&self, place: &Place) -> Result<Vec<KeyStore>, KmsError> {
        let number = self.ports.iter().position(|ports| ports.place == *place);
        let Some((number, ports)) = number.and_then(|number| Some((number, self.ports.get(number)?))) else {
            return Err(KmsError::NotSent { operation: DESCRIBE, why: format!("{place} is not configured") });
        };
        let stores = ports.reader.key_stores().await?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let ids: BTreeSet<CustomKeyStoreId> = stores.iter().map(|store| store.id.clone()).collect();
        let (before, after) = known.told.split_at_mut(number);
        if let Some((first, id)) = before
            .iter()
            .zip(&self.ports)
            .find_map(|(told, ports)| told.intersection(&ids).next().map(|id| (&ports.place, id.clone())))
        {
            let why = format!("{id} is in {first}, too: the same account and Region is configured under two names");
            return Err(KmsError::NotUnderstood { operation: DESCRIBE, why });
        }
        let Some((own, later)) = after.split_first_mut() else { return Ok(stores) };
        for told in later {
            told.retain(|id| !ids.contains(id));
        }
        own.clone_from(&ids);
        known.remembered.extend(ids.into_iter().map(|id| (id, number)));
        Ok(stores)
    }

    /// The first place that knows the key store. That none of those which answered does means nothing as long as
    /// another one did not answer.
    async fn find(&self, id: &CustomKeyStoreId) -> Result<KeyStore, KmsError> {
        let asked = join_all(self.ports.iter().map(|ports| ports.reader.key_store(id))).await;
        let mut unanswered = None;
        for (number, answer) in asked.into_iter().enumerate() {
            match answer {
                Ok(store) => {
                    let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
                    known.remembered.insert(id.clone(), number);
                    return Ok(store);
                }
                Err(error) if error.is_not_found() => {}
                Err(error) => unanswered = unanswered.or(Some(error)),
            }
        }
        Err(unanswered.unwrap_or_else(|| KmsError::Refused {
            operation: DESCRIBE,
            exception: KmsException::CustomKeyStoreNotFound,
            message: format!("there is no key store {id} in any account and Region that is configured"),
            request_id: None,
        }))
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl KeyStoreReader for Places {
    /// Every key store of every place; an error if one of them does not answer.
    async fn key_stores(&self) -> Result<Vec<KeyStore>, KmsError> {
        let places: Vec<Place> = self.all().cloned().collect();
        let looks = join_all(places.iter().map(|place| self.look(place))).await;
        let mut stores = Vec::new();
        for look in looks {
            stores.extend(look?);
        }
        Ok(stores)
    }

    async fn key_store(&self, id: &CustomKeyStoreId) -> Result<KeyStore, KmsError> {
        match self.of(id) {
            Some(ports) => ports.reader.key_store(id).await,
            None => self.find(id).await,
        }
    }

    async fn beside(&self, id: &CustomKeyStoreId) -> Result<Vec<KeyStore>, KmsError> {
        match self.of(id) {
            Some(ports) => ports.reader.key_stores().await,
            None => Err(nowhere(DESCRIBE, id)),
        }
    }
}

#[async_trait]
impl KeyStoreWriter for Places {
    async fn carry_out(&self, permit: Permit, secrets: &Secrets) -> Result<Receipt, KmsError> {
        let operation = match permit.mutation() {
            Mutation::Disconnect => "DisconnectCustomKeyStore",
            Mutation::Update(_) => "UpdateCustomKeyStore",
            Mutation::Connect => "ConnectCustomKeyStore",
        };
        let Some(ports) = self.of(permit.key_store()) else { return Err(nowhere(operation, permit.key_store())) };
        let Some(writer) = &ports.writer else {
            let why = format!("nothing may be changed in {}", ports.place);
            return Err(KmsError::NotSent { operation, why });
        };
        writer.carry_out(permit, secrets).await
    }
}

/// Nothing is sent where nobody knows where to.
fn nowhere(operation: &'static str, id: &CustomKeyStoreId) -> KmsError {
    KmsError::NotSent { operation, why: format!("no account and Region is known to have {id}") }
}

#[cfg(test)]
mod tests;
