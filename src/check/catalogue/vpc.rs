//! Checks of the VPC endpoint service, read-only.

use super::Check;

pub(super) const CHECKS: &[Check] = &[];
