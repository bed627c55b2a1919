//! Names, against a name server of a few lines that answers with chosen bytes.

use std::net::{Ipv4Addr, Ipv6Addr};

use tokio::net::UdpSocket;

use super::*;
use crate::check::Fault;

/// What the name server says to a question of one type.
#[derive(Clone)]
enum Reply {
    /// A response code without records.
    Code(u8),
    /// A CNAME to another name, and its addresses: the data of A or AAAA records.
    Addresses(Vec<Vec<u8>>),
    /// Nothing.
    Silence,
}

const A: u16 = 1;

/// Answers questions for A records with the one, those for AAAA records with the other.
async fn name_server(a: Reply, aaaa: Reply) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut question = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut question).await {
            let kind = question_type(&question[..length]);
            let reply = if kind == A { &a } else { &aaaa };
            if let Some(answer) = answer(&question[..length], kind, reply) {
                socket.send_to(&answer, from).await.unwrap();
            }
        }
    });
    address
}

/// Where the question section ends: a name of labels, a type, a class (RFC 1035, section 4.1.2).
fn question_end(question: &[u8]) -> usize {
    let mut at = 12;
    while question[at] != 0 {
        at += usize::from(question[at]) + 1;
    }
    at + 5
}

fn question_type(question: &[u8]) -> u16 {
    let end = question_end(question);
    u16::from_be_bytes([question[end - 4], question[end - 3]])
}

fn answer(question: &[u8], kind: u16, reply: &Reply) -> Option<Vec<u8>> {
    let (code, records) = match reply {
        Reply::Silence => return None,
        Reply::Code(code) => (*code, &Vec::new()),
        Reply::Addresses(records) => (0, records),
    };
    let aliases = u16::from(!records.is_empty());
    let count = u16::try_from(records.len()).unwrap() + aliases;
    let mut bytes = question[..2].to_vec();
    bytes.extend([0x81, 0x80 | code, 0, 1]);
    bytes.extend(count.to_be_bytes());
    bytes.extend([0, 0, 0, 0]);
    bytes.extend(&question[12..question_end(question)]);
    // `alias` in the root, as the target of the CNAME and the owner of the addresses.
    let alias = b"\x05alias\x00";
    if aliases > 0 {
        bytes.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 7]);
        bytes.extend(alias);
    }
    for record in records {
        bytes.extend(alias);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1, 0, 0, 0, 60]);
        bytes.extend(u16::try_from(record.len()).unwrap().to_be_bytes());
        bytes.extend(record);
    }
    Some(bytes)
}

async fn resolve(a: Reply, aaaa: Reply) -> Resolution {
    let server = name_server(a, aaaa).await;
    let bench = Bench::with(|_, settings| settings.resolver = ResolverSettings::NameServers(vec![server]));
    bench.prober.resolve(HOST).await
}

fn v4(last: u8) -> Vec<u8> {
    vec![192, 0, 2, last]
}

async fn failure(a: Reply, aaaa: Reply) -> Problem {
    match resolve(a, aaaa).await {
        Resolution::Failed { problem, .. } => problem,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn both_families_are_told_through_aliases() {
    let v6: Ipv6Addr = "2001:db8::7".parse().unwrap();
    let found = resolve(Reply::Addresses(vec![v4(9), v4(7), v4(9)]), Reply::Addresses(vec![v6.octets().into()])).await;
    let Resolution::Answered { ipv4, ipv6, .. } = found else { panic!("{found:?}") };
    assert_eq!(ipv4, [Ipv4Addr::new(192, 0, 2, 7), Ipv4Addr::new(192, 0, 2, 9)]);
    assert_eq!(ipv6, [v6]);
}

#[tokio::test]
async fn one_family_is_enough() {
    let found = resolve(Reply::Addresses(vec![v4(7)]), Reply::Code(0)).await;
    assert!(matches!(found, Resolution::Answered { ref ipv4, ref ipv6, .. } if ipv4.len() == 1 && ipv6.is_empty()));
    let found = resolve(Reply::Code(0), Reply::Addresses(vec![vec![0x20; 16]])).await;
    assert!(matches!(found, Resolution::Answered { ref ipv4, ref ipv6, .. } if ipv4.is_empty() && ipv6.len() == 1));
    // KMS does not look at AAAA records, so a name server that stumbles over them does not matter.
    let found = resolve(Reply::Addresses(vec![v4(7)]), Reply::Code(2)).await;
    assert!(matches!(found, Resolution::Answered { ref ipv4, .. } if ipv4.len() == 1));
}

#[tokio::test]
async fn ways_of_not_having_an_address_are_told_apart() {
    for (code, kind, fault) in [
        (3, ProblemKind::NameNotFound, Fault::Target),
        (0, ProblemKind::NoAddress, Fault::Target),
        (2, ProblemKind::ResolverFailed, Fault::Path),
        (5, ProblemKind::ResolverFailed, Fault::Own),
    ] {
        let problem = failure(Reply::Code(code), Reply::Code(code)).await;
        assert_eq!((problem.kind, problem.fault), (kind, fault), "code {code}: {}", problem.detail);
    }
}

#[tokio::test]
async fn a_silent_or_absent_resolver_is_our_own_fault() {
    let problem = failure(Reply::Silence, Reply::Silence).await;
    assert_eq!((problem.kind, problem.fault), (ProblemKind::ResolverFailed, Fault::Own));
    assert!(problem.detail.contains("no answer"), "{}", problem.detail);
    // No name server at all.
    let found = Bench::new().prober.resolve(HOST).await;
    let Resolution::Failed { problem, .. } = found else { panic!("{found:?}") };
    assert_eq!((problem.kind, problem.fault), (ProblemKind::ResolverFailed, Fault::Own));
}

#[tokio::test]
async fn all_addresses_are_told_however_many_are_probed() {
    let found = resolve(Reply::Addresses((0..40).map(v4).collect()), Reply::Code(0)).await;
    let Resolution::Answered { ipv4, .. } = found else { panic!("{found:?}") };
    assert_eq!(ipv4.len(), 40);
}

#[tokio::test]
async fn connect_to_takes_addresses_and_names() {
    let prober = Bench::new().prober;
    let found = async |text: &str| {
        prober.resolve_connect_to(text).await.map(|found| {
            let found: Vec<SocketAddr> = found.into_iter().map(Destination::address).collect();
            format!("{found:?}")
        })
    };
    assert_eq!(found("127.0.0.1:8443").await.as_deref(), Ok("[127.0.0.1:8443]"));
    assert_eq!(found("[::1]:8443").await.as_deref(), Ok("[[::1]:8443]"));
    assert_eq!(found("localhost:443").await.as_deref(), Ok("[127.0.0.1:443]"));
    for wrong in ["", "localhost", "localhost:https", ":443", "::1:443", "localhost:65536"] {
        let problem = prober.resolve_connect_to(wrong).await.unwrap_err();
        assert_eq!((problem.kind, problem.fault), (ProblemKind::Syntax, Fault::Own), "{wrong}");
    }
}
