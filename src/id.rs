//! Identifiers of our own things.
