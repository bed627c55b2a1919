//! A CloudHSM key store is to get another cluster.

use xks_preflight::sandbox::cloudhsm::{CloudHsmFault, Cluster};
use xks_preflight::sandbox::ec2::SecurityGroup;
use xks_preflight::sandbox::kms::SeedStore;
use xks_preflight::sandbox::query::QueryFault;

use super::row::*;
use crate::cloudhsm::bench::{Bench, RELATED, STRANGER};
use crate::cloudhsm::seen;

/// A related cluster, spoiled.
async fn cluster(spoil: impl FnOnce(&mut Cluster)) -> Seen {
    seen(RELATED, |bench| assert!(bench.clusters.change(RELATED, spoil))).await
}

/// A CloudHSM that cannot be asked.
async fn asking(fault: CloudHsmFault) -> Seen {
    seen(RELATED, |bench| bench.cloudhsm.inject(fault, u32::MAX)).await
}

/// A related cluster whose security group is spoiled.
async fn ports(spoil: impl FnOnce(&mut SecurityGroup)) -> Seen {
    seen(RELATED, |bench| bench.ec2.change(|state| spoil(&mut state.security_groups[0]))).await
}

/// An EC2 that cannot be asked for the security group.
async fn unread(fault: QueryFault) -> Seen {
    seen(RELATED, |bench| bench.ec2.inject("DescribeSecurityGroups", fault, u32::MAX)).await
}

fn in_use(bench: &Bench) {
    bench.kms.add_store(SeedStore::cloud_hsm("theirs", RELATED, "TheirsDoNotLeak", "anchor"));
}

const NOT_ACTIVE: Kms = raises("CloudHsmClusterNotActiveException");
const NOT_RELATED: Kms = raises("CloudHsmClusterNotRelatedException");

pub(super) const ROWS: &[Row] = &[
    run_by(|_| Box::pin(seen(RELATED, |_| ())), "a cluster made from a backup of the present one", Expected::Permitted),
    run_by(
        |_| Box::pin(seen(STRANGER, |_| ())),
        "a cluster of another history",
        blocked("cloudhsm.related", "unrelated_cluster", NOT_RELATED),
    ),
    run_by(
        |_| Box::pin(cluster(|c| c.deleted = true)),
        "a cluster that is deleted",
        blocked("cloudhsm.cluster_found", "not_found", CLUSTER_NOT_FOUND),
    ),
    run_by(
        |_| Box::pin(cluster(|c| c.state = "INITIALIZED".into())),
        "a cluster that is INITIALIZED",
        blocked("cloudhsm.active", "cluster_not_active", NOT_ACTIVE),
    ),
    run_by(
        |_| Box::pin(cluster(|c| c.state = "DEGRADED".into())),
        "a cluster that is DEGRADED",
        blocked("cloudhsm.active", "cluster_not_active", NOT_ACTIVE),
    ),
    run_by(
        |_| Box::pin(cluster(|c| c.hsms.clear())),
        "a cluster without HSMs",
        blocked("cloudhsm.hsms", "too_few_hsms", INSUFFICIENT_HSMS),
    ),
    run_by(
        |_| Box::pin(cluster(|c| c.hsms[0].state = "CREATE_IN_PROGRESS".into())),
        "a cluster with one active HSM",
        blocked("cloudhsm.hsms", "too_few_hsms", INSUFFICIENT_HSMS),
    ),
    run_by(
        |_| Box::pin(cluster(|c| c.hsms[0].zone = "us-east-1b".into())),
        "a cluster with both HSMs in one zone",
        blocked("cloudhsm.zones", "one_zone", INVALID_CLUSTER),
    ),
    run_by(
        |_| Box::pin(cluster(|c| drop(c.subnets.pop_first()))),
        "a cluster with a subnet in one zone",
        blocked("cloudhsm.subnets", "one_zone", SUBNET_NOT_FOUND),
    ),
    run_by(
        |_| Box::pin(cluster(|c| c.security_group.clear())),
        "a cluster without its security group",
        blocked("cloudhsm.security_group", "ports_closed", INVALID_CLUSTER),
    ),
    run_by(
        |_| Box::pin(ports(|group| group.from_itself = vec![2223..=2224])),
        "a cluster whose security group closes a port to itself",
        blocked("cloudhsm.security_group", "ports_closed", INVALID_CLUSTER),
    ),
    run_by(
        |_| Box::pin(ports(|group| group.from_itself = vec![2223..=2223, 2225..=2225])),
        "a cluster whose security group leaves out the port in the middle",
        blocked("cloudhsm.security_group", "ports_closed", INVALID_CLUSTER),
    ),
    run_by(
        |_| Box::pin(ports(|group| group.to_itself.clear())),
        "a cluster whose security group lets nothing out to itself",
        blocked("cloudhsm.security_group", "ports_closed", INVALID_CLUSTER),
    ),
    run_by(
        |_| {
            Box::pin(ports(|group| {
                (group.from_itself, group.inbound) = (Vec::new(), vec![(None, "0.0.0.0/0".to_owned())]);
            }))
        },
        "a cluster whose security group admits everybody, but not by a rule for itself",
        blocked("cloudhsm.security_group", "ports_closed", INVALID_CLUSTER),
    ),
    run_by(
        |_| {
            Box::pin(ports(|group| {
                (group.from_itself, group.to_itself) = (vec![2223..=2223, 2224..=2225], vec![0..=65535]);
            }))
        },
        "a cluster whose security group opens more, or by more rules",
        Expected::Permitted,
    ),
    run_by(
        |_| Box::pin(ports(|group| group.id.push('1'))),
        "a cluster whose security group EC2 does not know",
        inconclusive("cloudhsm.security_group", "unread", UNSAID),
    ),
    run_by(
        |_| Box::pin(unread(QueryFault::Denied)),
        "a cluster's security group may not be described",
        inconclusive("cloudhsm.security_group", "access_denied", UNSAID),
    ),
    run_by(
        |_| Box::pin(unread(QueryFault::Unavailable)),
        "EC2 does not answer for a cluster's security group",
        inconclusive("cloudhsm.security_group", "unread", UNSAID),
    ),
    run_by(
        |_| Box::pin(unread(QueryFault::AnotherAnswer)),
        "EC2 answers something else about a cluster's security group",
        inconclusive("cloudhsm.security_group", "unread", UNSAID),
    ),
    run_by(
        |_| Box::pin(unread(QueryFault::Truncated)),
        "EC2 breaks off what it says of a cluster's security group",
        inconclusive("cloudhsm.security_group", "unread", UNSAID),
    ),
    run_by(
        |_| Box::pin(seen(RELATED, in_use)),
        "a cluster of another key store",
        blocked("cloudhsm.not_in_use", "in_use", raises("CloudHsmClusterInUseException")),
    ),
    run_by(
        |_| Box::pin(asking(CloudHsmFault::AccessDenied)),
        "clusters may not be described",
        inconclusive("cloudhsm.cluster_found", "access_denied", UNSAID),
    ),
    run_by(
        |_| Box::pin(asking(CloudHsmFault::OwnAccessDenied)),
        "clusters may not be described, in CloudHSM's own words",
        inconclusive("cloudhsm.cluster_found", "access_denied", UNSAID),
    ),
    run_by(
        |_| Box::pin(asking(CloudHsmFault::Internal)),
        "CloudHSM fails internally",
        inconclusive("cloudhsm.cluster_found", "unread", UNSAID),
    ),
    run_by(
        |_| Box::pin(asking(CloudHsmFault::Unavailable)),
        "CloudHSM is unavailable",
        inconclusive("cloudhsm.cluster_found", "unread", UNSAID),
    ),
    run_by(
        |_| Box::pin(asking(CloudHsmFault::ReplyLost)),
        "the answer of CloudHSM is lost",
        inconclusive("cloudhsm.cluster_found", "unread", UNSAID),
    ),
    run_by(
        |_| Box::pin(asking(CloudHsmFault::Throttling)),
        "CloudHSM throttles",
        inconclusive("cloudhsm.cluster_found", "unread", UNSAID),
    ),
    run_by(
        |_| Box::pin(asking(CloudHsmFault::Garbage)),
        "what CloudHSM says makes no sense",
        inconclusive("cloudhsm.cluster_found", "unread", UNSAID),
    ),
    run_by(
        |_| Box::pin(asking(CloudHsmFault::EndlessPages)),
        "the list of clusters does not end",
        inconclusive("cloudhsm.cluster_found", "unread", UNSAID),
    ),
    run_by(
        |_| Box::pin(asking(CloudHsmFault::Stateless)),
        "CloudHSM does not tell a cluster's state",
        inconclusive("cloudhsm.active", "unread", UNSAID),
    ),
    run_by(
        |_| Box::pin(asking(CloudHsmFault::NoCertificates)),
        "CloudHSM does not tell a cluster's certificate",
        inconclusive("cloudhsm.related", "unread", UNSAID),
    ),
    run_by(
        |_| Box::pin(asking(CloudHsmFault::OthersClusters)),
        "CloudHSM tells of other clusters",
        blocked("cloudhsm.cluster_found", "not_found", CLUSTER_NOT_FOUND),
    ),
];
