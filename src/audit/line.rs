//! An entry at its place in the chain, and the head of a chain.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Entry, Hash};

/// Text that is not a line of a trail in its canonical form.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not JSON of a line's shape.
    #[error("not a line of an audit trail: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It says the same in other bytes than this program writes.
    #[error("not in the form in which lines are written")]
    NotCanonical,
    /// Longer than any line that is written.
    #[error("longer than any line that is written")]
    TooLong,
}

/// The last line of a chain: whoever keeps it can tell later whether the chain still leads there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The line's number; 0 before the first.
    pub sequence: u64,
    /// The line's hash.
    pub hash: Hash,
}

impl Head {
    /// Before the first line.
    pub fn genesis() -> Self {
        Self { sequence: 0, hash: Hash::of("xks-preflight/audit/genesis/1", &[]) }
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sequence, self.hash)
    }
}

/// A line: its members are in the order in which they are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Counted from 1 without a gap.
    pub sequence: u64,
    /// What it says; absent where it is not shown.
    pub entry: Option<Entry>,
    /// Of the entry.
    pub digest: Hash,
    /// The hash of the line before.
    pub previous: Hash,
    /// Of number, previous hash and digest.
    pub hash: Hash,
}

impl Line {
    /// The line that says `entry` after `head`.
    pub fn following(head: Head, entry: Entry) -> Self {
        let sequence = head.sequence + 1;
        let digest = digest(&entry);
        Self { sequence, entry: Some(entry), digest, previous: head.hash, hash: link(sequence, head.hash, digest) }
    }

    /// Reads a written line; every byte counts.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let line: Self = serde_json::from_str(text)?;
        if line.to_string() == text { Ok(line) } else { Err(Unreadable::NotCanonical) }
    }

    /// The line without what it says.
    #[must_use]
    pub fn withheld(self) -> Self {
        Self { entry: None, ..self }
    }

    /// The entry as it is written, if it is shown.
    pub fn entry_text(&self) -> Option<String> {
        self.entry.as_ref().map(canonical)
    }

    /// Whether digest and hash are those of its contents and place.
    pub fn is_intact(&self) -> bool {
        self.entry.as_ref().is_none_or(|entry| digest(entry) == self.digest)
            && link(self.sequence, self.previous, self.digest) == self.hash
    }

    /// The head of a chain that ends with this line.
    pub fn head(&self) -> Head {
        Head { sequence: self.sequence, hash: self.hash }
    }
}

impl fmt::Display for Line {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sequence, entry, digest, previous, hash } = self;
        let entry = entry.as_ref().map_or_else(|| "null".to_owned(), canonical);
        f.write_str(&line_text(*sequence, &entry, &digest.to_string(), &previous.to_string(), &hash.to_string()))
    }
}

/// A line put together from stored parts, whatever they are: what is shown of a trail is what is stored.
pub(crate) fn line_text(sequence: u64, entry: &str, digest: &str, previous: &str, hash: &str) -> String {
    format!(
        "{{\"sequence\":{sequence},\"entry\":{entry},\"digest\":\"{digest}\",\"previous\":\"{previous}\",\"hash\":\"{hash}\"}}"
    )
}

#[expect(clippy::expect_used, reason = "texts, numbers and enums are always JSON, and writing to memory cannot fail")]
fn canonical(entry: &Entry) -> String {
    serde_json::to_string(entry).expect("an entry is always JSON")
}

fn digest(entry: &Entry) -> Hash {
    Hash::of("xks-preflight/audit/entry/1", &[canonical(entry).as_bytes()])
}

fn link(sequence: u64, previous: Hash, digest: Hash) -> Hash {
    Hash::of("xks-preflight/audit/link/1", &[format!("{sequence}:{previous}:{digest}").as_bytes()])
}
