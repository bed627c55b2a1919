//! The Grafana dashboard: every query names what exists, and Prometheus can read it.

use std::process::Command;

use regex::Regex;
use serde_json::Value;

use super::{expression, rules, run, said, text};

const DASHBOARD: &str = "grafana/xks-preflight.json";

fn dashboard() -> Value {
    serde_json::from_str(&text(DASHBOARD)).unwrap()
}

/// All queries, with Grafana's variables replaced by what it would put there.
fn queries(dashboard: &Value) -> Vec<String> {
    let label_values = Regex::new(r"^label_values\((.+), (\w+)\)$").unwrap();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let targets = panel["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
        assert!(panel["type"] == "row" || !targets.is_empty(), "{} asks nothing", panel["title"]);
        queries.extend(targets.iter().map(|target| target["expr"].as_str().unwrap().to_owned()));
    }
    for annotation in dashboard["annotations"]["list"].as_array().unwrap() {
        queries.push(annotation["expr"].as_str().unwrap().to_owned());
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let Some(asked) = variable["query"]["query"].as_str() else { continue };
        let found = label_values.captures(asked).unwrap_or_else(|| panic!("{asked}"));
        queries.push(format!("count by ({}) ({})", &found[2], &found[1]));
    }
    queries.iter().map(|query| query.replace("$__rate_interval", "5m").replace("$key_store", ".+")).collect()
}

#[test]
fn every_metric_and_label_that_a_query_names_exists() {
    let recorded = rules::recorded();
    let queries = queries(&dashboard());
    assert!(queries.len() > 30 && !queries.iter().any(|query| query.contains('$')), "{queries:#?}");
    let faults: Vec<String> = queries.iter().flat_map(|query| expression::unknown_names(query, &recorded)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn prometheus_can_read_every_query() {
    let directory = tempfile::tempdir().unwrap();
    let rules: Vec<Value> = queries(&dashboard())
        .iter()
        .enumerate()
        .map(|(number, query)| serde_json::json!({ "record": format!("query:{number}"), "expr": query }))
        .collect();
    let file = directory.path().join("queries.yml");
    let groups = serde_json::json!({ "groups": [{ "name": "queries", "rules": rules }] });
    std::fs::write(&file, groups.to_string()).unwrap();
    let ran = run(Command::new("promtool").args(["check", "rules"]).arg(file));
    assert!(ran.status.success(), "{}", said(&ran));
}

#[test]
fn panels_have_places_of_their_own_and_say_what_they_show() {
    let dashboard = dashboard();
    let mut taken = std::collections::BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(panel["type"] == "row" || panel["description"].as_str().unwrap().len() > 10, "{}", panel["title"]);
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(x + w <= 24, "{} is outside", panel["title"]);
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(place), "{} covers another panel", panel["title"]);
        }
    }
}
