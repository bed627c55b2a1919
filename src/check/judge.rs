//! Judges: pure functions from evidence to outcomes, one room for each stage.
//!
//! A judge of something that every address has answers once for each address; [`judge`] folds equal passes into one
//! finding, so that a report names an address only where it matters.

pub(super) mod capacity;
pub(super) mod certificate;
pub(super) mod cloudhsm;
pub(super) mod dns;
pub(super) mod health;
pub(super) mod http;
pub(super) mod input;
pub(super) mod key;
pub(super) mod kms;
pub(super) mod latency;
pub(super) mod perspective;
mod refusal;
pub(super) mod sigv4;
pub(super) mod tcp;
pub(super) mod tls;
pub(super) mod vpc;

use std::net::IpAddr;

use super::{
    AddressEvidence, CATALOGUE, Check, Evidence, Fault, Finding, JudgingPolicy, Outcome, Problem, Resolution, Stage,
};
use crate::key_store::KmsOutcome;

/// What a judge says, about one address or as a whole.
#[derive(Clone, Debug)]
pub(super) struct Judgement {
    address: Option<IpAddr>,
    outcome: Outcome,
    /// What KMS makes of it, where the particulars decide.
    kms: Option<KmsOutcome>,
}

/// Judges all evidence by every check of the catalogue.
pub fn judge(evidence: &Evidence, policy: &JudgingPolicy) -> Vec<Finding> {
    let mut all: Vec<Finding> = CATALOGUE.iter().flat_map(|check| findings(check, evidence, policy)).collect();
    // Thousands of reports are kept.
    all.shrink_to_fit();
    all
}

fn findings(check: &'static Check, evidence: &Evidence, policy: &JudgingPolicy) -> Vec<Finding> {
    let judgements = match out_of_place(check, evidence) {
        Some(why) => whole(not_applicable(why)),
        None => fold((check.judge)(evidence), policy.waivers.iter().any(|waiver| waiver.check == check.id)),
    };
    judgements
        .into_iter()
        .map(|judgement| {
            let kms = judgement.outcome.problem().and_then(|_| judgement.kms.or_else(|| check.kms.clone()));
            let outcome = waive(check, judgement.outcome, policy);
            Finding { check, address: judgement.address, outcome, kms }
        })
        .collect()
}

/// Why a check has no meaning for this kind of candidate: a proxy has no cluster, and a cluster no proxy.
fn out_of_place(check: &Check, evidence: &Evidence) -> Option<&'static str> {
    let is_cluster = evidence.subject.cluster.is_some();
    match check.stage {
        Stage::Kms => None,
        // Of the input, what belongs together in a request is no matter of the proxy.
        Stage::Input if check.id == "input.travels_together" => None,
        Stage::CloudHsm => (!is_cluster).then_some("not an AWS CloudHSM key store"),
        _ => is_cluster.then_some("the key store has no proxy"),
    }
}

/// If no address fails, the first outcome speaks for all; otherwise those that pass are left out.
fn fold(judgements: Vec<Judgement>, waived: bool) -> Vec<Judgement> {
    let (mut bad, good): (Vec<_>, Vec<_>) =
        judgements.into_iter().partition(|judgement| judgement.outcome.problem().is_some());
    // Something not reached at one address must not hide behind a pass at another.
    let first_unreached = good.iter().position(|j| matches!(j.outcome, Outcome::NotReached { .. }));
    if !bad.is_empty() {
        // Nor behind a failure that somebody has agreed to.
        bad.extend(good.into_iter().nth(first_unreached.unwrap_or(usize::MAX)).filter(|_| waived));
        return bad;
    }
    let many = good.len() > 1;
    good.into_iter()
        .nth(first_unreached.unwrap_or(0))
        .map(|mut judgement| {
            if many && first_unreached.is_none() {
                judgement.address = None;
            }
            judgement
        })
        .into_iter()
        .collect()
}

fn waive(check: &Check, outcome: Outcome, policy: &JudgingPolicy) -> Outcome {
    match outcome {
        Outcome::Failed(problem) => match policy.waivers.iter().find(|waiver| waiver.check == check.id) {
            Some(waiver) => Outcome::Waived { problem, waiver: Box::new(waiver.clone()) },
            None => Outcome::Failed(problem),
        },
        other => other,
    }
}

// === what judges are made of ===

fn whole(outcome: Outcome) -> Vec<Judgement> {
    vec![Judgement { address: None, outcome, kms: None }]
}

fn passed(detail: impl Into<String>) -> Outcome {
    Outcome::Passed(detail.into())
}

/// A failure of the target or the path; a fault of ours is told as such.
fn failed(problem: Problem) -> Outcome {
    if problem.fault == Fault::Own { Outcome::OwnFault(problem) } else { Outcome::Failed(problem) }
}

/// What was not tried at an address: where its samples stopped, or that nothing went on from `stage`.
fn untried(address: &AddressEvidence, stage: Stage) -> Outcome {
    Outcome::NotReached { stopped_at: address.first_stop().map_or(stage, |stop| stop.stage) }
}

/// What could not be told, whoever's fault it was: no pass, and no failure of the target either.
fn untold(problem: &Problem, what: &str) -> Outcome {
    Outcome::OwnFault(Problem::own(problem.kind, format!("{what} could not be told: {}", problem.detail)))
}

fn not_applicable(why: impl Into<String>) -> Outcome {
    Outcome::NotApplicable(why.into())
}

/// One judgement for each address, or one for all when the probe never came to any.
fn each_address(evidence: &Evidence, judge: impl Fn(&AddressEvidence) -> Outcome) -> Vec<Judgement> {
    each_address_with_kms(evidence, |address| (judge(address), None))
}

fn each_address_with_kms(
    evidence: &Evidence,
    judge: impl Fn(&AddressEvidence) -> (Outcome, Option<KmsOutcome>),
) -> Vec<Judgement> {
    if evidence.addresses.is_empty() {
        return whole(Outcome::NotReached { stopped_at: stopped_before_connecting(evidence) });
    }
    evidence
        .addresses
        .iter()
        .map(|address| {
            let (outcome, kms) = judge(address);
            Judgement { address: Some(address.address.ip()), outcome, kms }
        })
        .collect()
}

fn stopped_before_connecting(evidence: &Evidence) -> Stage {
    match evidence.resolution {
        Resolution::NotReached => Stage::Input,
        Resolution::Bypassed | Resolution::Answered { .. } | Resolution::Failed { .. } => Stage::Dns,
    }
}

/// For a stage above TCP: where this address stopped, if every one of its cold samples stopped before that stage.
fn stopped_before(address: &AddressEvidence, stage: Stage) -> Option<Outcome> {
    let reached =
        address.cold().any(|sample| sample.attempts().any(|a| a.stop.as_ref().is_none_or(|s| s.stage >= stage)));
    if reached {
        return None;
    }
    let stopped_at = address.first_stop().map_or(Stage::Tcp, |stop| stop.stage);
    Some(Outcome::NotReached { stopped_at })
}

#[cfg(test)]
mod tests;
