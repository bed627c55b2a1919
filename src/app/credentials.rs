//! The credentials of the configuration, as the driver asks for them.

use std::collections::BTreeMap;

use crate::config::{NamedCredential, WatchedKeyStore};
use crate::current::Current;
use crate::driver::ConfiguredCredentials;
use crate::key_store::{AccessKeyId, CustomKeyStoreId, Fingerprint, ProxyCredential};

/// Credentials by name, and which one each key store uses.
#[derive(Debug)]
pub(super) struct Credentials(Current<Held>);

#[derive(Debug, Default)]
struct Held {
    by_name: BTreeMap<String, ProxyCredential>,
    by_store: BTreeMap<CustomKeyStoreId, String>,
    /// What names stood for, as long as an open update means that by them.
    former: Vec<(String, ProxyCredential)>,
}

impl Held {
    fn new(named: &BTreeMap<String, NamedCredential>, stores: &[WatchedKeyStore]) -> Self {
        let by_name = named.iter().map(|(name, held)| (name.clone(), held.credential.clone())).collect();
        let by_store = stores.iter().map(|store| (store.id.clone(), store.credential.clone())).collect();
        Self { by_name, by_store, former: Vec::new() }
    }

    fn all(&self) -> impl Iterator<Item = (&String, &ProxyCredential)> {
        self.by_name.iter().chain(self.former.iter().map(|(name, credential)| (name, credential)))
    }
}

impl Credentials {
    pub(super) fn new(named: &BTreeMap<String, NamedCredential>, stores: &[WatchedKeyStore]) -> Self {
        Self(Current::new(Held::new(named, stores)))
    }

    /// Takes these instead. Of those before, the ones stay at hand that open updates mean: `meant` has their names and
    /// fingerprints, and is absent if nobody can tell.
    pub(super) fn replace(
        &self,
        named: &BTreeMap<String, NamedCredential>,
        stores: &[WatchedKeyStore],
        meant: Option<&[(String, Fingerprint)]>,
    ) {
        let before = self.0.get();
        let mut held = Held::new(named, stores);
        for (name, credential) in before.all() {
            let fingerprint = credential.fingerprint();
            let is_meant =
                meant.is_none_or(|meant| meant.iter().any(|(of, which)| of == name && *which == fingerprint));
            let is_here = held.all().any(|(of, other)| of == name && other.fingerprint() == fingerprint);
            if is_meant && !is_here {
                held.former.push((name.clone(), credential.clone()));
            }
        }
        self.0.replace(held);
    }
}

impl ConfiguredCredentials for Credentials {
    fn by_name(&self, name: &str) -> Option<ProxyCredential> {
        self.0.get().by_name.get(name).cloned()
    }

    fn planned(&self, name: &str, fingerprint: &Fingerprint) -> Option<ProxyCredential> {
        let held = self.0.get();
        let meant = held.all().find(|(of, credential)| *of == name && credential.fingerprint() == *fingerprint);
        meant.map(|(_, credential)| credential.clone()).or_else(|| held.by_name.get(name).cloned())
    }

    /// The store's own credential first: two secrets may share an access key id while one replaces the other.
    fn name_of(&self, key_store: &CustomKeyStoreId, access_key_id: &AccessKeyId) -> Option<String> {
        let held = self.0.get();
        let fits = |name: &&String| {
            held.by_name.get(*name).is_some_and(|credential| credential.access_key_id == *access_key_id)
        };
        let own = held.by_store.get(key_store).filter(fits);
        own.or_else(|| held.by_name.keys().find(fits)).cloned()
    }
}
