//! `token new-kms`: a credential for the KMS drop-in endpoint.

use std::fmt::Write as _;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use clap::Args;
use zeroize::Zeroizing;

use super::{Exit, Usage, print};
use crate::access::{Pattern, Role};
use crate::config::caller_name;
use crate::kms_endpoint::NewKmsCredential;

/// Options of `token new-kms`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  xks-preflight token new-kms --name terraform --key-store 'payments-*'\n\n\
                        Keep the secret in a file of mode 0600 or a password manager: it cannot be shown again.")]
pub struct Arguments {
    /// Who will use it; shown in the journal
    #[arg(long, env = "XKS_PREFLIGHT_NAME")]
    name: String,
    /// What it may do
    #[arg(long, env = "XKS_PREFLIGHT_ROLE", value_parser = Role::NAMES, default_value = "operator")]
    role: String,
    /// On which key stores: an id (cks-...) or a name, with * for any characters; may be given several times; all
    /// without it
    // Not from the environment: what names the key store of an update must not bound who comes later.
    #[arg(long = "key-store", value_name = "PATTERN")]
    key_stores: Vec<String>,
    /// Let updates that need the key store disconnected be carried out whole: Disconnect, Update, Connect
    #[arg(long, env = "XKS_PREFLIGHT_RUN_WHOLE_SEQUENCE")]
    run_whole_sequence: bool,
    /// Let it make external key stores
    #[arg(long, env = "XKS_PREFLIGHT_CREATE")]
    create: bool,
}

/// Makes a credential: random, for this process to print once.
pub(super) fn new_credential() -> anyhow::Result<NewKmsCredential> {
    let (mut name, mut bits) = ([0_u8; 15], Zeroizing::new([0_u8; 30]));
    let system = SystemRandom::new();
    let filled = system.fill(&mut name).and_then(|()| system.fill(bits.as_mut_slice()));
    filled.map_err(|_| anyhow::anyhow!("the system gives no random bits"))?;
    Ok(NewKmsCredential::from_random(&name, &bits))
}

/// Does it and prints the result.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let Arguments { name, role, key_stores, run_whole_sequence, create } = arguments;
    let name = caller_name(name).map_err(|rule| Usage(format!("--name {rule}")))?;
    for pattern in key_stores {
        Pattern::parse(pattern).map_err(|rule| Usage(format!("--key-store {rule}")))?;
    }
    let made = new_credential()?;
    let file: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let secret = made.secret_access_key.expose();
    // Room for all of it at once: a growing text leaves copies behind that nobody wipes.
    let mut text = Zeroizing::new(String::with_capacity(64 * 1024));
    writeln!(text, "AWS_ACCESS_KEY_ID={}\nAWS_SECRET_ACCESS_KEY={secret}\n", made.access_key_id)?;
    writeln!(
        text,
        "# The secret cannot be shown again: put it into a file of mode 0600, kms-{file}.secret for instance."
    )?;
    writeln!(text, "# For the configuration:\n[[kms_credentials]]\nname = {}", toml::Value::from(name))?;
    writeln!(text, "access_key_id = \"{}\"\nsecret = {{ file = \"kms-{file}.secret\" }}", made.access_key_id)?;
    writeln!(text, "role = \"{role}\"")?;
    if !key_stores.is_empty() {
        writeln!(text, "key_stores = {}", toml::Value::from(key_stores.clone()))?;
    }
    if *run_whole_sequence {
        writeln!(text, "run_whole_sequence = true")?;
    }
    if *create {
        writeln!(text, "create = true")?;
    }
    print(&text)?;
    Ok(Exit::Done)
}
