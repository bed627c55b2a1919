//! Whether whoever is calling may.
//!
//! Every guarded route states what it [`Needs`]: [`Guarded::route`] takes no handler without it. The statement is judged
//! before the handler runs, as far as the path tells which key store is meant; where only the body, the update or the
//! answer tells, the handler asks its [`Admitted`]. A handler that forgets it answers 500 instead of what it found, so that
//! no test of it passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;

use super::Service;
use super::callers::{Callers, Unrecognised, foreign_page};
use super::problem::Problem;
use super::witness::Wanted;
use crate::access::{Forbidden, Permission, Principal};
use crate::key_store::{CustomKeyStoreId, CustomKeyStoreName};
use crate::listener::Peer;
use crate::metrics::Denial;
use crate::monitor::PlaceSight;
use crate::update::Plan;

/// What a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    /// To do this ...
    pub(crate) permission: Permission,
    /// ... on this.
    pub(crate) on: On,
    /// Whether a token may come as the password of Basic authentication, too.
    password: bool,
    /// Whether it is for everybody where metrics are.
    open: bool,
    /// Whether whoever says who they are is recognised there all the same, because they may do more.
    recognising: bool,
}

impl Needs {
    pub(crate) const fn new(permission: Permission, on: On) -> Self {
        Self { permission, on, password: false, open: false, recognising: false }
    }

    /// For callers that can set no header, and put a token into their URL. Browsers send such passwords on their own,
    /// so it must not be possible to change anything by such a route.
    pub(crate) const fn or_password(self) -> Self {
        Self { password: true, ..self }
    }

    /// For everybody on a loopback address, and where nobody is asked who they are.
    pub(crate) const fn or_open(self) -> Self {
        Self { open: true, ..self }
    }

    /// The same, and whoever says who they are is recognised: a handler without an [`Admitted`] has a stranger before it.
    pub(crate) const fn or_open_to_strangers(self) -> Self {
        Self { open: true, recognising: true, ..self }
    }
}

/// On which key store a route needs its permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
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
pub(crate) struct Guarded {
    service: Arc<Service>,
    router: Router<Arc<Service>>,
}

impl Guarded {
    pub(crate) fn new(service: Arc<Service>) -> Self {
        Self { service, router: Router::new() }
    }

    /// Adds the methods of a path that need the same.
    pub(crate) fn route(self, path: &str, needs: Needs, handlers: MethodRouter<Arc<Service>>) -> Self {
        let guard = Guard { service: Arc::clone(&self.service), needs };
        let handlers = handlers.route_layer(from_fn_with_state(guard, admit));
        Self { router: self.router.route(path, handlers), ..self }
    }

    pub(crate) fn finish(self) -> Router<Arc<Service>> {
        self.router
    }
}

#[derive(Clone)]
struct Guard {
    service: Arc<Service>,
    needs: Needs,
}

/// Somebody who was recognised already: by the page, whose visitors show a cookie where others show a token. Nobody else
/// makes one.
#[derive(Clone, Debug)]
pub(crate) struct SignedIn(pub(crate) Arc<Principal>);

/// A caller that was let in, and what its route needs.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    principal: Arc<Principal>,
    /// Who was known when it was let in.
    then: Arc<Callers>,
    needs: Needs,
    /// Whether the key stores that the request is about were judged.
    judged: Arc<AtomicBool>,
}

/// That somebody may do what the route needs on a key store. Made by [`Admitted`] alone.
#[derive(Clone, Debug)]
pub(crate) struct Authorized {
    /// Recorded as the one who asked.
    pub(crate) by: String,
}

impl Admitted {
    /// Who it is.
    pub(crate) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Who was known when it was let in.
    pub(crate) fn known_among(&self) -> &Arc<Callers> {
        &self.then
    }

    /// Whether it would still be let in while these are known.
    pub(super) fn is_known_to(&self, callers: &Callers) -> bool {
        std::ptr::eq(callers, Arc::as_ptr(&self.then)) || callers.still_knows(&self.principal, &self.then)
    }

    /// The same, of whoever is known now. To be asked after everything that a caller can make last, such as a body.
    pub(crate) fn still(&self, service: &Service) -> Result<(), Problem> {
        if self.is_known_to(&service.callers.get()) {
            return Ok(());
        }
        Err(unrecognised(service, &Unrecognised::Unknown("it was taken out of the configuration in the meantime")))
    }

    /// The name of the principal, for keys that are its own.
    pub(crate) fn name(&self) -> &str {
        &self.principal.name
    }

    /// Whether the caller may do on this key store what the route needs; a refusal is counted.
    pub(crate) fn on(&self, service: &Service, id: &CustomKeyStoreId) -> Result<Authorized, Problem> {
        self.under(service, id, service.scoped_name_of(id).as_ref())
    }

    /// The same under a name that the key store is to have: nobody moves one out of a scope, or into one, without the
    /// permission at both ends.
    pub(crate) fn under(
        &self,
        service: &Service,
        id: &CustomKeyStoreId,
        name: Option<&CustomKeyStoreName>,
    ) -> Result<Authorized, Problem> {
        self.judge(service, Some((id, name.filter(|_| service.monitor.is_of_home(id)))))
    }

    /// Whether the caller may do what the route needs on all key stores: what belongs to none is everybody's.
    pub(crate) fn on_all(&self, service: &Service) -> Result<Authorized, Problem> {
        self.judge(service, None)
    }

    /// Whether the caller may do this, too, on a key store; a refusal is counted.
    pub(crate) fn also(&self, service: &Service, permission: Permission, id: &CustomKeyStoreId) -> Result<(), Problem> {
        let may = self.principal.may(permission, Some((id, service.scoped_name_of(id).as_ref())));
        may.map_err(|refusal| forbidden(service, &self.principal, &refusal))
    }

    /// Whether the caller may do this, too, on all key stores; a refusal is counted.
    pub(crate) fn also_on_all(&self, service: &Service, permission: Permission) -> Result<(), Problem> {
        self.judged.store(true, Ordering::Relaxed);
        let may = self.principal.may(permission, None);
        may.map_err(|refusal| forbidden(service, &self.principal, &refusal))
    }

    /// Whether the caller may do on this key store what the route needs. Not a refusal, if it may on another one.
    pub(crate) fn may(&self, service: &Service, id: &CustomKeyStoreId) -> bool {
        self.principal.may(self.needs.permission, Some((id, service.scoped_name_of(id).as_ref()))).is_ok()
    }

    /// Whether the caller may do this on a key store, for whoever shows what can be done. Not a refusal, and no leave.
    pub(crate) fn could(&self, service: &Service, permission: Permission, id: &CustomKeyStoreId) -> bool {
        self.principal.may(permission, Some((id, service.scoped_name_of(id).as_ref()))).is_ok()
    }

    /// The same on all key stores.
    pub(crate) fn could_everywhere(&self, permission: Permission) -> bool {
        self.principal.may(permission, None).is_ok()
    }

    /// For answers that leave out what the caller may not see; there may be nothing to leave out.
    pub(crate) fn each(&self) -> &Self {
        self.judged.store(true, Ordering::Relaxed);
        self
    }

    /// Whether this key store may be told of. Not a refusal: the answer is shorter.
    pub(crate) fn sees(&self, service: &Service, id: &CustomKeyStoreId) -> bool {
        self.judged.store(true, Ordering::Relaxed);
        self.principal.may(Permission::Read, Some((id, service.scoped_name_of(id).as_ref()))).is_ok()
    }

    /// Whether the update of this plan may be told of. A key store that KMS no longer tells of has the name that it had.
    pub(crate) fn sees_update(&self, service: &Service, plan: &Plan) -> bool {
        self.judged.store(true, Ordering::Relaxed);
        let name = service.scoped_name_of(&plan.key_store);
        let expected = Some(&plan.expected.name).filter(|_| service.monitor.is_of_home(&plan.key_store));
        let name = name.as_ref().or(expected);
        self.principal.may(Permission::Read, Some((&plan.key_store, name))).is_ok()
    }

    /// Whether what belongs to no key store may be told.
    pub(crate) fn sees_all(&self) -> bool {
        self.judged.store(true, Ordering::Relaxed);
        self.principal.may(Permission::Read, None).is_ok()
    }

    /// The accounts and Regions that the caller may be told of: those of key stores that it sees, or all.
    pub(crate) fn places(&self, service: &Service) -> Vec<PlaceSight> {
        let mut places = service.monitor.places();
        if !self.sees_all() {
            let seen = service.monitor.sightings();
            let seen = seen.iter().filter(|sighting| self.sees(service, &sighting.id));
            let seen: Vec<_> = seen.filter_map(|sighting| sighting.place.clone()).collect();
            places.retain(|sight| seen.contains(&sight.place));
        }
        places
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
    /// The name that KMS told last, for scopes by name: none of key stores of other accounts, where others give names.
    pub(crate) fn scoped_name_of(&self, id: &CustomKeyStoreId) -> Option<CustomKeyStoreName> {
        if !self.monitor.is_of_home(id) {
            return None;
        }
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

/// A request of somebody who is still to be recognised, by other means than its head.
pub(crate) struct Unproven {
    wanted: Wanted,
    address: Option<std::net::IpAddr>,
}

impl Unproven {
    pub(crate) fn by(request: &Request) -> Self {
        let address = request.extensions().get::<Peer>().map(|peer| peer.address.ip());
        Self { wanted: Wanted::by(request), address }
    }

    /// Nobody was recognised: that is counted, told and limited as any other failure.
    pub(crate) async fn refused(self, service: &Service, why: &str) -> Problem {
        if let Err(wait) = self.address.map_or(Ok(()), |address| service.limits.stranger(address)) {
            return too_often(service, None, wait);
        }
        refused(service, &Refused { principal: None, denial: Denial::Unauthenticated, detail: why.to_owned() });
        let problem = Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", why);
        let refusal = self.wanted.answered(None, &problem.clone().into_response());
        if let Some(refusal) = refusal {
            service.notary.refused(refusal).await;
        }
        problem
    }
}

fn forbidden(service: &Service, principal: &Principal, refusal: &Forbidden) -> Problem {
    let detail = refusal.to_string();
    refused(service, &Refused { principal: Some(principal), denial: Denial::Forbidden, detail: detail.clone() });
    Problem::new(StatusCode::FORBIDDEN, "forbidden", detail).on(refusal.key_store())
}

/// Lets in whoever may do what the route needs. What comes of it is witnessed for the audit trail.
async fn admit(State(guard): State<Guard>, params: RawPathParams, request: Request, next: Next) -> Response {
    let service = Arc::clone(&guard.service);
    let callers = service.callers.get();
    let shows = |peer: &Peer| peer.certificate.is_some();
    let says_who =
        request.headers().contains_key(header::AUTHORIZATION) || request.extensions().get::<Peer>().is_some_and(shows);
    // Where nobody is known, `recognise` is the one who judges: it refuses the pages of other sites.
    let heeded = guard.needs.recognising && (says_who || callers.is_empty());
    if guard.needs.open && !heeded && (service.open_metrics || callers.is_empty()) {
        let alone = callers.is_empty() && service.open_metrics;
        return passing(&guard, alone, request, next).await;
    }
    let wanted = Wanted::by(&request);
    let peer = request.extensions().get::<Peer>();
    let certificate = peer.and_then(|peer| peer.certificate.clone());
    let address = peer.map(|peer| peer.address.ip());
    let password = guard.needs.password;
    let recognised = if let Some(SignedIn(principal)) = request.extensions().get::<SignedIn>() {
        Ok(Arc::clone(principal))
    } else {
        let now = service.clock.now();
        callers.recognise(request.headers(), certificate.as_deref(), password, now).await
    };
    let (principal, response) = match recognised {
        Ok(principal) => {
            let response = match service.limits.principal(&principal.name) {
                Ok(()) => {
                    let judged = Arc::new(AtomicBool::new(false));
                    let (principal, then) = (Arc::clone(&principal), callers);
                    let admitted = Admitted { principal, then, needs: guard.needs, judged };
                    answer(&service, admitted, params, request, next).await
                }
                Err(wait) => too_often(&service, Some(&principal), wait).into_response(),
            };
            (Some(principal), response)
        }
        Err(why) => match address.map_or(Ok(()), |address| service.limits.stranger(address)) {
            Ok(()) => (None, unrecognised(&service, &why).into_response()),
            Err(wait) => (None, too_often(&service, None, wait).into_response()),
        },
    };
    if let Some(refusal) = wanted.answered(principal.as_deref(), &response) {
        service.notary.refused(refusal).await;
    }
    response
}

/// Serves somebody of whom nothing is known, where that is for everybody. A web page in the browser of whoever works on
/// this machine is on a loopback address, too, so it is refused; and what costs a probe is counted like a failure to be
/// recognised. `alone`: nobody is configured, and only this machine can call - through such a page, too.
async fn passing(guard: &Guard, alone: bool, request: Request, next: Next) -> Response {
    let Guard { service, needs } = guard;
    if !needs.recognising && !alone {
        return next.run(request).await;
    }
    let address = request.extensions().get::<Peer>().map(|peer| peer.address.ip());
    let limited = |address| service.limits.stranger(address);
    if let Some(Err(wait)) = address.filter(|_| needs.recognising).map(limited) {
        return too_often(service, None, wait).into_response();
    }
    if let Err(why) = foreign_page(request.headers()) {
        let wanted = Wanted::by(&request);
        let response = unrecognised(service, &why).into_response();
        if let Some(refusal) = wanted.answered(None, &response) {
            service.notary.refused(refusal).await;
        }
        return response;
    }
    if !needs.recognising {
        return next.run(request).await;
    }
    let Ok(_place) = service.strangers.try_acquire() else {
        let detail = "too many probes of callers that do not say who they are; try again, or send a token";
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail)
            .retry_after(Duration::from_secs(1))
            .into_response();
    };
    next.run(request).await
}

async fn answer(
    service: &Service,
    admitted: Admitted,
    params: RawPathParams,
    mut request: Request,
    next: Next,
) -> Response {
    if let Err(problem) = admitted.beforehand(service, &params) {
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

/// The reason that a caller is told who asks too often.
pub(super) const RATE_LIMITED: &str = "rate_limited";

fn too_often(service: &Service, principal: Option<&Principal>, wait: Duration) -> Problem {
    service.metrics.denied(Denial::RateLimited);
    tracing::debug!(principal = principal.map(|one| &one.name), "asked too often");
    let detail = "you ask too often; http.requests_per_second, burst and failures_per_minute of the configuration say how \
                  often is not too often";
    Problem::new(StatusCode::TOO_MANY_REQUESTS, RATE_LIMITED, detail).retry_after(wait)
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
