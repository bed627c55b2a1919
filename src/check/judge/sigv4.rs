//! Judges of the signature: whether the right one is accepted and, if asked for, wrong ones are refused.

use super::http::{each_exchange, shortened};
use super::refusal::{Answered, RightAnswer, answered, refused};
use super::{Judgement, each_address, failed, not_applicable, passed, untold, untried, whole};
use crate::check::{
    Deviation, Evidence, ExchangeEvidence, FormerSettings, FormerTrial, Guess, Outcome, Problem, ProblemKind,
    SignatureEvidence, Stage, TOLERATED_SKEW,
};
use crate::xks::{ErrorName, Refusal};

pub(in crate::check) fn accepted(evidence: &Evidence) -> Vec<Judgement> {
    each_address(evidence, |address| {
        each_exchange(address, |exchange| match Refusal::parse(&exchange.body) {
            Ok(refusal @ Refusal { name: Some(ErrorName::AuthenticationFailed), .. }) => {
                let message = refusal.message.as_deref().map(shortened).map(|m| format!(" and says {m:?}"));
                let detail = format!(
                    "the proxy refuses the signature of access key id {} for Region {}{}; {}",
                    evidence.subject.access_key_id,
                    evidence.subject.region,
                    message.unwrap_or_default(),
                    hint(&evidence.signature, exchange)
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

/// Why the signature may be refused, as far as further requests told.
fn hint(signature: &SignatureEvidence, exchange: &ExchangeEvidence) -> String {
    let off = exchange.clock_ahead().filter(|seconds| seconds.abs() >= TOLERATED_SKEW);
    let hit = signature.guesses.iter().find(|tried| tried.answer.as_ref().is_ok_and(ExchangeEvidence::is_carried_out));
    if let Some(hit) = hit {
        return format!("signed {}, the same request is accepted: {}", hit.guess, cause(&hit.guess));
    }
    let clock = off.map(|seconds| format!("its clock is {seconds:+.0} s from ours"));
    if signature.guesses.is_empty() {
        let clock = clock.map(|clock| format!("{clock}, which alone may be the reason"));
        return clock.unwrap_or_else(|| {
            "the secret or the access key id is not the proxy's, or Host, path or Region are not what it expects"
                .to_owned()
        });
    }
    let tried: Vec<String> = signature.guesses.iter().map(|tried| tried.guess.to_string()).collect();
    let clock = clock.map(|clock| format!("{clock}, which is not the only reason; "));
    format!(
        "{}it is refused as well when signed {}: left are another secret, an access key id that the proxy does not \
         know, and a Host or path rewritten on the way",
        clock.unwrap_or_default(),
        tried.join(", ")
    )
}

/// What follows from a guess that hit.
fn cause(guess: &Guess) -> String {
    let clock = guess.clock.map(|seconds| format!("the proxy's clock is {seconds:+.0} s from ours"));
    let region = guess.region.as_ref().map(|region| format!("the proxy is set up for Region {region}"));
    let host = guess.host.as_ref().map(|host| format!("Host reaches the proxy as {host}, rewritten by a middlebox"));
    let causes: Vec<String> = [clock, region, host].into_iter().flatten().collect();
    format!("{}; secret and access key id are right", causes.join(", and "))
}

pub(in crate::check) fn clock_skew(evidence: &Evidence) -> Vec<Judgement> {
    each_address(evidence, |address| {
        each_exchange(address, |exchange| match exchange.clock_ahead() {
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

const REFUSED_SIGNATURE: ErrorName = ErrorName::AuthenticationFailed;

pub(in crate::check) fn refuses_unsigned(evidence: &Evidence) -> Vec<Judgement> {
    refused(evidence, Deviation::Unsigned, RightAnswer::of(REFUSED_SIGNATURE))
}

pub(in crate::check) fn refuses_wrong_secret(evidence: &Evidence) -> Vec<Judgement> {
    refused(evidence, Deviation::WrongSecret, RightAnswer::of(REFUSED_SIGNATURE))
}

pub(in crate::check) fn refuses_unknown_key_id(evidence: &Evidence) -> Vec<Judgement> {
    refused(evidence, Deviation::UnknownAccessKeyId, RightAnswer::of(REFUSED_SIGNATURE))
}

pub(in crate::check) fn refuses_stale(evidence: &Evidence) -> Vec<Judgement> {
    refused(evidence, Deviation::Stale, RightAnswer::of(REFUSED_SIGNATURE))
}

pub(in crate::check) fn old_credential_still_accepted(evidence: &Evidence) -> Vec<Judgement> {
    let cold = evidence.aws.control_plane.as_ref().is_some_and(|plane| !plane.change.cold_members().is_empty());
    // After the update of a rotation the old one is tried until it is refused, which is no fault then.
    let after_update = evidence.aws.control_plane.as_ref().is_some_and(|plane| plane.after_update);
    match &evidence.signature.former {
        FormerSettings::Tried(_) if after_update => whole(not_applicable("KMS has the new settings by now")),
        // Nothing to compare for a free-standing candidate. For a change in place there is, and we lack the secret.
        FormerSettings::Unknown if changed_in_place(evidence) => whole(Outcome::NotReached { stopped_at: Stage::Http }),
        FormerSettings::Unknown => whole(not_applicable("what KMS has now is not known here")),
        FormerSettings::Same => whole(not_applicable("neither credential nor path changes")),
        FormerSettings::OtherEndpoint => whole(not_applicable("the endpoint changes, while the store is disconnected")),
        FormerSettings::Tried(_) if cold => whole(not_applicable("the change is made while the store is disconnected")),
        FormerSettings::Tried(trial) => {
            each_address(evidence, |address| match trial.answers.iter().find(|(at, _)| *at == address.address) {
                Some((_, Ok(exchange))) => still_served(trial, exchange),
                Some((_, Err(stop))) => untold(&stop.problem, "whether the settings now in KMS still work"),
                None => untried(address, Stage::Http),
            })
        }
    }
}

/// Whether the change replaces credential or path while the key store goes on working.
fn changed_in_place(evidence: &Evidence) -> bool {
    evidence.aws.control_plane.as_ref().is_some_and(|plane| {
        let replaced = plane.change.credential.is_some() || plane.change.path.is_some();
        !plane.after_update && replaced && plane.change.cold_members().is_empty()
    })
}

fn still_served(trial: &FormerTrial, exchange: &ExchangeEvidence) -> Outcome {
    let credential = if trial.other_credential { "the former credential" } else { "the credential" };
    let path = trial.other_path.as_ref().map(|path| format!(" at the former path {path}")).unwrap_or_default();
    let what = format!("{credential} (access key id {}){path}", trial.access_key_id);
    match answered(exchange) {
        Answered::CarriedOut => passed(format!("{what} still works")),
        Answered::Refused(words) => {
            let detail = format!(
                "{what} is refused with {words} already; KMS goes on using it for up to 5 minutes after the update, \
                 and every key operation fails so long"
            );
            failed(Problem::target(ProblemKind::OldCredentialRefused, detail))
        }
        Answered::SaysNothing(words) => {
            let problem = Problem::target(ProblemKind::ProxyError, format!("the answer is {words}"));
            untold(&problem, "whether the settings now in KMS still work")
        }
    }
}
