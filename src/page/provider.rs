//! Signing in at an identity provider: the way there, and back with its code.
//!
//! What belongs to one sign-in - state, nonce, verifier - stays here under the hash of a cookie that is good for it alone,
//! for ten minutes, and once. The cookie is `Lax`, because the provider's page leads back; the session that begins is
//! `Strict`, as all of them are, so that the last step is our own page's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::constant_time;
use axum::Extension;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use maud::html;
use serde::Deserialize;

use super::frame;
use super::legible;
use super::session::{Digest, Entrance, Proof, cookie, hash, random, random_text, theme};
use super::sign_in::{self, LONGEST_VERIFIED, cookie_header, inside};
use crate::access::Principal;
use crate::api::Callers;
use crate::api::access::{Admitted, SignedIn, Unproven};
use crate::chain::Chain;
use crate::clock::Timestamp;
use crate::listener::Peer;
use crate::oidc::{Attempt, Issuer};

/// How long somebody may be away: for a password, a second factor, and a telephone that must be found first.
const AWAY: Duration = Duration::from_mins(10);

/// How many may be away at once; the oldest begins again when one more sets out.
const MOST: usize = 1_000;

/// Somebody who is at a provider.
struct Login {
    attempt: Attempt,
    issuer: Arc<Issuer>,
    next: String,
    until: Timestamp,
}

/// Those who are at a provider, by the hash of their cookie.
#[derive(Default)]
pub(super) struct Logins(Mutex<HashMap<Digest, Login>>);

impl Logins {
    fn begin(&self, id: &str, login: Login, now: Timestamp) {
        let mut logins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logins.retain(|_, login| login.until > now);
        if logins.len() >= MOST
            && let Some(oldest) = logins.iter().map(|(id, login)| (login.until, *id)).min()
        {
            logins.remove(&oldest.1);
        }
        logins.insert(hash(id), login);
    }

    /// Takes one that has not expired: nobody comes back twice.
    fn take(&self, id: &str, now: Timestamp) -> Option<Login> {
        let login = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&hash(id));
        login.filter(|login| login.until > now)
    }
}

/// Where somebody wants to sign in.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    issuer: String,
    next: Option<String>,
}

/// Sends somebody to a provider.
pub(super) async fn begin(
    Extension(entrance): Extension<Arc<Entrance>>,
    Query(Wanted { issuer, next }): Query<Wanted>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Response {
    let service = entrance.service();
    let next = inside(next.as_deref());
    let failed = |status, why: &str| {
        (status, Html(sign_in::page(&entrance, theme(&headers), &next, Some(why)).into_string())).into_response()
    };
    let callers = service.callers.get();
    let Some(issuer) = callers.issuers.iter().find(|one| one.name() == issuer && one.sign_in().is_some()) else {
        return failed(StatusCode::NOT_FOUND, "Nobody signs in at this identity provider here.");
    };
    // Each costs a place among those who are away, and at times a question to the provider.
    if let Some(Extension(peer)) = peer
        && service.limits.stranger(peer.address.ip()).is_err()
    {
        let why = "Too many begin to sign in from your address; try again in a minute.";
        return failed(StatusCode::TOO_MANY_REQUESTS, why);
    }
    let attempt = Attempt::of([random(), random(), random()]);
    let to = match issuer.authorization(&attempt).await {
        Some(Ok(to)) => to,
        Some(Err(why)) => {
            tracing::warn!(issuer = issuer.name(), error = %Chain(&why), "nobody can sign in at an identity provider");
            return failed(StatusCode::BAD_GATEWAY, &format!("{}.", legible::capital(&why.to_string())));
        }
        None => return failed(StatusCode::NOT_FOUND, "Nobody signs in at this identity provider here."),
    };
    let now = service.clock.now();
    let id = random_text();
    let login = Login { attempt, issuer: Arc::clone(issuer), next, until: now.plus(AWAY) };
    entrance.logins.begin(&id, login, now);
    let away = entrance.login_cookie(&id, AWAY.as_secs());
    ([cookie_header(&away)], Redirect::to(&to)).into_response()
}

/// Somebody who came back and is who they say.
#[derive(Clone)]
pub(super) struct CameBack {
    principal: Arc<Principal>,
    callers: Arc<Callers>,
    next: String,
}

/// What a provider sends along (RFC 6749, sections 4.1.2; RFC 9207).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Brought {
    code: String,
    state: String,
    error: String,
    iss: Option<String>,
}

/// Why somebody who came back is not let in, for them.
struct NotIn(String, String);

/// Makes whoever brings a provider's code somebody for the guard.
pub(super) async fn come_back(State(entrance): State<Arc<Entrance>>, mut request: Request, next: Next) -> Response {
    let unproven = Unproven::by(&request);
    let theme = theme(request.headers());
    let brought = Query::<Brought>::try_from_uri(request.uri()).map(|Query(brought)| brought).unwrap_or_default();
    let id = cookie(request.headers(), entrance.login_cookie_name()).map(str::to_owned);
    let over = cookie_header(&entrance.login_cookie("", 0));
    let mut response = match recognise(&entrance, id.as_deref(), &brought).await {
        Ok(came) => {
            // Nothing else that came along counts.
            request.headers_mut().remove(header::AUTHORIZATION);
            request.extensions_mut().insert(SignedIn(Arc::clone(&came.principal)));
            request.extensions_mut().insert(came);
            next.run(request).await
        }
        Err(NotIn(why, path)) => {
            let problem = unproven.refused(entrance.service(), &why).await;
            let page = sign_in::page(&entrance, theme, &path, Some(problem.detail()));
            (problem.status(), Html(page.into_string())).into_response()
        }
    };
    response.headers_mut().append(over.0, over.1);
    response
}

async fn recognise(entrance: &Entrance, id: Option<&str>, brought: &Brought) -> Result<CameBack, NotIn> {
    let service = entrance.service();
    let now = service.clock.now();
    let not_in = |why: &str, next: &str| NotIn(why.to_owned(), next.to_owned());
    let lost =
        "This sign-in was not begun in this browser, was used already, or took longer than ten minutes. Begin again.";
    let login = id.and_then(|id| entrance.logins.take(id, now)).ok_or_else(|| not_in(lost, "/"))?;
    let Login { attempt, issuer, next, .. } = login;
    if constant_time::verify_slices_are_equal(brought.state.as_bytes(), attempt.state.as_bytes()).is_err() {
        return Err(not_in("This is the answer to another sign-in. Begin again.", &next));
    }
    // Or one provider could have us bring it the code of another (RFC 9207).
    if brought.iss.as_deref().is_some_and(|iss| iss != issuer.name()) {
        return Err(not_in("Another identity provider answers than was asked. Begin again.", &next));
    }
    let callers = service.callers.get();
    if !callers.issuers.iter().any(|known| Arc::ptr_eq(known, &issuer)) {
        return Err(not_in("The identity provider was configured anew in the meantime. Begin again.", &next));
    }
    if !brought.error.is_empty() {
        // RFC 6749, section 4.1.2.1: a word of printable ASCII.
        let word: String = brought.error.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(64).collect();
        return Err(not_in(&format!("The identity provider let you not in: {word}."), &next));
    }
    match issuer.signed_in(&attempt, &brought.code, now).await {
        Some(Ok(principal)) => Ok(CameBack { principal: Arc::new(principal), callers, next }),
        Some(Err(why)) => {
            tracing::info!(issuer = issuer.name(), error = %Chain(&why), "a sign-in at an identity provider failed");
            Err(NotIn(format!("{}.", legible::capital(&why.to_string())), next))
        }
        None => Err(not_in(lost, &next)),
    }
}

/// Begins a session of whoever the guard let in, and goes on from a page of our own: with the next step the browser sends
/// the session along, which it would not with one that began elsewhere.
pub(super) async fn come_in(
    Extension(entrance): Extension<Arc<Entrance>>,
    Extension(admitted): Extension<Admitted>,
    Extension(came): Extension<CameBack>,
    headers: HeaderMap,
) -> Response {
    let CameBack { principal, callers, next } = came;
    let now = entrance.service().clock.now();
    entrance.end(&headers);
    let until = now.plus(LONGEST_VERIFIED);
    let session = entrance.begin(Proof::Verified(Arc::clone(&principal), callers), &principal, until);
    tracing::info!(principal = admitted.name(), "signed in to the page at an identity provider");
    let body = html! {
        div.narrow {
            h1 { "Signed in" }
            p { "You are " strong { (legible::line(&principal.name)) } ". " a href=(next) { "Go on" } }
        }
    };
    let page = frame::bare("Signed in", theme(&headers), &body);
    let mut response = ([cookie_header(&session)], Html(page.into_string())).into_response();
    // `next` is a path of ours in visible ASCII.
    if let Ok(refresh) = HeaderValue::try_from(format!("0; url={next}")) {
        response.headers_mut().insert(HeaderName::from_static("refresh"), refresh);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(until: i64) -> Login {
        let settings = crate::oidc::IssuerSettings {
            issuer: "https://idp.example.com".to_owned(),
            audience: "x".to_owned(),
            keys: crate::oidc::KeySource::File("absent".into()),
            principal_claim: "sub".to_owned(),
            groups_claim: "groups".to_owned(),
            groups: Vec::new(),
            pace: crate::oidc::Pace::default(),
            sign_in: None,
        };
        Login {
            attempt: Attempt::of([[0; 32], [1; 32], [2; 32]]),
            issuer: Arc::new(Issuer::new(settings)),
            next: "/".to_owned(),
            until: Timestamp::from_unix(until),
        }
    }

    #[test]
    fn a_sign_in_is_good_once_and_for_ten_minutes_and_the_oldest_makes_room() {
        let (logins, at) = (Logins::default(), Timestamp::from_unix);
        logins.begin("one", login(600), at(0));
        assert!(logins.take("another", at(1)).is_none());
        assert!(logins.take("one", at(599)).is_some());
        assert!(logins.take("one", at(599)).is_none(), "once");
        logins.begin("late", login(600), at(0));
        assert!(logins.take("late", at(600)).is_none(), "expired");
        for number in 0..=i64::try_from(MOST).unwrap() {
            logins.begin(&format!("login-{number}"), login(600 + number), at(0));
        }
        assert_eq!(logins.0.lock().unwrap().len(), MOST);
        assert!(logins.take("login-0", at(1)).is_none() && logins.take("login-1", at(1)).is_some());
        // Those whose time is over leave by themselves.
        logins.begin("next", login(5_000), at(4_000));
        assert_eq!(logins.0.lock().unwrap().len(), 1);
    }
}
