//! Simulated peers on loopback: real protocol, real TLS, real signatures, faults on command.
//!
//! Nothing in here knows how the product works: the peers implement AWS's documents anew, with their own wire shapes
//! and their own signature check, so that a mistake in the product is not repeated by the peer it is tested against.
//!
//! - [`kms`]: KMS's side of custom key stores.
//! - [`pki`]: a root and an intermediate made at start, and server certificates right and wrong.

pub mod fault;
pub mod kms;
pub mod pki;
