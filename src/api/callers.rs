//! Who is calling: by a token, a certificate of the connection, or a signed token of an identity provider.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::problem::Problem;
use crate::access::{
    CertificateRefused, KnownCertificate, KnownToken, Method, Principal, TokenRefused, identify, identify_certificate,
};
use crate::clock::Timestamp;
use crate::listener::{Authorities, ShownCertificate};
use crate::metrics::Denial;
use crate::oidc::{Issuer, JwtRefused, issuer_of, looks_like_jwt};

/// Who is known, by what.
#[derive(Debug, Default)]
pub struct Callers {
    /// Bearer tokens of the configuration.
    pub tokens: Vec<KnownToken>,
    /// Names in client certificates.
    pub certificates: Vec<KnownCertificate>,
    /// Whose certificates count, whoever's counted when a connection was made.
    pub authorities: Option<Arc<Authorities>>,
    /// Identity providers.
    pub issuers: Vec<Arc<Issuer>>,
}

impl Callers {
    /// Whether nobody is known, so that nobody is asked.
    pub fn is_empty(&self) -> bool {
        let Self { tokens, certificates, authorities: _, issuers } = self;
        tokens.is_empty() && certificates.is_empty() && issuers.is_empty()
    }

    /// Whether this is still somebody who is known here, by the same words as when they were let in under `then`. The
    /// provider of an identity says nothing when it is withdrawn, so whoever came by one leaves when any of them changes;
    /// and whoever came by a certificate, when other authorities count.
    pub(super) fn still_knows(&self, principal: &Arc<Principal>, then: &Self) -> bool {
        let same = |known: &Arc<Principal>| Arc::ptr_eq(known, principal);
        match principal.how {
            Method::Token => self.tokens.iter().any(|token| same(&token.principal)),
            Method::ClientCertificate => {
                self.has_authorities_of(then)
                    && self.certificates.iter().any(|certificate| same(&certificate.principal))
            }
            Method::Oidc => self.has_issuers_of(then),
            Method::Loopback => self.is_empty(),
            Method::KmsCredential => false,
        }
    }

    fn has_authorities_of(&self, other: &Self) -> bool {
        match (&self.authorities, &other.authorities) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }

    /// Whether the identity providers are the very same.
    pub(crate) fn has_issuers_of(&self, other: &Self) -> bool {
        let pairs = self.issuers.iter().zip(&other.issuers);
        self.issuers.len() == other.issuers.len() && pairs.into_iter().all(|(one, other)| Arc::ptr_eq(one, other))
    }

    /// Who is calling. A token that is sent counts, and not the certificate of the connection: it was sent on purpose.
    /// Where a `password` may be sent, a token may be one.
    pub(super) async fn recognise(
        &self,
        headers: &HeaderMap,
        shown: Option<&ShownCertificate>,
        password: bool,
        now: Timestamp,
    ) -> Result<Arc<Principal>, Unrecognised> {
        if self.is_empty() {
            foreign_page(headers)?;
            return Ok(Arc::new(Principal::anonymous()));
        }
        let Some(sent) = headers.get(header::AUTHORIZATION) else {
            let shown = shown.ok_or(Unrecognised::Unknown("no token and no certificate"))?;
            if !self.authorities.as_ref().is_some_and(|authorities| authorities.take(shown, now)) {
                return Err(Unrecognised::Unknown("the authority of its certificate no longer counts here"));
            }
            return Ok(Arc::clone(identify_certificate(&self.certificates, &shown.certificate, now)?));
        };
        let basic = sent.to_str().ok().filter(|_| password).and_then(basic);
        let bearer = sent.to_str().ok().and_then(bearer);
        let token = bearer.or(basic.as_deref().map(String::as_str)).ok_or(Unrecognised::Unknown("no bearer token"))?;
        if !self.issuers.is_empty() && looks_like_jwt(token) {
            let principal = issuer_of(&self.issuers, token)?.verify(token, now).await?;
            return Ok(Arc::new(principal));
        }
        Ok(Arc::clone(identify(&self.tokens, token, now)?))
    }
}

/// Why nobody was recognised, for logs and the trail.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unrecognised {
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
    pub(super) fn denial(&self) -> Denial {
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
    pub(super) fn problem(&self) -> Problem {
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

/// The password of Basic authentication (RFC 7617), whatever the user is called.
fn basic(value: &str) -> Option<Zeroizing<String>> {
    let (scheme, credentials) = value.split_once(' ')?;
    let decoded = STANDARD.decode(credentials.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let decoded = Zeroizing::new(String::from_utf8(decoded).ok()?);
    decoded.split_once(':').map(|(_, password)| Zeroizing::new(password.to_owned()))
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Without tokens, a web page in the operator's browser must not be able to call: neither across origins nor by a name
/// of its own that leads to this address (DNS rebinding).
pub(super) fn foreign_page(headers: &HeaderMap) -> Result<(), Unrecognised> {
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
    use crate::access::{Grant, Role, Scope, Token};

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
            let found = callers.recognise(&headers(&[("authorization", authorization)]), None, false, now).await;
            found.map(|principal| principal.name.clone()).map_err(|why| (why.denial(), why.problem().status().as_u16()))
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
    async fn a_token_is_a_password_only_where_it_may_be() {
        let now = Timestamp::from_unix(1_000);
        let callers = Callers { tokens: vec![known("flagger", Role::Prober, &[1; 32], None)], ..Callers::default() };
        let token = Token::from_random(&[1; 32]).expose().to_owned();
        for (credentials, user) in [
            (format!(":{token}"), true),
            (format!("x:{token}"), true),
            (token.clone(), false),
            (format!("{token}:"), false),
        ] {
            let sent = headers(&[("authorization", &format!("Basic {}", STANDARD.encode(credentials)))]);
            for password in [true, false] {
                let found = callers.recognise(&sent, None, password, now).await;
                assert_eq!(found.is_ok(), user && password);
            }
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
            let decided = Callers::default().recognise(&headers, None, false, Timestamp::from_unix(0)).await;
            assert_eq!(decided.is_ok(), allowed, "{host}");
        }
        let cross = headers(&[("host", "localhost"), ("sec-fetch-site", "cross-site")]);
        let decided = Callers::default().recognise(&cross, None, false, Timestamp::from_unix(0)).await;
        assert_eq!(decided.unwrap_err().denial(), Denial::ForeignOrigin);
    }
}
