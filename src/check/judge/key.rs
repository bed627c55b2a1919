//! Judges of the keys behind a proxy.
