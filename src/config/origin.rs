//! Where a credential comes from, for whoever reads it again later.

use std::fmt;
use std::path::PathBuf;

use super::secret::{SecretSource, secret_file};
use crate::chain::Chain;
use crate::key_store::{
    AccessKeyId, ConsoleFile, CredentialDocument, HalfNames, ProxyCredential, RawSecretAccessKey, Region,
    XksProxyUriPath,
};
use crate::program::Program;

/// Where a credential comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum Origin {
    /// `console_file`.
    Console(PathBuf),
    /// `access_key_id` and `secret`.
    Halves {
        /// The one that is written in the configuration.
        access_key_id: AccessKeyId,
        /// Where the other one is.
        secret: SecretSource,
    },
    /// `exec`.
    Program(Program),
    /// `secrets_manager`.
    SecretsManager(SecretsManagerOrigin),
}

/// `secrets_manager`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretsManagerOrigin {
    /// `secret_id`: name or ARN.
    pub secret_id: String,
    /// `region`, or that of `[kms]`.
    pub region: Region,
    /// `stage`.
    pub stage: String,
    /// `access_key_id_member` and `secret_member`.
    pub names: HalfNames,
    /// `endpoint_url`: `https://`, or `http://` on a loopback address.
    pub endpoint_url: Option<String>,
}

impl Origin {
    /// Its word in answers.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Console(_) => "console_file",
            Self::Halves { secret: SecretSource::File(_), .. } => "file",
            Self::Halves { secret: SecretSource::Env(_), .. } => "env",
            Self::Halves { secret: SecretSource::Exec(_), .. } | Self::Program(_) => "exec",
            Self::SecretsManager(_) => "secrets_manager",
        }
    }

    /// Whether another value can come of it while this process runs.
    pub fn can_change(&self) -> bool {
        !matches!(self, Self::Halves { secret: SecretSource::Env(_), .. })
    }

    /// Reads it again from this machine; waits for programs. What is kept by AWS is read by whoever can ask AWS.
    pub fn read(&self) -> Result<ProxyCredential, String> {
        match self {
            Self::Console(file) => console_file(file).map(|file| file.credential),
            Self::Halves { access_key_id, secret } => {
                let text = secret.read(&|name| std::env::var(name).ok())?;
                let secret_access_key = RawSecretAccessKey::parse(&text).map_err(|invalid| invalid.rule.to_owned())?;
                Ok(ProxyCredential { access_key_id: access_key_id.clone(), secret_access_key })
            }
            Self::Program(program) => printed(program).map(|document| document.credential),
            Self::SecretsManager(_) => Err("it is kept by AWS".to_owned()),
        }
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // People write secrets where names belong.
        write!(f, "[{}]", self.as_str())
    }
}

/// The KMS console's file.
pub(super) fn console_file(file: &std::path::Path) -> Result<ConsoleFile, String> {
    ConsoleFile::parse(&secret_file(file)?).map_err(|error| error.to_string())
}

/// What a program prints.
pub(super) fn printed(program: &Program) -> Result<CredentialDocument, String> {
    let bytes = program.output().map_err(|error| Chain(&error).to_string())?;
    CredentialDocument::parse(&bytes, &HalfNames::default())
        .map_err(|error| format!("what the program prints is no credential: {error}"))
}

/// The path that comes with a credential, if one does.
pub(super) type WithPath = (ProxyCredential, Option<XksProxyUriPath>);
