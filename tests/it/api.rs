//! The HTTP API over real sockets: a KMS, its proxies, journal, driver and monitor behind it.

mod access;
mod approvals;
pub(crate) mod bench;
mod callers;
mod capacity;
mod connections;
mod documents;
mod gates;
mod probe;
mod refusals;
mod scrape;
mod updates;
