//! What a command leaves behind: a text for people and an exit code for programs.

use std::fmt::Write as _;

use serde_json::Value;

use super::words::{awaits_removal, clean, list, text};
use crate::cli::Exit;

/// What the command was given to bring about; an ending that was asked for is a success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The new settings in force.
    Change,
    /// The update stopped before it began.
    Cancel,
    /// The former settings back in force.
    Rollback,
}

/// How the command ends with an update of this status; `verdict` is that of its latest pre-flight, if known. An update
/// that goes on is no failure.
pub(super) fn exit(status: &str, verdict: Option<&str>, purpose: Purpose) -> Exit {
    match (status, purpose) {
        ("verified", Purpose::Change)
        | ("abandoned", Purpose::Cancel | Purpose::Rollback)
        | ("rolled_back", Purpose::Rollback) => Exit::Done,
        ("blocked", _) if verdict == Some("inconclusive") => Exit::Inconclusive,
        ("verified" | "blocked" | "abandoned" | "rolled_back", _) => Exit::Failed,
        ("refused", _) => Exit::Refused,
        ("stuck", _) => Exit::Stuck,
        _ => Exit::Done,
    }
}

/// How `plan` ends: a plan was made, but it is worth only what its pre-flight says, and whether an update would be let in.
pub(super) fn plan_exit(answer: &Value) -> Exit {
    match text(answer, "/report/verdict") {
        "ready" if answer.pointer("/barred/waits") == Some(&Value::Bool(false)) => Exit::Refused,
        "ready" => Exit::Done,
        "blocked" => Exit::Failed,
        _ => Exit::Inconclusive,
    }
}

/// An update for people. `report` is that of its latest pre-flight, where the update did not pass it.
pub(super) fn update(update: &Value, report: Option<&Value>, url: &str) -> String {
    let at = |pointer| text(update, pointer);
    let mut out = String::new();
    line(&mut out, &format!("Update {} of key store {}", at("/id"), at("/key_store")));
    if let Some(shown) = update.get("plan") {
        plan(&mut out, shown);
    }
    let step = at("/step");
    let status = at("/status").replace('_', " ");
    row(&mut out, "status", &if step.is_empty() { status } else { format!("{status}: {step}") });
    row(&mut out, "KMS exception", at("/exception"));
    row(&mut out, "because", at("/message"));
    row(&mut out, "waits for", at("/waiting_for"));
    if let Some(report) = report {
        decisive(&mut out, report, at("/message"));
    }
    if let Some(rotation) = update.get("rotation").filter(|rotation| rotation.is_object()) {
        rotating(&mut out, rotation);
    }
    if awaits_removal(update) {
        row(&mut out, "what to do", &removal(update));
    } else {
        row(&mut out, "what to do", at("/instruction"));
    }
    report_address(&mut out, at("/report"), url);
    if let Some(seen) = update.get("last_event").and_then(Value::as_u64) {
        row(&mut out, "last event", &seen.to_string());
    }
    if at("/status") == "awaiting_approval" {
        let people = if at("/plan/approval") == "two" { "two people other than" } else { "somebody other than" };
        let author = at("/plan/requested_by");
        let digest = at("/approval_digest");
        let command = format!("xks-preflight update approve {} --digest {digest}", at("/id"));
        row(&mut out, "what to do", &format!("{people} {author} must approve it: {command}"));
    }
    out
}

/// How far a rotation is after its update.
fn rotating(out: &mut String, rotation: &Value) {
    let number = |pointer| rotation.pointer(pointer).and_then(Value::as_u64);
    row(out, "new one", text(rotation, "/new_credential"));
    row(out, "former one", text(rotation, "/former_credential"));
    if let Some((watched, all)) = number("/watched_seconds").zip(number("/propagation_seconds")) {
        row(out, "watched", &format!("{watched} of {all} s"));
    }
    if let Some((proofs, all)) = number("/proofs").zip(number("/proofs_needed")) {
        row(out, "proven refused", &format!("{proofs} of {all} times"));
    }
}

/// What the operator of a rotation must do now, in the words of the command line.
fn removal(update: &Value) -> String {
    let former = text(update, "/plan/expected/XksProxyConfiguration/AccessKeyId");
    let until = text(update, "/rotation/removal_awaited_until");
    format!(
        "remove access key id {former} at every proxy, then: xks-preflight update removed {} --wait (waits until {until})",
        text(update, "/id")
    )
}

/// A plan that was only asked for, with what its pre-flight said.
pub(super) fn dry_run(answer: &Value, url: &str) -> String {
    let mut out = String::new();
    let shown = answer.get("plan").unwrap_or(&Value::Null);
    line(&mut out, &format!("Plan for key store {}; nothing was changed", text(shown, "/expected/CustomKeyStoreId")));
    plan(&mut out, shown);
    if let Some(barred) = answer.get("barred").filter(|barred| barred.is_object()) {
        let then = if barred.get("waits") == Some(&Value::Bool(true)) { "would wait" } else { "would be refused now" };
        row(&mut out, "the gate", &format!("{then}: {}", text(barred, "/detail")));
    }
    if let Some(report) = answer.get("report") {
        row(&mut out, "pre-flight", text(report, "/verdict"));
        row(&mut out, "KMS exception", text(report, "/kms/exception"));
        row(&mut out, "because", text(report, "/kms/message"));
        decisive(&mut out, report, "");
        warnings(&mut out, report);
        report_address(&mut out, text(report, "/id"), url);
    }
    out
}

fn plan(out: &mut String, plan: &Value) {
    let members = plan.get("change").and_then(Value::as_object);
    for (member, to) in members.into_iter().flatten() {
        row(out, "change", &format!("{member}: {} -> {}", former(plan, member), wanted(to)));
    }
    let because = list(plan.get("disconnects_because"));
    let disruption = if because.is_empty() {
        "none: KMS accepts the change in the store's present state".to_owned()
    } else {
        let minutes = match text(plan, "/expected/CustomKeyStoreType") {
            "AWS_CLOUDHSM" => "up to 25 minutes",
            _ => "about ten minutes",
        };
        format!(
            "every KMS key in the store is unavailable for {minutes}; KMS accepts {because} only while DISCONNECTED"
        )
    };
    row(out, "disruption", &disruption);
    row(out, "forecast", &forecast(plan));
    row(out, "break-glass", text(plan, "/break_glass/reason"));
    row(out, "steps", &list(plan.get("steps")));
    row(out, "rollback", &rollback(plan));
    for waiver in plan.get("waivers").and_then(Value::as_array).into_iter().flatten() {
        let [check, owner, reason] = ["/check", "/owner", "/reason"].map(|member| text(waiver, member));
        let until = waiver.get("until").and_then(Value::as_str).unwrap_or("its end");
        row(out, "waived", &format!("{check} by {owner} until {until}: {reason}"));
    }
    row(out, "plan expires", text(plan, "/expires_at"));
    row(out, "plan digest", text(plan, "/digest"));
}

/// For how long, and how many keys.
fn forecast(plan: &Value) -> String {
    let Some(minutes) = plan.pointer("/forecast/minutes").and_then(Value::as_u64) else { return String::new() };
    let found = plan.pointer("/forecast/affected_keys/found").and_then(Value::as_u64);
    let complete = plan.pointer("/forecast/affected_keys/complete").and_then(Value::as_bool) == Some(true);
    let keys = match found {
        Some(found) if complete => format!("{found} KMS keys"),
        Some(found) => format!("{found} KMS keys that are known, and maybe others"),
        None => "an unknown number of KMS keys".to_owned(),
    };
    format!("about {minutes} minutes without {keys}")
}

fn rollback(plan: &Value) -> String {
    if plan.pointer("/rollback/possible").and_then(Value::as_bool) != Some(true) {
        return format!("impossible: {}", text(plan, "/rollback/why"));
    }
    let members = plan.pointer("/rollback/change").and_then(Value::as_object).into_iter().flatten();
    let members: Vec<_> = members.map(|(member, to)| format!("{member} {}", wanted(to))).collect();
    format!("restores {}", members.join(", "))
}

/// The present value of a member, from what DescribeCustomKeyStores told when the plan was made.
fn former<'a>(plan: &'a Value, member: &str) -> &'a str {
    let pointer = match member {
        "NewCustomKeyStoreName" => "/expected/CustomKeyStoreName",
        "XksProxyUriEndpoint" => "/expected/XksProxyConfiguration/UriEndpoint",
        "XksProxyUriPath" => "/expected/XksProxyConfiguration/UriPath",
        "XksProxyConnectivity" => "/expected/XksProxyConfiguration/Connectivity",
        "XksProxyVpcEndpointServiceName" => "/expected/XksProxyConfiguration/VpcEndpointServiceName",
        "XksProxyVpcEndpointServiceOwner" => "/expected/XksProxyConfiguration/VpcEndpointServiceOwner",
        "XksProxyAuthenticationCredential" => "/expected/XksProxyConfiguration/AccessKeyId",
        "CloudHsmClusterId" => "/expected/CloudHsmClusterId",
        _ => "",
    };
    let found = if pointer.is_empty() { "" } else { text(plan, pointer) };
    if found.is_empty() { "(not shown by KMS)" } else { found }
}

/// A member's new value; of a credential its id and where its secret is.
fn wanted(value: &Value) -> String {
    match (value.as_str(), text(value, "/AccessKeyId"), text(value, "/Source")) {
        (Some(plain), _, _) => plain.to_owned(),
        (None, id, "") => id.to_owned(),
        (None, id, source) => format!("{id} (secret: {source})"),
    }
}

/// The finding that decides, unless that is what was `said` already, with its remedy; and why it could not be told, where
/// it could not.
fn decisive(out: &mut String, report: &Value, said: &str) {
    let findings = report.get("findings").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let musts = || findings.iter().filter(|finding| text(finding, "/level") == "must");
    let failed = || musts().filter(|finding| text(finding, "/outcome") == "failed");
    let raises = |finding: &&Value| !text(finding, "/kms/exception").is_empty();
    let unsure = || musts().find(|finding| matches!(text(finding, "/outcome"), "own_fault" | "not_reached"));
    if let Some(finding) = failed().find(raises).or_else(|| failed().next()).or_else(unsure)
        && text(report, "/verdict") != "ready"
    {
        let finding_says = format!("{}: {}", text(finding, "/check"), text(finding, "/detail"));
        row(out, "check", if finding_says == said { "" } else { &finding_says });
        row(out, "remedy", text(finding, "/remedy"));
    }
}

/// What does not block, and whoever goes on should know.
fn warnings(out: &mut String, report: &Value) {
    let findings = report.get("findings").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let shoulds = findings.iter().filter(|finding| text(finding, "/level") == "should");
    for finding in shoulds.filter(|finding| matches!(text(finding, "/outcome"), "failed" | "own_fault")) {
        row(out, "warning", &format!("{}: {}", text(finding, "/check"), text(finding, "/detail")));
    }
}

fn report_address(out: &mut String, report: &str, url: &str) {
    if !report.is_empty() {
        row(out, "report", &format!("{report}, from {url}/v1/preflights/{report}"));
    }
}

/// A row with its label; none for an empty value.
fn row(out: &mut String, label: &str, value: &str) {
    if !value.is_empty() {
        line(out, &format!("  {label:<14}{value}"));
    }
}

fn line(out: &mut String, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{}", clean(text));
}

#[cfg(test)]
mod tests;
