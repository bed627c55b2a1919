//! Checks under load; asked for, never by themselves.

use super::Check;

pub(super) const CHECKS: &[Check] = &[];
