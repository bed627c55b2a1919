//! Identifiers of our own things: a prefix that tells what it is, and a UUIDv7, so that they sort by time.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::clock::Timestamp;

/// Text that is not an identifier of the expected kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier of the form {prefix}-<uuid>")]
pub struct InvalidId {
    /// The prefix that was expected, without the hyphen.
    pub prefix: &'static str,
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A new identifier of the given instant.
            pub fn new(ids: &IdSource, now: Timestamp) -> Self {
                Self(ids.next(now))
            }

            /// Reads the printed form.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix(concat!($prefix, "-"))
                    .and_then(|rest| rest.parse().ok())
                    .map(Self)
                    .filter(|id| id.to_string() == text)
                    .ok_or(InvalidId { prefix: $prefix })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "-{}"), self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

identifier!(
    /// One pre-flight report.
    ReportId,
    "report"
);
identifier!(
    /// One update of a key store, from plan to conclusion.
    UpdateId,
    "update"
);
identifier!(
    /// One signed request to a proxy: sent as `kmsRequestId`, so that its owner can find it.
    RequestId,
    "xks-preflight"
);

impl RequestId {
    /// The printed form with a word after the prefix, which tells the proxy's owner what the request was for:
    /// `xks-preflight-<mark>-<uuid>`.
    pub fn marked(&self, mark: &str) -> String {
        format!("xks-preflight-{mark}-{}", self.0)
    }
}

/// Where identifiers come from: seedable, so that a test can repeat a run.
#[derive(Debug)]
pub struct IdSource(Mutex<StdRng>);

impl IdSource {
    /// Seeded by the operating system.
    pub fn from_entropy() -> Self {
        Self(Mutex::new(rand::make_rng()))
    }

    /// The same seed gives the same identifiers for the same instants.
    pub fn from_seed(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    fn next(&self, now: Timestamp) -> Uuid {
        let mut random = [0_u8; 10];
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut random);
        let millis = u64::try_from(now.unix_millis()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_form_is_read_back_and_sorts_by_time() {
        let ids = IdSource::from_seed(1);
        let first = UpdateId::new(&ids, Timestamp::from_unix(1_000));
        let second = UpdateId::new(&ids, Timestamp::from_unix(2_000));
        assert_eq!(UpdateId::parse(&first.to_string()), Ok(first));
        assert!(first.to_string() < second.to_string());
    }

    #[test]
    fn another_kind_is_refused() {
        let report = ReportId::new(&IdSource::from_seed(1), Timestamp::from_unix(0));
        assert!(UpdateId::parse(&report.to_string()).is_err());
        assert!(ReportId::parse("report-1").is_err());
    }
}
