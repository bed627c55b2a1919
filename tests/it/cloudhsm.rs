//! CloudHSM key stores: changes of cluster, password and name, through the AWS SDK against simulated KMS and CloudHSM.

pub(crate) mod bench;
mod login;
mod process;

use xks_preflight::check::{Outcome, ProblemKind, Verdict};
use xks_preflight::key_store::{Change, KmsException};
use xks_preflight::sandbox::cloudhsm::CloudHsmFault;
use xks_preflight::sandbox::kms::ConnectionState;
use xks_preflight::update::{BlockedBy, Ending, Event, Recorded};

use self::bench::{Bench, COLD, PRESENT, RELATED, STRANGER, to_cluster, to_name};
use crate::matrix::Seen;

fn ending(events: &[Recorded]) -> &Ending {
    match events.last().map(|recorded| &recorded.event) {
        Some(Event::Concluded { ending }) => ending,
        other => panic!("no conclusion: {other:?}"),
    }
}

#[tokio::test]
async fn a_related_cluster_takes_over_by_disconnect_update_connect() {
    let bench = Bench::new().await;
    let events = bench.live(to_cluster(RELATED), None).await;
    assert_eq!(ending(&events), &Ending::Verified);
    assert_eq!(bench.calls(), COLD);
    assert_eq!(bench.shown(), (RELATED.to_owned(), ConnectionState::Connected));
    // Both clusters are asked for at once.
    assert_eq!(bench.cloudhsm.calls()[0]["Filters"]["clusterIds"], serde_json::json!([PRESENT, RELATED]));
}

#[tokio::test]
async fn a_name_changes_in_place() {
    let bench = Bench::new().await;
    let events = bench.live(to_name("renamed"), None).await;
    assert_eq!(ending(&events), &Ending::Verified);
    assert_eq!(bench.calls(), ["UpdateCustomKeyStore"]);
    assert_eq!(bench.shown(), (PRESENT.to_owned(), ConnectionState::Connected));
}

#[tokio::test]
async fn permissions_are_asked_for_a_cluster_too() {
    let bench = Bench::new().await;
    let told = async || {
        let report = bench.preflight(to_cluster(RELATED)).await;
        report.findings.iter().find(|finding| finding.check.id == "kms.permissions").unwrap().outcome.clone()
    };
    assert!(matches!(told().await, Outcome::Passed(_)));
    bench.iam.decide("kms:ConnectCustomKeyStore", "implicitDeny");
    assert!(matches!(told().await, Outcome::Failed(problem) if problem.kind == ProblemKind::AccessDenied));
}

/// What a change of cluster gives, for the fault matrix.
pub(crate) async fn seen(to: &str, set: impl FnOnce(&Bench)) -> Seen {
    let bench = Bench::new().await;
    set(&bench);
    Seen { exit: None, report: xks_preflight::render::json::report(&*bench.preflight(to_cluster(to)).await) }
}

#[tokio::test]
async fn an_unrelated_cluster_is_blocked_in_the_words_of_kms_and_nothing_is_changed() {
    let bench = Bench::new().await;
    let unrelated = ("cloudhsm.related", ProblemKind::UnrelatedCluster, KmsException::CloudHsmClusterNotRelated);
    blocked(&bench, to_cluster(STRANGER), unrelated.0, unrelated.1, unrelated.2).await;
}

/// A certificate of another owner's cluster.
fn strange_certificate() -> String {
    let now = crate::peers::wall_clock()();
    let authority = xks_preflight::sandbox::cloudhsm::ClusterAuthority::new("somebody else", now).unwrap();
    authority.cluster_certificate("elsewhere").unwrap()
}

async fn blocked(bench: &Bench, change: Change, check: &str, problem: ProblemKind, raises: KmsException) {
    let events = bench.live(change, None).await;
    let Ending::Blocked { by: BlockedBy::Preflight(report), exception, message } = ending(&events) else {
        panic!("{check}: {:?}", ending(&events));
    };
    assert_eq!(*exception, Some(raises), "{check}");
    assert!(message.starts_with(check), "{message}");
    let report = bench.report(*report);
    assert_eq!(report.verdict(), Verdict::Blocked);
    assert_eq!(report.problem_kind(), Some(problem), "{check}");
    assert_eq!(bench.calls(), [""; 0], "{check}");
    assert_eq!(bench.shown(), (PRESENT.to_owned(), ConnectionState::Connected));
}

#[tokio::test]
async fn what_cloudhsm_does_not_tell_is_inconclusive_and_nothing_is_changed() {
    for (fault, kind, says) in [
        (CloudHsmFault::AccessDenied, ProblemKind::AccessDenied, "cloudhsm:DescribeClusters"),
        (CloudHsmFault::OwnAccessDenied, ProblemKind::AccessDenied, "cloudhsm:DescribeClusters"),
        (CloudHsmFault::Throttling, ProblemKind::Unread, "throttled"),
        (CloudHsmFault::Internal, ProblemKind::Unread, "DescribeClusters"),
        (CloudHsmFault::Unavailable, ProblemKind::Unread, "DescribeClusters"),
        (CloudHsmFault::Garbage, ProblemKind::Unread, "DescribeClusters"),
        (CloudHsmFault::ReplyLost, ProblemKind::Unread, "DescribeClusters"),
        (CloudHsmFault::EndlessPages, ProblemKind::Unread, "does not end"),
        (CloudHsmFault::Stateless, ProblemKind::Unread, "no State"),
        (CloudHsmFault::NoCertificates, ProblemKind::Unread, "no cluster certificate"),
    ] {
        let bench = Bench::new().await;
        bench.cloudhsm.inject(fault, u32::MAX);
        let events = bench.live(to_cluster(RELATED), None).await;
        let Ending::Blocked { by: BlockedBy::Preflight(report), message, .. } = ending(&events) else {
            panic!("{fault:?}: {:?}", ending(&events));
        };
        assert!(message.contains(says), "{fault:?}: {message}");
        let report = bench.report(*report);
        assert_eq!(report.verdict(), Verdict::Inconclusive, "{fault:?}");
        let own = report.findings.iter().find_map(|finding| match &finding.outcome {
            Outcome::OwnFault(problem) => Some(problem.kind),
            _ => None,
        });
        assert_eq!(own, Some(kind), "{fault:?}");
        assert_eq!(bench.calls(), [""; 0], "{fault:?}");
    }
    // Answers about other clusters are no answer about this one.
    let bench = Bench::new().await;
    bench.cloudhsm.inject(CloudHsmFault::OthersClusters, u32::MAX);
    let not_found = ("cloudhsm.cluster_found", ProblemKind::NotFound, KmsException::CloudHsmClusterNotFound);
    blocked(&bench, to_cluster(RELATED), not_found.0, not_found.1, not_found.2).await;
}

#[tokio::test]
async fn one_failure_in_passing_is_no_obstacle() {
    let bench = Bench::new().await;
    bench.cloudhsm.inject(CloudHsmFault::Internal, 1);
    assert_eq!(ending(&bench.live(to_cluster(RELATED), None).await), &Ending::Verified);
}

#[tokio::test]
async fn without_the_present_cluster_the_relation_cannot_be_proven() {
    let bench = Bench::new().await;
    bench.clusters.change(PRESENT, |cluster| cluster.deleted = true);
    let events = bench.live(to_cluster(RELATED), None).await;
    let Ending::Blocked { message, .. } = ending(&events) else { panic!("{:?}", ending(&events)) };
    assert!(message.starts_with("cloudhsm.related") && message.contains("no proof"), "{message}");
    bench.clusters.change(RELATED, |cluster| cluster.certificate = strange_certificate());
    let unrelated = ("cloudhsm.related", ProblemKind::UnrelatedCluster, KmsException::CloudHsmClusterNotRelated);
    blocked(&bench, to_cluster(RELATED), unrelated.0, unrelated.1, unrelated.2).await;
}
