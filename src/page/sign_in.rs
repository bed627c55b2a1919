//! Signing in with a token, and out again.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::session::{Entrance, Fields, LONGEST, Order, Proof, of_this_site, theme};
use super::{frame, legible};
use crate::access::{Method, TokenHash};
use crate::api::access::{Admitted, SignedIn};
use crate::api::problem::Problem;
use crate::clock::Timestamp;
use crate::oidc;

/// With a token of an identity provider a session lasts no longer than this, whatever the token says: the provider
/// cannot end it.
pub(super) const LONGEST_VERIFIED: Duration = Duration::from_hours(1);

/// Where to go afterwards.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Afterwards {
    next: Option<String>,
}

/// The form.
pub(super) async fn form(
    Extension(entrance): Extension<Arc<Entrance>>,
    Query(Afterwards { next }): Query<Afterwards>,
    headers: HeaderMap,
) -> Response {
    let next = inside(next.as_deref());
    if entrance.service().callers.get().is_empty() {
        return Redirect::to(&next).into_response();
    }
    Html(page(&entrance, theme(&headers), &next, None).into_string()).into_response()
}

/// The form, with why it must be filled in again.
pub(super) fn page(entrance: &Entrance, theme: Option<&'static str>, next: &str, refused: Option<&str>) -> Markup {
    let callers = entrance.service().callers.get();
    let ways: Vec<(String, &str)> = callers
        .issuers
        .iter()
        .filter_map(|issuer| {
            let query = form_urlencoded::Serializer::new(String::new())
                .append_pair("issuer", issuer.name())
                .append_pair("next", next)
                .finish();
            Some((format!("/sign-in/provider?{query}"), issuer.sign_in()?.title.as_str()))
        })
        .collect();
    let body = html! {
        div.narrow {
            h1 { "Sign in" }
            @if let Some(why) = refused {
                div.notice.bad role="alert" { p { strong { "Not signed in. " } (legible::sentence(why)) } }
            }
            @if !ways.is_empty() {
                div.card {
                    @for (way, title) in &ways { p { a.button.primary href=(way) { (legible::line(title)) } } }
                    p.hint { "You come back with a session for one hour, and the roles that your groups have here." }
                }
                h2 { "Or with a token" }
            }
            form.card method="post" action="/sign-in" data-next=(next) {
                input type="hidden" name="next" value=(next);
                label for="token" { "Token" }
                input #token type="password" name="token" required autocomplete="current-password" spellcheck="false" autofocus[ways.is_empty()];
                p.hint {
                    "A token made with " code { "xks-preflight token new" } ", or one of an identity provider that is configured \
                     here. It is sent once and kept nowhere; the session ends after 8 hours, with the token, or when the daemon \
                     restarts."
                }
                button.primary type="submit" { "Sign in" }
            }
        }
    };
    frame::bare("Sign in", theme, &body)
}

/// What was signed in with, for whoever begins the session.
#[derive(Clone)]
pub(super) struct Presented {
    hash: TokenHash,
    /// When a token of an identity provider ends by its own words.
    verified_until: Option<Timestamp>,
    next: String,
}

/// Makes the token of the form the token of the request, so that the guard judges, counts and tells it as any other.
pub(super) async fn present(State(entrance): State<Arc<Entrance>>, request: Request, next: Next) -> Response {
    let presented = async {
        of_this_site(request.method(), request.headers())?;
        let (mut parts, body) = request.into_parts();
        let mut fields = Fields::read(&parts.headers, body, entrance.service()).await?;
        let token = fields.take("token").unwrap_or_default();
        let bearer = HeaderValue::try_from(format!("Bearer {}", token.trim()));
        let mut bearer = bearer.unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
        bearer.set_sensitive(true);
        parts.headers.insert(header::AUTHORIZATION, bearer);
        parts.extensions.remove::<SignedIn>();
        let verified_until = oidc::expiry(token.trim());
        let next = inside(fields.take("next").as_deref().map(String::as_str));
        parts.extensions.insert(Presented { hash: TokenHash::of(token.trim()), verified_until, next });
        Ok::<_, Problem>(Request::from_parts(parts, Body::empty()))
    };
    match presented.await {
        Ok(request) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Begins a session of whoever the guard let in.
pub(super) async fn enter(
    Extension(entrance): Extension<Arc<Entrance>>,
    Extension(admitted): Extension<Admitted>,
    Extension(presented): Extension<Presented>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Presented { hash, verified_until, next } = presented;
    // To verify a token may have taken seconds, and its issuer decides how many.
    admitted.still(entrance.service())?;
    let now = entrance.service().clock.now();
    // Another session of this browser ends: whoever signs in anew means it.
    entrance.end(&headers);
    let principal = admitted.principal();
    let cookie = if principal.how == Method::Oidc {
        let until = verified_until.unwrap_or(now).min(now.plus(LONGEST_VERIFIED));
        let callers = Arc::clone(admitted.known_among());
        entrance.begin(Proof::Verified(Arc::new(principal.clone()), callers), principal, until)
    } else {
        entrance.begin(Proof::Token(hash), principal, now.plus(LONGEST))
    };
    tracing::info!(principal = principal.name, "signed in to the page");
    Ok(([cookie_header(&cookie)], Redirect::to(&next)).into_response())
}

/// Ends the session.
pub(super) async fn leave(headers: HeaderMap, order: Order) -> Response {
    let cookie = order.visitor.entrance.end(&headers);
    ([cookie_header(&cookie)], Redirect::to("/sign-in")).into_response()
}

pub(super) fn cookie_header(cookie: &str) -> (HeaderName, HeaderValue) {
    // Made of our own letters.
    (header::SET_COOKIE, HeaderValue::try_from(cookie).unwrap_or_else(|_| HeaderValue::from_static("")))
}

/// A path within the page; whatever could lead elsewhere leads to the overview.
pub(super) fn inside(next: Option<&str>) -> String {
    let plain = |path: &&str| {
        let own = path.starts_with('/') && !path.starts_with("//") && !path.starts_with("/sign-");
        own && path.len() <= 512 && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    next.filter(plain).unwrap_or("/").to_owned()
}

#[cfg(test)]
mod tests {
    use super::inside;

    #[test]
    fn nobody_is_led_elsewhere_after_signing_in() {
        assert_eq!(inside(Some("/updates/upd_1?x=1")), "/updates/upd_1?x=1");
        for foreign in ["//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nb", "", "/sign-in?next=/"] {
            assert_eq!(inside(Some(foreign)), "/", "{foreign:?}");
        }
    }
}
