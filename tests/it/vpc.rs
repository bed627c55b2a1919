//! VPC endpoint services: what EC2 and Elastic Load Balancing tell, and updates that it blocks.

mod bench;
mod moto;

use serde_json::json;
use xks_preflight::check::{Outcome, Verdict};
use xks_preflight::sandbox::ec2::{SandboxEc2, SecurityGroup, VpcEndpointService};
use xks_preflight::sandbox::elbv2::{NetworkLoadBalancer, SandboxElbv2};
use xks_preflight::sandbox::query::QueryFault;

use self::bench::{Bench, SERVICE, aws, finding, reader, wrong};
use crate::daemon::stage::{Daemon, NEW, Stage};

/// A fault of the service that KMS would not accept: which check says so, which kind of problem it is, and what KMS
/// would raise.
struct Row {
    fault: &'static str,
    spoil: fn(&mut VpcEndpointService),
    check: &'static str,
    problem: &'static str,
    exception: &'static str,
}

const NOT_FOUND: &str = "XksProxyVpcEndpointServiceNotFoundException";
const INVALID: &str = "XksProxyVpcEndpointServiceInvalidConfigurationException";

const fn row(
    fault: &'static str,
    check: &'static str,
    problem: &'static str,
    exception: &'static str,
    spoil: fn(&mut VpcEndpointService),
) -> Row {
    Row { fault, spoil, check, problem, exception }
}

const FAULTS: &[Row] = &[
    row("service-absent", "vpc.service_found", "not_found", NOT_FOUND, |s| s.name.push('1')),
    row("service-of-another-account", "vpc.service_found", "other_owner", NOT_FOUND, |s| {
        s.owner = Some("444455556666".to_owned());
    }),
    row("service-pending", "vpc.available", "not_available", INVALID, |s| s.state = "Pending".into()),
    row("service-deleting", "vpc.available", "not_available", INVALID, |s| s.state = "Deleting".into()),
    row("service-failed", "vpc.available", "not_available", INVALID, |s| s.state = "Failed".into()),
    row("service-of-gateway-type", "vpc.interface_nlb", "wrong_balancer", INVALID, |s| {
        s.service_type = "GatewayLoadBalancer".into();
    }),
    row("service-with-gateway-load-balancer", "vpc.interface_nlb", "wrong_balancer", INVALID, |s| {
        s.gateway_load_balancers.push("arn:aws:elasticloadbalancing:us-east-1:1:loadbalancer/gwy/g/1".to_owned());
    }),
    row("service-without-load-balancer", "vpc.interface_nlb", "wrong_balancer", INVALID, |s| {
        s.network_load_balancers.clear();
    }),
    row("principal-removed", "vpc.principal_allowed", "principal_missing", NOT_FOUND, |s| s.principals.clear()),
    row("principal-of-another-region", "vpc.principal_allowed", "principal_missing", NOT_FOUND, |s| {
        s.principals = vec!["cks.kms.us-west-2.amazonaws.com".to_owned()];
    }),
    row("acceptance-required", "vpc.acceptance_off", "acceptance_required", INVALID, |s| s.acceptance_required = true),
    row("private-dns-name-absent", "vpc.private_dns_name", "private_dns_name", INVALID, |s| s.private_dns_name = None),
    row("private-dns-name-of-another-host", "vpc.private_dns_name", "private_dns_name", INVALID, |s| {
        s.private_dns_name = Some("other.example.com".to_owned());
    }),
    row("private-dns-name-wildcard", "vpc.private_dns_name", "private_dns_name", INVALID, |s| {
        s.private_dns_name = Some("*.example.com".to_owned());
    }),
    row("domain-verification-pending", "vpc.private_dns_verified", "not_verified", INVALID, |s| {
        s.verification = "pendingVerification".into();
    }),
    row("domain-verification-failed", "vpc.private_dns_verified", "not_verified", INVALID, |s| {
        s.verification = "failed".into();
    }),
    row("one-zone", "vpc.two_zones", "one_zone", INVALID, |s| s.zones.truncate(1)),
    row("ipv6-only", "vpc.ipv4", "no_ipv4", INVALID, |s| s.ip_address_types = vec!["ipv6".to_owned()]),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_kms_would_not_accept_of_a_service_blocks_in_its_words() {
    let bench = Bench::new().await;
    let good = bench.report().await;
    assert_eq!((good.verdict(), wrong(&good)), (Verdict::Ready, vec![]));
    let mut amiss = Vec::new();
    for row in FAULTS {
        let mut former = None;
        bench.ec2.change_service(|service| {
            former = Some(service.clone());
            (row.spoil)(service);
        });
        let report = bench.report().await;
        bench.ec2.change_service(|service| *service = former.unwrap());
        let exception = report.decisive().and_then(|finding| finding.kms.as_ref()?.exception);
        let expected = vec![format!("{} failed {}", row.check, row.problem)];
        let exception = exception.map(|exception| exception.to_string());
        if report.verdict() != Verdict::Blocked
            || wrong(&report) != expected
            || exception.as_deref() != Some(row.exception)
        {
            amiss.push(format!("{}: {}, {:?}, {exception:?}", row.fault, report.verdict(), wrong(&report)));
        }
    }
    assert!(amiss.is_empty(), "{} of {}:\n{}", amiss.len(), FAULTS.len(), amiss.join("\n"));
}

/// What KMS does not look at, and what harms all the same.
type Warning = (&'static str, &'static str, &'static str, fn(&SandboxEc2, &SandboxElbv2));

fn security_group(ec2: &SandboxEc2, elbv2: &SandboxElbv2, port: u16, range: &str) {
    let inbound = vec![(Some(port), range.to_owned())];
    ec2.change(|state| state.security_groups = vec![SecurityGroup { id: "sg-1".to_owned(), inbound }]);
    elbv2.change(|balancer| {
        balancer.security_groups = vec!["sg-1".to_owned()];
        balancer.enforces_inbound_rules = Some("on".to_owned());
    });
}

const WARNINGS: &[Warning] = &[
    ("listener-absent", "vpc.listener_443", "no_listener", |_, e| e.change(|b| b.listener = None)),
    ("listener-on-another-port", "vpc.listener_443", "no_listener", |_, e| {
        e.change(|b| b.listener = Some((8443, "TCP".to_owned())));
    }),
    ("listener-for-udp", "vpc.listener_443", "no_listener", |_, e| {
        e.change(|b| b.listener = Some((443, "UDP".to_owned())));
    }),
    ("zone-without-healthy-target", "vpc.targets_healthy", "unhealthy_targets", |_, e| {
        e.change(|b| b.group.targets[1].state = "unhealthy".into());
    }),
    ("zone-without-target", "vpc.targets_healthy", "unhealthy_targets", |_, e| {
        e.change(|b| b.group.targets.truncate(1));
    }),
    ("no-target-at-all", "vpc.targets_healthy", "unhealthy_targets", |_, e| e.change(|b| b.group.targets.clear())),
    ("every-target-draining", "vpc.targets_healthy", "unhealthy_targets", |_, e| {
        e.change(|b| b.group.targets.iter_mut().for_each(|target| target.state = "draining".into()));
    }),
    ("proxy-protocol-on", "vpc.proxy_protocol_off", "proxy_protocol", |_, e| {
        e.change(|b| {
            b.group.attributes.insert("proxy_protocol_v2.enabled".to_owned(), "true".to_owned());
        });
    }),
    ("security-group-too-narrow", "vpc.security_groups", "security_group", |ec2, elbv2| {
        security_group(ec2, elbv2, 443, "10.0.0.0/16");
    }),
    ("security-group-for-another-port", "vpc.security_groups", "security_group", |ec2, elbv2| {
        security_group(ec2, elbv2, 80, "0.0.0.0/0");
    }),
    ("dns-resolution-off", "vpc.dns_support", "vpc_dns", |ec2, _| {
        ec2.change(|state| state.vpcs[0].dns_support = false);
    }),
    ("dns-hostnames-off", "vpc.dns_support", "vpc_dns", |ec2, _| ec2.change(|s| s.vpcs[0].dns_hostnames = false)),
    ("principal-wildcard", "vpc.principal_not_wildcard", "principal_wildcard", |ec2, _| {
        ec2.change_service(|service| service.principals.push("*".to_owned()));
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_kms_does_not_look_at_warns() {
    let mut amiss = Vec::new();
    for (fault, check, problem, spoil) in WARNINGS {
        let bench = Bench::new().await;
        spoil(&bench.ec2, &bench.elbv2);
        let report = bench.report().await;
        if report.verdict() != Verdict::Ready || wrong(&report) != [format!("{check} failed {problem}")] {
            amiss.push(format!("{fault}: {}, {:?}", report.verdict(), wrong(&report)));
        }
    }
    assert!(amiss.is_empty(), "{}", amiss.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn harmless_differences_pass() {
    let harmless: [fn(&SandboxEc2, &SandboxElbv2); 5] = [
        |_, elbv2| elbv2.change(|balancer| balancer.listener = Some((443, "TLS".to_owned()))),
        |_, elbv2| {
            elbv2.change(|balancer: &mut NetworkLoadBalancer| {
                balancer.group.targets.truncate(1);
                balancer.attributes.insert("load_balancing.cross_zone.enabled".to_owned(), "true".to_owned());
            });
        },
        |ec2, elbv2| security_group(ec2, elbv2, 443, "0.0.0.0/0"),
        |ec2, elbv2| {
            security_group(ec2, elbv2, 443, "10.0.0.0/16");
            elbv2.change(|balancer| balancer.enforces_inbound_rules = Some("off".to_owned()));
        },
        // Told page by page, behind a service that nobody asked for.
        |ec2, _| {
            ec2.change(|state| {
                let mut other = state.services[0].clone();
                other.name = "com.amazonaws.vpce.us-east-1.vpce-svc-other".to_owned();
                state.services.insert(0, other);
                state.services[1].principals.insert(0, "arn:aws:iam::111122223333:root".to_owned());
                state.page = 1;
            });
        },
    ];
    for (number, change) in harmless.into_iter().enumerate() {
        let bench = Bench::new().await;
        change(&bench.ec2, &bench.elbv2);
        let report = bench.report().await;
        assert_eq!((report.verdict(), wrong(&report)), (Verdict::Ready, vec![]), "difference {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_zone_names_the_load_balancers_node_there() {
    let bench = Bench::new().await;
    bench.elbv2.change(|balancer| balancer.group.targets[1].state = "unhealthy".into());
    let report = bench.report().await;
    let problem = finding(&report, "vpc.targets_healthy").outcome.problem().unwrap();
    for told in [
        "us-east-1b.proxies-50dc6c495c0c9188.elb.us-east-1.amazonaws.com",
        "10.0.2.4 is unhealthy (Target.FailedHealthChecks)",
    ] {
        assert!(problem.detail.contains(told), "{}", problem.detail);
    }
}

/// Operations of EC2 that a must hangs on, and whether the service is of our own account then.
const DECISIVE: &[(&str, bool)] = &[
    ("DescribeVpcEndpointServiceConfigurations", true),
    ("DescribeVpcEndpointServicePermissions", true),
    ("DescribeVpcEndpointServices", false),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_aws_does_not_tell_is_inconclusive_and_names_the_permission() {
    for (action, own) in DECISIVE {
        for fault in [
            QueryFault::Denied,
            QueryFault::Throttled,
            QueryFault::Unavailable,
            QueryFault::NotXml,
            QueryFault::Truncated,
            QueryFault::Oversized,
            QueryFault::AnotherAnswer,
            QueryFault::Dropped,
        ] {
            let bench = Bench::new().await;
            if !own {
                bench.ec2.change_service(|service| service.owner = Some("444455556666".to_owned()));
            }
            bench.ec2.inject(action, fault, u32::MAX);
            let report = bench.report_for((!own).then_some("444455556666")).await;
            assert_eq!(report.verdict(), Verdict::Inconclusive, "{action}, {fault:?}: {:?}", wrong(&report));
            let told = finding(&report, "vpc.principal_allowed").outcome.problem().unwrap();
            assert!(told.detail.contains(&format!("ec2:{action}")), "{fault:?}: {}", told.detail);
            assert_eq!(told.kind.as_str(), if fault == QueryFault::Denied { "access_denied" } else { "unread" });
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn load_balancers_that_cannot_be_read_hold_up_no_verdict() {
    for (action, check) in [
        ("DescribeLoadBalancers", "vpc.listener_443"),
        ("DescribeListeners", "vpc.listener_443"),
        ("DescribeTargetGroups", "vpc.targets_healthy"),
        ("DescribeTargetHealth", "vpc.targets_healthy"),
        ("DescribeTargetGroupAttributes", "vpc.proxy_protocol_off"),
        ("DescribeLoadBalancerAttributes", "vpc.targets_healthy"),
    ] {
        let bench = Bench::new().await;
        for fault in [QueryFault::Denied, QueryFault::Unavailable, QueryFault::NotXml, QueryFault::Dropped] {
            bench.elbv2.inject(action, fault, u32::MAX);
            let report = bench.report().await;
            bench.elbv2.clear_faults();
            assert_eq!(report.verdict(), Verdict::Ready, "{action}, {fault:?}");
            let finding = finding(&report, check);
            assert!(matches!(finding.outcome, Outcome::OwnFault(_)), "{action}, {fault:?}: {finding:?}");
            let detail = &finding.outcome.problem().unwrap().detail;
            assert!(detail.contains(&format!("elasticloadbalancing:{action}")), "{detail}");
        }
    }
    for (action, check) in
        [("DescribeSecurityGroups", "vpc.security_groups"), ("DescribeVpcAttribute", "vpc.dns_support")]
    {
        let bench = Bench::new().await;
        security_group(&bench.ec2, &bench.elbv2, 443, "0.0.0.0/0");
        bench.ec2.inject(action, QueryFault::Denied, u32::MAX);
        let report = bench.report().await;
        assert_eq!(
            (report.verdict(), wrong(&report)),
            (Verdict::Ready, vec![format!("{check} own fault access_denied")])
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_in_passing_is_asked_again() {
    for fault in [QueryFault::Throttled, QueryFault::Unavailable, QueryFault::Dropped] {
        let bench = Bench::new().await;
        bench.ec2.inject("DescribeVpcEndpointServiceConfigurations", fault, 2);
        bench.elbv2.inject("DescribeLoadBalancers", fault, 2);
        let report = bench.report().await;
        assert_eq!((report.verdict(), wrong(&report)), (Verdict::Ready, vec![]), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_of_ours_says_nothing_about_the_service() {
    let mut bench = Bench::new().await;
    bench.reader = reader(&bench.ec2.endpoint_url(), &bench.elbv2.endpoint_url(), "AnotherSecretDoNotLeak01234").await;
    let report = bench.report().await;
    assert_eq!(report.verdict(), Verdict::Inconclusive);
    assert!(finding(&report, "vpc.service_found").outcome.problem().unwrap().detail.contains("AuthFailure"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_another_accounts_service_the_consumers_view_is_judged() {
    const OWNER: &str = "444455556666";
    let bench = Bench::new().await;
    bench.ec2.change_service(|service| service.owner = Some(OWNER.to_owned()));
    let report = bench.report_for(Some(OWNER)).await;
    assert_eq!((report.verdict(), wrong(&report)), (Verdict::Ready, vec![]));
    for check in ["vpc.available", "vpc.principal_allowed", "vpc.targets_healthy", "vpc.principal_not_wildcard"] {
        let Outcome::NotApplicable(why) = &finding(&report, check).outcome else { panic!("{check}") };
        assert_eq!(why, "the service belongs to account 444455556666; ask its owner");
    }
    for check in ["vpc.acceptance_off", "vpc.private_dns_name", "vpc.private_dns_verified", "vpc.two_zones", "vpc.ipv4"]
    {
        assert!(matches!(finding(&report, check).outcome, Outcome::Passed(_)), "{check}");
    }
    let report = bench.report_for(Some("777788889999")).await;
    assert_eq!(
        (report.verdict(), wrong(&report)),
        (Verdict::Blocked, vec!["vpc.service_found failed other_owner".to_owned()])
    );
    bench.ec2.change_service(|service| service.verification = "failed".into());
    let report = bench.report_for(Some(OWNER)).await;
    assert_eq!(wrong(&report), ["vpc.private_dns_verified failed not_verified"]);
}

/// The latent breakage: connected, and unable to connect again.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_lost_its_principal_blocks_an_update_before_the_disconnect() {
    let (ec2, elbv2) = aws(NEW.trim_start_matches("https://")).await;
    let stage = Stage::behind_service("vpc", SERVICE, &ec2.endpoint_url(), &elbv2.endpoint_url()).await;
    let daemon = Daemon::start(&stage, None).await;

    let mut principals = Vec::new();
    ec2.change_service(|service| principals = std::mem::take(&mut service.principals));
    let id = daemon.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    let ended = daemon.follow(&id).await;
    assert_eq!(ended["status"], "blocked", "{ended:#}");
    assert_eq!(ended["exception"], NOT_FOUND, "{ended:#}");
    assert!(ended.to_string().contains("vpc.principal_allowed"), "{ended:#}");
    assert!(stage.mutations().is_empty(), "{:?}", stage.mutations());

    // Who cannot look does not go ahead either.
    ec2.inject("DescribeVpcEndpointServicePermissions", QueryFault::Denied, u32::MAX);
    let id = daemon.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    let ended = daemon.follow(&id).await;
    assert_ne!(ended["status"], "verified", "{ended:#}");
    assert!(ended.to_string().contains("ec2:DescribeVpcEndpointServicePermissions"), "{ended:#}");
    assert!(stage.mutations().is_empty(), "{:?}", stage.mutations());

    ec2.clear_faults();
    ec2.change_service(|service| service.principals = principals);
    let id = daemon.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    let ended = daemon.follow(&id).await;
    assert_eq!(ended["status"], "verified", "{ended:#}");
    assert_eq!(stage.mutations(), ["DisconnectCustomKeyStore", "UpdateCustomKeyStore", "ConnectCustomKeyStore"]);
    daemon.terminate().await;
}
