//! A program that prints a secret: run without a shell, for a limited time, and believed for a limited length.
//!
//! Its arguments are those of the configuration, its environment is all but empty, its input is empty, and what it writes
//! to its standard error is not read: it may hold the secret. When its time is over, it ends with everything that it has
//! started.

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use zeroize::Zeroizing;

/// How long it may take.
const WITHIN: Duration = Duration::from_secs(10);
/// The most that it may print, in bytes.
const MOST: usize = 64 * 1024;
/// What it finds in its environment, if this process has it.
const ENVIRONMENT: [&str; 6] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "CREDENTIALS_DIRECTORY"];

/// The words of a command.
#[derive(Clone, PartialEq, Eq)]
pub struct Program {
    words: Vec<String>,
}

/// Why there is no output. Holds nothing of it.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// There is no such program, or it may not be run.
    #[error("the program cannot be started")]
    NotStarted(#[source] io::Error),
    /// It says that it failed.
    #[error(
        "the program ended with {0}; what it wrote to its standard error is not shown here, as it may hold the secret"
    )]
    Failed(String),
    /// It took too long, and was ended.
    #[error("the program did not end within {} s and was stopped", WITHIN.as_secs())]
    TimedOut,
    /// No secret is so long.
    #[error("the program printed more than {MOST} bytes")]
    TooLarge,
    /// Its output cannot be read.
    #[error("the program's output cannot be read")]
    Unread(#[source] io::Error),
}

impl Program {
    /// The program and its arguments; the program by an absolute path, so that nobody puts another one in its place.
    pub fn parse(words: Vec<String>) -> Result<Self, &'static str> {
        let rule = "must be a list of a program, by its absolute path, and its arguments";
        match words.first() {
            Some(program) if program.starts_with('/') && words.iter().all(|word| !word.contains('\0')) => {
                Ok(Self { words })
            }
            _ => Err(rule),
        }
    }

    /// What it prints. Waits for it: not for a task that others wait for.
    pub fn output(&self) -> Result<Zeroizing<Vec<u8>>, ProgramError> {
        self.output_within(WITHIN)
    }

    /// In a thread and a runtime of its own: configurations are read with and without a runtime around.
    fn output_within(&self, within: Duration) -> Result<Zeroizing<Vec<u8>>, ProgramError> {
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.map_err(ProgramError::NotStarted)?.block_on(self.run(within))
            });
            waiting.join().unwrap_or_else(|_| Err(ProgramError::Unread(io::Error::other("a fault of xks-preflight"))))
        })
    }

    async fn run(&self, within: Duration) -> Result<Zeroizing<Vec<u8>>, ProgramError> {
        let (program, arguments) = self.words.split_first().ok_or_else(nothing)?;
        let given = ENVIRONMENT.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(given)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(ProgramError::NotStarted)?;
        let group = child.id();
        let output = child.stdout.take();
        // Room for all of it at once: a growing vector leaves copies behind that nobody wipes.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MOST + 2));
        let ended = tokio::time::timeout(within, async {
            if let Some(output) = output {
                output.take(MOST as u64 + 1).read_to_end(&mut bytes).await.map_err(ProgramError::Unread)?;
            }
            if bytes.len() > MOST {
                return Err(ProgramError::TooLarge);
            }
            child.wait().await.map_err(ProgramError::Unread)
        });
        let ended = ended.await.unwrap_or(Err(ProgramError::TimedOut));
        if ended.is_err() {
            end(group);
            // It comes at once now.
            let _ = child.wait().await;
        }
        let status = ended?;
        if status.success() { Ok(bytes) } else { Err(ProgramError::Failed(told(status))) }
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // People put secrets into arguments.
        f.debug_struct("Program").field("program", &self.words.first()).finish_non_exhaustive()
    }
}

fn nothing() -> ProgramError {
    ProgramError::NotStarted(io::Error::other("no program is named"))
}

/// Ends its whole process group, of which it is the leader; whoever left the group is not ours any more.
fn end(group: Option<u32>) {
    if let Some(group) = group.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
        // There may be nobody left.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

fn told(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "neither exit code nor signal".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Program {
        Program::parse(vec!["/bin/sh".into(), "-c".into(), script.into()]).unwrap()
    }

    #[test]
    fn its_output_alone_counts() {
        let read = shell("echo DoNotLeak >&2; printf secret").output().unwrap();
        assert_eq!(&*read, b"secret");
    }

    #[test]
    fn its_failures_are_told_and_its_words_are_not() {
        for (script, expected) in [
            ("echo DoNotLeak; echo DoNotLeak >&2; exit 3", "exit code 3"),
            ("echo DoNotLeak; kill -9 $$", "signal 9"),
            ("while :; do echo DoNotLeakDoNotLeak; done", "more than 65536 bytes"),
        ] {
            let error = crate::chain::Chain(&shell(script).output().unwrap_err()).to_string();
            assert!(error.contains(expected) && !error.contains("DoNotLeak"), "{error}");
        }
        let missing = Program::parse(vec!["/no/such/program".into()]).unwrap().output().unwrap_err();
        assert!(matches!(missing, ProgramError::NotStarted(_)));
        assert!(!format!("{:?}", shell("DoNotLeak")).contains("DoNotLeak"));
    }

    #[test]
    fn it_ends_when_its_time_is_over_with_all_that_it_started() {
        let directory = tempfile::tempdir().unwrap();
        let pid = directory.path().join("pid");
        // The grandchild keeps the output open.
        let script = format!("sleep 600 & echo $! > {}; sleep 600", pid.display());
        let begun = tokio::time::Instant::now();
        let error = shell(&script).output_within(Duration::from_millis(500)).unwrap_err();
        assert!(matches!(error, ProgramError::TimedOut));
        assert!(begun.elapsed() < Duration::from_mins(1));
        let grandchild = std::fs::read_to_string(pid).unwrap();
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", grandchild.trim())).unwrap_or_default();
        // It is told to end, and takes its time on a busy machine.
        while !(state().is_empty() || state().contains(") Z ")) {
            assert!(begun.elapsed() < Duration::from_mins(1), "{}", state());
            std::thread::yield_now();
        }
    }

    #[test]
    fn its_environment_is_all_but_empty() {
        let read = shell("env").output().unwrap();
        let names: Vec<String> = String::from_utf8(read.to_vec())
            .unwrap()
            .lines()
            .filter_map(|line| line.split_once('=').map(|(name, _)| name.to_owned()))
            .collect();
        // The shell adds some of its own.
        let known = |name: &String| {
            ENVIRONMENT.contains(&name.as_str()) || ["PWD", "SHLVL", "_", "OLDPWD"].contains(&name.as_str())
        };
        assert!(names.iter().all(known), "{names:?}");
    }

    #[test]
    fn a_program_is_named_by_its_whole_path() {
        for words in [vec![], vec!["vault".to_owned()], vec!["/bin/a\0".to_owned()]] {
            assert!(Program::parse(words).is_err());
        }
    }
}
