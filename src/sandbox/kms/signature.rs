//! Verifies SigV4 the way an AWS endpoint does: the canonical request is written anew from exactly the headers that the
//! caller says it signed, and the signature over it is calculated with the secret known here.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use aws_lc_rs::{constant_time, digest};
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use http::request::Parts;
use time::{OffsetDateTime, PrimitiveDateTime, macros::format_description};

use super::{super::sts::Session, store::Secret, wire::Failure};

/// Lower-case hexadecimal SHA-256.
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Who may call, and for what the signature must be made.
#[derive(Debug)]
pub(in crate::sandbox) struct Verifier {
    pub(in crate::sandbox) access_key_id: String,
    pub(in crate::sandbox) secret: Secret,
    pub(in crate::sandbox) region: String,
    pub(in crate::sandbox) service: &'static str,
}

/// How far the caller's clock may be off.
const MAX_SKEW: Duration = Duration::from_mins(5);

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

fn incomplete(message: &str) -> Failure {
    Failure::new("IncompleteSignatureException", message)
}

fn invalid(message: impl Into<String>) -> Failure {
    Failure::new("InvalidSignatureException", message)
}

struct Authorization<'a> {
    access_key_id: &'a str,
    scope: Vec<&'a str>,
    signed_headers: &'a str,
    signature: &'a str,
}

fn parse(authorization: &str) -> Result<Authorization<'_>, Failure> {
    let rest = authorization
        .strip_prefix(ALGORITHM)
        .ok_or_else(|| incomplete("Unsupported AWS 'algorithm': only AWS4-HMAC-SHA256 is known."))?;
    let part = |name: &str| {
        rest.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('=')).ok_or_else(|| {
            incomplete(&format!(
                "Authorization header requires '{name}' parameter. Authorization header is incomplete."
            ))
        })
    };
    let mut scope: Vec<&str> = part("Credential")?.split('/').collect();
    let access_key_id = scope.remove(0);
    Ok(Authorization { access_key_id, scope, signed_headers: part("SignedHeaders")?, signature: part("Signature")? })
}

/// Who says to have signed a request, and for which Region. That proves nothing.
pub(super) fn claimed(head: &Parts) -> Option<(&str, &str)> {
    let authorization = parse(head.headers.get("authorization")?.to_str().ok()?).ok()?;
    Some((authorization.access_key_id, authorization.scope.get(1)?))
}

/// Whether this header is among those that are signed.
fn signs(head: &Parts, header: &str) -> bool {
    let authorization = head.headers.get("authorization").and_then(|value| value.to_str().ok());
    let authorization = authorization.and_then(|text| parse(text).ok());
    authorization.is_some_and(|authorization| authorization.signed_headers.split(';').any(|name| name == header))
}

/// Verifies a request that is signed with temporary credentials.
pub(super) fn verify_session(
    session: &Session,
    region: &str,
    head: &Parts,
    body: &[u8],
    now: SystemTime,
) -> Result<(), Failure> {
    const TOKEN: &str = "x-amz-security-token";
    let token = head.headers.get(TOKEN).map(http::HeaderValue::as_bytes);
    if token != Some(session.token.as_bytes()) || !signs(head, TOKEN) {
        let message = "The security token included in the request is invalid.";
        return Err(Failure::new("UnrecognizedClientException", message));
    }
    if session.ends <= now {
        return Err(Failure::new("ExpiredTokenException", "The security token included in the request is expired"));
    }
    let (access_key_id, secret) = (session.access_key_id.clone(), session.secret.clone());
    Verifier { access_key_id, secret, region: region.to_owned(), service: "kms" }.verify(head, body, now)
}

impl Verifier {
    /// Verifies the signature of a request with this head and body at this instant.
    pub(in crate::sandbox) fn verify(&self, head: &Parts, body: &[u8], now: SystemTime) -> Result<(), Failure> {
        let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        let authorization = text("authorization")
            .ok_or_else(|| Failure::new("MissingAuthenticationTokenException", "Missing Authentication Token"))?;
        let authorization = parse(authorization)?;
        let stamp = text("x-amz-date").ok_or_else(|| {
            incomplete("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
        })?;
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        let signed_at: SystemTime = PrimitiveDateTime::parse(stamp, &format)
            .map_err(|_| incomplete("Date must be in ISO-8601 'basic format'."))?
            .assume_utc()
            .into();
        if authorization.access_key_id != self.access_key_id {
            return Err(Failure::new(
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            ));
        }
        let signed: Vec<&str> = authorization.signed_headers.split(';').collect();
        for header in ["host", "x-amz-date"] {
            if !signed.contains(&header) {
                return Err(invalid(format!("'{header}' must be a 'SignedHeader' in the AWS Authorization.")));
            }
        }
        let day = stamp.get(..8).unwrap_or_default();
        let expected = [day, self.region.as_str(), self.service, "aws4_request"];
        if authorization.scope != expected {
            return Err(invalid(format!("Credential should be scoped to a valid region: '{}'.", expected.join("/"))));
        }
        let request = canonical_request(head, &signed, authorization.signed_headers, body)
            .ok_or_else(|| invalid("A 'SignedHeader' is not in the request."))?;
        let to_sign = format!("{ALGORITHM}\n{stamp}\n{}\n{}", expected.join("/"), sha256_hex(request.as_bytes()));
        let key = generate_signing_key(self.secret.expose(), signed_at, &self.region, self.service);
        let calculated = calculate_signature(key, to_sign.as_bytes());
        if constant_time::verify_slices_are_equal(calculated.as_bytes(), authorization.signature.as_bytes()).is_err() {
            return Err(invalid(
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
                 Access Key and signing method. Consult the service documentation for details.",
            ));
        }
        let skew = now.duration_since(signed_at).or_else(|_| signed_at.duration_since(now)).unwrap_or_default();
        if skew > MAX_SKEW {
            let now = OffsetDateTime::from(now).format(&format).unwrap_or_default();
            let message = if now.as_str() > stamp {
                format!("Signature expired: {stamp} is now earlier than {now} less 5 min.")
            } else {
                format!("Signature not yet current: {stamp} is still later than {now} plus 5 min.")
            };
            return Err(invalid(message));
        }
        Ok(())
    }
}

/// The canonical request over exactly these headers; `None` if one of them is not in the request.
fn canonical_request(head: &Parts, signed: &[&str], signed_headers: &str, body: &[u8]) -> Option<String> {
    let mut canonical = format!("{}\n{}\n{}\n", head.method, head.uri.path(), head.uri.query().unwrap_or_default());
    for &name in signed {
        let values: Option<Vec<String>> = head
            .headers
            .get_all(name)
            .iter()
            .map(|value| Some(value.to_str().ok()?.split_whitespace().collect::<Vec<_>>().join(" ")))
            .collect();
        let values = values.filter(|values| !values.is_empty())?;
        writeln!(canonical, "{name}:{}", values.join(",")).ok()?;
    }
    write!(canonical, "\n{signed_headers}\n{}", sha256_hex(body)).ok()?;
    Some(canonical)
}
