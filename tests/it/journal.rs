//! The journal's contract, kept by every database.

pub(crate) mod contract;
mod postgres;
mod sqlite;
