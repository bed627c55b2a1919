//! Updates: the list.

use axum::extract::Query;
use axum::response::Html;
use maud::{Markup, html};
use serde::Deserialize;

use super::frame;
use super::legible;
use super::overview::{broken_glass, status};
use super::session::Visitor;
use crate::api::problem::Problem;
use crate::api::updates::{latest, update_id};
use crate::driver::UpdateRecord;
use crate::key_store::Member;

/// Updates on a page.
const EACH: usize = 25;

/// Where the list begins.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct From {
    before: Option<String>,
}

/// The list, newest first.
pub(super) async fn list(visitor: Visitor, Query(from): Query<From>) -> Result<Html<String>, Problem> {
    let before = from.before.as_deref().map(update_id).transpose()?;
    let records = latest(visitor.service(), &visitor.admitted, before, EACH).await?;
    let body = html! {
        div data-refresh="10" {
            div.head { h1 { "Updates" } p.muted { "Changes of key stores, newest first." } }
            @if records.is_empty() {
                div.empty {
                    h2 { @if before.is_none() { "No update yet" } @else { "No older updates" } }
                    p { "A change is asked for with the pre-flight form, from the command line, or by any AWS client through the drop-in endpoint:" }
                    pre { code { "xks-preflight update apply --key-store cks-… --endpoint https://… --wait" } }
                }
            } @else {
                table.stores {
                    caption.hidden { "Updates" }
                    thead { tr { @for name in ["Key store", "Status", "Changes", "Asked for by", "When"] { th scope="col" { (name) } } } }
                    tbody { @for record in &records { (row(&visitor, record)) } }
                }
            }
            @if let Some(last) = records.last().filter(|_| records.len() == EACH) {
                p { a href=(format!("/updates?before={}", last.id())) { "Older updates" } }
            }
        }
    };
    Ok(frame::page(&visitor, "/updates", "Updates", &body))
}

fn row(visitor: &Visitor, record: &UpdateRecord) -> Markup {
    let plan = record.state.plan();
    let members: Vec<&str> = plan.change.members().into_iter().map(Member::as_str).collect();
    html! {
        tr {
            th scope="row" {
                a href=(format!("/updates/{}", record.id())) { (legible::line(plan.expected.name.as_str())) }
                span.sub { code { (plan.key_store) } }
            }
            td data-label="Status" { div.line { (status(record.state.status().status)) (broken_glass(record)) } }
            td data-label="Changes" {
                @if members.is_empty() { span.muted { "connection only" } }
                @else { span { @for (at, name) in members.iter().enumerate() { @if at > 0 { ", " } code { (name) } } } }
            }
            td data-label="Asked for by" { (legible::line(&plan.requested_by)) }
            td data-label="When" { (legible::instant(plan.created_at, visitor.now)) }
        }
    }
}
