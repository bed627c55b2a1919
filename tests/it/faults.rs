//! Every fault of a proxy gives its verdict, check, problem, KMS exception and exit code: one list drives the test.

use crate::peers::{Peer, Run};

/// A fault that must not pass: how `check` ends, which check says so, which kind of problem it is, and what KMS would
/// raise on UpdateCustomKeyStore (`-` where no AWS source says).
struct Row {
    fault: &'static str,
    exit: i32,
    check: &'static str,
    problem: &'static str,
    exception: &'static str,
}

const fn row(
    fault: &'static str,
    exit: i32,
    check: &'static str,
    problem: &'static str,
    exception: &'static str,
) -> Row {
    Row { fault, exit, check, problem, exception }
}

const UNREACHABLE: &str = "XksProxyUriUnreachableException";
const INVALID_RESPONSE: &str = "XksProxyInvalidResponseException";
const INVALID_CONFIGURATION: &str = "XksProxyInvalidConfigurationException";
const INCORRECT_CREDENTIAL: &str = "XksProxyIncorrectAuthenticationCredentialException";
const NO_SOURCE_SAYS: &str = "-";

const FAULTS: &[Row] = &[
    row("listener-closed", 1, "tcp.connects", "refused", UNREACHABLE),
    row("close-on-accept", 1, "tls.handshake", "closed", UNREACHABLE),
    row("reset-on-accept", 1, "tls.handshake", "reset", UNREACHABLE),
    row("tls-stall", 1, "tls.handshake", "timed_out", UNREACHABLE),
    row("plain-http", 1, "tls.handshake", "not_tls", UNREACHABLE),
    row("not-tls", 1, "tls.handshake", "not_tls", UNREACHABLE),
    row("tls-alert", 1, "tls.handshake", "alert", UNREACHABLE),
    row("tls11-only", 1, "tls.handshake", "protocol_version", UNREACHABLE),
    row("tls-close-mid-handshake", 1, "tls.handshake", "closed", UNREACHABLE),
    row("cipher-suites-unsupported", 1, "tls.handshake", "no_cipher_suite", UNREACHABLE),
    row("alpn-http2-only", 1, "tls.handshake", "alert", UNREACHABLE),
    row("client-certificate-required", 3, "tls.client_certificate", "client_certificate", NO_SOURCE_SAYS),
    row("certificate-expired", 1, "tls.validity", "expired", UNREACHABLE),
    row("certificate-not-yet-valid", 1, "tls.validity", "not_yet_valid", UNREACHABLE),
    row("certificate-wrong-name", 1, "tls.name_matches", "name_mismatch", UNREACHABLE),
    row("certificate-self-signed", 1, "tls.chain_trusted", "self_signed", UNREACHABLE),
    row("certificate-unknown-root", 1, "tls.chain_trusted", "unknown_issuer", UNREACHABLE),
    row("certificate-missing-intermediate", 1, "tls.chain_complete", "missing_intermediate", UNREACHABLE),
    row("certificate-expired-intermediate", 1, "tls.validity", "expired", UNREACHABLE),
    row("certificate-chain-reversed", 1, "tls.chain_trusted", "bad_certificate", UNREACHABLE),
    row("certificate-sha1-signature", 1, "tls.chain_trusted", "weak_signature", UNREACHABLE),
    row("certificate-expired:after=1", 1, "tls.validity", "expired", UNREACHABLE),
    row("certificate-wrong-name:after=1", 1, "tls.name_matches", "name_mismatch", UNREACHABLE),
    row("client-certificate-required:after=1", 3, "tls.client_certificate", "client_certificate", NO_SOURCE_SAYS),
    row("close-on-accept:after=1", 1, "tls.handshake", "closed", UNREACHABLE),
    row("internal-exception:after=1", 1, "http.status", "proxy_error", INVALID_RESPONSE),
    row("health-without-proxy-vendor:after=1", 1, "health.schema", "schema", INVALID_RESPONSE),
    row("clock-ahead", 1, "sigv4.accepted", "authentication_failed", INCORRECT_CREDENTIAL),
    row("clock-behind", 1, "sigv4.accepted", "authentication_failed", INCORRECT_CREDENTIAL),
    row("wrong-region", 1, "sigv4.accepted", "authentication_failed", INCORRECT_CREDENTIAL),
    row("host-rewritten", 1, "sigv4.accepted", "authentication_failed", INCORRECT_CREDENTIAL),
    row("stall-after-request", 1, "http.answers", "timed_out", UNREACHABLE),
    row("slow-answer", 1, "http.answers", "timed_out", UNREACHABLE),
    row("drip-answer", 1, "http.answers", "timed_out", UNREACHABLE),
    row("close-without-answer", 1, "http.answers", "closed", UNREACHABLE),
    row("reset-without-answer", 1, "http.answers", "reset", UNREACHABLE),
    row("status-line-garbage", 1, "http.answers", "not_http", INVALID_RESPONSE),
    row("http09-answer", 1, "http.answers", "not_http", INVALID_RESPONSE),
    row("truncated-body", 1, "http.answers", "closed", UNREACHABLE),
    row("chunked-garbage", 1, "http.answers", "not_http", INVALID_RESPONSE),
    row("huge-headers", 1, "http.body_size", "too_large", INVALID_RESPONSE),
    row("informational-flood", 1, "http.answers", "not_http", INVALID_RESPONSE),
    row("huge-body", 1, "http.body_size", "too_large", INVALID_RESPONSE),
    row("endless-body", 1, "http.body_size", "too_large", INVALID_RESPONSE),
    row("empty-body", 1, "health.schema", "not_json", INVALID_RESPONSE),
    row("html-200", 1, "health.schema", "not_json", INVALID_RESPONSE),
    row("html-403", 1, "http.status", "status", INVALID_RESPONSE),
    row("html-404", 1, "http.status", "status", INVALID_RESPONSE),
    row("html-502", 1, "http.status", "status", INVALID_RESPONSE),
    row("redirect-301", 1, "http.no_redirect", "redirected", INVALID_RESPONSE),
    row("redirect-302", 1, "http.no_redirect", "redirected", INVALID_RESPONSE),
    row("redirect-307", 1, "http.no_redirect", "redirected", INVALID_RESPONSE),
    row("status-500-good-body", 1, "http.status", "status", INVALID_RESPONSE),
    row("body-not-utf8", 1, "health.schema", "schema", INVALID_RESPONSE),
    row("json-nested-deep", 1, "health.schema", "schema", INVALID_RESPONSE),
    row("json-trailing-garbage", 1, "health.schema", "not_json", INVALID_RESPONSE),
    row("json-truncated", 1, "health.schema", "not_json", INVALID_RESPONSE),
    row("json-not-object", 1, "health.schema", "schema", INVALID_RESPONSE),
    row("validation-exception", 1, "http.status", "proxy_error", INVALID_RESPONSE),
    row("invalid-state-exception", 1, "http.status", "proxy_error", NO_SOURCE_SAYS),
    row("invalid-ciphertext-exception", 1, "http.status", "proxy_error", INVALID_RESPONSE),
    row("invalid-key-usage-exception", 1, "http.status", "proxy_error", INVALID_RESPONSE),
    row("authentication-failed-exception", 1, "sigv4.accepted", "authentication_failed", INCORRECT_CREDENTIAL),
    row("access-denied-exception", 1, "http.status", "proxy_error", NO_SOURCE_SAYS),
    row("key-not-found-exception", 1, "http.status", "proxy_error", INVALID_RESPONSE),
    row("invalid-uri-path-exception", 1, "http.status", "proxy_error", INVALID_CONFIGURATION),
    row("throttling-exception", 1, "http.status", "proxy_error", UNREACHABLE),
    row("throttling-every-second", 1, "http.status", "proxy_error", UNREACHABLE),
    row("internal-exception", 1, "http.status", "proxy_error", INVALID_RESPONSE),
    row("unsupported-operation-exception", 1, "http.status", "proxy_error", NO_SOURCE_SAYS),
    row("dependency-timeout-exception", 1, "http.status", "proxy_error", UNREACHABLE),
    row("error-with-status-200", 1, "http.status", "proxy_error", INVALID_RESPONSE),
    row("error-name-unknown", 1, "http.status", "proxy_error", INVALID_RESPONSE),
    row("error-name-missing", 1, "http.status", "status", INVALID_RESPONSE),
    row("error-message-overlong", 1, "http.status", "proxy_error", INVALID_RESPONSE),
    row("error-message-not-ascii", 1, "http.status", "proxy_error", INVALID_RESPONSE),
    row("health-without-fleet-size", 1, "health.schema", "schema", INVALID_RESPONSE),
    row("health-without-proxy-vendor", 1, "health.schema", "schema", INVALID_RESPONSE),
    row("health-without-proxy-model", 1, "health.schema", "schema", INVALID_RESPONSE),
    row("health-without-ekm-vendor", 1, "health.schema", "schema", INVALID_RESPONSE),
    row("health-without-ekm-fleet", 1, "health.schema", "schema", INVALID_RESPONSE),
    row("health-ekm-without-id", 1, "health.schema", "schema", INVALID_RESPONSE),
    row("health-ekm-without-model", 1, "health.schema", "schema", INVALID_RESPONSE),
    row("health-ekm-without-status", 1, "health.schema", "schema", INVALID_RESPONSE),
    row("health-vendor-null", 1, "health.schema", "schema", INVALID_RESPONSE),
    row("health-vendor-number", 1, "health.schema", "schema", INVALID_RESPONSE),
    row("health-fleet-size-string", 1, "health.schema", "schema", INVALID_RESPONSE),
    row("health-fleet-size-zero", 1, "health.fleet_size", "fleet_size", INVALID_RESPONSE),
    row("health-fleet-size-negative", 1, "health.fleet_size", "fleet_size", INVALID_RESPONSE),
    row("health-fleet-size-fractional", 1, "health.schema", "schema", INVALID_RESPONSE),
    row("health-fleet-size-huge", 1, "health.schema", "schema", INVALID_RESPONSE),
    row("health-ekm-fleet-object", 1, "health.schema", "schema", INVALID_RESPONSE),
    row("health-ekm-fleet-empty", 1, "health.schema", "schema", INVALID_RESPONSE),
    row("health-ekm-fleet-eleven", 1, "health.schema", "schema", INVALID_RESPONSE),
    row("health-ekm-not-object", 1, "health.schema", "schema", INVALID_RESPONSE),
    row("health-status-unknown", 1, "health.schema", "schema", INVALID_RESPONSE),
    row("health-duplicate-member", 1, "health.schema", "schema", INVALID_RESPONSE),
    row("ekm-all-unavailable", 1, "health.ekm_available", "all_unavailable", UNREACHABLE),
];

/// Faults that KMS accepts and that are worth a word: the check that warns and the kind of problem.
const WARNINGS: &[(&str, &str, &str)] = &[
    ("client-certificate-requested", "tls.client_certificate", "client_certificate"),
    ("certificate-expiring-soon", "tls.expiry_margin", "expires_soon"),
    ("content-type-wrong", "http.content_type", "content_type"),
    ("ekm-one-unavailable", "health.ekm_degraded", "degraded"),
    ("ekm-one-degraded", "health.ekm_degraded", "degraded"),
];

/// Oddities that the specification permits: no finding at all.
const PERMITTED: &[&str] = &[
    "tls12-only",
    "certificate-common-name-only",
    "certificate-chain-unordered",
    "certificate-surplus",
    "connection-close-after-each",
];

fn failed<'a>(json: &'a serde_json::Value, check: &str) -> Option<&'a serde_json::Value> {
    json["findings"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|finding| finding["check"] == check && finding["outcome"] == "failed")
}

fn is_as_expected(row: &Row, run: &Run) -> bool {
    let json = run.json();
    let verdict = if row.exit == 3 { "inconclusive" } else { "blocked" };
    run.code == row.exit
        && json["verdict"] == verdict
        && json["kms"]["exception"].as_str().unwrap_or(NO_SOURCE_SAYS) == row.exception
        && failed(&json, row.check).is_some_and(|finding| finding["problem"] == row.problem)
}

async fn with_fault(peer: &Peer, fault: &str) -> Run {
    peer.proxy.set_faults([fault.parse().unwrap_or_else(|error| panic!("{fault}: {error}"))]).await;
    peer.check(&["--output", "json", "--samples", "2"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_fault_passes_and_each_is_named_in_kms_words() {
    assert!(FAULTS.len() >= 45, "{}", FAULTS.len());
    let peer = Peer::start("faults").await;
    let mut wrong = Vec::new();
    for row in FAULTS {
        let mut run = with_fault(&peer, row.fault).await;
        // KMS's 250 ms are real here: a machine busy with other things can use them up before the fault shows.
        for _ in 0..3 {
            if is_as_expected(row, &run) {
                break;
            }
            run = with_fault(&peer, row.fault).await;
        }
        let json = run.json();
        let finding = failed(&json, row.check);
        if !is_as_expected(row, &run) {
            wrong.push(format!(
                "{}: exit {}, {}, {}, {:?}",
                row.fault,
                run.code,
                json["verdict"],
                json["kms"]["exception"],
                finding.map(|finding| &finding["problem"])
            ));
        }
        let remedy = finding.map_or(0, |finding| finding["remedy"].as_str().map_or(0, str::len));
        if remedy == 0 {
            wrong.push(format!("{}: no remedy", row.fault));
        }
    }
    assert!(wrong.is_empty(), "{} of {} faults:\n{}", wrong.len(), FAULTS.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kms_accepts_is_ready_with_a_warning_or_without() {
    let peer = Peer::start("warnings").await;
    for (fault, check, problem) in WARNINGS {
        let run = with_fault(&peer, fault).await;
        let json = run.json();
        assert_eq!((run.code, &json["verdict"]), (0, &"ready".into()), "{fault}: {}", run.stdout);
        assert_eq!(failed(&json, check).map(|finding| &finding["problem"]), Some(&(*problem).into()), "{fault}");
    }
    for fault in PERMITTED {
        let run = with_fault(&peer, fault).await;
        let json = run.json();
        let findings = json["findings"].as_array().unwrap();
        let failures: Vec<_> = findings.iter().filter(|finding| finding["outcome"] == "failed").collect();
        assert!(run.code == 0 && failures.is_empty(), "{fault}: {failures:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_to_a_server_that_failed_authentication() {
    let peer = Peer::start("unauthenticated").await;
    for fault in
        ["certificate-expired", "certificate-wrong-name", "certificate-unknown-root", "certificate-self-signed"]
    {
        let run = with_fault(&peer, fault).await;
        assert_eq!(run.code, 1, "{fault}");
    }
    assert!(peer.proxy.history().is_empty(), "{:?}", peer.proxy.history());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_health_answer_is_seen_through_with_a_test_key() {
    let peer = Peer::start("deep").await;
    for fault in ["cdiv-wrong", "ciphertext-too-long", "key-not-found-exception:operation=encrypt"] {
        peer.proxy.set_faults([fault.parse().unwrap()]).await;
        let json = peer.check(&["--output", "json", "--test-key-id", "foo"]).await.json();
        let finding = failed(&json, "health.deep").unwrap_or_else(|| panic!("{fault}: {json:#}"));
        assert_eq!(finding["problem"], "shallow_health", "{fault}");
    }
    peer.proxy.set_fault(None).await;
    let json = peer.check(&["--output", "json", "--test-key-id", "foo"]).await.json();
    assert!(failed(&json, "health.deep").is_none());
}
