//! The XML of EC2's answers, as far as we read it. Unknown elements are passed over and absent lists
//! are empty, but for the one that the answer is about: without it the answer is another one.

use std::ops::RangeInclusive;

use serde::{Deserialize, de::DeserializeOwned};

use super::{OfferedService, OwnService};
use crate::check::SecurityGroupRules;
use crate::check::vpc::{EndpointService, InboundRule, SecurityGroup};
use crate::key_store::{AccountId, VpcEndpointServiceName};

/// One page of an answer.
pub(super) trait Page: DeserializeOwned {
    type Item;

    /// The items, and the token of the next page.
    fn take(self) -> (Vec<Self::Item>, Option<String>);
}

/// EC2 writes a list as an element with `item` children.
#[derive(Deserialize)]
struct List<T> {
    #[serde(default = "Vec::new")]
    item: Vec<T>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { item: Vec::new() }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceType {
    service_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Configurations {
    service_configuration_set: List<Configuration>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Configuration {
    service_name: String,
    service_id: String,
    #[serde(default)]
    service_type: List<ServiceType>,
    service_state: Option<String>,
    acceptance_required: Option<bool>,
    #[serde(default)]
    network_load_balancer_arn_set: List<String>,
    #[serde(default)]
    gateway_load_balancer_arn_set: List<String>,
    #[serde(default)]
    availability_zone_set: List<String>,
    #[serde(default)]
    supported_ip_address_type_set: List<String>,
    private_dns_name: Option<String>,
    #[serde(rename = "privateDnsNameConfiguration")]
    private_dns_verification: Option<PrivateDnsNameConfiguration>,
}

#[derive(Deserialize)]
struct PrivateDnsNameConfiguration {
    state: Option<String>,
}

impl Page for Configurations {
    type Item = Configuration;

    fn take(self) -> (Vec<Configuration>, Option<String>) {
        (self.service_configuration_set.item, self.next_token)
    }
}

impl Configuration {
    pub(super) fn has_name(&self, name: &VpcEndpointServiceName) -> bool {
        self.service_name == name.as_str()
    }
}

impl From<Configuration> for OwnService {
    fn from(found: Configuration) -> Self {
        let service = EndpointService {
            types: found.service_type.item.into_iter().map(|kind| kind.service_type).collect(),
            region: None,
            acceptance_required: found.acceptance_required,
            private_dns_names: found.private_dns_name.into_iter().filter(|name| !name.is_empty()).collect(),
            private_dns_state: found.private_dns_verification.and_then(|configuration| configuration.state),
            zones: found.availability_zone_set.item,
            ip_address_types: found.supported_ip_address_type_set.item,
        };
        Self {
            id: found.service_id,
            service,
            state: found.service_state,
            network_load_balancers: found.network_load_balancer_arn_set.item,
            gateway_load_balancers: found.gateway_load_balancer_arn_set.item,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Offers {
    service_detail_set: List<Offer>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Offer {
    service_name: String,
    #[serde(default)]
    service_type: List<ServiceType>,
    service_region: Option<String>,
    owner: Option<String>,
    acceptance_required: Option<bool>,
    #[serde(default)]
    availability_zone_set: List<String>,
    #[serde(default)]
    supported_ip_address_type_set: List<String>,
    private_dns_name: Option<String>,
    #[serde(default)]
    private_dns_name_set: List<PrivateDnsName>,
    private_dns_name_verification_state: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PrivateDnsName {
    private_dns_name: Option<String>,
}

impl Page for Offers {
    type Item = Offer;

    fn take(self) -> (Vec<Offer>, Option<String>) {
        (self.service_detail_set.item, self.next_token)
    }
}

impl Offer {
    pub(super) fn has_name(&self, name: &VpcEndpointServiceName) -> bool {
        self.service_name == name.as_str()
    }
}

impl From<Offer> for OfferedService {
    fn from(found: Offer) -> Self {
        let listed = found.private_dns_name_set.item.into_iter().filter_map(|entry| entry.private_dns_name);
        let mut names: Vec<String> =
            found.private_dns_name.into_iter().chain(listed).filter(|name| !name.is_empty()).collect();
        names.sort();
        names.dedup();
        let service = EndpointService {
            types: found.service_type.item.into_iter().map(|kind| kind.service_type).collect(),
            region: found.service_region,
            acceptance_required: found.acceptance_required,
            private_dns_names: names,
            private_dns_state: found.private_dns_name_verification_state,
            zones: found.availability_zone_set.item,
            ip_address_types: found.supported_ip_address_type_set.item,
        };
        // AWS's own services are owned by `amazon`, which is no account.
        Self { owner: found.owner.and_then(|owner| AccountId::parse(&owner).ok()), service }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Permissions {
    allowed_principals: List<Permission>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Permission {
    principal: Option<String>,
    permission_type: Option<String>,
}

impl Page for Permissions {
    type Item = Permission;

    fn take(self) -> (Vec<Permission>, Option<String>) {
        (self.allowed_principals.item, self.next_token)
    }
}

impl Permission {
    /// Who may make endpoints; other permissions are for transit gateways.
    pub(super) fn endpoint_principal(self) -> Option<String> {
        let for_endpoints = self.permission_type.is_none_or(|kind| kind == "vpc-endpoint");
        self.principal.filter(|_| for_endpoints)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SecurityGroups {
    security_group_info: List<Group>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Group {
    #[serde(rename = "groupId")]
    id: String,
    #[serde(default)]
    ip_permissions: List<IpPermission>,
    #[serde(default)]
    ip_permissions_egress: List<IpPermission>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IpPermission {
    ip_protocol: String,
    from_port: Option<i32>,
    to_port: Option<i32>,
    #[serde(default)]
    ip_ranges: List<IpRange>,
    #[serde(default)]
    groups: List<GroupPair>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GroupPair {
    group_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IpRange {
    cidr_ip: Option<String>,
}

impl Page for SecurityGroups {
    type Item = Group;

    fn take(self) -> (Vec<Group>, Option<String>) {
        (self.security_group_info.item, self.next_token)
    }
}

impl Group {
    pub(super) fn is(&self, id: &str) -> bool {
        self.id == id
    }

    /// What the group's rules open for itself. Ranges of addresses do not count: KMS wants rules whose source and
    /// destination are the group (developer guide, CloudHSM key stores, "Assemble the prerequisites").
    pub(super) fn open_within(self) -> SecurityGroupRules {
        let open = |rules: &List<IpPermission>| {
            let of_itself = |rule: &&IpPermission| {
                rule.groups.item.iter().any(|pair| pair.group_id.as_deref() == Some(self.id.as_str()))
            };
            rules.item.iter().filter(of_itself).filter_map(IpPermission::tcp_ports).collect()
        };
        let (inbound, outbound) = (open(&self.ip_permissions), open(&self.ip_permissions_egress));
        SecurityGroupRules { id: self.id, inbound, outbound }
    }
}

impl IpPermission {
    /// The TCP ports that the rule is for; all of them for a rule for all protocols, which names no ports.
    fn tcp_ports(&self) -> Option<RangeInclusive<u16>> {
        match self.ip_protocol.as_str() {
            "-1" => Some(0..=u16::MAX),
            "tcp" | "6" => {
                let port = |port: Option<i32>| u16::try_from(port?).ok();
                Some(port(self.from_port)?..=port(self.to_port)?)
            }
            _ => None,
        }
    }
}

impl From<Group> for SecurityGroup {
    fn from(group: Group) -> Self {
        let inbound = group.ip_permissions.item.into_iter().map(|rule| InboundRule {
            protocol: rule.ip_protocol,
            from_port: rule.from_port,
            to_port: rule.to_port,
            ranges: rule.ip_ranges.item.into_iter().filter_map(|range| range.cidr_ip).collect(),
        });
        Self { id: group.id, inbound: inbound.collect() }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VpcAttribute {
    enable_dns_support: Option<Flag>,
    enable_dns_hostnames: Option<Flag>,
}

#[derive(Deserialize)]
struct Flag {
    value: bool,
}

impl VpcAttribute {
    /// The one attribute that was asked for.
    pub(super) fn value(&self) -> Option<bool> {
        self.enable_dns_support.as_ref().or(self.enable_dns_hostnames.as_ref()).map(|flag| flag.value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "<DescribeVpcEndpointServiceConfigurationsResponse><requestId>1</requestId>\
        <serviceConfigurationSet><item><serviceType><item><serviceType>Interface</serviceType></item></serviceType>\
        <serviceId>vpce-svc-1</serviceId><serviceName>a.vpce-svc-1</serviceName><acceptanceRequired>true\
        </acceptanceRequired><availabilityZoneSet><item>us-east-1a</item><item>us-east-1b</item></availabilityZoneSet>\
        <tagSet><item><key>unknown</key><value>&amp;</value></item></tagSet></item></serviceConfigurationSet>\
        </DescribeVpcEndpointServiceConfigurationsResponse>";

    fn read(text: &str) -> Option<Vec<OwnService>> {
        let page: Configurations = quick_xml::de::from_str(text).ok()?;
        Some(page.take().0.into_iter().map(OwnService::from).collect())
    }

    #[test]
    fn an_answer_is_read_and_what_it_lacks_is_not_invented() {
        let found = read(GOOD).unwrap();
        assert_eq!(found[0].id, "vpce-svc-1");
        assert_eq!(found[0].service.acceptance_required, Some(true));
        assert_eq!(found[0].service.zones, ["us-east-1a", "us-east-1b"]);
        assert_eq!((found[0].state.as_deref(), found[0].service.ip_address_types.len()), (None, 0));
        assert!(read("<R><serviceConfigurationSet/></R>").unwrap().is_empty());
        assert!(read("<R><regionInfo/></R>").is_none());
        assert!(read(&GOOD.replace("true", "perhaps")).is_none());
    }

    #[test]
    fn only_rules_for_tcp_whose_peer_is_the_group_itself_open_its_ports() {
        let rule = |protocol: &str, ports: &str, peer: &str| {
            let peer = format!("<groups><item><groupId>{peer}</groupId></item></groups><ipRanges/>");
            format!("<item><ipProtocol>{protocol}</ipProtocol>{ports}{peer}</item>")
        };
        let ports = |from: &str, to: &str| format!("<fromPort>{from}</fromPort><toPort>{to}</toPort>");
        let everybody = "<item><ipProtocol>-1</ipProtocol><groups/><ipRanges><item><cidrIp>0.0.0.0/0</cidrIp></item>\
            </ipRanges></item>";
        let inbound: [&str; 7] = [
            &rule("tcp", &ports("2223", "2224"), "sg-1"),
            &rule("6", &ports("2225", "2225"), "sg-1"),
            &rule("tcp", &ports("1", "65535"), "sg-2"),
            &rule("udp", &ports("0", "65535"), "sg-1"),
            &rule("tcp", &ports("-1", "-1"), "sg-1"),
            &rule("tcp", "", "sg-1"),
            everybody,
        ];
        let (inbound, outbound) = (inbound.concat(), rule("-1", "", "sg-1"));
        let group = format!(
            "<R><securityGroupInfo><item><groupId>sg-1</groupId><ipPermissions>{inbound}</ipPermissions>\
             <ipPermissionsEgress>{outbound}</ipPermissionsEgress></item></securityGroupInfo></R>"
        );
        let page: SecurityGroups = quick_xml::de::from_str(&group).unwrap();
        let rules = page.take().0.pop().unwrap().open_within();
        assert_eq!(rules.inbound, [2223..=2224, 2225..=2225]);
        assert_eq!(rules.outbound, [0..=u16::MAX]);
    }

    #[test]
    fn depth_and_entities_do_no_harm() {
        let deep = format!("<tagSet>{}{}</tagSet>", "<a>".repeat(100_000), "</a>".repeat(100_000));
        let found = read(&GOOD.replace("<tagSet>", &format!("{deep}<tagSet>"))).unwrap();
        assert_eq!(found[0].id, "vpce-svc-1");
        let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]>";
        let found = read(&format!("{bomb}{}", GOOD.replace("vpce-svc-1", "&b;")));
        assert!(found.is_none_or(|found| found[0].id.len() < 20), "entities are not expanded");
    }

    proptest! {
        #[test]
        fn broken_answers_are_refused_or_read_and_never_panic(at in 0..GOOD.len(), text in "\\PC{0,12}|[<>/&;a-z]{0,12}") {
            let mut broken = GOOD.to_owned();
            broken.insert_str(at, &text);
            let _ = read(&broken);
            let _ = read(&GOOD[..at]);
            prop_assert!(read(&GOOD[..at]).is_none(), "an answer that ends in the middle is no answer");
        }
    }
}
