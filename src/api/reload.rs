//! `POST /-/reload`: the configuration is read anew, all of it or nothing.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::Service;
use super::access::Admitted;
use super::problem::{Fault, Problem};
use crate::audit::By;
use crate::clock::Timestamp;
use crate::current::Current;
use crate::metrics::ConfigurationStanding;

/// Orders that may wait while the configuration is being read.
const WAITING: usize = 4;

/// Has the configuration read anew, and knows how that went.
#[derive(Debug)]
pub struct Reload {
    orders: mpsc::Sender<Order>,
    standing: Current<ConfigurationStanding>,
}

/// Somebody wants the configuration read anew.
#[derive(Debug)]
pub struct Order {
    /// Who; this program itself for a signal.
    pub by: By,
    /// Where the outcome goes. Nobody may be waiting for it any more.
    pub answer: oneshot::Sender<Result<Reloaded, NotReloaded>>,
}

/// What came of a configuration that was good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// The keys whose values are others than before, or whose files are; of a list or a table by name its own key.
    pub changed: Vec<String>,
    /// Those among them that have no effect before a restart.
    pub needs_restart: Vec<AtRestart>,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// A changed key that has no effect before a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AtRestart {
    /// The key.
    pub key: String,
    /// Why.
    pub why: String,
}

/// Why the former configuration stays in force, whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReloaded {
    /// It has faults: each with its key and what is wrong there.
    #[error("the configuration has faults, and the former one stays in force")]
    Faults {
        /// Key and message.
        faults: Vec<(String, String)>,
        /// How many more there are.
        left_off: usize,
    },
    /// It is without fault and cannot take effect in this process.
    #[error("the configuration cannot take effect, and the former one stays in force: {0}")]
    Unfit(String),
    /// The audit trail cannot be written, and what it allows waits for that.
    #[error("the audit trail cannot be written, and the former configuration stays in force")]
    Unrecorded,
    /// Others are being read.
    #[error("the configuration is being read already; ask again in a moment")]
    Busy,
    /// This process was started without a file, or is about to end.
    #[error("this process reads no configuration anew")]
    Nowhere,
}

impl Reload {
    /// With where its orders come out. `at` is when the first configuration was read.
    pub fn new(at: Timestamp) -> (Self, mpsc::Receiver<Order>) {
        let (orders, come_out) = mpsc::channel(WAITING);
        (Self { orders, standing: Current::new(ConfigurationStanding { good: true, good_at: at }) }, come_out)
    }

    /// How the configuration was when it was last read.
    pub fn standing(&self) -> ConfigurationStanding {
        *self.standing.get()
    }

    /// Notes how it was.
    pub fn note(&self, good: bool, at: Timestamp) {
        let good_at = if good { at } else { self.standing().good_at };
        self.standing.replace(ConfigurationStanding { good, good_at });
    }

    /// Has it read, and waits for what comes of it.
    pub async fn order(&self, by: By) -> Result<Reloaded, NotReloaded> {
        let (answer, answered) = oneshot::channel();
        self.orders.try_send(Order { by, answer }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => NotReloaded::Busy,
            mpsc::error::TrySendError::Closed(_) => NotReloaded::Nowhere,
        })?;
        answered.await.unwrap_or(Err(NotReloaded::Nowhere))
    }
}

/// Reads the configuration anew. Answers 200 with what changed and what waits for a restart, or 422 with every fault.
pub(super) async fn reload(
    State(service): State<Arc<Service>>,
    Extension(admitted): Extension<Admitted>,
) -> Result<Json<Reloaded>, Problem> {
    service.reload.order(By::from(admitted.principal())).await.map(Json).map_err(|why| not_reloaded(&why))
}

fn not_reloaded(why: &NotReloaded) -> Problem {
    let detail = why.to_string();
    let new = |status, reason| Problem::new(status, reason, detail.clone());
    match why {
        NotReloaded::Faults { faults, left_off } => {
            let more = if *left_off > 0 { format!("; {left_off} more are not listed") } else { String::new() };
            let detail = format!("{detail}; each is named under errors{more}");
            let faults = faults.iter().map(|(key, detail)| Fault { pointer: key.clone(), detail: detail.clone() });
            Problem::faulty_configuration(detail, faults.collect())
        }
        NotReloaded::Unfit(_) => new(StatusCode::UNPROCESSABLE_ENTITY, "unfit_configuration"),
        NotReloaded::Unrecorded => new(StatusCode::SERVICE_UNAVAILABLE, "journal_unavailable"),
        NotReloaded::Busy => new(StatusCode::TOO_MANY_REQUESTS, "busy").retry_after(Duration::from_secs(1)),
        NotReloaded::Nowhere => new(StatusCode::CONFLICT, "not_reloadable"),
    }
}
