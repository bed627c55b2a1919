//! The catalogue: every check with what it wants, what KMS makes of a failure, and what to do.

use axum::response::Html;
use maud::{Markup, html};

use super::frame;
use super::report::in_kms_words;
use super::session::Visitor;
use crate::check::{CATALOGUE, Check, Stage};

/// All checks, stage by stage.
pub(super) async fn show(visitor: Visitor) -> Html<String> {
    let body = html! {
        div {
            div.head {
                h1 { "Checks" }
                p.muted { (CATALOGUE.len()) " checks in the order of a probe. A must that fails blocks; a should warns." }
            }
            nav.stagesnav aria-label="Stages" { @for stage in Stage::ALL { a href=(format!("#stage-{stage}")) { (stage) } } }
            @for stage in Stage::ALL {
                section.card aria-labelledby=(format!("stage-{stage}")) {
                    h2 id=(format!("stage-{stage}")) { (stage) }
                    @for check in CATALOGUE.iter().filter(|check| check.stage == stage) { (one(check)) }
                }
            }
        }
    };
    frame::page(&visitor, "/checks", "Checks", &body)
}

fn one(check: &Check) -> Markup {
    html! {
        article.finding id=(check.id) {
            h3 { span.badge.level { (check.level.as_str()) } code { (check.id) } }
            p { (check.title) }
            @if let Some(kms) = &check.kms { p.muted { (in_kms_words(kms)) } }
            p.remedy { strong { "To do: " } (check.remedy) }
            p.cite { (check.citation.source) ", " (check.citation.section) }
        }
    }
}
