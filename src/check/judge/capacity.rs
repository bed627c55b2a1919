//! Judges under load.
