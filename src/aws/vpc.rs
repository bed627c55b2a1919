//! A VPC endpoint service and what stands behind it, put together from EC2 and Elastic Load Balancing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{join_all, join5};

use super::ec2::{Ec2, OwnService};
use super::elbv2::{Balancer, Elbv2};
use super::identity::AwsIdentity;
use super::kms::sdk_config;
use super::unread::Unread;
use crate::check::vpc::{BalancerSecurity, LoadBalancer, OwnedService, ServiceSight, Told, VpcDns};
use crate::check::{Problem, ProblemKind, SecurityGroupRules, VpcEvidence};
use crate::clock::Clock;
use crate::cloudhsm::SecurityGroupReader;
use crate::key_store::{AccountId, Region, VpcEndpointServiceName};
use crate::vpc::VpcReader;

/// How long all of it may take. AWS answers each of these reads in well under a second.
const LIMIT: Duration = Duration::from_secs(20);

/// DescribeLoadBalancers takes so many ARNs.
const MOST_BALANCERS: usize = 20;

/// How to reach EC2 and Elastic Load Balancing.
#[derive(Clone, Debug)]
pub struct AwsVpcSettings {
    /// The Region of the key stores.
    pub region: Region,
    /// Another endpoint of EC2 than the Region's own.
    pub ec2_endpoint_url: Option<String>,
    /// Another endpoint of Elastic Load Balancing than the Region's own.
    pub elbv2_endpoint_url: Option<String>,
    /// Who asks; without it the SDK's default chain finds credentials.
    pub credentials: Option<AwsIdentity>,
    /// How long one request may take; 10 seconds are plenty.
    pub timeout: Duration,
    /// Dates signatures.
    pub clock: Arc<dyn Clock>,
}

/// Reads VPC endpoint services of one Region, what stands behind those of our own account, and the security groups of
/// clusters.
pub struct AwsVpc {
    ec2: Ec2,
    elbv2: Elbv2,
}

impl fmt::Debug for AwsVpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsVpc").finish_non_exhaustive()
    }
}

impl AwsVpc {
    /// The clients; nothing is sent yet.
    pub async fn new(settings: AwsVpcSettings) -> Self {
        let AwsVpcSettings { region, ec2_endpoint_url, elbv2_endpoint_url, credentials, timeout, clock } = settings;
        let config = sdk_config(&region, elbv2_endpoint_url, credentials, timeout).await;
        Self { ec2: Ec2::new(&config, ec2_endpoint_url, region, timeout, clock), elbv2: Elbv2::new(&config) }
    }

    async fn sight(&self, name: &VpcEndpointServiceName) -> Result<ServiceSight, Unread> {
        if let Some(own) = self.ec2.own_service(name).await? {
            return Ok(ServiceSight::Owned(Box::new(self.owned(own).await)));
        }
        Ok(match self.ec2.offered_service(name).await? {
            Some(offered) => ServiceSight::Offered { owner: offered.owner, service: offered.service },
            None => ServiceSight::Absent,
        })
    }

    async fn owned(&self, own: OwnService) -> OwnedService {
        let principals = self.ec2.principals(&own.id);
        let balancers = self.balancers(&own.network_load_balancers);
        let (principals, balancers) = tokio::join!(principals, balancers);
        OwnedService {
            service: own.service,
            state: own.state,
            network_load_balancers: own.network_load_balancers,
            gateway_load_balancers: own.gateway_load_balancers,
            principals: told(principals),
            balancers: told(balancers),
        }
    }

    async fn balancers(&self, arns: &[String]) -> Result<Vec<LoadBalancer>, Unread> {
        if arns.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for some in arns.chunks(MOST_BALANCERS) {
            found.extend(self.elbv2.balancers(some).await?);
        }
        Ok(join_all(found.into_iter().map(|balancer| self.balancer(balancer))).await)
    }

    async fn balancer(&self, balancer: Balancer) -> LoadBalancer {
        let arn = balancer.arn.as_str();
        let (cross_zone, listeners, target_groups, security, vpc_dns) = join5(
            self.elbv2.cross_zone(arn),
            self.elbv2.listeners(arn),
            self.elbv2.target_groups(arn),
            self.security(&balancer),
            self.vpc_dns(balancer.vpc.as_deref()),
        )
        .await;
        LoadBalancer {
            cross_zone: told(cross_zone),
            listeners: told(listeners),
            target_groups: told(target_groups),
            security: told(security),
            vpc_dns: told(vpc_dns),
            name: balancer.name,
            dns_name: balancer.dns_name,
            scheme: balancer.scheme,
            state: balancer.state,
            zones: balancer.zones,
        }
    }

    async fn security(&self, balancer: &Balancer) -> Result<BalancerSecurity, Unread> {
        let enforced = balancer.enforces_inbound_rules;
        if !enforced || balancer.security_groups.is_empty() {
            // What the rules say makes no difference, so nobody needs the permission to read them.
            return Ok(BalancerSecurity { enforced, groups: Vec::new() });
        }
        let groups = self.ec2.security_groups(&balancer.security_groups).await?;
        Ok(BalancerSecurity { enforced, groups })
    }

    async fn vpc_dns(&self, vpc: Option<&str>) -> Result<VpcDns, Unread> {
        const ACTION: &str = "elasticloadbalancing:DescribeLoadBalancers";
        let missing = || Unread::NotUnderstood { action: ACTION, why: "the load balancer has no VpcId".to_owned() };
        self.ec2.vpc_dns(vpc.ok_or_else(missing)?).await
    }
}

fn told<T>(read: Result<T, Unread>) -> Told<T> {
    read.map_err(|error| error.problem())
}

#[async_trait]
impl VpcReader for AwsVpc {
    async fn endpoint_service(&self, name: &VpcEndpointServiceName, stated_owner: Option<&AccountId>) -> VpcEvidence {
        let sight = match tokio::time::timeout(LIMIT, self.sight(name)).await {
            Ok(Ok(sight)) => sight,
            Ok(Err(error)) => ServiceSight::Untold(error.problem()),
            Err(_) => {
                let detail = format!("EC2 and Elastic Load Balancing did not tell all within {} s", LIMIT.as_secs());
                ServiceSight::Untold(Problem::own(ProblemKind::Unread, detail))
            }
        };
        VpcEvidence { name: name.clone(), stated_owner: stated_owner.cloned(), sight }
    }
}

#[async_trait]
impl SecurityGroupReader for AwsVpc {
    async fn open_within(&self, security_group: &str) -> Result<SecurityGroupRules, Problem> {
        let answer = tokio::time::timeout(LIMIT, self.ec2.open_within(security_group)).await;
        answer.map_or_else(
            |_| {
                let detail = format!("EC2 did not tell of {security_group} within {} s", LIMIT.as_secs());
                Err(Problem::own(ProblemKind::Unread, detail))
            },
            told,
        )
    }
}
