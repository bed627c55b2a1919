//! Tokens of identity providers (OpenID Connect): a JWT that a provider signed becomes a principal.
//!
//! # How it works
//!
//! An [`Issuer`] is one provider that the configuration names. [`Issuer::verify`] checks the signature under one of the
//! provider's published keys (RFC 7517), then issuer, audience and time, and reads from the claims who it is and in which
//! groups; groups become roles by the configuration alone. `keys` holds the published keys and fetches them anew.
//!
//! # What can go wrong
//!
//! The token is whatever a stranger sends. Its algorithm must be on a short list and fit the key, so that no public key
//! is ever taken for a shared secret; keys and addresses that a token brings along are not looked at. Key ids that nobody
//! knows cause a fetch at most once in a while, whoever sends them. When the provider cannot be asked, keys go on being
//! good for a bounded time only; then nobody comes in this way.

mod key_set;
mod keys;
mod sign_in;
mod source;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::{Map, Value};

pub use key_set::{InvalidKeySet, KeySet};
pub use keys::Pace;
pub use sign_in::{Attempt, CALLBACK, InvalidRedirect, SignInFailed, SignInSettings};
pub use source::{InvalidKeyUrl, KeySource, KeyUrl};

use self::keys::Keys;
use self::sign_in::Provider;
use crate::access::{self, Grant, Method, Principal};
use crate::clock::Timestamp;

/// How far clocks may be apart: tokens live for minutes to hours, machines that keep time are seconds apart.
pub const LEEWAY: Duration = Duration::from_mins(1);

/// The longest token that is looked at, in bytes.
const LONGEST: usize = 16 * 1024;

/// The longest name of a principal, in characters.
const LONGEST_NAME: usize = 256;

/// One provider, and what its tokens are worth here.
#[derive(Clone, Debug)]
pub struct IssuerSettings {
    /// `iss`, to the letter.
    pub issuer: String,
    /// What `aud` must name.
    pub audience: String,
    /// Where its keys are.
    pub keys: KeySource,
    /// The claim that names the principal.
    pub principal_claim: String,
    /// The claim that names its groups: text, or a list of texts.
    pub groups_claim: String,
    /// What a group is worth; groups that are not here are worth nothing.
    pub groups: Vec<(String, Grant)>,
    /// When keys are fetched.
    pub pace: Pace,
    /// How people sign in there; `None` means that its tokens are taken and nobody is sent there.
    pub sign_in: Option<SignInSettings>,
}

/// Why nobody was recognised by a token. What a stranger is told of it is for the face to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtRefused {
    /// Not a signed token.
    #[error("the token is no signed JWT")]
    Malformed,
    /// No provider of the configuration.
    #[error("the token is of no issuer that is known here")]
    UnknownIssuer,
    /// None of the algorithms that are taken, or not that of the key.
    #[error("the token's algorithm is not taken here")]
    Algorithm,
    /// The provider publishes no such key.
    #[error("the issuer publishes no key of the token's key id")]
    UnknownKey,
    /// Another key's signature, or a changed token.
    #[error("the token's signature does not fit")]
    Signature,
    /// For somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` is still to come.
    #[error("the token is not valid yet; are the clocks right?")]
    NotYetValid,
    /// A claim that must be there is not, or is of another type.
    #[error("the token lacks a claim that is needed here, or one has the wrong type")]
    Claims,
    /// The provider's keys are not known and cannot be had.
    #[error("the issuer's keys cannot be had")]
    KeysUnavailable,
}

/// One provider with its keys.
#[derive(Debug)]
pub struct Issuer {
    settings: IssuerSettings,
    keys: Arc<Keys>,
    provider: Option<Provider>,
}

impl Issuer {
    /// A provider whose keys are fetched when they are first needed.
    pub fn new(settings: IssuerSettings) -> Self {
        let keys = Arc::new(Keys::new(settings.keys.clone(), settings.pace));
        let provider = settings.sign_in.clone().map(Provider::new);
        Self { settings, keys, provider }
    }

    /// Who the token says it is, at this instant.
    pub async fn verify(&self, token: &str, now: Timestamp) -> Result<Principal, JwtRefused> {
        self.principal(&self.claims(token, &self.settings.audience, now).await?)
    }

    /// What the token says, if it is good for this audience at this instant.
    async fn claims(&self, token: &str, audience: &str, now: Timestamp) -> Result<Map<String, Value>, JwtRefused> {
        let header = decode_header(token).map_err(|_| JwtRefused::Malformed)?;
        // Extensions that must be understood are not (RFC 7515, section 4.1.11).
        if header.crit.is_some() {
            return Err(JwtRefused::Malformed);
        }
        if !TAKEN.contains(&header.alg) {
            return Err(JwtRefused::Algorithm);
        }
        let kid = header.kid.as_deref().ok_or(JwtRefused::Malformed)?;
        let key = self.keys.find(kid).await?;
        if !key.algorithms.contains(&header.alg) {
            return Err(JwtRefused::Algorithm);
        }
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        // The library reads the machine's clock; time is judged below.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let decoded = decode::<Map<String, Value>>(token, &key.key, &validation).map_err(|error| refusal(&error))?;
        in_time(&decoded.claims, now)?;
        Ok(decoded.claims)
    }

    fn principal(&self, claims: &Map<String, Value>) -> Result<Principal, JwtRefused> {
        let name = claims.get(&self.settings.principal_claim).and_then(Value::as_str).ok_or(JwtRefused::Claims)?;
        if name.chars().count() > LONGEST_NAME || !access::is_name(name) {
            return Err(JwtRefused::Claims);
        }
        let groups: BTreeSet<&str> = match claims.get(&self.settings.groups_claim) {
            None | Some(Value::Null) => BTreeSet::new(),
            Some(Value::String(group)) => BTreeSet::from([group.as_str()]),
            Some(Value::Array(groups)) => {
                groups.iter().map(Value::as_str).collect::<Option<_>>().ok_or(JwtRefused::Claims)?
            }
            Some(_) => return Err(JwtRefused::Claims),
        };
        let granted = self.settings.groups.iter().filter(|(group, _)| groups.contains(group.as_str()));
        let grants = granted.map(|(_, grant)| grant.clone()).collect();
        Ok(Principal { name: name.to_owned(), how: Method::Oidc, grants })
    }
}

/// The algorithms that are taken: signatures only. A secret that both sides share (HS256) is none of them, because
/// whoever has the provider's public key could sign with it; and no signature (`none`) is no algorithm at all.
const TAKEN: [Algorithm; 4] = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];

/// Whether a bearer token is a JWT by its looks: three parts of base64url.
pub fn looks_like_jwt(token: &str) -> bool {
    let url_safe = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    token.len() <= LONGEST && token.split('.').count() == 3 && token.split('.').all(url_safe) && token.starts_with("ey")
}

/// When a token ends by its own words: for whoever has verified it already.
pub fn expiry(token: &str) -> Option<Timestamp> {
    let claims = jsonwebtoken::dangerous::insecure_decode::<Map<String, Value>>(token).ok()?.claims;
    let seconds = seconds(&claims, "exp").ok()??;
    #[expect(clippy::cast_possible_truncation, reason = "a float beyond i64 becomes its end, which ends the calendar")]
    Some(Timestamp::from_unix(seconds as i64))
}

/// The issuer whose token this claims to be: nothing of it is believed before the signature is checked.
pub fn issuer_of<'a>(issuers: &'a [Arc<Issuer>], token: &str) -> Result<&'a Arc<Issuer>, JwtRefused> {
    let claimed = jsonwebtoken::dangerous::insecure_decode::<Map<String, Value>>(token);
    let claimed = claimed.map_err(|_| JwtRefused::Malformed)?.claims;
    let issuer = claimed.get("iss").and_then(Value::as_str).ok_or(JwtRefused::Claims)?;
    issuers.iter().find(|one| one.settings.issuer == issuer).ok_or(JwtRefused::UnknownIssuer)
}

fn refusal(error: &jsonwebtoken::errors::Error) -> JwtRefused {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidSignature => JwtRefused::Signature,
        ErrorKind::InvalidIssuer => JwtRefused::UnknownIssuer,
        ErrorKind::InvalidAudience => JwtRefused::Audience,
        ErrorKind::InvalidAlgorithm | ErrorKind::MissingAlgorithm => JwtRefused::Algorithm,
        ErrorKind::MissingRequiredClaim(_) => JwtRefused::Claims,
        _ => JwtRefused::Malformed,
    }
}

/// Whether the token holds now. `exp` must be there, and one of `nbf` and `iat`: a token that says nothing of its
/// beginning may be of any age. Many providers leave out `nbf`.
fn in_time(claims: &Map<String, Value>, now: Timestamp) -> Result<(), JwtRefused> {
    let leeway = LEEWAY.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit 53 bits")]
    let now = now.unix() as f64;
    let expires = seconds(claims, "exp")?.ok_or(JwtRefused::Claims)?;
    let begins = [seconds(claims, "nbf")?, seconds(claims, "iat")?];
    if begins.iter().all(Option::is_none) {
        return Err(JwtRefused::Claims);
    }
    if now >= expires + leeway {
        return Err(JwtRefused::Expired);
    }
    if begins.into_iter().flatten().any(|begins| now + leeway < begins) {
        return Err(JwtRefused::NotYetValid);
    }
    Ok(())
}

/// A NumericDate (RFC 7519, section 2).
fn seconds(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, JwtRefused> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_f64().filter(|at| at.is_finite()).map(Some).ok_or(JwtRefused::Claims),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn claims(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn time_has_two_ends_and_a_leeway() {
        let at = |claims: &Value| in_time(&self::claims(claims), Timestamp::from_unix(1_000));
        for (value, outcome) in [
            (json!({ "exp": 1_001, "nbf": 999 }), Ok(())),
            (json!({ "exp": 941, "nbf": 1_060 }), Ok(())),
            (json!({ "exp": 940, "nbf": 900 }), Err(JwtRefused::Expired)),
            (json!({ "exp": 2_000, "nbf": 1_061 }), Err(JwtRefused::NotYetValid)),
            (json!({ "exp": 2_000, "iat": 1_061, "nbf": 900 }), Err(JwtRefused::NotYetValid)),
            (json!({ "exp": 2_000.5, "iat": 999.5 }), Ok(())),
            (json!({ "exp": 2_000 }), Err(JwtRefused::Claims)),
            (json!({ "nbf": 900 }), Err(JwtRefused::Claims)),
            (json!({ "exp": "2000", "nbf": 900 }), Err(JwtRefused::Claims)),
            (json!({ "exp": null, "nbf": 900 }), Err(JwtRefused::Claims)),
            (json!({ "exp": 1e300, "nbf": -1e300 }), Ok(())),
        ] {
            assert_eq!(at(&value), outcome, "{value}");
        }
    }

    #[test]
    fn looks() {
        for jwt in ["eyJhbGciOiJSUzI1NiJ9.e30.AAAA", "eyJ.e30."] {
            assert!(looks_like_jwt(jwt), "{jwt}");
        }
        let long = format!("ey{}.a.b", "a".repeat(LONGEST));
        for other in ["", "xkspf_AAAA", "ey.a", "ey.a.b.c.d", "ey a.b.c", "ey=.a.b", long.as_str()] {
            assert!(!looks_like_jwt(other), "{other}");
        }
    }

    proptest! {
        /// Whatever comes, nothing panics and nobody comes in.
        #[test]
        fn no_text_is_a_token(token in r"(ey[A-Za-z0-9_-]{0,20}\.){0,3}[A-Za-z0-9_-]{0,20}|\PC{0,60}") {
            prop_assert!(issuer_of(&[], &token).is_err());
        }
    }
}
