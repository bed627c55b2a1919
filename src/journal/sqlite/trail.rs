//! The audit trail in the journal's file.

use std::path::Path;

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params};

use super::super::{AuditTrail, JournalError, LARGEST_PAGE, LinesWanted};
use super::{Inner, SqliteJournal};
use crate::audit::{Entry, Hash, Head, Line, Subject, document_hash, entry_of, line_text, report_kept};
use crate::clock::Timestamp;
use crate::id::{ReportId, UpdateId};
use crate::key_store::CustomKeyStoreId;
use crate::update::{Event, PlanDigest, Recorded};

#[async_trait]
impl AuditTrail for SqliteJournal {
    async fn note(&self, entry: &Entry) -> Result<Head, JournalError> {
        let entry = entry.clone();
        self.run(move |inner, connection| {
            let transaction = inner.begin(connection)?;
            let head = inner.append_line(&transaction, entry)?;
            // Not through `commit`: what tests count are the writes of updates.
            transaction.commit().map_err(|error| inner.failed(error))?;
            Ok(head)
        })
        .await
    }

    async fn lines(&self, wanted: &LinesWanted) -> Result<Vec<String>, JournalError> {
        let wanted = wanted.clone();
        self.run(move |inner, connection| page(connection, &wanted).map_err(|error| inner.failed(error))).await
    }

    async fn head(&self) -> Result<Head, JournalError> {
        self.run(|inner, connection| inner.head(connection)).await
    }

    async fn keep_report(
        &self,
        at: Timestamp,
        subject: &Subject,
        report: ReportId,
        document: &str,
    ) -> Result<(), JournalError> {
        let (subject, document) = (subject.clone(), document.to_owned());
        self.run(move |inner, connection| {
            let transaction = inner.begin(connection)?;
            transaction
                .execute(
                    "INSERT INTO reports (id, update_id, body) VALUES (?1, ?2, ?3)",
                    params![report.to_string(), subject.update.to_string(), document],
                )
                .map_err(|error| inner.failed(error))?;
            let entry = report_kept(at, &subject, report, document_hash(document.as_bytes()));
            inner.append_line(&transaction, entry)?;
            inner.commit(transaction)
        })
        .await
    }

    async fn reports(&self, update: UpdateId) -> Result<Vec<(ReportId, String)>, JournalError> {
        self.run(move |inner, connection| {
            // Identifiers sort by time.
            let sql = "SELECT id, body FROM reports WHERE update_id = ?1 ORDER BY id";
            let mut statement = connection.prepare_cached(sql).map_err(|error| inner.failed(error))?;
            let rows = statement
                .query_map([update.to_string()], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| inner.failed(error))?;
            let read = |(id, body): (String, String)| match ReportId::parse(&id) {
                Ok(id) => Ok((id, body)),
                Err(error) => Err(inner.malformed(Box::new(error))),
            };
            rows.into_iter().map(read).collect()
        })
        .await
    }

    async fn report(&self, report: ReportId) -> Result<Option<(UpdateId, String)>, JournalError> {
        self.run(move |inner, connection| {
            let sql = "SELECT update_id, body FROM reports WHERE id = ?1";
            let found = connection
                .query_row(sql, [report.to_string()], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))
                .optional()
                .map_err(|error| inner.failed(error))?;
            found.map(|(update, body)| Ok((inner.read_id(&update)?, body))).transpose()
        })
        .await
    }
}

impl Inner {
    /// What the trail says of an event, within the event's own transaction.
    pub(super) fn note_event(
        &self,
        connection: &Connection,
        update: UpdateId,
        sequence: u64,
        at: Timestamp,
        event: &Event,
    ) -> Result<(), JournalError> {
        let subject = match event {
            Event::Planned { plan } => Subject::of(plan),
            _ => self.subject(connection, update)?,
        };
        match entry_of(&subject, &Recorded { sequence, at, event: event.clone() }) {
            Some(entry) => self.append_line(connection, entry).map(drop),
            None => Ok(()),
        }
    }

    fn subject(&self, connection: &Connection, update: UpdateId) -> Result<Subject, JournalError> {
        let sql = "SELECT u.key_store, e.body ->> '$.plan.digest' FROM updates u \
                   JOIN events e ON e.update_id = u.id AND e.sequence = 1 WHERE u.id = ?1";
        let found: Option<(String, String)> = connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                statement.query_row([update.to_string()], |row| Ok((row.get(0)?, row.get(1)?))).optional()
            })
            .map_err(|error| self.failed(error))?;
        let (key_store, plan) = found.ok_or(JournalError::NotFound(update))?;
        let key_store = CustomKeyStoreId::parse(&key_store).map_err(|error| self.malformed(Box::new(error)))?;
        Ok(Subject { update, key_store, plan: PlanDigest::stated(&plan) })
    }

    pub(super) fn append_line(&self, connection: &Connection, entry: Entry) -> Result<Head, JournalError> {
        let line = Line::following(self.head(connection)?, entry);
        let number = i64::try_from(line.sequence).unwrap_or(i64::MAX);
        connection
            .prepare_cached("INSERT INTO audit (sequence, entry, digest, previous, hash) VALUES (?1, ?2, ?3, ?4, ?5)")
            .and_then(|mut statement| {
                statement.execute(params![
                    number,
                    line.entry_text(),
                    line.digest.to_string(),
                    line.previous.to_string(),
                    line.hash.to_string(),
                ])
            })
            .map_err(|error| self.failed(error))?;
        Ok(line.head())
    }

    fn head(&self, connection: &Connection) -> Result<Head, JournalError> {
        let last: Option<(i64, String)> = connection
            .prepare_cached("SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1")
            .and_then(|mut statement| statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional())
            .map_err(|error| self.failed(error))?;
        let Some((sequence, hash)) = last else { return Ok(Head::genesis()) };
        let hash = Hash::parse(&hash).map_err(|error| self.malformed(Box::new(error)))?;
        Ok(Head { sequence: u64::try_from(sequence).unwrap_or(0), hash })
    }
}

/// A line as it is stored.
fn stored(row: &Row<'_>) -> rusqlite::Result<String> {
    let sequence = u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0);
    let text = |index| row.get::<_, String>(index);
    Ok(line_text(sequence, &text(1)?, &text(2)?, &text(3)?, &text(4)?))
}

fn page(connection: &Connection, wanted: &LinesWanted) -> rusqlite::Result<Vec<String>> {
    let LinesWanted { after, limit, key_store, update } = wanted;
    let after = i64::try_from(*after).unwrap_or(i64::MAX);
    let limit = i64::try_from((*limit).min(LARGEST_PAGE)).unwrap_or(0);
    let select = "SELECT sequence, entry, digest, previous, hash FROM audit WHERE sequence > ?1";
    let order = "ORDER BY sequence LIMIT ?2";
    let key_store = key_store.as_ref().map(CustomKeyStoreId::as_str);
    let update = update.map(|update| update.to_string());
    // One statement for each combination: an index serves each of them.
    match (key_store, update) {
        (None, None) => collected(connection, &format!("{select} {order}"), params![after, limit]),
        (Some(key_store), None) => {
            collected(connection, &format!("{select} AND key_store = ?3 {order}"), params![after, limit, key_store])
        }
        (None, Some(update)) => {
            collected(connection, &format!("{select} AND update_id = ?3 {order}"), params![after, limit, update])
        }
        (Some(key_store), Some(update)) => {
            let sql = format!("{select} AND update_id = ?3 AND key_store = ?4 {order}");
            collected(connection, &sql, params![after, limit, update, key_store])
        }
    }
}

fn collected(connection: &Connection, sql: &str, parameters: impl rusqlite::Params) -> rusqlite::Result<Vec<String>> {
    connection.prepare_cached(sql)?.query_map(parameters, stored)?.collect()
}

/// The audit trail of a journal's file, read without taking the journal: beside a running daemon, or from a copy.
#[derive(Debug)]
pub struct StoredTrail {
    path: String,
    connection: Connection,
}

impl StoredTrail {
    /// Opens the file for reading only; it must be a journal with a trail.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let name = path.display().to_string();
        let failed = |source: rusqlite::Error| JournalError::Database { path: name.clone(), source: Box::new(source) };
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
        connection.query_row("SELECT count(*) FROM (SELECT 1 FROM audit LIMIT 1)", [], |_| Ok(())).map_err(failed)?;
        Ok(Self { path: name, connection })
    }

    /// As [`AuditTrail::lines`].
    pub fn lines(&self, wanted: &LinesWanted) -> Result<Vec<String>, JournalError> {
        let failed =
            |source: rusqlite::Error| JournalError::Database { path: self.path.clone(), source: Box::new(source) };
        page(&self.connection, wanted).map_err(failed)
    }
}
