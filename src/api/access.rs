//! Who is calling, and whether they may.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Service;
use super::problem::Problem;
use crate::access::{KnownToken, Permission, Principal, TokenRefused, identify};
use crate::clock::Timestamp;

/// A caller that was let in.
#[derive(Clone, Debug)]
pub(super) struct Admitted {
    /// Shown in the journal.
    pub(super) name: String,
}

/// Reading needs [`Permission::Read`], a pre-flight [`Permission::Probe`], everything else [`Permission::Change`]. Without
/// any token the listener is a loopback one, or somebody said that they want it so.
pub(super) async fn admit(State(service): State<Arc<Service>>, mut request: Request, next: Next) -> Response {
    let needed = match *request.method() {
        Method::GET | Method::HEAD => Permission::Read,
        _ if request.uri().path() == "/v1/preflights" => Permission::Probe,
        _ if request.uri().path().ends_with("/approve") => Permission::Approve,
        _ if request.uri().path() == "/v1/freeze" => Permission::Freeze,
        _ => Permission::Change,
    };
    match decide(&service.tokens, request.headers(), service.clock.now(), needed) {
        Ok(admitted) => {
            request.extensions_mut().insert(admitted);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

fn decide(tokens: &[KnownToken], headers: &HeaderMap, now: Timestamp, needed: Permission) -> Result<Admitted, Problem> {
    let principal = if tokens.is_empty() {
        foreign_page(headers)?;
        Arc::new(Principal::anonymous())
    } else {
        let presented = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer);
        let found = presented.ok_or(TokenRefused::Unknown).and_then(|token| identify(tokens, token, now));
        Arc::clone(found.map_err(|_| {
            let detail = "send Authorization: Bearer and a token made with: xks-preflight token new";
            Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail).challenge()
        })?)
    };
    principal
        .may_somewhere(needed)
        .map_err(|forbidden| Problem::new(StatusCode::FORBIDDEN, "forbidden", forbidden.to_string()))?;
    Ok(Admitted { name: principal.name.clone() })
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Without tokens, a web page in the operator's browser must not be able to call: neither across origins nor by a name
/// of its own that leads to this address (DNS rebinding).
fn foreign_page(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let site = text(header::HeaderName::from_static("sec-fetch-site"));
    let host = text(header::HOST).unwrap_or_default();
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host, |p| p.0);
    let literal = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>().is_ok();
    let ours = name.eq_ignore_ascii_case("localhost") || literal;
    if !ours || site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        let detail = "without tokens only callers that name an IP address or localhost are served, and no other \
                      site's pages; configure tokens to lift this";
        return Err(Problem::new(StatusCode::FORBIDDEN, "foreign_origin", detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Grant, Role, Scope, Token};

    fn known(name: &str, role: Role, bits: &[u8; 32]) -> KnownToken {
        let grants = vec![Grant { role, scope: Scope::All }];
        let principal = Principal { name: name.to_owned(), how: crate::access::Method::Token, grants };
        KnownToken { hash: Token::from_random(bits).hash(), expires: None, principal: Arc::new(principal) }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn who_may_do_what() {
        let tokens = [known("watch", Role::Viewer, &[1; 32]), known("deploy", Role::Operator, &[2; 32])];
        let with = |bits: &[u8; 32]| format!("Bearer {}", Token::from_random(bits).expose());
        let status = |authorization: &str, needed| {
            decide(&tokens, &headers(&[("authorization", authorization)]), Timestamp::from_unix(0), needed)
                .map_err(|problem| problem.into_response().status().as_u16())
                .map(|admitted| admitted.name)
        };
        assert_eq!(status(&with(&[1; 32]), Permission::Read), Ok("watch".into()));
        assert_eq!(status(&with(&[1; 32]), Permission::Change), Err(403));
        assert_eq!(status(&with(&[2; 32]), Permission::Change), Ok("deploy".into()));
        assert_eq!(status(&with(&[3; 32]), Permission::Read), Err(401));
        assert_eq!(status("Basic eDp5", Permission::Read), Err(401));
        assert_eq!(status("Bearer", Permission::Read), Err(401));
    }

    #[test]
    fn without_tokens_no_foreign_page_may_call() {
        for (host, allowed) in [
            ("127.0.0.1:8480", true),
            ("localhost:8480", true),
            ("[::1]:8480", true),
            ("rebound.example.com:8480", false),
            ("", false),
        ] {
            let decided = decide(&[], &headers(&[("host", host)]), Timestamp::from_unix(0), Permission::Change);
            assert_eq!(decided.is_ok(), allowed, "{host}");
        }
        let cross = headers(&[("host", "localhost"), ("sec-fetch-site", "cross-site")]);
        assert!(decide(&[], &cross, Timestamp::from_unix(0), Permission::Read).is_err());
    }
}
