//! Answers that nobody foresaw: whatever a proxy sends is read or refused, and what is read obeys the specification.
//!
//! What is right is decided here a second time, in the plainest words, and compared.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    Ciphertext, DecryptRequest, EncryptRequest, EncryptedData, HealthStatus, KeyMetadata, KeyRequestMetadata, Refusal,
    ciphertext_data_integrity_value,
};

const AAD: &[u8] = b"additional";
const PLAINTEXT: &[u8] = b"sixteen bytes ok";

fn any_json() -> impl Strategy<Value = Value> {
    let words = prop_oneof![
        Just("ACTIVE"),
        Just("UNAVAILABLE"),
        Just("AES_256"),
        Just("ENCRYPT"),
        Just("ENABLED"),
        Just("DISABLED"),
        Just(""),
        Just("AAAAAAAAAAAAAAAA"),
        Just("active"),
        Just("\u{1b}[2J\0"),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        words.prop_map(Value::from),
        "\\PC{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 12, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..12).prop_map(Value::from),
            prop::collection::hash_map("[a-zA-Z]{0,8}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// Every place in a document, as a pointer.
fn places(value: &Value, base: &str, found: &mut Vec<String>) {
    found.push(base.to_owned());
    match value {
        Value::Object(map) => map.iter().for_each(|(name, value)| places(value, &format!("{base}/{name}"), found)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, value)| places(value, &format!("{base}/{at}"), found));
        }
        _ => {}
    }
}

/// A document of which one place is something else, or gone.
fn spoiled(good: Value) -> impl Strategy<Value = Value> {
    let mut all = Vec::new();
    places(&good, "", &mut all);
    (prop::sample::select(all), prop::option::weighted(0.8, any_json())).prop_map(move |(place, with)| {
        let mut document = good.clone();
        if let Some(with) = with {
            *document.pointer_mut(&place).unwrap() = with;
        } else {
            let (parent, name) = place.rsplit_once('/').unwrap_or_default();
            match document.pointer_mut(parent).unwrap() {
                Value::Object(map) => drop(map.remove(name)),
                Value::Array(items) => drop(items.pop()),
                _ => {}
            }
        }
        document
    })
}

fn health() -> Value {
    json!({
        "xksProxyFleetSize": 2, "xksProxyVendor": "Acme", "xksProxyModel": "P1", "ekmVendor": "Hsm Inc",
        "ekmFleetDetails": [
            {"id": "hsm-1", "model": "Luna", "healthStatus": "ACTIVE"},
            {"id": "hsm-2", "model": "Luna", "healthStatus": "DEGRADED"},
        ]
    })
}

fn is_health(value: &Value) -> bool {
    let manager = |entry: &Value| {
        entry["id"].is_string()
            && entry["model"].is_string()
            && ["ACTIVE", "DEGRADED", "UNAVAILABLE"].iter().any(|status| entry["healthStatus"] == *status)
    };
    value["xksProxyFleetSize"].is_i64()
        && ["xksProxyVendor", "xksProxyModel", "ekmVendor"].iter().all(|name| value[name].is_string())
        && value["ekmFleetDetails"]
            .as_array()
            .is_some_and(|all| (1..=10).contains(&all.len()) && all.iter().all(manager))
}

fn metadata() -> Value {
    json!({"keySpec": "AES_256", "keyUsage": ["ENCRYPT", "DECRYPT"], "keyStatus": "ENABLED"})
}

fn is_metadata(value: &Value) -> bool {
    value["keySpec"].is_string()
        && value["keyUsage"].as_array().is_some_and(|all| all.len() <= 10 && all.iter().all(Value::is_string))
        && ["ENABLED", "DISABLED"].iter().any(|status| value["keyStatus"] == *status)
}

fn request(metadata: &KeyRequestMetadata) -> EncryptRequest<'_> {
    EncryptRequest { metadata, plaintext: PLAINTEXT, additional_authenticated_data: AAD, with_integrity_value: true }
}

fn encrypted() -> Value {
    let ciphertext = Ciphertext {
        data: vec![7; PLAINTEXT.len()],
        initialization_vector: vec![1; 12],
        authentication_tag: vec![2; 16],
        metadata: Some(vec![3; 4]),
    };
    let encoded = |bytes: &[u8]| STANDARD.encode(bytes);
    json!({
        "ciphertext": encoded(&ciphertext.data),
        "initializationVector": encoded(&ciphertext.initialization_vector),
        "authenticationTag": encoded(&ciphertext.authentication_tag),
        "ciphertextMetadata": encoded(&[3; 4]),
        "ciphertextDataIntegrityValue": encoded(&ciphertext_data_integrity_value(AAD, &ciphertext)),
    })
}

fn key_request() -> KeyRequestMetadata {
    KeyRequestMetadata {
        aws_principal_arn: "arn:aws:iam::111122223333:role/verifier".into(),
        kms_key_arn: None,
        kms_operation: "Encrypt".into(),
        kms_request_id: "r1".into(),
    }
}

proptest! {
    #[test]
    fn health_is_read_exactly_if_it_obeys_the_specification(document in spoiled(health())) {
        let read = HealthStatus::parse(document.to_string().as_bytes());
        prop_assert_eq!(read.is_ok(), is_health(&document), "{:?}", read);
    }

    #[test]
    fn metadata_are_read_exactly_if_they_obey_the_specification(document in spoiled(metadata())) {
        let read = KeyMetadata::parse(document.to_string().as_bytes());
        prop_assert_eq!(read.is_ok(), is_metadata(&document), "{:?}", read);
        if let Ok(read) = read {
            let usable = document["keySpec"] == "AES_256" && document["keyStatus"] == "ENABLED"
                && ["ENCRYPT", "DECRYPT"].iter().all(|usage| document["keyUsage"].as_array().unwrap().contains(&json!(usage)));
            prop_assert_eq!(read.shortcomings().is_empty(), usable);
        }
    }

    #[test]
    fn of_an_encrypt_answer_nothing_may_be_changed(document in spoiled(encrypted())) {
        let metadata = key_request();
        let read = EncryptedData::parse(document.to_string().as_bytes(), &request(&metadata));
        // The integrity value covers all the rest; members that are not read may be anything.
        let same = encrypted().as_object().unwrap().iter().all(|(name, value)| document.get(name) == Some(value));
        prop_assert_eq!(read.is_ok(), same, "{:?}", read);
    }

    #[test]
    fn a_refusal_has_a_name_and_shows_no_control_characters(document in spoiled(json!({"errorName": "X", "errorMessage": "y"}))) {
        let read = Refusal::parse(document.to_string().as_bytes());
        let right = document["errorName"].is_string() && document.get("errorMessage").is_none_or(Value::is_string);
        prop_assert_eq!(read.is_ok(), right && document.is_object());
        if let Ok(read) = read {
            prop_assert!(read.name_as_sent.chars().count() <= 100 && !read.name_as_sent.chars().any(char::is_control));
        }
    }

    #[test]
    fn no_bytes_break_a_reader(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0..200_usize) {
        let metadata = key_request();
        for good in [health().to_string(), metadata_text(), encrypted().to_string()] {
            // Garbage, garbage within what is right, and what ends in the middle.
            let (before, after) = good.as_bytes().split_at(at.min(good.len()));
            for body in [bytes.clone(), [before, &bytes, after].concat(), before.to_vec()] {
                let strict = serde_json::from_slice::<Value>(&body).is_ok();
                prop_assert!(strict || HealthStatus::parse(&body).is_err());
                prop_assert!(strict || KeyMetadata::parse(&body).is_err());
                prop_assert!(strict || EncryptedData::parse(&body, &request(&metadata)).is_err());
                prop_assert!(strict || DecryptRequest::plaintext(&body).is_err());
                prop_assert!(strict || Refusal::parse(&body).is_err());
            }
        }
    }
}

fn metadata_text() -> String {
    metadata().to_string()
}
