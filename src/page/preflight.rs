//! The form: pre-flights a candidate, or asks for an update to it. What is filled in is put together as the API's own
//! body and goes the same way; a secret is never shown again.

use std::collections::BTreeMap;

use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::session::{Fields, Order, Visitor};
use super::{frame, legible};
use crate::access::Permission;
use crate::api::preflights::examine;
use crate::api::problem::Problem;
use crate::api::updates::ask;
use crate::key_store::Member;
use crate::monitor::Sighting;

/// The settings of a proxy, with what the form says of them.
const SETTINGS: [(Member, &str, &str); 5] = [
    (Member::Endpoint, "Endpoint", "https://xks.example.com"),
    (Member::Path, "Path", "/kms/xks/v1"),
    (Member::ServiceName, "VPC endpoint service", "com.amazonaws.vpce.us-east-1.vpce-svc-…"),
    (Member::ServiceOwner, "Owner of the service", "111122223333"),
    (Member::Cluster, "CloudHSM cluster", "cluster-…"),
];

/// What the form begins with.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct From {
    key_store: String,
}

/// The form.
pub(super) async fn form(visitor: Visitor, Query(from): Query<From>) -> Html<String> {
    let filled = BTreeMap::from([("CustomKeyStoreId", from.key_store)]);
    page(&visitor, &filled, None)
}

/// Pre-flights what the form says; leads to the report.
pub(super) async fn run(order: Order) -> Response {
    let Order { visitor, mut fields } = order;
    let (body, filled) = body(&mut fields, false);
    match examine(visitor.service(), &visitor.admitted, body, None).await {
        Ok(report) => Redirect::to(&format!("/preflights/{}", report.id)).into_response(),
        Err(problem) => again(&visitor, &filled, problem),
    }
}

/// Asks for an update to what the form says; leads to the update.
pub(super) async fn update(order: Order) -> Response {
    let Order { visitor, mut fields } = order;
    let (body, filled) = body(&mut fields, true);
    match ask(visitor.service(), &visitor.admitted, body).await {
        Ok(submitted) => Redirect::to(&format!("/updates/{}", submitted.id)).into_response(),
        Err(problem) => again(&visitor, &filled, problem),
    }
}

/// The form once more, with what is wrong and what was filled in, but for secrets.
fn again(visitor: &Visitor, filled: &BTreeMap<&'static str, String>, problem: Problem) -> Response {
    // Who may not do it at all is told so.
    if matches!(problem.status(), StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED) {
        return problem.into_response();
    }
    let mut response = (problem.status(), page(visitor, filled, Some(&problem))).into_response();
    // For the audit trail, which tells of refusals.
    response.extensions_mut().insert(problem);
    response
}

/// What the form says as a body of the API, and what of it may be shown again.
fn body(fields: &mut Fields, update: bool) -> (Map<String, Value>, BTreeMap<&'static str, String>) {
    let mut body = Map::new();
    let mut filled = BTreeMap::new();
    let mut plain = |fields: &mut Fields, name: &'static str| {
        let value = fields.take(name)?.trim().to_owned();
        filled.insert(name, value.clone());
        Some(value).filter(|value| !value.is_empty())
    };
    let members = SETTINGS.iter().map(|(member, ..)| member.as_str());
    for name in ["CustomKeyStoreId"].into_iter().chain(members).chain([Member::Connectivity.as_str()]) {
        if let Some(value) = plain(fields, name) {
            body.insert(name.to_owned(), json!(value));
        }
    }
    let mut credential = Map::new();
    for name in ["AccessKeyId", "Source"] {
        if let Some(value) = plain(fields, name) {
            credential.insert(name.to_owned(), json!(value));
        }
    }
    if let Some(secret) = fields.take("RawSecretAccessKey") {
        credential.insert("RawSecretAccessKey".to_owned(), json!(*secret));
    }
    if !credential.is_empty() {
        body.insert(Member::Credential.as_str().to_owned(), Value::Object(credential));
    }
    let checked = |fields: &mut Fields, name: &str| fields.take(name).is_some();
    let (refusals, outage) = (checked(fields, "refusals"), checked(fields, "acknowledge_outage"));
    let options = if update { json!({ "acknowledge_outage": outage }) } else { json!({ "refusals": refusals }) };
    body.insert("options".to_owned(), options);
    (body, filled)
}

fn page(visitor: &Visitor, filled: &BTreeMap<&'static str, String>, problem: Option<&Problem>) -> Html<String> {
    let value = |name: &str| filled.get(name).map(String::as_str).unwrap_or_default();
    let service = visitor.service();
    let caller = visitor.admitted.each();
    let mut stores = service.monitor.sightings();
    stores.retain(|store| caller.sees(service, &store.id) && caller.could(service, Permission::Probe, &store.id));
    let may_change = stores.iter().any(|store| caller.could(service, Permission::Change, &store.id));
    let body = html! {
        div.form {
            div.head {
                h1 { "Pre-flight" }
                p.muted { "Probes a candidate as KMS would, and changes nothing. What is left empty stays as it is." }
            }
            @if let Some(problem) = problem { (wrong(problem)) }
            form.card method="post" action="/preflights" autocomplete="off" data-busy="Probing…" {
                input type="hidden" name="mark" value=(visitor.mark());
                div.drop data-drop hidden {
                    p { strong { "The file that the KMS console takes" } " – drop it here, or "
                        label.file { "choose it" input type="file" accept=".json,application/json"; } "." }
                    p.hint { "It is read by your browser and fills in path and credential below." }
                    p role="status" {}
                }
                div.field {
                    label for="key-store" { "Key store" }
                    select #key-store name="CustomKeyStoreId" {
                        option value="" selected[value("CustomKeyStoreId").is_empty()] { "None: settings that belong to no key store yet" }
                        @for store in &stores {
                            @let id = store.id.to_string();
                            option value=(id) selected[id == value("CustomKeyStoreId")] { (label(store)) }
                        }
                    }
                }
                @for (member, title, example) in &SETTINGS[..2] { (field(*member, title, example, value(member.as_str()))) }
                div.field {
                    label for="connectivity" { "Connectivity" }
                    select #connectivity name=(Member::Connectivity.as_str()) {
                        @for (kind, title) in [("", "As it is; public for none"), ("PUBLIC_ENDPOINT", "Public endpoint"), ("VPC_ENDPOINT_SERVICE", "VPC endpoint service")] {
                            option value=(kind) selected[kind == value(Member::Connectivity.as_str())] { (title) }
                        }
                    }
                }
                details.more open[SETTINGS[2..].iter().any(|(member, ..)| !value(member.as_str()).is_empty())] {
                    summary { "VPC endpoint service, CloudHSM cluster" }
                    @for (member, title, example) in &SETTINGS[2..] { (field(*member, title, example, value(member.as_str()))) }
                }
                fieldset {
                    legend { "Credential" }
                    p.hint { "Left empty, the one that is configured for the key store signs the requests." }
                    div.field {
                        label for="source" { "Configured under the name" }
                        input #source name="Source" value=(value("Source")) spellcheck="false" maxlength="200";
                    }
                    p.hint { "Or given here:" }
                    div.pair {
                        div.field {
                            label for="access-key-id" { "Access key id" }
                            input #access-key-id name="AccessKeyId" value=(value("AccessKeyId")) spellcheck="false" maxlength="1024";
                        }
                        div.field {
                            label for="secret" { "Raw secret access key" }
                            input #secret type="password" name="RawSecretAccessKey" autocomplete="off" spellcheck="false" maxlength="1024"
                                aria-describedby="secret-hint";
                        }
                    }
                    p.hint #secret-hint { "It signs probes and is never shown, logged or recorded in clear text." }
                }
                label.check { input type="checkbox" name="refusals" value="true"; " Also send what the proxy must refuse" }
                div.buttons { button.primary type="submit" { "Pre-flight" } }
                @if may_change {
                    details.order {
                        summary.button { "Ask for this update…" }
                        div.inner {
                            p { "The same settings are planned, pre-flighted and, once whoever must agree has agreed, carried out and verified. It needs a key store." }
                            label.check { input type="checkbox" name="acknowledge_outage" value="true"; " I know that the keys are out of use while a change disconnects the key store." }
                            button.danger type="submit" formaction="/updates" { "Ask for this update" }
                        }
                    }
                }
            }
        }
    };
    frame::page(visitor, "/preflights", "Pre-flight", &body)
}

fn label(store: &Sighting) -> String {
    let name = store.description.as_ref().map(|described| described.name.as_str().to_owned()).unwrap_or_default();
    format!("{name} ({})", store.id).trim().to_owned()
}

fn field(member: Member, title: &str, example: &str, value: &str) -> Markup {
    let id = member.as_str();
    html! {
        div.field {
            label for=(id) { (title) }
            input id=(id) name=(id) value=(value) placeholder=(example) spellcheck="false" maxlength="1024";
        }
    }
}

fn wrong(problem: &Problem) -> Markup {
    html! {
        div.notice.bad role="alert" tabindex="-1" {
            @if problem.faults().is_empty() { p { strong { "Not taken. " } (legible::paragraph(problem.detail())) } }
            @else {
                p { strong { "Not taken. " } "Mend this:" }
                ul.faults { @for fault in problem.faults() { li { code { (legible::line(&fault.pointer)) } " " (legible::paragraph(&fault.detail)) } } }
            }
            p.sub { "A secret must be given anew." }
        }
    }
}
