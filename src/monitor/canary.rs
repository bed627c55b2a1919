//! Canaries: while a proxy is well, its test key encrypts something now and then, so that on the day when the proxy is
//! gone another one can still be proven to hold the same keys.

use std::sync::Arc;
use std::time::Duration;

use super::WatchedStore;
use crate::chain::Chain;
use crate::check::{Report, find};
use crate::clock::Clock;
use crate::journal::{Canary, CanaryKeeper};
use crate::preflight::{Candidate, Preflight};

/// Keeps canaries of the watched key stores.
pub struct Canaries {
    /// Where they are kept.
    pub keeper: Arc<dyn CanaryKeeper>,
    /// From one canary of a key store to its next; default six hours.
    pub every: Duration,
}

impl Canaries {
    /// Those that tell of the settings in force: made by this very proxy with this very key, newest first.
    pub(super) async fn of(&self, store: &WatchedStore, candidate: &Candidate) -> Vec<Canary> {
        let kept = self.keeper.canaries(&store.id).await.unwrap_or_else(|error| {
            tracing::warn!(key_store = %store.id, error = %Chain(&error), "canaries cannot be read");
            Vec::new()
        });
        let fits = |canary: &Canary| {
            canary.endpoint.as_str() == candidate.endpoint
                && canary.path.as_str() == candidate.path
                && Some(&canary.key) == store.test_key.as_ref()
        };
        kept.into_iter().filter(fits).collect()
    }

    /// Makes one if it is time and the keys are well; gives the latest there is then.
    pub(super) async fn tend(
        &self,
        store: &WatchedStore,
        candidate: &Candidate,
        report: &Report,
        preflight: &Preflight,
        clock: &dyn Clock,
    ) -> Option<Canary> {
        let latest = candidate.keys.canaries.first();
        let now = clock.now();
        let due = latest.is_none_or(|canary| now.seconds_since(canary.at) >= self.every.as_secs_f64());
        let (true, true, Some(key)) = (due, keys_are_well(report), &store.test_key) else { return latest.cloned() };
        match preflight.canary(candidate, &store.id, key).await {
            Ok(canary) => match self.keeper.keep(&canary).await {
                Ok(()) => {
                    tracing::info!(key_store = %store.id, %key, "a canary is kept");
                    return Some(canary);
                }
                Err(error) => tracing::warn!(key_store = %store.id, error = %Chain(&error), "canary cannot be kept"),
            },
            Err(problem) => {
                tracing::warn!(key_store = %store.id, problem = %problem.kind, detail = problem.detail, "no canary made");
            }
        }
        latest.cloned()
    }
}

/// Whether the round trip works everywhere and the keys are still those of the latest canary: a canary of other keys
/// would prove the wrong thing later.
fn keys_are_well(report: &Report) -> bool {
    let failing =
        |id: &str| report.findings.iter().any(|finding| finding.is_failed() && Some(finding.check) == find(id));
    let proofs = || report.evidence.keys.addresses.iter().map(|at| at.proofs.as_ref());
    let round = |proofs: Option<&crate::check::KeyProofs>| {
        proofs
            .is_some_and(|proofs| proofs.round_trip.wanted > 0 && proofs.round_trip.passed == proofs.round_trip.wanted)
    };
    proofs().next().is_some() && proofs().all(round) && !failing("key.continuity")
}
