//! The proxy's refusals and what KMS makes of them (XKS proxy API, Error codes; developer guide, monitoring).

use std::fmt;

use super::document::{Violation, object, parse, string};
use crate::key_store::{ConnectionErrorCode, KmsException, KmsOutcome};

macro_rules! error_names {
    ($($variant:ident => $wire:literal, $status:literal, $retryable:literal, $meaning:literal;)+) => {
        /// `errorName`: the twelve that the specification defines.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorName {
            $(#[doc = $meaning] $variant,)+
        }

        impl ErrorName {
            /// Every name.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The specification's word.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $wire,)+ }
            }

            /// Reads the specification's word.
            pub fn from_wire(text: &str) -> Option<Self> {
                match text { $($wire => Some(Self::$variant),)+ _ => None }
            }

            /// The HTTP status that belongs to it. KMS goes by the name, not by the status.
            pub fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }

            /// Whether KMS counts it as retryable.
            pub fn retryable(self) -> bool {
                match self { $(Self::$variant => $retryable,)+ }
            }

            /// What it means, in words.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }
        }
    };
}

error_names! {
    Validation => "ValidationException", 400, false, "the proxy finds the request malformed";
    InvalidState => "InvalidStateException", 400, false, "the proxy says that the key or the key store is disabled or blocked";
    InvalidCiphertext => "InvalidCiphertextException", 400, false, "the ciphertext or its additional data cannot be authenticated";
    InvalidKeyUsage => "InvalidKeyUsageException", 400, false, "the key may not be used for this";
    AuthenticationFailed => "AuthenticationFailedException", 401, false, "the proxy refuses the signature";
    AccessDenied => "AccessDeniedException", 403, false, "the proxy's own authorisation refuses the caller";
    KeyNotFound => "KeyNotFoundException", 404, false, "the proxy does not know the key";
    InvalidUriPath => "InvalidUriPathException", 404, false, "the proxy does not serve this path";
    Throttling => "ThrottlingException", 429, true, "the proxy refuses the rate of requests";
    Internal => "InternalException", 500, true, "the proxy failed internally";
    UnsupportedOperation => "UnsupportedOperationException", 501, false, "the proxy does not support this";
    DependencyTimeout => "DependencyTimeoutException", 503, true, "the proxy's key manager did not answer it in time";
}

impl ErrorName {
    /// What KMS makes of it when it is the answer to GetHealthStatus. Where no AWS source says, the exception or the
    /// code is absent; where it is inferred from the code's wording, it is the inference.
    pub fn on_health(self) -> KmsOutcome {
        let (exception, code) = match self {
            Self::AuthenticationFailed => (
                Some(KmsException::XksProxyIncorrectAuthenticationCredential),
                Some(ConnectionErrorCode::InvalidCredentials),
            ),
            Self::InvalidUriPath => (
                Some(KmsException::XksProxyInvalidConfiguration),
                Some(ConnectionErrorCode::XksProxyInvalidConfiguration),
            ),
            Self::AccessDenied => (None, Some(ConnectionErrorCode::XksProxyAccessDenied)),
            Self::Throttling => (Some(KmsException::XksProxyUriUnreachable), None),
            Self::DependencyTimeout => {
                (Some(KmsException::XksProxyUriUnreachable), Some(ConnectionErrorCode::XksProxyTimedOut))
            }
            Self::Internal => (Some(KmsException::XksProxyInvalidResponse), None),
            Self::Validation | Self::KeyNotFound | Self::InvalidCiphertext | Self::InvalidKeyUsage => {
                (Some(KmsException::XksProxyInvalidResponse), Some(ConnectionErrorCode::XksProxyInvalidResponse))
            }
            Self::InvalidState | Self::UnsupportedOperation => (None, None),
        };
        KmsOutcome { exception, also: None, connection_error_code: code, retryable: Some(self.retryable()) }
    }
}

impl fmt::Display for ErrorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal as it came: `{"errorName": …, "errorMessage": …}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The name, if the specification knows it.
    pub name: Option<ErrorName>,
    /// The name as it came, at most 100 characters.
    pub name_as_sent: String,
    /// `errorMessage`, if present.
    pub message: Option<String>,
}

impl Refusal {
    /// Reads a body; the error says why it is no refusal.
    pub fn parse(body: &[u8]) -> Result<Self, Violation> {
        let document = parse(body)?;
        let map = object(&document)?;
        let name = string(map, "", "errorName")?;
        let message = map.contains_key("errorMessage").then(|| string(map, "", "errorMessage")).transpose()?;
        Ok(Self {
            name: ErrorName::from_wire(name),
            name_as_sent: name.chars().filter(|c| !c.is_control()).take(100).collect(),
            message: message.map(str::to_owned),
        })
    }

    /// What is wrong with the message by the specification: below 512 printable ASCII characters.
    pub fn message_violation(&self) -> Option<String> {
        let message = self.message.as_ref()?;
        if message.chars().count() >= 512 {
            return Some(format!("has {} characters, the limit is 511", message.chars().count()));
        }
        message.chars().any(|c| !(' '..='~').contains(&c)).then(|| "has characters outside printable ASCII".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        assert_eq!(ErrorName::ALL.len(), 12);
        for name in ErrorName::ALL {
            assert_eq!(ErrorName::from_wire(name.as_str()), Some(*name));
            assert_eq!(name.on_health().retryable, Some(name.retryable()));
        }
    }

    #[test]
    fn refusals_are_read_and_their_messages_judged() {
        let refusal = Refusal::parse(br#"{"errorName":"ThrottlingException","errorMessage":"slow down"}"#).unwrap();
        assert_eq!((refusal.name, refusal.message_violation()), (Some(ErrorName::Throttling), None));
        let long = format!(r#"{{"errorName":"Odd","errorMessage":"{}"}}"#, "x".repeat(512));
        let refusal = Refusal::parse(long.as_bytes()).unwrap();
        assert_eq!(refusal.name, None);
        assert!(refusal.message_violation().is_some());
        assert!(Refusal::parse(b"{}").is_err());
    }
}
