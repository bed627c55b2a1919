//! What other perspectives say of the same candidate, beside what is seen from here.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::check::{Problem, Report, Verdict};
use crate::id::ReportId;
use crate::key_store::KmsOutcome;
use crate::xks::HealthStatus;

/// What is found from here and elsewhere.
#[derive(Clone, Debug)]
pub struct PerspectiveEvidence {
    /// What is found from here, before the others were heard.
    pub own: View,
    /// What the others say.
    pub others: OtherPerspectives,
}

/// The perspectives that were asked.
#[derive(Clone, Debug)]
pub struct OtherPerspectives {
    /// How many of them must find the same; at least one, at most as many as are configured.
    pub quorum: usize,
    /// In the order of the configuration; empty if nobody was asked, because the values are not fit for it.
    pub asked: Vec<OtherPerspective>,
}

/// One that was asked.
#[derive(Clone, Debug)]
pub struct OtherPerspective {
    /// Its name, as the configuration has it.
    pub name: String,
    /// Its address, for people.
    pub url: String,
    /// How long it took to answer, or not to.
    pub took: Duration,
    /// Its report; else why there is none that counts.
    pub answer: Result<RemoteReport, Problem>,
}

/// What counts of another perspective's report.
#[derive(Clone, Debug)]
pub struct RemoteReport {
    /// By which it is found there.
    pub id: ReportId,
    /// Whether roots of a laboratory count as trusted there.
    pub lab: bool,
    /// What it found.
    pub view: View,
    /// What KMS would make of it, as it says.
    pub kms: Option<KmsOutcome>,
}

/// What one perspective finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The perspective's name.
    pub perspective: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// The check that decides, unless the verdict is `ready`.
    pub decisive: Option<Remark>,
    /// SHA-256 of the certificates that it was presented, over all addresses.
    pub certificates: BTreeSet<String>,
    /// The fleet that answered it.
    pub fleet: Option<Fleet>,
}

/// A check that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The check's id, by the catalogue of whoever says so.
    pub check: String,
    /// The kind of its problem.
    pub problem: Option<String>,
    /// For people.
    pub detail: String,
}

/// What a health answer tells of who gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// The proxy's vendor and model.
    pub proxy: (String, String),
    /// The key managers' ids.
    pub key_managers: BTreeSet<String>,
}

impl PerspectiveEvidence {
    /// Beside what this report found from here.
    pub fn beside(report: &Report, others: OtherPerspectives) -> Self {
        Self { own: View::of(report), others }
    }
}

impl View {
    fn of(report: &Report) -> Self {
        let verdict = report.verdict();
        let deciding = match verdict {
            Verdict::Ready => None,
            Verdict::Blocked => report.decisive(),
            Verdict::Inconclusive => report.in_the_way(),
        };
        let decisive = deciding.map(|finding| Remark {
            check: finding.check.id.to_owned(),
            problem: finding.outcome.problem().map(|problem| problem.kind.as_str().to_owned()),
            detail: finding.outcome.problem().map_or_else(String::new, |problem| problem.detail.clone()),
        });
        let addresses = &report.evidence.addresses;
        let leaves = addresses.iter().filter_map(|address| address.tls.as_ref()?.chain.first());
        let healths = addresses.iter().flat_map(super::AddressEvidence::exchanges);
        Self {
            perspective: report.perspective.clone(),
            verdict,
            decisive,
            certificates: leaves.map(|leaf| leaf.sha256.clone()).collect(),
            fleet: healths.filter_map(|exchange| HealthStatus::parse(&exchange.body).ok()).map(Fleet::from).next(),
        }
    }
}

impl From<HealthStatus> for Fleet {
    fn from(health: HealthStatus) -> Self {
        Self {
            proxy: (health.xks_proxy_vendor, health.xks_proxy_model),
            key_managers: health.ekm_fleet_details.into_iter().map(|manager| manager.id).collect(),
        }
    }
}
