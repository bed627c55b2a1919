//! Whether a change fits the key store as it is, and what would undo it.

use super::{PlanRefused, Rollback};
use crate::key_store::{
    Change, Configuration, ConnectionState, Connectivity, ConnectivityKind, CredentialRef, KeyStore, Member,
};
use crate::update::policy::Policy;
use crate::update::rotation::{Rotate, Rotation};

/// The terms of a rotation: the credential alone changes, in place, and the secret of the former one is held, without
/// which nobody could prove that it is refused.
pub(super) fn rotation(
    observed: &KeyStore,
    change: &Change,
    rollback: &Rollback,
    asked: &Rotate,
    policy: &Policy,
) -> Result<Rotation, PlanRefused> {
    let refuse = |why: &str| Err(PlanRefused::Rotation { why: why.to_owned() });
    if change.members() != [Member::Credential] {
        return refuse(
            "it changes XksProxyAuthenticationCredential and nothing else; make the other changes by themselves",
        );
    }
    if observed.state != ConnectionState::Connected {
        let state = &observed.state;
        return refuse(&format!(
            "the key store is {state}, so that nothing uses the former credential; a plain update of it is enough"
        ));
    }
    if let Rollback::Impossible { why } = rollback {
        return refuse(&format!("without the former secret it cannot be proven refused, nor be restored: {why}"));
    }
    Rotation::of(asked, &policy.rotation)
        .map_err(|rule| PlanRefused::Members { member: "options.propagation_seconds", rule })
}

pub(super) fn members_fit(store: &KeyStore, change: &Change) -> Result<(), PlanRefused> {
    let refuse = |member: Member, rule| Err(PlanRefused::Members { member: member.as_str(), rule });
    match &store.configuration {
        Configuration::Unrecognized { why } => return Err(PlanRefused::Unrecognized { why: why.clone() }),
        Configuration::CloudHsm(_) => {
            for member in change.members() {
                if !matches!(member, Member::Name | Member::Cluster | Member::Password) {
                    return refuse(
                        member,
                        "is valid only for an EXTERNAL_KEY_STORE, and this is an AWS_CLOUDHSM store",
                    );
                }
            }
        }
        Configuration::Xks(xks) => {
            for member in change.members() {
                if matches!(member, Member::Cluster | Member::Password) {
                    return refuse(
                        member,
                        "is valid only for an AWS_CLOUDHSM store, and this is an EXTERNAL_KEY_STORE",
                    );
                }
            }
            let kind = change.connectivity.unwrap_or_else(|| xks.connectivity.kind());
            let changes_kind = kind != xks.connectivity.kind();
            if changes_kind && change.endpoint.is_none() {
                return refuse(Member::Endpoint, "must be given together with a change of XksProxyConnectivity");
            }
            match kind {
                ConnectivityKind::PublicEndpoint => {
                    if change.service_name.is_some() {
                        return refuse(Member::ServiceName, "is valid only with VPC_ENDPOINT_SERVICE connectivity");
                    }
                    if change.service_owner.is_some() {
                        return refuse(Member::ServiceOwner, "is valid only with VPC_ENDPOINT_SERVICE connectivity");
                    }
                }
                ConnectivityKind::VpcEndpointService => {
                    if changes_kind && change.service_name.is_none() {
                        return refuse(
                            Member::ServiceName,
                            "must be given together with VPC_ENDPOINT_SERVICE connectivity",
                        );
                    }
                }
            }
        }
    }
    Ok(())
}

pub(super) fn state_permits(store: &KeyStore) -> Result<(), PlanRefused> {
    let remedy = match &store.state {
        ConnectionState::Connected | ConnectionState::Disconnected => return Ok(()),
        // The guide's table and the API text disagree on updates in this state; its documented way out is the same
        // in both: disconnect first.
        ConnectionState::Failed(_) => "disconnect it first, then ask again with the option to connect",
        ConnectionState::Connecting | ConnectionState::Disconnecting => "wait until it is CONNECTED or DISCONNECTED",
        ConnectionState::Unrecognized(_) => "this version does not know the state and must not act on it",
    };
    Err(PlanRefused::State { state: store.state.clone(), remedy })
}

pub(super) fn rollback(
    store: &KeyStore,
    change: &Change,
    former: Option<&CredentialRef>,
    former_password: bool,
) -> Rollback {
    let impossible = |why: &str| Rollback::Impossible { why: why.to_owned() };
    let mut restore = Change { name: change.name.as_ref().map(|_| store.name.clone()), ..Change::default() };
    match &store.configuration {
        Configuration::Xks(xks) => {
            restore.endpoint = change.endpoint.as_ref().map(|_| xks.endpoint.clone());
            restore.path = change.path.as_ref().map(|_| xks.path.clone());
            restore.connectivity = change.connectivity.map(|_| xks.connectivity.kind());
            if let Connectivity::VpcEndpointService { name, owner } = &xks.connectivity {
                if change.service_name.is_some() || change.connectivity.is_some() {
                    restore.service_name = Some(name.clone());
                }
                if change.service_owner.is_some() || change.connectivity.is_some() {
                    restore.service_owner.clone_from(owner);
                    // KMS keeps an owner that a request leaves out, and has no way to take one back.
                    if owner.is_none() && change.service_owner.is_some() {
                        return impossible(
                            "XksProxyVpcEndpointServiceOwner was not set and KMS cannot unset it; set it to the \
                             present owner first",
                        );
                    }
                }
            }
            if change.credential.is_some() {
                let Some(former) = former else {
                    return impossible(
                        "the former XksProxyAuthenticationCredential is not held and KMS never returns it; configure \
                         it, or give it with the request",
                    );
                };
                // KMS never shows secrets: what is to be restored may not be what is about to be put in its place.
                if change.credential.as_ref().is_some_and(|new| new.fingerprint == former.fingerprint) {
                    return impossible(
                        "the XksProxyAuthenticationCredential that is held for the way back is the new one, so nothing \
                         tells which KMS has now; leave it out if it does not change, or give the former one with the \
                         request",
                    );
                }
                restore.credential = Some(former.clone());
            }
        }
        Configuration::CloudHsm(hsm) => {
            if change.password && !former_password {
                return impossible(
                    "the former KeyStorePassword is not known: KMS changes it at every connect; set one for kmsuser \
                     in the present cluster and give it with the request",
                );
            }
            restore.password = change.password;
            restore.cluster = change.cluster.as_ref().map(|_| hsm.cluster.clone());
        }
        Configuration::Unrecognized { .. } => return impossible("the former settings cannot be understood"),
    }
    Rollback::Restore(restore)
}
