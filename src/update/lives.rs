//! Whole lives of updates in a world that behaves at random: KMS, the proxy, the people and the clock. Whatever they do,
//! nothing is sent to KMS that was not allowed at that moment, nothing is sent twice that was seen to have had its
//! effect, and no update ends with a key store that was connected and is not, unless it says that it is stuck.
//!
//! # How it works
//!
//! [`live`](life::live) does what the driver does, with a [`World`](world::World) in place of KMS and a
//! [`House`](house::House) in place of the journal of freezes, the calendar and the people. Processes end at any point
//! and go on from what was recorded. An [`Oracle`](oracle::Oracle) watches: it is told what was recorded and what is
//! true, asks the code under test for nothing, and fails the life that breaks a rule.
//!
//! A life is a function of its number, so that one that failed can be lived again. `XKS_PREFLIGHT_LIVES` says how many
//! are lived of each kind.
//!
//! # What it catches
//!
//! These rules were broken by hand, one at a time. Beside each is the first life that noticed, of changes (c), gated
//! changes (g), connects and disconnects (d) and rotations (r), which are counted from 0:
//!
//! | broken | noticed by |
//! |---|---|
//! | a permit looks at no freeze and no window | g 146, d 26, r 16 |
//! | a permit takes a pre-flight of any age | c 0, g 16, d 7, r 2 |
//! | a permit takes an expired plan | g 425 |
//! | a permit takes a cancelled update | d 896 |
//! | no freeze stops anything | g 37, d 26, r 16 |
//! | a freeze does not end by itself | g 100 |
//! | a freeze ends one second late | by no life; the test in `freeze.rs` notices |
//! | windows are not kept | g 2, d 8 |
//! | authors approve; authors approve under another spelling | g 1; g 1 |
//! | one person twice counts as two; one is enough for two | g 19; g 1 |
//! | any digest is approved; an outage need not be acknowledged | g 5; g 62 |
//! | inconclusive passes | c 2, g 4, d 23, r 4 |
//! | a pre-flight of other settings passes | c 32, g 138, d 324, r 28 |
//! | drift is not looked for | c 209, g 60, d 39, r 278 |
//! | somebody else's settings are overwritten on the way back | c 310, g 49 |
//! | a call without an answer is sent again at once | c 22, g 32, d 146, r 328 |
//! | what was intended before a crash is taken for not sent | c 3, g 0, d 251, r 0 |
//! | an update that arrived late is not seen | c 18, g 5, r 20 |
//! | a connect that arrived late is not seen | c 3, g 10, d 42 |
//! | what KMS refused is sent again | c 12, g 0 |
//! | going back ends with the key store DISCONNECTED | c 16, g 30, d 75 |
//! | going back leaves the new secret | c 8, g 8, r 0 |
//! | going back overtakes a new secret that is still on its way | c 630, g 621, r 394 |
//! | a connect that FAILED is verified | c 16, g 10, d 5 |
//! | a verification that is blocked; that is inconclusive is enough | c 8, g 165, d 164, r 40; c 131, g 33, d 94, r 2 |
//! | a cancelled update begins | c 10, g 54, d 44, r 37 |
//! | a rotation does not wait for KMS to propagate; one look proves a removal | r 0; r 2 |

mod behind_the_gate;
mod changes;
mod connections;
mod house;
mod life;
mod moments;
mod oracle;
mod rotations;
mod watched;
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use self::house::House;
use self::life::live;
use self::world::World;
use super::*;
use crate::check::{Acceptance, CredentialsSeen, Verdict};
use crate::clock::Timestamp;
use crate::id::{IdSource, ReportId, UpdateId};
use crate::key_store::{
    AccessKeyId, Change, Configuration, ConnectionErrorCode, ConnectionState, Connectivity, CredentialRef,
    CredentialSource, CustomKeyStoreId, CustomKeyStoreName, KeyStore, KmsException, Member, ProxyCredential,
    RawSecretAccessKey, XksConfiguration, XksProxyUriEndpoint, XksProxyUriPath,
};

pub(super) const FORMER_ID: &str = "AKIAFORMERFORMERFORM";
const NEW_ID: &str = "AKIANEWNEWNEWNEWNEWN";
const AUTHOR: &str = "ann";

// --- how many, and what became of them ---

/// What became of the lives of one kind.
#[derive(Debug, Default)]
struct Tally(BTreeMap<String, u64>);

impl Tally {
    fn count(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }

    /// Fails unless the random world has led there: a rule that is never met is not tested.
    fn has(&self, all: &[&str]) {
        let missing: Vec<_> = all.iter().filter(|what| !self.0.contains_key(**what)).collect();
        assert!(missing.is_empty(), "{missing:?} missing in {:?}", self.0);
    }
}

/// Names the life that fails.
struct Number<'a>(&'a str, u64);

impl Drop for Number<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}: life number {} broke a rule", self.0, self.1);
        }
    }
}

/// Lives `usual` lives, or as many as somebody has the time for, and tells what became of them.
fn lives(kind: &str, usual: u64, mut each: impl FnMut(StdRng, &mut Tally)) -> Tally {
    let asked = std::env::var("XKS_PREFLIGHT_LIVES").ok();
    let count = asked.map_or(usual, |asked| asked.parse().expect("XKS_PREFLIGHT_LIVES is a number"));
    let mut tally = Tally::default();
    for number in 0..count {
        let _number = Number(kind, number);
        each(StdRng::seed_from_u64(number), &mut tally);
    }
    println!("{kind}: {count} lives: {:?}", tally.0);
    tally
}

// --- what they are made of ---

pub(super) fn store(state: ConnectionState) -> KeyStore {
    KeyStore {
        id: CustomKeyStoreId::parse("cks-1234567890abcdef0").unwrap(),
        name: CustomKeyStoreName::parse("store").unwrap(),
        created: None,
        state,
        configuration: Configuration::Xks(XksConfiguration {
            endpoint: XksProxyUriEndpoint::parse("https://old.example.com").unwrap(),
            path: XksProxyUriPath::parse("/kms/xks/v1").unwrap(),
            access_key_id: AccessKeyId::parse(FORMER_ID).unwrap(),
            connectivity: Connectivity::PublicEndpoint,
        }),
    }
}

pub(super) fn credential(id: &str, fill: &str) -> CredentialRef {
    let secret = format!("TestSecretDoNotLeak{}", fill.repeat(30));
    ProxyCredential {
        access_key_id: AccessKeyId::parse(id).unwrap(),
        secret_access_key: RawSecretAccessKey::parse(&secret).unwrap(),
    }
    .reference(CredentialSource::Sealed)
}

pub(super) fn former_credential() -> CredentialRef {
    credential(FORMER_ID, "f")
}

pub(super) fn endpoint_change() -> Change {
    Change { endpoint: Some(XksProxyUriEndpoint::parse("https://new.example.com").unwrap()), ..Change::default() }
}

fn wanted(change: Change, former_credential: Option<CredentialRef>, options: Options) -> Wanted {
    let id = UpdateId::new(&IdSource::from_seed(1), beginning());
    let (waivers, by) = (Vec::new(), AUTHOR.into());
    Wanted { id, change, options, former_credential, former_password: false, waivers, keys: None, by }
}

/// A Monday, 13:46:40 UTC.
fn beginning() -> Timestamp {
    Timestamp::from_unix(1_000_000)
}

fn planned(change: Change, state: ConnectionState, former: Option<CredentialRef>, options: Options) -> Plan {
    plan(&store(state), wanted(change, former, options), &Policy::default(), beginning()).unwrap()
}

pub(super) fn summary(plan: &Plan, verdict: Verdict, now: Timestamp) -> PreflightSummary {
    PreflightSummary {
        report: ReportId::new(&IdSource::from_seed(2), now),
        verdict,
        settings: plan.settings(),
        exception: None,
        message: "said the test".into(),
        finished_at: now,
        credentials: None,
    }
}

/// With nothing in the way.
pub(super) fn decide(state: &State, found: Option<&KeyStore>, moment: Moment) -> Decision {
    super::decide(state, found, moment, &Barriers::default())
}

pub(super) fn permit(state: &State, direction: Direction, step: Step, now: Timestamp) -> Result<Permit, Denied> {
    state.permit(direction, step, now, &Barriers::default())
}

/// A change of settings, and the former credential where it is held.
fn any_change(random: &mut StdRng) -> (Change, Option<CredentialRef>) {
    let path = || Some(XksProxyUriPath::parse("/new/kms/xks/v1").unwrap());
    let same_id = || Change { credential: Some(credential(FORMER_ID, "n")), ..Change::default() };
    let new_id = || Change { credential: Some(credential(NEW_ID, "n")), ..endpoint_change() };
    let former = || Some(former_credential());
    match random.random_range(0..8) {
        0 => (endpoint_change(), None),
        1 => (Change { path: path(), ..Change::default() }, None),
        2 => (new_id(), former()),
        3 => (new_id(), None),
        4 => (same_id(), former()),
        5 => (same_id(), None),
        6 => (Change { path: path(), ..same_id() }, former()),
        _ => (Change { name: Some(CustomKeyStoreName::parse("renamed by us").unwrap()), ..endpoint_change() }, None),
    }
}
