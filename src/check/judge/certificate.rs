//! Judges of the certificates that were presented.

use std::time::Duration;

use super::{Judgement, each_address, failed, not_applicable, passed, whole};
use crate::check::{
    AddressEvidence, Certificate, Evidence, Outcome, Problem, ProblemKind, PublicKey, Stage, TlsEvidence, Trust,
    certificate_name_covers,
};
use crate::key_store::XksProxyUriEndpoint;

/// More than this must be left; AWS's own alarm is at ten days.
const MARGIN: Duration = Duration::from_hours(30 * 24);

/// The longest chain that Java's TLS takes by default (`jdk.tls.maxCertificateChainLength`); what KMS takes is not
/// documented, and no public authority needs more than four.
const MOST_CERTIFICATES: usize = 10;

fn presented(address: &AddressEvidence, judge: impl FnOnce(&TlsEvidence, &Certificate) -> Outcome) -> Outcome {
    match address.tls.as_ref().and_then(|tls| tls.chain.first().map(|leaf| (tls, leaf))) {
        Some((tls, leaf)) => judge(tls, leaf),
        None => Outcome::NotReached { stopped_at: address.first_stop().map_or(Stage::Tls, |stop| stop.stage) },
    }
}

pub(in crate::check) fn chain_complete(evidence: &Evidence) -> Vec<Judgement> {
    each_address(evidence, |address| {
        presented(address, |tls, leaf| match &tls.trust {
            Trust::Untrusted(problem) if problem.kind == ProblemKind::MissingIntermediate => failed(problem.clone()),
            Trust::Untrusted(_) if tls.chain.len() == 1 && leaf.is_self_issued() => {
                not_applicable("a self-signed certificate has no chain")
            }
            _ if tls.chain.len() > MOST_CERTIFICATES => {
                let detail = format!(
                    "{} certificates are served; TLS libraries give up on such a chain, Java's after {MOST_CERTIFICATES}",
                    tls.chain.len()
                );
                failed(Problem::target(ProblemKind::TooLong, detail))
            }
            Trust::Trusted { .. } | Trust::Untrusted(_) => passed(match tls.surplus {
                0 => format!("{} certificates served", tls.chain.len()),
                surplus => format!("{} certificates served, {surplus} of them not needed", tls.chain.len()),
            }),
        })
    })
}

pub(in crate::check) fn chain_trusted(evidence: &Evidence) -> Vec<Judgement> {
    each_address(evidence, |address| {
        presented(address, |tls, _| match &tls.trust {
            Trust::Trusted { root, .. } if evidence.subject.lab => {
                passed(format!("up to {root} (roots of a laboratory are accepted)"))
            }
            Trust::Trusted { root, .. } => passed(format!("up to {root}")),
            Trust::Untrusted(problem) if problem.kind == ProblemKind::MissingIntermediate => {
                Outcome::NotReached { stopped_at: Stage::Tls }
            }
            Trust::Untrusted(problem) => failed(problem.clone()),
        })
    })
}

pub(in crate::check) fn kms_trusted_root(evidence: &Evidence) -> Vec<Judgement> {
    each_address(evidence, |address| {
        presented(address, |tls, _| {
            let (root, listing) = match &tls.trust {
                Trust::Untrusted(_) => return Outcome::NotReached { stopped_at: Stage::Tls },
                Trust::Trusted { listing: None, .. } => {
                    return not_applicable(
                        "AWS lists no root of a laboratory; give --kms-trusted-roots to compare with a list",
                    );
                }
                Trust::Trusted { root, listing: Some(listing), .. } => (root, listing),
            };
            if listing.listed {
                return passed(format!("{root} is on {}", listing.list));
            }
            let believers = if evidence.subject.lab { "the laboratory" } else { "browsers" };
            let namesake = if listing.namesake {
                "; a former certificate of that name is on it, and if the key is the same KMS will know this one, too"
            } else {
                ""
            };
            let detail = format!("trusted by {believers}, not by KMS: {root} is not on {}{namesake}", listing.list);
            failed(Problem::target(ProblemKind::NotOnKmsList, detail))
        })
    })
}

pub(in crate::check) fn name_matches(evidence: &Evidence) -> Vec<Judgement> {
    each_address(evidence, |address| {
        presented(address, |tls, leaf| {
            if tls.name_matches {
                return passed(names(leaf));
            }
            let detail =
                format!("the endpoint is {}, the certificate is for {}", evidence.subject.endpoint, names(leaf));
            failed(Problem::target(ProblemKind::NameMismatch, detail))
        })
    })
}

/// The names a certificate is for, as many as a person wants to read.
fn names(leaf: &Certificate) -> String {
    let shown: Vec<&str> = leaf.san.iter().take(5).map(String::as_str).collect();
    match (shown.is_empty(), leaf.san.len()) {
        (true, _) => leaf.common_name.clone().map_or_else(|| "no name at all".to_owned(), |cn| format!("CN {cn}")),
        (false, total) if total > shown.len() => format!("{} and {} more", shown.join(", "), total - shown.len()),
        (false, _) => shown.join(", "),
    }
}

pub(in crate::check) fn common_name(evidence: &Evidence) -> Vec<Judgement> {
    let Ok(endpoint) = XksProxyUriEndpoint::parse(&evidence.subject.endpoint) else {
        return whole(Outcome::NotReached { stopped_at: Stage::Input });
    };
    each_address(evidence, |address| {
        presented(address, |_, leaf| match &leaf.common_name {
            Some(name) if certificate_name_covers(name, endpoint.host()) => passed(format!("CN {name}")),
            Some(name) => {
                let detail = format!("the common name is {name}, the host {}", endpoint.host());
                failed(Problem::target(ProblemKind::NameMismatch, detail))
            }
            None => failed(Problem::target(ProblemKind::NameMismatch, "the certificate has no common name")),
        })
    })
}

pub(in crate::check) fn validity(evidence: &Evidence) -> Vec<Judgement> {
    each_address(evidence, |address| {
        presented(address, |tls, _| {
            for certificate in &tls.chain {
                if evidence.at > certificate.not_after {
                    let detail = format!("{} expired on {}", certificate.subject, certificate.not_after);
                    return failed(Problem::target(ProblemKind::Expired, detail));
                }
                if evidence.at < certificate.not_before {
                    let detail = format!("{} is valid from {} only", certificate.subject, certificate.not_before);
                    return failed(Problem::target(ProblemKind::NotYetValid, detail));
                }
            }
            let first_end = tls.chain.iter().map(|certificate| certificate.not_after).min().unwrap_or(evidence.at);
            passed(format!("until {first_end}"))
        })
    })
}

pub(in crate::check) fn expiry_margin(evidence: &Evidence) -> Vec<Judgement> {
    each_address(evidence, |address| {
        presented(address, |tls, leaf| {
            let first = tls.chain.iter().min_by_key(|certificate| certificate.not_after).unwrap_or(leaf);
            let days = first.not_after.seconds_since(evidence.at) / 86_400.0;
            if first.not_after > evidence.at.plus(MARGIN) {
                return passed(format!("{days:.0} days left"));
            }
            let detail = format!("{} expires in {:.0} days, on {}", first.subject, days.max(0.0), first.not_after);
            failed(Problem::target(ProblemKind::ExpiresSoon, detail))
        })
    })
}

pub(in crate::check) fn key_strength(evidence: &Evidence) -> Vec<Judgement> {
    each_address(evidence, |address| {
        presented(address, |tls, _| {
            for certificate in &tls.chain {
                let weak = match &certificate.key {
                    PublicKey::Rsa(bits) if *bits < 2048 => Some(format!("RSA of {bits} bits")),
                    PublicKey::Ec(bits) if *bits < 256 => Some(format!("an elliptic curve of {bits} bits")),
                    PublicKey::Rsa(_) | PublicKey::Ec(_) | PublicKey::Other(_) => None,
                };
                if let Some(weak) = weak {
                    let detail = format!("the key of {} is {weak}", certificate.subject);
                    return failed(Problem::target(ProblemKind::WeakKey, detail));
                }
            }
            passed("long enough")
        })
    })
}

pub(in crate::check) fn signature_algorithm(evidence: &Evidence) -> Vec<Judgement> {
    each_address(evidence, |address| {
        presented(address, |tls, leaf| {
            // A root's own signature is not verified by anybody; a lone self-signed leaf's is.
            let below_root =
                tls.chain.iter().filter(|certificate| !certificate.is_self_issued() || *certificate == leaf);
            match below_root.clone().find(|certificate| certificate.weak_signature) {
                Some(certificate) => {
                    let detail = format!("{} is signed with {}", certificate.subject, certificate.signature_algorithm);
                    failed(Problem::target(ProblemKind::WeakSignature, detail))
                }
                None => passed(leaf.signature_algorithm.clone()),
            }
        })
    })
}

pub(in crate::check) fn same_everywhere(evidence: &Evidence) -> Vec<Judgement> {
    let seen: Vec<_> = evidence
        .addresses
        .iter()
        .filter_map(|address| address.tls.as_ref().map(|tls| (address, tls)))
        .filter(|(_, tls)| !tls.chain.is_empty())
        .collect();
    let Some((first, first_tls)) = seen.first() else {
        return whole(Outcome::NotReached { stopped_at: Stage::Tls });
    };
    let prints = |tls: &TlsEvidence| tls.chain.iter().map(|c| c.sha256.clone()).collect::<Vec<_>>();
    whole(match seen.iter().find(|(_, tls)| prints(tls) != prints(first_tls)) {
        Some((other, _)) => {
            let detail = format!("{} and {} present different certificates", first.address.ip(), other.address.ip());
            failed(Problem::target(ProblemKind::DifferentCertificates, detail))
        }
        None if evidence.addresses.len() == 1 => not_applicable("there is one address only"),
        None => passed(format!("the same on {} addresses", seen.len())),
    })
}
