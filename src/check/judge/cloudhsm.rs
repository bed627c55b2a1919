//! Judges of the CloudHSM cluster.

use std::ops::RangeInclusive;

use super::{Judgement, failed, not_applicable, passed, whole};
use crate::check::{
    CloudHsmEvidence, Cluster, ClusterState, ClusterSubject, Evidence, Outcome, Problem, ProblemKind,
    SecurityGroupRules, Stage,
};
use crate::key_store::{CloudHsmConfiguration, Configuration};

/// HSMs and Availability Zones that KMS wants for an update (UpdateCustomKeyStore).
const FOR_UPDATE: usize = 2;

/// HSMs that KMS wants for a connect (ConnectCustomKeyStore).
const FOR_CONNECT: usize = 1;

/// The ports on which clients talk to HSMs (CreateCustomKeyStore, prerequisites).
const PORTS: RangeInclusive<u16> = 2223..=2225;

/// What nothing is told of, because `cloudhsm.cluster_found` or `cloudhsm.active` failed. Not the same as having no
/// meaning: a waiver of those must not make all others pass.
const NOT_FOUND: Outcome = Outcome::NotReached { stopped_at: Stage::CloudHsm };

/// Judges what CloudHSM told of the candidate.
fn told(evidence: &Evidence, judge: impl FnOnce(&CloudHsmEvidence, &ClusterSubject) -> Outcome) -> Vec<Judgement> {
    whole(match (&evidence.subject.cluster, &evidence.aws.cloud_hsm) {
        (None, _) => not_applicable("no CloudHSM key store is being changed"),
        (Some(_), None) => Outcome::NotReached { stopped_at: Stage::CloudHsm },
        (Some(subject), Some(told)) => match &told.clusters {
            Err(problem) => failed(problem.clone()),
            Ok(_) => judge(told, subject),
        },
    })
}

/// Judges the cluster, once it is found.
fn cluster(evidence: &Evidence, judge: impl FnOnce(&Cluster) -> Outcome) -> Vec<Judgement> {
    told(evidence, |told, subject| match told.cluster(&subject.cluster) {
        Some(cluster) => judge(cluster),
        None => NOT_FOUND,
    })
}

/// How many HSMs, or zones of them, are needed: an update is to come, or was made, or nobody thinks of one.
fn needed(evidence: &Evidence) -> usize {
    match &evidence.aws.control_plane {
        Some(control_plane) if !control_plane.after_update => FOR_UPDATE,
        _ => FOR_CONNECT,
    }
}

pub(in crate::check) fn cluster_found(evidence: &Evidence) -> Vec<Judgement> {
    told(evidence, |told, subject| {
        let Some(cluster) = told.cluster(&subject.cluster) else {
            let detail = format!("there is no cluster {} in this account and Region", subject.cluster);
            return failed(Problem::target(ProblemKind::NotFound, detail));
        };
        passed(cluster.id.to_string())
    })
}

pub(in crate::check) fn active(evidence: &Evidence) -> Vec<Judgement> {
    cluster(evidence, |cluster| match &cluster.state {
        ClusterState::Active => passed("ACTIVE"),
        ClusterState::Other(state) => {
            let detail = format!("{} is {state}, and KMS uses ACTIVE clusters only", cluster.id);
            failed(Problem::target(ProblemKind::ClusterNotActive, detail))
        }
    })
}

pub(in crate::check) fn hsms(evidence: &Evidence) -> Vec<Judgement> {
    let needed = needed(evidence);
    cluster(evidence, |cluster| {
        let active = cluster.active_hsms().count();
        let seen = format!("{active} of {} HSMs of {} are ACTIVE", cluster.hsms.len(), cluster.id);
        if active >= needed {
            passed(seen)
        } else {
            failed(Problem::target(ProblemKind::TooFewHsms, format!("{seen}; KMS needs {needed}")))
        }
    })
}

pub(in crate::check) fn zones(evidence: &Evidence) -> Vec<Judgement> {
    let needed = needed(evidence);
    cluster(evidence, |cluster| {
        let zones = cluster.active_zones().into_iter().collect::<Vec<_>>().join(", ");
        if cluster.active_zones().len() >= needed {
            passed(zones)
        } else {
            let zones = if zones.is_empty() { "no Availability Zone" } else { &zones };
            let detail = format!("the active HSMs of {} are in {zones}; KMS needs {needed} zones", cluster.id);
            failed(Problem::target(ProblemKind::OneZone, detail))
        }
    })
}

pub(in crate::check) fn related(evidence: &Evidence) -> Vec<Judgement> {
    let control_plane = evidence.aws.control_plane.as_ref();
    let present = control_plane.and_then(|plane| plane.observed()).and_then(|store| match &store.configuration {
        Configuration::CloudHsm(present) => Some(present),
        Configuration::Xks(_) | Configuration::Unrecognized { .. } => None,
    });
    told(evidence, |told, subject| match (present, told.cluster(&subject.cluster)) {
        _ if control_plane.is_some_and(|plane| plane.after_update) => not_applicable("the update has been made"),
        (None, _) => not_applicable("the present cluster is not known"),
        (Some(present), _) if present.cluster == subject.cluster => not_applicable("the cluster stays"),
        (Some(_), None) => NOT_FOUND,
        (Some(present), Some(wanted)) => relation(present, told, wanted),
    })
}

/// KMS compares the certificate of the cluster with that of the store's first one, which all clusters have that were
/// ever related to it.
fn relation(present: &CloudHsmConfiguration, told: &CloudHsmEvidence, wanted: &Cluster) -> Outcome {
    let unread = |detail: String| failed(Problem::own(ProblemKind::Unread, detail));
    let unrelated = |detail: String| failed(Problem::target(ProblemKind::UnrelatedCluster, detail));
    let Some(certificate) = &wanted.certificate else {
        return match &wanted.state {
            ClusterState::Active => {
                unread(format!("CloudHSM shows no cluster certificate of {} to compare", wanted.id))
            }
            // It has no certificate yet, and cloudhsm.active fails.
            ClusterState::Other(_) => NOT_FOUND,
        };
    };
    match (told.cluster(&present.cluster).and_then(|cluster| cluster.certificate.as_ref()), &present.trust_anchor) {
        (Some(former), _) if former.sha256 == certificate.sha256 => {
            passed(format!("{} and {} have the same cluster certificate", wanted.id, present.cluster))
        }
        (Some(_), _) => unrelated(format!(
            "the cluster certificate of {} is not that of {}: they share no backup history, so the keys are not there",
            wanted.id, present.cluster
        )),
        // Without the present cluster there is still the authority that issued its certificate. Another authority
        // excludes the relation; the same one may have issued certificates of clusters that are strangers.
        (None, Some(anchor)) if anchor.subject != certificate.issuer => unrelated(format!(
            "the cluster certificate of {} was issued by {}, and the key store's trust anchor is {}",
            wanted.id, certificate.issuer, anchor.subject
        )),
        (None, _) => unread(format!(
            "CloudHSM shows no certificate of the present cluster {}, so nobody can tell whether {} is related to it; \
             that the same authority issued its certificate is no proof",
            present.cluster, wanted.id
        )),
    }
}

pub(in crate::check) fn subnets(evidence: &Evidence) -> Vec<Judgement> {
    cluster(evidence, |cluster| {
        let shown = cluster.subnets.iter().map(|(zone, subnet)| format!("{subnet} in {zone}"));
        let shown = shown.collect::<Vec<_>>().join(", ");
        if cluster.subnets.len() >= FOR_UPDATE {
            passed(format!("{shown}, as the cluster shows; EC2 was not asked for them"))
        } else {
            let shown = if shown.is_empty() { "no subnet" } else { &shown };
            let detail = format!("{} has {shown}; KMS needs private subnets in two Availability Zones", cluster.id);
            failed(Problem::target(ProblemKind::OneZone, detail))
        }
    })
}

pub(in crate::check) fn security_group(evidence: &Evidence) -> Vec<Judgement> {
    let rules = evidence.aws.cloud_hsm.as_ref().and_then(|told| told.security_group.as_ref());
    cluster(evidence, |cluster| match (&cluster.security_group, rules) {
        (None, _) => {
            let detail = format!("CloudHSM shows no security group of {}", cluster.id);
            failed(Problem::target(ProblemKind::PortsClosed, detail))
        }
        (Some(group), None) => {
            let detail = format!("EC2 was not asked for the rules of {group}; set vpc.ec2_endpoint_url");
            failed(Problem::own(ProblemKind::Unread, detail))
        }
        (Some(_), Some(Err(problem))) => failed(problem.clone()),
        (Some(_), Some(Ok(rules))) => match closed(rules) {
            None => passed(format!("{} admits TCP 2223 to 2225 from and to itself", rules.id)),
            Some(closed) => {
                let detail = format!("{} does not admit {closed} the group itself", rules.id);
                failed(Problem::target(ProblemKind::PortsClosed, detail))
            }
        },
    })
}

/// The first port that is closed, with the direction.
fn closed(rules: &SecurityGroupRules) -> Option<String> {
    [("from", &rules.inbound), ("to", &rules.outbound)].into_iter().find_map(|(direction, open)| {
        let port = PORTS.clone().find(|port| !open.iter().any(|range| range.contains(port)))?;
        Some(format!("TCP {port} {direction}"))
    })
}

pub(in crate::check) fn not_in_use(evidence: &Evidence) -> Vec<Judgement> {
    let Some(subject) = &evidence.subject.cluster else {
        return whole(not_applicable("no CloudHSM key store is being changed"));
    };
    whole(match &evidence.aws.control_plane {
        None => not_applicable("no key store is being changed"),
        Some(control_plane) => {
            if let Err(problem) = &control_plane.stores {
                return whole(failed(problem.clone()));
            }
            let uses = |configuration: &Configuration| matches!(configuration, Configuration::CloudHsm(hsm) if hsm.cluster == subject.cluster);
            match control_plane.others().find(|other| uses(&other.configuration)) {
                Some(other) => {
                    let detail = format!("{} ({}) uses {}", other.id, other.name, subject.cluster);
                    failed(Problem::target(ProblemKind::InUse, detail))
                }
                None => passed("no other key store uses it"),
            }
        }
    })
}
