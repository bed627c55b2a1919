//! Judges of the handshake.

use super::{Judgement, each_address, failed, passed, stopped_before};
use crate::check::{
    AddressEvidence, Evidence, Outcome, Problem, ProblemKind, Stage, Stop, StrangerTrial, SuiteEvidence, SuiteTrial,
};

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

pub(in crate::check) fn cipher_suite(evidence: &Evidence) -> Vec<Judgement> {
    each_address(evidence, |address| {
        if let Some(unreached) = stopped_before(address, Stage::Tls) {
            return unreached;
        }
        let refused = handshake_stop(address).filter(|stop| stop.problem.kind == ProblemKind::NoCipherSuite);
        let seen = address.tls.as_ref().and_then(|tls| Some((tls.version.as_ref()?, tls.cipher_suite.as_ref()?)));
        match (&address.suites, refused, seen) {
            (Some(suites), _, _) if accepts_none(suites) => failed(no_suite(suites)),
            // Several servers may stand behind one address, and the one that refused is the one to be judged.
            (_, Some(stop), _) => failed(stop.problem.clone()),
            (Some(suites), None, _) if accepts_one(suites) => passed(told(suites)),
            (_, None, Some((version, suite))) => passed(format!("{version} with {suite}")),
            (_, None, None) => Outcome::NotReached { stopped_at: Stage::Tls },
        }
    })
}

fn accepts_one(suites: &SuiteEvidence) -> bool {
    suites.trials().iter().any(|(_, trial)| matches!(trial, SuiteTrial::Accepted(_)))
}

/// Whether it is certain that none is accepted, and that it is for the suites.
fn accepts_none(suites: &SuiteEvidence) -> bool {
    let trials = suites.trials();
    let refusal = |trial: &SuiteTrial| matches!(trial, SuiteTrial::OtherSuites { .. } | SuiteTrial::VersionRefused);
    trials.iter().all(|(_, trial)| refusal(trial))
        && trials.iter().any(|(_, trial)| matches!(trial, SuiteTrial::OtherSuites { .. }))
}

fn told(suites: &SuiteEvidence) -> String {
    suites.trials().map(|(version, trial)| format!("{version} {trial}")).join("; ")
}

fn no_suite(suites: &SuiteEvidence) -> Problem {
    let detail = format!(
        "the server accepts none of the four cipher suites that KMS offers: {}. It would take TLS_AES_256_GCM_SHA384 or \
         TLS_CHACHA20_POLY1305_SHA256 with TLS 1.3, or TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 or \
         TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 with TLS 1.2",
        told(suites)
    );
    Problem::target(ProblemKind::NoCipherSuite, detail)
}

pub(in crate::check) fn client_certificate(evidence: &Evidence) -> Vec<Judgement> {
    let region = &evidence.subject.region;
    each_address(evidence, |address| {
        if let Some(unreached) = stopped_before(address, Stage::Tls) {
            return unreached;
        }
        let Some(tls) = &address.tls else { return Outcome::NotReached { stopped_at: Stage::Tls } };
        if !tls.client_certificate_requested {
            return passed("none is asked for");
        }
        let asked = if tls.client_certificate_presented {
            format!(
                "the proxy asks for a client certificate and got the configured one; that it accepts KMS's (CN \
                 cks.kms.{region}.amazonaws.com) cannot be told from here"
            )
        } else {
            format!(
                "the proxy asks for a client certificate; KMS's own (CN cks.kms.{region}.amazonaws.com) cannot be \
                 presented from here"
            )
        };
        let (kind, tested) = match &address.stranger {
            None => (ProblemKind::ClientCertificate, String::new()),
            Some(StrangerTrial::Refused) => {
                (ProblemKind::ClientCertificate, "; a self-signed certificate of that name is refused".to_owned())
            }
            Some(StrangerTrial::Untold(problem)) => {
                let tested = format!("; whether a self-signed one is refused could not be told: {}", problem.detail);
                (ProblemKind::ClientCertificate, tested)
            }
            Some(StrangerTrial::Accepted) => {
                let tested = "; and it accepts a self-signed certificate of that name: it verifies none, so anybody who \
                              knows the name passes for KMS";
                (ProblemKind::StrangerAccepted, tested.to_owned())
            }
        };
        failed(Problem::target(kind, asked + &tested))
    })
}
