//! What of a request goes into the audit trail: whatever was refused to its caller. What was ordered is told by whoever
//! carries it out, in the transaction of its effect.

use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::Response;

use super::access::RATE_LIMITED;
use super::problem::Problem;
use crate::access::Principal;
use crate::audit::{Action, By};
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
            (_, ["preflights"] | ["gates", _]) => Action::RunPreflight,
            (_, ["updates"]) => Action::SubmitUpdate,
            (_, ["updates", _, "approve"]) => Action::ApproveUpdate,
            (_, ["updates", _, "cancel"]) => Action::CancelUpdate,
            (_, ["updates", _, "rollback"]) => Action::RollBackUpdate,
            (&Method::DELETE, ["freeze", ..]) | (_, ["freezes", "lift"]) => Action::LiftFreeze,
            (_, ["freeze" | "freezes", ..]) => Action::Freeze,
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
    pub(super) fn answered(self, principal: Option<&Principal>, response: &Response) -> Option<Refusal> {
        let Self { method, path, action, update } = self;
        let problem = response.extensions().get::<Problem>()?;
        let reads = action == Action::Read;
        let refused = match problem.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => true,
            // What these lines cost is bounded by the notary.
            StatusCode::TOO_MANY_REQUESTS if problem.reason() == RATE_LIMITED => true,
            StatusCode::CONFLICT
            | StatusCode::PRECONDITION_FAILED
            | StatusCode::LOCKED
            | StatusCode::TOO_MANY_REQUESTS => !reads,
            StatusCode::UNPROCESSABLE_ENTITY => {
                !reads && !matches!(problem.reason(), "invalid_body" | "invalid_configuration")
            }
            _ => false,
        };
        let by = principal.map(By::from);
        let action = if by.is_none() { Action::Authenticate } else { action };
        let message = || format!("{method} {path}: {}: {}", problem.reason(), problem.detail());
        refused.then(|| Refusal { by, action, key_store: problem.about().cloned(), update, message: message() })
    }
}
