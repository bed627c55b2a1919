//! Published keys of a provider (RFC 7517): those of them that may verify signatures here.

use std::collections::BTreeMap;
use std::sync::Arc;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

/// How many keys one provider may have: it has two or three.
const MOST: usize = 100;

/// A key and the algorithms that it may be used with.
#[derive(Debug)]
pub(super) struct VerifyingKey {
    pub(super) key: DecodingKey,
    pub(super) algorithms: Vec<Algorithm>,
}

/// The keys of a provider, by key id.
#[derive(Clone, Debug, Default)]
pub struct KeySet(BTreeMap<String, Arc<VerifyingKey>>);

/// Text that is no set of keys, or one without any that can be used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a JSON Web Key Set (RFC 7517) with a member keys and in it at least one RSA, P-256 or Ed25519 key with a kid"
)]
pub struct InvalidKeySet;

impl KeySet {
    /// Reads a set; keys that cannot be used here are left out, and so are those whose id comes twice, because nobody
    /// could tell which one is meant.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidKeySet> {
        let document: Value = serde_json::from_slice(bytes).map_err(|_| InvalidKeySet)?;
        let keys = document.get("keys").and_then(Value::as_array).filter(|keys| keys.len() <= MOST);
        let mut usable = BTreeMap::new();
        let mut twice = Vec::new();
        for value in keys.ok_or(InvalidKeySet)? {
            let jwk = serde_json::from_value::<Jwk>(value.clone());
            let Some((kid, key)) = jwk.ok().and_then(|jwk| usable_key(&jwk)) else { continue };
            if usable.insert(kid.clone(), Arc::new(key)).is_some() {
                twice.push(kid);
            }
        }
        usable.retain(|kid, _| !twice.contains(kid));
        if usable.is_empty() { Err(InvalidKeySet) } else { Ok(Self(usable)) }
    }

    pub(super) fn find(&self, kid: &str) -> Option<Arc<VerifyingKey>> {
        self.0.get(kid).cloned()
    }
}

fn usable_key(jwk: &Jwk) -> Option<(String, VerifyingKey)> {
    let common = &jwk.common;
    if common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
        return None;
    }
    // A shared secret has no business in a published set, and none here.
    let fitting: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => &[Algorithm::RS256, Algorithm::PS256],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => &[Algorithm::ES256],
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
        _ => return None,
    };
    let algorithms: Vec<Algorithm> = match common.key_algorithm {
        None => fitting.to_vec(),
        Some(stated) => fitting.iter().copied().filter(|one| is_same(*one, stated)).collect(),
    };
    if algorithms.is_empty() {
        return None;
    }
    let key = DecodingKey::from_jwk(jwk).ok()?;
    Some((common.key_id.clone()?, VerifyingKey { key, algorithms }))
}

fn is_same(algorithm: Algorithm, stated: KeyAlgorithm) -> bool {
    matches!(
        (algorithm, stated),
        (Algorithm::RS256, KeyAlgorithm::RS256)
            | (Algorithm::PS256, KeyAlgorithm::PS256)
            | (Algorithm::ES256, KeyAlgorithm::ES256)
            | (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn ed(kid: &str) -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" })
    }

    fn with(mut key: Value, name: &str, value: &str) -> Value {
        key[name] = json!(value);
        key
    }

    #[test]
    fn only_keys_that_verify_signatures_are_kept() {
        let secret = json!({ "kty": "oct", "kid": "hmac", "k": "AAAA" });
        let keys = json!({ "keys": [
            ed("good"), with(ed("stated"), "alg", "EdDSA"), with(ed("other"), "alg", "RS256"),
            with(ed("encrypts"), "use", "enc"), with(ed("signs"), "use", "sig"), secret,
            { "kty": "EC", "crv": "P-384", "kid": "p384", "x": "AAAA", "y": "AAAA" }, { "kty": "new", "kid": "new" },
            "nonsense", ed("twice"), ed("twice"),
        ] });
        let set = KeySet::parse(keys.to_string().as_bytes()).unwrap();
        let found: Vec<&str> = ["good", "stated", "other", "encrypts", "signs", "hmac", "p384", "new", "twice"]
            .into_iter()
            .filter(|kid| set.find(kid).is_some())
            .collect();
        assert_eq!(found, ["good", "stated", "signs"]);
        assert_eq!(set.find("good").unwrap().algorithms, [Algorithm::EdDSA]);
    }

    #[test]
    fn what_is_no_set() {
        let many = json!({ "keys": vec![ed("a"); 101] }).to_string();
        for bad in
            ["", "[]", "{}", "{\"keys\": {}}", "{\"keys\": []}", "{\"keys\": [{\"kty\": \"oct\"}]}", many.as_str()]
        {
            assert_eq!(KeySet::parse(bad.as_bytes()).err(), Some(InvalidKeySet), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(KeySet::parse(&bytes).is_err());
        }
    }
}
