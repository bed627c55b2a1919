//! Reads PromQL as far as it names metrics and labels, and holds them against the code's one list.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;
use xks_preflight::check::CATALOGUE;
use xks_preflight::key_store::ConnectionState;
use xks_preflight::metrics::{Kind, METRICS, Metric, PREFIX};
use xks_preflight::update::StatusName;
use xks_preflight::xks::EkmHealth;

/// Made by Prometheus itself, or by promtool.
const FOREIGN: [(&str, &[&str]); 2] = [("up", &[]), ("ALERTS", &["alertname", "alertstate", "severity"])];

/// What Prometheus adds to every series.
const TARGET: [&str; 3] = ["job", "instance", "le"];

static SELECTOR: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{[^}]*\})?\s*(\(?)").unwrap());
static MATCHER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)""#).unwrap());
static GROUPING: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)").unwrap());

/// Words of the language that could be taken for metrics; functions are told by the parenthesis that follows.
const WORDS: [&str; 9] = ["and", "or", "unless", "bool", "by", "on", "without", "ignoring", "offset"];

/// A label and what it is compared with.
pub(super) struct Matcher {
    pub(super) label: String,
    pub(super) is_pattern: bool,
    pub(super) value: String,
}

/// The label matchers of a selector in braces.
pub(super) fn matchers(selector: &str) -> Vec<Matcher> {
    let matcher = |found: regex::Captures<'_>| Matcher {
        label: found[1].to_owned(),
        is_pattern: found[2].ends_with('~'),
        value: found[3].to_owned(),
    };
    MATCHER.captures_iter(selector).map(matcher).collect()
}

/// Everything that an expression names and that nobody has, with the expression. `recorded` are the names of recording
/// rules.
pub(super) fn unknown_names(expression: &str, recorded: &BTreeSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let bare = GROUPING.replace_all(expression, "");
    // Words in quotes are no names: each is emptied where it stands outside of braces.
    for found in SELECTOR.captures_iter(&bare) {
        let (name, braces) = (&found[1], found.get(2).map_or("", |braces| braces.as_str()));
        if WORDS.contains(&name) || (!found[3].is_empty() && braces.is_empty()) || is_duration(&bare, &found) {
            continue;
        }
        if recorded.contains(name) {
            continue;
        }
        match labels_of(name) {
            None => faults.push(format!("no metric {name}")),
            Some(labels) => {
                for Matcher { label, is_pattern, value } in matchers(braces) {
                    if !labels.contains(&label.as_str()) && !TARGET.contains(&label.as_str()) {
                        faults.push(format!("{name} has no label {label}"));
                    } else if !can_be(&label, &value, is_pattern) {
                        faults.push(format!("{name}: {label} is never {value:?}"));
                    }
                }
            }
        }
    }
    let every: Vec<&str> = METRICS.iter().flat_map(|metric| metric.labels.iter().copied()).chain(TARGET).collect();
    for found in GROUPING.captures_iter(expression) {
        for label in found[1].split(',').map(str::trim).filter(|label| !label.is_empty()) {
            if !every.contains(&label) {
                faults.push(format!("no metric has a label {label}"));
            }
        }
    }
    faults.iter().map(|fault| format!("{fault} in {expression}")).collect()
}

/// `30m` in `[30m]`.
fn is_duration(text: &str, found: &regex::Captures<'_>) -> bool {
    let start = found.get(1).map_or(0, |name| name.start());
    text[..start].ends_with(|c: char| c.is_ascii_digit())
}

fn labels_of(name: &str) -> Option<&'static [&'static str]> {
    let foreign = FOREIGN.iter().find(|(foreign, _)| *foreign == name).map(|(_, labels)| *labels);
    foreign.or_else(|| metric(name).map(|metric| metric.labels))
}

/// The metric that a series belongs to; a histogram has three names.
fn metric(name: &str) -> Option<&'static Metric> {
    let name = name.strip_prefix(PREFIX)?;
    let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
    METRICS.iter().find(|metric| match metric.kind {
        Kind::Histogram => histogram == Some(metric.name),
        Kind::Counter | Kind::Gauge => metric.name == name,
    })
}

/// Labels with closed vocabularies must be compared with a word of them.
fn can_be(label: &str, value: &str, is_pattern: bool) -> bool {
    let words: Vec<&str> = match label {
        "check" => CATALOGUE.iter().map(|check| check.id).collect(),
        "level" => vec!["must", "should", "advice"],
        "state" => ConnectionState::NAMES.into_iter().chain(EkmHealth::ALL.map(EkmHealth::as_str)).collect(),
        "status" | "outcome" => StatusName::ALL.map(StatusName::as_str).to_vec(),
        _ => return true,
    };
    // A variable of a dashboard stands for any word.
    if value.starts_with('$') {
        return true;
    }
    if !is_pattern {
        return words.contains(&value);
    }
    // Each alternative on its own would have to match; those that are lists of whole words are looked at one by one.
    let anchored = |pattern: &str| Regex::new(&format!("^(?:{pattern})$")).unwrap();
    let plain = value.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '|');
    let alternatives: Vec<&str> = if plain { value.split('|').collect() } else { vec![value] };
    alternatives.into_iter().all(|pattern| words.iter().any(|word| anchored(pattern).is_match(word)))
}

#[test]
fn what_nobody_has_is_told() {
    let recorded = BTreeSet::from(["key_store:x:p99".to_owned()]);
    for (expression, faults) in [
        (r#"max by (key_store) (rate(xks_preflight_probe_seconds_bucket{le="0.2"}[5m])) > 0"#, 0),
        (r#"key_store:x:p99 > 0.2 and on (key_store) up{job="x"} == 0 or absent(up)"#, 0),
        ("xks_preflight_probe_succes == 0", 1),
        ("xks_preflight_probe_success_bucket", 1),
        ("xks_preflight_probe_seconds", 1),
        ("rate(key_store:y:p99[5m])", 1),
        ("probe_success", 1),
        (r#"xks_preflight_probe_success{keystore="a"}"#, 1),
        (r#"xks_preflight_check_failing{check="tls.kms_root"}"#, 1),
        (r#"xks_preflight_check_failing{check=~"tsl[.].+"}"#, 1),
        (r#"xks_preflight_update_open{status=~"running|rolling"}"#, 1),
        ("sum by (keystore) (xks_preflight_probe_success)", 1),
    ] {
        assert_eq!(unknown_names(expression, &recorded).len(), faults, "{expression}");
    }
}
