//! The XKS Proxy API v1 (specification 1.0.3): requests, answers, error names and what KMS makes of them, signing.
//!
//! Answers are parsed strictly and the first violation is named by its JSON pointer, because "invalid response" is
//! all that KMS would say. Nothing here does I/O; the instant for signing is an argument.

mod cipher;
mod document;
mod error;
mod health;
mod key_metadata;
mod operation;
mod signing;

pub use cipher::{
    CipherViolation, Ciphertext, DecryptRequest, EncryptRequest, EncryptedData, ciphertext_data_integrity_value,
};
pub use document::{Violation, parse as parse_document};
pub use error::{ErrorName, Refusal};
pub use health::{EkmHealth, EkmInstance, HealthStatus};
pub use key_metadata::{KeyMetadata, KeyStatus};
pub use operation::{KeyRequestMetadata, LONGEST_URI, XksOperation, health_request, key_metadata_request};
pub use signing::{SIGNING_SERVICE, SignedRequest, SigningError, SigningScope, VerificationError, sign, verify};

#[cfg(test)]
mod tests;
