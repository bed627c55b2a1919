//! What the latest updates tell scrapes: since when each credential is in force. Whose change a change of a key store is
//! only [`drift`](crate::drift) judges.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::clock::Timestamp;
use crate::drift::LastDrift;
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
    /// What is known now.
    pub(super) async fn ledger(
        &self,
        driver: &Driver,
        sightings: &[Arc<Sighting>],
        drifts: &BTreeMap<CustomKeyStoreId, LastDrift>,
        now: Timestamp,
    ) -> Result<Ledger, OrderError> {
        let kept = self.read.read().unwrap_or_else(PoisonError::into_inner).clone();
        // A clock that was set back makes it old, too.
        let fresh = kept.filter(|(at, _)| (0.0..FRESH_SECONDS).contains(&now.seconds_since(*at)));
        let updates = if let Some((_, updates)) = fresh {
            updates
        } else {
            let records = driver.list(None, UPDATES).await?;
            let updates: Arc<Vec<PastUpdate>> = Arc::new(records.iter().map(|record| PastUpdate::of(record)).collect());
            *self.read.write().unwrap_or_else(PoisonError::into_inner) = Some((now, Arc::clone(&updates)));
            updates
        };
        Ok(ledger(&updates, sightings, drifts))
    }
}

impl PastUpdate {
    fn of(record: &UpdateRecord) -> Self {
        let plan = record.state.plan();
        let credential_set = plan.change.credential.as_ref().and_then(|_| update_in_force(&record.events));
        Self { key_store: plan.key_store.clone(), credential_set }
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

fn ledger(
    updates: &[PastUpdate],
    sightings: &[Arc<Sighting>],
    drifts: &BTreeMap<CustomKeyStoreId, LastDrift>,
) -> Ledger {
    let mut ledger = Ledger::default();
    for sighting in sightings {
        let own = updates.iter().filter(|update| update.key_store == sighting.id);
        let drift = drifts.get(&sighting.id);
        if let Some(drift) = drift {
            ledger.drifts.insert(sighting.id.clone(), drift.at);
        }
        let Some(store) = sighting.description.as_ref().filter(|store| store.xks().is_some()) else { continue };
        let elsewhere = drift.and_then(|drift| drift.credential_at);
        let known = own.filter_map(|update| update.credential_set).chain(elsewhere).chain(store.created).max();
        if let Some(at) = known {
            ledger.credentials_set.insert(sighting.id.clone(), at);
        }
    }
    ledger
}
