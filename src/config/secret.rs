//! Where secrets come from: a file, the environment, or a program. Errors never hold a secret, nor a file's or variable's name,
//! because people write the secret where the name belongs; the key path tells which one is meant.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::fault::Collector;
use super::raw::{Section, Taken};
use crate::chain::Chain;
use crate::program::Program;

/// The largest secret file, in bytes.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// 256 bits under which secrets are sealed in the journal.
#[derive(Clone)]
pub struct SealingKey(Zeroizing<[u8; 32]>);

impl SealingKey {
    /// Reads 32 bytes in base64; the error is the rule and never holds the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let rule = "must be 32 bytes in base64, for example from: openssl rand -base64 32";
        let mut bytes = Zeroizing::new([0_u8; 32]);
        // The decoder wants room for a whole last block.
        let mut room = Zeroizing::new([0_u8; 36]);
        let count = STANDARD.decode_slice(text, room.as_mut_slice()).map_err(|_| rule)?;
        let key = room.get(..count).filter(|key| key.len() == bytes.len()).ok_or(rule)?;
        for (to, from) in bytes.iter_mut().zip(key) {
            *to = *from;
        }
        Ok(Self(bytes))
    }

    /// The key itself: for the sealing of the journal.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The process environment, or what a test gives instead.
pub type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

/// Where a secret is.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// `file`.
    File(PathBuf),
    /// `env`.
    Env(String),
    /// `exec`.
    Exec(Program),
}

impl SecretSource {
    /// Reads it; waits for programs.
    pub(super) fn read(&self, environment: Environment<'_>) -> Result<Zeroizing<String>, String> {
        match self {
            Self::File(file) => secret_file(file).and_then(|bytes| one_line(&bytes)),
            Self::Env(name) => {
                let value = environment(name).filter(|value| !value.is_empty());
                let why = "the environment variable named here is not set, is empty or is not UTF-8";
                value.map(Zeroizing::new).ok_or_else(|| why.to_owned())
            }
            Self::Exec(program) => {
                let bytes = program.output().map_err(|error| Chain(&error).to_string())?;
                one_line(&bytes).map_err(|why| format!("what the program prints {why}"))
            }
        }
    }
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Reads a secret from where its section says. `None` if that failed, which is then reported.
pub(super) fn resolve(
    section: Section,
    directory: &Path,
    environment: Environment<'_>,
    faults: &mut Collector,
) -> Option<Zeroizing<String>> {
    resolve_again(section, directory, environment, faults).map(|(secret, _)| secret)
}

/// The same, with where it can be read again.
pub(super) fn resolve_again(
    mut section: Section,
    directory: &Path,
    environment: Environment<'_>,
    faults: &mut Collector,
) -> Option<(Zeroizing<String>, SecretSource)> {
    let file = section.text("file").map(|file| file.map(|file| Some(SecretSource::File(directory.join(file)))));
    let variable = section.text("env").map(|name| name.map(|name| Some(SecretSource::Env(name))));
    let program = program(&mut section, faults).map(|program| program.map(|program| program.map(SecretSource::Exec)));
    let mut sources: Vec<Taken<Option<SecretSource>>> = [file, variable, program].into_iter().flatten().collect();
    let secret = match (sources.pop(), sources.is_empty()) {
        (Some(Taken { path, line, value: Some(source) }), true) => {
            let read = source.read(environment).map_err(|why| faults.add(line, &path, why));
            read.ok().map(|secret| (secret, source))
        }
        // What is wrong with it is told already.
        (Some(Taken { value: None, .. }), true) => None,
        _ if section.is_faulty() => None,
        _ => {
            faults.add(section.line, &section.path, "must have exactly one of file, env and exec");
            None
        }
    };
    if let Some((secret, _)) = &secret {
        faults.reading.add(&section.path, secret.as_bytes());
    }
    section.finish(faults);
    secret
}

/// The key `exec`, if it is there; its value is absent if it was faulty, which is then reported.
pub(super) fn program(section: &mut Section, faults: &mut Collector) -> Option<Taken<Option<Program>>> {
    let (line, path) = (section.line, format!("{}.exec", section.path));
    let words = section.texts("exec")?;
    let line = words.first().map_or(line, |word| word.line);
    let program = Program::parse(words.into_iter().map(|word| word.value).collect());
    let value = program.map_err(|rule| faults.add(line, &path, rule)).ok();
    Some(Taken { path, line, value })
}

/// The bytes of a file that only its owner, and perhaps its group, may read.
pub(super) fn secret_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(&error))?;
    if !metadata.is_file() {
        return Err("is not a file".to_owned());
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(format!("is open to everyone on this machine (mode {mode:04o}): chmod 600 it"));
    }
    bounded_file(path, MAX_SECRET_BYTES)
}

/// The bytes of a file up to `limit`.
pub(super) fn bounded_file(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, String> {
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    // Room for all of it at once: a growing vector leaves copies behind that nobody wipes.
    let length = file.metadata().map_err(|error| unreadable(&error))?.len().min(limit);
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(length + 2).unwrap_or(0)));
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    if bytes.len() as u64 > limit {
        return Err(format!("is larger than {limit} bytes"));
    }
    Ok(bytes)
}

fn unreadable(error: &std::io::Error) -> String {
    format!("cannot be read: {error}")
}

/// The text of a file without the line end that editors put at its end.
fn one_line(bytes: &[u8]) -> Result<Zeroizing<String>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
    let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(Zeroizing::new(text.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealing_keys() {
        let text = STANDARD.encode([7_u8; 32]);
        let key = SealingKey::parse(&text).unwrap();
        assert_eq!(key.expose(), &[7_u8; 32]);
        assert_eq!(format!("{key:?}"), "[redacted]");
        for bad in ["", "DoNotLeak", &STANDARD.encode([7_u8; 31]), &STANDARD.encode([7_u8; 33]), &text.repeat(9)] {
            let rule = SealingKey::parse(bad).unwrap_err();
            assert!(!rule.contains("DoNotLeak"));
        }
    }

    #[test]
    fn only_the_last_line_end_goes() {
        let read = |bytes: &[u8]| one_line(bytes).map(|text| text.to_string());
        assert_eq!(read(b"a\r\n").unwrap(), "a");
        assert_eq!(read(b"a\n\n").unwrap(), "a\n");
        assert_eq!(read(b"\n").unwrap_err(), "is empty");
        assert_eq!(read(b"\xff").unwrap_err(), "is not UTF-8");
    }
}
