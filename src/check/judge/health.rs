//! Judges of what the health answer says.

use super::http::shortened;
use super::{Judgement, each_address, each_address_with_kms, failed, not_applicable, passed, stopped_before, whole};
use crate::check::{AddressEvidence, Evidence, ExchangeEvidence, Outcome, Problem, ProblemKind, Proving, Stage};
use crate::key_store::KmsOutcome;
use crate::xks::{EkmHealth, HealthStatus, Refusal};

/// The answers that are meant as health: no refusals, no redirects, no error pages.
fn health_answers(address: &AddressEvidence) -> impl Iterator<Item = &ExchangeEvidence> {
    address.exchanges().filter(|exchange| exchange.status == 200 && Refusal::parse(&exchange.body).is_err())
}

/// The valid health answers of an address.
fn healths(address: &AddressEvidence) -> Vec<HealthStatus> {
    health_answers(address).filter_map(|exchange| HealthStatus::parse(&exchange.body).ok()).collect()
}

fn not_reached(address: &AddressEvidence) -> Outcome {
    stopped_before(address, Stage::Http).unwrap_or(Outcome::NotReached { stopped_at: Stage::Http })
}

/// Judges every valid health answer; the first problem decides.
fn each_health(address: &AddressEvidence, judge: impl Fn(&HealthStatus) -> Outcome) -> Outcome {
    let outcomes: Vec<Outcome> = healths(address).iter().map(judge).collect();
    let first_problem = outcomes.iter().find(|outcome| outcome.problem().is_some());
    first_problem.or(outcomes.first()).cloned().unwrap_or_else(|| not_reached(address))
}

pub(in crate::check) fn schema(evidence: &Evidence) -> Vec<Judgement> {
    each_address(evidence, |address| {
        let mut seen = false;
        for exchange in health_answers(address) {
            seen = true;
            if let Err(violation) = HealthStatus::parse(&exchange.body) {
                let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&exchange.body).is_ok();
                let kind = if is_json { ProblemKind::Schema } else { ProblemKind::NotJson };
                let detail = if violation.pointer.is_empty() {
                    format!("{}; the body begins {:?}", violation.rule, super::http::beginning(&exchange.body))
                } else {
                    violation.to_string()
                };
                return failed(Problem::target(kind, detail));
            }
        }
        if seen { passed("as specified") } else { not_reached(address) }
    })
}

pub(in crate::check) fn fleet_size(evidence: &Evidence) -> Vec<Judgement> {
    each_address(evidence, |address| {
        each_health(address, |health| match health.xks_proxy_fleet_size {
            size if size > 0 => passed(size.to_string()),
            size => failed(Problem::target(ProblemKind::FleetSize, format!("xksProxyFleetSize is {size}"))),
        })
    })
}

pub(in crate::check) fn ekm_available(evidence: &Evidence) -> Vec<Judgement> {
    each_address_with_kms(evidence, |address| {
        let outcome = each_health(address, |health| {
            let total = health.ekm_fleet_details.len();
            let unavailable = health.count(EkmHealth::Unavailable);
            if unavailable == total {
                let detail = format!("all {total} external key managers are UNAVAILABLE, which is unreachable to KMS");
                failed(Problem::target(ProblemKind::AllUnavailable, detail))
            } else {
                passed(format!("{} of {total} are available", total - unavailable))
            }
        });
        // KMS counts it as unreachable, but not among the errors it would retry.
        let kms = super::super::find("health.ekm_available")
            .and_then(|check| check.kms.clone())
            .map(|kms| KmsOutcome { retryable: None, ..kms });
        (outcome, kms)
    })
}

pub(in crate::check) fn ekm_degraded(evidence: &Evidence) -> Vec<Judgement> {
    each_address(evidence, |address| {
        each_health(address, |health| {
            let ill: Vec<String> = health
                .ekm_fleet_details
                .iter()
                .filter(|instance| instance.health_status != EkmHealth::Active)
                .map(|instance| format!("{} is {}", shortened(&instance.id), instance.health_status.as_str()))
                .collect();
            if ill.is_empty() {
                passed("all are ACTIVE")
            } else {
                failed(Problem::target(ProblemKind::Degraded, ill.join(", ")))
            }
        })
    })
}

pub(in crate::check) fn redundancy(evidence: &Evidence) -> Vec<Judgement> {
    each_address(evidence, |address| {
        each_health(address, |health| {
            let managers = health.ekm_fleet_details.len();
            let proxies = health.xks_proxy_fleet_size;
            let seen = format!("{proxies} proxies, {managers} external key managers");
            if managers >= 2 && proxies >= 2 {
                passed(seen)
            } else {
                failed(Problem::target(ProblemKind::NoRedundancy, seen))
            }
        })
    })
}

pub(in crate::check) fn same_fleet(evidence: &Evidence) -> Vec<Judgement> {
    let Some(current) = &evidence.baseline_health else {
        // For a change of a key store there is a fleet to compare with. Promoted to a must, this check may not pass
        // because the present proxy did not answer or its secret is not held.
        if evidence.aws.control_plane.as_ref().is_some_and(|control_plane| !control_plane.after_update) {
            return whole(Outcome::NotReached { stopped_at: Stage::Http });
        }
        return whole(not_applicable("the health behind the current settings is not known"));
    };
    each_address(evidence, |address| {
        each_health(address, |health| match fleet_difference(current, health) {
            None => passed("the same"),
            Some(detail) => failed(Problem::target(ProblemKind::DifferentFleet, detail)),
        })
    })
}

fn fleet_difference(current: &HealthStatus, candidate: &HealthStatus) -> Option<String> {
    let texts = [
        ("xksProxyVendor", &current.xks_proxy_vendor, &candidate.xks_proxy_vendor),
        ("xksProxyModel", &current.xks_proxy_model, &candidate.xks_proxy_model),
        ("ekmVendor", &current.ekm_vendor, &candidate.ekm_vendor),
    ];
    if let Some((member, now, then)) = texts.into_iter().find(|(_, now, then)| now != then) {
        let (now, then) = (shortened(now), shortened(then));
        return Some(format!("{member} is {now:?} now and {then:?} at the candidate"));
    }
    let ids = |health: &HealthStatus| {
        let mut ids: Vec<String> = health.ekm_fleet_details.iter().map(|instance| instance.id.clone()).collect();
        ids.sort_unstable();
        ids
    };
    let (now, then) = (ids(current), ids(candidate));
    let shown = |ids: &[String]| ids.iter().map(|id| shortened(id)).collect::<Vec<_>>().join(", ");
    (now != then).then(|| format!("the key managers are {} now and {} at the candidate", shown(&now), shown(&then)))
}

pub(in crate::check) fn deep(evidence: &Evidence) -> Vec<Judgement> {
    if evidence.keys.proving == Proving::Nothing {
        return whole(not_applicable("needs a test key"));
    }
    each_address(evidence, |address| {
        let at = evidence.keys.addresses.iter().find(|at| at.address == address.address);
        let Some(proofs) = at.and_then(|at| at.proofs.as_ref()) else { return not_reached(address) };
        let healths = healths(address);
        let active = healths.iter().all(|health| health.count(EkmHealth::Active) == health.ekm_fleet_details.len());
        match (proofs.round_trip.examples.first(), active) {
            (Some(failure), true) => {
                let constant = if is_constant(address) { ", in the same bytes every time" } else { "" };
                let detail = format!(
                    "every key manager is ACTIVE{constant}, while {} does not work: {}",
                    failure.key, failure.problem.detail
                );
                failed(Problem::target(ProblemKind::ShallowHealth, detail))
            }
            (Some(_), false) => passed("the health answer admits that something is wrong"),
            (None, _) if proofs.round_trip.left() > 0 => Outcome::NotReached { stopped_at: Stage::Key },
            (None, _) => passed("Encrypt and Decrypt work, as the health answer says"),
        }
    })
}

/// Whether several answers were the same byte for byte: usual for a fleet at rest, telling where it contradicts facts.
fn is_constant(address: &AddressEvidence) -> bool {
    let bodies: Vec<&[u8]> = health_answers(address).map(|exchange| exchange.body.as_slice()).collect();
    bodies.len() > 1 && bodies.windows(2).all(|pair| pair[0] == pair[1])
}
