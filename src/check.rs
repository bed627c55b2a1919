//! Checks: evidence in, findings out.
