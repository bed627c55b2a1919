//! The journal in one SQLite file.
//!
//! Write-ahead log with `synchronous = FULL`: a commit that returned is on disk. One process holds the file, by a lock
//! on a file beside it; within the process one connection writes, off the runtime's threads. Another one reads, so that
//! whoever looks does not wait for the disk of whoever records.

mod canary;
mod freeze;
mod lease;
mod schema;
mod trail;
mod vigil;

pub use trail::StoredTrail;

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};
use secrecy::SecretString;

use super::codec::{self, EVENT_VERSION};
use super::seal::{SealError, SealingKey};
use super::secret::Obsolete;
use super::{
    Created, Fence, Idempotency, Journal, JournalError, LARGEST_PAGE, Leased, NewUpdate, OpenError, SecretPurpose,
};
use crate::clock::Timestamp;
use crate::id::UpdateId;
use crate::key_store::{AccessKeyId, CustomKeyStoreId};
use crate::update::{Ending, Event, Recorded};

/// How to open the journal.
#[derive(Debug)]
pub struct SqliteOptions {
    /// The database file; its directory must exist. Made with mode 0600.
    pub path: PathBuf,
    /// Seals secrets; without it none are kept.
    pub sealing_key: Option<SealingKey>,
    /// Ends the process right after this many writes, for tests of what a restart makes of it.
    #[cfg(feature = "sandbox")]
    pub crash_after_writes: Option<u64>,
}

/// The journal in one SQLite file.
#[derive(Clone, Debug)]
pub struct SqliteJournal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: String,
    connection: Mutex<Connection>,
    /// For reads alone; sees what was committed when a read begins.
    reader: Mutex<Connection>,
    sealing_key: Option<SealingKey>,
    leases: lease::Leases,
    /// Held for as long as the journal is open; the system releases it with the process, however that ends.
    _lock: File,
    #[cfg(feature = "sandbox")]
    crash: Option<super::crash::Crash>,
}

impl SqliteJournal {
    /// Opens the journal, and makes it or brings it to the present schema where needed. Blocks for a moment.
    pub fn open(options: SqliteOptions) -> Result<Self, OpenError> {
        let path = options.path.display().to_string();
        let lock = lock(&options.path)?;
        private_file(&options.path)?;
        let database = |source| OpenError::Database { path: path.clone(), source };
        let mut connection = Connection::open(&options.path).map_err(database)?;
        connection.busy_timeout(Duration::from_secs(5)).map_err(database)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(database)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(database)?;
        connection.pragma_update(None, "foreign_keys", true).map_err(database)?;
        // Erased secrets must not live on in free pages.
        connection.pragma_update(None, "secure_delete", true).map_err(database)?;
        schema::migrate(&mut connection, &path)?;
        let reader = Connection::open_with_flags(
            &options.path,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )
        .map_err(database)?;
        reader.busy_timeout(Duration::from_secs(5)).map_err(database)?;
        Ok(Self(Arc::new(Inner {
            path,
            connection: Mutex::new(connection),
            reader: Mutex::new(reader),
            sealing_key: options.sealing_key,
            leases: lease::Leases::default(),
            _lock: lock,
            #[cfg(feature = "sandbox")]
            crash: options.crash_after_writes.map(super::crash::Crash::after),
        })))
    }

    async fn run<T, F>(&self, work: F) -> Result<T, JournalError>
    where
        T: Send + 'static,
        F: FnOnce(&Inner, &mut Connection) -> Result<T, JournalError> + Send + 'static,
    {
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || {
            let mut connection = inner.connection.lock().unwrap_or_else(PoisonError::into_inner);
            work(&inner, &mut connection)
        })
        .await
        .map_err(|_| JournalError::Closed)?
    }

    /// What only looks.
    async fn read<T, F>(&self, look: F) -> Result<T, JournalError>
    where
        T: Send + 'static,
        F: FnOnce(&Inner, &Connection) -> Result<T, JournalError> + Send + 'static,
    {
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || {
            let reader = inner.reader.lock().unwrap_or_else(PoisonError::into_inner);
            look(&inner, &reader)
        })
        .await
        .map_err(|_| JournalError::Closed)?
    }
}

#[async_trait]
impl Journal for SqliteJournal {
    async fn create(&self, new: NewUpdate) -> Result<Created, JournalError> {
        self.run(move |inner, connection| inner.create(connection, &new)).await
    }

    async fn find(&self, idempotency: &Idempotency) -> Result<Option<Created>, JournalError> {
        let idempotency = idempotency.clone();
        self.run(move |inner, connection| inner.find(connection, &idempotency)).await
    }

    async fn lease(&self, update: UpdateId, holder: &str, ttl: Duration) -> Result<Leased, JournalError> {
        let holder = holder.to_owned();
        self.run(move |inner, connection| inner.lease(connection, update, holder, ttl)).await
    }

    async fn renew(&self, update: UpdateId, fence: Fence, ttl: Duration) -> Result<(), JournalError> {
        self.run(move |inner, connection| inner.renew(connection, update, fence, ttl)).await
    }

    async fn release(&self, update: UpdateId, fence: Fence) -> Result<(), JournalError> {
        self.run(move |inner, connection| inner.release(connection, update, fence)).await
    }

    async fn append(
        &self,
        update: UpdateId,
        fence: Fence,
        sequence: u64,
        at: Timestamp,
        event: &Event,
    ) -> Result<Recorded, JournalError> {
        let event = event.clone();
        self.run(move |inner, connection| {
            let transaction = inner.begin(connection)?;
            inner.admit(&transaction, update, fence)?;
            inner.insert_event(&transaction, update, sequence, at, &event)?;
            if let Event::Concluded { ending } = &event {
                inner.conclude(&transaction, update, ending)?;
            }
            inner.commit(transaction)?;
            Ok(Recorded { sequence, at, event })
        })
        .await
    }

    async fn load(&self, update: UpdateId) -> Result<Vec<Recorded>, JournalError> {
        self.read(move |inner, connection| {
            let events = inner.after(connection, update, 0)?;
            if events.is_empty() { Err(JournalError::NotFound(update)) } else { Ok(events) }
        })
        .await
    }

    async fn news(&self, known: &[(UpdateId, u64)]) -> Result<Vec<Vec<Recorded>>, JournalError> {
        let known = known.to_vec();
        self.read(move |inner, connection| {
            known.into_iter().map(|(update, after)| inner.after(connection, update, after)).collect()
        })
        .await
    }

    async fn open_updates(&self) -> Result<Vec<UpdateId>, JournalError> {
        self.read(|inner, connection| inner.ids(connection, "SELECT id FROM updates WHERE open = 1 ORDER BY id", []))
            .await
    }

    async fn list(&self, before: Option<UpdateId>, limit: usize) -> Result<Vec<UpdateId>, JournalError> {
        // Identifiers sort by time; "v" comes after every identifier, which all begin with "update-".
        let before = before.map_or_else(|| "v".to_owned(), |id| id.to_string());
        let limit = i64::try_from(limit.min(LARGEST_PAGE)).unwrap_or(0);
        self.read(move |inner, connection| {
            let sql = "SELECT id FROM updates WHERE id < ?1 ORDER BY id DESC LIMIT ?2";
            inner.ids(connection, sql, params![before, limit])
        })
        .await
    }

    async fn with_new_credential(
        &self,
        key_store: &CustomKeyStoreId,
        before: Option<UpdateId>,
        limit: usize,
    ) -> Result<Vec<UpdateId>, JournalError> {
        let key_store = key_store.to_string();
        let before = before.map_or_else(|| "v".to_owned(), |id| id.to_string());
        let limit = i64::try_from(limit.min(LARGEST_PAGE)).unwrap_or(0);
        self.read(move |inner, connection| {
            let sql = "SELECT id FROM updates WHERE key_store = ?1 AND new_access_key_id IS NOT NULL AND id < ?2 \
                       ORDER BY id DESC LIMIT ?3";
            inner.ids(connection, sql, params![key_store, before, limit])
        })
        .await
    }

    async fn key_stores_with_new_credential(&self) -> Result<Vec<CustomKeyStoreId>, JournalError> {
        self.read(|inner, connection| {
            let sql = "SELECT DISTINCT key_store FROM updates WHERE new_access_key_id IS NOT NULL ORDER BY key_store";
            let failed = |error| inner.failed(error);
            let mut statement = connection.prepare_cached(sql).map_err(failed)?;
            let texts = statement.query_map([], |row| row.get::<_, String>(0)).map_err(failed)?;
            let texts = texts.collect::<Result<Vec<_>, _>>().map_err(failed)?;
            // One that cannot be read is no key store of KMS, and nobody asks about it.
            Ok(texts.iter().filter_map(|text| CustomKeyStoreId::parse(text).ok()).collect())
        })
        .await
    }

    async fn secret(&self, update: UpdateId, purpose: SecretPurpose) -> Result<Option<SecretString>, JournalError> {
        self.run(move |inner, connection| {
            let sealed: Option<Vec<u8>> = connection
                .query_row(
                    "SELECT sealed FROM secrets WHERE update_id = ?1 AND purpose = ?2",
                    params![update.to_string(), purpose.as_str()],
                    |row| row.get(0),
                )
                .optional()
                .map_err(|error| inner.failed(error))?;
            let Some(sealed) = sealed else { return Ok(None) };
            let key = inner.sealing_key.as_ref().ok_or(JournalError::Seal(SealError::NoKey))?;
            key.open(update, purpose, &sealed).map(Some).map_err(JournalError::Seal)
        })
        .await
    }

    async fn holder_of(
        &self,
        key_store: &CustomKeyStoreId,
        access_key_id: &AccessKeyId,
    ) -> Result<Option<UpdateId>, JournalError> {
        let (key_store, access_key_id) = (key_store.to_string(), access_key_id.to_string());
        self.run(move |inner, connection| {
            let sql = "SELECT u.id FROM updates u JOIN secrets s ON s.update_id = u.id AND s.purpose = 'new_credential' \
                       WHERE u.key_store = ?1 AND u.verified = 1 AND u.new_access_key_id = ?2 ORDER BY u.id DESC LIMIT 1";
            Ok(inner.ids(connection, sql, params![key_store, access_key_id])?.into_iter().next())
        })
        .await
    }

    fn keeps_secrets(&self) -> bool {
        self.0.sealing_key.is_some()
    }
}

impl Inner {
    fn failed(&self, source: rusqlite::Error) -> JournalError {
        JournalError::Database { path: self.path.clone(), source: Box::new(source) }
    }

    fn begin<'a>(&self, connection: &'a mut Connection) -> Result<Transaction<'a>, JournalError> {
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(|error| self.failed(error))
    }

    fn commit(&self, transaction: Transaction<'_>) -> Result<(), JournalError> {
        transaction.commit().map_err(|error| self.failed(error))?;
        #[cfg(feature = "sandbox")]
        if let Some(crash) = &self.crash {
            crash.count();
        }
        Ok(())
    }

    fn create(&self, connection: &mut Connection, new: &NewUpdate) -> Result<Created, JournalError> {
        let transaction = self.begin(connection)?;
        if let Some(idempotency) = &new.idempotency
            && let Some(earlier) = self.find(&transaction, idempotency)?
        {
            return Ok(earlier);
        }
        let key_store = new.plan.key_store.to_string();
        let sql = "SELECT id FROM updates WHERE key_store = ?1 AND open = 1";
        if let Some(open) = self.ids(&transaction, sql, [&key_store])?.first() {
            return Ok(Created::Locked(*open));
        }
        let id = new.plan.id;
        let idempotency = new.idempotency.as_ref();
        transaction
            .execute(
                "INSERT INTO updates (id, key_store, new_access_key_id, open, verified, idempotency_key, request_digest) \
                 VALUES (?1, ?2, ?3, 1, 0, ?4, ?5)",
                params![
                    id.to_string(),
                    key_store,
                    new.plan.change.credential.as_ref().map(|credential| credential.access_key_id.to_string()),
                    idempotency.map(|idempotency| &idempotency.key),
                    idempotency.map(|idempotency| &idempotency.request_digest),
                ],
            )
            .map_err(|error| self.failed(error))?;
        let planned = Event::Planned { plan: Box::new(new.plan.clone()) };
        self.insert_event(&transaction, id, 1, new.at, &planned)?;
        for (purpose, secret) in &new.secrets {
            let key = self.sealing_key.as_ref().ok_or(JournalError::Seal(SealError::NoKey))?;
            let sealed = key.seal(id, *purpose, secret).map_err(JournalError::Seal)?;
            transaction
                .execute(
                    "INSERT INTO secrets (update_id, purpose, sealed) VALUES (?1, ?2, ?3)",
                    params![id.to_string(), purpose.as_str(), sealed],
                )
                .map_err(|error| self.failed(error))?;
        }
        self.commit(transaction)?;
        Ok(Created::New)
    }

    fn conclude(&self, transaction: &Transaction<'_>, update: UpdateId, ending: &Ending) -> Result<(), JournalError> {
        let id = update.to_string();
        let verified = ending.is_new_in_force();
        transaction
            .execute("UPDATE updates SET open = 0, verified = ?2 WHERE id = ?1", params![id, verified])
            .map_err(|error| self.failed(error))?;
        let obsolete: &[&str] = match Obsolete::after(ending) {
            Obsolete::AllButTheNewCredential => &[
                "DELETE FROM secrets WHERE update_id = ?1 AND purpose <> 'new_credential'",
                "DELETE FROM secrets WHERE update_id IN (SELECT o.id FROM updates o JOIN updates u USING (key_store) \
                 WHERE u.id = ?1 AND o.id <> ?1 AND u.new_access_key_id IS NOT NULL)",
            ],
            Obsolete::None => &[],
            Obsolete::All => &["DELETE FROM secrets WHERE update_id = ?1"],
        };
        for sql in obsolete {
            transaction.execute(sql, [&id]).map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    fn find(&self, connection: &Connection, idempotency: &Idempotency) -> Result<Option<Created>, JournalError> {
        let earlier: Option<(String, String)> = connection
            .query_row("SELECT id, request_digest FROM updates WHERE idempotency_key = ?1", [&idempotency.key], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()
            .map_err(|error| self.failed(error))?;
        let Some((id, request_digest)) = earlier else { return Ok(None) };
        let id = self.read_id(&id)?;
        let same = request_digest == idempotency.request_digest;
        Ok(Some(if same { Created::Existing(id) } else { Created::KeyReused(id) }))
    }

    fn insert_event(
        &self,
        connection: &Connection,
        update: UpdateId,
        sequence: u64,
        at: Timestamp,
        event: &Event,
    ) -> Result<(), JournalError> {
        let body = codec::encode(event).map_err(JournalError::Codec)?;
        let number = i64::try_from(sequence).map_err(|_| JournalError::OutOfSequence { update, sequence })?;
        let last: i64 = connection
            .query_row(
                "SELECT COALESCE(MAX(sequence), 0) FROM events WHERE update_id = ?1",
                [update.to_string()],
                |row| row.get(0),
            )
            .map_err(|error| self.failed(error))?;
        if last + 1 != number {
            return Err(JournalError::OutOfSequence { update, sequence });
        }
        connection
            .execute(
                "INSERT INTO events (update_id, sequence, at, version, body) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![update.to_string(), number, at.to_string(), EVENT_VERSION, body],
            )
            .map_err(|error| self.failed(error))?;
        self.note_event(connection, update, sequence, at, event)
    }

    /// The events of an update after this number.
    fn after(&self, connection: &Connection, update: UpdateId, after: u64) -> Result<Vec<Recorded>, JournalError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let sql =
            "SELECT sequence, at, version, body FROM events WHERE update_id = ?1 AND sequence > ?2 ORDER BY sequence";
        let mut statement = connection.prepare_cached(sql).map_err(|error| self.failed(error))?;
        let rows = statement
            .query_map(params![update.to_string(), after], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, u32>(2)?, row.get::<_, String>(3)?))
            })
            .map_err(|error| self.failed(error))?;
        let mut events = Vec::new();
        for row in rows {
            let (sequence, at, version, body) = row.map_err(|error| self.failed(error))?;
            let event = codec::decode(version, &body).map_err(JournalError::Codec)?;
            let at = Timestamp::parse(&at).map_err(|error| self.malformed(Box::new(error)))?;
            events.push(Recorded { sequence: u64::try_from(sequence).unwrap_or(0), at, event });
        }
        Ok(events)
    }

    fn ids(
        &self,
        connection: &Connection,
        sql: &str,
        parameters: impl rusqlite::Params,
    ) -> Result<Vec<UpdateId>, JournalError> {
        let mut statement = connection.prepare_cached(sql).map_err(|error| self.failed(error))?;
        let texts = statement
            .query_map(parameters, |row| row.get::<_, String>(0))
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| self.failed(error))?;
        texts.iter().map(|text| self.read_id(text)).collect()
    }

    fn read_id(&self, text: &str) -> Result<UpdateId, JournalError> {
        UpdateId::parse(text).map_err(|error| self.malformed(Box::new(error)))
    }

    fn malformed(&self, source: Box<dyn std::error::Error + Send + Sync>) -> JournalError {
        JournalError::Database { path: self.path.clone(), source }
    }
}

/// Makes sure that one process at a time has the journal. The lock is on a file of its own because SQLite has its own
/// locks on the database file.
fn lock(database: &Path) -> Result<File, OpenError> {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let failed = |source| OpenError::File { path: path.display().to_string(), source };
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path: database.display().to_string() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Makes the file for its owner alone before SQLite opens it; the log beside it takes its mode from it.
fn private_file(path: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::File { path: path.display().to_string(), source };
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path).map_err(failed)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(failed)
}

#[cfg(test)]
mod tests;
