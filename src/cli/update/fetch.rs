//! A document of a daemon as it stands, and orders that are no update's, for other commands.

use std::io::Write as _;

use http::Method;
use serde_json::Value;
use tokio::time::timeout;

use super::client::{Call, CallError, Client, Patience};
use super::server::{Server, ServerOptions};
use crate::chain::Chain;
use crate::cli::{Exit, Usage};

/// More than a page of the audit trail or an update's evidence has.
const LARGEST: usize = 64 * 1024 * 1024;

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum NotFetched {
    #[error(transparent)]
    Usage(#[from] Usage),
    #[error("{why}")]
    Refused { why: String, exit: Exit },
}

impl From<CallError> for NotFetched {
    fn from(error: CallError) -> Self {
        Self::Refused { why: Chain(&error).to_string(), exit: error.exit() }
    }
}

impl NotFetched {
    /// How a command ends that got no document.
    pub(in crate::cli) fn end(self) -> anyhow::Result<Exit> {
        match self {
            Self::Refused { why, exit } => {
                let _ = writeln!(std::io::stderr(), "error: {why}");
                Ok(exit)
            }
            Self::Usage(usage) => Err(usage.into()),
        }
    }
}

/// Asks the daemon for what is under `path`.
pub(in crate::cli) async fn fetch(
    options: &ServerOptions,
    path: &str,
    accept: &'static str,
) -> Result<String, NotFetched> {
    let client = Client { server: Server::from_options(options)?, patience: Patience::default() };
    let within = client.patience.answer;
    let body = timeout(within, async {
        let answer = client.open(Call::get(path), accept).await?;
        client.bounded(answer, LARGEST).await
    });
    let late = |_| Err(CallError::TimedOut { url: client.server.url.clone(), within });
    let body = body.await.unwrap_or_else(late)?;
    Ok(String::from_utf8(body.to_vec()).map_err(|_| client.foreign("it is not text"))?)
}

/// Sends an order, and gives the JSON of the answer.
pub(in crate::cli) async fn send(
    options: &ServerOptions,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, NotFetched> {
    let client = Client { server: Server::from_options(options)?, patience: Patience::default() };
    let reads = method == Method::GET;
    let body = body.map(|body| body.to_string().into_bytes());
    client.call(Call { method, body, ..Call::get(path) }).await.map_err(|error| {
        if reads || !error.may_have_worked() {
            return NotFetched::from(error);
        }
        let why = format!("it is not known whether this was done: {}", Chain(&error));
        NotFetched::Refused { why, exit: Exit::Stuck }
    })
}
