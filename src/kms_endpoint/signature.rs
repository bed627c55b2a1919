//! Verifies SigV4 as an AWS endpoint does: the canonical request is written anew from exactly the headers that the
//! caller says it signed, and the signature over it is calculated with the secret known here.
//!
//! Only the plain form is taken: one `Authorization` header over the whole body. Presigned queries, chunked and unsigned
//! payloads, SigV4A and session tokens are forms that no client of these operations needs.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::{constant_time, digest};
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use time::PrimitiveDateTime;
use time::macros::format_description;

use super::KmsCredential;
use super::failure::Failure;
use crate::clock::Timestamp;
use crate::current::Current;
use crate::key_store::Region;
use crate::metrics::Denial;

/// How far the caller's clock may be off (SigV4).
const WINDOW: Duration = Duration::from_mins(5);

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "kms";
const TERMINATOR: &str = "aws4_request";
const CONTENT_SHA256: &str = "x-amz-content-sha256";

/// Query parameters that carry a signature.
const PRESIGNED: [&str; 3] = ["x-amz-algorithm", "x-amz-credential", "x-amz-signature"];

/// Lower-case hexadecimal digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn sha256(bytes: &[u8]) -> String {
    hexadecimal(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Nobody was recognised.
fn stranger(name: &'static str, message: impl Into<String>) -> Failure {
    Failure::new(name, message).denied(Denial::Unauthenticated)
}

fn incomplete(message: impl Into<String>) -> Failure {
    stranger("IncompleteSignatureException", message)
}

fn invalid(message: impl Into<String>) -> Failure {
    stranger("InvalidSignatureException", message)
}

/// Who may call, and in which Region.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) region: Region,
    pub(super) credentials: Arc<Current<Vec<KmsCredential>>>,
}

impl Verifier {
    /// Whose access key id a request has in it. That proves nothing.
    pub(super) fn claimed(&self, headers: &HeaderMap) -> Option<KmsCredential> {
        self.known(Authorization::parse(only(headers, "authorization")?).ok()?.access_key_id)
    }

    fn known(&self, access_key_id: &str) -> Option<KmsCredential> {
        self.credentials.get().iter().find(|known| known.access_key_id.as_str() == access_key_id).cloned()
    }

    /// Whose request this is, if its signature holds at this instant.
    pub(super) fn verify(&self, head: &Parts, body: &[u8], now: Timestamp) -> Result<KmsCredential, Failure> {
        let query = Query::parse(head.uri.query().unwrap_or_default());
        plain_form(&head.headers, &query)?;
        let authorization = Authorization::parse(authorization(&head.headers)?)?;
        let stamp = only(&head.headers, "x-amz-date")
            .ok_or_else(|| incomplete("Authorization header requires existence of one 'X-Amz-Date' header."))?;
        let signed_at = instant(stamp).ok_or_else(|| incomplete("Date must be in ISO-8601 'basic format'."))?;
        authorization.signs_what_it_must(&head.headers)?;
        let day = stamp.get(..8).unwrap_or_default();
        let scope = [day, self.region.as_str(), SERVICE, TERMINATOR];
        if authorization.scope != scope {
            return Err(invalid(format!("Credential should be scoped to '{}'.", scope.join("/"))));
        }
        let payload = sha256(body);
        if let Some(stated) = head.headers.get(CONTENT_SHA256)
            && stated.as_bytes() != payload.as_bytes()
        {
            return Err(invalid("The value of 'X-Amz-Content-Sha256' is not the SHA-256 of the body."));
        }
        let unknown =
            || stranger("UnrecognizedClientException", "The security token included in the request is invalid.");
        let credential = self.known(authorization.access_key_id).ok_or_else(unknown)?;
        let request = canonical_request(head, &query, &authorization, &payload)
            .ok_or_else(|| invalid("A header of 'SignedHeaders' is not in the request."))?;
        let to_sign = format!("{ALGORITHM}\n{stamp}\n{}\n{}", scope.join("/"), sha256(&request));
        let secret = credential.secret_access_key.expose();
        let key = generate_signing_key(secret, SystemTime::from(signed_at), self.region.as_str(), SERVICE);
        let calculated = calculate_signature(key, to_sign.as_bytes());
        if constant_time::verify_slices_are_equal(calculated.as_bytes(), authorization.signature.as_bytes()).is_err() {
            return Err(invalid(
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
                 Access Key and signing method. Consult the service documentation for details.",
            ));
        }
        in_time(stamp, signed_at, now)?;
        // Told only to whoever holds the secret.
        if credential.expires.is_some_and(|end| now >= end) {
            let message = "The credential has expired: make another with xks-preflight token new-kms.";
            return Err(Failure::new("ExpiredTokenException", message).denied(Denial::ExpiredToken));
        }
        Ok(credential)
    }
}

/// Refuses the forms that are not taken, with what they are.
fn plain_form(headers: &HeaderMap, query: &Query) -> Result<(), Failure> {
    if query.0.iter().any(|(name, _)| PRESIGNED.contains(&name.to_ascii_lowercase().as_str())) {
        return Err(incomplete("Presigned requests are not taken here: sign with an Authorization header."));
    }
    if headers.contains_key("x-amz-security-token") {
        return Err(stranger(
            "UnrecognizedClientException",
            "The security token included in the request is invalid: credentials of this endpoint have no session token.",
        ));
    }
    if headers.get_all(CONTENT_SHA256).iter().count() > 1 {
        return Err(incomplete("There is more than one 'X-Amz-Content-Sha256' header."));
    }
    let stated = headers.get(CONTENT_SHA256).map(|value| value.as_bytes().to_ascii_uppercase());
    let unsigned = stated.is_some_and(|value| value.starts_with(b"STREAMING-") || value.starts_with(b"UNSIGNED-"));
    if unsigned || headers.contains_key("x-amz-decoded-content-length") {
        return Err(invalid("Chunked and unsigned payloads are not taken here: sign the whole body."));
    }
    Ok(())
}

fn authorization(headers: &HeaderMap) -> Result<&str, Failure> {
    if !headers.contains_key("authorization") {
        return Err(stranger("MissingAuthenticationTokenException", "Missing Authentication Token"));
    }
    only(headers, "authorization")
        .ok_or_else(|| incomplete("There must be one 'Authorization' header, of visible ASCII."))
}

/// The header's value, if there is one header of this name and it is visible ASCII.
fn only<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Reads `yyyymmddThhmmssZ`.
fn instant(stamp: &str) -> Option<Timestamp> {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let shaped = stamp.len() == 16 && stamp.bytes().filter(u8::is_ascii_digit).count() == 14;
    let at = PrimitiveDateTime::parse(stamp, &format).ok().filter(|_| shaped)?;
    Some(Timestamp::from_unix(at.assume_utc().unix_timestamp()))
}

fn in_time(stamp: &str, signed_at: Timestamp, now: Timestamp) -> Result<(), Failure> {
    let age = now.seconds_since(signed_at);
    if age.abs() <= WINDOW.as_secs_f64() {
        return Ok(());
    }
    // AWS's own words, which some clients look for.
    Err(invalid(if age > 0.0 {
        let edge = written(now.minus(WINDOW));
        format!("Signature expired: {stamp} is now earlier than {edge} ({} - 5 min.)", written(now))
    } else {
        let edge = written(now.plus(WINDOW));
        format!("Signature not yet current: {stamp} is still later than {edge} ({} + 5 min.)", written(now))
    }))
}

/// Writes `yyyymmddThhmmssZ`.
fn written(at: Timestamp) -> String {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    at.calendar().format(&format).unwrap_or_default()
}

/// The `Authorization` header, taken apart.
struct Authorization<'a> {
    access_key_id: &'a str,
    scope: Vec<&'a str>,
    signed_headers: &'a str,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    fn parse(header: &'a str) -> Result<Self, Failure> {
        let rest = header.strip_prefix(ALGORITHM).and_then(|rest| rest.strip_prefix(' '));
        let rest =
            rest.ok_or_else(|| incomplete(format!("Unsupported AWS 'algorithm': only {ALGORITHM} is taken here.")))?;
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for part in rest.split(',') {
            // Spaces alone: a tab is another text than the client signed.
            let (name, value) = part.trim_matches(' ').split_once('=').unwrap_or((part, ""));
            let place = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed_headers,
                "Signature" => &mut signature,
                _ => return Err(incomplete("Authorization header has a parameter that is not known.")),
            };
            if place.replace(value).is_some() {
                return Err(incomplete(format!("Authorization header has '{name}' twice.")));
            }
        }
        let needed = |name: &str, value: Option<&'a str>| {
            value.filter(|value| !value.is_empty()).ok_or_else(|| {
                incomplete(format!(
                    "Authorization header requires '{name}' parameter. Authorization header is incomplete."
                ))
            })
        };
        let credential = needed("Credential", credential)?;
        let (access_key_id, scope) = credential
            .split_once('/')
            .ok_or_else(|| incomplete("Credential must have exactly 5 slash-delimited elements."))?;
        let scope: Vec<&str> = scope.split('/').collect();
        if scope.len() != 4 {
            return Err(incomplete("Credential must have exactly 5 slash-delimited elements."));
        }
        Ok(Self {
            access_key_id,
            scope,
            signed_headers: needed("SignedHeaders", signed_headers)?,
            signature: needed("Signature", signature)?,
        })
    }

    fn names(&self) -> impl Iterator<Item = &'a str> {
        self.signed_headers.split(';')
    }

    /// The host, the date, and every other `x-amz-*` header that is there; each name once, in order, in lower case.
    fn signs_what_it_must(&self, headers: &HeaderMap) -> Result<(), Failure> {
        let names: Vec<&str> = self.names().collect();
        let lower = names.iter().all(|name| !name.is_empty() && !name.bytes().any(|b| b.is_ascii_uppercase()));
        if !lower || !names.windows(2).all(|pair| matches!(pair, [one, next] if one < next)) {
            return Err(invalid("'SignedHeaders' must be names in lower case, in order, each once."));
        }
        let amz = headers.keys().map(axum::http::HeaderName::as_str).filter(|name| name.starts_with("x-amz-"));
        for needed in ["host", "x-amz-date"].into_iter().chain(amz) {
            if !names.contains(&needed) {
                return Err(invalid(format!("'{needed}' must be a 'SignedHeader' in the AWS Authorization.")));
            }
        }
        // Two of them are two requests: which one the caller meant, nobody can tell.
        if only(headers, "host").is_none() {
            return Err(invalid("There must be one 'Host' header."));
        }
        Ok(())
    }
}

/// The canonical request over exactly the signed headers; `None` if one of them is not in the request.
fn canonical_request(head: &Parts, query: &Query, authorization: &Authorization<'_>, payload: &str) -> Option<Vec<u8>> {
    let mut canonical = format!("{}\n{}\n{}\n", head.method, head.uri.path(), query.canonical()).into_bytes();
    for name in authorization.names() {
        canonical.extend_from_slice(name.as_bytes());
        canonical.push(b':');
        let mut values = head.headers.get_all(name).iter().peekable();
        values.peek()?;
        for (at, value) in values.enumerate() {
            if at > 0 {
                canonical.push(b',');
            }
            folded(value.as_bytes(), &mut canonical);
        }
        canonical.push(b'\n');
    }
    canonical.push(b'\n');
    canonical.extend_from_slice(authorization.signed_headers.as_bytes());
    canonical.push(b'\n');
    canonical.extend_from_slice(payload.as_bytes());
    Some(canonical)
}

/// A header's value without space around it, and with one space wherever there are several.
fn folded(value: &[u8], into: &mut Vec<u8>) {
    let words = value.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    for (at, word) in words.enumerate() {
        if at > 0 {
            into.push(b' ');
        }
        into.extend_from_slice(word);
    }
}

/// The query's parameters, percent-decoded.
struct Query(Vec<(String, String)>);

impl Query {
    /// As sent. What is no UTF-8 after decoding is kept as it was written, which no signature fits.
    fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decoded(name), decoded(value))
                })
                .collect(),
        )
    }

    /// Encoded anew and in order.
    fn canonical(&self) -> String {
        let mut pairs: Vec<(String, String)> =
            self.0.iter().map(|(name, value)| (encoded(name), encoded(value))).collect();
        pairs.sort();
        pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        let value = (*first == b'%').then(|| Some(digit(0)? * 16 + digit(1)?)).flatten();
        if let Some(byte) = value.and_then(|value| u8::try_from(value).ok()) {
            bytes.push(byte);
            rest = after.get(2..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests;
