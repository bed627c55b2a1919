//! The integration tests: one binary, a room per subject.

/// The floors of lib.rs and the layout hold.
mod floors;
