//! The connection state of a custom key store.

use std::fmt;

use serde::{Deserialize, Serialize};

/// `ConnectionState`, with the error code where it can exist: only while FAILED.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ConnectionState {
    /// A connect once succeeded and nobody disconnected it; says nothing about present health.
    Connected,
    /// A connect is under way: about 5 minutes for an external key store, up to 20 for CloudHSM.
    Connecting,
    /// A connect attempt failed; the only way out is to disconnect.
    Failed(ConnectionErrorCode),
    /// Never connected, or deliberately disconnected.
    Disconnected,
    /// A disconnect is under way.
    Disconnecting,
    /// A state that AWS added after this program was written: never safe to act on.
    Unrecognized(String),
}

impl ConnectionState {
    /// The states AWS documents, as label values.
    pub const NAMES: [&'static str; 5] = ["CONNECTED", "CONNECTING", "DISCONNECTED", "DISCONNECTING", "FAILED"];

    /// AWS's word for the state.
    pub fn name(&self) -> &str {
        match self {
            Self::Connected => "CONNECTED",
            Self::Connecting => "CONNECTING",
            Self::Failed(_) => "FAILED",
            Self::Disconnected => "DISCONNECTED",
            Self::Disconnecting => "DISCONNECTING",
            Self::Unrecognized(name) => name,
        }
    }
}

impl fmt::Display for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(code) => write!(f, "FAILED ({code})"),
            other => f.write_str(other.name()),
        }
    }
}

macro_rules! connection_error_codes {
    ($($variant:ident => $wire:literal, $meaning:literal;)+) => {
        /// `ConnectionErrorCode`: why a connect failed (KMS API, CustomKeyStoresListEntry).
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum ConnectionErrorCode {
            $(#[doc = $meaning] $variant,)+
            /// A code that AWS added after this program was written.
            Unrecognized(String),
        }

        impl ConnectionErrorCode {
            /// Every code AWS documents.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Reads AWS's word; an unknown one is kept.
            pub fn from_wire(text: &str) -> Self {
                match text {
                    $($wire => Self::$variant,)+
                    other => Self::Unrecognized(other.to_owned()),
                }
            }

            /// AWS's word.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $wire,)+
                    Self::Unrecognized(text) => text,
                }
            }

            /// What it means and what to do, in words.
            pub fn meaning(&self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning,)+
                    Self::Unrecognized(_) => "not known to this version; see the KMS API reference",
                }
            }
        }
    };
}

connection_error_codes! {
    ClusterNotFound => "CLUSTER_NOT_FOUND", "the CloudHSM cluster is gone: restore it from a backup and update the cluster id";
    InsufficientCloudHsmHsms => "INSUFFICIENT_CLOUDHSM_HSMS", "the cluster has no active HSM: add one";
    InsufficientFreeAddressesInSubnet => "INSUFFICIENT_FREE_ADDRESSES_IN_SUBNET", "a private subnet of the cluster has no free address";
    InternalError => "INTERNAL_ERROR", "KMS failed internally: disconnect and connect again";
    InvalidCredentials => "INVALID_CREDENTIALS", "the credential was refused: give the right one; of an external key store look also for a middlebox that rewrites signed headers, of a CloudHSM key store set kmsuser's password";
    NetworkErrors => "NETWORK_ERRORS", "the network between KMS and the backing store failed: disconnect, wait some minutes, connect";
    SubnetNotFound => "SUBNET_NOT_FOUND", "a subnet of the cluster is gone: make a new cluster from a backup and update the cluster id";
    UserLockedOut => "USER_LOCKED_OUT", "kmsuser is locked out after wrong passwords: change its password and update it";
    UserLoggedIn => "USER_LOGGED_IN", "kmsuser is logged in elsewhere: log it out";
    UserNotFound => "USER_NOT_FOUND", "kmsuser does not exist on every HSM: create it and update the password";
    XksProxyAccessDenied => "XKS_PROXY_ACCESS_DENIED", "the proxy's own authorisation refused KMS: allow it there";
    XksProxyInvalidConfiguration => "XKS_PROXY_INVALID_CONFIGURATION", "the proxy is not configured for this path: check XksProxyUriPath";
    XksProxyInvalidResponse => "XKS_PROXY_INVALID_RESPONSE", "the proxy's answer cannot be understood: ask its vendor";
    XksProxyInvalidTlsConfiguration => "XKS_PROXY_INVALID_TLS_CONFIGURATION", "TLS version, certificate dates, name or issuer are not acceptable";
    XksProxyNotReachable => "XKS_PROXY_NOT_REACHABLE", "KMS cannot reach the proxy, or every key manager behind it is unavailable";
    XksProxyTimedOut => "XKS_PROXY_TIMED_OUT", "the proxy's answer comes later than KMS waits";
    XksVpcEndpointServiceInvalidConfiguration => "XKS_VPC_ENDPOINT_SERVICE_INVALID_CONFIGURATION", "the VPC endpoint service violates a requirement for external key stores";
    XksVpcEndpointServiceNotFound => "XKS_VPC_ENDPOINT_SERVICE_NOT_FOUND", "the VPC endpoint service is not found, or KMS is not among its allowed principals";
}

impl fmt::Display for ConnectionErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ConnectionErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ConnectionErrorCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from_wire(&String::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip() {
        assert_eq!(ConnectionErrorCode::ALL.len(), 18);
        for code in ConnectionErrorCode::ALL {
            assert_eq!(&ConnectionErrorCode::from_wire(code.as_str()), code);
        }
        assert_eq!(ConnectionErrorCode::from_wire("NEW").as_str(), "NEW");
    }

    #[test]
    fn states_round_trip_through_the_journal() {
        for state in [
            ConnectionState::Connected,
            ConnectionState::Failed(ConnectionErrorCode::XksProxyTimedOut),
            ConnectionState::Unrecognized("NEW".into()),
        ] {
            let json = serde_json::to_string(&state).unwrap();
            assert_eq!(serde_json::from_str::<ConnectionState>(&json).unwrap(), state);
        }
    }
}
