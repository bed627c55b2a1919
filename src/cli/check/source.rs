//! Where commands get files and secrets from.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use zeroize::Zeroizing;

use crate::cli::Usage;
use crate::key_store::ConsoleFile;
use crate::preflight::OfferedCredential;

/// More than any certificate bundle or credential file needs.
const LARGEST_FILE: u64 = 1024 * 1024;

/// The variable that holds a secret for `check`; never an option, because arguments are seen by everybody.
const SECRET_VARIABLE: &str = "XKS_PREFLIGHT_SECRET_ACCESS_KEY";

/// What the options say of the credential, and of the path if a console file gave it.
pub(super) struct Offered {
    pub(super) credential: OfferedCredential,
    pub(super) path: Option<String>,
}

/// Reads a file of bounded size; the error names the option.
pub(in crate::cli) fn read(file: &Path, option: &str) -> Result<Zeroizing<Vec<u8>>, Usage> {
    let mut bytes = Zeroizing::new(Vec::new());
    File::open(file)
        .and_then(|open| open.take(LARGEST_FILE + 1).read_to_end(&mut bytes))
        .map_err(|error| Usage(format!("{option}: cannot read {}: {error}", file.display())))?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(Usage(format!("{option}: {} is larger than {LARGEST_FILE} bytes", file.display())));
    }
    Ok(bytes)
}

/// Reads a file that holds a secret and nothing else; the line break that editors leave is not part of it.
pub(in crate::cli) fn secret(file: &Path, option: &str) -> Result<Zeroizing<String>, String> {
    let bytes = read(file, option).map_err(|usage| usage.to_string())?;
    let text = std::str::from_utf8(&bytes).map_err(|_| format!("{option}: is not text"))?;
    Ok(Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned()))
}

/// Reads the KMS console's proxy configuration file.
pub(in crate::cli) fn console_file(file: &Path, option: &str) -> Result<ConsoleFile, String> {
    let bytes = read(file, option).map_err(|usage| usage.to_string())?;
    ConsoleFile::parse(&bytes).map_err(|error| format!("{option}: {} {error}", file.display()))
}

/// The credential from a console file, or from an id and a secret that came by file or environment. A malformed
/// secret is no fault of the command line: it is judged and reported.
pub(super) fn credential(
    proxy_config: Option<&Path>,
    access_key_id: Option<String>,
    secret_file: Option<&Path>,
) -> Result<Offered, String> {
    if let Some(file) = proxy_config {
        let console = console_file(file, "--proxy-config")?;
        return Ok(Offered { credential: console.credential.into(), path: Some(console.path.to_string()) });
    }
    let access_key_id =
        access_key_id.ok_or("a credential is needed: --proxy-config, or --access-key-id with a secret")?;
    let secret = match secret_file {
        Some(file) => self::secret(file, "--secret-file")?,
        None => Zeroizing::new(std::env::var(SECRET_VARIABLE).map_err(|_| {
            format!("a secret is needed: --secret-file, or the environment variable {SECRET_VARIABLE}")
        })?),
    };
    Ok(Offered { credential: OfferedCredential::new(access_key_id, secret.as_str()), path: None })
}
