//! The four operations, where they are, and the envelopes of their requests.

use serde::Serialize;

use crate::key_store::{ExternalKeyId, XksProxyUriPath};

/// The longest request URI, `https://` and all (XKS proxy API, URI).
pub const LONGEST_URI: usize = 256;

/// An operation of the XKS Proxy API; always POST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XksOperation<'a> {
    /// Is the proxy, and what is behind it, well?
    GetHealthStatus,
    /// Is the key there, of the right kind, and enabled?
    GetKeyMetadata(&'a ExternalKeyId),
    /// AES-GCM encryption with a key.
    Encrypt(&'a ExternalKeyId),
    /// The way back.
    Decrypt(&'a ExternalKeyId),
}

impl XksOperation<'_> {
    /// The specification's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::GetHealthStatus => "GetHealthStatus",
            Self::GetKeyMetadata(_) => "GetKeyMetadata",
            Self::Encrypt(_) => "Encrypt",
            Self::Decrypt(_) => "Decrypt",
        }
    }

    /// The URI's path: `XksProxyUriPath` and the operation's suffix.
    pub fn path(self, prefix: &XksProxyUriPath) -> String {
        match self {
            Self::GetHealthStatus => format!("{prefix}/health"),
            Self::GetKeyMetadata(key) => format!("{prefix}/keys/{key}/metadata"),
            Self::Encrypt(key) => format!("{prefix}/keys/{key}/encrypt"),
            Self::Decrypt(key) => format!("{prefix}/keys/{key}/decrypt"),
        }
    }

    /// How many characters the longest suffix has, for a key id of this length: `/keys/<id>/metadata`.
    pub fn longest_suffix(key_id_length: usize) -> usize {
        "/keys/".len() + key_id_length + "/metadata".len()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<M> {
    request_metadata: M,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HealthMetadata<'a> {
    kms_request_id: &'a str,
    kms_operation: &'a str,
}

/// `requestMetadata` of the three key operations. Ours is honest: the ARNs say that it is a verifier who asks.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyRequestMetadata {
    /// Who asks; up to 2048 characters.
    pub aws_principal_arn: String,
    /// On behalf of which KMS key, where the operation has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key_arn: Option<String>,
    /// The KMS operation that leads to this request.
    pub kms_operation: String,
    /// Opaque; ours carries a marker.
    pub kms_request_id: String,
}

/// The body of a GetHealthStatus request. A proxy must not refuse a `kmsOperation` that it does not know.
pub fn health_request(kms_operation: &str, kms_request_id: &str) -> Vec<u8> {
    json(&Envelope { request_metadata: HealthMetadata { kms_request_id, kms_operation } })
}

/// The body of a GetKeyMetadata request.
pub fn key_metadata_request(metadata: &KeyRequestMetadata) -> Vec<u8> {
    json(&Envelope { request_metadata: metadata })
}

/// Our own types of strings and numbers always serialize; an empty body would be refused by any proxy.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_bodies_are_as_specified() {
        let prefix = XksProxyUriPath::parse("/example/kms/xks/v1").unwrap();
        let key = ExternalKeyId::parse("foo").unwrap();
        assert_eq!(XksOperation::GetHealthStatus.path(&prefix), "/example/kms/xks/v1/health");
        let path = XksOperation::GetKeyMetadata(&key).path(&prefix);
        assert_eq!(path, "/example/kms/xks/v1/keys/foo/metadata");
        assert_eq!(path.len(), prefix.as_str().len() + XksOperation::longest_suffix(3));
        assert_eq!(
            String::from_utf8(health_request("KmsHealthCheck", "r1")).unwrap(),
            r#"{"requestMetadata":{"kmsRequestId":"r1","kmsOperation":"KmsHealthCheck"}}"#
        );
    }
}
