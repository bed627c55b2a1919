//! A connection without a request for health: for operations with keys.

use std::net::SocketAddr;
use std::time::Duration;

use super::deadline::Deadline;
use super::exchange::KeptConnection;
use super::{Prober, Target, exchange, tcp, tls};
use crate::check::{ExchangeEvidence, Stop};
use crate::xks::XksOperation;

impl Prober {
    /// Connects and authenticates the server within `limit`; nothing is asked yet.
    pub async fn open(&self, target: &Target, address: SocketAddr, limit: Duration) -> Result<KeptConnection, Stop> {
        let deadline = Deadline::after(limit);
        let socket = tcp::connect(address, deadline).await.1?;
        let secured = tls::secure(&self.terms, socket, target.endpoint.host(), None, deadline).await.1;
        let secured = secured.map_err(|unsecured| unsecured.stop)?;
        exchange::open(secured).await.map(|(connection, _)| connection).map_err(|failed| failed.0)
    }

    /// Like [`Prober::exchange`], and gives the connection back if the server keeps it open.
    pub async fn exchange_and_keep(
        &self,
        target: &Target,
        mut connection: KeptConnection,
        operation: XksOperation<'_>,
        body: Vec<u8>,
        limit: Duration,
    ) -> (Result<ExchangeEvidence, Stop>, Option<KeptConnection>) {
        let answer = self.exchange(target, &mut connection, operation, body, limit).await;
        let open = answer.is_ok() && connection.settle(Deadline::after(limit)).await;
        (answer, open.then_some(connection))
    }
}
