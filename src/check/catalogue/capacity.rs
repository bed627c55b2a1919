//! Checks under load; asked for, never by themselves.

use super::{Check, GUIDE, Level, Stage, cite, judge};

pub(super) const CHECKS: &[Check] = &[Check {
    id: "capacity.sustained",
    stage: Stage::Capacity,
    level: Level::Should,
    title: "at the asked rate no request fails or is throttled, 99 of 100 take 250 ms at most, and 95 % of the rate is achieved",
    citation: cite(GUIDE, "Assemble the prerequisites: size proxy and key manager for 1,800 requests per second"),
    remedy: "Add proxies or key manager capacity until the rate is sustained, or have the key store's request quota in KMS lowered to what is, so that KMS fails fast.",
    kms: None,
    judge: judge::capacity::sustained,
}];
