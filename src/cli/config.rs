//! `config check` and `config schema`.

use std::path::PathBuf;

use clap::Subcommand;

use super::{Exit, environment, print};
use crate::config::{self, Config};

/// What to do with a configuration.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  xks-preflight config check config/minimal.toml")]
pub enum Command {
    /// Read a configuration with all files and variables it names, and tell everything that is wrong with it
    #[command(after_help = "Example:\n  xks-preflight config check /etc/xks-preflight/config.toml\n\n\
                            Exit codes: 0 without fault, 2 with faults")]
    Check {
        /// The TOML file
        file: PathBuf,
    },
    /// Print the JSON Schema of the configuration file
    #[command(after_help = "Example:\n  xks-preflight config schema > xks-preflight.schema.json")]
    Schema,
}

/// Does it and prints the result.
pub fn run(command: &Command) -> anyhow::Result<Exit> {
    match command {
        Command::Check { file } => {
            let config = Config::load(file, &environment)?;
            print(&format!("{} is without fault\n{}", file.display(), summary(&config)))?;
        }
        Command::Schema => print(&format!("{:#}\n", config::schema()))?,
    }
    Ok(Exit::Done)
}

/// What the configuration comes to, in a few lines.
fn summary(config: &Config) -> String {
    let scheme = if config.listen.tls.is_some() { "https" } else { "http" };
    let holders = |count: usize, what: &str| match count {
        0 => None,
        1 => Some(format!("the holder of 1 {what}")),
        count => Some(format!("the holders of {count} {what}s")),
    };
    let callers = [
        holders(config.tokens.len(), "token"),
        holders(config.client_certificates.len(), "client certificate"),
        (!config.oidc.is_empty()).then(|| format!("whom {} identity provider(s) know", config.oidc.len())),
    ];
    let callers: Vec<String> = callers.into_iter().flatten().collect();
    let callers = if callers.is_empty() { "anyone who reaches it".to_owned() } else { callers.join(" and ") };
    let mode = if config.kms.observe_only { "observed only" } else { "updates are gated" };
    let secrets = if config.journal.sealing_key.is_some() { "sealed" } else { "refused" };
    format!(
        "  api         {scheme}://{}, for {callers}\n  key stores  {}, {mode}\n  credentials {}\n  \
         journal     {}; secrets that come with an update are {secrets}\n",
        config.listen.api,
        config.key_stores.len(),
        config.credentials.len(),
        config.journal.path.display(),
    )
}
