//! The credentials of the configuration by their names: the one that is in use, one that its source shows and that no proxy
//! has accepted yet, and those that were in use before.
//!
//! # How it works
//!
//! A value that comes with the configuration is taken as it is: somebody has just given it. A value that changed at its
//! source is only **noticed** ([`Keyring::noticed`]); it comes into use when the proxies that the credential is for have
//! accepted it ([`Keyring::accept`]). The former one stays at hand: KMS signs with it until an update tells KMS the new
//! one, and updates that were planned with it mean it by its fingerprint.
//!
//! # What can go wrong
//!
//! The source shows something else again before it was accepted: what is accepted then is only what was probed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::clock::Timestamp;
use crate::key_store::{AccessKeyId, Fingerprint, ProxyCredential};

/// How many former credentials of one name are kept.
const FORMER: usize = 4;

/// How a credential stands to its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is what the source shows.
    Accepted,
    /// The source shows another one, which no proxy has accepted yet.
    Pending {
        /// Since when.
        since: Timestamp,
        /// Why it was not accepted when it was tried last; absent before that.
        problem: Option<String>,
    },
    /// The source cannot be read.
    Unread {
        /// Why; never what is in it.
        why: String,
    },
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted => f.write_str("accepted"),
            Self::Pending { problem: None, .. } => f.write_str("source changed, not accepted yet"),
            Self::Pending { problem: Some(problem), .. } => write!(f, "source changed, not accepted yet: {problem}"),
            Self::Unread { why } => write!(f, "source cannot be read: {why}"),
        }
    }
}

/// What is new about a value that a source shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing: it is in use.
    None,
    /// There was none before: it is in use now.
    First,
    /// It must be probed before it is used.
    Pending,
}

/// A credential of the configuration.
#[derive(Clone, Debug)]
pub struct Named {
    /// Its value, if its source was read.
    pub credential: Option<ProxyCredential>,
    /// Whether its source is defined as it was before: then another value of it must be probed first.
    pub same_source: bool,
}

/// Credentials by name.
#[derive(Default)]
pub struct Keyring(RwLock<Ring>);

#[derive(Default)]
struct Ring {
    keys: BTreeMap<String, Key>,
    /// Of names that are gone from the configuration, as long as open updates mean them.
    gone: Vec<(String, ProxyCredential)>,
}

struct Key {
    accepted: Option<ProxyCredential>,
    /// When it came into use in place of another one.
    accepted_at: Option<Timestamp>,
    pending: Option<ProxyCredential>,
    former: Vec<ProxyCredential>,
    standing: Standing,
}

impl Key {
    fn new(accepted: Option<ProxyCredential>) -> Self {
        let standing = if accepted.is_some() {
            Standing::Accepted
        } else {
            Standing::Unread { why: "it was not read yet".to_owned() }
        };
        Self { accepted, accepted_at: None, pending: None, former: Vec::new(), standing }
    }

    fn take(&mut self, credential: ProxyCredential) {
        let former = self.accepted.replace(credential);
        self.former.splice(0..0, former);
        self.former.truncate(FORMER);
        self.pending = None;
        self.standing = Standing::Accepted;
    }

    /// The one in use, then those before it.
    fn used(&self) -> impl Iterator<Item = &ProxyCredential> {
        self.accepted.iter().chain(&self.former)
    }

    fn with(&self, access_key_id: &AccessKeyId) -> Option<&ProxyCredential> {
        self.used().find(|credential| credential.access_key_id == *access_key_id)
    }
}

impl Keyring {
    /// With credentials that are in use as they are; `None` are still to be read.
    pub fn new(credentials: impl IntoIterator<Item = (String, Option<ProxyCredential>)>) -> Self {
        let keys = credentials.into_iter().map(|(name, credential)| (name, Key::new(credential))).collect();
        Self(RwLock::new(Ring { keys, gone: Vec::new() }))
    }

    /// The credential in use under this name.
    pub fn get(&self, name: &str) -> Option<ProxyCredential> {
        self.read().keys.get(name)?.accepted.clone()
    }

    /// The credential that KMS means by this access key id, with its name. `preferred` comes first, because two secrets
    /// may share an access key id while one replaces the other; and what is in use before what was.
    pub fn with_access_key_id(
        &self,
        access_key_id: &AccessKeyId,
        preferred: Option<&str>,
    ) -> Option<(String, ProxyCredential)> {
        let ring = self.read();
        let preferred = preferred.and_then(|name| ring.keys.get_key_value(name)).into_iter();
        let mut all = preferred.chain(&ring.keys);
        all.find_map(|(name, key)| Some((name.clone(), key.with(access_key_id)?.clone())))
    }

    /// What a plan means by this name: the credential of this fingerprint, if anybody here has it, or what is in use.
    pub fn planned(&self, name: &str, fingerprint: &Fingerprint) -> Option<ProxyCredential> {
        let ring = self.read();
        let key = ring.keys.get(name);
        let here = key.into_iter().flat_map(|key| key.used().chain(&key.pending));
        let gone = ring.gone.iter().filter(|(of, _)| of == name).map(|(_, credential)| credential);
        let meant = here.chain(gone).find(|credential| credential.fingerprint() == *fingerprint);
        meant.cloned().or_else(|| key?.accepted.clone())
    }

    /// How this credential stands to its source.
    pub fn standing(&self, name: &str) -> Option<Standing> {
        Some(self.read().keys.get(name)?.standing.clone())
    }

    /// When the one in use came into use in place of another, while this process ran.
    pub fn accepted_at(&self, name: &str) -> Option<Timestamp> {
        self.read().keys.get(name)?.accepted_at
    }

    /// The source shows this.
    pub fn noticed(&self, name: &str, credential: &ProxyCredential, now: Timestamp) -> News {
        let mut ring = self.write();
        let Some(key) = ring.keys.get_mut(name) else { return News::None };
        let same = |other: &ProxyCredential| other.fingerprint() == credential.fingerprint();
        match &key.accepted {
            Some(accepted) if same(accepted) => {
                key.pending = None;
                key.standing = Standing::Accepted;
                News::None
            }
            None => {
                key.take(credential.clone());
                News::First
            }
            Some(_) => {
                if !key.pending.as_ref().is_some_and(same) {
                    key.pending = Some(credential.clone());
                    key.standing = Standing::Pending { since: now, problem: None };
                } else if let Standing::Unread { .. } = key.standing {
                    key.standing = Standing::Pending { since: now, problem: None };
                }
                News::Pending
            }
        }
    }

    /// The source cannot be read; what is in use stays.
    pub fn unread(&self, name: &str, why: String) {
        if let Some(key) = self.write().keys.get_mut(name) {
            key.standing = Standing::Unread { why };
        }
    }

    /// The pending one was tried, and was not accepted.
    pub fn not_accepted(&self, name: &str, why: String) {
        if let Some(Standing::Pending { problem, .. }) = self.write().keys.get_mut(name).map(|key| &mut key.standing) {
            *problem = Some(why);
        }
    }

    /// The pending one of this fingerprint was tried, and accepted: it comes into use. Says whether it did: it may not be
    /// pending any more.
    pub fn accept(&self, name: &str, fingerprint: &Fingerprint, now: Timestamp) -> bool {
        let mut ring = self.write();
        let Some(key) = ring.keys.get_mut(name) else { return false };
        let Some(pending) = key.pending.take_if(|pending| pending.fingerprint() == *fingerprint) else { return false };
        key.take(pending);
        key.accepted_at = Some(now);
        true
    }

    /// Another configuration. Of names that are gone, and of sources that are defined anew, the former credentials stay
    /// that open updates mean: `meant` has their names and fingerprints, and is absent if nobody can tell.
    pub fn replace(&self, named: &BTreeMap<String, Named>, meant: Option<&[(String, Fingerprint)]>, now: Timestamp) {
        {
            let mut ring = self.write();
            let Ring { keys, mut gone } = std::mem::take(&mut *ring);
            let mut left = BTreeMap::new();
            for (name, key) in keys {
                if named.get(&name).is_some_and(|named| named.same_source) {
                    left.insert(name, key);
                } else {
                    gone.extend(key.used().map(|credential| (name.clone(), credential.clone())));
                }
            }
            gone.retain(|(name, credential)| {
                meant.is_none_or(|meant| {
                    meant.iter().any(|(of, which)| of == name && *which == credential.fingerprint())
                })
            });
            for (name, Named { credential, .. }) in named {
                if !left.contains_key(name) {
                    left.insert(name.clone(), Key::new(credential.clone()));
                }
            }
            *ring = Ring { keys: left, gone };
        }
        for (name, Named { credential, .. }) in named {
            if let Some(credential) = credential {
                self.noticed(name, credential, now);
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Ring> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Ring> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ring = self.read();
        f.debug_struct("Keyring").field("names", &ring.keys.keys().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_store::RawSecretAccessKey;

    const ONE: &str = "AKIAI2SFODNN7EXAMPLE";
    const OTHER: &str = "AKIAIOSFODNN7EXAMPLE";

    fn credential(id: &str, letter: char) -> ProxyCredential {
        ProxyCredential {
            access_key_id: AccessKeyId::parse(id).unwrap(),
            secret_access_key: RawSecretAccessKey::parse(&letter.to_string().repeat(43)).unwrap(),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(seconds)
    }

    #[test]
    fn a_new_value_waits_until_it_is_accepted_and_the_former_one_stays_at_hand() {
        let (former, new) = (credential(ONE, 'a'), credential(OTHER, 'b'));
        let ring = Keyring::new([("main".to_owned(), Some(former.clone()))]);
        assert_eq!(ring.noticed("main", &former, at(1)), News::None);
        assert_eq!(ring.noticed("main", &new, at(2)), News::Pending);
        assert_eq!(ring.get("main"), Some(former.clone()));
        ring.not_accepted("main", "refused".to_owned());
        assert_eq!(ring.noticed("main", &new, at(3)), News::Pending);
        let pending = Standing::Pending { since: at(2), problem: Some("refused".to_owned()) };
        assert_eq!(ring.standing("main"), Some(pending));
        // An update that somebody has planned with either finds its own.
        assert_eq!(ring.planned("main", &former.fingerprint()), Some(former.clone()));
        assert_eq!(ring.planned("main", &new.fingerprint()), Some(new.clone()));
        assert!(!ring.accept("main", &former.fingerprint(), at(4)), "it is not what waits");
        assert!(ring.accept("main", &new.fingerprint(), at(5)));
        assert_eq!((ring.get("main"), ring.accepted_at("main")), (Some(new.clone()), Some(at(5))));
        assert_eq!(ring.standing("main"), Some(Standing::Accepted));
        // KMS still has the former one.
        let by_id = |id: &str| ring.with_access_key_id(&AccessKeyId::parse(id).unwrap(), Some("main")).map(|(_, c)| c);
        assert_eq!((by_id(ONE), by_id(OTHER)), (Some(former.clone()), Some(new)));
        assert_eq!(ring.planned("main", &former.fingerprint()), Some(former));
    }

    #[test]
    fn the_first_value_of_a_source_is_taken_and_an_unread_one_is_told() {
        let ring = Keyring::new([("main".to_owned(), None)]);
        ring.unread("main", "denied".to_owned());
        assert_eq!(ring.standing("main").unwrap().to_string(), "source cannot be read: denied");
        assert_eq!(ring.noticed("main", &credential(ONE, 'a'), at(1)), News::First);
        assert_eq!(ring.standing("main"), Some(Standing::Accepted));
        assert_eq!(ring.accepted_at("main"), None, "nobody knows since when it is what it is");
        assert_eq!(ring.noticed("other", &credential(ONE, 'a'), at(1)), News::None);
    }

    #[test]
    fn another_configuration_keeps_what_open_updates_mean() {
        let (a, b, c) = (credential(ONE, 'a'), credential(ONE, 'b'), credential(ONE, 'c'));
        let ring = Keyring::new([("goes".to_owned(), Some(a.clone())), ("stays".to_owned(), Some(b.clone()))]);
        let named =
            |credential: &ProxyCredential, same_source| Named { credential: Some(credential.clone()), same_source };
        let meant = [("goes".to_owned(), a.fingerprint())];
        ring.replace(&BTreeMap::from([("stays".to_owned(), named(&c, true))]), Some(&meant), at(1));
        assert_eq!((ring.get("goes"), ring.planned("goes", &a.fingerprint())), (None, Some(a.clone())));
        // Its source was not defined anew: another value must be probed.
        assert_eq!(ring.get("stays"), Some(b.clone()));
        assert!(matches!(ring.standing("stays"), Some(Standing::Pending { .. })));
        ring.replace(&BTreeMap::from([("stays".to_owned(), named(&c, false))]), Some(&[]), at(2));
        assert_eq!((ring.get("stays"), ring.planned("goes", &a.fingerprint())), (Some(c), None));
    }
}
