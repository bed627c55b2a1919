//! Pre-flights of plans and of free-standing candidates, and the latest reports by id.
//!
//! A plan is examined by its candidate settings, its present ones for comparison, and everything KMS tells of the
//! account's key stores; that of a CloudHSM key store by what CloudHSM tells of its clusters instead of a probe. A few
//! examinations run at once; more wait for their turn within the time that one may take.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{PreflightRequest, Verifier};
use tokio_util::sync::CancellationToken;

use crate::audit::Subject;
use crate::chain::Chain;
use crate::check::{
    AwsEvidence, CloudHsmEvidence, Cluster, ClusterSubject, ControlPlane, CurrentProxy, JudgingPolicy,
    OtherPerspectives, Permissions, Problem, ProblemKind, Report, VpcEvidence,
};
use crate::clock::Clock;
use crate::cloudhsm::ClusterError;
use crate::current::Current;
use crate::enumeration::Enumerators;
use crate::id::ReportId;
use crate::journal::{AuditTrail, Canary, CanaryKeeper};
use crate::key_store::{
    CloudHsmClusterId, Configuration, CustomKeyStoreId, ExternalKeyId, KeyStore, Place, ProxyCredential, Region,
    XksConfiguration,
};
use crate::kms::{KeyStoreReader as _, KmsError};
use crate::perspective::{self, Attendance, Attended, Perspectives};
use crate::places::Places;
use crate::preflight::{Baseline, Candidate, KeyThoroughness, Load, Preflight, Surroundings, Thoroughness};
use crate::update::{Plan, PreflightSummary, Rollback, Round};

/// How many reports are kept; the oldest make room.
const KEPT: usize = 1_000;

/// How long a plan waits for the latest list of its keys (one page of ListKeys, and the keys made since the last sweep),
/// and for IAM.
const AWS_WITHIN: Duration = Duration::from_secs(10);

/// The check without which no rotation begins.
const OLD_ACCEPTED: &str = "sigv4.old_credential_still_accepted";

/// Told of every finished examination.
pub type Observer = Arc<dyn Fn(&Report) + Send + Sync>;

/// What an examiner is made of.
pub struct ExaminerParts {
    /// Probes and judges.
    pub preflight: Arc<Preflight>,
    /// Credentials, routes and waivers.
    pub surroundings: Arc<Current<Surroundings>>,
    /// Reads AWS, each key store's own account and Region. Where the security groups of clusters are not read, no change
    /// of a CloudHSM key store is ready.
    pub places: Arc<Places>,
    /// Finds the KMS keys of key stores.
    pub enumerators: Arc<Enumerators>,
    /// How candidates are examined.
    pub settings: Arc<Current<ExaminerSettings>>,
    /// Has the canaries of present settings, if any are kept.
    pub canaries: Option<Arc<dyn CanaryKeeper>>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Examinations at once.
    pub concurrency: usize,
    /// Told of every finished examination.
    pub observer: Observer,
    /// Keeps the reports of updates, if that is wanted.
    pub keeper: Option<ReportKeeper>,
}

/// How candidates are examined.
#[derive(Clone, Debug)]
pub struct ExaminerSettings {
    /// Which keys may be used for test operations, by key store.
    pub key_tests: BTreeMap<CustomKeyStoreId, KeyTests>,
    /// Cold samples of each address.
    pub samples: usize,
    /// The most addresses that are probed of one candidate.
    pub addresses: usize,
    /// The key stores whose proxies are also sent requests that they must refuse, whenever a plan is examined.
    pub refusals: BTreeSet<CustomKeyStoreId>,
    /// Who else looks at a candidate, if anybody does.
    pub perspectives: Option<Perspectives>,
    /// The longest that one may take, its waiting included.
    pub timeout: Duration,
}

/// Keeps the reports of updates beside their events.
#[derive(Clone)]
pub struct ReportKeeper {
    /// Where.
    pub trail: Arc<dyn AuditTrail>,
    /// As JSON text.
    pub document: fn(&Report) -> String,
}

impl ReportKeeper {
    /// A report that is not kept is missing in the evidence, which says so; the update goes on.
    async fn keep(&self, plan: &Plan, report: &Report) {
        let document = (self.document)(report);
        let kept = self.trail.keep_report(report.finished_at(), &Subject::of(plan), report.id, &document).await;
        if let Err(error) = kept {
            tracing::error!(update = %plan.id, report = %report.id, error = %Chain(&error), "report is not kept");
        }
    }
}

/// Which keys of a key store may be used for test operations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyTests {
    /// One that is there for tests.
    pub test_key: Option<ExternalKeyId>,
    /// Whether every key of the key store may be used, by the operator's explicit wish.
    pub every_key: bool,
}

/// What a caller asks for beyond the usual; nothing by default.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    /// Load on the candidate.
    pub load: Option<Load>,
    /// Requests that the proxy must refuse, even if its key store is not configured for them.
    pub refusals: bool,
    /// That no other perspective is asked.
    pub alone: bool,
}

/// Examines candidates.
pub struct Examiner {
    parts: ExaminerParts,
    places: Semaphore,
    /// For those that ask no other perspective: two daemons that ask each other must not wait for each other's places.
    lone_places: Semaphore,
    /// For glances, which come as often as somebody scrapes.
    glances: Semaphore,
    /// One load at a time: two would be seen in each other's latency.
    loading: Semaphore,
    /// Newest first, each with the key store that it is about.
    reports: Mutex<VecDeque<(Option<CustomKeyStoreId>, Arc<Report>)>>,
    /// Which other perspectives answer.
    attendance: Attendance,
}

/// Why there is no report. Never a fault of the candidate.
#[derive(Debug, thiserror::Error)]
pub enum ExamineError {
    /// Too many others, or the candidate kept us waiting beyond every limit.
    #[error("the pre-flight did not end within {} s: too many run at once; try again, or allow more of them", limit.as_secs())]
    TimedOut {
        /// The limit.
        limit: Duration,
    },
    /// A type of key store, or a setting, that this program does not understand.
    #[error("{key_store} cannot be understood: this version knows no way to pre-flight it")]
    Unrecognized {
        /// The key store.
        key_store: CustomKeyStoreId,
    },
    /// We cannot sign.
    #[error(
        "the secret of access key id {access_key_id} is not known here; configure it under [credentials], or send it \
         with the request"
    )]
    NoSecret {
        /// The credential whose secret is missing.
        access_key_id: String,
    },
    /// The operator has not said that this proxy may be put under load.
    #[error(
        "load is put only on proxies whose host is among preflight.capacity_allow in the configuration, and this one is not"
    )]
    LoadNotAllowed,
    /// Another load is being put on some proxy.
    #[error("another load is being put on a proxy; only one is at a time")]
    Loading,
}

impl std::fmt::Debug for Examiner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Examiner").field("surroundings", &self.parts.surroundings).finish_non_exhaustive()
    }
}

impl Examiner {
    /// Ready to examine.
    pub fn new(parts: ExaminerParts) -> Self {
        let places = || Semaphore::new(parts.concurrency.max(1));
        let (places, lone_places, glances) = (places(), places(), places());
        let (loading, reports, attendance) = (Semaphore::new(1), Mutex::default(), Attendance::default());
        Self { parts, places, lone_places, glances, loading, reports, attendance }
    }

    /// The longest that an examination with these extras takes, its waiting included.
    pub fn limit(&self, extra: &Extra) -> Duration {
        self.parts.settings.get().timeout + extra.load.as_ref().map_or(Duration::ZERO, Load::longest)
    }

    /// The report with this id, if it is still kept.
    pub fn find(&self, id: ReportId) -> Option<Arc<Report>> {
        self.find_of(id).map(|(_, report)| report)
    }

    /// The report with this id, if it is still kept, and the key store that it is about.
    pub fn find_of(&self, id: ReportId) -> Option<(Option<CustomKeyStoreId>, Arc<Report>)> {
        let reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.iter().find(|(_, report)| report.id == id).cloned()
    }

    /// Examines a candidate as it is, for this key store or for none.
    pub async fn candidate(
        &self,
        candidate: &Candidate,
        of: Option<&CustomKeyStoreId>,
        extra: &Extra,
    ) -> Result<Arc<Report>, ExamineError> {
        let judging = (self.parts.surroundings.get().judging)(None, self.parts.clock.now());
        let aws = AwsEvidence { vpc: self.endpoint_service(candidate, of).await, ..AwsEvidence::default() };
        self.examine(candidate, of, aws, judging, extra).await
    }

    /// One cold look at a candidate as it is, for this key store or for none, within this time. It is kept nowhere and
    /// counted nowhere, and nobody else is asked.
    pub async fn glance(
        &self,
        candidate: &Candidate,
        of: Option<&CustomKeyStoreId>,
        within: Duration,
    ) -> Result<Report, ExamineError> {
        let thoroughness = Thoroughness {
            cold: 1,
            warm: 0,
            addresses: self.parts.settings.get().addresses,
            // Guesses at a refused signature at every scrape might lock the credential out.
            diagnosis: false,
            judging: (self.parts.surroundings.get().judging)(of, self.parts.clock.now()),
            ..Thoroughness::default()
        };
        let looked = tokio::time::timeout(within, async {
            // The semaphore is never closed.
            let _place = self.glances.acquire().await.ok();
            Box::pin(self.parts.preflight.run(candidate, AwsEvidence::default(), &thoroughness)).await
        });
        looked.await.map_err(|_| ExamineError::TimedOut { limit: within })
    }

    /// Examines the cluster that a CloudHSM key store has now; of another type there is nothing to examine here.
    pub async fn present_cluster(&self, store: &KeyStore, extra: &Extra) -> Result<Arc<Report>, ExamineError> {
        let Configuration::CloudHsm(hsm) = &store.configuration else {
            return Err(ExamineError::Unrecognized { key_store: store.id.clone() });
        };
        let subject = ClusterSubject { key_store: store.id.clone(), cluster: hsm.cluster.clone(), password: None };
        let judging = (self.parts.surroundings.get().judging)(Some(&store.id), self.parts.clock.now());
        self.examine_cluster(subject, None, None, judging, extra).await
    }

    /// Examines what a plan would put in force. `credential` signs for the new settings, `former_credential` for the
    /// present ones. `refusals` says whether to send requests that the proxy must refuse, even if the key store is not
    /// configured for it.
    pub async fn plan(
        &self,
        plan: &Plan,
        round: Round,
        credential: Option<ProxyCredential>,
        former_credential: Option<ProxyCredential>,
        extra: &Extra,
    ) -> Result<Arc<Report>, ExamineError> {
        let new = match &plan.new.configuration {
            Configuration::Xks(new) => new,
            Configuration::CloudHsm(new) => {
                let subject = ClusterSubject {
                    key_store: plan.key_store.clone(),
                    cluster: new.cluster.clone(),
                    password: plan.change.password.then_some(plan.id),
                };
                let present = match &plan.expected.configuration {
                    Configuration::CloudHsm(present) => Some(&present.cluster),
                    Configuration::Xks(_) | Configuration::Unrecognized { .. } => None,
                };
                let control_plane = control_plane(plan, round, self.parts.places.beside(&plan.key_store).await);
                return self.examine_cluster(subject, present, Some(control_plane), self.judging(plan), extra).await;
            }
            Configuration::Unrecognized { .. } => {
                return Err(ExamineError::Unrecognized { key_store: plan.key_store.clone() });
            }
        };
        let missing = || ExamineError::NoSecret { access_key_id: new.access_key_id.to_string() };
        let credential = credential.ok_or_else(missing)?;
        let surroundings = self.parts.surroundings.get();
        let settings = self.parts.settings.get();
        let region = self.region_of(&plan.key_store);
        let mut candidate = surroundings.candidate(&region, new, credential.into(), "UpdateCustomKeyStore");
        if let Some(tests) = settings.key_tests.get(&plan.key_store) {
            candidate.keys.test.clone_from(&tests.test_key);
            candidate.keys.prove_every_key = tests.every_key;
        }
        if round.is_look() {
            // The keys are the same as before; they are not tried at every look.
            candidate.keys.test = None;
            candidate.keys.prove_every_key = false;
        } else if round != Round::Verification
            && let Some(current) = plan.expected.xks()
        {
            candidate.keys.current = CurrentProxy::between(current, new);
            candidate.keys.canaries = self.canaries(&plan.key_store, current).await;
        }
        if round != Round::Verification {
            candidate.baseline =
                plan.expected.xks().and_then(|xks| self.baseline(xks, former_credential)).map(Box::new);
        }
        let (stores, permissions, enumeration, vpc) = tokio::join!(
            self.parts.places.beside(&plan.key_store),
            self.permissions(&plan.key_store),
            self.parts.enumerators.refreshed(&plan.key_store, AWS_WITHIN.min(settings.timeout)),
            self.endpoint_service(&candidate, Some(&plan.key_store)),
        );
        candidate.keys.enumeration = Some(enumeration);
        let control_plane = Some(control_plane(plan, round, stores));
        let aws = AwsEvidence { control_plane, vpc, permissions, ..AwsEvidence::default() };
        let refusals = extra.refusals || (!round.is_look() && settings.refusals.contains(&plan.key_store));
        // Once KMS has the settings, it has looked at them itself: that others are away takes no update back.
        let alone = extra.alone || round.is_after_update();
        let extra = Extra { refusals, alone, ..extra.clone() };
        self.examine(&candidate, Some(&plan.key_store), aws, self.judging(plan), &extra).await
    }

    /// How a report on a plan is judged.
    fn judging(&self, plan: &Plan) -> JudgingPolicy {
        let mut judging = (self.parts.surroundings.get().judging)(Some(&plan.key_store), self.parts.clock.now());
        // A waiver that the plan does not show was agreed to by nobody who agreed to the plan.
        judging.waivers.retain(|waiver| plan.waivers.contains(waiver));
        if plan.rotation.is_some() {
            // What a rotation rests on: it must hold, and nobody can accept that it does not.
            judging.promoted.push(OLD_ACCEPTED.to_owned());
            judging.waivers.retain(|waiver| waiver.check != OLD_ACCEPTED);
        }
        judging
    }

    /// The Region of a key store; that of the daemon if nobody knows where it is, which others tell.
    fn region_of(&self, key_store: &CustomKeyStoreId) -> Region {
        let place = self.parts.places.place_of(key_store);
        place.map_or_else(|| self.parts.surroundings.get().region.clone(), |place| place.region.clone())
    }

    /// What AWS tells of the candidate's VPC endpoint service. The key store's own account is asked; of a candidate
    /// without a key store our own, if it has the candidate's Region.
    async fn endpoint_service(&self, candidate: &Candidate, of: Option<&CustomKeyStoreId>) -> Option<VpcEvidence> {
        let places = &self.parts.places;
        let ports = match of {
            Some(key_store) => places.of(key_store),
            None => places.at(&Place::home(candidate.region.clone())),
        };
        let ports = ports.filter(|ports| ports.place.region == candidate.region)?;
        candidate.endpoint_service(ports.vpc.as_ref()?.as_ref()).await
    }

    async fn permissions(&self, key_store: &CustomKeyStoreId) -> Option<Result<Permissions, Problem>> {
        let asked = self.parts.places.of(key_store)?.permissions.as_ref()?.permissions();
        let answer = tokio::time::timeout(AWS_WITHIN.min(self.parts.settings.get().timeout), asked).await;
        Some(answer.unwrap_or_else(|_| Err(Problem::own(ProblemKind::TimedOut, "IAM does not answer in time"))))
    }

    /// CloudHSM's description of these clusters, where the key store is.
    async fn clusters(
        &self,
        key_store: &CustomKeyStoreId,
        ids: &[CloudHsmClusterId],
    ) -> Result<Vec<Cluster>, ClusterError> {
        let nowhere =
            || ClusterError::Unanswered { why: format!("no account and Region is known to have {key_store}") };
        self.parts.places.of(key_store).ok_or_else(nowhere)?.clusters.clusters(ids).await
    }

    /// What the present proxy encrypted while it was well, newest first.
    async fn canaries(&self, key_store: &CustomKeyStoreId, current: &XksConfiguration) -> Vec<Canary> {
        let Some(keeper) = &self.parts.canaries else { return Vec::new() };
        let kept = keeper.canaries(key_store).await.unwrap_or_else(|error| {
            tracing::warn!(%key_store, error = %Chain(&error), "canaries cannot be read");
            Vec::new()
        });
        let made_there = |canary: &Canary| canary.endpoint == current.endpoint && canary.path == current.path;
        kept.into_iter().filter(made_there).collect()
    }

    fn baseline(&self, current: &XksConfiguration, credential: Option<ProxyCredential>) -> Option<Baseline> {
        Some(Baseline {
            endpoint: current.endpoint.clone(),
            path: current.path.clone(),
            credential: credential.filter(|credential| credential.access_key_id == current.access_key_id)?,
            connectivity: Some(current.connectivity.kind()),
            connect_to: self.parts.surroundings.get().connect_to(&current.endpoint),
        })
    }

    /// What the other perspectives say, if they are to be asked.
    async fn others(&self, candidate: &Candidate, extra: &Extra) -> Option<OtherPerspectives> {
        let settings = self.parts.settings.get();
        let perspectives = settings.perspectives.as_ref().filter(|_| !extra.alone)?;
        let others = perspectives.ask(self.parts.preflight.question(candidate).as_ref()).await;
        let now = self.parts.clock.now();
        for other in &others.asked {
            self.attendance.note(&other.name, other.answer.is_ok(), now);
        }
        Some(others)
    }

    /// How each perspective of the present settings did when it was last asked for anything.
    pub fn attendance(&self) -> Vec<(String, Attended)> {
        self.attendance.of(self.parts.settings.get().perspectives.as_ref())
    }

    /// Looks at the perspectives now and then, until `stop`.
    pub async fn attend(&self, stop: CancellationToken) {
        let perspectives = || self.parts.settings.get().perspectives.clone();
        self.attendance.keep(perspectives, self.parts.clock.as_ref(), perspective::EVERY, stop).await;
    }

    /// Whether this candidate may be put under load now.
    fn begin_load(&self, candidate: &Candidate) -> Result<SemaphorePermit<'_>, ExamineError> {
        let host = candidate.endpoint.strip_prefix("https://").unwrap_or(&candidate.endpoint).to_ascii_lowercase();
        if !self.parts.surroundings.get().capacity_allow.contains(&host) {
            return Err(ExamineError::LoadNotAllowed);
        }
        self.loading.try_acquire().map_err(|_| ExamineError::Loading)
    }

    async fn examine(
        &self,
        candidate: &Candidate,
        of: Option<&CustomKeyStoreId>,
        aws: AwsEvidence,
        judging: JudgingPolicy,
        extra: &Extra,
    ) -> Result<Arc<Report>, ExamineError> {
        let limit = self.limit(extra);
        let settings = self.parts.settings.get();
        let _loading = extra.load.as_ref().map(|_| self.begin_load(candidate)).transpose()?;
        let places = if extra.alone { &self.lone_places } else { &self.places };
        self.within(limit, of.cloned(), places, async {
            let thoroughness = Thoroughness {
                cold: settings.samples,
                warm: settings.samples,
                addresses: settings.addresses,
                load: extra.load.clone(),
                refusals: extra.refusals,
                // The rest of the time is for everything else.
                keys: KeyThoroughness { budget: limit / 2, ..KeyThoroughness::default() },
                judging,
                ..Thoroughness::default()
            };
            let others = Box::pin(self.others(candidate, extra));
            Box::pin(self.parts.preflight.run_beside(candidate, aws, &thoroughness, others)).await
        })
        .await
    }

    /// Judges a cluster by what CloudHSM tells of it, and of the present one where there is a change.
    async fn examine_cluster(
        &self,
        subject: ClusterSubject,
        present: Option<&CloudHsmClusterId>,
        control_plane: Option<ControlPlane>,
        judging: JudgingPolicy,
        extra: &Extra,
    ) -> Result<Arc<Report>, ExamineError> {
        if extra.load.is_some() {
            return Err(ExamineError::LoadNotAllowed);
        }
        let ids: BTreeSet<CloudHsmClusterId> = present.into_iter().chain([&subject.cluster]).cloned().collect();
        let key_store = subject.key_store.clone();
        self.within(self.parts.settings.get().timeout, Some(key_store.clone()), &self.places, async {
            let ids = Vec::from_iter(ids);
            let (clusters, permissions) = tokio::join!(self.clusters(&key_store, &ids), self.permissions(&key_store));
            let clusters = clusters.map_err(|error| cloudhsm_fault(&error));
            let mut told = CloudHsmEvidence { clusters, security_group: None };
            let group = told.cluster(&subject.cluster).and_then(|cluster| cluster.security_group.clone());
            let reader = self.parts.places.of(&key_store).and_then(|ports| ports.security_groups.as_ref());
            if let (Some(group), Some(reader)) = (group, reader) {
                told.security_group = Some(reader.open_within(&group).await);
            }
            let cloud_hsm = Some(told);
            let aws = AwsEvidence { control_plane, cloud_hsm, permissions, ..AwsEvidence::default() };
            self.parts.preflight.cluster(subject, self.region_of(&key_store), aws, &judging)
        })
        .await
    }

    /// Waits for its turn, examines, and keeps the report.
    async fn within(
        &self,
        limit: Duration,
        of: Option<CustomKeyStoreId>,
        places: &Semaphore,
        examination: impl Future<Output = Report>,
    ) -> Result<Arc<Report>, ExamineError> {
        let examined = tokio::time::timeout(limit, async {
            // The semaphore is never closed.
            let _place = places.acquire().await.ok();
            examination.await
        });
        let report = Arc::new(examined.await.map_err(|_| ExamineError::TimedOut { limit })?);
        (self.parts.observer)(&report);
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.push_front((of, Arc::clone(&report)));
        reports.truncate(KEPT);
        Ok(report)
    }
}

/// What KMS tells of the account's key stores, with what the plan wants of one.
fn control_plane(plan: &Plan, round: Round, stores: Result<Vec<KeyStore>, KmsError>) -> ControlPlane {
    ControlPlane {
        key_store: plan.key_store.clone(),
        stores: stores.map_err(|error| error.as_problem("the list of key stores")),
        change: plan.change.clone(),
        believed: Some(plan.expected.clone()),
        rollback_impossible: match &plan.rollback {
            Rollback::Restore(_) => None,
            Rollback::Impossible { why } => Some(why.clone()),
        },
        outage_acknowledged: plan.outage_acknowledged,
        after_update: round.is_after_update(),
    }
}

/// That CloudHSM cannot be read says nothing about the candidate.
fn cloudhsm_fault(error: &ClusterError) -> Problem {
    let kind = match error {
        ClusterError::AccessDenied { .. } => ProblemKind::AccessDenied,
        ClusterError::Unanswered { .. } | ClusterError::NotUnderstood { .. } => ProblemKind::Unread,
    };
    Problem::own(kind, format!("the CloudHSM clusters cannot be read: {}", Chain(error)))
}

#[async_trait]
impl Verifier for Examiner {
    async fn preflight(&self, request: PreflightRequest) -> Result<PreflightSummary, String> {
        let PreflightRequest { plan, round, credential, former_credential } = request;
        let report = self.plan(&plan, round, credential, former_credential, &Extra::default()).await;
        let report = report.map_err(|error| Chain(&error).to_string())?;
        if let Some(keeper) = &self.parts.keeper {
            keeper.keep(&plan, &report).await;
        }
        Ok(PreflightSummary::of(&report))
    }
}
