//! Continuous probing of every known key store.
