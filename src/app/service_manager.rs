//! What the service manager (systemd, `Type=notify`) is told: ready, alive, stopping.
//!
//! Ready means that the daemon listens and has taken up its open updates. Alive is said three times in each period of the
//! watchdog, only while the monitor works: a process that answers and looks at nothing is better started anew, and an
//! update loses nothing by it. Without a service manager nothing is said.

use std::sync::Arc;

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use crate::chain::Chain;
use crate::monitor::Monitor;

/// Says that the daemon listens, in words that `systemctl status` shows.
pub(super) fn ready(status: &str) {
    say(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Tells that the daemon stops, when it is told to, and until `ended` that it is alive.
pub(super) async fn attend(monitor: Arc<Monitor>, stop: CancellationToken, ended: CancellationToken) {
    let alive = async {
        let Some(period) = sd_notify::watchdog_enabled().filter(|period| !period.is_zero()) else {
            return std::future::pending().await;
        };
        loop {
            if stop.is_cancelled() || monitor.is_running() {
                say(&[NotifyState::Watchdog]);
            }
            // systemd recommends half of the period (sd_watchdog_enabled(3)); a third forgives one that is late.
            tokio::time::sleep(period / 3).await;
        }
    };
    let stopping = async {
        stop.cancelled().await;
        say(&[NotifyState::Stopping, NotifyState::Status("draining")]);
        std::future::pending::<()>().await;
    };
    ended.run_until_cancelled(async { tokio::join!(alive, stopping) }).await;
}

fn say(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(error = %Chain(&error), "the service manager cannot be told");
    }
}
