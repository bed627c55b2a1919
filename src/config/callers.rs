//! Who may call: tokens, client certificates and identity providers, with roles and scopes.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustls::RootCertStore;

use super::fault::found;
use super::files;
use super::raw::{Section, Taken};
use super::resolve::{Resolver, all_different, caller_name};
use super::secret::{self, bounded_file};
use crate::access::{
    CertificateName, Grant, KnownCertificate, KnownToken, Method, Pattern, Permission, Principal, Role, Scope,
    TokenHash,
};
use crate::clock::Timestamp;
use crate::oidc::{IssuerSettings, KeySet, KeySource, KeyUrl, Pace, SignInSettings};
use crate::peer::Peer;
use crate::update::ApprovalRule;

/// The largest file of published keys, in bytes.
const MAX_KEYS_BYTES: u64 = 256 * 1024;

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

    pub(super) fn client_certificates(&mut self, sections: Vec<Section>) -> Option<Vec<KnownCertificate>> {
        let mut known: Vec<KnownCertificate> = Vec::new();
        let mut whole = true;
        for mut section in sections {
            let (line, path) = (section.line, section.path.clone());
            let name = section.parse("name", self.faults, |text| caller_name(text).map(str::to_owned));
            let mut read = |key: &str, name: fn(String) -> CertificateName| {
                section.parse(key, self.faults, |text| caller_name(text).map(|text| name(text.to_owned())))
            };
            let names: Vec<Taken<CertificateName>> = [
                read("subject", CertificateName::Subject),
                read("dns", |name| CertificateName::Dns(name.to_ascii_lowercase())),
                read("uri", CertificateName::Uri),
                read("email", CertificateName::Email),
            ]
            .into_iter()
            .flatten()
            .collect();
            let grants = self.grants(&mut section);
            let faulty = section.is_faulty();
            section.finish(self.faults);
            let (Some(name), Some(grants), [of]) = (name, grants, names.as_slice()) else {
                if names.len() != 1 && !faulty {
                    self.faults.add(line, &path, "must have exactly one of subject, dns, uri and email");
                }
                whole = false;
                continue;
            };
            if known.iter().any(|other| other.name == of.value) {
                self.faults.add(of.line, &of.path, "is there twice: nobody could tell who called");
            }
            let principal = Arc::new(Principal { name: name.value, how: Method::ClientCertificate, grants });
            known.push(KnownCertificate { name: of.value.clone(), principal });
        }
        whole.then_some(known)
    }

    pub(super) fn oidc(&mut self, sections: Vec<Section>) -> Option<Vec<IssuerSettings>> {
        let mut issuers: Vec<IssuerSettings> = Vec::new();
        let mut whole = true;
        for mut section in sections {
            let issuer = section.parse("issuer", self.faults, one_line);
            let audience = section.parse("audience", self.faults, one_line);
            let roots = self.provider_roots(&mut section);
            let keys = self.key_source(&mut section, roots.as_ref());
            let named = issuer.as_ref().map(|issuer| issuer.value.clone());
            let sign_in = section.section("sign_in").map(|table| self.sign_in(table, named.as_deref(), roots.as_ref()));
            let principal_claim = section.parse("principal_claim", self.faults, one_line);
            let groups_claim = section.parse("groups_claim", self.faults, one_line);
            let groups = section.sections("grants").and_then(|grants| self.group_grants(grants));
            section.finish(self.faults);
            let sign_in = match sign_in {
                None => Some(None),
                Some(sign_in) => sign_in.map(Some),
            };
            let (Some(issuer), Some(audience), Some(keys), Some(principal_claim), Some(groups_claim), Some(groups)) =
                (issuer, audience, keys, principal_claim, groups_claim, groups)
            else {
                whole = false;
                continue;
            };
            let Some(sign_in) = sign_in else {
                whole = false;
                continue;
            };
            if issuers.iter().any(|other| other.issuer == issuer.value) {
                self.faults.add(issuer.line, &issuer.path, format!("is there twice {}", found(&issuer.value)));
            }
            issuers.push(IssuerSettings {
                issuer: issuer.value,
                audience: audience.value,
                keys,
                principal_claim: principal_claim.value,
                groups_claim: groups_claim.value,
                groups,
                pace: Pace::default(),
                sign_in,
            });
        }
        whole.then_some(issuers)
    }

    /// The key `ca_file`, or the public authorities.
    fn provider_roots(&mut self, section: &mut Section) -> Option<Arc<RootCertStore>> {
        let file = section.text("ca_file");
        files::roots_or_public(self.directory, file.as_ref(), self.faults).map(Arc::new)
    }

    /// The table `sign_in`.
    fn sign_in(
        &mut self,
        mut section: Section,
        issuer: Option<&str>,
        roots: Option<&Arc<RootCertStore>>,
    ) -> Option<SignInSettings> {
        let (line, path) = (section.line, section.path.clone());
        let client_id = section.parse("client_id", self.faults, one_line);
        let redirect_uri = section.parse("redirect_uri", self.faults, |text| {
            SignInSettings::redirect(text).map_err(|error| error.to_string())
        });
        let title = section.parse("title", self.faults, one_line);
        let scopes = if section.has("scopes") { section.texts("scopes") } else { Some(Vec::new()) };
        let scopes = scopes.and_then(|scopes| {
            let count = scopes.len();
            let token = |text: &Taken<String>| {
                // RFC 6749, appendix A.4: without spaces, so that one is one.
                let fits = text.value.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'));
                if !fits || text.value.is_empty() {
                    self.faults.add(
                        text.line,
                        &text.path,
                        "must be one scope: visible ASCII without spaces and quotes",
                    );
                }
                fits && !text.value.is_empty()
            };
            let scopes: Vec<String> = scopes.into_iter().filter(token).map(|text| text.value).collect();
            (scopes.len() == count).then_some(scopes)
        });
        let secret = section.section("client_secret");
        let secret = match secret {
            None => Some(None),
            Some(source) => secret::resolve(source, self.directory, self.environment, self.faults).map(Some),
        };
        let faulty = section.is_faulty();
        section.finish(self.faults);
        // With roots that cannot be read the address is still looked at: all faults at once.
        let known = roots.cloned().unwrap_or_else(|| Arc::new(RootCertStore::empty()));
        let document = Peer::parse(&SignInSettings::document_of(issuer?), known, None);
        let document = document.map_err(|_| {
            let why = "needs an issuer of https, or of http on a loopback address: its document is read below it";
            self.faults.add(line, &path, why);
        });
        if faulty {
            return None;
        }
        Some(SignInSettings {
            client_id: client_id?.value,
            client_secret: secret?,
            redirect_uri: redirect_uri?.value,
            title: title?.value,
            scopes: scopes?,
            document: document.ok()?,
            roots: Arc::clone(roots?),
        })
    }

    /// Either jwks_url or jwks_file.
    fn key_source(&mut self, section: &mut Section, roots: Option<&Arc<RootCertStore>>) -> Option<KeySource> {
        let (line, path) = (section.line, section.path.clone());
        let given = (section.has("jwks_url"), section.has("jwks_file"));
        let url = section.parse("jwks_url", self.faults, |text| {
            // With roots that cannot be read the address is still looked at: all faults at once.
            let roots = roots.cloned().unwrap_or_else(|| Arc::new(RootCertStore::empty()));
            KeyUrl::parse(text, roots).map_err(|error| error.to_string())
        });
        let file = section.text("jwks_file");
        match given {
            (true, false) => roots.and(url).map(|url| KeySource::Url(url.value)),
            (false, true) => {
                let file = file?;
                let at = self.directory.join(&file.value);
                let read = bounded_file(&at, MAX_KEYS_BYTES)
                    .and_then(|bytes| KeySet::parse(&bytes).map_err(|error| error.to_string()));
                read.map_err(|why| self.faults.add(file.line, &file.path, why)).ok().map(|_| KeySource::File(at))
            }
            // Their own faults are told already.
            _ if section.is_faulty() => None,
            _ => {
                self.faults.add(line, &path, "must have either jwks_url or jwks_file");
                None
            }
        }
    }

    fn group_grants(&mut self, sections: Vec<Section>) -> Option<Vec<(String, Grant)>> {
        let mut all = Vec::new();
        let mut whole = true;
        for mut section in sections {
            let group = section.parse("group", self.faults, one_line);
            let grants = self.grants(&mut section);
            section.finish(self.faults);
            match group.zip(grants) {
                Some((group, grants)) => all.extend(grants.into_iter().map(|grant| (group.value.clone(), grant))),
                None => whole = false,
            }
        }
        whole.then_some(all)
    }

    /// The key `approval`: what nobody can give is not asked for. `approvers` as [`approvers`] counts them.
    pub(super) fn approval(&mut self, section: &mut Section, approvers: Option<usize>) -> Option<ApprovalRule> {
        let word = section.text("approval")?;
        let rule = ApprovalRule::parse(&word.value)?;
        let needed = rule.people();
        if let Some(there) = approvers.filter(|there| *there < needed) {
            let people = if needed == 1 { "somebody" } else { "two people" };
            let why = format!(
                "needs {people} who may approve, and {there} of [[tokens]], [[client_certificates]] and [[oidc]] may: give \
                 the role approver (xks-preflight token new --role approver), or no update can begin"
            );
            self.faults.add(word.line, &word.path, why);
        }
        Some(rule)
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

    /// The key `key_stores` of a credential: none, if it is not there.
    pub(super) fn given_to(&mut self, section: &mut Section) -> Option<Scope> {
        if section.has("key_stores") { self.scope(section) } else { Some(Scope::Only(Vec::new())) }
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

/// How many people may approve something; `None` if that cannot be told, as with the groups of an identity provider.
pub(super) fn approvers(
    tokens: Option<&[KnownToken]>,
    certificates: Option<&[KnownCertificate]>,
    oidc: Option<&[IssuerSettings]>,
) -> Option<usize> {
    let approves = |grant: &Grant| grant.role.allows(Permission::Approve);
    if oidc?.iter().flat_map(|issuer| &issuer.groups).any(|(_, grant)| approves(grant)) {
        return None;
    }
    let principals = tokens?
        .iter()
        .map(|token| &token.principal)
        .chain(certificates?.iter().map(|certificate| &certificate.principal));
    let able = principals.filter(|principal| principal.grants.iter().any(approves));
    // As at the gate, names decide, without regard to case.
    Some(able.map(|principal| principal.name.to_lowercase()).collect::<BTreeSet<_>>().len())
}

pub(super) fn instant(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|_| "must be an RFC 3339 time, for example 2027-01-31T00:00:00Z".to_owned())
}

/// Text that is compared to the letter.
fn one_line(text: &str) -> Result<String, String> {
    if (1..=512).contains(&text.chars().count()) && !text.chars().any(char::is_control) && text.trim() == text {
        Ok(text.to_owned())
    } else {
        Err("must be 1 to 512 characters without control characters and without space around them".to_owned())
    }
}
