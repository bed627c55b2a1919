//! Every check both passes and fails somewhere in the matrix, and every fault of the sandbox's proxy is in it. What is
//! not is listed here, and the lists may only shrink: an entry that has been covered fails the test.

use std::collections::BTreeSet;

use xks_preflight::check::CATALOGUE;
use xks_preflight::sandbox::fault::{Fault, Misbehaviour};

use super::{How, results, rows};

/// A check, what it does nowhere in the matrix yet, and why.
type Gap = (&'static str, &'static str, &'static str);

/// What real sockets on loopback cannot show; the judges' own tests show it on evidence made for it.
const NOT_ON_LOOPBACK: &[Gap] =
    &[("tcp.round_trip", "failed", "a connection on loopback takes no 35 ms, and none can be made to")];

/// What no row shows yet.
const NOT_YET: &[Gap] = &[
    ("input.travels_together", "passed", "needs a row of the control plane"),
    ("input.travels_together", "failed", "needs a row of the control plane"),
    ("dns.private_name", "failed", "needs a row of names"),
    ("tls.key_strength", "failed", "needs a chain with a weak key"),
    ("kms.key_store_exists", "passed", "needs a row of the control plane"),
    ("kms.key_store_exists", "failed", "needs a row of the control plane"),
    ("kms.type_matches", "passed", "needs a row of the control plane"),
    ("kms.type_matches", "failed", "needs a row of the control plane"),
    ("kms.connection_state", "passed", "needs a row of the control plane"),
    ("kms.connection_state", "failed", "needs a row of the control plane"),
    ("kms.name_free", "passed", "needs a row of the control plane"),
    ("kms.name_free", "failed", "needs a row of the control plane"),
    ("kms.uri_free", "passed", "needs a row of the control plane"),
    ("kms.uri_free", "failed", "needs a row of the control plane"),
    ("kms.endpoint_free", "passed", "needs a row of the control plane"),
    ("kms.endpoint_free", "failed", "needs a row of the control plane"),
    ("kms.service_free", "passed", "needs a row of the control plane"),
    ("kms.service_free", "failed", "needs a row of the control plane"),
    ("kms.no_drift", "passed", "needs a row of the control plane"),
    ("kms.no_drift", "failed", "needs a row of the control plane"),
    ("kms.changes_something", "passed", "needs a row of the control plane"),
    ("kms.changes_something", "failed", "needs a row of the control plane"),
    ("key.enumerated", "passed", "needs a row of the control plane"),
    ("key.enumerated", "failed", "needs a row of the control plane"),
    ("kms.permissions", "passed", "needs a row of the control plane"),
    ("kms.permissions", "failed", "needs a row of the control plane"),
    ("kms.rollback_possible", "passed", "needs a row of the control plane"),
    ("kms.rollback_possible", "failed", "needs a row of the control plane"),
    ("kms.outage", "passed", "needs a row of the control plane"),
    ("kms.outage", "failed", "needs a row of the control plane"),
    ("key.metadata", "failed", "needs a row of its own"),
    ("key.continuity", "passed", "needs a row of its own"),
    ("key.continuity", "failed", "needs a row of its own"),
    ("key.continuity_back", "passed", "needs a row of its own"),
    ("key.continuity_back", "failed", "needs a row of its own"),
    ("vpc.service_found", "passed", "needs a row of its own"),
    ("vpc.service_found", "failed", "needs a row of its own"),
    ("vpc.available", "passed", "needs a row of its own"),
    ("vpc.available", "failed", "needs a row of its own"),
    ("vpc.interface_nlb", "passed", "needs a row of its own"),
    ("vpc.interface_nlb", "failed", "needs a row of its own"),
    ("vpc.same_region", "passed", "needs a row of its own"),
    ("vpc.same_region", "failed", "needs a row of its own"),
    ("vpc.principal_allowed", "passed", "needs a row of its own"),
    ("vpc.principal_allowed", "failed", "needs a row of its own"),
    ("vpc.acceptance_off", "passed", "needs a row of its own"),
    ("vpc.acceptance_off", "failed", "needs a row of its own"),
    ("vpc.private_dns_name", "passed", "needs a row of its own"),
    ("vpc.private_dns_name", "failed", "needs a row of its own"),
    ("vpc.private_dns_verified", "passed", "needs a row of its own"),
    ("vpc.private_dns_verified", "failed", "needs a row of its own"),
    ("vpc.two_zones", "passed", "needs a row of its own"),
    ("vpc.two_zones", "failed", "needs a row of its own"),
    ("vpc.ipv4", "passed", "needs a row of its own"),
    ("vpc.ipv4", "failed", "needs a row of its own"),
    ("vpc.listener_443", "passed", "needs a row of its own"),
    ("vpc.listener_443", "failed", "needs a row of its own"),
    ("vpc.targets_healthy", "passed", "needs a row of its own"),
    ("vpc.targets_healthy", "failed", "needs a row of its own"),
    ("vpc.proxy_protocol_off", "passed", "needs a row of its own"),
    ("vpc.proxy_protocol_off", "failed", "needs a row of its own"),
    ("vpc.security_groups", "passed", "needs a row of its own"),
    ("vpc.security_groups", "failed", "needs a row of its own"),
    ("vpc.dns_support", "passed", "needs a row of its own"),
    ("vpc.dns_support", "failed", "needs a row of its own"),
    ("vpc.principal_not_wildcard", "passed", "needs a row of its own"),
    ("vpc.principal_not_wildcard", "failed", "needs a row of its own"),
    ("cloudhsm.cluster_found", "passed", "needs a row of its own"),
    ("cloudhsm.cluster_found", "failed", "needs a row of its own"),
    ("cloudhsm.active", "passed", "needs a row of its own"),
    ("cloudhsm.active", "failed", "needs a row of its own"),
    ("cloudhsm.hsms", "passed", "needs a row of its own"),
    ("cloudhsm.hsms", "failed", "needs a row of its own"),
    ("cloudhsm.zones", "passed", "needs a row of its own"),
    ("cloudhsm.zones", "failed", "needs a row of its own"),
    ("cloudhsm.related", "passed", "needs a row of its own"),
    ("cloudhsm.related", "failed", "needs a row of its own"),
    ("cloudhsm.subnets", "passed", "needs a row of its own"),
    ("cloudhsm.subnets", "failed", "needs a row of its own"),
    ("cloudhsm.security_group", "passed", "needs a row of its own"),
    ("cloudhsm.security_group", "failed", "needs a row of its own"),
    ("cloudhsm.not_in_use", "passed", "needs a row of its own"),
    ("cloudhsm.not_in_use", "failed", "needs a row of its own"),
];

/// Faults of the sandbox's proxy that no row brings about yet.
const FAULTS_NOT_YET: &[Fault] = &[
    Fault::KeySpecRsa,
    Fault::KeySpecMissing,
    Fault::KeyDisabled,
    Fault::KeyStatusUnknown,
    Fault::KeyUsageWithoutEncrypt,
    Fault::KeyUsageWithoutDecrypt,
    Fault::KeyUsageEleven,
    Fault::KeyMaterialSwapped,
    Fault::CdivMissing,
    Fault::CiphertextCorrupted,
    Fault::CiphertextNotBase64,
    Fault::InitializationVectorShort,
    Fault::AuthenticationTagShort,
    Fault::CiphertextMetadataOverlong,
    Fault::PlaintextWrong,
    Fault::AdditionalDataIgnored,
];

#[tokio::test(flavor = "multi_thread")]
async fn every_check_passes_and_fails_somewhere() {
    let findings = || results_findings();
    let seen: BTreeSet<(String, String)> = findings().await;
    let gaps: BTreeSet<(&str, &str)> =
        NOT_ON_LOOPBACK.iter().chain(NOT_YET).map(|(check, outcome, _)| (*check, *outcome)).collect();
    let mut wrong = Vec::new();
    for check in CATALOGUE.iter() {
        for outcome in ["passed", "failed"] {
            let shown = seen.contains(&(check.id.to_owned(), outcome.to_owned()));
            match (shown, gaps.contains(&(check.id, outcome))) {
                (false, false) => wrong.push(format!("(\"{}\", \"{outcome}\", \"\"),", check.id)),
                (true, true) => wrong.push(format!("{} {outcome} is covered: take it out of the list", check.id)),
                _ => {}
            }
        }
    }
    for (check, ..) in gaps.iter().filter(|(check, _)| CATALOGUE.iter().all(|known| known.id != *check)) {
        wrong.push(format!("{check} is no check"));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The union of what the rows showed: check and outcome.
async fn results_findings() -> BTreeSet<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let judged = results().await.iter();
    judged.flat_map(|judged| judged.seen.findings()).map(|f| (text(&f["check"]), text(&f["outcome"]))).collect()
}

#[test]
fn every_fault_of_the_proxy_is_brought_about() {
    let told = rows().filter(|row| matches!(row.how, How::Proxy | How::SecondAddress));
    let brought: BTreeSet<Fault> = told.map(|row| row.fault.parse::<Misbehaviour>().unwrap().fault).collect();
    let mut wrong = Vec::new();
    for fault in Fault::ALL {
        match (brought.contains(fault), FAULTS_NOT_YET.contains(fault)) {
            (false, false) => wrong.push(format!("Fault::{fault:?},")),
            (true, true) => wrong.push(format!("{fault} is covered: take it out of the list")),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
