//! Judges of the VPC endpoint service.
