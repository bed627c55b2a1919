//! One update: how far it is, what it changes, what happened, and what may be done about it.

use axum::extract::Path;
use axum::response::Html;
use maud::{Markup, html};

use super::frame::{self, Tone, badge};
use super::overview::{broken_glass, status};
use super::session::Visitor;
use super::{legible, orders, report};
use crate::api::problem::Problem;
use crate::api::updates::{order_refused, visible};
use crate::audit::{self, Subject};
use crate::check::Verdict;
use crate::clock::Timestamp;
use crate::driver::{OrderError, UpdateRecord};
use crate::key_store::{Configuration, Connectivity, CredentialSource, Member};
use crate::update::{
    ApprovalRule, Direction, Disruption, Ending, Event, Phase, Plan, PreflightSummary, Recorded, Rollback, Rotating,
    Round, Stage, State, StatusName, StepOutcome,
};

/// The names under which events are streamed.
const EVENTS: &str = "planned preflight_started preflight_finished approval_requested approval_given broke_glass \
                      cancel_requested rollback_requested step_intended step_settled observed watched removal_awaited \
                      removal_reported rollback_decided concluded";

/// One update.
pub(super) async fn show(visitor: Visitor, Path(id): Path<String>) -> Result<Html<String>, Problem> {
    let service = visitor.service();
    let record = visible(service, &visitor.admitted, &id).await?;
    let barred = service.driver.barred(&record).await.map_err(|error| order_refused(&OrderError::Journal(error)))?;
    let plan = record.state.plan();
    let now = visitor.now;
    let standing = record.state.status();
    let is_final = standing.status.is_final();
    let title = format!("Update of {}", plan.expected.name.as_str());
    let latest = looks(&record).next_back().cloned();
    let body = html! {
        div {
            p.notice.busy data-stale hidden role="status" { "The update has gone on while you were deciding; load the page anew to see how." }
            div data-events=[(!is_final).then(|| format!("/updates/{id}/events"))] data-names=(EVENTS)
                data-seen=(record.last_event()) data-final=(is_final) data-update {
                div.head {
                    p.muted { a href="/updates" { "Updates" } " / " code { (record.id()) } }
                    div.line { h1 { (legible::line(&title)) } span role="status" { (status(standing.status)) } (broken_glass(&record)) }
                    p.muted {
                        "Asked for by " (legible::line(&plan.requested_by)) " " (legible::instant(plan.created_at, now))
                        " · key store " a href=(format!("/key-stores/{}", plan.key_store)) { code { (plan.key_store) } }
                        @if !is_final && plan.expires_at > now { " · the plan expires " (legible::fully(plan.expires_at, now)) }
                    }
                }
                (progress(&record))
                (ending(&record))
                @if let Some(barred) = &barred { div.notice.warn { p { strong { "It may not begin yet. " } (legible::sentence(&barred.to_string())) } } }
                @if let Some(glass) = &plan.break_glass {
                    div.notice.bad { p { strong { "The glass is broken. " } "It passes by approval, freeze and windows; pre-flights are not passed by. The reason: " (legible::paragraph(&glass.reason)) } }
                }
                (orders::card(&visitor, &record))
                (difference(plan))
                @if let Some(summary) = &latest { (looked(&visitor, &record, summary)) }
                (timeline(&record, now))
            }
        }
    };
    Ok(frame::page(&visitor, "/updates", &title, &body))
}

/// What its pre-flights said, oldest first.
fn looks(record: &UpdateRecord) -> impl DoubleEndedIterator<Item = &PreflightSummary> {
    record.events.iter().filter_map(|recorded| match &recorded.event {
        Event::PreflightFinished { summary, .. } | Event::Watched { summary, .. } => Some(summary),
        _ => None,
    })
}

/// How far one stage of an update is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reached {
    Done,
    Now,
    Stopped,
    PassedBy,
    Ahead,
}

/// The stages of an update in their order.
fn stages(record: &UpdateRecord) -> Vec<(&'static str, Reached)> {
    let plan = record.state.plan();
    let events = || record.events.iter().map(|recorded| &recorded.event);
    let preflight = |round: Round| {
        let begun = events().any(|event| matches!(event, Event::PreflightStarted { round: r } if *r == round));
        let mut ended = events().rev().filter_map(|event| match event {
            Event::PreflightFinished { round: r, summary } if *r == round => Some(summary.verdict),
            _ => None,
        });
        match ended.next() {
            Some(Verdict::Ready) => Reached::Done,
            Some(_) => Reached::Stopped,
            None if begun => Reached::Now,
            None => Reached::Ahead,
        }
    };
    let mut stages = vec![("Plan", Reached::Done), ("Pre-flight", preflight(Round::First))];
    if plan.approval != ApprovalRule::None {
        let needed = if plan.approval == ApprovalRule::Two { 2 } else { 1 };
        let given = events().filter(|event| matches!(event, Event::ApprovalGiven { .. })).count();
        let asked = events().any(|event| matches!(event, Event::ApprovalRequested {}));
        let passed_by = events().any(|event| matches!(event, Event::BrokeGlass { .. }));
        let reached = match (given >= needed, asked) {
            (true, _) => Reached::Done,
            _ if passed_by => Reached::PassedBy,
            (false, true) => Reached::Now,
            (false, false) => Reached::Ahead,
        };
        stages.push(("Approval", reached));
    }
    for step in &plan.steps {
        let reached = events().fold(Reached::Ahead, |reached, event| match event {
            Event::StepIntended { direction: Direction::Forward, step: of, .. } if of == step => Reached::Now,
            Event::StepSettled { direction: Direction::Forward, step: of, outcome } if of == step => match outcome {
                StepOutcome::Done { .. } => Reached::Done,
                _ => Reached::Stopped,
            },
            _ => reached,
        });
        stages.push((step.operation().trim_end_matches("CustomKeyStore"), reached));
    }
    stages.push(("Verification", preflight(Round::Verification)));
    if plan.rotation.is_some() {
        let reached = match record.state.phase() {
            Phase::Rotating(_) => Reached::Now,
            Phase::Concluded(Ending::Verified) => Reached::Done,
            Phase::Concluded(Ending::Unproven { .. }) => Reached::Stopped,
            _ => Reached::Ahead,
        };
        stages.push(("Former credential refused", reached));
    }
    let is_over = record.state.ending().is_some();
    for (_, reached) in &mut stages {
        if is_over && *reached == Reached::Now {
            *reached = Reached::Stopped;
        }
    }
    stages
}

fn progress(record: &UpdateRecord) -> Markup {
    html! {
        ol.stages aria-label="Progress" {
            @for (name, reached) in stages(record) {
                @let (tone, word) = match reached {
                    Reached::Done => (Tone::Good, "done"),
                    Reached::Now => (Tone::Busy, "under way"),
                    Reached::Stopped => (Tone::Bad, "stopped"),
                    Reached::PassedBy => (Tone::Warn, "passed by"),
                    Reached::Ahead => (Tone::Still, "ahead"),
                };
                li class=(tone.class()) aria-current=[(reached == Reached::Now).then_some("step")] {
                    span.name { (name) } (badge(tone, word))
                }
            }
        }
    }
}

fn ending(record: &UpdateRecord) -> Markup {
    let state = &record.state;
    match state.ending() {
        None => html! { @if let Phase::Rotating(rotating) = state.phase() { (rotation(state, rotating)) } },
        Some(Ending::Verified) => {
            notice(Tone::Good, "Verified.", "The new settings are in force and were probed once more.", None)
        }
        Some(Ending::RolledBack { why }) => notice(Tone::Warn, "The former settings are in force.", why, None),
        Some(Ending::Refused { why, .. }) => notice(Tone::Warn, "It was not allowed to begin.", why, None),
        Some(Ending::Abandoned { by }) => {
            notice(Tone::Still, "Cancelled.", &format!("{by} stopped it before anything was changed."), None)
        }
        Some(Ending::Blocked { message, .. }) => notice(Tone::Bad, "Blocked; nothing was changed.", message, None),
        Some(Ending::Stuck { why, instruction }) => {
            notice(Tone::Bad, "Stuck: a person must look.", why, Some(instruction))
        }
        Some(Ending::Unproven { why, instruction, .. }) => {
            notice(Tone::Bad, "The former credential is not proven refused.", why, Some(instruction))
        }
    }
}

fn notice(tone: Tone, heading: &str, why: &str, instruction: Option<&str>) -> Markup {
    html! {
        div class=(format!("notice {}", tone.class())) {
            p { strong { (heading) } " " (legible::sentence(why)) }
            @if let Some(instruction) = instruction { p { strong { "To do: " } (legible::sentence(instruction)) } }
        }
    }
}

/// What a rotation waits for.
fn rotation(state: &State, rotating: &Rotating) -> Markup {
    let former = state.plan().former_credential.as_ref().map(|former| former.access_key_id.to_string());
    let former = former.unwrap_or_default();
    let (heading, why) = match rotating.stage() {
        Stage::Propagate { .. } => {
            ("Leave both credentials at the proxy.", "KMS may use the former one as well.".to_owned())
        }
        Stage::AwaitRemoval { .. } => (
            "Remove the former credential.",
            format!("Take access key id {former} away at every proxy, then say so below."),
        ),
        Stage::ProveRefused { .. } => {
            ("Nothing to do.", format!("Whether access key id {former} is refused is being tried."))
        }
    };
    notice(Tone::Busy, heading, &why, rotating.trouble())
}

/// The plan as a difference.
fn difference(plan: &Plan) -> Markup {
    let rows: Vec<_> =
        plan.change.members().into_iter().map(|member| (member, former(plan, member), new(plan, member))).collect();
    html! {
        section.card aria-label="Plan" {
            h2 { "Plan" }
            @if rows.is_empty() { p { "No setting changes; the key store is connected or disconnected only." } }
            @else {
                div.tablewrap tabindex="0" role="region" aria-label="Changes" {
                    table.diff {
                        thead { tr { th scope="col" { "Member" } th scope="col" { "Before" } th scope="col" { "After" } } }
                        tbody {
                            @for (member, former, new) in &rows {
                                tr {
                                    th scope="row" { code { (member.as_str()) } }
                                    td { del { code { (legible::line(former)) } } }
                                    td { ins { code { (legible::line(new)) } } }
                                }
                            }
                        }
                    }
                }
            }
            dl.facts {
                div { dt { "Steps" } dd { @for (at, step) in plan.steps.iter().enumerate() { @if at > 0 { ", " } (step.operation()) } } }
                div { dt { "Outage" } dd { (outage(plan)) } }
                div { dt { "Rollback" } dd {
                    @match &plan.rollback {
                        Rollback::Restore(_) => "possible: the former settings can be restored",
                        Rollback::Impossible { why } => { strong { "impossible: " } (legible::paragraph(why)) },
                    }
                } }
                div { dt { "Approval" } dd {
                    @match plan.approval {
                        ApprovalRule::None => "not needed",
                        ApprovalRule::One => "of one other person",
                        ApprovalRule::Two => "of two other persons",
                    }
                } }
                @if !plan.waivers.is_empty() {
                    div { dt { "Waivers" } dd { @for waiver in &plan.waivers { p { code { (waiver.check) } " " (legible::paragraph(&waiver.to_string())) } } } }
                }
                div { dt { "Digest of the plan" } dd { code { (plan.digest().as_str()) } } }
            }
        }
    }
}

/// What the plan costs those who use the keys.
pub(super) fn outage(plan: &Plan) -> Markup {
    html! {
        @match &plan.disruption {
            Disruption::InPlace => "none: KMS accepts it in place",
            Disruption::Disconnect { because } => {
                strong { "every key of the store is out of use" }
                @if let Some(forecast) = plan.forecast {
                    " for about " (forecast.minutes) " minutes"
                    @if let Some(keys) = forecast.affected_keys.filter(|keys| keys.found > 0 || !keys.complete) {
                        ", that is " (keys.found) @if !keys.complete { " or more" } " keys"
                    }
                }
                ", because of "
                @for (at, member) in because.iter().enumerate() { @if at > 0 { ", " } code { (legible::line(member)) } }
            }
        }
    }
}

fn former(plan: &Plan, member: Member) -> String {
    let store = &plan.expected;
    let nothing = || "–".to_owned();
    let xks = store.xks();
    let service = xks.and_then(|xks| match &xks.connectivity {
        Connectivity::VpcEndpointService { name, owner } => Some((name, owner.as_ref())),
        Connectivity::PublicEndpoint => None,
    });
    let found = match member {
        Member::Name => Some(store.name.to_string()),
        Member::Endpoint => xks.map(|xks| xks.endpoint.to_string()),
        Member::Path => xks.map(|xks| xks.path.to_string()),
        Member::Connectivity => xks.map(|xks| xks.connectivity.kind().to_string()),
        Member::ServiceName => service.map(|(name, _)| name.to_string()),
        Member::ServiceOwner => service.and_then(|(_, owner)| owner).map(ToString::to_string),
        Member::Credential => xks.map(|xks| format!("access key id {}", xks.access_key_id)),
        Member::Cluster => match &store.configuration {
            Configuration::CloudHsm(hsm) => Some(hsm.cluster.to_string()),
            Configuration::Xks(_) | Configuration::Unrecognized { .. } => None,
        },
        Member::Password => Some("the present one".to_owned()),
    };
    found.unwrap_or_else(nothing)
}

fn new(plan: &Plan, member: Member) -> String {
    let change = &plan.change;
    let found = match member {
        Member::Name => change.name.as_ref().map(ToString::to_string),
        Member::Endpoint => change.endpoint.as_ref().map(ToString::to_string),
        Member::Path => change.path.as_ref().map(ToString::to_string),
        Member::Connectivity => change.connectivity.map(|kind| kind.to_string()),
        Member::ServiceName => change.service_name.as_ref().map(ToString::to_string),
        Member::ServiceOwner => change.service_owner.as_ref().map(ToString::to_string),
        Member::Cluster => change.cluster.as_ref().map(ToString::to_string),
        Member::Password => Some("a new one, sealed".to_owned()),
        Member::Credential => change.credential.as_ref().map(|credential| {
            let source = match &credential.source {
                CredentialSource::Sealed => "sealed in the journal".to_owned(),
                CredentialSource::Configured(name) => format!("configured as {name}"),
            };
            format!("access key id {}, {source}", credential.access_key_id)
        }),
    };
    found.unwrap_or_else(|| "–".to_owned())
}

/// What the latest pre-flight said.
fn looked(visitor: &Visitor, record: &UpdateRecord, summary: &PreflightSummary) -> Markup {
    // The notice above says already what blocked it.
    let told = matches!(record.state.ending(), Some(Ending::Blocked { message, .. }) if *message == summary.message);
    let kept = visitor.service().examiner.find(summary.report);
    html! {
        section.card aria-label="Latest pre-flight" {
            div.line { h2 { "Latest pre-flight" } (report::verdict_badge(summary.verdict)) }
            // With reservations these are said instead: what is waived KMS may refuse.
            @let plain = summary.message == summary.verdict.as_str();
            @if plain && summary.verdict == Verdict::Ready { p { "KMS would accept these settings." } }
            @if !told && !plain { p { (legible::paragraph(&summary.message)) } }
            p.muted {
                "Ended " (legible::fully(summary.finished_at, visitor.now)) ". "
                @if kept.is_some() { a href=(format!("/preflights/{}", summary.report)) { "The whole report" } "." }
                @else { "The whole report, " code { (summary.report) } ", is in the update's evidence." }
            }
        }
    }
}

fn timeline(record: &UpdateRecord, now: Timestamp) -> Markup {
    let subject = Subject::of(record.state.plan());
    html! {
        section.card aria-label="What happened" {
            h2 { "What happened" }
            ol.timeline {
                @for recorded in &record.events {
                    @let (who, what, aws) = told(&subject, recorded);
                    li class=(tone(&recorded.event).class()) {
                        span.when { (legible::moment(recorded.at, now)) }
                        div {
                            p { strong { (recorded.event.name().replace('_', " ").replace("preflight", "pre-flight")) } @if let Some(who) = &who { span.muted { " by " (legible::line(who)) } } }
                            p.muted { (legible::paragraph(&what)) }
                            @if let Some(id) = &aws { p.sub { "KMS request " code { (legible::line(id)) } } }
                        }
                    }
                }
            }
        }
    }
}

/// Who did what, in the words of the audit trail where it tells of it.
fn told(subject: &Subject, recorded: &Recorded) -> (Option<String>, String, Option<String>) {
    if let Some(entry) = audit::entry_of(subject, recorded) {
        let person = entry.by.filter(|by| by.method.is_none()).map(|by| by.name);
        return (person, entry.message, entry.kms_request_id);
    }
    let what = match &recorded.event {
        Event::PreflightStarted { round } => match round {
            Round::First => "to know whether the plan is worth anybody's time",
            Round::Last => "directly before the first mutation",
            Round::Verification => "of the settings now in force",
            Round::Propagation => "of both credentials",
            Round::Removal => "of the former credential",
        }
        .to_owned(),
        Event::Observed { state, .. } => format!("the key store shows {}", state.name()),
        _ => String::new(),
    };
    (None, what, None)
}

fn tone(event: &Event) -> Tone {
    match event {
        Event::PreflightFinished { summary, .. } | Event::Watched { summary, .. } => match summary.verdict {
            Verdict::Ready => Tone::Good,
            Verdict::Blocked => Tone::Bad,
            Verdict::Inconclusive => Tone::Warn,
        },
        Event::StepSettled { outcome, .. } => {
            if outcome.is_done() {
                Tone::Good
            } else {
                Tone::Warn
            }
        }
        Event::ApprovalGiven { .. } => Tone::Good,
        Event::BrokeGlass { .. } | Event::RollbackDecided { .. } => Tone::Bad,
        Event::ApprovalRequested {}
        | Event::CancelRequested { .. }
        | Event::RollbackRequested { .. }
        | Event::RemovalAwaited { .. } => Tone::Warn,
        Event::Concluded { ending } => match ending.status() {
            StatusName::Verified => Tone::Good,
            StatusName::Blocked | StatusName::Stuck => Tone::Bad,
            _ => Tone::Still,
        },
        _ => Tone::Still,
    }
}
