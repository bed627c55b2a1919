//! Where a name may lead, with a name server that says what no honest one would.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use hickory_resolver::proto::op::{Message, MessageType};
use hickory_resolver::proto::rr::rdata::A;
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use tokio::net::UdpSocket;

use super::*;
use crate::check::{AwsEvidence, Outcome, Report, Verdict};
use crate::clock::SetClock;
use crate::id::IdSource;
use crate::key_store::{AccessKeyId, ProxyCredential, RawSecretAccessKey, XksProxyUriEndpoint, XksProxyUriPath};
use crate::preflight::{CandidateKeys, OfferedCredential, Preflight};
use crate::probe::{Egress, ProberSettings, ResolverSettings, TrustRoots};

/// Answers every question for A records with these addresses.
async fn name_server(addresses: Vec<Ipv4Addr>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut packet = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut packet).await {
            let mut answer = Message::from_vec(&packet[..length]).unwrap();
            answer.metadata.message_type = MessageType::Response;
            let question = answer.queries[0].clone();
            if question.query_type() == RecordType::A {
                for address in &addresses {
                    answer.add_answer(Record::from_rdata(question.name().clone(), 60, RData::A(A(*address))));
                }
            }
            socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
        }
    });
    address
}

fn prober(name_server: SocketAddr) -> (Prober, Arc<SetClock>, Arc<IdSource>) {
    let clock = Arc::new(SetClock::new(Timestamp::from_unix(1_800_000_000)));
    let ids = Arc::new(IdSource::from_seed(1));
    let settings = ProberSettings {
        trust: TrustRoots::mozilla(),
        client_certificate: None,
        resolver: ResolverSettings::NameServers(vec![name_server]),
        egress: Egress::default(),
        clock: clock.clone(),
        ids: ids.clone(),
    };
    (Prober::new(settings).unwrap(), clock, ids)
}

async fn report(addresses: Vec<Ipv4Addr>, connectivity: ConnectivityKind) -> Report {
    report_connecting_to(Vec::new(), addresses, connectivity).await
}

async fn report_connecting_to(
    connect_to: Vec<String>,
    addresses: Vec<Ipv4Addr>,
    connectivity: ConnectivityKind,
) -> Report {
    let (prober, clock, ids) = prober(name_server(addresses).await);
    let candidate = Candidate {
        endpoint: "https://xks.example.com".into(),
        path: "/kms/xks/v1".into(),
        connectivity,
        vpc_endpoint_service: Some("com.amazonaws.vpce.us-east-1.vpce-svc-0123456789abcdef0".into())
            .filter(|_| connectivity == ConnectivityKind::VpcEndpointService),
        vpc_endpoint_service_owner: None,
        region: Region::parse("us-east-1").unwrap(),
        credential: OfferedCredential::new("AKIAI2SFODNN7EXAMPLE", "TestSecretDoNotLeak0123456789012345678901234567"),
        connect_to,
        keys: CandidateKeys::default(),
        baseline: None,
        kms_operation: "UpdateCustomKeyStore".into(),
    };
    let preflight = Preflight::new(prober, clock, ids, "a test".into());
    preflight.run(&candidate, AwsEvidence::default(), &Thoroughness::default()).await
}

fn outcome<'a>(report: &'a Report, check: &str) -> &'a Outcome {
    &report.findings.iter().find(|finding| finding.check.id == check).unwrap().outcome
}

#[tokio::test]
async fn a_public_name_does_not_lead_into_private_networks() {
    let addresses = ["127.0.0.1", "10.0.0.7", "169.254.169.254", "0.0.0.0"].map(|text| text.parse().unwrap());
    let report = report(addresses.into(), ConnectivityKind::PublicEndpoint).await;
    assert!(report.evidence.addresses.is_empty(), "{:?}", report.evidence.addresses);
    assert_eq!(report.verdict(), Verdict::Blocked);
    let private = report.findings.iter().filter(|finding| finding.check.id == "dns.public_address");
    assert_eq!(private.filter(|finding| finding.is_failed()).count(), 4);
    for later in ["tcp.connects", "tls.handshake", "http.answers", "health.schema"] {
        assert_eq!(outcome(&report, later), &Outcome::NotReached { stopped_at: crate::check::Stage::Dns }, "{later}");
    }
}

#[tokio::test]
async fn kms_must_find_a_public_endpoint_by_its_name_wherever_we_connect() {
    // A port that nobody listens on: where we connect makes no difference here.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let at = async |addresses: &[[u8; 4]], connectivity| {
        let addresses = addresses.iter().map(|address| Ipv4Addr::from(*address)).collect();
        report_connecting_to(vec![free.to_string()], addresses, connectivity).await
    };
    let public = ConnectivityKind::PublicEndpoint;
    let absent = at(&[], public).await;
    assert!(matches!(outcome(&absent, "dns.resolves"), Outcome::Failed(_)), "{:?}", absent.evidence.resolution);
    assert_eq!(absent.evidence.addresses[0].address, free);
    let private = at(&[[10, 0, 0, 7]], public).await;
    assert!(matches!(outcome(&private, "dns.resolves"), Outcome::Passed(_)));
    assert!(matches!(outcome(&private, "dns.public_address"), Outcome::Failed(_)));
    // How KMS gets to a VPC endpoint is a matter of the service's private name, which may show inside the VPC only.
    let vpc = at(&[], ConnectivityKind::VpcEndpointService).await;
    assert!(matches!(outcome(&vpc, "dns.resolves"), Outcome::NotApplicable(_)));
}

#[tokio::test]
async fn a_name_in_a_vpc_does_not_lead_to_this_machine() {
    let addresses = ["127.0.0.1", "169.254.169.254"].map(|text| text.parse().unwrap());
    let report = report(addresses.into(), ConnectivityKind::VpcEndpointService).await;
    assert!(report.evidence.addresses.is_empty(), "{:?}", report.evidence.addresses);
    assert_eq!(report.verdict(), Verdict::Inconclusive);
    let Outcome::OwnFault(problem) = outcome(&report, "dns.ipv4") else { panic!("{report:?}") };
    assert_eq!(problem.kind, ProblemKind::UnfitAddress);
}

#[tokio::test]
async fn the_current_proxy_is_asked_only_where_kms_can_find_it() {
    let (prober, ..) = prober(name_server(vec![[52, 94, 76, 1].into(), [10, 0, 0, 7].into()]).await);
    let secret = RawSecretAccessKey::parse("TestSecretDoNotLeak0123456789012345678901234567").unwrap();
    let access_key_id = AccessKeyId::parse("AKIAI2SFODNN7EXAMPLE").unwrap();
    let mut baseline = Baseline {
        endpoint: XksProxyUriEndpoint::parse("https://old.example.com").unwrap(),
        path: XksProxyUriPath::parse("/kms/xks/v1").unwrap(),
        credential: ProxyCredential { access_key_id, secret_access_key: secret },
        connectivity: None,
        connect_to: Vec::new(),
    };
    let region = Region::parse("us-east-1").unwrap();
    for (connectivity, asked) in [
        // The name may already lead the public to the candidate, while KMS goes through the VPC endpoint service.
        (Some(ConnectivityKind::VpcEndpointService), &["10.0.0.7:443"][..]),
        (Some(ConnectivityKind::PublicEndpoint), &["52.94.76.1:443"]),
        (None, &["10.0.0.7:443", "52.94.76.1:443"]),
    ] {
        baseline.connectivity = connectivity;
        let addresses = keys::current(&prober, &baseline, &region).await.1;
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, asked, "{connectivity:?}");
    }
}

#[test]
fn only_fit_addresses_are_connected_to() {
    let public = Some(ConnectivityKind::PublicEndpoint);
    let vpc = Some(ConnectivityKind::VpcEndpointService);
    let egress = Egress::default();
    let fit = |connectivity, text: &str| egress.admit("x.example.com", text.parse().unwrap(), connectivity).is_ok();
    for unfit in ["0.0.0.0", "0.1.2.3", "127.1.2.3", "169.254.169.254", "224.0.0.1", "240.0.0.1", "255.255.255.255"] {
        assert!(![public, vpc, None].into_iter().any(|connectivity| fit(connectivity, unfit)), "{unfit}");
    }
    for private in ["10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1"] {
        assert!(!fit(public, private), "{private}");
        assert!(fit(vpc, private) && fit(None, private), "{private}");
    }
    // Split-horizon DNS: what answers at the public address is not what KMS reaches through the VPC.
    assert!(fit(public, "52.94.76.1") && fit(None, "52.94.76.1"));
    assert!(!fit(vpc, "52.94.76.1"));
}

#[test]
fn more_addresses_than_are_probed_are_told() {
    let addresses =
        |count: u16| (0..count).map(|port| Destination::of_a_test(SocketAddr::from(([52, 94, 76, 1], port)))).collect();
    assert_eq!(few_enough(addresses(32), "xks.example.com", 32).1, None);
    let (probed, problem) = few_enough(addresses(33), "xks.example.com", 32);
    let problem = problem.unwrap();
    assert_eq!((probed.len(), problem.fault), (32, crate::check::Fault::Own));
    assert!(problem.detail.starts_with("xks.example.com has more than 32 addresses"), "{}", problem.detail);
}
