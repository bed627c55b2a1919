//! Judges of the CloudHSM cluster.
use std::collections::BTreeMap;

use super::*;
use crate::check::{CloudHsmEvidence, Cluster, ClusterState, ClusterSubject, Hsm, SecurityGroupRules};
use crate::id::{IdSource, UpdateId};
use crate::key_store::{CertificateIdentity, CloudHsmClusterId, CloudHsmConfiguration, Member};

const PRESENT: &str = "cluster-present2345";
const WANTED: &str = "cluster-wanted23456";

fn id(text: &str) -> CloudHsmClusterId {
    CloudHsmClusterId::parse(text).unwrap()
}

fn certificate(of: &str, issuer: &str) -> CertificateIdentity {
    CertificateIdentity { subject: format!("CN={of}"), issuer: format!("CN={issuer}"), sha256: of.to_owned() }
}

fn hsm(number: u8, zone: &str) -> Hsm {
    Hsm { id: format!("hsm-{number}"), state: "ACTIVE".to_owned(), zone: Some(zone.to_owned()) }
}

fn cluster(text: &str) -> Cluster {
    let zones = ["us-east-1a", "us-east-1b"];
    Cluster {
        id: id(text),
        state: ClusterState::Active,
        hsms: vec![hsm(1, zones[0]), hsm(2, zones[1])],
        subnets: zones.iter().map(|zone| ((*zone).to_owned(), format!("subnet-{zone}"))).collect(),
        security_group: Some("sg-1".to_owned()),
        certificate: Some(certificate("family", "owner")),
    }
}

fn cluster_store(name: &str, cluster: &str) -> KeyStore {
    KeyStore {
        configuration: Configuration::CloudHsm(CloudHsmConfiguration {
            cluster: id(cluster),
            trust_anchor: Some(certificate("owner", "owner")),
        }),
        ..store(name, name, "https://unused.example.com")
    }
}

/// A change of the cluster of one of two CloudHSM key stores, in good order.
fn moving() -> Evidence {
    let own = cluster_store("cks-1", PRESENT);
    let control_plane = ControlPlane {
        key_store: own.id.clone(),
        stores: Ok(vec![own.clone(), cluster_store("cks-2", "cluster-theirs23456")]),
        change: Change { cluster: Some(id(WANTED)), ..Change::default() },
        believed: Some(own.clone()),
        rollback_impossible: None,
        outage_acknowledged: true,
        after_update: false,
    };
    let subject = ClusterSubject { key_store: own.id, cluster: id(WANTED), password: None };
    let rules = SecurityGroupRules { id: "sg-1".to_owned(), inbound: vec![2223..=2225], outbound: vec![0..=65535] };
    Evidence {
        aws: AwsEvidence {
            control_plane: Some(control_plane),
            cloud_hsm: Some(CloudHsmEvidence {
                clusters: Ok(vec![cluster(PRESENT), cluster(WANTED)]),
                security_group: Some(Ok(rules)),
            }),
            ..AwsEvidence::default()
        },
        ..Evidence::new(now(), Subject::of_cluster(subject, Region::parse("us-east-1").unwrap(), false))
    }
}

fn clusters(evidence: &mut Evidence) -> &mut Vec<Cluster> {
    evidence.aws.cloud_hsm.as_mut().unwrap().clusters.as_mut().unwrap()
}

fn wanted(evidence: &mut Evidence) -> &mut Cluster {
    &mut clusters(evidence)[1]
}

fn rules(evidence: &mut Evidence) -> &mut SecurityGroupRules {
    let rules = evidence.aws.cloud_hsm.as_mut().unwrap().security_group.as_mut();
    rules.unwrap().as_mut().unwrap()
}

pub(super) const SPOILS: &[(&str, Spoil)] = &[
    ("cloudhsm.cluster_found", |e| {
        *e = moving();
        clusters(e).pop();
    }),
    ("cloudhsm.active", |e| {
        *e = moving();
        wanted(e).state = ClusterState::Other("INITIALIZED".into());
    }),
    ("cloudhsm.hsms", |e| {
        *e = moving();
        wanted(e).hsms[1].state = "DEGRADED".into();
    }),
    ("cloudhsm.zones", |e| {
        *e = moving();
        wanted(e).hsms[1].zone = Some("us-east-1a".into());
    }),
    ("cloudhsm.related", |e| {
        *e = moving();
        wanted(e).certificate = Some(certificate("stranger", "owner"));
    }),
    ("cloudhsm.subnets", |e| {
        *e = moving();
        wanted(e).subnets = BTreeMap::from([("us-east-1a".into(), "subnet-a".into())]);
    }),
    ("cloudhsm.security_group", |e| {
        *e = moving();
        rules(e).inbound = vec![2223..=2223, 2225..=2225];
    }),
    ("cloudhsm.not_in_use", |e| {
        *e = moving();
        let theirs = Configuration::CloudHsm(CloudHsmConfiguration { cluster: id(WANTED), trust_anchor: None });
        other(e).configuration = theirs;
    }),
];

/// Evidence on which every check of this chapter passes.
pub(super) fn passing() -> Vec<Evidence> {
    vec![moving()]
}

fn outcome(evidence: &Evidence, id: &str) -> Outcome {
    judged(evidence).into_iter().find(|finding| finding.check.id == id).unwrap().outcome
}

#[test]
fn a_cluster_in_good_order_is_ready_and_no_stage_of_a_proxy_is_judged() {
    let judged = report(moving(), &JudgingPolicy::default());
    assert_eq!(judged.verdict(), Verdict::Ready);
    for finding in &judged.findings {
        let of_proxy =
            finding.check.stage <= Stage::Key || matches!(finding.check.stage, Stage::Vpc | Stage::Perspective);
        let no_proxy = finding.outcome == Outcome::NotApplicable("the key store has no proxy".into());
        assert_eq!(no_proxy, of_proxy && finding.check.id != "input.travels_together", "{}", finding.check.id);
    }
    let of_cluster = judged_of(&good(), Stage::CloudHsm);
    assert!(!of_cluster.is_empty() && of_cluster.iter().all(|outcome| matches!(outcome, Outcome::NotApplicable(_))));
}

fn judged_of(evidence: &Evidence, stage: Stage) -> Vec<Outcome> {
    judged(evidence).into_iter().filter(|finding| finding.check.stage == stage).map(|finding| finding.outcome).collect()
}

#[test]
fn each_spoil_fails_its_check_alone_and_in_kms_words() {
    for (check, spoil) in SPOILS {
        let mut evidence = good();
        spoil(&mut evidence);
        let report = report(evidence, &JudgingPolicy::default());
        let failed: Vec<_> = report.failed_musts().map(|finding| finding.check.id).collect();
        // Too few HSMs are in too few zones, too.
        let expected = if *check == "cloudhsm.hsms" { vec!["cloudhsm.hsms", "cloudhsm.zones"] } else { vec![*check] };
        assert_eq!(failed, expected);
        assert!(report.decisive().unwrap().kms.as_ref().unwrap().exception.is_some(), "{check}");
    }
}

#[test]
fn what_cloudhsm_did_not_tell_is_never_ready() {
    let mut denied = moving();
    denied.aws.cloud_hsm.as_mut().unwrap().clusters = Err(Problem::own(ProblemKind::AccessDenied, "denied"));
    let mut unasked = moving();
    unasked.aws.cloud_hsm = None;
    let mut bare = moving();
    wanted(&mut bare).certificate = None;
    let mut lost = moving();
    clusters(&mut lost).remove(0);
    let mut rules_denied = moving();
    let denial = Problem::own(ProblemKind::AccessDenied, "denied");
    rules_denied.aws.cloud_hsm.as_mut().unwrap().security_group = Some(Err(denial));
    for evidence in [denied, unasked, bare, lost, rules_denied] {
        assert_eq!(report(evidence, &JudgingPolicy::default()).verdict(), Verdict::Inconclusive);
    }
}

#[test]
fn without_the_present_cluster_another_authority_excludes_the_relation() {
    let mut evidence = moving();
    wanted(&mut evidence).certificate = Some(certificate("family", "somebody else"));
    clusters(&mut evidence).remove(0);
    assert!(
        matches!(outcome(&evidence, "cloudhsm.related"), Outcome::Failed(problem) if problem.kind == ProblemKind::UnrelatedCluster)
    );
}

#[test]
fn what_stays_is_not_compared_and_what_is_connected_needs_one_hsm() {
    let mut renamed = moving();
    renamed.subject.cluster.as_mut().unwrap().cluster = id(PRESENT);
    assert!(matches!(outcome(&renamed, "cloudhsm.related"), Outcome::NotApplicable(_)));
    let mut made = moving();
    plane(&mut made).after_update = true;
    plane(&mut made).stores.as_mut().unwrap()[0] = cluster_store("cks-1", WANTED);
    wanted(&mut made).hsms.pop();
    assert_eq!(report(made, &JudgingPolicy::default()).verdict(), Verdict::Ready);
}

#[test]
fn a_security_group_that_ec2_was_not_asked_about_is_not_taken_for_a_good_one() {
    let mut evidence = moving();
    evidence.aws.cloud_hsm.as_mut().unwrap().security_group = None;
    assert!(matches!(outcome(&evidence, "cloudhsm.security_group"), Outcome::OwnFault(_)));
    assert_eq!(report(evidence.clone(), &JudgingPolicy::default()).verdict(), Verdict::Inconclusive);
    wanted(&mut evidence).security_group = None;
    assert!(matches!(outcome(&evidence, "cloudhsm.security_group"), Outcome::Failed(_)));
}

#[test]
fn a_new_password_is_another_candidate() {
    let ids = IdSource::from_seed(1);
    let mut evidence = moving();
    let before = evidence.subject.kms_settings_digest();
    evidence.subject.cluster.as_mut().unwrap().password = Some(UpdateId::new(&ids, now()));
    assert_ne!(evidence.subject.kms_settings_digest(), before);
    plane(&mut evidence).change.password = true;
    let differences = plane(&mut evidence).change.members();
    assert_eq!(differences, [Member::Cluster, Member::Password]);
    assert_eq!(report(evidence, &JudgingPolicy::default()).verdict(), Verdict::Ready);
}

#[test]
fn a_waiver_of_what_is_missing_waives_nothing_else() {
    let mut absent = moving();
    clusters(&mut absent).pop();
    assert_eq!(super::report(absent, &super::waiving("cloudhsm.cluster_found")).verdict(), Verdict::Inconclusive);
    let mut young = moving();
    wanted(&mut young).state = ClusterState::Other("INITIALIZED".into());
    wanted(&mut young).certificate = None;
    assert_eq!(super::report(young, &super::waiving("cloudhsm.active")).verdict(), Verdict::Inconclusive);
}
