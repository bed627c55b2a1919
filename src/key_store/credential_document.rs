//! A proxy's credential as a secrets manager or a program hands it over: the file of the KMS console, or a JSON object with
//! both halves.
//!
//! Only the members that are needed are looked at in the second form: people keep more than one thing in a secret. Errors
//! name the member and the rule and never hold a value.

use super::console_file::{Node, Reading};
use super::{
    AccessKeyId, ConsoleFile, Invalid, InvalidConsoleFile, ProxyCredential, RawSecretAccessKey, XksProxyUriPath,
};

/// By which members of a JSON object the halves go, where it is not the console's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HalfNames {
    /// Of the access key id.
    pub access_key_id: String,
    /// Of the secret.
    pub secret: String,
}

impl Default for HalfNames {
    fn default() -> Self {
        Self { access_key_id: "AccessKeyId".to_owned(), secret: "RawSecretAccessKey".to_owned() }
    }
}

/// What a secrets manager or a program hands over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialDocument {
    /// Both halves.
    pub credential: ProxyCredential,
    /// `XksProxyUriPath`, in the console's file.
    pub path: Option<XksProxyUriPath>,
}

/// Why it is no credential; no variant holds a value of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCredentialDocument {
    /// As the console's file, which it is, or not even JSON.
    #[error(transparent)]
    Console(#[from] InvalidConsoleFile),
    /// A member that it must have.
    #[error(
        "{member} is missing: it must be the file of the KMS console, or a JSON object with {access_key_id} and {secret}"
    )]
    Missing {
        /// The member.
        member: String,
        /// By which member the access key id goes.
        access_key_id: String,
        /// By which member the secret goes.
        secret: String,
    },
    /// A member that is there and no text.
    #[error("{member} must be a string")]
    NotText {
        /// The member.
        member: String,
    },
    /// KMS would refuse the value.
    #[error("{member} {}", invalid.rule)]
    Refused {
        /// The member.
        member: String,
        /// The rule.
        invalid: Invalid,
    },
}

impl CredentialDocument {
    /// Reads the whole document.
    pub fn parse(bytes: &[u8], names: &HalfNames) -> Result<Self, InvalidCredentialDocument> {
        let reading = Reading::of(bytes)?;
        if reading.has("XksProxyAuthenticationCredential") {
            let ConsoleFile { path, credential } = ConsoleFile::parse(bytes)?;
            return Ok(Self { credential, path: Some(path) });
        }
        let text = |member: &str| match reading.get(member) {
            Some(Node::Text(text)) => Ok(text.clone()),
            Some(_) => Err(InvalidCredentialDocument::NotText { member: member.to_owned() }),
            None => Err(InvalidCredentialDocument::Missing {
                member: member.to_owned(),
                access_key_id: names.access_key_id.clone(),
                secret: names.secret.clone(),
            }),
        };
        let refused = |member: &str| {
            let member = member.to_owned();
            move |invalid| InvalidCredentialDocument::Refused { member, invalid }
        };
        let access_key_id = AccessKeyId::parse(&text(&names.access_key_id)?).map_err(refused(&names.access_key_id))?;
        let secret_access_key = RawSecretAccessKey::parse(&text(&names.secret)?).map_err(refused(&names.secret))?;
        Ok(Self { credential: ProxyCredential { access_key_id, secret_access_key }, path: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "AKIAI2SFODNN7EXAMPLE";
    const KEY: &str = "TestSecretDoNotLeak0123456789012345678901234567";

    fn parse(text: &str) -> Result<CredentialDocument, String> {
        CredentialDocument::parse(text.as_bytes(), &HalfNames::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn both_shapes_and_names_of_ones_own() {
        let halves = format!(r#"{{"AccessKeyId": "{ID}", "RawSecretAccessKey": "{KEY}", "note": {{"owner": "ops"}}}}"#);
        let read = parse(&halves).unwrap();
        assert_eq!((read.credential.access_key_id.as_str(), read.path), (ID, None));
        assert_eq!(read.credential.secret_access_key.expose(), KEY);
        let console = format!(
            r#"{{"XksProxyUriPath": "/a/kms/xks/v1", "XksProxyAuthenticationCredential": {{"AccessKeyId": "{ID}", "RawSecretAccessKey": "{KEY}"}}}}"#
        );
        assert_eq!(parse(&console).unwrap().path.unwrap().as_str(), "/a/kms/xks/v1");
        let names = HalfNames { access_key_id: "id".into(), secret: "key".into() };
        let own = format!(r#"{{"id": "{ID}", "key": "{KEY}"}}"#);
        assert_eq!(CredentialDocument::parse(own.as_bytes(), &names).unwrap().credential, read.credential);
    }

    #[test]
    fn what_is_missing_is_named_and_nothing_else_is_told() {
        for (text, told) in [
            (format!(r#"{{"RawSecretAccessKey": "{KEY}"}}"#), "AccessKeyId is missing"),
            (format!(r#"{{"AccessKeyId": "{ID}", "secret": "{KEY}"}}"#), "RawSecretAccessKey is missing"),
            (
                format!(r#"{{"AccessKeyId": "{ID}", "RawSecretAccessKey": ["{KEY}"]}}"#),
                "RawSecretAccessKey must be a string",
            ),
            (format!(r#"{{"AccessKeyId": "{KEY}", "RawSecretAccessKey": "{KEY}"}}"#), "AccessKeyId must be 20 to 30"),
            (format!(r#"{{"XksProxyAuthenticationCredential": "{KEY}"}}"#), "XksProxyUriPath is missing"),
            (format!(r#""{KEY}""#), "must be a JSON object"),
            (KEY.to_owned(), "is not JSON"),
            (String::new(), "is not JSON"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(told), "{error}");
            assert!(!error.contains("DoNotLeak"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_input_is_quoted(text in r#"\PC{0,80}|\{"[a-zA-Z]{0,30}": ?"DoNotLeak\PC{0,40}"\}"#) {
            if let Err(error) = parse(&text) {
                prop_assert!(!error.contains("DoNotLeak"));
            }
        }
    }
}
