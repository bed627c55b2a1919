//! What we need of KMS, in our own words.
