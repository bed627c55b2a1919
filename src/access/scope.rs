//! Which key stores a grant is about.

use std::fmt;

use crate::key_store::{CustomKeyStoreId, CustomKeyStoreName};

/// The longest pattern, in characters: the longest CustomKeyStoreName.
const LONGEST: usize = 256;

/// What every CustomKeyStoreId starts with.
const ID_PREFIX: &str = "cks-";

/// The key stores that a grant is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every key store, and what is about none in particular.
    All,
    /// Those that one of these matches; nothing that is about no key store in particular.
    Only(Vec<Pattern>),
}

impl Scope {
    /// Whether this key store is within it. A name that is not known matches nothing. KMS keeps names apart within one
    /// account and Region only, so callers give the names of key stores of the daemon's own account alone: whoever may
    /// make key stores in another one would otherwise name them into a scope.
    pub fn covers(&self, id: &CustomKeyStoreId, name: Option<&CustomKeyStoreName>) -> bool {
        match self {
            Self::All => true,
            Self::Only(patterns) => patterns.iter().any(|pattern| pattern.matches(id, name)),
        }
    }

    /// Whether a key store that is still to be made is within it by its name.
    pub fn covers_name(&self, name: &CustomKeyStoreName) -> bool {
        match self {
            Self::All => true,
            Self::Only(patterns) => patterns.iter().any(|pattern| pattern.matches_name(name)),
        }
    }

    /// Whether every key store is within it.
    pub fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }
}

impl From<Vec<Pattern>> for Scope {
    /// The pattern `*` means everything, and so does a list with it.
    fn from(patterns: Vec<Pattern>) -> Self {
        if patterns.iter().any(|pattern| pattern.0 == "*") { Self::All } else { Self::Only(patterns) }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all key stores"),
            Self::Only(patterns) if patterns.is_empty() => f.write_str("no key store"),
            Self::Only(patterns) => {
                for (at, pattern) in patterns.iter().enumerate() {
                    if at > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{pattern}")?;
                }
                Ok(())
            }
        }
    }
}

/// Key stores by id or by name, with `*` for any characters. What begins with `cks-` is compared with ids alone, all
/// else with names alone: nobody comes into a scope by naming a key store like another one's id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern(String);

/// Text that is not a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a CustomKeyStoreId (cks-...) or a key store's name, with * for any characters: 1 to 256 characters without \
     control characters"
)]
pub struct InvalidPattern;

impl Pattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let fits = (1..=LONGEST).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        // A pattern with a space around it matches nothing that anybody means.
        if fits && text.trim() == text { Ok(Self(text.to_owned())) } else { Err(InvalidPattern) }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn matches(&self, id: &CustomKeyStoreId, name: Option<&CustomKeyStoreName>) -> bool {
        if self.0.starts_with(ID_PREFIX) {
            return glob(&self.0, id.as_str());
        }
        name.is_some_and(|name| self.matches_name(name))
    }

    fn matches_name(&self, name: &CustomKeyStoreName) -> bool {
        !self.0.starts_with(ID_PREFIX) && glob(&self.0, name.as_str())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether the whole text is the pattern's pieces in their order, with anything where a `*` stands. The first piece is
/// the text's start, the last one its end, each other one is taken where it comes first: no other choice leaves more room.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(mut text) = text.strip_suffix(last) else { return false };
    for piece in middle.split('*') {
        let Some(at) = text.find(piece) else { return false };
        text = text.get(at + piece.len()..).unwrap_or_default();
    }
    true
}
