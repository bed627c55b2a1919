//! Judges of the signature and of requests that must be refused.
