//! What findings come to: the verdict, its reservations, and what waivers change and do not.

use super::*;

#[test]
fn verdicts() {
    let none = JudgingPolicy::default();
    assert_eq!(report(good(), &none).verdict(), Verdict::Ready);
    let mut own = good();
    own.addresses[0].samples = vec![stopped(Stage::Tcp, ProblemKind::LocalResources)];
    if let Some(stop) = &mut own.addresses[0].samples[0].first.stop {
        stop.problem.fault = Fault::Own;
    }
    assert_eq!(report(own, &none).verdict(), Verdict::Inconclusive);
    let mut unread = good();
    plane(&mut unread).stores = Err(Problem::own(ProblemKind::AccessDenied, "DescribeCustomKeyStores is denied"));
    assert_eq!(report(unread, &none).verdict(), Verdict::Inconclusive);
    let mut slow = good();
    slow.addresses[0].samples[0].first.connect = Some(Duration::from_millis(80));
    assert_eq!(report(slow.clone(), &none).verdict(), Verdict::Ready);
    let promoted = JudgingPolicy { promoted: vec!["tcp.round_trip".to_owned()], waivers: Vec::new() };
    let report_of_slow = report(slow, &promoted);
    assert_eq!(report_of_slow.verdict(), Verdict::Blocked);
    assert_eq!(report_of_slow.level(find("tcp.round_trip").unwrap()), Level::Must);
}

#[test]
fn a_way_back_that_was_not_seen_to_work_is_told() {
    let mut evidence = good();
    plane(&mut evidence).change.credential = Some(
        crate::key_store::ProxyCredential {
            access_key_id: crate::key_store::AccessKeyId::parse("AKIAI2SFODNN7EXAMPLE").unwrap(),
            secret_access_key: crate::key_store::RawSecretAccessKey::parse(
                "TestSecretDoNotLeak0123456789012345678901234567",
            )
            .unwrap(),
        }
        .reference(crate::key_store::CredentialSource::Sealed),
    );
    let told = |evidence: &Evidence| {
        judged(evidence).into_iter().find(|finding| finding.check.id == "kms.rollback_possible").unwrap().outcome
    };
    assert!(matches!(told(&evidence), Outcome::Passed(_)));
    evidence.baseline_health = None;
    assert!(matches!(told(&evidence), Outcome::OwnFault(_)));
}

#[test]
fn ready_has_reservations_where_something_was_not_proven_or_is_waived() {
    let told = |evidence: Evidence, policy: &JudgingPolicy| {
        let report = report(evidence, policy);
        assert_eq!(report.verdict(), Verdict::Ready);
        report.reservations()
    };
    assert_eq!(told(good(), &JudgingPolicy::default()), Vec::<String>::new());
    let mut unproven = good();
    unproven.keys = crate::check::KeyEvidence::default();
    assert_eq!(
        told(unproven, &JudgingPolicy::default()),
        ["NOT PROVEN that the keys behind them are the same keys (key.continuity)"]
    );
    let mut unavailable = good();
    body(&mut unavailable, 200, &HEALTHY.replace("ACTIVE", "UNAVAILABLE"));
    assert_eq!(
        told(unavailable, &waiving("health.ekm_available")),
        [
            "waived: health.ekm_available (KMS would refuse UpdateCustomKeyStore with XksProxyUriUnreachableException \
             over health.ekm_available)",
            "warnings: health.ekm_degraded"
        ]
    );
    let mut warned = good();
    plane(&mut warned).rollback_impossible = Some("the old secret is not held".into());
    warned.aws.permissions = Some(Err(Problem::own(ProblemKind::TimedOut, "IAM does not answer")));
    assert_eq!(told(warned, &JudgingPolicy::default()), ["warnings: kms.permissions, kms.rollback_possible"]);
}

#[test]
fn connect_to_stands_for_no_public_name() {
    let judged = |resolution: Resolution, policy: &JudgingPolicy| {
        let mut evidence = good();
        evidence.subject.connect_to = vec!["52.94.76.1:443".to_owned()];
        evidence.resolution = resolution;
        report(evidence, policy)
    };
    let none = JudgingPolicy::default();
    let answered =
        |ipv4: [u8; 4]| Resolution::Answered { took: Duration::ZERO, ipv4: vec![ipv4.into()], ipv6: Vec::new() };
    assert_eq!(judged(answered([52, 94, 76, 1]), &none).reservations(), Vec::<String>::new(), "the same place");
    let public = judged(answered([52, 94, 76, 9]), &none);
    assert_eq!(public.verdict(), Verdict::Ready);
    let told = public.reservations();
    assert!(told[0].starts_with("NOT PROVEN that KMS finds the same at the addresses of the name"), "{told:?}");
    assert_eq!(judged(answered([10, 0, 0, 7]), &none).verdict(), Verdict::Blocked, "KMS cannot reach it");
    let absent =
        || Resolution::Failed { took: Duration::ZERO, problem: Problem::target(ProblemKind::NameNotFound, "NXDOMAIN") };
    assert_eq!(judged(absent(), &none).verdict(), Verdict::Blocked);
    // Before the name is published, somebody may say so.
    let waived = judged(absent(), &waiving("dns.resolves"));
    assert_eq!((waived.verdict(), waived.reservations().len()), (Verdict::Ready, 2));
    // In a laboratory, and in a VPC, nobody asks for the name.
    assert_eq!(judged(Resolution::Bypassed, &none).reservations(), Vec::<String>::new());
}

#[test]
fn a_waiver_does_not_hide_what_was_not_reached_elsewhere() {
    let mut evidence = good();
    body(&mut evidence, 200, &HEALTHY.replace("ACTIVE", "UNAVAILABLE"));
    let mut unreached = address(2);
    unreached.samples.clear();
    evidence.addresses.push(unreached);
    let findings = report(evidence, &waiving("health.ekm_available")).findings;
    let told = |wanted: fn(&Outcome) -> bool| {
        findings.iter().any(|finding| finding.check.id == "health.ekm_available" && wanted(&finding.outcome))
    };
    assert!(told(|outcome| matches!(outcome, Outcome::Waived { .. })));
    assert!(told(|outcome| matches!(outcome, Outcome::NotReached { .. })));
}

#[test]
fn an_address_that_was_left_out_is_not_connected_to_by_a_waiver() {
    let mut evidence = good();
    evidence.left_out = Some(Problem::own(ProblemKind::UnfitAddress, "10.0.0.7 was not connected to"));
    let Resolution::Answered { ipv4, .. } = &mut evidence.resolution else { panic!() };
    ipv4.push(Ipv4Addr::new(10, 0, 0, 7));
    assert_eq!(report(evidence.clone(), &JudgingPolicy::default()).verdict(), Verdict::Blocked);
    assert_eq!(report(evidence, &waiving("dns.public_address")).verdict(), Verdict::Inconclusive);
}

#[test]
fn a_waiver_of_a_key_store_that_is_gone_waives_nothing_else() {
    let mut evidence = good();
    plane(&mut evidence).key_store = CustomKeyStoreId::parse("cks-9").unwrap();
    assert_eq!(report(evidence.clone(), &JudgingPolicy::default()).verdict(), Verdict::Blocked);
    assert_eq!(report(evidence, &waiving("kms.key_store_exists")).verdict(), Verdict::Inconclusive);
}

#[test]
fn a_waived_failure_is_shown_and_does_not_block() {
    let mut evidence = good();
    body(&mut evidence, 200, &HEALTHY.replace("ACTIVE", "UNAVAILABLE"));
    assert_eq!(report(evidence.clone(), &JudgingPolicy::default()).verdict(), Verdict::Blocked);
    let report = report(evidence, &waiving("health.ekm_available"));
    assert_eq!(report.verdict(), Verdict::Ready);
    assert!(
        report.findings.iter().any(|f| matches!(&f.outcome, Outcome::Waived { waiver, .. } if waiver.owner == "ops"))
    );
}
