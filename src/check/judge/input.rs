//! Judges of the values themselves.

use super::{Judgement, failed, not_applicable, passed, whole};
use crate::check::{Evidence, Outcome, Problem, ProblemKind, SecretEvidence};
use crate::key_store::{
    AccessKeyId, Change, Configuration, Connectivity, ConnectivityKind, ExternalKeyId, Invalid, KeyStore,
    VpcEndpointServiceName, XksProxyUriEndpoint, XksProxyUriPath,
};
use crate::xks::{LONGEST_URI, XksOperation};

/// The entropy that AWS recommends, in bits.
const RECOMMENDED_BITS: f64 = 256.0;

fn syntax<T>(parsed: Result<T, Invalid>) -> Vec<Judgement> {
    whole(match parsed {
        Ok(_) => passed("as KMS accepts it"),
        Err(invalid) => failed(Problem::target(ProblemKind::Syntax, invalid.to_string())),
    })
}

fn of_endpoint(evidence: &Evidence, judge: impl FnOnce(XksProxyUriEndpoint) -> Outcome) -> Vec<Judgement> {
    whole(match XksProxyUriEndpoint::parse(&evidence.subject.endpoint) {
        Ok(endpoint) => judge(endpoint),
        Err(_) => not_applicable("the endpoint is not well-formed"),
    })
}

fn of_path(evidence: &Evidence, judge: impl FnOnce(XksProxyUriPath) -> Outcome) -> Vec<Judgement> {
    whole(match XksProxyUriPath::parse(&evidence.subject.path) {
        Ok(path) => judge(path),
        Err(_) => not_applicable("the path is not well-formed"),
    })
}

pub(in crate::check) fn endpoint_syntax(evidence: &Evidence) -> Vec<Judgement> {
    syntax(XksProxyUriEndpoint::parse(&evidence.subject.endpoint))
}

pub(in crate::check) fn endpoint_fqdn(evidence: &Evidence) -> Vec<Judgement> {
    of_endpoint(evidence, |endpoint| match endpoint.not_fully_qualified() {
        None => passed(format!("{} is fully qualified", endpoint.host())),
        Some(why) => {
            let detail = format!("the host {} {why}; KMS accepts the text and cannot reach it", endpoint.host());
            failed(Problem::target(ProblemKind::NotFullyQualified, detail))
        }
    })
}

pub(in crate::check) fn path_syntax(evidence: &Evidence) -> Vec<Judgement> {
    syntax(XksProxyUriPath::parse(&evidence.subject.path))
}

pub(in crate::check) fn path_version(evidence: &Evidence) -> Vec<Judgement> {
    of_path(evidence, |path| {
        if path.version() == "1" {
            return passed("v1");
        }
        let detail = format!("the path ends in v{}, which no proxy serves", path.version());
        failed(Problem::target(ProblemKind::UnknownVersion, detail))
    })
}

pub(in crate::check) fn path_canonical(evidence: &Evidence) -> Vec<Judgement> {
    of_path(evidence, |path| {
        if path.has_empty_segment() {
            failed(Problem::target(ProblemKind::EmptySegment, format!("{path} has an empty segment")))
        } else {
            passed("no empty segments")
        }
    })
}

pub(in crate::check) fn uri_length(evidence: &Evidence) -> Vec<Judgement> {
    let subject = &evidence.subject;
    let with = |key_id: usize| subject.endpoint.len() + subject.path.len() + XksOperation::longest_suffix(key_id);
    let room = LONGEST_URI.saturating_sub(with(0));
    let judge = |key_id: usize, whose: &str| {
        if key_id <= room {
            return passed(format!("{} of {LONGEST_URI} characters, with {whose}", with(key_id)));
        }
        let detail = format!("{} characters with {whose}; the limit is {LONGEST_URI}", with(key_id));
        failed(Problem::target(ProblemKind::TooLong, detail))
    };
    if let Some(longest) = subject.longest_key_id {
        return whole(judge(longest, "the longest key id of the key store"));
    }
    if room == 0 {
        return whole(judge(1, "a key id of one character"));
    }
    if room >= ExternalKeyId::LONGEST {
        return whole(judge(ExternalKeyId::LONGEST, "the longest key id there can be"));
    }
    let enumeration = evidence.keys.enumeration.as_ref();
    let found = enumeration.and_then(|found| found.keys.iter().map(|key| key.external_key_id.as_str().len()).max());
    if let Some(longest) = found.filter(|longest| *longest > room) {
        return whole(judge(longest, "a key id of the key store"));
    }
    if enumeration.is_some() || evidence.aws.control_plane.is_some() {
        let detail = format!(
            "key ids of more than {room} characters do not fit, and not all keys of the key store are known \
             (key.enumerated says why)"
        );
        return whole(failed(Problem::own(ProblemKind::Unread, detail)));
    }
    whole(passed(format!("fits key ids of up to {room} characters; longer ones, which KMS allows, do not fit")))
}

pub(in crate::check) fn access_key_id(evidence: &Evidence) -> Vec<Judgement> {
    syntax(AccessKeyId::parse(&evidence.subject.access_key_id))
}

pub(in crate::check) fn secret_access_key(evidence: &Evidence) -> Vec<Judgement> {
    whole(match &evidence.subject.secret {
        SecretEvidence::WellFormed { .. } => passed("as KMS accepts it"),
        SecretEvidence::Malformed(rule) => failed(Problem::target(ProblemKind::Syntax, rule.clone())),
    })
}

pub(in crate::check) fn secret_strength(evidence: &Evidence) -> Vec<Judgement> {
    whole(match &evidence.subject.secret {
        SecretEvidence::Malformed(_) => not_applicable("the secret is not well-formed"),
        SecretEvidence::WellFormed { documented_example: true, .. } => {
            failed(Problem::target(ProblemKind::WeakSecret, "the secret is an example from AWS's documents"))
        }
        // A random 43-character secret has 256 bits, and its character frequencies show about 220 of them.
        SecretEvidence::WellFormed { estimated_bits, .. } if *estimated_bits < RECOMMENDED_BITS * 0.7 => {
            let detail =
                format!("the secret's characters repeat: about {estimated_bits:.0} bits where 256 are recommended");
            failed(Problem::target(ProblemKind::WeakSecret, detail))
        }
        SecretEvidence::WellFormed { .. } => passed("not visibly weak"),
    })
}

pub(in crate::check) fn service_name(evidence: &Evidence) -> Vec<Judgement> {
    let subject = &evidence.subject;
    whole(match (&subject.vpc_endpoint_service, subject.connectivity) {
        (None, ConnectivityKind::PublicEndpoint) => not_applicable("public endpoint"),
        (None, ConnectivityKind::VpcEndpointService) => failed(Problem::target(
            ProblemKind::MemberMissing,
            "XksProxyVpcEndpointServiceName is required with VPC_ENDPOINT_SERVICE",
        )),
        (Some(name), _) => match VpcEndpointServiceName::parse(name) {
            Err(invalid) => failed(Problem::target(ProblemKind::Syntax, invalid.to_string())),
            Ok(name) if name.region() != subject.region.as_str() => {
                let detail = format!("the service is in {}, the key store in {}", name.region(), subject.region);
                failed(Problem::target(ProblemKind::WrongRegion, detail))
            }
            Ok(name) => passed(name.to_string()),
        },
    })
}

pub(in crate::check) fn travels_together(evidence: &Evidence) -> Vec<Judgement> {
    let Some(control_plane) = &evidence.aws.control_plane else {
        return whole(not_applicable("no key store is being changed"));
    };
    let Some(store) = control_plane.observed() else {
        return whole(not_applicable("the key store is not known"));
    };
    if control_plane.after_update {
        return whole(not_applicable("the update has been made"));
    }
    whole(match missing_or_excluded(&control_plane.change, store) {
        Some((kind, detail)) => failed(Problem::target(kind, detail)),
        None => passed("the members go together"),
    })
}

/// The rules of UpdateCustomKeyStore about members that travel together.
fn missing_or_excluded(change: &Change, store: &KeyStore) -> Option<(ProblemKind, String)> {
    let current = match &store.configuration {
        Configuration::Xks(xks) => &xks.connectivity,
        Configuration::CloudHsm(_) | Configuration::Unrecognized { .. } => return None,
    };
    let becomes = change.connectivity.unwrap_or(current.kind());
    let switches = becomes != current.kind();
    if switches && change.endpoint.is_none() {
        let detail = format!("XksProxyUriEndpoint must be given when XksProxyConnectivity becomes {becomes}");
        return Some((ProblemKind::MemberMissing, detail));
    }
    match (becomes, current) {
        (ConnectivityKind::VpcEndpointService, Connectivity::PublicEndpoint) if change.service_name.is_none() => {
            let detail =
                "XksProxyVpcEndpointServiceName must be given when XksProxyConnectivity becomes VPC_ENDPOINT_SERVICE";
            Some((ProblemKind::MemberMissing, detail.to_owned()))
        }
        (ConnectivityKind::PublicEndpoint, _) if change.service_name.is_some() || change.service_owner.is_some() => {
            let detail = "XksProxyVpcEndpointServiceName and its owner do not go with PUBLIC_ENDPOINT";
            Some((ProblemKind::MemberExcluded, detail.to_owned()))
        }
        _ => None,
    }
}
