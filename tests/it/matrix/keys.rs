//! What is wrong with external keys, of which KMS notices nothing before it needs them.

use super::Stage;
use super::row::*;

/// The answer to an operation on a key does wrong; KMS never looks before it needs the key.
const fn key(fault: &'static str, check: &'static str, problem: &'static str) -> Row {
    proxy(fault, blocked(check, problem, UNSAID)).with(&["--test-key-id", "foo"])
}

pub(super) const ROWS: &[Row] = &[
    values("a test key that works", &["--test-key-id", "foo"], Expected::Permitted),
    key("key-spec-rsa", "key.metadata", "unusable_key"),
    key("key-disabled", "key.metadata", "unusable_key"),
    key("key-usage-without-encrypt", "key.metadata", "unusable_key"),
    key("key-usage-without-decrypt", "key.metadata", "unusable_key"),
    key("key-spec-missing", "key.metadata", "schema"),
    key("key-status-unknown", "key.metadata", "schema"),
    key("key-usage-eleven", "key.metadata", "schema"),
    key("key-not-found-exception:operation=metadata", "key.metadata", "not_found"),
    key("throttling-exception:operation=metadata", "key.metadata", "throttled"),
    key("stall-after-request:operation=metadata", "key.metadata", "timed_out"),
    key("cdiv-wrong:operation=encrypt", "key.round_trip", "integrity_value"),
    key("cdiv-missing", "key.round_trip", "schema"),
    key("ciphertext-too-long", "key.round_trip", "schema"),
    key("ciphertext-not-base64", "key.round_trip", "schema"),
    key("initialization-vector-short", "key.round_trip", "schema"),
    key("authentication-tag-short", "key.round_trip", "schema"),
    key("ciphertext-metadata-overlong", "key.round_trip", "schema"),
    key("ciphertext-corrupted", "key.round_trip", "broken_round_trip"),
    key("plaintext-wrong", "key.round_trip", "broken_round_trip"),
    key("additional-data-ignored", "key.round_trip", "unauthenticated"),
    key("key-not-found-exception:operation=encrypt", "key.round_trip", "not_found"),
    key("invalid-state-exception:operation=encrypt", "key.round_trip", "unusable_key"),
    key("internal-exception:operation=encrypt", "health.deep", "shallow_health"),
    key("invalid-key-usage-exception:operation=decrypt", "key.round_trip", "unusable_key"),
    key("throttling-exception:operation=decrypt", "key.round_trip", "proxy_error"),
    values(
        "a key of the store that the candidate does not have",
        &["--key-id", "foo", "--key-id", "nowhere"],
        blocked("key.metadata", "not_found", UNSAID),
    ),
    run_by(|row| Box::pin(beside(row, None, None)), "the same keys behind both proxies", Expected::Permitted),
    run_by(
        |row| Box::pin(beside(row, None, Some("key-material-swapped"))),
        "other key material under the same key ids",
        blocked("key.continuity", "different_keys", UNSAID),
    ),
    run_by(
        |row| Box::pin(beside(row, Some("key-material-swapped:operation=decrypt"), None)),
        "the current proxy cannot decrypt what the candidate encrypts",
        warned("key.continuity_back", "different_keys"),
    ),
    run_by(
        |row| Box::pin(beside(row, Some("listener-closed"), None)),
        "the current proxy is gone, and no canary was kept",
        inconclusive("key.continuity", "no_proof", UNSAID),
    ),
    run_by(
        |row| Box::pin(beside(row, Some("tls-stall"), None)),
        "the current proxy does not answer, and no canary was kept",
        inconclusive("key.continuity", "no_proof", UNSAID),
    ),
    run_by(
        |row| Box::pin(beside(row, Some("internal-exception:operation=encrypt"), None)),
        "the current proxy cannot encrypt, and no canary was kept",
        inconclusive("key.continuity", "no_proof", UNSAID),
    ),
];

const BASELINE: [&str; 10] = [
    "--baseline-proxy-config",
    "{directory}/proxy.secret.json",
    "--baseline-endpoint",
    "https://xks.example.com",
    "--baseline-connect-to",
    "{1}",
    "--connect-to",
    "{0}",
    "--test-key-id",
    "foo",
];

/// A candidate and the current proxy, with what each of them does wrong.
async fn beside(row: &'static Row, current: Option<&str>, candidate: Option<&str>) -> Seen {
    let mut stage = Stage::new();
    for fault in [candidate, current] {
        let faults = fault.map(|text| text.parse().unwrap());
        stage.add_proxy(|_| {}).await.set_faults(faults).await;
    }
    stage.check(&[&BASELINE, row.arguments].concat()).await
}
