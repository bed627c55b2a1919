//! What became of a request, in KMS's words.
//!
//! An exception is chosen by what a client does with it. KMSInternalException is the one that SDKs repeat by themselves:
//! it is for what was not decided and changed nothing. Whatever began to change something, and whatever a repetition
//! would only meet again, gets an exception that SDKs hand to their caller at once.

use super::failure::Failure;
use super::operation::Operation;
use crate::access::Forbidden;
use crate::chain::Chain;
use crate::check::Verdict;
use crate::driver::{OrderError, SubmitError, UpdateRecord};
use crate::id::UpdateId;
use crate::journal::JournalError;
use crate::key_store::KmsException;
use crate::kms::KmsError;
use crate::metrics::Denial;
use crate::update::{BlockedBy, Direction, Ending, Event, Phase, PlanRefused, PreflightSummary, Round, StepOutcome};

/// Where an update is looked at.
fn update_address(id: UpdateId) -> String {
    format!("update /v1/updates/{id}")
}

/// Whether KMS's model lists this exception for the operation, so that every SDK has a class for it there.
fn is_modelled(operation: Operation, exception: KmsException) -> bool {
    use KmsException::{
        AccessDenied, CloudHsmClusterInUse, CloudHsmClusterInvalidConfiguration, CloudHsmClusterNotActive,
        CloudHsmClusterNotRelated, CustomKeyStoreInvalidState, CustomKeyStoreNotFound, KmsInternal, LimitExceeded,
        Throttling, UnsupportedOperation, Validation,
    };
    match operation {
        Operation::Create => !matches!(
            exception,
            CloudHsmClusterNotRelated | CustomKeyStoreInvalidState | CustomKeyStoreNotFound | UnsupportedOperation
        ),
        Operation::Update => !matches!(exception, CloudHsmClusterInUse | LimitExceeded | UnsupportedOperation),
        Operation::Connect => matches!(
            exception,
            AccessDenied
                | CloudHsmClusterInvalidConfiguration
                | CloudHsmClusterNotActive
                | CustomKeyStoreInvalidState
                | CustomKeyStoreNotFound
                | KmsInternal
                | Throttling
                | Validation
        ),
        Operation::Disconnect | Operation::Describe => matches!(
            exception,
            AccessDenied | CustomKeyStoreInvalidState | CustomKeyStoreNotFound | KmsInternal | Throttling | Validation
        ),
    }
}

/// The exception for settings that are not fit. KMS has none for what it never checks, such as the keys: then it is the
/// one for a proxy or a cluster that is not as it must be. A connect raises no exception about proxies at all.
pub(super) fn unfit(operation: Operation, told: Option<KmsException>, is_cloud_hsm: bool) -> KmsException {
    let of_ours = match operation {
        Operation::Update if is_cloud_hsm => KmsException::CloudHsmClusterInvalidConfiguration,
        Operation::Create | Operation::Update => KmsException::XksProxyInvalidConfiguration,
        _ => KmsException::CustomKeyStoreInvalidState,
    };
    told.filter(|exception| is_modelled(operation, *exception)).unwrap_or(of_ours)
}

/// Whether SDKs send the request again by themselves.
fn is_repeated(exception: KmsException) -> bool {
    matches!(exception, KmsException::KmsInternal | KmsException::Throttling)
}

/// Whether the request can be answered: the update has ended, waits for a person, or, for a connect or disconnect, KMS
/// has taken it, which is all that KMS's own answer says.
pub(super) fn is_due(operation: Operation, record: &UpdateRecord) -> bool {
    let waits = matches!(record.state.phase(), Phase::AwaitingApproval(_));
    record.state.ending().is_some() || waits || (operation != Operation::Update && was_taken(record))
}

fn was_taken(record: &UpdateRecord) -> bool {
    record.events.iter().any(|recorded| {
        let done = StepOutcome::is_done;
        matches!(&recorded.event, Event::StepSettled { direction: Direction::Forward, outcome, .. } if done(outcome))
    })
}

fn last_preflight(record: &UpdateRecord) -> Option<(Round, &PreflightSummary)> {
    record.events.iter().rev().find_map(|recorded| match &recorded.event {
        Event::PreflightFinished { round, summary } => Some((*round, summary)),
        _ => None,
    })
}

/// What KMS itself raised last on the way to what was asked for.
fn raised_by_kms(record: &UpdateRecord) -> Option<KmsException> {
    record.events.iter().rev().find_map(|recorded| match &recorded.event {
        Event::StepSettled {
            direction: Direction::Forward, outcome: StepOutcome::Refused { exception, .. }, ..
        } => *exception,
        _ => None,
    })
}

/// The answer to the request that made this update; `Ok` is KMS's empty one.
pub(super) fn of(operation: Operation, record: &UpdateRecord) -> Result<(), Failure> {
    let is_cloud_hsm = record.state.plan().is_cloud_hsm();
    let address = update_address(record.id());
    let refused = |exception, message: String| Err(Failure::of(exception, message).in_update(record.id()));
    let invalid_state = |message: String| Err(Failure::of(KmsException::CustomKeyStoreInvalidState, message));
    match record.state.ending() {
        // The endpoint begins no rotations.
        Some(Ending::Verified | Ending::Unproven { .. }) => Ok(()),
        Some(Ending::Blocked { by: BlockedBy::Preflight(report), exception, message }) => {
            let undecided = last_preflight(record).is_some_and(|(_, last)| last.verdict == Verdict::Inconclusive);
            let exception =
                if undecided { KmsException::KmsInternal } else { unfit(operation, *exception, is_cloud_hsm) };
            let undecided = if undecided { "the pre-flight could not tell whether KMS would accept it: " } else { "" };
            let message =
                format!("{undecided}{message}; nothing was changed; report /v1/preflights/{report}, {address}");
            refused(exception, message)
        }
        Some(Ending::Blocked { by: BlockedBy::Kms, exception, message }) => {
            let exception = unfit(operation, *exception, is_cloud_hsm);
            refused(exception, format!("KMS refused it: {message}; nothing was changed; {address}"))
        }
        // Never one that is repeated: what began once would begin again.
        Some(Ending::RolledBack { why }) => {
            let verified = last_preflight(record).filter(|(round, _)| *round == Round::Verification);
            let told = raised_by_kms(record).or(verified.and_then(|(_, summary)| summary.exception));
            let told = unfit(operation, told.filter(|exception| !is_repeated(*exception)), is_cloud_hsm);
            Err(Failure::of(told, format!("{why}; the former settings are in force again; {address}")))
        }
        Some(Ending::Stuck { why, instruction }) => invalid_state(format!("stuck: {why}; {instruction}; {address}")),
        Some(Ending::Abandoned { by }) => {
            invalid_state(format!("{by} cancelled it before anything was changed; {address}"))
        }
        Some(Ending::Refused { why, .. }) => {
            refused(KmsException::CustomKeyStoreInvalidState, format!("{why}; nothing was changed; {address}"))
        }
        None if operation != Operation::Update && was_taken(record) => Ok(()),
        None => invalid_state(format!(
            "it waits for approval: xks-preflight update approve {}; then send the same request again, which finds this \
             update; {address}",
            record.id()
        )),
    }
}

/// Why a key store is not fit as it is, which it was asked to become.
pub(super) fn present(summary: &PreflightSummary, is_cloud_hsm: bool) -> Failure {
    let exception = match summary.verdict {
        Verdict::Inconclusive => KmsException::KmsInternal,
        Verdict::Ready | Verdict::Blocked => unfit(Operation::Update, summary.exception, is_cloud_hsm),
    };
    let report = summary.report;
    let message = format!(
        "the key store has these values already, and they do not work: {}; report /v1/preflights/{report}",
        summary.message
    );
    Failure::of(exception, message).denied(Denial::Blocked)
}

/// Why no update was made.
pub(super) fn not_submitted(error: &SubmitError) -> Failure {
    let detail = Chain(error).to_string();
    let invalid_state = |message: String| Failure::of(KmsException::CustomKeyStoreInvalidState, message);
    match error {
        SubmitError::ObserveOnly => Failure::of(KmsException::AccessDenied, detail).denied(Denial::Refused),
        SubmitError::Kms(error) => kms(error),
        SubmitError::Plan(PlanRefused::Members { .. }) => {
            Failure::of(KmsException::Validation, detail).denied(Denial::Unplannable)
        }
        SubmitError::Plan(
            PlanRefused::NothingToChange
            | PlanRefused::State { .. }
            | PlanRefused::NotDisconnected { .. }
            | PlanRefused::Rotation { .. }
            | PlanRefused::Unrecognized { .. },
        ) => invalid_state(detail).denied(Denial::Unplannable),
        // A freeze or a maintenance window, too, is a state in which the key store takes no change.
        SubmitError::Denied(denied) => invalid_state(detail).denied(Denial::of(denied)),
        SubmitError::OutageNotAcknowledged { .. } => invalid_state(detail).denied(Denial::Unacknowledged),
        // The key store is not in a state for another change; by itself a client cannot know how long.
        SubmitError::Locked { update: id, .. } | SubmitError::KeyReused(id) => {
            invalid_state(format!("{detail}; {}", update_address(*id))).in_update(*id)
        }
        SubmitError::Plan(PlanRefused::DigestDiffers | PlanRefused::NotRecordable)
        | SubmitError::ShuttingDown
        | SubmitError::UnknownCredential(_)
        | SubmitError::Journal(_) => {
            tracing::error!(error = detail, "a request to the KMS endpoint was not recorded");
            Failure::internal(detail)
        }
    }
}

/// Why an update cannot be read.
pub(super) fn not_read(error: &OrderError) -> Failure {
    Failure::internal(Chain(error).to_string())
}

/// Why an update cannot be followed.
pub(super) fn not_followed(error: &JournalError) -> Failure {
    Failure::internal(Chain(error).to_string())
}

/// KMS's own answer to a look at its key stores.
pub(super) fn kms(error: &KmsError) -> Failure {
    forwarded(Operation::Describe, error)
}

/// KMS's own answer to what was forwarded.
pub(super) fn forwarded(operation: Operation, error: &KmsError) -> Failure {
    let detail = error.to_string();
    match error.exception() {
        Some(exception) if is_modelled(operation, exception) => Failure::of(exception, detail),
        _ => Failure::internal(detail),
    }
}

/// A caller without a grant. KMS's own word for a caller without an IAM permission, which every SDK and tool knows,
/// although no operation's model lists it.
pub(super) fn forbidden(error: &Forbidden) -> Failure {
    Failure::of(KmsException::AccessDenied, error.to_string()).denied(Denial::Forbidden)
}
