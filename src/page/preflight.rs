//! The form: pre-flights a candidate, or asks for an update to it. What is filled in is put together as the API's own
//! body and goes the same way; a secret is never shown again.

use std::collections::BTreeMap;

use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::field::{self, Field};
use super::session::{Fields, Order, Visitor};
use super::{choice, frame};
use crate::access::Permission;
use crate::api::preflights::examine;
use crate::api::problem::{Fault, Problem};
use crate::api::updates::ask;
use crate::key_store::Member;

const KEY_STORE: Field = Field {
    pointer: "/CustomKeyStoreId",
    id: "key-store",
    name: "CustomKeyStoreId",
    title: "Key store",
    example: "cks-…",
};

/// The settings, with what the form says of them.
const SETTINGS: [Field; 5] = [
    setting("/XksProxyUriEndpoint", "Endpoint", "https://xks.example.com"),
    setting("/XksProxyUriPath", "Path", "/kms/xks/v1"),
    setting("/XksProxyVpcEndpointServiceName", "VPC endpoint service", "com.amazonaws.vpce.us-east-1.vpce-svc-…"),
    setting("/XksProxyVpcEndpointServiceOwner", "Owner of the service", "111122223333"),
    setting("/CloudHsmClusterId", "CloudHSM cluster", "cluster-…"),
];
const CONNECTIVITY: Field = setting("/XksProxyConnectivity", "Connectivity", "");

const SOURCE: Field = credential("/XksProxyAuthenticationCredential/Source", "Source", "Configured under the name");
const ACCESS_KEY_ID: Field =
    credential("/XksProxyAuthenticationCredential/AccessKeyId", "AccessKeyId", "Access key id");
const SECRET: Field =
    credential("/XksProxyAuthenticationCredential/RawSecretAccessKey", "RawSecretAccessKey", "Raw secret access key");

const GLASS: Field = Field {
    pointer: "/options/break_glass/reason",
    id: "glass-reason",
    name: "glass_reason",
    title: "Why the glass is broken",
    example: "for example: INC-4711, the proxy is down and approvers sleep",
};

/// A member of the body by its own name.
const fn setting(pointer: &'static str, title: &'static str, example: &'static str) -> Field {
    let (_, name) = pointer.split_at(1);
    Field { pointer, id: name, name, title, example }
}

const fn credential(pointer: &'static str, name: &'static str, title: &'static str) -> Field {
    Field { pointer, id: name, name, title, example: "" }
}

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
    let breaks = fields.take("break_glass").is_some();
    let (mut body, filled) = body(&mut fields, true);
    let asked = match glass(&filled, breaks) {
        Ok(glass) => {
            if let (Some(glass), Some(Value::Object(options))) = (glass, body.get_mut("options")) {
                options.insert("break_glass".to_owned(), json!({ "reason": glass }));
            }
            ask(visitor.service(), &visitor.admitted, body).await
        }
        Err(fault) => Err(Problem::invalid(vec![fault])),
    };
    match asked {
        Ok(submitted) => Redirect::to(&format!("/updates/{}", submitted.id)).into_response(),
        Err(problem) => again(&visitor, &filled, problem),
    }
}

/// The reason for breaking the glass, if its button was pressed. A reason alone breaks nothing, and is not passed over.
fn glass<'f>(filled: &'f BTreeMap<&'static str, String>, breaks: bool) -> Result<Option<&'f str>, Fault> {
    let reason = filled.get(GLASS.name).map(String::as_str).unwrap_or_default();
    if !breaks && !reason.is_empty() {
        let detail =
            "is given, and the button that breaks the glass was not pressed: leave the reason empty, or press it";
        return Err(Fault { pointer: GLASS.pointer.to_owned(), detail: detail.to_owned() });
    }
    Ok(breaks.then_some(reason))
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
    for Field { name, .. } in [KEY_STORE].into_iter().chain(SETTINGS).chain([CONNECTIVITY]) {
        if let Some(value) = plain(fields, name) {
            body.insert(name.to_owned(), json!(value));
        }
    }
    plain(fields, GLASS.name);
    let mut credential = Map::new();
    for Field { name, .. } in [ACCESS_KEY_ID, SOURCE] {
        if let Some(value) = plain(fields, name) {
            credential.insert(name.to_owned(), json!(value));
        }
    }
    if let Some(secret) = fields.take(SECRET.name) {
        credential.insert(SECRET.name.to_owned(), json!(*secret));
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
    let value = |field: Field| filled.get(field.name).map(String::as_str).unwrap_or_default();
    let service = visitor.service();
    let caller = visitor.admitted.each();
    let stores = choice::of(visitor, Permission::Probe);
    let may_change = stores.iter().any(|store| caller.could(service, Permission::Change, &store.id));
    let may_break = stores.iter().any(|store| caller.could(service, Permission::BreakGlass, &store.id));
    let none = Some(("", "None: settings that belong to no key store yet"));
    let fields: Vec<Field> =
        [KEY_STORE, CONNECTIVITY, SOURCE, ACCESS_KEY_ID, SECRET, GLASS].into_iter().chain(SETTINGS).collect();
    let more = SETTINGS.iter().skip(2);
    let opened = more.clone().any(|field| !value(*field).is_empty() || field.is_wrong(problem));
    let body = html! {
        div.form {
            div.head {
                h1 { "Pre-flight" }
                p.muted { "Probes a candidate as KMS would, and changes nothing. What is left empty stays as it is." }
            }
            @if let Some(problem) = problem { (field::refused(problem, &fields, Some("A secret must be given anew."))) }
            form.card method="post" action="/preflights" autocomplete="off" data-busy="Probing…" {
                input type="hidden" name="mark" value=(visitor.mark());
                div.drop data-drop hidden {
                    p { strong { "The file that the KMS console takes" } " – drop it here, or "
                        label.file { "choose it" input type="file" accept=".json,application/json"; } "." }
                    p.hint { "It is read by your browser and fills in path and credential below." }
                    p role="status" {}
                }
                (choice::field(KEY_STORE, &stores, none, value(KEY_STORE), problem))
                @for field in SETTINGS.iter().take(2) { (field.text(value(*field), problem)) }
                div.field {
                    label for=(CONNECTIVITY.id) { (CONNECTIVITY.title) }
                    select id=(CONNECTIVITY.id) name=(CONNECTIVITY.name) {
                        @for (kind, title) in [("", "As it is; public for none"), ("PUBLIC_ENDPOINT", "Public endpoint"), ("VPC_ENDPOINT_SERVICE", "VPC endpoint service")] {
                            option value=(kind) selected[kind == value(CONNECTIVITY)] { (title) }
                        }
                    }
                    (CONNECTIVITY.wrong(problem))
                }
                details.more open[opened] {
                    summary { "VPC endpoint service, CloudHSM cluster" }
                    @for field in more { (field.text(value(*field), problem)) }
                }
                (credentials(filled, problem))
                label.check {
                    input type="checkbox" name="refusals" value="true";
                    span { "Also send what the proxy must refuse: unsigned and wrongly signed requests, which look like an attack in its log" }
                }
                div.buttons { button.primary type="submit" { "Pre-flight" } }
                @if may_change { (asking(may_break, value(GLASS), problem)) }
            }
        }
    };
    frame::page(visitor, "/preflights", "Pre-flight", &body)
}

fn credentials(filled: &BTreeMap<&'static str, String>, problem: Option<&Problem>) -> Markup {
    let value = |field: Field| filled.get(field.name).map(String::as_str).unwrap_or_default();
    let is_wrong = SECRET.is_wrong(problem);
    let described = if is_wrong { SECRET.told_in() } else { "secret-hint".to_owned() };
    html! {
        fieldset {
            legend { "Credential" }
            p.hint { "Left empty, the one that is configured for the key store signs the requests." }
            (SOURCE.text(value(SOURCE), problem))
            p.hint { "Or given here:" }
            div.pair {
                (ACCESS_KEY_ID.text(value(ACCESS_KEY_ID), problem))
                div.field {
                    label for=(SECRET.id) { (SECRET.title) }
                    input id=(SECRET.id) type="password" name=(SECRET.name) autocomplete="off" spellcheck="false" maxlength="1024"
                        aria-invalid=[is_wrong.then_some("true")] aria-describedby=(described);
                    (SECRET.wrong(problem))
                }
            }
            p.hint #secret-hint { "It signs probes and is never shown, logged or recorded in clear text." }
        }
    }
}

fn asking(may_break: bool, reason: &str, problem: Option<&Problem>) -> Markup {
    html! {
        details.order open[GLASS.is_wrong(problem) || !reason.is_empty()] {
            summary.button { "Ask for this update…" }
            div.inner {
                p { "The same settings are planned, pre-flighted and, once whoever must agree has agreed, carried out and verified. It needs a key store." }
                label.check { input type="checkbox" name="acknowledge_outage" value="true"; " I know that the keys are out of use while a change disconnects the key store." }
                button.danger type="submit" formaction="/updates" { "Ask for this update" }
                @if may_break {
                    fieldset.glass {
                        legend { "Break the glass" }
                        p { "The update begins without approval, through a freeze and outside maintenance windows; never without its pre-flights. "
                            "It raises an alarm and stands in the audit trail with your name and reason." }
                        (GLASS.text(reason, problem))
                        button.danger type="submit" formaction="/updates" name="break_glass" value="true" { "Yes, break the glass and ask for this update" }
                    }
                }
            }
        }
    }
}
