//! `token new`.

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use clap::Subcommand;
use zeroize::Zeroizing;

use super::{Exit, Usage, print};
use crate::access::{Role, Token};
use crate::config::caller_name;

/// What to do with tokens.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  xks-preflight token new --name alice --role operator")]
pub enum Command {
    /// Make a token: print it once, with the lines for the configuration, which hold only its hash
    #[command(after_help = "Example:\n  xks-preflight token new --name alice --role operator\n\n\
                            Keep the token in a password manager: it cannot be shown again.")]
    New {
        /// Who will use it; shown in the journal
        #[arg(long, env = "XKS_PREFLIGHT_NAME")]
        name: String,
        /// What it may do
        #[arg(long, env = "XKS_PREFLIGHT_ROLE", value_parser = Role::NAMES)]
        role: String,
    },
}

/// Does it and prints the result.
pub fn run(command: &Command) -> anyhow::Result<Exit> {
    let Command::New { name, role } = command;
    let name = caller_name(name).map_err(|rule| Usage(format!("--name {rule}")))?;
    let mut bits = Zeroizing::new([0_u8; 32]);
    SystemRandom::new().fill(bits.as_mut_slice()).map_err(|_| anyhow::anyhow!("the system gives no random bits"))?;
    let token = Token::from_random(&bits);
    let name = toml::Value::from(name);
    let text = Zeroizing::new(format!(
        "{}\n\n# It cannot be shown again. For the configuration:\n[[tokens]]\nname = {name}\nrole = \"{role}\"\n\
         sha256 = \"{}\"\n",
        token.expose(),
        token.hash()
    ));
    print(&text)?;
    Ok(Exit::Done)
}
