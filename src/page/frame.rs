//! What every page has around it, what every answer has in its head, and the page that says why there is none.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use maud::{DOCTYPE, Markup, html};

use super::session::{Entrance, Visitor, theme};
use super::{legible, sign_in};
use crate::api::problem::Problem;

/// Scripts, styles, pictures and forms of this very place, and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The chapters of the page, with their paths.
const CHAPTERS: [(&str, &str); 5] = [
    ("/", "Key stores"),
    ("/updates", "Updates"),
    ("/preflights", "Pre-flight"),
    ("/checks", "Checks"),
    ("/audit", "Audit trail"),
];

/// A whole page. `chapter` is the path of the one that it belongs to.
pub(super) fn page(visitor: &Visitor, chapter: &str, title: &str, body: &Markup) -> Html<String> {
    let principal = visitor.admitted.principal();
    let roles: Vec<String> = principal.grants.iter().map(ToString::to_string).collect();
    let top = html! {
        (chapters(chapter))
        div.who {
            span title=(roles.join("; ")) { (legible::line(&principal.name)) }
            @if visitor.has_session {
                form method="post" action="/sign-out" {
                    input type="hidden" name="mark" value=(visitor.mark());
                    button.quiet type="submit" { "Sign out" }
                }
            }
        }
    };
    Html(document(title, visitor.theme, &top, body).into_string())
}

fn chapters(chapter: &str) -> Markup {
    html! {
        nav aria-label="Chapters" {
            @for (path, name) in CHAPTERS {
                a href=(path) aria-current=[(path == chapter).then_some("page")] { (name) }
            }
        }
    }
}

/// A page for somebody who is not known.
pub(super) fn bare(title: &str, theme: Option<&str>, body: &Markup) -> Markup {
    document(title, theme, &html! {}, body)
}

fn document(title: &str, theme: Option<&str>, top: &Markup, body: &Markup) -> Markup {
    let version = env!("CARGO_PKG_VERSION");
    html! {
        (DOCTYPE)
        html lang="en" data-theme=[theme] {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " – xks-preflight" }
                link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href=(format!("/assets/page.css?v={version}"));
                script src=(format!("/assets/page.js?v={version}")) defer {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header.top {
                    a.brand href="/" { (mark()) "xks-preflight" }
                    (top)
                    button.quiet.theme type="button" data-theme-toggle hidden aria-label="Switch between light and dark" {
                        (sun())
                    }
                }
                main #main tabindex="-1" { (body) }
                footer { "xks-preflight " (version) " · " a href="/runbooks" { "Runbooks" } " · " a href="/openapi.json" { "API" } " · " a href="/metrics" { "Metrics" } }
            }
        }
    }
}

fn mark() -> Markup {
    html! {
        svg viewBox="0 0 20 20" width="20" height="20" aria-hidden="true" {
            path.ring d="M10 1.5 17 4.5v5c0 4.3-2.9 7.6-7 9-4.1-1.4-7-4.7-7-9v-5z" {}
            path.tick d="M6.5 10l2.5 2.5 4.5-5" {}
        }
    }
}

fn sun() -> Markup {
    html! {
        svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" {
            circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="1.5" {}
            path d="M8 2a6 6 0 0 1 0 12z" fill="currentColor" {}
        }
    }
}

/// How something stands: a word, a form and a colour, any of which is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad,
    /// Somebody must look.
    Warn,
    /// Something goes on.
    Busy,
    /// Nothing to say.
    Still,
}

impl Tone {
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Warn => "warn",
            Self::Busy => "busy",
            Self::Still => "still",
        }
    }

    /// The form that stands for it.
    fn shape(self) -> &'static str {
        match self {
            Self::Good => "M2 6.5l3 3 5-7",
            Self::Bad => "M2.5 2.5l7 7m0-7l-7 7",
            Self::Warn => "M6 1.5v5.5m0 2.5v1.5",
            Self::Busy => "M6 1.5a4.5 4.5 0 1 1-4.5 4.5",
            Self::Still => "M2 6h8",
        }
    }
}

/// A word with its form and colour.
pub(super) fn badge(tone: Tone, word: &str) -> Markup {
    html! {
        span class=(format!("badge {}", tone.class())) {
            svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true" { path d=(tone.shape()) {} }
            (word)
        }
    }
}

/// Security headers for every answer; problems become pages that people can read.
pub(super) async fn dress(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let theme = theme(request.headers());
    let path = request.uri().path().to_owned();
    let whole = request.uri().path_and_query().map_or_else(|| path.clone(), ToString::to_string);
    let entrance = request.extensions().get::<Arc<Entrance>>().cloned();
    let mut response = next.run(request).await;
    let status = response.status();
    let problem = response.extensions_mut().remove::<Problem>();
    let has_page =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    // A form that is shown again says itself what is wrong with it.
    if !has_page && (problem.is_some() || status.is_client_error() || status.is_server_error()) {
        response = told(entrance.as_deref(), problem.as_ref(), status, &method, (&path, &whole), theme);
    }
    protect(response.headers_mut());
    response
}

/// Tells somebody with a browser in a page that nothing is served under a path. The API's paths are for programs.
pub(super) async fn lost(request: Request, next: Next) -> Response {
    let accepts = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let looks = matches!(*request.method(), Method::GET | Method::HEAD) && !request.uri().path().starts_with("/v1/");
    if !looks || !accepts.is_some_and(|accepts| accepts.contains("text/html")) {
        return next.run(request).await;
    }
    let theme = theme(request.headers());
    let response = next.run(request).await;
    if !response.extensions().get::<Problem>().is_some_and(Problem::is_no_such_path) {
        return response;
    }
    let body = html! {
        div.narrow {
            h1 { "Nothing here" }
            p { "No page has this address. It may be misspelt, or belong to another version." }
            p { a href="/" { "To the key stores" } }
        }
    };
    let page = document("Nothing here", theme, &chapters(""), &body);
    let mut response = (StatusCode::NOT_FOUND, Html(page.into_string())).into_response();
    protect(response.headers_mut());
    response
}

fn told(
    entrance: Option<&Entrance>,
    problem: Option<&Problem>,
    status: StatusCode,
    method: &Method,
    (path, whole): (&str, &str),
    theme: Option<&'static str>,
) -> Response {
    let detail = problem.map_or_else(
        || status.canonical_reason().unwrap_or("not answered").to_lowercase(),
        |problem| problem.detail().to_owned(),
    );
    if let Some(entrance) = entrance.filter(|_| path == "/sign-in") {
        return (status, Html(sign_in::page(entrance, theme, "/", Some(&detail)).into_string())).into_response();
    }
    if status == StatusCode::UNAUTHORIZED && matches!(*method, Method::GET | Method::HEAD) {
        let next: String = form_urlencoded::byte_serialize(whole.as_bytes()).collect();
        return Redirect::to(&format!("/sign-in?next={next}")).into_response();
    }
    let heading = match status {
        StatusCode::NOT_FOUND => "Nothing here",
        StatusCode::FORBIDDEN => "Not for you",
        StatusCode::UNAUTHORIZED => "Sign in first",
        StatusCode::TOO_MANY_REQUESTS => "Too often",
        _ if status.is_server_error() => "Not answered",
        _ => "Refused",
    };
    let body = html! {
        div.narrow {
            h1 { (heading) }
            div.notice.bad role="alert" {
                p { (legible::sentence(&detail)) }
                @for fault in problem.map(Problem::faults).unwrap_or_default() {
                    p { code { (legible::line(&fault.pointer)) } " " (legible::paragraph(&fault.detail)) }
                }
                @if let Some(problem) = problem { p.muted { "Status " (status.as_u16()) ", reason " code { (problem.reason()) } } }
            }
            p { a href="/" { "To the key stores" } }
        }
    };
    let retry = problem.and_then(Problem::pause);
    let way = if status == StatusCode::UNAUTHORIZED {
        html! {}
    } else {
        chapters("")
    };
    let mut response = (status, Html(document(heading, theme, &way, &body).into_string())).into_response();
    if let Some(pause) = retry {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(pause.as_secs().max(1)));
    }
    response
}

fn protect(headers: &mut HeaderMap) {
    let mut set = |name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::X_FRAME_OPTIONS, "DENY");
    // Not `no-referrer`: with that browsers send no origin with forms either.
    set(header::REFERRER_POLICY, "same-origin");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    set(HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()");
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}
