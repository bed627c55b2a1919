//! `xks-preflight completions`: what a shell needs to complete command lines.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, Exit, print};

/// Options of `completions`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  xks-preflight completions bash > /etc/bash_completion.d/xks-preflight\n  \
    source <(xks-preflight completions bash)\n  \
    xks-preflight completions zsh > /usr/local/share/zsh/site-functions/_xks-preflight")]
pub struct Arguments {
    /// Which shell.
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Prints the script.
pub fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "xks-preflight", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
