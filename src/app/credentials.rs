//! The credentials of the configuration, as the driver asks for them.

use std::collections::BTreeMap;

use crate::config::NamedCredential;
use crate::driver::ConfiguredCredentials;
use crate::key_store::{AccessKeyId, CustomKeyStoreId, ProxyCredential};

/// Credentials by name, and which one each key store uses.
#[derive(Debug)]
pub(super) struct Credentials {
    by_name: BTreeMap<String, ProxyCredential>,
    by_store: BTreeMap<CustomKeyStoreId, String>,
}

impl Credentials {
    pub(super) fn new(named: &BTreeMap<String, NamedCredential>, by_store: BTreeMap<CustomKeyStoreId, String>) -> Self {
        let by_name = named.iter().map(|(name, held)| (name.clone(), held.credential.clone())).collect();
        Self { by_name, by_store }
    }
}

impl ConfiguredCredentials for Credentials {
    fn by_name(&self, name: &str) -> Option<ProxyCredential> {
        self.by_name.get(name).cloned()
    }

    /// The store's own credential first: two secrets may share an access key id while one replaces the other.
    fn name_of(&self, key_store: &CustomKeyStoreId, access_key_id: &AccessKeyId) -> Option<String> {
        let fits = |name: &&String| {
            self.by_name.get(*name).is_some_and(|credential| credential.access_key_id == *access_key_id)
        };
        let own = self.by_store.get(key_store).filter(fits);
        own.or_else(|| self.by_name.keys().find(fits)).cloned()
    }
}
