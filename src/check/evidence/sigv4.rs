//! What further requests told of the signature: why it is refused, and whether that of the settings in force still works.

use std::fmt;
use std::net::SocketAddr;

use super::{ExchangeEvidence, Stop};
use crate::key_store::Region;

/// Beyond this many seconds clocks are told to differ; signatures are refused from 300 s on.
pub const TOLERATED_SKEW: f64 = 60.0;

impl ExchangeEvidence {
    /// Seconds that the server's clock is ahead of ours, by its `Date`; negative when it is behind. Good to a second.
    pub fn clock_ahead(&self) -> Option<f64> {
        self.date.map(|date| date.seconds_since(self.received_at))
    }
}

/// What was seen of the signature besides the samples.
#[derive(Clone, Debug, Default)]
pub struct SignatureEvidence {
    /// The guesses at why the proxy refuses the signature, in the order in which they were tried; the last one may
    /// have hit. Empty unless it refuses.
    pub guesses: Vec<Guessed>,
    /// What became of the settings that KMS uses until the change has reached all of it.
    pub former: FormerSettings,
}

/// One more request for health, signed otherwise.
#[derive(Clone, Debug)]
pub struct Guessed {
    /// Where it was sent.
    pub address: SocketAddr,
    /// How it was signed.
    pub guess: Guess,
    /// The answer, or why there is none.
    pub answer: Result<ExchangeEvidence, Stop>,
}

/// What may be behind a refused signature. What is set was signed in place of the right value; the request itself
/// stayed the same.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Guess {
    /// The proxy's clock: seconds that it is ahead of ours.
    pub clock: Option<f64>,
    /// Another Region in the credential scope.
    pub region: Option<Region>,
    /// Another `Host`, as a middlebox may have made it.
    pub host: Option<String>,
}

impl fmt::Display for Guess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = self.clock.map(|_| "at the proxy's own time".to_owned());
        let region = self.region.as_ref().map(|region| format!("for Region {region}"));
        let host = self.host.as_ref().map(|host| format!("with Host {host}"));
        let parts: Vec<String> = [clock, region, host].into_iter().flatten().collect();
        f.write_str(&parts.join(" and "))
    }
}

/// Whether the proxy still serves what KMS has now. A change of credential or path may be made while the key store is
/// connected, and takes up to 5 minutes to reach all of KMS.
#[derive(Clone, Debug, Default)]
pub enum FormerSettings {
    /// Nobody said what KMS has now.
    #[default]
    Unknown,
    /// Neither credential nor path changes.
    Same,
    /// The endpoint changes, which KMS accepts only while nothing is in use.
    OtherEndpoint,
    /// The former settings were tried at the candidate's addresses.
    Tried(FormerTrial),
}

/// A request for health with the settings that KMS has now.
#[derive(Clone, Debug)]
pub struct FormerTrial {
    /// The access key id that signed.
    pub access_key_id: String,
    /// Whether the candidate has another credential.
    pub other_credential: bool,
    /// The path asked for, if the candidate has another one.
    pub other_path: Option<String>,
    /// The answers, or why there is none.
    pub answers: Vec<(SocketAddr, Result<ExchangeEvidence, Stop>)>,
}
