//! The custom key store as AWS describes it: newtypes that cannot be wrong.
//!
//! KMS's regular expressions are looser than its rules. What a newtype's `parse` refuses, KMS refuses with
//! ValidationException before it looks at anything; what passes here may still not work (an endpoint may be an IP
//! literal, a path may name a version that does not exist). That second level is judged by the checks of stage
//! `input`, so that it can be reported instead of merely refused.

mod candidate_name;
mod certificate;
mod change;
mod configuration;
mod connection;
mod console_file;
mod credential;
mod credential_document;
mod exception;
mod kms_key;
mod name;
mod place;
mod proxy_uri;

pub use candidate_name::CandidateName;
pub use certificate::CertificateIdentity;
pub use change::{Change, Member};
pub use configuration::{
    CloudHsmConfiguration, Configuration, Connectivity, ConnectivityKind, KeyStore, XksConfiguration,
};
pub use connection::{ConnectionErrorCode, ConnectionState};
pub use console_file::{ConsoleFile, InvalidConsoleFile};
pub use credential::{
    AccessKeyId, CredentialRef, CredentialSource, Fingerprint, KeyStorePassword, ProxyCredential, RawSecretAccessKey,
};
pub use credential_document::{CredentialDocument, HalfNames, InvalidCredentialDocument};
pub use exception::{KmsException, KmsOutcome};
pub use kms_key::KmsKey;
pub use name::{
    AccountId, CloudHsmClusterId, CustomKeyStoreId, CustomKeyStoreName, ExternalKeyId, Region, VpcEndpointServiceName,
};
pub use place::{AccountName, Place};
pub use proxy_uri::{XksProxyUriEndpoint, XksProxyUriPath};

/// A value that KMS would refuse with ValidationException: the member and the rule, never the value itself, because
/// some values are secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{member} {rule}")]
pub struct Invalid {
    /// The member as AWS names it.
    pub member: &'static str,
    /// The rule in words, to follow the member's name.
    pub rule: &'static str,
}

/// Declares a newtype over text with private contents, `parse`, `as_str`, `Display` in the wire form, and serde by
/// the same `parse`.
macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident, $member:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Accepts exactly what KMS accepts; the error names the member and the rule.
            pub fn parse(text: &str) -> Result<Self, $crate::key_store::Invalid> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err($crate::key_store::Invalid { member: $member, rule: $rule })
                }
            }

            /// The wire form.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}
use text_newtype;
