//! The page that people look at: server-rendered HTML, a little script of our own, nothing from other hosts.
//!
//! # How it works
//!
//! Its paths are those of the API without `/v1`, its routes state the same needs, and its handlers ask the same
//! functions: what may be seen or done is decided there, once. A visitor signs in with a token and gets a cookie that
//! stands for a session ([`session`]); where nobody is known, or by a client certificate, no session is needed. Orders
//! are forms that carry a value no other site can know. [`frame`] is what every page has around it, [`chart`] draws,
//! [`legible`] makes text of strangers fit to be shown.
//!
//! # What can go wrong
//!
//! What proxies say is hostile: it is escaped by the templates and cut to a length, and the content security policy
//! would stop a script that came through all the same. Buttons that a visitor may not use are left out for their sake;
//! the guard refuses them anyway.

mod candidates;
mod catalogue;
mod chart;
mod choice;
mod field;
mod frame;
mod freezes;
mod key_store;
mod legible;
mod orders;
mod overview;
mod preflight;
mod provider;
mod report;
mod session;
mod sign_in;
mod trail;
mod update;
mod updates;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};

use self::session::Entrance;
use crate::access::Permission::{Approve, Change, Freeze, Probe, Read};
use crate::api::access::{Guarded, Needs, On};
use crate::api::{Service, bound, events};
use crate::oidc::CALLBACK;

/// Every path of the page. `secure` says whether it is served by TLS, so that cookies can be kept to it.
pub fn router(service: Arc<Service>, secure: bool) -> Router {
    let needs = Needs::new;
    let entrance = Arc::new(Entrance::new(Arc::clone(&service), secure));
    let pages = Guarded::new(Arc::clone(&service))
        .route("/", needs(Read, On::Each), get(overview::show))
        .route("/key-stores/{id}", needs(Read, On::Path), get(key_store::show))
        .route("/preflights", needs(Probe, On::Each), get(preflight::form))
        .route("/preflights", needs(Probe, On::Named), post(preflight::run))
        .route("/preflights/{id}", needs(Read, On::Named), get(report::show))
        .route("/updates", needs(Read, On::Each), get(updates::list))
        .route("/updates", needs(Change, On::Named), post(preflight::update))
        .route("/updates/{id}", needs(Read, On::Named), get(update::show))
        .route("/updates/{id}/events", needs(Read, On::Named), get(events::follow))
        .route("/updates/{id}/approve", needs(Approve, On::Named), post(orders::approve))
        .route("/updates/{id}/cancel", needs(Change, On::Named), post(orders::cancel))
        .route("/updates/{id}/rollback", needs(Change, On::Named), post(orders::rollback))
        .route("/updates/{id}/removed", needs(Change, On::Named), post(orders::removed))
        .route("/freezes", needs(Read, On::Each), get(freezes::show))
        .route("/freezes", needs(Freeze, On::Named), post(freezes::set))
        .route("/freezes/lift", needs(Freeze, On::Named), post(freezes::lift))
        .route("/checks", needs(Read, On::Nothing), get(catalogue::show))
        .route("/audit", needs(Read, On::Each), get(trail::show))
        .route("/sign-out", needs(Read, On::Nothing), post(sign_in::leave))
        .finish()
        .layer(from_fn_with_state(Arc::clone(&entrance), session::recognise));
    // Whoever signs in is judged by the guard, too: the token of the form becomes the one of the request.
    let signing_in = Guarded::new(Arc::clone(&service))
        .route("/sign-in", needs(Read, On::Nothing), post(sign_in::enter))
        .finish()
        .layer(from_fn_with_state(Arc::clone(&entrance), sign_in::present));
    // And so is whoever comes back from an identity provider.
    let coming_back = Guarded::new(Arc::clone(&service))
        .route(CALLBACK, needs(Read, On::Nothing), get(provider::come_in))
        .finish()
        .layer(from_fn_with_state(Arc::clone(&entrance), provider::come_back));
    Router::new()
        .merge(pages)
        .merge(signing_in)
        .merge(coming_back)
        .route("/sign-in", get(sign_in::form))
        .route("/sign-in/provider", get(provider::begin))
        .layer(from_fn_with_state(Arc::clone(&service), bound))
        .route("/assets/page.css", get(async || asset("text/css; charset=utf-8", include_str!("page/assets/page.css"))))
        .route(
            "/assets/page.js",
            get(async || asset("text/javascript; charset=utf-8", include_str!("page/assets/page.js"))),
        )
        .route("/assets/icon.svg", get(async || asset("image/svg+xml", include_str!("page/assets/icon.svg"))))
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn(frame::dress))
        .layer(Extension(entrance))
        .with_state(service)
}

/// Around everything that is served: a browser that asks for what is nowhere is told so in a page.
pub async fn lost(request: Request, next: Next) -> Response {
    frame::lost(request, next).await
}

/// A file of ours. Its address changes with the version, so that it may be kept for a day.
fn asset(kind: &'static str, body: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=86400")),
    ];
    (headers, body).into_response()
}
