//! The gate: proofs that a mutation is allowed. They are made here and nowhere else, and none can be read from a
//! record: after a restart they are made again, by replaying the record through the same constructors.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::approval::Approval;
use super::barrier::Barriers;
use super::freeze::Freeze;
use super::green::NotGreen;
use super::plan::{Plan, PlanDigest};
use super::{Direction, Step};
use crate::check::{Acceptance, ClusterSettings, CredentialsSeen, Level, Outcome, ProbedSettings, Report, Verdict};
use crate::clock::Timestamp;
use crate::id::{ReportId, UpdateId};
use crate::key_store::{
    Change, Configuration, Connectivity, CustomKeyStoreId, Fingerprint, KeyStore, KmsException, XksConfiguration,
};

/// Identifies the settings that a pre-flight probed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SettingsDigest(String);

impl SettingsDigest {
    /// What a report says it probed.
    pub fn stated(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The settings of a key store, with the fingerprint of the credential that is in force with them. For an external
    /// key store it is what [`ProbedSettings::digest`] gives.
    ///
    /// `password` is the update that has a new KeyStorePassword sealed beside it; see [`ClusterSettings::password`].
    pub(super) fn of(store: &KeyStore, credential: Option<&Fingerprint>, password: Option<UpdateId>) -> Self {
        match &store.configuration {
            Configuration::Xks(xks) => Self::of_xks(xks, credential),
            Configuration::CloudHsm(hsm) => Self(ClusterSettings { cluster: &hsm.cluster, password }.digest()),
            Configuration::Unrecognized { .. } => Self("unrecognized".to_owned()),
        }
    }

    /// The settings of an external key store, with the fingerprint of the credential that is in force with them.
    pub fn of_xks(xks: &XksConfiguration, credential: Option<&Fingerprint>) -> Self {
        let fingerprint = credential.map(ToString::to_string);
        let vpc_endpoint_service = match &xks.connectivity {
            Connectivity::PublicEndpoint => None,
            Connectivity::VpcEndpointService { name, .. } => Some(name.as_str()),
        };
        let settings = ProbedSettings {
            endpoint: xks.endpoint.as_str(),
            path: xks.path.as_str(),
            connectivity: xks.connectivity.kind(),
            vpc_endpoint_service,
            access_key_id: xks.access_key_id.as_str(),
            fingerprint: fingerprint.as_deref(),
        };
        Self(settings.digest())
    }
}

impl fmt::Display for SettingsDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an update keeps of a pre-flight's report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreflightSummary {
    /// The report.
    pub report: ReportId,
    /// Its verdict.
    pub verdict: Verdict,
    /// Exactly what was probed.
    pub settings: SettingsDigest,
    /// What KMS would raise, when blocked.
    pub exception: Option<KmsException>,
    /// One sentence on the verdict, for people.
    pub message: String,
    /// When the last probe ended.
    pub finished_at: Timestamp,
    /// What was seen of the credential and of the one that it replaces, where both were tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialsSeen>,
}

impl PreflightSummary {
    /// What a report says, and exactly which settings it is about.
    pub fn of(report: &Report) -> Self {
        let inconclusive = || {
            report.findings.iter().find(|finding| {
                report.level(finding.check) == Level::Must
                    && matches!(finding.outcome, Outcome::OwnFault(_) | Outcome::NotReached { .. })
            })
        };
        let verdict = report.verdict();
        let told = if verdict == Verdict::Ready { None } else { report.decisive().or_else(inconclusive) };
        let nothing_told = || match report.reservations().join("; ") {
            told if verdict == Verdict::Ready && !told.is_empty() => told,
            _ => verdict.as_str().to_owned(),
        };
        let message = told.map_or_else(nothing_told, |finding| match finding.outcome.problem() {
            Some(problem) => format!("{}: {}", finding.check.id, problem.detail),
            None => match &finding.outcome {
                Outcome::NotReached { stopped_at } => {
                    format!("{}: not reached, the probe ended in stage {stopped_at}", finding.check.id)
                }
                other => format!("{}: {}", finding.check.id, other.as_str()),
            },
        });
        Self {
            report: report.id,
            verdict,
            settings: SettingsDigest(report.evidence.subject.kms_settings_digest()),
            exception: told.and_then(|finding| finding.kms.as_ref()).and_then(|kms| kms.exception),
            message,
            finished_at: report.finished_at(),
            credentials: report.evidence.credentials(),
        }
    }
}

/// Why a passing pre-flight is not enough for a rotation.
pub(super) const BOTH_NEEDED: &str = "a rotation begins only when the proxy is seen to accept both credentials at every \
                                      address, and this pre-flight did not see it";

/// Proof that a pre-flight of exactly the plan's settings passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreflightPassed {
    report: ReportId,
    finished_at: Timestamp,
}

impl PreflightPassed {
    /// Only a `ready` verdict about exactly the plan's settings counts; any verdict about them does for a disconnect
    /// whose plan says that its way back is unproven.
    pub(super) fn of(plan: &Plan, summary: &PreflightSummary) -> Result<Self, Denied> {
        if summary.settings != plan.settings() {
            return Err(Denied::OtherSettings { report: summary.report });
        }
        let both = CredentialsSeen { new: Acceptance::Accepted, former: Acceptance::Accepted };
        if plan.rotation.is_some() && summary.verdict == Verdict::Ready && summary.credentials != Some(both) {
            return Err(Denied::NotReady { report: summary.report, message: BOTH_NEEDED.to_owned() });
        }
        match summary.verdict {
            Verdict::Blocked | Verdict::Inconclusive if plan.only_disconnects() && plan.reconnect_unproven => {
                Ok(Self { report: summary.report, finished_at: summary.finished_at })
            }
            Verdict::Ready => Ok(Self { report: summary.report, finished_at: summary.finished_at }),
            Verdict::Blocked | Verdict::Inconclusive => {
                Err(Denied::NotReady { report: summary.report, message: summary.message.clone() })
            }
        }
    }

    /// The report that proves it.
    pub fn report(&self) -> ReportId {
        self.report
    }

    /// Whether it is young enough at `now`. A pre-flight from the future (the clock was set back) is not.
    pub fn is_fresh(&self, plan: &Plan, now: Timestamp) -> bool {
        now >= self.finished_at && now <= self.finished_at.plus(plan.limits.preflight_valid_for())
    }
}

/// What a permit allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// DisconnectCustomKeyStore.
    Disconnect,
    /// UpdateCustomKeyStore with exactly these members.
    Update(Box<Change>),
    /// ConnectCustomKeyStore.
    Connect,
}

/// Permission for one mutation of one key store. It is used up by the call it allows, so that a second call needs a
/// second decision.
#[derive(Debug)]
pub struct Permit {
    update: UpdateId,
    key_store: CustomKeyStoreId,
    plan: PlanDigest,
    mutation: Mutation,
}

impl Permit {
    /// The first mutation: a fresh pre-flight, an approval of exactly this plan, a plan that has not expired, and nothing
    /// in the way, unless the plan itself says that it passes by.
    pub(super) fn first(
        plan: &Plan,
        passed: &PreflightPassed,
        approval: &Approval,
        barriers: &Barriers,
        step: Step,
        now: Timestamp,
    ) -> Result<Self, Denied> {
        barriers.let_pass(plan, now)?;
        if !approval.is_of(plan) {
            return Err(Denied::OtherPlan);
        }
        if now > plan.expires_at {
            return Err(Denied::Expired { at: plan.expires_at });
        }
        if !passed.is_fresh(plan, now) {
            return Err(Denied::Stale { report: passed.report });
        }
        Self::onward(plan, Direction::Forward, step)
    }

    /// A later mutation: the first one was permitted, and seeing it through or restoring is always allowed.
    pub(super) fn onward(plan: &Plan, direction: Direction, step: Step) -> Result<Self, Denied> {
        let mutation = match (step, direction) {
            (Step::Disconnect, _) => Mutation::Disconnect,
            (Step::Connect, _) => Mutation::Connect,
            (Step::Update, Direction::Forward) => Mutation::Update(Box::new(plan.change.clone())),
            (Step::Update, Direction::Back) => {
                Mutation::Update(Box::new(plan.restore().ok_or(Denied::NothingToRestore)?.clone()))
            }
        };
        Ok(Self { update: plan.id, key_store: plan.key_store.clone(), plan: plan.digest().clone(), mutation })
    }

    /// One that nothing was decided for, to be sent nowhere but to tests' own writers.
    #[cfg(test)]
    pub(crate) fn stated(key_store: CustomKeyStoreId, mutation: Mutation) -> Self {
        let update = UpdateId::new(&crate::id::IdSource::from_seed(1), Timestamp::from_unix(0));
        Self { update, key_store, plan: PlanDigest::stated("of a test"), mutation }
    }

    /// The update it belongs to.
    pub fn update(&self) -> UpdateId {
        self.update
    }

    /// The key store it is for.
    pub fn key_store(&self) -> &CustomKeyStoreId {
        &self.key_store
    }

    /// The plan it is bound to.
    pub fn plan(&self) -> &PlanDigest {
        &self.plan
    }

    /// What it allows.
    pub fn mutation(&self) -> &Mutation {
        &self.mutation
    }
}

/// Why the gate stays shut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The pre-flight did not pass.
    #[error("pre-flight {report} did not pass: {message}")]
    NotReady {
        /// The report.
        report: ReportId,
        /// The verdict in a sentence.
        message: String,
    },
    /// The pre-flight was of other settings than the plan's.
    #[error("pre-flight {report} probed other settings than the plan's")]
    OtherSettings {
        /// The report.
        report: ReportId,
    },
    /// The pre-flight is too old.
    #[error("pre-flight {report} is too old: it must be run again")]
    Stale {
        /// The report.
        report: ReportId,
    },
    /// The approval states another digest than that of the plan and its report.
    #[error(
        "the digest is not that of this plan and the report of its first pre-flight: look at the update, and state the \
         approval_digest that it shows"
    )]
    OtherPlan,
    /// Whoever asked for the update approves it.
    #[error("{by} asked for this update, and nobody approves their own")]
    AuthorMayNotApprove {
        /// Who.
        by: String,
    },
    /// The same person agrees twice.
    #[error("{by} has approved this update already; another person must")]
    AlreadyApproved {
        /// Who.
        by: String,
    },
    /// Whoever approves does not say that the outage is known.
    #[error(
        "the change takes the keys of the key store out of use for a while: approve it with \
         \"acknowledge_outage\": true once the forecast is known to whoever depends on them"
    )]
    OutageNotAcknowledged,
    /// Changes are stopped.
    #[error(
        "changes of {} are frozen by {} until {}: {}",
        .0.key_store.as_ref().map_or("every key store".to_owned(), ToString::to_string),
        .0.by,
        .0.until.map_or("somebody lifts that".to_owned(), |until| until.to_string()),
        .0.reason
    )]
    Frozen(Box<Freeze>),
    /// Keys may not be taken out of use at this hour.
    #[error(
        "the change takes keys out of use, and no maintenance window is open; {}",
        opens_at.map_or("none opens soon".to_owned(), |at| format!("the next one opens at {at}"))
    )]
    OutsideWindow {
        /// When the next window opens, if one does.
        opens_at: Option<Timestamp>,
    },
    /// The new settings were not watched, or not ready for long enough.
    #[error("{0}")]
    NotGreen(Box<NotGreen>),
    /// Nobody is asked to agree now.
    #[error("the update does not wait for an approval now: it is {phase}")]
    NotAwaitingApproval {
        /// Where it is.
        phase: &'static str,
    },
    /// The plan may no longer begin.
    #[error("plan expired at {at}: ask for a new one")]
    Expired {
        /// When.
        at: Timestamp,
    },
    /// The plan has no way back.
    #[error("former settings cannot be restored")]
    NothingToRestore,
    /// The update is not at the point where this step may happen.
    #[error("{step} is not what comes next")]
    NotNext {
        /// The step.
        step: Step,
    },
}

impl Denied {
    /// When it stands in the way no more, if it is something that ends by itself and is worth waiting for. A freeze is not:
    /// whoever lifts it must not start changes by that.
    pub fn ends_at(&self) -> Option<Timestamp> {
        match self {
            Self::OutsideWindow { opens_at } => *opens_at,
            Self::NotGreen(lacking) => lacking.enough_at(),
            _ => None,
        }
    }

    /// The reason in one word, for programs: never another meaning.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotReady { .. } => "not_ready",
            Self::OtherSettings { .. } => "other_settings",
            Self::Stale { .. } => "stale_preflight",
            Self::OtherPlan => "other_plan",
            Self::AuthorMayNotApprove { .. } => "author_may_not_approve",
            Self::AlreadyApproved { .. } => "already_approved",
            Self::OutageNotAcknowledged => "outage_not_acknowledged",
            Self::NotAwaitingApproval { .. } => "not_awaiting_approval",
            Self::Frozen(_) => "frozen",
            Self::OutsideWindow { .. } => "outside_window",
            Self::NotGreen(_) => "not_green",
            Self::Expired { .. } => "expired",
            Self::NothingToRestore => "nothing_to_restore",
            Self::NotNext { .. } => "not_next",
        }
    }
}
