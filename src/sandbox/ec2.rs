//! A simulated EC2, as far as VPC endpoint services go: its Query API on loopback.

use std::{
    fmt, io,
    ops::RangeInclusive,
    sync::{Mutex, PoisonError},
};

use http::StatusCode;

use super::query::{QueryCall, QueryFault, QuerySettings, Refusal, Server, Service, element, holding, optional};

const NAMESPACE: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";

/// A VPC endpoint service.
#[derive(Clone, Debug)]
pub struct VpcEndpointService {
    /// `com.amazonaws.vpce.<region>.<id>`.
    pub name: String,
    /// The account that owns it, if it is not the caller's.
    pub owner: Option<String>,
    /// `ServiceState`.
    pub state: String,
    /// `ServiceType`.
    pub service_type: String,
    /// `AcceptanceRequired`.
    pub acceptance_required: bool,
    /// `PrivateDnsName`.
    pub private_dns_name: Option<String>,
    /// The state of its domain's verification.
    pub verification: String,
    /// `AvailabilityZones`.
    pub zones: Vec<String>,
    /// `SupportedIpAddressTypes`.
    pub ip_address_types: Vec<String>,
    /// `NetworkLoadBalancerArns`.
    pub network_load_balancers: Vec<String>,
    /// `GatewayLoadBalancerArns`.
    pub gateway_load_balancers: Vec<String>,
    /// `AllowedPrincipals`.
    pub principals: Vec<String>,
}

impl VpcEndpointService {
    /// A service as KMS wants it, of the caller's account in `us-east-1`.
    pub fn new(id: &str, private_dns_name: &str, network_load_balancer: &str) -> Self {
        Self {
            name: format!("com.amazonaws.vpce.us-east-1.{id}"),
            owner: None,
            state: "Available".to_owned(),
            service_type: "Interface".to_owned(),
            acceptance_required: false,
            private_dns_name: Some(private_dns_name.to_owned()),
            verification: "verified".to_owned(),
            zones: vec!["us-east-1a".to_owned(), "us-east-1b".to_owned()],
            ip_address_types: vec!["ipv4".to_owned()],
            network_load_balancers: vec![network_load_balancer.to_owned()],
            gateway_load_balancers: Vec::new(),
            principals: vec!["cks.kms.us-east-1.amazonaws.com".to_owned()],
        }
    }

    fn id(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or_default()
    }

    fn shared_members(&self) -> String {
        let kind = holding("serviceType", [holding("item", [element("serviceType", &self.service_type)])]);
        [
            kind,
            element("serviceId", self.id()),
            element("serviceName", &self.name),
            items("availabilityZoneSet", &self.zones),
            element("acceptanceRequired", if self.acceptance_required { "true" } else { "false" }),
            element("managesVpcEndpoints", "false"),
            items("baseEndpointDnsNameSet", &[format!("{}.us-east-1.vpce.amazonaws.com", self.id())]),
            items("supportedIpAddressTypeSet", &self.ip_address_types),
            optional("privateDnsName", self.private_dns_name.as_deref()),
        ]
        .concat()
    }

    /// As its owner is told.
    fn configuration(&self) -> String {
        let verification = self.private_dns_name.as_ref().map(|_| {
            let parts = [
                element("state", &self.verification),
                element("type", "TXT"),
                element("value", "vpce:l6p0ERXliTt45jevFwOCp"),
                element("name", "_6e86v84tqgqubxbwii1m"),
            ];
            holding("privateDnsNameConfiguration", parts)
        });
        let own = [
            element("serviceState", &self.state),
            items("networkLoadBalancerArnSet", &self.network_load_balancers),
            // Absent where there are none, unlike other empty lists.
            if self.gateway_load_balancers.is_empty() {
                String::new()
            } else {
                items("gatewayLoadBalancerArnSet", &self.gateway_load_balancers)
            },
            verification.unwrap_or_default(),
        ];
        holding("item", [self.shared_members()].into_iter().chain(own))
    }

    /// As consumers are told.
    fn detail(&self) -> String {
        let names = self.private_dns_name.iter().map(|name| holding("item", [element("privateDnsName", name)]));
        let own = [
            element("owner", self.owner.as_deref().unwrap_or("111122223333")),
            element("serviceRegion", self.name.split('.').nth(3).unwrap_or_default()),
            element("vpcEndpointPolicySupported", "false"),
            holding("privateDnsNameSet", names),
            optional(
                "privateDnsNameVerificationState",
                self.private_dns_name.as_ref().map(|_| self.verification.as_str()),
            ),
        ];
        holding("item", [self.shared_members()].into_iter().chain(own))
    }
}

/// A security group with its rules for TCP.
#[derive(Clone, Debug, Default)]
pub struct SecurityGroup {
    /// `GroupId`.
    pub id: String,
    /// Port and IPv4 range of each rule; no port means all protocols and ports.
    pub inbound: Vec<(Option<u16>, String)>,
    /// Ports of each inbound rule whose source is the group itself.
    pub from_itself: Vec<RangeInclusive<u16>>,
    /// Ports of each outbound rule whose destination is the group itself.
    pub to_itself: Vec<RangeInclusive<u16>>,
}

impl SecurityGroup {
    /// As CloudHSM makes it for a cluster.
    pub fn of_cluster(id: &str) -> Self {
        let rules = || vec![2223..=2225];
        Self { id: id.to_owned(), from_itself: rules(), to_itself: rules(), ..Self::default() }
    }
}

/// A VPC.
#[derive(Clone, Debug)]
pub struct Vpc {
    /// `VpcId`.
    pub id: String,
    /// `enableDnsSupport`.
    pub dns_support: bool,
    /// `enableDnsHostnames`.
    pub dns_hostnames: bool,
}

/// Everything that the simulated EC2 knows.
#[derive(Clone, Debug, Default)]
pub struct Ec2State {
    /// The VPC endpoint services.
    pub services: Vec<VpcEndpointService>,
    /// The security groups.
    pub security_groups: Vec<SecurityGroup>,
    /// The VPCs.
    pub vpcs: Vec<Vpc>,
    /// How many services or principals are told in one answer; 0 means all.
    pub page: usize,
}

struct Ec2(Mutex<Ec2State>);

/// A simulated EC2 that listens on loopback. Dropping it stops it.
pub struct SandboxEc2 {
    server: Server<Ec2>,
}

impl fmt::Debug for SandboxEc2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxEc2").field("endpoint_url", &self.endpoint_url()).finish_non_exhaustive()
    }
}

impl SandboxEc2 {
    /// Starts it on a free port.
    pub async fn start(settings: QuerySettings, state: Ec2State) -> io::Result<Self> {
        Ok(Self { server: Server::start(settings, Ec2(Mutex::new(state))).await? })
    }

    /// The endpoint to give to a client.
    pub fn endpoint_url(&self) -> String {
        self.server.endpoint_url()
    }

    /// Changes what it knows.
    pub fn change(&self, change: impl FnOnce(&mut Ec2State)) {
        change(&mut self.server.service().0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Changes the first service.
    pub fn change_service(&self, change: impl FnOnce(&mut VpcEndpointService)) {
        self.change(|state| {
            if let Some(service) = state.services.first_mut() {
                change(service);
            }
        });
    }

    /// Lets the next `times` calls of an action suffer a fault.
    pub fn inject(&self, action: &str, fault: QueryFault, times: u32) {
        self.server.inject(action, fault, times);
    }

    /// Forgets every fault that waits.
    pub fn clear_faults(&self) {
        self.server.clear_faults();
    }

    /// Every request, in order.
    pub fn history(&self) -> Vec<QueryCall> {
        self.server.history()
    }
}

fn items(name: &str, texts: &[String]) -> String {
    holding(name, texts.iter().map(|text| element("item", text)))
}

/// One page of these, the token being the number of those told before.
fn page(call: &QueryCall, size: usize, name: &str, entries: &[String]) -> String {
    let begin = call.get("NextToken").and_then(|token| token.parse().ok()).unwrap_or(0).min(entries.len());
    let end = if size == 0 { entries.len() } else { entries.len().min(begin + size) };
    let next = (end < entries.len()).then(|| end.to_string());
    [holding(name, entries[begin..end].iter().cloned()), optional("nextToken", next.as_deref())].concat()
}

fn refused(code: &'static str, message: String) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, code, message }
}

impl Service for Ec2 {
    const SIGNING_NAME: &'static str = "ec2";
    const DENIED: &'static str = "UnauthorizedOperation";
    const THROTTLED: (StatusCode, &'static str) = (StatusCode::SERVICE_UNAVAILABLE, "RequestLimitExceeded");
    const UNSIGNED: &'static str = "AuthFailure";

    fn answer(&self, call: &QueryCall) -> Result<String, Refusal> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = || state.services.iter().filter(|service| service.owner.is_none());
        let inner = match call.action.as_str() {
            "DescribeVpcEndpointServiceConfigurations" => {
                let wanted = filter(call, "service-name")?;
                let found =
                    own().filter(|service| wanted.as_ref().is_none_or(|names| names.contains(&service.name.as_str())));
                let entries: Vec<String> = found.map(VpcEndpointService::configuration).collect();
                page(call, state.page, "serviceConfigurationSet", &entries)
            }
            "DescribeVpcEndpointServices" => {
                let mut entries = Vec::new();
                for name in call.list("ServiceName") {
                    let found = state.services.iter().find(|service| service.name == name);
                    let missing =
                        || refused("InvalidServiceName", format!("The Vpc Endpoint Service '{name}' does not exist"));
                    entries.push(found.ok_or_else(missing)?.detail());
                }
                page(call, state.page, "serviceDetailSet", &entries)
            }
            "DescribeVpcEndpointServicePermissions" => {
                let id = call.get("ServiceId").unwrap_or_default();
                let missing = || {
                    let message = format!("The VpcEndpointService Id '{id}' does not exist");
                    refused("InvalidVpcEndpointServiceId.NotFound", message)
                };
                let service = own().find(|service| service.id() == id).ok_or_else(missing)?;
                let entries: Vec<String> = service
                    .principals
                    .iter()
                    .map(|principal| {
                        let kind = if principal.ends_with(".amazonaws.com") { "Service" } else { "Account" };
                        let parts = [
                            element("principalType", kind),
                            element("principal", principal),
                            element("permissionType", "vpc-endpoint"),
                            element("serviceId", id),
                        ];
                        holding("item", parts)
                    })
                    .collect();
                page(call, state.page, "allowedPrincipals", &entries)
            }
            "DescribeSecurityGroups" => {
                let mut entries = Vec::new();
                for id in call.list("GroupId") {
                    let found = state.security_groups.iter().find(|group| group.id == id);
                    let missing =
                        || refused("InvalidGroup.NotFound", format!("The security group '{id}' does not exist"));
                    entries.push(security_group(found.ok_or_else(missing)?));
                }
                page(call, 0, "securityGroupInfo", &entries)
            }
            "DescribeVpcAttribute" => {
                let id = call.get("VpcId").unwrap_or_default();
                let missing = || refused("InvalidVpcID.NotFound", format!("The vpc ID '{id}' does not exist"));
                let vpc = state.vpcs.iter().find(|vpc| vpc.id == id).ok_or_else(missing)?;
                let (name, value) = match call.get("Attribute") {
                    Some("enableDnsSupport") => ("enableDnsSupport", vpc.dns_support),
                    Some("enableDnsHostnames") => ("enableDnsHostnames", vpc.dns_hostnames),
                    other => {
                        let message =
                            format!("Value ({}) for parameter attribute is invalid.", other.unwrap_or_default());
                        return Err(refused("InvalidParameterValue", message));
                    }
                };
                let value = if value { "true" } else { "false" };
                [element("vpcId", id), holding(name, [element("value", value)])].concat()
            }
            other => {
                let message = format!("The action {other} is not valid for this web service.");
                return Err(refused("InvalidAction", message));
            }
        };
        let action = &call.action;
        let request = element("requestId", "59dbff89-35bd-4eac-99ed-be587EXAMPLE");
        Ok(format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{action}Response xmlns=\"{NAMESPACE}\">\n    {request}\n    \
             {inner}\n</{action}Response>"
        ))
    }

    fn refusal(code: &str, message: &str) -> String {
        let error = holding("Error", [element("Code", code), element("Message", message)]);
        let request = element("RequestID", "ea966190-f9aa-478e-9ede-example");
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response>{}{request}</Response>",
            holding("Errors", [error])
        )
    }
}

/// The values of a filter, the only one known here.
fn filter<'a>(call: &'a QueryCall, known: &str) -> Result<Option<Vec<&'a str>>, Refusal> {
    match call.get("Filter.1.Name") {
        None => Ok(None),
        Some(name) if name == known => Ok(Some(call.list("Filter.1.Value"))),
        Some(name) => Err(refused("InvalidParameterValue", format!("The filter '{name}' is invalid"))),
    }
}

fn security_group(group: &SecurityGroup) -> String {
    let rules = group.inbound.iter().map(|(port, range)| {
        let port = port.map(|port| port.to_string());
        let parts = [
            element("ipProtocol", if port.is_some() { "tcp" } else { "-1" }),
            optional("fromPort", port.as_deref()),
            optional("toPort", port.as_deref()),
            "<groups/>".to_owned(),
            holding("ipRanges", [holding("item", [element("cidrIp", range)])]),
            "<ipv6Ranges/>".to_owned(),
        ];
        holding("item", parts)
    });
    let of_itself = |rules: &[RangeInclusive<u16>]| {
        let rules = rules.iter().map(|ports| {
            let pair = [element("userId", "111122223333"), element("groupId", &group.id)];
            let parts = [
                element("ipProtocol", "tcp"),
                element("fromPort", &ports.start().to_string()),
                element("toPort", &ports.end().to_string()),
                holding("groups", [holding("item", pair)]),
                "<ipRanges/>".to_owned(),
            ];
            holding("item", parts)
        });
        rules.collect::<Vec<_>>()
    };
    let parts = [
        element("ownerId", "111122223333"),
        element("groupId", &group.id),
        element("groupName", "load balancer"),
        holding("ipPermissions", rules.chain(of_itself(&group.from_itself))),
        holding("ipPermissionsEgress", of_itself(&group.to_itself)),
    ];
    holding("item", parts)
}
