//! Where lines of the audit trail come from.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::super::update::{ServerOptions, fetch};
use super::super::{Usage, print};
use super::From;
use crate::audit::{Broken, Head, Line, Remembered, Verified, verify};
use crate::chain::Chain;
use crate::id::UpdateId;
use crate::journal::{LinesWanted, StoredTrail};
use crate::key_store::CustomKeyStoreId;

/// Lines asked for at once.
const PAGE: usize = 1_000;

/// Which lines.
#[derive(Debug, Default)]
pub(super) struct Part(LinesWanted);

impl Part {
    pub(super) fn parse(after: u64, key_store: Option<&str>, update: Option<&str>) -> Result<Self, Usage> {
        let key_store = key_store.map(CustomKeyStoreId::parse).transpose();
        let update = update.map(UpdateId::parse).transpose();
        Ok(Self(LinesWanted {
            after,
            limit: PAGE,
            key_store: key_store.map_err(|invalid| Usage(format!("--key-store {}", invalid.rule)))?,
            update: update.map_err(|error| Usage(format!("--update: {}", Chain(&error))))?,
        }))
    }
}

/// A file, a journal or a daemon.
pub(super) enum Source<'a> {
    File(PathBuf, BufReader<File>),
    Journal(StoredTrail),
    Server(&'a ServerOptions),
}

impl<'a> Source<'a> {
    pub(super) fn of(file: Option<&Path>, from: &'a From) -> anyhow::Result<Self> {
        if let Some(file) = file {
            let opened = File::open(file);
            let opened = opened.map_err(|error| Usage(format!("{} cannot be read: {error}", file.display())))?;
            return Ok(Self::File(file.to_owned(), BufReader::new(opened)));
        }
        match &from.journal {
            Some(journal) => {
                Ok(Self::Journal(StoredTrail::open(journal).map_err(|error| Usage(Chain(&error).to_string()))?))
            }
            None => Ok(Self::Server(&from.server)),
        }
    }

    /// Writes lines to standard output.
    pub(super) async fn export(self, part: &Part) -> anyhow::Result<()> {
        let mut wanted = LinesWanted { limit: PAGE, ..part.0.clone() };
        loop {
            let lines = self.page(&wanted).await?;
            for line in &lines {
                print(&format!("{line}\n"))?;
            }
            match last(&lines) {
                Some(sequence) if sequence > wanted.after => wanted.after = sequence,
                _ => return Ok(()),
            }
        }
    }

    /// Follows the chain over all lines.
    pub(super) async fn verify(
        self,
        start: Head,
        remembered: Option<Remembered>,
    ) -> anyhow::Result<Result<Verified, Broken>> {
        if let Self::File(path, reader) = self {
            let mut failed = None;
            let lines = reader.lines().map_while(|line| line.map_err(|error| failed = Some(error)).ok());
            let told = verify(start, lines, remembered);
            return match failed {
                // Bytes that are no text are no line either.
                Some(error) if error.kind() != std::io::ErrorKind::InvalidData => {
                    Err(error).context(format!("{} cannot be read", path.display()))
                }
                Some(_) => Ok(told.and_then(|verified| {
                    verify(verified.head, ["\u{fffd}"], None)
                        .map_err(|broken| Broken { at: verified.lines + 1, why: broken.why })
                })),
                None => Ok(told),
            };
        }
        let mut wanted = LinesWanted { limit: PAGE, ..LinesWanted::default() };
        let mut all = Vec::new();
        loop {
            let lines = self.page(&wanted).await?;
            let next = last(&lines);
            all.extend(lines);
            match next {
                Some(sequence) if sequence > wanted.after => wanted.after = sequence,
                _ => return Ok(verify(start, all, remembered)),
            }
        }
    }

    async fn page(&self, wanted: &LinesWanted) -> anyhow::Result<Vec<String>> {
        match self {
            Self::File(..) => Ok(Vec::new()),
            Self::Journal(trail) => Ok(trail.lines(wanted)?),
            Self::Server(server) => {
                let LinesWanted { after, limit, key_store, update } = wanted;
                let key_store = key_store.as_ref().map(|id| format!("&key_store={id}")).unwrap_or_default();
                let update = update.map(|id| format!("&update={id}")).unwrap_or_default();
                let path = format!("/v1/audit?format=jsonl&after={after}&limit={limit}{key_store}{update}");
                let text = fetch(server, &path, "application/x-ndjson").await?;
                Ok(text.lines().map(ToOwned::to_owned).collect())
            }
        }
    }
}

/// The number of the last line, however damaged it is otherwise.
fn last(lines: &[String]) -> Option<u64> {
    let text = lines.last()?;
    let stated = || text.strip_prefix("{\"sequence\":")?.split(',').next()?.parse().ok();
    Line::parse(text).ok().map(|line| line.sequence).or_else(stated)
}
