//! Logs: to standard error, as text or JSON; standard output belongs to results.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

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
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_span_events(FmtSpan::NONE).with_writer(std::io::stderr);
    // An error means that logging is already on.
    let _ = match format {
        LogFormat::Text => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            builder.with_ansi(colour).try_init()
        }
        LogFormat::Json => builder.json().try_init(),
    };
    Ok(())
}
