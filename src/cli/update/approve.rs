//! `update approve`: a person's yes to exactly what was shown.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use clap::Args;
use serde_json::{Value, json};

use super::client::{Call, Client};
use super::words::text;
use super::{Condition, Failure, Order, follow, known_form, result};
use crate::cli::Usage;

/// An update to agree to.
#[derive(Debug, Args)]
pub struct Approve {
    #[command(flatten)]
    pub(super) order: Order,
    /// The approval digest of the update, which stands for exactly one plan and the report of its first pre-flight.
    /// Without it the plan is shown, and a question asked on the terminal.
    #[arg(long, env = "XKS_PREFLIGHT_DIGEST", value_name = "DIGEST")]
    digest: Option<String>,
    /// Agree that keys are unavailable while the key store is disconnected, as the plan's forecast says. On the terminal
    /// that is part of the question.
    #[arg(long, env = "XKS_PREFLIGHT_ACKNOWLEDGE_OUTAGE")]
    acknowledge_outage: bool,
    #[command(flatten)]
    condition: Condition,
}

/// Agrees, and gives the update as it is then.
pub(super) async fn approve(client: &Client, approve: &Approve) -> Result<Value, Failure> {
    let id = known_form(&approve.order.id)?;
    let (digest, outage, seen) = if let Some(digest) = &approve.digest {
        (digest.clone(), approve.acknowledge_outage, None)
    } else {
        let shown = follow::update(client, &id).await?;
        let outage = shown.pointer("/plan/forecast").is_some_and(|forecast| !forecast.is_null());
        let digest = text(&shown, "/approval_digest").to_owned();
        if digest.is_empty() {
            let status = text(&shown, "/status").replace('_', " ");
            return Err(Failure::NotAwaited { id, status });
        }
        ask(&result::update(&shown, None, &client.server.url), &digest, outage)?;
        let seen = shown.get("last_event").and_then(Value::as_u64);
        (digest, outage || approve.acknowledge_outage, seen)
    };
    let body = json!({ "digest": digest, "acknowledge_outage": outage });
    // What was shown is what is agreed to.
    let seen = approve.condition.if_match.or(seen);
    let path = format!("/v1/updates/{id}/approve");
    let call = Call { body: Some(body.to_string().into_bytes()), ..Call::post(&path).if_match(seen) };
    client
        .call(call)
        .await
        .map_err(|source| if source.may_have_worked() { Failure::Unknown { id, source } } else { source.into() })
}

/// Shows what is up for approval and waits for a yes.
fn ask(shown: &str, digest: &str, outage: bool) -> Result<(), Failure> {
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    if !stdin.is_terminal() {
        return Err(Usage("nobody can be asked without a terminal: give --digest".to_owned()).into());
    }
    let known = if outage { ", and is the outage known to whoever depends on the keys" } else { "" };
    let _ = write!(stderr, "{shown}\napproval digest {digest}\nIs exactly this to be done{known}? Type yes: ");
    let _ = stderr.flush();
    let mut answer = String::new();
    let _ = stdin.lock().read_line(&mut answer);
    if answer.trim() == "yes" { Ok(()) } else { Err(Failure::Declined) }
}
