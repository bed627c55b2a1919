//! What a proxy made of requests that it must refuse.

use std::net::SocketAddr;

use super::{ExchangeEvidence, Stop};
use crate::xks::Refusal;

impl ExchangeEvidence {
    /// Whether the answer says that the request was carried out. An `errorName` outranks the status, as it does for
    /// KMS.
    pub fn is_carried_out(&self) -> bool {
        (200..300).contains(&self.status) && Refusal::parse(&self.body).is_err()
    }
}

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

impl Deviation {
    /// Every deviation, in the order in which they are tried.
    pub const ALL: [Self; 6] =
        [Self::Unsigned, Self::WrongSecret, Self::UnknownAccessKeyId, Self::Stale, Self::Get, Self::UnknownPath];

    /// The word by which the proxy's owner finds the trial in a log: part of its `kmsRequestId`, or, where there is no
    /// body, of its `User-Agent`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned",
            Self::WrongSecret => "wrong-secret",
            Self::UnknownAccessKeyId => "unknown-access-key-id",
            Self::Stale => "stale",
            Self::Get => "get",
            Self::UnknownPath => "unknown-path",
        }
    }

    /// What is wrong with the request, in words that follow "a request".
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Unsigned => "without Authorization header",
            Self::WrongSecret => "signed with a wrong secret",
            Self::UnknownAccessKeyId => "under an access key id that nobody gave out",
            Self::Stale => "signed ten minutes ago",
            Self::Get => "by GET",
            Self::UnknownPath => "for a path that the API does not have",
        }
    }
}
