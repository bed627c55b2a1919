//! Which certificate a proxy with a fault presents.

use std::time::Duration;

use crate::sandbox::{
    fault::Fault,
    pki::{Chain, KeyKind, Leaf, Pki, Purpose},
};

const DAY: Duration = Duration::from_hours(24);

/// The leaf for these host names, bent as the fault says.
pub(super) fn leaf(pki: &Pki, host_names: &[String], fault: Option<Fault>) -> Leaf {
    let now = pki.now();
    let right = pki.leaf(host_names.iter().cloned());
    let host = host_names.first().cloned().unwrap_or_default();
    let parent = host.split_once('.').map_or("", |(_, parent)| parent).to_owned();
    let with = |chain| Leaf { chain, ..right.clone() };
    let named = |names: Vec<String>| Leaf { dns_names: names, ..right.clone() };
    let Some(fault) = fault else { return right };
    match fault {
        Fault::CertificateExpired => Leaf { not_before: now - 91 * DAY, not_after: now - DAY, ..right },
        Fault::CertificateExpiringSoon => Leaf { not_after: now + 5 * DAY, ..right },
        Fault::CertificateNotYetValid => Leaf { not_before: now + DAY, ..right },
        Fault::CertificateWrongName => pki.leaf(["another-host.example.net"]),
        Fault::CertificateCommonNameOnly => named(Vec::new()),
        Fault::CertificateCommonNameBeside => named(vec!["another-host.example.net".to_owned()]),
        Fault::CertificateNoCommonName => {
            Leaf { common_name: None, organization: Some("XKS sandbox".to_owned()), ..right }
        }
        Fault::CertificateNoSubject => Leaf { common_name: None, ..right },
        Fault::CertificateWildcard => pki.leaf([format!("*.{parent}")]),
        Fault::CertificateWildcardTooDeep => pki.leaf([format!("*.{host}")]),
        Fault::CertificateThousandNames => {
            let others = (1..1_000).map(|number| format!("host-{number}.{parent}"));
            named(others.chain([host]).collect())
        }
        Fault::CertificateRsa => Leaf { key: KeyKind::Rsa2048, ..right },
        Fault::CertificateOfAuthority => Leaf { purpose: Purpose::Authority, ..right },
        Fault::CertificateForClients => Leaf { purpose: Purpose::Client, ..right },
        Fault::CertificateSelfSigned => with(Chain::SelfSigned),
        Fault::CertificateUnknownRoot => with(Chain::UnknownRoot),
        Fault::CertificateForged => with(Chain::Forged),
        Fault::CertificateMissingIntermediate => with(Chain::MissingIntermediate),
        Fault::CertificateRootWithoutIntermediate => with(Chain::RootInsteadOfIntermediate),
        Fault::CertificateExpiredIntermediate => with(Chain::ExpiredIntermediate),
        Fault::CertificateNotYetValidIntermediate => with(Chain::EarlyIntermediate),
        Fault::CertificateGarbageIntermediate => with(Chain::GarbageIntermediate),
        Fault::CertificateChainReversed => with(Chain::Reversed),
        Fault::CertificateChainUnordered => with(Chain::Unordered),
        Fault::CertificateChainLong => with(Chain::Long),
        Fault::CertificateChainHuge => with(Chain::Huge),
        Fault::CertificateSha1Signature => with(Chain::Sha1Signature),
        Fault::CertificateSha1Intermediate => with(Chain::Sha1Intermediate),
        Fault::CertificateWeakKey => with(Chain::WeakKey),
        Fault::CertificateSurplus => with(Chain::Surplus),
        _ => right,
    }
}
