//! Logs: to standard error, as text or JSON; standard output belongs to results. And traces, where a collector is named.

mod traces;

use std::io::IsTerminal as _;
use std::sync::Arc;

use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, filter_fn};
use tracing_subscriber::prelude::*;

pub use self::traces::Exporter;
use crate::clock::Clock;
use crate::peer::Peer;

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
    /// Absent if a word of it is no level: to the filter it would be the name of a part of this program.
    #[source]
    source: Option<tracing_subscriber::filter::ParseError>,
}

/// Where traces go.
#[derive(Debug)]
pub struct Collector {
    /// The collector; `/v1/traces` below its address takes spans.
    pub peer: Peer,
    /// Whose spans these are.
    pub perspective: String,
    /// Dates spans.
    pub clock: Arc<dyn Clock>,
}

/// Starts logging, and recording for a collector if there is one: the exporter is then to be run. A second call in one
/// process (tests) leaves the first one's settings.
pub fn start(level: &str, format: LogFormat, collector: Option<Collector>) -> Result<Option<Exporter>, InvalidLevel> {
    let invalid = |source| InvalidLevel { given: level.to_owned(), source };
    let is_told = |directive: &str| directive.contains(['=', '[']) || directive.parse::<LevelFilter>().is_ok();
    if !level.split(',').map(str::trim).all(is_told) {
        return Err(invalid(None));
    }
    let filter = EnvFilter::try_new(level).map_err(|source| invalid(Some(source)))?;
    // At trace level the HTTP and AWS crates write whole requests, which may hold a secret: never theirs.
    let ours = filter_fn(|metadata| *metadata.level() < Level::TRACE || metadata.target().starts_with("xks_preflight"));
    let filter = filter.and(ours);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let halves = collector.map(|Collector { peer, perspective, clock }| traces::halves(peer, perspective, clock));
    let (recorder, exporter) = halves.unzip();
    let recorder = recorder.map(|recorder| recorder.with_filter(filter_fn(traces::is_ours)));
    let registry = tracing_subscriber::registry().with(recorder);
    // An error means that logging is already on.
    let _ = match format {
        LogFormat::Text => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            registry.with(layer.with_ansi(colour).with_filter(filter)).try_init()
        }
        LogFormat::Json => registry.with(layer.json().with_filter(filter)).try_init(),
    };
    Ok(exporter)
}
