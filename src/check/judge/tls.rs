//! Judges of the handshake.

use super::{Judgement, each_address, failed, passed, stopped_before};
use crate::check::{AddressEvidence, Evidence, Outcome, Problem, ProblemKind, Stage, Stop};

/// The kinds of stop at stage tls that are verdicts on the certificate; the handshake itself went well.
fn is_about_certificate(stop: &Stop) -> bool {
    matches!(
        stop.problem.kind,
        ProblemKind::UnknownIssuer
            | ProblemKind::SelfSigned
            | ProblemKind::MissingIntermediate
            | ProblemKind::BadSignature
            | ProblemKind::BadCertificate
            | ProblemKind::NameMismatch
            | ProblemKind::Expired
            | ProblemKind::NotYetValid
            | ProblemKind::WeakSignature
    )
}

fn handshake_stop(address: &AddressEvidence) -> Option<&Stop> {
    address.cold().find_map(|sample| {
        sample.last().stop.as_ref().filter(|stop| stop.stage == Stage::Tls && !is_about_certificate(stop))
    })
}

pub(in crate::check) fn handshake(evidence: &Evidence) -> Vec<Judgement> {
    each_address(evidence, |address| {
        if let Some(unreached) = stopped_before(address, Stage::Tls) {
            return unreached;
        }
        match handshake_stop(address) {
            // The demand for a client certificate has a check of its own, which decides what follows from it.
            Some(stop) if stop.problem.kind == ProblemKind::ClientCertificate => {
                passed("completes up to the client certificate")
            }
            Some(stop) => failed(stop.problem.clone()),
            None => passed("completes"),
        }
    })
}

pub(in crate::check) fn version(evidence: &Evidence) -> Vec<Judgement> {
    each_address(evidence, |address| {
        if let Some(unreached) = stopped_before(address, Stage::Tls) {
            return unreached;
        }
        if let Some(stop) = handshake_stop(address).filter(|stop| stop.problem.kind == ProblemKind::ProtocolVersion) {
            return failed(stop.problem.clone());
        }
        match address.tls.as_ref().and_then(|tls| tls.version.as_deref()) {
            Some(version @ ("TLSv1.2" | "TLSv1.3")) => passed(version),
            Some(other) => {
                let detail = format!("{other} is spoken, KMS wants TLS 1.2 or 1.3");
                failed(Problem::target(ProblemKind::ProtocolVersion, detail))
            }
            None => Outcome::NotReached { stopped_at: Stage::Tls },
        }
    })
}

pub(in crate::check) fn client_certificate(evidence: &Evidence) -> Vec<Judgement> {
    each_address(evidence, |address| {
        if let Some(unreached) = stopped_before(address, Stage::Tls) {
            return unreached;
        }
        match &address.tls {
            None => Outcome::NotReached { stopped_at: Stage::Tls },
            Some(tls) if !tls.client_certificate_requested => passed("none is asked for"),
            Some(tls) if tls.client_certificate_presented => {
                let detail = format!(
                    "the proxy asks for a client certificate and got the configured one; that it accepts KMS's (CN cks.kms.{}.amazonaws.com) cannot be told from here",
                    evidence.subject.region
                );
                failed(Problem::target(ProblemKind::ClientCertificate, detail))
            }
            Some(_) => {
                let detail = format!(
                    "the proxy asks for a client certificate; KMS's own (CN cks.kms.{}.amazonaws.com) cannot be presented from here",
                    evidence.subject.region
                );
                failed(Problem::target(ProblemKind::ClientCertificate, detail))
            }
        }
    })
}
