//! What was seen of the keys behind a proxy.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::key_store::{ExternalKeyId, KmsKey, XksConfiguration};

use super::Problem;

/// How many failing keys are named; the rest is counted.
const MOST_EXAMPLES: usize = 20;

/// What was seen of the keys behind the candidate.
#[derive(Clone, Debug, Default)]
pub struct KeyEvidence {
    /// The KMS keys of the store, if they were asked for.
    pub enumeration: Option<Enumeration>,
    /// How many external keys were named one by one.
    pub named: usize,
    /// Which keys test operations were made with.
    pub proving: Proving,
    /// Whether the operator wants every key of the store proven, known here or not.
    pub every_key_wanted: bool,
    /// What is known of the current proxy.
    pub current: CurrentProxy,
    /// One entry for each address whose health answers were complete.
    pub addresses: Vec<KeysAtAddress>,
}

/// The KMS keys of one key store, as far as they could be found.
#[derive(Clone, Debug)]
pub struct Enumeration {
    /// Those that were found, each with its external key, by ARN. Shared, because many reports are kept.
    pub keys: Arc<[KmsKey]>,
    /// How many keys of account and Region could not be described because AWS denied it: some of them may belong to the
    /// store.
    pub denied: usize,
    /// Why not all keys of account and Region were looked at, if so.
    pub incomplete: Option<Problem>,
    /// When it ended.
    pub at: Timestamp,
}

impl Enumeration {
    /// Whether every key of the store is among those found.
    pub fn is_complete(&self) -> bool {
        self.denied == 0 && self.incomplete.is_none()
    }
}

/// Which keys test operations are made with. They show in the key manager's audit log, so nobody's keys are used unless
/// the operator says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proving {
    /// None.
    #[default]
    Nothing,
    /// A key that is there for tests.
    TestKey(ExternalKeyId),
    /// So many: every key that is known of the store, by the operator's explicit wish.
    EveryKey(usize),
}

/// What is known of the proxy behind the current settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CurrentProxy {
    /// Nothing: it was not given, or its secret is not held.
    #[default]
    NotGiven,
    /// It is another one than the candidate.
    Another,
    /// It is the candidate: endpoint, path, connectivity and destination are the same.
    Same,
    /// It has the candidate's name but KMS reaches it another way, which cannot be followed from here: whatever is asked
    /// at that name says nothing of it.
    Indistinct,
}

impl CurrentProxy {
    /// What the settings alone tell: the same name through another VPC endpoint service is another way, at whose end may
    /// be other keys, and from here both look the same.
    pub fn between(current: &XksConfiguration, new: &XksConfiguration) -> Self {
        let same_way = current.connectivity == new.connectivity;
        match (current.endpoint.canonical() == new.endpoint.canonical(), current.path == new.path) {
            (true, true) if same_way => Self::Same,
            (true, _) if !same_way => Self::Indistinct,
            _ => Self::Another,
        }
    }

    /// Why it was not asked, for the reader, where it was not.
    pub(crate) fn why_not_asked(self) -> &'static str {
        match self {
            Self::NotGiven | Self::Another | Self::Same => "its secret is not held here",
            Self::Indistinct => {
                "it has the same name behind another VPC endpoint service or connectivity, and from here that name leads \
                 to one of the two only"
            }
        }
    }
}

/// What was seen of the keys at one address.
#[derive(Clone, Debug)]
pub struct KeysAtAddress {
    /// Where.
    pub address: SocketAddr,
    /// GetKeyMetadata of every key that was asked for.
    pub metadata: Option<KeyTally>,
    /// What test operations showed.
    pub proofs: Option<KeyProofs>,
}

/// What test operations showed at one address.
#[derive(Clone, Debug, Default)]
pub struct KeyProofs {
    /// Encrypt and Decrypt at the candidate. Keys that fail here are not looked at further.
    pub round_trip: KeyTally,
    /// Decrypt at the candidate of what the current proxy encrypted, now or earlier; `None` if there was nothing.
    pub continuity: Option<KeyTally>,
    /// Decrypt at the current proxy of what the candidate encrypted; `None` if the current proxy is not given.
    pub continuity_back: Option<KeyTally>,
    /// When the canary was made that stood in for the current proxy, if one did.
    pub canary: Option<Timestamp>,
}

/// One question asked of many keys: counts, and examples of those that fail, so that memory stays flat.
#[derive(Clone, Debug, Default)]
pub struct KeyTally {
    /// Of how many keys it was to be asked.
    pub wanted: usize,
    /// For how many the answer is good.
    pub passed: usize,
    /// For how many it is not.
    pub failed: usize,
    /// The first of those, 20 at most.
    pub examples: Vec<KeyFailure>,
    /// Why the others were not told, if there are any.
    pub untold: Option<Problem>,
}

/// One key and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFailure {
    /// The external key.
    pub key: ExternalKeyId,
    /// What is wrong.
    pub problem: Problem,
}

impl KeyTally {
    /// Nothing told yet of so many keys.
    pub fn of(wanted: usize) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// One more good answer.
    pub fn pass(&mut self) {
        self.passed += 1;
    }

    /// One more key that fails.
    pub fn fail(&mut self, key: &ExternalKeyId, problem: Problem) {
        self.failed += 1;
        if self.examples.len() < MOST_EXAMPLES {
            self.examples.push(KeyFailure { key: key.clone(), problem });
        }
    }

    /// Nothing is told of one or more keys; the first reason is kept.
    pub fn leave(&mut self, why: Problem) {
        self.untold.get_or_insert(why);
    }

    /// Of how many keys nothing is told.
    pub fn left(&self) -> usize {
        self.wanted.saturating_sub(self.passed + self.failed)
    }

    /// Takes in what another lane found of other keys.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.examples.extend(other.examples);
        self.examples.sort_by(|one, two| one.key.cmp(&two.key));
        self.examples.truncate(MOST_EXAMPLES);
        if let Some(why) = other.untold {
            self.leave(why);
        }
    }
}
