//! What is shown of key stores, plans and updates. Nothing here can hold a secret: the types it is made of have none.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::drift::{Drift, MemberChange};
use crate::driver::UpdateRecord;
use crate::key_store::{Change, Configuration, Connectivity, CredentialSource, KeyStore, XksConfiguration};
use crate::keyring::Standing as SourceStanding;
use crate::monitor::{CandidateSight, PlaceSight, Sighting, Standing};
use crate::update::{Denied, Disruption, Ending, Event, PROOFS, Phase, Plan, Rollback, Stage, State, Step};

/// A key store, as KMS tells it and as it was last probed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeyStoreView {
    /// `CustomKeyStoreId`
    id: String,
    /// The account that it is in, as the configuration calls it; `home` is that of the daemon. Null if nobody knows.
    account: Option<String>,
    /// Its AWS Region. Null if nobody knows.
    region: Option<String>,
    /// Whether the configuration names it; else KMS told of it.
    configured: bool,
    /// Whether it is probed continuously.
    watched: bool,
    /// What KMS told, in KMS's own names; null when KMS cannot be read or knows no such key store.
    #[schema(value_type = Option<Object>)]
    description: Value,
    /// When KMS told it, RFC 3339.
    described_at: Option<String>,
    /// The latest verdict on its present settings.
    latest: Option<ReportSummary>,
    /// Why it was not probed, if it was not.
    not_probed: Option<String>,
    /// Settings that are planned for it, and what was seen of them.
    pub(super) candidates: Vec<CandidateView>,
    /// The credential that it is watched with, if it is watched.
    #[schema(value_type = Option<Object>)]
    pub(super) credential: Option<CredentialView>,
    /// The update that has it, if one is open: no other can begin.
    #[schema(value_type = Option<Object>)]
    pub(super) open_update: Option<OpenUpdateView>,
}

/// Settings that are planned for a key store.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CandidateView {
    /// Its name in the configuration.
    name: String,
    /// `green`; `red`: the latest probe was not ready; `silent`: nobody has probed it for too long; `not_probed`: it cannot be
    /// probed; `unseen`: its turn has not come yet; `in_force`: the key store has these settings.
    state: &'static str,
    /// Its settings in the names of DescribeCustomKeyStores, as far as they are known.
    #[schema(value_type = Option<Object>)]
    settings: Value,
    /// Since when every probe was ready, without a gap, RFC 3339; null while it is not green.
    green_since: Option<String>,
    /// How long that is.
    green_seconds: Option<u64>,
    /// How long it must be before an update to these settings may begin; 0 if it need not.
    required_seconds: u64,
    /// When it will be that long, if it stays green, RFC 3339.
    enough_at: Option<String>,
    /// The latest verdict on these settings.
    latest: Option<ReportSummary>,
    /// Why it was not probed, if it was not.
    not_probed: Option<String>,
}

impl CandidateView {
    pub(super) fn of(sight: &CandidateSight, standing: Standing, required: Duration) -> Self {
        let so_far = match standing {
            Standing::Green(so_far) => Some(so_far),
            _ => None,
        };
        let green_since = sight.vigil.as_ref().and_then(|vigil| vigil.green_since).filter(|_| so_far.is_some());
        let enough_at = green_since.filter(|_| !required.is_zero()).map(|since| since.plus(required).to_string());
        Self {
            name: sight.name.to_string(),
            state: standing.as_str(),
            settings: sight.settings.as_ref().map_or(Value::Null, proxy),
            green_since: green_since.map(|since| since.to_string()),
            green_seconds: so_far.map(|so_far| so_far.as_secs()),
            required_seconds: required.as_secs(),
            enough_at,
            latest: sight.latest.as_deref().map(ReportSummary::from),
            not_probed: sight.not_probed.clone(),
        }
    }
}

/// An account and Region, and how asking KMS there went.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PlaceView {
    /// The account, as the configuration calls it; `home` is that of the daemon.
    account: String,
    /// The AWS Region.
    region: String,
    /// When KMS told of its key stores last, RFC 3339; null if it never did since the start.
    told_at: Option<String>,
    /// Why it did not at the last attempt; what it told before is shown all the same.
    failure: Option<String>,
}

impl From<&PlaceSight> for PlaceView {
    fn from(sight: &PlaceSight) -> Self {
        Self {
            account: sight.place.account.to_string(),
            region: sight.place.region.to_string(),
            told_at: sight.told_at.map(|at| at.to_string()),
            failure: sight.failure.clone(),
        }
    }
}

/// A credential of the configuration, and how it stands to its source.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct CredentialView {
    /// Its name.
    name: String,
    /// `accepted`, `pending` (the source shows another one, which its proxy has not accepted or KMS was not told) or `unread`.
    state: &'static str,
    /// The same for people, with the reason.
    detail: String,
    /// Since when it is pending, RFC 3339.
    since: Option<String>,
}

impl CredentialView {
    pub(super) fn of(name: String, standing: &SourceStanding) -> Self {
        let (state, since) = match standing {
            SourceStanding::Accepted => ("accepted", None),
            SourceStanding::Pending { since, .. }
            | SourceStanding::Untold { since, .. }
            | SourceStanding::Elsewhere { since, .. } => ("pending", Some(since.to_string())),
            SourceStanding::Unread { .. } => ("unread", None),
        };
        Self { name, state, detail: standing.to_string(), since }
    }
}

/// A change of a key store that no update of xks-preflight made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DriftView {
    /// `CustomKeyStoreId`
    key_store: String,
    /// The account, as the configuration calls it.
    account: String,
    /// The AWS Region.
    region: String,
    /// `added`, `changed`, `deleted` or `renamed`; some of them at once.
    kinds: Vec<&'static str>,
    /// What is different.
    changes: Vec<MemberChangeView>,
    /// The look at KMS before, RFC 3339.
    after: String,
    /// The look that showed it, RFC 3339.
    at: String,
}

/// A member that is different.
#[derive(Debug, Serialize, ToSchema)]
struct MemberChangeView {
    /// As DescribeCustomKeyStores names it.
    member: &'static str,
    /// Before; null if there was none.
    before: Option<String>,
    /// Now; null if there is none.
    now: Option<String>,
}

impl From<&Drift> for DriftView {
    fn from(drift: &Drift) -> Self {
        let change = |change: &MemberChange| MemberChangeView {
            member: change.member,
            before: change.before.clone(),
            now: change.now.clone(),
        };
        Self {
            key_store: drift.key_store.to_string(),
            account: drift.place.account.to_string(),
            region: drift.place.region.to_string(),
            kinds: drift.kinds.iter().map(|kind| kind.as_str()).collect(),
            changes: drift.changes.iter().map(change).collect(),
            after: drift.after.to_string(),
            at: drift.at.to_string(),
        }
    }
}

/// The update that a key store is held by.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct OpenUpdateView {
    /// Its id.
    id: String,
    /// Where it is.
    status: &'static str,
    /// Who asked for it.
    by: String,
    /// When, RFC 3339.
    since: String,
    /// How long ago that is.
    age_seconds: u64,
}

impl OpenUpdateView {
    pub(super) fn of(record: &UpdateRecord, now: Timestamp) -> Self {
        let plan = record.state.plan();
        Self {
            id: plan.id.to_string(),
            status: record.state.status().status.as_str(),
            by: plan.requested_by.clone(),
            since: plan.created_at.to_string(),
            // A clock that was set back makes no negative age.
            age_seconds: u64::try_from(now.unix() - plan.created_at.unix()).unwrap_or(0),
        }
    }
}

/// What would keep a plan from its first mutation at this moment, were nothing else missing.
#[derive(Debug, Serialize)]
pub(super) struct Barred {
    /// In one word, as refusals have it.
    reason: &'static str,
    /// The same for people.
    detail: String,
    /// When it ends by itself, RFC 3339; null if nobody can tell.
    until: Option<String>,
    /// Whether an update would wait for that rather than be refused.
    waits: bool,
}

impl Barred {
    pub(super) fn of(denied: &Denied, plan: &Plan) -> Self {
        let until = denied.ends_at();
        Self {
            reason: denied.reason(),
            detail: denied.to_string(),
            until: until.map(|until| until.to_string()),
            waits: until.is_some_and(|until| until <= plan.expires_at),
        }
    }
}

/// A report in short.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReportSummary {
    /// Its id.
    report: String,
    /// `ready`, `blocked` or `inconclusive`.
    verdict: &'static str,
    /// The check that decides, if one fails.
    check: Option<&'static str>,
    /// Why, for people.
    detail: Option<String>,
    /// RFC 3339.
    started_at: String,
}

/// An update.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UpdateView {
    /// Its id.
    id: String,
    /// `CustomKeyStoreId`
    key_store: String,
    /// `planned`, `preflighting`, `blocked`, `awaiting_approval`, `refused`, `running`, `verified`, `rolling_back`,
    /// `rolled_back`, `abandoned` or `stuck`.
    status: &'static str,
    /// The step under way.
    step: Option<&'static str>,
    /// How it ended and why, for people.
    message: Option<String>,
    /// What a person must do, when it is stuck.
    instruction: Option<String>,
    /// Why it was not allowed to begin, in one word, when it is refused.
    reason: Option<&'static str>,
    /// What whoever approves must state, while it waits for approval: it stands for exactly this plan and the report of
    /// its first pre-flight.
    approval_digest: Option<String>,
    /// Who has approved it.
    approved_by: Vec<String>,
    /// What keeps it from its first mutation although nothing is missing any more, such as the hour.
    pub(super) waiting_for: Option<String>,
    /// Why it passes by approval, freeze, windows and hours of green, if somebody broke the glass.
    break_glass: Option<String>,
    /// What KMS raised or would raise, when it is blocked.
    exception: Option<&'static str>,
    /// The latest pre-flight's report.
    report: Option<String>,
    /// Of a rotation after its update: what was seen of both credentials, and how far it is.
    #[schema(value_type = Option<Object>)]
    rotation: Value,
    /// The plan.
    #[schema(value_type = Object)]
    plan: Value,
    /// RFC 3339.
    created_at: String,
    /// The number of the last recorded event.
    last_event: u64,
}

impl From<&Sighting> for KeyStoreView {
    fn from(sighting: &Sighting) -> Self {
        Self {
            id: sighting.id.to_string(),
            account: sighting.place.as_ref().map(|place| place.account.to_string()),
            region: sighting.place.as_ref().map(|place| place.region.to_string()),
            configured: sighting.configured,
            watched: sighting.watched,
            description: sighting.description.as_ref().map_or(Value::Null, description),
            described_at: sighting.described_at.map(|at| at.to_string()),
            latest: sighting.current().map(|report| ReportSummary::from(&**report)),
            not_probed: sighting.not_probed.clone(),
            candidates: Vec::new(),
            credential: None,
            open_update: None,
        }
    }
}

impl From<&crate::check::Report> for ReportSummary {
    fn from(report: &crate::check::Report) -> Self {
        let decisive = report.decisive();
        Self {
            report: report.id.to_string(),
            verdict: report.verdict().as_str(),
            check: decisive.map(|finding| finding.check.id),
            detail: decisive.and_then(|finding| finding.outcome.problem()).map(|problem| problem.detail.clone()),
            started_at: report.started_at().to_string(),
        }
    }
}

impl From<&UpdateRecord> for UpdateView {
    fn from(record: &UpdateRecord) -> Self {
        let state = &record.state;
        let status = state.status();
        let (message, instruction, exception) = match state.ending() {
            None => waiting(state),
            Some(Ending::Verified) if state.plan().rotation.is_some() => {
                let told = "the new credential is in force, and the former one is proven refused at every address";
                (Some(told.to_owned()), None, None)
            }
            Some(Ending::Verified) => (Some("the new settings are in force and were probed".to_owned()), None, None),
            Some(Ending::RolledBack { why } | Ending::Refused { why, .. }) => (Some(why.clone()), None, None),
            Some(Ending::Abandoned { by }) => (Some(format!("cancelled by {by}")), None, None),
            Some(Ending::Blocked { exception, message, .. }) => (Some(message.clone()), None, *exception),
            Some(Ending::Stuck { why, instruction } | Ending::Unproven { why, instruction, .. }) => {
                (Some(why.clone()), Some(instruction.clone()), None)
            }
        };
        let reason = match state.ending() {
            Some(Ending::Refused { reason, .. }) => Some(reason.as_str()),
            _ => None,
        };
        let approved_by = record.events.iter().filter_map(|recorded| match &recorded.event {
            Event::ApprovalGiven { by, .. } => Some(by.clone()),
            _ => None,
        });
        let report = record.events.iter().rev().find_map(|recorded| match &recorded.event {
            Event::PreflightFinished { summary, .. } | Event::Watched { summary, .. } => {
                Some(summary.report.to_string())
            }
            _ => None,
        });
        Self {
            id: record.id().to_string(),
            key_store: state.plan().key_store.to_string(),
            status: status.status.as_str(),
            step: status.step,
            message,
            instruction,
            reason,
            approval_digest: state.proposal().map(|proposal| proposal.digest().to_string()),
            approved_by: approved_by.collect(),
            waiting_for: None,
            break_glass: state.plan().break_glass.as_ref().map(|glass| glass.reason.clone()),
            exception: exception.map(crate::key_store::KmsException::as_str),
            report,
            rotation: rotation(state),
            plan: plan(state.plan()),
            created_at: state.plan().created_at.to_string(),
            last_event: record.last_event(),
        }
    }
}

type Told = (Option<String>, Option<String>, Option<crate::key_store::KmsException>);

/// What an update that goes on waits for, where that is a person.
fn waiting(state: &State) -> Told {
    let Phase::Rotating(rotating) = state.phase() else { return (None, None, None) };
    let former = state.plan().former_credential.as_ref().map(|former| former.access_key_id.to_string());
    let former = former.unwrap_or_default();
    let instruction = match rotating.stage() {
        Stage::Propagate { .. } => {
            format!("leave both credentials at the proxy: KMS may use the former one (access key id {former}) as well")
        }
        Stage::AwaitRemoval { until } => format!(
            "remove access key id {former} at every proxy, then POST /v1/updates/{}/removed; waits until {until}",
            state.plan().id
        ),
        Stage::ProveRefused { .. } => format!("nothing to do: access key id {former} is being tried"),
    };
    (rotating.trouble().map(ToOwned::to_owned), Some(instruction), None)
}

/// How far a rotation is.
fn rotation(state: &State) -> Value {
    let Phase::Rotating(rotating) = state.phase() else { return Value::Null };
    let seen = rotating.seen();
    let (watched, until, proofs) = match rotating.stage() {
        Stage::Propagate { watched } => (Some(watched.as_secs()), None, None),
        Stage::AwaitRemoval { until } => (None, Some(until), None),
        Stage::ProveRefused { until, proofs } => (None, Some(until), Some(proofs)),
    };
    json!({
        "new_credential": seen.map(|seen| seen.new.as_str()),
        "former_credential": seen.map(|seen| seen.former.as_str()),
        "propagation_seconds": rotating.terms().propagation().as_secs(),
        "watched_seconds": watched,
        "removal_awaited_until": until,
        "proofs": proofs,
        "proofs_needed": PROOFS,
    })
}

/// How KMS talks to a proxy, in the words of DescribeCustomKeyStores.
fn proxy(xks: &XksConfiguration) -> Value {
    let mut proxy = json!({
        "UriEndpoint": xks.endpoint,
        "UriPath": xks.path,
        "AccessKeyId": xks.access_key_id,
        "Connectivity": xks.connectivity.kind(),
    });
    if let Connectivity::VpcEndpointService { name, owner } = &xks.connectivity {
        proxy["VpcEndpointServiceName"] = json!(name);
        proxy["VpcEndpointServiceOwner"] = json!(owner);
    }
    proxy
}

/// A key store in the words of DescribeCustomKeyStores.
fn description(store: &KeyStore) -> Value {
    let mut value = json!({
        "CustomKeyStoreId": store.id,
        "CustomKeyStoreName": store.name,
        "CustomKeyStoreType": store.configuration.store_type(),
        "ConnectionState": store.state.name(),
        "CreationDate": store.created,
    });
    if let crate::key_store::ConnectionState::Failed(code) = &store.state {
        value["ConnectionErrorCode"] = json!(code);
    }
    match &store.configuration {
        Configuration::Xks(xks) => value["XksProxyConfiguration"] = proxy(xks),
        Configuration::CloudHsm(hsm) => value["CloudHsmClusterId"] = json!(hsm.cluster),
        Configuration::Unrecognized { why } => value["Unrecognized"] = json!(why),
    }
    value
}

/// A plan, for whoever must decide on it.
pub(super) fn plan(plan: &Plan) -> Value {
    let because = match &plan.disruption {
        Disruption::InPlace => json!([]),
        Disruption::Disconnect { because } => json!(because),
    };
    let rollback = match &plan.rollback {
        Rollback::Restore(restore) => json!({ "possible": true, "change": change(restore) }),
        Rollback::Impossible { why } => json!({ "possible": false, "why": why }),
    };
    json!({
        "digest": plan.digest(),
        "change": change(&plan.change),
        "expected": description(&plan.expected),
        "steps": plan.steps.iter().copied().map(Step::as_str).collect::<Vec<_>>(),
        "disconnects_because": because,
        "rollback": rollback,
        "waivers": plan.waivers,
        "approval": plan.approval.as_str(),
        "forecast": plan.forecast,
        "break_glass": plan.break_glass,
        "requested_by": plan.requested_by,
        "created_at": plan.created_at,
        "expires_at": plan.expires_at,
    })
}

/// A change in KMS's member names.
fn change(change: &Change) -> Value {
    let mut value = json!({
        "NewCustomKeyStoreName": change.name,
        "XksProxyUriEndpoint": change.endpoint,
        "XksProxyUriPath": change.path,
        "XksProxyConnectivity": change.connectivity,
        "XksProxyVpcEndpointServiceName": change.service_name,
        "XksProxyVpcEndpointServiceOwner": change.service_owner,
        "CloudHsmClusterId": change.cluster,
    });
    if let Some(credential) = &change.credential {
        let source = match &credential.source {
            CredentialSource::Sealed => "sealed",
            CredentialSource::Configured(name) => name,
        };
        value["XksProxyAuthenticationCredential"] =
            json!({ "AccessKeyId": credential.access_key_id, "Source": source, "Fingerprint": credential.fingerprint });
    }
    if change.password {
        value["KeyStorePassword"] = json!("sealed");
    }
    if let Value::Object(members) = &mut value {
        members.retain(|_, value| !value.is_null());
    }
    value
}
