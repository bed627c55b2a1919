//! Who is calling, and whether they may.
//!
//! Every guarded route states what it [`Needs`]: [`Guarded::route`] takes no handler without it. The statement is judged
//! before the handler runs, as far as the path tells which key store is meant; where only the body, the update or the
//! answer tells, the handler asks its [`Admitted`]. A handler that forgets it answers 500 instead of what it found, so that
//! no test of it passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;

use super::Service;
use super::problem::Problem;
use super::witness::Wanted;
use crate::access::{Forbidden, KnownToken, Permission, Principal, TokenRefused, identify};
use crate::clock::Timestamp;
use crate::key_store::{CustomKeyStoreId, CustomKeyStoreName};
use crate::metrics::Denial;
use crate::update::Plan;

/// What a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Needs {
    /// To do this ...
    pub(super) permission: Permission,
    /// ... on this.
    pub(super) on: On,
}

impl Needs {
    pub(super) const fn new(permission: Permission, on: On) -> Self {
        Self { permission, on }
    }
}

/// On which key store a route needs its permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    /// Nothing of any key store is told or touched: whoever has the permission on some key store may.
    Nothing,
    /// All of them.
    All,
    /// The one whose id is in the path: judged before the handler runs.
    Path,
    /// The one that the body, or the update or report in the path, is about: the handler asks.
    Named,
    /// Those that the answer tells of: the handler leaves out the others.
    Each,
}

/// Routes with what each of them needs. There is no other way to a guarded handler.
pub(super) struct Guarded {
    service: Arc<Service>,
    router: Router<Arc<Service>>,
}

impl Guarded {
    pub(super) fn new(service: Arc<Service>) -> Self {
        Self { service, router: Router::new() }
    }

    /// Adds the methods of a path that need the same.
    pub(super) fn route(self, path: &str, needs: Needs, handlers: MethodRouter<Arc<Service>>) -> Self {
        let guard = Guard { service: Arc::clone(&self.service), needs };
        let handlers = handlers.route_layer(from_fn_with_state(guard, admit));
        Self { router: self.router.route(path, handlers), ..self }
    }

    pub(super) fn finish(self) -> Router<Arc<Service>> {
        self.router
    }
}

#[derive(Clone)]
struct Guard {
    service: Arc<Service>,
    needs: Needs,
}

/// A caller that was let in, and what its route needs.
#[derive(Clone, Debug)]
pub(super) struct Admitted {
    principal: Arc<Principal>,
    needs: Needs,
    /// Whether the key stores that the request is about were judged.
    judged: Arc<AtomicBool>,
}

/// That somebody may do what the route needs on a key store. Made by [`Admitted`] alone.
#[derive(Clone, Debug)]
pub(super) struct Authorized {
    /// Recorded as the one who asked.
    pub(super) by: String,
}

impl Admitted {
    /// The name of the principal, for keys that are its own.
    pub(super) fn name(&self) -> &str {
        &self.principal.name
    }

    /// Whether the caller may do on this key store what the route needs; a refusal is counted.
    pub(super) fn on(&self, service: &Service, id: &CustomKeyStoreId) -> Result<Authorized, Problem> {
        self.under(service, id, service.name_of(id).as_ref())
    }

    /// The same under a name that the key store is to have: nobody moves one out of a scope, or into one, without the
    /// permission at both ends.
    pub(super) fn under(
        &self,
        service: &Service,
        id: &CustomKeyStoreId,
        name: Option<&CustomKeyStoreName>,
    ) -> Result<Authorized, Problem> {
        self.judge(service, Some((id, name)))
    }

    /// Whether the caller may do what the route needs on all key stores: what belongs to none is everybody's.
    pub(super) fn on_all(&self, service: &Service) -> Result<Authorized, Problem> {
        self.judge(service, None)
    }

    /// Whether the caller may do this, too, on a key store; a refusal is counted.
    pub(super) fn also(&self, service: &Service, permission: Permission, id: &CustomKeyStoreId) -> Result<(), Problem> {
        let may = self.principal.may(permission, Some((id, service.name_of(id).as_ref())));
        may.map_err(|refusal| forbidden(service, &self.principal, &refusal))
    }

    /// Whether the caller may do on this key store what the route needs. Not a refusal, if it may on another one.
    pub(super) fn may(&self, service: &Service, id: &CustomKeyStoreId) -> bool {
        self.principal.may(self.needs.permission, Some((id, service.name_of(id).as_ref()))).is_ok()
    }

    /// For answers that leave out what the caller may not see; there may be nothing to leave out.
    pub(super) fn each(&self) -> &Self {
        self.judged.store(true, Ordering::Relaxed);
        self
    }

    /// Whether this key store may be told of. Not a refusal: the answer is shorter.
    pub(super) fn sees(&self, service: &Service, id: &CustomKeyStoreId) -> bool {
        self.judged.store(true, Ordering::Relaxed);
        self.principal.may(Permission::Read, Some((id, service.name_of(id).as_ref()))).is_ok()
    }

    /// Whether the update of this plan may be told of. A key store that KMS no longer tells of has the name that it had.
    pub(super) fn sees_update(&self, service: &Service, plan: &Plan) -> bool {
        self.judged.store(true, Ordering::Relaxed);
        let name = service.name_of(&plan.key_store);
        let name = name.as_ref().or(Some(&plan.expected.name));
        self.principal.may(Permission::Read, Some((&plan.key_store, name))).is_ok()
    }

    /// Whether what belongs to no key store may be told.
    pub(super) fn sees_all(&self) -> bool {
        self.judged.store(true, Ordering::Relaxed);
        self.principal.may(Permission::Read, None).is_ok()
    }

    fn judge(
        &self,
        service: &Service,
        on: Option<(&CustomKeyStoreId, Option<&CustomKeyStoreName>)>,
    ) -> Result<Authorized, Problem> {
        self.judged.store(true, Ordering::Relaxed);
        self.principal
            .may(self.needs.permission, on)
            .map_err(|refusal| forbidden(service, &self.principal, &refusal))?;
        Ok(Authorized { by: self.principal.name.clone() })
    }
}

impl Service {
    /// The name that KMS told last.
    pub(super) fn name_of(&self, id: &CustomKeyStoreId) -> Option<CustomKeyStoreName> {
        Some(self.monitor.sighting(id)?.description.as_ref()?.name.clone())
    }
}

/// A request that was refused to its caller, for the trail.
#[derive(Debug)]
pub(super) struct Refused<'a> {
    /// Who, if anybody was recognised.
    pub(super) principal: Option<&'a Principal>,
    /// Why.
    pub(super) denial: Denial,
    /// Why, for people; never what was presented.
    pub(super) detail: String,
}

/// Every refusal to a caller passes through here: it is counted and told.
pub(super) fn refused(service: &Service, refused: &Refused<'_>) {
    service.metrics.denied(refused.denial);
    let Refused { principal, denial, detail } = refused;
    let (name, how) = principal.map_or(("", ""), |principal| (&principal.name, principal.how.as_str()));
    tracing::info!(principal = name, how, reason = denial.as_str(), detail, "request refused");
}

fn forbidden(service: &Service, principal: &Principal, refusal: &Forbidden) -> Problem {
    let detail = refusal.to_string();
    refused(service, &Refused { principal: Some(principal), denial: Denial::Forbidden, detail: detail.clone() });
    Problem::new(StatusCode::FORBIDDEN, "forbidden", detail).on(refusal.key_store())
}

/// Lets in whoever may do what the route needs. What comes of it is witnessed for the audit trail.
async fn admit(State(guard): State<Guard>, params: RawPathParams, request: Request, next: Next) -> Response {
    let service = Arc::clone(&guard.service);
    let wanted = Wanted::by(&request);
    let recognised = recognise(&service.tokens, request.headers(), service.clock.now());
    let (principal, response) = match recognised {
        Ok(principal) => (Some(Arc::clone(&principal)), answer(guard, principal, params, request, next).await),
        Err((denial, problem)) => {
            let detail = problem.detail().to_owned();
            refused(&service, &Refused { principal: None, denial, detail });
            (None, problem.into_response())
        }
    };
    if let Some(witnessed) = wanted.answered(&service, principal.as_deref(), &response) {
        witnessed.write(&service).await;
    }
    response
}

async fn answer(
    guard: Guard,
    principal: Arc<Principal>,
    params: RawPathParams,
    mut request: Request,
    next: Next,
) -> Response {
    let Guard { service, needs } = guard;
    let admitted = Admitted { principal, needs, judged: Arc::new(AtomicBool::new(false)) };
    if let Err(problem) = admitted.beforehand(&service, &params) {
        return problem.into_response();
    }
    let judged = Arc::clone(&admitted.judged);
    request.extensions_mut().insert(admitted);
    let response = next.run(request).await;
    if response.status().is_success() && !judged.load(Ordering::Relaxed) {
        tracing::error!(
            "an answer was held back: its handler did not ask whether the caller may, a fault of this program"
        );
        return Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "a fault of this program; its logs say more",
        )
        .into_response();
    }
    response
}

impl Admitted {
    /// What can be judged before the handler runs.
    fn beforehand(&self, service: &Service, params: &RawPathParams) -> Result<(), Problem> {
        let somewhere = self.principal.may_somewhere(self.needs.permission);
        somewhere.map_err(|refusal| forbidden(service, &self.principal, &refusal))?;
        match self.needs.on {
            On::Nothing => self.judged.store(true, Ordering::Relaxed),
            On::All => drop(self.on_all(service)?),
            On::Path => {
                let id = params.iter().find(|(name, _)| *name == "id").map(|(_, id)| CustomKeyStoreId::parse(id));
                let Some(Ok(id)) = id else { return Err(super::key_stores::no_such_key_store()) };
                self.on(service, &id)?;
            }
            On::Named | On::Each => {}
        }
        Ok(())
    }
}

fn recognise(tokens: &[KnownToken], headers: &HeaderMap, now: Timestamp) -> Result<Arc<Principal>, (Denial, Problem)> {
    if tokens.is_empty() {
        foreign_page(headers).map_err(|problem| (Denial::ForeignOrigin, problem))?;
        return Ok(Arc::new(Principal::anonymous()));
    }
    let presented = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer);
    let found = presented.ok_or(TokenRefused::Unknown).and_then(|token| identify(tokens, token, now));
    found.map(Arc::clone).map_err(|why| {
        let unauthenticated = |reason, detail| Problem::new(StatusCode::UNAUTHORIZED, reason, detail).challenge();
        match why {
            TokenRefused::Unknown => {
                let detail = "send Authorization: Bearer and a token made with: xks-preflight token new";
                (Denial::Unauthenticated, unauthenticated("unauthenticated", detail))
            }
            TokenRefused::Expired => {
                let detail = "the token has expired; ask for a new one";
                (Denial::ExpiredToken, unauthenticated("expired_token", detail))
            }
        }
    })
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Without tokens, a web page in the operator's browser must not be able to call: neither across origins nor by a name
/// of its own that leads to this address (DNS rebinding).
fn foreign_page(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let site = text(header::HeaderName::from_static("sec-fetch-site"));
    let host = text(header::HOST).unwrap_or_default();
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host, |p| p.0);
    let literal = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>().is_ok();
    let ours = name.eq_ignore_ascii_case("localhost") || literal;
    if !ours || site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        let detail = "without tokens only callers that name an IP address or localhost are served, and no other \
                      site's pages; configure tokens to lift this";
        return Err(Problem::new(StatusCode::FORBIDDEN, "foreign_origin", detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Grant, Method, Role, Scope, Token};

    fn known(name: &str, role: Role, bits: &[u8; 32], expires: Option<Timestamp>) -> KnownToken {
        let grants = vec![Grant { role, scope: Scope::All }];
        let principal = Principal { name: name.to_owned(), how: Method::Token, grants };
        KnownToken { hash: Token::from_random(bits).hash(), expires, principal: Arc::new(principal) }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn who_is_calling() {
        let now = Timestamp::from_unix(1_000);
        let tokens = [
            known("watch", Role::Viewer, &[1; 32], None),
            known("deploy", Role::Operator, &[2; 32], Some(Timestamp::from_unix(1_001))),
            known("gone", Role::Operator, &[3; 32], Some(now)),
        ];
        let with = |bits: &[u8; 32]| format!("Bearer {}", Token::from_random(bits).expose());
        let who = |authorization: &str| {
            recognise(&tokens, &headers(&[("authorization", authorization)]), now)
                .map(|principal| principal.name.clone())
                .map_err(|(denial, problem)| (denial, problem.into_response().status().as_u16()))
        };
        assert_eq!(who(&with(&[1; 32])), Ok("watch".into()));
        assert_eq!(who(&with(&[2; 32])), Ok("deploy".into()));
        assert_eq!(who(&with(&[3; 32])), Err((Denial::ExpiredToken, 401)));
        let token = with(&[1; 32]);
        for unknown in [&with(&[4; 32]), &token[..token.len() - 1], "Basic eDp5", "Bearer", "Bearer ", ""] {
            assert_eq!(who(unknown), Err((Denial::Unauthenticated, 401)), "{unknown}");
        }
    }

    #[test]
    fn without_tokens_no_foreign_page_may_call() {
        for (host, allowed) in [
            ("127.0.0.1:8480", true),
            ("localhost:8480", true),
            ("[::1]:8480", true),
            ("rebound.example.com:8480", false),
            ("", false),
        ] {
            let decided = recognise(&[], &headers(&[("host", host)]), Timestamp::from_unix(0));
            assert_eq!(decided.is_ok(), allowed, "{host}");
        }
        let cross = headers(&[("host", "localhost"), ("sec-fetch-site", "cross-site")]);
        assert!(recognise(&[], &cross, Timestamp::from_unix(0)).is_err());
    }
}
