//! Every way in which a server can stop a probe, each with its own kind, and nothing sent to whom it must not.

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket};

use super::*;
use crate::check::{Fault, Trust};
use crate::sandbox::fault::Fault as ProxyFault;

/// What stops the probe of a proxy with this fault, and a word of the diagnosis.
const STOPS: &[(ProxyFault, Stage, ProblemKind, &str)] = &[
    (ProxyFault::ListenerClosed, Stage::Tcp, ProblemKind::Refused, "nothing listens"),
    (ProxyFault::ResetOnAccept, Stage::Tls, ProblemKind::Reset, "during the TLS handshake"),
    (ProxyFault::PlainHttp, Stage::Tls, ProblemKind::NotTls, "plain HTTP"),
    (ProxyFault::NotTls, Stage::Tls, ProblemKind::NotTls, "another protocol"),
    (ProxyFault::TlsAlert, Stage::Tls, ProblemKind::Alert, "handshake_failure"),
    (ProxyFault::Tls11Only, Stage::Tls, ProblemKind::ProtocolVersion, "below 1.2"),
    (ProxyFault::TlsCloseMidHandshake, Stage::Tls, ProblemKind::Closed, "during the TLS handshake"),
    (ProxyFault::CipherSuitesUnsupported, Stage::Tls, ProblemKind::NoCipherSuite, "TLS_AES_128_GCM_SHA256"),
    (ProxyFault::AlpnHttp2Only, Stage::Tls, ProblemKind::NoHttp1, "no_application_protocol"),
    (ProxyFault::CertificateExpired, Stage::Tls, ProblemKind::Expired, HOST),
    (ProxyFault::CertificateNotYetValid, Stage::Tls, ProblemKind::NotYetValid, HOST),
    (ProxyFault::CertificateWrongName, Stage::Tls, ProblemKind::NameMismatch, "another-host.example.net"),
    (ProxyFault::CertificateSelfSigned, Stage::Tls, ProblemKind::SelfSigned, "signed by itself"),
    (ProxyFault::CertificateUnknownRoot, Stage::Tls, ProblemKind::UnknownIssuer, "Stranger Root CA"),
    (ProxyFault::CertificateMissingIntermediate, Stage::Tls, ProblemKind::MissingIntermediate, "Sandbox Intermediate"),
    (ProxyFault::CertificateExpiredIntermediate, Stage::Tls, ProblemKind::Expired, "Sandbox Intermediate CA"),
    (ProxyFault::CertificateChainReversed, Stage::Tls, ProblemKind::BadCertificate, "wrong order"),
    (ProxyFault::CertificateSha1Signature, Stage::Tls, ProblemKind::WeakSignature, "ecdsa-with-SHA1"),
    (ProxyFault::CloseWithoutAnswer, Stage::Http, ProblemKind::Closed, "before the answer"),
    (ProxyFault::ResetWithoutAnswer, Stage::Http, ProblemKind::Reset, "before the answer"),
    (ProxyFault::StatusLineGarbage, Stage::Http, ProblemKind::NotHttp, "not HTTP/1.1"),
    (ProxyFault::Http09Answer, Stage::Http, ProblemKind::NotHttp, "not HTTP/1.1"),
    (ProxyFault::TruncatedBody, Stage::Http, ProblemKind::Closed, "before the answer was complete"),
    (ProxyFault::ChunkedGarbage, Stage::Http, ProblemKind::NotHttp, "rules of HTTP/1.1"),
    (ProxyFault::HugeHeaders, Stage::Http, ProblemKind::TooLarge, "head of the answer"),
    (ProxyFault::EndlessHeaders, Stage::Http, ProblemKind::TooLarge, "head of the answer"),
    (ProxyFault::InformationalFlood, Stage::Http, ProblemKind::NotHttp, "interim answers"),
    (ProxyFault::HugeBody, Stage::Http, ProblemKind::TooLarge, "announced with"),
    (ProxyFault::EndlessBody, Stage::Http, ProblemKind::TooLarge, "goes on"),
];

#[tokio::test]
async fn each_fault_stops_the_probe_where_and_why_it_should() {
    let bench = Bench::new();
    let proxy = bench.proxy().await;
    for (fault, stage, kind, word) in STOPS {
        proxy.clear_history();
        proxy.set_fault(*fault).await;
        let cold = bench.cold(proxy.address()).await;
        assert_eq!(stop_of(&cold), Some((*stage, *kind)), "{fault}: {}", detail_of(&cold));
        assert!(detail_of(&cold).contains(word), "{fault}: {}", detail_of(&cold));
        assert!(cold.sample.retry.is_none() && cold.connection.is_none(), "{fault}");
        let attempt = cold.sample.last();
        assert_ne!(attempt.stop.as_ref().unwrap().problem.fault, Fault::Own, "{fault}");
        assert!(attempt.connect.is_some() && attempt.exchange.is_none(), "{fault}");
        assert_eq!(attempt.request.is_some(), *stage == Stage::Http, "{fault}");
        let requests = usize::from(*stage == Stage::Http);
        assert_eq!(proxy.history().len(), requests, "{fault}: no request may reach a server that is not trusted");
    }
}

#[tokio::test]
async fn a_bad_certificate_is_evidence() {
    let bench = Bench::new();
    let proxy = bench.proxy().await;
    // A message of more than 64 KiB is not read.
    let huge = ProxyFault::CertificateChainHuge;
    for fault in ProxyFault::ALL.iter().filter(|fault| fault.name().starts_with("certificate-") && **fault != huge) {
        proxy.set_fault(*fault).await;
        let cold = bench.cold(proxy.address()).await;
        let tls = cold.tls.as_ref().unwrap();
        assert!(!tls.chain.is_empty() && tls.version.as_deref() == Some("TLSv1.3"), "{fault}");
        // The reversed chain begins with a certificate that did not sign the handshake.
        let foreign = matches!(fault, ProxyFault::CertificateChainReversed | ProxyFault::CertificateForeignKey);
        assert_eq!(tls.handshake_complete, !foreign, "{fault}");
        let trusted = matches!(tls.trust, Trust::Trusted { .. });
        let may_be = matches!(
            fault,
            ProxyFault::CertificateExpired
                | ProxyFault::CertificateExpiringSoon
                | ProxyFault::CertificateNotYetValid
                | ProxyFault::CertificateWrongName
                | ProxyFault::CertificateCommonNameOnly
                | ProxyFault::CertificateExpiredIntermediate
                | ProxyFault::CertificateChainUnordered
                | ProxyFault::CertificateSurplus
                | ProxyFault::CertificateWeakKey
                | ProxyFault::CertificateChainLong
                | ProxyFault::CertificateNotYetValidIntermediate
                | ProxyFault::CertificateNoCommonName
                | ProxyFault::CertificateNoSubject
                | ProxyFault::CertificateCommonNameBeside
                | ProxyFault::CertificateWildcard
                | ProxyFault::CertificateWildcardTooDeep
                | ProxyFault::CertificateThousandNames
                | ProxyFault::CertificateRsa
                | ProxyFault::CertificateForeignKey
                | ProxyFault::CertificateReissued
                | ProxyFault::CertificateOcspStaple
        );
        assert_eq!(trusted, may_be, "{fault}: {:?}", tls.trust);
        let surplus = match fault {
            ProxyFault::CertificateSurplus | ProxyFault::CertificateWeakKey => 1,
            ProxyFault::CertificateChainLong => 10,
            _ => 0,
        };
        assert_eq!(tls.surplus, surplus, "{fault}");
        let san = &tls.chain[0].san;
        let named = san.is_empty() && tls.chain[0].common_name.as_deref() == Some(HOST)
            || san.iter().any(|name| name == HOST || name == "*.example.com");
        assert_eq!(tls.name_matches, named, "{fault}");
    }
}

#[tokio::test]
async fn odd_but_permitted_servers_are_asked() {
    let bench = Bench::new();
    let proxy = bench.proxy().await;
    for fault in [
        ProxyFault::Tls12Only,
        ProxyFault::ClientCertificateRequested,
        ProxyFault::CertificateExpiringSoon,
        ProxyFault::CertificateCommonNameOnly,
        ProxyFault::CertificateChainUnordered,
        ProxyFault::CertificateSurplus,
        ProxyFault::CertificateWeakKey,
    ] {
        proxy.set_fault(fault).await;
        let cold = bench.cold(proxy.address()).await;
        assert_eq!(stop_of(&cold), None, "{fault}: {}", detail_of(&cold));
        let tls = cold.tls.unwrap();
        let version = if fault == ProxyFault::Tls12Only { "TLSv1.2" } else { "TLSv1.3" };
        assert_eq!(tls.version.as_deref(), Some(version));
        assert_eq!(tls.client_certificate_requested, fault == ProxyFault::ClientCertificateRequested);
    }
}

#[tokio::test]
async fn validity_is_judged_by_the_clock_that_was_given() {
    let bench = Bench::new();
    let proxy = bench.proxy().await;
    bench.clock.set(now().plus(Duration::from_hours(91 * 24)));
    assert_eq!(stop_of(&bench.cold(proxy.address()).await), Some((Stage::Tls, ProblemKind::Expired)));
    bench.clock.set(now().minus(Duration::from_hours(2 * 24)));
    assert_eq!(stop_of(&bench.cold(proxy.address()).await), Some((Stage::Tls, ProblemKind::NotYetValid)));
}

#[tokio::test]
async fn a_laboratorys_chain_is_nobodys_to_mozilla() {
    let bench = Bench::with(|_, settings| settings.trust = TrustRoots::mozilla());
    let proxy = bench.proxy().await;
    assert!(!bench.prober.is_lab());
    let cold = bench.cold(proxy.address()).await;
    assert_eq!(stop_of(&cold), Some((Stage::Tls, ProblemKind::UnknownIssuer)));
    assert!(proxy.history().is_empty());
}

// === running out of time ===

#[tokio::test]
async fn the_stage_that_stalls_is_named_and_has_its_time() {
    let bench = Bench::new();
    let proxy = bench.proxy().await;
    let limit = Duration::from_secs(1);
    for (fault, stage) in [
        (ProxyFault::TlsStall, Stage::Tls),
        (ProxyFault::StallAfterRequest, Stage::Http),
        (ProxyFault::DripAnswer, Stage::Http),
    ] {
        proxy.set_fault(fault).await;
        let cold = bench.prober.cold_sample(&target(), Destination::of_a_test(proxy.address()), limit).await;
        assert_eq!(stop_of(&cold), Some((stage, ProblemKind::TimedOut)), "{fault}");
        assert!(cold.sample.retry.is_some(), "{fault}");
        for attempt in cold.sample.attempts() {
            assert_eq!(attempt.slowest_stage(), stage, "{fault}");
            // Judging the chain is within the limit, but no stage's.
            assert!(attempt.total() > limit.mul_f64(0.9) && attempt.total() < limit * 2, "{fault}: {attempt:?}");
        }
    }
}

#[tokio::test]
async fn half_an_answer_is_told_from_none() {
    let bench = Bench::new();
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{".to_owned();
    let address = client_certificate::serve(&bench.pki, client_certificate::Demand::Patience, half).await;
    let cold = bench.prober.cold_sample(&target(), Destination::of_a_test(address), Duration::from_secs(1)).await;
    assert_eq!(stop_of(&cold), Some((Stage::Http, ProblemKind::TimedOut)));
    assert!(detail_of(&cold).contains("the body of the answer was not complete"), "{}", detail_of(&cold));
}

#[tokio::test]
async fn a_server_that_closes_at_once_did_not_speak_tls() {
    let bench = Bench::new();
    let proxy = bench.proxy().await;
    proxy.set_fault(ProxyFault::CloseOnAccept).await;
    let cold = bench.cold(proxy.address()).await;
    // Whether the end of the stream or the reset that our greeting provokes is seen first is a matter of chance.
    let (stage, kind) = stop_of(&cold).unwrap();
    assert!(stage == Stage::Tls && matches!(kind, ProblemKind::Closed | ProblemKind::Reset), "{}", detail_of(&cold));
    assert!(detail_of(&cold).contains("during the TLS handshake"));
}

#[tokio::test]
async fn a_connection_attempt_without_answer_times_out() {
    // A backlog that is full: the kernel drops what comes, as a firewall does.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(connected) =
        tokio::time::timeout(Duration::from_millis(300), TcpSocket::connect(TcpSocket::new_v4().unwrap(), address))
            .await
    {
        waiting.push(connected.unwrap());
        assert!(waiting.len() < 100, "the backlog never fills");
    }
    let bench = Bench::new();
    let cold = bench.prober.cold_sample(&target(), Destination::of_a_test(address), Duration::from_millis(250)).await;
    assert_eq!(stop_of(&cold), Some((Stage::Tcp, ProblemKind::TimedOut)));
    let stop = cold.sample.last().stop.as_ref().unwrap();
    assert_eq!(stop.problem.fault, Fault::Path);
    assert!(stop.problem.detail.contains("within 250 ms: likely a firewall"), "{}", stop.problem.detail);
    assert!(cold.sample.retry.is_some() && cold.tls.is_none());
    assert!(cold.sample.last().connect.unwrap() >= Duration::from_millis(250));
}

// === the odd server out ===

/// Answers every connection with these bytes and closes.
async fn says(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            // The greeting must be read first: closing over unread bytes is a reset.
            socket.readable().await.unwrap();
            let _ = socket.try_read(&mut [0; 4096]);
            let _ = socket.write_all(bytes).await;
        }
    });
    address
}

#[tokio::test]
async fn alerts_are_told_by_their_names() {
    let bench = Bench::new();
    for (alert, kind, word) in [
        (&[21, 3, 3, 0, 2, 2, 70][..], ProblemKind::ProtocolVersion, "protocol_version"),
        (&[21, 3, 3, 0, 2, 2, 71], ProblemKind::NoCipherSuite, "insufficient_security"),
        (&[21, 3, 3, 0, 2, 2, 112], ProblemKind::Alert, "unrecognized_name"),
        (&[21, 3, 3, 0, 2, 2, 80], ProblemKind::Alert, "internal_error"),
        (&[21, 3, 3, 0, 2, 2, 201], ProblemKind::Alert, "number 201"),
    ] {
        let cold = bench.cold(says(alert).await).await;
        assert_eq!(stop_of(&cold), Some((Stage::Tls, kind)), "{}", detail_of(&cold));
        assert!(detail_of(&cold).contains(word), "{}", detail_of(&cold));
    }
}

#[tokio::test]
async fn a_body_that_fits_exactly_is_read() {
    let bench = Bench::new();
    for (length, kind) in
        [(crate::check::LARGEST_BODY, None), (crate::check::LARGEST_BODY + 1, Some(ProblemKind::TooLarge))]
    {
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{}", "x".repeat(length));
        let address = client_certificate::serve(&bench.pki, client_certificate::Demand::None, answer).await;
        let cold = bench.cold(address).await;
        assert_eq!(stop_of(&cold).map(|(_, kind)| kind), kind);
        assert_eq!(
            cold.sample.last().exchange.as_ref().map(|exchange| exchange.body.len()),
            kind.is_none().then_some(length)
        );
    }
}

#[tokio::test]
async fn certificates_and_keys_that_do_not_belong_together_are_told() {
    let bench = Bench::new();
    let address = client_certificate::serve(&bench.pki, client_certificate::Demand::ForeignKey, String::new()).await;
    let cold = bench.cold(address).await;
    assert_eq!(stop_of(&cold), Some((Stage::Tls, ProblemKind::BrokenHandshake)));
    assert!(detail_of(&cold).contains("do not belong together"));
    assert!(!cold.tls.unwrap().handshake_complete);
}
