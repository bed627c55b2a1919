//! A simulated AWS CloudHSM, as far as the clusters behind key stores go, for real AWS SDKs to talk to on loopback.
//!
//! [`Clusters`] are what exists in the account: state, HSMs, subnets, the cluster certificate by which KMS knows
//! related clusters, and `kmsuser` with its password and its lock-out. [`SandboxCloudHsm`] shows them as DescribeClusters
//! does (AWS JSON 1.1, every signature verified) and misbehaves on command; the simulated
//! [KMS](super::kms::KmsSettings::clusters) uses them when it updates and connects a CloudHSM key store.

mod authority;
mod cluster;
mod server;

pub use self::{
    authority::{AuthorityError, ClusterAuthority},
    cluster::{Cluster, Clusters, Hsm, KmsUser, WRONG_PASSWORDS},
    server::{CloudHsmFault, CloudHsmSettings, CloudHsmStartError, SandboxCloudHsm},
};
pub(in crate::sandbox) use cluster::Refusal;
