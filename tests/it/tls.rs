//! TLS as KMS sees it, through the real binary: AWS's list of authorities, several addresses, and facts that stay in
//! the report whatever the verdict.

use std::sync::Arc;

use serde_json::{Value, json};
use xks_preflight::check::{AwsEvidence, Report};
use xks_preflight::clock::SystemClock;
use xks_preflight::id::IdSource;
use xks_preflight::key_store::{ConnectivityKind, Region};
use xks_preflight::preflight::{Candidate, CandidateKeys, OfferedCredential, Preflight, Thoroughness};
use xks_preflight::probe::{Egress, Prober, ProberSettings, ResolverSettings, TrustRoots};
use xks_preflight::render::{self, Form};
use xks_preflight::sandbox::proxy::SandboxProxy;

use crate::peers::{ACCESS_KEY_ID, HOST, PATH, Peer, Run, SECRET};

fn list(peer: &Peer, with_root: bool) -> String {
    peer.directory.join(if with_root { "kms-list.own" } else { "kms-list.other" }).display().to_string()
}

fn finding(run: &Run, check: &str) -> Value {
    let json = run.json();
    let findings = json["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["check"] == check).unwrap_or_else(|| panic!("{check}: {json:#}")).clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_aws_does_not_list_is_told_apart_from_one_that_nobody_trusts() {
    let peer = Peer::start("kms-list").await;
    let check = "tls.kms_trusted_root";
    let without = peer.check(&["--output", "json"]).await;
    assert_eq!((without.code, &finding(&without, check)["outcome"]), (0, &json!("not_applicable")));

    let listed = peer.check(&["--output", "json", "--kms-trusted-roots", &list(&peer, true)]).await;
    let told = finding(&listed, check);
    assert_eq!((listed.code, &told["outcome"]), (0, &json!("passed")));
    assert!(told["detail"].as_str().unwrap().contains("the exact list that was given, of 2 authorities"), "{told}");
    assert_eq!(listed.json()["addresses"][0]["tls"]["root"]["on_kms_list"], true);

    let absent = peer.check(&["--output", "json", "--kms-trusted-roots", &list(&peer, false)]).await;
    let told = finding(&absent, check);
    assert_eq!(
        (absent.code, &told["outcome"], &told["level"], &told["problem"]),
        (0, &json!("failed"), &json!("should"), &json!("not_on_kms_list"))
    );
    assert!(told["detail"].as_str().unwrap().contains("not by KMS"), "{told}");
    assert_eq!(finding(&absent, "tls.chain_trusted")["outcome"], "passed");
    assert_eq!(absent.json()["addresses"][0]["tls"]["root"]["on_kms_list"], false);

    peer.proxy.set_faults(["certificate-unknown-root".parse().unwrap()]).await;
    let untrusted = peer.check(&["--output", "json", "--kms-trusted-roots", &list(&peer, true)]).await;
    assert_eq!(untrusted.code, 1);
    assert_eq!(finding(&untrusted, "tls.chain_trusted")["problem"], "unknown_issuer");
    assert_eq!(finding(&untrusted, check)["outcome"], "not_reached");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_garbage_is_a_usage_error_with_its_rule() {
    let peer = Peer::start("garbage-list").await;
    for (text, rule) in [
        ("{\"roots\": []}", "must be the file TrustedCertificateAuthorities"),
        ("Alias name: a\nSHA256: AB:CD\n", "line 2 of the list of KMS's roots: SHA256 must be 32 pairs"),
        ("Alias name: a\nOwner: CN=a\n", "the entry on line 1 of the list of KMS's roots has no SHA256"),
    ] {
        let file = peer.directory.join("garbage");
        std::fs::write(&file, text).unwrap();
        let run = peer.check(&["--kms-trusted-roots", &file.display().to_string()]).await;
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{text}");
        assert!(run.stderr.contains("--kms-trusted-roots") && run.stderr.contains(rule), "{text}: {}", run.stderr);
    }
    assert_eq!(peer.proxy.accepted_connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_facts_of_a_certificate_are_told_even_when_it_is_refused() {
    let peer = Peer::start("facts").await;
    for fault in [
        "certificate-expired",
        "certificate-wrong-name",
        "certificate-unknown-root",
        "certificate-self-signed",
        "certificate-missing-intermediate",
        "certificate-sha1-signature",
        "client-certificate-required-tls12",
    ] {
        peer.proxy.set_faults([fault.parse().unwrap()]).await;
        let run = peer.check(&["--output", "json", "--samples", "1"]).await;
        let seen = run.json()["addresses"][0].clone();
        let certificate = &seen["certificate"];
        for member in ["subject", "common_name", "issuer", "not_before", "not_after", "sha256", "signature_algorithm"] {
            assert!(certificate[member].as_str().is_some_and(|text| !text.is_empty()), "{fault}: {member}: {seen}");
        }
        assert_eq!(certificate["key"], "EC 256", "{fault}");
        assert_eq!(certificate["san"].as_array().map(Vec::len), Some(1), "{fault}: {seen}");
        assert!(seen["tls"]["version"].as_str().is_some_and(|version| version.starts_with("TLSv1.")), "{fault}");
        let text = peer.check(&["--samples", "1"]).await.stdout;
        let fact = format!("issued by {}, EC 256", certificate["issuer"].as_str().unwrap());
        assert!(text.contains(&fact), "{fault}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stapled_ocsp_response_is_shown() {
    let peer = Peer::start("staple").await;
    let staple = |run: &Run| run.json()["addresses"][0]["tls"]["ocsp_staple"].clone();
    assert_eq!(staple(&peer.check(&["--output", "json"]).await), Value::Null);
    assert!(peer.check(&[]).await.stdout.contains("no OCSP staple"));
    for fault in ["certificate-ocsp-staple", "tls12-only"] {
        // In TLS 1.2 it comes in a message of its own.
        peer.proxy.set_faults(["certificate-ocsp-staple", fault].map(|fault| fault.parse().unwrap())).await;
        let staple = staple(&peer.check(&["--output", "json"]).await);
        assert!(staple["produced_at"].as_str().is_some_and(|at| at.starts_with("20")), "{fault}: {staple}");
        assert!(peer.check(&[]).await.stdout.contains("OCSP staple of 20"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_are_told_apart() {
    let peer = Peer::start("versions").await;
    for (fault, tls13, tls12) in [
        (None, "with TLS_AES_256_GCM_SHA384", "with TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
        (Some("certificate-rsa"), "with TLS_AES_256_GCM_SHA384", "with TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
        (Some("tls12-only"), "not spoken", "with TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
        (Some("tls13-only"), "with TLS_AES_256_GCM_SHA384", "not spoken"),
        (
            Some("tls12-suites-unsupported"),
            "with TLS_AES_256_GCM_SHA384",
            "with other suites only (TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)",
        ),
        (
            Some("cipher-suites-unsupported"),
            "with other suites only (TLS_AES_128_GCM_SHA256)",
            "with other suites only (TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)",
        ),
        (Some("tls-rc4-only"), "could not be told (alert)", "with other suites only (TLS_ECDHE_RSA_WITH_RC4_128_SHA)"),
    ] {
        peer.proxy.set_faults(fault.map(|fault| fault.parse().unwrap())).await;
        let run = peer.check(&["--output", "json", "--samples", "1"]).await;
        let suites = run.json()["addresses"][0]["kms_cipher_suites"].clone();
        assert_eq!(suites, json!({ "TLSv1.3": tls13, "TLSv1.2": tls12 }), "{fault:?}");
    }
}

async fn check_both(peer: &Peer, other: &SandboxProxy) -> Run {
    peer.check(&["--output", "json", "--connect-to", &other.address().to_string()]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_compared_across_addresses() {
    let peer = Peer::start("addresses").await;
    let other = peer.second("127.0.0.2:0").await;
    let same = check_both(&peer, &other).await;
    let check = "tls.same_everywhere";
    assert_eq!((same.code, &finding(&same, check)["outcome"]), (0, &json!("passed")), "{}", same.stdout);
    assert_eq!(same.json()["addresses"].as_array().map(Vec::len), Some(2));

    other.set_faults(["certificate-reissued".parse().unwrap()]).await;
    let half_way = check_both(&peer, &other).await;
    let told = finding(&half_way, check);
    assert_eq!((half_way.code, &told["problem"]), (0, &json!("different_certificates")));
    let detail = told["detail"].as_str().unwrap();
    assert!(detail.contains("127.0.0.1") && detail.contains("127.0.0.2"), "{detail}");

    // One bad certificate of two blocks, and is told with its address.
    other.set_faults(["certificate-expired".parse().unwrap()]).await;
    let expired = check_both(&peer, &other).await;
    let told = finding(&expired, "tls.validity");
    assert_eq!((expired.code, &told["problem"], &told["address"]), (1, &json!("expired"), &json!("127.0.0.2")));
    let json = expired.json();
    let prints = [0, 1].map(|at| json["addresses"][at]["certificate"]["sha256"].clone());
    assert_ne!(prints[0], prints[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_takes_any_client_certificate_is_found_out_by_a_refusal_test() {
    let peer = Peer::start("strangers").await;
    for (fault, refusals, problem, word) in [
        ("client-certificate-unverified", true, "stranger_accepted", Some("accepted")),
        ("client-certificate-unverified", false, "client_certificate", None),
        ("client-certificate-required", true, "client_certificate", Some("refused")),
        ("client-certificate-required-tls12", true, "client_certificate", Some("refused")),
    ] {
        peer.proxy.set_faults([fault.parse().unwrap()]).await;
        let report = Box::pin(preflight(&peer, refusals)).await;
        let json: Value = serde_json::from_str(&render::report(&report, Form::Json)).unwrap();
        let findings = json["findings"].as_array().unwrap();
        let told = findings.iter().find(|finding| finding["check"] == "tls.client_certificate").unwrap();
        assert_eq!((&told["problem"], &told["level"]), (&json!(problem), &json!("should")), "{fault}: {told}");
        let tested = &json["addresses"][0]["tls"]["self_signed_client_certificate"];
        assert_eq!(tested.as_str(), word, "{fault}, refusals {refusals}");
    }
}

async fn preflight(peer: &Peer, refusals: bool) -> Report {
    let ids = || Arc::new(IdSource::from_seed(7));
    let prober = Prober::new(ProberSettings {
        trust: TrustRoots::laboratory(&std::fs::read(peer.directory.join("ca.pem")).unwrap()).unwrap(),
        client_certificate: None,
        resolver: ResolverSettings::NameServers(Vec::new()),
        egress: Egress::default(),
        clock: Arc::new(SystemClock),
        ids: ids(),
    });
    let candidate = Candidate {
        endpoint: format!("https://{HOST}"),
        path: PATH.to_owned(),
        connectivity: ConnectivityKind::PublicEndpoint,
        vpc_endpoint_service: None,
        vpc_endpoint_service_owner: None,
        region: Region::parse("us-east-1").unwrap(),
        credential: OfferedCredential::new(ACCESS_KEY_ID, SECRET),
        connect_to: vec![peer.proxy.address().to_string()],
        keys: CandidateKeys::default(),
        baseline: None,
        kms_operation: "UpdateCustomKeyStore".to_owned(),
    };
    let thoroughness = Thoroughness { cold: 1, warm: 0, refusals, ..Thoroughness::default() };
    let preflight = Preflight::new(prober.unwrap(), Arc::new(SystemClock), ids(), "a test".to_owned());
    preflight.run(&candidate, AwsEvidence::default(), &thoroughness).await
}
