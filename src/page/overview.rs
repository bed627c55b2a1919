//! The overview: every key store at a glance, the worst first.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::Query;
use axum::response::Html;
use maud::{Markup, html};
use serde::Deserialize;

use super::frame::{self, Tone, badge};
use super::session::Visitor;
use super::{chart, freezes, legible};
use crate::access::Permission;
use crate::api::freeze::in_force;
use crate::api::problem::Problem;
use crate::api::updates::order_refused;
use crate::check::{Latency, Verdict};
use crate::clock::Timestamp;
use crate::drift::Drift;
use crate::driver::UpdateRecord;
use crate::key_store::{Configuration, ConnectionState, CustomKeyStoreId};
use crate::monitor::{PlaceSight, Sighting};
use crate::update::StatusName;

/// Drifts are shown for a day, and so many at most; the audit trail has all.
const DRIFT_SHOWN: f64 = 86_400.0;
const DRIFTS: usize = 5;
/// Freezes, and places that cannot be read, that are shown each for itself.
const NOTICES: usize = 5;
/// Key stores on a page: with more, nobody reads to the end, and every look at it costs the daemon and the browser more.
const EACH: usize = 100;

/// What to show of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    /// Part of a name, an id, an endpoint, a connection state or an account and Region.
    q: String,
    /// One standing alone.
    standing: String,
    /// Which hundred, from 1; absent, unreadable or too far means the first, or the last.
    page: Option<String>,
}

/// How a key store stands, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Blocked,
    Inconclusive,
    Waiting,
    Ready,
    Unwatched,
}

impl Standing {
    const ALL: [Self; 5] = [Self::Blocked, Self::Inconclusive, Self::Waiting, Self::Ready, Self::Unwatched];

    fn of(sighting: &Sighting) -> Self {
        // What was found of former settings says nothing of these.
        match sighting.current().map(|report| report.verdict()) {
            Some(Verdict::Blocked) => Self::Blocked,
            Some(Verdict::Inconclusive) => Self::Inconclusive,
            Some(Verdict::Ready) => Self::Ready,
            None if sighting.watched => Self::Waiting,
            None => Self::Unwatched,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Inconclusive => "inconclusive",
            Self::Waiting => "not probed",
            Self::Ready => "ready",
            Self::Unwatched => "not watched",
        }
    }

    fn tone(self) -> Tone {
        match self {
            Self::Blocked => Tone::Bad,
            Self::Inconclusive | Self::Waiting => Tone::Warn,
            Self::Ready => Tone::Good,
            Self::Unwatched => Tone::Still,
        }
    }
}

/// The overview.
pub(super) async fn show(visitor: Visitor, Query(wanted): Query<Wanted>) -> Result<Html<String>, Problem> {
    let service = visitor.service();
    let open = service.driver.open().await.map_err(|error| order_refused(&error))?;
    let open: BTreeMap<_, _> = open.iter().map(|record| (record.state.plan().key_store.clone(), &**record)).collect();
    let frozen = in_force(service, &visitor.admitted).await?;
    let caller = visitor.admitted.each();
    let mut sightings = service.monitor.sightings();
    sightings.retain(|sighting| caller.sees(service, &sighting.id));
    let places = caller.places(service);
    let mut drifts = service.drift.latest();
    drifts.retain(|drift| visitor.now.seconds_since(drift.at) < DRIFT_SHOWN && caller.sees(service, &drift.key_store));
    let several = places.len() > 1;
    let mut rows: Vec<_> = sightings.iter().map(|sighting| (Standing::of(sighting), sighting)).collect();
    rows.sort_by(|(one, a), (other, b)| (one, name(a)).cmp(&(other, name(b))));
    let count = |standing| rows.iter().filter(|(found, _)| *found == standing).count();
    let found: Vec<_> = rows.iter().filter(|(standing, sighting)| wanted.fits(*standing, sighting)).collect();
    let pages = found.len().div_ceil(EACH).max(1);
    let page = wanted.page.as_deref().and_then(|page| page.parse().ok()).unwrap_or(1).clamp(1, pages);
    let shown = found.chunks(EACH).nth(page - 1).unwrap_or_default();
    let may_freeze = visitor.admitted.principal().may_somewhere(Permission::Freeze).is_ok();
    let unread: Vec<_> = places.iter().filter(|sight| sight.failure.is_some()).collect();
    let body = html! {
        div data-refresh="10" {
            div.head {
                div.line.apart {
                    h1 { "Key stores" }
                    @if may_freeze { a.button href="/freezes" { "Freezes" } }
                }
                p.muted {
                    (rows.len()) " in "
                    @if several { (places.len()) " accounts and Regions" } @else { (service.surroundings.get().region.as_str()) }
                    @if let Some(at) = sightings.iter().filter_map(|s| s.described_at).max() {
                        ", read from KMS " (legible::instant(at, visitor.now))
                    }
                }
            }
            @for sight in unread.iter().take(NOTICES) { (silent(sight, several, visitor.now)) }
            @if unread.len() > NOTICES {
                p.notice.warn { "KMS cannot be read in " (unread.len() - NOTICES) " more accounts and Regions; the metric "
                    code { "xks_preflight_discovery_failing" } " names them." }
            }
            @for drift in drifts.iter().take(DRIFTS) { (drifted(drift, visitor.now)) }
            @if drifts.len() > DRIFTS {
                p.muted { (drifts.len() - DRIFTS) " more changes behind our back within a day are in the " a href="/audit" { "audit trail" } "." }
            }
            @for freeze in frozen.iter().take(NOTICES) { (freezes::banner(freeze, &visitor)) }
            @if frozen.len() > NOTICES { p.muted { (frozen.len() - NOTICES) " more key stores are frozen, each for itself: " a href="/freezes" { "all freezes" } "." } }
            ul.tiles {
                @for standing in Standing::ALL {
                    @let count = count(standing);
                    @if count > 0 || matches!(standing, Standing::Ready | Standing::Blocked) {
                        li {
                            a href=(format!("/?standing={}", standing.word().replace(' ', "+")))
                                aria-current=[(wanted.standing == standing.word()).then_some("true")] {
                                strong { (count) } (badge(if count == 0 { Tone::Still } else { standing.tone() }, standing.word()))
                            }
                        }
                    }
                }
                @if !open.is_empty() {
                    li { a href="/updates" { strong { (open.len()) } (badge(Tone::Busy, "open updates")) } }
                }
            }
            (finder(&wanted, found.len(), rows.len()))
            @if rows.is_empty() {
                div.empty {
                    h2 { "No key store yet" }
                    p { "KMS told of none in this account and Region, and none is configured. Name those to watch in the configuration:" }
                    pre { code { "[[key_stores]]\nid = \"cks-…\"\ncredential = \"proxy\"" } }
                }
            } @else if shown.is_empty() {
                div.empty { h2 { "Nothing found" } p { "No key store fits. " a href="/" { "Show all" } } }
            } @else {
                (table(&visitor, shown, &open, several))
                @if pages > 1 { (pager(&wanted, page, found.len())) }
            }
        }
    };
    Ok(frame::page(&visitor, "/", "Key stores", &body))
}

impl Wanted {
    fn fits(&self, standing: Standing, sighting: &Sighting) -> bool {
        let q = self.q.trim().to_lowercase();
        let holds = |text: &str| text.to_lowercase().contains(&q);
        let endpoint = sighting.description.as_ref().and_then(|store| store.xks()).map(|xks| xks.endpoint.as_str());
        (self.standing.is_empty() || self.standing == standing.word())
            && (q.is_empty()
                || holds(name(sighting))
                || holds(sighting.id.as_str())
                || sighting.description.as_ref().is_some_and(|store| holds(store.state.name()))
                || sighting.place.as_ref().is_some_and(|place| holds(&place.to_string()))
                || endpoint.is_some_and(holds))
    }
}

fn finder(wanted: &Wanted, shown: usize, all: usize) -> Markup {
    html! {
        form.finder method="get" action="/" role="search" {
            label.hidden for="q" { "Find by name, id, endpoint, connection state or account/Region" }
            input #q type="search" name="q" value=(wanted.q) placeholder="Name, id, endpoint, state or account/Region" maxlength="200";
            @if !wanted.standing.is_empty() { input type="hidden" name="standing" value=(wanted.standing); }
            button type="submit" { "Find" }
            @if shown < all { span.muted { (shown) " of " (all) " · " a href="/" { "show all" } } }
        }
    }
}

/// The way to the other key stores.
fn pager(wanted: &Wanted, page: usize, found: usize) -> Markup {
    let to = |page: usize| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let kept = [("q", wanted.q.trim()), ("standing", wanted.standing.as_str())];
        query.extend_pairs(kept.iter().filter(|(_, value)| !value.is_empty()));
        format!("/?{}", query.append_pair("page", &page.to_string()).finish())
    };
    let (from, last) = ((page - 1) * EACH + 1, (page * EACH).min(found));
    html! {
        nav.pager aria-label="Pages" {
            @if page > 1 { a.button rel="prev" href=(to(page - 1)) { "Previous " (EACH) } }
            span.muted { (from) " to " (last) " of " (found) }
            @if last < found { a.button rel="next" href=(to(page + 1)) { "Next " ((found - last).min(EACH)) } }
        }
    }
}

/// A change behind our back.
fn drifted(drift: &Drift, now: Timestamp) -> Markup {
    html! {
        div.notice.warn {
            p {
                strong { "Changed behind our back. " }
                a href=(format!("/key-stores/{}", drift.key_store)) { code { (drift.key_store) } } " was " (drift.what()) " in " (drift.place) ", seen "
                (legible::instant(drift.at, now)) ": "
                @for (number, change) in drift.changes.iter().enumerate() {
                    @if number > 0 { "; " }
                    (change.member) " "
                    @match &change.before { Some(value) => code { (legible::line(value)) }, None => "nothing" }
                    " → "
                    @match &change.now { Some(value) => code { (legible::line(value)) }, None => "nothing" }
                }
                ". No update of xks-preflight did that; CloudTrail knows who."
            }
        }
    }
}

/// Why KMS of one account and Region could not be read, if so.
fn silent(sight: &PlaceSight, several: bool, now: Timestamp) -> Markup {
    html! {
        @if let Some(failure) = &sight.failure {
            div.notice.warn {
                p {
                    strong { "KMS cannot be read" @if several { " in " (sight.place) } ". " }
                    @match sight.told_at {
                        Some(at) => { "What it told before is shown, as of " (legible::instant(at, now)) ". " },
                        None => { "It has told nothing yet. " },
                    }
                    (legible::paragraph(failure))
                }
            }
        }
    }
}

/// The name that KMS told, or nothing.
fn name(sighting: &Sighting) -> &str {
    sighting.description.as_ref().map_or("", |store| store.name.as_str())
}

type Row<'a> = (Standing, &'a Arc<Sighting>);

fn table(
    visitor: &Visitor,
    rows: &[&Row<'_>],
    open: &BTreeMap<CustomKeyStoreId, &UpdateRecord>,
    several: bool,
) -> Markup {
    html! {
        table.stores {
            caption.hidden { "Key stores, the worst first" }
            thead {
                tr {
                    th scope="col" { "Key store" }
                    th scope="col" { "Connection" }
                    th scope="col" { "Latest verdict" }
                    th.number scope="col" { "Slowest" }
                    th scope="col" { "Against 250 ms" }
                    th scope="col" { "Probed" }
                }
            }
            tbody {
                @for (standing, sighting) in rows {
                    (row(visitor, *standing, sighting, open.get(&sighting.id).copied(), several))
                }
            }
        }
    }
}

fn row(
    visitor: &Visitor,
    standing: Standing,
    sighting: &Sighting,
    open: Option<&UpdateRecord>,
    several: bool,
) -> Markup {
    let report = sighting.latest.as_deref();
    let decisive = report.and_then(|report| report.decisive().or_else(|| report.not_ready()));
    let slowest = report.map(|report| Latency::of(&report.evidence.addresses).cold).filter(|cold| cold.count > 0);
    html! {
        tr {
            th scope="row" {
                a href=(format!("/key-stores/{}", sighting.id)) {
                    @if name(sighting).is_empty() { (sighting.id) } @else { (legible::line(name(sighting))) }
                }
                span.sub { code { (sighting.id) } }
                @if let Some(place) = sighting.place.as_ref().filter(|_| several) { span.sub { (place) } }
                @if let Some(record) = open {
                    span.sub {
                        a href=(format!("/updates/{}", record.id())) { (status(record.state.status().status)) } " "
                        (broken_glass(record))
                    }
                }
            }
            td data-label="Connection" {
                @match &sighting.description {
                    Some(store) => { (connection(&store.state)) span.sub { (kind(&store.configuration)) } },
                    None => span.muted { "KMS tells of no such store" },
                }
            }
            td data-label="Latest verdict" {
                (badge(standing.tone(), standing.word()))
                @if let Some(former) = report.filter(|report| sighting.is_former(report)) {
                    span.sub { "its settings have changed; the former ones were " (former.verdict().as_str()) }
                } @else if let Some(finding) = decisive {
                    span.sub { code { (finding.check.id) } }
                } @else if let Some(why) = &sighting.not_probed {
                    span.sub { (legible::paragraph(why)) }
                }
            }
            td.number.nothing[slowest.is_none()] data-label="Slowest" {
                @match slowest { Some(cold) => (legible::milliseconds(cold.max)), None => span.muted { "–" } }
            }
            td.nothing[sighting.glances().len() == 0] data-label="Against 250 ms" { (chart::sparkline(sighting.glances())) }
            td.nothing[report.is_none()] data-label="Probed" {
                @match report { Some(report) => (legible::instant(report.started_at(), visitor.now)), None => span.muted { "–" } }
            }
        }
    }
}

/// KMS's word for the connection.
pub(super) fn connection(state: &ConnectionState) -> Markup {
    let tone = match state {
        ConnectionState::Connected => Tone::Good,
        ConnectionState::Connecting | ConnectionState::Disconnecting => Tone::Busy,
        ConnectionState::Disconnected => Tone::Warn,
        ConnectionState::Failed(_) | ConnectionState::Unrecognized(_) => Tone::Bad,
    };
    html! {
        (badge(tone, state.name()))
        @if let ConnectionState::Failed(code) = state { span.sub { code { (legible::line(code.as_str())) } } }
    }
}

fn kind(configuration: &Configuration) -> &'static str {
    match configuration {
        Configuration::Xks(xks) => match xks.connectivity {
            crate::key_store::Connectivity::PublicEndpoint => "external, public endpoint",
            crate::key_store::Connectivity::VpcEndpointService { .. } => "external, VPC endpoint service",
        },
        Configuration::CloudHsm(_) => "CloudHSM cluster",
        Configuration::Unrecognized { .. } => "of an unknown type",
    }
}

/// An update's status.
pub(super) fn status(status: StatusName) -> Markup {
    let tone = match status {
        StatusName::Planned | StatusName::Preflighting | StatusName::Running | StatusName::RollingBack => Tone::Busy,
        StatusName::AwaitingApproval => Tone::Warn,
        StatusName::Blocked | StatusName::Stuck => Tone::Bad,
        StatusName::Verified => Tone::Good,
        StatusName::Refused | StatusName::RolledBack | StatusName::Abandoned => Tone::Still,
    };
    badge(tone, &status.as_str().replace('_', " "))
}

/// A mark on updates that pass by approval, freeze and windows.
pub(super) fn broken_glass(record: &UpdateRecord) -> Markup {
    html! { @if record.state.plan().break_glass.is_some() { (badge(Tone::Bad, "glass broken")) } }
}
