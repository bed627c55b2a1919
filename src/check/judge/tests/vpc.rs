use super::*;
use crate::check::VpcEvidence;
use crate::check::vpc::{
    BalancerSecurity, EndpointService, InboundRule, Listener, LoadBalancer, OwnedService, SecurityGroup, ServiceSight,
    Target, TargetGroup, TargetGroupAttributes, VpcDns,
};
use crate::key_store::AccountId;

const GROUP: &str = "arn:aws:elasticloadbalancing:us-east-1:111122223333:targetgroup/proxies/1";

fn target(id: &str, zone: &str) -> Target {
    Target { id: id.to_owned(), zone: Some(zone.to_owned()), state: "healthy".to_owned(), reason: None }
}

fn endpoint_service() -> EndpointService {
    EndpointService {
        types: vec!["Interface".to_owned()],
        region: None,
        acceptance_required: Some(false),
        private_dns_names: vec!["xks.example.com".to_owned()],
        private_dns_state: Some("verified".to_owned()),
        zones: vec!["us-east-1a".to_owned(), "us-east-1b".to_owned()],
        ip_address_types: vec!["ipv4".to_owned()],
    }
}

fn load_balancer() -> LoadBalancer {
    LoadBalancer {
        name: "proxies".to_owned(),
        dns_name: Some("proxies-1.elb.us-east-1.amazonaws.com".to_owned()),
        scheme: Some("internal".to_owned()),
        state: Some("active".to_owned()),
        zones: vec!["us-east-1a".to_owned(), "us-east-1b".to_owned()],
        cross_zone: Ok(false),
        listeners: Ok(vec![Listener { port: 443, protocol: "TCP".to_owned(), target_groups: vec![GROUP.to_owned()] }]),
        target_groups: Ok(vec![TargetGroup {
            arn: GROUP.to_owned(),
            name: "proxies".to_owned(),
            attributes: Ok(TargetGroupAttributes::default()),
            targets: Ok(vec![target("10.0.1.4", "us-east-1a"), target("10.0.2.4", "us-east-1b")]),
        }]),
        security: Ok(BalancerSecurity::default()),
        vpc_dns: Ok(VpcDns { vpc: "vpc-1".to_owned(), support: true, hostnames: true }),
    }
}

fn seen(sight: ServiceSight) -> Evidence {
    let mut evidence = good_vpc();
    evidence.aws.vpc = Some(VpcEvidence { name: service(), stated_owner: None, sight });
    evidence
}

fn owned() -> Evidence {
    seen(ServiceSight::Owned(Box::new(OwnedService {
        service: endpoint_service(),
        state: Some("Available".to_owned()),
        network_load_balancers: vec![
            "arn:aws:elasticloadbalancing:us-east-1:111122223333:loadbalancer/net/proxies/1".to_owned(),
        ],
        gateway_load_balancers: Vec::new(),
        principals: Ok(vec!["cks.kms.us-east-1.amazonaws.com".to_owned()]),
        balancers: Ok(vec![load_balancer()]),
    })))
}

fn offered() -> Evidence {
    let owner = AccountId::parse("444455556666").ok();
    let mut evidence = seen(ServiceSight::Offered { owner: owner.clone(), service: endpoint_service() });
    sighted(&mut evidence).stated_owner = owner;
    evidence
}

fn sighted(evidence: &mut Evidence) -> &mut VpcEvidence {
    evidence.aws.vpc.as_mut().unwrap()
}

/// Puts a well-configured service behind the candidate and gives it to be spoilt.
fn own(evidence: &mut Evidence) -> &mut OwnedService {
    *evidence = owned();
    match &mut sighted(evidence).sight {
        ServiceSight::Owned(own) => own,
        other => panic!("{other:?}"),
    }
}

fn balancer(evidence: &mut Evidence) -> &mut LoadBalancer {
    &mut own(evidence).balancers.as_mut().unwrap()[0]
}

fn group(evidence: &mut Evidence) -> &mut TargetGroup {
    &mut balancer(evidence).target_groups.as_mut().unwrap()[0]
}

fn rule(range: &str, from: i32) -> BalancerSecurity {
    let inbound = InboundRule {
        protocol: "tcp".to_owned(),
        from_port: Some(from),
        to_port: Some(from),
        ranges: vec![range.to_owned()],
    };
    BalancerSecurity { enforced: true, groups: vec![SecurityGroup { id: "sg-1".to_owned(), inbound: vec![inbound] }] }
}

pub(super) const SPOILS: &[(&str, Spoil)] = &[
    ("vpc.service_found", |e| *e = seen(ServiceSight::Absent)),
    ("vpc.available", |e| own(e).state = Some("Deleting".to_owned())),
    ("vpc.interface_nlb", |e| own(e).network_load_balancers.clear()),
    ("vpc.interface_nlb", |e| own(e).gateway_load_balancers.push("arn:gateway".to_owned())),
    ("vpc.interface_nlb", |e| own(e).service.types = vec!["GatewayLoadBalancer".to_owned()]),
    ("vpc.same_region", |e| {
        *e = owned();
        e.subject.region = Region::parse("eu-west-1").unwrap();
    }),
    ("vpc.principal_allowed", |e| own(e).principals = Ok(Vec::new())),
    ("vpc.principal_allowed", |e| own(e).principals = Ok(vec!["cks.kms.us-west-2.amazonaws.com".to_owned()])),
    ("vpc.acceptance_off", |e| own(e).service.acceptance_required = Some(true)),
    ("vpc.private_dns_name", |e| own(e).service.private_dns_names = vec!["*.example.com".to_owned()]),
    ("vpc.private_dns_name", |e| own(e).service.private_dns_names.clear()),
    ("vpc.private_dns_verified", |e| own(e).service.private_dns_state = Some("pendingVerification".to_owned())),
    ("vpc.two_zones", |e| own(e).service.zones.truncate(1)),
    ("vpc.ipv4", |e| own(e).service.ip_address_types = vec!["ipv6".to_owned()]),
    ("vpc.listener_443", |e| balancer(e).listeners.as_mut().unwrap()[0].port = 8443),
    ("vpc.listener_443", |e| balancer(e).listeners.as_mut().unwrap()[0].protocol = "UDP".to_owned()),
    ("vpc.listener_443", |e| balancer(e).listeners.as_mut().unwrap()[0].target_groups.clear()),
    ("vpc.targets_healthy", |e| group(e).targets.as_mut().unwrap()[1].state = "unhealthy".to_owned()),
    ("vpc.targets_healthy", |e| {
        balancer(e).cross_zone = Ok(true);
        let ServiceSight::Owned(own) = &mut sighted(e).sight else { panic!() };
        own.balancers.as_mut().unwrap()[0].target_groups.as_mut().unwrap()[0].targets = Ok(Vec::new());
    }),
    ("vpc.proxy_protocol_off", |e| group(e).attributes.as_mut().unwrap().proxy_protocol = true),
    ("vpc.security_groups", |e| balancer(e).security = Ok(rule("10.0.0.0/8", 443))),
    ("vpc.security_groups", |e| balancer(e).security = Ok(rule("0.0.0.0/0", 80))),
    ("vpc.dns_support", |e| balancer(e).vpc_dns.as_mut().unwrap().hostnames = false),
    ("vpc.principal_not_wildcard", |e| own(e).principals = Ok(vec!["*".to_owned()])),
];

/// Evidence on which every check of this chapter passes.
pub(super) fn passing() -> Vec<Evidence> {
    vec![owned(), offered()]
}

fn outcome(evidence: &Evidence, id: &str) -> Outcome {
    judged(evidence).into_iter().find(|finding| finding.check.id == id).unwrap().outcome
}

fn of_stage(evidence: &Evidence) -> Vec<Outcome> {
    let findings = judged(evidence).into_iter();
    findings.filter(|finding| finding.check.stage == Stage::Vpc).map(|finding| finding.outcome).collect()
}

#[test]
fn one_spoilt_thing_fails_one_check() {
    for (id, spoil) in SPOILS {
        let mut evidence = good();
        spoil(&mut evidence);
        let failed: Vec<_> = judged(&evidence).into_iter().filter(Finding::is_failed).map(|f| f.check.id).collect();
        let expected: &[&str] = match *id {
            // The name in the subject, and the principal of that Region.
            "vpc.same_region" => &["input.service_name", "vpc.same_region", "vpc.principal_allowed"],
            other => &[other],
        };
        assert_eq!(failed, expected);
    }
}

#[test]
fn well_configured_services_have_no_failure() {
    for evidence in passing() {
        assert_eq!(report(evidence, &JudgingPolicy::default()).verdict(), Verdict::Ready);
    }
}

#[test]
fn without_aws_nothing_is_told_and_for_public_endpoints_nothing_applies() {
    for (evidence, why) in [
        (good_vpc(), "NOT PROVEN: AWS was not asked about the service"),
        (good(), "the connectivity is PUBLIC_ENDPOINT"),
    ] {
        let outcomes = of_stage(&evidence);
        assert_eq!(outcomes.len(), 16);
        assert!(outcomes.iter().all(|o| matches!(o, Outcome::NotApplicable(told) if told == why)), "{outcomes:?}");
    }
}

#[test]
fn what_aws_denies_is_our_own_fault_and_never_ready() {
    let denied = || Problem::own(ProblemKind::AccessDenied, "allow ec2:DescribeVpcEndpointServiceConfigurations");
    let nothing = seen(ServiceSight::Untold(denied()));
    let told = of_stage(&nothing).into_iter().filter(|outcome| matches!(outcome, Outcome::OwnFault(_))).count();
    // The Region is in the name.
    assert_eq!(told, 15);
    assert_eq!(report(nothing, &JudgingPolicy::default()).verdict(), Verdict::Inconclusive);

    let mut no_principals = owned();
    own(&mut no_principals).principals = Err(denied());
    assert!(matches!(outcome(&no_principals, "vpc.principal_allowed"), Outcome::OwnFault(_)));
    assert_eq!(report(no_principals, &JudgingPolicy::default()).verdict(), Verdict::Inconclusive);

    // Load balancers are the matter of no must: the verdict does not hang on reading them.
    let mut no_balancers = owned();
    own(&mut no_balancers).balancers = Err(denied());
    assert!(matches!(outcome(&no_balancers, "vpc.targets_healthy"), Outcome::OwnFault(_)));
    assert_eq!(report(no_balancers, &JudgingPolicy::default()).verdict(), Verdict::Ready);
}

#[test]
fn members_that_an_answer_lacks_are_never_ready() {
    let lacks: [fn(&mut OwnedService); 6] = [
        |own| own.state = None,
        |own| own.service.types.clear(),
        |own| own.service.acceptance_required = None,
        |own| own.service.private_dns_state = None,
        |own| own.service.zones.clear(),
        |own| own.service.ip_address_types.clear(),
    ];
    for lack in lacks {
        let mut evidence = good();
        lack(own(&mut evidence));
        assert_eq!(report(evidence, &JudgingPolicy::default()).verdict(), Verdict::Inconclusive);
    }
}

#[test]
fn owners_are_told_apart() {
    let found = |evidence: &Evidence| match outcome(evidence, "vpc.service_found") {
        Outcome::Failed(problem) => problem.kind.as_str().to_owned(),
        Outcome::Passed(detail) => detail,
        other => panic!("{other:?}"),
    };
    assert_eq!(found(&owned()), "in our account 111122223333");
    assert_eq!(found(&offered()), "offered by account 444455556666");
    let mut unstated = offered();
    sighted(&mut unstated).stated_owner = None;
    assert_eq!(found(&unstated), "other_owner");
    for mut wrong in [owned(), offered()] {
        sighted(&mut wrong).stated_owner = AccountId::parse("777788889999").ok();
        assert_eq!(found(&wrong), "other_owner");
    }
    let asked = outcome(&offered(), "vpc.principal_allowed");
    assert!(
        matches!(&asked, Outcome::NotApplicable(why) if why.contains("444455556666") && why.contains("ask its owner"))
    );
}

#[test]
fn what_only_the_owner_is_told_is_a_reservation() {
    let reservations = |evidence: Evidence| {
        let report = super::report(evidence, &JudgingPolicy::default());
        assert_eq!(report.verdict(), Verdict::Ready);
        report.reservations()
    };
    assert_eq!(reservations(owned()), Vec::<String>::new());
    let told = reservations(offered());
    assert!(told[0].contains("NOT PROVEN that KMS's principal is allowed"), "{told:?}");
}

#[test]
fn a_consumer_may_not_see_every_zone() {
    let mut evidence = offered();
    let ServiceSight::Offered { service, .. } = &mut sighted(&mut evidence).sight else { panic!() };
    service.zones.truncate(1);
    assert!(matches!(outcome(&evidence, "vpc.two_zones"), Outcome::NotApplicable(_)));
}

#[test]
fn the_group_overrides_the_balancer_on_cross_zone_balancing() {
    for (balancers, groups, passes) in
        [(false, None, false), (true, None, true), (false, Some(true), true), (true, Some(false), false)]
    {
        let mut evidence = good();
        balancer(&mut evidence).cross_zone = Ok(balancers);
        let ServiceSight::Owned(own) = &mut sighted(&mut evidence).sight else { panic!() };
        let group = &mut own.balancers.as_mut().unwrap()[0].target_groups.as_mut().unwrap()[0];
        group.attributes.as_mut().unwrap().cross_zone = groups;
        group.targets.as_mut().unwrap().truncate(1);
        let outcome = outcome(&evidence, "vpc.targets_healthy");
        assert_eq!(matches!(outcome, Outcome::Passed(_)), passes, "{outcome:?}");
        if let Outcome::Failed(problem) = outcome {
            assert!(problem.detail.contains("us-east-1b.proxies-1.elb.us-east-1.amazonaws.com"), "{}", problem.detail);
        }
    }
}

#[test]
fn rules_for_every_port_and_protocol_admit() {
    let mut evidence = good();
    let inbound =
        InboundRule { protocol: "-1".to_owned(), from_port: None, to_port: None, ranges: vec!["0.0.0.0/0".to_owned()] };
    let groups = vec![SecurityGroup { id: "sg-1".to_owned(), inbound: vec![inbound] }];
    balancer(&mut evidence).security = Ok(BalancerSecurity { enforced: true, groups: groups.clone() });
    assert!(matches!(outcome(&evidence, "vpc.security_groups"), Outcome::Passed(_)));
    let closed = groups.into_iter().map(|group| SecurityGroup { inbound: Vec::new(), ..group }).collect::<Vec<_>>();
    balancer(&mut evidence).security = Ok(BalancerSecurity { enforced: false, groups: closed.clone() });
    assert!(matches!(outcome(&evidence, "vpc.security_groups"), Outcome::Passed(_)));
    balancer(&mut evidence).security = Ok(BalancerSecurity { enforced: true, groups: closed });
    assert!(matches!(outcome(&evidence, "vpc.security_groups"), Outcome::Failed(_)));
}

#[test]
fn a_waiver_of_what_is_missing_waives_nothing_else() {
    let absent = seen(ServiceSight::Absent);
    assert_eq!(super::report(absent, &super::waiving("vpc.service_found")).verdict(), Verdict::Inconclusive);
    let mut nameless = owned();
    own(&mut nameless).service.private_dns_names.clear();
    assert_eq!(super::report(nameless, &super::waiving("vpc.private_dns_name")).verdict(), Verdict::Inconclusive);
}

#[test]
fn a_balancer_that_does_not_matter_hides_none_that_fails() {
    let mut evidence = owned();
    let open = load_balancer();
    let closed = LoadBalancer { security: Ok(rule("10.0.0.0/8", 443)), ..load_balancer() };
    let deaf = LoadBalancer { listeners: Ok(Vec::new()), ..load_balancer() };
    for balancers in [[open.clone(), closed.clone()], [closed, open]] {
        own(&mut evidence).balancers = Ok(balancers.to_vec());
        assert!(matches!(outcome(&evidence, "vpc.security_groups"), Outcome::Failed(_)));
    }
    let mut sick = load_balancer();
    sick.target_groups.as_mut().unwrap()[0].targets.as_mut().unwrap()[0].state = "unhealthy".to_owned();
    sick.target_groups.as_mut().unwrap()[0].targets.as_mut().unwrap()[1].state = "unhealthy".to_owned();
    for balancers in [[deaf.clone(), sick.clone()], [sick, deaf]] {
        own(&mut evidence).balancers = Ok(balancers.to_vec());
        assert!(matches!(outcome(&evidence, "vpc.targets_healthy"), Outcome::Failed(_)));
    }
}
