//! Changes of key stores behind our back: seen between two looks at KMS, and made by no update of ours.
//!
//! # How it works
//!
//! The monitor tells of every [`Difference`] between two looks at an account and Region. It is ours if an update of the
//! key store was open meanwhile and KMS now shows what its plan wanted or what was there before it, or if the audit trail
//! says that we made the key store. Everything else is drift: a line of the audit trail (nobody is named: CloudTrail knows
//! who), a log line, a count, and the latest ones for whoever looks.
//!
//! # What can go wrong
//!
//! - The first look at an account and Region after the start has nothing to compare with: what was changed before it is
//!   not known, and `since` says from when on it is.
//! - The journal cannot be read: nobody can tell whose change it is, and the question is put again until it can.
//! - Several replicas each see the change and each write it down.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::audit::{Action, Decision, Entry, Line};
use crate::chain::Chain;
use crate::clock::{Clock, Timestamp};
use crate::driver::{Driver, OrderError, UpdateRecord};
use crate::journal::{AuditTrail, JournalError, LinesWanted};
use crate::key_store::{Configuration, Connectivity, CustomKeyStoreId, KeyStore, Place};
use crate::monitor::Difference;
use crate::update::Standing;

/// How many are kept for whoever looks; the audit trail has all.
const KEPT: usize = 100;
/// What lies further back than so many updates is not looked at.
const UPDATES: usize = 100;
/// KMS may show a new key store before the line is written that says who made it; and a journal may come back.
const PATIENCE: Duration = Duration::from_secs(5);

/// What kind of change it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriftKind {
    /// A key store that was not there before.
    Added,
    /// Other settings.
    Changed,
    /// A key store that is there no more.
    Deleted,
    /// Another name.
    Renamed,
}

impl DriftKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Added, Self::Changed, Self::Deleted, Self::Renamed];

    /// The word for machines and people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Deleted => "deleted",
            Self::Renamed => "renamed",
        }
    }
}

/// A member that is different; none of them is a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberChange {
    /// As DescribeCustomKeyStores names it.
    pub member: &'static str,
    /// Its value before, if there was one.
    pub before: Option<String>,
    /// Its value now, if there is one.
    pub now: Option<String>,
}

/// A change behind our back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// The key store.
    pub key_store: CustomKeyStoreId,
    /// Where.
    pub place: Place,
    /// What happened; a key store may be renamed and changed at once.
    pub kinds: Vec<DriftKind>,
    /// Member by member.
    pub changes: Vec<MemberChange>,
    /// The look before.
    pub after: Timestamp,
    /// The look that showed it.
    pub at: Timestamp,
}

impl Drift {
    fn of(seen: &Difference) -> Self {
        let (before, now) = (members(seen.before.as_ref()), members(seen.now.as_ref()));
        let value = |members: &[(&'static str, String)], name: &str| {
            members.iter().find(|(member, _)| *member == name).map(|(_, value)| value.clone())
        };
        let mut names: Vec<&'static str> = before.iter().chain(&now).map(|(member, _)| *member).collect();
        let mut known = Vec::new();
        names.retain(|name| {
            !known.contains(name) && {
                known.push(*name);
                true
            }
        });
        let changes: Vec<MemberChange> = names
            .into_iter()
            .map(|member| MemberChange { member, before: value(&before, member), now: value(&now, member) })
            .filter(|change| change.before != change.now)
            .collect();
        let kinds = match (&seen.before, &seen.now) {
            (None, _) => vec![DriftKind::Added],
            (Some(_), None) => vec![DriftKind::Deleted],
            (Some(before), Some(now)) => {
                let other = (before.configuration != now.configuration).then_some(DriftKind::Changed);
                other.into_iter().chain((before.name != now.name).then_some(DriftKind::Renamed)).collect()
            }
        };
        let (key_store, place) = (seen.key_store.clone(), seen.place.clone());
        Self { key_store, place, kinds, changes, after: seen.after, at: seen.at }
    }

    /// The kinds in one text.
    pub fn what(&self) -> String {
        self.kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(" and ")
    }

    fn message(&self) -> String {
        let told =
            |value: &Option<String>| value.as_ref().map_or_else(|| "nothing".to_owned(), |text| format!("{text:?}"));
        let changes: Vec<String> =
            self.changes.iter().map(|c| format!("{} {} -> {}", c.member, told(&c.before), told(&c.now))).collect();
        format!(
            "{} in {} by no update of xks-preflight, between {} and {}; who did it is known to CloudTrail alone; {}",
            self.what(),
            self.place,
            self.after,
            self.at,
            changes.join("; ")
        )
    }
}

/// What DescribeCustomKeyStores tells, the connection state aside.
fn members(store: Option<&KeyStore>) -> Vec<(&'static str, String)> {
    let Some(store) = store else { return Vec::new() };
    let mut members = vec![
        ("CustomKeyStoreName", store.name.to_string()),
        ("CustomKeyStoreType", store.configuration.store_type().to_owned()),
    ];
    match &store.configuration {
        Configuration::Xks(xks) => {
            members.push(("UriEndpoint", xks.endpoint.to_string()));
            members.push(("UriPath", xks.path.to_string()));
            members.push(("AccessKeyId", xks.access_key_id.to_string()));
            members.push(("Connectivity", xks.connectivity.kind().to_string()));
            if let Connectivity::VpcEndpointService { name, owner } = &xks.connectivity {
                members.push(("VpcEndpointServiceName", name.to_string()));
                members.extend(owner.as_ref().map(|owner| ("VpcEndpointServiceOwner", owner.to_string())));
            }
        }
        Configuration::CloudHsm(hsm) => members.push(("CloudHsmClusterId", hsm.cluster.to_string())),
        Configuration::Unrecognized { why } => members.push(("not understood", why.clone())),
    }
    members
}

/// What a watch is made of.
pub struct Parts {
    /// Knows our own updates.
    pub driver: Driver,
    /// Where drift is written, and where it is written what we made.
    pub trail: Arc<dyn AuditTrail>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Told of every drift.
    pub observer: Box<dyn Fn(&Drift) + Send + Sync>,
}

/// Tells drift from what we did ourselves.
pub struct DriftWatch {
    parts: Parts,
    since: Timestamp,
    latest: Mutex<VecDeque<Arc<Drift>>>,
    last: Mutex<BTreeMap<CustomKeyStoreId, LastDrift>>,
}

/// When settings of a key store last showed that no update of ours made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastDrift {
    /// Any settings.
    pub at: Timestamp,
    /// Its access key id.
    pub credential_at: Option<Timestamp>,
}

impl std::fmt::Debug for DriftWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DriftWatch").field("since", &self.since).finish_non_exhaustive()
    }
}

/// Why nobody can tell.
#[derive(Debug, thiserror::Error)]
enum Untold {
    #[error("updates cannot be read")]
    Updates(#[from] OrderError),
    #[error("audit trail cannot be read")]
    Trail(#[from] JournalError),
}

impl DriftWatch {
    /// Knows of nothing before now.
    pub fn new(parts: Parts) -> Self {
        Self { since: parts.clock.now(), parts, latest: Mutex::default(), last: Mutex::default() }
    }

    /// From when on changes can be seen: what happened before is not known.
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// The latest drifts since the start, newest first.
    pub fn latest(&self) -> Vec<Arc<Drift>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// The last drift of each key store since the start.
    pub fn last(&self) -> BTreeMap<CustomKeyStoreId, LastDrift> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Judges what is seen, until `stop`.
    pub async fn run(&self, mut seen: mpsc::Receiver<Difference>, stop: CancellationToken) {
        let judging = async {
            while let Some(difference) = seen.recv().await {
                if !self.is_ours(&difference).await {
                    self.tell(Drift::of(&difference)).await;
                }
            }
        };
        stop.run_until_cancelled(judging).await.unwrap_or(());
    }

    async fn is_ours(&self, seen: &Difference) -> bool {
        let mut patient = seen.before.is_none();
        loop {
            match self.did_we(seen).await {
                Ok(false) if patient => patient = false,
                Ok(ours) => return ours,
                Err(error) => {
                    let key_store = &seen.key_store;
                    tracing::warn!(%key_store, error = %Chain(&error), "nobody can tell whether a change is ours");
                }
            }
            tokio::time::sleep(PATIENCE).await;
        }
    }

    async fn did_we(&self, seen: &Difference) -> Result<bool, Untold> {
        if seen.before.is_none() {
            return self.was_made_here(&seen.key_store).await;
        }
        let updates = self.parts.driver.list(None, UPDATES).await?;
        Ok(updates.iter().any(|update| explains(update, seen)))
    }

    /// Whether the audit trail says that the drop-in endpoint made it.
    async fn was_made_here(&self, key_store: &CustomKeyStoreId) -> Result<bool, Untold> {
        let wanted = LinesWanted { limit: 100, key_store: Some(key_store.clone()), ..LinesWanted::default() };
        let lines = self.parts.trail.lines(&wanted).await?;
        let made = |line: Line| line.entry.is_some_and(|entry| entry.action == Action::KmsCreate);
        Ok(lines.iter().filter_map(|text| Line::parse(text).ok()).any(made))
    }

    async fn tell(&self, drift: Drift) {
        let message = drift.message();
        tracing::warn!(key_store = %drift.key_store, place = %drift.place, kinds = drift.what(), "drift: {message}");
        let entry = Entry::new(self.parts.clock.now(), None, Action::DriftSeen, Decision::Recorded, message);
        let entry = Entry { key_store: Some(drift.key_store.clone()), ..entry };
        if let Err(error) = self.parts.trail.note(&entry).await {
            tracing::error!(error = %Chain(&error), "drift is missing in the audit trail");
        }
        (self.parts.observer)(&drift);
        self.note_last(&drift);
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.push_front(Arc::new(drift));
        latest.truncate(KEPT);
    }
}

impl DriftWatch {
    fn note_last(&self, drift: &Drift) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let other_credential =
            drift.changes.iter().any(|change| change.member == "AccessKeyId" && change.now.is_some());
        let before = last.get(&drift.key_store).and_then(|before| before.credential_at);
        let credential_at = if other_credential { Some(drift.at) } else { before };
        last.insert(drift.key_store.clone(), LastDrift { at: drift.at, credential_at });
    }
}

/// Whether an update of ours was open meanwhile and the key store shows what its plan wanted, or what was there before.
fn explains(update: &UpdateRecord, seen: &Difference) -> bool {
    let plan = update.state.plan();
    let over = update.state.status().status.is_final();
    let ended = update.events.last().filter(|_| over).map(|last| last.at);
    let open = plan.created_at <= seen.at && ended.is_none_or(|ended| seen.after <= ended);
    let fits = |now: &KeyStore| plan.standing(now) != Standing::Foreign;
    plan.key_store == seen.key_store && open && seen.now.as_ref().is_some_and(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_store::{ConnectionState, CustomKeyStoreName, Region};

    fn store(name: &str, why: &str) -> KeyStore {
        KeyStore {
            id: CustomKeyStoreId::parse("cks-1").unwrap(),
            name: CustomKeyStoreName::parse(name).unwrap(),
            created: None,
            state: ConnectionState::Connected,
            configuration: Configuration::Unrecognized { why: why.into() },
        }
    }

    fn seen(before: Option<KeyStore>, now: Option<KeyStore>) -> Drift {
        Drift::of(&Difference {
            key_store: CustomKeyStoreId::parse("cks-1").unwrap(),
            place: Place::home(Region::parse("us-east-1").unwrap()),
            before,
            now,
            after: Timestamp::from_unix(1),
            at: Timestamp::from_unix(2),
        })
    }

    #[test]
    fn every_kind_is_told_member_by_member() {
        let kinds = |before, now| seen(before, now).what();
        assert_eq!(kinds(None, Some(store("a", "x"))), "added");
        assert_eq!(kinds(Some(store("a", "x")), None), "deleted");
        assert_eq!(kinds(Some(store("a", "x")), Some(store("b", "x"))), "renamed");
        let both = seen(Some(store("a", "x")), Some(store("b", "y")));
        assert_eq!(both.what(), "changed and renamed");
        let message = both.message();
        for words in ["home/us-east-1", "CustomKeyStoreName \"a\" -> \"b\"", "not understood \"x\" -> \"y\""] {
            assert!(message.contains(words), "{message}");
        }
        assert!(seen(None, Some(store("a", "x"))).message().contains("CustomKeyStoreName nothing -> \"a\""));
    }
}
