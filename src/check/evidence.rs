//! What the stages saw, kept on success and on failure. Judges read nothing else.

mod acceptance;
mod capacity;
mod cloudhsm;
mod http1;
mod key;
mod permission;
mod perspective;
mod refusal;
mod sigv4;
mod tls;
pub mod vpc;

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use aws_lc_rs::digest;

pub use self::acceptance::{Acceptance, CredentialsSeen};
pub use self::capacity::{CapacityEvidence, LoadEvidence, LoadLatency, LoadOperation, LoadOutcome, LoadStop};
pub use self::cloudhsm::{
    CloudHsmEvidence, Cluster, ClusterSettings, ClusterState, ClusterSubject, Hsm, SecurityGroupRules,
};
pub use self::http1::OfferEvidence;
pub use self::key::{CurrentProxy, Enumeration, KeyEvidence, KeyFailure, KeyProofs, KeyTally, KeysAtAddress, Proving};
pub use self::permission::{Permissions, SIMULATED_ACTIONS};
pub use self::perspective::{
    Fleet, OtherPerspective, OtherPerspectives, PerspectiveEvidence, Remark, RemoteReport, View,
};
pub use self::refusal::{Deviation, RefusalEvidence, Trial};
pub use self::sigv4::{FormerSettings, FormerTrial, Guess, Guessed, SignatureEvidence, TOLERATED_SKEW};
pub use self::tls::{
    Certificate, KmsList, KmsListing, OcspStaple, PublicKey, StrangerTrial, SuiteEvidence, SuiteTrial, TlsEvidence,
    Trust,
};
pub use self::vpc::VpcEvidence;
use super::{Problem, Stage};
use crate::clock::Timestamp;
use crate::key_store::{Change, Configuration, Connectivity, ConnectivityKind, CustomKeyStoreId, KeyStore, Region};
use crate::xks::HealthStatus;

/// KMS's time limit for one request to a proxy, each attempt (XKS proxy API, Timeouts; developer guide, monitoring).
pub const KMS_TIME_LIMIT: Duration = Duration::from_millis(250);

/// KMS's port; not configurable there (XKS proxy API, URI).
pub const KMS_PORT: u16 = 443;

/// The round-trip time between the Region and the proxy that AWS recommends not to exceed.
pub const RECOMMENDED_ROUND_TRIP: Duration = Duration::from_millis(35);

/// The largest answer that is read. A valid health answer is below 4 KiB; the rest is room for error pages.
pub const LARGEST_BODY: usize = 64 * 1024;

/// The longest body of an answer that is kept once it was judged: no valid health answer is longer, and reports are
/// kept by the thousand.
const LONGEST_KEPT_BODY: usize = 4 * 1024;

/// Everything seen of one candidate.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// When the pre-flight began; certificates are judged at this instant.
    pub at: Timestamp,
    /// What was asked for.
    pub subject: Subject,
    /// What the name resolved to.
    pub resolution: Resolution,
    /// One entry for each address that was probed.
    pub addresses: Vec<AddressEvidence>,
    /// Why addresses were left out that KMS may take, if any were.
    pub left_out: Option<Problem>,
    /// The health answer behind the current settings, for comparison.
    pub baseline_health: Option<HealthStatus>,
    /// What came of requests that the proxy must refuse, if they were asked for.
    pub refusals: Option<RefusalEvidence>,
    /// What the addresses that answered make of other protocol offers.
    pub offers: Vec<OfferEvidence>,
    /// What further requests told of the signature.
    pub signature: SignatureEvidence,
    /// What was seen of the keys behind the candidate.
    pub keys: KeyEvidence,
    /// What was seen under load, if that was asked for.
    pub capacity: Option<CapacityEvidence>,
    /// What AWS told.
    pub aws: AwsEvidence,
    /// What other perspectives say, if they were asked.
    pub perspectives: Option<PerspectiveEvidence>,
}

impl Evidence {
    /// Nothing seen yet.
    pub fn new(at: Timestamp, subject: Subject) -> Self {
        Self {
            at,
            subject,
            resolution: Resolution::NotReached,
            addresses: Vec::new(),
            left_out: None,
            baseline_health: None,
            refusals: None,
            offers: Vec::new(),
            signature: SignatureEvidence::default(),
            keys: KeyEvidence::default(),
            capacity: None,
            aws: AwsEvidence::default(),
            perspectives: None,
        }
    }

    /// Cuts long bodies short, after everything was judged.
    pub fn shorten_bodies(&mut self) {
        let samples = self.addresses.iter_mut().flat_map(|address| &mut address.samples);
        let attempts = samples.flat_map(|Sample { first, retry, .. }| std::iter::once(first).chain(retry));
        let trials = self.refusals.iter_mut().flat_map(|refusals| &mut refusals.trials);
        let tried = trials.filter_map(|trial| trial.answer.as_mut().ok());
        for exchange in attempts.filter_map(|attempt| attempt.exchange.as_mut()).chain(tried) {
            exchange.body.truncate(LONGEST_KEPT_BODY);
            exchange.body.shrink_to_fit();
        }
    }
}

/// What AWS tells, gathered by whoever may ask it; each part only if it is about the subject.
#[derive(Clone, Debug, Default)]
pub struct AwsEvidence {
    /// The account's key stores, if a change of one of them is the subject.
    pub control_plane: Option<ControlPlane>,
    /// The VPC endpoint service of the candidate.
    pub vpc: Option<VpcEvidence>,
    /// The CloudHSM cluster of the candidate.
    pub cloud_hsm: Option<CloudHsmEvidence>,
    /// What our own identity may do, if that was asked.
    pub permissions: Option<Result<Permissions, Problem>>,
}

/// The candidate as it was asked for: text, because text that KMS would refuse must be judged, too.
#[derive(Clone, Debug)]
pub struct Subject {
    /// `XksProxyUriEndpoint`
    pub endpoint: String,
    /// `XksProxyUriPath`
    pub path: String,
    /// `XksProxyConnectivity`
    pub connectivity: ConnectivityKind,
    /// `XksProxyVpcEndpointServiceName`
    pub vpc_endpoint_service: Option<String>,
    /// The Region that KMS signs for.
    pub region: Region,
    /// `AccessKeyId`
    pub access_key_id: String,
    /// What may be known of the secret.
    pub secret: SecretEvidence,
    /// Where to connect instead of the name's addresses (HOST:PORT as asked).
    pub connect_to: Vec<String>,
    /// Length of the longest external key id of the store, when known; 128 is the longest there can be.
    pub longest_key_id: Option<usize>,
    /// Whether roots of a laboratory were accepted as KMS-trusted: then the verdict holds for the laboratory only.
    pub lab: bool,
    /// The CloudHSM cluster that is asked for, when the candidate is one. The members of a proxy are then empty, and
    /// no stage of a proxy is judged.
    pub cluster: Option<Box<ClusterSubject>>,
}

impl Subject {
    /// A candidate that is a cluster and has no proxy.
    pub fn of_cluster(cluster: ClusterSubject, region: Region, lab: bool) -> Self {
        Self {
            endpoint: String::new(),
            path: String::new(),
            connectivity: ConnectivityKind::PublicEndpoint,
            vpc_endpoint_service: None,
            region,
            access_key_id: String::new(),
            secret: SecretEvidence::Malformed("there is no proxy".to_owned()),
            connect_to: Vec::new(),
            longest_key_id: None,
            lab,
            cluster: Some(Box::new(cluster)),
        }
    }

    /// Whether these are the settings that KMS shows of a key store. A secret is not shown, nor is a name a setting.
    pub fn is_of(&self, shown: &Configuration) -> bool {
        match (shown, &self.cluster) {
            (Configuration::Xks(xks), None) => {
                let service = match &xks.connectivity {
                    Connectivity::PublicEndpoint => None,
                    Connectivity::VpcEndpointService { name, .. } => Some(name.as_str()),
                };
                self.endpoint == xks.endpoint.as_str()
                    && self.path == xks.path.as_str()
                    && self.connectivity == xks.connectivity.kind()
                    && self.vpc_endpoint_service.as_deref() == service
                    && self.access_key_id == xks.access_key_id.as_str()
            }
            (Configuration::CloudHsm(hsm), Some(subject)) => subject.cluster == hsm.cluster,
            (Configuration::Xks(_) | Configuration::CloudHsm(_) | Configuration::Unrecognized { .. }, _) => false,
        }
    }

    /// Identifies exactly the settings that KMS would be given, wherever we connected to probe them: what a permit is
    /// bound to. 64 hexadecimal digits.
    pub fn kms_settings_digest(&self) -> String {
        if let Some(cluster) = &self.cluster {
            return cluster.settings().digest();
        }
        ProbedSettings {
            endpoint: &self.endpoint,
            path: &self.path,
            connectivity: self.connectivity,
            vpc_endpoint_service: self.vpc_endpoint_service.as_deref(),
            access_key_id: &self.access_key_id,
            fingerprint: match &self.secret {
                SecretEvidence::Malformed(_) => None,
                SecretEvidence::WellFormed { fingerprint, .. } => Some(fingerprint),
            },
        }
        .digest()
    }
}

/// The settings of an external key store that a pre-flight is about, as text.
#[derive(Clone, Copy, Debug)]
pub struct ProbedSettings<'a> {
    /// `XksProxyUriEndpoint`
    pub endpoint: &'a str,
    /// `XksProxyUriPath`
    pub path: &'a str,
    /// `XksProxyConnectivity`
    pub connectivity: ConnectivityKind,
    /// `XksProxyVpcEndpointServiceName`
    pub vpc_endpoint_service: Option<&'a str>,
    /// `AccessKeyId`
    pub access_key_id: &'a str,
    /// [`Fingerprint`](crate::key_store::Fingerprint) of the credential.
    pub fingerprint: Option<&'a str>,
}

impl ProbedSettings<'_> {
    /// SHA-256 over the members; 64 hexadecimal digits.
    pub fn digest(&self) -> String {
        let members = [
            Some(self.endpoint),
            Some(self.path),
            Some(self.connectivity.as_str()),
            self.vpc_endpoint_service,
            Some(self.access_key_id),
            self.fingerprint,
        ];
        digest_of("xks-preflight/settings/1", &members)
    }
}

/// SHA-256 over members, each with its length, so that none can run into the next; 64 hexadecimal digits.
fn digest_of(domain: &str, members: &[Option<&str>]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(domain.as_bytes());
    for member in members {
        let length = member.map_or(u64::MAX, |text| text.len() as u64);
        context.update(&length.to_be_bytes());
        context.update(member.unwrap_or_default().as_bytes());
    }
    context.finish().as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What may be known of a secret without knowing it.
#[derive(Clone, Debug, PartialEq)]
pub enum SecretEvidence {
    /// It breaks KMS's rules; which one.
    Malformed(String),
    /// It is well-formed.
    WellFormed {
        /// Estimated entropy in bits.
        estimated_bits: f64,
        /// It is an example value from AWS's documents.
        documented_example: bool,
        /// Tells it from other secrets.
        fingerprint: String,
    },
}

/// What became of the name.
#[derive(Clone, Debug)]
pub enum Resolution {
    /// Not asked, because the input was not fit for it.
    NotReached,
    /// Not asked, because `connect_to` says where to go.
    Bypassed,
    /// The resolver answered with addresses.
    Answered {
        /// How long it took; not counted against KMS's limit, as KMS resolves from its own place.
        took: Duration,
        /// A records.
        ipv4: Vec<Ipv4Addr>,
        /// AAAA records.
        ipv6: Vec<Ipv6Addr>,
    },
    /// No answer that helps.
    Failed {
        /// How long it took.
        took: Duration,
        /// Why.
        problem: Problem,
    },
}

/// Everything seen of one address.
#[derive(Clone, Debug)]
pub struct AddressEvidence {
    /// Where we connected.
    pub address: SocketAddr,
    /// What TLS showed, from the first handshake that got as far as a certificate.
    pub tls: Option<TlsEvidence>,
    /// Which of KMS's cipher suites are accepted, by version of TLS; `None` if nobody asked.
    pub suites: Option<SuiteEvidence>,
    /// What became of a client certificate that no proxy can know, if one was tried.
    pub stranger: Option<StrangerTrial>,
    /// The samples in the order they were taken.
    pub samples: Vec<Sample>,
}

impl AddressEvidence {
    /// The samples that decide: fresh connections under KMS's limit.
    pub fn cold(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(|sample| sample.kind == SampleKind::Cold)
    }

    /// The first cold sample that did not end in a complete HTTP answer.
    pub fn first_stop(&self) -> Option<&Stop> {
        self.cold().find_map(|sample| sample.last().stop.as_ref())
    }

    /// The deciding attempts' complete answers.
    pub fn exchanges(&self) -> impl Iterator<Item = &ExchangeEvidence> {
        self.cold().filter_map(|sample| sample.last().exchange.as_ref())
    }
}

/// How a sample was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleKind {
    /// A fresh connection, KMS's limit, one retry on a network time-out.
    Cold,
    /// One more request on a connection kept from before.
    Warm,
    /// After a time-out, one fresh connection with more patience: tells slow from dead. Never decides.
    Patient,
}

/// One request for health, with KMS's one retry.
#[derive(Clone, Debug)]
pub struct Sample {
    /// How it was taken.
    pub kind: SampleKind,
    /// The first attempt.
    pub first: Attempt,
    /// The retry, made only after a network time-out.
    pub retry: Option<Attempt>,
}

impl Sample {
    /// The attempt that decides.
    pub fn last(&self) -> &Attempt {
        self.retry.as_ref().unwrap_or(&self.first)
    }

    /// Both attempts, in order.
    pub fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        std::iter::once(&self.first).chain(self.retry.as_ref())
    }
}

/// One attempt: how long each stage took and where it ended.
#[derive(Clone, Debug, Default)]
pub struct Attempt {
    /// TCP connect; for a stage that ran out of time, the time until it was given up.
    pub connect: Option<Duration>,
    /// TLS handshake.
    pub tls: Option<Duration>,
    /// From the first byte of the request to the last of the answer.
    pub request: Option<Duration>,
    /// Why there is no complete answer; `None` when there is one.
    pub stop: Option<Stop>,
    /// The complete answer.
    pub exchange: Option<ExchangeEvidence>,
}

impl Attempt {
    /// Connect, TLS and request together: what we hold against KMS's limit.
    pub fn total(&self) -> Duration {
        [self.connect, self.tls, self.request].into_iter().flatten().sum()
    }

    /// The stage that took longest.
    pub fn slowest_stage(&self) -> Stage {
        [(Stage::Tcp, self.connect), (Stage::Tls, self.tls), (Stage::Http, self.request)]
            .into_iter()
            .max_by_key(|(_, took)| took.unwrap_or_default())
            .map_or(Stage::Http, |(stage, _)| stage)
    }
}

/// Where an attempt ended before a complete answer, and why.
#[derive(Clone, Debug)]
pub struct Stop {
    /// The stage that ended it: tcp, tls or http.
    pub stage: Stage,
    /// Why.
    pub problem: Problem,
}

/// One complete HTTP answer.
#[derive(Clone, Debug)]
pub struct ExchangeEvidence {
    /// The status code.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Location`.
    pub location: Option<String>,
    /// `Date`.
    pub date: Option<Timestamp>,
    /// Our clock when the answer's head arrived.
    pub received_at: Timestamp,
    /// The body; at most [`LARGEST_BODY`].
    pub body: Vec<u8>,
    /// The `kmsRequestId` that was sent.
    pub request_id: String,
}

/// What KMS tells, for judging a change of one key store.
#[derive(Clone, Debug)]
pub struct ControlPlane {
    /// The store to be changed.
    pub key_store: CustomKeyStoreId,
    /// Every key store of account and Region, or why they could not be had.
    pub stores: Result<Vec<KeyStore>, Problem>,
    /// What is wanted.
    pub change: Change,
    /// What the plan believed, when there is a plan already: the store's name and settings.
    pub believed: Option<KeyStore>,
    /// Why the former settings could not be restored, if so.
    pub rollback_impossible: Option<String>,
    /// Whether the caller acknowledged the outage of a cold change.
    pub outage_acknowledged: bool,
    /// Whether this is the look after the update: the store is then meant to be as wanted.
    pub after_update: bool,
}

impl ControlPlane {
    /// The store as KMS describes it now.
    pub fn observed(&self) -> Option<&KeyStore> {
        self.stores.as_ref().ok()?.iter().find(|store| store.id == self.key_store)
    }

    /// The other stores of account and Region.
    pub fn others(&self) -> impl Iterator<Item = &KeyStore> {
        self.stores.iter().flatten().filter(|store| store.id != self.key_store)
    }

    /// The settings believed by the plan.
    pub fn believed_configuration(&self) -> Option<&Configuration> {
        self.believed.as_ref().map(|store| &store.configuration)
    }
}

/// Whether a certificate's name covers a host: equal but for case, or a wildcard for exactly its first label.
pub fn certificate_name_covers(name: &str, host: &str) -> bool {
    if name.eq_ignore_ascii_case(host) {
        return true;
    }
    let rest = host.split_once('.').map(|(_, rest)| rest);
    name.strip_prefix("*.").is_some_and(|suffix| rest.is_some_and(|rest| rest.eq_ignore_ascii_case(suffix)))
}

/// Whether an address can be reached over the internet (IANA special-purpose registries).
pub fn is_globally_routable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_documentation()
                || v4.is_broadcast()
                || v4.is_multicast()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 192 && b == 88 && c == 99)
                || (a == 198 && (b == 18 || b == 19)))
        }
        IpAddr::V6(v6) => {
            (v6.segments()[0] & 0xe000) == 0x2000 && v6.segments()[0] != 0x2002 && {
                let [first, second, ..] = v6.segments();
                !(first == 0x2001 && (second == 0xdb8 || second < 0x200))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_cover_one_level() {
        assert!(certificate_name_covers("XKS.example.com", "xks.example.com"));
        assert!(certificate_name_covers("*.example.com", "xks.example.com"));
        assert!(!certificate_name_covers("*.example.com", "a.xks.example.com"));
        assert!(!certificate_name_covers("*.example.com", "example.com"));
    }

    #[test]
    fn special_addresses_are_not_public() {
        for special in [
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "127.0.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.2.7",
            "198.51.100.1",
            "203.0.113.9",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "198.18.0.1",
            "::1",
            "fe80::1",
            "fc00::1",
            "2001:db8::1",
        ] {
            assert!(!is_globally_routable(special.parse().unwrap()), "{special}");
        }
        for public in ["8.8.8.8", "52.94.76.1", "100.128.0.1", "172.32.0.1", "2600:1f18::1"] {
            assert!(is_globally_routable(public.parse().unwrap()), "{public}");
        }
    }
}
