//! The audit trail: every decision as a line, each line bound to the one before it. Pure: hashing and judging only.
//!
//! # How it works
//!
//! A decision is an [`Entry`]. A [`Line`] is an entry at its place in the chain:
//!
//! ```text
//! digest = SHA-256("xks-preflight/audit/entry/1" NUL entry as JSON, as it stands in the line)
//! hash   = SHA-256("xks-preflight/audit/link/1" NUL sequence ":" previous ":" digest)      numbers and digits as text
//! ```
//!
//! `previous` is the hash of the line before; before the first it is SHA-256("xks-preflight/audit/genesis/1" NUL).
//! Because the hash goes over the digest and not over the entry, a line can be shown without its contents
//! ([`Line::withheld`]) and still prove its place: whoever may read only some key stores can verify the whole chain.
//!
//! What is said of an update is derived from its events alone ([`entry_of`]), so that a journal can write it in the
//! same transaction, and anybody can derive it again.
//!
//! # What can go wrong
//!
//! - A line was changed, removed, moved or repeated: [`verify()`] says which and how.
//! - Lines are missing at the end, or all of them were made anew, hashes and all: nothing in the lines themselves can
//!   show that. Whoever kept a [`Head`] elsewhere sees it (see [`verify()`]).

mod entry;
mod evidence;
mod hash;
mod line;
mod lines;
mod signature;
#[cfg(test)]
mod tests;
mod verify;

pub use entry::{Action, By, Decision, Entry, LONGEST_MESSAGE, Means};
pub use evidence::{EVIDENCE_SCHEMA, Evidence, EvidenceRefused, KeptReport, Proven, verify_evidence};
pub use hash::{Hash, InvalidHash, document_hash};
pub(crate) use line::line_text;
pub use line::{Head, Line, Unreadable};
pub use lines::{Subject, entry_of, frozen, lifted, report_kept};
pub use signature::{Envelope, Forged, PAYLOAD_TYPE, PublicKey, Signature, SigningKey};
pub use verify::{Broken, Follower, Remembered, Verified, Why, verify};
