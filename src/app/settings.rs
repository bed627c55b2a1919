//! What of a configuration may be replaced while the process runs, in the words of those who use it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::BuildError;
use crate::api::Callers;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::driver::{ExaminerSettings, KeyTests};
use crate::id::IdSource;
use crate::key_store::{AccountName, Place};
use crate::keyring::Keyring;
use crate::monitor::{WatchedCandidate, WatchedStore};
use crate::oidc::{Issuer, IssuerSettings};
use crate::perspective::Perspectives;
use crate::preflight::Surroundings;
use crate::probe::{Prober, ProberError, ProberSettings};
use crate::update::Policy;

/// Whether the other perspectives are others. `perspective` is what this daemon calls itself.
pub(super) fn fits(config: &Config, perspective: &str) -> Result<(), BuildError> {
    if config.perspectives.iter().flat_map(|named| &named.all).any(|other| other.name == perspective) {
        return Err(BuildError::OwnPerspective { name: perspective.to_owned() });
    }
    Ok(())
}

pub(super) fn prober(
    preflight: &config::PreflightSettings,
    clock: &Arc<dyn Clock>,
    ids: &Arc<IdSource>,
) -> Result<Prober, ProberError> {
    Prober::new(ProberSettings {
        trust: preflight.trust.clone(),
        client_certificate: None,
        resolver: preflight.resolver.clone(),
        egress: preflight.egress.clone(),
        clock: Arc::clone(clock),
        ids: Arc::clone(ids),
    })
}

/// Which credentials are lent to which place: those of its configured key stores, and those that it is given outright.
fn lent(config: &Config) -> BTreeMap<Place, BTreeSet<String>> {
    let home = Place { account: AccountName::home(), region: config.kms.region.clone() };
    let mut lent = BTreeMap::from([(home, config.kms.credentials.clone())]);
    for account in &config.accounts {
        let places = account.regions.iter().map(|region| (account.name.clone(), region.clone()));
        lent.extend(
            places.map(|(account_name, region)| (Place { account: account_name, region }, account.credentials.clone())),
        );
    }
    for store in &config.key_stores {
        lent.entry(store.place.clone()).or_default().insert(store.credential.clone());
    }
    lent
}

pub(super) fn surroundings(config: &Config, credentials: Arc<Keyring>) -> Surroundings {
    let settings = config.preflight.clone();
    let preflight = &config.preflight;
    let routes = preflight.routes.iter();
    Surroundings {
        region: config.kms.region.clone(),
        credentials,
        lent: lent(config),
        given_to: config.credentials.iter().map(|(name, named)| (name.clone(), named.given_to.clone())).collect(),
        routes: routes.map(|(host, to)| (host.clone(), to.iter().map(ToString::to_string).collect())).collect(),
        capacity_allow: preflight.capacity_allow.clone(),
        judging: Arc::new(move |key_store, now| settings.judging(key_store, now)),
    }
}

pub(super) fn examiner(
    preflight: &config::PreflightSettings,
    perspectives: Option<&Perspectives>,
    stores: &[config::WatchedKeyStore],
) -> ExaminerSettings {
    let tests = |store: &config::WatchedKeyStore| KeyTests {
        test_key: store.test_key.clone(),
        every_key: store.prove_every_key,
    };
    ExaminerSettings {
        key_tests: stores.iter().map(|store| (store.id.clone(), tests(store))).collect(),
        samples: preflight.samples,
        addresses: preflight.addresses,
        refusals: stores.iter().filter(|store| store.refusals).map(|store| store.id.clone()).collect(),
        perspectives: perspectives.cloned(),
        timeout: preflight.timeout,
    }
}

pub(super) fn watched(stores: &[config::WatchedKeyStore]) -> Vec<WatchedStore> {
    let watched = |store: &config::WatchedKeyStore| WatchedStore {
        id: store.id.clone(),
        credential: Some(store.credential.clone()),
        settings: None,
        test_key: store.test_key.clone(),
        place: Some(store.place.clone()),
        candidates: store.candidates.iter().map(candidate).collect(),
    };
    stores.iter().map(watched).collect()
}

fn candidate(candidate: &config::Candidate) -> WatchedCandidate {
    let config::Candidate { name, change, credential } = candidate.clone();
    WatchedCandidate { name, change, credential }
}

pub(super) fn policy(update: &config::UpdatePolicy, stores: &[config::WatchedKeyStore]) -> Policy {
    Policy {
        approval: update.approval,
        approval_of: stores.iter().filter_map(|store| Some((store.id.clone(), store.approval?))).collect(),
        windows: update.windows.clone(),
        plan_valid_for: update.plan_expiry,
        preflight_valid_for: update.preflight_expiry,
        connect_xks: update.connect_wait,
        connect_cloudhsm: update.connect_wait,
        disconnect: update.disconnect_wait,
        acknowledge_outage: update.acknowledge_outage,
        rotation: update.rotation.clone(),
        require_green: update.require_green,
        require_green_of: stores.iter().filter_map(|store| Some((store.id.clone(), store.require_green?))).collect(),
        green_gap: update.green_gap,
        pause: update.poll_interval,
        ..Policy::default()
    }
}

/// Who is known.
pub(super) fn callers(config: &Config) -> Callers {
    let new = |settings: &IssuerSettings| Arc::new(Issuer::new(settings.clone()));
    Callers {
        tokens: config.tokens.clone(),
        certificates: config.client_certificates.clone(),
        authorities: config.listen.tls.as_ref().and_then(|tls| tls.clients.clone()),
        issuers: config.oidc.iter().map(new).collect(),
    }
}
