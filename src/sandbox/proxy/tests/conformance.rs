//! A proxy without faults does what the specification says.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::*;

fn expected(status: u16, name: &str) -> (u16, String) {
    (status, name.to_owned())
}

#[tokio::test]
async fn health_tells_of_the_fleet_and_is_remembered() {
    let bench = Bench::start().await;
    let seen = bench.send(&Call::health()).await;
    assert_eq!(seen.status, 200);
    assert_eq!(seen.json()["xksProxyFleetSize"], 2);
    assert_eq!(seen.json()["ekmFleetDetails"][0]["healthStatus"], "ACTIVE");
    assert!(seen.head.contains("content-type: application/json"), "{}", seen.head);
    assert!(seen.head.contains("date: Fri, 15 Jan 2027 08:00:00 GMT"), "{}", seen.head);
    let history = bench.proxy.history();
    let [request] = history.as_slice() else { panic!("{history:?}") };
    assert_eq!((request.method.as_str(), request.status, request.authenticated), ("POST", 200, true));
    assert_eq!(request.access_key_id.as_deref(), Some(KEY_ID));
    assert_eq!(request.kms_operation.as_deref(), Some("KmsHealthCheck"));
    assert_eq!(request.kms_request_id.as_deref(), Some("r-1"));
    assert_eq!(request.host.as_deref(), Some(HOST));
    assert!(!format!("{:?} {history:?}", bench.proxy).contains("DoNotLeak"));
}

#[tokio::test]
async fn metadata_describe_the_key() {
    let bench = Bench::start().await;
    let seen = bench.send(&Call::key("metadata", json!({}))).await.json();
    assert_eq!(seen, json!({ "keySpec": "AES_256", "keyUsage": ["ENCRYPT", "DECRYPT"], "keyStatus": "ENABLED" }));
    let disabled = ExternalKey::from_seed("x").with_status(KeyStatus::Disabled);
    bench.proxy.set_keys(KeyMaterials::default().with("foo", disabled));
    assert_eq!(bench.send(&Call::key("metadata", json!({}))).await.json()["keyStatus"], "DISABLED");
    let encrypt = Call::key("encrypt", json!({ "plaintext": "AAAA", "encryptionAlgorithm": "AES_GCM" }));
    assert_eq!(bench.refused(&encrypt).await, expected(400, "InvalidStateException"));
    bench.proxy.set_keys(KeyMaterials::default());
    assert_eq!(bench.refused(&encrypt).await, expected(404, "KeyNotFoundException"));
}

#[tokio::test]
async fn ciphertext_comes_back_as_plaintext_with_the_same_aad_only() {
    let bench = Bench::start().await;
    let seed = || KeyMaterials::default().with("foo", ExternalKey::from_seed("s").with_ciphertext_metadata(*b"v=1"));
    bench.proxy.set_keys(seed());
    let replica = Bench::with(|settings| settings.keys = seed()).await;
    let plaintext = STANDARD.encode(vec![7_u8; 4300]);
    let aad = STANDARD.encode(vec![9_u8; 8192]);
    let encrypted = bench
        .send(&Call::key(
            "encrypt",
            json!({
                "plaintext": plaintext, "additionalAuthenticatedData": aad, "encryptionAlgorithm": "AES_GCM",
                "ciphertextDataIntegrityValueAlgorithm": "SHA_256",
            }),
        ))
        .await
        .json();
    let part = |name: &str| STANDARD.decode(encrypted[name].as_str().unwrap()).unwrap();
    let sizes =
        ["ciphertext", "initializationVector", "authenticationTag", "ciphertextMetadata"].map(|n| part(n).len());
    assert_eq!(sizes, [4300, 12, 16, 3]);
    let parts = [
        vec![9; 8192],
        part("ciphertextMetadata"),
        part("initializationVector"),
        part("ciphertext"),
        part("authenticationTag"),
    ];
    let digest = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, &parts.concat());
    assert_eq!(part("ciphertextDataIntegrityValue"), digest.as_ref());

    let mut members = encrypted.clone();
    members["encryptionAlgorithm"] = "AES_GCM".into();
    members["additionalAuthenticatedData"] = aad.into();
    for bench in [&bench, &replica] {
        assert_eq!(bench.send(&Call::key("decrypt", members.clone())).await.json()["plaintext"], plaintext.as_str());
    }
    members["additionalAuthenticatedData"] = "AAAA".into();
    let refused = bench.refused(&Call::key("decrypt", members.clone())).await;
    assert_eq!(refused, expected(400, "InvalidCiphertextException"));
    members["plaintext"] = STANDARD.encode(vec![7_u8; 4301]).into();
    assert_eq!(bench.refused(&Call::key("encrypt", members)).await, expected(501, "UnsupportedOperationException"));
}

#[tokio::test]
async fn a_signature_counts_only_if_everything_in_it_is_right() {
    let bench = Bench::start().await;
    let right = Call::health();
    let unauthenticated = expected(401, "AuthenticationFailedException");
    let off = |seconds: i64| {
        let span = Duration::from_secs(seconds.unsigned_abs());
        Call { signed_at: if seconds < 0 { now() - span } else { now() + span }, ..right.clone() }
    };
    for seconds in [-299, 299, 300, -300] {
        assert_eq!(bench.send(&off(seconds)).await.status, 200, "{seconds}");
    }
    let cases = [
        (off(301), Distrust::OutsideWindow),
        (off(-301), Distrust::OutsideWindow),
        (Call { secret: format!("X{SECRET}"), ..right.clone() }, Distrust::WrongSignature),
        (Call { access_key_id: "UNKNOWNACCESSKEYID2345", ..right.clone() }, Distrust::UnknownAccessKeyId),
        (Call { region: "eu-west-1", ..right.clone() }, Distrust::WrongRegion),
        (Call { signed: false, ..right.clone() }, Distrust::Unsigned),
        (Call { signed: false, method: "GET", ..right.clone() }, Distrust::Unsigned),
    ];
    for (call, reason) in cases {
        assert_eq!(bench.refused(&call).await, unauthenticated, "{reason:?}");
        assert_eq!(bench.proxy.history().pop().unwrap().distrust, Some(reason));
    }
    let mut tampered = right.bytes();
    let position = tampered.windows(3).position(|window| window == b"r-1").unwrap();
    tampered[position + 2] = b'2';
    let mut stream = bench.connect().await.unwrap();
    stream.write_all(&tampered).await.unwrap();
    let mut answer = String::new();
    timeout(BOUND, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}

#[tokio::test]
async fn two_credentials_are_accepted_while_one_replaces_the_other() {
    let bench = Bench::start().await;
    let secret = "TestSecretDoNotLeakAnotherTestSecretDoNotLeak23456";
    let newer = Call { access_key_id: "NEWERACCESSKEYID234567", secret: secret.to_owned(), ..Call::health() };
    bench.proxy.add_credential("NEWERACCESSKEYID234567", secret.to_owned());
    assert_eq!((bench.send(&Call::health()).await.status, bench.send(&newer).await.status), (200, 200));
    assert!(bench.proxy.remove_credential(KEY_ID));
    assert_eq!((bench.send(&Call::health()).await.status, bench.send(&newer).await.status), (401, 200));
}

#[tokio::test]
async fn paths_come_before_signatures_and_methods_after() {
    let bench = Bench::start().await;
    let health = Call::health();
    for path in ["/other/kms/xks/v1/health", "/tenant/kms/xks/v1/health/", "/tenant/kms/xks/v1/keys/foo/sign"] {
        let call = Call { path: path.to_owned(), signed: false, ..health.clone() };
        assert_eq!(bench.refused(&call).await, expected(404, "InvalidUriPathException"), "{path}");
    }
    let get = bench.send(&Call { method: "GET", ..health.clone() }).await;
    assert_eq!((get.status, get.body.as_slice()), (405, &b""[..]));
    let invalid = expected(400, "ValidationException");
    for body in ["", "{}", "[]", r#"{"requestMetadata":{}}"#, r#"{"requestMetadata":{"kmsOperation":"x"}}"#] {
        assert_eq!(bench.refused(&Call { body: body.into(), ..health.clone() }).await, invalid, "{body}");
    }
    assert_eq!(bench.refused(&Call { content_type: "text/plain", ..health.clone() }).await, invalid);
    let unknown_operation = json!({ "requestMetadata": { "kmsOperation": "Later", "kmsRequestId": "", "more": 1 } });
    assert_eq!(bench.send(&Call::new("/health", &unknown_operation)).await.status, 200);
    let refused = bench.refused(&Call::key("encrypt", json!({ "encryptionAlgorithm": "AES_GCM" }))).await;
    assert_eq!(refused, invalid);
    let long = Call { body: vec![b' '; 70_000], ..health };
    assert!(matches!(bench.refused(&long).await.0, 400 | 401));
}

#[tokio::test]
async fn without_any_key_manager_keys_are_of_no_use() {
    let bench = Bench::start().await;
    let mut fleet = Fleet::default().ekm_fleet_details;
    for manager in &mut fleet {
        manager.health_status = EkmHealth::Unavailable;
    }
    bench.proxy.set_ekm_fleet(fleet);
    let health = bench.send(&Call::health()).await;
    assert_eq!((health.status, &health.json()["ekmFleetDetails"][1]["healthStatus"]), (200, &json!("UNAVAILABLE")));
    assert_eq!(bench.refused(&Call::key("metadata", json!({}))).await, expected(500, "InternalException"));
}

#[tokio::test]
async fn shutdown_closes_the_port() {
    let bench = Bench::start().await;
    let address = bench.proxy.address();
    let mut idle = bench.connect().await.unwrap();
    bench.proxy.shutdown().await;
    assert_eq!(TcpStream::connect(address).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    assert!(!matches!(timeout(BOUND, idle.read(&mut [0; 1])).await.unwrap(), Ok(1..)));
}

#[tokio::test]
async fn the_history_forgets_the_oldest() {
    let bench = Bench::with(|settings| settings.limits.history = 2).await;
    for body in ["1", "2", "3"] {
        bench.send(&Call { path: format!("/{body}"), ..Call::health() }).await;
    }
    let paths: Vec<_> = bench.proxy.history().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/2", "/3"]);
}
