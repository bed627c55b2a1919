//! `xks-preflight man`: manual pages, made of the same words as `--help`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};

use super::{Cli, Exit, print};

/// Options of `man`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  xks-preflight man | man -l -\n  \
    xks-preflight man --directory /usr/local/share/man/man1")]
pub struct Arguments {
    /// Write a page for every subcommand into this directory, which must exist, instead of printing that of the whole.
    #[arg(long, env = "XKS_PREFLIGHT_DIRECTORY", value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Prints or writes the pages.
pub fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let command = Cli::command();
    if let Some(directory) = &arguments.directory {
        let written = clap_mangen::generate_to(command, directory);
        written.with_context(|| format!("cannot write manual pages into {}", directory.display()))?;
    } else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command.disable_help_subcommand(true))
            .render(&mut page)
            .context("the manual page cannot be made")?;
        print(&String::from_utf8_lossy(&page))?;
    }
    Ok(Exit::Done)
}
