//! What the trail says of an update, derived from its events alone.

use super::{Action, By, Decision, Entry, Hash};
use crate::check::Verdict;
use crate::clock::Timestamp;
use crate::id::{ReportId, UpdateId};
use crate::key_store::{CustomKeyStoreId, Member};
use crate::update::{
    ApprovalRule, Direction, Ending, Event, Freeze, Plan, PlanDigest, Recorded, Rollback, Round, Step, StepOutcome,
};

/// What every line about an update refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The update.
    pub update: UpdateId,
    /// Its key store.
    pub key_store: CustomKeyStoreId,
    /// Its plan.
    pub plan: PlanDigest,
}

impl Subject {
    /// Of a plan.
    pub fn of(plan: &Plan) -> Self {
        Self { update: plan.id, key_store: plan.key_store.clone(), plan: plan.digest().clone() }
    }
}

/// What the trail says of an event; nothing of those that decide nothing. The same event always gives the same entry.
pub fn entry_of(subject: &Subject, recorded: &Recorded) -> Option<Entry> {
    let daemon = || Some(By::daemon());
    let person = |name: &String| Some(By::named(name));
    let (mut report, mut kms_request_id) = (None, None);
    let (by, action, decision, message) = match &recorded.event {
        Event::Planned { plan } => {
            (person(&plan.requested_by), Action::UpdatePlanned, Decision::Recorded, planned(plan))
        }
        // What the key store shows, and that a pre-flight began, is no decision; what follows from it is.
        Event::PreflightStarted { .. } | Event::Observed { .. } => return None,
        Event::PreflightFinished { round, summary } => {
            report = Some(summary.report);
            let decision = if summary.verdict == Verdict::Ready { Decision::Allowed } else { Decision::Denied };
            let message = format!("{} pre-flight: {}", word(*round), summary.message);
            (daemon(), Action::PreflightJudged, decision, message)
        }
        Event::ApprovalRequested {} => {
            (daemon(), Action::ApprovalRequested, Decision::Recorded, "the plan waits for approval".to_owned())
        }
        Event::ApprovalGiven { by, digest, outage_acknowledged } => {
            let outage = if *outage_acknowledged { "; the outage is acknowledged" } else { "" };
            let message =
                format!("approved the plan and the report of its first pre-flight by digest {digest}{outage}");
            (person(by), Action::PlanApproved, Decision::Allowed, message)
        }
        Event::BrokeGlass { by, reason, passed_by } => {
            let passed_by: Vec<&str> = passed_by.iter().map(|by| by.as_str()).collect();
            let passed_by = if passed_by.is_empty() { "nothing".to_owned() } else { passed_by.join(", ") };
            (person(by), Action::BreakGlass, Decision::Allowed, format!("passed by {passed_by}: {reason}"))
        }
        Event::CancelRequested { by } => {
            (person(by), Action::UpdateCancelled, Decision::Recorded, "is not to begin".to_owned())
        }
        Event::RollbackRequested { by } => {
            (person(by), Action::RollbackOrdered, Decision::Recorded, "the former settings are wanted back".to_owned())
        }
        Event::StepIntended { direction, step, attempt } => {
            let message = format!("{}, attempt {attempt}", mutation(*direction, *step));
            (daemon(), Action::MutationIntended, Decision::Allowed, message)
        }
        Event::StepSettled { direction, step, outcome } => {
            kms_request_id = match outcome {
                StepOutcome::Done { request_id, .. } | StepOutcome::Refused { request_id, .. } => request_id.clone(),
                StepOutcome::NotDone { .. } | StepOutcome::NotSeen { .. } | StepOutcome::Unobservable { .. } => None,
            };
            let message = format!("{}: {outcome}", mutation(*direction, *step));
            (daemon(), Action::MutationSettled, Decision::Recorded, message)
        }
        Event::Watched { round, summary, .. } => {
            report = Some(summary.report);
            let decision = if summary.verdict == Verdict::Ready { Decision::Recorded } else { Decision::Denied };
            let seen = summary.credentials.map_or_else(String::new, |seen| {
                format!("; the new credential is {}, the former one {}", seen.new.as_str(), seen.former.as_str())
            });
            (daemon(), Action::RotationWatched, decision, format!("{} look: {}{seen}", word(*round), summary.message))
        }
        Event::RemovalAwaited { until } => {
            let message = format!("a person is to remove the former credential at the proxy, until {until}");
            (daemon(), Action::RemovalAwaited, Decision::Recorded, message)
        }
        Event::RemovalReported { by } => {
            let message = "says that the former credential is removed at the proxy".to_owned();
            (person(by), Action::RemovalReported, Decision::Recorded, message)
        }
        Event::RollbackDecided { why } => (daemon(), Action::RollbackDecided, Decision::Recorded, why.clone()),
        Event::Concluded { ending } => {
            let (decision, message) = concluded(ending);
            (daemon(), Action::UpdateConcluded, decision, message)
        }
    };
    Some(Entry {
        key_store: Some(subject.key_store.clone()),
        update: Some(subject.update),
        event: Some(recorded.sequence),
        plan: Some(subject.plan.clone()),
        report,
        kms_request_id,
        ..Entry::new(recorded.at, by, action, decision, message)
    })
}

/// What the trail says of a report that was kept: its SHA-256, so that it cannot become another one.
pub fn report_kept(at: Timestamp, subject: &Subject, report: ReportId, document: Hash) -> Entry {
    Entry {
        key_store: Some(subject.key_store.clone()),
        update: Some(subject.update),
        plan: Some(subject.plan.clone()),
        report: Some(report),
        document: Some(document),
        ..Entry::new(
            at,
            Some(By::daemon()),
            Action::ReportKept,
            Decision::Recorded,
            "the report of a pre-flight was kept",
        )
    }
}

/// What the trail says of a freeze.
pub fn frozen(freeze: &Freeze) -> Entry {
    let until = freeze.until.map_or_else(|| "it is lifted".to_owned(), |until| until.to_string());
    let of = if freeze.key_store.is_some() { "the key store" } else { "every key store" };
    let message = format!("no change of {of} may begin until {until}: {}", freeze.reason);
    let by = Some(By::named(&freeze.by));
    let entry = Entry::new(freeze.since, by, Action::Freeze, Decision::Allowed, message);
    Entry { key_store: freeze.key_store.clone(), ..entry }
}

/// What the trail says of a freeze that somebody lifts before its end.
pub fn lifted(freeze: &Freeze, by: &str, at: Timestamp) -> Entry {
    let of = if freeze.key_store.is_some() { "the key store" } else { "every key store" };
    let message =
        format!("changes of {of} may begin again; {} had frozen it at {}: {}", freeze.by, freeze.since, freeze.reason);
    let entry = Entry::new(at, Some(By::named(by)), Action::LiftFreeze, Decision::Allowed, message);
    Entry { key_store: freeze.key_store.clone(), ..entry }
}

fn planned(plan: &Plan) -> String {
    let members: Vec<&str> = plan.change.members().into_iter().map(Member::as_str).collect();
    let steps: Vec<&str> = plan.steps.iter().copied().map(Step::as_str).collect();
    let approval = match plan.approval {
        ApprovalRule::None => "no approval needed",
        ApprovalRule::One => "one approval needed",
        ApprovalRule::Two => "two approvals needed",
    };
    let back = match &plan.rollback {
        Rollback::Restore(_) => "can be undone",
        Rollback::Impossible { .. } => "cannot be undone",
    };
    let changes = if members.is_empty() { "no setting".to_owned() } else { members.join(", ") };
    let waivers = plan.waivers.len();
    format!("changes {changes} by {}; {approval}; {back}; {waivers} waivers", steps.join(", "))
}

fn word(round: Round) -> &'static str {
    match round {
        Round::First => "first",
        Round::Last => "last",
        Round::Verification => "verifying",
        Round::Propagation => "propagation",
        Round::Removal => "removal",
    }
}

fn mutation(direction: Direction, step: Step) -> String {
    let towards = match direction {
        Direction::Forward => "towards the new settings",
        Direction::Back => "back to the former settings",
    };
    format!("{step} {towards}")
}

fn concluded(ending: &Ending) -> (Decision, String) {
    match ending {
        Ending::Verified => (Decision::Recorded, "verified: the new settings are in force and were probed".to_owned()),
        Ending::Unproven { why, .. } => (Decision::Recorded, format!("unproven: {why}")),
        Ending::RolledBack { why } => (Decision::Recorded, format!("rolled back: {why}")),
        Ending::Abandoned { by } => (Decision::Recorded, format!("abandoned: cancelled by {by}")),
        Ending::Blocked { message, .. } => (Decision::Denied, format!("blocked: {message}")),
        Ending::Refused { why, reason } => (Decision::Denied, format!("refused ({}): {why}", reason.as_str())),
        Ending::Stuck { why, .. } => (Decision::Recorded, format!("stuck: {why}")),
    }
}
