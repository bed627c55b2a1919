//! Configuration: a TOML file in, typed settings out, all faults at once.
//!
//! # How it works
//!
//! [`keys`] is the one table of what may be in the file. [`raw`] walks the file along it and finds unknown keys, wrong
//! types and values out of bounds; [`resolve`] makes settings of what is left, follows references and reads secrets.
//! Neither stops at the first fault: whoever repairs a configuration wants the whole list. [`schema()`] prints the
//! same table as JSON Schema.
//!
//! # What can go wrong
//!
//! A secret in a message. Errors of parsers quote their input, so none of their texts is passed on where a secret
//! could be; keys whose values may be secret are marked in the table ([`keys::Shape::Private`]), and a secret written into
//! the file itself is refused.

use std::path::Path;

use crate::audit::document_hash;

mod accounts;
mod callers;
mod candidates;
mod fault;
mod files;
mod journal;
mod keys;
mod kms_credentials;
mod origin;
mod perspectives;
mod quantity;
mod raw;
mod reading;
mod resolve;
mod schema;
mod secret;
mod settings;
mod traces;
mod update;
mod waiver;
mod window;

pub use fault::{Fault, Faults};
pub use origin::{Origin, SecretsManagerOrigin};
pub(crate) use quantity::duration;
pub use reading::{AT_START, Reading, at_start};
pub(crate) use resolve::caller_name;
pub use schema::schema;
pub use secret::{Environment, SealingKey, SecretSource};
pub use settings::{
    AccountSettings, AuditSettings, Candidate, CloudHsmSettings, Config, HttpLimits, JournalSettings, KmsSettings,
    Listen, MonitorSchedule, NamedCredential, PlaceEndpoints, PostgresSettings, PreflightSettings, UpdatePolicy,
    VpcSettings, Waiver, WatchedKeyStore,
};

/// The largest configuration file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

impl Config {
    /// Reads a file, and all files and variables that it names. Relative paths in it start at its own directory.
    pub fn load(path: &Path, environment: Environment<'_>) -> Result<Self, Faults> {
        let mut faults = fault::Collector::default();
        let text = secret::bounded_file(path, MAX_FILE_BYTES)
            .and_then(|bytes| String::from_utf8(bytes.to_vec()).map_err(|_| "is not UTF-8".to_owned()));
        let text = text.map_err(|why| faults.add(None, "", why)).ok();
        let sha256 = text.as_ref().map(|text| document_hash(text.as_bytes()).to_string()).unwrap_or_default();
        let root = text.and_then(|text| raw::read(&text, &mut faults));
        if let Some(root) = &root {
            root.tell(&mut faults.reading);
        }
        let directory = path.parent().unwrap_or(Path::new(""));
        let resolver = resolve::Resolver { directory, environment, faults: &mut faults };
        let config = root.and_then(|root| resolver.config(root));
        let reading = std::mem::take(&mut faults.reading);
        faults.finish(path, config.map(|config| Self { reading, sha256, ..config }))
    }
}

#[cfg(test)]
mod tests;
