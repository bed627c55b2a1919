//! What to probe for a candidate; gathers one report.
//!
//! # How it works
//!
//! The values are judged first, without the network. If they are fit for it, the name is resolved and every IPv4
//! address behind it is probed at once, because KMS may take any: one cold sample after the other on each address
//! (fresh connection, KMS's limit, its one retry), then warm ones on the last connection. When a sample ran out of
//! time, one patient look tells slow from dead. Then come requests unlike those of the samples (`refusals`): what the
//! proxy must refuse, if asked for, and what tells why it refuses a right one. The keys are looked at last (`keys`). All
//! of it is evidence; the checks judge it. If load was asked for (`capacity`), a candidate that is ready by then is put
//! under it.
//!
//! # What can go wrong
//!
//! A failed target is a report, never an error. What we cannot do ourselves (no resolver, no sockets) is evidence,
//! too: an own fault, which makes the verdict inconclusive.

mod candidate;
mod capacity;
mod gather;
mod keys;
mod refusals;
mod surroundings;

use std::sync::Arc;

use tracing::Instrument as _;

pub use candidate::{Baseline, Candidate, CandidateKeys, OfferedCredential};
pub use capacity::{HIGHEST_RATE, LONGEST_LOAD, Load, LoadBeyondBounds, LoadProgress, MOST_REQUESTS};
pub use keys::KeyThoroughness;
pub use surroundings::{Judging, Surroundings};

use crate::check::{
    AwsEvidence, CapacityEvidence, ClusterSubject, Evidence, JudgingPolicy, OtherPerspectives, PerspectiveEvidence,
    Problem, Report, Subject, judge,
};
use crate::clock::Clock;
use crate::current::Current;
use crate::id::{IdSource, ReportId};
use crate::journal::Canary;
use crate::key_store::{CustomKeyStoreId, ExternalKeyId, Region};
use crate::perspective::Question;
use crate::probe::{Destination, Prober};

/// The addresses that are probed at most unless told otherwise; beyond it something is wrong with the name.
const MOST_ADDRESSES: usize = 32;

/// How much to look.
#[derive(Clone, Debug)]
pub struct Thoroughness {
    /// Cold samples for each address, 1 to 100.
    pub cold: usize,
    /// Warm samples for each address, 0 to 100.
    pub warm: usize,
    /// The most addresses of one candidate that are probed; more are an own fault, as KMS may take any.
    pub addresses: usize,
    /// Whether to send requests that a proxy must refuse; they look like an attack in its log.
    pub refusals: bool,
    /// Whether to find out why a signature is refused, by at most four more requests.
    pub diagnosis: bool,
    /// What load to put on a candidate that was found fit; `None` means none.
    pub load: Option<Load>,
    /// How much to look at keys.
    pub keys: KeyThoroughness,
    /// How to judge.
    pub judging: JudgingPolicy,
}

impl Default for Thoroughness {
    fn default() -> Self {
        Self {
            cold: 5,
            warm: 5,
            addresses: MOST_ADDRESSES,
            refusals: false,
            diagnosis: true,
            load: None,
            keys: KeyThoroughness::default(),
            judging: JudgingPolicy::default(),
        }
    }
}

/// Runs pre-flights.
#[derive(Debug)]
pub struct Preflight {
    prober: Current<Prober>,
    clock: Arc<dyn Clock>,
    ids: Arc<IdSource>,
    perspective: String,
}

impl Preflight {
    /// `perspective` says where we look from, in the operator's words; it is in every report.
    pub fn new(prober: Prober, clock: Arc<dyn Clock>, ids: Arc<IdSource>, perspective: String) -> Self {
        Self { prober: Current::new(prober), clock, ids, perspective }
    }

    /// Probes with another prober from the next candidate on.
    pub fn probe_with(&self, prober: Prober) {
        self.prober.replace(prober);
    }

    /// Probes and judges one candidate. `aws` is what AWS told of it, as far as somebody asked. Takes at most a few
    /// seconds, as every network act has a deadline, and as long again as the load lasts that was asked for.
    pub async fn run(&self, candidate: &Candidate, aws: AwsEvidence, thoroughness: &Thoroughness) -> Report {
        self.run_beside(candidate, aws, thoroughness, std::future::ready(None)).await
    }

    /// Where we look from.
    pub fn perspective(&self) -> &str {
        &self.perspective
    }

    /// What other perspectives are asked about this candidate; `None` if its values are not fit for the network.
    pub fn question(&self, candidate: &Candidate) -> Option<Question> {
        candidate.question(self.prober.get().is_lab())
    }

    /// As [`Preflight::run`], while others look from elsewhere: what they say is judged beside what is seen from here.
    pub async fn run_beside(
        &self,
        candidate: &Candidate,
        aws: AwsEvidence,
        thoroughness: &Thoroughness,
        others: impl Future<Output = Option<OtherPerspectives>>,
    ) -> Report {
        let span = tracing::debug_span!(
            "preflight",
            endpoint = candidate.endpoint,
            report = tracing::field::Empty,
            verdict = tracing::field::Empty,
            check = tracing::field::Empty,
        );
        let report = Box::pin(self.looked(candidate, aws, thoroughness, others)).instrument(span.clone()).await;
        span.record("report", tracing::field::display(report.id));
        span.record("verdict", tracing::field::display(report.verdict()));
        if let Some(finding) = report.decisive() {
            span.record("check", finding.check.id);
        }
        report
    }

    async fn looked(
        &self,
        candidate: &Candidate,
        aws: AwsEvidence,
        thoroughness: &Thoroughness,
        others: impl Future<Output = Option<OtherPerspectives>>,
    ) -> Report {
        let at = self.clock.now();
        let prober = self.prober.get();
        let begun = tokio::time::Instant::now();
        // Boxed, because futures within futures add up.
        let gathered = Box::pin(gather::gather(&prober, candidate, thoroughness, at));
        let ((mut evidence, addresses), others) = tokio::join!(gathered, others);
        evidence.aws = aws;
        let mut report = self.report(evidence, begun, &thoroughness.judging);
        if let Some(others) = others {
            let lab = |report: &crate::check::RemoteReport| report.lab;
            report.evidence.subject.lab |= others.asked.iter().any(|other| other.answer.as_ref().is_ok_and(lab));
            report.evidence.perspectives = Some(PerspectiveEvidence::beside(&report, others));
            report.findings = judge(&report.evidence, &thoroughness.judging);
            report.took = begun.elapsed();
        }
        if let Some(load) = &thoroughness.load {
            report.evidence.capacity =
                Some(Box::pin(put_under_load(&prober, candidate, addresses, &report, load)).await);
            report.findings = judge(&report.evidence, &thoroughness.judging);
            report.took = begun.elapsed();
        }
        report.evidence.shorten_bodies();
        tell(&report);
        report
    }

    /// Judges a candidate that is a CloudHSM cluster. There is no proxy to probe: what AWS told is all the evidence.
    pub fn cluster(
        &self,
        subject: ClusterSubject,
        region: Region,
        aws: AwsEvidence,
        judging: &JudgingPolicy,
    ) -> Report {
        let subject = Subject::of_cluster(subject, region, self.prober.get().is_lab());
        let evidence = Evidence { aws, ..Evidence::new(self.clock.now(), subject) };
        let report = self.report(evidence, tokio::time::Instant::now(), judging);
        tell(&report);
        report
    }

    fn report(&self, evidence: Evidence, begun: tokio::time::Instant, judging: &JudgingPolicy) -> Report {
        Report {
            id: ReportId::new(&self.ids, evidence.at),
            findings: judge(&evidence, judging),
            promoted: judging.promoted.clone(),
            perspective: self.perspective.clone(),
            took: begun.elapsed(),
            settings_digest: evidence.subject.kms_settings_digest(),
            evidence,
        }
    }

    /// Makes a canary through a candidate that is in force and well; the problem says why there is none.
    pub async fn canary(
        &self,
        candidate: &Candidate,
        key_store: &CustomKeyStoreId,
        key: &ExternalKeyId,
    ) -> Result<Canary, Problem> {
        keys::canary::make(&self.prober.get(), candidate, key_store, key, self.clock.now()).await
    }
}

/// Only a candidate that was found fit so far is put under load.
async fn put_under_load(
    prober: &Prober,
    candidate: &Candidate,
    addresses: Vec<Destination>,
    report: &Report,
    load: &Load,
) -> CapacityEvidence {
    if let Some(untold) = report.not_ready() {
        return CapacityEvidence::NotReached { stopped_at: untold.check.stage };
    }
    capacity::put(prober, candidate, addresses, load).await
}

fn tell(report: &Report) {
    let subject = &report.evidence.subject;
    tracing::info!(
        report = %report.id,
        verdict = %report.verdict(),
        endpoint = Some(&subject.endpoint).filter(|endpoint| !endpoint.is_empty()),
        cluster = subject.cluster.as_ref().map(|subject| subject.cluster.as_str()),
        decisive = report.decisive().map(|finding| finding.check.id),
        took_ms = u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX),
        "pre-flight finished"
    );
}
