//! What every journal keeps to, whatever its database: `contract!` makes a test of each clause.

pub(crate) mod trail;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use xks_preflight::audit::{Action, Decision, Line};
use xks_preflight::check::Verdict;
use xks_preflight::clock::Timestamp;
use xks_preflight::id::{IdSource, ReportId, UpdateId};
use xks_preflight::journal::{
    AuditTrail, Canary, CanaryKeeper, Created, Fence, FreezeKeeper, Idempotency, Journal, JournalError, Leased,
    LinesWanted, NewUpdate, SealError, SealingKey, SecretPurpose, VigilKeeper,
};
use xks_preflight::key_store::{
    AccessKeyId, CandidateName, Change, Configuration, ConnectionState, Connectivity, CredentialSource,
    CustomKeyStoreId, CustomKeyStoreName, ExternalKeyId, KeyStore, ProxyCredential, RawSecretAccessKey,
    XksConfiguration, XksProxyUriEndpoint, XksProxyUriPath,
};
use xks_preflight::update::{
    Ending, Event, Freeze, Look, Options, Plan, Policy, PreflightSummary, Recorded, SettingsDigest, Vigil, Wanted, plan,
};
use xks_preflight::xks::Ciphertext;

const SECRET: &str = "TestSecretDoNotLeakAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const ACCESS_KEY_ID: &str = "AKIAI2SFODNN7EXAMPLE";
const LONG: Duration = Duration::from_mins(10);
/// Longer than anything here takes on a busy machine.
const BOUND: Duration = Duration::from_mins(1);

/// A database to put a journal in.
#[async_trait]
pub(crate) trait Subject: Sized {
    /// An empty one.
    async fn new() -> Self;
    /// Opens the journal in it. Whatever was open before has been dropped.
    async fn open(&self, sealing_key: Option<SealingKey>) -> Opened;
    /// Everything that can be read from where the database keeps its data.
    async fn everything_stored(&self) -> Vec<u8>;
}

/// An open journal, under all its ports.
pub(crate) struct Opened {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) canaries: Arc<dyn CanaryKeeper>,
    pub(crate) trail: Arc<dyn AuditTrail>,
    pub(crate) freezes: Arc<dyn FreezeKeeper>,
    pub(crate) vigils: Arc<dyn VigilKeeper>,
}

pub(crate) fn sealing_key() -> SealingKey {
    SealingKey::parse(&SecretString::from("0a".repeat(32))).unwrap()
}

pub(crate) fn planned(ids: &IdSource, key_store: &str, second: i64) -> Plan {
    let access_key_id = AccessKeyId::parse(ACCESS_KEY_ID).unwrap();
    let credential = ProxyCredential { access_key_id, secret_access_key: RawSecretAccessKey::parse(SECRET).unwrap() };
    let credential = Some(credential.reference(CredentialSource::Sealed));
    planned_change(ids, key_store, second, Change { credential, ..Change::default() })
}

fn planned_change(ids: &IdSource, key_store: &str, second: i64, change: Change) -> Plan {
    let now = Timestamp::from_unix(second);
    let access_key_id = AccessKeyId::parse(ACCESS_KEY_ID).unwrap();
    let store = KeyStore {
        id: CustomKeyStoreId::parse(key_store).unwrap(),
        name: CustomKeyStoreName::parse("store").unwrap(),
        created: None,
        state: ConnectionState::Connected,
        configuration: Configuration::Xks(XksConfiguration {
            endpoint: XksProxyUriEndpoint::parse("https://xks.example.com").unwrap(),
            path: XksProxyUriPath::parse("/kms/xks/v1").unwrap(),
            access_key_id,
            connectivity: Connectivity::PublicEndpoint,
        }),
    };
    let wanted = Wanted {
        id: UpdateId::new(ids, now),
        change,
        options: Options::default(),
        former_credential: None,
        former_password: false,
        waivers: Vec::new(),
        keys: None,
        by: "tester".into(),
    };
    plan(&store, wanted, &Policy::default(), now).unwrap()
}

pub(crate) fn new(plan: &Plan, key: Option<&str>, digest: &str) -> NewUpdate {
    NewUpdate {
        plan: plan.clone(),
        at: plan.created_at,
        idempotency: key.map(|key| Idempotency { key: key.into(), request_digest: digest.into() }),
        secrets: vec![(SecretPurpose::NewCredential, SecretString::from(SECRET.to_owned()))],
    }
}

pub(crate) async fn leased(journal: &dyn Journal, update: UpdateId) -> Fence {
    match journal.lease(update, "writer", LONG).await.unwrap() {
        Leased::Granted(fence) => fence,
        held @ Leased::Held { .. } => panic!("{held:?}"),
    }
}

/// Creates the update and ends it.
pub(crate) async fn conclude(journal: &dyn Journal, plan: &Plan, ending: Ending) {
    let fence = leased(journal, plan.id).await;
    journal.append(plan.id, fence, 2, plan.created_at, &Event::Concluded { ending }).await.unwrap();
}

pub(crate) async fn events_come_back_in_order_after_a_restart_and_nobody_appends_twice<S: Subject>(subject: S) {
    let ids = IdSource::from_seed(1);
    let first = planned(&ids, "cks-1", 1);
    let event = Event::ApprovalRequested {};
    let Opened { journal, canaries, trail, freezes, vigils } = subject.open(Some(sealing_key())).await;
    assert_eq!(journal.create(new(&first, None, "")).await.unwrap(), Created::New);
    let at = first.created_at;
    let fence = leased(&*journal, first.id).await;
    for other in [1, 3] {
        let refused = journal.append(first.id, fence, other, at, &event).await;
        assert!(matches!(refused, Err(JournalError::OutOfSequence { .. })), "{refused:?}");
    }
    let recorded = journal.append(first.id, fence, 2, at, &event).await.unwrap();
    drop((journal, canaries, trail, freezes, vigils));

    let Opened { journal, .. } = subject.open(Some(sealing_key())).await;
    let events = journal.load(first.id).await.unwrap();
    assert_eq!(events[0].event, Event::Planned { plan: Box::new(first.clone()) });
    assert_eq!(events[1..], [recorded]);
    assert_eq!(journal.open_updates().await.unwrap(), [first.id]);
    let other = UpdateId::new(&ids, at);
    let known = [(other, 0), (first.id, 1), (first.id, 2), (first.id, 0), (first.id, u64::MAX)];
    let news = journal.news(&known).await.unwrap();
    let told: Vec<&[Recorded]> = news.iter().map(Vec::as_slice).collect();
    assert_eq!(told, [&[], &events[1..], &[], &events[..], &[]]);
    assert!(journal.news(&[]).await.unwrap().is_empty());
    assert!(matches!(journal.load(other).await, Err(JournalError::NotFound(id)) if id == other));
    assert!(matches!(journal.lease(other, "writer", LONG).await, Err(JournalError::NotFound(id)) if id == other));
}

pub(crate) async fn one_open_update_for_each_key_store_and_one_for_each_key<S: Subject>(subject: S) {
    let Opened { journal, .. } = subject.open(Some(sealing_key())).await;
    let ids = IdSource::from_seed(1);
    let first = planned(&ids, "cks-1", 1);
    assert_eq!(journal.create(new(&first, Some("k"), "d")).await.unwrap(), Created::New);
    assert_eq!(journal.create(new(&first, Some("k"), "d")).await.unwrap(), Created::Existing(first.id));
    assert_eq!(journal.create(new(&first, Some("k"), "other")).await.unwrap(), Created::KeyReused(first.id));
    let of = |key: &str, digest: &str| Idempotency { key: key.into(), request_digest: digest.into() };
    assert_eq!(journal.find(&of("k", "d")).await.unwrap(), Some(Created::Existing(first.id)));
    assert_eq!(journal.find(&of("k", "other")).await.unwrap(), Some(Created::KeyReused(first.id)));
    assert_eq!(journal.find(&of("unknown", "d")).await.unwrap(), None);
    let second = planned(&ids, "cks-1", 2);
    assert_eq!(journal.create(new(&second, None, "")).await.unwrap(), Created::Locked(first.id));
    let elsewhere = planned(&ids, "cks-2", 3);
    assert_eq!(journal.create(new(&elsewhere, None, "")).await.unwrap(), Created::New);
    conclude(&*journal, &first, Ending::Abandoned { by: "op".into() }).await;
    assert_eq!(journal.create(new(&second, None, "")).await.unwrap(), Created::New);
    assert_eq!(journal.open_updates().await.unwrap(), [second.id, elsewhere.id]);
    assert_eq!(journal.list(None, 2).await.unwrap(), [elsewhere.id, second.id]);
    assert_eq!(journal.list(Some(second.id), 2).await.unwrap(), [first.id]);
    assert_eq!(journal.list(None, usize::MAX).await.unwrap().len(), 3);
}

pub(crate) async fn of_many_who_ask_at_once_one_is_served<S: Subject>(subject: S) {
    let Opened { journal, .. } = subject.open(Some(sealing_key())).await;
    let ids = IdSource::from_seed(1);
    let plans: Vec<Plan> = (0..8).map(|second| planned(&ids, "cks-1", second)).collect();
    let asked = plans.iter().map(|plan| journal.create(new(plan, None, "")));
    let answers = futures_util::future::join_all(asked).await;
    let made = answers.iter().filter(|answer| matches!(answer, Ok(Created::New))).count();
    let locked = answers.iter().filter(|answer| matches!(answer, Ok(Created::Locked(_)))).count();
    assert_eq!((made, locked), (1, 7), "{answers:?}");

    let open = journal.open_updates().await.unwrap()[0];
    let holders: Vec<String> = (0..8).map(|number| format!("holder-{number}")).collect();
    let asked = holders.iter().map(|holder| journal.lease(open, holder, LONG));
    let answers = futures_util::future::join_all(asked).await;
    let granted: Vec<Fence> =
        answers.iter().filter_map(|answer| if let Ok(Leased::Granted(f)) = answer { Some(*f) } else { None }).collect();
    assert_eq!(granted.len(), 1, "{answers:?}");

    let events: Vec<Event> = (0..8).map(|n| Event::CancelRequested { by: format!("op-{n}") }).collect();
    let at = Timestamp::from_unix(9);
    let appends = events.iter().map(|event| journal.append(open, granted[0], 2, at, event));
    let answers = futures_util::future::join_all(appends).await;
    let recorded: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
    let late = answers.iter().filter(|answer| matches!(answer, Err(JournalError::OutOfSequence { .. }))).count();
    assert_eq!((recorded.len(), late), (1, 7), "{answers:?}");
    assert_eq!(journal.load(open).await.unwrap()[1..], [recorded[0].clone()]);
}

pub(crate) async fn a_lease_ends_by_itself_and_its_holder_is_fenced<S: Subject>(subject: S) {
    let Opened { journal, .. } = subject.open(Some(sealing_key())).await;
    let first = planned(&IdSource::from_seed(1), "cks-1", 1);
    let (update, at) = (first.id, first.created_at);
    journal.create(new(&first, None, "")).await.unwrap();
    let Leased::Granted(early) = journal.lease(update, "early", LONG).await.unwrap() else { panic!("nobody had it") };
    match journal.lease(update, "late", LONG).await.unwrap() {
        Leased::Held { by, left } => {
            assert_eq!(by, "early");
            assert!(left <= LONG && left > LONG / 2, "{left:?}");
        }
        Leased::Granted(fence) => panic!("two at once: {fence}"),
    }
    journal.append(update, early, 2, at, &Event::ApprovalRequested {}).await.unwrap();
    journal.renew(update, early, Duration::from_millis(1)).await.unwrap();
    let taken_over = async {
        loop {
            if let Leased::Granted(fence) = journal.lease(update, "late", LONG).await.unwrap() {
                return fence;
            }
            tokio::task::yield_now().await;
        }
    };
    let late = tokio::time::timeout(BOUND, taken_over).await.unwrap();
    assert!(late > early);
    let event = Event::CancelRequested { by: "op".into() };
    for sequence in [2, 3] {
        let refused = journal.append(update, early, sequence, at, &event).await;
        assert!(matches!(refused, Err(JournalError::Fenced { update: of }) if of == update), "{refused:?}");
    }
    assert!(matches!(journal.renew(update, early, LONG).await, Err(JournalError::Fenced { .. })));
    // What it gives back is not what the other has.
    journal.release(update, early).await.unwrap();
    assert!(matches!(journal.lease(update, "early", LONG).await.unwrap(), Leased::Held { by, .. } if by == "late"));
    journal.append(update, late, 3, at, &event).await.unwrap();
    assert_eq!(journal.load(update).await.unwrap().len(), 3);
}

pub(crate) async fn a_lease_is_given_back_asked_for_again_and_outlived<S: Subject>(subject: S) {
    let Opened { journal, .. } = subject.open(Some(sealing_key())).await;
    let first = planned(&IdSource::from_seed(1), "cks-1", 1);
    let update = first.id;
    journal.create(new(&first, None, "")).await.unwrap();
    let one = leased(&*journal, update).await;
    let two = leased(&*journal, update).await;
    assert!(two > one, "the same holder, asking again, gets a newer one");
    assert!(matches!(journal.renew(update, one, LONG).await, Err(JournalError::Fenced { .. })));
    journal.release(update, two).await.unwrap();
    assert!(matches!(journal.renew(update, two, LONG).await, Err(JournalError::Fenced { .. })), "it was given back");
    let Leased::Granted(short) = journal.lease(update, "other", Duration::from_millis(1)).await.unwrap() else {
        panic!("it was given back")
    };
    assert!(short > two);
    // Ended or not: while nobody has taken it, its holder may renew it.
    journal.renew(update, short, LONG).await.unwrap();
    assert!(matches!(journal.lease(update, "writer", LONG).await.unwrap(), Leased::Held { by, .. } if by == "other"));
}

pub(crate) async fn secrets_are_sealed_found_and_erased<S: Subject>(subject: S) {
    let ids = IdSource::from_seed(1);
    let first = planned(&ids, "cks-1", 1);
    let id = AccessKeyId::parse(ACCESS_KEY_ID).unwrap();
    let Opened { journal, canaries, trail, freezes, vigils } = subject.open(Some(sealing_key())).await;
    journal.create(new(&first, None, "")).await.unwrap();
    let secret = journal.secret(first.id, SecretPurpose::NewCredential).await.unwrap().unwrap();
    assert_eq!(secret.expose_secret(), SECRET);
    assert!(journal.secret(first.id, SecretPurpose::NewPassword).await.unwrap().is_none());
    assert_eq!(journal.holder_of(&first.key_store, &id).await.unwrap(), None, "not verified yet");
    conclude(&*journal, &first, Ending::Verified).await;
    assert_eq!(journal.holder_of(&first.key_store, &id).await.unwrap(), Some(first.id));
    let stored = subject.everything_stored().await;
    assert!(
        stored.windows(ACCESS_KEY_ID.len()).any(|part| part == ACCESS_KEY_ID.as_bytes()),
        "this is where it stores"
    );
    assert!(!stored.windows(9).any(|part| part == b"DoNotLeak"));
    drop((journal, canaries, trail, freezes, vigils));

    let wrong = SealingKey::parse(&SecretString::from("0b".repeat(32))).unwrap();
    let Opened { journal, .. } = subject.open(Some(wrong)).await;
    let refused = journal.secret(first.id, SecretPurpose::NewCredential).await.unwrap_err();
    assert!(matches!(refused, JournalError::Seal(SealError::WrongKey)));

    let second = planned(&ids, "cks-1", 2);
    journal.create(new(&second, None, "")).await.unwrap();
    conclude(&*journal, &second, Ending::Verified).await;
    assert!(journal.secret(first.id, SecretPurpose::NewCredential).await.unwrap().is_none(), "superseded");
    assert_eq!(journal.holder_of(&first.key_store, &id).await.unwrap(), Some(second.id));
    let third = planned(&ids, "cks-1", 3);
    journal.create(new(&third, None, "")).await.unwrap();
    conclude(&*journal, &third, Ending::RolledBack { why: "no".into() }).await;
    assert!(journal.secret(third.id, SecretPurpose::NewCredential).await.unwrap().is_none());
    assert_eq!(journal.holder_of(&first.key_store, &id).await.unwrap(), Some(second.id));
    let fourth = planned(&ids, "cks-1", 4);
    journal.create(new(&fourth, None, "")).await.unwrap();
    conclude(&*journal, &fourth, Ending::Stuck { why: "no".into(), instruction: "look".into() }).await;
    assert!(journal.secret(fourth.id, SecretPurpose::NewCredential).await.unwrap().is_some(), "it may be needed");
}

pub(crate) async fn updates_that_change_a_credential_are_found_however_old_they_are<S: Subject>(subject: S) {
    let ids = IdSource::from_seed(1);
    let Opened { journal, .. } = subject.open(Some(sealing_key())).await;
    let store = |id: &str| CustomKeyStoreId::parse(id).unwrap();
    assert!(journal.key_stores_with_new_credential().await.unwrap().is_empty());
    let mut told = Vec::new();
    for (second, of) in [(1, "cks-1"), (2, "cks-2"), (3, "cks-1"), (4, "cks-1")] {
        let plan = planned(&ids, of, second);
        journal.create(new(&plan, None, "")).await.unwrap();
        conclude(&*journal, &plan, Ending::Verified).await;
        if of == "cks-1" {
            told.push(plan.id);
        }
    }
    // Many that change something else.
    for second in 5..=120 {
        let name = Some(CustomKeyStoreName::parse("another").unwrap());
        let plan = planned_change(&ids, "cks-1", second, Change { name, ..Change::default() });
        let made =
            NewUpdate { plan: plan.clone(), at: Timestamp::from_unix(second), idempotency: None, secrets: Vec::new() };
        journal.create(made).await.unwrap();
        conclude(&*journal, &plan, Ending::Verified).await;
    }
    told.reverse();
    let first = journal.with_new_credential(&store("cks-1"), None, 2).await.unwrap();
    assert_eq!(first, told[..2]);
    assert_eq!(journal.with_new_credential(&store("cks-1"), first.last().copied(), 2).await.unwrap(), told[2..]);
    assert!(journal.with_new_credential(&store("cks-3"), None, 2).await.unwrap().is_empty());
    assert_eq!(journal.key_stores_with_new_credential().await.unwrap(), [store("cks-1"), store("cks-2")]);
}

pub(crate) async fn without_a_sealing_key_secrets_are_refused_and_nothing_is_written<S: Subject>(subject: S) {
    let Opened { journal, .. } = subject.open(None).await;
    let first = planned(&IdSource::from_seed(1), "cks-1", 1);
    assert!(!journal.keeps_secrets());
    let refused = journal.create(new(&first, None, "")).await.unwrap_err();
    assert!(matches!(refused, JournalError::Seal(SealError::NoKey)));
    assert_eq!(journal.open_updates().await.unwrap(), []);
    assert_eq!(journal.create(NewUpdate { secrets: vec![], ..new(&first, None, "") }).await.unwrap(), Created::New);
}

fn canary(key_store: &str, number: u8) -> Canary {
    Canary {
        key_store: CustomKeyStoreId::parse(key_store).unwrap(),
        endpoint: XksProxyUriEndpoint::parse("https://xks.example.com").unwrap(),
        path: XksProxyUriPath::parse("/kms/xks/v1").unwrap(),
        key: ExternalKeyId::parse("xks-preflight-test").unwrap(),
        at: Timestamp::from_unix(1_800_000_000 + i64::from(number)),
        ciphertext: Ciphertext {
            data: vec![number; 32],
            initialization_vector: vec![1; 12],
            authentication_tag: vec![2; 16],
            metadata: number.is_multiple_of(2).then(|| vec![3; 4]),
        },
        additional_authenticated_data: b"marker".to_vec(),
        plaintext_sha256: [number; 32],
    }
}

pub(crate) async fn the_latest_few_canaries_of_each_key_store_survive_a_restart<S: Subject>(subject: S) {
    let Opened { journal, canaries, trail, freezes, vigils } = subject.open(None).await;
    canaries.keep(&canary("cks-2", 0)).await.unwrap();
    for number in 0..8 {
        canaries.keep(&canary("cks-1", number)).await.unwrap();
    }
    drop((journal, canaries, trail, freezes, vigils));
    let Opened { canaries, .. } = subject.open(None).await;
    let kept = canaries.canaries(&CustomKeyStoreId::parse("cks-1").unwrap()).await.unwrap();
    assert_eq!(kept, (3..8).rev().map(|number| canary("cks-1", number)).collect::<Vec<_>>());
    let others = canaries.canaries(&CustomKeyStoreId::parse("cks-2").unwrap()).await.unwrap();
    assert_eq!(others, [canary("cks-2", 0)]);
}

pub(crate) async fn freezes_hold_until_they_are_lifted_and_after_a_restart<S: Subject>(subject: S) {
    let one = CustomKeyStoreId::parse("cks-1").unwrap();
    let freeze = |key_store: Option<&CustomKeyStoreId>, reason: &str| Freeze {
        key_store: key_store.cloned(),
        reason: reason.into(),
        by: "op".into(),
        since: Timestamp::from_unix(1),
        until: key_store.map(|_| Timestamp::from_unix(9)),
    };
    let opened = subject.open(None).await;
    opened.freezes.freeze(&freeze(Some(&one), "first")).await.unwrap();
    opened.freezes.freeze(&freeze(None, "all")).await.unwrap();
    opened.freezes.freeze(&freeze(Some(&one), "second")).await.unwrap();
    drop(opened);
    let Opened { freezes, trail, .. } = subject.open(None).await;
    assert_eq!(freezes.freezes().await.unwrap(), [freeze(None, "all"), freeze(Some(&one), "second")]);
    let lift = async |key_store, second| freezes.lift(key_store, "ann", Timestamp::from_unix(second)).await.unwrap();
    assert_eq!(lift(Some(&one), 5).await, Some(freeze(Some(&one), "second")));
    assert_eq!(lift(Some(&one), 6).await, None);
    assert_eq!(lift(None, 7).await, Some(freeze(None, "all")));
    assert_eq!(freezes.freezes().await.unwrap(), []);
    // One that had ended by itself is only forgotten.
    freezes.freeze(&freeze(Some(&one), "third")).await.unwrap();
    assert_eq!(lift(Some(&one), 10).await, Some(freeze(Some(&one), "third")));
    let lines = trail.lines(&LinesWanted { limit: 100, ..LinesWanted::default() }).await.unwrap();
    let told = lines.iter().map(|line| Line::parse(line).unwrap().entry.unwrap());
    let told: Vec<_> =
        told.map(|entry| (entry.action, entry.by.unwrap().name, entry.key_store, entry.at, entry.decision)).collect();
    let line = |action, by: &str, key_store: Option<&CustomKeyStoreId>, second| {
        (action, by.to_owned(), key_store.cloned(), Timestamp::from_unix(second), Decision::Allowed)
    };
    let expected = [
        line(Action::Freeze, "op", Some(&one), 1),
        line(Action::Freeze, "op", None, 1),
        line(Action::Freeze, "op", Some(&one), 1),
        line(Action::LiftFreeze, "ann", Some(&one), 5),
        line(Action::LiftFreeze, "ann", None, 7),
        line(Action::Freeze, "op", Some(&one), 1),
    ];
    assert_eq!(told, expected);
}

fn look(key_store: &str, candidate: &str, second: i64, verdict: Verdict) -> Look {
    let finished_at = Timestamp::from_unix(1_700_000_000 + second);
    Look {
        key_store: CustomKeyStoreId::parse(key_store).unwrap(),
        candidate: CandidateName::parse(candidate).unwrap(),
        summary: PreflightSummary {
            report: ReportId::new(&IdSource::from_seed(1), finished_at),
            verdict,
            settings: SettingsDigest::stated("these settings"),
            exception: None,
            message: "the proxy's own words".into(),
            finished_at,
            credentials: None,
        },
        interrupted: false,
    }
}

pub(crate) async fn what_was_seen_of_candidates_is_known_after_a_restart<S: Subject>(subject: S) {
    const DAY: i64 = 86_400;
    let silence = Duration::from_mins(5);
    let one = CustomKeyStoreId::parse("cks-1").unwrap();
    let seen = |vigil: &Vigil| (vigil.candidate.to_string(), vigil.green_since.map(Timestamp::unix), vigil.last.unix());
    let at = |second: i64| 1_700_000_000 + second;
    let opened = subject.open(None).await;
    for (key_store, candidate, second) in [("cks-1", "tuesday", 0), ("cks-1", "monday", 5), ("cks-2", "tuesday", 7)] {
        opened.vigils.look(look(key_store, candidate, second, Verdict::Ready), silence).await.unwrap();
    }
    drop(opened);
    let Opened { vigils, .. } = subject.open(None).await;
    let told = vigils.look(look("cks-1", "tuesday", 60, Verdict::Ready), silence).await.unwrap();
    assert_eq!(seen(&told), ("tuesday".to_owned(), Some(at(0)), at(60)));
    let kept = vigils.vigils(&one).await.unwrap();
    let expected = [("monday".to_owned(), Some(at(5)), at(5)), ("tuesday".to_owned(), Some(at(0)), at(60))];
    assert_eq!(kept.iter().map(seen).collect::<Vec<_>>(), expected);
    assert_eq!((&kept[1], kept[1].message.as_str()), (&told, "the proxy's own words"));
    assert_eq!(kept[1].settings, SettingsDigest::stated("these settings"));
    let red = vigils.look(look("cks-1", "tuesday", 120, Verdict::Blocked), silence).await.unwrap();
    assert_eq!((red.green_since, red.verdict), (None, Verdict::Blocked));
    assert_eq!(vigils.vigils(&one).await.unwrap()[1], red);
    // What nobody has looked at for a quarter of a year is forgotten.
    vigils.look(look("cks-2", "tuesday", 91 * DAY, Verdict::Ready), silence).await.unwrap();
    assert!(vigils.vigils(&one).await.unwrap().is_empty());
}

/// Whatever the order in which they come: a look that is not ready is never lost among those of others.
pub(crate) async fn looks_of_many_at_once_are_all_counted<S: Subject>(subject: S) {
    let silence = Duration::from_mins(5);
    let Opened { vigils, .. } = subject.open(None).await;
    let looks = (0..40).map(|number| {
        let vigils = Arc::clone(&vigils);
        let verdict = if number == 17 { Verdict::Blocked } else { Verdict::Ready };
        tokio::spawn(async move { vigils.look(look("cks-1", "tuesday", number, verdict), silence).await.unwrap() })
    });
    for done in looks.collect::<Vec<_>>() {
        done.await.unwrap();
    }
    let one = CustomKeyStoreId::parse("cks-1").unwrap();
    let kept = vigils.vigils(&one).await.unwrap().pop().unwrap();
    assert_eq!(kept.last, Timestamp::from_unix(1_700_000_039));
    assert!(kept.green_since.is_none_or(|since| since >= Timestamp::from_unix(1_700_000_017)), "{kept:?}");
}

/// One test of each clause, for this subject.
macro_rules! contract {
    ($subject:ty) => {
        $crate::journal::contract::contract!($subject;
            events_come_back_in_order_after_a_restart_and_nobody_appends_twice,
            one_open_update_for_each_key_store_and_one_for_each_key,
            of_many_who_ask_at_once_one_is_served,
            a_lease_ends_by_itself_and_its_holder_is_fenced,
            a_lease_is_given_back_asked_for_again_and_outlived,
            secrets_are_sealed_found_and_erased,
            updates_that_change_a_credential_are_found_however_old_they_are,
            without_a_sealing_key_secrets_are_refused_and_nothing_is_written,
            the_latest_few_canaries_of_each_key_store_survive_a_restart,
            freezes_hold_until_they_are_lifted_and_after_a_restart,
            what_was_seen_of_candidates_is_known_after_a_restart,
            looks_of_many_at_once_are_all_counted,
            every_event_and_every_note_has_its_line,
            an_event_that_is_refused_leaves_no_line,
            many_who_write_at_once_make_one_chain,
        );
    };
    ($subject:ty; $($clause:ident,)+) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $clause() {
                let subject = <$subject as $crate::journal::contract::Subject>::new().await;
                $crate::journal::contract::$clause(subject).await;
            }
        )+
    };
}
pub(crate) use contract;
pub(crate) use trail::{
    an_event_that_is_refused_leaves_no_line, every_event_and_every_note_has_its_line,
    many_who_write_at_once_make_one_chain,
};
