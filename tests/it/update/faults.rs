//! Lives in which KMS, or somebody else, does not behave.

use std::sync::Arc;
use std::time::Duration;

use xks_preflight::kms::{KeyStoreReader, KmsError};
use xks_preflight::sandbox::kms::{ConnectionState, KmsFault, Operation};
use xks_preflight::update::{BlockedBy, Ending, Event, How, StepOutcome};

use super::bench::{Bench, NEW, OLD, SECRET, Says, aws, ending, follow, journal};

const UPDATE: Operation = Operation::UpdateCustomKeyStore;
const CONNECT: Operation = Operation::ConnectCustomKeyStore;
const DISCONNECT: Operation = Operation::DisconnectCustomKeyStore;

/// One update of the endpoint with a fault: how it ends and what is left.
async fn life(faults: &[(Operation, KmsFault, u32)]) -> (Bench, Ending) {
    let (bench, directory) = (Bench::new().await, tempfile::tempdir().unwrap());
    for (operation, fault, times) in faults {
        bench.kms.inject(*operation, fault.clone(), *times);
    }
    let driver = bench.driver(Arc::new(journal(directory.path())), &Says::ready());
    let id = driver.submit(bench.endpoint_request()).await.unwrap().id;
    let ending = ending(&driver, id).await;
    driver.shutdown().await;
    (bench, ending)
}

#[tokio::test]
async fn a_lost_answer_is_settled_by_looking_and_not_by_asking_again() {
    for operation in [DISCONNECT, UPDATE, CONNECT] {
        let (bench, ending) = life(&[(operation, KmsFault::ReplyLost { applied: true }, 1)]).await;
        assert_eq!(ending, Ending::Verified);
        assert_eq!(bench.calls().len(), 3, "{operation:?}: {:?}", bench.calls());
        assert_eq!(bench.shown(), (NEW.to_owned(), ConnectionState::Connected));
    }
}

#[tokio::test]
async fn a_request_without_effect_is_repeated() {
    for fault in
        [KmsFault::ReplyLost { applied: false }, KmsFault::Throttling, KmsFault::Internal, KmsFault::Unavailable]
    {
        for operation in [DISCONNECT, UPDATE, CONNECT] {
            let (bench, ending) = life(&[(operation, fault.clone(), 1)]).await;
            assert_eq!(ending, Ending::Verified, "{operation:?} {fault:?}");
            let applied = bench.kms.mutations().iter().filter(|call| call.applied).count();
            assert_eq!((applied, bench.calls().len()), (3, 4), "{operation:?} {fault:?}");
        }
    }
}

#[tokio::test]
async fn a_connect_that_fails_is_rolled_back() {
    let (bench, ending) = life(&[(CONNECT, KmsFault::ConnectFails("XKS_PROXY_TIMED_OUT".into()), 1)]).await;
    let Ending::RolledBack { why } = ending else { panic!("{ending:?}") };
    assert!(why.contains("XKS_PROXY_TIMED_OUT"), "{why}");
    assert_eq!(bench.shown(), (OLD.to_owned(), ConnectionState::Connected));
    assert_eq!(bench.calls().len(), 6);
}

#[tokio::test]
async fn an_update_that_kms_refuses_after_the_disconnect_is_connected_again() {
    let name = "XksProxyUriUnreachableException".to_owned();
    let fault = KmsFault::Exception { name, message: "KMS's own words".into() };
    let (bench, ending) = life(&[(UPDATE, fault, 1)]).await;
    let Ending::RolledBack { why } = ending else { panic!("{ending:?}") };
    assert!(why.contains("XksProxyUriUnreachableException: KMS's own words"), "{why}");
    assert_eq!(bench.shown(), (OLD.to_owned(), ConnectionState::Connected));
    assert_eq!(bench.calls(), ["DisconnectCustomKeyStore", "UpdateCustomKeyStore", "ConnectCustomKeyStore"]);
}

#[tokio::test]
async fn when_neither_way_works_it_says_so() {
    let (bench, ending) = life(&[(CONNECT, KmsFault::ConnectFails("NETWORK_ERRORS".into()), 1_000)]).await;
    let Ending::Stuck { why, instruction } = ending else { panic!("{ending:?}") };
    assert!(why.contains("FAILED"), "{why}");
    assert!(!instruction.is_empty());
    assert_ne!(bench.shown().1, ConnectionState::Connected);
}

#[tokio::test]
async fn a_refused_first_step_changes_nothing() {
    let (bench, ending) = life(&[(DISCONNECT, KmsFault::AccessDenied, 1)]).await;
    assert!(matches!(ending, Ending::Blocked { by: BlockedBy::Kms, .. }), "{ending:?}");
    assert_eq!(bench.shown(), (OLD.to_owned(), ConnectionState::Connected));
}

#[tokio::test]
async fn somebody_elses_change_in_the_middle_is_left_alone() {
    let (bench, directory) = (Bench::new().await, tempfile::tempdir().unwrap());
    bench.kms.tamper_before(UPDATE, bench.store.as_str(), |store| store.name = "theirs".into());
    let driver = bench.driver(Arc::new(journal(directory.path())), &Says::ready());
    let id = driver.submit(bench.endpoint_request()).await.unwrap().id;
    let ending = ending(&driver, id).await;
    assert!(matches!(ending, Ending::Stuck { .. }), "{ending:?}");
    assert_eq!(bench.kms.store(bench.store.as_str()).unwrap().name, "theirs");
    driver.shutdown().await;
}

#[tokio::test]
async fn a_secret_under_the_same_id_is_sent_again_with_the_same_value() {
    let (bench, directory) = (Bench::new().await, tempfile::tempdir().unwrap());
    bench.kms.inject(UPDATE, KmsFault::ReplyLost { applied: true }, 1);
    let driver = bench.driver(Arc::new(journal(directory.path())), &Says::ready());
    let id = driver.submit(bench.secret_request(SECRET)).await.unwrap().id;
    let events = follow(&driver, id).await;
    assert!(matches!(&events.last().unwrap().event, Event::Concluded { ending: Ending::Verified }), "{events:?}");
    let outcomes: Vec<_> = events
        .iter()
        .filter_map(|recorded| match &recorded.event {
            Event::StepSettled { outcome, .. } => Some(outcome),
            _ => None,
        })
        .collect();
    assert!(matches!(outcomes[..], [StepOutcome::Unobservable { .. }, StepOutcome::Done { how: How::Performed, .. }]));
    let mutations: Vec<_> = bench.kms.history().into_iter().filter(|call| call.operation == Some(UPDATE)).collect();
    assert_eq!(mutations.len(), 2);
    assert!(mutations[0].secret_fingerprint.is_some());
    assert_eq!(mutations[0].secret_fingerprint, mutations[1].secret_fingerprint);
    driver.shutdown().await;
}

#[tokio::test]
async fn what_was_never_sent_is_told_from_what_was_not_answered() {
    let bench = Bench::new().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let unsent = aws(&format!("http://{address}"), Duration::from_secs(5)).await;
    let error = unsent.key_store(&bench.store).await.unwrap_err();
    assert!(matches!(error, KmsError::NotSent { .. }), "{error}");

    bench.kms.inject(Operation::DescribeCustomKeyStores, KmsFault::Hang { applied: false }, 10);
    let impatient = aws(&bench.kms.endpoint_url(), Duration::from_millis(100)).await;
    let error = impatient.key_store(&bench.store).await.unwrap_err();
    assert!(matches!(error, KmsError::Ambiguous { .. }), "{error}");
}
