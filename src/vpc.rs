//! What we need of EC2 and Elastic Load Balancing, in our own words: everything that tells whether KMS would accept a
//! VPC endpoint service.
//!
//! Why before any disconnect: PrivateLink applies the removal of a principal and the loss of a domain's verification to
//! new connections only. A key store stays CONNECTED over a service that would not let it connect again.
//!
//! # Permissions
//!
//! All of them read; each is needed only for what the last column says. The resource is `*`.
//!
//! | IAM action | without it these cannot be told |
//! |---|---|
//! | `ec2:DescribeVpcEndpointServiceConfigurations` | all of `vpc.*` |
//! | `ec2:DescribeVpcEndpointServices` | all of `vpc.*` for a service of another account |
//! | `ec2:DescribeVpcEndpointServicePermissions` | `vpc.principal_allowed`, `vpc.principal_not_wildcard` |
//! | `elasticloadbalancing:DescribeLoadBalancers` | `vpc.listener_443`, `vpc.targets_healthy`, `vpc.proxy_protocol_off`, `vpc.security_groups`, `vpc.dns_support` |
//! | `elasticloadbalancing:DescribeListeners` | `vpc.listener_443`, `vpc.targets_healthy`, `vpc.proxy_protocol_off` |
//! | `elasticloadbalancing:DescribeTargetGroups` | `vpc.targets_healthy`, `vpc.proxy_protocol_off` |
//! | `elasticloadbalancing:DescribeTargetHealth` | `vpc.targets_healthy` |
//! | `elasticloadbalancing:DescribeTargetGroupAttributes` | `vpc.proxy_protocol_off`, `vpc.targets_healthy` |
//! | `elasticloadbalancing:DescribeLoadBalancerAttributes` | `vpc.targets_healthy` |
//! | `ec2:DescribeSecurityGroups` | `vpc.security_groups` |
//! | `ec2:DescribeVpcAttribute` | `vpc.dns_support` |

use async_trait::async_trait;

use crate::check::VpcEvidence;
use crate::key_store::{AccountId, VpcEndpointServiceName};

/// Reads VPC endpoint services and what stands behind them, in the Region of the key stores.
#[async_trait]
pub trait VpcReader: Send + Sync {
    /// Everything that AWS tells of this service. What AWS denies or does not answer is in the evidence as an own
    /// fault, with the IAM action that would help.
    async fn endpoint_service(&self, name: &VpcEndpointServiceName, stated_owner: Option<&AccountId>) -> VpcEvidence;
}
