//! What a change does to a key store: which members really change, what it disrupts, and what the store looks like
//! before, after, or when somebody else has touched it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::key_store::{Change, Configuration, Connectivity, ConnectivityKind, KeyStore, Member};

/// Whether KMS keys become unavailable during the change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disruption {
    /// KMS accepts every member in the store's present state.
    InPlace,
    /// The store must be disconnected first: every KMS key in it is unavailable for about ten minutes, or
    /// up to 25 in a CloudHSM key store.
    Disconnect {
        /// The members that KMS accepts only while DISCONNECTED, by AWS's names.
        because: Vec<String>,
    },
}

/// What `change` disrupts, by the members that KMS accepts only while DISCONNECTED (UpdateCustomKeyStore, parameters).
pub fn disruption(change: &Change) -> Disruption {
    let cold = change.cold_members();
    if cold.is_empty() {
        Disruption::InPlace
    } else {
        Disruption::Disconnect { because: cold.into_iter().map(|member| member.as_str().to_owned()).collect() }
    }
}

/// Whose settings a key store shows. A change of a secret alone shows as both [`Standing::New`] and former.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// What the plan found.
    Former,
    /// What the plan wants.
    New,
    /// Former and new settings look the same: only a secret changes.
    Indistinguishable,
    /// Neither: somebody else changed the key store.
    Foreign,
}

impl Standing {
    /// Compares what is found with both sides of a plan.
    pub(super) fn of(found: &KeyStore, former: &KeyStore, new: &KeyStore) -> Self {
        match (same_settings(found, former), same_settings(found, new)) {
            (true, true) => Self::Indistinguishable,
            (true, false) => Self::Former,
            (false, true) => Self::New,
            (false, false) => Self::Foreign,
        }
    }

    /// Whether the new settings are shown, or nothing speaks against it.
    pub fn shows_new(self) -> bool {
        matches!(self, Self::New | Self::Indistinguishable)
    }

    /// Whether the former settings are shown, or nothing speaks against it.
    pub fn shows_former(self) -> bool {
        matches!(self, Self::Former | Self::Indistinguishable)
    }
}

/// Whether `found` shows the name and settings of `believed`.
pub(super) fn same_settings(found: &KeyStore, believed: &KeyStore) -> bool {
    found.id == believed.id && unlike(found, believed).is_empty()
}

/// A member of DescribeCustomKeyStores that is not as it was believed. KMS shows no secrets, so none is in here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// The member, by AWS's name.
    pub member: &'static str,
    /// What the plan was made for.
    pub expected: String,
    /// What KMS shows.
    pub found: String,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, found {}", self.member, self.expected, self.found)
    }
}

/// What has become different since the plan was made, member by member, the connection state included.
pub(super) fn drift(found: &KeyStore, believed: &KeyStore) -> Vec<Drift> {
    let mut drifted = unlike(found, believed);
    if found.state != believed.state {
        let (expected, found) = (believed.state.to_string(), found.state.to_string());
        drifted.push(Drift { member: "ConnectionState", expected, found });
    }
    drifted
}

/// The name and settings in which `found` is not `believed`. Host names are compared without regard to case, and an
/// owner that was not named may be anything: AWS does not say whether KMS fills it in.
fn unlike(found: &KeyStore, believed: &KeyStore) -> Vec<Drift> {
    let mut unlike = Vec::new();
    let mut compare = |member, same: bool, expected: &dyn fmt::Display, found: &dyn fmt::Display| {
        if !same {
            unlike.push(Drift { member, expected: expected.to_string(), found: found.to_string() });
        }
    };
    compare("CustomKeyStoreName", found.name == believed.name, &believed.name, &found.name);
    match (&found.configuration, &believed.configuration) {
        (Configuration::Xks(found), Configuration::Xks(believed)) => {
            let same_host = found.endpoint.as_str().eq_ignore_ascii_case(believed.endpoint.as_str());
            compare("UriEndpoint", same_host, &believed.endpoint, &found.endpoint);
            compare("UriPath", found.path == believed.path, &believed.path, &found.path);
            let same_id = found.access_key_id == believed.access_key_id;
            compare("AccessKeyId", same_id, &believed.access_key_id, &found.access_key_id);
            let kinds = (believed.connectivity.kind(), found.connectivity.kind());
            compare("Connectivity", kinds.0 == kinds.1, &kinds.0.as_str(), &kinds.1.as_str());
            if let (
                Connectivity::VpcEndpointService { name, owner },
                Connectivity::VpcEndpointService { name: believed_name, owner: believed_owner },
            ) = (&found.connectivity, &believed.connectivity)
            {
                compare("VpcEndpointServiceName", name == believed_name, believed_name, name);
                let same_owner = believed_owner.is_none() || owner == believed_owner;
                let [expected, found] =
                    [believed_owner, owner].map(|owner| owner.as_ref().map_or("none".to_owned(), ToString::to_string));
                compare("VpcEndpointServiceOwner", same_owner, &expected, &found);
            }
        }
        (Configuration::CloudHsm(found), Configuration::CloudHsm(believed)) => {
            compare("CloudHsmClusterId", found.cluster == believed.cluster, &believed.cluster, &found.cluster);
        }
        (Configuration::Unrecognized { why }, _) => {
            compare(
                "CustomKeyStoreType",
                false,
                &believed.configuration.store_type(),
                &format!("not understood ({why})"),
            );
        }
        (found, believed) => compare("CustomKeyStoreType", false, &believed.store_type(), &found.store_type()),
    }
    unlike
}

/// `change` without the members that already have the asked value: they would only force a disconnect. What must
/// travel with a change of connectivity stays.
pub(super) fn effective(change: &Change, store: &KeyStore) -> Change {
    let differ = change.differences(store);
    let reconnects = differ.contains(&Member::Connectivity);
    let keep = |member: Member| {
        differ.contains(&member)
            || (reconnects && matches!(member, Member::Endpoint | Member::ServiceName | Member::ServiceOwner))
    };
    Change {
        name: change.name.clone().filter(|_| keep(Member::Name)),
        endpoint: change.endpoint.clone().filter(|_| keep(Member::Endpoint)),
        path: change.path.clone().filter(|_| keep(Member::Path)),
        connectivity: change.connectivity.filter(|_| keep(Member::Connectivity)),
        service_name: change.service_name.clone().filter(|_| keep(Member::ServiceName)),
        service_owner: change.service_owner.clone().filter(|_| keep(Member::ServiceOwner)),
        credential: change.credential.clone(),
        cluster: change.cluster.clone().filter(|_| keep(Member::Cluster)),
        password: change.password,
    }
}

/// The key store as KMS will show it once `change` is in force; its connection state is left as it is. `None` when
/// the members do not fit the store, which a plan refuses with better words.
pub fn changed(store: &KeyStore, change: &Change) -> Option<KeyStore> {
    let mut new = store.clone();
    if let Some(name) = &change.name {
        new.name = name.clone();
    }
    match &mut new.configuration {
        Configuration::Xks(xks) => {
            if let Some(endpoint) = &change.endpoint {
                xks.endpoint = endpoint.clone();
            }
            if let Some(path) = &change.path {
                xks.path = path.clone();
            }
            if let Some(credential) = &change.credential {
                xks.access_key_id = credential.access_key_id.clone();
            }
            let (name, owner) = match &xks.connectivity {
                Connectivity::PublicEndpoint => (None, None),
                Connectivity::VpcEndpointService { name, owner } => (Some(name.clone()), owner.clone()),
            };
            xks.connectivity = match change.connectivity.unwrap_or_else(|| xks.connectivity.kind()) {
                ConnectivityKind::PublicEndpoint => Connectivity::PublicEndpoint,
                ConnectivityKind::VpcEndpointService => Connectivity::VpcEndpointService {
                    name: change.service_name.clone().or(name)?,
                    owner: change.service_owner.clone().or(owner),
                },
            };
        }
        Configuration::CloudHsm(hsm) => {
            if let Some(cluster) = &change.cluster {
                hsm.cluster = cluster.clone();
            }
        }
        Configuration::Unrecognized { .. } => return None,
    }
    Some(new)
}

/// Whether `change` holds something that KMS never shows: a secret, or a password.
pub(super) fn holds_secret(change: &Change) -> bool {
    change.credential.is_some() || change.password
}
