//! SigV4 as KMS signs to a proxy: service `kms-xks-proxy`, signed headers `host;x-amz-date`, at a given instant.
//!
//! The canonical request and the key derivation are aws-sigv4's; here is only what the XKS proxy API fixes: which
//! headers, which service, and how a verifier reads them back.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_lc_rs::constant_time;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings};
use aws_sigv4::sign::v4;

use crate::clock::Timestamp;
use crate::key_store::{ProxyCredential, Region};

/// The service in the credential scope (XKS proxy API, Authentication).
pub const SIGNING_SERVICE: &str = "kms-xks-proxy";

/// How far a signature's date may be off (XKS proxy API, Authentication: 5 minutes).
const WINDOW: Duration = Duration::from_mins(5);

/// What the signature is about, besides the secret.
#[derive(Clone, Copy, Debug)]
pub struct SigningScope<'a> {
    /// The HTTP method: the API knows only POST.
    pub method: &'a str,
    /// The Region of KMS.
    pub region: &'a Region,
    /// The host as sent in the `Host` header.
    pub host: &'a str,
    /// The URI's path; the query is always empty.
    pub path: &'a str,
    /// The request's body.
    pub body: &'a [u8],
}

/// The two headers that make a request signed.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedRequest {
    /// `Authorization`
    pub authorization: String,
    /// `X-Amz-Date`
    pub x_amz_date: String,
}

impl std::fmt::Debug for SignedRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedRequest").field("x_amz_date", &self.x_amz_date).finish_non_exhaustive()
    }
}

/// Signing failed, which our own inputs cannot bring about; the signer's word for it.
#[derive(Debug, thiserror::Error)]
#[error("cannot sign the request ({0}); this is a fault of xks-preflight")]
pub struct SigningError(String);

/// Signs a request as KMS would at the instant `at`.
pub fn sign(
    credential: &ProxyCredential,
    scope: &SigningScope<'_>,
    at: Timestamp,
) -> Result<SignedRequest, SigningError> {
    let identity = Credentials::new(
        credential.access_key_id.as_str(),
        credential.secret_access_key.expose(),
        None,
        None,
        "xks-preflight",
    )
    .into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(scope.region.as_str())
        .name(SIGNING_SERVICE)
        .time(SystemTime::from(at))
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| SigningError(error.to_string()))?;
    let uri = format!("https://{}{}", scope.host, scope.path);
    let headers = std::iter::once(("host", scope.host));
    let request = SignableRequest::new(scope.method, uri, headers, SignableBody::Bytes(scope.body))
        .map_err(|error| SigningError(error.to_string()))?;
    let (instructions, _) = aws_sigv4::http_request::sign(request, &params.into())
        .map_err(|error| SigningError(error.to_string()))?
        .into_parts();
    let header = |wanted: &str| {
        instructions
            .headers()
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.to_owned())
            .ok_or_else(|| SigningError(format!("no {wanted} header was made")))
    };
    Ok(SignedRequest { authorization: header("authorization")?, x_amz_date: header("x-amz-date")? })
}

/// Why a signature is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerificationError {
    /// The headers are not of the form that the specification fixes.
    #[error("the authorization header is not of the expected form")]
    Malformed,
    /// The date is more than 5 minutes off.
    #[error("the signature's date is more than 5 minutes off")]
    OutsideWindow,
    /// The signature does not fit the request and the secret.
    #[error("the signature does not match")]
    Mismatch,
}

/// Verifies what [`sign`] made: signs again with the date that was sent, and compares in constant time.
pub fn verify(
    credential: &ProxyCredential,
    scope: &SigningScope<'_>,
    signed: &SignedRequest,
    now: Timestamp,
) -> Result<(), VerificationError> {
    let at = parse_amz_date(&signed.x_amz_date).ok_or(VerificationError::Malformed)?;
    if now.seconds_since(at).abs() > WINDOW.as_secs_f64() {
        return Err(VerificationError::OutsideWindow);
    }
    let expected = sign(credential, scope, at).map_err(|_| VerificationError::Malformed)?;
    constant_time::verify_slices_are_equal(expected.authorization.as_bytes(), signed.authorization.as_bytes())
        .map_err(|_| VerificationError::Mismatch)
}

/// Reads `yyyymmddThhmmssZ`.
fn parse_amz_date(text: &str) -> Option<Timestamp> {
    let digits: Vec<&str> =
        vec![text.get(0..4)?, text.get(4..6)?, text.get(6..8)?, text.get(9..11)?, text.get(11..13)?, text.get(13..15)?];
    let [year, month, day, hour, minute, second] = digits.as_slice() else { return None };
    let shaped = text.len() == 16 && text.as_bytes().get(8) == Some(&b'T') && text.ends_with('Z');
    shaped.then(|| Timestamp::parse(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z")).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_store::{AccessKeyId, RawSecretAccessKey};
    use proptest::prelude::*;

    fn credential(secret: &str) -> ProxyCredential {
        ProxyCredential {
            access_key_id: AccessKeyId::parse("AKIAI2SFODNN7EXAMPLE").unwrap(),
            secret_access_key: RawSecretAccessKey::parse(secret).unwrap(),
        }
    }

    const SECRET: &str = "TestSecretDoNotLeak0123456789012345678901234567";

    #[test]
    fn the_form_is_the_specifications() {
        let region = Region::parse("us-east-1").unwrap();
        let scope = SigningScope {
            method: "POST",
            region: &region,
            host: "xks.example.com",
            path: "/kms/xks/v1/health",
            body: b"{}",
        };
        let signed = sign(&credential(SECRET), &scope, Timestamp::from_unix(1_700_000_000)).unwrap();
        assert_eq!(signed.x_amz_date, "20231114T221320Z");
        let expected = "AWS4-HMAC-SHA256 Credential=AKIAI2SFODNN7EXAMPLE/20231114/us-east-1/kms-xks-proxy/aws4_request, \
                        SignedHeaders=host;x-amz-date, Signature=";
        let signature = signed.authorization.strip_prefix(expected).expect(&signed.authorization);
        assert_eq!(signature.len(), 64);
    }

    proptest! {
        #[test]
        fn sign_and_verify_agree(
            body in proptest::collection::vec(any::<u8>(), 0..200),
            path in "/([a-zA-Z0-9_-]{1,10}/){0,3}kms/xks/v1/health",
            at in 1_600_000_000_i64..2_000_000_000,
            skew in -299_i64..=299,
        ) {
            let region = Region::parse("eu-central-1").unwrap();
            let scope = SigningScope { method: "POST", region: &region, host: "xks.example.com", path: &path, body: &body };
            let signed = sign(&credential(SECRET), &scope, Timestamp::from_unix(at)).unwrap();
            let now = Timestamp::from_unix(at + skew);
            prop_assert_eq!(verify(&credential(SECRET), &scope, &signed, now), Ok(()));
            let other = credential("TestSecretDoNotLeak0123456789012345678901234568");
            prop_assert_eq!(verify(&other, &scope, &signed, now), Err(VerificationError::Mismatch));
            let mut longer = body.clone();
            longer.push(b' ');
            let other = SigningScope { body: &longer, ..scope };
            prop_assert_eq!(verify(&credential(SECRET), &other, &signed, now), Err(VerificationError::Mismatch));
            let other = SigningScope { host: "xks.example.org", ..scope };
            prop_assert_eq!(verify(&credential(SECRET), &other, &signed, now), Err(VerificationError::Mismatch));
            let other = SigningScope { method: "GET", ..scope };
            prop_assert_eq!(verify(&credential(SECRET), &other, &signed, now), Err(VerificationError::Mismatch));
        }
    }

    #[test]
    fn old_signatures_are_refused() {
        let region = Region::parse("us-east-1").unwrap();
        let scope = SigningScope { method: "POST", region: &region, host: "h", path: "/kms/xks/v1/health", body: b"" };
        let signed = sign(&credential(SECRET), &scope, Timestamp::from_unix(1_700_000_000)).unwrap();
        let verified = |now| verify(&credential(SECRET), &scope, &signed, Timestamp::from_unix(now));
        assert_eq!(verified(1_700_000_301), Err(VerificationError::OutsideWindow));
        assert_eq!(verified(1_700_000_300), Ok(()));
        let broken = SignedRequest { x_amz_date: "yesterday".into(), ..signed.clone() };
        let now = Timestamp::from_unix(1_700_000_000);
        assert_eq!(verify(&credential(SECRET), &scope, &broken, now), Err(VerificationError::Malformed));
    }
}
