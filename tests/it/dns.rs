//! The sandbox's name server and the product's resolver, besides what the rows of the fault matrix show.

use std::net::SocketAddr;

use hickory_resolver::proto::op::ResponseCode;
use xks_preflight::sandbox::dns::{NameAnswer, SandboxDns};

use crate::matrix::{Stage, names};

async fn name_server() -> SandboxDns {
    let dns = SandboxDns::start(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    names::fill(&dns);
    dns
}

async fn resolution(dns: &SandboxDns, host: &str) -> serde_json::Value {
    let endpoint = format!("https://{host}");
    let resolver = dns.address().to_string();
    let seen = Stage::new().check(&["--endpoint", &endpoint, "--resolver", &resolver]).await;
    seen.report["resolution"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_addresses_are_all_told() {
    let dns = name_server().await;
    let found = resolution(&dns, "hundred.example.com").await;
    assert_eq!(found["ipv4"].as_array().unwrap().len(), 100, "{found}");
    assert!(dns.asked().contains(&("hundred.example.com A".to_owned(), true)), "over TCP: {:?}", dns.asked());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_chain_of_aliases_and_both_families_are_shown() {
    let dns = name_server().await;
    let found = resolution(&dns, "alias.example.com").await;
    assert_eq!((&found["ipv4"], &found["ipv6"]), (&["127.43.0.1"].into(), &["::1"].into()), "{found}");
    assert_eq!(resolution(&dns, "ALIAS.Example.Com").await["ipv4"], found["ipv4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn search_domains_and_the_hosts_file_are_not_kms_s() {
    let dns = name_server().await;
    // Whatever this machine's files say of localhost: only the name server is asked, and for exactly this name.
    dns.set("localhost.example.com", NameAnswer::Code(ResponseCode::NXDomain));
    let found = resolution(&dns, "localhost.example.com").await;
    assert_eq!(found["problem"], "name_not_found", "{found}");
    let asked: std::collections::BTreeSet<_> = dns.asked().into_iter().map(|(question, _)| question).collect();
    assert_eq!(asked.into_iter().collect::<Vec<_>>(), ["localhost.example.com A", "localhost.example.com AAAA"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_name_server_is_asked_when_the_first_is_silent() {
    let (silent, dns) = (name_server().await, name_server().await);
    silent.set("private.example.com", NameAnswer::Silence);
    let both = format!("{},{}", silent.address(), dns.address());
    let arguments = ["--endpoint", "https://private.example.com", "--resolver", &both];
    let seen = Stage::new().check(&arguments).await;
    assert_eq!(seen.report["resolution"]["ipv4"], serde_json::json!(["127.43.0.1"]), "{}", seen.report["resolution"]);
}

#[test]
fn a_resolver_is_an_address() {
    let output = std::process::Command::new(crate::peers::BINARY)
        .args(["check", "--endpoint", "https://xks.example.com", "--resolver", "dns.example.com:53"])
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("--resolver: must be the address of a name server, IP:PORT or IP"), "{told}");
}
