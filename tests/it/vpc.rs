//! VPC endpoint services: what EC2 and Elastic Load Balancing tell, and updates that it blocks.

mod bench;
mod moto;

use serde_json::json;
use xks_preflight::check::{Outcome, Verdict};
use xks_preflight::sandbox::ec2::{SandboxEc2, SecurityGroup};
use xks_preflight::sandbox::elbv2::SandboxElbv2;
use xks_preflight::sandbox::query::QueryFault;

use self::bench::{Bench, SERVICE, aws, finding, reader, wrong};
use crate::daemon::stage::{Daemon, NEW, Stage};
use crate::matrix::Seen;

/// The account that offers a service to ours.
const OWNER: &str = "444455556666";

/// Puts a security group with one inbound rule before the load balancer.
pub(crate) fn security_group(ec2: &SandboxEc2, elbv2: &SandboxElbv2, port: u16, range: &str) {
    let inbound = vec![(Some(port), range.to_owned())];
    ec2.change(|state| {
        state.security_groups = vec![SecurityGroup { id: "sg-1".to_owned(), inbound, ..SecurityGroup::default() }];
    });
    elbv2.change(|balancer| {
        balancer.security_groups = vec!["sg-1".to_owned()];
        balancer.enforces_inbound_rules = Some("on".to_owned());
    });
}

/// What a spoiled service gives, for the fault matrix.
pub(crate) async fn seen(spoil: fn(&SandboxEc2, &SandboxElbv2)) -> Seen {
    let bench = Bench::new().await;
    spoil(&bench.ec2, &bench.elbv2);
    Seen { exit: None, report: xks_preflight::render::json::report(&bench.report().await) }
}

/// What a service gives that another account offers, spoiled.
pub(crate) async fn seen_offered(spoil: fn(&SandboxEc2)) -> Seen {
    let bench = Bench::new().await;
    bench.ec2.change_service(|service| service.owner = Some(OWNER.to_owned()));
    spoil(&bench.ec2);
    Seen { exit: None, report: xks_preflight::render::json::report(&bench.report_for(Some(OWNER)).await) }
}

/// What a service of another Region gives.
pub(crate) async fn seen_elsewhere() -> Seen {
    let bench = Bench::new().await;
    let report = bench.report_of(&SERVICE.replace("us-east-1", "eu-west-1"), None).await;
    Seen { exit: None, report: xks_preflight::render::json::report(&report) }
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
                bench.ec2.change_service(|service| service.owner = Some(OWNER.to_owned()));
            }
            bench.ec2.inject(action, fault, u32::MAX);
            let report = bench.report_for((!own).then_some(OWNER)).await;
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
    assert_eq!(ended["exception"], "XksProxyVpcEndpointServiceNotFoundException", "{ended:#}");
    assert!(ended.to_string().contains("vpc.principal_allowed"), "{ended:#}");
    assert_eq!(stage.mutating_calls(), [""; 0]);

    // Who cannot look does not go ahead either.
    ec2.inject("DescribeVpcEndpointServicePermissions", QueryFault::Denied, u32::MAX);
    let id = daemon.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    let ended = daemon.follow(&id).await;
    assert_ne!(ended["status"], "verified", "{ended:#}");
    assert!(ended.to_string().contains("ec2:DescribeVpcEndpointServicePermissions"), "{ended:#}");
    assert_eq!(stage.mutating_calls(), [""; 0]);

    ec2.clear_faults();
    ec2.change_service(|service| service.principals = principals);
    let id = daemon.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    let ended = daemon.follow(&id).await;
    assert_eq!(ended["status"], "verified", "{ended:#}");
    assert_eq!(stage.mutations(), ["DisconnectCustomKeyStore", "UpdateCustomKeyStore", "ConnectCustomKeyStore"]);
    daemon.terminate().await;
}
