//! The journal's contract, against real files.

use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;
use crate::id::IdSource;
use crate::key_store::{
    Change, Configuration, ConnectionState, Connectivity, CredentialSource, CustomKeyStoreName, KeyStore,
    ProxyCredential, RawSecretAccessKey, XksConfiguration, XksProxyUriEndpoint, XksProxyUriPath,
};
use crate::update::{Options, Plan, Policy, Wanted, plan};

const SECRET: &str = "TestSecretDoNotLeakAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn options(path: &Path) -> SqliteOptions {
    let sealing_key = SealingKey::parse(&SecretString::from("0a".repeat(32))).unwrap();
    SqliteOptions {
        path: path.to_owned(),
        sealing_key: Some(sealing_key),
        #[cfg(feature = "sandbox")]
        crash_after_writes: None,
    }
}

fn planned(ids: &IdSource, key_store: &str, second: i64) -> Plan {
    let now = Timestamp::from_unix(second);
    let access_key_id = AccessKeyId::parse("AKIAI2SFODNN7EXAMPLE").unwrap();
    let store = KeyStore {
        id: CustomKeyStoreId::parse(key_store).unwrap(),
        name: CustomKeyStoreName::parse("store").unwrap(),
        created: None,
        state: ConnectionState::Connected,
        configuration: Configuration::Xks(XksConfiguration {
            endpoint: XksProxyUriEndpoint::parse("https://xks.example.com").unwrap(),
            path: XksProxyUriPath::parse("/kms/xks/v1").unwrap(),
            access_key_id: access_key_id.clone(),
            connectivity: Connectivity::PublicEndpoint,
        }),
    };
    let credential = ProxyCredential { access_key_id, secret_access_key: RawSecretAccessKey::parse(SECRET).unwrap() };
    let change = Change { credential: Some(credential.reference(CredentialSource::Sealed)), ..Change::default() };
    let wanted = Wanted {
        id: UpdateId::new(ids, now),
        change,
        options: Options::default(),
        former_credential: None,
        former_password: false,
        waivers: Vec::new(),
        by: "tester".into(),
    };
    plan(&store, wanted, &Policy::default(), now).unwrap()
}

fn new(plan: &Plan, key: Option<&str>, digest: &str) -> NewUpdate {
    NewUpdate {
        plan: plan.clone(),
        at: plan.created_at,
        idempotency: key.map(|key| Idempotency { key: key.into(), request_digest: digest.into() }),
        secrets: vec![(SecretPurpose::NewCredential, SecretString::from(SECRET.to_owned()))],
    }
}

fn bytes_of(directory: &Path) -> Vec<u8> {
    std::fs::read_dir(directory).unwrap().flat_map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
}

#[tokio::test]
async fn events_come_back_in_order_after_a_restart_and_nobody_appends_twice() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.sqlite");
    let ids = IdSource::from_seed(1);
    let first = planned(&ids, "cks-1", 1);
    let event = Event::ApprovalRequested {};
    let journal = SqliteJournal::open(options(&path)).unwrap();
    assert_eq!(journal.create(new(&first, None, "")).await.unwrap(), Created::New);
    let at = first.created_at;
    assert!(matches!(journal.append(first.id, 1, at, &event).await, Err(JournalError::OutOfSequence { .. })));
    assert!(matches!(journal.append(first.id, 3, at, &event).await, Err(JournalError::OutOfSequence { .. })));
    let recorded = journal.append(first.id, 2, at, &event).await.unwrap();
    assert!(matches!(SqliteJournal::open(options(&path)), Err(OpenError::Locked { .. })));
    drop(journal);

    let journal = SqliteJournal::open(options(&path)).unwrap();
    let events = journal.load(first.id).await.unwrap();
    assert_eq!(events[0].event, Event::Planned { plan: Box::new(first.clone()) });
    assert_eq!(events[1..], [recorded]);
    assert_eq!(journal.open_updates().await.unwrap(), [first.id]);
    let other = UpdateId::new(&ids, at);
    assert!(matches!(journal.load(other).await, Err(JournalError::NotFound(id)) if id == other));
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn one_open_update_for_each_key_store_and_one_for_each_key() {
    let directory = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(options(&directory.path().join("journal.sqlite"))).unwrap();
    let ids = IdSource::from_seed(1);
    let first = planned(&ids, "cks-1", 1);
    assert_eq!(journal.create(new(&first, Some("k"), "d")).await.unwrap(), Created::New);
    assert_eq!(journal.create(new(&first, Some("k"), "d")).await.unwrap(), Created::Existing(first.id));
    assert_eq!(journal.create(new(&first, Some("k"), "other")).await.unwrap(), Created::KeyReused(first.id));
    let second = planned(&ids, "cks-1", 2);
    assert_eq!(journal.create(new(&second, None, "")).await.unwrap(), Created::Locked(first.id));
    let elsewhere = planned(&ids, "cks-2", 3);
    assert_eq!(journal.create(new(&elsewhere, None, "")).await.unwrap(), Created::New);
    let concluded = Event::Concluded { ending: Ending::Abandoned { by: "op".into() } };
    journal.append(first.id, 2, first.created_at, &concluded).await.unwrap();
    assert_eq!(journal.create(new(&second, None, "")).await.unwrap(), Created::New);
    assert_eq!(journal.open_updates().await.unwrap(), [second.id, elsewhere.id]);
    assert_eq!(journal.list(None, 2).await.unwrap(), [elsewhere.id, second.id]);
    assert_eq!(journal.list(Some(second.id), 2).await.unwrap(), [first.id]);
}

#[tokio::test]
async fn secrets_are_sealed_found_and_erased() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.sqlite");
    let ids = IdSource::from_seed(1);
    let first = planned(&ids, "cks-1", 1);
    let id = AccessKeyId::parse("AKIAI2SFODNN7EXAMPLE").unwrap();
    let journal = SqliteJournal::open(options(&path)).unwrap();
    journal.create(new(&first, None, "")).await.unwrap();
    let secret = journal.secret(first.id, SecretPurpose::NewCredential).await.unwrap().unwrap();
    assert_eq!(secret.expose_secret(), SECRET);
    assert!(journal.secret(first.id, SecretPurpose::NewPassword).await.unwrap().is_none());
    assert_eq!(journal.holder_of(&first.key_store, &id).await.unwrap(), None, "not verified yet");
    let at = first.created_at.plus(Duration::from_secs(1));
    journal.append(first.id, 2, at, &Event::Concluded { ending: Ending::Verified }).await.unwrap();
    assert_eq!(journal.holder_of(&first.key_store, &id).await.unwrap(), Some(first.id));
    let on_disk = bytes_of(directory.path());
    assert!(!on_disk.windows(9).any(|part| part == b"DoNotLeak"));
    drop(journal);

    let wrong = SealingKey::parse(&SecretString::from("0b".repeat(32))).unwrap();
    let journal = SqliteJournal::open(SqliteOptions { sealing_key: Some(wrong), ..options(&path) }).unwrap();
    let refused = journal.secret(first.id, SecretPurpose::NewCredential).await.unwrap_err();
    assert!(matches!(refused, JournalError::Seal(SealError::WrongKey)));

    let second = planned(&ids, "cks-1", 2);
    journal.create(new(&second, None, "")).await.unwrap();
    journal.append(second.id, 2, at, &Event::Concluded { ending: Ending::Verified }).await.unwrap();
    assert!(journal.secret(first.id, SecretPurpose::NewCredential).await.unwrap().is_none(), "superseded");
    assert_eq!(journal.holder_of(&first.key_store, &id).await.unwrap(), Some(second.id));
    let third = planned(&ids, "cks-1", 3);
    journal.create(new(&third, None, "")).await.unwrap();
    let ending = Ending::RolledBack { why: "no".into() };
    journal.append(third.id, 2, at, &Event::Concluded { ending }).await.unwrap();
    assert!(journal.secret(third.id, SecretPurpose::NewCredential).await.unwrap().is_none());
    assert_eq!(journal.holder_of(&first.key_store, &id).await.unwrap(), Some(second.id));
}

#[tokio::test]
async fn without_a_sealing_key_secrets_are_refused_and_nothing_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.sqlite");
    let journal = SqliteJournal::open(SqliteOptions { sealing_key: None, ..options(&path) }).unwrap();
    let first = planned(&IdSource::from_seed(1), "cks-1", 1);
    assert!(!journal.keeps_secrets());
    let refused = journal.create(new(&first, None, "")).await.unwrap_err();
    assert!(matches!(refused, JournalError::Seal(SealError::NoKey)));
    assert_eq!(journal.open_updates().await.unwrap(), []);
    assert_eq!(journal.create(NewUpdate { secrets: vec![], ..new(&first, None, "") }).await.unwrap(), Created::New);
}

#[test]
fn a_later_schema_and_a_file_that_is_no_database_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.sqlite");
    drop(SqliteJournal::open(options(&path)).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(SqliteJournal::open(options(&path)), Err(OpenError::LaterSchema { found: 99, .. })));
    let other = directory.path().join("other");
    std::fs::write(&other, "no database at all, and long enough to be taken for a header of one").unwrap();
    assert!(matches!(SqliteJournal::open(options(&other)), Err(OpenError::Database { .. })));
    let nowhere = directory.path().join("no/such/directory/journal.sqlite");
    assert!(matches!(SqliteJournal::open(options(&nowhere)), Err(OpenError::File { .. })));
}
