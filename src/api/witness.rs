//! What of a request goes into the audit trail: whatever was refused to its caller, and orders that no update's event
//! tells.

use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::Response;

use super::Service;
use super::access::RATE_LIMITED;
use super::problem::Problem;
use crate::access::Principal;
use crate::audit::{Action, By, Decision, Entry};
use crate::id::UpdateId;
use crate::notary::Refusal;

/// The longest path that is repeated in a line.
const LONGEST_PATH: usize = 200;

/// What a request wants, seen before it is answered.
#[derive(Debug)]
pub(super) struct Wanted {
    method: Method,
    path: String,
    action: Action,
    update: Option<UpdateId>,
}

impl Wanted {
    pub(super) fn by(request: &Request) -> Self {
        let (method, path) = (request.method().clone(), request.uri().path());
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        // What the page is asked for is the same under a shorter path.
        let parts = parts.strip_prefix(&["v1"]).unwrap_or(&parts);
        let action = match (&method, parts) {
            (&Method::GET | &Method::HEAD, _) => Action::Read,
            (_, ["preflights"]) => Action::RunPreflight,
            (_, ["updates"]) => Action::SubmitUpdate,
            (_, ["updates", _, "approve"]) => Action::ApproveUpdate,
            (_, ["updates", _, "cancel"]) => Action::CancelUpdate,
            (_, ["updates", _, "rollback"]) => Action::RollBackUpdate,
            (&Method::DELETE, ["freeze", ..]) => Action::LiftFreeze,
            (_, ["freeze", ..]) => Action::Freeze,
            _ => Action::Administer,
        };
        // Which freeze is lifted is in the query; elsewhere a query may be anything.
        let told = match request.uri().path_and_query() {
            Some(whole) if action == Action::LiftFreeze => whole.as_str(),
            _ => path,
        };
        let update = match parts {
            ["updates", id, ..] => UpdateId::parse(id).ok(),
            _ => None,
        };
        Self { action, update, path: told.chars().take(LONGEST_PATH).collect(), method }
    }

    /// What is worth a line, once the answer is known. Bad input is no decision.
    pub(super) fn answered(
        self,
        service: &Service,
        principal: Option<&Principal>,
        response: &Response,
    ) -> Option<Witnessed> {
        let Self { method, path, action, update } = self;
        let by = principal.map(By::from);
        let Some(problem) = response.extensions().get::<Problem>() else {
            let ordered = action == Action::LiftFreeze && response.status().is_success();
            let entry = || Entry::new(service.clock.now(), by, action, Decision::Allowed, format!("{method} {path}"));
            return ordered.then(entry).map(Witnessed::Ordered);
        };
        let reads = action == Action::Read;
        let refused = match problem.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => true,
            // What these lines cost is bounded by the notary.
            StatusCode::TOO_MANY_REQUESTS if problem.reason() == RATE_LIMITED => true,
            StatusCode::CONFLICT
            | StatusCode::PRECONDITION_FAILED
            | StatusCode::LOCKED
            | StatusCode::TOO_MANY_REQUESTS => !reads,
            StatusCode::UNPROCESSABLE_ENTITY => !reads && problem.reason() != "invalid_body",
            _ => false,
        };
        refused.then(|| {
            let action = if by.is_none() { Action::Authenticate } else { action };
            let message = format!("{method} {path}: {}: {}", problem.reason(), problem.detail());
            Witnessed::Refused(Refusal { by, action, key_store: problem.about().cloned(), update, message })
        })
    }
}

/// What goes into the trail.
#[derive(Debug)]
pub(super) enum Witnessed {
    Refused(Refusal),
    Ordered(Entry),
}

impl Witnessed {
    pub(super) async fn write(self, service: &Service) {
        match self {
            Self::Refused(refusal) => service.notary.refused(refusal).await,
            Self::Ordered(entry) => service.notary.note_or_tell(&entry).await,
        }
    }
}
