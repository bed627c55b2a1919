//! Gathers the evidence for one candidate.

use std::time::Duration;

use futures_util::future::join_all;

use super::{Baseline, Candidate, Thoroughness, keys, refusals};
use crate::check::{
    AddressEvidence, CurrentProxy, Evidence, KMS_TIME_LIMIT, Problem, ProblemKind, RefusalEvidence, Resolution, Stage,
};
use crate::clock::Timestamp;
use crate::key_store::{ConnectivityKind, Region};
use crate::probe::{Destination, Prober, Target};
use crate::xks::HealthStatus;

/// How long the one patient look waits: long enough to tell slow from dead, short enough for a person.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn gather(
    prober: &Prober,
    candidate: &Candidate,
    thoroughness: &Thoroughness,
    at: Timestamp,
) -> (Evidence, Vec<Destination>) {
    let mut evidence = Evidence::new(at, candidate.subject(prober.is_lab()));
    evidence.keys = keys::asked(candidate);
    evidence.refusals = thoroughness.refusals.then(RefusalEvidence::default);
    let Some(target) = candidate.target() else { return (evidence, Vec::new()) };
    let (destinations, name) = tokio::join!(
        destinations(prober, &target, &candidate.connect_to, Some(candidate.connectivity), thoroughness.addresses),
        name_of_a_public_endpoint(prober, candidate, &target),
    );
    evidence.resolution = name.filter(|_| !destinations.addresses.is_empty()).unwrap_or(destinations.resolution);
    evidence.left_out = destinations.left_out;
    let addresses = destinations.addresses;
    // Asked at the same name, the health would be the candidate's own.
    let baseline = candidate.baseline.as_deref().filter(|_| evidence.keys.current != CurrentProxy::Indistinct);
    let (answers, baseline_health) = tokio::join!(
        join_all(addresses.iter().map(|address| probe_address(prober, &target, *address, thoroughness))),
        baseline_health(prober, baseline, &candidate.region),
    );
    evidence.baseline_health = baseline_health;
    evidence.addresses = answers;
    let asked = Asked { prober, candidate, target: &target, addresses: &addresses };
    refusals::look_further(&asked, thoroughness, &mut evidence).await;
    keys::look(&asked, thoroughness, &mut evidence).await;
    (evidence, addresses)
}

/// Who is asked, and where.
pub(super) struct Asked<'a> {
    pub(super) prober: &'a Prober,
    pub(super) candidate: &'a Candidate,
    pub(super) target: &'a Target,
    addresses: &'a [Destination],
}

impl Asked<'_> {
    /// The destinations of those addresses whose evidence is such.
    pub(super) fn those(&self, evidence: &Evidence, such: impl Fn(&AddressEvidence) -> bool) -> Vec<Destination> {
        let fit = |to: &&Destination| evidence.addresses.iter().any(|seen| seen.address == to.address() && such(seen));
        self.addresses.iter().filter(fit).copied().collect()
    }
}

/// KMS finds a public endpoint by its name alone, wherever `connect_to` leads us: the name is asked for all the same. A
/// laboratory's names are nobody's but its own.
async fn name_of_a_public_endpoint(prober: &Prober, candidate: &Candidate, target: &Target) -> Option<Resolution> {
    let bypassed = candidate.connectivity == ConnectivityKind::PublicEndpoint && !candidate.connect_to.is_empty();
    if !bypassed || prober.is_lab() || prober.egress().host(target.endpoint.host()).is_err() {
        return None;
    }
    Some(prober.resolve(target.endpoint.host()).await)
}

/// Where to connect.
pub(super) struct Destinations {
    pub(super) resolution: Resolution,
    pub(super) addresses: Vec<Destination>,
    /// Why not everywhere that KMS may connect to.
    pub(super) left_out: Option<Problem>,
}

impl Destinations {
    fn nowhere(problem: Problem) -> Self {
        let resolution = Resolution::Failed { took: Duration::ZERO, problem };
        Self { resolution, addresses: Vec::new(), left_out: None }
    }
}

/// Where to connect: what `connect_to` says, or every IPv4 address of the name that a proxy of this connectivity (of
/// either, if it is not known) can have, as far as our guard admits it.
pub(super) async fn destinations(
    prober: &Prober,
    target: &Target,
    connect_to: &[String],
    connectivity: Option<ConnectivityKind>,
    most: usize,
) -> Destinations {
    let host = target.endpoint.host();
    if let Err(problem) = prober.egress().host(host) {
        return Destinations::nowhere(problem);
    }
    if connect_to.is_empty() {
        let resolution = prober.resolve(host).await;
        let found = match &resolution {
            Resolution::Answered { ipv4, .. } => ipv4.as_slice(),
            Resolution::NotReached | Resolution::Bypassed | Resolution::Failed { .. } => &[],
        };
        let mut refused = None;
        let admit = |address| prober.egress().admit(host, address, connectivity);
        let addresses = found
            .iter()
            .filter_map(|address| admit(*address).map_err(|problem| refused = refused.take().or(Some(problem))).ok());
        let (addresses, too_many) = few_enough(addresses.collect(), host, most);
        return Destinations { resolution, addresses, left_out: too_many.or(refused) };
    }
    let mut addresses = Vec::new();
    for place in connect_to {
        match prober.resolve_connect_to(place).await {
            Ok(found) => addresses.extend(found),
            Err(problem) => return Destinations::nowhere(problem),
        }
    }
    let (addresses, left_out) = few_enough(addresses, "connect_to", most);
    Destinations { resolution: Resolution::Bypassed, addresses, left_out }
}

fn few_enough(mut addresses: Vec<Destination>, whose: &str, most: usize) -> (Vec<Destination>, Option<Problem>) {
    let found = addresses.len();
    addresses.truncate(most);
    let problem = (found > most).then(|| {
        let detail = format!(
            "{whose} has more than {most} addresses, and only so many were probed; KMS may take any of the \
             {found} that were found"
        );
        Problem::own(ProblemKind::TooManyAddresses, detail)
    });
    (addresses, problem)
}

async fn probe_address(
    prober: &Prober,
    target: &Target,
    address: Destination,
    thoroughness: &Thoroughness,
) -> AddressEvidence {
    let mut seen =
        AddressEvidence { address: address.address(), tls: None, suites: None, stranger: None, samples: Vec::new() };
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
        seen.suites = Some(Box::pin(prober.try_suites(target, address, seen.tls.as_ref(), PATIENCE)).await);
        let asks = seen.tls.as_ref().is_some_and(|tls| tls.client_certificate_requested);
        if asks && thoroughness.refusals {
            seen.stranger = Some(Box::pin(prober.try_stranger(target, address, PATIENCE)).await);
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
        let stopped_by = warm.last().stop.as_ref().map(|stop| stop.problem.kind);
        // The proxy may close a kept connection whenever it likes. To keep it and not answer on it is another thing.
        if !matches!(stopped_by, Some(ProblemKind::Closed | ProblemKind::Reset)) {
            seen.samples.push(warm);
        }
        if stopped_by.is_some() {
            connection = None;
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
    let addresses = destinations(prober, &target, &baseline.connect_to, baseline.connectivity, 1).await.addresses;
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

#[cfg(test)]
mod tests;
