use serde_json::json;

use super::*;

fn sample() -> Value {
    json!({
        "id": "update-1", "key_store": "cks-1", "status": "blocked", "step": null,
        "message": "tls.chain_trusted: the issuer\u{1b}[2J is unknown", "instruction": null,
        "exception": "XksProxyInvalidConfigurationException", "report": "report-1",
        "plan": {
            "digest": "d1g357",
            "change": {
                "XksProxyUriEndpoint": "https://b.example.com",
                "XksProxyAuthenticationCredential": { "AccessKeyId": "NEWID", "Source": "blue", "Fingerprint": "f" },
            },
            "expected": {
                "CustomKeyStoreId": "cks-1",
                "XksProxyConfiguration": { "UriEndpoint": "https://a.example.com", "AccessKeyId": "OLDID" },
            },
            "steps": ["disconnect", "update", "connect"],
            "disconnects_because": ["XksProxyUriEndpoint"],
            "rollback": { "possible": true, "change": { "XksProxyUriEndpoint": "https://a.example.com" } },
            "expires_at": "2026-11-23T10:00:00.000Z",
        },
    })
}

fn report(verdict: &str) -> Value {
    json!({ "id": "report-1", "verdict": verdict, "kms": { "message": "KMS would say no" }, "findings": [
        { "check": "http.reachable", "level": "should", "outcome": "failed", "detail": "other", "remedy": "other" },
        { "check": "tls.first", "level": "must", "outcome": "failed", "detail": "no exception", "kms": null },
        { "check": "tls.chain_trusted", "level": "must", "outcome": "failed", "detail": "unknown issuer",
          "remedy": "Use a public authority.", "kms": { "exception": "X" } },
    ] })
}

#[test]
fn a_blocked_update_says_what_kms_would_and_what_to_do() {
    let text = update(&sample(), Some(&report("blocked")), "http://127.0.0.1:8480");
    let expected = "\
Update update-1 of key store cks-1
  change        XksProxyAuthenticationCredential: OLDID -> NEWID (secret: blue)
  change        XksProxyUriEndpoint: https://a.example.com -> https://b.example.com
  disruption    every KMS key in the store is unavailable for about ten minutes; KMS accepts XksProxyUriEndpoint only while DISCONNECTED
  steps         disconnect, update, connect
  rollback      restores XksProxyUriEndpoint https://a.example.com
  plan expires  2026-11-23T10:00:00.000Z
  plan digest   d1g357
  status        blocked
  KMS exception XksProxyInvalidConfigurationException
  because       tls.chain_trusted: the issuer [2J is unknown
  check         tls.chain_trusted: unknown issuer
  remedy        Use a public authority.
  report        report-1, from http://127.0.0.1:8480/v1/preflights/report-1
";
    assert_eq!(text, expected);
}

#[test]
fn a_plan_says_that_nothing_was_changed() {
    let mut plan = sample()["plan"].clone();
    plan["disconnects_because"] = json!([]);
    plan["rollback"] = json!({ "possible": false, "why": "its secret is not held" });
    let text = dry_run(&json!({ "plan": plan, "report": report("ready") }), "https://gate");
    for line in [
        "Plan for key store cks-1; nothing was changed",
        "  disruption    none: KMS accepts the change in the store's present state",
        "  rollback      impossible: its secret is not held",
        "  pre-flight    ready",
        "  report        report-1, from https://gate/v1/preflights/report-1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
    }
    assert!(!text.contains("remedy"), "{text}");
}

#[test]
fn a_stuck_update_says_what_to_do() {
    let mut stuck = sample();
    stuck["status"] = json!("stuck");
    stuck["instruction"] = json!("look at the key store");
    assert!(update(&stuck, None, "").contains("  what to do    look at the key store\n"));
}

#[test]
fn a_rotation_says_what_was_seen_and_which_command_follows() {
    let mut rotation = sample();
    rotation["status"] = json!("running");
    rotation["step"] = json!("await_removal");
    rotation["instruction"] = json!("remove it, then POST somewhere");
    rotation["rotation"] = json!({ "new_credential": "accepted", "former_credential": "accepted",
        "propagation_seconds": 360, "removal_awaited_until": "2026-12-01T00:00:00Z", "proofs_needed": 3 });
    let text = update(&rotation, None, "");
    for line in [
        "  status        running: await_removal",
        "  new one       accepted",
        "  former one    accepted",
        "  what to do    remove access key id OLDID at every proxy, then: xks-preflight update removed update-1 --wait \
         (waits until 2026-12-01T00:00:00Z)",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
    }
    assert!(!text.contains("POST"), "{text}");
    rotation["step"] = json!("propagate");
    rotation["rotation"]["watched_seconds"] = json!(30);
    let text = update(&rotation, None, "");
    assert!(text.contains("  watched       30 of 360 s\n  what to do    remove it, then POST somewhere\n"), "{text}");
}

#[test]
fn every_ending_has_its_exit_code() {
    for (status, verdict, purpose, expected) in [
        ("verified", None, Purpose::Change, 0),
        ("running", None, Purpose::Change, 0),
        ("awaiting_approval", None, Purpose::Change, 0),
        ("blocked", Some("blocked"), Purpose::Change, 1),
        ("blocked", Some("ready"), Purpose::Change, 1),
        ("blocked", Some("inconclusive"), Purpose::Change, 3),
        ("abandoned", None, Purpose::Change, 1),
        ("rolled_back", None, Purpose::Change, 1),
        ("refused", None, Purpose::Change, 4),
        ("stuck", None, Purpose::Change, 5),
        ("abandoned", None, Purpose::Cancel, 0),
        ("verified", None, Purpose::Cancel, 1),
        ("rolled_back", None, Purpose::Rollback, 0),
        ("abandoned", None, Purpose::Rollback, 0),
        ("verified", None, Purpose::Rollback, 1),
        ("stuck", None, Purpose::Rollback, 5),
    ] {
        assert_eq!(exit(status, verdict, purpose).code(), expected, "{status} {verdict:?} {purpose:?}");
    }
    for (verdict, expected) in [("ready", 0), ("blocked", 1), ("inconclusive", 3), ("", 3)] {
        assert_eq!(plan_exit(&json!({ "report": { "verdict": verdict } })).code(), expected, "{verdict}");
    }
}

fn any_json() -> impl proptest::strategy::Strategy<Value = Value> {
    use proptest::prelude::*;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "(\\PC|[\\x00-\\x1f\\x7f\\x{9b}\\x{202e}]){0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-z_]{0,8}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest::proptest! {
    #[test]
    fn no_answer_breaks_the_text_or_reaches_the_terminal(place in 0..24_usize, with in any_json()) {
        let spoil = |document: Value| {
            let mut document = document;
            let mut all = Vec::new();
            places(&document, "", &mut all);
            let place = &all[place % all.len()];
            *document.pointer_mut(place).unwrap() = with.clone();
            document
        };
        let (update_answer, report_answer) = (spoil(sample()), spoil(report("blocked")));
        let barred = spoil(json!({ "reason": "not_green", "detail": "needs 24 h of green", "waits": false }));
        let dry = json!({ "plan": update_answer["plan"], "report": report_answer, "barred": barred });
        for text in [update(&update_answer, Some(&report_answer), "http://127.0.0.1:8480"), dry_run(&dry, "http://127.0.0.1:8480")] {
            proptest::prop_assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{:?}", text);
        }
    }
}

/// Every place in a document, as a pointer.
fn places(value: &Value, base: &str, found: &mut Vec<String>) {
    found.push(base.to_owned());
    match value {
        Value::Object(map) => map.iter().for_each(|(name, value)| places(value, &format!("{base}/{name}"), found)),
        Value::Array(all) => {
            all.iter().enumerate().for_each(|(at, value)| places(value, &format!("{base}/{at}"), found));
        }
        _ => {}
    }
}
