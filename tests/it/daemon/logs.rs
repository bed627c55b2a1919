//! Logs for machines: one JSON object a line, which names what it is about.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::daemon::stage::{AWS_ACCESS_KEY_ID, AWS_SECRET, BOUND, NEW, Stage, TOKEN};
use crate::peers::BINARY;

#[tokio::test(flavor = "multi_thread")]
async fn every_line_is_an_object_and_names_update_report_and_requests() {
    let stage = Stage::new("json-logs").await;
    let mut daemon = Command::new(BINARY)
        .args(["--log-level", "debug", "--log-format", "json", "serve", "--config"])
        .arg(stage.directory.join("config.toml"))
        .env("AWS_ACCESS_KEY_ID", AWS_ACCESS_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", AWS_SECRET)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(daemon.stderr.take().unwrap()).lines();
    let mut next = async || -> Option<Value> {
        let line = tokio::time::timeout(BOUND, lines.next_line()).await.unwrap().unwrap()?;
        let object: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(object.is_object() && object["level"].is_string() && object["timestamp"].is_string(), "{line}");
        Some(object)
    };
    let address = loop {
        let line = next().await.expect("it runs");
        if line["fields"]["message"] == "xks-preflight is running" {
            break line["fields"]["address"].as_str().unwrap().to_owned();
        }
    };
    let body = stage.body(json!({ "XksProxyUriEndpoint": NEW }));
    let asked = Command::new("curl")
        .args(["-s", "-H", "content-type: application/json", "-H", &format!("authorization: Bearer {TOKEN}")])
        .args(["-d", &body.to_string(), &format!("http://{address}/v1/updates")])
        .output()
        .await
        .unwrap();
    let update: Value = serde_json::from_slice(&asked.stdout).unwrap();
    let id = update["id"].as_str().unwrap_or_else(|| panic!("{update}"));
    let mut told = Vec::new();
    loop {
        let line = next().await.expect("it goes on");
        let over = line["fields"]["message"] == "update concluded";
        told.push(line);
        if over {
            break;
        }
    }
    let end = told.last().unwrap();
    assert_eq!((&end["fields"]["update"], &end["level"]), (&json!(id), &json!("INFO")), "{end}");
    // Its pre-flights, each with its report, in the span of the update.
    let preflights: Vec<&Value> = told
        .iter()
        .filter(|line| line["fields"]["message"] == "pre-flight finished" && spans(line, "update", id))
        .collect();
    assert!(preflights.len() >= 2, "{told:#?}");
    for line in preflights {
        assert!(line["fields"]["report"].as_str().is_some_and(|report| report.starts_with("report-")), "{line}");
    }
    // What KMS was made to do, with its own request id.
    let requests =
        told.iter().filter(|line| line["fields"]["update"] == id && line["fields"]["kms_request"].is_string());
    assert_eq!(requests.count(), 3, "{told:#?}");
    // What the proxy was asked, with the id that it finds in its own log.
    let asked = told.iter().filter(|line| line["fields"]["kms_request_id"].is_string() && spans(line, "update", id));
    assert!(asked.count() >= 2, "{told:#?}");
    daemon.kill().await.unwrap();
}

/// Whether a line was written in a span with this value.
fn spans(line: &Value, name: &str, value: &str) -> bool {
    line["spans"].as_array().is_some_and(|spans| spans.iter().any(|span| span[name] == value))
}
