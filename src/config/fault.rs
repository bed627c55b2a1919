//! What is wrong with a configuration: all of it at once, each fault with its key path and line.

use std::fmt;
use std::path::{Path, PathBuf};

use super::reading::Reading;

/// One mistake in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line in the file, from 1; absent if the fault is the file as a whole.
    pub line: Option<usize>,
    /// The key, such as `key_stores[1].region`; empty for the file as a whole.
    pub key: String,
    /// What is wrong and what to do. Never holds a value that may be secret.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Every fault of a configuration file, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// The file.
    pub file: PathBuf,
    /// At least one; at most [`Faults::MAX`].
    pub faults: Vec<Fault>,
    /// How many more there are than are listed.
    pub left_off: usize,
}

impl Faults {
    /// The most faults that are listed: a file of another kind altogether would give thousands.
    pub const MAX: usize = 100;
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.faults.len() + self.left_off;
        let noun = if count == 1 { "fault" } else { "faults" };
        write!(f, "{} has {count} {noun}", self.file.display())?;
        for fault in &self.faults {
            write!(f, "\n  {fault}")?;
        }
        if self.left_off > 0 {
            write!(f, "\n  and {} more", self.left_off)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Where the readers put what they find wrong, and digests of what they read.
#[derive(Debug, Default)]
pub(super) struct Collector {
    pub(super) reading: Reading,
    faults: Vec<Fault>,
    left_off: usize,
}

impl Collector {
    pub(super) fn add(&mut self, line: Option<usize>, key: &str, message: impl Into<String>) {
        if self.faults.len() < Faults::MAX {
            self.faults.push(Fault { line, key: key.to_owned(), message: message.into() });
        } else {
            self.left_off += 1;
        }
    }

    /// The value if nothing was found wrong.
    pub(super) fn finish<T>(mut self, file: &Path, value: Option<T>) -> Result<T, Faults> {
        match value {
            Some(value) if self.faults.is_empty() => Ok(value),
            _ => {
                if self.faults.is_empty() {
                    self.add(None, "", "was not understood, though nothing is wrong with it: a fault of xks-preflight");
                }
                self.faults.sort_by_key(|fault| fault.line);
                Err(Faults { file: file.to_owned(), faults: self.faults, left_off: self.left_off })
            }
        }
    }
}

/// A value for a message: quoted, escaped, and cut to a length that fits a line.
pub(super) fn found(text: &str) -> String {
    let shown: String = text.chars().take(60).collect();
    let more = if shown.len() < text.len() { "…" } else { "" };
    format!("(found {shown:?}{more})")
}

/// A key for a message. Keys longer than any of ours are not shown: one could be a secret in the wrong place.
pub(super) fn showable(key: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !key.is_empty() && key.len() <= 40 && key.bytes().all(plain) {
        key.to_owned()
    } else {
        format!("<a key of {} characters>", key.chars().count())
    }
}
