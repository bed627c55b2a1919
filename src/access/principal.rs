//! Somebody who was recognised, and what they were given.

use std::fmt;

use serde::Serialize;

use super::{Permission, Role, Scope};
use crate::key_store::{CustomKeyStoreId, CustomKeyStoreName};

/// Whether a text may name a principal: letters and digits of any script, ASCII's signs, and spaces inside.
///
/// The two-person rule compares names, and people read them in the trail. So nothing that is not seen is taken (control and
/// format characters, as in `ann` followed by U+200B), nor letters put together from parts, which look like others.
pub fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || c.is_ascii_punctuation() || c == ' ';
    !text.is_empty() && text.trim() == text && text.chars().all(fits)
}

/// By what a principal was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// A bearer token of the configuration.
    Token,
    /// A client's certificate (mutual TLS).
    ClientCertificate,
    /// A signed token of an identity provider (OpenID Connect).
    Oidc,
    /// A credential of the KMS drop-in endpoint, by a signature (SigV4).
    KmsCredential,
    /// Nothing: nobody is configured, and only this machine can call.
    Loopback,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 5] = [Self::Token, Self::ClientCertificate, Self::Oidc, Self::KmsCredential, Self::Loopback];

    /// Its word in answers and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::ClientCertificate => "client_certificate",
            Self::Oidc => "oidc",
            Self::KmsCredential => "kms_credential",
            Self::Loopback => "loopback",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A role within a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The permissions.
    pub role: Role,
    /// On which key stores.
    pub scope: Scope,
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.role, self.scope)
    }
}

/// A key store that something is asked about: its id, and its name if KMS told it.
pub type KeyStoreName<'a> = (&'a CustomKeyStoreId, Option<&'a CustomKeyStoreName>);

/// Somebody who was recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Recorded as the one who asked.
    pub name: String,
    /// By what it was recognised.
    pub how: Method,
    /// What it may do; nothing else.
    pub grants: Vec<Grant>,
}

impl Principal {
    /// Whoever calls while nobody is configured: an operator, as long as no other machine can call. Approving, freezing
    /// and breaking glass need somebody with a name.
    pub fn anonymous() -> Self {
        let grants = vec![Grant { role: Role::Operator, scope: Scope::All }];
        Self { name: "anonymous".to_owned(), how: Method::Loopback, grants }
    }

    /// Whether it may do this on this key store; `None` means what is about no key store in particular or about all of
    /// them, which takes a grant for all.
    pub fn may(&self, permission: Permission, on: Option<KeyStoreName<'_>>) -> Result<(), Forbidden> {
        let covers = |scope: &Scope| match on {
            Some((id, name)) => scope.covers(id, name),
            None => scope.is_all(),
        };
        if self.grants.iter().any(|grant| grant.role.allows(permission) && covers(&grant.scope)) {
            return Ok(());
        }
        Err(self.forbidden(permission, Wanted::of(on)))
    }

    /// Whether it may make a key store of this name, which nobody has yet: by a grant for all, or for such names. A grant
    /// for an id covers none that is still to be given one.
    pub fn may_name(&self, permission: Permission, name: &CustomKeyStoreName) -> Result<(), Forbidden> {
        if self.grants.iter().any(|grant| grant.role.allows(permission) && grant.scope.covers_name(name)) {
            return Ok(());
        }
        Err(self.forbidden(permission, Wanted::Named(name.clone())))
    }

    /// Whether it may do this on some key store at least: what is known before it is known which one is meant.
    pub fn may_somewhere(&self, permission: Permission) -> Result<(), Forbidden> {
        let covers = |scope: &Scope| !matches!(scope, Scope::Only(patterns) if patterns.is_empty());
        if self.grants.iter().any(|grant| grant.role.allows(permission) && covers(&grant.scope)) {
            return Ok(());
        }
        Err(self.forbidden(permission, Wanted::Somewhere))
    }

    fn forbidden(&self, needed: Permission, on: Wanted) -> Forbidden {
        Forbidden { principal: self.name.clone(), needed, on, has: self.grants.clone() }
    }
}

/// On what a permission was needed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    KeyStore(CustomKeyStoreId),
    Named(CustomKeyStoreName),
    All,
    Somewhere,
}

impl Wanted {
    fn of(on: Option<KeyStoreName<'_>>) -> Self {
        on.map_or(Self::All, |(id, _)| Self::KeyStore(id.clone()))
    }
}

/// A principal has no grant for what it asked for. Says what was needed, and what it has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Forbidden {
    /// Whose request it was.
    pub principal: String,
    /// The permission that was needed.
    pub needed: Permission,
    on: Wanted,
    /// What it has.
    pub has: Vec<Grant>,
}

impl Forbidden {
    /// The key store that it was about, if it was about one.
    pub fn key_store(&self) -> Option<&CustomKeyStoreId> {
        match &self.on {
            Wanted::KeyStore(id) => Some(id),
            Wanted::Named(_) | Wanted::All | Wanted::Somewhere => None,
        }
    }
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { principal, needed, on, has } = self;
        write!(f, "{principal} lacks the permission {needed}")?;
        match on {
            Wanted::KeyStore(id) => write!(f, " on key store {id}")?,
            Wanted::Named(name) => write!(f, " on key stores called {:?}", name.as_str())?,
            Wanted::All => f.write_str(" on all key stores")?,
            Wanted::Somewhere => {}
        }
        if has.is_empty() {
            return f.write_str("; it has no role");
        }
        f.write_str("; it is ")?;
        for (at, grant) in has.iter().enumerate() {
            write!(f, "{}{grant}", if at > 0 { "; " } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_is_seen() {
        for name in
            ["ann", "Ann Müller", "auth0|5f7c8ec7", "CN=ops,O=Example \"A\"", "spiffe://a/b", "李四", "x@y.example"]
        {
            assert!(is_name(name), "{name}");
        }
        for text in [
            "",
            " ann",
            "ann ",
            "ann\u{200b}",
            "ann\u{202e}",
            "an\tn",
            "an\u{0}n",
            "Mu\u{308}ller",
            "a\u{a0}b",
            "\u{feff}ann",
        ] {
            assert!(!is_name(text), "{text:?}");
        }
    }
}
