//! `xks-preflight serve`: the daemon.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Exit, Usage, environment};
use crate::api::{NotReloaded, Reload};
use crate::app::{App, BuildError, Parts};
use crate::audit::By;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::telemetry::{Collector, Exporter};

/// Options of `serve`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  xks-preflight --log-level info serve --config /etc/xks-preflight/config.toml\n\n\
    SIGTERM and SIGINT drain: requests are answered, updates stop at a safe point and go on after the next start.\n\
    SIGHUP reads the configuration anew: all of it or, with a fault, nothing.")]
pub struct Arguments {
    /// The configuration file; `xks-preflight config check FILE` tells all its faults.
    #[arg(long, env = "XKS_PREFLIGHT_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// Where this daemon looks from, for its reports.
    #[arg(long, env = "XKS_PREFLIGHT_PERSPECTIVE", default_value = "xks-preflight daemon", value_name = "NAME")]
    perspective: String,
    /// Ends the process right after this many journal writes: for tests of restarts.
    #[cfg(feature = "sandbox")]
    #[arg(long, env = "XKS_PREFLIGHT_CRASH_AFTER_JOURNAL_WRITES", hide = true)]
    crash_after_journal_writes: Option<u64>,
}

/// Runs the daemon until a signal. `start` begins logging, and recording for a collector if one is configured.
pub(super) fn run(
    arguments: Arguments,
    start: impl FnOnce(Option<Collector>) -> Result<Option<Exporter>, Usage>,
) -> anyhow::Result<Exit> {
    let config = Config::load(&arguments.config, &environment)?;
    let collector = config.traces.clone().map(|peer| Collector {
        peer,
        perspective: arguments.perspective.clone(),
        clock: Arc::new(SystemClock),
    });
    let exporter = start(collector)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(async {
        let parts = Parts {
            clock: Arc::new(SystemClock),
            seed: rand::random(),
            aws_credentials: None,
            perspective: arguments.perspective,
            configuration: Some(arguments.config),
            #[cfg(feature = "sandbox")]
            crash_after_journal_writes: arguments.crash_after_journal_writes,
        };
        let app = match Box::pin(App::build(config, parts)).await {
            Err(
                error @ (BuildError::LaboratoryGate | BuildError::HastyRotation | BuildError::OwnPerspective { .. }),
            ) => {
                return Err(Usage(error.to_string()).into());
            }
            built => built?,
        };
        let stop = stop_on_signal(app.reload())?;
        let told = CancellationToken::new();
        let exporting = exporter.map(|exporter| tokio::spawn(exporter.run(told.clone())));
        app.run(stop).await?;
        told.cancel();
        if let Some(exporting) = exporting {
            // A panic of it has been told by the runtime already.
            let _ = exporting.await;
        }
        Ok(Exit::Done)
    })
}

/// Cancelled by the first SIGTERM or SIGINT. A second one ends the process at once, for whoever cannot wait. SIGHUP has
/// the configuration read anew.
pub(super) fn stop_on_signal(reload: Arc<Reload>) -> anyhow::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hangup.recv() => {
                    let reload = Arc::clone(&reload);
                    // What comes of it is told by whoever does it. One that waits already will read the same file.
                    tokio::spawn(async move {
                        if let Err(why @ (NotReloaded::Busy | NotReloaded::Nowhere)) = reload.order(By::daemon()).await {
                            tracing::warn!(%why, "SIGHUP has no effect");
                        }
                    });
                    continue;
                }
            }
            if stopped.is_cancelled() {
                std::process::abort();
            }
            tracing::info!("asked to stop; draining");
            stopped.cancel();
        }
    });
    Ok(stop)
}
