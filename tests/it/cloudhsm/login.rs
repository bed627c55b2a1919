//! The password of `kmsuser`: tried once, never by guess, never told.

use xks_preflight::driver::SubmitError;
use xks_preflight::key_store::{Change, KeyStorePassword};
use xks_preflight::sandbox::cloudhsm::WRONG_PASSWORDS;
use xks_preflight::sandbox::kms::{ConnectionState, KmsFault, Operation};
use xks_preflight::update::{Ending, PlanRefused};

use super::bench::{Bench, COLD, NEW_PASSWORD, PASSWORD, PRESENT, RELATED, to_cluster, to_name};
use super::ending;
use crate::update::bench::follow;

const CONNECT: Operation = Operation::ConnectCustomKeyStore;

fn connects(bench: &Bench) -> usize {
    bench.calls().into_iter().filter(|call| *call == CONNECT.as_str()).count()
}

#[tokio::test]
async fn a_right_password_is_put_in_force_and_told_nowhere() {
    let bench = Bench::new().await;
    bench.set_password(RELATED, NEW_PASSWORD);
    let events = bench.live(to_cluster(RELATED), Some(NEW_PASSWORD)).await;
    assert_eq!(ending(&events), &Ending::Verified);
    assert_eq!(bench.calls(), COLD);
    assert_eq!(bench.shown(), (RELATED.to_owned(), ConnectionState::Connected));
    let told = format!("{events:?} {}", serde_json::to_string(&events).unwrap());
    assert!(!told.contains("DoNotLeak"), "{told}");
    bench.driver.shutdown().await;
    for entry in std::fs::read_dir(bench.directory.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(9).any(|part| part == b"DoNotLeak"));
    }
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_and_stuck_says_what_to_do() {
    for change in [Change::default(), to_cluster(RELATED)] {
        let cluster = change.cluster.as_ref().map_or(PRESENT, |_| RELATED);
        let bench = Bench::new().await;
        let events = bench.live(change, Some(NEW_PASSWORD)).await;
        let Ending::Stuck { why, instruction } = ending(&events) else { panic!("{:?}", ending(&events)) };
        assert!(why.contains("INVALID_CREDENTIALS") && why.contains("not tried again"), "{why}");
        assert!(instruction.contains("kmsuser") && instruction.contains("KeyStorePassword"), "{instruction}");
        assert_eq!((connects(&bench), bench.wrong(cluster)), (1, 1));
        // The next update does not connect with the password that was refused.
        let refused = bench.driver.submit(bench.request(to_name("renamed"), None)).await;
        let Err(SubmitError::Plan(PlanRefused::Members { member, .. })) = refused else { panic!("{refused:?}") };
        assert_eq!((member, bench.wrong(cluster)), ("KeyStorePassword", 1));
        // Ready for the right password, which is the next update's.
        assert_eq!(bench.shown(), (cluster.to_owned(), ConnectionState::Disconnected));
        bench.set_password(cluster, "RightDoNotLeak1234");
        let events = bench.live(Change::default(), Some("RightDoNotLeak1234")).await;
        assert_eq!(ending(&events), &Ending::Verified);
        // With that one the key store may be connected again.
        bench.kms.tamper(bench.store.as_str(), |store| store.connection = ConnectionState::Disconnected);
        assert_eq!(ending(&bench.live(to_name("renamed"), None).await), &Ending::Verified);
    }
}

#[tokio::test]
async fn a_cluster_with_another_password_is_left_for_the_former_one_after_one_attempt() {
    let bench = Bench::new().await;
    bench.set_password(RELATED, "StaleDoNotLeak1234");
    let events = bench.live(to_cluster(RELATED), None).await;
    let Ending::RolledBack { why } = ending(&events) else { panic!("{:?}", ending(&events)) };
    assert!(why.contains("INVALID_CREDENTIALS"), "{why}");
    assert_eq!((bench.wrong(RELATED), bench.wrong(PRESENT)), (1, 0));
    assert_eq!(bench.shown(), (PRESENT.to_owned(), ConnectionState::Connected));
}

#[tokio::test]
async fn a_former_password_that_is_held_is_restored_after_one_attempt() {
    for (former, expected) in
        [(PASSWORD, ConnectionState::Connected), ("AlsoWrongDoNotLeak", ConnectionState::Disconnected)]
    {
        let bench = Bench::new().await;
        let mut request = bench.request(Change::default(), Some(NEW_PASSWORD));
        request.former_password = Some(KeyStorePassword::parse(former).unwrap());
        let id = bench.driver.submit(request).await.unwrap().id;
        let events = follow(&bench.driver, id).await;
        assert_eq!(bench.shown(), (PRESENT.to_owned(), expected.clone()));
        match (ending(&events), expected) {
            (Ending::RolledBack { why }, ConnectionState::Connected) => assert!(why.contains("INVALID_CREDENTIALS")),
            // One attempt with each password, and no third.
            (Ending::Stuck { .. }, ConnectionState::Disconnected) => assert_eq!(bench.wrong(PRESENT), 2),
            other => panic!("{other:?}"),
        }
        assert_eq!(connects(&bench), 2);
        assert!(!format!("{events:?}").contains("DoNotLeak"));
    }
}

#[tokio::test]
async fn a_locked_out_kmsuser_is_left_alone() {
    let bench = Bench::new().await;
    let lock = |cluster: &str| {
        bench.clusters.change(cluster, |cluster| cluster.kmsuser.as_mut().unwrap().wrong = WRONG_PASSWORDS);
    };
    lock(RELATED);
    let events = bench.live(to_cluster(RELATED), None).await;
    let Ending::RolledBack { why } = ending(&events) else { panic!("{:?}", ending(&events)) };
    assert!(why.contains("USER_LOCKED_OUT"), "{why}");
    assert_eq!(bench.shown(), (PRESENT.to_owned(), ConnectionState::Connected));

    // Neither cluster lets kmsuser in: one attempt on each.
    let (before, locked) = (connects(&bench), bench.wrong(RELATED));
    lock(PRESENT);
    let events = bench.live(to_cluster(RELATED), None).await;
    let Ending::Stuck { why, .. } = ending(&events) else { panic!("{:?}", ending(&events)) };
    assert!(why.contains("USER_LOCKED_OUT"), "{why}");
    assert_eq!((connects(&bench) - before, bench.wrong(RELATED)), (2, locked));
}

#[tokio::test]
async fn connects_that_fail_for_other_reasons_stay_below_the_lock_out() {
    let bench = Bench::new().await;
    bench.kms.inject(CONNECT, KmsFault::ConnectFails("NETWORK_ERRORS".into()), u32::MAX);
    let events = bench.live(Change::default(), Some(NEW_PASSWORD)).await;
    assert!(matches!(ending(&events), Ending::Stuck { .. }), "{:?}", ending(&events));
    assert!(connects(&bench) < WRONG_PASSWORDS as usize, "{}", connects(&bench));
}

#[tokio::test]
async fn an_unanswered_update_is_sent_again_with_the_same_password() {
    let bench = Bench::new().await;
    bench.set_password(PRESENT, NEW_PASSWORD);
    bench.kms.inject(Operation::UpdateCustomKeyStore, KmsFault::ReplyLost { applied: true }, 1);
    let events = bench.live(Change::default(), Some(NEW_PASSWORD)).await;
    assert_eq!(ending(&events), &Ending::Verified);
    let updates =
        bench.kms.history().into_iter().filter(|call| call.operation == Some(Operation::UpdateCustomKeyStore));
    let fingerprints: Vec<_> = updates.map(|call| call.secret_fingerprint).collect();
    assert!(fingerprints.len() == 2 && fingerprints[0].is_some() && fingerprints[0] == fingerprints[1]);
    assert_eq!(bench.wrong(PRESENT), 0);
}
