//! Whether a trail is what was written, and where it is not.

use std::fmt;

use super::{Hash, Head, InvalidHash, Line, Unreadable};

/// Where a trail is broken.
#[derive(Debug, thiserror::Error)]
#[error("broken at line {at}: {why}")]
pub struct Broken {
    /// Counted from 1 in what was given.
    pub at: u64,
    /// How.
    pub why: Why,
}

/// How a trail is broken.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// It cannot be read as a line.
    #[error("it was changed: {0}")]
    Unreadable(#[source] Unreadable),
    /// Its contents are not those that its hash was made of.
    #[error("entry {sequence} was changed: its hash is not that of its contents")]
    Changed {
        /// The number that it states.
        sequence: u64,
    },
    /// Numbers are missing.
    #[error("entries {first} to {last} are missing: they were removed")]
    Removed {
        /// The first missing number.
        first: u64,
        /// The last missing number.
        last: u64,
    },
    /// It comes too early; the one that belongs here comes later.
    #[error("entry {found} stands where {expected} belongs, which comes later: entries were reordered")]
    Reordered {
        /// The number that belongs here.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// A number that was there before.
    #[error("entry {found} stands where {expected} belongs, and was there before: it was repeated or put in")]
    Repeated {
        /// The number that belongs here.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// Intact by itself, but made to follow another line than it does.
    #[error("entry {sequence} does not follow the one before it: one of the two was replaced, its hash included")]
    Replaced {
        /// Its number.
        sequence: u64,
    },
    /// A remembered head lies beyond the end.
    #[error("the trail ends with entry {last}, and entry {remembered} is remembered: its end was cut off")]
    CutOff {
        /// The last number.
        last: u64,
        /// The remembered number.
        remembered: u64,
    },
    /// A remembered head is another line's.
    #[error("entry {sequence} has another hash than the remembered one: the trail was made anew from there or before")]
    MadeAnew {
        /// The remembered number.
        sequence: u64,
    },
    /// A remembered hash without a number is nowhere.
    #[error("no entry has the remembered hash {hash}: the end was cut off, or the trail was made anew")]
    NotIncluded {
        /// The remembered hash.
        hash: Hash,
    },
}

/// A head that somebody kept: `SEQUENCE:HASH`, or the hash alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The number, if it was kept.
    pub sequence: Option<u64>,
    /// The hash.
    pub hash: Hash,
}

impl Remembered {
    /// Reads either form.
    pub fn parse(text: &str) -> Result<Self, InvalidHash> {
        let (sequence, hash) = match text.split_once(':') {
            Some((sequence, hash)) => (Some(sequence.parse().map_err(|_| InvalidHash)?), hash),
            None => (None, text),
        };
        Ok(Self { sequence, hash: Hash::parse(hash)? })
    }
}

impl From<Head> for Remembered {
    fn from(head: Head) -> Self {
        Self { sequence: Some(head.sequence), hash: head.hash }
    }
}

impl fmt::Display for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(sequence) = self.sequence {
            write!(f, "{sequence}:")?;
        }
        self.hash.fmt(f)
    }
}

/// An unbroken chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Where it ends.
    pub head: Head,
    /// How many lines it has.
    pub lines: u64,
    /// How many of them are shown without their contents: their place is proven, not what they say.
    pub withheld: u64,
}

/// Follows the chain from `start`, which is [`Head::genesis`] for a whole trail, to its end; a remembered head must lie
/// on it. Empty lines do not count. `Err` says where it is broken first, and how.
pub fn verify(
    start: Head,
    lines: impl IntoIterator<Item: AsRef<str>>,
    remembered: Option<Remembered>,
) -> Result<Verified, Broken> {
    let mut verified = Verified { head: start, lines: 0, withheld: 0 };
    let mut included = remembered.is_none_or(|remembered| is_at(start, remembered));
    let mut lines = lines.into_iter().filter(|line| !line.as_ref().trim().is_empty());
    while let Some(text) = lines.next() {
        let at = verified.lines + 1;
        let broken = |why| Broken { at, why };
        let line = Line::parse(text.as_ref()).map_err(|unreadable| broken(Why::Unreadable(unreadable)))?;
        let (expected, found) = (verified.head.sequence + 1, line.sequence);
        if !line.is_intact() {
            return Err(broken(Why::Changed { sequence: found }));
        }
        if found != expected {
            let mut comes_later =
                || lines.any(|text| Line::parse(text.as_ref()).is_ok_and(|line| line.sequence == expected));
            return Err(broken(if found < expected {
                Why::Repeated { expected, found }
            } else if comes_later() {
                Why::Reordered { expected, found }
            } else {
                Why::Removed { first: expected, last: found - 1 }
            }));
        }
        if line.previous != verified.head.hash {
            return Err(broken(Why::Replaced { sequence: found }));
        }
        verified.head = line.head();
        verified.lines = at;
        verified.withheld += u64::from(line.entry.is_none());
        if let Some(remembered) = remembered {
            if remembered.sequence == Some(found) && remembered.hash != line.hash {
                return Err(broken(Why::MadeAnew { sequence: found }));
            }
            included |= is_at(line.head(), remembered);
        }
    }
    match remembered {
        Some(Remembered { sequence, hash }) if !included => {
            let why = match sequence {
                Some(remembered) if remembered > verified.head.sequence => {
                    Why::CutOff { last: verified.head.sequence, remembered }
                }
                Some(_) | None => Why::NotIncluded { hash },
            };
            Err(Broken { at: verified.lines + 1, why })
        }
        Some(_) | None => Ok(verified),
    }
}

fn is_at(head: Head, remembered: Remembered) -> bool {
    remembered.hash == head.hash && remembered.sequence.is_none_or(|sequence| sequence == head.sequence)
}
