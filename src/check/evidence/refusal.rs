//! What a proxy made of requests that it must refuse.

use std::net::SocketAddr;

use super::{ExchangeEvidence, Stop};

/// What became of every request that the proxy must refuse.
#[derive(Clone, Debug, Default)]
pub struct RefusalEvidence {
    /// One for each deviation and address that was tried.
    pub trials: Vec<Trial>,
}

/// One request that the proxy must refuse.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Where it was sent.
    pub address: SocketAddr,
    /// What was wrong with it.
    pub deviation: Deviation,
    /// The answer, or why there is none.
    pub answer: Result<ExchangeEvidence, Stop>,
}

/// How a request differs from a right one; exactly one thing is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deviation {
    /// It has no Authorization header.
    Unsigned,
    /// It is signed with another secret under the right access key id.
    WrongSecret,
    /// It is signed under an access key id that nobody gave out.
    UnknownAccessKeyId,
    /// It was signed ten minutes ago.
    Stale,
    /// It is a GET.
    Get,
    /// It is for a path that the proxy does not serve.
    UnknownPath,
}
