//! Freezes: those in force, and for whoever may, the forms that begin and lift one.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::field::{self, Field};
use super::frame::{self, Tone, badge};
use super::session::{Order, Visitor};
use super::{choice, legible};
use crate::access::Permission;
use crate::api::freeze::{end, impose, in_force};
use crate::api::problem::{Fault, Problem};
use crate::key_store::CustomKeyStoreId;
use crate::update::Freeze;

const KEY_STORE: Field =
    Field { pointer: "/key_store", id: "key-store", name: "key_store", title: "Of", example: "cks-…" };
const REASON: Field = Field {
    pointer: "/reason",
    id: "reason",
    name: "reason",
    title: "Why",
    example: "for example: quarter end, no changes until the books are closed",
};
const FOR: Field = Field { pointer: "/for", id: "for", name: "for", title: "For how long", example: "" };
const UNTIL: Field =
    Field { pointer: "/until", id: "until", name: "until", title: "Or until exactly", example: "2027-01-31T00:00:00Z" };
const FIELDS: [Field; 4] = [KEY_STORE, REASON, FOR, UNTIL];

/// What stands for every key store in the forms.
const EVERY: &str = "*";

/// What a freeze may last, in hours.
const LASTS: [(u64, &str); 6] =
    [(1, "1 hour"), (4, "4 hours"), (12, "12 hours"), (24, "1 day"), (72, "3 days"), (168, "1 week")];

/// What the form begins with.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct From {
    key_store: String,
}

/// The freezes, and the form.
pub(super) async fn show(visitor: Visitor, Query(from): Query<From>) -> Result<Html<String>, Problem> {
    page(&visitor, &BTreeMap::from([("key_store", from.key_store)]), None).await
}

/// Begins one.
pub(super) async fn set(order: Order) -> Response {
    let Order { visitor, mut fields } = order;
    let mut filled = BTreeMap::new();
    for Field { name, .. } in FIELDS {
        filled.insert(name, fields.take(name).map(|value| value.trim().to_owned()).unwrap_or_default());
    }
    let imposed = match body(&visitor, &filled) {
        Ok(body) => impose(visitor.service(), &visitor.admitted, body).await,
        Err(fault) => Err(Problem::invalid(vec![fault])),
    };
    match imposed {
        Ok(_) => Redirect::to("/freezes").into_response(),
        Err(problem) => again(&visitor, &filled, problem).await,
    }
}

/// Lifts one.
pub(super) async fn lift(order: Order) -> Result<Redirect, Problem> {
    let Order { visitor, mut fields } = order;
    // A field that is missing or empty must not come to mean every key store.
    let named = fields.take("key_store").unwrap_or_default();
    let key_store = Some(named.as_str()).filter(|named| *named != EVERY);
    end(visitor.service(), &visitor.admitted, key_store).await?;
    Ok(Redirect::to("/freezes"))
}

/// What the form says as a body of the API.
fn body(visitor: &Visitor, filled: &BTreeMap<&'static str, String>) -> Result<Map<String, Value>, Fault> {
    let value = |field: Field| filled.get(field.name).map(String::as_str).filter(|value| !value.is_empty());
    let mut body = Map::new();
    // Absent means every key store, so that nothing else may come to mean it.
    match value(KEY_STORE) {
        Some(EVERY) => {}
        named => drop(body.insert("key_store".to_owned(), json!(named.unwrap_or_default()))),
    }
    body.insert("reason".to_owned(), json!(value(REASON).unwrap_or_default()));
    let fault = |field: Field, detail: &str| Fault { pointer: field.pointer.to_owned(), detail: detail.to_owned() };
    let until = match (value(FOR), value(UNTIL)) {
        (None, until) => until.map(str::to_owned),
        (Some(_), Some(_)) => return Err(fault(UNTIL, "is given beside how long; leave one of them empty")),
        (Some(hours), None) => {
            let hours = hours.parse().ok().filter(|hours| LASTS.iter().any(|(known, _)| known == hours));
            let hours = hours.ok_or_else(|| fault(FOR, "must be one of the offered times"))?;
            Some(visitor.now.plus(Duration::from_hours(hours)).to_string())
        }
    };
    if let Some(until) = until {
        body.insert("until".to_owned(), json!(until));
    }
    Ok(body)
}

/// The form once more, with what is wrong and what was filled in.
async fn again(visitor: &Visitor, filled: &BTreeMap<&'static str, String>, problem: Problem) -> Response {
    if matches!(problem.status(), StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED) {
        return problem.into_response();
    }
    match page(visitor, filled, Some(&problem)).await {
        Ok(page) => {
            let mut response = (problem.status(), page).into_response();
            // For the audit trail, which tells of refusals.
            response.extensions_mut().insert(problem);
            response
        }
        Err(failed) => failed.into_response(),
    }
}

async fn page(
    visitor: &Visitor,
    filled: &BTreeMap<&'static str, String>,
    problem: Option<&Problem>,
) -> Result<Html<String>, Problem> {
    let freezes = in_force(visitor.service(), &visitor.admitted).await?;
    let body = html! {
        div.form {
            div.head {
                p.muted { a href="/" { "Key stores" } " / freezes" }
                h1 { "Freezes" }
                p.muted { "While a freeze is in force no change begins; what has begun is seen through or taken back. Pre-flights go on." }
            }
            @if let Some(problem) = problem { (field::refused(problem, &FIELDS, None)) }
            @if freezes.is_empty() { div.empty { h2 { "No freeze is in force" } p { "Changes may begin." } } }
            @for freeze in &freezes {
                (notice(freeze, visitor, &html! {}))
                @if may(visitor, freeze.key_store.as_ref()) { (lifting(freeze, visitor)) }
            }
            (form(visitor, filled, problem))
        }
    };
    Ok(frame::page(visitor, "/", "Freezes", &body))
}

fn may(visitor: &Visitor, on: Option<&CustomKeyStoreId>) -> bool {
    match on {
        Some(id) => visitor.could(Permission::Freeze, id),
        None => visitor.could_everywhere(Permission::Freeze),
    }
}

/// A freeze in force.
fn notice(freeze: &Freeze, visitor: &Visitor, way: &Markup) -> Markup {
    html! {
        div.notice.warn {
            p {
                (badge(Tone::Warn, "frozen")) " "
                strong {
                    "No change may begin of "
                    @match &freeze.key_store { Some(id) => code { (id) }, None => "any key store" }
                    ". "
                }
                (legible::sentence(&freeze.reason))
            }
            p.sub {
                "By " (legible::line(&freeze.by)) " " (legible::fully(freeze.since, visitor.now))
                @match freeze.until {
                    Some(until) => { "; it ends " (legible::fully(until, visitor.now)) },
                    None => "; it ends when somebody lifts it",
                }
                ". " (way)
            }
        }
    }
}

/// The notice with the way to what can be done about it.
pub(super) fn banner(freeze: &Freeze, visitor: &Visitor) -> Markup {
    let way =
        html! { @if may(visitor, freeze.key_store.as_ref()) { a href="/freezes" { "Lift or change the freeze" } } };
    notice(freeze, visitor, &way)
}

fn lifting(freeze: &Freeze, visitor: &Visitor) -> Markup {
    let id = freeze.key_store.as_ref().map(ToString::to_string).unwrap_or_default();
    html! {
        details.order {
            summary.button { "Lift…" }
            form.card method="post" action="/freezes/lift" {
                h2 { "Lift the freeze" @if !id.is_empty() { " of " code { (id) } } }
                p { "Changes may begin again at once; updates that wait for it go on by themselves." }
                input type="hidden" name="key_store" value=(if id.is_empty() { EVERY } else { &id });
                input type="hidden" name="mark" value=(visitor.mark());
                button.danger type="submit" { "Yes, lift the freeze" }
            }
        }
    }
}

fn form(visitor: &Visitor, filled: &BTreeMap<&'static str, String>, problem: Option<&Problem>) -> Markup {
    let value = |field: Field| filled.get(field.name).map(String::as_str).unwrap_or_default();
    let everywhere = visitor.could_everywhere(Permission::Freeze);
    let stores = choice::of(visitor, Permission::Freeze);
    let all = everywhere.then_some((EVERY, "Every key store"));
    html! {
        @if everywhere || !stores.is_empty() {
            details.order open[problem.is_some() || !value(KEY_STORE).is_empty()] {
                summary.button { "Freeze changes…" }
                form.card method="post" action="/freezes" autocomplete="off" {
                    h2 { "Freeze changes" }
                    input type="hidden" name="mark" value=(visitor.mark());
                    (choice::field(KEY_STORE, &stores, all, value(KEY_STORE), problem))
                    (REASON.text(value(REASON), problem))
                    div.pair {
                        div.field {
                            label for=(FOR.id) { (FOR.title) }
                            select id=(FOR.id) name=(FOR.name) {
                                option value="" { "Until somebody lifts it" }
                                @for (hours, title) in LASTS {
                                    option value=(hours) selected[value(FOR) == hours.to_string()] { (title) }
                                }
                            }
                            (FOR.wrong(problem))
                        }
                        (UNTIL.text(value(UNTIL), problem))
                    }
                    p.hint { "An earlier freeze of the same is replaced. Whoever may break the glass passes by it, with a reason and an alarm." }
                    button.danger type="submit" { "Yes, freeze changes" }
                }
            }
        }
    }
}
