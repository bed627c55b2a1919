//! What the latest updates tell scrapes: since when each credential is in force, and which changes of key stores are ours.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::clock::Timestamp;
use crate::driver::{Driver, OrderError, UpdateRecord};
use crate::key_store::CustomKeyStoreId;
use crate::monitor::Sighting;
use crate::update::{Direction, Event, Recorded, Step, StepOutcome};

/// Reading a hundred updates at every scrape would be work for nothing: they change seldom.
const FRESH_SECONDS: f64 = 60.0;
/// What lies further back is not looked at: credentials are counted from the key store's creation then.
const UPDATES: usize = 100;

/// The latest updates in short, read anew when they are old.
#[derive(Debug, Default)]
pub struct PastUpdates {
    read: RwLock<Option<(Timestamp, Arc<Vec<PastUpdate>>)>>,
}

/// An update in short.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PastUpdate {
    key_store: CustomKeyStoreId,
    began: Timestamp,
    /// If it has concluded.
    ended: Option<Timestamp>,
    /// When KMS took a new credential from it that was not taken back.
    credential_set: Option<Timestamp>,
}

/// For gauges.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// When the credential was set, as far as anybody here knows.
    pub(super) credentials_set: BTreeMap<CustomKeyStoreId, Timestamp>,
    /// When settings showed that no update of ours made.
    pub(super) drifts: BTreeMap<CustomKeyStoreId, Timestamp>,
}

impl PastUpdates {
    /// What is known now. Changes that were seen lately are held against updates that are read anew.
    pub(super) async fn ledger(
        &self,
        driver: &Driver,
        sightings: &[Arc<Sighting>],
        now: Timestamp,
    ) -> Result<Ledger, OrderError> {
        let changed = sightings.iter().filter_map(|sighting| sighting.changed.map(|changed| changed.at)).max();
        let kept = self.read.read().unwrap_or_else(PoisonError::into_inner).clone();
        // A clock that was set back makes it old, too.
        let fresh = kept.filter(|(at, _)| {
            (0.0..FRESH_SECONDS).contains(&now.seconds_since(*at)) && changed.is_none_or(|changed| changed < *at)
        });
        let updates = if let Some((_, updates)) = fresh {
            updates
        } else {
            let records = driver.list(None, UPDATES).await?;
            let updates: Arc<Vec<PastUpdate>> = Arc::new(records.iter().map(|record| PastUpdate::of(record)).collect());
            *self.read.write().unwrap_or_else(PoisonError::into_inner) = Some((now, Arc::clone(&updates)));
            updates
        };
        Ok(ledger(&updates, sightings))
    }
}

impl PastUpdate {
    fn of(record: &UpdateRecord) -> Self {
        let plan = record.state.plan();
        let is_final = record.state.status().status.is_final();
        let credential_set = plan.change.credential.as_ref().and_then(|_| update_in_force(&record.events));
        Self {
            key_store: plan.key_store.clone(),
            began: plan.created_at,
            ended: record.events.last().filter(|_| is_final).map(|last| last.at),
            credential_set,
        }
    }
}

/// When KMS took the update, unless it was taken back.
fn update_in_force(events: &[Recorded]) -> Option<Timestamp> {
    let done = |recorded: &&Recorded| {
        matches!(&recorded.event, Event::StepSettled { step: Step::Update, outcome: StepOutcome::Done { .. }, .. })
    };
    let last = events.iter().rfind(done)?;
    matches!(&last.event, Event::StepSettled { direction: Direction::Forward, .. }).then_some(last.at)
}

fn ledger(updates: &[PastUpdate], sightings: &[Arc<Sighting>]) -> Ledger {
    let mut ledger = Ledger::default();
    for sighting in sightings {
        let own = || updates.iter().filter(|update| update.key_store == sighting.id);
        // It happened at some time between two looks.
        let ours = |from: Timestamp, to: Timestamp| {
            own().any(|update| update.began <= to && update.ended.is_none_or(|ended| from <= ended))
        };
        let drift = sighting.changed.filter(|changed| !ours(changed.after, changed.at));
        if let Some(drift) = drift {
            ledger.drifts.insert(sighting.id.clone(), drift.at);
        }
        let Some(store) = sighting.description.as_ref().filter(|store| store.xks().is_some()) else { continue };
        let elsewhere = drift.filter(|drift| drift.credential).map(|drift| drift.at);
        let known = own().filter_map(|update| update.credential_set).chain(elsewhere).chain(store.created).max();
        if let Some(at) = known {
            ledger.credentials_set.insert(sighting.id.clone(), at);
        }
    }
    ledger
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::Changed;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(seconds)
    }

    #[test]
    fn a_change_is_ours_if_an_update_of_the_key_store_was_open_meanwhile() {
        let id = CustomKeyStoreId::parse("cks-one").unwrap();
        let sighting = |after, seen| {
            let mut sighting = Sighting::unseen(id.clone(), None, true);
            sighting.changed = Some(Changed { after: at(after), at: at(seen), credential: false });
            Arc::new(sighting)
        };
        let update = |key_store: &str, began, ended: Option<i64>| PastUpdate {
            key_store: CustomKeyStoreId::parse(key_store).unwrap(),
            began: at(began),
            ended: ended.map(at),
            credential_set: None,
        };
        for (updates, is_drift) in [
            (vec![], true),
            (vec![update("cks-one", 90, Some(110))], false),
            (vec![update("cks-one", 130, None)], false),
            (vec![update("cks-one", 10, Some(99))], true),
            (vec![update("cks-one", 161, None)], true),
            (vec![update("cks-two", 90, None)], true),
        ] {
            let ledger = ledger(&updates, &[sighting(100, 160)]);
            assert_eq!(ledger.drifts.get(&id), is_drift.then_some(&at(160)), "{updates:?}");
        }
    }
}
