//! The journal in PostgreSQL, for several replicas at once.
//!
//! # How it works
//!
//! Everything is in the schema `xks_preflight` of one database, which the first replica makes and a later version
//! changes, one replica at a time. A few connections are kept and made anew when they break. Leases end by the clock
//! of the database, so that the clocks of the replicas do not matter.
//!
//! # What can go wrong
//!
//! - The server does not answer: every act has a time limit, after which its connection is thrown away. Whether it
//!   was carried out is then not known, as with every error of a journal.
//! - A replica stops in the middle of a transaction: the server ends it after a few seconds and lets the others on.
//! - The server has no room, is read-only or a standby: nothing is recorded, and nothing that must be recorded
//!   first is done.

mod address;
mod canary;
mod freeze;
mod lease;
mod orders;
mod schema;
mod tls;
mod trail;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, Timeouts, Transaction,
};
use rustls::RootCertStore;
use secrecy::SecretString;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

pub use self::address::{InvalidAddress, PostgresAddress};
use super::codec::{self, EVENT_VERSION};
#[cfg(feature = "sandbox")]
use super::crash::Crash;
use super::seal::{SealError, SealingKey};
use super::{Created, Fence, Idempotency, Journal, JournalError, Leased, NewUpdate, OpenError, SecretPurpose};
use crate::clock::Timestamp;
use crate::id::UpdateId;
use crate::key_store::{AccessKeyId, CustomKeyStoreId};
use crate::update::{Ending, Event, Recorded};

/// More than this is never listed at once.
const LARGEST_PAGE: usize = 1000;
/// Connections of one replica, at most.
const CONNECTIONS: usize = 8;
/// An act that takes longer is given up, and its connection with it.
const LIMIT: Duration = Duration::from_secs(8);
/// Getting a connection takes no longer.
const CONNECT: Duration = Duration::from_secs(5);

/// What every connection begins with. The limits of the server are shorter than ours, so that it is the one to tell why.
/// `synchronous_commit = off` would lose what was said to be recorded.
const SESSION: &str = "SET search_path = xks_preflight; SET statement_timeout = '6s'; SET lock_timeout = '5s'; \
                       SET idle_in_transaction_session_timeout = '3s'; \
                       SET default_transaction_isolation = 'read committed'; \
                       SELECT set_config('synchronous_commit', 'on', false) \
                       WHERE current_setting('synchronous_commit') = 'off'";

const FIND: &str = "SELECT id, request_digest FROM updates WHERE idempotency_key = $1";

/// How to open the journal.
#[derive(Debug)]
pub struct PostgresOptions {
    /// The server and the database.
    pub address: PostgresAddress,
    /// The roots that the server's certificate is verified with, where TLS is used.
    pub roots: RootCertStore,
    /// Seals secrets; without it none are kept.
    pub sealing_key: Option<SealingKey>,
    /// Ends the process right after this many writes, for tests of what a restart makes of it.
    #[cfg(feature = "sandbox")]
    pub crash_after_writes: Option<u64>,
}

/// The journal in PostgreSQL.
#[derive(Clone)]
pub struct PostgresJournal(Arc<Inner>);

struct Inner {
    /// For messages: where the journal is, without a password.
    place: String,
    pool: Pool,
    sealing_key: Option<SealingKey>,
    #[cfg(feature = "sandbox")]
    crash: Option<Crash>,
}

impl fmt::Debug for PostgresJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresJournal").field("place", &self.0.place).finish_non_exhaustive()
    }
}

impl PostgresJournal {
    /// Connects, and makes the tables or brings them to the present schema where needed.
    pub async fn open(options: PostgresOptions) -> Result<Self, OpenError> {
        let place = options.address.to_string();
        let failed = |source| OpenError::Server { place: place.clone(), source };
        let tls = tls::Tls::new(options.roots).map_err(|error| failed(Box::new(error)))?;
        let manager = Manager::from_config(
            options.address.into_config(),
            tls,
            ManagerConfig { recycling_method: RecyclingMethod::Fast },
        );
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts { wait: Some(CONNECT), create: Some(CONNECT), recycle: Some(CONNECT) })
            .post_create(Hook::async_fn(|client, _| {
                Box::pin(async move { client.batch_execute(SESSION).await.map_err(HookError::Backend) })
            }))
            .build()
            .map_err(|error| failed(Box::new(error)))?;
        let journal = Self(Arc::new(Inner {
            place: place.clone(),
            pool,
            sealing_key: options.sealing_key,
            #[cfg(feature = "sandbox")]
            crash: options.crash_after_writes.map(Crash::after),
        }));
        schema::migrate(&journal.0).await?;
        Ok(journal)
    }
}

/// A connection for one act. One that is dropped before the act is over is not used again: what it would hear next is
/// the answer to something else.
struct Borrowed(Option<Object>);

impl Borrowed {
    fn client(&mut self) -> Result<&mut Object, JournalError> {
        self.0.as_mut().ok_or(JournalError::Closed)
    }

    /// The act is over.
    fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}

/// The server took too long.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", LIMIT.as_secs())]
struct NoAnswer;

#[async_trait]
impl Journal for PostgresJournal {
    async fn create(&self, new: NewUpdate) -> Result<Created, JournalError> {
        self.0.bounded(self.0.create(&new)).await
    }

    async fn find(&self, idempotency: &Idempotency) -> Result<Option<Created>, JournalError> {
        let rows = self.0.rows(FIND, &[&idempotency.key]).await?;
        self.0.earlier(&rows, idempotency)
    }

    async fn lease(&self, update: UpdateId, holder: &str, ttl: Duration) -> Result<Leased, JournalError> {
        self.0.bounded(self.0.lease(update, holder, ttl)).await
    }

    async fn renew(&self, update: UpdateId, fence: Fence, ttl: Duration) -> Result<(), JournalError> {
        self.0.bounded(self.0.renew(update, fence, ttl)).await
    }

    async fn release(&self, update: UpdateId, fence: Fence) -> Result<(), JournalError> {
        self.0.bounded(self.0.release(update, fence)).await
    }

    async fn append(
        &self,
        update: UpdateId,
        fence: Fence,
        sequence: u64,
        at: Timestamp,
        event: &Event,
    ) -> Result<Recorded, JournalError> {
        self.0.bounded(self.0.append(update, fence, Recorded { sequence, at, event: event.clone() })).await
    }

    async fn load(&self, update: UpdateId) -> Result<Vec<Recorded>, JournalError> {
        let sql = "SELECT sequence, at, version, body FROM events WHERE update_id = $1 ORDER BY sequence";
        let rows = self.0.rows(sql, &[&update.to_string()]).await?;
        let events = rows.iter().map(|row| self.0.recorded(row)).collect::<Result<Vec<_>, _>>()?;
        if events.is_empty() { Err(JournalError::NotFound(update)) } else { Ok(events) }
    }

    async fn open_updates(&self) -> Result<Vec<UpdateId>, JournalError> {
        self.0.ids(&self.0.rows("SELECT id FROM updates WHERE open ORDER BY id", &[]).await?)
    }

    async fn list(&self, before: Option<UpdateId>, limit: usize) -> Result<Vec<UpdateId>, JournalError> {
        // Identifiers sort by time; "v" comes after every identifier, which all begin with "update-".
        let before = before.map_or_else(|| "v".to_owned(), |id| id.to_string());
        let limit = i64::try_from(limit.min(LARGEST_PAGE)).unwrap_or(0);
        let sql = "SELECT id FROM updates WHERE id < $1 ORDER BY id DESC LIMIT $2";
        self.0.ids(&self.0.rows(sql, &[&before, &limit]).await?)
    }

    async fn secret(&self, update: UpdateId, purpose: SecretPurpose) -> Result<Option<SecretString>, JournalError> {
        let sql = "SELECT sealed FROM secrets WHERE update_id = $1 AND purpose = $2";
        let rows = self.0.rows(sql, &[&update.to_string(), &purpose.as_str()]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let sealed: Vec<u8> = self.0.get(row, 0)?;
        let key = self.0.sealing_key.as_ref().ok_or(JournalError::Seal(SealError::NoKey))?;
        key.open(update, purpose, &sealed).map(Some).map_err(JournalError::Seal)
    }

    async fn holder_of(
        &self,
        key_store: &CustomKeyStoreId,
        access_key_id: &AccessKeyId,
    ) -> Result<Option<UpdateId>, JournalError> {
        let sql = "SELECT u.id FROM updates u JOIN secrets s ON s.update_id = u.id AND s.purpose = 'new_credential' \
                   WHERE u.key_store = $1 AND u.verified AND u.new_access_key_id = $2 ORDER BY u.id DESC LIMIT 1";
        let rows = self.0.rows(sql, &[&key_store.as_str(), &access_key_id.as_str()]).await?;
        Ok(self.0.ids(&rows)?.into_iter().next())
    }

    fn keeps_secrets(&self) -> bool {
        self.0.sealing_key.is_some()
    }
}

/// A parameter of a statement.
type Parameter<'a> = &'a (dyn tokio_postgres::types::ToSql + Sync);

impl Inner {
    fn failed(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> JournalError {
        JournalError::Database { path: self.place.clone(), source: source.into() }
    }

    /// Gives up when it takes too long.
    async fn bounded<T>(&self, act: impl Future<Output = Result<T, JournalError>>) -> Result<T, JournalError> {
        tokio::time::timeout(LIMIT, act).await.unwrap_or_else(|_| Err(self.failed(NoAnswer)))
    }

    async fn borrow(&self) -> Result<Borrowed, JournalError> {
        let object = self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => self.failed(error),
            other => self.failed(other),
        })?;
        Ok(Borrowed(Some(object)))
    }

    /// The rows of one statement that changes nothing.
    async fn rows(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, JournalError> {
        self.bounded(async {
            let mut borrowed = self.borrow().await?;
            let client = borrowed.client()?;
            let statement = client.prepare_cached(sql).await.map_err(|error| self.failed(error))?;
            let rows = client.query(&statement, parameters).await.map_err(|error| self.failed(error))?;
            borrowed.give_back();
            Ok(rows)
        })
        .await
    }

    /// One statement that changes something by itself; its rows.
    async fn change(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, JournalError> {
        let rows = self.rows(sql, parameters).await?;
        self.written();
        Ok(rows)
    }

    /// Counts a write for tests that end the process after so many.
    #[cfg_attr(not(feature = "sandbox"), expect(clippy::unused_self, reason = "only tests count"))]
    fn written(&self) {
        #[cfg(feature = "sandbox")]
        if let Some(crash) = &self.crash {
            crash.count();
        }
    }

    async fn commit(&self, transaction: Transaction<'_>) -> Result<(), JournalError> {
        transaction.commit().await.map_err(|error| self.failed(error))?;
        self.written();
        Ok(())
    }

    async fn query(
        &self,
        transaction: &Transaction<'_>,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, JournalError> {
        let statement = transaction.prepare_cached(sql).await.map_err(|error| self.failed(error))?;
        transaction.query(&statement, parameters).await.map_err(|error| self.failed(error))
    }

    async fn create(&self, new: &NewUpdate) -> Result<Created, JournalError> {
        loop {
            let mut borrowed = self.borrow().await?;
            let client = borrowed.client()?;
            let transaction = client.transaction().await.map_err(|error| self.failed(error))?;
            let created = self.create_in(&transaction, new).await?;
            match created {
                Some(Created::New) => self.commit(transaction).await?,
                _ => transaction.rollback().await.map_err(|error| self.failed(error))?,
            }
            borrowed.give_back();
            // Somebody else was quicker with the same key or the same key store: now it can be told who.
            if let Some(created) = created {
                return Ok(created);
            }
        }
    }

    /// `None` when another transaction has made what stands in the way while this one was looking.
    async fn create_in(&self, transaction: &Transaction<'_>, new: &NewUpdate) -> Result<Option<Created>, JournalError> {
        if let Some(idempotency) = &new.idempotency
            && let Some(earlier) =
                self.earlier(&self.query(transaction, FIND, &[&idempotency.key]).await?, idempotency)?
        {
            return Ok(Some(earlier));
        }
        let key_store = new.plan.key_store.as_str();
        let sql = "SELECT id FROM updates WHERE key_store = $1 AND open";
        if let Some(open) = self.ids(&self.query(transaction, sql, &[&key_store]).await?)?.first() {
            return Ok(Some(Created::Locked(*open)));
        }
        let id = new.plan.id.to_string();
        let access_key_id = new.plan.change.credential.as_ref().map(|credential| credential.access_key_id.as_str());
        let idempotency = new.idempotency.as_ref();
        let sql = "INSERT INTO updates (id, key_store, new_access_key_id, open, verified, idempotency_key, \
                   request_digest) VALUES ($1, $2, $3, true, false, $4, $5) ON CONFLICT DO NOTHING RETURNING id";
        let made = self
            .query(
                transaction,
                sql,
                &[
                    &id,
                    &key_store,
                    &access_key_id,
                    &idempotency.map(|idempotency| idempotency.key.as_str()),
                    &idempotency.map(|idempotency| idempotency.request_digest.as_str()),
                ],
            )
            .await?;
        if made.is_empty() {
            return Ok(None);
        }
        let planned = Event::Planned { plan: Box::new(new.plan.clone()) };
        let first = Recorded { sequence: 1, at: new.at, event: planned };
        self.insert_event(transaction, new.plan.id, 1, &first).await?;
        for (purpose, secret) in &new.secrets {
            let key = self.sealing_key.as_ref().ok_or(JournalError::Seal(SealError::NoKey))?;
            let sealed = key.seal(new.plan.id, *purpose, secret).map_err(JournalError::Seal)?;
            let sql = "INSERT INTO secrets (update_id, purpose, sealed) VALUES ($1, $2, $3)";
            self.query(transaction, sql, &[&id, &purpose.as_str(), &sealed]).await?;
        }
        Ok(Some(Created::New))
    }

    async fn append(&self, update: UpdateId, fence: Fence, recorded: Recorded) -> Result<Recorded, JournalError> {
        let mut borrowed = self.borrow().await?;
        let client = borrowed.client()?;
        let transaction = client.transaction().await.map_err(|error| self.failed(error))?;
        let done = self.append_in(&transaction, update, fence, &recorded).await;
        match done {
            Ok(()) => self.commit(transaction).await?,
            Err(refused @ (JournalError::Fenced { .. } | JournalError::OutOfSequence { .. })) => {
                transaction.rollback().await.map_err(|error| self.failed(error))?;
                borrowed.give_back();
                return Err(refused);
            }
            Err(error) => return Err(error),
        }
        borrowed.give_back();
        Ok(recorded)
    }

    async fn append_in(
        &self,
        transaction: &Transaction<'_>,
        update: UpdateId,
        fence: Fence,
        recorded: &Recorded,
    ) -> Result<(), JournalError> {
        let out_of_sequence = JournalError::OutOfSequence { update, sequence: recorded.sequence };
        let Ok(number) = i64::try_from(recorded.sequence) else { return Err(out_of_sequence) };
        // Locked until the end of the transaction: nobody else appends to this update or takes its lease meanwhile.
        let sql = "SELECT fence, (SELECT coalesce(max(sequence), 0) FROM events WHERE update_id = $1) \
                   FROM updates WHERE id = $1 FOR UPDATE";
        let rows = self.query(transaction, sql, &[&update.to_string()]).await?;
        let row = rows.first().ok_or(JournalError::NotFound(update))?;
        if self.get::<i64>(row, 0)? != fence.0 {
            return Err(JournalError::Fenced { update });
        }
        if self.get::<i64>(row, 1)? + 1 != number {
            return Err(out_of_sequence);
        }
        self.insert_event(transaction, update, number, recorded).await?;
        if let Event::Concluded { ending } = &recorded.event {
            self.conclude(transaction, update, ending).await?;
        }
        Ok(())
    }

    async fn insert_event(
        &self,
        transaction: &Transaction<'_>,
        update: UpdateId,
        number: i64,
        recorded: &Recorded,
    ) -> Result<(), JournalError> {
        let body = codec::encode(&recorded.event).map_err(JournalError::Codec)?;
        let version = i64::from(EVENT_VERSION);
        let sql = "INSERT INTO events (update_id, sequence, at, version, body) VALUES ($1, $2, $3, $4, $5)";
        let statement = transaction.prepare_cached(sql).await.map_err(|error| self.failed(error))?;
        let parameters: [Parameter<'_>; 5] = [&update.to_string(), &number, &recorded.at.to_string(), &version, &body];
        match transaction.execute(&statement, &parameters).await {
            Ok(_) => self.note_event(transaction, update, recorded).await,
            // Looked up before the wait for whoever has just appended.
            Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                Err(JournalError::OutOfSequence { update, sequence: recorded.sequence })
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    async fn conclude(
        &self,
        transaction: &Transaction<'_>,
        update: UpdateId,
        ending: &Ending,
    ) -> Result<(), JournalError> {
        let id = update.to_string();
        let verified = ending.is_new_in_force();
        let sql = "UPDATE updates SET open = false, verified = $2 WHERE id = $1";
        self.query(transaction, sql, &[&id, &verified]).await?;
        let obsolete: &[&str] = match ending {
            Ending::Verified | Ending::Unproven { .. } => &[
                "DELETE FROM secrets WHERE update_id = $1 AND purpose <> 'new_credential'",
                "DELETE FROM secrets WHERE update_id IN (SELECT o.id FROM updates o JOIN updates u USING (key_store) \
                 WHERE u.id = $1 AND o.id <> $1 AND u.new_access_key_id IS NOT NULL)",
            ],
            // Whoever sorts it out may need them.
            Ending::Stuck { .. } => &[],
            Ending::RolledBack { .. } | Ending::Abandoned { .. } | Ending::Blocked { .. } | Ending::Refused { .. } => {
                &["DELETE FROM secrets WHERE update_id = $1"]
            }
        };
        for sql in obsolete {
            self.query(transaction, sql, &[&id]).await?;
        }
        Ok(())
    }

    fn earlier(&self, rows: &[Row], idempotency: &Idempotency) -> Result<Option<Created>, JournalError> {
        let Some(row) = rows.first() else { return Ok(None) };
        let id = self.read_id(&self.get::<String>(row, 0)?)?;
        let same = self.get::<String>(row, 1)? == idempotency.request_digest;
        Ok(Some(if same { Created::Existing(id) } else { Created::KeyReused(id) }))
    }

    fn recorded(&self, row: &Row) -> Result<Recorded, JournalError> {
        let version = u32::try_from(self.get::<i64>(row, 2)?).unwrap_or(u32::MAX);
        let event = codec::decode(version, &self.get::<String>(row, 3)?).map_err(JournalError::Codec)?;
        let at = Timestamp::parse(&self.get::<String>(row, 1)?).map_err(|error| self.failed(error))?;
        Ok(Recorded { sequence: u64::try_from(self.get::<i64>(row, 0)?).unwrap_or(0), at, event })
    }

    fn ids(&self, rows: &[Row]) -> Result<Vec<UpdateId>, JournalError> {
        rows.iter().map(|row| self.read_id(&self.get::<String>(row, 0)?)).collect()
    }

    fn read_id(&self, text: &str) -> Result<UpdateId, JournalError> {
        UpdateId::parse(text).map_err(|error| self.failed(error))
    }

    fn get<'a, T: tokio_postgres::types::FromSql<'a>>(&self, row: &'a Row, index: usize) -> Result<T, JournalError> {
        row.try_get(index).map_err(|error| self.failed(error))
    }
}
