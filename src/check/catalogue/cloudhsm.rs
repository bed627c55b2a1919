//! Checks of the CloudHSM cluster, read-only.

use super::Check;

pub(super) const CHECKS: &[Check] = &[];
