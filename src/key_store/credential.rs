//! Secrets that travel through this program, and the only form in which they are recorded.
//!
//! The secret types have no `Display`, no `Serialize` and a `Debug` that tells nothing; their memory is wiped on
//! drop. What is journalled, shown and compared is a [`CredentialRef`].

use std::fmt;

use aws_lc_rs::{constant_time, digest};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::{Invalid, text_newtype};

text_newtype!(
    /// `XksProxyAuthenticationCredential.AccessKeyId`: 20-30 of `A-Z2-7`. Unrelated to IAM.
    AccessKeyId,
    "XksProxyAuthenticationCredential.AccessKeyId",
    "must be 20 to 30 of A-Z and 2-7",
    |text| (20..=30).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b))
);

/// `XksProxyAuthenticationCredential.RawSecretAccessKey`: 43-64 of `a-zA-Z0-9/+=`.
#[derive(Clone)]
pub struct RawSecretAccessKey(SecretString);

impl RawSecretAccessKey {
    /// Accepts exactly what KMS accepts; the error never holds the value.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let valid = (43..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'+' | b'='));
        if valid {
            Ok(Self(SecretString::from(text.to_owned())))
        } else {
            Err(Invalid {
                member: "XksProxyAuthenticationCredential.RawSecretAccessKey",
                rule: "must be 43 to 64 of a-z, A-Z, 0-9, slash, plus and equals sign",
            })
        }
    }

    /// The secret itself: for signing, sealing and the one request that tells KMS.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// An estimate of the entropy in bits, from the frequencies of the characters. AWS recommends at least 256
    /// (XKS proxy API, Authentication); a random 43-character secret estimates at about 220, hence only a hint.
    pub fn estimated_bits(&self) -> f64 {
        let text = self.expose().as_bytes();
        let length = text.len() as f64;
        let mut counts = [0_u32; 256];
        for byte in text {
            counts[usize::from(*byte)] += 1;
        }
        let per_character: f64 =
            counts.iter().filter(|n| **n > 0).map(|n| f64::from(*n) / length).map(|p| -p * p.log2()).sum();
        per_character * length
    }
}

impl fmt::Debug for RawSecretAccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl PartialEq for RawSecretAccessKey {
    fn eq(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(self.expose().as_bytes(), other.expose().as_bytes()).is_ok()
    }
}

impl Eq for RawSecretAccessKey {}

/// `KeyStorePassword` of a CloudHSM key store's `kmsuser`: 7-32 characters, alphanumeric by the developer guide.
#[derive(Clone)]
pub struct KeyStorePassword(SecretString);

impl KeyStorePassword {
    /// Accepts what KMS documents; the error never holds the value.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if (7..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            Ok(Self(SecretString::from(text.to_owned())))
        } else {
            Err(Invalid { member: "KeyStorePassword", rule: "must be 7 to 32 letters and digits" })
        }
    }

    /// The password itself: for sealing and the one request that tells KMS.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for KeyStorePassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// `XksProxyAuthenticationCredential`: both halves, as KMS and the proxy share them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyCredential {
    /// Tells the proxy which secret to verify with.
    pub access_key_id: AccessKeyId,
    /// Signs every request.
    pub secret_access_key: RawSecretAccessKey,
}

impl ProxyCredential {
    /// The form of this credential that may be recorded and shown.
    pub fn reference(&self, source: CredentialSource) -> CredentialRef {
        CredentialRef { source, access_key_id: self.access_key_id.clone(), fingerprint: self.fingerprint() }
    }

    /// Tells two secrets apart without telling the secret.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"xks-preflight/credential/1\0");
        context.update(self.access_key_id.as_str().as_bytes());
        context.update(b"\0");
        context.update(self.secret_access_key.expose().as_bytes());
        let hash = context.finish();
        let first = hash.as_ref().iter().take(8).fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        Fingerprint(format!("{first:016x}"))
    }
}

/// The first 64 bits of a digest of a credential, in hexadecimal. Secrets are long and random, so it betrays nothing;
/// it tells whether two are the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a credential's secret can be had again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialSource {
    /// It came with the request and is sealed in the journal.
    Sealed,
    /// The configuration has it under this name.
    Configured(String),
}

/// A credential as it is journalled and shown: never the secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CredentialRef {
    /// Where the secret can be had again.
    pub source: CredentialSource,
    /// The half that KMS shows, too.
    pub access_key_id: AccessKeyId,
    /// Tells whether a secret found later is still the same.
    pub fingerprint: Fingerprint,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use regex::Regex;

    proptest! {
        #[test]
        fn access_key_id_agrees_with_kms(text in r"[A-Z0-9]{18,32}") {
            let kms = Regex::new("^[A-Z2-7]+$").unwrap().is_match(&text) && (20..=30).contains(&text.len());
            prop_assert_eq!(AccessKeyId::parse(&text).is_ok(), kms);
        }

        #[test]
        fn secret_agrees_with_kms(text in r"[a-zA-Z0-9/+=_-]{40,66}") {
            let kms = Regex::new("^[a-zA-Z0-9/+=]+$").unwrap().is_match(&text) && (43..=64).contains(&text.len());
            prop_assert_eq!(RawSecretAccessKey::parse(&text).is_ok(), kms);
        }
    }

    #[test]
    fn debug_tells_no_secret() {
        let text = "TestSecretDoNotLeak0123456789012345678901234567";
        let credential = ProxyCredential {
            access_key_id: AccessKeyId::parse("AKIAI2SFODNN7EXAMPLE").unwrap(),
            secret_access_key: RawSecretAccessKey::parse(text).unwrap(),
        };
        let told = format!("{credential:?} {:?}", credential.reference(CredentialSource::Sealed));
        assert!(!told.contains("DoNotLeak"), "{told}");
        assert!(KeyStorePassword::parse("short").is_err());
        assert!(!format!("{:?}", KeyStorePassword::parse("DoNotLeak1").unwrap()).contains("DoNotLeak"));
    }

    #[test]
    fn fingerprints_tell_secrets_apart() {
        let with = |secret: &str| ProxyCredential {
            access_key_id: AccessKeyId::parse("AKIAI2SFODNN7EXAMPLE").unwrap(),
            secret_access_key: RawSecretAccessKey::parse(secret).unwrap(),
        };
        let one = with("TestSecretDoNotLeak0123456789012345678901234567");
        let other = with("TestSecretDoNotLeak0123456789012345678901234568");
        assert_eq!(one.fingerprint(), one.clone().fingerprint());
        assert_ne!(one.fingerprint(), other.fingerprint());
    }
}
