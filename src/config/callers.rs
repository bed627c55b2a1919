//! Who may call: tokens, with the roles and scopes of those who hold them.

use std::sync::Arc;

use super::fault::found;
use super::raw::Section;
use super::resolve::{Resolver, all_different, caller_name};
use crate::access::{Grant, KnownToken, Method, Pattern, Principal, Role, Scope, TokenHash};
use crate::clock::Timestamp;

impl Resolver<'_> {
    pub(super) fn tokens(&mut self, sections: Vec<Section>) -> Option<Vec<KnownToken>> {
        let mut tokens: Vec<KnownToken> = Vec::new();
        let mut whole = true;
        for mut section in sections {
            let name = section.parse("name", self.faults, |text| caller_name(text).map(str::to_owned));
            let grants = self.grants(&mut section);
            let has_expiry = section.has("expires");
            let expires = section.parse("expires", self.faults, instant).map(|expires| expires.value);
            let hash = section.parse("sha256", self.faults, |text| TokenHash::parse(text).map_err(|e| e.to_string()));
            section.finish(self.faults);
            // An expiry that cannot be read must not come to mean never.
            let (Some(name), Some(grants), Some(hash), true) = (name, grants, hash, has_expiry == expires.is_some())
            else {
                whole = false;
                continue;
            };
            if tokens.iter().any(|other| other.principal.name == name.value) {
                self.faults.add(name.line, &name.path, format!("is there twice {}", found(&name.value)));
            }
            if let Some(other) = tokens.iter().find(|other| other.hash == hash.value) {
                let why =
                    format!("is the same token as that of {:?}: nobody could tell who called", other.principal.name);
                self.faults.add(hash.line, &hash.path, why);
            }
            let principal = Arc::new(Principal { name: name.value, how: Method::Token, grants });
            tokens.push(KnownToken { hash: hash.value, expires, principal });
        }
        whole.then_some(tokens)
    }

    /// The keys `role` and `key_stores`: every role within the same scope.
    pub(super) fn grants(&mut self, section: &mut Section) -> Option<Vec<Grant>> {
        let roles = section.texts("role");
        let scope = if section.has("key_stores") { self.scope(section) } else { Some(Scope::All) };
        let roles = roles.filter(|roles| all_different(roles, self.faults))?;
        let scope = scope?;
        let roles = roles.iter().filter_map(|role| Role::parse(&role.value));
        Some(roles.map(|role| Grant { role, scope: scope.clone() }).collect())
    }

    fn scope(&mut self, section: &mut Section) -> Option<Scope> {
        let (line, path) = (section.line, format!("{}.key_stores", section.path));
        let texts = section.texts("key_stores")?;
        if texts.is_empty() {
            // Nobody writes this down to give nothing.
            self.faults.add(line, &path, "must name at least one key store; leave it out for all of them");
            return None;
        }
        let count = texts.len();
        let patterns = texts.into_iter().filter_map(|text| {
            let pattern = Pattern::parse(&text.value);
            pattern
                .map_err(|rule| self.faults.add(text.line, &text.path, format!("{rule} {}", found(&text.value))))
                .ok()
        });
        let patterns: Vec<Pattern> = patterns.collect();
        (patterns.len() == count).then(|| Scope::from(patterns))
    }
}

pub(super) fn instant(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|_| "must be an RFC 3339 time, for example 2027-01-31T00:00:00Z".to_owned())
}
