//! VPC endpoint services: what KMS would not accept of them, and what harms although KMS does not look.

use xks_preflight::sandbox::ec2::SandboxEc2;
use xks_preflight::sandbox::elbv2::{NetworkLoadBalancer, SandboxElbv2};

use super::row::*;
use crate::vpc::security_group;

/// A service as KMS wants it, spoiled.
pub(super) const fn service(fault: &'static str, spoil: fn(&SandboxEc2, &SandboxElbv2), expected: Expected) -> Row {
    Row { fault, how: How::Service(spoil), arguments: &[], expected }
}

pub(super) const ROWS: &[Row] = &[
    service("a VPC endpoint service as KMS wants it", |_, _| (), Expected::Permitted),
    service(
        "service absent",
        |ec2, _| ec2.change_service(|s| s.name.push('1')),
        blocked("vpc.service_found", "not_found", NOT_FOUND),
    ),
    service(
        "service of another account, which the settings do not name",
        |ec2, _| {
            ec2.change_service(|s| s.owner = Some("444455556666".to_owned()));
        },
        blocked("vpc.service_found", "other_owner", NOT_FOUND),
    ),
    service(
        "service pending",
        |ec2, _| ec2.change_service(|s| s.state = "Pending".into()),
        blocked("vpc.available", "not_available", INVALID),
    ),
    service(
        "service deleting",
        |ec2, _| ec2.change_service(|s| s.state = "Deleting".into()),
        blocked("vpc.available", "not_available", INVALID),
    ),
    service(
        "service failed",
        |ec2, _| ec2.change_service(|s| s.state = "Failed".into()),
        blocked("vpc.available", "not_available", INVALID),
    ),
    service(
        "service of gateway type",
        |ec2, _| {
            ec2.change_service(|s| s.service_type = "GatewayLoadBalancer".into());
        },
        blocked("vpc.interface_nlb", "wrong_balancer", INVALID),
    ),
    service(
        "service with gateway load balancer",
        |ec2, _| {
            ec2.change_service(|s| {
                s.gateway_load_balancers
                    .push("arn:aws:elasticloadbalancing:us-east-1:1:loadbalancer/gwy/g/1".to_owned());
            });
        },
        blocked("vpc.interface_nlb", "wrong_balancer", INVALID),
    ),
    service(
        "service without load balancer",
        |ec2, _| {
            ec2.change_service(|s| s.network_load_balancers.clear());
        },
        blocked("vpc.interface_nlb", "wrong_balancer", INVALID),
    ),
    service(
        "principal removed",
        |ec2, _| ec2.change_service(|s| s.principals.clear()),
        blocked("vpc.principal_allowed", "principal_missing", NOT_FOUND),
    ),
    service(
        "principal of another Region",
        |ec2, _| {
            ec2.change_service(|s| s.principals = vec!["cks.kms.us-west-2.amazonaws.com".to_owned()]);
        },
        blocked("vpc.principal_allowed", "principal_missing", NOT_FOUND),
    ),
    service(
        "acceptance required",
        |ec2, _| ec2.change_service(|s| s.acceptance_required = true),
        blocked("vpc.acceptance_off", "acceptance_required", INVALID),
    ),
    service(
        "no private DNS name",
        |ec2, _| ec2.change_service(|s| s.private_dns_name = None),
        blocked("vpc.private_dns_name", "private_dns_name", INVALID),
    ),
    service(
        "private DNS name of another host",
        |ec2, _| {
            ec2.change_service(|s| s.private_dns_name = Some("other.example.com".to_owned()));
        },
        blocked("vpc.private_dns_name", "private_dns_name", INVALID),
    ),
    service(
        "private DNS name with a wildcard",
        |ec2, _| {
            ec2.change_service(|s| s.private_dns_name = Some("*.example.com".to_owned()));
        },
        blocked("vpc.private_dns_name", "private_dns_name", INVALID),
    ),
    service(
        "domain verification pending",
        |ec2, _| {
            ec2.change_service(|s| s.verification = "pendingVerification".into());
        },
        blocked("vpc.private_dns_verified", "not_verified", INVALID),
    ),
    service(
        "domain verification failed",
        |ec2, _| {
            ec2.change_service(|s| s.verification = "failed".into());
        },
        blocked("vpc.private_dns_verified", "not_verified", INVALID),
    ),
    service(
        "one zone",
        |ec2, _| ec2.change_service(|s| s.zones.truncate(1)),
        blocked("vpc.two_zones", "one_zone", INVALID),
    ),
    service(
        "IPv6 only",
        |ec2, _| ec2.change_service(|s| s.ip_address_types = vec!["ipv6".to_owned()]),
        blocked("vpc.ipv4", "no_ipv4", INVALID),
    ),
    service("listener absent", |_, e| e.change(|b| b.listener = None), warned("vpc.listener_443", "no_listener")),
    service(
        "listener on another port",
        |_, e| {
            e.change(|b| b.listener = Some((8443, "TCP".to_owned())));
        },
        warned("vpc.listener_443", "no_listener"),
    ),
    service(
        "listener for UDP",
        |_, e| {
            e.change(|b| b.listener = Some((443, "UDP".to_owned())));
        },
        warned("vpc.listener_443", "no_listener"),
    ),
    service(
        "zone without healthy target",
        |_, e| {
            e.change(|b| b.group.targets[1].state = "unhealthy".into());
        },
        warned("vpc.targets_healthy", "unhealthy_targets"),
    ),
    service(
        "zone without target",
        |_, e| {
            e.change(|b| b.group.targets.truncate(1));
        },
        warned("vpc.targets_healthy", "unhealthy_targets"),
    ),
    service(
        "no target at all",
        |_, e| e.change(|b| b.group.targets.clear()),
        warned("vpc.targets_healthy", "unhealthy_targets"),
    ),
    service(
        "every target draining",
        |_, e| {
            e.change(|b| b.group.targets.iter_mut().for_each(|target| target.state = "draining".into()));
        },
        warned("vpc.targets_healthy", "unhealthy_targets"),
    ),
    service(
        "proxy protocol on",
        |_, e| {
            e.change(|b| {
                b.group.attributes.insert("proxy_protocol_v2.enabled".to_owned(), "true".to_owned());
            });
        },
        warned("vpc.proxy_protocol_off", "proxy_protocol"),
    ),
    service(
        "security group too narrow",
        |ec2, elbv2| {
            security_group(ec2, elbv2, 443, "10.0.0.0/16");
        },
        warned("vpc.security_groups", "security_group"),
    ),
    service(
        "security group for another port",
        |ec2, elbv2| {
            security_group(ec2, elbv2, 80, "0.0.0.0/0");
        },
        warned("vpc.security_groups", "security_group"),
    ),
    service(
        "DNS resolution of the VPC off",
        |ec2, _| {
            ec2.change(|state| state.vpcs[0].dns_support = false);
        },
        warned("vpc.dns_support", "vpc_dns"),
    ),
    service(
        "DNS hostnames of the VPC off",
        |ec2, _| ec2.change(|s| s.vpcs[0].dns_hostnames = false),
        warned("vpc.dns_support", "vpc_dns"),
    ),
    service(
        "principal wildcard",
        |ec2, _| {
            ec2.change_service(|service| service.principals.push("*".to_owned()));
        },
        warned("vpc.principal_not_wildcard", "principal_wildcard"),
    ),
    service(
        "a TLS listener",
        |_, elbv2| elbv2.change(|balancer| balancer.listener = Some((443, "TLS".to_owned()))),
        Expected::Permitted,
    ),
    service(
        "targets in one zone, and balancing across zones",
        |_, elbv2| {
            elbv2.change(|balancer: &mut NetworkLoadBalancer| {
                balancer.group.targets.truncate(1);
                balancer.attributes.insert("load_balancing.cross_zone.enabled".to_owned(), "true".to_owned());
            });
        },
        Expected::Permitted,
    ),
    service(
        "a security group that is open to everybody",
        |ec2, elbv2| security_group(ec2, elbv2, 443, "0.0.0.0/0"),
        Expected::Permitted,
    ),
    service(
        "a narrow security group whose rules are not applied",
        |ec2, elbv2| {
            security_group(ec2, elbv2, 443, "10.0.0.0/16");
            elbv2.change(|balancer| balancer.enforces_inbound_rules = Some("off".to_owned()));
        },
        Expected::Permitted,
    ),
    service(
        "told page by page, among others",
        |ec2, _| {
            ec2.change(|state| {
                let mut other = state.services[0].clone();
                other.name.push_str("-other");
                state.services.insert(0, other);
                state.services[1].principals.insert(0, "arn:aws:iam::111122223333:root".to_owned());
                state.page = 1;
            });
        },
        Expected::Permitted,
    ),
    run_by(
        |_| Box::pin(crate::vpc::seen_offered(|_| ())),
        "a service that another account offers, and the settings name it",
        Expected::Permitted,
    ),
    run_by(
        |_| Box::pin(crate::vpc::seen_offered(|ec2| ec2.change_service(|s| s.owner = Some("777788889999".to_owned())))),
        "a service that a third account offers",
        blocked("vpc.service_found", "other_owner", NOT_FOUND),
    ),
    run_by(
        |_| Box::pin(crate::vpc::seen_offered(|ec2| ec2.change_service(|s| s.acceptance_required = true))),
        "an offered service that requires acceptance",
        blocked("vpc.acceptance_off", "acceptance_required", INVALID),
    ),
    run_by(
        |_| Box::pin(crate::vpc::seen_offered(|ec2| ec2.change_service(|s| s.verification = "failed".into()))),
        "an offered service whose domain verification failed",
        blocked("vpc.private_dns_verified", "not_verified", INVALID),
    ),
    run_by(
        |_| Box::pin(crate::vpc::seen_elsewhere()),
        "what EC2 says of a VPC endpoint service of another Region",
        blocked("vpc.same_region", "wrong_region", NOT_FOUND),
    ),
];
