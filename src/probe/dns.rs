//! The name: A and AAAA records as the resolver tells them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use super::deadline::Deadline;
use super::egress::Destination;
use crate::check::{Problem, ProblemKind, Resolution};

/// How long one name server may take for one answer.
const SERVER_PATIENCE: Duration = Duration::from_secs(2);

/// How long a name may take in all. KMS resolves from its own place, so this is not held against any limit of KMS.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most addresses of each family that are told. A server may put thousands into an answer.
const MOST_ADDRESSES: usize = 256;

/// Which name servers are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ResolverSettings {
    /// Those of the machine. Its hosts file is left out: KMS does not read it.
    #[default]
    System,
    /// These, over UDP, and over TCP for long answers.
    NameServers(Vec<SocketAddr>),
}

/// The port of a name server that is named without one.
const NAME_SERVER_PORT: u16 = 53;

impl ResolverSettings {
    /// Name servers as `IP:PORT`, or `IP` for port 53; none means those of the machine. The error is the rule in words.
    pub fn parse<'t>(servers: impl IntoIterator<Item = &'t str>) -> Result<Self, String> {
        let one = |text: &str| {
            let address = text.parse().or_else(|_| text.parse().map(|ip: IpAddr| (ip, NAME_SERVER_PORT).into()));
            address.map_err(|_| "must be the address of a name server, IP:PORT or IP".to_owned())
        };
        let servers = servers.into_iter().map(one).collect::<Result<Vec<SocketAddr>, String>>()?;
        Ok(if servers.is_empty() { Self::System } else { Self::NameServers(servers) })
    }
}

/// Asks name servers. Answers are not remembered: a probe must see what is now.
pub(super) struct NameResolver(Result<TokioResolver, NetError>);

impl NameResolver {
    /// A machine without usable settings still has one, which says so when it is asked.
    pub(super) fn new(settings: &ResolverSettings) -> Self {
        let builder = match settings {
            ResolverSettings::System => TokioResolver::builder_tokio(),
            ResolverSettings::NameServers(servers) => {
                let servers = servers.iter().map(|server| name_server(*server)).collect();
                let config = ResolverConfig::from_name_servers(servers);
                Ok(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()))
            }
        };
        Self(builder.and_then(|mut builder| {
            limit(builder.options_mut());
            builder.build()
        }))
    }

    /// Resolves a fully qualified name to its addresses of both families, sorted.
    pub(super) async fn resolve(&self, host: &str) -> Resolution {
        let deadline = Deadline::after(PATIENCE);
        let timed = deadline.bound(self.lookup(host)).await;
        let found = timed.result.unwrap_or_else(|| Err(no_answer(host)));
        match found {
            Ok((ipv4, ipv6)) => Resolution::Answered { took: timed.took, ipv4, ipv6 },
            Err(problem) => Resolution::Failed { took: timed.took, problem },
        }
    }

    async fn lookup(&self, host: &str) -> Result<(Vec<Ipv4Addr>, Vec<Ipv6Addr>), Problem> {
        let resolver = self.0.as_ref().map_err(|error| {
            let detail = format!("this machine's resolver cannot be used ({error}); look at /etc/resolv.conf");
            Problem::own(ProblemKind::ResolverFailed, detail)
        })?;
        let mut name = Name::from_utf8(host).map_err(|error| {
            Problem::target(ProblemKind::NameNotFound, format!("{host:?} cannot be asked for ({error})"))
        })?;
        // Fully qualified: the machine's search domains are none of KMS's.
        name.set_fqdn(true);
        let (a, aaaa) =
            tokio::join!(resolver.lookup(name.clone(), RecordType::A), resolver.lookup(name, RecordType::AAAA));
        let mut nothing = None;
        let mut addresses = |answer: Result<hickory_resolver::lookup::Lookup, NetError>| match answer {
            Ok(found) => Ok(found.answers().iter().filter_map(|record| address(&record.data)).collect()),
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
                nothing = Some(none.response_code);
                Ok(Vec::new())
            }
            Err(error) => Err(failed(host, &error)),
        };
        let a: Vec<IpAddr> = addresses(a)?;
        // Without AAAA records KMS is content, so their lookup may fail - if there is something to go on with.
        let aaaa: Vec<IpAddr> = match addresses(aaaa) {
            Err(problem) if a.is_empty() => return Err(problem),
            other => other.unwrap_or_default(),
        };
        let (ipv4, ipv6) = by_family(a.into_iter().chain(aaaa));
        if ipv4.is_empty() && ipv6.is_empty() {
            return Err(absent(host, nothing));
        }
        Ok((ipv4, ipv6))
    }
}

impl fmt::Debug for NameResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NameResolver").field("usable", &self.0.is_ok()).finish()
    }
}

/// The halves of HOST:PORT; `None` for anything else, IPv6 addresses included.
fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    Some((host, port.parse().ok()?)).filter(|(host, _)| !host.is_empty() && !host.contains(':'))
}

/// Whether `text` says where to connect: `HOST:PORT`, `ADDRESS:PORT` or `[ADDRESS]:PORT`.
pub fn is_connect_to(text: &str) -> bool {
    text.parse::<SocketAddr>().is_ok() || host_and_port(text).is_some()
}

/// Where `connect_to` leads: `HOST:PORT`, the host an address or a name that the machine itself knows.
///
/// A name with IPv4 addresses yields only those, as KMS speaks IPv4 only. Failures are ours: the operator wrote it.
pub(super) async fn resolve_connect_to(host_port: &str) -> Result<Vec<Destination>, Problem> {
    if let Ok(address) = host_port.parse() {
        return Ok(vec![Destination::of_the_operator(address)]);
    }
    let Some((host, port)) = host_and_port(host_port) else {
        let detail = format!("connect_to {host_port:?} is not HOST:PORT");
        return Err(Problem::own(ProblemKind::Syntax, detail));
    };
    let own = |why: &dyn fmt::Display| {
        let detail = format!("connect_to {host_port:?} cannot be resolved on this machine ({why})");
        Problem::own(ProblemKind::ResolverFailed, detail)
    };
    let found = match Deadline::after(PATIENCE).bound(tokio::net::lookup_host((host, port))).await.result {
        None => return Err(own(&format_args!("no answer within {} s", PATIENCE.as_secs()))),
        Some(found) => found.map_err(|error| own(&error))?,
    };
    let (ipv4, ipv6) = by_family(found.map(|address| address.ip()));
    let destination = |ip: IpAddr| Destination::of_the_operator(SocketAddr::new(ip, port));
    let addresses: Vec<Destination> = if ipv4.is_empty() {
        ipv6.into_iter().map(|ip| destination(ip.into())).collect()
    } else {
        ipv4.into_iter().map(|ip| destination(ip.into())).collect()
    };
    if addresses.is_empty() { Err(own(&"it has no address")) } else { Ok(addresses) }
}

fn name_server(server: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = server.port();
        connection
    });
    NameServerConfig::new(server.ip(), true, connections.into())
}

fn limit(options: &mut ResolverOpts) {
    options.timeout = SERVER_PATIENCE;
    options.attempts = 2;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
        _ => None,
    }
}

/// Sorted, each once, and no more than are told: the order in which a server rotates them is chance.
fn by_family(addresses: impl Iterator<Item = IpAddr>) -> (Vec<Ipv4Addr>, Vec<Ipv6Addr>) {
    let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
    for address in addresses {
        match address {
            IpAddr::V4(v4) => ipv4.push(v4),
            IpAddr::V6(v6) => ipv6.push(v6),
        }
    }
    ipv4.sort_unstable();
    ipv4.dedup();
    ipv6.sort_unstable();
    ipv6.dedup();
    ipv4.truncate(MOST_ADDRESSES);
    ipv6.truncate(MOST_ADDRESSES);
    (ipv4, ipv6)
}

// === what a resolver can say instead of an address ===

fn absent(host: &str, code: Option<ResponseCode>) -> Problem {
    if code == Some(ResponseCode::NXDomain) {
        return Problem::target(ProblemKind::NameNotFound, format!("{host} does not exist (NXDOMAIN)"));
    }
    let detail = format!("{host} exists, but has neither A nor AAAA records");
    Problem::target(ProblemKind::NoAddress, detail)
}

fn no_answer(host: &str) -> Problem {
    let detail = format!(
        "the resolver gave no answer for {host} within {} s: it cannot be reached from here, or waits for name servers \
         that do not answer",
        PATIENCE.as_secs()
    );
    Problem::own(ProblemKind::ResolverFailed, detail)
}

fn failed(host: &str, error: &NetError) -> Problem {
    match error {
        NetError::Timeout => no_answer(host),
        NetError::Dns(DnsError::ResponseCode(ResponseCode::Refused)) => {
            let detail = format!("the resolver refuses to answer us about {host} (REFUSED)");
            Problem::own(ProblemKind::ResolverFailed, detail)
        }
        // SERVFAIL and its kin: the resolver works, but could not get at the zone.
        NetError::Dns(DnsError::ResponseCode(code)) => {
            let detail = format!(
                "the resolver could not find out about {host} ({code}): the zone's name servers are broken or not \
                 delegated to, or DNSSEC does not verify"
            );
            Problem::path(ProblemKind::ResolverFailed, detail)
        }
        other => {
            let detail = format!("this machine's resolver failed on {host} ({other})");
            Problem::own(ProblemKind::ResolverFailed, detail)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_addresses_is_cut() {
        let addresses = (0..2_000_u32).map(|number| IpAddr::V4(Ipv4Addr::from(0x0808_0000 + number)));
        let (ipv4, ipv6) = by_family(addresses);
        assert_eq!((ipv4.len(), ipv6.len()), (MOST_ADDRESSES, 0));
    }
}
