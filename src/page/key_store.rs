//! One key store: its settings, how it was last seen, and how that went before.

use std::sync::Arc;

use axum::extract::Path;
use axum::response::Html;
use maud::{Markup, html};

use super::frame::{self, Tone, badge};
use super::overview::{broken_glass, connection, status};
use super::session::Visitor;
use super::{candidates, chart, freezes, legible, report};
use crate::access::Permission;
use crate::api::freeze::in_force;
use crate::api::key_stores::sighting;
use crate::api::problem::Problem;
use crate::api::updates::order_refused;
use crate::check::{Latency, Report};
use crate::key_store::{Configuration, Connectivity, KeyStore};
use crate::keyring::Standing;
use crate::monitor::Sighting;

/// Reports of the history that are shown at once; the others are folded away.
const PAST: usize = 15;

/// One key store.
pub(super) async fn show(visitor: Visitor, Path(id): Path<String>) -> Result<Html<String>, Problem> {
    let service = visitor.service();
    let sighting = sighting(service, &id)?;
    let open = service.driver.open().await.map_err(|error| order_refused(&error))?;
    let open = open.iter().find(|record| record.state.plan().key_store == sighting.id);
    let frozen = in_force(service, &visitor.admitted).await?;
    let described = sighting.description.as_ref();
    let title = described.map_or_else(|| sighting.id.to_string(), |store| store.name.to_string());
    let body = html! {
        div data-refresh="15" {
            div.head {
                p.muted { a href="/" { "Key stores" } " / " code { (sighting.id) } }
                div.line {
                    h1 { (legible::line(&title)) }
                    @match sighting.latest.as_deref() {
                        Some(report) if sighting.is_former(report) => (badge(Tone::Warn, "not probed since its settings changed")),
                        Some(report) => (report::verdict_badge(report.verdict())),
                        None => {},
                    }
                }
            }
            @if let Some(record) = open {
                div.notice.busy { p {
                    strong { "An update is open. " } (status(record.state.status().status)) " " (broken_glass(record)) " "
                    a href=(format!("/updates/{}", record.id())) { "See what it does" }
                    ", asked for by " (legible::line(&record.state.plan().requested_by)) " "
                    (legible::instant(record.state.plan().created_at, visitor.now))
                } }
            }
            @for freeze in frozen.iter().filter(|freeze| freeze.key_store.as_ref().is_none_or(|id| *id == sighting.id)) {
                (freezes::banner(freeze, &visitor))
            }
            @if let Some(why) = &sighting.not_probed {
                div.notice.warn { p { strong { "Not probed. " } (legible::sentence(why)) } }
            }
            @if let Some((name, standing)) = service.credential_of(&sighting.id).filter(|(_, s)| *s != Standing::Accepted) {
                div.notice.warn { p {
                    strong { "Credential " (legible::line(&name)) ". " } (legible::sentence(&standing.to_string()))
                } }
            }
            @match &sighting.latest {
                Some(latest) if sighting.is_former(latest) => {
                    div.notice.warn { p {
                        strong { "Its settings have changed since it was probed. " }
                        "Nothing is known of the present ones yet. The former ones, " (former(latest)) ", were "
                        a href=(format!("/preflights/{}", latest.id)) { (latest.verdict().as_str()) } "."
                    } }
                },
                Some(latest) => (report::judgement(latest, visitor.now)),
                None if sighting.not_probed.is_some() => {},
                None => div.empty {
                    h2 { "No report yet" }
                    @if sighting.watched { p { "It is probed when its turn comes; this page shows it by itself." } }
                    @else { p { "Nobody watches it. Name it under " code { "[[key_stores]]" } " of the configuration, with its credential." } }
                }
            }
            div.columns {
                (settings(&visitor, &sighting))
                (trend(&sighting))
            }
            (candidates::section(&visitor, &sighting))
            @if let Some(latest) = sighting.current() { (report::grounds(latest, visitor.now)) }
            (history(&visitor, &sighting))
        }
    };
    Ok(frame::page(&visitor, "/", &title, &body))
}

fn settings(visitor: &Visitor, sighting: &Sighting) -> Markup {
    let enumerator = visitor.service().enumerators.of(&sighting.id).filter(|enumerator| enumerator.has_swept());
    html! {
        section.card aria-label="Settings" {
            div.line {
                h2 { "Settings" }
                div.buttons {
                    @if visitor.could(Permission::Freeze, &sighting.id) {
                        a.button href=(format!("/freezes?key_store={}", sighting.id)) { "Freeze" }
                    }
                    @if visitor.could(Permission::Probe, &sighting.id) && sighting.description.is_some() {
                        a.button href=(format!("/preflights?key_store={}", sighting.id)) { "Pre-flight a change" }
                    }
                }
            }
            @match &sighting.description {
                None => p.muted { "KMS tells of no such key store in this account and Region." },
                Some(store) => dl.facts {
                    @if let Some(place) = &sighting.place {
                        div { dt { "Account and Region" } dd { (place.account) ", " (place.region) } }
                    }
                    div { dt { "Connection state" } dd { (connection(&store.state)) } }
                    @for (name, value) in members(store) { div { dt { (name) } dd { code { (legible::line(&value)) } } } }
                    @if let Some(enumerator) = enumerator.filter(|_| store.xks().is_some()) {
                        @let known = enumerator.known(&sighting.id);
                        div { dt { "KMS keys" } dd {
                            (known.keys.len())
                            @if known.denied > 0 { span.muted { " and perhaps some of " (known.denied) " that may not be described" } }
                        } }
                    }
                    @if let Some(at) = sighting.canary { div { dt { "Latest canary" } dd { (legible::instant(at, visitor.now)) } } }
                    @if let Some(at) = sighting.described_at { div { dt { "Read from KMS" } dd { (legible::instant(at, visitor.now)) } } }
                },
            }
        }
    }
}

/// A key store's settings in the names of DescribeCustomKeyStores.
fn members(store: &KeyStore) -> Vec<(&'static str, String)> {
    let mut members = vec![("Type", store.configuration.store_type().to_owned())];
    match &store.configuration {
        Configuration::Xks(xks) => {
            members.push(("UriEndpoint", xks.endpoint.to_string()));
            members.push(("UriPath", xks.path.to_string()));
            members.push(("Connectivity", xks.connectivity.kind().to_string()));
            if let Connectivity::VpcEndpointService { name, owner } = &xks.connectivity {
                members.push(("VpcEndpointServiceName", name.to_string()));
                members.extend(owner.as_ref().map(|owner| ("VpcEndpointServiceOwner", owner.to_string())));
            }
            members.push(("AccessKeyId", xks.access_key_id.to_string()));
        }
        Configuration::CloudHsm(hsm) => members.push(("CloudHsmClusterId", hsm.cluster.to_string())),
        Configuration::Unrecognized { why } => members.push(("Not understood", why.clone())),
    }
    members
}

fn trend(sighting: &Sighting) -> Markup {
    let glances = sighting.glances();
    let count = glances.len();
    html! {
        section.card.trend aria-label="Slowest attempts" {
            h2 { "Slowest attempt of each probe" }
            @if count > 0 { (chart::trend(glances)) }
            p.muted {
                @if count > 0 { @if count == 1 { "One probe" } @else { "The last " (count) " probes" } "; the dashed line is KMS's limit of 250 ms, a cross is a probe that was not ready." }
                @else { "Nothing to draw yet." }
            }
        }
    }
}

fn history(visitor: &Visitor, sighting: &Sighting) -> Markup {
    let reports = sighting.reports();
    html! {
        @if !reports.is_empty() {
            section aria-label="History" {
                h2.over { "History" }
                p.muted.over { "Failures are kept longer than successes." }
                (table(visitor, sighting, "Reports, newest first", reports.get(..PAST).unwrap_or(&reports)))
                @if let Some(older) = reports.get(PAST..).filter(|older| !older.is_empty()) {
                    details.older #history-older {
                        summary { (older.len()) " older ones" }
                        (table(visitor, sighting, "Older reports, newest first", older))
                    }
                }
            }
        }
    }
}

fn table(visitor: &Visitor, sighting: &Sighting, caption: &str, reports: &[Arc<Report>]) -> Markup {
    html! {
        table.stores {
            caption.hidden { (caption) }
            thead { tr { th scope="col" { "Probed" } th scope="col" { "Verdict" } th scope="col" { "Because of" } th.number scope="col" { "Slowest" } } }
            tbody { @for report in reports { (past(visitor, sighting, report)) } }
        }
    }
}

/// Which settings a report is about, in short.
fn former(report: &Report) -> Markup {
    let subject = &report.evidence.subject;
    html! {
        @match &subject.cluster {
            Some(subject) => code { (subject.cluster) },
            None => { code { (legible::line(&subject.endpoint)) (legible::line(&subject.path)) } " with " code { (legible::line(&subject.access_key_id)) } },
        }
    }
}

fn past(visitor: &Visitor, sighting: &Sighting, report: &Report) -> Markup {
    let cold = Latency::of(&report.evidence.addresses).cold;
    let because = report.decisive().or_else(|| report.not_ready());
    html! {
        tr {
            th scope="row" { a href=(format!("/preflights/{}", report.id)) { (legible::moment(report.started_at(), visitor.now)) }
            }
            td data-label="Verdict" {
                (report::verdict_badge(report.verdict()))
                @if sighting.is_former(report) { span.sub { "of " (former(report)) } }
            }
            td data-label="Because of" {
                @match because {
                    Some(finding) => code { (finding.check.id) },
                    None if report.warnings().next().is_some() => (badge(Tone::Warn, "warnings")),
                    None => span.muted { "–" },
                }
            }
            td.number data-label="Slowest" { @if cold.count > 0 { (legible::milliseconds(cold.max)) } @else { "–" } }
        }
    }
}
