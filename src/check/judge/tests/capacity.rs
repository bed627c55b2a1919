use super::*;
use crate::check::{CapacityEvidence, LoadEvidence, LoadLatency, LoadOperation, LoadOutcome, LoadStop};

pub(super) const SPOILS: &[(&str, Spoil)] = &[("capacity.sustained", |e| {
    let latency = LoadLatency { p99: Duration::from_millis(260), ..LoadLatency::default() };
    e.capacity = Some(loaded(LoadEvidence { latency, ..sustained() }));
})];

/// Evidence on which every check of this chapter passes.
pub(super) fn passing() -> Vec<Evidence> {
    vec![Evidence { capacity: Some(loaded(sustained())), ..good() }]
}

fn loaded(load: LoadEvidence) -> CapacityEvidence {
    CapacityEvidence::Loaded(Box::new(load))
}

fn sustained() -> LoadEvidence {
    LoadEvidence {
        operation: LoadOperation::GetHealthStatus,
        rate: 100,
        planned: Duration::from_secs(10),
        took: Duration::from_secs(10),
        requests: 1_000,
        outcomes: [(LoadOutcome::Answered, 1_000)].into(),
        late: 0,
        achieved: 100.0,
        latency: LoadLatency { p99: KMS_LIMIT, ..LoadLatency::default() },
        lag: Duration::from_millis(1),
        connections: 4,
        stopped: None,
        first_failure: None,
    }
}

const KMS_LIMIT: Duration = crate::check::KMS_TIME_LIMIT;

fn outcome(capacity: CapacityEvidence) -> Outcome {
    let evidence = Evidence { capacity: Some(capacity), ..good() };
    let findings = judged(&evidence);
    findings.iter().find(|finding| finding.check.id == "capacity.sustained").unwrap().outcome.clone()
}

fn problem(load: LoadEvidence) -> Problem {
    match outcome(loaded(load)) {
        Outcome::Failed(problem) | Outcome::OwnFault(problem) => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_way_of_failing_under_load_is_named() {
    let with = |outcome, count, kind| LoadEvidence {
        outcomes: [(LoadOutcome::Answered, 90), (outcome, count)].into(),
        first_failure: Some(Problem::target(kind, "as told")),
        ..sustained()
    };
    let throttled = with(LoadOutcome::Throttled, 1, ProblemKind::Throttled);
    let throttled = problem(LoadEvidence { stopped: Some(LoadStop::Throttled), ..throttled });
    assert_eq!(throttled.kind, ProblemKind::Throttled);
    assert!(throttled.detail.contains("ended early, because the proxy answered"), "{}", throttled.detail);
    let broken = problem(with(LoadOutcome::Broken, 1, ProblemKind::Reset));
    assert_eq!((broken.kind, broken.fault), (ProblemKind::Reset, Fault::Target));
    let fallen = problem(LoadEvidence { achieved: 94.9, ..sustained() });
    assert_eq!(fallen.kind, ProblemKind::RateNotReached);
}

#[test]
fn what_this_machine_could_not_do_is_no_failure_of_the_proxy() {
    let slow = LoadLatency { p99: Duration::from_millis(400), ..LoadLatency::default() };
    let lagging = problem(LoadEvidence { lag: Duration::from_millis(300), latency: slow, ..sustained() });
    assert_eq!((lagging.kind, lagging.fault), (ProblemKind::LocalResources, Fault::Own));
    let late = problem(LoadEvidence {
        outcomes: [(LoadOutcome::Answered, 90), (LoadOutcome::TimedOut, 10)].into(),
        first_failure: Some(Problem::target(ProblemKind::TimedOut, "as told")),
        lag: Duration::from_millis(1114),
        ..sustained()
    });
    assert_eq!((late.kind, late.fault), (ProblemKind::LocalResources, Fault::Own));
    assert!(late.detail.contains("10 of 1000 requests failed, first: as told"), "{}", late.detail);
    let own = LoadEvidence { outcomes: [(LoadOutcome::OwnFault, 3)].into(), ..sustained() };
    assert_eq!(problem(own).fault, Fault::Own);
}

#[test]
fn what_was_not_begun_is_not_reached() {
    let unreached = outcome(CapacityEvidence::NotReached { stopped_at: Stage::Tls });
    assert_eq!(unreached, Outcome::NotReached { stopped_at: Stage::Tls });
}
