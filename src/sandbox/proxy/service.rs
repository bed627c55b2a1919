//! What the proxy does with a request that it has read: route, verify, carry out. Pure but for the keys.

use std::{sync::PoisonError, time::SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{Method, header, request::Parts};
use serde_json::{Value, json};

use super::{
    Distrust, ErrorName, Shared,
    board::Acting,
    external_key::{ExternalKey, Sealed},
    history::SeenRequest,
    signature::{self, Laxity},
    wire::{DecryptRequest, EncryptRequest, Envelope, Refusal},
};
use crate::sandbox::fault::{Fault, Operation};

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) operation: Operation,
    pub(super) external_key_id: Option<String>,
}

impl Route {
    /// Reads a path below the proxy's `XksProxyUriPath`. A trailing slash, an empty segment or an impossible key id
    /// make it another path.
    pub(super) fn find(uri_path: &str, path: &str) -> Option<Self> {
        let rest = path.strip_prefix(uri_path)?;
        if rest == "/health" {
            return Some(Self { operation: Operation::GetHealthStatus, external_key_id: None });
        }
        let (id, suffix) = rest.strip_prefix("/keys/")?.split_once('/')?;
        let operation = match suffix {
            "metadata" => Operation::GetKeyMetadata,
            "encrypt" => Operation::Encrypt,
            "decrypt" => Operation::Decrypt,
            _ => return None,
        };
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        ((1..=128).contains(&id.len()) && id.bytes().all(allowed))
            .then(|| Self { operation, external_key_id: Some(id.to_owned()) })
    }
}

/// The answer that the proxy would give if no fault bent it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// 200 with this body.
    Success(Value),
    /// An error name with its status.
    Refused(Refusal),
    /// 405 with an empty body.
    MethodNotAllowed,
}

impl Answer {
    const fn status(&self) -> u16 {
        match self {
            Self::Success(_) => 200,
            Self::Refused(refusal) => refusal.name.status(),
            Self::MethodNotAllowed => 405,
        }
    }
}

/// A request with its body, at an instant of the proxy's own clock.
pub(super) struct Received<'a> {
    pub(super) parts: &'a Parts,
    /// None if it was longer than the proxy reads.
    pub(super) body: Option<&'a [u8]>,
    pub(super) route: Option<&'a Route>,
    pub(super) now: SystemTime,
    pub(super) connection: u64,
}

/// Answers a request and records it.
pub(super) fn answer(shared: &Shared, received: &Received<'_>, acting: &Acting) -> (Answer, bool) {
    let trust = match (received.route, acting.has(Fault::AcceptsAnyPath)) {
        (None, false) => None,
        _ => Some(authenticate(shared, received, acting)),
    };
    let answer = match trust {
        None => refuse(ErrorName::InvalidUriPathException, "the proxy serves no such path"),
        Some(Err(_)) => refuse(ErrorName::AuthenticationFailedException, "the signature was not accepted"),
        Some(Ok(())) => carry_out(shared, received, acting).unwrap_or_else(Answer::Refused),
    };
    let authenticated = trust == Some(Ok(()));
    let metadata = received.body.and_then(|body| serde_json::from_slice::<Envelope>(body).ok());
    let metadata = metadata.map(|envelope| envelope.request_metadata).unwrap_or_default();
    let parts = received.parts;
    shared.history.record(SeenRequest {
        at: received.now,
        connection: received.connection,
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        host: parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned),
        user_agent: parts.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).map(str::to_owned),
        operation: received.route.map(|route| route.operation),
        external_key_id: received.route.and_then(|route| route.external_key_id.clone()),
        access_key_id: signature::claimed_access_key_id(&parts.headers).map(str::to_owned),
        kms_operation: metadata.kms_operation,
        kms_request_id: metadata.kms_request_id,
        distrust: trust.and_then(Result::err),
        authenticated,
        status: answer.status(),
        error_name: if let Answer::Refused(refusal) = &answer { Some(refusal.name) } else { None },
        faults: acting.faults(),
    });
    (answer, authenticated)
}

fn refuse(name: ErrorName, message: &'static str) -> Answer {
    Answer::Refused(Refusal::new(name, message))
}

fn authenticate(shared: &Shared, received: &Received<'_>, acting: &Acting) -> Result<(), Distrust> {
    if acting.has(Fault::AcceptsAnything) {
        return Ok(());
    }
    let laxity = Laxity {
        accepts_unsigned: acting.has(Fault::AcceptsUnsigned),
        accepts_wrong_secret: acting.has(Fault::AcceptsWrongSecret),
        accepts_unknown_key_id: acting.has(Fault::AcceptsUnknownKeyId),
        accepts_stale: acting.has(Fault::AcceptsStale),
        host: rewritten_host(received.parts, acting),
    };
    let region = match (acting.has(Fault::WrongRegion), shared.region.as_str()) {
        (false, own) => own,
        (true, "eu-west-1") => "us-east-1",
        (true, _) => "eu-west-1",
    };
    let credentials = shared.credentials.read().unwrap_or_else(PoisonError::into_inner);
    let body = received.body.unwrap_or_default();
    signature::verify(received.parts, body, &credentials, region, received.now, &laxity)
}

/// What a load balancer made of Host, if one did.
fn rewritten_host(parts: &Parts, acting: &Acting) -> Option<String> {
    let sent = || parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    match (acting.has(Fault::HostRewritten), acting.has(Fault::HostWithPort)) {
        (true, _) => Some("xks-proxy.internal:8443".to_owned()),
        (false, true) => sent().map(|host| format!("{host}:443")),
        (false, false) => None,
    }
}

fn carry_out(shared: &Shared, received: &Received<'_>, acting: &Acting) -> Result<Answer, Refusal> {
    let Some(body) = received.body else {
        return Err(Refusal::new(ErrorName::ValidationException, "the body is longer than any request of this API"));
    };
    let Some(route) = received.route else { return Ok(Answer::Success(health(shared))) };
    if received.parts.method != Method::POST {
        let lax = acting.has(Fault::AcceptsGet) && route.operation == Operation::GetHealthStatus;
        return Ok(if lax { Answer::Success(health(shared)) } else { Answer::MethodNotAllowed });
    }
    let content_type = received.parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(Refusal::new(ErrorName::ValidationException, "Content-Type is not application/json"));
    }
    Envelope::read(route.operation, body)?;
    let Some(id) = &route.external_key_id else { return Ok(Answer::Success(health(shared))) };
    let key_operation: fn(&ExternalKey, &[u8], &Acting) -> Result<Value, Refusal> = match route.operation {
        Operation::GetHealthStatus => return Ok(Answer::Success(health(shared))),
        Operation::GetKeyMetadata => metadata,
        Operation::Encrypt => encrypt,
        Operation::Decrypt => decrypt,
    };
    if shared.fleet.read().unwrap_or_else(PoisonError::into_inner).is_unavailable() {
        return Err(Refusal::new(ErrorName::InternalException, "no external key manager is available"));
    }
    let keys = shared.keys.read().unwrap_or_else(PoisonError::into_inner);
    let key = keys.find(id).ok_or(Refusal::new(ErrorName::KeyNotFoundException, "there is no such external key"))?;
    if acting.has(Fault::KeyMaterialSwapped) {
        return key_operation(&key.swapped(), body, acting).map(Answer::Success);
    }
    key_operation(key, body, acting).map(Answer::Success)
}

fn health(shared: &Shared) -> Value {
    json!(*shared.fleet.read().unwrap_or_else(PoisonError::into_inner))
}

#[expect(clippy::unnecessary_wraps, reason = "has the shape of the other key operations")]
fn metadata(key: &ExternalKey, _: &[u8], _: &Acting) -> Result<Value, Refusal> {
    let usages = [(key.may_encrypt(), "ENCRYPT"), (key.may_decrypt(), "DECRYPT")];
    let usages: Vec<_> = usages.into_iter().filter(|(may, _)| *may).map(|(_, usage)| usage).collect();
    let status = if key.is_enabled() { "ENABLED" } else { "DISABLED" };
    Ok(json!({ "keySpec": "AES_256", "keyUsage": usages, "keyStatus": status }))
}

fn encrypt(key: &ExternalKey, body: &[u8], acting: &Acting) -> Result<Value, Refusal> {
    let request = EncryptRequest::read(body)?;
    usable(key, key.may_encrypt())?;
    let bound: &[u8] = if acting.has(Fault::AdditionalDataIgnored) { &[] } else { &request.aad };
    let mut sealed = key.encrypt(&request.plaintext, bound).ok_or(BROKEN)?;
    if request.integrity_value_asked {
        // KMS takes the value as the promise that a later Decrypt will succeed: keep it by trying now.
        usable(key, key.may_decrypt())?;
        if key.decrypt(&sealed, bound).as_ref() != Some(&request.plaintext) {
            return Err(BROKEN);
        }
    }
    if let (true, Some(first)) = (acting.has(Fault::CiphertextCorrupted), sealed.ciphertext.first_mut()) {
        *first ^= 1;
    }
    let mut answer = json!({
        "ciphertext": STANDARD.encode(&sealed.ciphertext),
        "initializationVector": STANDARD.encode(&sealed.iv),
        "authenticationTag": STANDARD.encode(&sealed.tag),
    });
    if let Some(metadata) = &sealed.metadata {
        answer["ciphertextMetadata"] = STANDARD.encode(metadata).into();
    }
    if request.integrity_value_asked {
        answer["ciphertextDataIntegrityValue"] = STANDARD.encode(sealed.integrity_value(&request.aad)).into();
    }
    Ok(answer)
}

fn decrypt(key: &ExternalKey, body: &[u8], acting: &Acting) -> Result<Value, Refusal> {
    let DecryptRequest { ciphertext, iv, tag, metadata, aad } = DecryptRequest::read(body)?;
    usable(key, key.may_decrypt())?;
    let bound: &[u8] = if acting.has(Fault::AdditionalDataIgnored) { &[] } else { &aad };
    let plaintext = key.decrypt(&Sealed { ciphertext, iv, tag, metadata }, bound).ok_or(Refusal::new(
        ErrorName::InvalidCiphertextException,
        "ciphertext, initialization vector, additional authenticated data or tag is not as it was made",
    ))?;
    Ok(json!({ "plaintext": STANDARD.encode(plaintext) }))
}

const BROKEN: Refusal = Refusal::new(ErrorName::InternalException, "the external key manager failed");

fn usable(key: &ExternalKey, may: bool) -> Result<(), Refusal> {
    if !may {
        return Err(Refusal::new(ErrorName::InvalidKeyUsageException, "the external key is not for this operation"));
    }
    if !key.is_enabled() {
        return Err(Refusal::new(ErrorName::InvalidStateException, "the external key is disabled"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_four_paths_below_the_prefix_are_routed() {
        let find = |path| Route::find("/a/kms/xks/v1", path);
        let key = |operation| Some(Route { operation, external_key_id: Some("k-1_.x".into()) });
        assert_eq!(find("/a/kms/xks/v1/health").unwrap().operation, Operation::GetHealthStatus);
        assert_eq!(find("/a/kms/xks/v1/keys/k-1_.x/metadata"), key(Operation::GetKeyMetadata));
        assert_eq!(find("/a/kms/xks/v1/keys/k-1_.x/encrypt"), key(Operation::Encrypt));
        assert_eq!(find("/a/kms/xks/v1/keys/k-1_.x/decrypt"), key(Operation::Decrypt));
        let wrong = ["/a/kms/xks/v1", "/a/kms/xks/v1/health/", "/kms/xks/v1/health", "/a/kms/xks/v1/keys//encrypt"];
        for path in wrong.into_iter().chain(["/a/kms/xks/v1/keys/a%20b/encrypt", "/a/kms/xks/v1/keys/k/sign"]) {
            assert_eq!(find(path), None, "{path}");
        }
        assert_eq!(find(&format!("/a/kms/xks/v1/keys/{}/encrypt", "k".repeat(129))), None);
    }
}
