//! The XKS Proxy API v1 on the wire: requests, answers and refusals, in the sandbox's own shapes.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::sandbox::fault::Operation;

/// Plaintext and ciphertext up to this many bytes must work (XKS spec, Encrypt); more is refused here.
const LONGEST_TEXT: usize = 4300;
/// Additional authenticated data up to this many bytes must work; more is refused here.
const LONGEST_AAD: usize = 8192;
/// `ciphertextMetadata` has at most so many bytes.
const LONGEST_METADATA: usize = 20;

/// The error names of the API (XKS spec, Error codes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum ErrorName {
    /// A parameter is invalid.
    ValidationException,
    /// The key is disabled.
    InvalidStateException,
    /// Ciphertext, IV, AAD or tag is not as it was made.
    InvalidCiphertextException,
    /// The key is not for this operation.
    InvalidKeyUsageException,
    /// The signature is not accepted.
    AuthenticationFailedException,
    /// Secondary authorization denies it.
    AccessDeniedException,
    /// There is no such key.
    KeyNotFoundException,
    /// There is no such path.
    InvalidUriPathException,
    /// Too many requests.
    ThrottlingException,
    /// The proxy or its key manager failed.
    InternalException,
    /// Not implemented, or larger than supported.
    UnsupportedOperationException,
    /// The key manager did not answer in time.
    DependencyTimeoutException,
}

impl ErrorName {
    /// The HTTP status that belongs to the name.
    pub(super) const fn status(self) -> u16 {
        match self {
            Self::ValidationException
            | Self::InvalidStateException
            | Self::InvalidCiphertextException
            | Self::InvalidKeyUsageException => 400,
            Self::AuthenticationFailedException => 401,
            Self::AccessDeniedException => 403,
            Self::KeyNotFoundException | Self::InvalidUriPathException => 404,
            Self::ThrottlingException => 429,
            Self::InternalException => 500,
            Self::UnsupportedOperationException => 501,
            Self::DependencyTimeoutException => 503,
        }
    }
}

/// Why a request is not carried out; `message` is printable ASCII of under 512 characters and repeats no input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) name: ErrorName,
    pub(super) message: &'static str,
}

impl Refusal {
    pub(super) const fn new(name: ErrorName, message: &'static str) -> Self {
        Self { name, message }
    }

    pub(super) fn body(self) -> Vec<u8> {
        serde_json::json!({ "errorName": self.name, "errorMessage": self.message }).to_string().into_bytes()
    }
}

const fn invalid(message: &'static str) -> Refusal {
    Refusal::new(ErrorName::ValidationException, message)
}

const fn oversize(message: &'static str) -> Refusal {
    Refusal::new(ErrorName::UnsupportedOperationException, message)
}

const fn corrupt(message: &'static str) -> Refusal {
    Refusal::new(ErrorName::InvalidCiphertextException, message)
}

/// The envelope of every request. Unknown members are allowed: AWS may add some (XKS spec, appendix B).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Envelope {
    pub(super) request_metadata: RequestMetadata,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RequestMetadata {
    pub(super) aws_principal_arn: Option<String>,
    pub(super) kms_key_arn: Option<String>,
    pub(super) kms_operation: Option<String>,
    pub(super) kms_request_id: Option<String>,
}

impl Envelope {
    /// Reads the envelope and requires what the specification calls required for the operation. Neither ids nor
    /// operation names are judged: the proxy must treat them as opaque.
    pub(super) fn read(operation: Operation, body: &[u8]) -> Result<Self, Refusal> {
        let envelope: Self = read(body)?;
        let metadata = &envelope.request_metadata;
        if metadata.kms_operation.is_none() || metadata.kms_request_id.is_none() {
            return Err(invalid("requestMetadata lacks kmsOperation or kmsRequestId"));
        }
        if operation != Operation::GetHealthStatus && metadata.aws_principal_arn.is_none() {
            return Err(invalid("requestMetadata lacks awsPrincipalArn"));
        }
        if matches!(operation, Operation::Encrypt | Operation::Decrypt) && metadata.kms_key_arn.is_none() {
            return Err(invalid("requestMetadata lacks kmsKeyArn"));
        }
        Ok(envelope)
    }
}

/// An Encrypt request, decoded.
pub(super) struct EncryptRequest {
    pub(super) plaintext: Vec<u8>,
    pub(super) aad: Vec<u8>,
    pub(super) integrity_value_asked: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EncryptShape {
    plaintext: String,
    encryption_algorithm: String,
    additional_authenticated_data: Option<String>,
    ciphertext_data_integrity_value_algorithm: Option<String>,
}

impl EncryptRequest {
    pub(super) fn read(body: &[u8]) -> Result<Self, Refusal> {
        let shape: EncryptShape = read(body)?;
        aes_gcm(&shape.encryption_algorithm)?;
        let integrity_value_asked = match shape.ciphertext_data_integrity_value_algorithm.as_deref() {
            None => false,
            Some("SHA_256") => true,
            Some(_) => return Err(invalid("ciphertextDataIntegrityValueAlgorithm is not SHA_256")),
        };
        let plaintext = decode(&shape.plaintext)?;
        if plaintext.len() > LONGEST_TEXT {
            return Err(oversize("plaintext is longer than 4300 bytes"));
        }
        Ok(Self { plaintext, aad: aad(shape.additional_authenticated_data.as_deref())?, integrity_value_asked })
    }
}

/// A Decrypt request, decoded.
pub(super) struct DecryptRequest {
    pub(super) ciphertext: Vec<u8>,
    pub(super) iv: Vec<u8>,
    pub(super) tag: Vec<u8>,
    pub(super) metadata: Option<Vec<u8>>,
    pub(super) aad: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DecryptShape {
    ciphertext: String,
    initialization_vector: String,
    authentication_tag: String,
    encryption_algorithm: String,
    additional_authenticated_data: Option<String>,
    ciphertext_metadata: Option<String>,
}

impl DecryptRequest {
    pub(super) fn read(body: &[u8]) -> Result<Self, Refusal> {
        let shape: DecryptShape = read(body)?;
        aes_gcm(&shape.encryption_algorithm)?;
        let ciphertext = decode(&shape.ciphertext)?;
        if ciphertext.len() > LONGEST_TEXT {
            return Err(oversize("ciphertext is longer than 4300 bytes"));
        }
        let iv = decode(&shape.initialization_vector)?;
        match iv.len() {
            12 => {}
            16 => return Err(oversize("initializationVector of 16 bytes is not supported by this key manager")),
            _ => return Err(corrupt("initializationVector has neither 12 nor 16 bytes")),
        }
        let tag = decode(&shape.authentication_tag)?;
        if tag.len() != super::external_key::TAG_LENGTH {
            return Err(corrupt("authenticationTag does not have 16 bytes"));
        }
        let metadata = shape.ciphertext_metadata.as_deref().map(decode).transpose()?;
        if metadata.as_ref().is_some_and(|bytes| bytes.len() > LONGEST_METADATA) {
            return Err(corrupt("ciphertextMetadata is longer than 20 bytes"));
        }
        Ok(Self { ciphertext, iv, tag, metadata, aad: aad(shape.additional_authenticated_data.as_deref())? })
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|_| invalid("the body is not the JSON object that this operation takes"))
}

fn aes_gcm(algorithm: &str) -> Result<(), Refusal> {
    if algorithm == "AES_GCM" { Ok(()) } else { Err(invalid("encryptionAlgorithm is not AES_GCM")) }
}

fn aad(text: Option<&str>) -> Result<Vec<u8>, Refusal> {
    let aad = decode(text.unwrap_or_default())?;
    if aad.len() > LONGEST_AAD {
        return Err(oversize("additionalAuthenticatedData is longer than 8192 bytes"));
    }
    Ok(aad)
}

fn decode(text: &str) -> Result<Vec<u8>, Refusal> {
    STANDARD.decode(text).map_err(|_| invalid("a member is not standard base64"))
}

/// The health of one key manager (XKS spec, GetHealthStatus).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum EkmHealth {
    /// Healthy.
    Active,
    /// Unhealthy, but serving.
    Degraded,
    /// Not serving. With every key manager so, key operations are refused with `InternalException`.
    Unavailable,
}

/// One external key manager behind the proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyManager {
    /// Unique within the fleet.
    pub id: String,
    /// Product and version.
    pub model: String,
    /// Its health.
    pub health_status: EkmHealth,
}

/// What the proxy says of itself and of what is behind it; serializes as the answer to GetHealthStatus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fleet {
    /// How many proxies; the API wants more than zero.
    pub xks_proxy_fleet_size: u32,
    /// Who made the proxy.
    pub xks_proxy_vendor: String,
    /// Product and version of the proxy.
    pub xks_proxy_model: String,
    /// Who made the key managers.
    pub ekm_vendor: String,
    /// One to ten key managers.
    pub ekm_fleet_details: Vec<KeyManager>,
}

impl Fleet {
    pub(super) fn is_unavailable(&self) -> bool {
        self.ekm_fleet_details.iter().all(|manager| manager.health_status == EkmHealth::Unavailable)
    }
}

impl Default for Fleet {
    /// Two proxies before two healthy key managers.
    fn default() -> Self {
        let manager = |number| KeyManager {
            id: format!("sandbox-ekm-{number}"),
            model: "Sandbox key manager 1.0".to_owned(),
            health_status: EkmHealth::Active,
        };
        Self {
            xks_proxy_fleet_size: 2,
            xks_proxy_vendor: "Sandbox".to_owned(),
            xks_proxy_model: "Sandbox XKS proxy 1.0".to_owned(),
            ekm_vendor: "Sandbox".to_owned(),
            ekm_fleet_details: (1..=2).map(manager).collect(),
        }
    }
}
