//! Successful bodies with one thing wrong.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::sandbox::fault::Fault;

/// 50,000,918 zero bytes in gzip (RFC 1952). One deflate block whose code has a bit for "258 times the last byte" and a
/// bit for the distance 1, so that each zero byte of it stands for four times 258.
pub(super) fn gzip_bomb() -> Vec<u8> {
    const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3];
    const CODE: [u8; 14] = [0xed, 0xc1, 1, 1, 0, 0, 0, 0x80, 0x90, 0xfe, 0xaf, 0xee, 8, 0x0a];
    const END_OF_BLOCK: [u8; 1] = [6];
    const CRC: u32 = 0x0651_9fa8;
    const LENGTH: u32 = 50_000_918;
    let zeros = vec![0; 48_450];
    [&HEAD[..], &CODE, &zeros, &END_OF_BLOCK, &CRC.to_le_bytes(), &LENGTH.to_le_bytes()].concat()
}

/// The body with this fault. A fault that is not about bodies leaves it as it is.
pub(super) fn bend(fault: Fault, mut body: Value) -> String {
    match fault {
        Fault::HealthDuplicateMember => {
            let text = body.to_string();
            return format!("{{\"xksProxyFleetSize\":7,{}", text.trim_start_matches('{'));
        }
        // A number that serde_json would not hold without loss.
        Fault::HealthFleetSizeHuge => {
            body["xksProxyFleetSize"] = json!("HUGE");
            return body.to_string().replace("\"HUGE\"", "100000000000000000000000000000");
        }
        Fault::HealthWithoutFleetSize => remove(&mut body, "xksProxyFleetSize"),
        Fault::HealthWithoutProxyVendor => remove(&mut body, "xksProxyVendor"),
        Fault::HealthWithoutProxyModel => remove(&mut body, "xksProxyModel"),
        Fault::HealthWithoutEkmVendor => remove(&mut body, "ekmVendor"),
        Fault::HealthWithoutEkmFleet => remove(&mut body, "ekmFleetDetails"),
        Fault::HealthEkmWithoutId => on_first_manager(&mut body, |manager| remove(manager, "id")),
        Fault::HealthEkmWithoutModel => on_first_manager(&mut body, |manager| remove(manager, "model")),
        Fault::HealthEkmWithoutStatus => on_first_manager(&mut body, |manager| remove(manager, "healthStatus")),
        Fault::HealthVendorNull => body["xksProxyVendor"] = Value::Null,
        Fault::HealthVendorNumber => body["xksProxyVendor"] = json!(42),
        Fault::HealthFleetSizeString => body["xksProxyFleetSize"] = json!("2"),
        Fault::HealthFleetSizeZero => body["xksProxyFleetSize"] = json!(0),
        Fault::HealthFleetSizeNegative => body["xksProxyFleetSize"] = json!(-1),
        Fault::HealthFleetSizeFractional => body["xksProxyFleetSize"] = json!(1.5),
        Fault::HealthEkmFleetObject => body["ekmFleetDetails"] = json!({ "id": "sandbox-ekm-1" }),
        Fault::HealthEkmFleetEmpty => body["ekmFleetDetails"] = json!([]),
        Fault::HealthEkmFleetEleven => {
            let manager =
                |number| json!({ "id": format!("ekm-{number}"), "model": "Sandbox", "healthStatus": "ACTIVE" });
            body["ekmFleetDetails"] = (1..=11).map(manager).collect();
        }
        Fault::HealthEkmNotObject => on_first_manager(&mut body, |manager| *manager = json!("sandbox-ekm-1")),
        Fault::HealthStatusUnknown => on_first_manager(&mut body, |manager| manager["healthStatus"] = json!("TIRED")),
        Fault::EkmAllUnavailable => {
            for manager in body["ekmFleetDetails"].as_array_mut().into_iter().flatten() {
                manager["healthStatus"] = json!("UNAVAILABLE");
            }
        }
        Fault::EkmOneUnavailable => {
            on_first_manager(&mut body, |manager| manager["healthStatus"] = json!("UNAVAILABLE"));
        }
        Fault::EkmOneDegraded => on_first_manager(&mut body, |manager| manager["healthStatus"] = json!("DEGRADED")),
        Fault::KeySpecRsa => {
            body["keySpec"] = json!("RSA_0");
            body["keyUsage"] = json!([]);
        }
        Fault::KeySpecMissing => remove(&mut body, "keySpec"),
        Fault::KeyDisabled => body["keyStatus"] = json!("DISABLED"),
        Fault::KeyStatusUnknown => body["keyStatus"] = json!("RETIRED"),
        Fault::KeyUsageWithoutEncrypt => body["keyUsage"] = json!(["DECRYPT", "WRAP"]),
        Fault::KeyUsageWithoutDecrypt => body["keyUsage"] = json!(["ENCRYPT", "WRAP"]),
        Fault::KeyUsageEleven => {
            let usages = "ENCRYPT DECRYPT SIGN VERIFY WRAP UNWRAP DERIVE MAC VERIFY_MAC EXPORT IMPORT";
            body["keyUsage"] = usages.split(' ').collect();
        }
        Fault::CdivMissing => remove(&mut body, "ciphertextDataIntegrityValue"),
        Fault::CdivWrong => change(&mut body, "ciphertextDataIntegrityValue", flip_first),
        Fault::CiphertextTooLong => change(&mut body, "ciphertext", |bytes| bytes.push(0)),
        Fault::CiphertextNotBase64 if body.get("ciphertext").is_some() => body["ciphertext"] = json!("_-not base64!"),
        Fault::InitializationVectorShort => change(&mut body, "initializationVector", |bytes| bytes.truncate(8)),
        Fault::AuthenticationTagShort => change(&mut body, "authenticationTag", |bytes| bytes.truncate(12)),
        Fault::CiphertextMetadataOverlong if body.get("ciphertext").is_some() => {
            body["ciphertextMetadata"] = STANDARD.encode([b'm'; 21]).into();
        }
        Fault::PlaintextWrong => change(&mut body, "plaintext", flip_first),
        _ => {}
    }
    body.to_string()
}

fn remove(object: &mut Value, member: &str) {
    if let Some(members) = object.as_object_mut() {
        members.remove(member);
    }
}

fn on_first_manager(body: &mut Value, change: impl FnOnce(&mut Value)) {
    if let Some(manager) = body.pointer_mut("/ekmFleetDetails/0") {
        change(manager);
    }
}

/// Changes a base64 member if the body has it.
fn change(body: &mut Value, member: &str, with: impl FnOnce(&mut Vec<u8>)) {
    let decoded = body.get(member).and_then(Value::as_str).and_then(|text| STANDARD.decode(text).ok());
    if let Some(mut bytes) = decoded {
        with(&mut bytes);
        body[member] = STANDARD.encode(bytes).into();
    }
}

#[expect(clippy::ptr_arg, reason = "has the shape of the other changes")]
fn flip_first(bytes: &mut Vec<u8>) {
    if let Some(first) = bytes.first_mut() {
        *first ^= 1;
    }
}
