//! Bearer tokens: who may call the API. The configuration holds a hash, never the token.
//!
//! A token is 256 random bits, so a plain SHA-256 is enough: there is nothing to guess, and no salt to need.

use std::fmt;
use std::fmt::Write as _;

use aws_lc_rs::{constant_time, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use zeroize::Zeroizing;

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// May read everything that the API shows.
    Viewer,
    /// May also run pre-flights and updates.
    Operator,
}

impl Role {
    /// Every role, by its word in the configuration.
    pub const NAMES: [&'static str; 2] = ["viewer", "operator"];

    /// Reads the word of the configuration.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "viewer" => Some(Self::Viewer),
            "operator" => Some(Self::Operator),
            _ => None,
        }
    }

    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

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

    fn of(token: &str) -> Self {
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

/// A caller that the configuration knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Shown in the journal as the one who asked.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The hash of its token.
    pub hash: TokenHash,
}

/// The caller whose token this is. Every hash is compared, so that the time taken tells nothing about the list.
pub fn identify<'a>(callers: &'a [Caller], token: &str) -> Option<&'a Caller> {
    let presented = TokenHash::of(token);
    callers.iter().fold(None, |found, caller| if caller.hash == presented { Some(caller) } else { found })
}

#[cfg(test)]
mod tests {
    use super::*;
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

    #[test]
    fn a_caller_is_found_by_its_token_only() {
        let caller = |name: &str, bits| Caller {
            name: name.to_owned(),
            role: Role::Viewer,
            hash: Token::from_random(bits).hash(),
        };
        let callers = [caller("one", &[1; 32]), caller("two", &[2; 32])];
        let found = identify(&callers, Token::from_random(&[2; 32]).expose()).unwrap();
        assert_eq!(found.name, "two");
        assert_eq!(identify(&callers, ""), None);
        assert_eq!(identify(&callers, &callers[0].hash.to_string()), None, "a hash is no token");
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
