//! Verifies AWS Signature Version 4, written from AWS's description and the XKS specification's appendix A alone.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    time::SystemTime,
};

use aws_lc_rs::{constant_time, digest, hmac};
use http::{HeaderMap, request::Parts};
use secrecy::{ExposeSecret as _, SecretString};
use time::{OffsetDateTime, PrimitiveDateTime, format_description::BorrowedFormatItem, macros::format_description};

/// The service name in the scope of every signature (XKS spec, appendix A).
const SERVICE: &str = "kms-xks-proxy";
/// Requests dated further off than this are refused (XKS spec, appendix A, task 4), in seconds.
const WINDOW_SECONDS: u64 = 300;
const BASIC_DATE_TIME: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]T[hour][minute][second]Z");

/// The secrets that a proxy accepts, by access key id. `Debug` shows the ids only.
#[derive(Clone, Default)]
pub struct Credentials {
    secrets: BTreeMap<String, SecretString>,
}

impl Credentials {
    /// Adds a credential or replaces the one of that id.
    #[must_use]
    pub fn with(mut self, access_key_id: impl Into<String>, secret: impl Into<SecretString>) -> Self {
        self.add(access_key_id.into(), secret.into());
        self
    }

    pub(super) fn add(&mut self, access_key_id: String, secret: SecretString) {
        self.secrets.insert(access_key_id, secret);
    }

    pub(super) fn remove(&mut self, access_key_id: &str) -> bool {
        self.secrets.remove(access_key_id).is_some()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.secrets.keys()).finish()
    }
}

/// What the check leaves out or gets wrong.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own and any may meet any")]
pub(super) struct Laxity {
    pub(super) accepts_unsigned: bool,
    pub(super) accepts_wrong_secret: bool,
    pub(super) accepts_unknown_key_id: bool,
    pub(super) accepts_stale: bool,
    /// Verify as if this had been the Host header.
    pub(super) host: Option<String>,
}

/// Why a signature was refused; goes to the history, never to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// No Authorization header.
    Unsigned,
    /// The Authorization header or x-amz-date cannot be read.
    Malformed,
    /// `host` or `x-amz-date` is not among the signed headers.
    HeaderNotSigned,
    /// The scope is of another Region.
    WrongRegion,
    /// The scope is of another service, date or terminator.
    WrongScope,
    /// Dated more than 300 seconds off.
    OutsideWindow,
    /// No credential of this access key id.
    UnknownAccessKeyId,
    /// The signature differs.
    WrongSignature,
}

/// The parts of an Authorization header.
struct Authorization<'a> {
    access_key_id: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    terminator: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

/// The access key id that a request claims, verified or not.
pub(super) fn claimed_access_key_id(headers: &HeaderMap) -> Option<&str> {
    let authorization = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    Authorization::parse(authorization).map(|parts| parts.access_key_id)
}

/// Verifies the signature of one request as received, against the wall time `now`.
pub(super) fn verify(
    parts: &Parts,
    body: &[u8],
    credentials: &Credentials,
    region: &str,
    now: SystemTime,
    laxity: &Laxity,
) -> Result<(), Distrust> {
    let Some(header) = parts.headers.get(http::header::AUTHORIZATION) else {
        return if laxity.accepts_unsigned { Ok(()) } else { Err(Distrust::Unsigned) };
    };
    let header = header.to_str().map_err(|_| Distrust::Malformed)?;
    let authorization = Authorization::parse(header).ok_or(Distrust::Malformed)?;
    let date_time = parts.headers.get("x-amz-date").and_then(|value| value.to_str().ok()).ok_or(Distrust::Malformed)?;
    let signed_at = PrimitiveDateTime::parse(date_time, BASIC_DATE_TIME).map_err(|_| Distrust::Malformed)?.assume_utc();
    let signed: Vec<&str> = authorization.signed_headers.split(';').collect();
    if !["host", "x-amz-date"].iter().all(|name| signed.contains(name)) {
        return Err(Distrust::HeaderNotSigned);
    }
    if authorization.region != region {
        return Err(Distrust::WrongRegion);
    }
    let dated = date_time.split_once('T').is_some_and(|(date, _)| date == authorization.date);
    if !dated || authorization.service != SERVICE || authorization.terminator != "aws4_request" {
        return Err(Distrust::WrongScope);
    }
    let skew = (OffsetDateTime::from(now) - signed_at).whole_seconds().unsigned_abs();
    if skew > WINDOW_SECONDS && !laxity.accepts_stale {
        return Err(Distrust::OutsideWindow);
    }
    let Some(secret) = credentials.secrets.get(authorization.access_key_id) else {
        return if laxity.accepts_unknown_key_id { Ok(()) } else { Err(Distrust::UnknownAccessKeyId) };
    };
    if laxity.accepts_wrong_secret {
        return Ok(());
    }
    let request = canonical_request(parts, body, &signed, laxity.host.as_deref()).ok_or(Distrust::Malformed)?;
    let expected = authorization.expected_signature(secret, date_time, &request);
    constant_time::verify_slices_are_equal(expected.as_bytes(), authorization.signature.as_bytes())
        .map_err(|_| Distrust::WrongSignature)
}

impl<'a> Authorization<'a> {
    fn parse(header: &'a str) -> Option<Self> {
        let mut members = BTreeMap::new();
        for member in header.strip_prefix("AWS4-HMAC-SHA256 ")?.split(',') {
            let (name, value) = member.trim().split_once('=')?;
            members.insert(name, value);
        }
        let mut credential = members.get("Credential")?.split('/');
        let parsed = Self {
            access_key_id: credential.next()?,
            date: credential.next()?,
            region: credential.next()?,
            service: credential.next()?,
            terminator: credential.next()?,
            signed_headers: members.get("SignedHeaders")?,
            signature: members.get("Signature")?,
        };
        credential.next().is_none().then_some(parsed)
    }

    fn expected_signature(&self, secret: &SecretString, date_time: &str, canonical_request: &str) -> String {
        let scope = format!("{}/{}/{}/{}", self.date, self.region, self.service, self.terminator);
        let hashed = hex(digest::digest(&digest::SHA256, canonical_request.as_bytes()).as_ref());
        let string_to_sign = format!("AWS4-HMAC-SHA256\n{date_time}\n{scope}\n{hashed}");
        let seed = zeroize::Zeroizing::new(format!("AWS4{}", secret.expose_secret()));
        let mut key = keyed(seed.as_bytes(), self.date);
        for part in [self.region, self.service, self.terminator] {
            key = keyed(key.as_ref(), part);
        }
        hex(keyed(key.as_ref(), &string_to_sign).as_ref())
    }
}

fn canonical_request(parts: &Parts, body: &[u8], signed: &[&str], host: Option<&str>) -> Option<String> {
    let mut query: Vec<&str> = parts.uri.query().unwrap_or_default().split('&').collect();
    query.sort_unstable();
    let mut headers = String::new();
    for name in signed {
        let received: Result<Vec<&str>, _> = parts.headers.get_all(*name).iter().map(|value| value.to_str()).collect();
        let value = match (*name, host) {
            ("host", Some(host)) => host.to_owned(),
            _ => received.ok()?.join(","),
        };
        let folded: Vec<&str> = value.split_ascii_whitespace().collect();
        headers.extend([*name, ":", &folded.join(" "), "\n"]);
    }
    let payload = hex(digest::digest(&digest::SHA256, body).as_ref());
    let (method, path, names) = (&parts.method, parts.uri.path(), signed.join(";"));
    Some(format!("{method}\n{path}\n{}\n{headers}\n{names}\n{payload}", query.join("&")))
}

fn keyed(key: &[u8], message: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authorization_header_is_read_strictly() {
        let right = "AWS4-HMAC-SHA256 Credential=ID/20260101/us-east-1/kms-xks-proxy/aws4_request, \
                     SignedHeaders=host;x-amz-date, Signature=00";
        assert_eq!(Authorization::parse(right).unwrap().region, "us-east-1");
        for wrong in ["", "Basic Zm9v", "AWS4-HMAC-SHA256 Credential=ID/1/2/3", &right.replace("aws4_request", "a/b")] {
            assert!(Authorization::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let credentials = Credentials::default().with("SANDBOXACCESSKEYID23", "TestSecretDoNotLeak".to_owned());
        assert_eq!(format!("{credentials:?}"), r#"{"SANDBOXACCESSKEYID23"}"#);
    }
}
