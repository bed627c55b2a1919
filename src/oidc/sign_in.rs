//! Signing people in at a provider: the authorization code flow of OpenID Connect Core 1.0 with PKCE (RFC 7636).
//!
//! The provider's own document tells where its two endpoints are. They are https, as the provider itself is; only a
//! provider on this machine may have them there without. What comes back is judged by [`super::Issuer`], as any other
//! token, but for the audience, which is the client, and for the nonce.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{constant_time, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;
use rustls::RootCertStore;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{Issuer, JwtRefused};
use crate::access::Principal;
use crate::clock::Timestamp;
use crate::peer::{CallError, Peer};

/// The largest document or answer of a provider, in bytes: they have a few thousand.
const LARGEST: usize = 256 * 1024;

/// How long a provider's document is believed.
const KEPT: Duration = Duration::from_hours(1);

/// The path that the provider leads people back to.
pub const CALLBACK: &str = "/sign-in/callback";

/// How people sign in at one provider.
#[derive(Clone)]
pub struct SignInSettings {
    /// `client_id`, as the provider knows us.
    pub client_id: String,
    /// `client_secret`; a public client has none, and PKCE alone.
    pub client_secret: Option<Zeroizing<String>>,
    /// Where the provider leads back to: our own [`CALLBACK`] as browsers reach it.
    pub redirect_uri: String,
    /// What stands on the button.
    pub title: String,
    /// `scope`, besides `openid`.
    pub scopes: Vec<String>,
    /// Where its document is.
    pub document: Peer,
    /// Authorities of its endpoints.
    pub roots: Arc<RootCertStore>,
}

impl fmt::Debug for SignInSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignInSettings").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// Text that is no address to be led back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be https://HOST[:PORT]/sign-in/callback, or http:// with a loopback address: the address of this page as browsers \
     reach it, as it is registered at the provider"
)]
pub struct InvalidRedirect;

impl SignInSettings {
    /// Reads the address of [`CALLBACK`].
    pub fn redirect(text: &str) -> Result<String, InvalidRedirect> {
        let roots = Arc::new(RootCertStore::empty());
        let within = text.strip_suffix(CALLBACK).is_some_and(|origin| origin.matches('/').count() == 2);
        let fits = within && !text.contains(['?', '#']) && Peer::parse(text, roots, None).is_ok();
        if fits { Ok(text.to_owned()) } else { Err(InvalidRedirect) }
    }

    /// What is sent for a token (RFC 6749, section 4.1.3; RFC 7636, section 4.5).
    fn redemption(&self, attempt: &Attempt, code: &str) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", &self.redirect_uri)
            .append_pair("code_verifier", &attempt.verifier);
        if self.client_secret.is_none() {
            form.append_pair("client_id", &self.client_id);
        }
        form.finish()
    }

    /// Where the provider of this issuer publishes its document (OpenID Connect Discovery 1.0, section 4).
    pub fn document_of(issuer: &str) -> String {
        format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))
    }
}

/// Why nobody is signed in by a provider.
#[derive(Debug, thiserror::Error)]
pub enum SignInFailed {
    /// Its document is not had.
    #[error("the identity provider's discovery document cannot be had")]
    Document(#[source] CallError),
    /// It answers something else.
    #[error("the identity provider answers {0} where its discovery document should be")]
    DocumentStatus(StatusCode),
    /// It is no document, or lacks what is needed.
    #[error("the identity provider's discovery document {0}")]
    DocumentFault(&'static str),
    /// Its token endpoint does not answer.
    #[error("the identity provider's token endpoint cannot be asked")]
    Endpoint(#[source] CallError),
    /// Nothing came in time.
    #[error("the identity provider does not answer in time")]
    TimedOut,
    /// It refuses the code.
    #[error("the identity provider refuses the code that it gave: {0}; begin again")]
    Refused(String),
    /// Its answer has no token.
    #[error("the identity provider's token endpoint answers without an id_token")]
    NoToken,
    /// The token is not good.
    #[error("the identity provider's token is not taken: {0}")]
    Token(#[from] JwtRefused),
    /// The token belongs to another sign-in.
    #[error("the identity provider's token belongs to another sign-in; begin again")]
    Nonce,
}

/// What one sign-in has that nobody else knows.
#[derive(Clone)]
pub struct Attempt {
    /// Comes back beside the code.
    pub state: String,
    /// Comes back within the token.
    pub nonce: String,
    /// Proves that whoever brings the code is whoever asked for it (RFC 7636).
    pub verifier: Zeroizing<String>,
}

impl Attempt {
    /// One of three times 256 random bits.
    pub fn of(random: [[u8; 32]; 3]) -> Self {
        let [state, nonce, verifier] = random.map(|bits| URL_SAFE_NO_PAD.encode(bits));
        Self { state, nonce, verifier: Zeroizing::new(verifier) }
    }

    fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, self.verifier.as_bytes()))
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attempt")
    }
}

/// Where a provider takes what.
#[derive(Clone, Debug)]
struct Endpoints {
    authorization: String,
    token: Peer,
}

/// One provider at which people sign in.
#[derive(Debug)]
pub(super) struct Provider {
    settings: SignInSettings,
    /// One reading at a time; others wait for what it brings.
    known: Mutex<Option<(Instant, Endpoints)>>,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
}

impl Provider {
    pub(super) fn new(settings: SignInSettings) -> Self {
        Self { settings, known: Mutex::default() }
    }

    async fn endpoints(&self, issuer: &str) -> Result<Endpoints, SignInFailed> {
        let mut known = self.known.lock().await;
        if let Some((_, endpoints)) = known.as_ref().filter(|(at, _)| at.elapsed() < KEPT) {
            return Ok(endpoints.clone());
        }
        let document = &self.settings.document;
        let request = document.request(Method::GET, "").header(header::ACCEPT, "application/json");
        let request =
            request.body(Full::default()).map_err(|error| SignInFailed::Document(CallError::Request(error)))?;
        let answer = document.call(request, LARGEST).await.map_err(SignInFailed::Document)?;
        if answer.status() != StatusCode::OK {
            return Err(SignInFailed::DocumentStatus(answer.status()));
        }
        let endpoints = self.read(issuer, answer.body())?;
        *known = Some((Instant::now(), endpoints.clone()));
        Ok(endpoints)
    }

    fn read(&self, issuer: &str, document: &[u8]) -> Result<Endpoints, SignInFailed> {
        let document: Document = serde_json::from_slice(document).map_err(|_| {
            SignInFailed::DocumentFault("is no JSON with issuer, authorization_endpoint and token_endpoint")
        })?;
        if document.issuer != issuer {
            // Or whoever answers there could let in people of another provider (OpenID Connect Discovery 1.0, 4.3).
            return Err(SignInFailed::DocumentFault("is of another issuer than the one that is configured"));
        }
        let endpoint = |text: &str, fault| {
            let peer = Peer::parse(text, Arc::clone(&self.settings.roots), None);
            // A provider elsewhere has nothing to look for on this machine in clear text.
            let peer = peer.ok().filter(|peer| peer.is_secure() || !self.settings.document.is_secure());
            peer.ok_or(SignInFailed::DocumentFault(fault))
        };
        endpoint(&document.authorization_endpoint, "names an authorization_endpoint that is not https")?;
        let token = endpoint(&document.token_endpoint, "names a token_endpoint that is not https")?;
        Ok(Endpoints { authorization: document.authorization_endpoint, token })
    }

    async fn redeem(
        &self,
        endpoints: &Endpoints,
        attempt: &Attempt,
        code: &str,
    ) -> Result<Zeroizing<String>, SignInFailed> {
        let settings = &self.settings;
        let body = Bytes::from(settings.redemption(attempt, code));
        let mut request: http::request::Builder = endpoints
            .token
            .request(Method::POST, "")
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::CONTENT_LENGTH, body.len());
        if let Some(secret) = &settings.client_secret {
            request = request.header(header::AUTHORIZATION, basic(&settings.client_id, secret));
        }
        let request: Request<_> =
            request.body(Full::new(body)).map_err(|error| SignInFailed::Endpoint(CallError::Request(error)))?;
        let answer = endpoints.token.call(request, LARGEST).await.map_err(SignInFailed::Endpoint)?;
        let document: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        if answer.status() != StatusCode::OK {
            // RFC 6749, section 5.2: a word of printable ASCII.
            let word = document.get("error").and_then(Value::as_str).unwrap_or_default();
            let word: String = word.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(64).collect();
            return Err(SignInFailed::Refused(if word.is_empty() { answer.status().to_string() } else { word }));
        }
        let token = document.get("id_token").and_then(Value::as_str).ok_or(SignInFailed::NoToken)?;
        Ok(Zeroizing::new(token.to_owned()))
    }
}

/// RFC 6749, section 2.3.1: both are encoded as in a form first.
fn basic(id: &str, secret: &str) -> HeaderValue {
    let encoded = |text: &str| -> String { form_urlencoded::byte_serialize(text.as_bytes()).collect() };
    let pair = Zeroizing::new(format!("{}:{}", encoded(id), encoded(secret)));
    // Base64 is visible ASCII.
    let value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
    let mut value = value.unwrap_or_else(|_| HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

impl Issuer {
    /// How people sign in here, if they do.
    pub fn sign_in(&self) -> Option<&SignInSettings> {
        self.provider.as_ref().map(|provider| &provider.settings)
    }

    /// `iss`.
    pub fn name(&self) -> &str {
        &self.settings.issuer
    }

    /// Where to send somebody who wants to sign in. `None` if nobody signs in here.
    pub async fn authorization(&self, attempt: &Attempt) -> Option<Result<String, SignInFailed>> {
        let provider = self.provider.as_ref()?;
        let asked = tokio::time::timeout(self.settings.pace.within, provider.endpoints(&self.settings.issuer)).await;
        Some(asked.unwrap_or(Err(SignInFailed::TimedOut)).map(|endpoints| {
            let SignInSettings { client_id, redirect_uri, scopes, .. } = &provider.settings;
            let scope = ["openid"].into_iter().chain(scopes.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
            let query = form_urlencoded::Serializer::new(String::new())
                .append_pair("response_type", "code")
                .append_pair("client_id", client_id)
                .append_pair("redirect_uri", redirect_uri)
                .append_pair("scope", &scope)
                .append_pair("state", &attempt.state)
                .append_pair("nonce", &attempt.nonce)
                .append_pair("code_challenge", &attempt.challenge())
                .append_pair("code_challenge_method", "S256")
                .finish();
            let with = if endpoints.authorization.contains('?') { '&' } else { '?' };
            format!("{}{with}{query}", endpoints.authorization)
        }))
    }

    /// Who came back with this code. `None` if nobody signs in here.
    pub async fn signed_in(
        &self,
        attempt: &Attempt,
        code: &str,
        now: Timestamp,
    ) -> Option<Result<Principal, SignInFailed>> {
        let provider = self.provider.as_ref()?;
        let redeemed = async {
            let endpoints = provider.endpoints(&self.settings.issuer).await?;
            let token = provider.redeem(&endpoints, attempt, code).await?;
            let claims = self.claims(&token, &provider.settings.client_id, now).await?;
            let claim = |name: &str| claims.get(name).and_then(Value::as_str);
            let nonce = claim("nonce").unwrap_or_default();
            if constant_time::verify_slices_are_equal(nonce.as_bytes(), attempt.nonce.as_bytes()).is_err() {
                return Err(SignInFailed::Nonce);
            }
            // A token for several is for whoever it names as the one who asked (OpenID Connect Core 1.0, 3.1.3.7).
            if claim("azp").is_some_and(|party| party != provider.settings.client_id) {
                return Err(SignInFailed::Token(JwtRefused::Audience));
            }
            Ok(self.principal(&claims)?)
        };
        // Two calls, and perhaps one for keys.
        let within = self.settings.pace.within * 3;
        Some(tokio::time::timeout(within, redeemed).await.unwrap_or(Err(SignInFailed::TimedOut)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_led_back_to_the_callback_and_nowhere_else() {
        for good in [
            "https://gate.example.com/sign-in/callback",
            "https://gate.example.com:8443/sign-in/callback",
            "http://127.0.0.1:8480/sign-in/callback",
            "http://[::1]:8480/sign-in/callback",
        ] {
            assert_eq!(SignInSettings::redirect(good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "/sign-in/callback",
            "http://gate.example.com/sign-in/callback",
            "https://gate.example.com/",
            "https://gate.example.com/x/sign-in/callback",
            "https://gate.example.com/?x=/sign-in/callback",
            "https://me@gate.example.com/sign-in/callback",
            "https://gate.example.com/sign-in/callback#",
        ] {
            assert_eq!(SignInSettings::redirect(bad), Err(InvalidRedirect), "{bad}");
        }
    }

    /// RFC 7636, appendix B.
    #[test]
    fn a_challenge_is_the_hash_of_its_verifier() {
        let verifier = Zeroizing::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned());
        let attempt = Attempt { state: String::new(), nonce: String::new(), verifier };
        assert_eq!(attempt.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    fn provider(document: &str) -> Provider {
        let roots = Arc::new(RootCertStore::empty());
        Provider::new(SignInSettings {
            client_id: "page".to_owned(),
            client_secret: Some(Zeroizing::new("DoNotLeak".to_owned())),
            redirect_uri: "https://gate.example.com/sign-in/callback".to_owned(),
            title: "Sign in".to_owned(),
            scopes: Vec::new(),
            document: Peer::parse(document, Arc::clone(&roots), None).unwrap(),
            roots,
        })
    }

    #[test]
    fn a_document_says_where_to_ask_and_nothing_on_this_machine_from_elsewhere() {
        let of = |issuer: &str, authorization: &str, token: &str| {
            serde_json::json!({ "issuer": issuer, "authorization_endpoint": authorization, "token_endpoint": token })
                .to_string()
        };
        let far = provider("https://idp.example.com/.well-known/openid-configuration");
        let near = provider("http://127.0.0.1:9/.well-known/openid-configuration");
        let read = |provider: &Provider, document: &str| {
            let read = provider.read("https://idp.example.com", document.as_bytes());
            read.map(|endpoints| endpoints.token.url().to_owned()).map_err(|failed| failed.to_string())
        };
        let (issuer, secure, local) =
            ("https://idp.example.com", "https://login.example.com/x", "http://127.0.0.1:9/x");
        assert_eq!(read(&far, &of(issuer, secure, secure)).as_deref(), Ok(secure));
        assert_eq!(read(&near, &of(issuer, local, local)).as_deref(), Ok(local));
        for (document, why) in [
            (of("https://idp.example.com/", secure, secure), "another issuer"),
            (of(issuer, secure, local), "a token_endpoint that is not https"),
            (of(issuer, local, secure), "an authorization_endpoint that is not https"),
            (of(issuer, "javascript:alert(1)", secure), "an authorization_endpoint"),
            (of(issuer, secure, "http://169.254.169.254/"), "a token_endpoint"),
            ("{}".to_owned(), "no JSON with issuer"),
            ("<html>".to_owned(), "no JSON with issuer"),
        ] {
            let failed = read(&far, &document).unwrap_err();
            assert!(failed.contains(why), "{document}: {failed}");
        }
        assert!(!format!("{far:?}").contains("DoNotLeak"));
    }
}
