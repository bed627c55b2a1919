//! The connection: a socket to one address, or why there is none.

use std::time::Duration;

use tokio::net::TcpStream;

use super::classify;
use super::deadline::Deadline;
use super::egress::Destination;
use crate::check::{Stage, Stop};

/// Connects to a destination, which has passed the guard. Nagle's algorithm is off: the request goes out in the segment in which it is written.
pub(super) async fn connect(to: Destination, deadline: Deadline) -> (Duration, Result<TcpStream, Stop>) {
    let address = to.address();
    let timed = deadline.bound(TcpStream::connect(address)).await;
    let connected = match timed.result {
        None => Err(Stop { stage: Stage::Tcp, problem: classify::connect_timed_out(address, deadline.limit()) }),
        Some(connected) => connected
            .and_then(|socket| socket.set_nodelay(true).map(|()| socket))
            .map_err(|error| classify::connect(address, &error)),
    };
    (timed.took, connected)
}
