//! Logs: to standard error, as text or JSON; standard output belongs to results.

use std::io::IsTerminal as _;

use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::prelude::*;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One line for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A log filter that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "the log level {given:?} cannot be read; use error, warn, info, debug, trace, or directives such as xks_preflight=debug"
)]
pub struct InvalidLevel {
    given: String,
    #[source]
    source: tracing_subscriber::filter::ParseError,
}

/// Starts logging. A second call in one process (tests) leaves the first one's settings.
pub fn start(level: &str, format: LogFormat) -> Result<(), InvalidLevel> {
    let filter = EnvFilter::try_new(level).map_err(|source| InvalidLevel { given: level.to_owned(), source })?;
    // At trace level the HTTP and AWS crates write whole requests, which may hold a secret: never theirs.
    let ours = filter_fn(|metadata| *metadata.level() < Level::TRACE || metadata.target().starts_with("xks_preflight"));
    let filter = filter.and(ours);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // An error means that logging is already on.
    let _ = match format {
        LogFormat::Text => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            tracing_subscriber::registry().with(layer.with_ansi(colour).with_filter(filter)).try_init()
        }
        LogFormat::Json => tracing_subscriber::registry().with(layer.json().with_filter(filter)).try_init(),
    };
    Ok(())
}
