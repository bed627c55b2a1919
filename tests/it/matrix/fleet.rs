//! What a health answer can hide, and what needs a proxy of another kind to be seen.

use std::time::Duration;

use super::Stage;
use super::row::*;
use crate::peers;

pub(super) const ROWS: &[Row] = &[
    run_by(|row| Box::pin(small(row)), "one proxy with one key manager", warned("health.redundancy", "no_redundancy")),
    run_by(
        |row| Box::pin(other(row)),
        "healthy, but another fleet than the current proxy's",
        warned("health.same_fleet", "different_fleet"),
    ),
    run_by(
        |row| Box::pin(skewed(row)),
        "a clock two minutes ahead, which signatures survive",
        warned("sigv4.clock_skew", "clock_skew"),
    ),
    run_by(|row| Box::pin(replica(row)), "a replica of the current proxy", Expected::Permitted),
    run_by(
        |row| Box::pin(other_secret(row)),
        "another secret under the right access key id",
        blocked("sigv4.accepted", "authentication_failed", INCORRECT_CREDENTIAL),
    ),
    values(
        "an access key id that the proxy does not know",
        &["--access-key-id", "AKIAI2SFODNN7EXAMPLE", "--secret-file", "{directory}/good.secret", "--path", "{path}"],
        blocked("sigv4.accepted", "authentication_failed", INCORRECT_CREDENTIAL),
    ),
    values(
        "requests signed for another Region than the proxy's",
        &["--region", "eu-central-1"],
        blocked("sigv4.accepted", "authentication_failed", INCORRECT_CREDENTIAL),
    ),
];

const BASELINE: [&str; 8] = [
    "--baseline-proxy-config",
    "{directory}/proxy.secret.json",
    "--baseline-endpoint",
    "https://xks.example.com",
    "--baseline-connect-to",
    "{1}",
    "--connect-to",
    "{0}",
];

async fn small(row: &'static Row) -> Seen {
    let mut stage = Stage::new();
    stage
        .add_proxy(|settings| {
            settings.fleet.xks_proxy_fleet_size = 1;
            settings.fleet.ekm_fleet_details.truncate(1);
        })
        .await;
    stage.check(row.arguments).await
}

async fn replica(row: &'static Row) -> Seen {
    let mut stage = Stage::new();
    stage.add_proxy(|_| {}).await;
    stage.add_proxy(|_| {}).await;
    stage.check(&[&BASELINE, row.arguments].concat()).await
}

async fn other(row: &'static Row) -> Seen {
    let mut stage = Stage::new();
    stage.add_proxy(|_| {}).await;
    stage
        .add_proxy(|settings| {
            for manager in &mut settings.fleet.ekm_fleet_details {
                manager.id.push_str("-of-another-fleet");
            }
        })
        .await;
    stage.check(&[&BASELINE, row.arguments].concat()).await
}

async fn skewed(row: &'static Row) -> Seen {
    let mut stage = Stage::new();
    stage
        .add_proxy(|settings| {
            let clock = peers::wall_clock();
            settings.clock = std::sync::Arc::new(move || clock() + Duration::from_mins(2));
        })
        .await;
    stage.check(row.arguments).await
}

async fn other_secret(row: &'static Row) -> Seen {
    let mut stage = Stage::new();
    let other = std::fs::read_to_string(stage.directory.join("other.secret")).unwrap();
    stage
        .add_proxy(|settings| {
            settings.credentials =
                xks_preflight::sandbox::proxy::Credentials::default().with(peers::ACCESS_KEY_ID, other);
        })
        .await;
    stage.check(row.arguments).await
}
