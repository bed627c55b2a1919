//! What TLS showed: versions, cipher suites, certificates and where they lead.

use std::fmt;

use super::Problem;
use crate::clock::Timestamp;

/// What TLS showed, whatever was made of it.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "four independent observations, not a state")]
pub struct TlsEvidence {
    /// `TLSv1.2` or `TLSv1.3`; `None` if the handshake did not get that far.
    pub version: Option<String>,
    /// IANA name of the suite.
    pub cipher_suite: Option<String>,
    /// The protocol the server chose by ALPN.
    pub alpn: Option<String>,
    /// Whether the server asked for a client certificate.
    pub client_certificate_requested: bool,
    /// Whether one was configured and presented.
    pub client_certificate_presented: bool,
    /// The chain as presented, leaf first.
    pub chain: Vec<Certificate>,
    /// Whether the chain leads to a root that we know, at an instant when it is valid.
    pub trust: Trust,
    /// Whether a SAN (or, without any SAN, the CN) matches the host.
    pub name_matches: bool,
    /// Whether the handshake's own signature fits the leaf.
    pub handshake_complete: bool,
    /// How many of the served certificates the path to the root does not need; a served copy of the root is not
    /// counted. 0 while there is no path.
    pub surplus: usize,
    /// The OCSP response that the server stapled to its certificate.
    pub ocsp_staple: Option<OcspStaple>,
}

/// An OCSP response that came with the handshake (RFC 6066, section 8). It is shown, not judged: no AWS source says
/// that KMS looks at one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OcspStaple {
    /// When the responder made it; `None` if that cannot be read.
    pub produced_at: Option<Timestamp>,
}

/// What came of handshakes that offered the cipher suites of KMS in one version of TLS only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuiteEvidence {
    /// With TLS 1.3.
    pub tls13: SuiteTrial,
    /// With TLS 1.2.
    pub tls12: SuiteTrial,
}

impl SuiteEvidence {
    /// Both trials with the version as TLS itself writes it, newest first.
    pub fn trials(&self) -> [(&'static str, &SuiteTrial); 2] {
        [("TLS 1.3", &self.tls13), ("TLS 1.2", &self.tls12)]
    }
}

/// What came of one such handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SuiteTrial {
    /// The server took one of them: this one (IANA's name), if the handshake finished.
    Accepted(Option<String>),
    /// The server speaks this version, but with none of KMS's suites; what it chose when it was offered more, as far
    /// as it told.
    OtherSuites {
        /// IANA's name, or the number.
        chosen: Option<String>,
    },
    /// The server does not speak this version.
    VersionRefused,
    /// It could not be told.
    Untold(Problem),
}

impl fmt::Display for SuiteTrial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted(Some(suite)) => write!(f, "with {suite}"),
            Self::Accepted(None) => f.write_str("with one of them"),
            Self::OtherSuites { chosen: Some(chosen) } => write!(f, "with other suites only ({chosen})"),
            Self::OtherSuites { chosen: None } => f.write_str("with other suites only"),
            Self::VersionRefused => f.write_str("not spoken"),
            Self::Untold(problem) => write!(f, "could not be told ({})", problem.kind),
        }
    }
}

/// What became of a connection with a client certificate that nobody vouches for: self-signed, with the name of KMS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StrangerTrial {
    /// The request on it was answered: the proxy does not verify client certificates.
    Accepted,
    /// The connection ended over it.
    Refused,
    /// It could not be told.
    Untold(Problem),
}

impl StrangerTrial {
    /// The word used in reports.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Untold(_) => "untold",
        }
    }
}

/// Where the presented chain leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// To this root.
    Trusted {
        /// Subject of the root.
        root: String,
        /// SHA-256 of the root certificate, hexadecimal.
        root_sha256: String,
        /// Whether AWS lists it; `None` for a root of a laboratory when there is no list to compare with.
        listing: Option<KmsListing>,
    },
    /// Nowhere we know.
    Untrusted(Problem),
}

/// Whether a root is on the list of authorities that AWS publishes for external key store proxies
/// (`TrustedCertificateAuthorities`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KmsListing {
    /// Whether it is, by SHA-256 of the certificate.
    pub listed: bool,
    /// Whether the list has another certificate of that name: authorities renew roots without changing the key.
    pub namesake: bool,
    /// Which list was looked at.
    pub list: KmsList,
}

/// A form of AWS's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KmsList {
    /// As far as it concerns the roots of Mozilla, compiled in.
    CompiledIn {
        /// The day that AWS's list is of.
        dated: &'static str,
    },
    /// The file that AWS publishes, given by the operator.
    Given {
        /// How many authorities it lists.
        authorities: usize,
        /// The day it is of, if it is an edition that we know.
        dated: Option<&'static str>,
    },
}

impl fmt::Display for KmsList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CompiledIn { dated } => write!(f, "AWS's list of {dated}, as compiled in"),
            Self::Given { authorities, dated: Some(dated) } => {
                write!(f, "the exact list of {authorities} authorities that AWS published on {dated}")
            }
            Self::Given { authorities, dated: None } => {
                write!(f, "the exact list that was given, of {authorities} authorities and unknown date")
            }
        }
    }
}

/// The facts of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Subject, RFC 4514 style.
    pub subject: String,
    /// The subject's common name.
    pub common_name: Option<String>,
    /// DNS names and addresses of the subject alternative name.
    pub san: Vec<String>,
    /// Issuer.
    pub issuer: String,
    /// Start of validity.
    pub not_before: Timestamp,
    /// End of validity.
    pub not_after: Timestamp,
    /// SHA-256 of the certificate, hexadecimal.
    pub sha256: String,
    /// The public key.
    pub key: PublicKey,
    /// The algorithm of the signature on it, as a short name such as `sha256WithRSAEncryption`.
    pub signature_algorithm: String,
    /// Whether that algorithm rests on SHA-1 or MD5.
    pub weak_signature: bool,
}

impl Certificate {
    /// Whether subject and issuer are the same.
    pub fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }
}

/// A public key's kind and size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// RSA with this many bits.
    Rsa(usize),
    /// An elliptic curve of this many bits.
    Ec(usize),
    /// Anything else, by name.
    Other(String),
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "RSA {bits}"),
            Self::Ec(bits) => write!(f, "EC {bits}"),
            Self::Other(name) => f.write_str(name),
        }
    }
}
