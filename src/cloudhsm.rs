//! What we need of AWS CloudHSM, in our own words: a look at the clusters behind CloudHSM key stores, and at their
//! security groups, which EC2 has.
//!
//! # Permissions
//!
//! Both read. The resource is `*`.
//!
//! | IAM action | without it these cannot be told |
//! |---|---|
//! | `cloudhsm:DescribeClusters` | all of `cloudhsm.*`, but for `cloudhsm.not_in_use` |
//! | `ec2:DescribeSecurityGroups` | `cloudhsm.security_group` |

use async_trait::async_trait;

use crate::check::{Cluster, Problem, SecurityGroupRules};
use crate::key_store::CloudHsmClusterId;

/// Reads clusters (DescribeClusters).
#[async_trait]
pub trait ClusterReader: Send + Sync {
    /// Those of the clusters that exist in account and Region, in no particular order.
    async fn clusters(&self, ids: &[CloudHsmClusterId]) -> Result<Vec<Cluster>, ClusterError>;
}

/// Reads the security groups of clusters (EC2's DescribeSecurityGroups).
#[async_trait]
pub trait SecurityGroupReader: Send + Sync {
    /// Which TCP ports this security group opens between its own members. What EC2 denies or does not answer is an own
    /// fault, with the IAM action that would help.
    async fn open_within(&self, security_group: &str) -> Result<SecurityGroupRules, Problem>;
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
