//! sslyze: its JSON, read by the rules of KMS.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use super::run;
use crate::matrix::Stage;
use crate::peers::HOST;

/// The suites of which KMS needs one.
const SUITES: [&str; 4] = [
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
];

/// It tries several versions of TLS three times each before it says anything of a server that stalls.
const SILENCE: Duration = Duration::from_mins(2);

/// What sslyze calls the root that it was given.
const GIVEN: &str = "Supplied CA file";

pub(super) async fn probe(stage: &Stage, python: &Path) -> (bool, String) {
    let (address, json) = (stage.proxies[0].address(), stage.directory.join("sslyze.json"));
    let mut command = Command::new(python);
    command
        .args(["-m", "sslyze", "--mozilla_config=disable", "--certinfo", "--certinfo_ca_file"])
        .arg(stage.directory.join("ca.pem"))
        .args(["--tlsv1_2", "--tlsv1_3"])
        .arg(format!("--json_out={}", json.display()))
        .arg(format!("{HOST}:{}{{{}}}", address.port(), address.ip()));
    let (_, output) = run(command, SILENCE).await;
    // The modulus of an RSA key is a number of a thousand digits, which serde_json does not take.
    let mut jq = Command::new("jq");
    jq.args(["--compact-output", "del(.. | .public_key?) | .server_scan_results[0]"]).arg(&json);
    let (_, scan) = run(jq, SILENCE).await;
    match serde_json::from_str::<Value>(&scan) {
        Ok(scan) => {
            let complaints = complaints(&scan);
            (complaints.is_empty(), complaints.join("\n"))
        }
        // It ended without a report.
        Err(_) => (false, output),
    }
}

/// What keeps its user from being content.
fn complaints(scan: &Value) -> Vec<String> {
    let mut complaints = Vec::new();
    if scan["connectivity_status"] != "COMPLETED" {
        complaints.push(last_line(&scan["connectivity_error_trace"]));
        return complaints;
    }
    if scan["connectivity_result"]["client_auth_requirement"] == "REQUIRED" {
        complaints.push("client certificate required".to_owned());
    }
    let results = &scan["scan_result"];
    let certificates = &results["certificate_info"];
    for result in [certificates, &results["tls_1_2_cipher_suites"], &results["tls_1_3_cipher_suites"]] {
        if result["status"] != "COMPLETED" {
            complaints.push(format!("{} {}", result["error_reason"], last_line(&result["error_trace"])));
        }
    }
    for deployment in certificates["result"]["certificate_deployments"].as_array().into_iter().flatten() {
        let paths = deployment["path_validation_results"].as_array().into_iter().flatten();
        for path in paths.filter(|path| path["trust_store"]["name"] == GIVEN) {
            if path["was_validation_successful"] != true {
                complaints.push(format!("not trusted: {}", path["validation_error"]));
            }
        }
        if deployment["verified_chain_has_sha1_signature"] == true {
            complaints.push("SHA1 in the chain".to_owned());
        }
    }
    let accepted = |version: &str| -> Vec<String> {
        let suites = results[version]["result"]["accepted_cipher_suites"].as_array().into_iter().flatten();
        suites.filter_map(|suite| suite["cipher_suite"]["name"].as_str()).map(ToOwned::to_owned).collect()
    };
    let accepted = [accepted("tls_1_2_cipher_suites"), accepted("tls_1_3_cipher_suites")].concat();
    if !accepted.iter().any(|suite| SUITES.contains(&suite.as_str())) {
        complaints.push(format!("no suite of KMS's among {accepted:?}"));
    }
    complaints
}

/// Of a Python traceback what was raised.
fn last_line(trace: &Value) -> String {
    match trace {
        Value::Array(lines) => lines.iter().rev().find_map(Value::as_str).unwrap_or_default().trim().to_owned(),
        Value::String(text) => text.trim().lines().last().unwrap_or_default().to_owned(),
        _ => String::new(),
    }
}
