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
mod record;
mod schema;
mod tls;
mod trail;
mod vigil;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, Timeouts, Transaction,
};
use rustls::RootCertStore;
use tokio_postgres::Row;

pub use self::address::{InvalidAddress, PostgresAddress};
#[cfg(feature = "sandbox")]
use super::crash::Crash;
use super::seal::SealingKey;
use super::{JournalError, OpenError};
use crate::id::UpdateId;

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

    fn read_id(&self, text: &str) -> Result<UpdateId, JournalError> {
        UpdateId::parse(text).map_err(|error| self.failed(error))
    }

    fn get<'a, T: tokio_postgres::types::FromSql<'a>>(&self, row: &'a Row, index: usize) -> Result<T, JournalError> {
        row.try_get(index).map_err(|error| self.failed(error))
    }
}
