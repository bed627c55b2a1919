//! The credentials of the configuration: as the driver asks for them, and where they are read again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use crate::aws::{AwsCredentials, AwsIdentity, AwsSecretsManager, AwsSecretsManagerSettings};
use crate::chain::Chain;
use crate::clock::Timestamp;
use crate::config::{NamedCredential, Origin, SecretsManagerOrigin, WatchedKeyStore};
use crate::current::Current;
use crate::custodian::{Read, Source};
use crate::driver::ConfiguredCredentials;
use crate::key_store::{
    AccessKeyId, CredentialDocument, CredentialRef, CustomKeyStoreId, Fingerprint, ProxyCredential,
};
use crate::keyring::{Keyring, Named};
use crate::places::Places;
use crate::preflight::Surroundings;

/// Secrets Manager answers in well under a second.
const SECRETS_TIMEOUT: Duration = Duration::from_secs(10);

/// Credentials by name, and which one each key store uses.
#[derive(Debug)]
pub(super) struct Credentials {
    keyring: Arc<Keyring>,
    by_store: Current<BTreeMap<CustomKeyStoreId, String>>,
    places: Arc<Places>,
    surroundings: Arc<Current<Surroundings>>,
}

impl Credentials {
    pub(super) fn new(
        keyring: Arc<Keyring>,
        stores: &[WatchedKeyStore],
        places: Arc<Places>,
        surroundings: Arc<Current<Surroundings>>,
    ) -> Self {
        Self { keyring, by_store: Current::new(by_store(stores)), places, surroundings }
    }

    /// Other key stores use other ones.
    pub(super) fn used_by(&self, stores: &[WatchedKeyStore]) {
        self.by_store.replace(by_store(stores));
    }
}

fn by_store(stores: &[WatchedKeyStore]) -> BTreeMap<CustomKeyStoreId, String> {
    stores.iter().map(|store| (store.id.clone(), store.credential.clone())).collect()
}

impl ConfiguredCredentials for Credentials {
    fn by_name(&self, name: &str) -> Option<ProxyCredential> {
        self.keyring.newest(name)
    }

    fn planned(&self, name: &str, fingerprint: &Fingerprint) -> Option<ProxyCredential> {
        self.keyring.planned(name, fingerprint)
    }

    /// The store's own credential first: two secrets may share an access key id while one replaces the other. A key store
    /// that nobody configured has what is lent to its place.
    fn present(&self, key_store: &CustomKeyStoreId, access_key_id: &AccessKeyId) -> Option<(String, ProxyCredential)> {
        let by_store = self.by_store.get();
        match by_store.get(key_store) {
            Some(own) => self.keyring.with_access_key_id(key_store, access_key_id, Some(own)),
            None => self.surroundings.get().lent_to(self.places.place_of(key_store)?, key_store, access_key_id),
        }
    }

    fn with_fingerprint(&self, fingerprint: &Fingerprint) -> Option<(String, ProxyCredential)> {
        self.keyring.with_fingerprint(fingerprint)
    }

    fn told(&self, key_store: &CustomKeyStoreId, credential: &CredentialRef, now: Timestamp) {
        self.keyring.told(key_store, credential, now);
    }
}

/// A keyring with all of them in use.
pub(super) fn keyring(named: &BTreeMap<String, NamedCredential>) -> Keyring {
    Keyring::new(named.iter().map(|(name, named)| (name.clone(), named.credential.clone())))
}

/// The same for a keyring that has others: what is the very same source as before is not defined anew.
pub(super) fn named(
    new: &BTreeMap<String, NamedCredential>,
    before: &BTreeMap<String, NamedCredential>,
) -> BTreeMap<String, Named> {
    let same = |name: &String, origin: &Origin| before.get(name).is_some_and(|named| named.origin == *origin);
    let named = |(name, named): (&String, &NamedCredential)| {
        let same_source = same(name, &named.origin);
        (name.clone(), Named { credential: named.credential.clone(), same_source })
    };
    new.iter().map(named).collect()
}

/// Where they are read again.
pub(super) async fn sources(
    named: &BTreeMap<String, NamedCredential>,
    aws: Option<&AwsCredentials>,
) -> BTreeMap<String, Source> {
    let mut sources = BTreeMap::new();
    for (name, NamedCredential { origin, refresh, .. }) in named {
        let read = match origin {
            Origin::SecretsManager(origin) => kept_by_aws(origin.clone(), aws.cloned()).await,
            origin => on_this_machine(origin.clone()),
        };
        let every = origin.can_change().then_some(*refresh);
        sources.insert(name.clone(), Source { read, every });
    }
    sources
}

fn on_this_machine(origin: Origin) -> Read {
    Arc::new(move || {
        let origin = origin.clone();
        let reading = tokio::task::spawn_blocking(move || origin.read());
        async move { reading.await.unwrap_or_else(|_| Err("reading it failed, a fault of xks-preflight".to_owned())) }
            .boxed()
    })
}

async fn kept_by_aws(origin: SecretsManagerOrigin, credentials: Option<AwsCredentials>) -> Read {
    let SecretsManagerOrigin { secret_id, region, stage, names, endpoint_url } = origin;
    let credentials = credentials.map(AwsIdentity::from);
    let settings = AwsSecretsManagerSettings { region, endpoint_url, credentials, timeout: SECRETS_TIMEOUT };
    let manager = AwsSecretsManager::new(settings).await;
    Arc::new(move || {
        let (manager, secret_id, stage, names) = (manager.clone(), secret_id.clone(), stage.clone(), names.clone());
        async move {
            let value = manager.value(&secret_id, &stage).await.map_err(|error| Chain(&error).to_string())?;
            let document = CredentialDocument::parse(&value, &names);
            document
                .map(|document| document.credential)
                .map_err(|error| format!("the secret is no credential: {error}"))
        }
        .boxed()
    })
}
