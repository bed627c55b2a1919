//! What AWS tells of a VPC endpoint service, in the words of EC2 and Elastic Load Balancing.

use super::Problem;
use crate::key_store::{AccountId, VpcEndpointServiceName};

/// Something that AWS told, or why it could not be asked (an own fault: it says nothing about the service).
pub type Told<T> = Result<T, Problem>;

/// What AWS tells of the VPC endpoint service that a key store is reached through.
#[derive(Clone, Debug)]
pub struct VpcEvidence {
    /// `XksProxyVpcEndpointServiceName`.
    pub name: VpcEndpointServiceName,
    /// `XksProxyVpcEndpointServiceOwner`, if the settings name one.
    pub stated_owner: Option<AccountId>,
    /// What was found under the name.
    pub sight: ServiceSight,
}

/// How much of a VPC endpoint service can be seen.
#[derive(Clone, Debug)]
pub enum ServiceSight {
    /// It belongs to the account that we ask from: everything is told.
    Owned(Box<OwnedService>),
    /// It belongs to another account, which offers it to ours: only what a consumer sees is told.
    Offered {
        /// `Owner`: the account, if told.
        owner: Option<AccountId>,
        /// What a consumer sees.
        service: EndpointService,
    },
    /// Neither among the account's own services nor among those offered to it.
    Absent,
    /// AWS could not be asked.
    Untold(Problem),
}

/// What both owner and consumer are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointService {
    /// `ServiceType`: `Interface`, `Gateway` or `GatewayLoadBalancer`.
    pub types: Vec<String>,
    /// `ServiceRegion`, told to consumers.
    pub region: Option<String>,
    /// `AcceptanceRequired`.
    pub acceptance_required: Option<bool>,
    /// `PrivateDnsName` and `PrivateDnsNames`.
    pub private_dns_names: Vec<String>,
    /// State of the domain's verification: `verified`, `pendingVerification` or `failed`.
    pub private_dns_state: Option<String>,
    /// `AvailabilityZones`; a consumer of another account sees only those that both accounts have.
    pub zones: Vec<String>,
    /// `SupportedIpAddressTypes`: `ipv4`, `ipv6`.
    pub ip_address_types: Vec<String>,
}

/// A service of the account that we ask from.
#[derive(Clone, Debug)]
pub struct OwnedService {
    /// What consumers are told, too.
    pub service: EndpointService,
    /// `ServiceState`: `Available` is the one that serves.
    pub state: Option<String>,
    /// `NetworkLoadBalancerArns`.
    pub network_load_balancers: Vec<String>,
    /// `GatewayLoadBalancerArns`.
    pub gateway_load_balancers: Vec<String>,
    /// `AllowedPrincipals` whose permission is for endpoints.
    pub principals: Told<Vec<String>>,
    /// The network load balancers themselves.
    pub balancers: Told<Vec<LoadBalancer>>,
}

impl OwnedService {
    /// The account that owns it, as its load balancers' ARNs tell: both belong to one account.
    pub fn account(&self) -> Option<&str> {
        self.network_load_balancers.first()?.split(':').nth(4).filter(|account| !account.is_empty())
    }
}

/// A load balancer behind the service. Absent members were not told.
#[derive(Clone, Debug)]
pub struct LoadBalancer {
    /// `LoadBalancerName`.
    pub name: String,
    /// `DNSName`; `<zone>.<this>` is its node in one zone.
    pub dns_name: Option<String>,
    /// `Scheme`: `internal` or `internet-facing`.
    pub scheme: Option<String>,
    /// `State.Code`: `active`, `provisioning`, `active_impaired` or `failed`.
    pub state: Option<String>,
    /// `AvailabilityZones[].ZoneName`.
    pub zones: Vec<String>,
    /// Whether `load_balancing.cross_zone.enabled` is on.
    pub cross_zone: Told<bool>,
    /// Its listeners.
    pub listeners: Told<Vec<Listener>>,
    /// The target groups that its listeners may forward to.
    pub target_groups: Told<Vec<TargetGroup>>,
    /// Whether its security groups are applied to what comes through PrivateLink, and what they admit.
    pub security: Told<BalancerSecurity>,
    /// The DNS attributes of its VPC.
    pub vpc_dns: Told<VpcDns>,
}

/// A listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// `Port`.
    pub port: i32,
    /// `Protocol`: `TCP`, `TLS`, `UDP`, `TCP_UDP`.
    pub protocol: String,
    /// The target groups that it forwards to, by ARN.
    pub target_groups: Vec<String>,
}

/// A target group.
#[derive(Clone, Debug)]
pub struct TargetGroup {
    /// `TargetGroupArn`.
    pub arn: String,
    /// `TargetGroupName`.
    pub name: String,
    /// Its attributes.
    pub attributes: Told<TargetGroupAttributes>,
    /// Its targets with their health.
    pub targets: Told<Vec<Target>>,
}

/// The attributes of a target group that matter here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetGroupAttributes {
    /// `proxy_protocol_v2.enabled`.
    pub proxy_protocol: bool,
    /// `load_balancing.cross_zone.enabled`; `None` follows the load balancer.
    pub cross_zone: Option<bool>,
}

/// A target with its health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `Target.Id`: an address or an instance id.
    pub id: String,
    /// `Target.AvailabilityZone`; not told for every kind of target.
    pub zone: Option<String>,
    /// `TargetHealth.State`: `healthy` is the one that serves.
    pub state: String,
    /// `TargetHealth.Reason`.
    pub reason: Option<String>,
}

impl Target {
    /// Whether the load balancer sends requests there.
    pub fn is_healthy(&self) -> bool {
        self.state == "healthy"
    }
}

/// The security groups of a load balancer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BalancerSecurity {
    /// Whether inbound rules are enforced on traffic through PrivateLink; the default is that they are.
    pub enforced: bool,
    /// The groups; none means that nothing is filtered.
    pub groups: Vec<SecurityGroup>,
}

/// A security group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityGroup {
    /// `GroupId`.
    pub id: String,
    /// `IpPermissions`.
    pub inbound: Vec<InboundRule>,
}

/// An inbound rule of a security group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundRule {
    /// `IpProtocol`: `tcp`, or `-1` for all.
    pub protocol: String,
    /// `FromPort`; absent for all ports.
    pub from_port: Option<i32>,
    /// `ToPort`; absent for all ports.
    pub to_port: Option<i32>,
    /// `IpRanges[].CidrIp`.
    pub ranges: Vec<String>,
}

/// The DNS attributes of a VPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VpcDns {
    /// The VPC.
    pub vpc: String,
    /// `enableDnsSupport`: the resolver.
    pub support: bool,
    /// `enableDnsHostnames`.
    pub hostnames: bool,
}
