//! Requests that are forged through the daemon: names that lead where nobody may be led.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};
use xks_preflight::sandbox::dns::{NameAnswer, SandboxDns};

use crate::daemon::stage::{Daemon, Stage};

/// What a forged request is after, and the address that a name gives for it.
const TARGETS: &[(&str, [u8; 4])] = &[
    ("this machine", [127, 0, 0, 1]),
    ("this machine, by another loopback address", [127, 200, 1, 1]),
    ("this machine, by 0.0.0.0", [0, 0, 0, 0]),
    ("EC2 instance metadata", [169, 254, 169, 254]),
    ("ECS task credentials", [169, 254, 170, 2]),
    ("EKS pod identity", [169, 254, 170, 23]),
    ("a private network that is not allowed", [10, 78, 0, 1]),
    ("the containers' bridge", [172, 17, 0, 1]),
    ("a router", [192, 168, 0, 1]),
    ("a carrier's network", [100, 64, 0, 1]),
    ("another cloud's metadata", [100, 100, 100, 200]),
    ("benchmarks", [198, 18, 0, 1]),
    ("documentation", [192, 0, 2, 1]),
    ("multicast", [224, 0, 0, 1]),
    ("reserved", [240, 0, 0, 1]),
    ("broadcast", [255, 255, 255, 255]),
];

async fn guarded(name: &str, dns: &SandboxDns) -> (Stage, Daemon) {
    let stage = Stage::new(name).await;
    let file = stage.directory.join("config.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let guard = format!(
        "[preflight]\nresolver = [\"{}\"]\nendpoint_hosts = [\"example.com\"]\nvpc_networks = [\"10.77.0.0/16\"]",
        dns.address()
    );
    std::fs::write(&file, text.replace("[preflight]", &guard)).unwrap();
    let daemon = Daemon::start(&stage, None).await;
    (stage, daemon)
}

async fn preflight(daemon: &Daemon, endpoint: &str, vpc: bool) -> Value {
    let mut body = json!({
        "XksProxyUriEndpoint": endpoint,
        "XksProxyUriPath": "/kms/xks/v1",
        "XksProxyAuthenticationCredential": { "Source": "proxy" },
    });
    if vpc {
        body["XksProxyConnectivity"] = json!("VPC_ENDPOINT_SERVICE");
        body["XksProxyVpcEndpointServiceName"] = json!("com.amazonaws.vpce.us-east-1.vpce-svc-0123456789abcdef0");
    }
    let answer = daemon.try_call("POST", "/v1/preflights", Some(&body)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_leads_where_nobody_may_be_led() {
    let dns = SandboxDns::start(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let (_stage, daemon) = guarded("egress", &dns).await;
    let (mut tried, mut refused) = (0, 0);
    for (number, (what, address)) in TARGETS.iter().enumerate() {
        let host = format!("target-{number}.example.com");
        dns.set(&host, NameAnswer::Addresses(vec![IpAddr::from(*address)]));
        for vpc in [false, true] {
            let before = dns.asked().len();
            let report = preflight(&daemon, &format!("https://{host}"), vpc).await;
            tried += 1;
            assert_ne!(report["verdict"], "ready", "{what}: {report}");
            // Nothing was connected to, and the name was asked for once in each family: an answer that changes (DNS
            // rebinding) has no second chance.
            assert_eq!(report["addresses"], json!([]), "{what}: {report}");
            assert_eq!(dns.asked().len() - before, 2, "{what}: {:?}", dns.asked());
            refused += 1;
        }
    }
    println!("forged requests tried: {tried}, refused: {refused}");
    assert_eq!(tried, refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_are_not_allowed_are_not_even_resolved() {
    let dns = SandboxDns::start(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let (_stage, daemon) = guarded("egress-hosts", &dns).await;
    for host in ["internal.example.org", "example.com.evil.test", "notexample.com"] {
        let report = preflight(&daemon, &format!("https://{host}"), false).await;
        assert_eq!(report["verdict"], "inconclusive", "{report}");
        assert_eq!(report["resolution"]["problem"], "not_allowed", "{report}");
    }
    assert_eq!(dns.asked(), Vec::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_leads_nowhere_else_and_names_no_host_without_a_token() {
    let dns = SandboxDns::start(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let (stage, daemon) = guarded("egress-probe", &dns).await;
    for (number, (what, address)) in TARGETS.iter().enumerate() {
        let host = format!("scrape-{number}.example.com");
        dns.set(&host, NameAnswer::Addresses(vec![IpAddr::from(*address)]));
        for connectivity in ["public", "vpc"] {
            let path = format!("/probe?target={host}&path=/kms/xks/v1&credential=proxy&connectivity={connectivity}");
            let answer = daemon.call("GET", &path, None).await;
            assert_eq!(answer.status, 200, "{what}: {}", answer.body);
            let fits = answer.body.contains("probe_success 0") && !answer.body.contains("probe_ip_protocol");
            assert!(fits, "{what}: nothing was connected to: {}", answer.body);
        }
    }
    let unlisted = "/probe?target=internal.example.org&path=/kms/xks/v1&credential=proxy";
    let answer = daemon.call("GET", unlisted, None).await;
    assert!(answer.body.contains("reason=\"not_allowed\""), "{}", answer.body);
    // As with metrics, a scraper on this machine needs no token; to name a host takes one.
    let of_store = format!("/probe?key_store={}", stage.key_store);
    let bare = async |path: &str| daemon.try_call_bare(path).await.unwrap();
    assert_eq!((bare(&of_store).await.status, bare(unlisted).await.status), (200, 401));
    let stranger = "xkspf_NobodyKnowsThisTokenDoNotLeak23456789012345";
    assert_eq!(daemon.try_call_as(stranger, "GET", &of_store, None).await.unwrap().status, 401);
    daemon.terminate().await;
}
