//! Judges of the answer as HTTP, and of whether the signature was accepted.

use super::{Judgement, each_address, each_address_with_kms, failed, not_applicable, passed, stopped_before};
use crate::check::{AddressEvidence, Evidence, ExchangeEvidence, Outcome, Problem, ProblemKind, Stage, Stop};
use crate::key_store::{ConnectionErrorCode, KmsException, KmsOutcome};
use crate::xks::{ErrorName, Refusal};

/// Beyond this, clocks are told to differ; signatures are refused from 300 s.
const TOLERATED_SKEW: f64 = 60.0;

fn http_stop(address: &AddressEvidence) -> Option<&Stop> {
    address.cold().find_map(|sample| sample.last().stop.as_ref().filter(|stop| stop.stage == Stage::Http))
}

/// Judges every complete answer; the first outcome that is no pass decides.
fn each_exchange(address: &AddressEvidence, judge: impl Fn(&ExchangeEvidence) -> Outcome) -> Outcome {
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

fn shortened(text: &str) -> String {
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

pub(in crate::check) fn accepted(evidence: &Evidence) -> Vec<Judgement> {
    each_address(evidence, |address| {
        each_exchange(address, |exchange| match Refusal::parse(&exchange.body) {
            Ok(Refusal { name: Some(ErrorName::AuthenticationFailed), .. }) => {
                let skew = skew_of(exchange).filter(|skew| skew.abs() > TOLERATED_SKEW);
                let detail = format!(
                    "the proxy refuses the signature of access key id {} for Region {}{}",
                    evidence.subject.access_key_id,
                    evidence.subject.region,
                    skew.map(|skew| format!("; its clock is {skew:+.0} s from ours, which alone may be the reason"))
                        .unwrap_or_default()
                );
                failed(Problem::target(ProblemKind::AuthenticationFailed, detail))
            }
            // Routing and refusals by others may come before authentication: then nothing is known of it.
            Ok(Refusal { name: Some(ErrorName::InvalidUriPath), .. }) => {
                not_applicable("the proxy does not serve the path, so it did not look at the signature")
            }
            Ok(_) => passed("the proxy got past the signature"),
            Err(_) if exchange.status == 200 => passed("accepted"),
            Err(_) => not_applicable("it is not the proxy that answers"),
        })
    })
}

fn skew_of(exchange: &ExchangeEvidence) -> Option<f64> {
    exchange.date.map(|date| date.seconds_since(exchange.received_at))
}

pub(in crate::check) fn clock_skew(evidence: &Evidence) -> Vec<Judgement> {
    each_address(evidence, |address| {
        each_exchange(address, |exchange| match skew_of(exchange) {
            None => not_applicable("the answer has no Date header"),
            Some(skew) if skew.abs() < TOLERATED_SKEW => passed(format!("{skew:+.0} s")),
            Some(skew) => {
                let detail =
                    format!("the proxy's clock is {skew:+.0} s from ours; from 300 s on it refuses signatures");
                failed(Problem::target(ProblemKind::ClockSkew, detail))
            }
        })
    })
}
