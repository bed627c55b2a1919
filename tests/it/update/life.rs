//! Lives in which KMS behaves.

use std::sync::Arc;

use xks_preflight::check::Verdict;
use xks_preflight::driver::{OrderError, Seen, SubmitError};
use xks_preflight::journal::Idempotency;
use xks_preflight::sandbox::kms::ConnectionState;
use xks_preflight::update::{
    ApprovalDigest, ApprovalRule, BlockedBy, Consent, Denied, Ending, PlanRefused, Policy, StatusName,
};

use super::bench::{BOUND, Bench, NEW, NEW_SECRET, OLD, Says, ending, follow, journal, quick};

const COLD: [&str; 3] = ["DisconnectCustomKeyStore", "UpdateCustomKeyStore", "ConnectCustomKeyStore"];

#[tokio::test]
async fn a_cold_update_is_disconnect_update_connect() {
    let (bench, directory) = (Bench::new().await, tempfile::tempdir().unwrap());
    let driver = bench.driver(Arc::new(journal(directory.path())), &Says::ready());
    let idempotency = Some(Idempotency { key: "once".into(), request_digest: "d".into() });
    let mut request = bench.endpoint_request();
    request.idempotency.clone_from(&idempotency);
    let submitted = driver.submit(request).await.unwrap();
    let events = follow(&driver, submitted.id).await;
    assert!(events.iter().enumerate().all(|(at, recorded)| recorded.sequence == at as u64 + 1));
    assert_eq!(bench.calls(), COLD);
    assert_eq!(bench.shown(), (NEW.to_owned(), ConnectionState::Connected));
    let record = driver.get(submitted.id).await.unwrap();
    assert_eq!(record.state.ending(), Some(&Ending::Verified));

    let mut again = bench.endpoint_request();
    again.idempotency = idempotency;
    let repeated = driver.submit(again).await.unwrap();
    assert!(repeated.existing && repeated.id == submitted.id);
    let refused = driver.submit(bench.endpoint_request()).await.unwrap_err();
    assert!(matches!(refused, SubmitError::Plan(PlanRefused::NothingToChange)));
    assert!(driver.open().await.unwrap().is_empty());
    driver.shutdown().await;
    assert!(matches!(driver.submit(bench.endpoint_request()).await, Err(SubmitError::ShuttingDown)));
}

#[tokio::test]
async fn a_blocked_update_never_reaches_kms() {
    for verdicts in [
        [Verdict::Blocked, Verdict::Ready, Verdict::Ready],
        [Verdict::Inconclusive, Verdict::Ready, Verdict::Ready],
        [Verdict::Ready, Verdict::Blocked, Verdict::Ready],
    ] {
        let (bench, directory) = (Bench::new().await, tempfile::tempdir().unwrap());
        let driver = bench.driver(Arc::new(journal(directory.path())), &Says::of(verdicts));
        let id = driver.submit(bench.endpoint_request()).await.unwrap().id;
        let ending = ending(&driver, id).await;
        assert!(matches!(ending, Ending::Blocked { by: BlockedBy::Preflight(_), .. }), "{ending:?}");
        assert_eq!(bench.calls(), [""; 0]);
        driver.shutdown().await;
    }
}

#[tokio::test]
async fn a_failed_verification_goes_back() {
    let (bench, directory) = (Bench::new().await, tempfile::tempdir().unwrap());
    let says = Says::of([Verdict::Ready, Verdict::Ready, Verdict::Blocked]);
    let driver = bench.driver(Arc::new(journal(directory.path())), &says);
    let id = driver.submit(bench.endpoint_request()).await.unwrap().id;
    assert!(matches!(ending(&driver, id).await, Ending::RolledBack { .. }));
    assert_eq!(bench.shown(), (OLD.to_owned(), ConnectionState::Connected));
    assert_eq!(bench.calls(), [COLD, COLD].concat());
    driver.shutdown().await;
}

#[tokio::test]
async fn a_person_agrees_to_exactly_this_plan_or_cancels() {
    let (bench, directory) = (Bench::new().await, tempfile::tempdir().unwrap());
    let policy = Policy { approval: ApprovalRule::One, ..quick() };
    let driver = bench.driver_with(Arc::new(journal(directory.path())), &Says::ready(), policy);
    let waiting = async || {
        let id = driver.submit(bench.endpoint_request()).await.unwrap().id;
        let seen = async {
            while driver.get(id).await.unwrap().state.status().status != StatusName::AwaitingApproval {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(BOUND, seen).await.unwrap();
        id
    };
    let id = waiting().await;
    assert!(
        matches!(driver.submit(bench.endpoint_request()).await, Err(SubmitError::Locked { update, owner: Some(_) }) if update == id)
    );
    let approve = async |id, digest: &ApprovalDigest| {
        let consent = Consent { by: "boss", digest, outage_acknowledged: true };
        driver.approve(id, &consent, Seen::default()).await
    };
    let other = ApprovalDigest::stated("other");
    assert!(matches!(approve(id, &other).await, Err(OrderError::Denied(Denied::OtherPlan))));
    assert!(matches!(driver.rollback(id, "op", Seen::default()).await, Err(OrderError::NotNow { .. })));
    assert!(matches!(driver.cancel(id, "op", Seen(Some(1))).await, Err(OrderError::Stale { .. })));
    let last = driver.get(id).await.unwrap().last_event();
    driver.cancel(id, "op", Seen(Some(last))).await.unwrap();
    assert_eq!(ending(&driver, id).await, Ending::Abandoned { by: "op".into() });
    assert_eq!(bench.calls(), [""; 0]);

    let id = waiting().await;
    let digest = driver.get(id).await.unwrap().state.proposal().unwrap().digest().clone();
    approve(id, &digest).await.unwrap();
    assert_eq!(ending(&driver, id).await, Ending::Verified);
    assert!(matches!(driver.cancel(id, "op", Seen::default()).await, Err(OrderError::NotNow { .. })));
    driver.shutdown().await;
}

#[tokio::test]
async fn the_record_and_what_is_told_hold_no_secret() {
    let (bench, directory) = (Bench::new().await, tempfile::tempdir().unwrap());
    let driver = bench.driver(Arc::new(journal(directory.path())), &Says::ready());
    // KMS asks the proxy, which does not know the new secret.
    let request = bench.secret_request(NEW_SECRET);
    assert!(!format!("{request:?}").contains("DoNotLeak"));
    let id = driver.submit(request).await.unwrap().id;
    let events = follow(&driver, id).await;
    let told = format!("{events:?} {} {driver:?}", serde_json::to_string(&events).unwrap());
    assert!(told.contains("XksProxyIncorrectAuthenticationCredentialException"), "{told}");
    assert!(!told.contains("DoNotLeak"));
    driver.shutdown().await;
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(9).any(|part| part == b"DoNotLeak"));
    }
}
