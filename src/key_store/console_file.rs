//! The proxy configuration file of the KMS console: what a proxy's owner hands over.
//!
//! The console takes this JSON object on create and edit; the KMS API never does (aws-kms developer guide, "Create an
//! external key store"; XKS proxy API, Proxy configuration file). It holds no endpoint and no connectivity:
//!
//! ```json
//! { "XksProxyUriPath": "/prefix/kms/xks/v1",
//!   "XksProxyAuthenticationCredential": { "AccessKeyId": "…", "RawSecretAccessKey": "…" } }
//! ```
//!
//! It is read strictly, because a member that is silently ignored is a setting that someone believed in. Errors name
//! the member and the rule and never hold a value: half of the file is secret.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use super::{AccessKeyId, Invalid, ProxyCredential, RawSecretAccessKey, XksProxyUriPath};

const PATH: &str = "XksProxyUriPath";
const CREDENTIAL: &str = "XksProxyAuthenticationCredential";
const ACCESS_KEY_ID: &str = "XksProxyAuthenticationCredential.AccessKeyId";
const SECRET: &str = "XksProxyAuthenticationCredential.RawSecretAccessKey";

/// The contents of a proxy configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleFile {
    /// `XksProxyUriPath`.
    pub path: XksProxyUriPath,
    /// `XksProxyAuthenticationCredential`.
    pub credential: ProxyCredential,
}

/// Why a proxy configuration file was refused; no variant holds a value of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConsoleFile {
    /// More than [`ConsoleFile::MAX_BYTES`].
    #[error("is larger than {} bytes", ConsoleFile::MAX_BYTES)]
    TooLarge,
    /// Not JSON at all, or something follows the JSON.
    #[error("is not JSON: the mistake is at line {line}, column {column}")]
    NotJson {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// Of the wrong JSON type.
    #[error("{member} must be {expected}")]
    WrongType {
        /// The member as AWS names it, with its parent.
        member: &'static str,
        /// The JSON type that belongs there.
        expected: &'static str,
    },
    /// Absent.
    #[error("{member} is missing")]
    Missing {
        /// The member as AWS names it, with its parent.
        member: &'static str,
    },
    /// Present twice: readers would disagree on which one counts.
    #[error("{member} is there twice")]
    Twice {
        /// The member as AWS names it, with its parent.
        member: &'static str,
    },
    /// Not a member of a proxy configuration file.
    #[error(
        "{member} is not a member of a proxy configuration file: it has XksProxyUriPath and \
             XksProxyAuthenticationCredential with AccessKeyId and RawSecretAccessKey"
    )]
    Unknown {
        /// The name, or its length if it could be a secret.
        member: String,
    },
    /// KMS would refuse the value.
    #[error(transparent)]
    Refused(#[from] Invalid),
}

impl ConsoleFile {
    /// The largest file that is read. A real one has about 200 bytes.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// Reads a whole file. The first mistake is told, in the order of the members above.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidConsoleFile> {
        let Reading(members) = Reading::of(bytes)?;
        let [path, credential] = pick(members, [PATH, CREDENTIAL])?;
        let path = XksProxyUriPath::parse(&text(path, PATH)?)?;
        let Node::Object(members) = credential else {
            return Err(InvalidConsoleFile::WrongType { member: CREDENTIAL, expected: "a JSON object" });
        };
        let [access_key_id, secret] = pick(members, [ACCESS_KEY_ID, SECRET])?;
        let credential = ProxyCredential {
            access_key_id: AccessKeyId::parse(&text(access_key_id, ACCESS_KEY_ID)?)?,
            secret_access_key: RawSecretAccessKey::parse(&text(secret, SECRET)?)?,
        };
        Ok(Self { path, credential })
    }
}

/// The members of a JSON object.
pub(super) struct Reading(Vec<(String, Node)>);

impl Reading {
    pub(super) fn of(bytes: &[u8]) -> Result<Self, InvalidConsoleFile> {
        if bytes.len() > ConsoleFile::MAX_BYTES {
            return Err(InvalidConsoleFile::TooLarge);
        }
        // Editors on Windows put a byte order mark in front; the console takes such files, too.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let node: Node = serde_json::from_slice(bytes)
            .map_err(|error| InvalidConsoleFile::NotJson { line: error.line(), column: error.column() })?;
        match node {
            Node::Object(members) => Ok(Self(members)),
            Node::Text(_) | Node::Other => {
                Err(InvalidConsoleFile::WrongType { member: "the file", expected: "a JSON object" })
            }
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Node> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, node)| node)
    }
}

/// Takes exactly the wanted members, given by their full names, out of an object.
fn pick<const N: usize>(
    members: Vec<(String, Node)>,
    wanted: [&'static str; N],
) -> Result<[Node; N], InvalidConsoleFile> {
    let mut found: [Option<Node>; N] = [const { None }; N];
    for (name, node) in members {
        let at = wanted.iter().position(|full| full.rsplit('.').next() == Some(name.as_str()));
        let Some(slot) = at.and_then(|at| found.get_mut(at)) else {
            return Err(InvalidConsoleFile::Unknown { member: showable(&name) });
        };
        if slot.replace(node).is_some() {
            return Err(InvalidConsoleFile::Twice { member: at.and_then(|at| wanted.get(at)).unwrap_or(&PATH) });
        }
    }
    if let Some(at) = found.iter().position(Option::is_none) {
        return Err(InvalidConsoleFile::Missing { member: wanted.get(at).unwrap_or(&PATH) });
    }
    Ok(found.map(|node| node.unwrap_or(Node::Other)))
}

fn text(node: Node, member: &'static str) -> Result<Zeroizing<String>, InvalidConsoleFile> {
    match node {
        Node::Text(text) => Ok(text),
        Node::Object(_) | Node::Other => Err(InvalidConsoleFile::WrongType { member, expected: "a string" }),
    }
}

/// A name is shown only if it is shorter than any secret and printable.
fn showable(name: &str) -> String {
    if !name.is_empty() && name.len() <= 40 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    {
        name.to_owned()
    } else {
        format!("a name of {} characters", name.chars().count())
    }
}

/// JSON as far as this file needs it. Members keep their order and their repetitions, texts are wiped on drop, and no
/// error can quote a value, as those of derived shapes do.
pub(super) enum Node {
    Text(Zeroizing<String>),
    Object(Vec<(String, Node)>),
    Other,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(Zeroizing::new(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Node, E> {
        Ok(Node::Text(Zeroizing::new(text)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Node::Object(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Node::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "AKIAI2SFODNN7EXAMPLE";
    const KEY: &str = "TestSecretDoNotLeak0123456789012345678901234567";

    fn file(path: &str, credential: &str) -> String {
        format!(r#"{{"XksProxyUriPath": {path}, "XksProxyAuthenticationCredential": {credential}}}"#)
    }

    fn good_credential() -> String {
        format!(r#"{{"AccessKeyId": "{ID}", "RawSecretAccessKey": "{KEY}"}}"#)
    }

    #[test]
    fn the_file_that_the_console_takes() {
        let text = file(r#""/a/kms/xks/v1""#, &good_credential());
        let read = ConsoleFile::parse(text.as_bytes()).unwrap();
        assert_eq!(read.path.as_str(), "/a/kms/xks/v1");
        assert_eq!(read.credential.access_key_id.as_str(), ID);
        assert_eq!(read.credential.secret_access_key.expose(), KEY);
        assert_eq!(ConsoleFile::parse(format!("\u{feff}{text}\n").as_bytes()).unwrap(), read);
    }

    #[test]
    fn every_mistake_is_named_without_a_value() {
        let path = r#""/kms/xks/v1""#;
        let unknown = "is not a member of a proxy configuration file: it has XksProxyUriPath and \
                       XksProxyAuthenticationCredential with AccessKeyId and RawSecretAccessKey";
        let cases: Vec<(String, String)> = vec![
            (String::new(), "is not JSON: the mistake is at line 1, column 0".into()),
            (format!("{{\"{KEY}\""), "is not JSON: the mistake is at line 1, column 50".into()),
            (file(path, &good_credential()) + "x", "is not JSON: the mistake is at line 1, column 185".into()),
            ("[]".into(), "the file must be a JSON object".into()),
            ("{}".into(), "XksProxyUriPath is missing".into()),
            (file("7", &good_credential()), "XksProxyUriPath must be a string".into()),
            (
                file(r#""/kms/xks/""#, &good_credential()),
                "XksProxyUriPath must be [/prefix]/kms/xks/v1, 10 to 128 characters, the prefix of a-z, A-Z, 0-9, \
                 slash, underscore and hyphen"
                    .into(),
            ),
            (file(path, &format!("\"{KEY}\"")), "XksProxyAuthenticationCredential must be a JSON object".into()),
            (
                file(path, &format!(r#"{{"AccessKeyId": "{ID}"}}"#)),
                "XksProxyAuthenticationCredential.RawSecretAccessKey is missing".into(),
            ),
            (
                file(path, &format!(r#"{{"AccessKeyId": "{ID}", "RawSecretAccessKey": ["{KEY}"]}}"#)),
                "XksProxyAuthenticationCredential.RawSecretAccessKey must be a string".into(),
            ),
            (
                file(path, &format!(r#"{{"AccessKeyId": "{KEY}", "RawSecretAccessKey": "{KEY}"}}"#)),
                "XksProxyAuthenticationCredential.AccessKeyId must be 20 to 30 of A-Z and 2-7".into(),
            ),
            (
                file(path, &format!(r#"{{"AccessKeyId": "{ID}", "RawSecretAccessKey": "{KEY}%"}}"#)),
                "XksProxyAuthenticationCredential.RawSecretAccessKey must be 43 to 64 of a-z, A-Z, 0-9, slash, plus \
                 and equals sign"
                    .into(),
            ),
            (
                file(path, &format!(r#"{{"AccessKeyId": "{ID}", "AccessKeyId": "{ID}"}}"#)),
                "XksProxyAuthenticationCredential.AccessKeyId is there twice".into(),
            ),
            (r#"{"XksProxyUriEndpoint": ""}"#.into(), format!("XksProxyUriEndpoint {unknown}")),
            (format!(r#"{{"{KEY}": ""}}"#), format!("a name of 47 characters {unknown}")),
            (" ".repeat(ConsoleFile::MAX_BYTES + 1), "is larger than 65536 bytes".into()),
        ];
        for (text, message) in cases {
            let error = ConsoleFile::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), message, "{text}");
            assert!(!format!("{error:?} {error}").contains("DoNotLeak"), "{error:?}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_not_followed() {
        let text = "[".repeat(30_000);
        assert!(matches!(ConsoleFile::parse(text.as_bytes()), Err(InvalidConsoleFile::NotJson { .. })));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _refused_or_not = ConsoleFile::parse(&bytes);
        }
    }
}
