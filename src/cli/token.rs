//! `token new`, and `token new-kms` beside it.

use std::fmt::Write as _;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use clap::Subcommand;
use zeroize::Zeroizing;

use super::{Exit, Usage, kms_token, print};
use crate::access::{Pattern, Role, Token};
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::config::{caller_name, duration};

/// What to do with tokens.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  xks-preflight token new --name alice --role operator")]
pub enum Command {
    /// Make a token: print it once, with the lines for the configuration, which hold only its hash
    #[command(after_help = "Examples:\n  xks-preflight token new --name alice --role operator --role approver\n  \
                            xks-preflight token new --name deploy --role operator --key-store 'payments-*' --expires 90d\n\n\
                            Keep the token in a password manager: it cannot be shown again.\n\n\
                            viewer    reads\nprober    reads and runs pre-flights\noperator  reads, runs pre-flights, \
                            changes key stores\napprover  reads, runs pre-flights, approves what others asked for\n\
                            admin     may do all of this, freeze, and break glass")]
    New {
        /// Who will use it; shown in the journal
        #[arg(long, env = "XKS_PREFLIGHT_NAME")]
        name: String,
        /// What it may do; may be given several times
        #[arg(long, env = "XKS_PREFLIGHT_ROLE", value_parser = Role::NAMES, required = true, value_delimiter = ',')]
        role: Vec<String>,
        /// On which key stores: an id (cks-...) or a name, with * for any characters; may be given several times; all
        /// without it
        // Not from the environment: what names the key store of an update must not bound who comes later.
        #[arg(long = "key-store", value_name = "PATTERN")]
        key_stores: Vec<String>,
        /// When it ends: after so long, such as 90d or 12h, or at an RFC 3339 time; never without it
        #[arg(long, env = "XKS_PREFLIGHT_EXPIRES", value_name = "DURATION|TIME")]
        expires: Option<String>,
    },
    /// Make a credential for the KMS drop-in endpoint: print it once, with the lines for the configuration
    NewKms(kms_token::Arguments),
}

/// Does it and prints the result.
pub fn run(command: &Command) -> anyhow::Result<Exit> {
    let (name, role, key_stores, expires) = match command {
        Command::New { name, role, key_stores, expires } => (name, role, key_stores, expires),
        Command::NewKms(arguments) => return kms_token::run(arguments),
    };
    let name = caller_name(name).map_err(|rule| Usage(format!("--name {rule}")))?;
    let now = SystemClock.now();
    let expires = expires.as_deref().map(|text| end("--expires", text, now)).transpose()?;
    for pattern in key_stores {
        Pattern::parse(pattern).map_err(|rule| Usage(format!("--key-store {rule}")))?;
    }
    let mut roles: Vec<String> = Vec::new();
    for role in role {
        if !roles.contains(role) {
            roles.push(role.clone());
        }
    }
    let mut bits = Zeroizing::new([0_u8; 32]);
    SystemRandom::new().fill(bits.as_mut_slice()).map_err(|_| anyhow::anyhow!("the system gives no random bits"))?;
    let token = Token::from_random(&bits);
    let mut text = Zeroizing::new(String::with_capacity(4096));
    write!(text, "{}\n\n# It cannot be shown again. For the configuration:\n[[tokens]]\n", token.expose())?;
    writeln!(text, "name = {}", toml::Value::from(name))?;
    match roles.as_slice() {
        [one] => writeln!(text, "role = \"{one}\"")?,
        several => writeln!(text, "role = {}", toml::Value::from(several.to_vec()))?,
    }
    if !key_stores.is_empty() {
        writeln!(text, "key_stores = {}", toml::Value::from(key_stores.clone()))?;
    }
    if let Some(expires) = expires {
        writeln!(text, "expires = \"{expires}\"")?;
    }
    writeln!(text, "sha256 = \"{}\"", token.hash())?;
    print(&text)?;
    Ok(Exit::Done)
}

/// The end of a token or a freeze: a duration from now, or an instant to come.
pub(super) fn end(option: &str, text: &str, now: Timestamp) -> Result<Timestamp, Usage> {
    let after = duration(text).filter(|duration| !duration.is_zero()).map(|duration| now.plus(duration));
    let end = after.or_else(|| Timestamp::parse(text).ok()).filter(|end| *end > now);
    end.ok_or_else(|| {
        Usage(format!("{option} must be a duration such as 90d or 12h, or an RFC 3339 time that is still to come"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_to_come() {
        let now = Timestamp::parse("2026-11-27T00:00:00Z").unwrap();
        let told = |text: &str| end("--expires", text, now).map(|end| end.to_string()).ok();
        assert_eq!(told("90d").as_deref(), Some("2027-02-25T00:00:00.000Z"));
        assert_eq!(told("12h").as_deref(), Some("2026-11-27T12:00:00.000Z"));
        assert_eq!(told("2027-01-31T00:00:00+01:00").as_deref(), Some("2027-01-30T23:00:00.000Z"));
        for bad in ["", "0d", "90", "-1d", "soon", "2026-11-27T00:00:00Z", "2020-01-01T00:00:00Z"] {
            assert_eq!(told(bad), None, "{bad}");
        }
    }
}
