//! A few reads of EC2.

mod answer;

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;

use self::answer::Page;
use super::query::{QueryClient, QueryService, parse};
use super::unread::Unread;
use crate::check::SecurityGroupRules;
use crate::check::vpc::{EndpointService, SecurityGroup, VpcDns};
use crate::clock::Clock;
use crate::key_store::{AccountId, Region, VpcEndpointServiceName};

/// The version of the API that the answers are of.
const VERSION: &str = "2016-11-15";

/// One account and Region has at most 200 services; more pages than these are a fault of the answers.
const MOST_PAGES: usize = 20;

/// EC2's words for a service that is not there or that we may not see.
const NO_SUCH_SERVICE: [&str; 5] = [
    "InvalidServiceName",
    "InvalidVpcEndpointService.NotFound",
    "InvalidVpcEndpointServiceId.NotFound",
    "InvalidVpcEndpointServiceId.Malformed",
    "InvalidVpcEndpointServiceName.NotFound",
];

/// EC2 of one account and Region.
pub(super) struct Ec2 {
    client: QueryClient,
}

/// A service of our account, with what only its owner is told.
pub(super) struct OwnService {
    pub(super) id: String,
    pub(super) service: EndpointService,
    pub(super) state: Option<String>,
    pub(super) network_load_balancers: Vec<String>,
    pub(super) gateway_load_balancers: Vec<String>,
}

/// A service that is offered to our account.
pub(super) struct OfferedService {
    pub(super) owner: Option<AccountId>,
    pub(super) service: EndpointService,
}

impl Ec2 {
    /// A client with the SDK's credentials; nothing is sent yet.
    pub(super) fn new(
        config: &SdkConfig,
        endpoint_url: Option<String>,
        region: Region,
        timeout: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let endpoint = endpoint_url.unwrap_or_else(|| default_endpoint(&region));
        let service = QueryService { name: "ec2", version: VERSION, endpoint, region };
        Self { client: QueryClient::new(config, service, timeout, clock) }
    }

    /// The service of this name, if our account owns it.
    pub(super) async fn own_service(&self, name: &VpcEndpointServiceName) -> Result<Option<OwnService>, Unread> {
        let action = "ec2:DescribeVpcEndpointServiceConfigurations";
        let filter = [("Filter.1.Name", "service-name"), ("Filter.1.Value.1", name.as_str())];
        let found = self.pages::<answer::Configurations>(action, &filter).await?;
        Ok(found.into_iter().find(|service| service.has_name(name)).map(OwnService::from))
    }

    /// The service of this name as a consumer sees it, if it is offered to our account.
    pub(super) async fn offered_service(
        &self,
        name: &VpcEndpointServiceName,
    ) -> Result<Option<OfferedService>, Unread> {
        let action = "ec2:DescribeVpcEndpointServices";
        match self.pages::<answer::Offers>(action, &[("ServiceName.1", name.as_str())]).await {
            Ok(found) => Ok(found.into_iter().find(|service| service.has_name(name)).map(OfferedService::from)),
            Err(Unread::Refused { code, .. }) if NO_SUCH_SERVICE.contains(&code.as_str()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Who may make endpoints to one of our services.
    pub(super) async fn principals(&self, service_id: &str) -> Result<Vec<String>, Unread> {
        let action = "ec2:DescribeVpcEndpointServicePermissions";
        let allowed = self.pages::<answer::Permissions>(action, &[("ServiceId", service_id)]).await?;
        Ok(allowed.into_iter().filter_map(answer::Permission::endpoint_principal).collect())
    }

    /// These security groups with their inbound rules.
    pub(super) async fn security_groups(&self, ids: &[String]) -> Result<Vec<SecurityGroup>, Unread> {
        let names: Vec<String> = (1..=ids.len()).map(|number| format!("GroupId.{number}")).collect();
        let parameters: Vec<(&str, &str)> =
            names.iter().map(String::as_str).zip(ids.iter().map(String::as_str)).collect();
        let groups = self.pages::<answer::SecurityGroups>("ec2:DescribeSecurityGroups", &parameters).await?;
        Ok(groups.into_iter().map(SecurityGroup::from).collect())
    }

    /// Which TCP ports a security group opens between its own members.
    pub(super) async fn open_within(&self, id: &str) -> Result<SecurityGroupRules, Unread> {
        let action = "ec2:DescribeSecurityGroups";
        let groups = self.pages::<answer::SecurityGroups>(action, &[("GroupId.1", id)]).await?;
        let group = groups.into_iter().find(|group| group.is(id));
        group.map(answer::Group::open_within).ok_or_else(|| {
            let why = format!("it is not about {id}");
            Unread::NotUnderstood { action, why }
        })
    }

    /// The DNS attributes of a VPC.
    pub(super) async fn vpc_dns(&self, vpc: &str) -> Result<VpcDns, Unread> {
        let attribute = async |name: &str| {
            let action = "ec2:DescribeVpcAttribute";
            let text = self.client.ask(action, &[("VpcId", vpc), ("Attribute", name)]).await?;
            let found: answer::VpcAttribute = parse(action, &text)?;
            found.value().ok_or_else(|| Unread::NotUnderstood { action, why: format!("it has no {name}") })
        };
        let (support, hostnames) = tokio::try_join!(attribute("enableDnsSupport"), attribute("enableDnsHostnames"))?;
        Ok(VpcDns { vpc: vpc.to_owned(), support, hostnames })
    }

    /// Every item of every page.
    async fn pages<P: Page>(&self, action: &'static str, parameters: &[(&str, &str)]) -> Result<Vec<P::Item>, Unread> {
        let mut items = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut asked = parameters.to_vec();
            if let Some(token) = &token {
                asked.push(("NextToken", token));
            }
            let text = self.client.ask(action, &asked).await?;
            let (found, next) = parse::<P>(action, &text)?.take();
            items.extend(found);
            match next.filter(|next| !next.is_empty()) {
                Some(next) => token = Some(next),
                None => return Ok(items),
            }
        }
        Err(Unread::NotUnderstood { action, why: format!("it does not end within {MOST_PAGES} pages") })
    }
}

/// The Region's own endpoint; the European Sovereign Cloud is a partition with a domain of its own.
fn default_endpoint(region: &Region) -> String {
    let domain = if region.as_str().starts_with("eusc-") { "amazonaws.eu" } else { "amazonaws.com" };
    format!("https://ec2.{region}.{domain}")
}
