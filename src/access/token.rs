//! Bearer tokens: who may call the API. The configuration holds a hash, never the token.
//!
//! A token is 256 random bits, so a plain SHA-256 is enough: there is nothing to guess, and no salt to need.

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use aws_lc_rs::{constant_time, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::Principal;
use crate::clock::Timestamp;

/// A token in the clear: exists only where it is made, to be printed once. `Debug` tells nothing.
pub struct Token(Zeroizing<String>);

impl Token {
    /// What every token starts with, so that secret scanners and people recognise one.
    pub const PREFIX: &'static str = "xkspf_";

    /// The token of 256 random bits.
    pub fn from_random(bits: &[u8; 32]) -> Self {
        Self(Zeroizing::new(format!("{}{}", Self::PREFIX, URL_SAFE_NO_PAD.encode(bits))))
    }

    /// The text that a caller sends after `Bearer `.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What goes into the configuration.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// SHA-256 of a token.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

/// Text that is not a token hash. Holds nothing of it: people paste the token itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 64 hexadecimal digits, as printed by: xks-preflight token new")]
pub struct InvalidTokenHash;

impl TokenHash {
    /// Reads 64 hexadecimal digits of either case.
    pub fn parse(text: &str) -> Result<Self, InvalidTokenHash> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(InvalidTokenHash);
        }
        let mut hash = [0_u8; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let value = pair.iter().try_fold(0, |sum, digit| Some(sum * 16 + char::from(*digit).to_digit(16)?));
            *byte = value.and_then(|value| u8::try_from(value).ok()).ok_or(InvalidTokenHash)?;
        }
        Ok(Self(hash))
    }

    /// Whether this is the hash of `token`, as a caller presented it; the time taken does not depend on where they
    /// differ.
    pub fn verify(&self, token: &str) -> bool {
        *self == Self::of(token)
    }

    /// Of what somebody sent.
    pub fn of(token: &str) -> Self {
        let mut hash = [0_u8; 32];
        let digest = digest::digest(&digest::SHA256, token.as_bytes());
        for (to, from) in hash.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self(hash)
    }
}

impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for TokenHash {}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            write!(text, "{byte:02x}")?;
        }
        f.write_str(&text)
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[token hash]")
    }
}

/// A token that the configuration knows, by its hash.
#[derive(Clone, Debug)]
pub struct KnownToken {
    /// The hash.
    pub hash: TokenHash,
    /// From when on it is worth nothing; `None` means never.
    pub expires: Option<Timestamp>,
    /// Whose it is.
    pub principal: Arc<Principal>,
}

/// Why nobody was recognised by a token. Neither helps with guessing: of all tokens that are not known nothing is told,
/// and that one has expired is told only to whoever sends it whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// Nobody has it.
    #[error("the token is not one of those that are known here")]
    Unknown,
    /// Its time is over.
    #[error("the token has expired; ask for a new one")]
    Expired,
}

/// Whose token this is. Every hash is compared, so that the time taken tells nothing about the list.
pub fn identify<'a>(known: &'a [KnownToken], token: &str, now: Timestamp) -> Result<&'a Arc<Principal>, TokenRefused> {
    identify_hash(known, &TokenHash::of(token), now)
}

/// The same for a token of which only the hash was kept: that of somebody who signed in with it.
pub fn identify_hash<'a>(
    known: &'a [KnownToken],
    presented: &TokenHash,
    now: Timestamp,
) -> Result<&'a Arc<Principal>, TokenRefused> {
    let found = known.iter().fold(None, |found, one| if one.hash == *presented { Some(one) } else { found });
    let found = found.ok_or(TokenRefused::Unknown)?;
    // The instant itself is too late: an expiry is the first instant at which it is over.
    if found.expires.is_some_and(|expires| now >= expires) {
        return Err(TokenRefused::Expired);
    }
    Ok(&found.principal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Method;
    use proptest::prelude::*;

    #[test]
    fn a_known_token_has_a_known_hash() {
        // sha256sum says so of xkspf_ and 43 times A.
        let token = Token::from_random(&[0; 32]);
        assert_eq!(token.expose(), format!("xkspf_{}", "A".repeat(43)));
        assert_eq!(token.hash().to_string(), "9bc9f17a282cea639e789522155fdad92d3d9fa68928aed4d7adf134f4c45c7b");
    }

    #[test]
    fn hashes_that_are_none() {
        for bad in ["", "00", &"g".repeat(64), &"+1".repeat(32), &"0".repeat(65), &"é".repeat(32)] {
            assert_eq!(TokenHash::parse(bad), Err(InvalidTokenHash), "{bad}");
        }
    }

    fn known(name: &str, bits: &[u8; 32], expires: Option<i64>) -> KnownToken {
        let principal = Principal { name: name.to_owned(), how: Method::Token, grants: Vec::new() };
        let expires = expires.map(Timestamp::from_unix);
        KnownToken { hash: Token::from_random(bits).hash(), expires, principal: Arc::new(principal) }
    }

    #[test]
    fn a_principal_is_found_by_its_token_only() {
        let all = [known("one", &[1; 32], None), known("two", &[2; 32], None)];
        let now = Timestamp::from_unix(0);
        let token = Token::from_random(&[2; 32]);
        assert_eq!(identify(&all, token.expose(), now).unwrap().name, "two");
        let truncated = &token.expose()[..token.expose().len() - 1];
        for wrong in ["", truncated, &all[0].hash.to_string(), &token.expose().to_lowercase()] {
            assert_eq!(identify(&all, wrong, now), Err(TokenRefused::Unknown), "{wrong}");
        }
    }

    #[test]
    fn a_token_expires_at_its_instant() {
        let all = [known("one", &[1; 32], Some(1_000))];
        let at = |seconds| identify(&all, Token::from_random(&[1; 32]).expose(), Timestamp::from_unix(seconds)).is_ok();
        assert!(at(999));
        assert!(!at(1_000));
        assert!(!at(2_000));
    }

    proptest! {
        #[test]
        fn hashes_survive_print_and_parse_and_verify_only_their_token(bits in any::<[u8; 32]>(), other in any::<[u8; 32]>()) {
            let token = Token::from_random(&bits);
            let hash = TokenHash::parse(&token.hash().to_string()).unwrap();
            prop_assert!(hash.verify(token.expose()));
            prop_assert_eq!(hash.verify(Token::from_random(&other).expose()), bits == other);
            prop_assert_eq!(TokenHash::parse(&token.hash().to_string().to_uppercase()), Ok(hash));
        }
    }
}
