//! What was seen of the protocols that a server speaks besides the offer that the samples make.

use std::net::SocketAddr;

use super::{ExchangeEvidence, Stop};

/// What one address makes of other offers by ALPN than `http/1.1`.
#[derive(Clone, Debug)]
pub struct OfferEvidence {
    /// Where.
    pub address: SocketAddr,
    /// A request for health by HTTP/1.1 on a connection without ALPN: the answer, or why there is none.
    pub without_alpn: Result<ExchangeEvidence, Stop>,
    /// What the server chooses when `h2` is on offer, too; `None` if it chooses nothing or the handshake failed.
    pub preferred: Option<String>,
}
