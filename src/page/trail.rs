//! The audit trail, newest first.

use axum::extract::Query;
use axum::response::Html;
use maud::{Markup, html};
use serde::Deserialize;

use super::frame::{self, Tone, badge};
use super::legible;
use super::session::Visitor;
use crate::api::audit::{failed, shown};
use crate::api::problem::Problem;
use crate::api::updates::update_id;
use crate::audit::{Decision, Line};
use crate::journal::LinesWanted;
use crate::key_store::CustomKeyStoreId;

/// Lines on a page.
const EACH: u64 = 100;

/// Which lines.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    /// Up to this number.
    to: Option<u64>,
    key_store: String,
    update: String,
}

/// Lines of the trail.
pub(super) async fn show(visitor: Visitor, Query(wanted): Query<Wanted>) -> Result<Html<String>, Problem> {
    let service = visitor.service();
    let trail = service.notary.trail();
    let head = trail.head().await.map_err(failed)?;
    let key_store = CustomKeyStoreId::parse(wanted.key_store.trim()).ok();
    let update = Some(wanted.update.trim()).filter(|text| !text.is_empty()).map(update_id).transpose()?;
    let filtered = key_store.is_some() || update.is_some();
    let to = wanted.to.unwrap_or(head.sequence).min(head.sequence);
    // A filter is answered from the beginning: such lines are few, and lie far apart.
    let after = if filtered { 0 } else { to.saturating_sub(EACH) };
    let limit = if filtered { 1_000 } else { usize::try_from(to - after).unwrap_or_default() };
    let stored = if limit == 0 {
        Vec::new()
    } else {
        trail.lines(&LinesWanted { after, limit, key_store, update }).await.map_err(failed)?
    };
    let caller = visitor.admitted.each();
    let lines: Vec<_> = stored.iter().rev().filter_map(|text| shown(service, caller, text, filtered)).collect();
    let body = html! {
        div {
            div.head {
                h1 { "Audit trail" }
                p.muted { (head.sequence) " lines, each bound to the one before. Verify a copy with " code { "xks-preflight audit verify" } "." }
            }
            form.finder method="get" action="/audit" role="search" {
                label.hidden for="of-store" { "Only of this key store" }
                input #of-store name="key_store" value=(wanted.key_store) placeholder="cks-…" maxlength="64" spellcheck="false";
                label.hidden for="of-update" { "Only of this update" }
                input #of-update name="update" value=(wanted.update) placeholder="update-…" maxlength="64" spellcheck="false";
                button type="submit" { "Show" }
                @if filtered { a href="/audit" { "Show all" } }
            }
            @if lines.is_empty() { div.empty { h2 { "No lines" } p { "Nothing is recorded that fits." } } }
            @else {
                table.stores.lines {
                    caption.hidden { "Lines of the audit trail, newest first" }
                    thead { tr { @for name in ["Line", "When", "Who", "What", "About"] { th scope="col" { (name) } } } }
                    tbody { @for text in &lines { (line(&visitor, text)) } }
                }
            }
            @if !filtered && after > 0 { p { a href=(format!("/audit?to={after}")) { "Older lines" } } }
        }
    };
    Ok(frame::page(&visitor, "/audit", "Audit trail", &body))
}

fn line(visitor: &Visitor, text: &str) -> Markup {
    let Ok(line) = Line::parse(text) else {
        return html! { tr { th scope="row" { (badge(Tone::Bad, "damaged")) } td colspan="4" { code { (legible::paragraph(text)) } } } };
    };
    let Some(entry) = &line.entry else {
        return html! { tr { th scope="row" { (line.sequence) } td colspan="4" { span.muted { "About a key store that you may not see." } } } };
    };
    let (tone, word) = match entry.decision {
        Decision::Allowed => (Tone::Good, "allowed"),
        Decision::Denied => (Tone::Bad, "denied"),
        Decision::Recorded => (Tone::Still, "recorded"),
    };
    html! {
        tr {
            th scope="row" { (line.sequence) }
            td data-label="When" { (legible::moment(entry.at, visitor.now)) }
            td.by data-label="Who" { @match &entry.by { Some(by) => (legible::line(&by.name)), None => span.muted { "unknown" } } }
            td data-label="What" {
                div {
                    p.line { strong { (entry.action.as_str().replace('_', " ").replace("preflight", "pre-flight")) } (badge(tone, word)) }
                    span.sub { (legible::paragraph(&entry.message)) }
                }
            }
            td data-label="About" {
                div.about {
                    @if let Some(update) = &entry.update { a href=(format!("/updates/{update}")) { "the update" } }
                    @if let Some(id) = &entry.key_store { span.sub { a href=(format!("/key-stores/{id}")) { code { (id) } } } }
                    @if entry.update.is_none() && entry.key_store.is_none() { span.muted { "–" } }
                }
            }
        }
    }
}
