//! What UpdateCustomKeyStore can be asked to change, without any secret in it.

use serde::{Deserialize, Serialize};

use super::{
    AccountId, CloudHsmClusterId, Configuration, ConnectivityKind, CredentialRef, CustomKeyStoreName, KeyStore,
    VpcEndpointServiceName, XksProxyUriEndpoint, XksProxyUriPath,
};

/// The members of an UpdateCustomKeyStore request; absent means unchanged. Secrets are held by reference, so that a
/// change can be journalled, digested and shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// `NewCustomKeyStoreName`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<CustomKeyStoreName>,
    /// `XksProxyUriEndpoint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<XksProxyUriEndpoint>,
    /// `XksProxyUriPath`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<XksProxyUriPath>,
    /// `XksProxyConnectivity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connectivity: Option<ConnectivityKind>,
    /// `XksProxyVpcEndpointServiceName`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_name: Option<VpcEndpointServiceName>,
    /// `XksProxyVpcEndpointServiceOwner`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_owner: Option<AccountId>,
    /// `XksProxyAuthenticationCredential`, both halves by reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<CredentialRef>,
    /// `CloudHsmClusterId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<CloudHsmClusterId>,
    /// Whether `KeyStorePassword` is part of the change; its value is sealed beside the change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub password: bool,
}

/// A member of [`Change`], by AWS's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Member {
    /// `NewCustomKeyStoreName`
    Name,
    /// `XksProxyUriEndpoint`
    Endpoint,
    /// `XksProxyUriPath`
    Path,
    /// `XksProxyConnectivity`
    Connectivity,
    /// `XksProxyVpcEndpointServiceName`
    ServiceName,
    /// `XksProxyVpcEndpointServiceOwner`
    ServiceOwner,
    /// `XksProxyAuthenticationCredential`
    Credential,
    /// `CloudHsmClusterId`
    Cluster,
    /// `KeyStorePassword`
    Password,
}

impl Member {
    /// AWS's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Name => "NewCustomKeyStoreName",
            Self::Endpoint => "XksProxyUriEndpoint",
            Self::Path => "XksProxyUriPath",
            Self::Connectivity => "XksProxyConnectivity",
            Self::ServiceName => "XksProxyVpcEndpointServiceName",
            Self::ServiceOwner => "XksProxyVpcEndpointServiceOwner",
            Self::Credential => "XksProxyAuthenticationCredential",
            Self::Cluster => "CloudHsmClusterId",
            Self::Password => "KeyStorePassword",
        }
    }

    /// Whether KMS accepts this member only while the store is DISCONNECTED (UpdateCustomKeyStore, parameters). The
    /// name of a CloudHSM store is disputed between AWS's sources; the newest API text allows it while CONNECTED.
    pub fn needs_disconnect(self) -> bool {
        !matches!(self, Self::Name | Self::Path | Self::Credential)
    }
}

impl Change {
    /// The members present, in AWS's order.
    pub fn members(&self) -> Vec<Member> {
        [
            (Member::Name, self.name.is_some()),
            (Member::Endpoint, self.endpoint.is_some()),
            (Member::Path, self.path.is_some()),
            (Member::Connectivity, self.connectivity.is_some()),
            (Member::ServiceName, self.service_name.is_some()),
            (Member::ServiceOwner, self.service_owner.is_some()),
            (Member::Credential, self.credential.is_some()),
            (Member::Cluster, self.cluster.is_some()),
            (Member::Password, self.password),
        ]
        .into_iter()
        .filter_map(|(member, present)| present.then_some(member))
        .collect()
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.members().is_empty()
    }

    /// The members that KMS accepts only while the store is DISCONNECTED.
    pub fn cold_members(&self) -> Vec<Member> {
        self.members().into_iter().filter(|member| member.needs_disconnect()).collect()
    }

    /// The members whose present value differs from what is asked. A credential counts as different when its access
    /// key id does or, as KMS shows no secret, whenever it is given at all; so does a password.
    pub fn differences(&self, store: &KeyStore) -> Vec<Member> {
        self.members().into_iter().filter(|member| !self.is_satisfied(*member, store)).collect()
    }

    /// Whether DescribeCustomKeyStores shows the asked value of every member it can show: all but the secret half of
    /// a credential and the password.
    pub fn is_visible_in(&self, store: &KeyStore) -> bool {
        let access_key_id_shown = self
            .credential
            .as_ref()
            .is_none_or(|credential| store.xks().is_some_and(|xks| xks.access_key_id == credential.access_key_id));
        access_key_id_shown
            && self.differences(store).iter().all(|member| matches!(member, Member::Credential | Member::Password))
    }

    fn is_satisfied(&self, member: Member, store: &KeyStore) -> bool {
        if member == Member::Name {
            return self.name.as_ref() == Some(&store.name);
        }
        match &store.configuration {
            Configuration::Xks(xks) => {
                let (name, owner) = match &xks.connectivity {
                    super::Connectivity::PublicEndpoint => (None, None),
                    super::Connectivity::VpcEndpointService { name, owner } => (Some(name), owner.as_ref()),
                };
                match member {
                    Member::Endpoint => self.endpoint.as_ref() == Some(&xks.endpoint),
                    Member::Path => self.path.as_ref() == Some(&xks.path),
                    Member::Connectivity => self.connectivity == Some(xks.connectivity.kind()),
                    Member::ServiceName => self.service_name.as_ref() == name,
                    Member::ServiceOwner => self.service_owner.as_ref() == owner,
                    Member::Name | Member::Credential | Member::Cluster | Member::Password => false,
                }
            }
            Configuration::CloudHsm(hsm) => member == Member::Cluster && self.cluster.as_ref() == Some(&hsm.cluster),
            Configuration::Unrecognized { .. } => false,
        }
    }
}
