//! What we need of AWS CloudHSM, in our own words: a look at the clusters behind CloudHSM key stores.

use async_trait::async_trait;

use crate::check::Cluster;
use crate::key_store::CloudHsmClusterId;

/// Reads clusters (DescribeClusters).
#[async_trait]
pub trait ClusterReader: Send + Sync {
    /// Those of the clusters that exist in account and Region, in no particular order.
    async fn clusters(&self, ids: &[CloudHsmClusterId]) -> Result<Vec<Cluster>, ClusterError>;
}

/// Why CloudHSM did not tell. Never a fault of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// The identity we use lacks the permission, or its credentials are missing or expired.
    #[error(
        "AWS denies DescribeClusters: {message}; grant cloudhsm:DescribeClusters on resource * to the identity used \
         here"
    )]
    AccessDenied {
        /// AWS's own message.
        message: String,
    },
    /// Throttled, failed internally, not reached, or no answer in time.
    #[error("CloudHSM does not answer DescribeClusters: {why}")]
    Unanswered {
        /// What happened.
        why: String,
    },
    /// An answer that this program does not understand.
    #[error("answer of CloudHSM to DescribeClusters is not understood: {why}")]
    NotUnderstood {
        /// What is wrong with it.
        why: String,
    },
}
