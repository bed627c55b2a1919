//! The command line as people and their shells use it, before a real daemon.

mod gate;
mod shell;

use std::process::Stdio;

use crate::daemon::stage::Daemon;
use crate::peers::{BINARY, Run};

/// Runs the binary against the daemon as the holder of a token.
async fn run(daemon: &Daemon, token: &str, arguments: &[&str]) -> Run {
    run_at(&format!("http://{}", daemon.address), token, arguments).await
}

/// The same against another address.
async fn run_at(server: &str, token: &str, arguments: &[&str]) -> Run {
    let mut command = tokio::process::Command::new(BINARY);
    command.args(arguments).env("XKS_PREFLIGHT_SERVER", server).env("XKS_PREFLIGHT_TOKEN", token);
    Run::from(command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap())
}
