//! The command line: one file for each subcommand.
//!
//! Every option may come from the environment as `XKS_PREFLIGHT_<OPTION>`, apart from what a freeze or a new token is for; a secret is never taken as a plain
//! argument. Results go to standard output, logs and complaints to standard error.

pub mod audit;
pub mod catalogue;
pub mod check;
pub mod completions;
pub mod config;
pub mod freeze;
pub mod kms_token;
pub mod man;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod serve;
pub mod token;
pub mod update;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::chain::Chain;
use crate::check::Verdict;
use crate::config::Faults;
use crate::telemetry::{self, LogFormat};

/// Makes changes to AWS KMS external key stores (XKS) safe.
#[derive(Debug, Parser)]
#[command(name = "xks-preflight", version, max_term_width = 110)]
#[command(after_help = "Exit codes: 0 ready or done, 1 blocked or failed, 2 usage or configuration, 3 inconclusive,\n\
                        4 refused by policy, lock or missing approval, 5 outcome unknown (stuck).\n\
                        A daemon that cannot be asked is 3: nothing was judged.")]
pub struct Cli {
    /// What to log to standard error: error, warn, info, debug, trace, or directives.
    #[arg(long, global = true, env = "XKS_PREFLIGHT_LOG", default_value = "warn", value_name = "LEVEL")]
    log_level: String,
    /// How log lines look.
    #[arg(long, global = true, env = "XKS_PREFLIGHT_LOG_FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Probe a candidate proxy once and judge it in KMS's words; needs no daemon and no AWS account.
    Check(Box<check::Arguments>),
    /// Print the list of checks with level, citation, KMS outcome and remedy.
    Catalogue(catalogue::Arguments),
    /// Run the daemon: monitor, metrics, HTTP API, gate.
    Serve(serve::Arguments),
    /// Check a configuration file, or print its JSON Schema.
    #[command(subcommand)]
    Config(config::Command),
    /// Make bearer tokens for the API.
    #[command(subcommand)]
    Token(token::Command),
    /// Run everything on loopback: simulated KMS and XKS proxies, the daemon in front; needs no AWS account.
    #[cfg(feature = "sandbox")]
    Sandbox(sandbox::Arguments),
    /// Read, export and verify the audit trail and the signed evidence of updates.
    #[command(subcommand)]
    Audit(Box<audit::Command>),
    /// Change a key store through the gate of a running daemon.
    #[command(subcommand)]
    Update(Box<update::Command>),
    /// Stop the beginning of changes at a running daemon, for a time, and lift that again.
    #[command(subcommand)]
    Freeze(freeze::Command),
    /// Print a script that completes this program's command lines in your shell.
    Completions(completions::Arguments),
    /// Print the manual page, or write those of every subcommand.
    Man(man::Arguments),
}

/// How a command ended, for whoever runs it. The same for every subcommand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Ready or done.
    Done,
    /// Blocked or failed.
    Failed,
    /// The command line or the configuration is at fault.
    Usage,
    /// It could not be told, perhaps because nobody could be asked.
    Inconclusive,
    /// Refused by policy, lock or missing approval.
    Refused,
    /// The outcome is unknown; a person must look.
    Stuck,
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Inconclusive => 3,
            Self::Refused => 4,
            Self::Stuck => 5,
        }
    }
}

impl From<Verdict> for Exit {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Ready => Self::Done,
            Verdict::Blocked => Self::Failed,
            Verdict::Inconclusive => Self::Inconclusive,
        }
    }
}

/// A complaint about how the command was called: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Reads the process's arguments and runs what they ask for.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are asked for, everything else is a mistake; clap knows where each belongs.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { Exit::Usage.code() } else { Exit::Done.code() });
        }
    };
    match run(cli) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) => {
            let chain = Chain(error.as_ref()).to_string();
            let _ = writeln!(std::io::stderr(), "error: {chain}");
            let usage = error.chain().any(|cause| cause.is::<Usage>() || cause.is::<Faults>());
            ExitCode::from(if usage { Exit::Usage.code() } else { Exit::Failed.code() })
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<Exit> {
    let start = |collector| {
        let started = telemetry::start(&cli.log_level, cli.log_format, collector);
        started.map_err(|error| Usage(Chain(&error).to_string()))
    };
    // Where the traces of a daemon go is in its configuration.
    if !matches!(cli.command, Command::Serve(_)) {
        start(None)?;
    }
    match cli.command {
        Command::Check(arguments) => check::run(*arguments),
        Command::Catalogue(arguments) => catalogue::run(&arguments),
        Command::Serve(arguments) => serve::run(arguments, start),
        Command::Config(command) => config::run(&command),
        Command::Token(command) => token::run(&command),
        #[cfg(feature = "sandbox")]
        Command::Sandbox(arguments) => sandbox::run(arguments),
        Command::Audit(command) => audit::run(&command),
        Command::Update(command) => update::run(&command),
        Command::Freeze(command) => freeze::run(&command),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Man(arguments) => man::run(&arguments),
    }
}

/// Writes a result to standard output. A reader that has gone away (`| head`) is no error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// The process environment, for [`crate::config::Config::load`].
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Every command below this one, however deep.
    fn below(command: &clap::Command) -> Vec<&clap::Command> {
        let direct = command.get_subcommands().filter(|command| command.get_name() != "help");
        direct.flat_map(|command| std::iter::once(command).chain(below(command))).collect()
    }

    #[test]
    fn every_subcommand_has_an_example() {
        let mut cli = Cli::command();
        cli.build();
        for command in below(&cli) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "{} has no example in its help", command.get_name());
        }
    }

    #[test]
    fn options_may_come_from_the_environment() {
        let mut cli = Cli::command();
        cli.build();
        for command in below(&cli) {
            for argument in command.get_arguments().filter(|argument| argument.get_long().is_some()) {
                let long = argument.get_long().unwrap_or_default();
                if ["help", "version", "log-level"].contains(&long) {
                    continue;
                }
                // What names the key store of an update must neither bound a token nor decide what is frozen.
                let said_only = [("new", "key-store"), ("new-kms", "key-store"), ("set", "key-store"), ("set", "all")];
                let said_only = said_only.iter().chain(&[("lift", "key-store"), ("lift", "all")]);
                if said_only.into_iter().any(|one| *one == (command.get_name(), long)) {
                    assert_eq!(argument.get_env(), None, "{} --{long}", command.get_name());
                    continue;
                }
                let expected = format!("XKS_PREFLIGHT_{}", long.to_uppercase().replace('-', "_"));
                let found = argument.get_env().map(|name| name.to_string_lossy().into_owned());
                assert_eq!(found, Some(expected), "{} --{long}", command.get_name());
            }
        }
    }
}
