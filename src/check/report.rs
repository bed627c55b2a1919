//! Findings, the report that holds them, and its verdict.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::evidence::vpc::ServiceSight;
use super::{Check, Evidence, KMS_PORT, Problem, ProblemKind, Resolution, Stage};
use crate::clock::Timestamp;
use crate::id::ReportId;
use crate::key_store::{KmsException, KmsOutcome};

/// What became of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds; the detail says what was seen.
    Passed(String),
    /// It does not hold.
    Failed(Problem),
    /// It has no meaning here; why.
    NotApplicable(String),
    /// An earlier stage ended the probe, or the evidence was not gathered.
    NotReached {
        /// Where the probe ended.
        stopped_at: Stage,
    },
    /// We could not tell, for a reason of our own.
    OwnFault(Problem),
    /// It does not hold, and somebody said that it does not matter.
    Waived {
        /// What does not hold.
        problem: Problem,
        /// Who said so, why, and until when; boxed, because a report has a hundred findings and few waivers.
        waiver: Box<Waiver>,
    },
}

impl Outcome {
    /// The word used in reports.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Passed(_) => "passed",
            Self::Failed(_) => "failed",
            Self::NotApplicable(_) => "not_applicable",
            Self::NotReached { .. } => "not_reached",
            Self::OwnFault(_) => "own_fault",
            Self::Waived { .. } => "waived",
        }
    }

    /// The problem, where there is one.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Failed(problem) | Self::OwnFault(problem) | Self::Waived { problem, .. } => Some(problem),
            Self::Passed(_) | Self::NotApplicable(_) | Self::NotReached { .. } => None,
        }
    }
}

/// A check and what became of it, at one address or as a whole.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The check.
    pub check: &'static Check,
    /// The address it is about; `None` when it holds for all or has none.
    pub address: Option<IpAddr>,
    /// What became of it.
    pub outcome: Outcome,
    /// What KMS would make of it. Depends on the particulars for some checks (the proxy's error name), else the
    /// check's own.
    pub kms: Option<KmsOutcome>,
}

impl Finding {
    /// What to do about it. What is our own fault is not to be mended at the candidate.
    pub fn remedy(&self) -> &'static str {
        match self.outcome.problem() {
            Some(problem) if matches!(self.outcome, Outcome::OwnFault(_)) => match problem.kind {
                ProblemKind::NoProof => {
                    "Bring the current proxy back, give its credential, or let the monitor keep a canary while it is well; \
                     then ask again. This is no sign of other keys, only no proof of the same."
                }
                ProblemKind::TooFewPerspectives => {
                    "Bring back the perspectives that are named, or accept by a lower preflight.quorum that fewer of them \
                     look; then ask again. This says nothing of the candidate."
                }
                ProblemKind::AccessDenied => "Allow the identity used here the action that is named, and ask again.",
                _ => "This says nothing of the candidate: mend on our side what is named, and ask again.",
            },
            _ => self.check.remedy,
        }
    }

    /// Whether this finding counts as a failure.
    pub fn is_failed(&self) -> bool {
        matches!(self.outcome, Outcome::Failed(_))
    }
}

/// How bad a failed check is. Belongs to the check, not to the run; policy may promote Should to Must.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Blocks.
    Must,
    /// Warns.
    Should,
    /// Informs.
    Advice,
}

impl Level {
    /// The word used in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Must => "must",
            Self::Should => "should",
            Self::Advice => "advice",
        }
    }
}

/// The one word that matters. Inconclusive never passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every Must holds.
    Ready,
    /// A Must does not hold.
    Blocked,
    /// A Must could not be told.
    Inconclusive,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 3] = [Self::Ready, Self::Blocked, Self::Inconclusive];

    /// The word used in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Blocked => "blocked",
            Self::Inconclusive => "inconclusive",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an operator may adjust in judging.
#[derive(Clone, Debug, Default)]
pub struct JudgingPolicy {
    /// Should-checks that count as Must.
    pub promoted: Vec<String>,
    /// Checks whose failure is accepted, with a reason.
    pub waivers: Vec<Waiver>,
}

/// How a finding begins that says: nothing was looked at, and it is what matters most.
pub(super) const NOT_PROVEN: &str = "NOT PROVEN";

/// A failure that somebody accepts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiver {
    /// The check's id.
    pub check: String,
    /// Who answers for it; at most 100 characters.
    pub owner: String,
    /// The second person, where one is needed ([`Check::waiver_needs_two`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// Why; at most 500 characters, shown in every report.
    pub reason: String,
    /// When it ends; `None` for one that holds for a single run only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl fmt::Display for Waiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "waived by {}", self.owner)?;
        if let Some(second) = &self.approved_by {
            write!(f, " and {second}")?;
        }
        if let Some(until) = self.until {
            write!(f, " until {until}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// All findings about one candidate, with the evidence they rest on.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its identity.
    pub id: ReportId,
    /// What was seen; stays whatever the outcome.
    pub evidence: Evidence,
    /// One or more findings for every check of the catalogue, in its order.
    pub findings: Vec<Finding>,
    /// The levels in force: promoted checks count as Must.
    pub promoted: Vec<String>,
    /// Where we looked from.
    pub perspective: String,
    /// How long it all took.
    pub took: Duration,
    /// A digest of exactly the settings that were probed: what a permit is bound to.
    pub settings_digest: String,
}

impl Report {
    /// When it was begun.
    pub fn started_at(&self) -> Timestamp {
        self.evidence.at
    }

    /// When it was finished.
    pub fn finished_at(&self) -> Timestamp {
        self.evidence.at.plus(self.took)
    }

    /// The level in force for a check.
    pub fn level(&self, check: &Check) -> Level {
        if check.level == Level::Should && self.promoted.iter().any(|id| id == check.id) {
            Level::Must
        } else {
            check.level
        }
    }

    /// Blocked if a Must fails; inconclusive if a Must could not be told; ready otherwise.
    pub fn verdict(&self) -> Verdict {
        let musts = || self.findings.iter().filter(|finding| self.level(finding.check) == Level::Must);
        if musts().any(Finding::is_failed) {
            return Verdict::Blocked;
        }
        let untold = |finding: &Finding| matches!(finding.outcome, Outcome::OwnFault(_) | Outcome::NotReached { .. });
        if musts().any(untold) || self.findings.is_empty() { Verdict::Inconclusive } else { Verdict::Ready }
    }

    /// The finding that speaks for KMS: the first failed Must with an outcome there, in the order in which KMS
    /// would come to it.
    pub fn decisive(&self) -> Option<&Finding> {
        let failed = || self.failed_musts();
        failed()
            .find(|finding| finding.kms.as_ref().is_some_and(|kms| kms.exception.is_some()))
            .or_else(|| failed().next())
    }

    /// The first Must that was not seen to hold, if the verdict is not ready because of one.
    pub fn not_ready(&self) -> Option<&Finding> {
        let unsettled = |outcome: &Outcome| {
            matches!(outcome, Outcome::Failed(_) | Outcome::OwnFault(_) | Outcome::NotReached { .. })
        };
        self.findings.iter().find(|finding| self.level(finding.check) == Level::Must && unsettled(&finding.outcome))
    }

    /// What kept an inconclusive report from telling more: a fault of ours; or what failed, of whatever level and waived
    /// or not, in the stage where the probe ended.
    pub fn in_the_way(&self) -> Option<&Finding> {
        let musts = || self.findings.iter().filter(|finding| self.level(finding.check) == Level::Must);
        let ended = musts().find_map(|finding| match finding.outcome {
            Outcome::NotReached { stopped_at } => Some(stopped_at),
            _ => None,
        });
        let of_stage = |finding: &&Finding| finding.outcome.problem().is_some() && Some(finding.check.stage) == ended;
        let own = || musts().find(|finding| matches!(finding.outcome, Outcome::OwnFault(_)));
        own().or_else(|| self.findings.iter().find(of_stage))
    }

    /// The Musts that failed, in the catalogue's order.
    pub fn failed_musts(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.is_failed() && self.level(finding.check) == Level::Must)
    }

    /// The Shoulds that failed, and those that could not be told.
    pub fn warnings(&self) -> impl Iterator<Item = &Finding> {
        let told = |outcome: &Outcome| matches!(outcome, Outcome::Failed(_) | Outcome::OwnFault(_));
        self.findings.iter().filter(move |finding| told(&finding.outcome) && self.level(finding.check) == Level::Should)
    }

    /// The failures that somebody accepts.
    pub fn waived(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| matches!(finding.outcome, Outcome::Waived { .. }))
    }

    /// The first check over which KMS would refuse the settings, had nobody waived it, with the exception.
    pub fn refused_but_waived(&self) -> Option<(&'static str, &KmsException)> {
        self.waived().find_map(|finding| Some((finding.check.id, finding.kms.as_ref()?.exception.as_ref()?)))
    }

    /// What nothing was looked at of, although it matters: to follow "it is not proven that".
    pub fn unproven(&self) -> Vec<&'static str> {
        let says_so = |id: &str| {
            let told =
                |outcome: &Outcome| matches!(outcome, Outcome::NotApplicable(why) if why.starts_with(NOT_PROVEN));
            self.findings.iter().any(|finding| finding.check.id == id && told(&finding.outcome))
        };
        let password = self.evidence.subject.cluster.as_ref().is_some_and(|cluster| cluster.password.is_some());
        let before = self.evidence.aws.control_plane.as_ref().is_some_and(|plane| !plane.after_update);
        let sight = self.evidence.aws.vpc.as_ref().map(|seen| &seen.sight);
        let offered = matches!(sight, Some(ServiceSight::Offered { .. }));
        [
            (self.own_addresses_unseen(), "KMS finds the same at the addresses of the name (connect_to led elsewhere)"),
            (offered, "KMS's principal is allowed and the service is available (vpc.principal_allowed: only its owner is told)"),
            (says_so("key.continuity"), "the keys behind them are the same keys (key.continuity)"),
            (says_so("vpc.service_found"), "KMS can use the VPC endpoint service (AWS was not asked)"),
            (password && before, "kmsuser has this password (only the connect tries it)"),
        ]
        .into_iter()
        .filter_map(|(unproven, what)| unproven.then_some(what))
        .collect()
    }

    /// Whether KMS would connect to addresses of the name that `connect_to` kept us from.
    fn own_addresses_unseen(&self) -> bool {
        let seen = |ip: &Ipv4Addr| {
            let own = SocketAddr::from((*ip, KMS_PORT));
            self.evidence.addresses.iter().any(|address| address.address == own)
        };
        !self.evidence.subject.connect_to.is_empty()
            && match &self.evidence.resolution {
                Resolution::Answered { ipv4, .. } => !ipv4.iter().all(seen),
                Resolution::Failed { .. } => true,
                Resolution::NotReached | Resolution::Bypassed => false,
            }
    }

    /// What whoever reads `ready` must know beside it, in words; nothing if all is well.
    pub fn reservations(&self) -> Vec<String> {
        let ids = |findings: Vec<&Finding>| {
            let ids: BTreeSet<&str> = findings.into_iter().map(|finding| finding.check.id).collect();
            ids.into_iter().collect::<Vec<_>>().join(", ")
        };
        let unproven = self.unproven().into_iter().map(|what| format!("{NOT_PROVEN} that {what}"));
        let refused = self.refused_but_waived().map_or_else(String::new, |(id, exception)| {
            format!(" (KMS would refuse UpdateCustomKeyStore with {exception} over {id})")
        });
        let waived = Some(ids(self.waived().collect())).filter(|ids| !ids.is_empty());
        let waived = waived.map(|ids| format!("waived: {ids}{refused}"));
        let warnings = Some(ids(self.warnings().collect())).filter(|ids| !ids.is_empty());
        let others = [waived, warnings.map(|ids| format!("warnings: {ids}"))];
        unproven.chain(others.into_iter().flatten()).collect()
    }

    /// The kind of the decisive problem, for metrics.
    pub fn problem_kind(&self) -> Option<ProblemKind> {
        self.decisive().and_then(|finding| finding.outcome.problem()).map(|problem| problem.kind).or_else(|| {
            self.findings.iter().find_map(|finding| match &finding.outcome {
                Outcome::OwnFault(problem) => Some(problem.kind),
                _ => None,
            })
        })
    }
}
