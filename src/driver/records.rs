//! Records of updates as they were last read. Events are only ever appended, so a further look costs what is new, which
//! most of the time is nothing.
//!
//! Whether something is new is always asked of the journal: another replica may have recorded it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Inner, OrderError, UpdateRecord};
use crate::id::UpdateId;
use crate::journal::JournalError;
use crate::key_store::CustomKeyStoreId;
use crate::update::{Recorded, State};

/// How many are kept. More than are open at once where people live; a longer list is read anew each time.
const KEPT: usize = 500;

/// The latest reading of each.
#[derive(Default)]
pub(super) struct Records(Mutex<HashMap<UpdateId, Arc<UpdateRecord>>>);

impl Records {
    fn kept(&self, id: UpdateId) -> Option<Arc<UpdateRecord>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    fn keep(&self, record: &Arc<UpdateRecord>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT && !kept.contains_key(&record.id()) {
            kept.retain(|_, other| other.state.ending().is_none());
            if kept.len() >= KEPT {
                kept.clear();
            }
        }
        // Somebody else may have read more in the meantime.
        if kept.get(&record.id()).is_none_or(|other| other.last_event() < record.last_event()) {
            kept.insert(record.id(), Arc::clone(record));
        }
    }
}

impl Inner {
    /// The records of these updates, in this order.
    pub(super) async fn records(&self, ids: &[UpdateId]) -> Result<Vec<Arc<UpdateRecord>>, OrderError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let kept: Vec<_> = ids.iter().map(|id| self.records.kept(*id)).collect();
        let known: Vec<_> =
            ids.iter().zip(&kept).map(|(id, kept)| (*id, kept.as_ref().map_or(0, |kept| kept.last_event()))).collect();
        let news = self.parts.journal.news(&known).await.map_err(OrderError::Journal)?;
        let mut records = Vec::with_capacity(ids.len());
        for ((id, kept), news) in ids.iter().zip(kept).zip(news) {
            let record = match kept {
                Some(kept) if news.is_empty() => kept,
                kept => {
                    let record = Arc::new(grown(*id, kept.as_deref(), news)?);
                    self.records.keep(&record);
                    record
                }
            };
            records.push(record);
        }
        Ok(records)
    }

    /// The open update of a key store, if there is one.
    pub(super) async fn open_of(&self, key_store: &CustomKeyStoreId) -> Result<Option<Arc<UpdateRecord>>, OrderError> {
        let mut open = self.parts.journal.open_updates().await.map_err(OrderError::Journal)?;
        // Whose an update is, never changes.
        let others =
            |id: &UpdateId| self.records.kept(*id).is_some_and(|kept| kept.state.plan().key_store != *key_store);
        open.retain(|id| !others(id));
        let records = self.records(&open).await?;
        Ok(records.into_iter().find(|record| record.state.plan().key_store == *key_store))
    }
}

/// A record with what was recorded since.
fn grown(id: UpdateId, kept: Option<&UpdateRecord>, news: Vec<Recorded>) -> Result<UpdateRecord, OrderError> {
    let (mut state, mut events) =
        kept.map_or((None, Vec::new()), |kept| (Some(kept.state.clone()), kept.events.clone()));
    for recorded in &news {
        let event = &recorded.event;
        let next = state.map_or_else(|| State::begin(event), |state| state.apply(event));
        state = Some(next.map_err(OrderError::Record)?);
    }
    events.extend(news);
    let state = state.ok_or(OrderError::Journal(JournalError::NotFound(id)))?;
    Ok(UpdateRecord { state, events })
}
