//! Judges of what KMS tells of the key stores.

use super::{Judgement, failed, not_applicable, passed, whole};
use crate::check::{ControlPlane, Evidence, Outcome, Problem, ProblemKind, SIMULATED_ACTIONS, Stage};
use crate::key_store::{Configuration, ConnectionState, Connectivity, ConnectivityKind, KeyStore, Member};

const CONNECT: &str = "kms:ConnectCustomKeyStore";
const DISCONNECT: &str = "kms:DisconnectCustomKeyStore";

fn control_plane(evidence: &Evidence, judge: impl FnOnce(&ControlPlane) -> Outcome) -> Vec<Judgement> {
    whole(match &evidence.aws.control_plane {
        None => not_applicable("no key store is being changed"),
        Some(control_plane) => match &control_plane.stores {
            Err(problem) => failed(problem.clone()),
            Ok(_) => judge(control_plane),
        },
    })
}

/// Judges the store, once it is found. Until then nothing is told of it: whoever waives that it is there has not waived the
/// rest.
fn store(evidence: &Evidence, judge: impl FnOnce(&ControlPlane, &KeyStore) -> Outcome) -> Vec<Judgement> {
    control_plane(evidence, |control_plane| match control_plane.observed() {
        Some(observed) => judge(control_plane, observed),
        None => Outcome::NotReached { stopped_at: Stage::Kms },
    })
}

/// As [`store`], but only before the update is made.
fn before(evidence: &Evidence, judge: impl FnOnce(&ControlPlane, &KeyStore) -> Outcome) -> Vec<Judgement> {
    store(evidence, |control_plane, observed| {
        if control_plane.after_update {
            not_applicable("the update has been made")
        } else {
            judge(control_plane, observed)
        }
    })
}

pub(in crate::check) fn key_store_exists(evidence: &Evidence) -> Vec<Judgement> {
    control_plane(evidence, |control_plane| {
        let Some(observed) = control_plane.observed() else {
            let detail = format!("there is no key store {} in this account and Region", control_plane.key_store);
            return failed(Problem::target(ProblemKind::NotFound, detail));
        };
        passed(format!("{} is {}", observed.id, observed.name))
    })
}

pub(in crate::check) fn type_matches(evidence: &Evidence) -> Vec<Judgement> {
    store(evidence, |control_plane, observed| {
        let of_cloudhsm = |member: &Member| matches!(member, Member::Cluster | Member::Password);
        let of_xks = |member: &Member| *member != Member::Name && !of_cloudhsm(member);
        let members = control_plane.change.members();
        let wrong = match &observed.configuration {
            Configuration::Xks(_) => members.into_iter().find(of_cloudhsm),
            Configuration::CloudHsm(_) => members.into_iter().find(of_xks),
            Configuration::Unrecognized { why } => {
                return failed(Problem::target(
                    ProblemKind::WrongType,
                    format!("the key store is not understood: {why}"),
                ));
            }
        };
        match wrong {
            Some(member) => {
                let detail = format!(
                    "{} does not belong to a store of type {}",
                    member.as_str(),
                    observed.configuration.store_type()
                );
                failed(Problem::target(ProblemKind::WrongType, detail))
            }
            None => passed(observed.configuration.store_type()),
        }
    })
}

pub(in crate::check) fn connection_state(evidence: &Evidence) -> Vec<Judgement> {
    store(evidence, |control_plane, observed| {
        let cold = control_plane.change.cold_members();
        match &observed.state {
            ConnectionState::Connected if cold.is_empty() => passed("CONNECTED; the change is made in place"),
            ConnectionState::Connected if control_plane.after_update => passed("CONNECTED"),
            ConnectionState::Connected => passed(format!(
                "CONNECTED; {} can be changed only while DISCONNECTED, which the update's steps see to",
                cold.iter().map(|member| member.as_str()).collect::<Vec<_>>().join(", ")
            )),
            ConnectionState::Disconnected => passed("DISCONNECTED"),
            ConnectionState::Connecting | ConnectionState::Disconnecting => {
                let detail = format!("it is {}, wait until that has ended", observed.state);
                failed(Problem::target(ProblemKind::WrongState, detail))
            }
            ConnectionState::Failed(code) => {
                let detail = format!("it is {}: {}. Disconnect it first", observed.state, code.meaning());
                failed(Problem::target(ProblemKind::WrongState, detail))
            }
            ConnectionState::Unrecognized(name) => {
                let detail = format!("the state {name:?} is not known to this version, so nothing is safe");
                failed(Problem::target(ProblemKind::WrongState, detail))
            }
        }
    })
}

pub(in crate::check) fn name_free(evidence: &Evidence) -> Vec<Judgement> {
    store(evidence, |control_plane, _| {
        let Some(name) = &control_plane.change.name else { return not_applicable("the name stays") };
        let same = |other: &&KeyStore| other.name.as_str().to_lowercase() == name.as_str().to_lowercase();
        match control_plane.others().find(same) {
            Some(other) => failed(in_use(format!("{} is named {}", other.id, other.name))),
            None => passed("free"),
        }
    })
}

fn in_use(detail: String) -> Problem {
    Problem::target(ProblemKind::InUse, detail)
}

/// Where the store will be after the change: canonical endpoint, path, connectivity.
fn destination(control_plane: &ControlPlane, observed: &KeyStore) -> Option<(String, String, ConnectivityKind)> {
    let xks = observed.xks()?;
    let change = &control_plane.change;
    let endpoint = change.endpoint.as_ref().unwrap_or(&xks.endpoint);
    let path = change.path.as_ref().unwrap_or(&xks.path);
    Some((endpoint.canonical(), path.to_string(), change.connectivity.unwrap_or(xks.connectivity.kind())))
}

pub(in crate::check) fn uri_free(evidence: &Evidence) -> Vec<Judgement> {
    store(evidence, |control_plane, observed| {
        let Some((endpoint, path, _)) = destination(control_plane, observed) else {
            return not_applicable("not an external key store");
        };
        // KMS does not say whether it compares case; a clash that it would miss is no less a mistake.
        let same = |other: &&KeyStore| {
            other.xks().is_some_and(|xks| {
                xks.endpoint.canonical() == endpoint && xks.path.as_str().eq_ignore_ascii_case(&path)
            })
        };
        match control_plane.others().find(same) {
            Some(other) => failed(in_use(format!("{} ({}) has {endpoint}{path}", other.id, other.name))),
            None => passed("free, as far as this account can see"),
        }
    })
}

pub(in crate::check) fn endpoint_free(evidence: &Evidence) -> Vec<Judgement> {
    store(evidence, |control_plane, observed| {
        let Some((endpoint, _, kind)) = destination(control_plane, observed) else {
            return not_applicable("not an external key store");
        };
        let excluded = |other: &&KeyStore| {
            other.xks().is_some_and(|xks| {
                let both_public =
                    kind == ConnectivityKind::PublicEndpoint && xks.connectivity == Connectivity::PublicEndpoint;
                xks.endpoint.canonical() == endpoint && !both_public
            })
        };
        match control_plane.others().find(excluded) {
            Some(other) => {
                let detail =
                    format!("{} ({}) uses {endpoint}, and one of the two has VPC connectivity", other.id, other.name);
                failed(in_use(detail))
            }
            None => passed("free, as far as this account can see"),
        }
    })
}

pub(in crate::check) fn service_free(evidence: &Evidence) -> Vec<Judgement> {
    store(evidence, |control_plane, _| {
        let Some(service) = &control_plane.change.service_name else { return not_applicable("the service stays") };
        let same = |other: &&KeyStore| {
            other.xks().is_some_and(
                |xks| matches!(&xks.connectivity, Connectivity::VpcEndpointService { name, .. } if name == service),
            )
        };
        match control_plane.others().find(same) {
            Some(other) => failed(in_use(format!("{} ({}) uses {service}", other.id, other.name))),
            None => passed("free"),
        }
    })
}

pub(in crate::check) fn no_drift(evidence: &Evidence) -> Vec<Judgement> {
    before(evidence, |control_plane, observed| match &control_plane.believed {
        None => not_applicable("there is no plan yet"),
        Some(believed) if believed.name != observed.name => {
            let detail = format!("the plan believed the name {}, it is {}", believed.name, observed.name);
            failed(Problem::target(ProblemKind::Drift, detail))
        }
        Some(believed) if believed.configuration != observed.configuration => {
            let detail = format!("the plan believed {:?}, it is {:?}", believed.configuration, observed.configuration);
            failed(Problem::target(ProblemKind::Drift, detail))
        }
        Some(_) => passed("as believed"),
    })
}

pub(in crate::check) fn changes_something(evidence: &Evidence) -> Vec<Judgement> {
    before(evidence, |control_plane, observed| {
        let differences = control_plane.change.differences(observed);
        if differences.is_empty() {
            failed(Problem::target(ProblemKind::NoChange, "the store has all these values already"))
        } else {
            passed(differences.iter().map(|member| member.as_str()).collect::<Vec<_>>().join(", "))
        }
    })
}

pub(in crate::check) fn permissions(evidence: &Evidence) -> Vec<Judgement> {
    let Some(control_plane) = &evidence.aws.control_plane else {
        return whole(not_applicable("no key store is being changed"));
    };
    // What was denied a moment ago needs no simulation.
    let unread = control_plane.stores.as_ref().err();
    let unlisted = evidence.keys.enumeration.as_ref().and_then(|enumeration| enumeration.incomplete.as_ref());
    if let Some(denied) = unread.into_iter().chain(unlisted).find(|problem| problem.kind == ProblemKind::AccessDenied) {
        return whole(failed(Problem::target(ProblemKind::AccessDenied, denied.detail.clone())));
    }
    let permissions = match &evidence.aws.permissions {
        None => return whole(not_applicable("not asked: kms.permissions_of is not configured")),
        Some(Err(problem)) => return whole(failed(problem.clone())),
        Some(Ok(permissions)) => permissions,
    };
    let warm = control_plane.change.cold_members().is_empty();
    let needed = |action: &&&str| !(warm && matches!(**action, CONNECT | DISCONNECT));
    let mut untold = Vec::new();
    let mut denied = Vec::new();
    for action in SIMULATED_ACTIONS.iter().filter(needed) {
        match permissions.decisions.get(*action).map(String::as_str) {
            Some("allowed") => {}
            Some(decision) => denied.push(format!("{action} ({decision})")),
            None => untold.push(*action),
        }
    }
    whole(if !denied.is_empty() {
        let detail = format!("{} may not do {}", permissions.of, denied.join(", "));
        failed(Problem::target(ProblemKind::AccessDenied, detail))
    } else if !untold.is_empty() {
        let detail = format!("IAM's simulation says nothing of {}", untold.join(", "));
        failed(Problem::own(ProblemKind::Unread, detail))
    } else {
        passed(format!("the policies of {} allow it", permissions.of))
    })
}

pub(in crate::check) fn rollback_possible(evidence: &Evidence) -> Vec<Judgement> {
    before(evidence, |control_plane, _| match &control_plane.rollback_impossible {
        Some(why) => failed(Problem::target(ProblemKind::NoWayBack, why.clone())),
        None if control_plane.change.credential.is_some() && evidence.baseline_health.is_none() => {
            let detail = "a credential is held for the way back, and it was not seen to work: the current proxy did not \
                          answer it with its health, so the way back may fail, too";
            failed(Problem::own(ProblemKind::NoWayBack, detail))
        }
        None => passed("the former settings are at hand"),
    })
}

pub(in crate::check) fn outage(evidence: &Evidence) -> Vec<Judgement> {
    before(evidence, |control_plane, observed| {
        let cold = control_plane.change.cold_members();
        if cold.is_empty() {
            return passed("none: the change is made in place");
        }
        if observed.state != ConnectionState::Connected {
            return passed(format!("the store is {} already", observed.state));
        }
        let forecast = match observed.configuration {
            Configuration::CloudHsm(_) => "up to 25 minutes",
            Configuration::Xks(_) | Configuration::Unrecognized { .. } => "about 10 minutes",
        };
        let keys = match &evidence.keys.enumeration {
            Some(found) if found.is_complete() => format!("any of the store's {} KMS keys", found.keys.len()),
            Some(found) => format!("any key of the store ({} are known, there may be more)", found.keys.len()),
            None => "any key of the store".to_owned(),
        };
        let detail = format!("{forecast} without {keys}: about 5 to disconnect and the rest to connect");
        if control_plane.outage_acknowledged {
            passed(format!("{detail}; acknowledged"))
        } else {
            failed(Problem::target(ProblemKind::Outage, detail))
        }
    })
}
