//! Alerting and recording rules: promtool judges and tests them, and what they name exists.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use regex::Regex;
use serde_json::{Value, json};
use xks_preflight::check::{CATALOGUE, Level};

use super::{deployed, expression, run, said, yaml};

const ALERTS: &str = "prometheus/alerts.rules.yml";
const RECORDING: &str = "prometheus/recording.rules.yml";
const TESTS: &str = "prometheus/alerts.test.yml";

fn rules(path: &str) -> Vec<Value> {
    let groups = yaml(path)["groups"].as_array().unwrap().clone();
    groups.into_iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// Every alert, as it stands in the file.
pub(super) fn alerts() -> Vec<Value> {
    let alerts = rules(ALERTS);
    assert!(alerts.len() > 20 && alerts.iter().all(|alert| alert["alert"].is_string()));
    alerts
}

pub(super) fn recorded() -> BTreeSet<String> {
    rules(RECORDING).iter().map(|rule| rule["record"].as_str().unwrap().to_owned()).collect()
}

fn promtool(directory: &Path, arguments: &[&str]) -> std::process::Output {
    run(Command::new("promtool").current_dir(directory).args(arguments))
}

fn expression_of(alert: &str) -> String {
    let alerts = alerts();
    let found = alerts.iter().find(|rule| rule["alert"] == alert).unwrap_or_else(|| panic!("no alert {alert}"));
    found["expr"].as_str().unwrap().to_owned()
}

#[test]
fn promtool_finds_no_fault_and_every_test_of_it_passes() {
    let directory = deployed("prometheus");
    for arguments in [
        // The rule files, too.
        ["check", "config", "prometheus.yml"],
        ["check", "config", "probe.yml"],
        ["test", "rules", "alerts.test.yml"],
    ] {
        let ran = promtool(&directory, &arguments);
        assert!(ran.status.success(), "{arguments:?}: {}", said(&ran));
    }
}

#[test]
fn every_alert_has_a_case_that_fires_and_one_that_does_not() {
    let tests = yaml(TESTS)["tests"].as_array().unwrap().clone();
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        let cases = tests.iter().filter(|test| test["name"] == name);
        let expectations: Vec<Value> =
            cases.flat_map(|test| test["promql_expr_test"].as_array().unwrap().clone()).collect();
        let fires = |expectation: &&Value| expectation["exp_samples"].to_string().contains(&format!("\\\"{name}\\\""));
        // Everything that fires is compared, not the alert alone.
        assert!(expectations.iter().all(|each| each["expr"] == "ALERTS{alertstate=\"firing\"}"), "{name}");
        assert!(expectations.iter().any(|each| fires(&each)), "{name} has no case that fires");
        assert!(!expectations.iter().all(|each| fires(&each)), "{name} has no case that does not fire");
    }
    let alerts = alerts();
    assert!(tests.iter().all(|test| alerts.iter().any(|alert| alert["alert"] == test["name"])), "a test of no alert");
}

/// A test that cannot fail proves nothing: each alert in turn is made mute, and made hasty, and promtool must object.
#[test]
fn the_tests_notice_an_alert_that_is_mute_and_one_that_is_hasty() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy(deployed(RECORDING), directory.path().join("recording.rules.yml")).unwrap();
    let tests = yaml(TESTS);
    // JSON is YAML.
    let passes = |rules: &Value, alert: &Value| {
        let mut own = tests.clone();
        own["tests"].as_array_mut().unwrap().retain(|test| test["name"] == *alert);
        std::fs::write(directory.path().join("alerts.rules.yml"), rules.to_string()).unwrap();
        std::fs::write(directory.path().join("alerts.test.yml"), own.to_string()).unwrap();
        promtool(directory.path(), &["test", "rules", "alerts.test.yml"]).status.success()
    };
    for rule in alerts() {
        let alert = &rule["alert"];
        // Alone: the others cost time and tell nothing here.
        let with = |member: &str, value: &Value| {
            let mut changed = rule.clone();
            changed[member] = value.clone();
            json!({ "groups": [{ "name": "changed", "rules": [changed] }] })
        };
        assert!(passes(&with("expr", &rule["expr"]), alert));
        assert!(!passes(&with("expr", &"vector(0) > 1".into()), alert), "nobody notices that {alert} is mute");
        if rule["for"].is_string() {
            assert!(!passes(&with("for", &"0m".into()), alert), "nobody notices that {alert} is hasty");
        }
    }
}

#[test]
fn every_metric_and_label_that_a_rule_names_exists() {
    let recorded = recorded();
    let every = rules(ALERTS).into_iter().chain(rules(RECORDING));
    let faults: Vec<String> =
        every.flat_map(|rule| expression::unknown_names(rule["expr"].as_str().unwrap(), &recorded)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_alert_says_how_bad_it_is_what_it_means_and_where_to_read_on() {
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        let severity = alert["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning"].contains(&severity), "{name}: {severity}");
        for annotation in ["summary", "description", "runbook_url"] {
            assert!(alert["annotations"][annotation].as_str().unwrap().len() > 20, "{name}: {annotation}");
        }
    }
}

/// Each must has exactly one alert, also those that are added later: what KMS meets at every request is `XksProxyDown`,
/// and the rest counts when somebody updates or connects.
#[test]
fn every_must_of_the_catalogue_has_its_alert() {
    let only = |expression: &str| {
        let matchers = expression::matchers(expression);
        let matcher = matchers.into_iter().find(|matcher| matcher.label == "check").unwrap();
        Regex::new(&format!("^(?:{})$", matcher.value)).unwrap()
    };
    let down = only(&expression_of("XksProxyDown"));
    let not_refused = only(&expression_of("XksUpdateWouldBeRefused"));
    let differ = only(&expression_of("XksKeysDiffer"));
    for check in CATALOGUE.iter() {
        let stage = check.id.split('.').next().unwrap();
        let at_every_request = check.level == Level::Must
            && (["dns", "tcp", "tls", "http", "health", "latency"].contains(&stage) || check.id == "sigv4.accepted")
            && check.id != "health.ekm_available";
        assert_eq!(down.is_match(check.id), at_every_request, "XksProxyDown and {}", check.id);
        let alerts =
            [down.is_match(check.id), !not_refused.is_match(check.id), differ.is_match(check.id)].map(u8::from);
        let expected = u8::from(check.id != "health.ekm_available");
        assert_eq!(alerts.iter().sum::<u8>(), expected, "{} has other than {expected} alerts", check.id);
    }
}
