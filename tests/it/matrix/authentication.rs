//! Routing and signature.

use super::row::*;

pub(super) const ROWS: &[Row] = &[
    proxy("clock-ahead", blocked("sigv4.accepted", "authentication_failed", INCORRECT_CREDENTIAL)),
    proxy("clock-behind", blocked("sigv4.accepted", "authentication_failed", INCORRECT_CREDENTIAL)),
    proxy("wrong-region", blocked("sigv4.accepted", "authentication_failed", INCORRECT_CREDENTIAL)),
    proxy("host-rewritten", blocked("sigv4.accepted", "authentication_failed", INCORRECT_CREDENTIAL)),
];
