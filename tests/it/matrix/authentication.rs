//! Routing and signature.

use super::Stage;
use super::row::Expected::Permitted;
use super::row::*;
use crate::peers::{PATH, SECRET, write_console_file};

const REFUSALS: &[&str] = &["--refusals"];

/// The settings now in KMS, in the file that the rows below write.
const FORMER: [&str; 6] = [
    "--baseline-proxy-config",
    "{directory}/former.secret.json",
    "--baseline-endpoint",
    "https://xks.example.com",
    "--baseline-connect-to",
    "{0}",
];

pub(super) const ROWS: &[Row] = &[
    proxy("clock-ahead", blocked("sigv4.accepted", "authentication_failed", INCORRECT_CREDENTIAL)),
    proxy("clock-behind", blocked("sigv4.accepted", "authentication_failed", INCORRECT_CREDENTIAL)),
    proxy("wrong-region", blocked("sigv4.accepted", "authentication_failed", INCORRECT_CREDENTIAL)),
    proxy("host-rewritten", blocked("sigv4.accepted", "authentication_failed", INCORRECT_CREDENTIAL)),
    proxy("host-with-port", blocked("sigv4.accepted", "authentication_failed", INCORRECT_CREDENTIAL)),
    values("requests that a proxy must refuse, and does", REFUSALS, Permitted),
    proxy("accepts-anything", blocked("sigv4.refuses_unsigned", "not_refused", UNSAID)).with(REFUSALS),
    proxy("accepts-unsigned", blocked("sigv4.refuses_unsigned", "not_refused", UNSAID)).with(REFUSALS),
    proxy("accepts-wrong-secret", blocked("sigv4.refuses_wrong_secret", "not_refused", UNSAID)).with(REFUSALS),
    proxy("accepts-unknown-key-id", blocked("sigv4.refuses_unknown_key_id", "not_refused", UNSAID)).with(REFUSALS),
    proxy("accepts-stale", warned("sigv4.refuses_stale", "not_refused")).with(REFUSALS),
    proxy("accepts-get", warned("http.get_refused", "not_refused")).with(REFUSALS),
    proxy("accepts-any-path", warned("http.unknown_path_refused", "not_refused")).with(REFUSALS),
    run_by(
        |row| Box::pin(former_path(row)),
        "the path now in KMS is not served any more",
        warned("sigv4.old_credential_still_accepted", "old_credential_refused"),
    ),
    run_by(
        |row| Box::pin(rotation(row, false)),
        "the credential now in KMS is refused already",
        warned("sigv4.old_credential_still_accepted", "old_credential_refused"),
    ),
    run_by(
        |row| Box::pin(rotation(row, true)),
        "both credentials are accepted while one replaces the other",
        Permitted,
    ),
];

/// The current proxy is the candidate itself, at another path until now.
async fn former_path(row: &'static Row) -> Seen {
    let mut stage = Stage::new();
    stage.add_proxy(|_| {}).await;
    write_console_file(&stage.directory.join("former.secret.json"), "/former/kms/xks/v1", SECRET);
    stage.check(&[&FORMER, row.arguments].concat()).await
}

/// The current proxy is the candidate itself, with another credential until now.
async fn rotation(row: &'static Row, both: bool) -> Seen {
    const FORMER_ID: &str = "SANDBOXFORMERACCESSKEYID";
    let mut stage = Stage::new();
    let secret = std::fs::read_to_string(stage.directory.join("other.secret")).unwrap();
    let former = stage.directory.join("former.secret.json");
    write_console_file(&former, PATH, &secret);
    let contents = std::fs::read_to_string(&former).unwrap();
    std::fs::write(&former, contents.replace(crate::peers::ACCESS_KEY_ID, FORMER_ID)).unwrap();
    let proxy = stage.add_proxy(|_| {}).await;
    if both {
        proxy.add_credential(FORMER_ID, secret);
    }
    stage.check(&[&FORMER, row.arguments].concat()).await
}
