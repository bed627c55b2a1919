//! DescribeCustomKeyStores: forwarded, and of the answer only what the caller may see.

use serde_json::{Value, json};

use super::failure::Failure;
use super::operation::AskedDescription;
use crate::access::{Permission, Principal};
use crate::key_store::KmsException;
use crate::kms::KeyStoreDescription;

/// What KMS gives on one page where nobody says how much.
const PAGE: usize = 100;

/// The answer, from all that KMS told.
pub(super) fn answer(
    told: Vec<KeyStoreDescription>,
    asked: &AskedDescription,
    principal: &Principal,
) -> Result<Value, Failure> {
    let visible = |told: &KeyStoreDescription| {
        principal.may(Permission::Read, Some((&told.store.id, Some(&told.store.name)))).is_ok()
    };
    // What the caller may not see does not exist for it.
    let mut stores: Vec<KeyStoreDescription> = told.into_iter().filter(visible).collect();
    if asked.id.is_some() || asked.name.is_some() {
        stores.retain(|told| {
            asked.id.as_ref().is_none_or(|id| *id == told.store.id)
                && asked.name.as_ref().is_none_or(|name| *name == told.store.name)
        });
        if stores.is_empty() {
            let message = "There is no such custom key store in this account and Region, or it is not yours to see.";
            return Err(Failure::of(KmsException::CustomKeyStoreNotFound, message));
        }
    }
    // The marker names the last store that was told: the order is by id, whatever KMS's own is.
    stores.sort_by(|one, other| one.store.id.cmp(&other.store.id));
    if let Some(marker) = &asked.marker {
        stores.retain(|told| told.store.id > *marker);
    }
    let limit = asked.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(PAGE);
    let truncated = stores.len() > limit;
    stores.truncate(limit);
    let next = stores.last().filter(|_| truncated).map(|told| told.store.id.to_string());
    let entries: Vec<Value> = stores.into_iter().map(|told| told.entry).collect();
    let mut answer = json!({ "CustomKeyStores": entries, "Truncated": truncated });
    if let Some(next) = next {
        answer["NextMarker"] = json!(next);
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Grant, Method, Pattern, Role, Scope};
    use crate::key_store::{Configuration, ConnectionState, CustomKeyStoreId, CustomKeyStoreName, KeyStore};

    fn told() -> Vec<KeyStoreDescription> {
        let store = |id: &str, name: &str| KeyStore {
            id: CustomKeyStoreId::parse(id).unwrap(),
            name: CustomKeyStoreName::parse(name).unwrap(),
            created: None,
            state: ConnectionState::Connected,
            configuration: Configuration::Unrecognized { why: "a test".into() },
        };
        let entry = |store: KeyStore| KeyStoreDescription { entry: json!(store.id), store };
        [("cks-3", "pay-2"), ("cks-1", "pay-1"), ("cks-2", "other")].map(|(id, name)| entry(store(id, name))).into()
    }

    fn principal(patterns: &[&str]) -> Principal {
        let patterns: Vec<Pattern> = patterns.iter().map(|text| Pattern::parse(text).unwrap()).collect();
        let grants = vec![Grant { role: Role::Viewer, scope: Scope::from(patterns) }];
        Principal { name: "tester".into(), how: Method::KmsCredential, grants }
    }

    fn asked() -> AskedDescription {
        AskedDescription { id: None, name: None, limit: None, marker: None }
    }

    #[test]
    fn pages_follow_each_other_and_end() {
        let everything = principal(&["*"]);
        let first = answer(told(), &AskedDescription { limit: Some(2), ..asked() }, &everything).unwrap();
        let expected = json!({ "CustomKeyStores": ["cks-1", "cks-2"], "Truncated": true, "NextMarker": "cks-2" });
        assert_eq!(first, expected);
        let marker = Some(CustomKeyStoreId::parse("cks-2").unwrap());
        let last = answer(told(), &AskedDescription { limit: Some(2), marker, ..asked() }, &everything).unwrap();
        assert_eq!(last, json!({ "CustomKeyStores": ["cks-3"], "Truncated": false }));
    }

    #[test]
    fn what_is_not_in_scope_does_not_exist() {
        let payments = principal(&["pay-*"]);
        let all = answer(told(), &asked(), &payments).unwrap();
        assert_eq!(all["CustomKeyStores"], json!(["cks-1", "cks-3"]));
        let other = Some(CustomKeyStoreId::parse("cks-2").unwrap());
        let hidden = answer(told(), &AskedDescription { id: other, ..asked() }, &payments).unwrap_err();
        let nowhere = Some(CustomKeyStoreId::parse("cks-9").unwrap());
        let missing = answer(told(), &AskedDescription { id: nowhere, ..asked() }, &payments).unwrap_err();
        assert_eq!(hidden, missing);
        assert_eq!(hidden.name, "CustomKeyStoreNotFoundException");
        let named = Some(CustomKeyStoreName::parse("pay-1").unwrap());
        let named = answer(told(), &AskedDescription { name: named, ..asked() }, &payments).unwrap();
        assert_eq!(named["CustomKeyStores"], json!(["cks-1"]));
    }
}
