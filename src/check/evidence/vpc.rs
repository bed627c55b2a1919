//! What AWS tells of a VPC endpoint service.

/// What AWS tells of the VPC endpoint service that a key store is reached through.
#[derive(Clone, Debug)]
pub struct VpcEvidence {}
