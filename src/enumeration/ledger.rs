//! What is known of each key of account and Region, by ARN.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::check::{Problem, ProblemKind};
use crate::clock::Timestamp;
use crate::key_store::{CustomKeyStoreId, ExternalKeyId, KmsKey};

/// What is known of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is in this external key store; that never changes.
    In(CustomKeyStoreId, ExternalKeyId),
    /// It is in no external key store; that never changes.
    Elsewhere,
    /// It was deleted after it was listed.
    Gone,
    /// AWS denies its description.
    Denied,
    /// KMS's description of it makes no sense; why.
    Odd(Box<str>),
}

impl Standing {
    fn home(&self) -> Option<&CustomKeyStoreId> {
        if let Self::In(home, _) = self { Some(home) } else { None }
    }
}

#[derive(Debug)]
struct Entry {
    /// `None`: listed, and not asked about yet.
    standing: Option<Standing>,
    /// The latest sweep that listed it.
    sweep: u64,
}

/// The keys of account and Region.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: HashMap<Box<str>, Entry>,
    /// The number of the latest sweep.
    sweep: u64,
    described: usize,
    denied: usize,
    ended: Option<(Timestamp, Option<Problem>)>,
    /// Counts for each key store the changes of what is in it; there is none for one without keys.
    versions: HashMap<CustomKeyStoreId, u64>,
    /// The latest answers with the version they are of, given again as long as they are true. To find the keys of one
    /// key store takes a look at all.
    answers: BTreeMap<CustomKeyStoreId, (u64, Arc<[KmsKey]>)>,
}

impl Ledger {
    /// A sweep begins.
    pub(super) fn begin(&mut self) {
        self.sweep += 1;
    }

    /// The sweep lists these keys.
    pub(super) fn listed(&mut self, arns: Vec<String>) {
        for arn in arns {
            let sweep = self.sweep;
            let entry = self.entries.entry(arn.into_boxed_str());
            entry.and_modify(|entry| entry.sweep = sweep).or_insert(Entry { standing: None, sweep });
        }
    }

    /// The sweep has listed all keys: the others are gone. The keys to be asked about, those that gave no good answer
    /// before coming last.
    pub(super) fn all_listed(&mut self) -> Vec<Box<str>> {
        let sweep = self.sweep;
        let before = self.entries.len();
        let versions = &mut self.versions;
        self.entries.retain(|_, entry| {
            let stays = entry.sweep == sweep;
            if let Some(Standing::In(home, _)) = entry.standing.as_ref().filter(|_| !stays) {
                *versions.entry(home.clone()).or_default() += 1;
            }
            stays
        });
        if self.entries.len() != before {
            self.count();
        }
        let with = |wanted: fn(&Option<Standing>) -> bool| {
            self.entries.iter().filter(move |(_, entry)| wanted(&entry.standing)).map(|(arn, _)| arn.clone())
        };
        let new = with(Option::is_none);
        new.chain(with(|standing| matches!(standing, Some(Standing::Denied | Standing::Odd(_))))).collect()
    }

    /// KMS answered about a key.
    pub(super) fn note(&mut self, arn: &str, standing: Standing) {
        let Some(entry) = self.entries.get_mut(arn) else { return };
        match entry.standing {
            Some(Standing::Denied) => self.denied -= 1,
            Some(Standing::In(..) | Standing::Elsewhere) => self.described -= 1,
            _ => {}
        }
        match standing {
            Standing::Denied => self.denied += 1,
            Standing::In(..) | Standing::Elsewhere => self.described += 1,
            _ => {}
        }
        let homes = [entry.standing.as_ref(), Some(&standing)].into_iter().flatten();
        for home in homes.filter_map(Standing::home) {
            *self.versions.entry(home.clone()).or_default() += 1;
        }
        if standing == Standing::Gone {
            self.entries.remove(arn);
        } else {
            entry.standing = Some(standing);
        }
    }

    /// The sweep has ended, because of a problem or because there is no more to do. Says why not all is known, if so.
    pub(super) fn end(&mut self, at: Timestamp, stopped_by: Option<Problem>) -> Option<Problem> {
        let odd = || {
            let mut odd = self.entries.iter().filter_map(|(arn, entry)| match &entry.standing {
                Some(Standing::Odd(why)) => Some((arn, why)),
                _ => None,
            });
            let (arn, why) = odd.next()?;
            let others = odd.count();
            let others = if others == 0 { String::new() } else { format!(" (and {others} more keys)") };
            Some(Problem::own(ProblemKind::Unread, format!("{arn}: {why}{others}")))
        };
        let incomplete = stopped_by.or_else(odd);
        self.ended = Some((at, incomplete.clone()));
        incomplete
    }

    /// When the latest sweep ended and why not all is known, if so.
    pub(super) fn ended(&self) -> Option<&(Timestamp, Option<Problem>)> {
        self.ended.as_ref()
    }

    /// How many keys are described.
    pub(super) fn described(&self) -> usize {
        self.described
    }

    /// How many keys AWS denies.
    pub(super) fn denied(&self) -> usize {
        self.denied
    }

    /// The keys of one key store, by ARN.
    pub(super) fn keys_of(&mut self, key_store: &CustomKeyStoreId) -> Arc<[KmsKey]> {
        let Some(&now) = self.versions.get(key_store) else { return Arc::default() };
        let before = self.answers.get(key_store);
        if let Some((version, answer)) = before
            && *version == now
        {
            return Arc::clone(answer);
        }
        let mut keys: Vec<KmsKey> = self
            .entries
            .iter()
            .filter_map(|(arn, entry)| match &entry.standing {
                Some(Standing::In(home, external_key_id)) if home == key_store => {
                    Some(KmsKey { arn: arn.to_string(), external_key_id: external_key_id.clone() })
                }
                _ => None,
            })
            .collect();
        keys.sort_unstable();
        // Reports that are kept share one allocation for as long as the keys are the same.
        let same = before.map(|(_, answer)| answer).filter(|answer| answer.as_ref() == keys);
        let answer: Arc<[KmsKey]> = same.map_or_else(|| keys.into(), Arc::clone);
        self.answers.insert(key_store.clone(), (now, Arc::clone(&answer)));
        answer
    }

    fn count(&mut self) {
        let of = |wanted: fn(&Standing) -> bool| {
            self.entries.values().filter(|entry| entry.standing.as_ref().is_some_and(wanted)).count()
        };
        let described = of(|standing| matches!(standing, Standing::In(..) | Standing::Elsewhere));
        let denied = of(|standing| *standing == Standing::Denied);
        (self.described, self.denied) = (described, denied);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(text: &str) -> CustomKeyStoreId {
        CustomKeyStoreId::parse(text).unwrap()
    }

    fn within(key_store: &str, id: &str) -> Standing {
        Standing::In(store(key_store), ExternalKeyId::parse(id).unwrap())
    }

    fn lists(ledger: &mut Ledger, arns: &[&str]) -> Vec<String> {
        ledger.begin();
        ledger.listed(arns.iter().map(ToString::to_string).collect());
        let mut asked: Vec<String> = ledger.all_listed().into_iter().map(String::from).collect();
        asked.sort();
        asked
    }

    #[test]
    fn what_is_known_is_not_asked_again_and_what_is_gone_is_forgotten() {
        let mut ledger = Ledger::default();
        assert_eq!(lists(&mut ledger, &["a", "b", "c", "d", "e"]), ["a", "b", "c", "d", "e"]);
        ledger.note("a", within("cks-1", "k-a"));
        ledger.note("b", Standing::Elsewhere);
        ledger.note("c", Standing::Denied);
        ledger.note("d", Standing::Odd("why".into()));
        ledger.note("e", Standing::Gone);
        assert_eq!((ledger.described(), ledger.denied()), (2, 1));
        assert_eq!(lists(&mut ledger, &["a", "b", "c", "d", "f"]), ["c", "d", "f"]);
        ledger.note("c", within("cks-1", "k-c"));
        assert_eq!((ledger.described(), ledger.denied()), (3, 0));
        let both = ledger.keys_of(&store("cks-1"));
        assert_eq!(both.iter().map(|key| key.arn.as_str()).collect::<Vec<_>>(), ["a", "c"]);
        assert!(Arc::ptr_eq(&both, &ledger.keys_of(&store("cks-1"))));
        ledger.note("f", within("cks-2", "k-f"));
        assert!(Arc::ptr_eq(&both, &ledger.keys_of(&store("cks-1"))));
        assert_eq!(ledger.keys_of(&store("cks-2")).len(), 1);
        lists(&mut ledger, &["c"]);
        assert_eq!(ledger.described(), 1);
        assert_eq!(ledger.keys_of(&store("cks-1")).len(), 1);
        assert!(ledger.keys_of(&store("cks-2")).is_empty());
    }

    #[test]
    fn a_list_that_breaks_off_forgets_nothing() {
        let mut ledger = Ledger::default();
        lists(&mut ledger, &["a", "b"]);
        ledger.note("a", within("cks-1", "k-a"));
        ledger.note("b", within("cks-1", "k-b"));
        ledger.begin();
        ledger.listed(vec!["a".to_owned()]);
        let at = Timestamp::parse("2026-11-23T12:00:00Z").unwrap();
        assert!(ledger.end(at, Some(Problem::own(ProblemKind::Throttled, "x"))).is_some());
        assert_eq!(ledger.keys_of(&store("cks-1")).len(), 2);
    }

    #[test]
    fn odd_keys_are_told_with_their_number() {
        let mut ledger = Ledger::default();
        lists(&mut ledger, &["a", "b", "c"]);
        let at = Timestamp::parse("2026-11-23T12:00:00Z").unwrap();
        assert_eq!(ledger.end(at, None), None);
        ledger.note("a", Standing::Odd("no Arn".into()));
        ledger.note("b", Standing::Odd("no Arn".into()));
        let detail = ledger.end(at, None).unwrap().detail;
        assert!(detail.contains("no Arn") && detail.contains("1 more"), "{detail}");
    }
}
