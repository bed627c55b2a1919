//! Who is calling, and whether they may.
//!
//! Every guarded route states what it [`Needs`]: [`Guarded::route`] takes no handler without it. The statement is judged
//! before the handler runs, as far as the path tells which key store is meant; where only the body, the update or the
//! answer tells, the handler asks its [`Admitted`]. A handler that forgets it answers 500 instead of what it found, so that
//! no test of it passes.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;

use super::Service;
use super::problem::Problem;
use super::witness::Wanted;
use crate::access::{
    CertificateRefused, ClientCertificate, Forbidden, KnownCertificate, KnownToken, Permission, Principal,
    TokenRefused, identify, identify_certificate,
};
use crate::clock::Timestamp;
use crate::key_store::{CustomKeyStoreId, CustomKeyStoreName};
use crate::listener::Peer;
use crate::metrics::Denial;
use crate::oidc::{Issuer, JwtRefused, issuer_of, looks_like_jwt};
use crate::update::Plan;

/// Who is known, by what.
#[derive(Debug, Default)]
pub struct Callers {
    /// Bearer tokens of the configuration.
    pub tokens: Vec<KnownToken>,
    /// Names in client certificates.
    pub certificates: Vec<KnownCertificate>,
    /// Identity providers.
    pub issuers: Vec<Arc<Issuer>>,
}

impl Callers {
    /// Whether nobody is known, so that nobody is asked.
    pub fn is_empty(&self) -> bool {
        let Self { tokens, certificates, issuers } = self;
        tokens.is_empty() && certificates.is_empty() && issuers.is_empty()
    }

    /// Who is calling. A token that is sent counts, and not the certificate of the connection: it was sent on purpose.
    async fn recognise(
        &self,
        headers: &HeaderMap,
        certificate: Option<&ClientCertificate>,
        now: Timestamp,
    ) -> Result<Arc<Principal>, Unrecognised> {
        if self.is_empty() {
            foreign_page(headers)?;
            return Ok(Arc::new(Principal::anonymous()));
        }
        let Some(sent) = headers.get(header::AUTHORIZATION) else {
            let certificate = certificate.ok_or(Unrecognised::Unknown("no token and no certificate"))?;
            return Ok(Arc::clone(identify_certificate(&self.certificates, certificate, now)?));
        };
        let token = sent.to_str().ok().and_then(bearer).ok_or(Unrecognised::Unknown("no bearer token"))?;
        if !self.issuers.is_empty() && looks_like_jwt(token) {
            let principal = issuer_of(&self.issuers, token)?.verify(token, now).await?;
            return Ok(Arc::new(principal));
        }
        Ok(Arc::clone(identify(&self.tokens, token, now)?))
    }
}

/// Why nobody was recognised, for logs and the trail.
#[derive(Debug, thiserror::Error)]
enum Unrecognised {
    #[error("{0}")]
    Unknown(&'static str),
    #[error("a page of another site, or a name that is not this machine's")]
    ForeignOrigin,
    #[error(transparent)]
    Token(#[from] TokenRefused),
    #[error(transparent)]
    Certificate(#[from] CertificateRefused),
    #[error(transparent)]
    Jwt(#[from] JwtRefused),
}

impl Unrecognised {
    fn denial(&self) -> Denial {
        match self {
            Self::Token(TokenRefused::Expired)
            | Self::Certificate(CertificateRefused::Expired)
            | Self::Jwt(JwtRefused::Expired) => Denial::ExpiredToken,
            Self::ForeignOrigin => Denial::ForeignOrigin,
            Self::Unknown(_) | Self::Token(_) | Self::Certificate(_) | Self::Jwt(_) => Denial::Unauthenticated,
        }
    }

    /// What the caller is told: for all that is not known the same, because anything else helps with guessing. Only who
    /// has sent something that was good once is told that it has expired.
    fn problem(&self) -> Problem {
        let unauthorized = |reason, detail| Problem::new(StatusCode::UNAUTHORIZED, reason, detail).challenge();
        match self {
            Self::ForeignOrigin => {
                let detail = "without tokens only callers that name an IP address or localhost are served, and no other \
                              site's pages; configure tokens to lift this";
                Problem::new(StatusCode::FORBIDDEN, "foreign_origin", detail)
            }
            Self::Jwt(JwtRefused::KeysUnavailable) => {
                let detail =
                    "the identity provider's keys cannot be had at the moment, so that no token of it can be judged";
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "identity_provider_unavailable", detail)
                    .retry_after(Duration::from_secs(30))
            }
            Self::Token(TokenRefused::Expired) | Self::Jwt(JwtRefused::Expired) => {
                unauthorized("expired_token", "the token has expired; ask for a new one")
            }
            Self::Certificate(CertificateRefused::Expired) => {
                unauthorized("expired_certificate", "the client certificate has expired; ask for a new one")
            }
            Self::Unknown(_) | Self::Token(_) | Self::Certificate(_) | Self::Jwt(_) => unauthorized(
                "unauthenticated",
                "send Authorization: Bearer and a token made with: xks-preflight token new, or one of an identity provider \
                 that is configured here, or show a client certificate that is",
            ),
        }
    }
}

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
    let peer = request.extensions().get::<Peer>();
    let certificate = peer.and_then(|peer| peer.certificate.clone());
    let address = peer.map(|peer| peer.address.ip());
    let recognised = service.callers.recognise(request.headers(), certificate.as_deref(), service.clock.now()).await;
    // Whoever asks too often is refused without a line in the trail: what that costs is bounded.
    let (principal, response) = match recognised {
        Ok(principal) => match service.limits.principal(&principal.name) {
            Ok(()) => (Some(Arc::clone(&principal)), answer(guard, principal, params, request, next).await),
            Err(wait) => return too_often(&service, Some(&principal), wait).into_response(),
        },
        Err(why) => match address.map_or(Ok(()), |address| service.limits.stranger(address)) {
            Ok(()) => (None, unrecognised(&service, &why).into_response()),
            Err(wait) => return too_often(&service, None, wait).into_response(),
        },
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

fn unrecognised(service: &Service, why: &Unrecognised) -> Problem {
    refused(service, &Refused { principal: None, denial: why.denial(), detail: why.to_string() });
    why.problem()
}

fn too_often(service: &Service, principal: Option<&Principal>, wait: Duration) -> Problem {
    service.metrics.denied(Denial::RateLimited);
    tracing::debug!(principal = principal.map(|one| &one.name), "asked too often");
    let detail = "you ask too often; http.requests_per_second, burst and failures_per_minute of the configuration say how \
                  often is not too often";
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail).retry_after(wait)
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

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Without tokens, a web page in the operator's browser must not be able to call: neither across origins nor by a name
/// of its own that leads to this address (DNS rebinding).
fn foreign_page(headers: &HeaderMap) -> Result<(), Unrecognised> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let site = text(header::HeaderName::from_static("sec-fetch-site"));
    let host = text(header::HOST).unwrap_or_default();
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host, |p| p.0);
    let literal = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    let ours = name.eq_ignore_ascii_case("localhost") || literal;
    if !ours || site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return Err(Unrecognised::ForeignOrigin);
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

    #[tokio::test]
    async fn who_is_calling() {
        let now = Timestamp::from_unix(1_000);
        let tokens = vec![
            known("watch", Role::Viewer, &[1; 32], None),
            known("deploy", Role::Operator, &[2; 32], Some(Timestamp::from_unix(1_001))),
            known("gone", Role::Operator, &[3; 32], Some(now)),
        ];
        let with = |bits: &[u8; 32]| format!("Bearer {}", Token::from_random(bits).expose());
        let callers = Callers { tokens, ..Callers::default() };
        let who = async |authorization: &str| {
            let found = callers.recognise(&headers(&[("authorization", authorization)]), None, now).await;
            found
                .map(|principal| principal.name.clone())
                .map_err(|why| (why.denial(), why.problem().into_response().status().as_u16()))
        };
        assert_eq!(who(&with(&[1; 32])).await, Ok("watch".into()));
        assert_eq!(who(&with(&[2; 32])).await, Ok("deploy".into()));
        assert_eq!(who(&with(&[3; 32])).await, Err((Denial::ExpiredToken, 401)));
        let token = with(&[1; 32]);
        for unknown in [&with(&[4; 32]), &token[..token.len() - 1], "Basic eDp5", "Bearer", "Bearer ", ""] {
            assert_eq!(who(unknown).await, Err((Denial::Unauthenticated, 401)), "{unknown}");
        }
    }

    #[tokio::test]
    async fn without_tokens_no_foreign_page_may_call() {
        for (host, allowed) in [
            ("127.0.0.1:8480", true),
            ("localhost:8480", true),
            ("[::1]:8480", true),
            ("rebound.example.com:8480", false),
            ("", false),
        ] {
            let headers = headers(&[("host", host)]);
            let decided = Callers::default().recognise(&headers, None, Timestamp::from_unix(0)).await;
            assert_eq!(decided.is_ok(), allowed, "{host}");
        }
        let cross = headers(&[("host", "localhost"), ("sec-fetch-site", "cross-site")]);
        let decided = Callers::default().recognise(&cross, None, Timestamp::from_unix(0)).await;
        assert_eq!(decided.unwrap_err().denial(), Denial::ForeignOrigin);
    }
}
