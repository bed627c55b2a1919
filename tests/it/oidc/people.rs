//! A provider at which people sign in: its document, a page with a link for each person, and a token endpoint that takes
//! a code once, from whoever asked for it (RFC 6749, RFC 7636, OpenID Connect Core 1.0). It misbehaves on command.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::provider::{Signer, key_set};
use crate::peers::wall_clock;

pub(crate) const CLIENT: &str = "xks preflight/page";
pub(crate) const CLIENT_SECRET: &str = "ClientSecretDoNotLeak:0123456789%+";

/// What it does otherwise than it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deviation {
    AnotherNonce,
    AnotherAudience,
    AnotherParty,
    AnotherKey,
    ExpiredToken,
    NoToken,
    DocumentOfAnother,
    NoDocument,
    EndpointInClearText,
}

type Parameters = HashMap<String, String>;

struct Inside {
    url: String,
    deviation: Option<Deviation>,
    /// What was asked for, by code.
    codes: HashMap<String, (Parameters, &'static str)>,
    redeemed: usize,
}

/// The provider, on `localhost`: another site than the daemon's 127.0.0.1.
#[derive(Clone)]
pub(crate) struct People(Arc<Mutex<Inside>>);

const PEOPLE: [(&str, &str); 3] = [("ann", "watchers"), ("otto", "operators"), ("nobody", "strangers")];

impl People {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        let people = Self(Arc::new(Mutex::new(Inside { url, deviation: None, codes: HashMap::new(), redeemed: 0 })));
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(document))
            .route("/keys", get(async || Json(key_set(&[Signer::ed("people")]))))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .with_state(people.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        people
    }

    pub(crate) fn url(&self) -> String {
        self.0.lock().unwrap().url.clone()
    }

    pub(crate) fn deviate(&self, deviation: Option<Deviation>) {
        self.0.lock().unwrap().deviation = deviation;
    }

    /// How often a code was taken.
    pub(crate) fn redeemed(&self) -> usize {
        self.0.lock().unwrap().redeemed
    }

    /// Lets somebody in who was sent here by this address; where they are led back to.
    pub(crate) fn lets_in(&self, location: &str, who: &str) -> String {
        let (_, query) = location.split_once('?').unwrap();
        self.back(form_urlencoded::parse(query.as_bytes()).into_owned().collect(), who)
    }

    fn back(&self, asked: Parameters, who: &str) -> String {
        for (name, value) in [("response_type", "code"), ("client_id", CLIENT), ("code_challenge_method", "S256")] {
            assert_eq!(asked[name], value, "{asked:?}");
        }
        assert_eq!(asked["scope"], "openid groups", "{asked:?}");
        let who = PEOPLE.iter().find(|(name, _)| *name == who).unwrap().0;
        let code = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>());
        let url = self.url();
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("code", &code)
            .append_pair("state", &asked["state"])
            .append_pair("iss", &url)
            .finish();
        let back = format!("{}?{query}", asked["redirect_uri"]);
        self.0.lock().unwrap().codes.insert(code, (asked, who));
        back
    }
}

async fn document(State(people): State<People>) -> Response {
    let inside = people.0.lock().unwrap();
    let url = &inside.url;
    let (issuer, token) = match inside.deviation {
        Some(Deviation::NoDocument) => return StatusCode::NOT_FOUND.into_response(),
        Some(Deviation::DocumentOfAnother) => ("https://idp.example.com".to_owned(), format!("{url}/token")),
        Some(Deviation::EndpointInClearText) => (url.clone(), "http://169.254.169.254/token".to_owned()),
        _ => (url.clone(), format!("{url}/token")),
    };
    let authorize = format!("{url}/authorize");
    Json(json!({ "issuer": issuer, "authorization_endpoint": authorize, "token_endpoint": token })).into_response()
}

async fn authorize(State(people): State<People>, Query(asked): Query<Parameters>) -> Html<String> {
    let escaped = |text: String| text.replace('&', "&amp;");
    let link = |(who, _): &(&str, &str)| {
        format!("<p><a href=\"{}\">Continue as {who}</a></p>", escaped(people.back(asked.clone(), who)))
    };
    let links: String = PEOPLE.iter().map(link).collect();
    let refuse = escaped(format!("{}?error=access_denied&state={}", asked["redirect_uri"], asked["state"]));
    Html(format!("<!doctype html><html lang=en><title>Provider</title>{links}<p><a href=\"{refuse}\">Refuse</a></p>"))
}

async fn token(State(people): State<People>, headers: HeaderMap, body: String) -> Response {
    let form: Parameters = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let refused = |error: &str| (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response();
    let encoded = |text: &str| -> String { form_urlencoded::byte_serialize(text.as_bytes()).collect() };
    let known = STANDARD.encode(format!("{}:{}", encoded(CLIENT), encoded(CLIENT_SECRET)));
    if headers.get("authorization").and_then(|value| value.to_str().ok()) != Some(&format!("Basic {known}")) {
        return refused("invalid_client");
    }
    let mut inside = people.0.lock().unwrap();
    let Some((asked, who)) = form.get("code").and_then(|code| inside.codes.remove(code)) else {
        return refused("invalid_grant");
    };
    let verifier = form.get("code_verifier").map(String::as_str).unwrap_or_default();
    let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
    let same = form["grant_type"] == "authorization_code" && form["redirect_uri"] == asked["redirect_uri"];
    if !same || challenge != asked["code_challenge"] {
        return refused("invalid_grant");
    }
    inside.redeemed += 1;
    let now = wall_clock()().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let group = PEOPLE.iter().find(|(name, _)| *name == who).unwrap().1;
    let mut claims = json!({ "iss": inside.url, "aud": CLIENT, "sub": who, "groups": [group], "nonce": asked["nonce"],
                             "iat": now, "exp": now + 300 });
    let mut signer = Signer::ed("people");
    match inside.deviation {
        Some(Deviation::AnotherNonce) => claims["nonce"] = json!("another"),
        Some(Deviation::AnotherAudience) => claims["aud"] = json!("another"),
        Some(Deviation::AnotherParty) => {
            claims["aud"] = json!([CLIENT, "another"]);
            claims["azp"] = json!("another");
        }
        Some(Deviation::AnotherKey) => signer = signer.renewed(),
        Some(Deviation::ExpiredToken) => claims["exp"] = json!(now - 3_600),
        Some(Deviation::NoToken) => return Json(json!({ "access_token": "x" })).into_response(),
        _ => {}
    }
    let token: Value = json!({ "id_token": signer.token(&claims), "access_token": "x", "token_type": "Bearer" });
    Json(token).into_response()
}
