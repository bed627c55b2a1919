//! Why a check failed: a closed vocabulary for machines, free text for people.

use std::fmt;

use serde::Serialize;

macro_rules! problem_kinds {
    ($($variant:ident => $wire:literal, $meaning:literal;)+) => {
        /// The kind of a problem. Closed, so that it may be a metric label.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ProblemKind {
            $(#[doc = $meaning] $variant,)+
        }

        impl ProblemKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word used in reports and metric labels.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $wire,)+
                }
            }

            /// What it means, in a few words.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning,)+
                }
            }
        }
    };
}

problem_kinds! {
    // input
    Syntax => "syntax", "a value that KMS refuses as it stands";
    NotFullyQualified => "not_fully_qualified", "the host is not a fully qualified DNS name";
    UnknownVersion => "unknown_version", "the path names an API version that does not exist";
    EmptySegment => "empty_segment", "the path has an empty segment";
    TooLong => "too_long", "longer than the protocol allows";
    WeakSecret => "weak_secret", "a secret that looks guessable";
    WrongRegion => "wrong_region", "something belongs to another Region";
    MemberMissing => "member_missing", "a member that must be given together with another is absent";
    MemberExcluded => "member_excluded", "a member that does not go with the others or with the store's type";
    // dns
    NameNotFound => "name_not_found", "the name does not exist";
    NoAddress => "no_address", "the name exists but has no address";
    OnlyIpv6 => "only_ipv6", "the name has IPv6 addresses only, and KMS speaks IPv4 only";
    ResolverFailed => "resolver_failed", "the resolver did not answer";
    NotPublic => "not_public", "an address that KMS cannot reach over the internet";
    TooManyAddresses => "too_many_addresses", "more addresses than are probed";
    UnfitAddress => "unfit_address", "an address that no proxy can have";
    NotAllowed => "not_allowed", "a host or network that may not be probed from here";
    PublicElsewhere => "public_elsewhere", "a private DNS name that resolves publicly to something else";
    // tcp
    Refused => "refused", "the connection was refused";
    Reset => "reset", "the connection was reset";
    Unreachable => "unreachable", "no route leads there";
    TimedOut => "timed_out", "no answer within the limit";
    LocalResources => "local_resources", "this machine lacks a resource of its own (files, ports, route)";
    Slow => "slow", "slower than recommended or allowed";
    // tls
    NotTls => "not_tls", "the server does not speak TLS on this port";
    Closed => "closed", "the connection was closed before the answer was complete";
    Alert => "alert", "the server ended the handshake with an alert";
    ProtocolVersion => "protocol_version", "no TLS version in common (KMS wants 1.2 or 1.3)";
    NoCipherSuite => "no_cipher_suite", "no cipher suite in common";
    BrokenHandshake => "broken_handshake", "the handshake violates the protocol";
    UnknownIssuer => "unknown_issuer", "the chain ends at an issuer that nobody trusts";
    SelfSigned => "self_signed", "the certificate is signed by itself";
    MissingIntermediate => "missing_intermediate", "an intermediate certificate is not served";
    BadSignature => "bad_signature", "a signature in the chain does not verify";
    BadCertificate => "bad_certificate", "a certificate that cannot be parsed or used for a server";
    NameMismatch => "name_mismatch", "the certificate is for another name";
    Expired => "expired", "a certificate has expired";
    NotYetValid => "not_yet_valid", "a certificate is not valid yet";
    ExpiresSoon => "expires_soon", "a certificate expires soon";
    WeakKey => "weak_key", "a key too short for today";
    WeakSignature => "weak_signature", "a signature made with SHA-1 or MD5";
    ClientCertificate => "client_certificate", "the server demands a client certificate";
    NotOnKmsList => "not_on_kms_list", "a root that browsers trust and AWS does not list for KMS";
    StrangerAccepted => "stranger_accepted", "a client certificate that nobody vouches for is accepted";
    DifferentCertificates => "different_certificates", "the addresses present different certificates";
    // http
    NoHttp1 => "no_http1", "HTTP/1.1, which KMS speaks, is not served";
    NotHttp => "not_http", "the answer is not HTTP";
    Redirected => "redirected", "the answer is a redirect, which KMS does not follow";
    Status => "status", "an HTTP status other than 200";
    ContentType => "content_type", "not declared as application/json";
    TooLarge => "too_large", "the answer is larger than any valid one";
    ErrorMessage => "error_message", "the error message breaks the specification's rules";
    // sigv4
    AuthenticationFailed => "authentication_failed", "the proxy refused the credential";
    ClockSkew => "clock_skew", "the clocks differ";
    NotRefused => "not_refused", "the proxy carries out a request that it must refuse";
    OldCredentialRefused => "old_credential_refused", "the settings that KMS still uses are refused already";
    // the proxy's own words
    ProxyError => "proxy_error", "the proxy answered with an error of its own";
    // health
    NotJson => "not_json", "the body is not JSON";
    Schema => "schema", "the answer violates the specification's schema";
    FleetSize => "fleet_size", "the proxy fleet size is not a positive whole number";
    AllUnavailable => "all_unavailable", "every external key manager is unavailable";
    Degraded => "degraded", "an external key manager is degraded or unavailable";
    NoRedundancy => "no_redundancy", "there is only one of something";
    DifferentFleet => "different_fleet", "another fleet than behind the current settings";
    ShallowHealth => "shallow_health", "the health answer does not reflect whether keys work";
    // under load
    Throttled => "throttled", "more requests than are taken at a time";
    RateNotReached => "rate_not_reached", "fewer answers per second than were asked for";
    // keys
    UnusableKey => "unusable_key", "a key that KMS could not use as it is";
    IntegrityValue => "integrity_value", "the ciphertext's integrity value does not fit, and KMS would discard it";
    BrokenRoundTrip => "broken_round_trip", "what a key encrypted does not come back as it was";
    Unauthenticated => "unauthenticated", "changed additional data are accepted: nothing is authenticated";
    DifferentKeys => "different_keys", "other key material than behind the current settings: ciphertext would be lost";
    NoProof => "no_proof", "what is needed to prove it is not to be had";
    // control plane
    NotFound => "not_found", "it does not exist";
    WrongType => "wrong_type", "the key store is of the other type";
    WrongState => "wrong_state", "the connection state does not permit this";
    InUse => "in_use", "another key store uses it";
    Drift => "drift", "it is not as the plan believed";
    NoChange => "no_change", "nothing would change";
    NoWayBack => "no_way_back", "the former settings could not be restored";
    Outage => "outage", "the change needs an outage that nobody has acknowledged";
    AccessDenied => "access_denied", "our own role may not do this";
    Unread => "unread", "AWS could not be read, or its answer not be understood";
    // cloudhsm
    ClusterNotActive => "cluster_not_active", "the CloudHSM cluster is not active";
    TooFewHsms => "too_few_hsms", "the cluster has fewer active HSMs than KMS needs";
    OneZone => "one_zone", "fewer than two Availability Zones, and KMS needs two";
    UnrelatedCluster => "unrelated_cluster", "the cluster does not share the backup history of the present one";
    PortsClosed => "ports_closed", "a security group lacks a rule that KMS needs";
    // vpc
    OtherOwner => "other_owner", "it belongs to another account than the settings say";
    NotAvailable => "not_available", "it exists, but does not serve";
    WrongBalancer => "wrong_balancer", "not of interface type with a network load balancer behind it";
    PrincipalMissing => "principal_missing", "the principal of KMS is not allowed";
    PrincipalWildcard => "principal_wildcard", "everybody is allowed";
    AcceptanceRequired => "acceptance_required", "somebody would have to accept the endpoint that KMS makes";
    PrivateDnsName => "private_dns_name", "the private DNS name is absent or another one";
    NotVerified => "not_verified", "the ownership of the private DNS name's domain is not verified";
    NoIpv4 => "no_ipv4", "IPv4 is not supported, and KMS speaks IPv4 only";
    NoListener => "no_listener", "no listener for TCP or TLS on port 443";
    UnhealthyTargets => "unhealthy_targets", "a zone has no healthy target";
    ProxyProtocol => "proxy_protocol", "the load balancer puts a header before the TLS handshake";
    SecurityGroup => "security_group", "a security group keeps KMS out";
    VpcDns => "vpc_dns", "DNS is switched off in the VPC";
    // perspectives
    Disagreement => "disagreement", "perspectives find different things of the same candidate";
    TooFewPerspectives => "too_few_perspectives", "too few other perspectives gave an answer that counts";
    Unanswered => "unanswered", "another perspective gave no answer that counts";
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ProblemKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Whose side failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// What we looked at: the proxy, its certificate, its name.
    Target,
    /// The network between, or something in the middle.
    Path,
    /// Ourselves: no verdict on the target follows.
    Own,
}

/// Why a check failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// For machines.
    pub kind: ProblemKind,
    /// For people: one or two sentences with the particulars. Never a label, never a secret.
    pub detail: String,
    /// Whose side failed.
    pub fault: Fault,
}

impl Problem {
    /// A problem of the target.
    pub fn target(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), fault: Fault::Target }
    }

    /// A problem of the path to the target.
    pub fn path(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), fault: Fault::Path }
    }

    /// A problem of ours.
    pub fn own(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), fault: Fault::Own }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn words_are_unique_and_fit_a_label() {
        let words: HashSet<_> = ProblemKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(words.len(), ProblemKind::ALL.len());
        assert!(
            words.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'))
        );
    }
}
