//! Where a probe may connect: a guard against requests that are forged through us.
//!
//! Whoever may ask for a pre-flight names a host, and names are in other hands than ours: one can lead to this machine,
//! to the metadata service beside it, or to anything in its network. So a socket is opened only to a [`Destination`],
//! and there are two ways to one: an address that [`Egress`] admitted, or a place that the operator wrote down. A name
//! is resolved once; what is connected to is the very address that was looked at, so a name that answers differently
//! the second time (DNS rebinding) gains nothing.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::Ipv4Net;

use crate::check::{KMS_PORT, Problem, ProblemKind, is_globally_routable};
use crate::key_store::ConnectivityKind;

/// An address that may be connected to. Made by [`Egress::admit`] and from what the operator wrote, nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Destination(SocketAddr);

impl Destination {
    /// The operator wrote it: on the command line, or in the configuration's routes.
    pub(super) fn of_the_operator(address: SocketAddr) -> Self {
        Self(address)
    }

    /// Any address, for tests of what comes after the guard.
    #[cfg(test)]
    pub(crate) fn of_a_test(address: SocketAddr) -> Self {
        Self(address)
    }

    /// The address.
    pub fn address(self) -> SocketAddr {
        self.0
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A host, and every host below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSuffix(String);

impl HostSuffix {
    /// Reads `example.com`: 1 to 253 characters, labels of letters, digits and hyphens. The error is the rule in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let label = |label: &str| {
            (1..=63).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if text.len() <= 253 && text.split('.').all(label) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err("must be a host name such as example.com, without scheme, port or wildcard; it covers all below it"
                .to_owned())
        }
    }

    /// Whether it is `host`, or `host` is below it. Case does not matter.
    fn covers(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        host.strip_suffix(&self.0).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

/// Reads an IPv4 network such as `10.0.0.0/8` whose addresses a VPC endpoint may have. The error is the rule in words.
pub fn vpc_network(text: &str) -> Result<Ipv4Net, String> {
    let network: Ipv4Net = text.parse().map_err(|_| "must be an IPv4 network such as 10.0.0.0/8".to_owned())?;
    let (first, last) = (network.network(), network.broadcast());
    if [first, last].into_iter().all(|address| is_anywhere(address) && !is_globally_routable(address.into())) {
        Ok(network.trunc())
    } else {
        Err("must be within a private range: no network of the internet, this machine or its link".to_owned())
    }
}

/// Which hosts may be probed, and where a name may lead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    /// Hosts that endpoints may have; `None` leaves it to the addresses.
    pub hosts: Option<Vec<HostSuffix>>,
    /// The networks in which a VPC endpoint may be; `None` takes every private one, for a person at a shell, whose own
    /// network it is.
    pub vpc_networks: Option<Vec<Ipv4Net>>,
}

impl Egress {
    /// Whether an endpoint may have this host at all. It is asked before the name is resolved: a question to a name
    /// server is a message, too.
    pub fn host(&self, host: &str) -> Result<(), Problem> {
        match &self.hosts {
            Some(hosts) if !hosts.iter().any(|suffix| suffix.covers(host)) => {
                let detail = format!(
                    "{host} is not among the hosts that may be probed from here, so it was neither resolved nor connected \
                     to; the operator of this daemon can add it to preflight.endpoint_hosts"
                );
                Err(Problem::own(ProblemKind::NotAllowed, detail))
            }
            _ => Ok(()),
        }
    }

    /// Admits an address that `host` resolves to, as one of a proxy of this connectivity, or of either if it is not
    /// known. A public endpoint is on the internet; a VPC endpoint is in its networks. Neither is ever on this machine or
    /// its link, where the metadata services are.
    pub fn admit(
        &self,
        host: &str,
        address: Ipv4Addr,
        connectivity: Option<ConnectivityKind>,
    ) -> Result<Destination, Problem> {
        let public = is_globally_routable(address.into());
        let private = is_anywhere(address) && !public;
        let admitted = || Ok(Destination(SocketAddr::new(IpAddr::V4(address), KMS_PORT)));
        let told = |kind, why: &str| {
            let detail = format!("{host} resolves to {address} from here, {why}");
            Err(Problem::own(kind, detail))
        };
        match connectivity {
            Some(ConnectivityKind::PublicEndpoint) | None if public => admitted(),
            Some(ConnectivityKind::PublicEndpoint) => told(
                ProblemKind::UnfitAddress,
                "which is not an address of the internet, so it was not connected to; take it out of the name, or say \
                 with connect_to where the endpoint is",
            ),
            Some(ConnectivityKind::VpcEndpointService) | None if !private => told(
                ProblemKind::UnfitAddress,
                "which no VPC endpoint can have, so it was not connected to; look from inside the VPC, or say with \
                 connect_to where the endpoint is",
            ),
            Some(ConnectivityKind::VpcEndpointService) | None => match &self.vpc_networks {
                Some(networks) if !networks.iter().any(|network| network.contains(&address)) => told(
                    ProblemKind::NotAllowed,
                    "which is in none of the networks that VPC endpoints may be probed in from here, so it was not \
                     connected to; the operator of this daemon can add its network to preflight.vpc_networks",
                ),
                _ => admitted(),
            },
        }
    }
}

/// Whether an address can be another machine's at all: 0.0.0.0/8 is this machine, too; from 224.0.0.0 on are multicast,
/// reserved and broadcast addresses.
fn is_anywhere(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    !(address.is_loopback() || address.is_link_local() || first == 0 || first >= 224)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ConnectivityKind::{PublicEndpoint, VpcEndpointService};

    fn guarded() -> Egress {
        Egress {
            hosts: Some(vec![HostSuffix::parse("example.com").unwrap()]),
            vpc_networks: Some(vec![vpc_network("10.1.0.0/16").unwrap()]),
        }
    }

    #[test]
    fn a_suffix_ends_at_a_label() {
        let egress = guarded();
        for host in ["example.com", "xks.example.com", "a.b.EXAMPLE.com"] {
            assert_eq!(egress.host(host), Ok(()), "{host}");
        }
        for host in ["notexample.com", "example.com.evil.test", "example.org", "com", ""] {
            assert_eq!(egress.host(host).unwrap_err().kind, ProblemKind::NotAllowed, "{host}");
        }
        assert_eq!(Egress::default().host("anything.test"), Ok(()));
    }

    #[test]
    fn suffixes_and_networks_are_read_strictly() {
        for text in ["", ".example.com", "*.example.com", "https://example.com", "example.com:443", "a..b", "a b"] {
            assert!(HostSuffix::parse(text).is_err(), "{text}");
        }
        for text in ["10.0.0.0/8", "172.16.0.0/12", "192.168.7.0/24", "100.64.0.0/10", "10.1.2.3/32"] {
            assert!(vpc_network(text).is_ok(), "{text}");
        }
        for text in ["", "10.0.0.0", "0.0.0.0/0", "127.0.0.0/8", "169.254.0.0/16", "8.8.8.0/24", "10.0.0.0/4", "::/0"] {
            assert!(vpc_network(text).is_err(), "{text}");
        }
    }

    /// Targets of forged requests, with both connectivities: none is admitted.
    #[test]
    fn what_forged_requests_are_after_is_refused() {
        for (address, what) in [
            ("127.0.0.1", "this machine"),
            ("127.8.9.10", "this machine"),
            ("0.0.0.0", "this machine"),
            ("169.254.169.254", "EC2 instance metadata"),
            ("169.254.170.2", "ECS task credentials"),
            ("169.254.170.23", "EKS pod identity"),
            ("224.0.0.1", "multicast"),
            ("255.255.255.255", "broadcast"),
            ("240.0.0.1", "reserved"),
            ("10.2.0.1", "another private network"),
            ("172.17.0.1", "a container bridge"),
            ("192.168.0.1", "a router"),
            ("100.100.100.200", "another cloud's metadata"),
            ("192.0.2.1", "documentation"),
            ("198.18.0.1", "benchmarks"),
        ] {
            let address: Ipv4Addr = address.parse().unwrap();
            for connectivity in [Some(PublicEndpoint), Some(VpcEndpointService), None] {
                assert!(guarded().admit("x.example.com", address, connectivity).is_err(), "{address} {what}");
            }
        }
    }

    #[test]
    fn each_connectivity_has_its_own_addresses() {
        let egress = guarded();
        let (public, private) = (Ipv4Addr::new(8, 8, 8, 8), Ipv4Addr::new(10, 1, 2, 3));
        let admits = |address, connectivity| egress.admit("x.example.com", address, connectivity).is_ok();
        assert!(admits(public, Some(PublicEndpoint)) && admits(private, Some(VpcEndpointService)));
        assert!(!admits(private, Some(PublicEndpoint)) && !admits(public, Some(VpcEndpointService)));
        assert!(admits(public, None) && admits(private, None));
        let refused = egress.admit("x.example.com", Ipv4Addr::new(10, 9, 9, 9), Some(VpcEndpointService)).unwrap_err();
        assert!(refused.detail.contains("preflight.vpc_networks"), "{}", refused.detail);
    }
}
