//! The audit trail and the kept reports, beside the updates they are about.

use async_trait::async_trait;

use super::JournalError;
use crate::audit::{Entry, Head, Subject};
use crate::clock::Timestamp;
use crate::id::{ReportId, UpdateId};
use crate::key_store::CustomKeyStoreId;

/// The audit trail: append-only, in the journal's database. What it says of an update's events is written by
/// [`Journal::create`](super::Journal::create) and [`Journal::append`](super::Journal::append), in the same
/// transaction as the event.
#[async_trait]
pub trait AuditTrail: Send + Sync {
    /// Appends a decision; gives the trail's new head.
    async fn note(&self, entry: &Entry) -> Result<Head, JournalError>;

    /// Written lines in their order, as they are stored: whether they are intact is for
    /// [`verify`](fn@crate::audit::verify) to say.
    async fn lines(&self, wanted: &LinesWanted) -> Result<Vec<String>, JournalError>;

    /// Where the trail ends; [`Head::genesis`] while it is empty.
    async fn head(&self) -> Result<Head, JournalError>;

    /// Keeps the report of an update's pre-flight, and says so in the trail, all or nothing. `document` is the report
    /// as JSON.
    async fn keep_report(
        &self,
        at: Timestamp,
        subject: &Subject,
        report: ReportId,
        document: &str,
    ) -> Result<(), JournalError>;

    /// The kept reports of an update, oldest first.
    async fn reports(&self, update: UpdateId) -> Result<Vec<(ReportId, String)>, JournalError>;

    /// The kept report of this id, and the update that it belongs to.
    async fn report(&self, report: ReportId) -> Result<Option<(UpdateId, String)>, JournalError>;
}

/// Which lines of the trail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinesWanted {
    /// Those with a greater number.
    pub after: u64,
    /// At most so many, and never more than 1000.
    pub limit: usize,
    /// Those about this key store alone.
    pub key_store: Option<CustomKeyStoreId>,
    /// Those about this update alone.
    pub update: Option<UpdateId>,
}
