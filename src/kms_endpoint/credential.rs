//! The credentials that callers of the endpoint sign with: made here, never AWS's.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use crate::access::Principal;
use crate::clock::Timestamp;

/// What every access key id starts with. AWS's own start with `AKIA` or `ASIA`: nobody takes one for the other.
const PREFIX: &str = "XKSPF";

/// The alphabet of RFC 4648's base32.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The name of a credential: 16 to 32 capital letters and digits. No secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KmsAccessKeyId(String);

impl KmsAccessKeyId {
    /// Reads one; the error is the rule.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let fits =
            (16..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if !fits {
            return Err("must be 16 to 32 capital letters and digits, as printed by: xks-preflight token new-kms");
        }
        if text.starts_with("AKIA") || text.starts_with("ASIA") {
            return Err("is one of AWS's own: make one with: xks-preflight token new-kms");
        }
        Ok(Self(text.to_owned()))
    }

    /// The text that clients are configured with.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KmsAccessKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A secret access key of the endpoint. `Debug` tells nothing.
#[derive(Clone)]
pub struct KmsSecretAccessKey(SecretString);

impl KmsSecretAccessKey {
    /// Reads one; the error is the rule and never holds the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let fits = (40..=128).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'+' | b'='));
        if fits {
            Ok(Self(SecretString::from(text.to_owned())))
        } else {
            Err(
                "must be 40 to 128 of a-z, A-Z, 0-9, slash, plus and equals sign, as printed by: xks-preflight token new-kms",
            )
        }
    }

    /// The secret itself: for verifying signatures, and to be printed once.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for KmsSecretAccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A credential in the clear: exists only where it is made, to be printed once.
#[derive(Debug)]
pub struct NewKmsCredential {
    /// The access key id.
    pub access_key_id: KmsAccessKeyId,
    /// The secret access key.
    pub secret_access_key: KmsSecretAccessKey,
}

impl NewKmsCredential {
    /// The credential of 15 random bytes for its name and 240 random bits for its secret.
    pub fn from_random(name: &[u8; 15], bits: &[u8; 30]) -> Self {
        let letters = name.iter().map(|byte| char::from(BASE32[usize::from(byte % 32)]));
        let access_key_id = PREFIX.chars().chain(letters).collect();
        let secret = Zeroizing::new(STANDARD.encode(bits));
        Self {
            access_key_id: KmsAccessKeyId(access_key_id),
            secret_access_key: KmsSecretAccessKey(SecretString::from(secret.as_str())),
        }
    }
}

/// What the gate does for whoever signs with a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CredentialPolicy {
    /// Whether an update that KMS takes only of a DISCONNECTED key store makes the gate disconnect it first and connect
    /// it again afterwards. Without it such an update is refused, as KMS refuses it.
    pub run_whole_sequence: bool,
    /// Whether a disconnect is refused unless connecting again would work. A disconnect of a key store that is out of
    /// use anyway never is.
    pub prove_reconnect: bool,
    /// Whether key stores may be made with it. No approval is asked for: a new key store has no keys.
    pub create: bool,
}

/// A credential that the configuration knows.
#[derive(Clone, Debug)]
pub struct KmsCredential {
    /// Who signs with it, and what they may do.
    pub principal: Principal,
    /// Its name.
    pub access_key_id: KmsAccessKeyId,
    /// Its secret.
    pub secret_access_key: KmsSecretAccessKey,
    /// From when on it is refused.
    pub expires: Option<Timestamp>,
    /// What the gate does for whoever signs with it.
    pub policy: CredentialPolicy,
}

impl KmsCredential {
    /// Tells whether two requests are the same one. Keyed with the secret: a request may hold a password, which has so
    /// little entropy that a bare digest would tell it.
    pub(super) fn request_digest(&self, request: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret_access_key.expose().as_bytes());
        super::signature::hexadecimal(hmac::sign(&key, request).as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_credentials_are_read_back_and_not_aws_s() {
        for byte in [0_u8, 1, 31, 32, 255] {
            let made = NewKmsCredential::from_random(&[byte; 15], &[byte; 30]);
            assert_eq!(KmsAccessKeyId::parse(made.access_key_id.as_str()).as_ref(), Ok(&made.access_key_id));
            assert!(made.access_key_id.as_str().starts_with(PREFIX));
            assert_eq!(made.access_key_id.as_str().len(), 20);
            let secret = made.secret_access_key.expose();
            assert_eq!(KmsSecretAccessKey::parse(secret).unwrap().expose(), secret);
            assert!(!format!("{made:?}").contains(secret));
        }
        for bad in
            ["", "AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE", "xkspfabcdefghijklmno", "XKSPF", &"A".repeat(33)]
        {
            assert!(KmsAccessKeyId::parse(bad).is_err(), "{bad}");
        }
        for bad in ["", "short", &"DoNotLeak ".repeat(5), &"a".repeat(129)] {
            assert!(!KmsSecretAccessKey::parse(bad).unwrap_err().contains("DoNotLeak"));
        }
    }
}
