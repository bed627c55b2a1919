//! Variables and files of AWS's own tools that say where AWS is: told, and never followed.

use crate::daemon::stage::{BOUND, Daemon, Stage, until};
use tokio::process::Command;

use crate::peers::BINARY;

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_only_the_environment_names_is_told_with_the_key_that_says_it() {
    let stage = Stage::observing("steered").await;
    let url = stage.kms.endpoint_url();
    stage.reconfigured(&format!("endpoint_url = \"{url}\"\n"), "");
    let profile = stage.directory.join("aws-config");
    std::fs::write(&profile, format!("[default]\nendpoint_url = {url}\n")).unwrap();
    let services = stage.directory.join("aws-config-services");
    let text = format!("[default]\nservices = local\n[services local]\nkms =\n  endpoint_url = {url}\n");
    std::fs::write(&services, text).unwrap();
    let (profile, services) = (profile.display().to_string(), services.display().to_string());
    let all = ["KMS", "EC2", "Elastic Load Balancing v2", "CloudHSM V2"].as_slice();
    for (name, value, by, of) in [
        ("AWS_ENDPOINT_URL", &url, "AWS_ENDPOINT_URL", all),
        ("AWS_ENDPOINT_URL_KMS", &url, "AWS_ENDPOINT_URL_KMS", &["KMS"]),
        ("AWS_ENDPOINT_URL_CLOUDHSM_V2", &url, "AWS_ENDPOINT_URL_CLOUDHSM_V2", &["CloudHSM V2"]),
        ("AWS_CONFIG_FILE", &profile, "endpoint_url in the AWS configuration files", all),
        ("AWS_CONFIG_FILE", &services, "endpoint_url in the AWS configuration files", &["KMS"]),
    ] {
        let told = Daemon::refuses_to_start_with(&stage, &[(name, value)]).await;
        for service in all {
            let names = told.contains(&format!("{by} names one of {service}, for which there is "));
            assert_eq!(names, of.contains(service), "{name}, {service}: {told}");
        }
        assert!(!told.contains(&url), "an address may hold a secret: {told}");
    }
    assert!(stage.kms.history().is_empty(), "nothing was asked there");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_configured_is_asked_whatever_the_environment_says() {
    let stage = Stage::new("unsteered").await;
    let elsewhere = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut command = Command::new(BINARY);
    command.args(["--log-level", "trace", "serve", "--config"]).arg(stage.directory.join("config.toml"));
    command.env("AWS_ENDPOINT_URL", format!("http://{}", elsewhere.local_addr().unwrap()));
    let daemon = Daemon::run(&stage, command).await;
    let described = || async { daemon.call("GET", "/v1/key-stores", None).await.body.contains("payments") };
    until(BOUND, "KMS told", described).await;
    daemon.terminate().await;
    let asked = tokio::time::timeout(std::time::Duration::ZERO, elsewhere.accept()).await;
    assert!(asked.is_err(), "nobody came");
}
