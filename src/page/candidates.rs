//! What is planned for a key store, and how long it has been green.

use std::time::Duration;

use maud::{Markup, html};

use super::frame::{Tone, badge};
use super::session::Visitor;
use super::{legible, report};
use crate::monitor::{CandidateSight, Sighting, Standing};
use crate::update::Span;

/// The candidates of one key store; nothing if there are none and none are needed, as of one without a proxy.
pub(super) fn section(visitor: &Visitor, sighting: &Sighting) -> Markup {
    let (monitor, id) = (&visitor.service().monitor, &sighting.id);
    let (candidates, required) = (monitor.candidates_of(id), monitor.require_green_for(id));
    let has_proxy = sighting.description.as_ref().is_some_and(|store| store.xks().is_some());
    html! {
        @if !candidates.is_empty() || (has_proxy && !required.is_zero()) {
            section aria-label="Candidates" {
                h2.over { "Candidates" }
                p.muted.over {
                    @if required.is_zero() { "Planned settings, probed as the present ones are. The gate asks for no hours of green." }
                    @else { "An update that changes how KMS talks to the proxy needs a candidate that has been green for " (Span(required).to_string()) "." }
                }
                @if candidates.is_empty() { div.empty { p { "No candidate is watched: no such update can begin." } } }
                @else {
                    table.stores {
                        caption.hidden { "Candidates by name" }
                        thead { tr { th scope="col" { "Candidate" } th scope="col" { "State" } th scope="col" { "Green since" } th scope="col" { "Enough" } th scope="col" { "Latest verdict" } } }
                        tbody { @for sight in &candidates { (row(visitor, sight, required)) } }
                    }
                }
            }
        }
    }
}

fn row(visitor: &Visitor, sight: &CandidateSight, required: Duration) -> Markup {
    let standing = visitor.service().monitor.standing_of(sight);
    let (tone, word) = match standing {
        Standing::Green(_) => (Tone::Good, "green"),
        Standing::Red => (Tone::Bad, "red"),
        Standing::Silent => (Tone::Warn, "silent"),
        Standing::NotProbed => (Tone::Warn, "not probed"),
        Standing::InForce => (Tone::Still, "in force"),
        Standing::Unseen => (Tone::Still, "not seen yet"),
    };
    let green = matches!(standing, Standing::Green(_));
    let since = sight.vigil.as_ref().and_then(|vigil| vigil.green_since).filter(|_| green);
    html! {
        tr {
            th scope="row" {
                (sight.name)
                @if let Some(settings) = &sight.settings { span.sub { code { (legible::line(settings.endpoint.as_str())) } } }
            }
            td data-label="State" {
                (badge(tone, word))
                @if let Some(why) = &sight.not_probed { span.sub { (legible::paragraph(why)) } }
            }
            td data-label="Green since" { @match since { Some(at) => (legible::instant(at, visitor.now)), None => span.muted { "–" } } }
            td data-label="Enough" {
                @match since.filter(|_| !required.is_zero()) {
                    Some(at) if at.plus(required) <= visitor.now => (badge(Tone::Good, "enough")),
                    Some(at) => (legible::instant(at.plus(required), visitor.now)),
                    None => span.muted { "–" },
                }
            }
            td data-label="Latest verdict" {
                @match &sight.latest {
                    Some(latest) => a href=(format!("/preflights/{}", latest.id)) { (report::verdict_badge(latest.verdict())) },
                    None => span.muted { "–" },
                }
            }
        }
    }
}
