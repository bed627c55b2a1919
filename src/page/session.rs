//! Who looks at the page: sessions, their cookies, and orders that no other site can give.
//!
//! A session keeps the hash of the token that it was begun with, and is looked up under the hash of its cookie: neither
//! can be had from here. At every request the token must still be good, so that one that has expired, or is no longer
//! configured, ends its sessions, too. Sessions live in memory: a restart ends them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::{constant_time, digest, hmac};
use axum::Extension;
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::{BodyExt as _, Limited};
use zeroize::Zeroizing;

use super::provider::Logins;
use crate::access::{Permission, Principal, TokenHash, identify_hash};
use crate::api::access::{Admitted, SignedIn};
use crate::api::problem::Problem;
use crate::api::{Callers, Service};
use crate::clock::Timestamp;
use crate::key_store::CustomKeyStoreId;
use crate::listener::Peer;

/// A working day: whoever comes back tomorrow signs in again.
pub(super) const LONGEST: Duration = Duration::from_hours(8);
/// Of one principal; the oldest ends when one more begins.
const EACH: usize = 16;
/// Of all; a session is about a hundred bytes.
const MOST: usize = 4_096;
/// The largest form, in bytes: a pre-flight's, with a secret and long names, has a few thousand.
const LARGEST_FORM: usize = 64 * 1024;

pub(super) type Digest = [u8; 32];

/// What somebody signed in with.
#[derive(Clone)]
pub(super) enum Proof {
    /// A token of the configuration, by its hash.
    Token(TokenHash),
    /// A token of an identity provider, which was verified while these were known.
    Verified(Arc<Principal>, Arc<Callers>),
}

struct Session {
    proof: Proof,
    name: String,
    until: Timestamp,
}

/// The page's door: sessions, and the key that marks its forms.
pub(super) struct Entrance {
    service: Arc<Service>,
    secure: bool,
    sessions: Mutex<HashMap<Digest, Session>>,
    marks: hmac::Key,
    pub(super) logins: Logins,
}

impl Entrance {
    pub(super) fn new(service: Arc<Service>, secure: bool) -> Self {
        let marks = hmac::Key::new(hmac::HMAC_SHA256, &random());
        Self { service, secure, sessions: Mutex::new(HashMap::new()), marks, logins: Logins::default() }
    }

    pub(super) fn service(&self) -> &Service {
        &self.service
    }

    fn cookie_name(&self) -> &'static str {
        // The prefix makes browsers refuse it from anybody but this very host over TLS.
        if self.secure { "__Host-xks_preflight_session" } else { "xks_preflight_session" }
    }

    /// Begins a session; the cookie for it.
    pub(super) fn begin(&self, proof: Proof, principal: &Principal, until: Timestamp) -> String {
        let id = random_text();
        let now = self.service.clock.now();
        let until = until.min(now.plus(LONGEST));
        let session = Session { proof, name: principal.name.clone(), until };
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| session.until > now);
        let own = || sessions.iter().filter(|(_, session)| session.name == principal.name);
        let first = |(id, session): (&Digest, &Session)| (session.until, *id);
        let ends = if own().count() >= EACH {
            own().map(first).min()
        } else {
            sessions.iter().map(first).min().filter(|_| sessions.len() >= MOST)
        };
        if let Some((_, ends)) = ends {
            sessions.remove(&ends);
        }
        sessions.insert(hash(&id), session);
        let seconds = until.seconds_since(now).max(0.0).round();
        self.cookie(&id, seconds)
    }

    /// Ends the session of a request; the cookie that removes the other one.
    pub(super) fn end(&self, headers: &HeaderMap) -> String {
        if let Some(id) = cookie(headers, self.cookie_name()) {
            self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&hash(id));
        }
        self.cookie("", 0.0)
    }

    fn cookie(&self, id: &str, seconds: f64) -> String {
        let secure = if self.secure { "; Secure" } else { "" };
        format!("{}={id}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds:.0}{secure}", self.cookie_name())
    }

    /// The cookie of somebody who is at an identity provider.
    pub(super) fn login_cookie_name(&self) -> &'static str {
        if self.secure { "__Host-xks_preflight_login" } else { "xks_preflight_login" }
    }

    /// The same with its value; with 0 seconds it is removed. It comes along when the provider's page leads back.
    pub(super) fn login_cookie(&self, id: &str, seconds: u64) -> String {
        let secure = if self.secure { "; Secure" } else { "" };
        format!("{}={id}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}", self.login_cookie_name())
    }

    /// Whose session it is, as long as it and what it was begun with are good.
    fn principal(&self, headers: &HeaderMap) -> Option<Arc<Principal>> {
        let id = hash(cookie(headers, self.cookie_name())?);
        let (now, callers) = (self.service.clock.now(), self.service.callers.get());
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.get(&id)?;
        let principal = match &session.proof {
            _ if session.until <= now => None,
            Proof::Token(hash) => identify_hash(&callers.tokens, hash, now).ok().cloned(),
            Proof::Verified(principal, then) => callers.has_issuers_of(then).then(|| Arc::clone(principal)),
        };
        if principal.is_none() {
            sessions.remove(&id);
        }
        principal
    }

    /// What marks the forms of a visitor: other sites cannot read it, and other visitors have another one.
    fn mark(&self, headers: &HeaderMap, name: &str) -> String {
        let mut context = hmac::Context::with_key(&self.marks);
        context.update(cookie(headers, self.cookie_name()).unwrap_or_default().as_bytes());
        context.update(b"\n");
        context.update(name.as_bytes());
        URL_SAFE_NO_PAD.encode(context.sign().as_ref())
    }
}

/// 256 random bits.
pub(super) fn random() -> Digest {
    let mut bits = [0; 32];
    rand::Rng::fill_bytes(&mut rand::rng(), &mut bits);
    bits
}

/// 256 random bits as text.
pub(super) fn random_text() -> Zeroizing<String> {
    Zeroizing::new(URL_SAFE_NO_PAD.encode(random()))
}

/// What is kept of an id that somebody else has.
pub(super) fn hash(text: &str) -> Digest {
    let mut hash = [0; 32];
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    for (to, from) in hash.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    hash
}

/// The value of a cookie.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = pairs.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// Turns a session into somebody for the guard, and lets no other site give orders.
pub(super) async fn recognise(State(entrance): State<Arc<Entrance>>, mut request: Request, next: Next) -> Response {
    if let Err(problem) = of_this_site(request.method(), request.headers()) {
        return problem.into_response();
    }
    // A token that is sent counts, and not the cookie: it was sent on purpose.
    if !request.headers().contains_key(header::AUTHORIZATION)
        && let Some(principal) = entrance.principal(request.headers())
    {
        request.extensions_mut().insert(SignedIn(principal));
    } else if presents_nothing(&entrance, &request) {
        // Nobody tried anything yet: that is no refusal for the trail, and no failure that counts against an address.
        return Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", "sign in first").into_response();
    }
    next.run(request).await
}

/// Whether there is nothing to recognise anybody by, where somebody must be recognised.
fn presents_nothing(entrance: &Entrance, request: &Request) -> bool {
    let certificate = request.extensions().get::<Peer>().is_some_and(|peer| peer.certificate.is_some());
    let looks = matches!(*request.method(), Method::GET | Method::HEAD);
    looks
        && !certificate
        && !request.headers().contains_key(header::AUTHORIZATION)
        && !entrance.service.callers.get().is_empty()
}

/// An order must come from a page of ours: browsers say where it comes from.
pub(super) fn of_this_site(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let ours = if let Some(site) = text(header::HeaderName::from_static("sec-fetch-site")) {
        site == "same-origin"
    } else {
        let origin = text(header::ORIGIN).and_then(|origin| origin.split_once("://"));
        origin.is_some_and(|(_, host)| Some(host) == text(header::HOST))
    };
    if ours { Ok(()) } else { Err(foreign()) }
}

fn foreign() -> Problem {
    let detail = "this order does not come from a page of this service, or from one that is out of date; go back, load \
                  the page anew, and give it again";
    Problem::new(StatusCode::FORBIDDEN, "foreign_origin", detail)
}

/// Somebody whom the guard let in, and how they look at the page.
pub(super) struct Visitor {
    pub(super) admitted: Admitted,
    pub(super) entrance: Arc<Entrance>,
    pub(super) theme: Option<&'static str>,
    pub(super) now: Timestamp,
    /// Whether there is a session to end.
    pub(super) has_session: bool,
    mark: String,
}

impl Visitor {
    pub(super) fn service(&self) -> &Service {
        self.entrance.service()
    }

    /// Whether a button is worth showing.
    pub(super) fn could(&self, permission: Permission, id: &CustomKeyStoreId) -> bool {
        self.admitted.could(self.service(), permission, id)
    }

    /// The same on all key stores.
    pub(super) fn could_everywhere(&self, permission: Permission) -> bool {
        self.admitted.could_everywhere(permission)
    }

    /// Marks a form, so that its order is taken.
    pub(super) fn mark(&self) -> &str {
        &self.mark
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let fault = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "a route without its guard");
        let Extension(admitted) = Extension::<Admitted>::from_request_parts(parts, state).await.map_err(fault)?;
        let Extension(entrance) = Extension::<Arc<Entrance>>::from_request_parts(parts, state).await.map_err(fault)?;
        let mark = entrance.mark(&parts.headers, admitted.name());
        let now = entrance.service.clock.now();
        let has_session = parts.extensions.get::<SignedIn>().is_some();
        Ok(Self { mark, theme: theme(&parts.headers), now, has_session, admitted, entrance })
    }
}

/// What the visitor chose, if they did not leave it to the system.
pub(super) fn theme(headers: &HeaderMap) -> Option<&'static str> {
    let chosen = cookie(headers, "xks_preflight_theme")?;
    ["light", "dark"].into_iter().find(|theme| *theme == chosen)
}

/// A form that one of our own pages sent. There is no other way to the fields of one.
pub(super) struct Order {
    pub(super) visitor: Visitor,
    pub(super) fields: Fields,
}

impl<S: Send + Sync> FromRequest<S> for Order {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, state).await?;
        let mut fields = Fields::read(&parts.headers, body, visitor.service()).await?;
        visitor.admitted.still(visitor.service())?;
        let mark = fields.take("mark").unwrap_or_default();
        let fits = constant_time::verify_slices_are_equal(mark.as_bytes(), visitor.mark.as_bytes()).is_ok();
        if fits { Ok(Self { visitor, fields }) } else { Err(foreign()) }
    }
}

/// The fields of a form; wiped when they are dropped, as one may be a secret.
pub(super) struct Fields(BTreeMap<String, Zeroizing<String>>);

impl Fields {
    pub(super) async fn read(headers: &HeaderMap, body: Body, service: &Service) -> Result<Self, Problem> {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media = kind.split(';').next().unwrap_or_default().trim();
        if !media.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            let detail = "a form is sent as application/x-www-form-urlencoded";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_a_form", detail));
        }
        let time = service.bounds.request / 2;
        let read = tokio::time::timeout(time, Limited::new(body, LARGEST_FORM).collect()).await.map_err(|_| {
            Problem::new(StatusCode::REQUEST_TIMEOUT, "slow_body", "the form did not arrive in time; send it again")
        })?;
        let bytes = read.map_err(|_| {
            let detail = format!("the form is larger than {LARGEST_FORM} bytes, or was cut off");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
        })?;
        let bytes = Zeroizing::new(bytes.to_bytes().to_vec());
        let pairs = form_urlencoded::parse(&bytes);
        Ok(Self(pairs.map(|(name, value)| (name.into_owned(), Zeroizing::new(value.into_owned()))).collect()))
    }

    /// Takes a field that is filled in.
    pub(super) fn take(&mut self, name: &str) -> Option<Zeroizing<String>> {
        self.0.remove(name).filter(|value| !value.is_empty())
    }
}
