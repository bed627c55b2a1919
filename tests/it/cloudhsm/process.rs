//! The real daemon and the real command line.

use std::process::Stdio;

use serde_json::{Value, json};
use xks_preflight::sandbox::cloudhsm::{CloudHsmFault, ClusterAuthority};
use xks_preflight::sandbox::ec2::SecurityGroup;
use xks_preflight::sandbox::kms::SeedStore;
use xks_preflight::sandbox::query::QueryFault;

use super::bench::{COLD, NEW_PASSWORD, PASSWORD, PRESENT, RELATED, STRANGER, three_clusters};
use crate::daemon::stage::{self, Daemon, Stage, TOKEN};
use crate::peers::{BINARY, Run, keep, wall_clock};
use crate::update::bench::BOUND;

/// A daemon before a KMS with a CloudHSM key store, and the store's id.
async fn stage(name: &str) -> (Stage, String) {
    let authority = ClusterAuthority::new("owner", wall_clock()()).unwrap();
    let stage = Stage::with_clusters(name, three_clusters(&authority)).await;
    let id = stage.kms.add_store(SeedStore::cloud_hsm("hsm", PRESENT, PASSWORD, authority.trust_anchor()));
    (stage, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_related_cluster_passes_and_an_unrelated_one_is_blocked_before_any_mutation() {
    let (stage, id) = stage("cloudhsm").await;
    let daemon = Daemon::start(&stage, None).await;
    let to = |cluster: &str| json!({ "CustomKeyStoreId": id, "CloudHsmClusterId": cluster });
    let ended = daemon.follow(&daemon.submit(&stage, to(STRANGER)).await).await;
    assert_eq!(
        (&ended["status"], &ended["exception"]),
        (&json!("blocked"), &json!("CloudHsmClusterNotRelatedException"))
    );
    assert_eq!(stage.mutating_calls(), [""; 0]);

    let report =
        daemon.call("GET", &format!("/v1/preflights/{}", ended["report"].as_str().unwrap()), None).await.json();
    assert_eq!(
        (&report["subject"]["key_store"], &report["subject"]["cloud_hsm_cluster_id"]),
        (&json!(id), &json!(STRANGER))
    );
    assert_eq!(report["subject"].get("endpoint"), None);
    assert_eq!(report["kms"]["exception"], "CloudHsmClusterNotRelatedException");
    let related = finding(&report, "cloudhsm.related");
    assert_eq!((&related["outcome"], &related["problem"]), (&json!("failed"), &json!("unrelated_cluster")));
    assert_eq!(finding(&report, "tls.handshake")["outcome"], "not_applicable");

    // Ports that the related cluster's security group closes are found before the disconnect, and a group that nobody
    // may look at is not taken for an open one, although this daemon asks EC2 nothing about services.
    let ec2 = stage.ec2.as_ref().unwrap();
    ec2.change(|state| state.security_groups[0].to_itself.clear());
    let ended = daemon.follow(&daemon.submit(&stage, to(RELATED)).await).await;
    assert_eq!(
        (&ended["status"], &ended["exception"]),
        (&json!("blocked"), &json!("CloudHsmClusterInvalidConfigurationException"))
    );
    ec2.change(|state| state.security_groups[0] = SecurityGroup::of_cluster(&state.security_groups[0].id));
    ec2.inject("DescribeSecurityGroups", QueryFault::Denied, u32::MAX);
    let unseen = daemon.call("POST", "/v1/preflights", Some(&to(RELATED))).await.json();
    assert_eq!(unseen["verdict"], "inconclusive");
    let told = finding(&unseen, "cloudhsm.security_group");
    assert_eq!((&told["outcome"], &told["problem"]), (&json!("own_fault"), &json!("access_denied")));
    assert!(told["detail"].as_str().unwrap().contains("ec2:DescribeSecurityGroups"), "{told}");
    ec2.clear_faults();
    assert_eq!(stage.mutating_calls(), [""; 0]);

    let ended = daemon.follow(&daemon.submit(&stage, to(RELATED)).await).await;
    assert_eq!(ended["status"], "verified", "{ended:#}");
    assert_eq!(stage.mutations(), COLD);

    stage::until(BOUND, "the daemon sees the new cluster", || async {
        let stores = daemon.call("GET", "/v1/key-stores", None).await;
        stores.body.contains(RELATED)
    })
    .await;
    // The store as it is, and what is missing where CloudHSM may not be asked.
    let present = daemon.call("POST", "/v1/preflights", Some(&json!({ "CustomKeyStoreId": id }))).await.json();
    assert_eq!((&present["verdict"], &present["subject"]["cloud_hsm_cluster_id"]), (&json!("ready"), &json!(RELATED)));
    stage.cloudhsm.as_ref().unwrap().inject(CloudHsmFault::AccessDenied, u32::MAX);
    let denied = daemon.call("POST", "/v1/preflights", Some(&to(PRESENT))).await.json();
    assert_eq!(denied["verdict"], "inconclusive");
    let found = finding(&denied, "cloudhsm.cluster_found");
    assert_eq!((&found["outcome"], &found["problem"]), (&json!("own_fault"), &json!("access_denied")));
    assert!(found["detail"].as_str().unwrap().contains("cloudhsm:DescribeClusters"), "{found}");
    daemon.terminate().await;
}

fn finding<'a>(report: &'a Value, check: &str) -> &'a Value {
    report["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == check).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_takes_the_password_from_a_file_or_the_environment() {
    let (stage, id) = stage("cloudhsm-cli").await;
    let daemon = Daemon::start(&stage, None).await;
    let file = stage.directory.join("kmsuser.secret");
    std::fs::write(&file, format!("{NEW_PASSWORD}\n")).unwrap();
    let file = file.to_str().unwrap();
    let cluster = ["--key-store", &id, "--cloud-hsm-cluster-id", RELATED];
    let plan = update(&stage, &daemon, "plan", &cluster, Some(NEW_PASSWORD)).await;
    assert_eq!(plan.code, 0, "{}\n{}", plan.stdout, plan.stderr);
    for told in [
        &format!("CloudHsmClusterId: {PRESENT} -> {RELATED}"),
        "KeyStorePassword: (not shown by KMS) -> sealed",
        "up to 25 minutes",
        "impossible: the former KeyStorePassword is not known",
    ] {
        assert!(plan.stdout.contains(told), "{told}\n{}", plan.stdout);
    }
    assert!(stage.mutations().is_empty());

    let options = [&cluster[..], &["--key-store-password-file", file, "--acknowledge-outage", "--wait"]].concat();
    let applied = update(&stage, &daemon, "apply", &options, None).await;
    // Nobody has set this password in the cluster.
    assert_eq!(applied.code, 5, "{}\n{}", applied.stdout, applied.stderr);
    assert!(applied.stdout.contains("INVALID_CREDENTIALS"), "{}", applied.stdout);
    assert!(![plan.stdout, plan.stderr, applied.stdout, applied.stderr].concat().contains("DoNotLeak"));
    daemon.terminate().await;
}

async fn update(stage: &Stage, daemon: &Daemon, what: &str, options: &[&str], password: Option<&str>) -> Run {
    let mut command = tokio::process::Command::new(BINARY);
    command
        .args(["update", what, "--server", &format!("http://{}", daemon.address)])
        .args(options)
        .env("XKS_PREFLIGHT_TOKEN", TOKEN)
        .env_remove("XKS_PREFLIGHT_KEY_STORE_PASSWORD")
        .stdin(Stdio::null());
    if let Some(password) = password {
        command.env("XKS_PREFLIGHT_KEY_STORE_PASSWORD", password);
    }
    let run = Run::from(command.output().await.unwrap());
    keep(&stage.directory, &run);
    run
}
