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
//! **The same access key id with another secret** is what KMS cannot be seen to have or not to have: it shows no secrets. Such
//! a value never displaces the one before it by being accepted. It waits, updates that name it take it
//! ([`Keyring::newest`]), and it comes into use when KMS was told ([`Keyring::told`]), key store by key store.
//!
//! # What can go wrong
//!
//! The source shows something else again before it was accepted: what is accepted then is only what was probed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::clock::Timestamp;
use crate::key_store::{AccessKeyId, CredentialRef, CustomKeyStoreId, Fingerprint, ProxyCredential};

/// How many former credentials of one name are kept besides those that are meant by somebody.
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
    /// The source shows another secret under the same access key id. The proxies accept it, and KMS was not told.
    Untold {
        /// Since when the source shows it.
        since: Timestamp,
        /// Its name in the configuration.
        name: String,
    },
    /// KMS was told another secret under the access key id that the source shows, in another way than by this source, or
    /// before this process began.
    Elsewhere {
        /// Since when this process knows it.
        since: Timestamp,
        /// Its name in the configuration.
        name: String,
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
            Self::Untold { name, .. } => {
                write!(
                    f,
                    "source changed, accepted by the proxy, KMS not told: rotate with update apply --credential-source {name}"
                )
            }
            Self::Elsewhere { name, .. } => write!(
                f,
                "KMS was told another secret under this access key id than the source shows: put that one back at the source, \
                 or tell KMS this one with update apply --credential-source {name}"
            ),
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

/// What became of a value that the proxies accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// It is not what the source shows any more.
    Gone,
    /// It is in use.
    Used,
    /// It has the access key id of another one that KMS may have: it waits until KMS was told.
    Untold,
}

/// Whom a former value serves: nobody else may drop it.
#[derive(Clone, Debug, Default)]
pub struct Meant {
    /// Names and fingerprints in the plans of open updates; `None` if nobody can tell.
    pub by_updates: Option<Vec<(String, Fingerprint)>>,
    /// What KMS shows.
    pub in_kms: BTreeSet<AccessKeyId>,
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
    /// What KMS was told of a key store last, as far as this process and the journal know.
    told: BTreeMap<CustomKeyStoreId, Told>,
}

/// A credential that KMS was told.
struct Told {
    access_key_id: AccessKeyId,
    fingerprint: Fingerprint,
    /// When this process came to know it.
    known_since: Timestamp,
}

impl Told {
    fn is(&self, value: &ProxyCredential) -> bool {
        value.access_key_id == self.access_key_id && value.fingerprint() == self.fingerprint
    }
}

impl Ring {
    /// What KMS was told of this key store under this access key id.
    fn told_as(&self, key_store: &CustomKeyStoreId, access_key_id: &AccessKeyId) -> Option<&Told> {
        self.told.get(key_store).filter(|told| told.access_key_id == *access_key_id)
    }

    /// Every value that anybody here has, with its name.
    fn all(&self) -> impl Iterator<Item = (&String, &ProxyCredential)> {
        let keys =
            self.keys.iter().flat_map(|(name, key)| key.used().chain(&key.pending).map(move |value| (name, value)));
        keys.chain(self.gone.iter().map(|(name, value)| (name, value)))
    }
}

struct Key {
    accepted: Option<ProxyCredential>,
    pending: Option<ProxyCredential>,
    /// Whether the proxies accept the pending one, which waits for KMS to be told.
    proven: bool,
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
        Self { accepted, pending: None, proven: false, former: Vec::new(), standing }
    }

    fn take(&mut self, credential: ProxyCredential) {
        self.former.retain(|former| *former != credential);
        let former = self.accepted.replace(credential);
        self.former.splice(0..0, former);
        self.pending = None;
        self.proven = false;
        self.standing = Standing::Accepted;
    }

    /// The one in use, then those before it.
    fn used(&self) -> impl Iterator<Item = &ProxyCredential> {
        self.accepted.iter().chain(&self.former)
    }

    /// Whether KMS may have another secret under the access key id of this one.
    fn disputes(&self, credential: &ProxyCredential) -> bool {
        self.used().any(|used| used.access_key_id == credential.access_key_id && used != credential)
    }

    fn with(&self, access_key_id: &AccessKeyId) -> Option<&ProxyCredential> {
        self.used().find(|credential| credential.access_key_id == *access_key_id)
    }
}

impl Keyring {
    /// With credentials that are in use as they are; `None` are still to be read.
    pub fn new(credentials: impl IntoIterator<Item = (String, Option<ProxyCredential>)>) -> Self {
        let keys = credentials.into_iter().map(|(name, credential)| (name, Key::new(credential))).collect();
        Self(RwLock::new(Ring { keys, ..Ring::default() }))
    }

    /// The credential in use under this name.
    pub fn get(&self, name: &str) -> Option<ProxyCredential> {
        self.read().keys.get(name)?.accepted.clone()
    }

    /// The newest value under this name that the proxies accept, for an update that names it: KMS may not have it yet.
    pub fn newest(&self, name: &str) -> Option<ProxyCredential> {
        let ring = self.read();
        let key = ring.keys.get(name)?;
        key.pending.as_ref().filter(|_| key.proven).or(key.accepted.as_ref()).cloned()
    }

    /// The credential that KMS means by this access key id at this key store, with its name: what it was told, if that is
    /// known, and nothing if that is not at hand, because no other secret is what KMS signs with. Otherwise `preferred` comes first, because two secrets may share an access key id while one replaces the
    /// other; and what is in use before what was.
    pub fn with_access_key_id(
        &self,
        key_store: &CustomKeyStoreId,
        access_key_id: &AccessKeyId,
        preferred: Option<&str>,
    ) -> Option<(String, ProxyCredential)> {
        let ring = self.read();
        if let Some(told) = ring.told_as(key_store, access_key_id) {
            let found = ring.all().find(|(_, value)| told.is(value));
            return found.map(|(name, value)| (name.clone(), value.clone()));
        }
        let preferred = preferred.and_then(|name| ring.keys.get_key_value(name)).into_iter();
        let mut all = preferred.chain(&ring.keys);
        all.find_map(|(name, key)| Some((name.clone(), key.with(access_key_id)?.clone())))
    }

    /// The same, of these alone.
    pub fn among(
        &self,
        names: &BTreeSet<String>,
        key_store: &CustomKeyStoreId,
        access_key_id: &AccessKeyId,
    ) -> Option<(String, ProxyCredential)> {
        let ring = self.read();
        if let Some(told) = ring.told_as(key_store, access_key_id) {
            let found = ring.all().find(|(name, value)| names.contains(*name) && told.is(value));
            return found.map(|(name, value)| (name.clone(), value.clone()));
        }
        let mut lent = names.iter().filter_map(|name| ring.keys.get_key_value(name));
        lent.find_map(|(name, key)| Some((name.clone(), key.with(access_key_id)?.clone())))
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

    /// The value of this fingerprint, whoever has it here, with its name.
    pub fn with_fingerprint(&self, fingerprint: &Fingerprint) -> Option<(String, ProxyCredential)> {
        let ring = self.read();
        let found = ring.all().find(|(_, value)| value.fingerprint() == *fingerprint);
        found.map(|(name, value)| (name.clone(), value.clone()))
    }

    /// KMS was told this one of a key store.
    pub fn told(&self, key_store: &CustomKeyStoreId, credential: &CredentialRef, now: Timestamp) {
        let CredentialRef { access_key_id, fingerprint, .. } = credential.clone();
        self.write().told.insert(key_store.clone(), Told { access_key_id, fingerprint, known_since: now });
    }

    /// Whether KMS was told another secret under this access key id than anybody here has.
    pub fn lacks_told(&self, key_store: &CustomKeyStoreId, access_key_id: &AccessKeyId) -> bool {
        let ring = self.read();
        ring.told_as(key_store, access_key_id).is_some_and(|told| !ring.all().any(|(_, value)| told.is(value)))
    }

    /// Whether this is what KMS was told of a key store last, as far as is known.
    pub fn was_told(&self, key_store: &CustomKeyStoreId, fingerprint: &Fingerprint) -> bool {
        self.read().told.get(key_store).is_some_and(|told| told.fingerprint == *fingerprint)
    }

    /// How this credential stands to its source.
    pub fn standing(&self, name: &str) -> Option<Standing> {
        Some(self.read().keys.get(name)?.standing.clone())
    }

    /// The same as far as this key store goes: KMS may have been told of it already.
    pub fn standing_at(&self, name: &str, key_store: &CustomKeyStoreId) -> Option<Standing> {
        let ring = self.read();
        let key = ring.keys.get(name)?;
        let told = ring.told.get(key_store);
        let pending = key.pending.as_ref().filter(|_| key.proven);
        let is_told = pending.is_some_and(|pending| told.is_some_and(|told| told.is(pending)));
        // What is in use is not what KMS has, and nothing else is on its way here.
        let stale = |told: &&Told| {
            key.accepted.as_ref().is_some_and(|used| used.access_key_id == told.access_key_id && !told.is(used))
        };
        Some(match (&key.standing, told.filter(stale)) {
            (Standing::Untold { .. }, _) if is_told => Standing::Accepted,
            (Standing::Accepted, Some(told)) => Standing::Elsewhere { since: told.known_since, name: name.to_owned() },
            (standing, _) => standing.clone(),
        })
    }

    /// The source shows this.
    pub fn noticed(&self, name: &str, credential: &ProxyCredential, now: Timestamp) -> News {
        let mut ring = self.write();
        let Ring { keys, gone, .. } = &mut *ring;
        let Some(key) = keys.get_mut(name) else { return News::None };
        let same = |other: &ProxyCredential| other.fingerprint() == credential.fingerprint();
        match &key.accepted {
            Some(accepted) if same(accepted) => {
                // An update may have been planned with it.
                gone.extend(key.pending.take().filter(|_| key.proven).map(|value| (name.to_owned(), value)));
                key.proven = false;
                key.standing = Standing::Accepted;
                News::None
            }
            None => {
                key.take(credential.clone());
                News::First
            }
            Some(_) => {
                if !key.pending.as_ref().is_some_and(same) {
                    let former = key.pending.replace(credential.clone()).filter(|_| key.proven);
                    gone.extend(former.map(|value| (name.to_owned(), value)));
                    key.proven = false;
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
        let mut ring = self.write();
        let Some(key) = ring.keys.get_mut(name) else { return };
        if let Standing::Pending { since, .. } | Standing::Untold { since, .. } = key.standing {
            key.standing = Standing::Pending { since, problem: Some(why) };
            // An update that names it must not take what no proxy accepts any more.
            key.proven = false;
        }
    }

    /// The pending one of this fingerprint was tried, and accepted: it comes into use, unless KMS may have another secret
    /// under its access key id and was not told this one of every key store that it is for (`told_to_all`).
    pub fn accept(&self, name: &str, fingerprint: &Fingerprint, told_to_all: bool) -> Acceptance {
        let mut ring = self.write();
        let Some(key) = ring.keys.get_mut(name) else { return Acceptance::Gone };
        let Some(pending) = key.pending.take_if(|pending| pending.fingerprint() == *fingerprint) else {
            return Acceptance::Gone;
        };
        if told_to_all || !key.disputes(&pending) {
            key.take(pending);
            return Acceptance::Used;
        }
        key.pending = Some(pending);
        key.proven = true;
        if let Standing::Pending { since, .. } = key.standing {
            key.standing = Standing::Untold { since, name: name.to_owned() };
        }
        Acceptance::Untold
    }

    /// Whether there is anything that [`Keyring::keep`] might drop.
    pub fn hoards(&self) -> bool {
        let ring = self.read();
        !ring.gone.is_empty() || ring.keys.values().any(|key| key.former.len() > FORMER)
    }

    /// Drops former values that nobody means: neither an open update, nor KMS as far as it shows and was told.
    pub fn keep(&self, meant: &Meant) {
        let mut ring = self.write();
        let Ring { keys, gone, told } = &mut *ring;
        let Some(by_updates) = &meant.by_updates else { return };
        let serves = |name: &String, value: &ProxyCredential| {
            let fingerprint = value.fingerprint();
            by_updates.iter().any(|(of, which)| of == name && *which == fingerprint)
                || told.values().any(|told| told.fingerprint == fingerprint)
        };
        gone.retain(|(name, value)| serves(name, value));
        for (name, key) in keys {
            let mut newest = FORMER;
            key.former.retain(|value| {
                let new = newest > 0;
                newest = newest.saturating_sub(1);
                new || serves(name, value) || meant.in_kms.contains(&value.access_key_id)
            });
        }
    }

    /// Another configuration. Of names that are gone, and of sources that are defined anew, the former credentials stay
    /// until [`Keyring::keep`] is told who means them: open updates may, and a configuration waits for no journal.
    pub fn replace(&self, named: &BTreeMap<String, Named>, now: Timestamp) {
        {
            let mut ring = self.write();
            let Ring { keys, mut gone, told } = std::mem::take(&mut *ring);
            let mut left = BTreeMap::new();
            for (name, key) in keys {
                if named.get(&name).is_some_and(|named| named.same_source) {
                    left.insert(name, key);
                } else {
                    let values = key.used().chain(&key.pending);
                    gone.extend(values.map(|credential| (name.clone(), credential.clone())));
                }
            }
            for (name, Named { credential, .. }) in named {
                if !left.contains_key(name) {
                    left.insert(name.clone(), Key::new(credential.clone()));
                }
            }
            *ring = Ring { keys: left, gone, told };
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
    use crate::key_store::{CredentialSource, RawSecretAccessKey};

    const ONE: &str = "AKIAI2SFODNN7EXAMPLE";
    const OTHER: &str = "AKIAIOSFODNN7EXAMPLE";

    fn credential(id: &str, letter: char) -> ProxyCredential {
        ProxyCredential {
            access_key_id: AccessKeyId::parse(id).unwrap(),
            secret_access_key: RawSecretAccessKey::parse(&letter.to_string().repeat(43)).unwrap(),
        }
    }

    fn store(letter: &str) -> CustomKeyStoreId {
        CustomKeyStoreId::parse(&format!("cks-{}", letter.repeat(17))).unwrap()
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
        assert_eq!(ring.accept("main", &former.fingerprint(), false), Acceptance::Gone, "it is not what waits");
        assert_eq!(ring.accept("main", &new.fingerprint(), false), Acceptance::Used);
        assert_eq!(ring.get("main"), Some(new.clone()));
        assert_eq!(ring.standing("main"), Some(Standing::Accepted));
        // KMS still has the former one.
        let by_id = |id: &str| {
            ring.with_access_key_id(&store("1"), &AccessKeyId::parse(id).unwrap(), Some("main")).map(|(_, c)| c)
        };
        assert_eq!((by_id(ONE), by_id(OTHER)), (Some(former.clone()), Some(new)));
        assert_eq!(ring.planned("main", &former.fingerprint()), Some(former));
    }

    #[test]
    fn another_secret_under_the_same_access_key_id_waits_until_kms_was_told() {
        let (a, b, c) = (credential(ONE, 'a'), credential(ONE, 'b'), credential(ONE, 'c'));
        let ring = Keyring::new([("main".to_owned(), Some(a.clone()))]);
        let in_kms =
            |of: &str| ring.with_access_key_id(&store(of), &a.access_key_id, Some("main")).map(|(_, found)| found);
        assert_eq!(ring.noticed("main", &b, at(1)), News::Pending);
        assert_eq!(ring.newest("main"), Some(a.clone()), "no proxy has accepted it");
        assert_eq!(ring.accept("main", &b.fingerprint(), false), Acceptance::Untold);
        let untold = Standing::Untold { since: at(1), name: "main".to_owned() };
        assert_eq!(ring.standing_at("main", &store("1")), Some(untold.clone()));
        assert_eq!((ring.get("main"), ring.newest("main")), (Some(a.clone()), Some(b.clone())));
        assert_eq!(in_kms("1"), Some(a.clone()));
        // Key store by key store.
        ring.told(&store("1"), &b.reference(CredentialSource::Configured("main".to_owned())), at(2));
        assert_eq!((in_kms("1"), in_kms("2")), (Some(b.clone()), Some(a.clone())));
        let standings = ["1", "2"].map(|of| ring.standing_at("main", &store(of)).unwrap());
        assert_eq!(standings, [Standing::Accepted, untold]);
        // Another one at the source takes away neither what KMS has nor what a plan means.
        assert_eq!(ring.noticed("main", &c, at(2)), News::Pending);
        ring.keep(&Meant { by_updates: Some(Vec::new()), ..Meant::default() });
        assert_eq!((in_kms("1"), in_kms("2")), (Some(b.clone()), Some(a.clone())));
        assert_eq!(ring.planned("main", &b.fingerprint()), Some(b.clone()));
        assert_eq!(ring.accept("main", &c.fingerprint(), true), Acceptance::Used);
        // An access key id that comes back is no proof of its secret.
        let (other, back) = (credential(OTHER, 'd'), credential(ONE, 'e'));
        ring.noticed("main", &other, at(3));
        assert_eq!(ring.accept("main", &other.fingerprint(), false), Acceptance::Used);
        ring.noticed("main", &back, at(4));
        assert_eq!(ring.accept("main", &back.fingerprint(), false), Acceptance::Untold);
        assert_eq!(in_kms("1"), Some(b));
    }

    #[test]
    fn what_kms_was_told_before_the_start_is_not_what_the_source_shows_now() {
        let (told, shown) = (credential(ONE, 'a'), credential(ONE, 'b'));
        let ring = Keyring::new([("main".to_owned(), Some(shown.clone()))]);
        ring.told(&store("1"), &told.reference(CredentialSource::Configured("main".to_owned())), at(1));
        let in_kms =
            |of: &str| ring.with_access_key_id(&store(of), &told.access_key_id, Some("main")).map(|(_, found)| found);
        let names = BTreeSet::from(["main".to_owned()]);
        assert_eq!((in_kms("1"), in_kms("2")), (None, Some(shown.clone())), "of the other nothing else is known");
        assert_eq!(ring.among(&names, &store("1"), &told.access_key_id), None);
        assert!(
            ring.lacks_told(&store("1"), &told.access_key_id) && !ring.lacks_told(&store("2"), &told.access_key_id)
        );
        let elsewhere = Standing::Elsewhere { since: at(1), name: "main".to_owned() };
        assert_eq!(ring.standing_at("main", &store("1")), Some(elsewhere));
        assert_eq!(ring.standing_at("main", &store("2")), Some(Standing::Accepted));
        assert_eq!(ring.newest("main"), Some(shown), "an update may tell KMS this one");
        // Back at its source, it is what KMS has before anybody has probed it.
        assert_eq!(ring.noticed("main", &told, at(2)), News::Pending);
        assert_eq!(in_kms("1"), Some(told.clone()));
        assert_eq!(ring.accept("main", &told.fingerprint(), true), Acceptance::Used);
        assert_eq!(ring.standing_at("main", &store("1")), Some(Standing::Accepted));
        assert!(!ring.lacks_told(&store("1"), &told.access_key_id));
    }

    #[test]
    fn former_values_stay_as_long_as_they_are_meant() {
        let ring = Keyring::new([("main".to_owned(), Some(credential(&format!("{ONE}A"), 'a')))]);
        let values: Vec<_> = ('B'..='I').map(|last| credential(&format!("{ONE}{last}"), last)).collect();
        for value in &values {
            ring.noticed("main", value, at(1));
            assert_eq!(ring.accept("main", &value.fingerprint(), false), Acceptance::Used);
        }
        assert!(ring.hoards());
        ring.keep(&Meant::default());
        let is_held = |value: &ProxyCredential| ring.with_fingerprint(&value.fingerprint()).is_some();
        assert!(values.iter().all(is_held), "nobody could tell");
        let by_updates = Some(vec![("main".to_owned(), values[0].fingerprint())]);
        ring.keep(&Meant { by_updates, in_kms: BTreeSet::from([values[1].access_key_id.clone()]) });
        assert_eq!(values.iter().map(is_held).collect::<Vec<_>>(), [true, true, false, true, true, true, true, true]);
    }

    #[test]
    fn the_first_value_of_a_source_is_taken_and_an_unread_one_is_told() {
        let ring = Keyring::new([("main".to_owned(), None)]);
        ring.unread("main", "denied".to_owned());
        assert_eq!(ring.standing("main").unwrap().to_string(), "source cannot be read: denied");
        assert_eq!(ring.noticed("main", &credential(ONE, 'a'), at(1)), News::First);
        assert_eq!(ring.standing("main"), Some(Standing::Accepted));
        assert_eq!(ring.noticed("other", &credential(ONE, 'a'), at(1)), News::None);
    }

    #[test]
    fn another_configuration_keeps_what_open_updates_mean() {
        let (a, b, c) = (credential(ONE, 'a'), credential(ONE, 'b'), credential(ONE, 'c'));
        let ring = Keyring::new([("goes".to_owned(), Some(a.clone())), ("stays".to_owned(), Some(b.clone()))]);
        let named =
            |credential: &ProxyCredential, same_source| Named { credential: Some(credential.clone()), same_source };
        let meant = |by_updates| Meant { by_updates: Some(by_updates), ..Meant::default() };
        ring.replace(&BTreeMap::from([("stays".to_owned(), named(&c, true))]), at(1));
        assert_eq!(ring.planned("goes", &a.fingerprint()), Some(a.clone()), "nobody has said yet who means it");
        ring.keep(&meant(vec![("goes".to_owned(), a.fingerprint())]));
        assert_eq!((ring.get("goes"), ring.planned("goes", &a.fingerprint())), (None, Some(a.clone())));
        // Its source was not defined anew: another value must be probed.
        assert_eq!(ring.get("stays"), Some(b.clone()));
        assert!(matches!(ring.standing("stays"), Some(Standing::Pending { .. })));
        ring.replace(&BTreeMap::from([("stays".to_owned(), named(&c, false))]), at(2));
        ring.keep(&meant(Vec::new()));
        assert_eq!((ring.get("stays"), ring.planned("goes", &a.fingerprint())), (Some(c), None));
    }
}
