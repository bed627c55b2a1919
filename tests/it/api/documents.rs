//! Pre-flights, the catalogue, and the API's own description.

use std::process::Command;

use serde_json::{Value, json};

use super::bench::{Bench, KEY_ID, NEW, PATH, SECRET};

#[tokio::test(flavor = "multi_thread")]
async fn pre_flights_of_all_kinds() {
    let bench = Bench::new("api-preflights").await;
    let credential = json!({ "AccessKeyId": KEY_ID, "RawSecretAccessKey": SECRET });
    let present = json!({ "CustomKeyStoreId": bench.store });
    let change = json!({ "CustomKeyStoreId": bench.store, "XksProxyUriEndpoint": NEW, "options": { "acknowledge_outage": true } });
    let free =
        json!({ "XksProxyUriEndpoint": NEW, "XksProxyUriPath": PATH, "XksProxyAuthenticationCredential": credential });
    let named = json!({ "XksProxyUriEndpoint": NEW, "XksProxyUriPath": PATH, "XksProxyAuthenticationCredential": { "Source": "main" } });
    for body in [present, change, free, named] {
        let answer = bench.post("/v1/preflights", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let report = answer.json();
        assert_eq!(report["verdict"], "ready", "{body}: {:#}", report["kms"]);
        let kept = bench.get(&format!("/v1/preflights/{}", report["id"].as_str().unwrap())).await.json();
        assert_eq!(kept, report);
    }
    // What KMS would refuse as it stands is judged, not refused.
    let unfit = json!({ "XksProxyUriEndpoint": "http://x", "XksProxyUriPath": "/", "XksProxyAuthenticationCredential": { "AccessKeyId": "x", "RawSecretAccessKey": "y" } });
    assert_eq!(bench.post("/v1/preflights", &unfit).await.json()["verdict"], "blocked");
    assert!(bench.mutations().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_tried_when_a_call_asks_for_them() {
    let bench = Bench::new("api-refusals").await;
    bench.candidate.set_fault(xks_preflight::sandbox::fault::Fault::AcceptsUnsigned).await;
    let credential = json!({ "Source": "main" });
    let free =
        json!({ "XksProxyUriEndpoint": NEW, "XksProxyUriPath": PATH, "XksProxyAuthenticationCredential": credential });
    let change = json!({ "CustomKeyStoreId": bench.store, "XksProxyUriEndpoint": NEW });
    for body in [free, change] {
        for (refusals, verdict) in [(true, "blocked"), (false, "ready")] {
            let mut body = body.clone();
            body["options"] = json!({ "refusals": refusals });
            if body["CustomKeyStoreId"].is_string() {
                body["options"]["acknowledge_outage"] = json!(true);
            }
            let report = bench.post("/v1/preflights", &body).await.json();
            assert_eq!(report["verdict"], verdict, "{body}: {report:#}");
        }
    }
    let present = json!({ "CustomKeyStoreId": bench.store, "options": { "refusals": true } });
    let report = bench.post("/v1/preflights", &present).await.json();
    let told = report["findings"].as_array().unwrap().iter().find(|f| f["check"] == "sigv4.refuses_unsigned").unwrap();
    assert_eq!((&report["verdict"], &told["outcome"]), (&json!("ready"), &json!("passed")), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn key_stores_show_what_kms_tells_and_what_probes_found() {
    let bench = Bench::new("api-stores").await;
    let path = format!("/v1/key-stores/{}", bench.store);
    let probed = bench.until(&path, |answer| answer.json()["latest"]["verdict"] == "ready").await.json();
    assert_eq!(probed["description"]["XksProxyConfiguration"]["AccessKeyId"], KEY_ID);
    let reports = bench.get(&format!("{path}/reports")).await.json();
    assert_eq!(reports["reports"][0]["verdict"], "ready");
    bench.current.remove_credential(KEY_ID);
    // A probe that was under way then may have had its health check accepted and nothing after it.
    let refused = |latest: &Value| latest["verdict"] == "blocked" && latest["check"] == "sigv4.accepted";
    bench.until(&path, |answer| refused(&answer.json()["latest"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_covers_every_path_and_validates() {
    let bench = Bench::new("api-openapi").await;
    let document = bench.get("/openapi.json").await;
    let description = document.json();
    assert!(description["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    let paths = description["paths"].as_object().unwrap();
    assert!(paths.len() >= 13, "{}", paths.len());
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            let known = path.replace("{id}", "none");
            let answer = bench.call(&method.to_uppercase(), &known, Some(&bench.operator), &[], "").await;
            assert_ne!(answer.json()["reason"], "no_such_path", "{method} {path}");
            assert_ne!(answer.status, 405, "{method} {path}");
            assert!(operation["responses"]["default"]["content"]["application/problem+json"].is_object());
        }
    }
    assert_eq!(description["security"], json!([{ "bearer": [] }, { "mutual_tls": [] }]));
    let checks: Value = bench.get("/v1/checks").await.json();
    assert_eq!(checks["checks"].as_array().unwrap().len(), xks_preflight::check::CATALOGUE.len());
    validate(&document.body);
}

/// Asks a validator of others' making, which `tests/run` installs; otherwise it is skipped.
fn validate(document: &str) {
    let Some(python) = std::env::var_os("XKS_TEST_PYTHON") else {
        assert!(std::env::var_os("XKS_TEST_OUTPUT").is_none(), "tests/run sets XKS_TEST_PYTHON");
        return;
    };
    let file = crate::peers::output_directory("openapi").join("openapi.json");
    std::fs::write(&file, document).unwrap();
    let ran = Command::new(python).args(["-m", "openapi_spec_validator"]).arg(&file).output().unwrap();
    assert!(ran.status.success(), "{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
}
