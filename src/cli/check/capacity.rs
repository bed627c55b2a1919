//! Load from the command line: its bounds, the consent it needs, and its progress on a terminal.

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;

use clap::{Args, ValueEnum};

use crate::check::LoadOperation;
use crate::preflight::{Load, LoadProgress};

/// How long a load lasts unless told otherwise, in seconds.
const USUAL_LENGTH: u32 = 10;

/// Width of the progress bar in characters.
const WIDTH: usize = 30;

/// Options of `check` about load.
#[derive(Debug, Args)]
pub(super) struct LoadArguments {
    /// After a pre-flight that is ready, put this many requests per second on the proxy: at most 2000, and 100000 in all. Stops by itself on errors.
    #[arg(long = "capacity", env = "XKS_PREFLIGHT_CAPACITY", value_name = "RPS")]
    rate: Option<u32>,
    /// For how long, at most 300; 10 by default.
    #[arg(long = "capacity-seconds", env = "XKS_PREFLIGHT_CAPACITY_SECONDS", value_name = "S", requires = "rate")]
    seconds: Option<u32>,
    /// What to ask: encrypt needs --test-key-id and shows in the key manager's audit log.
    #[arg(long = "capacity-operation", env = "XKS_PREFLIGHT_CAPACITY_OPERATION", value_enum, default_value_t)]
    operation: Operation,
    /// Consent to put load on the proxy: the host of --endpoint. Not needed on loopback nor with --ca-file.
    #[arg(long = "capacity-allow", env = "XKS_PREFLIGHT_CAPACITY_ALLOW", value_name = "HOST", requires = "rate")]
    allow: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Operation {
    /// GetHealthStatus.
    #[default]
    Health,
    /// Encrypt with the test key.
    Encrypt,
}

/// What the consent depends on.
pub(super) struct Target<'a> {
    pub(super) endpoint: &'a str,
    pub(super) connect_to: &'a [String],
    pub(super) lab: bool,
    pub(super) has_test_key: bool,
}

impl LoadArguments {
    /// The load that is asked for, if one is; an error is the rule that it breaks.
    pub(super) fn load(&self, target: &Target<'_>, quiet: bool) -> Result<Option<Load>, String> {
        let Some(rate) = self.rate else { return Ok(None) };
        let operation = match self.operation {
            Operation::Health => LoadOperation::GetHealthStatus,
            Operation::Encrypt if target.has_test_key => LoadOperation::Encrypt,
            Operation::Encrypt => return Err("--capacity-operation: encrypt needs --test-key-id".to_owned()),
        };
        let load = Load::new(rate, self.seconds.unwrap_or(USUAL_LENGTH), operation);
        let load = load.map_err(|rule| format!("--capacity: {rule}"))?;
        self.consent(target)?;
        let shows = std::io::stderr().is_terminal() && !quiet;
        Ok(Some(if shows { load.watched_by(Arc::new(show)) } else { load }))
    }

    /// A slip in --endpoint must not become an attack on somebody: whoever asks for load says the host twice.
    fn consent(&self, target: &Target<'_>) -> Result<(), String> {
        let host = target.endpoint.strip_prefix("https://").unwrap_or(target.endpoint);
        match &self.allow {
            Some(allowed) if allowed.eq_ignore_ascii_case(host) => Ok(()),
            Some(_) => Err(format!("--capacity-allow: is another host than that of --endpoint ({host:?})")),
            None if target.lab || is_loopback(target.connect_to) => Ok(()),
            None => Err(format!(
                "--capacity: load on a proxy that may be in use needs consent; if it is yours and may be loaded, add \
                 --capacity-allow {host}"
            )),
        }
    }
}

fn is_loopback(connect_to: &[String]) -> bool {
    let loopback = |place: &String| place.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback());
    !connect_to.is_empty() && connect_to.iter().all(loopback)
}

/// One line on standard error that is written over; gone when the load is over.
fn show(progress: LoadProgress) {
    let mut out = std::io::stderr().lock();
    let over = progress.elapsed >= progress.planned;
    let line = if over { String::new() } else { line(progress) };
    // A terminal that has gone away is no reason to stop.
    let _ = write!(out, "\r\u{1b}[K{line}").and_then(|()| out.flush());
}

fn line(progress: LoadProgress) -> String {
    let part = progress.elapsed.as_secs_f64() / progress.planned.as_secs_f64().max(1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 30")]
    let filled = ((part.clamp(0.0, 1.0) * WIDTH as f64) as usize).min(WIDTH);
    format!(
        "load [{}{}] {:.0}/{:.0} s, {} requests, {} answered, {} failed",
        "=".repeat(filled),
        " ".repeat(WIDTH - filled),
        progress.elapsed.as_secs_f64(),
        progress.planned.as_secs_f64(),
        progress.requests,
        progress.answered,
        progress.failed
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn arguments(allow: Option<&str>) -> LoadArguments {
        let allow = allow.map(str::to_owned);
        LoadArguments { rate: Some(100), seconds: None, operation: Operation::Health, allow }
    }

    fn target(connect_to: &[String], lab: bool) -> Target<'_> {
        Target { endpoint: "https://xks.example.com", connect_to, lab, has_test_key: false }
    }

    #[test]
    fn load_needs_consent_unless_in_a_laboratory_or_on_loopback() {
        let asked = |allow, connect_to: &[&str], lab| {
            let connect_to: Vec<String> = connect_to.iter().map(ToString::to_string).collect();
            arguments(allow).load(&target(&connect_to, lab), true).map(|load| load.is_some())
        };
        assert_eq!(asked(Some("XKS.example.com"), &[], false), Ok(true));
        assert_eq!(asked(None, &[], true), Ok(true));
        assert_eq!(asked(None, &["127.0.0.1:8443", "[::1]:8443"], false), Ok(true));
        for connect_to in [&[][..], &["127.0.0.1:8443", "10.0.0.1:443"], &["xks.example.com:443"]] {
            assert!(asked(None, connect_to, false).unwrap_err().contains("--capacity-allow xks.example.com"));
        }
        assert!(asked(Some("other.example.com"), &[], true).unwrap_err().contains("another host"));
    }

    #[test]
    fn encrypt_needs_a_test_key() {
        let arguments = LoadArguments { operation: Operation::Encrypt, ..arguments(None) };
        assert!(arguments.load(&target(&[], true), true).is_err());
        assert!(arguments.load(&Target { has_test_key: true, ..target(&[], true) }, true).is_ok());
    }

    #[test]
    fn the_bar_fills() {
        let at = |seconds| LoadProgress {
            elapsed: Duration::from_secs(seconds),
            planned: Duration::from_secs(10),
            requests: 50,
            answered: 49,
            failed: 1,
        };
        let bar = format!("load [{}{}] 5/10 s, 50 requests, 49 answered, 1 failed", "=".repeat(15), " ".repeat(15));
        assert_eq!(line(at(5)), bar);
        assert!(line(at(11)).contains(&"=".repeat(WIDTH)));
    }
}
