//! **The one list.** A check is declared here once; runner, reports, metrics, README, API and waivers read it.

use std::fmt;

use super::judge::{self, Judgement};
use super::{Evidence, Level};
use crate::key_store::{ConnectionErrorCode as Code, KmsException as Raises, KmsOutcome};

/// A rule about a candidate.
#[derive(Clone)]
pub struct Check {
    /// `stage.name`, public: metrics label, waiver key, report.
    pub id: &'static str,
    /// When in a probe it is told.
    pub stage: Stage,
    /// How bad its failure is.
    pub level: Level,
    /// What holds when it passes.
    pub title: &'static str,
    /// Where that is written.
    pub citation: Citation,
    /// What to do when it fails, for the person on call.
    pub remedy: &'static str,
    /// What KMS makes of it; some findings know better (the proxy's error name).
    pub kms: Option<KmsOutcome>,
    /// The judge: a pure function of the evidence.
    pub(super) judge: fn(&Evidence) -> Vec<Judgement>,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Check").field(&self.id).finish()
    }
}

impl PartialEq for Check {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Check {}

/// Where a rule is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Citation {
    /// The document.
    pub source: &'static str,
    /// The place in it.
    pub section: &'static str,
}

/// The stages of a pre-flight, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The values themselves; no network.
    Input,
    /// Resolving the name.
    Dns,
    /// Connecting.
    Tcp,
    /// The handshake and the certificates.
    Tls,
    /// One request and its answer.
    Http,
    /// Whether the proxy accepts the signature.
    Sigv4,
    /// What the answer says.
    Health,
    /// How long it all took.
    Latency,
    /// What KMS says of the key stores.
    Kms,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 9] =
        [Self::Input, Self::Dns, Self::Tcp, Self::Tls, Self::Http, Self::Sigv4, Self::Health, Self::Latency, Self::Kms];

    /// The word used in ids, reports and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Sigv4 => "sigv4",
            Self::Health => "health",
            Self::Latency => "latency",
            Self::Kms => "kms",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The check with this id.
pub fn find(id: &str) -> Option<&'static Check> {
    CATALOGUE.iter().find(|check| check.id == id)
}

const API: &str = "KMS API Reference";
const SPEC: &str = "XKS Proxy API Specification 1.0.3";
const GUIDE: &str = "KMS Developer Guide";
const OURS: &str = "xks-preflight";

const fn cite(source: &'static str, section: &'static str) -> Citation {
    Citation { source, section }
}

/// TLS failures: the specification and the guide name different exceptions.
const TLS: Option<KmsOutcome> = Some(
    KmsOutcome::of(Raises::XksProxyUriUnreachable, Code::XksProxyInvalidTlsConfiguration)
        .or(Raises::XksProxyInvalidConfiguration),
);
const UNREACHABLE: Option<KmsOutcome> =
    Some(KmsOutcome::of(Raises::XksProxyUriUnreachable, Code::XksProxyNotReachable).retryable(true));
const TIMED_OUT: Option<KmsOutcome> =
    Some(KmsOutcome::of(Raises::XksProxyUriUnreachable, Code::XksProxyTimedOut).retryable(true));
const INVALID_RESPONSE: Option<KmsOutcome> =
    Some(KmsOutcome::of(Raises::XksProxyInvalidResponse, Code::XksProxyInvalidResponse));
const VALIDATION: Option<KmsOutcome> = Some(KmsOutcome::update(Raises::Validation));

/// Every check, in the order in which a probe comes to it; the order of the report and the documents.
pub static CATALOGUE: &[Check] = &[
    Check {
        id: "input.endpoint_syntax",
        stage: Stage::Input,
        level: Level::Must,
        title: "XksProxyUriEndpoint is https:// and a host of 10 to 128 characters in all, without port and path",
        citation: cite(API, "UpdateCustomKeyStore, XksProxyUriEndpoint"),
        remedy: "Write the endpoint as https://HOST; the port is always 443 and the path goes into XksProxyUriPath.",
        kms: VALIDATION,
        judge: judge::input::endpoint_syntax,
    },
    Check {
        id: "input.endpoint_fqdn",
        stage: Stage::Input,
        level: Level::Must,
        title: "the host is a fully qualified DNS name",
        citation: cite(SPEC, "URI"),
        remedy: "Use the proxy's full DNS name, the one on its certificate; KMS's own pattern lets other hosts through, and they cannot work.",
        kms: UNREACHABLE,
        judge: judge::input::endpoint_fqdn,
    },
    Check {
        id: "input.path_syntax",
        stage: Stage::Input,
        level: Level::Must,
        title: "XksProxyUriPath is [/prefix]/kms/xks/v1, 10 to 128 characters",
        citation: cite(API, "UpdateCustomKeyStore, XksProxyUriPath"),
        remedy: "Write the path as /kms/xks/v1 or /prefix/kms/xks/v1 with a prefix of letters, digits, slash, hyphen and underscore.",
        kms: VALIDATION,
        judge: judge::input::path_syntax,
    },
    Check {
        id: "input.path_version",
        stage: Stage::Input,
        level: Level::Must,
        title: "the path ends in /kms/xks/v1, the only version there is",
        citation: cite(SPEC, "URI"),
        remedy: "End the path in /kms/xks/v1.",
        kms: Some(KmsOutcome::of(Raises::XksProxyInvalidConfiguration, Code::XksProxyInvalidConfiguration)),
        judge: judge::input::path_version,
    },
    Check {
        id: "input.path_canonical",
        stage: Stage::Input,
        level: Level::Should,
        title: "the path has no empty segments",
        citation: cite(OURS, "servers and signers disagree on //"),
        remedy: "Remove doubled slashes: load balancers and SigV4 implementations normalise them differently.",
        kms: None,
        judge: judge::input::path_canonical,
    },
    Check {
        id: "input.uri_length",
        stage: Stage::Input,
        level: Level::Must,
        title: "endpoint, path and the longest suffix of a key of the store have 256 characters at most",
        citation: cite(SPEC, "URI"),
        remedy: "Shorten the path prefix or the host name; KMS accepts both at 128 characters and fails later, on the first long key id.",
        kms: None,
        judge: judge::input::uri_length,
    },
    Check {
        id: "input.access_key_id",
        stage: Stage::Input,
        level: Level::Must,
        title: "AccessKeyId is 20 to 30 of A-Z and 2-7",
        citation: cite(API, "XksProxyAuthenticationCredentialType, AccessKeyId"),
        remedy: "Take the access key id that the proxy made; AWS's printed samples with 0, 1, 8 or 9 in them are not valid.",
        kms: VALIDATION,
        judge: judge::input::access_key_id,
    },
    Check {
        id: "input.secret_access_key",
        stage: Stage::Input,
        level: Level::Must,
        title: "RawSecretAccessKey is 43 to 64 of a-z, A-Z, 0-9, slash, plus and equals sign",
        citation: cite(API, "XksProxyAuthenticationCredentialType, RawSecretAccessKey"),
        remedy: "Take the secret that the proxy made, without line breaks or quotes around it.",
        kms: VALIDATION,
        judge: judge::input::secret_access_key,
    },
    Check {
        id: "input.secret_strength",
        stage: Stage::Input,
        level: Level::Advice,
        title: "the secret does not look guessable",
        citation: cite(SPEC, "Authentication: 256 bits of entropy are recommended"),
        remedy: "Make a new credential on the proxy from a random source and rotate to it.",
        kms: None,
        judge: judge::input::secret_strength,
    },
    Check {
        id: "input.service_name",
        stage: Stage::Input,
        level: Level::Must,
        title: "XksProxyVpcEndpointServiceName is well-formed and of the key store's Region",
        citation: cite(GUIDE, "Configuring VPC endpoint service connectivity"),
        remedy: "Use the service name shown by DescribeVpcEndpointServiceConfigurations in the key store's own Region.",
        kms: Some(KmsOutcome::of(Raises::XksProxyVpcEndpointServiceNotFound, Code::XksVpcEndpointServiceNotFound)),
        judge: judge::input::service_name,
    },
    Check {
        id: "input.travels_together",
        stage: Stage::Input,
        level: Level::Must,
        title: "what must be changed together is, and no member of the other store type is given",
        citation: cite(API, "UpdateCustomKeyStore, XksProxyConnectivity"),
        remedy: "Give the missing members with the change, and leave out those that do not belong.",
        kms: VALIDATION,
        judge: judge::input::travels_together,
    },
    Check {
        id: "dns.resolves",
        stage: Stage::Dns,
        level: Level::Must,
        title: "the name resolves",
        citation: cite(SPEC, "URI"),
        remedy: "Create or correct the DNS record, or correct the host; new names need the zone's negative TTL to pass.",
        kms: UNREACHABLE,
        judge: judge::dns::resolves,
    },
    Check {
        id: "dns.ipv4",
        stage: Stage::Dns,
        level: Level::Must,
        title: "the name has an A record: KMS speaks IPv4 only",
        citation: cite(GUIDE, "Create an external key store: IPv4 requirements"),
        remedy: "Add an A record for the proxy; AAAA records alone are of no use to KMS.",
        kms: UNREACHABLE,
        judge: judge::dns::ipv4,
    },
    Check {
        id: "dns.public_address",
        stage: Stage::Dns,
        level: Level::Must,
        title: "for PUBLIC_ENDPOINT every address is globally routable",
        citation: cite(GUIDE, "Create an external key store: public endpoint connectivity"),
        remedy: "Publish public addresses only, or use VPC_ENDPOINT_SERVICE connectivity; every address counts, KMS may take any.",
        kms: UNREACHABLE,
        judge: judge::dns::public_address,
    },
    Check {
        id: "dns.private_name",
        stage: Stage::Dns,
        level: Level::Advice,
        title: "for VPC_ENDPOINT_SERVICE the private DNS name does not resolve publicly to something else",
        citation: cite(GUIDE, "Configuring VPC endpoint service connectivity"),
        remedy: "Remove the public record or accept that a client outside the VPC reaches another server under this name.",
        kms: None,
        judge: judge::dns::private_name,
    },
    Check {
        id: "tcp.connects",
        stage: Stage::Tcp,
        level: Level::Must,
        title: "every address accepts connections on port 443",
        citation: cite(API, "UpdateCustomKeyStore, XksProxyUriUnreachableException"),
        remedy: "Start the proxy there, open firewall and security group for port 443, or remove the address from DNS.",
        kms: UNREACHABLE,
        judge: judge::tcp::connects,
    },
    Check {
        id: "tcp.round_trip",
        stage: Stage::Tcp,
        level: Level::Should,
        title: "connecting takes 35 ms at most",
        citation: cite(GUIDE, "External key stores: round-trip time"),
        remedy: "Move the proxy closer to the AWS Region, or look from where the Region is: seen from elsewhere this says little.",
        kms: None,
        judge: judge::tcp::round_trip,
    },
    Check {
        id: "tls.handshake",
        stage: Stage::Tls,
        level: Level::Must,
        title: "the TLS handshake completes",
        citation: cite(SPEC, "Transport"),
        remedy: "Make the port speak TLS with the proxy's certificate; look at the listener's protocol on the load balancer first.",
        kms: TLS,
        judge: judge::tls::handshake,
    },
    Check {
        id: "tls.version",
        stage: Stage::Tls,
        level: Level::Must,
        title: "TLS 1.2 or 1.3 is spoken",
        citation: cite(SPEC, "Transport"),
        remedy: "Enable TLS 1.2 or 1.3 on the proxy or its load balancer.",
        kms: TLS,
        judge: judge::tls::version,
    },
    Check {
        id: "tls.chain_complete",
        stage: Stage::Tls,
        level: Level::Must,
        title: "the served chain reaches a root without fetching anything",
        citation: cite(GUIDE, "Troubleshooting external key stores: certificate errors"),
        remedy: "Serve the intermediate certificates too (the full chain file), leaf first.",
        kms: TLS,
        judge: judge::certificate::chain_complete,
    },
    Check {
        id: "tls.chain_trusted",
        stage: Stage::Tls,
        level: Level::Must,
        title: "the chain's signatures verify up to a root we know",
        citation: cite(GUIDE, "Troubleshooting external key stores: certificate errors"),
        remedy: "Use a certificate of a public authority that AWS lists for XKS proxies; private and self-signed roots are not accepted.",
        kms: TLS,
        judge: judge::certificate::chain_trusted,
    },
    Check {
        id: "tls.name_matches",
        stage: Stage::Tls,
        level: Level::Must,
        title: "the certificate is for the endpoint's host",
        citation: cite(SPEC, "Transport"),
        remedy: "Issue a certificate with the endpoint's host as subject alternative name, or correct the endpoint.",
        kms: TLS,
        judge: judge::certificate::name_matches,
    },
    Check {
        id: "tls.common_name",
        stage: Stage::Tls,
        level: Level::Advice,
        title: "the certificate's common name matches the host, too",
        citation: cite(GUIDE, "Create an external key store: the certificate's subject common name"),
        remedy: "With the next certificate, put the host (or a one-level wildcard) into the common name: AWS's guide speaks of nothing else.",
        kms: None,
        judge: judge::certificate::common_name,
    },
    Check {
        id: "tls.validity",
        stage: Stage::Tls,
        level: Level::Must,
        title: "no certificate of the chain has expired or is not valid yet",
        citation: cite(GUIDE, "Troubleshooting external key stores: certificate errors"),
        remedy: "Renew the certificate and reload the proxy; an expired intermediate needs the new chain file.",
        kms: TLS,
        judge: judge::certificate::validity,
    },
    Check {
        id: "tls.expiry_margin",
        stage: Stage::Tls,
        level: Level::Should,
        title: "more than 30 days are left until the first certificate of the chain expires",
        citation: cite(
            GUIDE,
            "Monitoring external key stores: XksProxyCertificateDaysToExpire (AWS alarms at 10 days)",
        ),
        remedy: "Renew the certificate before the change rather than after it.",
        kms: None,
        judge: judge::certificate::expiry_margin,
    },
    Check {
        id: "tls.key_strength",
        stage: Stage::Tls,
        level: Level::Should,
        title: "keys of the chain are RSA of 2048 bits or P-256 at least",
        citation: cite("CA/Browser Forum Baseline Requirements", "6.1.5"),
        remedy: "Issue the certificate for a longer key.",
        kms: None,
        judge: judge::certificate::key_strength,
    },
    Check {
        id: "tls.signature_algorithm",
        stage: Stage::Tls,
        level: Level::Must,
        title: "no certificate below the root is signed with SHA-1 or MD5",
        citation: cite("CA/Browser Forum Baseline Requirements", "7.1.3.2"),
        remedy: "Have the certificate issued again with SHA-256.",
        kms: TLS,
        judge: judge::certificate::signature_algorithm,
    },
    Check {
        id: "tls.client_certificate",
        stage: Stage::Tls,
        level: Level::Should,
        title: "no client certificate is demanded",
        citation: cite(GUIDE, "Controlling access to an external key store: mTLS (deprecated)"),
        remedy: "The certificate of KMS (CN cks.kms.<region>.amazonaws.com) cannot be presented from here: let the proxy accept xks-preflight's own with --client-cert, or exempt its address.",
        kms: None,
        judge: judge::tls::client_certificate,
    },
    Check {
        id: "tls.same_everywhere",
        stage: Stage::Tls,
        level: Level::Should,
        title: "every address presents the same certificates",
        citation: cite(OURS, "KMS may take any address"),
        remedy: "Finish the roll-out of the certificate: some addresses still serve another one.",
        kms: None,
        judge: judge::certificate::same_everywhere,
    },
    Check {
        id: "http.answers",
        stage: Stage::Http,
        level: Level::Must,
        title: "a complete HTTP answer arrives within KMS's limit, on the first attempt or its one retry",
        citation: cite(SPEC, "Timeouts: 250 milliseconds"),
        remedy: "Find what keeps the proxy from answering: its key manager, its capacity, or its distance.",
        kms: TIMED_OUT,
        judge: judge::http::answers,
    },
    Check {
        id: "http.no_redirect",
        stage: Stage::Http,
        level: Level::Must,
        title: "the answer is no redirect",
        citation: cite(SPEC, "Responses"),
        remedy: "Let the proxy itself answer on this URI; KMS follows no redirects.",
        kms: INVALID_RESPONSE,
        judge: judge::http::no_redirect,
    },
    Check {
        id: "http.status",
        stage: Stage::Http,
        level: Level::Must,
        title: "the status is 200 and the body no error (the error name outranks the status, as it does for KMS)",
        citation: cite(SPEC, "Error codes"),
        remedy: "Read the error name: it is the proxy's own reason. Without one, something in front of the proxy answers.",
        kms: INVALID_RESPONSE,
        judge: judge::http::status,
    },
    Check {
        id: "http.content_type",
        stage: Stage::Http,
        level: Level::Should,
        title: "the answer is declared as application/json",
        citation: cite(SPEC, "Responses"),
        remedy: "Set Content-Type: application/json on the proxy.",
        kms: None,
        judge: judge::http::content_type,
    },
    Check {
        id: "http.body_size",
        stage: Stage::Http,
        level: Level::Must,
        title: "the answer has 64 KiB at most",
        citation: cite(OURS, "a valid answer is below 4 KiB"),
        remedy: "Find out what answers there: no valid answer is this large.",
        kms: INVALID_RESPONSE,
        judge: judge::http::body_size,
    },
    Check {
        id: "http.error_message",
        stage: Stage::Http,
        level: Level::Advice,
        title: "an errorMessage has less than 512 printable ASCII characters",
        citation: cite(SPEC, "Error codes"),
        remedy: "Shorten the proxy's error messages and keep them to printable ASCII.",
        kms: None,
        judge: judge::http::error_message,
    },
    Check {
        id: "sigv4.accepted",
        stage: Stage::Sigv4,
        level: Level::Must,
        title: "the proxy accepts the signature",
        citation: cite(SPEC, "Authentication"),
        remedy: "Give KMS exactly the credential that the proxy has for this path; if it is, look for a middlebox that rewrites Host or the path.",
        kms: Some(
            KmsOutcome::of(Raises::XksProxyIncorrectAuthenticationCredential, Code::InvalidCredentials)
                .retryable(false),
        ),
        judge: judge::http::accepted,
    },
    Check {
        id: "sigv4.clock_skew",
        stage: Stage::Sigv4,
        level: Level::Should,
        title: "our clock and the proxy's differ by less than 60 s (the window is 5 minutes)",
        citation: cite(SPEC, "Authentication"),
        remedy: "Synchronise the clocks (NTP) of the proxy and of this machine.",
        kms: None,
        judge: judge::http::clock_skew,
    },
    Check {
        id: "health.schema",
        stage: Stage::Health,
        level: Level::Must,
        title: "the health answer has every required member in its right type",
        citation: cite(SPEC, "GetHealthStatus, Response"),
        remedy: "Report the violation to the proxy's vendor; check that the path leads to an XKS proxy at all.",
        kms: INVALID_RESPONSE,
        judge: judge::health::schema,
    },
    Check {
        id: "health.fleet_size",
        stage: Stage::Health,
        level: Level::Must,
        title: "xksProxyFleetSize is positive",
        citation: cite(SPEC, "GetHealthStatus, Response"),
        remedy: "Report it to the proxy's vendor.",
        kms: INVALID_RESPONSE,
        judge: judge::health::fleet_size,
    },
    Check {
        id: "health.ekm_available",
        stage: Stage::Health,
        level: Level::Must,
        title: "at least one external key manager is not UNAVAILABLE",
        citation: cite(API, "UpdateCustomKeyStore, XksProxyUriUnreachableException"),
        remedy: "Bring an external key manager back, or the proxy's way to it, before the change.",
        kms: UNREACHABLE,
        judge: judge::health::ekm_available,
    },
    Check {
        id: "health.ekm_degraded",
        stage: Stage::Health,
        level: Level::Should,
        title: "no external key manager is DEGRADED or UNAVAILABLE",
        citation: cite(SPEC, "GetHealthStatus, Response"),
        remedy: "Repair the external key manager first: KMS would accept the change, and you would have less in reserve.",
        kms: None,
        judge: judge::health::ekm_degraded,
    },
    Check {
        id: "health.redundancy",
        stage: Stage::Health,
        level: Level::Should,
        title: "there are two proxies and two external key managers at least",
        citation: cite(GUIDE, "External key stores: availability"),
        remedy: "Add a second one: a store with one of anything stops with it.",
        kms: None,
        judge: judge::health::redundancy,
    },
    Check {
        id: "health.same_fleet",
        stage: Stage::Health,
        level: Level::Should,
        title: "vendor, model and key managers are those behind the current settings",
        citation: cite(OURS, "another fleet may hold other keys"),
        remedy: "Make sure that the candidate is meant to be another fleet, and that it holds the same keys.",
        kms: None,
        judge: judge::health::same_fleet,
    },
    Check {
        id: "health.deep",
        stage: Stage::Health,
        level: Level::Advice,
        title: "the health answer reflects whether a key operation works",
        citation: cite(SPEC, "GetHealthStatus: a deep check is recommended"),
        remedy: "Do not rely on this proxy's health answer: it says ACTIVE while keys fail. Ask the vendor for a deep check.",
        kms: None,
        judge: judge::health::deep,
    },
    Check {
        id: "latency.within_limit",
        stage: Stage::Latency,
        level: Level::Must,
        title: "every cold sample on every address takes 250 ms at most for connect, TLS and request together (the strict reading of KMS's limit), a late first attempt being saved by its one retry",
        citation: cite(SPEC, "Timeouts: 250 milliseconds"),
        remedy: "Look at the stage that took the time: connect is distance, TLS is CPU or distance, request is the proxy and its key manager.",
        kms: TIMED_OUT,
        judge: judge::latency::within_limit,
    },
    Check {
        id: "latency.tail",
        stage: Stage::Latency,
        level: Level::Should,
        title: "99 of 100 samples take 200 ms at most",
        citation: cite(GUIDE, "Monitoring external key stores: XksProxyLatency (AWS alarms at 200 ms)"),
        remedy: "Add capacity or move closer: what is slow now and then times out under load.",
        kms: None,
        judge: judge::latency::tail,
    },
    Check {
        id: "kms.key_store_exists",
        stage: Stage::Kms,
        level: Level::Must,
        title: "DescribeCustomKeyStores finds the key store",
        citation: cite(API, "UpdateCustomKeyStore, CustomKeyStoreNotFoundException"),
        remedy: "Check the id, the account and the Region.",
        kms: Some(KmsOutcome::update(Raises::CustomKeyStoreNotFound)),
        judge: judge::kms::key_store_exists,
    },
    Check {
        id: "kms.type_matches",
        stage: Stage::Kms,
        level: Level::Must,
        title: "the members asked for fit the key store's type",
        citation: cite(API, "UpdateCustomKeyStore, Request Parameters"),
        remedy: "Leave out the members of the other type; a key store's type can never be changed.",
        kms: VALIDATION,
        judge: judge::kms::type_matches,
    },
    Check {
        id: "kms.connection_state",
        stage: Stage::Kms,
        level: Level::Must,
        title: "the connection state permits the change, or the steps of an update lead there",
        citation: cite(API, "UpdateCustomKeyStore, CustomKeyStoreInvalidStateException"),
        remedy: "Wait while it is CONNECTING or DISCONNECTING. From FAILED: disconnect first, then change, then connect.",
        kms: Some(KmsOutcome::update(Raises::CustomKeyStoreInvalidState)),
        judge: judge::kms::connection_state,
    },
    Check {
        id: "kms.name_free",
        stage: Stage::Kms,
        level: Level::Must,
        title: "no other key store of account and Region has the new name",
        citation: cite(API, "UpdateCustomKeyStore, CustomKeyStoreNameInUseException"),
        remedy: "Choose another name.",
        kms: Some(KmsOutcome::update(Raises::CustomKeyStoreNameInUse)),
        judge: judge::kms::name_free,
    },
    Check {
        id: "kms.uri_free",
        stage: Stage::Kms,
        level: Level::Must,
        title: "no other key store of account and Region has this endpoint and path",
        citation: cite(API, "UpdateCustomKeyStore, XksProxyUriInUseException"),
        remedy: "Give the store a path prefix of its own on the proxy.",
        kms: Some(KmsOutcome::update(Raises::XksProxyUriInUse)),
        judge: judge::kms::uri_free,
    },
    Check {
        id: "kms.endpoint_free",
        stage: Stage::Kms,
        level: Level::Must,
        title: "the endpoint is not used in a way that excludes this one: only PUBLIC_ENDPOINT stores may share",
        citation: cite(API, "UpdateCustomKeyStore, XksProxyUriEndpointInUseException"),
        remedy: "Use another host name: a store with VPC connectivity needs an endpoint of its own.",
        kms: Some(KmsOutcome::update(Raises::XksProxyUriEndpointInUse)),
        judge: judge::kms::endpoint_free,
    },
    Check {
        id: "kms.service_free",
        stage: Stage::Kms,
        level: Level::Must,
        title: "no other key store of account and Region uses the VPC endpoint service",
        citation: cite(API, "UpdateCustomKeyStore, XksProxyVpcEndpointServiceInUseException"),
        remedy: "Create a VPC endpoint service for this store; a VPC may be shared, a service may not.",
        kms: Some(KmsOutcome::update(Raises::XksProxyVpcEndpointServiceInUse)),
        judge: judge::kms::service_free,
    },
    Check {
        id: "kms.no_drift",
        stage: Stage::Kms,
        level: Level::Must,
        title: "the key store is as the plan believed",
        citation: cite(OURS, "KMS has no version to compare with"),
        remedy: "Somebody changed the store after the plan was made: find out who, and plan again.",
        kms: None,
        judge: judge::kms::no_drift,
    },
    Check {
        id: "kms.changes_something",
        stage: Stage::Kms,
        level: Level::Should,
        title: "the change changes something",
        citation: cite(OURS, "an update without effect is a mistake somewhere"),
        remedy: "Compare with what DescribeCustomKeyStores shows: the store has these values already.",
        kms: None,
        judge: judge::kms::changes_something,
    },
    Check {
        id: "kms.rollback_possible",
        stage: Stage::Kms,
        level: Level::Should,
        title: "the former settings can be restored",
        citation: cite(OURS, "KMS never returns a secret"),
        remedy: "Configure the credential that is now in KMS, so that it can be given back.",
        kms: None,
        judge: judge::kms::rollback_possible,
    },
    Check {
        id: "kms.outage",
        stage: Stage::Kms,
        level: Level::Should,
        title: "the change needs no outage, or the outage is acknowledged",
        citation: cite(GUIDE, "Connect and disconnect external key stores: about 5 minutes each"),
        remedy: "Acknowledge it (options.acknowledge_outage) in a maintenance window: no key of the store works until it is connected again.",
        kms: None,
        judge: judge::kms::outage,
    },
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_carry_their_stage() {
        let ids: HashSet<_> = CATALOGUE.iter().map(|check| check.id).collect();
        assert_eq!(ids.len(), CATALOGUE.len());
        for check in CATALOGUE {
            assert_eq!(check.id.split_once('.').map(|(stage, _)| stage), Some(check.stage.as_str()), "{}", check.id);
        }
    }

    #[test]
    fn every_check_has_citation_and_remedy_and_stages_are_in_order() {
        for check in CATALOGUE {
            assert!(!check.citation.source.is_empty() && !check.citation.section.is_empty(), "{}", check.id);
            assert!(check.remedy.ends_with('.') && check.remedy.len() > 15, "{}", check.id);
            assert!(!check.title.ends_with('.'), "{}", check.id);
        }
        assert!(CATALOGUE.is_sorted_by_key(|check| check.stage));
    }
}
