//! Each fault is visible on the wire as what it is called.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::time::Instant;

use super::*;
use crate::sandbox::fault::{Fault, Layer, Operation};

/// The health answer is right: everything the API demands, nothing it does not know.
fn is_right_health(seen: &Seen) -> bool {
    let Ok(Value::Object(body)) = serde_json::from_slice::<Value>(&seen.body) else { return false };
    let string = |value: Option<&Value>| value.is_some_and(Value::is_string);
    let statuses = ["ACTIVE", "DEGRADED", "UNAVAILABLE"];
    seen.status == 200
        && body.get("xksProxyFleetSize").and_then(Value::as_u64).is_some_and(|size| size > 0)
        && String::from_utf8_lossy(&seen.body).matches("xksProxyFleetSize").count() == 1
        && ["xksProxyVendor", "xksProxyModel", "ekmVendor"].iter().all(|name| string(body.get(*name)))
        && body.get("ekmFleetDetails").and_then(Value::as_array).is_some_and(|managers| {
            (1..=10).contains(&managers.len())
                && managers.iter().all(|manager| {
                    string(manager.get("id"))
                        && string(manager.get("model"))
                        && manager["healthStatus"].as_str().is_some_and(|status| statuses.contains(&status))
                })
        })
}

#[tokio::test]
async fn every_health_fault_breaks_the_schema_or_tells_of_a_sick_fleet() {
    let bench = Bench::start().await;
    assert!(is_right_health(&bench.send(&Call::health()).await));
    for fault in Fault::ALL.iter().filter(|fault| fault.layer() == Layer::Health) {
        bench.proxy.set_fault(*fault).await;
        let seen = bench.send(&Call::health()).await;
        let sick = ["DEGRADED", "UNAVAILABLE"].iter().any(|s| String::from_utf8_lossy(&seen.body).contains(s));
        assert!(sick || !is_right_health(&seen), "{fault}: {}", String::from_utf8_lossy(&seen.body));
    }
    bench.proxy.set_fault(None).await;
    assert!(is_right_health(&bench.send(&Call::health()).await));
}

#[tokio::test]
async fn every_refusal_has_its_status_and_name() {
    let bench = Bench::start().await;
    let refusals = [
        (Fault::ValidationException, 400, "ValidationException"),
        (Fault::InvalidStateException, 400, "InvalidStateException"),
        (Fault::InvalidCiphertextException, 400, "InvalidCiphertextException"),
        (Fault::InvalidKeyUsageException, 400, "InvalidKeyUsageException"),
        (Fault::AuthenticationFailedException, 401, "AuthenticationFailedException"),
        (Fault::AccessDeniedException, 403, "AccessDeniedException"),
        (Fault::KeyNotFoundException, 404, "KeyNotFoundException"),
        (Fault::InvalidUriPathException, 404, "InvalidUriPathException"),
        (Fault::ThrottlingException, 429, "ThrottlingException"),
        (Fault::InternalException, 500, "InternalException"),
        (Fault::UnsupportedOperationException, 501, "UnsupportedOperationException"),
        (Fault::DependencyTimeoutException, 503, "DependencyTimeoutException"),
        (Fault::ErrorWithStatus200, 200, "InternalException"),
        (Fault::ErrorNameUnknown, 400, "TeapotException"),
        (Fault::ErrorNameMissing, 500, ""),
    ];
    for (fault, status, name) in refusals {
        bench.proxy.set_fault(fault).await;
        assert_eq!(bench.refused(&Call::health()).await, (status, name.to_owned()), "{fault}");
        let unsigned = Call { signed: false, ..Call::health() };
        assert_eq!(bench.refused(&unsigned).await.0, 401, "{fault}");
    }
}

#[tokio::test]
async fn every_certificate_and_handshake_fault_is_seen_by_a_client_that_verifies() {
    let bench = Bench::start().await;
    let harmless = [
        Fault::Tls12Only,
        Fault::Tls13Only,
        Fault::CipherSuitesUnsupported,
        Fault::Tls12SuitesUnsupported,
        Fault::Tls13SuitesUnsupported,
        Fault::ClientCertificateRequested,
        Fault::CertificateExpiringSoon,
        Fault::CertificateChainUnordered,
        Fault::CertificateSurplus,
        Fault::CertificateWeakKey,
        Fault::CertificateChainLong,
        Fault::CertificateNoCommonName,
        Fault::CertificateNoSubject,
        Fault::CertificateWildcard,
        Fault::CertificateThousandNames,
        Fault::CertificateRsa,
        Fault::CertificateReissued,
        Fault::CertificateOcspStaple,
    ];
    for fault in Fault::ALL {
        if !matches!(fault.layer(), Layer::Listener | Layer::Connection | Layer::Tls | Layer::Certificate)
            || matches!(fault, Fault::TlsStall | Fault::TlsStallMidHandshake | Fault::AlpnHttp2Only)
        {
            continue;
        }
        bench.proxy.set_fault(*fault).await;
        let outcome = bench.raw(&Call::health(), 1 << 20).await;
        assert_eq!(outcome.is_ok(), harmless.contains(fault), "{fault}: {outcome:?}");
    }
    assert_eq!(bench.proxy.history().len(), harmless.len());
    bench.proxy.set_fault(None).await;
    assert_eq!(bench.send(&Call::health()).await.status, 200, "the port is open again");
}

#[tokio::test]
async fn servers_without_tls_send_what_they_are() {
    let bench = Bench::start().await;
    let beginnings: [(Fault, &[u8]); 4] = [
        (Fault::PlainHttp, b"HTTP/1.1 400"),
        (Fault::NotTls, b"SSH-2.0"),
        (Fault::TlsAlert, &[21, 3, 3]),
        (Fault::TlsCloseMidHandshake, &[22, 3, 3]),
    ];
    for (fault, beginning) in beginnings {
        bench.proxy.set_fault(fault).await;
        let mut tcp = TcpStream::connect(bench.proxy.address()).await.unwrap();
        tcp.write_all(b"hello").await.unwrap();
        let mut received = Vec::new();
        timeout(BOUND, tcp.read_to_end(&mut received)).await.unwrap().unwrap();
        assert!(received.starts_with(beginning), "{fault}: {received:?}");
    }
    for (fault, said) in [
        (Fault::Tls10Only, "ServerDoesNotSupportTls12Or13"),
        (Fault::Tls11Only, "ServerDoesNotSupportTls12Or13"),
        (Fault::TlsAlertProtocolVersion, "ProtocolVersion"),
        (Fault::TlsAlertInsufficientSecurity, "InsufficientSecurity"),
        (Fault::TlsAlertUnrecognizedName, "UnrecognisedName"),
        (Fault::TlsAlertInternalError, "InternalError"),
    ] {
        bench.proxy.set_fault(fault).await;
        let error = bench.connect().await.unwrap_err().to_string();
        assert!(error.contains(said), "{fault}: {error}");
    }
}

#[tokio::test]
async fn a_server_of_former_days_takes_what_it_knows_and_nothing_else() {
    let bench = Bench::start().await;
    let answer = async |suites: [u8; 4]| {
        let mut tcp = TcpStream::connect(bench.proxy.address()).await.unwrap();
        let body = [&[3, 3][..], &[0; 32], &[1, 9], &[0, 4], &suites, &[1, 0]].concat();
        let length = u8::try_from(body.len()).unwrap();
        tcp.write_all(&[&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat()).await.unwrap();
        let mut received = vec![0; 7];
        timeout(BOUND, tcp.read_exact(&mut received)).await.unwrap().unwrap();
        if received[0] == 22 {
            received.resize(47, 0);
            timeout(BOUND, tcp.read_exact(&mut received[7..])).await.unwrap().unwrap();
        }
        received
    };
    for (fault, suite) in [
        (Fault::TlsCbcOnly, [0xc0, 0x13]),
        (Fault::TlsDheOnly, [0x00, 0x39]),
        (Fault::TlsStaticRsaOnly, [0x00, 0x2f]),
        (Fault::Tls3desOnly, [0x00, 0x0a]),
        (Fault::TlsRc4Only, [0x00, 0x05]),
        (Fault::TlsNullOnly, [0x00, 0x02]),
    ] {
        bench.proxy.set_fault(fault).await;
        let chosen = answer([0x13, 0x02, suite[0], suite[1]]).await;
        assert_eq!((chosen[0], &chosen[44..46]), (22, &suite[..]), "{fault}");
        assert_eq!(answer([0x13, 0x02, 0xc0, 0x30]).await, [21, 3, 3, 0, 2, 2, 40], "{fault}");
    }
}

#[tokio::test]
async fn a_client_without_http2_is_refused_by_one_that_wants_it() {
    let mut bench = Bench::start().await;
    let mut config = ClientConfig::clone(&bench.config);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    bench.config = Arc::new(config);
    assert_eq!(bench.connect().await.unwrap().get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    bench.proxy.set_fault(Fault::AlpnHttp2Only).await;
    let error = bench.connect().await.unwrap_err().to_string();
    assert!(error.contains("NoApplicationProtocol"), "{error}");
}

#[tokio::test]
async fn a_client_with_the_suites_of_kms_finds_none_on_a_proxy_without_them() {
    let mut bench = Bench::start().await;
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| !format!("{:?}", suite.suite()).contains("AES_128"));
    let config = ClientConfig::builder_with_details(Arc::new(provider), Arc::new(Fixed))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    bench.config = Arc::new(config);
    bench.proxy.set_fault(Fault::CipherSuitesUnsupported).await;
    let error = bench.connect().await.unwrap_err().to_string();
    assert!(error.contains("HandshakeFailure"), "{error}");
}

#[tokio::test]
async fn bytes_that_are_not_http_come_as_named() {
    let bench = Bench::start().await;
    let raw = async |fault: Fault, limit| {
        bench.proxy.set_fault(fault).await;
        bench.raw(&Call::health(), limit).await
    };
    assert!(raw(Fault::StatusLineGarbage, 100).await.unwrap().starts_with(b"ICY 200"));
    assert!(raw(Fault::Http09Answer, 1000).await.unwrap().starts_with(b"{"));
    assert!(raw(Fault::CloseWithoutAnswer, 100).await.unwrap().is_empty());
    assert!(raw(Fault::ResetWithoutAnswer, 100).await.is_err());
    assert_eq!(
        raw(Fault::HugeHeaders, 1 << 22).await.unwrap().windows(10).filter(|w| w == b"x-padding:").count(),
        1024
    );
    assert_eq!(raw(Fault::EndlessBody, 100_000).await.map(|bytes| bytes.len() >= 100_000).ok(), Some(true));
    let flood = raw(Fault::InformationalFlood, 2500).await.unwrap();
    assert_eq!(flood.windows(12).filter(|window| window == b"HTTP/1.1 100").count(), 100);
    let garbage = String::from_utf8(raw(Fault::ChunkedGarbage, 1000).await.unwrap()).unwrap();
    assert!(garbage.contains("transfer-encoding: chunked\r\n\r\nthese are no chunks"), "{garbage}");
    assert!(raw(Fault::HugeBody, 50_000_000).await.unwrap().len() == 50_000_000);
    bench.proxy.set_faults([Misbehaviour::always(Fault::DripAnswer).delayed_ms(0)]).await;
    assert_eq!(bench.send(&Call::health()).await.json()["xksProxyFleetSize"], 2);
    bench.proxy.set_fault(Fault::TruncatedBody).await;
    let seen = bench.send(&Call::health()).await;
    assert!(seen.head.contains(&format!("content-length: {}", seen.body.len() + 100)), "{}", seen.head);
}

#[tokio::test]
async fn answers_that_are_http_but_wrong_come_as_named() {
    let bench = Bench::start().await;
    let seen = async |fault: Fault| {
        bench.proxy.set_fault(fault).await;
        bench.send(&Call::health()).await
    };
    for (fault, status) in [
        (Fault::Html200, 200),
        (Fault::Html400, 400),
        (Fault::Html403, 403),
        (Fault::Html404, 404),
        (Fault::Html502, 502),
        (Fault::Redirect301, 301),
        (Fault::Redirect302, 302),
        (Fault::Redirect307, 307),
    ] {
        let seen = seen(fault).await;
        assert_eq!(seen.status, status, "{fault}");
        assert!(seen.head.contains("text/html"), "{fault}");
        assert_eq!(seen.head.contains("location: "), (300..400).contains(&status), "{fault}");
    }
    assert_eq!(seen(Fault::EmptyBody).await.body, b"");
    let bomb = seen(Fault::GzipBomb).await;
    assert!(bomb.head.contains("content-encoding: gzip") && bomb.body.starts_with(&[0x1f, 0x8b, 8]), "{}", bomb.head);
    assert!(seen(Fault::ContentTypeWrong).await.head.contains("text/plain"));
    let good_body = seen(Fault::Status500GoodBody).await;
    assert_eq!((good_body.status, &good_body.json()["xksProxyFleetSize"]), (500, &json!(2)));
    for fault in [
        Fault::BodyNotUtf8,
        Fault::JsonNestedDeep,
        Fault::JsonTrailingGarbage,
        Fault::JsonTruncated,
        Fault::JsonNotObject,
    ] {
        assert!(!is_right_health(&seen(fault).await), "{fault}");
    }
    assert!(seen(Fault::ErrorMessageOverlong).await.json()["errorMessage"].as_str().unwrap().len() == 600);
    assert!(!seen(Fault::ErrorMessageNotAscii).await.json()["errorMessage"].as_str().unwrap().is_ascii());
    let clocks = [(Fault::ClockAhead, "08:10:00"), (Fault::ClockBehind, "07:50:00")];
    for (fault, time) in clocks {
        let seen = seen(fault).await;
        assert_eq!(seen.status, 401);
        assert!(seen.head.contains(time), "{}", seen.head);
    }
}

#[tokio::test]
async fn a_stalling_proxy_says_nothing_until_the_client_goes() {
    let bench = Bench::start().await;
    let silence = Duration::from_millis(50);
    bench.proxy.set_fault(Fault::StallAfterRequest).await;
    let mut stream = bench.connect().await.unwrap();
    stream.write_all(&Call::health().bytes()).await.unwrap();
    assert!(timeout(silence, stream.read(&mut [0; 1])).await.is_err());
    bench.proxy.set_fault(Fault::TlsStall).await;
    let mut tcp = TcpStream::connect(bench.proxy.address()).await.unwrap();
    tcp.write_all(b"hello").await.unwrap();
    assert!(timeout(silence, tcp.read(&mut [0; 1])).await.is_err());
}

#[tokio::test]
async fn laxity_shows_in_what_is_accepted() {
    let bench = Bench::start().await;
    let right = Call::health();
    let stale = Call { signed_at: now() - Duration::from_mins(10), ..right.clone() };
    let unsigned = Call { signed: false, ..right.clone() };
    let wrong_secret = Call { secret: format!("X{SECRET}"), ..right.clone() };
    let unknown = Call { access_key_id: "UNKNOWNACCESSKEYID2345", ..right.clone() };
    let elsewhere = Call { path: "/nowhere".to_owned(), ..right.clone() };
    let get = Call { method: "GET", ..right.clone() };
    let calls = [&right, &unsigned, &wrong_secret, &unknown, &stale, &get, &elsewhere];
    let expectations = [
        (None, [200, 401, 401, 401, 401, 405, 404]),
        (Some(Fault::AcceptsAnything), [200, 200, 200, 200, 200, 405, 404]),
        (Some(Fault::AcceptsUnsigned), [200, 200, 401, 401, 401, 405, 404]),
        (Some(Fault::AcceptsWrongSecret), [200, 401, 200, 401, 401, 405, 404]),
        (Some(Fault::AcceptsUnknownKeyId), [200, 401, 401, 200, 401, 405, 404]),
        (Some(Fault::AcceptsStale), [200, 401, 401, 401, 200, 405, 404]),
        (Some(Fault::AcceptsGet), [200, 401, 401, 401, 401, 200, 404]),
        (Some(Fault::AcceptsAnyPath), [200, 401, 401, 401, 401, 405, 200]),
        (Some(Fault::WrongRegion), [401, 401, 401, 401, 401, 401, 404]),
        (Some(Fault::HostRewritten), [401, 401, 401, 401, 401, 401, 404]),
        (Some(Fault::HostWithPort), [401, 401, 401, 401, 401, 401, 404]),
    ];
    for (fault, statuses) in expectations {
        bench.proxy.set_fault(fault).await;
        for (call, status) in calls.iter().zip(statuses) {
            assert_eq!(bench.send(call).await.status, status, "{fault:?} {}", call.path);
        }
    }
}

#[tokio::test]
async fn every_key_fault_shows_in_metadata_or_in_a_round_trip() {
    let bench = Bench::start().await;
    let encrypt = Call::key(
        "encrypt",
        json!({
            "plaintext": "SGVsbG8gV29ybGQh", "encryptionAlgorithm": "AES_GCM", "additionalAuthenticatedData": "YWFk",
            "ciphertextDataIntegrityValueAlgorithm": "SHA_256",
        }),
    );
    let metadata = bench.send(&Call::key("metadata", json!({}))).await.json();
    let kept = bench.send(&encrypt).await.json();
    let shape = |answer: &Value| {
        let member = |name: &str| answer[name].as_str().map(|text| STANDARD.decode(text).map(|bytes| bytes.len()).ok());
        [
            "ciphertext",
            "initializationVector",
            "authenticationTag",
            "ciphertextDataIntegrityValue",
            "ciphertextMetadata",
        ]
        .map(member)
    };
    let decrypts = async |sealed: &Value| {
        let mut members = sealed.clone();
        members["encryptionAlgorithm"] = "AES_GCM".into();
        members["additionalAuthenticatedData"] = "YWFk".into();
        bench.send(&Call::key("decrypt", members)).await.json()["plaintext"] == "SGVsbG8gV29ybGQh"
    };
    let integrity = |answer: &Value| {
        let part = |name: &str| STANDARD.decode(answer[name].as_str().unwrap_or_default()).unwrap_or_default();
        let hashed =
            [b"aad".to_vec(), part("initializationVector"), part("ciphertext"), part("authenticationTag")].concat();
        ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, &hashed).as_ref()
            == part("ciphertextDataIntegrityValue")
    };
    assert!(decrypts(&kept).await && integrity(&kept));
    for fault in Fault::ALL {
        bench.proxy.set_fault(*fault).await;
        match fault.layer() {
            Layer::KeyMetadata => {
                assert_ne!(bench.send(&Call::key("metadata", json!({}))).await.json(), metadata, "{fault}");
            }
            Layer::Cipher => {
                let answer = bench.send(&encrypt).await.json();
                let right = shape(&answer) == shape(&kept) && integrity(&answer) && decrypts(&answer).await;
                assert!(!(right && decrypts(&kept).await), "{fault}");
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn circumstances_choose_the_requests() {
    let bench = Bench::start().await;
    let statuses = async |count: usize| {
        let mut statuses = Vec::new();
        for _ in 0..count {
            statuses.push(bench.send(&Call::health()).await.status);
        }
        statuses
    };
    bench.proxy.set_fault(Fault::ThrottlingEverySecond).await;
    assert_eq!(statuses(4).await, [200, 429, 200, 429]);
    bench.proxy.set_faults([Misbehaviour::always(Fault::InternalException).after(1).for_first(2)]).await;
    assert_eq!(statuses(4).await, [200, 500, 500, 200]);
    bench.proxy.set_faults([Misbehaviour::always(Fault::InternalException).on(Operation::Decrypt)]).await;
    assert_eq!(statuses(1).await, [200]);
    assert_eq!(bench.send(&Call::key("decrypt", json!({}))).await.status, 500);
    let refused_once = Misbehaviour::always(Fault::CloseOnAccept).for_first(1);
    bench.proxy.set_faults([refused_once]).await;
    assert!(bench.connect().await.is_err());
    assert_eq!(statuses(1).await, [200]);
}

#[tokio::test]
async fn slow_answers_are_late_by_what_was_asked() {
    let bench = Bench::start().await;
    let elapsed = async || {
        let start = Instant::now();
        assert_eq!(bench.send(&Call::health()).await.status, 200);
        start.elapsed()
    };
    let late = Misbehaviour::always(Fault::SlowAnswer).delayed_ms(80).for_first(1);
    bench.proxy.set_faults([late]).await;
    assert!(elapsed().await >= Duration::from_millis(80));
    bench.proxy.set_latency(Duration::from_millis(30));
    assert!(elapsed().await >= Duration::from_millis(30));
    assert!(bench.proxy.history()[0].faults.contains(&Fault::SlowAnswer));
}
