//! The keys behind a candidate: are they there, do they work, and are they the same keys?
//!
//! # How it works
//!
//! At every address whose health answers are good: GetKeyMetadata of every key that is known, over a few kept
//! connections; and test operations, with a key that is there for tests (or with every key, by the operator's wish).
//! A *round trip* is Encrypt and Decrypt at the candidate. *Continuity* is what nobody else looks at: what the current
//! proxy encrypts must decrypt at the candidate, and the other way round. When the current proxy does not answer, a
//! *canary* that it encrypted earlier stands in for it; when it does, the canary must decrypt at the candidate all the
//! same, because its name may have come to lead to other keys.
//!
//! Plaintexts are random, are compared, and are gone; the additional data say who did it and why, for whoever reads the
//! key manager's audit log.
//!
//! # What can go wrong
//!
//! A key that fails is counted and, for the first few, named. Keys that were not come to - no time left, throttled, no
//! proof to be had - are told as such and never pass.

pub(super) mod canary;
mod lane;
mod metadata;
mod proof;

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use self::lane::Lane;
use super::{Baseline, Candidate, MOST_ADDRESSES, Thoroughness, gather};
use crate::check::{AddressEvidence, CurrentProxy, Evidence, KMS_TIME_LIMIT, KeyEvidence, KeysAtAddress, Proving};
use crate::key_store::{ExternalKeyId, Region};
use crate::probe::{Destination, Prober, Target};
use crate::xks::HealthStatus;

/// How long the current proxy is waited for: it may be slow, which may be why it is to be left.
const PATIENCE: Duration = Duration::from_secs(2);

/// How much to look at keys.
#[derive(Clone, Debug)]
pub struct KeyThoroughness {
    /// How many requests about keys are under way at once; default 8.
    pub concurrency: usize,
    /// How long all of it may take; default two minutes. Keys that are not come to make the verdict inconclusive.
    pub budget: Duration,
    /// Whether to try that changed additional data are refused; it shows as an error in the proxy's log. Default true.
    pub tampering: bool,
}

impl Default for KeyThoroughness {
    fn default() -> Self {
        Self { concurrency: 8, budget: Duration::from_mins(2), tampering: true }
    }
}

/// What is to be looked at, before anything is seen.
pub(super) fn asked(candidate: &Candidate) -> KeyEvidence {
    let keys = &candidate.keys;
    KeyEvidence {
        enumeration: keys.enumeration.clone(),
        named: keys.named.len(),
        proving: proving(candidate, known_keys(candidate).len()),
        every_key_wanted: keys.prove_every_key,
        current: current_proxy(candidate),
        addresses: Vec::new(),
    }
}

/// Looks at the keys at every address that is fit for it.
pub(super) async fn look(asked: &gather::Asked<'_>, thoroughness: &Thoroughness, evidence: &mut Evidence) {
    let gather::Asked { prober, candidate, target, .. } = *asked;
    let settings = &thoroughness.keys;
    let known = known_keys(candidate);
    let fit = asked.those(evidence, is_fit);
    if fit.is_empty() || (candidate.keys.enumeration.is_none() && known.is_empty()) {
        return;
    }
    let proven: Vec<&ExternalKeyId> = match &evidence.keys.proving {
        Proving::Nothing => Vec::new(),
        Proving::TestKey(_) => candidate.keys.test.iter().collect(),
        Proving::EveryKey(_) => known.iter().copied().collect(),
    };
    let begun = Instant::now();
    let current = match &candidate.baseline {
        Some(baseline) if !proven.is_empty() && evidence.keys.current != CurrentProxy::Indistinct => {
            Some(current(prober, baseline, &candidate.region).await)
        }
        _ => None,
    };
    let bench = proof::Bench {
        prober,
        target,
        addresses: &fit,
        current,
        known: evidence.keys.current,
        canaries: &candidate.keys.canaries,
        tampering: settings.tampering,
        // Half the time is for the metadata of the same keys.
        until: begun + settings.budget / 2,
    };
    let mut proofs = proof::prove(&bench, &proven, settings.concurrency).await.into_iter();
    let until = begun + settings.budget;
    let metadata = metadata::ask_everywhere(prober, target, &fit, &known, settings.concurrency, until).await;
    for (address, tally) in fit.iter().zip(metadata) {
        let proofs = proofs.next();
        evidence.keys.addresses.push(KeysAtAddress { address: address.address(), metadata: Some(tally), proofs });
    }
}

/// Every key that is known to belong to the store, once each: enumerated, named, and the test key.
fn known_keys(candidate: &Candidate) -> BTreeSet<&ExternalKeyId> {
    let keys = &candidate.keys;
    let enumerated = keys.enumeration.iter().flat_map(|store| store.keys.iter()).map(|key| &key.external_key_id);
    enumerated.chain(&keys.named).chain(&keys.test).collect()
}

fn proving(candidate: &Candidate, known: usize) -> Proving {
    match &candidate.keys.test {
        _ if candidate.keys.prove_every_key && known > 0 => Proving::EveryKey(known),
        Some(key) => Proving::TestKey(key.clone()),
        None => Proving::Nothing,
    }
}

fn current_proxy(candidate: &Candidate) -> CurrentProxy {
    let same = |baseline: &Baseline| {
        baseline.endpoint.as_str().eq_ignore_ascii_case(&candidate.endpoint)
            && baseline.path.as_str() == candidate.path
            && baseline.connect_to == candidate.connect_to
    };
    match (candidate.keys.current, &candidate.baseline) {
        (CurrentProxy::NotGiven, None) => CurrentProxy::NotGiven,
        (CurrentProxy::NotGiven, Some(baseline)) if same(baseline) => CurrentProxy::Same,
        (CurrentProxy::NotGiven, Some(_)) => CurrentProxy::Another,
        (known, _) => known,
    }
}

/// Whether the address speaks for itself: complete answers every time, with valid health. Where it does not, other
/// checks say so already, and keys would only add noise.
fn is_fit(address: &AddressEvidence) -> bool {
    let healthy = |body: &[u8]| HealthStatus::parse(body).is_ok();
    address.first_stop().is_none()
        && address.exchanges().next().is_some()
        && address.exchanges().all(|exchange| exchange.status == 200 && healthy(&exchange.body))
}

/// Everything that is needed to ask the current proxy.
pub(super) async fn current(prober: &Prober, baseline: &Baseline, region: &Region) -> (Target, Vec<Destination>) {
    let target = gather::baseline_target(baseline, region);
    let (connect_to, connectivity) = (&baseline.connect_to, baseline.connectivity);
    let addresses = gather::destinations(prober, &target, connect_to, connectivity, MOST_ADDRESSES).await.addresses;
    (target, addresses)
}

fn lane<'a>(prober: &'a Prober, target: &'a Target, address: Destination) -> Lane<'a> {
    Lane::new(prober, target, address, KMS_TIME_LIMIT)
}
