//! Orders about an update: what a visitor may do now, as forms that ask back, and what becomes of them.

use axum::extract::Path;
use axum::response::Redirect;
use maud::{Markup, html};

use super::session::{Order, Visitor};
use super::{legible, update};
use crate::access::Permission;
use crate::api::approvals::{consents, digest};
use crate::api::problem::{Fault, Problem};
use crate::api::updates::{order, order_refused};
use crate::driver::{Seen, UpdateRecord};
use crate::id::UpdateId;
use crate::update::{ApprovalRule, Consent, Disruption, Phase, Rollback, Stage, StatusName};

/// What may be done about an update by this visitor; nothing, if they may not, or nothing can be done.
pub(super) fn card(visitor: &Visitor, record: &UpdateRecord) -> Markup {
    let (state, plan) = (&record.state, record.state.plan());
    let may = |permission| visitor.could(permission, &plan.key_store);
    let (approve, change) = (may(Permission::Approve), may(Permission::Change));
    let awaiting = state.status().status == StatusName::AwaitingApproval;
    let begun = matches!(state.phase(), Phase::Running(_));
    let rotation = match state.phase() {
        Phase::Rotating(rotating) => Some(rotating.stage()),
        _ => None,
    };
    let not_begun =
        !begun && rotation.is_none() && !matches!(state.phase(), Phase::RollingBack(_) | Phase::Concluded(_));
    let can_go_back = begun && matches!(plan.rollback, Rollback::Restore(_));
    let shown = (awaiting && approve) || (change && (not_begun || can_go_back || rotation.is_some()));
    html! {
        @if awaiting { (waiting(record, approve)) }
        @if shown {
            section.orders aria-label="Orders" {
                @if awaiting && approve { (approval(visitor, record)) }
                @if change && not_begun {
                    (ask(visitor, record, "cancel", "Cancel", "Cancel this update", &html! {
                        p { "Nothing was changed yet, and nothing will be. The update ends as abandoned; a new one can be asked for at any time." }
                    }, "danger"))
                }
                @if change && can_go_back {
                    (ask(visitor, record, "rollback", "Roll back", "Roll back to the former settings", &html! {
                        p { "The former settings are restored, by the same steps the other way round. "
                            @if matches!(plan.disruption, Disruption::Disconnect { .. }) { "The keys stay out of use until that is done." } }
                    }, "danger"))
                }
                @if change && matches!(rotation, Some(Stage::AwaitRemoval { .. } | Stage::ProveRefused { .. })) {
                    (ask(visitor, record, "removed", "It is removed", "The former credential is removed", &html! {
                        p { "The daemon looks at once whether every address refuses it." }
                    }, "primary"))
                }
                @if change && rotation.is_some() {
                    (ask(visitor, record, "cancel", "Stop watching", "Leave the former credential as it is", &html! {
                        p { "The new credential stays in force. That the former one is refused will not be proven." }
                    }, "danger"))
                }
            }
        }
    }
}

fn waiting(record: &UpdateRecord, approve: bool) -> Markup {
    let plan = record.state.plan();
    let given: Vec<&str> = record
        .events
        .iter()
        .filter_map(|recorded| match &recorded.event {
            crate::update::Event::ApprovalGiven { by, .. } => Some(by.as_str()),
            _ => None,
        })
        .collect();
    html! {
        div.notice.warn {
            p {
                strong { "It waits for approval. " }
                @if plan.approval == ApprovalRule::Two { "Two persons other than " } @else { "A person other than " }
                (legible::line(&plan.requested_by)) " must agree to exactly this plan and the report of its pre-flight."
                @if !given.is_empty() { " Agreed so far: " (legible::line(&given.join(", "))) "." }
                @if !approve { " Your role does not approve." }
            }
        }
    }
}

fn approval(visitor: &Visitor, record: &UpdateRecord) -> Markup {
    let plan = record.state.plan();
    let Some(proposal) = record.state.proposal() else { return html! {} };
    let disconnects = matches!(plan.disruption, Disruption::Disconnect { .. });
    ask(
        visitor,
        record,
        "approve",
        "Approve",
        "Approve this plan",
        &html! {
            p { "You agree to the plan below and to what its pre-flight found, and to nothing else." }
            p.muted { "Its digest, of plan and report: " code { (proposal.digest()) } }
            input type="hidden" name="digest" value=(proposal.digest());
            @if disconnects {
                p.notice.warn { span { "Outage: " (update::outage(plan)) "." } }
                label.check { input type="checkbox" name="acknowledge_outage" value="true" required; " I know that the keys will be out of use." }
            }
        },
        "primary",
    )
}

/// A button that opens into a question; answered, it is an order. It works without script.
fn ask(
    visitor: &Visitor,
    record: &UpdateRecord,
    order: &str,
    word: &str,
    title: &str,
    what: &Markup,
    class: &str,
) -> Markup {
    html! {
        details.order id=(format!("order-{order}")) {
            summary.button { (word) "…" }
            form.card method="post" action=(format!("/updates/{}/{order}", record.id())) {
                h3 { (title) }
                (what)
                input type="hidden" name="mark" value=(visitor.mark());
                button class=(class) type="submit" { "Yes, " (title.to_lowercase()) }
            }
        }
    }
}

/// Agrees.
pub(super) async fn approve(Path(id): Path<String>, mut given: Order) -> Result<Redirect, Problem> {
    let service = given.visitor.service();
    let (id, authorized) = order(service, &given.visitor.admitted, &id).await?;
    let fault =
        |detail: &str| Problem::invalid(vec![Fault { pointer: "digest".to_owned(), detail: detail.to_owned() }]);
    let digest = digest(&given.fields.take("digest").unwrap_or_default()).map_err(fault)?;
    let outage_acknowledged = given.fields.take("acknowledge_outage").is_some_and(|value| *value == "true");
    let consent = Consent { by: &authorized.by, digest: &digest, outage_acknowledged };
    // What is agreed to is bound by the digest; what else was seen of the update does not matter.
    consents(given.visitor.service(), id, &consent, Seen(None)).await?;
    Ok(back_to(id))
}

/// Ends an update that has changed nothing yet, or the watching of a rotation.
pub(super) async fn cancel(Path(id): Path<String>, given: Order) -> Result<Redirect, Problem> {
    let service = given.visitor.service();
    let (id, authorized) = order(service, &given.visitor.admitted, &id).await?;
    service.driver.cancel(id, &authorized.by, Seen(None)).await.map_err(|error| order_refused(&error))?;
    Ok(back_to(id))
}

/// Takes an update back.
pub(super) async fn rollback(Path(id): Path<String>, given: Order) -> Result<Redirect, Problem> {
    let service = given.visitor.service();
    let (id, authorized) = order(service, &given.visitor.admitted, &id).await?;
    service.driver.rollback(id, &authorized.by, Seen(None)).await.map_err(|error| order_refused(&error))?;
    Ok(back_to(id))
}

/// Tells that the former credential of a rotation is removed.
pub(super) async fn removed(Path(id): Path<String>, given: Order) -> Result<Redirect, Problem> {
    let service = given.visitor.service();
    let (id, authorized) = order(service, &given.visitor.admitted, &id).await?;
    service.driver.removed(id, &authorized.by, Seen(None)).await.map_err(|error| order_refused(&error))?;
    Ok(back_to(id))
}

fn back_to(id: UpdateId) -> Redirect {
    Redirect::to(&format!("/updates/{id}"))
}
