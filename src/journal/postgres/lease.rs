//! Leases in the database, by its clock.

use std::time::Duration;

use super::super::{Fence, JournalError, Leased};
use super::Inner;
use crate::id::UpdateId;

impl Inner {
    pub(super) async fn lease(&self, update: UpdateId, holder: &str, ttl: Duration) -> Result<Leased, JournalError> {
        let (id, ttl) = (update.to_string(), ttl.as_secs_f64());
        loop {
            // One statement, which waits for whoever has the row and then looks at it again.
            let sql = "UPDATE updates SET fence = fence + 1, lease_holder = $2, \
                       lease_until = clock_timestamp() + make_interval(secs => $3) \
                       WHERE id = $1 AND (lease_holder IS NULL OR lease_holder = $2 OR lease_until <= clock_timestamp()) \
                       RETURNING fence";
            if let Some(row) = self.change(sql, &[&id, &holder, &ttl]).await?.first() {
                return Ok(Leased::Granted(Fence(self.get(row, 0)?)));
            }
            let sql = "SELECT lease_holder, extract(epoch FROM lease_until - clock_timestamp())::float8 \
                       FROM updates WHERE id = $1";
            let rows = self.rows(sql, &[&id]).await?;
            let row = rows.first().ok_or(JournalError::NotFound(update))?;
            let by: Option<String> = self.get(row, 0)?;
            let left: Option<f64> = self.get(row, 1)?;
            // Given back or ended since the first look: asked for again.
            if let (Some(by), Some(left)) = (by, left.filter(|left| *left > 0.0)) {
                return Ok(Leased::Held { by, left: Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX) });
            }
        }
    }

    pub(super) async fn renew(&self, update: UpdateId, fence: Fence, ttl: Duration) -> Result<(), JournalError> {
        let sql = "UPDATE updates SET lease_until = clock_timestamp() + make_interval(secs => $3) \
                   WHERE id = $1 AND fence = $2 AND lease_holder IS NOT NULL RETURNING fence";
        let rows = self.change(sql, &[&update.to_string(), &fence.0, &ttl.as_secs_f64()]).await?;
        if rows.is_empty() { Err(JournalError::Fenced { update }) } else { Ok(()) }
    }

    pub(super) async fn release(&self, update: UpdateId, fence: Fence) -> Result<(), JournalError> {
        let sql = "UPDATE updates SET lease_holder = NULL, lease_until = NULL WHERE id = $1 AND fence = $2";
        self.change(sql, &[&update.to_string(), &fence.0]).await.map(drop)
    }
}
