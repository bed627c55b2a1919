//! Judges of the VPC endpoint service.

mod balancer;

use std::collections::BTreeSet;

pub(in crate::check) use self::balancer::{
    dns_support, listener_443, proxy_protocol_off, security_groups, targets_healthy,
};
use super::{Judgement, failed, not_applicable, passed, whole};
use crate::check::evidence::vpc::{EndpointService, OwnedService, ServiceSight};
use crate::check::report::NOT_PROVEN;
use crate::check::{Evidence, Outcome, Problem, ProblemKind, Stage, VpcEvidence};
use crate::key_store::{AccountId, ConnectivityKind};

/// What nothing is told of, because `vpc.service_found` or its like failed. Not the same as having no meaning: a waiver
/// of that check must not make all others pass.
const NOT_FOUND: Outcome = Outcome::NotReached { stopped_at: Stage::Vpc };

/// Judges what AWS told of the service, if the candidate has one and AWS was asked.
fn asked(evidence: &Evidence, judge: impl FnOnce(&VpcEvidence) -> Outcome) -> Vec<Judgement> {
    if evidence.subject.connectivity == ConnectivityKind::PublicEndpoint {
        return whole(not_applicable("the connectivity is PUBLIC_ENDPOINT"));
    }
    whole(match &evidence.aws.vpc {
        None => not_applicable(format!("{NOT_PROVEN}: AWS was not asked about the service")),
        Some(seen) => judge(seen),
    })
}

/// Judges what owner and consumers are told alike.
fn either_view(evidence: &Evidence, judge: impl FnOnce(&EndpointService) -> Outcome) -> Vec<Judgement> {
    asked(evidence, |seen| match &seen.sight {
        ServiceSight::Untold(problem) => failed(problem.clone()),
        ServiceSight::Absent => NOT_FOUND,
        ServiceSight::Owned(own) => judge(&own.service),
        ServiceSight::Offered { service, .. } => judge(service),
    })
}

/// Judges what only the owner is told.
fn owners_view(evidence: &Evidence, judge: impl FnOnce(&OwnedService) -> Outcome) -> Vec<Judgement> {
    asked(evidence, |seen| match &seen.sight {
        ServiceSight::Untold(problem) => failed(problem.clone()),
        ServiceSight::Absent => NOT_FOUND,
        ServiceSight::Owned(own) => judge(own),
        ServiceSight::Offered { owner, .. } => not_applicable(match owner {
            Some(owner) => format!("the service belongs to account {owner}; ask its owner"),
            None => "the service belongs to another account; ask its owner".to_owned(),
        }),
    })
}

fn fault(kind: ProblemKind, detail: impl Into<String>) -> Outcome {
    failed(Problem::target(kind, detail))
}

/// What a must needs and AWS's answer lacks: nothing follows from it.
fn missing(member: &str) -> Outcome {
    failed(Problem::own(ProblemKind::Unread, format!("AWS's description of the service has no {member}")))
}

fn list<'a>(texts: impl IntoIterator<Item = &'a String>) -> String {
    texts.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

pub(in crate::check) fn service_found(evidence: &Evidence) -> Vec<Judgement> {
    asked(evidence, |seen| {
        let (name, stated) = (&seen.name, seen.stated_owner.as_ref().map(AccountId::as_str));
        match &seen.sight {
            ServiceSight::Untold(problem) => failed(problem.clone()),
            ServiceSight::Absent => {
                let account = stated.map_or("this account".to_owned(), |owner| format!("account {owner}"));
                let detail = format!("EC2 shows no {name}: {account} has none, or does not offer it to us");
                fault(ProblemKind::NotFound, detail)
            }
            ServiceSight::Owned(own) => match (own.account(), stated) {
                (Some(account), Some(stated)) if account != stated => {
                    let detail = format!("{name} belongs to account {account}, the settings say {stated}");
                    fault(ProblemKind::OtherOwner, detail)
                }
                (account, _) => {
                    passed(format!("in our account{}", account.map_or(String::new(), |id| format!(" {id}"))))
                }
            },
            ServiceSight::Offered { owner, .. } => match (owner.as_ref().map(AccountId::as_str), stated) {
                (Some(owner), Some(stated)) if owner == stated => passed(format!("offered by account {owner}")),
                (None, Some(_)) => missing("Owner"),
                (owner, Some(stated)) => {
                    let owner = owner.unwrap_or_default();
                    let detail = format!("{name} belongs to account {owner}, the settings say {stated}");
                    fault(ProblemKind::OtherOwner, detail)
                }
                (owner, None) => {
                    let owner = owner.map_or("another account".to_owned(), |owner| format!("account {owner}"));
                    let detail = format!(
                        "{name} belongs to {owner}; without XksProxyVpcEndpointServiceOwner KMS looks in the account of \
                         the key store"
                    );
                    fault(ProblemKind::OtherOwner, detail)
                }
            },
        }
    })
}

pub(in crate::check) fn available(evidence: &Evidence) -> Vec<Judgement> {
    owners_view(evidence, |own| match own.state.as_deref() {
        Some(state) if state.eq_ignore_ascii_case("available") => passed("Available"),
        Some(state) => fault(ProblemKind::NotAvailable, format!("the service is {state}")),
        None => missing("ServiceState"),
    })
}

pub(in crate::check) fn interface_nlb(evidence: &Evidence) -> Vec<Judgement> {
    let of_type = |service: &EndpointService| {
        if service.types.is_empty() {
            return Some(missing("ServiceType"));
        }
        let wrong = service.types.iter().any(|kind| kind != "Interface");
        let detail = || format!("the service is of type {}", list(&service.types));
        wrong.then(|| fault(ProblemKind::WrongBalancer, detail()))
    };
    asked(evidence, |seen| match &seen.sight {
        ServiceSight::Untold(problem) => failed(problem.clone()),
        ServiceSight::Absent => NOT_FOUND,
        ServiceSight::Offered { service, .. } => {
            of_type(service).unwrap_or_else(|| passed("Interface; its load balancers are its owner's affair"))
        }
        ServiceSight::Owned(own) => of_type(&own.service).unwrap_or_else(|| {
            if !own.gateway_load_balancers.is_empty() {
                fault(ProblemKind::WrongBalancer, "a gateway load balancer is behind the service")
            } else if own.network_load_balancers.is_empty() {
                fault(ProblemKind::WrongBalancer, "no network load balancer is behind the service")
            } else {
                let facing = own.balancers.iter().flatten();
                let outward = facing.filter(|balancer| balancer.scheme.as_deref() == Some("internet-facing"));
                let outward: Vec<&String> = outward.map(|balancer| &balancer.name).collect();
                passed(match outward.as_slice() {
                    [] => "Interface".to_owned(),
                    some => format!(
                        "Interface; {} faces the internet, the guide wants internal",
                        list(some.iter().copied())
                    ),
                })
            }
        }),
    })
}

pub(in crate::check) fn same_region(evidence: &Evidence) -> Vec<Judgement> {
    asked(evidence, |seen| {
        let wanted = evidence.subject.region.as_str();
        let told = match &seen.sight {
            ServiceSight::Offered { service, .. } => service.region.as_deref(),
            ServiceSight::Owned(_) | ServiceSight::Absent | ServiceSight::Untold(_) => None,
        };
        match [Some(seen.name.region()), told].into_iter().flatten().find(|region| *region != wanted) {
            Some(other) => {
                let detail = format!("the service is in {other}, the key store in {wanted}");
                fault(ProblemKind::WrongRegion, detail)
            }
            None => passed(wanted),
        }
    })
}

pub(in crate::check) fn principal_allowed(evidence: &Evidence) -> Vec<Judgement> {
    let kms = format!("cks.kms.{}.amazonaws.com", evidence.subject.region);
    owners_view(evidence, |own| match &own.principals {
        Err(problem) => failed(problem.clone()),
        Ok(principals) if principals.contains(&kms) => passed(kms),
        Ok(principals) if principals.iter().any(|principal| principal == "*") => passed("*"),
        Ok(principals) => {
            let allowed =
                if principals.is_empty() { "nobody is".to_owned() } else { format!("allowed: {}", list(principals)) };
            let detail = format!(
                "{kms} is not among the allowed principals ({allowed}); a connected key store does not notice until it \
                 has to connect again"
            );
            fault(ProblemKind::PrincipalMissing, detail)
        }
    })
}

pub(in crate::check) fn principal_not_wildcard(evidence: &Evidence) -> Vec<Judgement> {
    owners_view(evidence, |own| match &own.principals {
        Err(problem) => failed(problem.clone()),
        Ok(principals) if principals.iter().any(|principal| principal == "*") => {
            fault(ProblemKind::PrincipalWildcard, "the principal * is allowed, that is every AWS account")
        }
        Ok(principals) => passed(list(principals)),
    })
}

pub(in crate::check) fn acceptance_off(evidence: &Evidence) -> Vec<Judgement> {
    either_view(evidence, |service| match service.acceptance_required {
        Some(false) => passed("AcceptanceRequired is false"),
        Some(true) => fault(ProblemKind::AcceptanceRequired, "AcceptanceRequired is true"),
        None => missing("AcceptanceRequired"),
    })
}

pub(in crate::check) fn private_dns_name(evidence: &Evidence) -> Vec<Judgement> {
    let endpoint = &evidence.subject.endpoint;
    let host = endpoint.strip_prefix("https://").unwrap_or(endpoint);
    either_view(evidence, |service| {
        let names = &service.private_dns_names;
        if names.iter().any(|name| name.eq_ignore_ascii_case(host)) {
            passed(host)
        } else if names.is_empty() {
            fault(ProblemKind::PrivateDnsName, "the service has no private DNS name")
        } else {
            // PrivateLink permits a wildcard; whether KMS does is not documented.
            let detail = format!("the private DNS name of the service is {}, the endpoint's host {host}", list(names));
            fault(ProblemKind::PrivateDnsName, detail)
        }
    })
}

pub(in crate::check) fn private_dns_verified(evidence: &Evidence) -> Vec<Judgement> {
    either_view(evidence, |service| match service.private_dns_state.as_deref() {
        // vpc.private_dns_name tells of it; whoever waives that has not waived the verification.
        _ if service.private_dns_names.is_empty() => NOT_FOUND,
        Some("verified") => passed("verified"),
        Some(state) => {
            let detail = format!("the state of the domain's verification is {state}");
            fault(ProblemKind::NotVerified, detail)
        }
        None => missing("state of the domain's verification"),
    })
}

pub(in crate::check) fn two_zones(evidence: &Evidence) -> Vec<Judgement> {
    asked(evidence, |seen| {
        let (service, own) = match &seen.sight {
            ServiceSight::Untold(problem) => return failed(problem.clone()),
            ServiceSight::Absent => return NOT_FOUND,
            ServiceSight::Owned(own) => (&own.service, Some(own)),
            ServiceSight::Offered { service, .. } => (service, None),
        };
        let zones: BTreeSet<&String> = service.zones.iter().collect();
        if zones.len() >= 2 {
            return passed(list(zones));
        }
        let Some(own) = own else {
            return not_applicable(format!(
                "of the service's zones {} can be seen from this account; ask its owner",
                if zones.is_empty() { "none".to_owned() } else { format!("only {}", list(zones)) }
            ));
        };
        if zones.is_empty() {
            return missing("AvailabilityZones");
        }
        let balancers: BTreeSet<&String> = own.balancers.iter().flatten().flat_map(|b| &b.zones).collect();
        let more: Vec<&String> = balancers.difference(&zones).copied().collect();
        let hint = if more.is_empty() {
            String::new()
        } else {
            format!("; the load balancer has {}, too, which the service has not taken over", list(more))
        };
        fault(ProblemKind::OneZone, format!("the service is in {} only{hint}", list(zones)))
    })
}

pub(in crate::check) fn ipv4(evidence: &Evidence) -> Vec<Judgement> {
    either_view(evidence, |service| {
        let types = &service.ip_address_types;
        if types.iter().any(|kind| kind == "ipv4") {
            passed(list(types))
        } else if types.is_empty() {
            missing("SupportedIpAddressTypes")
        } else {
            fault(ProblemKind::NoIpv4, format!("the service supports {} only", list(types)))
        }
    })
}
