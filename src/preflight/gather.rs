//! Gathers the evidence for one candidate.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;

use super::{Baseline, Candidate, Thoroughness, keys};
use crate::check::{AddressEvidence, Evidence, KMS_TIME_LIMIT, ProblemKind, Resolution, Stage};
use crate::clock::Timestamp;
use crate::key_store::Region;
use crate::probe::{Prober, Target};
use crate::xks::HealthStatus;

/// KMS's port; not configurable there (XKS proxy API, URI).
const PORT: u16 = 443;

/// How long the one patient look waits: long enough to tell slow from dead, short enough for a person.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many addresses are probed at most; beyond it something is wrong with the name.
const MOST_ADDRESSES: usize = 32;

pub(super) async fn gather(
    prober: &Prober,
    candidate: &Candidate,
    thoroughness: &Thoroughness,
    at: Timestamp,
) -> Evidence {
    let mut evidence = Evidence::new(at, candidate.subject(prober.is_lab()));
    evidence.keys = keys::asked(candidate);
    let Some(target) = candidate.target() else { return evidence };
    let (resolution, addresses) = destinations(prober, &target, &candidate.connect_to).await;
    evidence.resolution = resolution;
    let (answers, baseline_health) = tokio::join!(
        join_all(addresses.into_iter().map(|address| probe_address(prober, &target, address, thoroughness))),
        baseline_health(prober, candidate.baseline.as_deref(), &candidate.region),
    );
    evidence.baseline_health = baseline_health;
    evidence.addresses = answers;
    keys::look(prober, candidate, &target, thoroughness, &mut evidence).await;
    evidence
}

/// Where to connect: what `connect_to` says, or every IPv4 address of the name.
pub(super) async fn destinations(
    prober: &Prober,
    target: &Target,
    connect_to: &[String],
) -> (Resolution, Vec<SocketAddr>) {
    if connect_to.is_empty() {
        let resolution = prober.resolve(target.endpoint.host()).await;
        let addresses = match &resolution {
            Resolution::Answered { ipv4, .. } => {
                ipv4.iter().take(MOST_ADDRESSES).map(|address| SocketAddr::new(IpAddr::V4(*address), PORT)).collect()
            }
            Resolution::NotReached | Resolution::Bypassed | Resolution::Failed { .. } => Vec::new(),
        };
        return (resolution, addresses);
    }
    let mut addresses = Vec::new();
    for place in connect_to {
        match prober.resolve_connect_to(place).await {
            Ok(found) => addresses.extend(found),
            Err(problem) => return (Resolution::Failed { took: Duration::ZERO, problem }, Vec::new()),
        }
    }
    addresses.truncate(MOST_ADDRESSES);
    (Resolution::Bypassed, addresses)
}

async fn probe_address(
    prober: &Prober,
    target: &Target,
    address: SocketAddr,
    thoroughness: &Thoroughness,
) -> AddressEvidence {
    let mut seen = AddressEvidence { address, tls: None, suites: None, stranger: None, samples: Vec::new() };
    let mut kept = None;
    let mut timed_out = false;
    for _ in 0..thoroughness.cold.max(1) {
        let cold = prober.cold_sample(target, address, KMS_TIME_LIMIT).await;
        kept = cold.connection;
        let stop = cold.sample.last().stop.clone();
        // Several servers may stand behind one address: the one that stopped a sample is the one to be judged.
        seen.tls = if stop.is_some() { cold.tls.or(seen.tls) } else { seen.tls.or(cold.tls) };
        timed_out |= stop.as_ref().is_some_and(|stop| stop.problem.kind == ProblemKind::TimedOut);
        seen.samples.push(cold.sample);
        // What is refused once is refused; asking on would only take time and fill the proxy's log.
        if stop.is_some() {
            break;
        }
    }
    if may_shake_hands(&seen) {
        seen.suites = Some(prober.try_suites(target, address, seen.tls.as_ref(), PATIENCE).await);
        let asks = seen.tls.as_ref().is_some_and(|tls| tls.client_certificate_requested);
        if asks && thoroughness.refusals {
            seen.stranger = Some(prober.try_stranger(target, address, PATIENCE).await);
        }
    }
    if timed_out {
        seen.samples.push(prober.patient_sample(target, address, PATIENCE).await);
        return seen;
    }
    let mut connection = kept;
    for _ in 0..thoroughness.warm {
        let Some(open) = connection.as_mut() else { break };
        let warm = prober.warm_sample(target, open, KMS_TIME_LIMIT).await;
        if warm.last().stop.is_some() {
            // The proxy may close a kept connection whenever it likes; only cold samples decide.
            connection = None;
        } else {
            seen.samples.push(warm);
        }
    }
    seen
}

/// Whether more handshakes can tell more: every sample got as far as TLS, and none found something else there.
fn may_shake_hands(seen: &AddressEvidence) -> bool {
    seen.samples.iter().all(|sample| match &sample.last().stop {
        None => true,
        Some(stop) if stop.stage < Stage::Tls => false,
        Some(stop) => {
            let refused = matches!(
                stop.problem.kind,
                ProblemKind::Alert | ProblemKind::NoCipherSuite | ProblemKind::ProtocolVersion
            );
            seen.tls.is_some() || refused
        }
    })
}

/// The health behind the current settings, if they are known and answer; without it there is nothing to compare.
async fn baseline_health(prober: &Prober, baseline: Option<&Baseline>, region: &Region) -> Option<HealthStatus> {
    let baseline = baseline?;
    let target = baseline_target(baseline, region);
    let (_, addresses) = destinations(prober, &target, &baseline.connect_to).await;
    let sample = prober.cold_sample(&target, *addresses.first()?, KMS_TIME_LIMIT).await.sample;
    HealthStatus::parse(&sample.last().exchange.as_ref()?.body).ok()
}

/// The proxy behind the current settings, as something to ask.
pub(super) fn baseline_target(baseline: &Baseline, region: &Region) -> Target {
    Target {
        endpoint: baseline.endpoint.clone(),
        path: baseline.path.clone(),
        region: region.clone(),
        credential: baseline.credential.clone(),
        kms_operation: "KmsHealthCheck".to_owned(),
    }
}
