//! `xks-preflight catalogue`: the list of checks.

use clap::{Args, ValueEnum};

use super::{Exit, print};
use crate::render::catalogue;

/// Options of `catalogue`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  xks-preflight catalogue --output markdown")]
pub struct Arguments {
    /// The form of the list.
    #[arg(long, env = "XKS_PREFLIGHT_OUTPUT", value_enum, default_value_t)]
    output: Output,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Output {
    #[default]
    Text,
    Json,
    Markdown,
}

/// Prints the catalogue.
pub fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let text = match arguments.output {
        Output::Text => catalogue::text(),
        Output::Json => format!("{:#}\n", catalogue::json()),
        Output::Markdown => catalogue::markdown(),
    };
    print(&text)?;
    Ok(Exit::Done)
}
