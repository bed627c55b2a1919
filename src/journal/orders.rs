//! Orders to updates that another replica drives: left in the journal's database, obeyed and answered by the one that
//! drives.

use async_trait::async_trait;

use super::JournalError;
use crate::id::UpdateId;
use crate::update::Event;

/// Where replicas leave orders for each other. A journal that one process has for itself needs none.
#[async_trait]
pub trait OrderDesk: Send + Sync {
    /// Leaves what a person wants of an update, and the number of the last event they had seen, if they care. It waits for so long as whoever left it asks for the answer, and no
    /// longer than [`MOST_PATIENCE`].
    async fn leave(&self, update: UpdateId, order: &Event, seen: Option<u64>) -> Result<OrderId, JournalError>;

    /// The orders that wait, oldest first.
    async fn waiting(&self) -> Result<Vec<LeftOrder>, JournalError>;

    /// Takes an order to obey it; `false` when somebody else has it, or when it does not wait any more.
    async fn take(&self, order: OrderId) -> Result<bool, JournalError>;

    /// Answers an order that was taken.
    async fn answer(&self, order: OrderId, answer: OrderAnswer) -> Result<(), JournalError>;

    /// What became of an order so far.
    async fn standing(&self, order: OrderId) -> Result<OrderStanding, JournalError>;

    /// Takes an order back unless somebody has taken it; what became of it.
    async fn withdraw(&self, order: OrderId) -> Result<OrderStanding, JournalError>;
}

/// An order that nobody has taken after this long is not obeyed any more: whoever left it has gone.
pub const MOST_PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// An order that was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OrderId(pub(super) i64);

/// An order that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOrder {
    /// Which one.
    pub id: OrderId,
    /// To this update.
    pub update: UpdateId,
    /// What the person wants, as it shall be recorded.
    pub order: Event,
    /// The number of the last event that the person had seen, if they care.
    pub seen: Option<u64>,
}

/// What the replica that drives says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderAnswer {
    /// It is recorded, and will be followed.
    Recorded,
    /// It is not possible where the update is now.
    Refused,
}

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderStanding {
    /// It waits.
    Waiting,
    /// Somebody has taken it and not answered.
    Taken,
    /// It was answered.
    Answered(OrderAnswer),
    /// It was taken back, or waited too long: nobody will obey it.
    Withdrawn,
}
