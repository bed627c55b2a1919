//! Signed documents in the DSSE form (Dead Simple Signing Envelope, v1.0.2), so that other programs verify them, too.
//!
//! What is signed is unambiguous whatever the payload: `"DSSEv1" SP len(type) SP type SP len(payload) SP payload`.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{self, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use serde::{Deserialize, Serialize};

use super::{Hash, document_hash};

/// What the payload of a bundle is.
pub const PAYLOAD_TYPE: &str = "application/vnd.xks-preflight.evidence+json";

/// A SubjectPublicKeyInfo of Ed25519 (RFC 8410) up to the key's 32 bytes.
const PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// An Ed25519 key that signs bundles.
#[derive(Clone)]
pub struct SigningKey(Arc<Ed25519KeyPair>);

impl SigningKey {
    /// Reads PKCS#8 in PEM; the error is the rule and never holds the text.
    pub fn parse(pem: &str) -> Result<Self, &'static str> {
        let rule = "must be an Ed25519 private key as PKCS#8 PEM, for example from: openssl genpkey -algorithm ed25519";
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| rule)?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der()).map_err(|_| rule)?;
        Ok(Self(Arc::new(pair)))
    }

    /// The key that verifies what this one signs.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(self.0.public_key().as_ref()) {
            *to = *from;
        }
        PublicKey(bytes)
    }

    /// The payload in a signed envelope, as JSON.
    pub fn envelope(&self, payload: &str) -> Envelope {
        let signature = self.0.sign(&authenticated(payload.as_bytes()));
        Envelope {
            payload_type: PAYLOAD_TYPE.to_owned(),
            payload: STANDARD.encode(payload),
            signatures: vec![Signature { keyid: self.public().id().to_string(), sig: STANDARD.encode(signature) }],
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// An Ed25519 key that verifies bundles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo in PEM.
    pub fn parse(pem: &str) -> Result<Self, &'static str> {
        let rule = "must be an Ed25519 public key in PEM, as shown by: xks-preflight audit key";
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).map_err(|_| rule)?;
        let bytes = der.as_ref().strip_prefix(&PREFIX).ok_or(rule)?;
        Ok(Self(bytes.try_into().map_err(|_| rule)?))
    }

    /// As PEM.
    pub fn pem(&self) -> String {
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(self.der()))
    }

    /// SHA-256 of the SubjectPublicKeyInfo: what `openssl pkey -pubin -outform DER | sha256sum` gives.
    pub fn id(&self) -> Hash {
        document_hash(&self.der())
    }

    fn der(&self) -> Vec<u8> {
        [PREFIX.as_slice(), self.0.as_slice()].concat()
    }
}

/// A signed payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// [`PAYLOAD_TYPE`].
    #[serde(rename = "payloadType")]
    pub payload_type: String,
    /// In base64.
    pub payload: String,
    /// One is enough.
    pub signatures: Vec<Signature>,
}

/// One signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// [`PublicKey::id`] of the signing key.
    pub keyid: String,
    /// In base64.
    pub sig: String,
}

/// Why an envelope does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forged {
    /// Not an envelope of this kind.
    #[error("not a signed evidence bundle: {0}")]
    Foreign(String),
    /// Signed, but by another key.
    #[error("signed with key {found}, and the given public key is {given}")]
    OtherKey {
        /// In the envelope.
        found: String,
        /// As given.
        given: String,
    },
    /// The signature is not of this payload by this key.
    #[error("the signature does not hold: payload or signature was changed")]
    Signature,
}

impl Envelope {
    /// The payload, if the signature holds.
    pub fn open(&self, key: &PublicKey) -> Result<Vec<u8>, Forged> {
        let foreign = |why: &str| Forged::Foreign(why.to_owned());
        if self.payload_type != PAYLOAD_TYPE {
            return Err(foreign("its payloadType is another"));
        }
        let id = key.id().to_string();
        let Some(signature) = self.signatures.iter().find(|signature| signature.keyid == id) else {
            let found: Vec<&str> = self.signatures.iter().map(|signature| signature.keyid.as_str()).collect();
            return Err(Forged::OtherKey { found: found.join(", ").chars().take(200).collect(), given: id });
        };
        let payload = STANDARD.decode(&self.payload).map_err(|_| foreign("its payload is no base64"))?;
        let sig = STANDARD.decode(&signature.sig).map_err(|_| foreign("its signature is no base64"))?;
        let verifier = UnparsedPublicKey::new(&signature::ED25519, key.0);
        verifier.verify(&authenticated(&payload), &sig).map_err(|_| Forged::Signature)?;
        Ok(payload)
    }
}

/// DSSE's pre-authentication encoding: the very bytes that are signed.
fn authenticated(payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PKCS#8 of an Ed25519 key whose seed is 0 to 31, as `openssl genpkey -algorithm ed25519` writes one: made here, so
    /// that no key stands in the repository.
    fn key() -> String {
        let mut der = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        der.extend(0..32_u8);
        let label = "PRIVATE KEY";
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
    }

    #[test]
    fn what_was_signed_is_opened_with_its_own_key_alone() {
        let key = SigningKey::parse(&key()).unwrap();
        let public = PublicKey::parse(&key.public().pem()).unwrap();
        assert_eq!(public, key.public());
        let envelope = key.envelope("{\"a\":1}");
        assert_eq!(envelope.open(&public).unwrap(), b"{\"a\":1}");
        let changed = Envelope { payload: STANDARD.encode("{\"a\":2}"), ..envelope.clone() };
        assert_eq!(changed.open(&public), Err(Forged::Signature));
        let other_type = Envelope { payload_type: "text/plain".to_owned(), ..envelope.clone() };
        assert!(matches!(other_type.open(&public), Err(Forged::Foreign(_))));
        let other = PublicKey([9; 32]);
        assert!(matches!(envelope.open(&other), Err(Forged::OtherKey { .. })));
        let mut claimed = envelope;
        claimed.signatures[0].keyid = other.id().to_string();
        assert_eq!(claimed.open(&other), Err(Forged::Signature));
    }

    #[test]
    fn other_keys_are_refused_without_being_shown() {
        for pem in ["", "DoNotLeak", "-----BEGIN PRIVATE KEY-----\nRG9Ob3RMZWFr\n-----END PRIVATE KEY-----\n"] {
            assert!(!SigningKey::parse(pem).unwrap_err().contains("DoNotLeak"));
        }
        assert_eq!(format!("{:?}", SigningKey::parse(&key()).unwrap()), "[redacted]");
        assert!(PublicKey::parse(&key()).is_err());
    }
}
