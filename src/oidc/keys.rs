//! The keys that a provider published last, and when they are asked for again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::JwtRefused;
use super::key_set::{KeySet, VerifyingKey};
use super::source::KeySource;
use crate::chain::Chain;

/// When keys are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Older keys are fetched anew while they go on being used: a key that was withdrawn is believed for so long.
    pub refresh: Duration,
    /// Keys older than this are not used: the provider could not be asked for too long.
    pub keep: Duration,
    /// Between two attempts, whoever causes them: strangers can send key ids that nobody knows.
    pub pause: Duration,
    /// For one fetch.
    pub within: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            refresh: Duration::from_mins(5),
            keep: Duration::from_hours(1),
            pause: Duration::from_secs(30),
            within: Duration::from_secs(5),
        }
    }
}

#[derive(Debug, Default)]
struct Held {
    set: KeySet,
    fetched: Option<Instant>,
    tried: Option<Instant>,
}

/// Keys with their source.
#[derive(Debug)]
pub(super) struct Keys {
    source: KeySource,
    pace: Pace,
    held: Mutex<Held>,
    /// One fetch at a time; others wait for what it brings.
    fetching: tokio::sync::Mutex<()>,
}

impl Keys {
    pub(super) fn new(source: KeySource, pace: Pace) -> Self {
        Self { source, pace, held: Mutex::default(), fetching: tokio::sync::Mutex::default() }
    }

    /// The key of this id. Waits for a fetch only when there is no such key, or no keys at all.
    pub(super) async fn find(self: &Arc<Self>, kid: &str) -> Result<Arc<VerifyingKey>, JwtRefused> {
        let (known, age) = self.look(kid);
        if let (Some(key), Some(age)) = (known, age) {
            if age >= self.pace.refresh && self.may_try() {
                tokio::spawn(Arc::clone(self).refresh());
            }
            return Ok(key);
        }
        // In a task of its own: a caller who goes away must not take the fetch of all others along.
        let _ = tokio::spawn(Arc::clone(self).refresh()).await;
        match self.look(kid) {
            (_, None) => Err(JwtRefused::KeysUnavailable),
            (known, Some(_)) => known.ok_or(JwtRefused::UnknownKey),
        }
    }

    /// The key, and how old the keys are; `None` when they may not be used.
    fn look(&self, kid: &str) -> (Option<Arc<VerifyingKey>>, Option<Duration>) {
        let held = self.held();
        let age = held.fetched.map(|at| at.elapsed()).filter(|age| *age < self.pace.keep);
        (age.and_then(|_| held.set.find(kid)), age)
    }

    fn may_try(&self) -> bool {
        self.held().tried.is_none_or(|at| at.elapsed() >= self.pace.pause)
    }

    async fn refresh(self: Arc<Self>) {
        let _one = self.fetching.lock().await;
        if !self.may_try() {
            return;
        }
        self.held().tried = Some(Instant::now());
        let fetched = tokio::time::timeout(self.pace.within, self.source.load()).await;
        match fetched {
            Ok(Ok(set)) => {
                let mut held = self.held();
                held.set = set;
                held.fetched = Some(Instant::now());
            }
            Ok(Err(error)) => {
                tracing::warn!(source = %self.source, error = %Chain(&error), "an issuer's keys cannot be had");
            }
            Err(_) => {
                let within = self.pace.within.as_secs();
                tracing::warn!(source = %self.source, within, "an issuer's keys do not come in time");
            }
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
