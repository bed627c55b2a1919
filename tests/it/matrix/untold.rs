//! VPC endpoint services that AWS does not tell everything of: whoever may not ask knows nothing, and is not ready where a
//! must hangs on it.

use xks_preflight::sandbox::query::QueryFault;

use super::row::*;
use super::vpc::service;
use crate::vpc::security_group;

pub(super) const ROWS: &[Row] = &[
    service(
        "DescribeVpcEndpointServiceConfigurations may not be asked",
        |ec2, _| ec2.inject("DescribeVpcEndpointServiceConfigurations", QueryFault::Denied, u32::MAX),
        inconclusive("vpc.principal_allowed", "access_denied", UNSAID),
    ),
    service(
        "DescribeVpcEndpointServiceConfigurations has no answer",
        |ec2, _| ec2.inject("DescribeVpcEndpointServiceConfigurations", QueryFault::Unavailable, u32::MAX),
        inconclusive("vpc.principal_allowed", "unread", UNSAID),
    ),
    service(
        "DescribeVpcEndpointServiceConfigurations has an answer that ends in the middle",
        |ec2, _| ec2.inject("DescribeVpcEndpointServiceConfigurations", QueryFault::Truncated, u32::MAX),
        inconclusive("vpc.principal_allowed", "unread", UNSAID),
    ),
    service(
        "DescribeVpcEndpointServicePermissions may not be asked",
        |ec2, _| ec2.inject("DescribeVpcEndpointServicePermissions", QueryFault::Denied, u32::MAX),
        inconclusive("vpc.principal_allowed", "access_denied", UNSAID),
    ),
    service(
        "DescribeVpcEndpointServicePermissions has no answer",
        |ec2, _| ec2.inject("DescribeVpcEndpointServicePermissions", QueryFault::Unavailable, u32::MAX),
        inconclusive("vpc.principal_allowed", "unread", UNSAID),
    ),
    service(
        "DescribeVpcEndpointServicePermissions has an answer that ends in the middle",
        |ec2, _| ec2.inject("DescribeVpcEndpointServicePermissions", QueryFault::Truncated, u32::MAX),
        inconclusive("vpc.principal_allowed", "unread", UNSAID),
    ),
    service(
        "DescribeVpcEndpointServiceConfigurations is throttled for good",
        |ec2, _| ec2.inject("DescribeVpcEndpointServiceConfigurations", QueryFault::Throttled, u32::MAX),
        inconclusive("vpc.principal_allowed", "unread", UNSAID),
    ),
    service(
        "DescribeVpcEndpointServiceConfigurations has an answer that is no XML",
        |ec2, _| ec2.inject("DescribeVpcEndpointServiceConfigurations", QueryFault::NotXml, u32::MAX),
        inconclusive("vpc.principal_allowed", "unread", UNSAID),
    ),
    service(
        "DescribeVpcEndpointServiceConfigurations has an answer of 32 MiB",
        |ec2, _| ec2.inject("DescribeVpcEndpointServiceConfigurations", QueryFault::Oversized, u32::MAX),
        inconclusive("vpc.principal_allowed", "unread", UNSAID),
    ),
    service(
        "DescribeVpcEndpointServiceConfigurations has the answer of another operation",
        |ec2, _| ec2.inject("DescribeVpcEndpointServiceConfigurations", QueryFault::AnotherAnswer, u32::MAX),
        inconclusive("vpc.principal_allowed", "unread", UNSAID),
    ),
    service(
        "DescribeVpcEndpointServiceConfigurations ends with the connection",
        |ec2, _| ec2.inject("DescribeVpcEndpointServiceConfigurations", QueryFault::Dropped, u32::MAX),
        inconclusive("vpc.principal_allowed", "unread", UNSAID),
    ),
    service(
        "DescribeLoadBalancers may not be asked",
        |_, elbv2| elbv2.inject("DescribeLoadBalancers", QueryFault::Denied, u32::MAX),
        warned("vpc.listener_443", "access_denied"),
    ),
    service(
        "DescribeListeners may not be asked",
        |_, elbv2| elbv2.inject("DescribeListeners", QueryFault::Denied, u32::MAX),
        warned("vpc.listener_443", "access_denied"),
    ),
    service(
        "DescribeTargetGroups may not be asked",
        |_, elbv2| elbv2.inject("DescribeTargetGroups", QueryFault::Denied, u32::MAX),
        warned("vpc.targets_healthy", "access_denied"),
    ),
    service(
        "DescribeTargetHealth may not be asked",
        |_, elbv2| elbv2.inject("DescribeTargetHealth", QueryFault::Denied, u32::MAX),
        warned("vpc.targets_healthy", "access_denied"),
    ),
    service(
        "DescribeTargetGroupAttributes may not be asked",
        |_, elbv2| elbv2.inject("DescribeTargetGroupAttributes", QueryFault::Denied, u32::MAX),
        warned("vpc.proxy_protocol_off", "access_denied"),
    ),
    service(
        "DescribeLoadBalancerAttributes may not be asked",
        |_, elbv2| elbv2.inject("DescribeLoadBalancerAttributes", QueryFault::Denied, u32::MAX),
        warned("vpc.targets_healthy", "access_denied"),
    ),
    service(
        "DescribeLoadBalancers has no answer",
        |_, elbv2| elbv2.inject("DescribeLoadBalancers", QueryFault::Unavailable, u32::MAX),
        warned("vpc.listener_443", "unread"),
    ),
    service(
        "DescribeSecurityGroups may not be asked",
        |ec2, elbv2| {
            security_group(ec2, elbv2, 443, "0.0.0.0/0");
            ec2.inject("DescribeSecurityGroups", QueryFault::Denied, u32::MAX);
        },
        warned("vpc.security_groups", "access_denied"),
    ),
    service(
        "DescribeVpcAttribute may not be asked",
        |ec2, _| ec2.inject("DescribeVpcAttribute", QueryFault::Denied, u32::MAX),
        warned("vpc.dns_support", "access_denied"),
    ),
    run_by(
        |_| {
            Box::pin(crate::vpc::seen_offered(|ec2| {
                ec2.inject("DescribeVpcEndpointServices", QueryFault::Denied, u32::MAX);
            }))
        },
        "DescribeVpcEndpointServices may not be asked",
        inconclusive("vpc.principal_allowed", "access_denied", UNSAID),
    ),
    run_by(
        |_| {
            Box::pin(crate::vpc::seen_offered(|ec2| {
                ec2.inject("DescribeVpcEndpointServices", QueryFault::Unavailable, u32::MAX);
            }))
        },
        "DescribeVpcEndpointServices has no answer",
        inconclusive("vpc.principal_allowed", "unread", UNSAID),
    ),
    run_by(
        |_| {
            Box::pin(crate::vpc::seen_offered(|ec2| {
                ec2.inject("DescribeVpcEndpointServices", QueryFault::Truncated, u32::MAX);
            }))
        },
        "DescribeVpcEndpointServices has an answer that ends in the middle",
        inconclusive("vpc.principal_allowed", "unread", UNSAID),
    ),
];
