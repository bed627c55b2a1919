//! Encrypt and Decrypt: requests, answers, and the ciphertext data integrity value (CDIV).

use std::fmt;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value};

use super::document::{Violation, object, parse, string, wrong_type};
use super::operation::{KeyRequestMetadata, json};

/// What Encrypt gives and Decrypt takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ciphertext {
    /// As long as the plaintext.
    pub data: Vec<u8>,
    /// 12 or 16 bytes.
    pub initialization_vector: Vec<u8>,
    /// 16 bytes.
    pub authentication_tag: Vec<u8>,
    /// At most 20 bytes of the proxy's own.
    pub metadata: Option<Vec<u8>>,
}

/// An Encrypt request (XKS proxy API, Encrypt). Its `Debug` does not show the plaintext.
#[derive(Clone, Copy)]
pub struct EncryptRequest<'a> {
    /// The envelope.
    pub metadata: &'a KeyRequestMetadata,
    /// At most 4300 bytes are sure to work.
    pub plaintext: &'a [u8],
    /// At most 8192 bytes; empty means none.
    pub additional_authenticated_data: &'a [u8],
    /// Whether to ask for the CDIV.
    pub with_integrity_value: bool,
}

/// A Decrypt request (XKS proxy API, Decrypt).
#[derive(Clone, Copy, Debug)]
pub struct DecryptRequest<'a> {
    /// The envelope.
    pub metadata: &'a KeyRequestMetadata,
    /// What Encrypt gave.
    pub ciphertext: &'a Ciphertext,
    /// What Encrypt was given.
    pub additional_authenticated_data: &'a [u8],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EncryptBody<'a> {
    request_metadata: &'a KeyRequestMetadata,
    plaintext: String,
    encryption_algorithm: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_authenticated_data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ciphertext_data_integrity_value_algorithm: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DecryptBody<'a> {
    request_metadata: &'a KeyRequestMetadata,
    ciphertext: String,
    initialization_vector: String,
    authentication_tag: String,
    encryption_algorithm: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_authenticated_data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ciphertext_metadata: Option<String>,
}

impl fmt::Debug for EncryptRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptRequest").field("metadata", self.metadata).finish_non_exhaustive()
    }
}

impl EncryptRequest<'_> {
    /// The request's body.
    pub fn body(&self) -> Vec<u8> {
        json(&EncryptBody {
            request_metadata: self.metadata,
            plaintext: STANDARD.encode(self.plaintext),
            encryption_algorithm: "AES_GCM",
            additional_authenticated_data: present(self.additional_authenticated_data),
            ciphertext_data_integrity_value_algorithm: self.with_integrity_value.then_some("SHA_256"),
        })
    }
}

impl DecryptRequest<'_> {
    /// The request's body.
    pub fn body(&self) -> Vec<u8> {
        json(&DecryptBody {
            request_metadata: self.metadata,
            ciphertext: STANDARD.encode(&self.ciphertext.data),
            initialization_vector: STANDARD.encode(&self.ciphertext.initialization_vector),
            authentication_tag: STANDARD.encode(&self.ciphertext.authentication_tag),
            encryption_algorithm: "AES_GCM",
            additional_authenticated_data: present(self.additional_authenticated_data),
            ciphertext_metadata: self.ciphertext.metadata.as_ref().map(|metadata| STANDARD.encode(metadata)),
        })
    }

    /// Reads the plaintext out of an answer with status 200.
    pub fn plaintext(body: &[u8]) -> Result<Vec<u8>, Violation> {
        let document = parse(body)?;
        bytes(object(&document)?, "plaintext")
    }
}

/// An Encrypt answer that obeys the specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncryptedData {
    /// The ciphertext with all that Decrypt needs.
    pub ciphertext: Ciphertext,
}

/// Why an Encrypt answer is not acceptable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CipherViolation {
    /// Its schema is violated.
    #[error(transparent)]
    Schema(#[from] Violation),
    /// The integrity value does not fit the rest of the answer.
    #[error("/ciphertextDataIntegrityValue: does not fit the answer; KMS would discard it")]
    IntegrityValue,
}

impl EncryptedData {
    /// Reads the body of an answer with status 200 and verifies lengths and, if it was asked for, the CDIV.
    pub fn parse(body: &[u8], request: &EncryptRequest<'_>) -> Result<Self, CipherViolation> {
        let document = parse(body)?;
        let map = object(&document)?;
        let data = bytes(map, "ciphertext")?;
        if data.len() != request.plaintext.len() {
            let rule = format!("must be as long as the plaintext ({}), is {}", request.plaintext.len(), data.len());
            return Err(Violation::at("/ciphertext", rule).into());
        }
        let initialization_vector = bytes(map, "initializationVector")?;
        if !matches!(initialization_vector.len(), 12 | 16) {
            let rule = format!("must be 12 or 16 bytes, is {}", initialization_vector.len());
            return Err(Violation::at("/initializationVector", rule).into());
        }
        let authentication_tag = bytes(map, "authenticationTag")?;
        if authentication_tag.len() != 16 {
            let rule = format!("must be 16 bytes, is {}", authentication_tag.len());
            return Err(Violation::at("/authenticationTag", rule).into());
        }
        let metadata = map.contains_key("ciphertextMetadata").then(|| bytes(map, "ciphertextMetadata")).transpose()?;
        if let Some(metadata) = metadata.as_ref().filter(|metadata| metadata.len() > 20) {
            let rule = format!("must be at most 20 bytes, is {}", metadata.len());
            return Err(Violation::at("/ciphertextMetadata", rule).into());
        }
        let ciphertext = Ciphertext { data, initialization_vector, authentication_tag, metadata };
        if request.with_integrity_value {
            let told = bytes(map, "ciphertextDataIntegrityValue")?;
            if told != ciphertext_data_integrity_value(request.additional_authenticated_data, &ciphertext) {
                return Err(CipherViolation::IntegrityValue);
            }
        }
        Ok(Self { ciphertext })
    }
}

/// SHA-256 over AAD, ciphertextMetadata, IV, ciphertext and tag, absent parts empty (XKS proxy API, appendix C).
pub fn ciphertext_data_integrity_value(additional_authenticated_data: &[u8], ciphertext: &Ciphertext) -> Vec<u8> {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(additional_authenticated_data);
    context.update(ciphertext.metadata.as_deref().unwrap_or_default());
    context.update(&ciphertext.initialization_vector);
    context.update(&ciphertext.data);
    context.update(&ciphertext.authentication_tag);
    context.finish().as_ref().to_vec()
}

fn present(data: &[u8]) -> Option<String> {
    (!data.is_empty()).then(|| STANDARD.encode(data))
}

fn bytes(map: &Map<String, Value>, name: &str) -> Result<Vec<u8>, Violation> {
    let text = string(map, "", name)?;
    STANDARD
        .decode(text)
        .map_err(|_| wrong_type("", name, "base64 of the standard alphabet", &Value::String(String::new())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> KeyRequestMetadata {
        KeyRequestMetadata {
            aws_principal_arn: "arn:aws:iam::111122223333:role/verifier".into(),
            kms_key_arn: None,
            kms_operation: "Encrypt".into(),
            kms_request_id: "r1".into(),
        }
    }

    /// The worked example of the specification's appendix C.
    fn worked_example() -> (&'static [u8], Ciphertext) {
        (
            b"project=nile,department=marketing",
            Ciphertext {
                data: STANDARD.decode("ghxkK1txeDNn3q8Y").unwrap(),
                initialization_vector: STANDARD.decode("HMrlRw85cAJUd5Ax").unwrap(),
                authentication_tag: STANDARD.decode("vBxN2ncH1oEkR8WVXpmyYQ==").unwrap(),
                metadata: Some(b"key_version=1".to_vec()),
            },
        )
    }

    #[test]
    fn integrity_value_of_the_worked_example() {
        let (aad, ciphertext) = worked_example();
        assert_eq!(
            STANDARD.encode(ciphertext_data_integrity_value(aad, &ciphertext)),
            "qHA/ImC9h5HsLRXqCyPmWgYx7tzyoTplzILbP0fPXsc="
        );
    }

    #[test]
    fn an_answer_is_verified() {
        let (aad, ciphertext) = worked_example();
        let metadata = metadata();
        let request = EncryptRequest {
            metadata: &metadata,
            plaintext: b"Hello World!",
            additional_authenticated_data: aad,
            with_integrity_value: true,
        };
        let mut answer = serde_json::json!({
            "ciphertext": "ghxkK1txeDNn3q8Y", "initializationVector": "HMrlRw85cAJUd5Ax",
            "authenticationTag": "vBxN2ncH1oEkR8WVXpmyYQ==",
            "ciphertextMetadata": STANDARD.encode("key_version=1"),
            "ciphertextDataIntegrityValue": "qHA/ImC9h5HsLRXqCyPmWgYx7tzyoTplzILbP0fPXsc=",
        });
        assert!(!format!("{request:?}").contains(&format!("{:?}", request.plaintext)), "{request:?}");
        let parsed = EncryptedData::parse(answer.to_string().as_bytes(), &request).unwrap();
        assert_eq!(parsed.ciphertext, ciphertext);
        answer["authenticationTag"] = STANDARD.encode([0_u8; 16]).into();
        assert_eq!(EncryptedData::parse(answer.to_string().as_bytes(), &request), Err(CipherViolation::IntegrityValue));
        answer["authenticationTag"] = STANDARD.encode([0_u8; 12]).into();
        let told = EncryptedData::parse(answer.to_string().as_bytes(), &request).unwrap_err().to_string();
        assert_eq!(told, "/authenticationTag: must be 16 bytes, is 12");
    }

    #[test]
    fn absent_parts_are_left_out_of_the_request() {
        let metadata = metadata();
        let body = EncryptRequest {
            metadata: &metadata,
            plaintext: b"x",
            additional_authenticated_data: b"",
            with_integrity_value: false,
        }
        .body();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["plaintext"], "eA==");
        assert!(body.get("additionalAuthenticatedData").is_none());
        assert!(body["requestMetadata"].get("kmsKeyArn").is_none());
    }
}
