//! Leases in the journal's file. One process has the file, so only the fence must outlive it: no lease does.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};
use tokio::time::Instant;

use super::super::{Fence, JournalError, Leased};
use super::Inner;
use crate::id::UpdateId;

/// Who holds which lease until when, by the clock that no one can set.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<HashMap<UpdateId, (String, Instant)>>);

impl Leases {
    fn grant(&self, update: UpdateId, holder: String, ttl: Duration) {
        let until = Instant::now() + ttl;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(update, (holder, until));
    }

    fn held(&self, update: UpdateId) -> Option<(String, Duration)> {
        let leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (holder, until) = leases.get(&update)?;
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then(|| (holder.clone(), left))
    }

    /// Says whether there is one; one that nobody else has taken goes on even when it had ended.
    fn extend(&self, update: UpdateId, ttl: Duration) -> bool {
        let until = Instant::now() + ttl;
        let mut leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        leases.get_mut(&update).map(|lease| lease.1 = until).is_some()
    }

    fn end(&self, update: UpdateId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&update);
    }
}

impl Inner {
    pub(super) fn lease(
        &self,
        connection: &mut Connection,
        update: UpdateId,
        holder: String,
        ttl: Duration,
    ) -> Result<Leased, JournalError> {
        let transaction = self.begin(connection)?;
        if let Some((by, left)) = self.leases.held(update).filter(|(by, _)| *by != holder) {
            return Ok(Leased::Held { by, left });
        }
        let sql = "UPDATE updates SET fence = fence + 1 WHERE id = ?1 RETURNING fence";
        let fence: Option<i64> = transaction
            .query_row(sql, [update.to_string()], |row| row.get(0))
            .optional()
            .map_err(|error| self.failed(error))?;
        let fence = fence.ok_or(JournalError::NotFound(update))?;
        self.commit(transaction)?;
        self.leases.grant(update, holder, ttl);
        Ok(Leased::Granted(Fence(fence)))
    }

    pub(super) fn renew(
        &self,
        connection: &Connection,
        update: UpdateId,
        fence: Fence,
        ttl: Duration,
    ) -> Result<(), JournalError> {
        self.admit(connection, update, fence)?;
        if self.leases.extend(update, ttl) { Ok(()) } else { Err(JournalError::Fenced { update }) }
    }

    pub(super) fn release(&self, connection: &Connection, update: UpdateId, fence: Fence) -> Result<(), JournalError> {
        match self.admit(connection, update, fence) {
            Ok(()) => self.leases.end(update),
            Err(JournalError::Fenced { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Lets the newest fence pass, and no other.
    pub(super) fn admit(&self, connection: &Connection, update: UpdateId, fence: Fence) -> Result<(), JournalError> {
        let newest: Option<i64> = connection
            .query_row("SELECT fence FROM updates WHERE id = ?1", [update.to_string()], |row| row.get(0))
            .optional()
            .map_err(|error| self.failed(error))?;
        match newest {
            None => Err(JournalError::NotFound(update)),
            Some(newest) if newest == fence.0 => Ok(()),
            Some(_) => Err(JournalError::Fenced { update }),
        }
    }
}
