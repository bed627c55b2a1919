//! Every check fails once and passes once, on evidence made for it; what real sockets give is shown in `tests/it`.

mod capacity;
mod cloudhsm;
mod key;
mod perspective;
mod refusal;
mod tls;
mod verdict;
mod vpc;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::*;
use crate::check::{
    Attempt, AwsEvidence, Certificate, ControlPlane, ExchangeEvidence, KmsList, KmsListing, Level, Permissions,
    ProblemKind, PublicKey, SIMULATED_ACTIONS, Sample, SampleKind, SecretEvidence, Stop, Subject, TlsEvidence, Trust,
    Verdict, find,
};
use crate::clock::Timestamp;
use crate::key_store::{
    AccessKeyId, Change, Configuration, ConnectionState, Connectivity, ConnectivityKind, CustomKeyStoreId,
    CustomKeyStoreName, KeyStore, Region, VpcEndpointServiceName, XksConfiguration, XksProxyUriEndpoint,
    XksProxyUriPath,
};

const HEALTHY: &str = r#"{"xksProxyFleetSize":2,"xksProxyVendor":"v","xksProxyModel":"m","ekmVendor":"e",
    "ekmFleetDetails":[{"id":"1","model":"m","healthStatus":"ACTIVE"},{"id":"2","model":"m","healthStatus":"ACTIVE"}]}"#;

fn now() -> Timestamp {
    Timestamp::parse("2026-11-23T12:00:00Z").unwrap()
}

fn days(days: u64) -> Duration {
    Duration::from_hours(24 * days)
}

fn certificate(name: &str, issuer: &str) -> Certificate {
    Certificate {
        subject: format!("CN={name}"),
        common_name: Some(name.to_owned()),
        san: vec![name.to_owned()],
        issuer: format!("CN={issuer}"),
        not_before: now().minus(days(1)),
        not_after: now().plus(days(90)),
        sha256: "00".repeat(32),
        key: PublicKey::Ec(256),
        signature_algorithm: "ecdsa-with-SHA256".to_owned(),
        weak_signature: false,
    }
}

fn answered(status: u16, body: &str) -> Sample {
    let ms = |n| Some(Duration::from_millis(n));
    let exchange = ExchangeEvidence {
        status,
        content_type: Some("application/json".to_owned()),
        location: None,
        date: Some(now()),
        received_at: now(),
        body: body.as_bytes().to_vec(),
        request_id: "r".to_owned(),
    };
    let first = Attempt { connect: ms(2), tls: ms(5), request: ms(10), stop: None, exchange: Some(exchange) };
    Sample { kind: SampleKind::Cold, first, retry: None }
}

fn stopped(stage: Stage, kind: ProblemKind) -> Sample {
    let stop = Stop { stage, problem: Problem::target(kind, "as told") };
    let first = Attempt { connect: Some(Duration::from_millis(2)), stop: Some(stop), ..Attempt::default() };
    Sample { kind: SampleKind::Cold, first, retry: None }
}

fn address(last: u8) -> AddressEvidence {
    AddressEvidence {
        address: (Ipv4Addr::new(52, 94, 76, last), 443).into(),
        tls: Some(TlsEvidence {
            version: Some("TLSv1.3".to_owned()),
            cipher_suite: Some("TLS_AES_256_GCM_SHA384".to_owned()),
            alpn: None,
            client_certificate_requested: false,
            client_certificate_presented: false,
            chain: vec![certificate("xks.example.com", "authority")],
            trust: Trust::Trusted {
                root: "root".to_owned(),
                root_sha256: "11".repeat(32),
                listing: Some(KmsListing {
                    listed: true,
                    namesake: false,
                    list: KmsList::CompiledIn { dated: "10 November 2022" },
                }),
            },
            name_matches: true,
            handshake_complete: true,
            surplus: 0,
            ocsp_staple: None,
        }),
        suites: None,
        stranger: None,
        samples: vec![answered(200, HEALTHY)],
    }
}

fn store(id: &str, name: &str, endpoint: &str) -> KeyStore {
    KeyStore {
        id: CustomKeyStoreId::parse(id).unwrap(),
        name: CustomKeyStoreName::parse(name).unwrap(),
        created: None,
        state: ConnectionState::Connected,
        configuration: Configuration::Xks(XksConfiguration {
            endpoint: XksProxyUriEndpoint::parse(endpoint).unwrap(),
            path: XksProxyUriPath::parse("/kms/xks/v1").unwrap(),
            access_key_id: AccessKeyId::parse("AKIAI2SFODNN7EXAMPLE").unwrap(),
            connectivity: Connectivity::PublicEndpoint,
        }),
    }
}

/// A change of the endpoint of one of two stores.
fn control_plane() -> ControlPlane {
    let own = store("cks-1", "mine", "https://old.example.com");
    let endpoint = Some(XksProxyUriEndpoint::parse("https://xks.example.com").unwrap());
    ControlPlane {
        key_store: own.id.clone(),
        stores: Ok(vec![own.clone(), store("cks-2", "theirs", "https://theirs.example.com")]),
        change: Change { endpoint, ..Change::default() },
        believed: Some(own),
        rollback_impossible: None,
        outage_acknowledged: true,
        after_update: false,
    }
}

fn good() -> Evidence {
    let subject = Subject {
        endpoint: "https://xks.example.com".to_owned(),
        path: "/kms/xks/v1".to_owned(),
        connectivity: ConnectivityKind::PublicEndpoint,
        vpc_endpoint_service: None,
        region: Region::parse("us-east-1").unwrap(),
        access_key_id: "AKIAI2SFODNN7EXAMPLE".to_owned(),
        secret: SecretEvidence::WellFormed {
            estimated_bits: 230.0,
            documented_example: false,
            fingerprint: "f".to_owned(),
        },
        connect_to: Vec::new(),
        longest_key_id: Some(36),
        lab: false,
        cluster: None,
    };
    Evidence {
        resolution: Resolution::Answered {
            took: Duration::from_millis(3),
            ipv4: vec![Ipv4Addr::new(52, 94, 76, 1)],
            ipv6: Vec::new(),
        },
        addresses: vec![address(1)],
        keys: key::good(),
        baseline_health: Some(crate::xks::HealthStatus::parse(HEALTHY.as_bytes()).unwrap()),
        offers: refusal::offers(),
        aws: AwsEvidence { control_plane: Some(control_plane()), ..AwsEvidence::default() },
        ..Evidence::new(now(), subject)
    }
}

/// The same, for a store behind a VPC endpoint service.
fn good_vpc() -> Evidence {
    let mut evidence = good();
    evidence.subject.connectivity = ConnectivityKind::VpcEndpointService;
    evidence.subject.vpc_endpoint_service = Some("com.amazonaws.vpce.us-east-1.vpce-svc-0123456789abcdef0".to_owned());
    evidence.resolution =
        Resolution::Answered { took: Duration::ZERO, ipv4: vec![Ipv4Addr::new(10, 0, 0, 1)], ipv6: Vec::new() };
    evidence
}

fn judged(evidence: &Evidence) -> Vec<Finding> {
    judge(evidence, &JudgingPolicy::default())
}

/// One way of spoiling good evidence, for one check.
type Spoil = fn(&mut Evidence);

fn tls(evidence: &mut Evidence) -> &mut TlsEvidence {
    evidence.addresses[0].tls.as_mut().unwrap()
}

fn leaf(evidence: &mut Evidence) -> &mut Certificate {
    &mut tls(evidence).chain[0]
}

fn plane(evidence: &mut Evidence) -> &mut ControlPlane {
    evidence.aws.control_plane.as_mut().unwrap()
}

fn other(evidence: &mut Evidence) -> &mut KeyStore {
    &mut plane(evidence).stores.as_mut().unwrap()[1]
}

fn body(evidence: &mut Evidence, status: u16, text: &str) {
    evidence.addresses[0].samples = vec![answered(status, text)];
}

fn stop(evidence: &mut Evidence, stage: Stage, kind: ProblemKind) {
    evidence.addresses[0].samples = vec![stopped(stage, kind)];
    if stage < Stage::Http {
        evidence.addresses[0].tls = None;
    }
}

fn exchange(evidence: &mut Evidence) -> &mut ExchangeEvidence {
    evidence.addresses[0].samples[0].first.exchange.as_mut().unwrap()
}

const SPOILS: &[(&str, Spoil)] = &[
    ("input.endpoint_syntax", |e| e.subject.endpoint = "https://xks.example.com:443".into()),
    ("input.endpoint_fqdn", |e| e.subject.endpoint = "https://10.0.0.1".into()),
    ("input.path_syntax", |e| e.subject.path = "/kms/xks/v1/".into()),
    ("input.path_version", |e| e.subject.path = "/kms/xks/v2".into()),
    ("input.path_canonical", |e| e.subject.path = "/a//b/kms/xks/v1".into()),
    ("input.uri_length", |e| e.subject.path = format!("/{}/kms/xks/v1", "p".repeat(110)).clone() + &"x".repeat(100)),
    ("input.access_key_id", |e| e.subject.access_key_id = "ABCDE12345670EXAMPLE".into()),
    ("input.secret_access_key", |e| e.subject.secret = SecretEvidence::Malformed("too short".into())),
    ("input.secret_strength", |e| {
        e.subject.secret =
            SecretEvidence::WellFormed { estimated_bits: 40.0, documented_example: false, fingerprint: String::new() };
    }),
    ("input.service_name", |e| e.subject.connectivity = ConnectivityKind::VpcEndpointService),
    ("input.travels_together", |e| plane(e).change.connectivity = Some(ConnectivityKind::VpcEndpointService)),
    ("dns.resolves", |e| {
        let problem = Problem::target(ProblemKind::NameNotFound, "NXDOMAIN");
        e.resolution = Resolution::Failed { took: Duration::ZERO, problem };
    }),
    ("dns.ipv4", |e| {
        let ipv6 = vec!["2600::1".parse().unwrap()];
        e.resolution = Resolution::Answered { took: Duration::ZERO, ipv4: Vec::new(), ipv6 };
    }),
    ("dns.public_address", |e| {
        let ipv4 = vec![Ipv4Addr::new(10, 0, 0, 1)];
        e.resolution = Resolution::Answered { took: Duration::ZERO, ipv4, ipv6: Vec::new() };
    }),
    ("dns.private_name", |e| e.subject.connectivity = ConnectivityKind::VpcEndpointService),
    ("tcp.connects", |e| stop(e, Stage::Tcp, ProblemKind::Refused)),
    ("tcp.round_trip", |e| e.addresses[0].samples[0].first.connect = Some(Duration::from_millis(80))),
    ("tls.handshake", |e| stop(e, Stage::Tls, ProblemKind::Alert)),
    ("tls.version", |e| tls(e).version = Some("TLSv1.1".into())),
    ("tls.chain_complete", |e| {
        tls(e).trust = Trust::Untrusted(Problem::target(ProblemKind::MissingIntermediate, "CN=authority"));
    }),
    ("tls.chain_trusted", |e| {
        tls(e).trust = Trust::Untrusted(Problem::target(ProblemKind::UnknownIssuer, "CN=authority"));
    }),
    ("tls.name_matches", |e| tls(e).name_matches = false),
    ("tls.common_name", |e| leaf(e).common_name = None),
    ("tls.validity", |e| leaf(e).not_after = now().minus(days(2))),
    ("tls.expiry_margin", |e| leaf(e).not_after = now().plus(days(9))),
    ("tls.key_strength", |e| leaf(e).key = PublicKey::Rsa(1024)),
    ("tls.signature_algorithm", |e| leaf(e).weak_signature = true),
    ("tls.client_certificate", |e| tls(e).client_certificate_requested = true),
    ("tls.same_everywhere", |e| {
        e.addresses.push(address(2));
        leaf(e).sha256 = "ff".repeat(32);
    }),
    ("http.answers", |e| stop(e, Stage::Http, ProblemKind::TimedOut)),
    ("http.no_redirect", |e| body(e, 302, "")),
    ("http.status", |e| body(e, 503, "<html>")),
    ("http.content_type", |e| exchange(e).content_type = Some("text/plain".into())),
    ("http.body_size", |e| stop(e, Stage::Http, ProblemKind::TooLarge)),
    ("http.error_message", |e| {
        body(e, 500, &format!(r#"{{"errorName":"InternalException","errorMessage":"{}"}}"#, "x".repeat(600)));
    }),
    ("sigv4.accepted", |e| body(e, 401, r#"{"errorName":"AuthenticationFailedException"}"#)),
    ("sigv4.clock_skew", |e| exchange(e).date = Some(now().plus(Duration::from_secs(90)))),
    ("health.schema", |e| body(e, 200, "{}")),
    ("health.fleet_size", |e| body(e, 200, &HEALTHY.replace(":2,", ":0,"))),
    ("health.ekm_available", |e| body(e, 200, &HEALTHY.replace("ACTIVE", "UNAVAILABLE"))),
    ("health.ekm_degraded", |e| body(e, 200, &HEALTHY.replacen("ACTIVE", "DEGRADED", 1))),
    ("health.redundancy", |e| body(e, 200, &HEALTHY.replace(":2,", ":1,"))),
    ("health.same_fleet", |e| body(e, 200, &HEALTHY.replace(r#""id":"2""#, r#""id":"3""#))),
    ("health.deep", |e| key::fail(&mut key::proofs(e).round_trip, ProblemKind::NotFound)),
    ("latency.within_limit", |e| e.addresses[0].samples[0].first.request = Some(Duration::from_millis(300))),
    ("latency.tail", |e| e.addresses[0].samples[0].first.request = Some(Duration::from_millis(230))),
    ("kms.key_store_exists", |e| plane(e).key_store = CustomKeyStoreId::parse("cks-9").unwrap()),
    ("kms.type_matches", |e| plane(e).change.password = true),
    ("kms.connection_state", |e| plane(e).stores.as_mut().unwrap()[0].state = ConnectionState::Connecting),
    ("kms.name_free", |e| plane(e).change.name = Some(CustomKeyStoreName::parse("Theirs").unwrap())),
    ("kms.uri_free", |e| other(e).configuration = store("cks-2", "t", "https://XKS.example.com").configuration),
    ("kms.endpoint_free", |e| {
        let Configuration::Xks(xks) = &mut other(e).configuration else { panic!() };
        xks.endpoint = XksProxyUriEndpoint::parse("https://xks.example.com").unwrap();
        xks.connectivity = Connectivity::VpcEndpointService { name: service(), owner: None };
    }),
    ("kms.service_free", |e| {
        let Configuration::Xks(xks) = &mut other(e).configuration else { panic!() };
        xks.connectivity = Connectivity::VpcEndpointService { name: service(), owner: None };
        plane(e).change.service_name = Some(service());
    }),
    ("kms.no_drift", |e| plane(e).believed = Some(store("cks-1", "mine", "https://older.example.com"))),
    ("kms.changes_something", |e| {
        plane(e).change.endpoint = Some(XksProxyUriEndpoint::parse("https://old.example.com").unwrap());
    }),
    ("kms.permissions", |e| e.aws.permissions = Some(Ok(permissions("implicitDeny")))),
    ("kms.rollback_possible", |e| plane(e).rollback_impossible = Some("the old secret is not held".into())),
    ("kms.outage", |e| plane(e).outage_acknowledged = false),
];

fn permissions(decision: &str) -> Permissions {
    let decided = |action: &&str| ((*action).to_owned(), decision.to_owned());
    Permissions {
        of: "arn:aws:iam::1:role/gate".to_owned(),
        decisions: SIMULATED_ACTIONS.iter().map(decided).collect(),
    }
}

fn service() -> VpcEndpointServiceName {
    VpcEndpointServiceName::parse("com.amazonaws.vpce.us-east-1.vpce-svc-0123456789abcdef0").unwrap()
}

#[test]
fn every_check_fails_and_passes_at_least_once() {
    let mut failing = BTreeSet::new();
    let chapters = [
        capacity::SPOILS,
        cloudhsm::SPOILS,
        key::SPOILS,
        perspective::SPOILS,
        refusal::SPOILS,
        tls::SPOILS,
        vpc::SPOILS,
    ];
    for (id, spoil) in SPOILS.iter().chain(chapters.into_iter().flatten()) {
        let mut evidence = good();
        spoil(&mut evidence);
        let findings = judged(&evidence);
        let finding = findings.iter().find(|finding| finding.check.id == *id).unwrap();
        assert!(finding.is_failed(), "{id}: {:?}", finding.outcome);
        failing.insert(*id);
    }
    let mut passing: BTreeSet<&str> = BTreeSet::new();
    let mut several = good();
    several.addresses.push(address(2));
    let mut refused = good();
    body(&mut refused, 500, r#"{"errorName":"InternalException","errorMessage":"short"}"#);
    let mut renamed = good();
    plane(&mut renamed).change.name = Some(CustomKeyStoreName::parse("fresh").unwrap());
    plane(&mut renamed).change.service_name = Some(service());
    renamed.aws.permissions = Some(Ok(permissions("allowed")));
    let chapters = [
        capacity::passing(),
        cloudhsm::passing(),
        key::passing(),
        perspective::passing(),
        refusal::passing(),
        tls::passing(),
        vpc::passing(),
    ]
    .into_iter()
    .flatten();
    for evidence in [good(), good_vpc(), several, refused, renamed].into_iter().chain(chapters) {
        let findings = judged(&evidence);
        passing.extend(findings.iter().filter(|f| matches!(f.outcome, Outcome::Passed(_))).map(|f| f.check.id));
    }
    let missing = |seen: &BTreeSet<&str>| {
        CATALOGUE.iter().map(|check| check.id).filter(|id| !seen.contains(id)).collect::<Vec<_>>()
    };
    assert_eq!((missing(&failing), missing(&passing)), (vec![], vec![]), "never failed, never passed");
}

#[test]
fn good_evidence_has_no_failure() {
    for evidence in [good(), good_vpc()] {
        let findings = judged(&evidence);
        let failed: Vec<_> = findings.iter().filter(|finding| finding.outcome.problem().is_some()).collect();
        assert!(failed.is_empty(), "{failed:?}");
    }
}

#[test]
fn one_bad_address_of_several_is_named() {
    let mut evidence = good();
    evidence.addresses.push(address(2));
    evidence.addresses[1].samples = vec![stopped(Stage::Tcp, ProblemKind::Refused)];
    let findings = judged(&evidence);
    let finding = findings.iter().find(|finding| finding.check.id == "tcp.connects").unwrap();
    assert_eq!(finding.address.map(|address| address.to_string()).as_deref(), Some("52.94.76.2"));
    // What was not reached there must not hide behind the pass of the other address.
    let answers = findings.iter().find(|finding| finding.check.id == "http.answers").unwrap();
    assert!(matches!(answers.outcome, Outcome::NotReached { stopped_at: Stage::Tcp }));
}

fn report(evidence: Evidence, policy: &JudgingPolicy) -> crate::check::Report {
    let findings = judge(&evidence, policy);
    crate::check::Report {
        id: crate::id::ReportId::new(&crate::id::IdSource::from_seed(1), now()),
        evidence,
        findings,
        promoted: policy.promoted.clone(),
        perspective: "a test".to_owned(),
        took: Duration::from_millis(20),
        settings_digest: String::new(),
    }
}

fn waiving(check: &str) -> JudgingPolicy {
    let waiver = crate::check::Waiver {
        check: check.to_owned(),
        owner: "ops".to_owned(),
        approved_by: None,
        reason: "drill".to_owned(),
        until: Some(now().plus(days(1))),
    };
    JudgingPolicy { promoted: Vec::new(), waivers: vec![waiver] }
}

#[test]
fn kms_speaks_through_the_first_failure_it_would_come_to() {
    let mut evidence = good();
    body(&mut evidence, 200, &HEALTHY.replace("ACTIVE", "UNAVAILABLE"));
    plane(&mut evidence).change.name = Some(CustomKeyStoreName::parse("theirs").unwrap());
    let report = report(evidence, &JudgingPolicy::default());
    assert_eq!(report.decisive().map(|finding| finding.check.id), Some("health.ekm_available"));
}

#[test]
fn one_stopped_sample_among_good_ones_never_passes() {
    for stage in [Stage::Tcp, Stage::Tls, Stage::Http] {
        for kind in ProblemKind::ALL {
            let mut evidence = good();
            evidence.addresses[0].samples.push(stopped(stage, *kind));
            let verdict = report(evidence, &JudgingPolicy::default()).verdict();
            assert_ne!(verdict, Verdict::Ready, "stopped in {stage} by {kind}");
        }
    }
}

#[test]
fn what_a_proxy_says_of_itself_is_told_shortly_and_without_control_characters() {
    let hostile = format!(r#""id":"\u001b[2J{}""#, "x".repeat(5_000));
    for degraded in [false, true] {
        let mut evidence = good();
        let text = HEALTHY.replace(r#""id":"2""#, &hostile);
        body(&mut evidence, 200, &if degraded { text.replace("ACTIVE", "DEGRADED") } else { text });
        let told: Vec<Finding> = judged(&evidence).into_iter().filter(|f| f.outcome.problem().is_some()).collect();
        let same_fleet = told.iter().any(|finding| finding.check.id == "health.same_fleet");
        assert!(same_fleet && told.len() == 1 + usize::from(degraded), "{told:?}");
        for finding in told {
            let detail = &finding.outcome.problem().unwrap().detail;
            assert!(detail.len() < 1_000 && !detail.chars().any(char::is_control), "{detail:?}");
        }
    }
}

#[test]
fn long_bodies_are_not_kept() {
    let mut evidence = good();
    body(&mut evidence, 200, &"x".repeat(60_000));
    evidence.addresses.push(address(2));
    evidence.shorten_bodies();
    let kept: Vec<usize> =
        evidence.addresses.iter().flat_map(AddressEvidence::exchanges).map(|e| e.body.len()).collect();
    assert_eq!(kept, [4_096, HEALTHY.len()]);
}
