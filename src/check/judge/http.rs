//! Judges of the answer as HTTP.

use super::refusal::{RightAnswer, refused};
use super::{
    Judgement, each_address, each_address_with_kms, failed, not_applicable, passed, stopped_before, untold, untried,
};
use crate::check::{
    AddressEvidence, Deviation, Evidence, ExchangeEvidence, Fault, OfferEvidence, Outcome, Problem, ProblemKind, Stage,
    Stop,
};
use crate::key_store::{ConnectionErrorCode, KmsException, KmsOutcome};
use crate::xks::{ErrorName, Refusal};

fn http_stop(address: &AddressEvidence) -> Option<&Stop> {
    address.cold().find_map(|sample| sample.last().stop.as_ref().filter(|stop| stop.stage == Stage::Http))
}

/// Judges every complete answer; the first outcome that is no pass decides.
pub(super) fn each_exchange(address: &AddressEvidence, judge: impl Fn(&ExchangeEvidence) -> Outcome) -> Outcome {
    if let Some(unreached) = stopped_before(address, Stage::Http) {
        return unreached;
    }
    let mut last = None;
    for exchange in address.exchanges() {
        let outcome = judge(exchange);
        if outcome.problem().is_some() {
            return outcome;
        }
        last = Some(outcome);
    }
    last.unwrap_or(Outcome::NotReached { stopped_at: Stage::Http })
}

pub(in crate::check) fn answers(evidence: &Evidence) -> Vec<Judgement> {
    each_address_with_kms(evidence, |address| {
        if let Some(unreached) = stopped_before(address, Stage::Http) {
            return (unreached, None);
        }
        // A sample that stopped below HTTP is told by that stage's checks; should none of them see it, it still is no
        // complete answer.
        if let Some(stop) = address.first_stop().filter(|stop| stop.stage < Stage::Http) {
            return (Outcome::NotReached { stopped_at: stop.stage }, None);
        }
        match http_stop(address) {
            Some(stop) if stop.problem.kind == ProblemKind::TooLarge => (passed("answers, at too great length"), None),
            Some(stop) => (failed(stop.problem.clone()), kms_of_stop(&stop.problem)),
            None => (passed("complete answers"), None),
        }
    })
}

/// A time-out is one thing to KMS, an answer that is no HTTP another, a closed connection a third.
fn kms_of_stop(problem: &Problem) -> Option<KmsOutcome> {
    match problem.kind {
        ProblemKind::NotHttp => {
            Some(KmsOutcome::of(KmsException::XksProxyInvalidResponse, ConnectionErrorCode::XksProxyInvalidResponse))
        }
        ProblemKind::Closed | ProblemKind::Reset => Some(
            KmsOutcome::of(KmsException::XksProxyUriUnreachable, ConnectionErrorCode::XksProxyNotReachable)
                .retryable(true),
        ),
        _ => None,
    }
}

/// The samples offer `http/1.1` by ALPN; whether it works without ALPN, too, is seen once for each address.
pub(in crate::check) fn http1(evidence: &Evidence) -> Vec<Judgement> {
    each_address(evidence, |address| {
        let refused = address.cold().filter_map(|sample| sample.last().stop.as_ref());
        if let Some(stop) = refused.into_iter().find(|stop| stop.problem.kind == ProblemKind::NoHttp1) {
            return failed(stop.problem.clone());
        }
        if let Some(unreached) = stopped_before(address, Stage::Http) {
            return unreached;
        }
        let offer = evidence.offers.iter().find(|offer| offer.address == address.address);
        offer.map_or_else(|| untried(address, Stage::Http), without_alpn)
    })
}

fn without_alpn(offer: &OfferEvidence) -> Outcome {
    match &offer.without_alpn {
        Ok(_) => {
            let http2 = match offer.preferred.as_deref() {
                Some("h2") => "; offered HTTP/2, too, it prefers that",
                Some(_) => "; offered HTTP/2, too, it stays with HTTP/1.1",
                None => "; it takes no part in ALPN",
            };
            passed(format!("HTTP/1.1 works with ALPN and without{http2}"))
        }
        Err(Stop { stage, problem })
            if *stage == Stage::Tcp
                || problem.fault != Fault::Target
                || problem.kind == ProblemKind::ClientCertificate =>
        {
            untold(problem, "HTTP/1.1 without ALPN")
        }
        Err(stop) => {
            let detail = format!("HTTP/1.1 works with ALPN, but not when ALPN is left out: {}", stop.problem.detail);
            failed(Problem::target(ProblemKind::NoHttp1, detail))
        }
    }
}

pub(in crate::check) fn get_refused(evidence: &Evidence) -> Vec<Judgement> {
    refused(evidence, Deviation::Get, RightAnswer { status: 405, name: None })
}

pub(in crate::check) fn unknown_path_refused(evidence: &Evidence) -> Vec<Judgement> {
    refused(evidence, Deviation::UnknownPath, RightAnswer::of(ErrorName::InvalidUriPath))
}

pub(in crate::check) fn no_redirect(evidence: &Evidence) -> Vec<Judgement> {
    each_address(evidence, |address| {
        each_exchange(address, |exchange| {
            if (300..400).contains(&exchange.status) {
                let to = exchange.location.as_deref().unwrap_or("nowhere");
                let detail = format!("status {} leads to {to}; KMS does not follow", exchange.status);
                failed(Problem::target(ProblemKind::Redirected, detail))
            } else {
                passed("no redirect")
            }
        })
    })
}

pub(in crate::check) fn status(evidence: &Evidence) -> Vec<Judgement> {
    each_address_with_kms(evidence, |address| {
        let outcome = each_exchange(address, status_of);
        let kms = failing_refusal(address).and_then(|refusal| refusal.name).map(ErrorName::on_health);
        (outcome, kms)
    })
}

fn status_of(exchange: &ExchangeEvidence) -> Outcome {
    match Refusal::parse(&exchange.body) {
        Ok(Refusal { name: Some(ErrorName::AuthenticationFailed), .. }) => {
            not_applicable("the refusal of the signature is told by sigv4.accepted")
        }
        Ok(refusal) => {
            let meaning = refusal.name.map_or("a name that the specification does not know", ErrorName::meaning);
            let message = refusal.message.as_deref().map(shortened).map(|m| format!("; it says {m:?}"));
            let expected = refusal.name.map(ErrorName::status).filter(|status| *status != exchange.status);
            let detail = format!(
                "status {} with {}: {meaning}{}{}",
                exchange.status,
                refusal.name_as_sent,
                message.unwrap_or_default(),
                expected.map(|status| format!(" (its status should be {status})")).unwrap_or_default()
            );
            failed(Problem::target(ProblemKind::ProxyError, detail))
        }
        Err(_) if exchange.status == 200 => passed("200"),
        Err(_) if (300..400).contains(&exchange.status) => not_applicable("told by http.no_redirect"),
        Err(_) => {
            let detail = format!(
                "status {} without an error name: something in front of the proxy answers; the body begins {:?}",
                exchange.status,
                beginning(&exchange.body)
            );
            failed(Problem::target(ProblemKind::Status, detail))
        }
    }
}

/// The refusal that makes `http.status` fail, if it is one.
fn failing_refusal(address: &AddressEvidence) -> Option<Refusal> {
    address
        .exchanges()
        .filter_map(|exchange| Refusal::parse(&exchange.body).ok())
        .find(|refusal| refusal.name != Some(ErrorName::AuthenticationFailed))
}

/// The beginning of a text from outside, fit for a line.
pub(super) fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect()
}

/// What a body begins with, for people.
pub(super) fn beginning(body: &[u8]) -> String {
    shortened(&String::from_utf8_lossy(&body[..body.len().min(160)]))
}

pub(in crate::check) fn content_type(evidence: &Evidence) -> Vec<Judgement> {
    each_address(evidence, |address| {
        each_exchange(address, |exchange| match &exchange.content_type {
            Some(value) if is_json(value) => passed("application/json"),
            Some(value) => {
                failed(Problem::target(ProblemKind::ContentType, format!("declared as {:?}", shortened(value))))
            }
            None => failed(Problem::target(ProblemKind::ContentType, "no Content-Type")),
        })
    })
}

fn is_json(content_type: &str) -> bool {
    content_type.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"))
}

pub(in crate::check) fn body_size(evidence: &Evidence) -> Vec<Judgement> {
    each_address(evidence, |address| {
        if let Some(unreached) = stopped_before(address, Stage::Http) {
            return unreached;
        }
        match http_stop(address) {
            Some(stop) if stop.problem.kind == ProblemKind::TooLarge => failed(stop.problem.clone()),
            _ => match address.exchanges().map(|exchange| exchange.body.len()).max() {
                Some(largest) => passed(format!("{largest} bytes")),
                None => Outcome::NotReached { stopped_at: Stage::Http },
            },
        }
    })
}

pub(in crate::check) fn error_message(evidence: &Evidence) -> Vec<Judgement> {
    each_address(evidence, |address| {
        each_exchange(address, |exchange| match Refusal::parse(&exchange.body) {
            Err(_) => not_applicable("no error"),
            Ok(refusal) => match refusal.message_violation() {
                Some(violation) => {
                    failed(Problem::target(ProblemKind::ErrorMessage, format!("errorMessage {violation}")))
                }
                None => passed("within the rules"),
            },
        })
    })
}
