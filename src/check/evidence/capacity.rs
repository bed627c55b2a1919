//! What was seen under load.

/// What was seen under load.
#[derive(Clone, Debug)]
pub struct CapacityEvidence {}
