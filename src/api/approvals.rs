//! A person's yes to an update.

use std::sync::Arc;

use axum::extract::{Extension, Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::access::Admitted;
use super::body::{self, Members};
use super::problem::{Problem, ProblemDocument};
use super::schema::ApprovalBody;
use super::updates::{order, order_refused, taken};
use super::view::UpdateView;
use super::{Service, precondition};
use crate::driver::{OrderError, Seen};
use crate::id::UpdateId;
use crate::metrics::Denial;
use crate::update::{ApprovalDigest, Consent, Denied};

/// Agrees to exactly the plan and the report of its first pre-flight that the digest stands for. Nobody approves their
/// own update, and nobody twice.
#[utoipa::path(
    post, path = "/v1/updates/{id}/approve", tag = "updates", operation_id = "approveUpdate",
    params(
        ("id" = String, Path, description = "The update's id"),
        ("If-Match" = Option<String>, Header, description = "The ETag of the update as it was looked at"),
    ),
    request_body(content = ApprovalBody, description = "digest: the approval_digest of the update; acknowledge_outage: true, which a change that disconnects the key store needs"),
    responses(
        (status = 202, description = "Recorded; the update goes on once enough people have agreed", body = UpdateView),
        (status = 403, description = "author_may_not_approve", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "expired, already_approved, or not_awaiting_approval", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 412, description = "other_plan: another digest; stale: another ETag", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "outage_not_acknowledged, or the body's faults", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 423, description = "frozen", body = ProblemDocument, content_type = "application/problem+json"),
        (status = "default", description = "Not answered as asked", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn approve(
    State(service): State<Arc<Service>>,
    Extension(admitted): Extension<Admitted>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (id, authorized) = order(&service, &admitted, &id).await?;
    let (headers, map) = body::received(&service, &admitted, request).await?;
    let seen = precondition::seen(&headers)?;
    let mut faults = Vec::new();
    let mut members = Members::new(map, &mut faults);
    let digest = members.required("digest", digest);
    let outage_acknowledged = members.flag("acknowledge_outage");
    members.finish();
    let Some(digest) = digest.filter(|_| faults.is_empty()) else { return Err(Problem::invalid(faults)) };
    let consent = Consent { by: &authorized.by, digest: &digest, outage_acknowledged };
    consents(&service, id, &consent, seen).await?;
    taken(&service, id).await
}

/// Records a person's yes; whatever denies it is counted.
pub(crate) async fn consents(
    service: &Service,
    id: UpdateId,
    consent: &Consent<'_>,
    seen: Seen,
) -> Result<(), Problem> {
    service.driver.approve(id, consent, seen).await.map_err(|error| {
        if let OrderError::Denied(denied) = &error {
            service.metrics.denied(Denial::of(denied));
        }
        order_refused(&error)
    })
}

/// Reads what is agreed to.
pub(crate) fn digest(text: &str) -> Result<ApprovalDigest, &'static str> {
    let fits = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if fits { Ok(ApprovalDigest::stated(text)) } else { Err("must be 64 lower-case hexadecimal digits") }
}

/// What the gate does not take, as an answer.
pub(super) fn denied(denied: &Denied) -> Problem {
    let status = match denied {
        Denied::AuthorMayNotApprove { .. } => StatusCode::FORBIDDEN,
        Denied::OtherPlan => StatusCode::PRECONDITION_FAILED,
        Denied::OutageNotAcknowledged => StatusCode::UNPROCESSABLE_ENTITY,
        Denied::Frozen(_) | Denied::OutsideWindow { .. } | Denied::NotGreen(_) => StatusCode::LOCKED,
        Denied::AlreadyApproved { .. }
        | Denied::Expired { .. }
        | Denied::NotAwaitingApproval { .. }
        | Denied::NotReady { .. }
        | Denied::OtherSettings { .. }
        | Denied::Stale { .. }
        | Denied::NothingToRestore
        | Denied::NotNext { .. } => StatusCode::CONFLICT,
    };
    let problem = Problem::new(status, denied.reason(), denied.to_string());
    match denied {
        Denied::Frozen(freeze) => problem.until(freeze.until),
        other => problem.until(other.ends_at()),
    }
}
