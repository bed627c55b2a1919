//! Elastic Load Balancing through the AWS SDK: the network load balancers behind a VPC endpoint service.

use std::error::Error;

use aws_config::SdkConfig;
use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_elasticloadbalancingv2::types as sdk;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use futures_util::future::{join, join_all};

use super::unread::Unread;
use crate::chain::Chain;
use crate::check::Problem;
use crate::check::vpc::{Listener, Target, TargetGroup, TargetGroupAttributes, Told};

const CROSS_ZONE: &str = "load_balancing.cross_zone.enabled";

/// Elastic Load Balancing of one account and Region.
pub(super) struct Elbv2 {
    client: Client,
}

/// A network load balancer, and where to ask on.
pub(super) struct Balancer {
    pub(super) arn: String,
    pub(super) name: String,
    pub(super) dns_name: Option<String>,
    pub(super) scheme: Option<String>,
    pub(super) state: Option<String>,
    pub(super) zones: Vec<String>,
    pub(super) vpc: Option<String>,
    pub(super) security_groups: Vec<String>,
    pub(super) enforces_inbound_rules: bool,
}

impl Elbv2 {
    /// A client; nothing is sent yet.
    pub(super) fn new(config: &SdkConfig) -> Self {
        Self { client: Client::new(config) }
    }

    /// These load balancers; the service that names them has at most 50.
    pub(super) async fn balancers(&self, arns: &[String]) -> Result<Vec<Balancer>, Unread> {
        const ACTION: &str = "elasticloadbalancing:DescribeLoadBalancers";
        let request = self.client.describe_load_balancers().set_load_balancer_arns(Some(arns.to_vec()));
        let answer = request.send().await.map_err(|error| unread(ACTION, &error))?;
        Ok(answer.load_balancers().iter().map(balancer).collect())
    }

    /// The listeners of a load balancer.
    pub(super) async fn listeners(&self, balancer: &str) -> Result<Vec<Listener>, Unread> {
        const ACTION: &str = "elasticloadbalancing:DescribeListeners";
        let pages = self.client.describe_listeners().load_balancer_arn(balancer).into_paginator().items().send();
        let found: Vec<sdk::Listener> = pages.try_collect().await.map_err(|error| unread(ACTION, &error))?;
        Ok(found.iter().map(listener).collect())
    }

    /// Whether each node of a load balancer sends to the targets of every zone.
    pub(super) async fn cross_zone(&self, balancer: &str) -> Result<bool, Unread> {
        const ACTION: &str = "elasticloadbalancing:DescribeLoadBalancerAttributes";
        let request = self.client.describe_load_balancer_attributes().load_balancer_arn(balancer);
        let answer = request.send().await.map_err(|error| unread(ACTION, &error))?;
        let mut attributes = answer.attributes().iter();
        // The default of network load balancers is off.
        Ok(attributes.any(|attribute| attribute.key() == Some(CROSS_ZONE) && attribute.value() == Some("true")))
    }

    /// The target groups of a load balancer, with their attributes and targets.
    pub(super) async fn target_groups(&self, balancer: &str) -> Result<Vec<TargetGroup>, Unread> {
        const ACTION: &str = "elasticloadbalancing:DescribeTargetGroups";
        let pages = self.client.describe_target_groups().load_balancer_arn(balancer).into_paginator().items().send();
        let found: Vec<sdk::TargetGroup> = pages.try_collect().await.map_err(|error| unread(ACTION, &error))?;
        let groups = found.iter().filter_map(|group| Some((group.target_group_arn()?, group.target_group_name())));
        Ok(join_all(groups.map(async |(arn, name)| {
            let (attributes, targets) = join(self.attributes(arn), self.targets(arn)).await;
            TargetGroup { arn: arn.to_owned(), name: name.unwrap_or(arn).to_owned(), attributes, targets }
        }))
        .await)
    }

    async fn attributes(&self, group: &str) -> Told<TargetGroupAttributes> {
        const ACTION: &str = "elasticloadbalancing:DescribeTargetGroupAttributes";
        let request = self.client.describe_target_group_attributes().target_group_arn(group);
        let answer = request.send().await.map_err(|error| problem(ACTION, &error))?;
        let value = |key: &str| {
            answer.attributes().iter().find(|attribute| attribute.key() == Some(key)).and_then(|found| found.value())
        };
        Ok(TargetGroupAttributes {
            proxy_protocol: value("proxy_protocol_v2.enabled") == Some("true"),
            cross_zone: match value(CROSS_ZONE) {
                Some("true") => Some(true),
                Some("false") => Some(false),
                // use_load_balancer_configuration, the default
                _ => None,
            },
        })
    }

    async fn targets(&self, group: &str) -> Told<Vec<Target>> {
        const ACTION: &str = "elasticloadbalancing:DescribeTargetHealth";
        let request = self.client.describe_target_health().target_group_arn(group);
        let answer = request.send().await.map_err(|error| problem(ACTION, &error))?;
        Ok(answer.target_health_descriptions().iter().map(target).collect())
    }
}

fn balancer(found: &sdk::LoadBalancer) -> Balancer {
    let text = |value: Option<&str>| value.map(ToOwned::to_owned);
    let zones = found.availability_zones().iter().filter_map(|zone| text(zone.zone_name()));
    Balancer {
        arn: found.load_balancer_arn().unwrap_or_default().to_owned(),
        name: found.load_balancer_name().unwrap_or("a load balancer without name").to_owned(),
        dns_name: text(found.dns_name()),
        scheme: text(found.scheme().map(sdk::LoadBalancerSchemeEnum::as_str)),
        state: text(found.state().and_then(|state| state.code()).map(sdk::LoadBalancerStateEnum::as_str)),
        zones: zones.collect(),
        vpc: text(found.vpc_id()),
        security_groups: found.security_groups().to_vec(),
        enforces_inbound_rules: found.enforce_security_group_inbound_rules_on_private_link_traffic() != Some("off"),
    }
}

fn listener(found: &sdk::Listener) -> Listener {
    let mut target_groups: Vec<String> = Vec::new();
    for action in found.default_actions() {
        let weighted = action.forward_config().map(sdk::ForwardActionConfig::target_groups).unwrap_or_default();
        let weighted = weighted.iter().filter_map(sdk::TargetGroupTuple::target_group_arn);
        for arn in action.target_group_arn().into_iter().chain(weighted) {
            if !target_groups.iter().any(|known| known == arn) {
                target_groups.push(arn.to_owned());
            }
        }
    }
    Listener {
        port: found.port().unwrap_or_default(),
        protocol: found.protocol().map(sdk::ProtocolEnum::as_str).unwrap_or_default().to_owned(),
        target_groups,
    }
}

fn target(found: &sdk::TargetHealthDescription) -> Target {
    let described = found.target();
    let health = found.target_health();
    let state = health.and_then(sdk::TargetHealth::state).map(sdk::TargetHealthStateEnum::as_str);
    let zone = described.and_then(sdk::TargetDescription::availability_zone);
    Target {
        id: described.and_then(sdk::TargetDescription::id).unwrap_or_default().to_owned(),
        // Targets outside the VPC are registered for `all` zones.
        zone: zone.map(ToOwned::to_owned),
        state: state.unwrap_or("unknown").to_owned(),
        reason: health.and_then(sdk::TargetHealth::reason).map(|reason| reason.as_str().to_owned()),
    }
}

fn problem<E>(action: &'static str, error: &SdkError<E, HttpResponse>) -> Problem
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    unread(action, error).problem()
}

fn unread<E>(action: &'static str, error: &SdkError<E, HttpResponse>) -> Unread
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    match error {
        SdkError::ServiceError(answer) if answer.err().code().is_some() => {
            let (code, message) = (answer.err().code().unwrap_or_default(), answer.err().message());
            Unread::of_code(action, code, message.unwrap_or("no message"))
        }
        SdkError::ResponseError(_) => Unread::NotUnderstood { action, why: Chain(error).to_string() },
        _ => Unread::Unanswered { action, why: Chain(error).to_string() },
    }
}
