//! The journal: what an update intended and what came of it, durable before it is done.
//!
//! # How it works
//!
//! An update is a row and its events, numbered from 1 without a gap. An event is appended under the number that the
//! writer expects to be next, so that two writers can never both go on from the same point, and under the fence of the
//! writer's lease, so that nobody goes on whose turn is over. Secrets that came with a
//! request are sealed beside the events, never in them, and erased when they are not needed any more. The credential that a verified
//! update told KMS is kept: KMS never returns it, and the next update's way back depends on it.
//!
//! # What can go wrong
//!
//! An append that returns an error may or may not be on disk. Its writer must stop and read the update again before
//! it does anything else: that is what a restart does anyway.

mod canary;
mod codec;
#[cfg(feature = "sandbox")]
mod crash;
mod freeze;
mod lease;
mod orders;
mod postgres;
mod seal;
mod secret;
mod sqlite;
mod trail;
mod vigil;

use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;

use crate::clock::Timestamp;
use crate::id::UpdateId;
use crate::key_store::{AccessKeyId, CustomKeyStoreId};
use crate::update::{Event, Plan, Recorded};

pub use canary::{Canary, CanaryKeeper};
pub use codec::{CodecError, EVENT_VERSION};
pub use freeze::FreezeKeeper;
pub use lease::{Fence, Leased};
pub use orders::{LeftOrder, MOST_PATIENCE, OrderAnswer, OrderDesk, OrderId, OrderStanding};
pub use postgres::{InvalidAddress, PostgresAddress, PostgresJournal, PostgresOptions};
pub use seal::{SealError, SealingKey};
pub use secret::SecretPurpose;
pub use sqlite::{SqliteJournal, SqliteOptions, StoredTrail};
pub use trail::{AuditTrail, LinesWanted};
pub use vigil::VigilKeeper;

/// More than this is never listed at once.
const LARGEST_PAGE: usize = 1000;

/// The durable record of updates.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Records a new update with its plan as first event, all or nothing.
    async fn create(&self, new: NewUpdate) -> Result<Created, JournalError>;

    /// What [`Journal::create`] would say of a repeated request; `None` when the key is new.
    async fn find(&self, idempotency: &Idempotency) -> Result<Option<Created>, JournalError>;

    /// Leases an update to `holder` for `ttl`, unless somebody else's lease has not ended. A holder that asks again is
    /// granted another one, which ends the first.
    async fn lease(&self, update: UpdateId, holder: &str, ttl: Duration) -> Result<Leased, JournalError>;

    /// Lets the lease of this fence last `ttl` from now, even if it had ended and nobody has taken it;
    /// [`JournalError::Fenced`] if there is a newer one, or if it was released.
    async fn renew(&self, update: UpdateId, fence: Fence, ttl: Duration) -> Result<(), JournalError>;

    /// Ends the lease of this fence at once, if it is the newest.
    async fn release(&self, update: UpdateId, fence: Fence) -> Result<(), JournalError>;

    /// Appends an event as number `sequence`; anything else being next is [`JournalError::OutOfSequence`], and a fence
    /// that is not the update's newest is [`JournalError::Fenced`].
    ///
    /// With the conclusion go the secrets that nobody needs any more: all, after an ending that left or restored the
    /// former settings; all but the new credential after a verified one, which also ends the keeping of older ones of
    /// the same key store; none after a stuck one.
    async fn append(
        &self,
        update: UpdateId,
        fence: Fence,
        sequence: u64,
        at: Timestamp,
        event: &Event,
    ) -> Result<Recorded, JournalError>;

    /// All events of an update, in order.
    async fn load(&self, update: UpdateId) -> Result<Vec<Recorded>, JournalError>;

    /// What was recorded of each of these updates after its event of this number (0: everything), in order; of an update
    /// that is not there nothing is.
    async fn news(&self, known: &[(UpdateId, u64)]) -> Result<Vec<Vec<Recorded>>, JournalError>;

    /// The updates that have not concluded, oldest first.
    async fn open_updates(&self) -> Result<Vec<UpdateId>, JournalError>;

    /// Updates, newest first, older than `before`, at most `limit` (and never more than 1000).
    async fn list(&self, before: Option<UpdateId>, limit: usize) -> Result<Vec<UpdateId>, JournalError>;

    /// The updates of a key store whose plans change its credential, newest first, older than `before`, at most `limit`
    /// (and never more than 1000).
    async fn with_new_credential(
        &self,
        key_store: &CustomKeyStoreId,
        before: Option<UpdateId>,
        limit: usize,
    ) -> Result<Vec<UpdateId>, JournalError>;

    /// The key stores that have such updates, by id.
    async fn key_stores_with_new_credential(&self) -> Result<Vec<CustomKeyStoreId>, JournalError>;

    /// The secret that an update keeps for a purpose.
    async fn secret(&self, update: UpdateId, purpose: SecretPurpose) -> Result<Option<SecretString>, JournalError>;

    /// Which verified update of the key store keeps the secret of this access key id: the credential that KMS was last
    /// told by us. Newest first.
    async fn holder_of(
        &self,
        key_store: &CustomKeyStoreId,
        access_key_id: &AccessKeyId,
    ) -> Result<Option<UpdateId>, JournalError>;

    /// Whether secrets can be kept at all, that is whether a sealing key is configured.
    fn keeps_secrets(&self) -> bool;
}

/// A new update.
#[derive(Debug)]
pub struct NewUpdate {
    /// Its plan; the identifier and the key store are in it.
    pub plan: Plan,
    /// When.
    pub at: Timestamp,
    /// The requester's key, so that a repeated request finds the same update.
    pub idempotency: Option<Idempotency>,
    /// Secrets that came with the request.
    pub secrets: Vec<(SecretPurpose, SecretString)>,
}

/// A requester's key with a digest of the request it was first used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The requester's key, unique per requester.
    pub key: String,
    /// Tells whether a later request with this key is the same one.
    pub request_digest: String,
}

/// What [`Journal::create`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// A new update.
    New,
    /// The same request was recorded before, as this update; nothing was written.
    Existing(UpdateId),
    /// The idempotency key was used for another request; nothing was written.
    KeyReused(UpdateId),
    /// This update of the same key store is still open; nothing was written.
    Locked(UpdateId),
}

/// Why the journal did not do it.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// No such update.
    #[error("no update {0} in the journal")]
    NotFound(UpdateId),
    /// Somebody else has gone on with the update.
    #[error("event {sequence} of {update} is not the next one: somebody else goes on with this update")]
    OutOfSequence {
        /// The update.
        update: UpdateId,
        /// The number that was expected to be free.
        sequence: u64,
    },
    /// The writer's lease has gone to somebody else: it must stop at once.
    #[error("the lease of {update} has gone to somebody else, who goes on with it")]
    Fenced {
        /// The update.
        update: UpdateId,
    },
    /// An event cannot be written or read.
    #[error("event cannot be coded")]
    Codec(#[source] CodecError),
    /// A secret cannot be sealed or opened.
    #[error("secret cannot be kept or found")]
    Seal(#[source] SealError),
    /// The database failed; whether something was written is not known.
    #[error("journal database failed at {path}")]
    Database {
        /// The file.
        path: String,
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The task that works on the database ended, at shutdown.
    #[error("journal is closed")]
    Closed,
}

/// Why the journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file cannot be made or opened.
    #[error("cannot open {path}: give this user write access to its directory, or configure another path")]
    File {
        /// The file.
        path: String,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Another process has the journal.
    #[error("journal {path} is in use by another process: only one may drive updates from it")]
    Locked {
        /// The database file.
        path: String,
    },
    /// A later program made it.
    #[error(
        "journal {path} has schema version {found}, and this program knows up to {known}: run the version that made it"
    )]
    LaterSchema {
        /// Where it is.
        path: String,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// SQLite refuses.
    #[error("journal {path} cannot be opened as a database")]
    Database {
        /// The database file.
        path: String,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// The PostgreSQL server cannot be reached, or refuses.
    #[error(
        "journal {place} cannot be opened: is the server up and writable, and may this user connect and make a schema?"
    )]
    Server {
        /// Where it is, without a password.
        place: String,
        /// What the server or the connection says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
