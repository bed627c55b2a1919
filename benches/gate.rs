//! What the gate adds to a call: the daemon's KMS drop-in endpoint and dry runs beside the call to KMS itself, one after
//! the other in turn, by the same client of the AWS SDK.
//!
//! KMS is simulated on loopback and answers at once, so that what is seen is all ours. A real UpdateCustomKeyStore of an
//! external key store asks the proxy as well, over the network.
//!
//! `cargo bench --bench gate`
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that cannot go on stops")]

use std::net::SocketAddr;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_kms::Client;
use aws_sdk_kms::config::retry::RetryConfig;
use aws_sdk_kms::config::{BehaviorVersion, Region};
use aws_sdk_kms::types::XksProxyAuthenticationCredentialType;
use hdrhistogram::Histogram;
use serde_json::json;
use tokio::time::Instant;

#[path = "daemon/scene.rs"]
#[expect(dead_code, reason = "the other benchmark uses the rest")]
mod scene;

use scene::{
    ACCESS_KEY_ID, AWS_ACCESS_KEY_ID, AWS_SECRET, Connection, KMS_ID, KMS_SECRET, SECRET, Scene, Terms, candidate,
};

const DESCRIPTIONS: usize = 400;
const UPDATES: usize = 40;

#[tokio::main]
async fn main() {
    let terms = Terms {
        stores: 2,
        approval: "none",
        connect: Duration::from_millis(100),
        processor: None,
        hosts: None,
        more: "",
    };
    let scene = Scene::start(terms).await;
    let direct = client(&scene.kms.endpoint_url(), AWS_ACCESS_KEY_ID, AWS_SECRET);
    let gated = client(&endpoint(scene.kms_endpoint), KMS_ID, KMS_SECRET);
    println!("ms: median, p99");
    let describe = async |client: &Client| {
        let described = client.describe_custom_key_stores().custom_key_store_id(&scene.stores[0]).send().await;
        assert_eq!(described.unwrap().custom_key_stores().len(), 1);
    };
    let (mut one, mut other) = (times(), times());
    for _ in 0..DESCRIPTIONS {
        timed(&mut one, describe(&direct)).await;
        timed(&mut other, describe(&gated)).await;
    }
    compare("DescribeCustomKeyStores", &one, &other, "through the drop-in endpoint");

    // In place: the credential that is there already, which KMS tries at the proxy and takes.
    let update = async |client: &Client, store: &str| {
        let credential = XksProxyAuthenticationCredentialType::builder()
            .access_key_id(ACCESS_KEY_ID)
            .raw_secret_access_key(SECRET)
            .build()
            .unwrap();
        let update = client.update_custom_key_store().custom_key_store_id(store);
        update.xks_proxy_authentication_credential(credential).send().await.unwrap();
    };
    let mut api = Connection::open(scene.api).await.unwrap();
    let body = json!({
        "CustomKeyStoreId": scene.stores[1],
        "XksProxyUriEndpoint": candidate(1),
        "options": { "dry_run": true, "acknowledge_outage": true },
    });
    let (mut one, mut dry, mut other) = (times(), times(), times());
    for _ in 0..UPDATES {
        timed(&mut one, update(&direct, &scene.stores[1])).await;
        timed(&mut dry, async {
            let answer = api.json("POST", "/v1/updates", &body).await;
            assert_eq!(answer["report"]["verdict"], "ready", "{answer}");
        })
        .await;
        timed(&mut other, update(&gated, &scene.stores[0])).await;
    }
    compare("UpdateCustomKeyStore in place", &one, &dry, "a dry run over the API: plan and pre-flight");
    compare("UpdateCustomKeyStore in place", &one, &other, "through the drop-in endpoint, to `verified`");
    scene.end();
}

fn endpoint(address: SocketAddr) -> String {
    format!("http://{address}")
}

fn client(endpoint: &str, access_key_id: &str, secret: &str) -> Client {
    let config = aws_sdk_kms::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(access_key_id, secret, None, None, "bench"))
        .endpoint_url(endpoint)
        .retry_config(RetryConfig::disabled())
        .build();
    Client::from_conf(config)
}

fn times() -> Histogram<u64> {
    Histogram::new(3).unwrap()
}

async fn timed(histogram: &mut Histogram<u64>, work: impl Future<Output = ()>) {
    let began = Instant::now();
    work.await;
    histogram.record(u64::try_from(began.elapsed().as_micros()).unwrap()).unwrap();
}

fn compare(call: &str, direct: &Histogram<u64>, other: &Histogram<u64>, how: &str) {
    let ms = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
    println!("{call:<30} directly: {:>8.2} {:>8.2}", ms(direct, 0.5), ms(direct, 0.99));
    println!("{:<30} {how}: {:>8.2} {:>8.2}", "", ms(other, 0.5), ms(other, 0.99));
    println!("{:<30} median to median: {:.2} times", "", ms(other, 0.5) / ms(direct, 0.5));
}
