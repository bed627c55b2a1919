//! What a resolver can say of the endpoint's name. Every address in it is one of loopback.

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::proto::op::ResponseCode;
use xks_preflight::sandbox::dns::NameAnswer::{
    self, Addresses, Alias, AnotherQuestion, ByFamily, Code, Garbage, Late, OnlyOverTcp, Silence,
};
use xks_preflight::sandbox::dns::SandboxDns;

use super::row::*;

const NOT_PUBLIC: Expected = blocked("dns.public_address", "not_public", NOT_REACHABLE);
const SERVICE: &str = "com.amazonaws.vpce.us-east-1.vpce-svc-0123456789abcdef0";

pub(super) const ROWS: &[Row] = &[
    name("a name that does not exist", "absent.example.com", ABSENT),
    name("a name without addresses", "empty.example.com", blocked("dns.resolves", "no_address", NOT_REACHABLE)),
    name("a name with IPv6 addresses only", "ipv6.example.com", blocked("dns.ipv4", "only_ipv6", NOT_REACHABLE)),
    name("SERVFAIL: the zone's name servers are broken", "servfail.example.com", BROKEN_ZONE),
    name("SERVFAIL for A, addresses for AAAA", "half.example.com", BROKEN_ZONE),
    name("an alias of a name that does not exist", "dangling.example.com", ABSENT),
    name(
        "aliases that lead back to where they began",
        "loop.example.com",
        blocked("dns.resolves", "no_address", NOT_REACHABLE),
    ),
    name("a resolver that refuses to answer us", "refused.example.com", OURS),
    name("a resolver that does not answer", "silent.example.com", OURS),
    name("a resolver that answers after 20 s", "late.example.com", OURS),
    name("a resolver that answers in no DNS", "garbage.example.com", OURS),
    name("a resolver that answers another question", "mismatched.example.com", OURS),
    name("a private address behind a public endpoint", "private.example.com", NOT_PUBLIC),
    name("several private addresses", "several.example.com", NOT_PUBLIC),
    name("a private address at the end of three aliases", "alias.example.com", NOT_PUBLIC),
    name("a private address that comes only over TCP", "tcp.example.com", NOT_PUBLIC),
    name("a private address that comes after a second", "second.example.com", NOT_PUBLIC),
    name("100 private addresses, which no UDP answer holds", "hundred.example.com", NOT_PUBLIC),
    name("a private address, and SERVFAIL for AAAA", "noaaaa.example.com", NOT_PUBLIC),
    name(
        "a VPC endpoint's name that leads to this machine",
        "several.example.com",
        inconclusive("dns.ipv4", "unfit_address", UNSAID),
    )
    .with(&["--connectivity", "vpc", "--vpc-endpoint-service", SERVICE]),
    run_by(
        |_| Box::pin(more_than_are_probed()),
        "more addresses than are probed, all of them well",
        inconclusive("dns.ipv4", "too_many_addresses", UNSAID),
    ),
];

/// The same healthy proxy 33 times: what was not looked at could be another.
async fn more_than_are_probed() -> Seen {
    let mut stage = super::Stage::new();
    let address = stage.add_proxy(|_| {}).await.address().to_string();
    stage.check(&["--connect-to", &vec![address; 33].join(","), "--samples", "1"]).await
}

const ABSENT: Expected = blocked("dns.resolves", "name_not_found", NOT_REACHABLE);
const BROKEN_ZONE: Expected = blocked("dns.resolves", "resolver_failed", NOT_REACHABLE);
const OURS: Expected = inconclusive("dns.resolves", "resolver_failed", UNSAID);

/// The zone of the rows.
pub(crate) fn fill(dns: &SandboxDns) {
    let boxed = |answer: NameAnswer| Box::new(answer);
    let ipv4 = |last: u8| IpAddr::from([127, 43, 0, last]);
    let ipv6 = || IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]);
    let one = || Addresses(vec![ipv4(1)]);
    for (host, answer) in [
        ("empty", Addresses(Vec::new())),
        ("ipv6", Addresses(vec![ipv6()])),
        ("servfail", Code(ResponseCode::ServFail)),
        ("half", ByFamily(boxed(Code(ResponseCode::ServFail)), boxed(Addresses(vec![ipv6()])))),
        ("dangling", Alias("absent.example.com".to_owned())),
        ("loop", Alias("back.example.com".to_owned())),
        ("back", Alias("loop.example.com".to_owned())),
        ("refused", Code(ResponseCode::Refused)),
        ("silent", Silence),
        ("late", Late(Duration::from_secs(20), boxed(one()))),
        ("garbage", Garbage),
        ("mismatched", AnotherQuestion),
        ("private", Addresses(vec![ipv4(1), ipv6()])),
        ("several", Addresses((1..=4).map(ipv4).collect())),
        ("alias", Alias("alias2.example.com".to_owned())),
        ("alias2", Alias("alias3.example.com".to_owned())),
        ("alias3", Alias("private.example.com".to_owned())),
        ("tcp", OnlyOverTcp(boxed(one()))),
        ("second", Late(Duration::from_secs(1), boxed(one()))),
        ("hundred", Addresses((1..=100).map(ipv4).collect())),
        ("noaaaa", ByFamily(boxed(one()), boxed(Code(ResponseCode::ServFail)))),
    ] {
        dns.set(&format!("{host}.example.com"), answer);
    }
}
