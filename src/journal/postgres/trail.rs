//! The audit trail in the database.

use async_trait::async_trait;
use deadpool_postgres::Transaction;
use tokio_postgres::Row;

use super::super::{AuditTrail, JournalError, LARGEST_PAGE, LinesWanted};
use super::{Inner, PostgresJournal};
use crate::audit::{Entry, Hash, Head, Line, Subject, document_hash, entry_of, line_text, report_kept};
use crate::clock::Timestamp;
use crate::id::{ReportId, UpdateId};
use crate::key_store::CustomKeyStoreId;
use crate::update::{Event, PlanDigest, Recorded};

/// One writer at a time finds where the chain ends; the number is this program's own.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7842093357214)";
const LAST: &str = "SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1";

#[async_trait]
impl AuditTrail for PostgresJournal {
    async fn note(&self, entry: &Entry) -> Result<Head, JournalError> {
        self.0.bounded(self.0.note(entry.clone())).await
    }

    async fn lines(&self, wanted: &LinesWanted) -> Result<Vec<String>, JournalError> {
        let sql = "SELECT sequence, entry, digest, previous, hash FROM audit WHERE sequence > $1 \
                   AND ($2::text IS NULL OR key_store = $2) AND ($3::text IS NULL OR update_id = $3) \
                   ORDER BY sequence LIMIT $4";
        let after = i64::try_from(wanted.after).unwrap_or(i64::MAX);
        let key_store = wanted.key_store.as_ref().map(CustomKeyStoreId::as_str);
        let update = wanted.update.map(|update| update.to_string());
        let limit = i64::try_from(wanted.limit.min(LARGEST_PAGE)).unwrap_or(0);
        let rows = self.0.rows(sql, &[&after, &key_store, &update, &limit]).await?;
        rows.iter().map(|row| self.0.stored(row)).collect()
    }

    async fn head(&self) -> Result<Head, JournalError> {
        self.0.head(&self.0.rows(LAST, &[]).await?)
    }

    async fn keep_report(
        &self,
        at: Timestamp,
        subject: &Subject,
        report: ReportId,
        document: &str,
    ) -> Result<(), JournalError> {
        self.0.bounded(self.0.keep_report(at, subject, report, document)).await
    }

    async fn reports(&self, update: UpdateId) -> Result<Vec<(ReportId, String)>, JournalError> {
        // Identifiers sort by time.
        let sql = "SELECT id, body FROM reports WHERE update_id = $1 ORDER BY id";
        let rows = self.0.rows(sql, &[&update.to_string()]).await?;
        let read = |row| {
            let id = ReportId::parse(&self.0.get::<String>(row, 0)?).map_err(|error| self.0.failed(error))?;
            Ok((id, self.0.get(row, 1)?))
        };
        rows.iter().map(read).collect()
    }

    async fn report(&self, report: ReportId) -> Result<Option<(UpdateId, String)>, JournalError> {
        let rows = self.0.rows("SELECT update_id, body FROM reports WHERE id = $1", &[&report.to_string()]).await?;
        let read = |row| Ok((self.0.read_id(&self.0.get::<String>(row, 0)?)?, self.0.get(row, 1)?));
        rows.first().map(read).transpose()
    }
}

impl Inner {
    async fn note(&self, entry: Entry) -> Result<Head, JournalError> {
        let mut borrowed = self.borrow().await?;
        let client = borrowed.client()?;
        let transaction = client.transaction().await.map_err(|error| self.failed(error))?;
        let head = self.append_line(&transaction, entry).await?;
        // Not through `commit`: what tests count are the writes of updates.
        transaction.commit().await.map_err(|error| self.failed(error))?;
        borrowed.give_back();
        Ok(head)
    }

    async fn keep_report(
        &self,
        at: Timestamp,
        subject: &Subject,
        report: ReportId,
        document: &str,
    ) -> Result<(), JournalError> {
        let mut borrowed = self.borrow().await?;
        let client = borrowed.client()?;
        let transaction = client.transaction().await.map_err(|error| self.failed(error))?;
        let sql = "INSERT INTO reports (id, update_id, body) VALUES ($1, $2, $3)";
        self.query(&transaction, sql, &[&report.to_string(), &subject.update.to_string(), &document]).await?;
        let entry = report_kept(at, subject, report, document_hash(document.as_bytes()));
        self.append_line(&transaction, entry).await?;
        self.commit(transaction).await?;
        borrowed.give_back();
        Ok(())
    }

    /// What the trail says of an event, within the event's own transaction.
    pub(super) async fn note_event(
        &self,
        transaction: &Transaction<'_>,
        update: UpdateId,
        recorded: &Recorded,
    ) -> Result<(), JournalError> {
        let subject = match &recorded.event {
            Event::Planned { plan } => Subject::of(plan),
            _ => self.subject(transaction, update).await?,
        };
        match entry_of(&subject, recorded) {
            Some(entry) => self.append_line(transaction, entry).await.map(drop),
            None => Ok(()),
        }
    }

    async fn subject(&self, transaction: &Transaction<'_>, update: UpdateId) -> Result<Subject, JournalError> {
        let sql = "SELECT u.key_store, e.body::jsonb #>> '{plan,digest}' FROM updates u \
                   JOIN events e ON e.update_id = u.id AND e.sequence = 1 WHERE u.id = $1";
        let rows = self.query(transaction, sql, &[&update.to_string()]).await?;
        let row = rows.first().ok_or(JournalError::NotFound(update))?;
        let key_store = CustomKeyStoreId::parse(&self.get::<String>(row, 0)?).map_err(|error| self.failed(error))?;
        Ok(Subject { update, key_store, plan: PlanDigest::stated(&self.get::<String>(row, 1)?) })
    }

    pub(super) async fn append_line(&self, transaction: &Transaction<'_>, entry: Entry) -> Result<Head, JournalError> {
        self.query(transaction, LOCK, &[]).await?;
        let line = Line::following(self.head(&self.query(transaction, LAST, &[]).await?)?, entry);
        let number = i64::try_from(line.sequence).unwrap_or(i64::MAX);
        let sql = "INSERT INTO audit (sequence, entry, digest, previous, hash) VALUES ($1, $2, $3, $4, $5)";
        let (digest, previous, hash) = (line.digest.to_string(), line.previous.to_string(), line.hash.to_string());
        self.query(transaction, sql, &[&number, &line.entry_text(), &digest, &previous, &hash]).await?;
        Ok(line.head())
    }

    fn head(&self, rows: &[Row]) -> Result<Head, JournalError> {
        let Some(row) = rows.first() else { return Ok(Head::genesis()) };
        let hash = Hash::parse(&self.get::<String>(row, 1)?).map_err(|error| self.failed(error))?;
        Ok(Head { sequence: u64::try_from(self.get::<i64>(row, 0)?).unwrap_or(0), hash })
    }

    /// A line as it is stored.
    fn stored(&self, row: &Row) -> Result<String, JournalError> {
        let sequence = u64::try_from(self.get::<i64>(row, 0)?).unwrap_or(0);
        let text = |index| self.get::<String>(row, index);
        Ok(line_text(sequence, &text(1)?, &text(2)?, &text(3)?, &text(4)?))
    }
}
