//! Canaries: while a proxy is well, its test key encrypts something now and then, so that on the day when the proxy is
//! gone another one can still be proven to hold the same keys.

use std::sync::Arc;
use std::time::Duration;

use super::WatchedStore;
use crate::chain::Chain;
use crate::check::{Outcome, Report, find};
use crate::clock::Clock;
use crate::journal::{Canary, CanaryKeeper};
use crate::key_store::XksConfiguration;
use crate::preflight::{Candidate, Preflight};

/// Keeps canaries of the watched key stores.
pub struct Canaries {
    /// Where they are kept.
    pub keeper: Arc<dyn CanaryKeeper>,
    /// From one canary of a key store to its next; default six hours.
    pub every: Duration,
}

impl Canaries {
    /// Those that tell of the settings in force: made by this very proxy with this very key, newest first. `None` if
    /// they cannot be read, which is not the same as having none: nothing may take their place then.
    pub(super) async fn of(&self, store: &WatchedStore, candidate: &Candidate) -> Option<Vec<Canary>> {
        let kept = match self.keeper.canaries(&store.id).await {
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!(key_store = %store.id, error = %Chain(&error), "canaries cannot be read");
                return None;
            }
        };
        let fits = |canary: &Canary| {
            canary.endpoint.as_str() == candidate.endpoint
                && canary.path.as_str() == candidate.path
                && Some(&canary.key) == store.test_key.as_ref()
        };
        Some(kept.into_iter().filter(fits).collect())
    }

    /// Those that the proxy behind these settings of the key store made with the present test key, newest first; none if
    /// they cannot be read.
    pub(super) async fn made_by(&self, store: &WatchedStore, settings: &XksConfiguration) -> Vec<Canary> {
        let kept = self.keeper.canaries(&store.id).await.unwrap_or_else(|error| {
            tracing::warn!(key_store = %store.id, error = %Chain(&error), "canaries cannot be read");
            Vec::new()
        });
        let made_there = |canary: &Canary| canary.endpoint == settings.endpoint && canary.path == settings.path;
        kept.into_iter().filter(made_there).collect()
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
        let (true, true, Some(key)) = (due, keys_are_well(report, latest.is_some()), &store.test_key) else {
            return latest.cloned();
        };
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

/// Whether the round trip works everywhere and the keys are seen to be those of the latest canary, if there is one: a
/// canary of other keys would prove the wrong thing later.
fn keys_are_well(report: &Report, has_canary: bool) -> bool {
    let same = |outcome: &Outcome| match outcome {
        Outcome::Passed(_) | Outcome::Waived { .. } => true,
        Outcome::NotApplicable(_) => !has_canary,
        Outcome::Failed(_) | Outcome::OwnFault(_) | Outcome::NotReached { .. } => false,
    };
    let mut continuity = report.findings.iter().filter(|finding| Some(finding.check) == find("key.continuity"));
    let proofs = || report.evidence.keys.addresses.iter().map(|at| at.proofs.as_ref());
    let round = |proofs: Option<&crate::check::KeyProofs>| {
        proofs
            .is_some_and(|proofs| proofs.round_trip.wanted > 0 && proofs.round_trip.passed == proofs.round_trip.wanted)
    };
    proofs().next().is_some() && proofs().all(round) && continuity.all(|finding| same(&finding.outcome))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{
        AddressEvidence, Attempt, Evidence, JudgingPolicy, KeyProofs, KeyTally, KeysAtAddress, Problem, ProblemKind,
        Proving, Sample, SampleKind, SecretEvidence, Subject, judge,
    };
    use crate::clock::Timestamp;
    use crate::id::{IdSource, ReportId};
    use crate::key_store::{ConnectivityKind, ExternalKeyId, Region};

    fn report(round_trip: KeyTally, continuity: Option<KeyTally>) -> Report {
        let at = Timestamp::from_unix(1_800_000_000);
        let subject = Subject {
            endpoint: "https://xks.example.com".into(),
            path: "/kms/xks/v1".into(),
            connectivity: ConnectivityKind::PublicEndpoint,
            vpc_endpoint_service: None,
            region: Region::parse("us-east-1").unwrap(),
            access_key_id: "AKIAI2SFODNN7EXAMPLE".into(),
            secret: SecretEvidence::Malformed("a test".into()),
            connect_to: Vec::new(),
            longest_key_id: None,
            cluster: None,
            lab: false,
        };
        let mut evidence = Evidence::new(at, subject);
        let address = "192.0.2.1:443".parse().unwrap();
        let sample = Sample { kind: SampleKind::Cold, first: Attempt::default(), retry: None };
        evidence.addresses =
            vec![AddressEvidence { address, tls: None, suites: None, stranger: None, samples: vec![sample] }];
        evidence.keys.proving = Proving::TestKey(ExternalKeyId::parse("k").unwrap());
        let proofs = Some(KeyProofs { round_trip, continuity, ..KeyProofs::default() });
        evidence.keys.addresses = vec![KeysAtAddress { address, metadata: None, proofs }];
        Report {
            id: ReportId::new(&IdSource::from_seed(1), at),
            findings: judge(&evidence, &JudgingPolicy::default()),
            evidence,
            promoted: Vec::new(),
            perspective: String::new(),
            took: Duration::ZERO,
            settings_digest: String::new(),
        }
    }

    #[test]
    fn no_canary_is_made_of_keys_that_fail_or_are_not_those_of_the_last_one() {
        let passed = KeyTally { passed: 1, ..KeyTally::of(1) };
        let mut failed = KeyTally::of(1);
        failed.fail(&ExternalKeyId::parse("k").unwrap(), Problem::target(ProblemKind::DifferentKeys, "other keys"));
        assert!(keys_are_well(&report(passed.clone(), None), false));
        assert!(keys_are_well(&report(passed.clone(), Some(passed.clone())), true));
        assert!(!keys_are_well(&report(passed.clone(), Some(failed.clone())), true));
        assert!(!keys_are_well(&report(failed, None), false));
        assert!(!keys_are_well(&report(KeyTally::of(1), None), false));
        // There is one, and it could not be tried.
        let mut untold = KeyTally::of(1);
        untold.leave(Problem::own(ProblemKind::TimedOut, "no time left"));
        for continuity in [None, Some(KeyTally::of(1)), Some(untold)] {
            assert!(!keys_are_well(&report(passed.clone(), continuity), true));
        }
    }
}
