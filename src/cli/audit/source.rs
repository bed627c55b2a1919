//! Where lines of the audit trail come from.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::super::update::{ServerOptions, fetch};
use super::super::{Usage, print};
use super::From;
use crate::audit::{Broken, Follower, Head, Line, Remembered, Verified};
use crate::chain::Chain;
use crate::id::UpdateId;
use crate::journal::{LinesWanted, StoredTrail};
use crate::key_store::CustomKeyStoreId;

/// Lines asked for at once.
const PAGE: usize = 1_000;
/// Bytes of a line of a file. A message has a thousand characters at the most, each of six bytes where JSON escapes it.
const LONGEST_LINE: u64 = 64 * 1024;

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

    /// Follows the chain over all lines, with a page of them in memory at the most.
    pub(super) async fn verify(
        self,
        start: Head,
        remembered: Option<Remembered>,
    ) -> anyhow::Result<Result<Verified, Broken>> {
        let follower = Follower::new(start, remembered);
        if let Self::File(path, reader) = self {
            return followed(reader, follower).with_context(|| format!("{} cannot be read", path.display()));
        }
        let mut follower = follower;
        let mut wanted = LinesWanted { limit: PAGE, ..LinesWanted::default() };
        loop {
            let lines = self.page(&wanted).await?;
            for line in &lines {
                if let Err(broken) = follower.follow(line) {
                    return Ok(Err(broken));
                }
            }
            match last(&lines) {
                Some(sequence) if sequence > wanted.after => wanted.after = sequence,
                _ => return Ok(follower.finish()),
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

/// Follows the chain over the lines of a file, one in memory at a time. Bytes that are no text are no line either.
fn followed(mut file: impl BufRead, mut follower: Follower) -> std::io::Result<Result<Verified, Broken>> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = file.by_ref().take(LONGEST_LINE + 1).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(follower.finish());
        }
        if read as u64 > LONGEST_LINE {
            return Ok(Err(follower.too_long()));
        }
        let text = String::from_utf8_lossy(&line);
        // One line end, as `BufRead::lines` takes it away: every other byte counts.
        let text = text.strip_suffix('\n').map_or(&*text, |text| text.strip_suffix('\r').unwrap_or(text));
        if let Err(broken) = follower.follow(text) {
            return Ok(Err(broken));
        }
    }
}

/// The number of the last line, however damaged it is otherwise.
fn last(lines: &[String]) -> Option<u64> {
    let text = lines.last()?;
    let stated = || text.strip_prefix("{\"sequence\":")?.split(',').next()?.parse().ok();
    Line::parse(text).ok().map(|line| line.sequence).or_else(stated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Action, Decision, Entry, Why};
    use crate::clock::Timestamp;

    /// Makes a chain as it is read, and remembers how much of it was asked for at once.
    struct Endless {
        head: Head,
        lines: u64,
        pending: Vec<u8>,
        at: usize,
        most: usize,
    }

    impl Endless {
        fn of(lines: u64) -> Self {
            Self { head: Head::genesis(), lines, pending: Vec::new(), at: 0, most: 0 }
        }
    }

    impl std::io::Read for Endless {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            self.most = self.most.max(into.len());
            if self.at == self.pending.len() && self.head.sequence < self.lines {
                let entry = Entry::new(Timestamp::from_unix(1), None, Action::Read, Decision::Denied, "x".repeat(500));
                let line = Line::following(self.head, entry);
                self.head = line.head();
                (self.pending, self.at) = (format!("{line}\n").into_bytes(), 0);
            }
            let given = into.len().min(self.pending.len() - self.at);
            into[..given].copy_from_slice(&self.pending[self.at..self.at + given]);
            self.at += given;
            Ok(given)
        }
    }

    #[test]
    fn a_long_trail_is_followed_line_by_line() {
        let mut trail = Endless::of(2_000);
        let mut reader = BufReader::with_capacity(8 * 1024, &mut trail);
        let verified = followed(&mut reader, Follower::new(Head::genesis(), None)).unwrap().unwrap();
        assert_eq!((verified.lines, verified.head), (2_000, trail.head));
        assert_eq!(trail.most, 8 * 1024, "never more than the reader's own room is asked for");
    }

    #[test]
    fn what_is_no_line_is_told_and_not_read_to_its_end() {
        let follow = |bytes: Vec<u8>| {
            let told = followed(bytes.as_slice(), Follower::new(Head::genesis(), None)).unwrap();
            told.map_err(|broken| (broken.at, matches!(broken.why, Why::Unreadable(_))))
        };
        assert_eq!(follow(vec![b'x'; 1 << 20]).unwrap_err(), (1, true));
        assert_eq!(follow(vec![0xff, 0xfe, b'\n']).unwrap_err(), (1, true));
        assert_eq!(follow(b"\n\r\n \n".to_vec()).unwrap().lines, 0);
        let endless = followed(BufReader::new(std::io::repeat(b'{')), Follower::new(Head::genesis(), None));
        assert!(endless.unwrap().is_err());
    }
}
