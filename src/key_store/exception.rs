//! What KMS raises, in its own words.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ConnectionErrorCode;

macro_rules! kms_exceptions {
    ($($variant:ident => $wire:literal, $meaning:literal;)+) => {
        /// An exception of the custom-key-store operations (KMS API; the last five are not modelled for them but any
        /// KMS call can raise them).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum KmsException {
            $(#[doc = $meaning] $variant,)+
        }

        impl KmsException {
            /// Every exception.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// AWS's word, as in the error body's `__type`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $wire,)+
                }
            }

            /// Reads AWS's word.
            pub fn from_wire(text: &str) -> Option<Self> {
                match text {
                    $($wire => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

kms_exceptions! {
    CloudHsmClusterInUse => "CloudHsmClusterInUseException", "another key store uses the cluster";
    CloudHsmClusterInvalidConfiguration => "CloudHsmClusterInvalidConfigurationException", "the cluster violates a requirement";
    CloudHsmClusterNotActive => "CloudHsmClusterNotActiveException", "the cluster is not active";
    CloudHsmClusterNotFound => "CloudHsmClusterNotFoundException", "no such cluster";
    CloudHsmClusterNotRelated => "CloudHsmClusterNotRelatedException", "the cluster does not share the backup history";
    CustomKeyStoreInvalidState => "CustomKeyStoreInvalidStateException", "the connection state does not permit this";
    CustomKeyStoreNameInUse => "CustomKeyStoreNameInUseException", "another key store has this name";
    CustomKeyStoreNotFound => "CustomKeyStoreNotFoundException", "no such key store in this account and Region";
    KmsInternal => "KMSInternalException", "KMS failed internally";
    XksProxyIncorrectAuthenticationCredential => "XksProxyIncorrectAuthenticationCredentialException", "the proxy refused the credential";
    XksProxyInvalidConfiguration => "XksProxyInvalidConfigurationException", "the proxy is not configured as it must be";
    XksProxyInvalidResponse => "XksProxyInvalidResponseException", "the proxy's answer cannot be understood";
    XksProxyUriEndpointInUse => "XksProxyUriEndpointInUseException", "another key store uses the endpoint in a way that excludes this one";
    XksProxyUriInUse => "XksProxyUriInUseException", "another key store has this endpoint and path";
    XksProxyUriUnreachable => "XksProxyUriUnreachableException", "KMS cannot reach the proxy";
    XksProxyVpcEndpointServiceInUse => "XksProxyVpcEndpointServiceInUseException", "another key store uses the VPC endpoint service";
    XksProxyVpcEndpointServiceInvalidConfiguration => "XksProxyVpcEndpointServiceInvalidConfigurationException", "the VPC endpoint service violates a requirement";
    XksProxyVpcEndpointServiceNotFound => "XksProxyVpcEndpointServiceNotFoundException", "the VPC endpoint service is not found";
    AccessDenied => "AccessDeniedException", "the caller lacks a permission";
    LimitExceeded => "LimitExceededException", "a quota is used up";
    Throttling => "ThrottlingException", "too many requests to KMS";
    UnsupportedOperation => "UnsupportedOperationException", "the operation is not supported";
    Validation => "ValidationException", "a parameter violates its constraints";
}

impl fmt::Display for KmsException {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for KmsException {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for KmsException {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_wire(&text).ok_or_else(|| serde::de::Error::custom("unknown KMS exception"))
    }
}

/// What KMS would make of a fault: on Update, on Connect, and whether it counts the fault as retryable.
///
/// Where AWS's own sources contradict each other, `also` holds the other exception; no source speaks of some
/// combinations at all, which is what `None` means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KmsOutcome {
    /// What CreateCustomKeyStore and UpdateCustomKeyStore raise.
    pub exception: Option<KmsException>,
    /// The other exception that an AWS source names for the same fault.
    pub also: Option<KmsException>,
    /// The code in which ConnectCustomKeyStore ends.
    pub connection_error_code: Option<ConnectionErrorCode>,
    /// Whether KMS counts it as retryable in its metrics (developer guide, monitoring external key stores).
    pub retryable: Option<bool>,
}

impl KmsOutcome {
    /// An exception on Update without a counterpart on Connect.
    pub const fn update(exception: KmsException) -> Self {
        Self { exception: Some(exception), also: None, connection_error_code: None, retryable: None }
    }

    /// An exception on Update and the code on Connect.
    pub const fn of(exception: KmsException, code: ConnectionErrorCode) -> Self {
        Self { exception: Some(exception), also: None, connection_error_code: Some(code), retryable: None }
    }

    /// Adds whether KMS counts it as retryable.
    #[must_use]
    pub const fn retryable(self, retryable: bool) -> Self {
        // Written out because destructors keep `..self` from being const.
        let mut outcome = self;
        outcome.retryable = Some(retryable);
        outcome
    }

    /// Adds the exception that another AWS source names.
    #[must_use]
    pub const fn or(self, also: KmsException) -> Self {
        let mut outcome = self;
        outcome.also = Some(also);
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_round_trip() {
        for exception in KmsException::ALL {
            assert_eq!(KmsException::from_wire(exception.as_str()), Some(*exception));
        }
    }
}
