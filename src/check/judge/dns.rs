//! Judges of the name.

use std::net::IpAddr;

use super::{Judgement, failed, not_applicable, passed, whole};
use crate::check::{Evidence, Outcome, Problem, ProblemKind, Resolution, Stage, is_globally_routable};
use crate::key_store::ConnectivityKind;

const BYPASSED: &str = "connect_to says where to go";

pub(in crate::check) fn resolves(evidence: &Evidence) -> Vec<Judgement> {
    whole(match &evidence.resolution {
        Resolution::NotReached => Outcome::NotReached { stopped_at: Stage::Input },
        Resolution::Bypassed => not_applicable(BYPASSED),
        Resolution::Answered { ipv4, ipv6, .. } => passed(format!("{} A and {} AAAA records", ipv4.len(), ipv6.len())),
        Resolution::Failed { problem, .. } => failed(problem.clone()),
    })
}

pub(in crate::check) fn ipv4(evidence: &Evidence) -> Vec<Judgement> {
    // What was not probed may be what KMS takes. An address that is not public fails dns.public_address, and
    // tcp.connects does not pass without it.
    let public = evidence.subject.connectivity == ConnectivityKind::PublicEndpoint;
    let told_there = |problem: &&Problem| public && problem.kind == ProblemKind::UnfitAddress;
    if let Some(problem) = evidence.left_out.as_ref().filter(|problem| !told_there(problem)) {
        return whole(failed(problem.clone()));
    }
    whole(match &evidence.resolution {
        Resolution::NotReached => Outcome::NotReached { stopped_at: Stage::Input },
        Resolution::Bypassed => not_applicable(BYPASSED),
        Resolution::Failed { .. } => without_name(evidence),
        Resolution::Answered { ipv4, ipv6, .. } if ipv4.is_empty() => {
            let detail = format!("{} AAAA records and no A record", ipv6.len());
            failed(Problem::target(ProblemKind::OnlyIpv6, detail))
        }
        Resolution::Answered { ipv4, ipv6, .. } if !ipv6.is_empty() => {
            passed(format!("{} A records; KMS ignores the {} AAAA records", ipv4.len(), ipv6.len()))
        }
        Resolution::Answered { ipv4, .. } => passed(format!("{} A records", ipv4.len())),
    })
}

pub(in crate::check) fn public_address(evidence: &Evidence) -> Vec<Judgement> {
    if evidence.subject.connectivity == ConnectivityKind::VpcEndpointService {
        return whole(not_applicable("VPC connectivity"));
    }
    let Resolution::Answered { ipv4, .. } = &evidence.resolution else {
        return without_addresses(evidence);
    };
    let private: Vec<Judgement> = ipv4
        .iter()
        .map(|address| IpAddr::V4(*address))
        .filter(|address| !is_globally_routable(*address))
        .map(|address| {
            let detail = format!("{address} is not an address of the internet, KMS cannot reach it");
            let outcome = failed(Problem::target(ProblemKind::NotPublic, detail));
            Judgement { address: Some(address), outcome, kms: None }
        })
        .collect();
    if private.is_empty() { whole(passed("every address is globally routable")) } else { private }
}

pub(in crate::check) fn private_name(evidence: &Evidence) -> Vec<Judgement> {
    if evidence.subject.connectivity == ConnectivityKind::PublicEndpoint {
        return whole(not_applicable("public endpoint"));
    }
    let Resolution::Answered { ipv4, .. } = &evidence.resolution else {
        return without_addresses(evidence);
    };
    whole(match ipv4.iter().find(|address| is_globally_routable(IpAddr::V4(**address))) {
        Some(address) => {
            let detail = format!("the private DNS name resolves to the public address {address} from here");
            failed(Problem::target(ProblemKind::PublicElsewhere, detail))
        }
        None => passed("resolves to private addresses only"),
    })
}

fn without_addresses(evidence: &Evidence) -> Vec<Judgement> {
    whole(match &evidence.resolution {
        Resolution::NotReached => Outcome::NotReached { stopped_at: Stage::Input },
        Resolution::Bypassed => not_applicable(BYPASSED),
        Resolution::Failed { .. } | Resolution::Answered { .. } => without_name(evidence),
    })
}

/// A name that does not resolve has no addresses to judge; `connect_to` may have led to the proxy all the same.
fn without_name(evidence: &Evidence) -> Outcome {
    if evidence.subject.connect_to.is_empty() || evidence.addresses.is_empty() {
        Outcome::NotReached { stopped_at: Stage::Dns }
    } else {
        not_applicable("dns.resolves tells; connect_to says where to go")
    }
}
