//! Pipelines and roll-outs that ask the gate: what they call exists, and is answered as they expect.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};

use super::{run, said, yaml};
use crate::api::bench::{Bench, NEW, PATH, PROBER, token};
use crate::peers::BINARY;

/// Every text in a document.
fn texts(value: &Value, all: &mut Vec<String>) {
    match value {
        Value::String(text) => all.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, all)),
        Value::Object(members) => members.values().for_each(|item| texts(item, all)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The command lines of this program in a pipeline.
fn commands(path: &str) -> Vec<String> {
    let mut all = Vec::new();
    texts(&yaml(path), &mut all);
    let lines = all.iter().flat_map(|text| text.lines()).map(str::trim);
    lines.filter(|line| line.starts_with("xks-preflight ")).map(ToOwned::to_owned).collect()
}

#[test]
fn pipelines_call_what_there_is() {
    for path in ["ci/github-actions.yml", "ci/gitlab-ci.yml"] {
        let commands = commands(path);
        assert!(commands.len() >= 2, "{path}: {commands:?}");
        for line in commands {
            let words: Vec<&str> = line.split_whitespace().skip(1).collect();
            let (names, options): (Vec<&str>, Vec<&str>) = {
                let first = words.iter().position(|word| word.starts_with('-')).unwrap();
                (words[..first].to_vec(), words[first..].to_vec())
            };
            let output = run(Command::new(BINARY).args(&names).arg("--help"));
            assert!(output.status.success(), "{path}: {line}: {}", said(&output));
            let help = said(&output);
            let known: BTreeSet<&str> =
                help.split(|c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']' | '=')).collect();
            for option in options.iter().filter(|word| word.starts_with("--")) {
                assert!(known.contains(option), "{path}: {option} is no option of {}", names.join(" "));
            }
        }
    }
}

#[test]
fn pipelines_identify_themselves_for_the_audience_of_the_readme() {
    let mut all = Vec::new();
    texts(&yaml("ci/github-actions.yml"), &mut all);
    texts(&yaml("ci/gitlab-ci.yml"), &mut all);
    assert_eq!(
        all.iter().filter(|text| text.contains("audience=xks-preflight") || *text == "xks-preflight").count(),
        3
    );
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    assert!(readme.contains("audience = \"xks-preflight\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn flagger_and_argo_get_what_they_look_at() {
    let bench = Bench::new("deploy-gates").await;
    let headers = [("content-type", "application/json")];
    let mut asked = 0;
    let here = |body: &Value| {
        let mut body = body.clone();
        assert!(body["XksProxyUriEndpoint"].is_string() && body["XksProxyUriPath"].is_string(), "{body}");
        body["XksProxyUriEndpoint"] = json!(NEW);
        body["XksProxyUriPath"] = json!(PATH);
        body
    };
    let path = |url: &Value| {
        let (_, path) = url.as_str().unwrap().split_once("gate.example.com").unwrap();
        path.to_owned()
    };
    let manifest = yaml("gates/flagger.yaml");
    for webhook in manifest["spec"]["analysis"]["webhooks"].as_array().unwrap() {
        assert!(webhook["metadata"].as_object().unwrap().values().all(Value::is_string), "Flagger knows texts only");
        let body =
            json!({ "name": "n", "namespace": "x", "phase": "Progressing", "metadata": here(&webhook["metadata"]) });
        let answer =
            bench.call("POST", &path(&webhook["url"]), Some(&token(PROBER)), &headers, &body.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        asked += 1;
    }
    let manifest = yaml("gates/argo-analysis.yaml");
    for metric in manifest["spec"]["metrics"].as_array().unwrap() {
        let web = &metric["provider"]["web"];
        assert_eq!((&web["method"], &web["jsonPath"]), (&json!("POST"), &json!("{$.result}")));
        let body = here(&web["jsonBody"]).to_string();
        let answer = bench.call("POST", &path(&web["url"]), Some(&token(PROBER)), &headers, &body).await;
        let condition =
            |name: &str| metric[name].as_str().unwrap().trim_start_matches("result == ").trim_matches('"').to_owned();
        assert_eq!(answer.json()["result"], condition("successCondition"), "{}", answer.body);
        bench.candidate.set_fault(xks_preflight::sandbox::fault::Fault::CertificateExpired).await;
        let answer = bench.call("POST", &path(&web["url"]), Some(&token(PROBER)), &headers, &body).await;
        assert_eq!(answer.json()["result"], condition("failureCondition"), "{}", answer.body);
        asked += 1;
    }
    assert_eq!(asked, 3);
}
