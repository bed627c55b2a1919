//! The list of checks as text, JSON and Markdown.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::markdown::cell;
use crate::check::{CATALOGUE, Check};
use crate::key_store::{KmsException, KmsOutcome};

/// The catalogue as JSON: an array of checks in their order.
pub fn json() -> Value {
    CATALOGUE.iter().map(check).collect()
}

fn check(check: &Check) -> Value {
    json!({
        "id": check.id,
        "stage": check.stage.as_str(),
        "level": check.level.as_str(),
        "title": check.title,
        "remedy": check.remedy,
        "citation": { "source": check.citation.source, "section": check.citation.section },
        "kms": check.kms.as_ref().map(|kms| json!({
            "exception": kms.exception,
            "also": kms.also,
            "connection_error_code": kms.connection_error_code,
            "retryable": kms.retryable,
        })),
    })
}

/// What KMS would raise, briefly.
fn kms_words(kms: &KmsOutcome) -> String {
    let exceptions: Vec<&str> = [kms.exception, kms.also].into_iter().flatten().map(KmsException::as_str).collect();
    let mut words = exceptions.join(" or ");
    if let Some(code) = &kms.connection_error_code {
        if !words.is_empty() {
            words.push_str(" / ");
        }
        words.push_str(code.as_str());
    }
    words
}

/// The catalogue for people.
pub fn text() -> String {
    let mut out = String::new();
    for check in CATALOGUE.iter() {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{:<28} {:<6}  {}", check.id, check.level.as_str(), check.title);
        if let Some(kms) = &check.kms {
            let _ = writeln!(out, "{:<37}KMS: {}", "", kms_words(kms));
        }
        let _ = writeln!(out, "{:<37}{}", "", check.remedy);
        let _ = writeln!(out, "{:<37}[{}; {}]\n", "", check.citation.source, check.citation.section);
    }
    out
}

/// The catalogue as a Markdown table; the README holds it, and a test compares.
pub fn markdown() -> String {
    let mut out = String::from("| check | level | holds when | KMS would raise |\n|---|---|---|---|\n");
    for check in CATALOGUE.iter() {
        let kms = check.kms.as_ref().map(kms_words).unwrap_or_default();
        let _ = writeln!(out, "| `{}` | {} | {} | {} |", check.id, check.level.as_str(), cell(check.title), cell(&kms));
    }
    out
}
