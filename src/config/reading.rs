//! What was read, in digests: so that two readings of a configuration can be compared key by key without either being kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use aws_lc_rs::digest;

/// Keys that are read once, when the process starts, each with the reason: another value waits for a restart. All below
/// such a key wait with it. Every other key takes effect when the configuration is read anew.
pub const AT_START: &[(&str, &str)] = &[
    ("listen.api", "the socket is bound"),
    ("listen.kms", "the socket is bound"),
    ("http", "limits belong to the listeners"),
    ("journal", "the database is open, and secrets are sealed in it"),
    ("audit", "evidence of one run is signed by one key"),
    ("kms", "updates are under way at this account, Region and endpoint"),
    ("accounts", "clients of AWS are made once"),
    ("vpc", "clients of AWS are made once"),
    ("cloudhsm", "clients of AWS are made once"),
    ("traces", "spans are recorded for one collector"),
    ("preflight.concurrency", "places are given out"),
    ("monitor", "the rhythm of probes is drawn once"),
    ("update.poll_interval", "the rhythm of updates that are under way"),
];

type Digest = [u8; 32];

/// Every value of a configuration, and of the files that it names, as digests by key.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Reading(BTreeMap<String, Digest>);

impl Reading {
    /// Adds a value; several of one key count together.
    pub(super) fn add(&mut self, key: &str, value: &[u8]) {
        let mut context = digest::Context::new(&digest::SHA256);
        if let Some(before) = self.0.get(key) {
            context.update(before);
        }
        context.update(value);
        let mut sum = [0; 32];
        for (to, from) in sum.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        self.0.insert(key.to_owned(), sum);
    }

    /// The keys whose values are others, added or gone; of a list of tables, or of tables by name, the key of the whole.
    pub fn changed(&self, other: &Self) -> BTreeSet<String> {
        let keys = self.0.keys().chain(other.0.keys());
        keys.filter(|key| self.0.get(*key) != other.0.get(*key)).map(|key| whole(key).to_owned()).collect()
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reading").field(&self.0.len()).finish()
    }
}

/// Why this key waits for a restart, if it does.
pub fn at_start(key: &str) -> Option<&'static str> {
    let below = |of: &str| key.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    AT_START.iter().find(|(of, _)| below(of)).map(|(_, why)| *why)
}

/// `key_stores[3].region` and `credentials.main.secret` are parts of something that comes and goes as a whole.
fn whole(key: &str) -> &str {
    if key.starts_with("credentials.") {
        return "credentials";
    }
    key.split_once('[').map_or(key, |(list, _)| list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_compared_and_lists_as_a_whole() {
        let reading = |pairs: &[(&str, &str)]| {
            let mut reading = Reading::default();
            for (key, value) in pairs {
                reading.add(key, value.as_bytes());
            }
            reading
        };
        let one = reading(&[
            ("http.burst", "1"),
            ("tokens[0].name", "a"),
            ("credentials.x.secret", "b"),
            ("kms.region", "r"),
        ]);
        let two =
            reading(&[("http.burst", "2"), ("tokens[0].name", "a"), ("tokens[1].name", "c"), ("kms.region", "r")]);
        let changed: Vec<String> = one.changed(&two).into_iter().collect();
        assert_eq!(changed, ["credentials", "http.burst", "tokens"]);
        assert_eq!(one.changed(&one), BTreeSet::new());
        assert!(!format!("{one:?}").contains("region"));
    }

    #[test]
    fn whatever_is_below_waits_with_it() {
        assert!(at_start("journal.postgres_password.file").is_some());
        assert!(at_start("http").is_some() && at_start("monitor.interval").is_some());
        assert_eq!(at_start("httpx"), None);
        assert_eq!(at_start("listen.tls_key_file"), None);
        assert_eq!(at_start("update.approval"), None);
    }
}
