//! **The one list.** A check is declared here once; runner, reports, metrics, README, API and waivers read it.

mod capacity;
mod cloudhsm;
mod dns;
mod health;
mod http;
mod input;
mod key;
mod kms;
mod latency;
mod perspective;
mod sigv4;
mod tcp;
mod tls;
mod vpc;

use std::fmt;
use std::sync::LazyLock;

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

impl Check {
    /// Whether one person alone may not waive it: what KMS certainly refuses, and what would lose ciphertext for good.
    pub fn waiver_needs_two(&self) -> bool {
        self.stage == Stage::Input || self.id == "key.continuity"
    }
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
    /// How it does under load.
    Capacity,
    /// The keys behind the proxy.
    Key,
    /// What KMS says of the key stores.
    Kms,
    /// The VPC endpoint service.
    Vpc,
    /// The CloudHSM cluster.
    CloudHsm,
    /// What is found from elsewhere.
    Perspective,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 14] = [
        Self::Input,
        Self::Dns,
        Self::Tcp,
        Self::Tls,
        Self::Http,
        Self::Sigv4,
        Self::Health,
        Self::Latency,
        Self::Capacity,
        Self::Key,
        Self::Kms,
        Self::Vpc,
        Self::CloudHsm,
        Self::Perspective,
    ];

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
            Self::Capacity => "capacity",
            Self::Key => "key",
            Self::Kms => "kms",
            Self::Vpc => "vpc",
            Self::CloudHsm => "cloudhsm",
            Self::Perspective => "perspective",
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

/// Every check, in the order in which a probe comes to it; the order of the report and the documents. One chapter for
/// each stage.
pub static CATALOGUE: LazyLock<Vec<Check>> = LazyLock::new(|| CHAPTERS.iter().copied().flatten().cloned().collect());

const CHAPTERS: &[&[Check]] = &[
    input::CHECKS,
    dns::CHECKS,
    tcp::CHECKS,
    tls::CHECKS,
    http::CHECKS,
    sigv4::CHECKS,
    health::CHECKS,
    latency::CHECKS,
    capacity::CHECKS,
    key::CHECKS,
    kms::CHECKS,
    vpc::CHECKS,
    cloudhsm::CHECKS,
    perspective::CHECKS,
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_carry_their_stage() {
        let ids: HashSet<_> = CATALOGUE.iter().map(|check| check.id).collect();
        assert_eq!(ids.len(), CATALOGUE.len());
        for check in CATALOGUE.iter() {
            assert_eq!(check.id.split_once('.').map(|(stage, _)| stage), Some(check.stage.as_str()), "{}", check.id);
        }
    }

    #[test]
    fn every_check_has_citation_and_remedy_and_stages_are_in_order() {
        for check in CATALOGUE.iter() {
            assert!(!check.citation.source.is_empty() && !check.citation.section.is_empty(), "{}", check.id);
            assert!(check.remedy.ends_with('.') && check.remedy.len() > 15, "{}", check.id);
            assert!(!check.title.ends_with('.'), "{}", check.id);
        }
        assert!(CATALOGUE.is_sorted_by_key(|check| check.stage));
    }
}
