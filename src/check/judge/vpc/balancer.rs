//! Judges of the load balancers behind a VPC endpoint service.

use super::{fault, list, owners_view};
use crate::check::evidence::vpc::{BalancerSecurity, InboundRule, LoadBalancer, Target, TargetGroup, Told};
use crate::check::judge::{Judgement, failed, not_applicable, passed};
use crate::check::{Evidence, Outcome, ProblemKind};

/// The port that KMS connects to.
const PORT: i32 = 443;

/// One outcome of several: the first failure, else the first of what could not be told, else the first of what does not
/// apply, else all passes.
fn worst(outcomes: impl IntoIterator<Item = Outcome>, none: &str) -> Outcome {
    let mut told = Vec::new();
    let mut worst: Option<(u8, Outcome)> = None;
    for outcome in outcomes {
        let badness = match outcome {
            Outcome::Passed(detail) => {
                told.push(detail);
                continue;
            }
            Outcome::Failed(_) => 3,
            Outcome::OwnFault(_) | Outcome::NotReached { .. } => 2,
            Outcome::Waived { .. } | Outcome::NotApplicable(_) => 1,
        };
        if worst.as_ref().is_none_or(|(so_far, _)| badness > *so_far) {
            worst = Some((badness, outcome));
        }
    }
    match worst {
        Some((_, outcome)) => outcome,
        None if told.is_empty() => not_applicable(none),
        None => passed(told.join("; ")),
    }
}

/// Judges the load balancers.
fn each_balancer(evidence: &Evidence, judge: impl Fn(&LoadBalancer) -> Outcome) -> Vec<Judgement> {
    owners_view(evidence, |own| match &own.balancers {
        Err(problem) => failed(problem.clone()),
        Ok(balancers) => worst(balancers.iter().map(&judge), "there is no network load balancer"),
    })
}

pub(in crate::check) fn listener_443(evidence: &Evidence) -> Vec<Judgement> {
    each_balancer(evidence, |balancer| {
        let name = &balancer.name;
        let listeners = match &balancer.listeners {
            Err(problem) => return failed(problem.clone()),
            Ok(listeners) => listeners,
        };
        match listeners.iter().find(|listener| listener.port == PORT) {
            Some(listener) if !matches!(listener.protocol.as_str(), "TCP" | "TLS" | "TCP_UDP") => {
                let detail = format!("{name} listens on port 443 for {}", listener.protocol);
                fault(ProblemKind::NoListener, detail)
            }
            Some(listener) if listener.target_groups.is_empty() => {
                fault(ProblemKind::NoListener, format!("the listener of {name} on port 443 forwards nowhere"))
            }
            Some(listener) => passed(format!("{name}: {}", listener.protocol)),
            None => {
                let others: Vec<String> =
                    listeners.iter().map(|other| format!("{} {}", other.protocol, other.port)).collect();
                let others = if others.is_empty() { "nothing".to_owned() } else { list(&others) };
                fault(ProblemKind::NoListener, format!("{name} listens for {others}, not for TCP 443"))
            }
        }
    })
}

/// The target groups behind port 443.
fn groups(balancer: &LoadBalancer) -> Told<Vec<&TargetGroup>> {
    let listeners = balancer.listeners.as_ref().map_err(Clone::clone)?;
    let groups = balancer.target_groups.as_ref().map_err(Clone::clone)?;
    let forwarded: Vec<&String> =
        listeners.iter().filter(|listener| listener.port == PORT).flat_map(|l| &l.target_groups).collect();
    Ok(groups.iter().filter(|group| forwarded.contains(&&group.arn)).collect())
}

/// Judges the target groups behind port 443.
fn each_group(evidence: &Evidence, judge: impl Fn(&LoadBalancer, &TargetGroup) -> Outcome) -> Vec<Judgement> {
    each_balancer(evidence, |balancer| {
        let groups = match groups(balancer) {
            Err(problem) => return failed(problem),
            Ok(groups) => groups,
        };
        worst(groups.into_iter().map(|group| judge(balancer, group)), "nothing is behind port 443")
    })
}

pub(in crate::check) fn targets_healthy(evidence: &Evidence) -> Vec<Judgement> {
    each_group(evidence, |balancer, group| match (&group.targets, &group.attributes, &balancer.cross_zone) {
        (Err(problem), _, _) | (_, Err(problem), _) => failed(problem.clone()),
        (Ok(targets), Ok(attributes), cross_zone) => {
            let cross_zone = match (attributes.cross_zone, cross_zone) {
                (Some(own), _) => own,
                (None, Ok(inherited)) => *inherited,
                (None, Err(problem)) => return failed(problem.clone()),
            };
            healthy(balancer, group, targets, cross_zone)
        }
    })
}

fn healthy(balancer: &LoadBalancer, group: &TargetGroup, targets: &[Target], cross_zone: bool) -> Outcome {
    let name = &group.name;
    let count = targets.iter().filter(|target| target.is_healthy()).count();
    let of = format!("{count} of {} targets of {name} healthy", targets.len());
    let unhealthy: Vec<String> = targets
        .iter()
        .filter(|target| !target.is_healthy())
        .take(5)
        .map(|target| match &target.reason {
            Some(reason) => format!("{} is {} ({reason})", target.id, target.state),
            None => format!("{} is {}", target.id, target.state),
        })
        .collect();
    let particulars = if unhealthy.is_empty() { String::new() } else { format!(": {}", list(&unhealthy)) };
    if count == 0 {
        return fault(ProblemKind::UnhealthyTargets, format!("{of}{particulars}"));
    }
    if cross_zone {
        return passed(format!("{of}; cross-zone load balancing is on"));
    }
    let serves = |zone: &str| {
        let there = |target: &&Target| matches!(target.zone.as_deref(), Some(at) if at == zone || at == "all");
        targets.iter().filter(there).any(Target::is_healthy)
    };
    let empty: Vec<&String> = balancer.zones.iter().filter(|zone| !serves(zone)).collect();
    if empty.is_empty() {
        return passed(format!("{of}, in each of {}", list(&balancer.zones)));
    }
    if targets.iter().any(|target| target.is_healthy() && target.zone.is_none()) {
        return not_applicable(format!("{of}; Elastic Load Balancing does not tell their zones"));
    }
    let nodes = balancer.dns_name.iter().flat_map(|dns| empty.iter().map(move |zone| format!("{zone}.{dns}")));
    let nodes: Vec<String> = nodes.collect();
    let nodes = if nodes.is_empty() { String::new() } else { format!("; to try from the VPC: {}", list(&nodes)) };
    let detail = format!(
        "no healthy target in {}, and cross-zone load balancing is off: what arrives there is lost ({of}{particulars}){nodes}",
        list(empty)
    );
    fault(ProblemKind::UnhealthyTargets, detail)
}

pub(in crate::check) fn proxy_protocol_off(evidence: &Evidence) -> Vec<Judgement> {
    each_group(evidence, |_, group| match &group.attributes {
        Err(problem) => failed(problem.clone()),
        Ok(attributes) if attributes.proxy_protocol => {
            fault(ProblemKind::ProxyProtocol, format!("proxy_protocol_v2.enabled of {} is true", group.name))
        }
        Ok(_) => passed(format!("off for {}", group.name)),
    })
}

pub(in crate::check) fn security_groups(evidence: &Evidence) -> Vec<Judgement> {
    each_balancer(evidence, |balancer| match &balancer.security {
        Err(problem) => failed(problem.clone()),
        Ok(security) => admitted(&balancer.name, security),
    })
}

fn admitted(name: &str, security: &BalancerSecurity) -> Outcome {
    if !security.enforced {
        return passed(format!("{name}: not enforced on PrivateLink traffic"));
    }
    if security.groups.is_empty() {
        return passed(format!("{name}: none"));
    }
    let open = |rule: &&InboundRule| {
        let protocol = matches!(rule.protocol.as_str(), "-1" | "tcp" | "6");
        let above = rule.from_port.is_none_or(|from| from <= PORT);
        let below = rule.to_port.is_none_or(|to| to == -1 || to >= PORT);
        protocol && above && below && rule.ranges.iter().any(|range| range == "0.0.0.0/0")
    };
    if let Some(group) = security.groups.iter().find(|group| group.inbound.iter().any(|rule| open(&rule))) {
        return passed(format!("{name}: {} admits TCP 443 from anywhere", group.id));
    }
    let ids: Vec<String> = security.groups.iter().map(|group| group.id.clone()).collect();
    let detail = format!(
        "the inbound rules of {} are enforced on PrivateLink traffic to {name} and do not admit TCP 443 from anywhere",
        list(&ids)
    );
    fault(ProblemKind::SecurityGroup, detail)
}

pub(in crate::check) fn dns_support(evidence: &Evidence) -> Vec<Judgement> {
    each_balancer(evidence, |balancer| match &balancer.vpc_dns {
        Err(problem) => failed(problem.clone()),
        Ok(dns) => {
            let off = [(dns.support, "enableDnsSupport"), (dns.hostnames, "enableDnsHostnames")];
            match off.into_iter().find(|(on, _)| !on) {
                Some((_, attribute)) => fault(ProblemKind::VpcDns, format!("{attribute} of {} is false", dns.vpc)),
                None => passed(dns.vpc.clone()),
            }
        }
    })
}
