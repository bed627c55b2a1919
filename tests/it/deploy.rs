//! What is deployed beside the binary is held against the code: nothing under `deploy/` names what does not exist.

mod chart;
mod dashboard;
mod expression;
mod pipelines;
mod policies;
mod rules;
mod runbooks;
mod tree;
mod unit;

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

/// A path below `deploy/`.
fn deployed(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(deployed(path)).unwrap_or_else(|error| panic!("deploy/{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&text(path)).unwrap_or_else(|error| panic!("deploy/{path}: {error}"))
}

/// Runs a tool that `tests/run` installs.
fn run(command: &mut Command) -> Output {
    let program = command.get_program().to_owned();
    command.output().unwrap_or_else(|error| panic!("{}: {error}; tests/run installs it", program.display()))
}

/// Both streams, for messages.
fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
