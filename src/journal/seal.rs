//! Secrets at rest: AES-256-GCM under a key from outside, bound to the update and the purpose they are kept for, so
//! that a row moved elsewhere does not open.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::Rng;
use secrecy::{ExposeSecret, SecretString};
use zeroize::{Zeroize, Zeroizing};

use super::SecretPurpose;
use crate::id::UpdateId;

/// Why a secret cannot be sealed or opened, or a key not be read. Never holds a key or a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// No key is configured.
    #[error(
        "no sealing key is configured, so no secret can be kept: configure one (32 random bytes in hexadecimal or \
         base64, from a file or the environment), or refer to a configured credential by its name"
    )]
    NoKey,
    /// The key's text has another form.
    #[error("sealing key must be exactly 32 bytes in hexadecimal (64 digits) or base64 (44 characters)")]
    MalformedKey,
    /// The seal does not open.
    #[error("secret does not open: the sealing key is not the one it was sealed with, or the row was altered")]
    WrongKey,
    /// The cipher failed, which it does not with keys and lengths like ours.
    #[error("secret could not be sealed")]
    Cipher,
}

/// The key that seals secrets: 256 bits.
pub struct SealingKey(LessSafeKey);

impl SealingKey {
    /// Reads 32 bytes as hexadecimal or base64; surrounding white space is ignored.
    pub fn parse(text: &SecretString) -> Result<Self, SealError> {
        let text = text.expose_secret().trim();
        let bytes = Zeroizing::new(if text.len() == 64 {
            decode_hex(text.as_bytes()).ok_or(SealError::MalformedKey)?
        } else {
            STANDARD.decode(text).map_err(|_| SealError::MalformedKey)?
        });
        Self::from_bytes(&bytes)
    }

    /// A key of exactly 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        if bytes.len() != 32 {
            return Err(SealError::MalformedKey);
        }
        let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| SealError::MalformedKey)?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Seals a secret: nonce, ciphertext and tag in one piece.
    pub(super) fn seal(
        &self,
        update: UpdateId,
        purpose: SecretPurpose,
        secret: &SecretString,
    ) -> Result<Vec<u8>, SealError> {
        // Random nonces are safe here: a journal holds far fewer than the 2^32 secrets at which 96 bits get tight.
        let mut nonce = [0_u8; NONCE_LEN];
        rand::rng().fill_bytes(&mut nonce);
        let mut sealed = secret.expose_secret().as_bytes().to_vec();
        let result = self.0.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(purpose_text(update, purpose)),
            &mut sealed,
        );
        if result.is_err() {
            sealed.zeroize();
            return Err(SealError::Cipher);
        }
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what [`SealingKey::seal`] made for the same update and purpose.
    pub(super) fn open(
        &self,
        update: UpdateId,
        purpose: SecretPurpose,
        sealed: &[u8],
    ) -> Result<SecretString, SealError> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN).ok_or(SealError::WrongKey)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::WrongKey)?;
        let mut bytes = Zeroizing::new(sealed.to_vec());
        let opened = self
            .0
            .open_in_place(nonce, Aad::from(purpose_text(update, purpose)), &mut bytes)
            .map_err(|_| SealError::WrongKey)?;
        let text = std::str::from_utf8(opened).map_err(|_| SealError::WrongKey)?;
        Ok(SecretString::from(text.to_owned()))
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey([redacted])")
    }
}

fn purpose_text(update: UpdateId, purpose: SecretPurpose) -> String {
    format!("xks-preflight/seal/1 {update} {}", purpose.as_str())
}

fn decode_hex(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    digits.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::id::IdSource;

    fn key(fill: &str) -> SealingKey {
        SealingKey::parse(&SecretString::from(fill.repeat(32))).unwrap()
    }

    #[test]
    fn only_the_same_key_update_and_purpose_open_it() {
        let ids = IdSource::from_seed(1);
        let update = UpdateId::new(&ids, Timestamp::from_unix(1));
        let other = UpdateId::new(&ids, Timestamp::from_unix(2));
        let secret = SecretString::from("TestSecretDoNotLeak".to_owned());
        let purpose = SecretPurpose::NewCredential;
        let sealed = key("0a").seal(update, purpose, &secret).unwrap();
        assert!(!sealed.windows(9).any(|part| part == b"DoNotLeak"));
        assert_eq!(key("0A").open(update, purpose, &sealed).unwrap().expose_secret(), "TestSecretDoNotLeak");
        assert_eq!(key("0b").open(update, purpose, &sealed).unwrap_err(), SealError::WrongKey);
        assert_eq!(key("0a").open(other, purpose, &sealed).unwrap_err(), SealError::WrongKey);
        let elsewhere = key("0a").open(update, SecretPurpose::FormerCredential, &sealed);
        assert_eq!(elsewhere.unwrap_err(), SealError::WrongKey);
        assert_eq!(key("0a").open(update, purpose, &sealed[..5]).unwrap_err(), SealError::WrongKey);
        assert_ne!(sealed, key("0a").seal(update, purpose, &secret).unwrap(), "every seal has its own nonce");
    }

    #[test]
    fn keys_are_hexadecimal_or_base64_of_32_bytes() {
        let parse = |text: &str| SealingKey::parse(&SecretString::from(text.to_owned()));
        assert!(parse(&format!(" {}\n", STANDARD.encode([7_u8; 32]))).is_ok());
        for bad in ["", "DoNotLeak", &"zz".repeat(32), &STANDARD.encode([7_u8; 31]), &"é".repeat(32)] {
            let error = parse(bad).unwrap_err();
            assert_eq!(error, SealError::MalformedKey);
            assert!(!error.to_string().contains("DoNotLeak"));
        }
        assert_eq!(format!("{:?}", key("0a")), "SealingKey([redacted])");
    }
}
