//! The KMS keys of each key store, found among all keys of account and Region.
//!
//! # How it works
//!
//! KMS cannot be asked for the keys of one key store. A **sweep** lists every key (ListKeys) and describes those that
//! no earlier sweep described (DescribeKey); where a key is kept never changes, so each key is described once. What is
//! known is in the **ledger**, key by key: a sweep that is stopped in the middle loses nothing, and the next one goes on
//! from there. [`Enumerator::run`] sweeps in the background; [`Enumerator::refreshed`] sweeps before something is judged,
//! within a bound on time. Only one sweep runs at a time, and all calls together stay within the [`Pace`].
//!
//! # What can go wrong
//!
//! - AWS denies DescribeKey of a key: the key is counted, not hidden, and asked about again by every sweep. When not a
//!   single key could be described, the sweep ends early and names the permission.
//! - KMS throttles or does not answer: everybody waits, longer and longer, and after a bound the sweep ends and says
//!   so; what it found stays.
//! - A key's description makes no sense: the other keys are described all the same, and the sweep says so.
//!
//! An enumeration that is not complete says why ([`Enumeration::incomplete`]): nothing may be concluded from a key's
//! absence then.

mod everywhere;
mod ledger;
mod pace;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use everywhere::Enumerators;
use ledger::{Ledger, Standing};
pub use pace::Pace;
use pace::Pacer;

use crate::check::{Enumeration, Problem, ProblemKind};
use crate::clock::Clock;
use crate::key_store::CustomKeyStoreId;
use crate::kms::{KeyHome, KeyLister, KmsError};

/// An account and Region has 100,000 keys by default; this many pages of a thousand end every doubt.
const MOST_PAGES: usize = 1_000;

/// So many keys denied and none described means that the permission is missing, not that some key policies are strict.
const DENIED_AT_FIRST: usize = 100;

/// How far a sweep has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Whether a sweep is under way.
    pub running: bool,
    /// Keys of account and Region that the latest sweep has listed.
    pub listed: usize,
    /// Those among them that it still has to describe.
    pub outstanding: usize,
}

/// Finds the KMS keys of key stores.
pub struct Enumerator {
    lister: Arc<dyn KeyLister>,
    clock: Arc<dyn Clock>,
    pacer: Pacer,
    ledger: Mutex<Ledger>,
    progress: watch::Sender<Progress>,
    /// When the latest sweep that came to an end began. Held while one runs.
    turn: tokio::sync::Mutex<Option<Instant>>,
}

impl fmt::Debug for Enumerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enumerator").field("progress", &self.progress()).finish_non_exhaustive()
    }
}

impl Enumerator {
    /// Knows no keys yet, and asks for none.
    pub fn new(lister: Arc<dyn KeyLister>, clock: Arc<dyn Clock>, pace: Pace) -> Self {
        Self {
            lister,
            clock,
            pacer: Pacer::new(pace),
            ledger: Mutex::default(),
            progress: watch::Sender::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// How far the latest sweep has come.
    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Follows [`Enumerator::progress`].
    pub fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Whether a sweep has come to an end, good or bad.
    pub fn has_swept(&self) -> bool {
        self.ledger().ended().is_some()
    }

    /// What is known of a key store's keys, without asking KMS.
    pub fn known(&self, key_store: &CustomKeyStoreId) -> Enumeration {
        let mut ledger = self.ledger();
        let (keys, denied) = (ledger.keys_of(key_store), ledger.denied());
        let (at, incomplete) = match ledger.ended() {
            Some((at, incomplete)) => (*at, incomplete.clone()),
            None => (self.clock.now(), Some(self.unfinished("the first sweep has not ended"))),
        };
        Enumeration { keys, denied, incomplete, at }
    }

    /// As [`Enumerator::known`], after a sweep that began no earlier than now. If it does not end within this time, what
    /// is known so far, and it says that it is incomplete.
    pub async fn refreshed(&self, key_store: &CustomKeyStoreId, within: Duration) -> Enumeration {
        let swept = tokio::time::timeout(within, self.sweep()).await;
        let mut known = self.known(key_store);
        if swept.is_err() && known.incomplete.is_none() {
            let why = format!("they could not be looked at anew within {} s", within.as_secs());
            known.incomplete = Some(self.unfinished(&why));
        }
        known
    }

    /// Sweeps now and `every` so often, until `stop`.
    pub async fn run(&self, every: Duration, stop: CancellationToken) {
        let sweeping = async {
            loop {
                self.sweep().await;
                tokio::time::sleep(every).await;
            }
        };
        stop.run_until_cancelled(sweeping).await.unwrap_or(());
    }

    fn unfinished(&self, why: &str) -> Problem {
        let Progress { listed, outstanding, .. } = self.progress();
        let so_far = listed - outstanding.min(listed);
        Problem::own(
            ProblemKind::TimedOut,
            format!("not all keys are known: {why}; {so_far} of {listed} keys listed have been looked at"),
        )
    }

    /// Lists all keys and describes the unknown ones; one at a time. Returns at once if another one, begun after this
    /// was called, did the same meanwhile. Cancelling it loses nothing that was found.
    async fn sweep(&self) {
        let asked = Instant::now();
        let mut turn = self.turn.lock().await;
        if turn.is_some_and(|begun| begun >= asked) {
            return;
        }
        let begun = Instant::now();
        self.progress.send_replace(Progress { running: true, ..Progress::default() });
        let _stopped = Stopped(&self.progress);
        let stopped_by = self.list_and_describe().await.err();
        let incomplete = self.ledger().end(self.clock.now(), stopped_by);
        let (known, denied) = {
            let ledger = self.ledger();
            (ledger.described(), ledger.denied())
        };
        let listed = self.progress().listed;
        let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        match incomplete {
            None => tracing::info!(listed, known, denied, took_ms, "KMS keys enumerated"),
            Some(problem) => {
                tracing::warn!(listed, known, denied, took_ms, why = problem.detail, "KMS keys not all enumerated");
            }
        }
        *turn = Some(begun);
    }

    async fn list_and_describe(&self) -> Result<(), Problem> {
        let unknown = self.list().await?;
        self.progress.send_modify(|progress| progress.outstanding = unknown.len());
        let mut describing = stream::iter(unknown)
            .map(|arn| async move { self.describe(&arn).await })
            .buffer_unordered(self.pacer.concurrency());
        while let Some(described) = describing.next().await {
            described?;
            self.progress.send_modify(|progress| progress.outstanding = progress.outstanding.saturating_sub(1));
            let Progress { listed, outstanding, .. } = self.progress();
            if outstanding > 0 && outstanding.is_multiple_of(1_000) {
                tracing::info!(listed, outstanding, "describing KMS keys");
            }
        }
        self.one_was_described()
    }

    /// Of keys that may not be described none can be told to be in the key store: that none was found says nothing then,
    /// however few there are.
    fn one_was_described(&self) -> Result<(), Problem> {
        let ledger = self.ledger();
        match (ledger.described(), ledger.denied()) {
            (0, denied @ 1..) => {
                let detail = format!("AWS denies kms:DescribeKey of each of the {denied} KMS keys that it lists");
                Err(Problem::own(ProblemKind::AccessDenied, detail))
            }
            _ => Ok(()),
        }
    }

    /// The keys that are not known, those that were denied before last; forgets the keys that are gone.
    async fn list(&self) -> Result<Vec<Box<str>>, Problem> {
        let mut marker: Option<String> = None;
        let mut listed = 0;
        self.ledger().begin();
        for _ in 0..MOST_PAGES {
            let page = self.pacer.patiently(|| self.lister.keys(marker.as_deref())).await;
            let page = page.map_err(|error| error.as_problem("the list of KMS keys"))?;
            listed += page.arns.len();
            self.ledger().listed(page.arns);
            self.progress.send_modify(|progress| progress.listed = listed);
            marker = page.next;
            if marker.is_none() {
                return Ok(self.ledger().all_listed());
            }
        }
        let detail = format!("the list of KMS keys does not end within {MOST_PAGES} pages");
        Err(Problem::own(ProblemKind::Unread, detail))
    }

    async fn describe(&self, arn: &str) -> Result<(), Problem> {
        let standing = match self.pacer.patiently(|| self.lister.home(arn)).await {
            Ok(Some(KeyHome::ExternalKeyStore { key_store, external_key_id })) => {
                Standing::In(key_store, external_key_id)
            }
            Ok(Some(KeyHome::Elsewhere)) => Standing::Elsewhere,
            Ok(None) => Standing::Gone,
            Err(error @ KmsError::AccessDenied { .. }) => {
                tracing::debug!(arn, %error, "KMS key denied");
                self.ledger().note(arn, Standing::Denied);
                return self.someone_may_describe(&error);
            }
            Err(error) if error.is_worth_another_try() => return Err(error.as_problem("a KMS key")),
            Err(error) => {
                tracing::warn!(arn, %error, "KMS key not understood");
                Standing::Odd(error.to_string().into())
            }
        };
        self.ledger().note(arn, standing);
        Ok(())
    }

    /// Ends the sweep when it looks as if no key at all may be described: a hundred thousand denials tell no more.
    fn someone_may_describe(&self, denied: &KmsError) -> Result<(), Problem> {
        let ledger = self.ledger();
        if ledger.described() == 0 && ledger.denied() >= DENIED_AT_FIRST {
            return Err(denied.as_problem(&format!("{} KMS keys asked about, each of them,", ledger.denied())));
        }
        Ok(())
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows that no sweep runs, however it ended.
struct Stopped<'a>(&'a watch::Sender<Progress>);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|progress| progress.running = false);
    }
}
