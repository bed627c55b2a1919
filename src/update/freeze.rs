//! Freezes: for a time, nothing new is begun.
//!
//! A freeze stops the first mutation of an update and nothing else. An update that has begun is seen through or taken
//! back, because stopping in the middle is the worst that can happen to a key store.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::key_store::CustomKeyStoreId;

/// Nobody may begin a change, of one key store or of any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// Of this key store; absent means of every one.
    pub key_store: Option<CustomKeyStoreId>,
    /// Why, for whoever is stopped by it.
    pub reason: String,
    /// Who froze it.
    pub by: String,
    /// When.
    pub since: Timestamp,
    /// When it ends by itself; absent means when somebody lifts it.
    pub until: Option<Timestamp>,
}

impl Freeze {
    /// Whether it has not ended at `now`.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// Of those that hold for `key_store` at `now` the one that ends last.
    pub fn longest(freezes: Vec<Self>, key_store: &CustomKeyStoreId, now: Timestamp) -> Option<Self> {
        let holds = |freeze: &Self| {
            freeze.is_in_force(now) && freeze.key_store.as_ref().is_none_or(|frozen| frozen == key_store)
        };
        freezes.into_iter().filter(holds).max_by_key(|freeze| (freeze.until.is_none(), freeze.until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_ends_last_is_told_and_none_that_has_ended() {
        let id = |text: &str| CustomKeyStoreId::parse(text).unwrap();
        let freeze = |key_store: Option<&str>, until: Option<i64>| Freeze {
            key_store: key_store.map(id),
            reason: "migration".into(),
            by: "ann".into(),
            since: Timestamp::from_unix(0),
            until: until.map(Timestamp::from_unix),
        };
        let all = vec![
            freeze(None, Some(10)),
            freeze(Some("cks-1"), Some(20)),
            freeze(Some("cks-2"), None),
            freeze(Some("cks-3"), Some(5)),
        ];
        let told = |key_store: &str, now| {
            Freeze::longest(all.clone(), &id(key_store), Timestamp::from_unix(now)).map(|freeze| freeze.until)
        };
        let at = |seconds| Some(Some(Timestamp::from_unix(seconds)));
        assert_eq!((told("cks-1", 0), told("cks-1", 20)), (at(20), None));
        assert_eq!((told("cks-2", 9), told("cks-2", 99)), (Some(None), Some(None)));
        assert_eq!((told("cks-3", 4), told("cks-3", 9), told("cks-3", 10)), (at(10), at(10), None));
    }
}
