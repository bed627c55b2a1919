//! The keys behind a sandbox proxy: real AES-256-GCM, in memory.

use std::{collections::BTreeMap, fmt};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    digest, rand,
};
use zeroize::Zeroizing;

/// The sizes that AES-GCM has in this API (XKS spec, Encrypt).
pub(super) const TAG_LENGTH: usize = 16;
const NONCE_LENGTH: usize = 12;

/// Whether a key may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStatus {
    /// In use.
    Enabled,
    /// Encrypt and Decrypt are refused with `InvalidStateException`.
    Disabled,
}

/// A key in the simulated external key manager.
#[derive(Clone)]
pub struct ExternalKey {
    material: Zeroizing<[u8; 32]>,
    status: KeyStatus,
    may_encrypt: bool,
    may_decrypt: bool,
    metadata: Option<Vec<u8>>,
}

impl ExternalKey {
    /// An enabled key for both operations whose material is derived from `seed`: the same seed gives the same key on
    /// another proxy or in another run. This is for simulations only.
    pub fn from_seed(seed: &str) -> Self {
        Self::with_material(digest::digest(&digest::SHA256, seed.as_bytes()).as_ref())
    }

    /// The same key for decryption only.
    #[must_use]
    pub fn decrypt_only(mut self) -> Self {
        (self.may_encrypt, self.may_decrypt) = (false, true);
        self
    }

    /// The same key for encryption only.
    #[must_use]
    pub fn encrypt_only(mut self) -> Self {
        (self.may_encrypt, self.may_decrypt) = (true, false);
        self
    }

    /// The same key for neither.
    #[must_use]
    pub fn impotent(mut self) -> Self {
        (self.may_encrypt, self.may_decrypt) = (false, false);
        self
    }

    /// The same key with another status.
    #[must_use]
    pub fn with_status(mut self, status: KeyStatus) -> Self {
        self.status = status;
        self
    }

    /// The same key, giving this `ciphertextMetadata` with everything it encrypts and binding it into the
    /// authentication tag. The API allows 20 bytes.
    #[must_use]
    pub fn with_ciphertext_metadata(mut self, metadata: impl Into<Vec<u8>>) -> Self {
        self.metadata = Some(metadata.into());
        self
    }

    /// Other material under the same attributes: a restored backup, a key made anew under its old name.
    pub(super) fn swapped(&self) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"swapped");
        context.update(self.material.as_slice());
        let other = Self::with_material(context.finish().as_ref());
        Self { material: other.material, ..self.clone() }
    }

    pub(super) const fn is_enabled(&self) -> bool {
        matches!(self.status, KeyStatus::Enabled)
    }

    pub(super) const fn may_encrypt(&self) -> bool {
        self.may_encrypt
    }

    pub(super) const fn may_decrypt(&self) -> bool {
        self.may_decrypt
    }

    /// Encrypts under a fresh initialization vector. None if the generator of random bytes or the cipher fails.
    pub(super) fn encrypt(&self, plaintext: &[u8], aad: &[u8]) -> Option<Sealed> {
        let mut iv = [0_u8; NONCE_LENGTH];
        rand::fill(&mut iv).ok()?;
        let bound = self.bound(aad, self.metadata.as_deref());
        let mut ciphertext = plaintext.to_vec();
        let nonce = Nonce::assume_unique_for_key(iv);
        let tag = self.cipher()?.seal_in_place_separate_tag(nonce, Aad::from(bound), &mut ciphertext).ok()?;
        Some(Sealed { ciphertext, iv: iv.to_vec(), tag: tag.as_ref().to_vec(), metadata: self.metadata.clone() })
    }

    /// Gives the plaintext, or None if any part is not as [`Self::encrypt`] made it.
    pub(super) fn decrypt(&self, sealed: &Sealed, aad: &[u8]) -> Option<Vec<u8>> {
        let nonce = Nonce::try_assume_unique_for_key(&sealed.iv).ok()?;
        if sealed.tag.len() != TAG_LENGTH {
            return None;
        }
        let bound = self.bound(aad, sealed.metadata.as_deref());
        let mut buffer = [sealed.ciphertext.as_slice(), sealed.tag.as_slice()].concat();
        let plaintext = self.cipher()?.open_in_place(nonce, Aad::from(bound), &mut buffer).ok()?;
        Some(plaintext.to_vec())
    }

    fn with_material(bytes: &[u8]) -> Self {
        let mut material = Zeroizing::new([0_u8; 32]);
        material.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Self { material, status: KeyStatus::Enabled, may_encrypt: true, may_decrypt: true, metadata: None }
    }

    fn cipher(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&AES_256_GCM, self.material.as_slice()).ok().map(LessSafeKey::new)
    }

    /// The AAD as the key manager gets it. Once metadata are in play, both lengths are bound as well, so that AAD and
    /// metadata cannot be moved from one to the other (XKS spec, Encrypt, `ciphertextMetadata`).
    fn bound(&self, aad: &[u8], metadata: Option<&[u8]>) -> Vec<u8> {
        if self.metadata.is_none() && metadata.is_none() {
            return aad.to_vec();
        }
        let metadata = metadata.unwrap_or_default();
        let lengths = (u16::try_from(aad.len()), u8::try_from(metadata.len()));
        let (aad_length, metadata_length) = (lengths.0.unwrap_or(u16::MAX), lengths.1.unwrap_or(u8::MAX));
        [&aad_length.to_be_bytes()[..], aad, &[metadata_length], metadata].concat()
    }
}

impl fmt::Debug for ExternalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalKey")
            .field("status", &self.status)
            .field("may_encrypt", &self.may_encrypt)
            .field("may_decrypt", &self.may_decrypt)
            .finish_non_exhaustive()
    }
}

/// What Encrypt gives and Decrypt takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sealed {
    pub(super) ciphertext: Vec<u8>,
    pub(super) iv: Vec<u8>,
    pub(super) tag: Vec<u8>,
    pub(super) metadata: Option<Vec<u8>>,
}

impl Sealed {
    /// The ciphertext data integrity value: SHA-256 over AAD, metadata, IV, ciphertext and tag (XKS spec, appendix C).
    pub(super) fn integrity_value(&self, aad: &[u8]) -> Vec<u8> {
        let mut context = digest::Context::new(&digest::SHA256);
        let metadata = self.metadata.as_deref().unwrap_or_default();
        for part in [aad, metadata, &self.iv, &self.ciphertext, &self.tag] {
            context.update(part);
        }
        context.finish().as_ref().to_vec()
    }
}

/// External keys by their id. Cloning copies the keys: a clone given to another proxy makes it a replica.
#[derive(Clone, Debug, Default)]
pub struct KeyMaterials {
    keys: BTreeMap<String, ExternalKey>,
}

impl KeyMaterials {
    /// Adds a key or replaces the one of that id.
    #[must_use]
    pub fn with(mut self, external_key_id: impl Into<String>, key: ExternalKey) -> Self {
        self.keys.insert(external_key_id.into(), key);
        self
    }

    /// The keys that AWS's test client asks for in its full mode, with material derived from `seed`: `foo` for both
    /// operations, `encrypt_only_key`, `decrypt_only_key` and `impotent_key`.
    pub fn of_test_client(seed: &str) -> Self {
        let key = |id: &str| ExternalKey::from_seed(&format!("{seed}/{id}"));
        Self::default()
            .with("foo", key("foo"))
            .with("encrypt_only_key", key("encrypt_only_key").encrypt_only())
            .with("decrypt_only_key", key("decrypt_only_key").decrypt_only())
            .with("impotent_key", key("impotent_key").impotent())
    }

    pub(super) fn find(&self, external_key_id: &str) -> Option<&ExternalKey> {
        self.keys.get(external_key_id)
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    use super::*;

    #[test]
    fn the_integrity_value_is_that_of_the_specifications_appendix_c() {
        let decode = |text| STANDARD.decode(text).unwrap();
        let sealed = Sealed {
            ciphertext: decode("ghxkK1txeDNn3q8Y"),
            iv: decode("HMrlRw85cAJUd5Ax"),
            tag: decode("vBxN2ncH1oEkR8WVXpmyYQ=="),
            metadata: Some(b"key_version=1".to_vec()),
        };
        let value = sealed.integrity_value(b"project=nile,department=marketing");
        assert_eq!(STANDARD.encode(value), "qHA/ImC9h5HsLRXqCyPmWgYx7tzyoTplzILbP0fPXsc=");
    }

    #[test]
    fn what_is_encrypted_decrypts_with_the_same_key_aad_and_metadata_only() {
        let plain = ExternalKey::from_seed("one");
        let versioned = plain.clone().with_ciphertext_metadata(*b"key_version=1");
        for key in [&plain, &versioned] {
            let sealed = key.encrypt(b"Hello World!", b"aad").unwrap();
            assert_eq!(sealed.ciphertext.len(), 12);
            assert_eq!(key.decrypt(&sealed, b"aad").unwrap(), b"Hello World!");
            assert_eq!(ExternalKey::from_seed("one").with_ciphertext_metadata([]).decrypt(&sealed, b"aab"), None);
            assert_eq!(ExternalKey::from_seed("two").decrypt(&sealed, b"aad"), None);
            assert_eq!(key.swapped().decrypt(&sealed, b"aad"), None);
            let mut stripped = sealed.clone();
            stripped.metadata = if sealed.metadata.is_some() { None } else { Some(b"aad".to_vec()) };
            assert_eq!(key.decrypt(&stripped, b"aad"), None);
            let short = Sealed { tag: sealed.tag[..12].to_vec(), ..sealed.clone() };
            assert_eq!(key.decrypt(&short, b"aad"), None);
        }
    }

    #[test]
    fn metadata_cannot_be_passed_off_as_aad() {
        let key = ExternalKey::from_seed("one").with_ciphertext_metadata(*b"v1");
        let mut sealed = key.encrypt(b"secret", b"").unwrap();
        let metadata = sealed.metadata.take().unwrap();
        assert_eq!(key.decrypt(&sealed, &metadata), None);
    }

    #[test]
    fn debug_shows_no_material() {
        let keys = KeyMaterials::default().with("k", ExternalKey::from_seed("DoNotLeak"));
        let shown = format!("{keys:?}");
        assert!(!shown.contains("material") && !shown.contains("DoNotLeak"), "{shown}");
    }
}
