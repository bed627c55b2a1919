//! blackbox_exporter: an unsigned POST, and what its debug log says of the answer.

use std::process::Stdio;

use tokio::process::Command;

use super::{HEALTH, SILENCE, run};
use crate::matrix::Stage;
use crate::peers::{HOST, PATH};

/// As Debian names it.
pub(super) const PROGRAM: &str = "prometheus-blackbox-exporter";

/// Starts the exporter, probes once, and ends it: every stage has a root of its own.
pub(super) async fn probe(stage: &Stage) -> (bool, String) {
    let own = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = stage.directory.join("blackbox.yml");
    let module = serde_json::json!({ "modules": { "xks": { "prober": "http", "timeout": "250ms", "http": {
        "method": "POST", "body": HEALTH, "preferred_ip_protocol": "ip4", "follow_redirects": false,
        "enable_http2": false, "headers": { "Host": HOST, "Content-Type": "application/json" },
        "valid_status_codes": [401], "fail_if_body_not_matches_regexp": ["AuthenticationFailedException"],
        "fail_if_not_ssl": true,
        "tls_config": { "ca_file": stage.directory.join("ca.pem"), "server_name": HOST, "min_version": "TLS12" },
    } } } });
    std::fs::write(&file, module.to_string()).unwrap();
    let mut exporter = Command::new(PROGRAM)
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--web.listen-address={own}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut ask = Command::new("curl");
    // curl waits for the exporter to stand.
    ask.args(["--silent", "--show-error", "--retry", "30", "--retry-connrefused", "--retry-delay", "1", "--get"])
        .args(["--data-urlencode", &format!("target=https://{}{PATH}/health", stage.proxies[0].address())])
        .args(["--data", "module=xks&debug=true"])
        .arg(format!("http://{own}/probe"));
    let (_, output) = run(ask, SILENCE).await;
    exporter.kill().await.unwrap();
    assert!(output.contains("probe_success "), "no answer from {PROGRAM}: {output}");
    (output.contains("probe_success 1"), complaints(&output))
}

/// What the log says, without the announcements that each probe begins with.
fn complaints(output: &str) -> String {
    let log = output.split("Metrics that would have been returned").next().unwrap_or_default();
    let announces = ["Beginning probe", "Making HTTP request", "Resolving target", "Resolved target"];
    let told = log.lines().filter(|line| !announces.iter().any(|announcement| line.contains(announcement)));
    // The times of a round trip are told after every answer, good or bad.
    told.filter(|line| !line.contains("Response timings")).collect::<Vec<_>>().join("\n")
}
