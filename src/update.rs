//! The life of an update, all pure.
