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

/// Follows a chain line by line. However long the chain is, what is kept is where it was followed to.
#[derive(Debug)]
pub struct Follower {
    verified: Verified,
    remembered: Option<Remembered>,
    /// Whether the remembered head was passed.
    included: bool,
    /// A number that is missing so far: the lines after it tell whether it was moved or removed.
    missing: Option<Missing>,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    at: u64,
    expected: u64,
    found: u64,
}

impl Follower {
    /// Before the line after `start`, which is [`Head::genesis`] for a whole trail. A remembered head must lie on the
    /// chain.
    pub fn new(start: Head, remembered: Option<Remembered>) -> Self {
        let included = remembered.is_none_or(|remembered| is_at(start, remembered));
        Self { verified: Verified { head: start, lines: 0, withheld: 0 }, remembered, included, missing: None }
    }

    /// Follows the chain to this line. Empty lines do not count. `Err` says where it is broken first, and how.
    pub fn follow(&mut self, text: &str) -> Result<(), Broken> {
        if text.trim().is_empty() {
            return Ok(());
        }
        if let Some(Missing { at, expected, found }) = self.missing {
            let comes_now = Line::parse(text).is_ok_and(|line| line.sequence == expected);
            return if comes_now { Err(Broken { at, why: Why::Reordered { expected, found } }) } else { Ok(()) };
        }
        let at = self.verified.lines + 1;
        let broken = |why| Err(Broken { at, why });
        let line = match Line::parse(text) {
            Ok(line) => line,
            Err(unreadable) => return broken(Why::Unreadable(unreadable)),
        };
        let (expected, found) = (self.verified.head.sequence + 1, line.sequence);
        if !line.is_intact() {
            return broken(Why::Changed { sequence: found });
        }
        if found < expected {
            return broken(Why::Repeated { expected, found });
        }
        if found > expected {
            self.missing = Some(Missing { at, expected, found });
            return Ok(());
        }
        if line.previous != self.verified.head.hash {
            return broken(Why::Replaced { sequence: found });
        }
        self.verified.head = line.head();
        self.verified.lines = at;
        self.verified.withheld += u64::from(line.entry.is_none());
        if let Some(remembered) = self.remembered {
            if remembered.sequence == Some(found) && remembered.hash != line.hash {
                return broken(Why::MadeAnew { sequence: found });
            }
            self.included |= is_at(line.head(), remembered);
        }
        Ok(())
    }

    /// A line so long that none was written so.
    pub fn too_long(&self) -> Broken {
        Broken { at: self.verified.lines + 1, why: Why::Unreadable(Unreadable::TooLong) }
    }

    /// There are no more lines.
    pub fn finish(self) -> Result<Verified, Broken> {
        let Self { verified, remembered, included, missing } = self;
        if let Some(Missing { at, expected, found }) = missing {
            return Err(Broken { at, why: Why::Removed { first: expected, last: found - 1 } });
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
}

/// Follows the chain over all of these lines; see [`Follower`].
pub fn verify(
    start: Head,
    lines: impl IntoIterator<Item: AsRef<str>>,
    remembered: Option<Remembered>,
) -> Result<Verified, Broken> {
    let mut follower = Follower::new(start, remembered);
    for line in lines {
        follower.follow(line.as_ref())?;
    }
    follower.finish()
}

fn is_at(head: Head, remembered: Remembered) -> bool {
    remembered.hash == head.hash && remembered.sequence.is_none_or(|sequence| sequence == head.sequence)
}
