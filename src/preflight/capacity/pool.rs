//! Kept connections, as KMS has them: an idle one is used again, a new one is opened while all are busy.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::check::{ExchangeEvidence, Stop};
use crate::probe::{Destination, KeptConnection, Prober, Target};
use crate::xks::XksOperation;

/// The most connections at once: what the highest rate needs of a proxy that uses KMS's whole limit for each answer.
pub(super) const MOST_CONNECTIONS: usize = 512;

/// An idle connection is not used again after so long. Proxies close idle ones, some of them after two seconds, and a
/// request that meets the closing would be counted against them.
const LONGEST_IDLE: Duration = Duration::from_secs(1);

/// How long to wait whether the proxy keeps a connection open. It shows at once, as the answer is in.
const SETTLING: Duration = Duration::from_millis(250);

/// Connections to the addresses of one target.
pub(super) struct Pool<'a> {
    prober: &'a Prober,
    target: &'a Target,
    addresses: Vec<Destination>,
    places: Semaphore,
    /// The one used last is on top.
    idle: Mutex<Vec<(KeptConnection, Instant)>>,
    opened: AtomicUsize,
}

impl<'a> Pool<'a> {
    pub(super) fn new(prober: &'a Prober, target: &'a Target, addresses: Vec<Destination>) -> Self {
        let places = Semaphore::new(MOST_CONNECTIONS);
        Self { prober, target, addresses, places, idle: Mutex::default(), opened: AtomicUsize::new(0) }
    }

    /// How many connections were opened so far.
    pub(super) fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }

    /// One request and its whole answer with the instant at which it was in. An error without a [`Stop`] means that
    /// no place among the connections became free before the deadline.
    pub(super) async fn exchange(
        &self,
        operation: XksOperation<'_>,
        body: Vec<u8>,
        deadline: Instant,
    ) -> Result<(Instant, ExchangeEvidence), Option<Stop>> {
        let Ok(Ok(_place)) = timeout_at(deadline, self.places.acquire()).await else { return Err(None) };
        let mut connection = match self.idle() {
            Some(idle) => idle,
            None => self.open(deadline).await?,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let answered = self.prober.exchange(self.target, &mut connection, operation, body, left).await;
        let at = Instant::now();
        if answered.is_ok() && connection.stays_open(SETTLING).await {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push((connection, Instant::now()));
        }
        answered.map(|exchange| (at, exchange)).map_err(Some)
    }

    fn idle(&self) -> Option<KeptConnection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((mut connection, since)) = idle.pop() {
            if since.elapsed() < LONGEST_IDLE && connection.is_open() {
                return Some(connection);
            }
        }
        None
    }

    async fn open(&self, deadline: Instant) -> Result<KeptConnection, Option<Stop>> {
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let address = self.addresses.get(number % self.addresses.len().max(1)).ok_or(None)?;
        let left = deadline.saturating_duration_since(Instant::now());
        self.prober.open(self.target, *address, left).await.map_err(Some)
    }
}
