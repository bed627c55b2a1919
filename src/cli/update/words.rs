//! What the daemon's answers say, in plain words. Whatever comes from the daemon is shown without control characters:
//! a proxy's or KMS's text in it must not reach the terminal as commands.

use serde_json::Value;

/// The text at `pointer`, empty if there is none.
pub(in crate::cli) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Without control characters.
pub(in crate::cli) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Whether an update of this status goes no further. A status that this version does not know has not ended.
pub(super) fn ended(status: &str) -> bool {
    ["verified", "blocked", "refused", "rolled_back", "abandoned", "stuck"].contains(&status)
}

/// Whether an update goes on only when a person has removed a credential at the proxy.
pub(super) fn awaits_removal(shown: &Value) -> bool {
    text(shown, "/status") == "running" && text(shown, "/step") == "await_removal"
}

/// Whether an update may wait for a person after this event.
pub(super) fn may_await_removal(event: &Value) -> bool {
    match text(event, "/event") {
        "removal_awaited" => true,
        "watched" => text(event, "/round") == "removal",
        _ => false,
    }
}

/// One line for one event of an update: when, and what happened.
pub(super) fn progress(event: &Value) -> String {
    clean(&format!("{}  {}", text(event, "/at"), happened(event)))
}

fn happened(event: &Value) -> String {
    let at = |pointer| text(event, pointer);
    match at("/event") {
        "planned" => {
            let steps = list(event.pointer("/plan/body/steps"));
            format!("planned: {steps} (plan digest {})", at("/plan/digest"))
        }
        "preflight_started" => format!("{} pre-flight begins", round(at("/round"))),
        "preflight_finished" => {
            let verdict = at("/summary/verdict");
            let message = at("/summary/message");
            let why = if message == verdict { String::new() } else { format!(", {message}") };
            format!("{} pre-flight: {verdict}{why} (report {})", round(at("/round")), at("/summary/report"))
        }
        "approval_requested" => "waiting for approval: somebody must agree to exactly this plan".to_owned(),
        "approval_given" => format!("approved by {}", at("/by")),
        "broke_glass" => {
            let passed_by = list(event.pointer("/passed_by"));
            let passed_by = if passed_by.is_empty() { "nothing".to_owned() } else { passed_by };
            format!("{} BROKE THE GLASS ({}), which passes by: {passed_by}", at("/by"), at("/reason"))
        }
        "cancel_requested" => format!("{} asked to cancel", at("/by")),
        "rollback_requested" => format!("{} asked to roll back", at("/by")),
        "step_intended" => {
            let attempt = event.get("attempt").and_then(Value::as_u64).filter(|attempt| *attempt > 1);
            let again = attempt.map_or_else(String::new, |attempt| format!(", attempt {attempt}"));
            format!("{} intended{again}", step(event))
        }
        "step_settled" => format!("{} {}", step(event), settled(event.get("outcome").unwrap_or(&Value::Null))),
        "observed" => observed(event),
        "watched" => {
            let seen = [("new", at("/summary/credentials/new")), ("former", at("/summary/credentials/former"))];
            let seen: Vec<_> = seen.iter().filter(|(_, seen)| !seen.is_empty()).collect();
            let seen = match seen.as_slice() {
                [] => "nothing could be told of the credentials".to_owned(),
                seen => {
                    seen.iter().map(|(which, seen)| format!("{which} credential {seen}")).collect::<Vec<_>>().join(", ")
                }
            };
            let waited = event.get("waited_ms").and_then(Value::as_u64).unwrap_or(0) / 1_000;
            let verdict = at("/summary/verdict");
            let trouble =
                if verdict == "ready" { String::new() } else { format!("; {verdict}: {}", at("/summary/message")) };
            format!("watched for {waited} s: {seen}{trouble}")
        }
        "removal_awaited" => {
            format!("REMOVE the former credential at every proxy now; waiting for that until {}", at("/until"))
        }
        "removal_reported" => format!("{} says that the former credential is removed: trying it", at("/by")),
        "rollback_decided" => format!("rolling back: {}", at("/why")),
        "concluded" => concluded(event.get("ending").unwrap_or(&Value::Null)),
        other => other.replace('_', " "),
    }
}

fn round(round: &str) -> &str {
    if round == "verification" { "verifying" } else { round }
}

/// The step with a capital, as KMS's operations are written, and the way it goes.
fn step(event: &Value) -> String {
    let name = text(event, "/step");
    let mut letters = name.chars();
    let name: String = letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect();
    if text(event, "/direction") == "back" { format!("rollback: {name}") } else { name }
}

fn settled(outcome: &Value) -> String {
    let request = |pointer| match text(outcome, pointer) {
        "" => String::new(),
        id => format!(" (KMS request {id})"),
    };
    if outcome.get("done").is_some() {
        let found = text(outcome, "/done/how") == "found_already_so";
        let how = if found { "found already so" } else { "done" };
        format!("{how}{}", request("/done/request_id"))
    } else if outcome.get("refused").is_some() {
        format!("refused by KMS: {}{}", text(outcome, "/refused/message"), request("/refused/request_id"))
    } else if outcome.get("not_done").is_some() {
        format!("not done: {}", text(outcome, "/not_done/why"))
    } else if outcome.get("not_seen").is_some() {
        format!("no effect is seen: {}", text(outcome, "/not_seen/why"))
    } else {
        format!("cannot be observed, and is sent again: {}", text(outcome, "/unobservable/why"))
    }
}

fn observed(event: &Value) -> String {
    let state = event.get("state").unwrap_or(&Value::Null);
    let state = match (state.as_str(), state.as_object().and_then(|state| state.iter().next())) {
        (Some(plain), _) => plain.to_owned(),
        (None, Some((name, code))) => format!("{name} ({})", code.as_str().unwrap_or_default()),
        (None, None) => "in an unknown state".to_owned(),
    };
    let standing = match text(event, "/standing") {
        "former" => ", with the former settings",
        "new" => ", with the new settings",
        "foreign" => ", with settings that somebody else made",
        _ => "",
    };
    if state.ends_with("ING") {
        format!("waiting: {state}{standing}")
    } else {
        format!("the key store is {state}{standing}")
    }
}

fn concluded(ending: &Value) -> String {
    let name = text(ending, "/ending").replace('_', " ");
    let why = ["/why", "/message"].into_iter().map(|pointer| text(ending, pointer)).find(|why| !why.is_empty());
    match (why, text(ending, "/by")) {
        (Some(why), _) => format!("concluded: {name}: {why}"),
        (None, "") => format!("concluded: {name}"),
        (None, by) => format!("concluded: {name} by {by}"),
    }
}

/// A list of texts, joined.
pub(super) fn list(value: Option<&Value>) -> String {
    let texts = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::Timestamp;
    use crate::key_store::{ConnectionErrorCode, ConnectionState};
    use crate::update::{Direction, Ending, Event, How, Recorded, Round, Standing, Step, StepOutcome};

    /// The line for an event as the daemon records it.
    fn line(event: Event) -> String {
        let recorded = Recorded { sequence: 1, at: Timestamp::from_unix(0), event };
        let line = progress(&serde_json::to_value(&recorded).unwrap());
        line.strip_prefix("1970-01-01T00:00:00.000Z  ").unwrap().to_owned()
    }

    #[test]
    fn events_are_told_in_plain_words() {
        let (direction, step) = (Direction::Forward, Step::Disconnect);
        let done = |how, id: Option<&str>| StepOutcome::Done { request_id: id.map(str::to_owned), how };
        let refused =
            StepOutcome::Refused { exception: None, message: "NotNow: no".into(), request_id: Some("r-2".into()) };
        let failed = ConnectionState::Failed(ConnectionErrorCode::XksProxyTimedOut);
        for (event, expected) in [
            (Event::PreflightStarted { round: Round::Verification }, "verifying pre-flight begins"),
            (Event::StepIntended { direction, step, attempt: 1 }, "Disconnect intended"),
            (Event::StepIntended { direction, step, attempt: 2 }, "Disconnect intended, attempt 2"),
            (
                Event::StepSettled { direction, step, outcome: done(How::Performed, Some("r-1")) },
                "Disconnect done (KMS request r-1)",
            ),
            (
                Event::StepSettled {
                    direction: Direction::Back,
                    step: Step::Update,
                    outcome: done(How::FoundAlreadySo, None),
                },
                "rollback: Update found already so",
            ),
            (
                Event::StepSettled { direction, step, outcome: refused },
                "Disconnect refused by KMS: NotNow: no (KMS request r-2)",
            ),
            (
                Event::StepSettled { direction, step, outcome: StepOutcome::NotDone { why: "throttled".into() } },
                "Disconnect not done: throttled",
            ),
            (
                Event::StepSettled { direction, step, outcome: StepOutcome::Unobservable { why: "a secret".into() } },
                "Disconnect cannot be observed, and is sent again: a secret",
            ),
            (
                Event::Observed { state: ConnectionState::Disconnecting, standing: Standing::Former },
                "waiting: DISCONNECTING, with the former settings",
            ),
            (
                Event::Observed { state: failed, standing: Standing::New },
                "the key store is FAILED (XKS_PROXY_TIMED_OUT), with the new settings",
            ),
            (Event::RollbackDecided { why: "connect failed".into() }, "rolling back: connect failed"),
            (Event::Concluded { ending: Ending::Verified }, "concluded: verified"),
            (
                Event::Concluded { ending: Ending::RolledBack { why: "it failed".into() } },
                "concluded: rolled back: it failed",
            ),
            (Event::Concluded { ending: Ending::Abandoned { by: "ann".into() } }, "concluded: abandoned by ann"),
        ] {
            assert_eq!(line(event), expected);
        }
    }

    #[test]
    fn a_preflight_is_told_with_its_report() {
        let event = json!({
            "at": "now", "event": "preflight_finished", "round": "first",
            "summary": { "report": "report-1", "verdict": "blocked", "message": "tls.chain_trusted: nobody\u{1b}[31m" },
        });
        assert_eq!(
            progress(&event),
            "now  first pre-flight: blocked, tls.chain_trusted: nobody [31m (report report-1)"
        );
    }

    #[test]
    fn an_event_of_a_newer_daemon_is_named() {
        assert_eq!(progress(&json!({ "at": "now", "event": "moon_rose" })), "now  moon rose");
    }
}
