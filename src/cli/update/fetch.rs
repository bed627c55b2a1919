//! A document of a daemon as it stands, for other commands.

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
