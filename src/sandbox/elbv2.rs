//! A simulated Elastic Load Balancing (version 2), as far as network load balancers go: its Query API on loopback.

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{Mutex, PoisonError},
};

use http::StatusCode;

use super::query::{QueryCall, QueryFault, QuerySettings, Refusal, Server, Service, element, holding, optional};

const NAMESPACE: &str = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/";

/// A network load balancer with one listener.
#[derive(Clone, Debug)]
pub struct NetworkLoadBalancer {
    /// `LoadBalancerName`.
    pub name: String,
    /// `Scheme`.
    pub scheme: String,
    /// Its zones.
    pub zones: Vec<String>,
    /// `VpcId`.
    pub vpc: String,
    /// `SecurityGroups`.
    pub security_groups: Vec<String>,
    /// `EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic`, which only load balancers with security groups have.
    pub enforces_inbound_rules: Option<String>,
    /// Attributes by key.
    pub attributes: BTreeMap<String, String>,
    /// Port and protocol of the listener, which forwards to the target group; `None` for no listener at all.
    pub listener: Option<(u16, String)>,
    /// The target group.
    pub group: TargetGroup,
}

/// A target group.
#[derive(Clone, Debug, Default)]
pub struct TargetGroup {
    /// Attributes by key.
    pub attributes: BTreeMap<String, String>,
    /// The targets.
    pub targets: Vec<Target>,
}

/// A target.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its address.
    pub id: String,
    /// Its zone.
    pub zone: String,
    /// `TargetHealth.State`.
    pub state: String,
}

impl NetworkLoadBalancer {
    /// An internal one in two zones of VPC `vpc-1`, with a healthy target in each behind TCP 443.
    pub fn new(name: &str) -> Self {
        let target =
            |id: &str, zone: &str| Target { id: id.to_owned(), zone: zone.to_owned(), state: "healthy".to_owned() };
        Self {
            name: name.to_owned(),
            scheme: "internal".to_owned(),
            zones: vec!["us-east-1a".to_owned(), "us-east-1b".to_owned()],
            vpc: "vpc-1".to_owned(),
            security_groups: Vec::new(),
            enforces_inbound_rules: None,
            attributes: BTreeMap::from([("load_balancing.cross_zone.enabled".to_owned(), "false".to_owned())]),
            listener: Some((443, "TCP".to_owned())),
            group: TargetGroup {
                attributes: BTreeMap::from([
                    ("proxy_protocol_v2.enabled".to_owned(), "false".to_owned()),
                    ("load_balancing.cross_zone.enabled".to_owned(), "use_load_balancer_configuration".to_owned()),
                ]),
                targets: vec![target("10.0.1.4", "us-east-1a"), target("10.0.2.4", "us-east-1b")],
            },
        }
    }

    /// Its ARN.
    pub fn arn(&self) -> String {
        format!("arn:aws:elasticloadbalancing:us-east-1:111122223333:loadbalancer/net/{}/50dc6c495c0c9188", self.name)
    }

    fn group_arn(&self) -> String {
        format!("arn:aws:elasticloadbalancing:us-east-1:111122223333:targetgroup/{}/73e2d6bc24d8a067", self.name)
    }

    fn describe(&self) -> String {
        let zones = self
            .zones
            .iter()
            .map(|zone| holding("member", [element("ZoneName", zone), element("SubnetId", "subnet-1")]));
        let groups = self.security_groups.iter().map(|group| element("member", group));
        let parts = [
            element("LoadBalancerArn", &self.arn()),
            element("LoadBalancerName", &self.name),
            element("DNSName", &format!("{}-50dc6c495c0c9188.elb.us-east-1.amazonaws.com", self.name)),
            element("Scheme", &self.scheme),
            element("Type", "network"),
            element("IpAddressType", "ipv4"),
            element("VpcId", &self.vpc),
            holding("State", [element("Code", "active")]),
            holding("AvailabilityZones", zones),
            holding("SecurityGroups", groups),
            optional("EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic", self.enforces_inbound_rules.as_deref()),
        ];
        holding("member", parts)
    }

    fn describe_listener(&self) -> String {
        let Some((port, protocol)) = &self.listener else { return String::new() };
        let group = self.group_arn();
        let tuple = holding("member", [element("TargetGroupArn", &group), element("Weight", "1")]);
        let forward = holding("ForwardConfig", [holding("TargetGroups", [tuple])]);
        let action = [element("Type", "forward"), element("TargetGroupArn", &group), forward];
        let parts = [
            element("ListenerArn", &format!("{}/listener", self.arn())),
            element("LoadBalancerArn", &self.arn()),
            element("Port", &port.to_string()),
            element("Protocol", protocol),
            holding("DefaultActions", [holding("member", action)]),
        ];
        holding("member", parts)
    }

    fn describe_group(&self) -> String {
        let parts = [
            element("TargetGroupArn", &self.group_arn()),
            element("TargetGroupName", &self.name),
            element("Protocol", "TCP"),
            element("Port", "443"),
            element("TargetType", "ip"),
            element("VpcId", &self.vpc),
            holding("LoadBalancerArns", [element("member", &self.arn())]),
        ];
        holding("member", parts)
    }
}

fn describe_target(target: &Target) -> String {
    let described = [element("Id", &target.id), element("Port", "443"), element("AvailabilityZone", &target.zone)];
    let reason = (target.state != "healthy").then_some("Target.FailedHealthChecks");
    let health = [element("State", &target.state), optional("Reason", reason)];
    holding("member", [holding("Target", described), holding("TargetHealth", health)])
}

fn attributes(attributes: &BTreeMap<String, String>) -> String {
    let members =
        attributes.iter().map(|(key, value)| holding("member", [element("Value", value), element("Key", key)]));
    holding("Attributes", members)
}

struct Elbv2(Mutex<Vec<NetworkLoadBalancer>>);

/// A simulated Elastic Load Balancing that listens on loopback. Dropping it stops it.
pub struct SandboxElbv2 {
    server: Server<Elbv2>,
}

impl fmt::Debug for SandboxElbv2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxElbv2").field("endpoint_url", &self.endpoint_url()).finish_non_exhaustive()
    }
}

impl SandboxElbv2 {
    /// Starts it on a free port.
    pub async fn start(settings: QuerySettings, balancers: Vec<NetworkLoadBalancer>) -> io::Result<Self> {
        Ok(Self { server: Server::start(settings, Elbv2(Mutex::new(balancers))).await? })
    }

    /// The endpoint to give to a client.
    pub fn endpoint_url(&self) -> String {
        self.server.endpoint_url()
    }

    /// Changes the first load balancer.
    pub fn change(&self, change: impl FnOnce(&mut NetworkLoadBalancer)) {
        let mut balancers = self.server.service().0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(balancer) = balancers.first_mut() {
            change(balancer);
        }
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

impl Service for Elbv2 {
    const SIGNING_NAME: &'static str = "elasticloadbalancing";
    const DENIED: &'static str = "AccessDenied";
    const THROTTLED: (StatusCode, &'static str) = (StatusCode::BAD_REQUEST, "Throttling");
    const UNSIGNED: &'static str = "SignatureDoesNotMatch";

    fn answer(&self, call: &QueryCall) -> Result<String, Refusal> {
        let balancers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let refused =
            |code, message: &str| Refusal { status: StatusCode::BAD_REQUEST, code, message: message.to_owned() };
        let balancer = |arn: Option<&str>| {
            let found = balancers.iter().find(|balancer| Some(balancer.arn().as_str()) == arn);
            found.ok_or_else(|| refused("LoadBalancerNotFound", "One or more load balancers not found"))
        };
        let of_group = || {
            let arn = call.get("TargetGroupArn");
            let found = balancers.iter().find(|balancer| Some(balancer.group_arn().as_str()) == arn);
            found.ok_or_else(|| refused("TargetGroupNotFound", "One or more target groups not found"))
        };
        let inner = match call.action.as_str() {
            "DescribeLoadBalancers" => {
                let mut members = Vec::new();
                for arn in call.list("LoadBalancerArns.member") {
                    members.push(balancer(Some(arn))?.describe());
                }
                holding("LoadBalancers", members)
            }
            "DescribeListeners" => holding("Listeners", [balancer(call.get("LoadBalancerArn"))?.describe_listener()]),
            "DescribeLoadBalancerAttributes" => attributes(&balancer(call.get("LoadBalancerArn"))?.attributes),
            "DescribeTargetGroups" => {
                holding("TargetGroups", [balancer(call.get("LoadBalancerArn"))?.describe_group()])
            }
            "DescribeTargetGroupAttributes" => attributes(&of_group()?.group.attributes),
            "DescribeTargetHealth" => {
                holding("TargetHealthDescriptions", of_group()?.group.targets.iter().map(describe_target))
            }
            other => {
                return Err(refused(
                    "InvalidAction",
                    &format!("Could not find operation {other} for version 2015-12-01"),
                ));
            }
        };
        let action = &call.action;
        let metadata = holding("ResponseMetadata", [element("RequestId", "7bfcbf7a-d0fc-11e9-a2ea-EXAMPLE")]);
        let result = holding(&format!("{action}Result"), [inner]);
        Ok(format!("<{action}Response xmlns=\"{NAMESPACE}\">{result}{metadata}</{action}Response>"))
    }

    fn refusal(code: &str, message: &str) -> String {
        let error = holding("Error", [element("Type", "Sender"), element("Code", code), element("Message", message)]);
        let request = element("RequestId", "7bfcbf7a-d0fc-11e9-a2ea-EXAMPLE");
        format!("<ErrorResponse xmlns=\"{NAMESPACE}\">{error}{request}</ErrorResponse>")
    }
}
