//! What DescribeCustomKeyStores tells of a key store.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    AccessKeyId, AccountId, CertificateIdentity, CloudHsmClusterId, ConnectionState, CustomKeyStoreId,
    CustomKeyStoreName, Invalid, VpcEndpointServiceName, XksProxyUriEndpoint, XksProxyUriPath,
};
use crate::clock::Timestamp;

/// A custom key store as KMS describes it (CustomKeyStoresListEntry).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyStore {
    /// `CustomKeyStoreId`.
    pub id: CustomKeyStoreId,
    /// `CustomKeyStoreName`.
    pub name: CustomKeyStoreName,
    /// `CreationDate`.
    pub created: Option<Timestamp>,
    /// `ConnectionState` with its error code.
    pub state: ConnectionState,
    /// The settings, which depend on the type.
    pub configuration: Configuration,
}

impl KeyStore {
    /// The settings of an external key store, if it is one.
    pub fn xks(&self) -> Option<&XksConfiguration> {
        match &self.configuration {
            Configuration::Xks(xks) => Some(xks),
            Configuration::CloudHsm(_) | Configuration::Unrecognized { .. } => None,
        }
    }
}

/// The settings of a key store, by `CustomKeyStoreType`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Configuration {
    /// `EXTERNAL_KEY_STORE`.
    Xks(XksConfiguration),
    /// `AWS_CLOUDHSM`.
    CloudHsm(CloudHsmConfiguration),
    /// A type, or a setting, that this program does not understand: never safe to act on.
    Unrecognized {
        /// What could not be understood.
        why: String,
    },
}

impl Configuration {
    /// AWS's word for the type.
    pub fn store_type(&self) -> &'static str {
        match self {
            Self::Xks(_) => "EXTERNAL_KEY_STORE",
            Self::CloudHsm(_) => "AWS_CLOUDHSM",
            Self::Unrecognized { .. } => "unrecognized",
        }
    }
}

/// `XksProxyConfiguration`: everything but the secret, which KMS never returns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct XksConfiguration {
    /// `UriEndpoint`.
    pub endpoint: XksProxyUriEndpoint,
    /// `UriPath`.
    pub path: XksProxyUriPath,
    /// `AccessKeyId`.
    pub access_key_id: AccessKeyId,
    /// `Connectivity` with the members that belong to it.
    pub connectivity: Connectivity,
}

/// The settings of an `AWS_CLOUDHSM` store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudHsmConfiguration {
    /// `CloudHsmClusterId`.
    pub cluster: CloudHsmClusterId,
    /// `TrustAnchorCertificate`: of the authority that issued the cluster's certificate. Never changes. Absent when it
    /// cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_anchor: Option<CertificateIdentity>,
}

/// AWS's optional members made one value: a service exists exactly for VPC connectivity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Connectivity {
    /// KMS reaches the proxy over the internet.
    PublicEndpoint,
    /// KMS reaches the proxy through AWS PrivateLink.
    VpcEndpointService {
        /// `XksProxyVpcEndpointServiceName`.
        name: VpcEndpointServiceName,
        /// `XksProxyVpcEndpointServiceOwner`; absent means the key store's own account.
        owner: Option<AccountId>,
    },
}

impl Connectivity {
    /// The value of `XksProxyConnectivity`.
    pub fn kind(&self) -> ConnectivityKind {
        match self {
            Self::PublicEndpoint => ConnectivityKind::PublicEndpoint,
            Self::VpcEndpointService { .. } => ConnectivityKind::VpcEndpointService,
        }
    }
}

/// `XksProxyConnectivity` alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ConnectivityKind {
    /// `PUBLIC_ENDPOINT`.
    PublicEndpoint,
    /// `VPC_ENDPOINT_SERVICE`.
    VpcEndpointService,
}

impl ConnectivityKind {
    /// Reads AWS's word.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "PUBLIC_ENDPOINT" => Ok(Self::PublicEndpoint),
            "VPC_ENDPOINT_SERVICE" => Ok(Self::VpcEndpointService),
            _ => {
                Err(Invalid { member: "XksProxyConnectivity", rule: "must be PUBLIC_ENDPOINT or VPC_ENDPOINT_SERVICE" })
            }
        }
    }

    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PublicEndpoint => "PUBLIC_ENDPOINT",
            Self::VpcEndpointService => "VPC_ENDPOINT_SERVICE",
        }
    }
}

impl fmt::Display for ConnectivityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
