use aws_sdk_kms::operation::RequestId;

use super::*;

#[tokio::test]
async fn only_the_right_secret_opens() {
    let scene = Scene::new().await;
    let stranger = client(&scene.kms, "AKIASTRANGER", CALLER_SECRET);
    assert_eq!(code(stranger.list_keys().send().await), "UnrecognizedClientException");
    let forger = client(&scene.kms, CALLER_ID, "ForgedDoNotLeak");
    assert_eq!(code(forger.list_keys().send().await), "InvalidSignatureException");
    let answer = scene.client.list_keys().send().await.expect("answer");
    assert!(answer.request_id().is_some_and(|id| id.len() == 36));
    let outcomes: Vec<_> = scene.kms.history().into_iter().map(|call| call.outcome).collect();
    let failed = |name: &str| Outcome::Failed(name.to_owned());
    let expected = [failed("UnrecognizedClientException"), failed("InvalidSignatureException"), Outcome::Succeeded];
    assert_eq!(outcomes, expected);
}

#[tokio::test]
async fn a_signature_out_of_time_is_refused() {
    let scene = Scene::new().await;
    for (skew, words) in [(600, "Signature expired"), (-600, "Signature not yet current")] {
        scene.skew.store(skew, Ordering::SeqCst);
        let client = client(&scene.kms, CALLER_ID, CALLER_SECRET);
        let message = message(client.list_keys().send().await);
        assert!(message.starts_with(words), "{message}");
        // The SDK learns from the Date of the refusal, which therefore is the KMS's own.
        client.list_keys().send().await.expect("a corrected clock");
    }
    scene.skew.store(120, Ordering::SeqCst);
    scene.client.list_keys().send().await.expect("within five minutes");
}

#[tokio::test]
async fn a_signature_for_another_region_is_refused() {
    let scene = Scene::with(|settings| settings.region = "eu-west-1".to_owned()).await;
    assert_eq!(code(scene.client.list_keys().send().await), "InvalidSignatureException");
}

#[tokio::test]
async fn what_is_not_simulated_is_an_unknown_operation() {
    let scene = Scene::new().await;
    assert_eq!(code(scene.client.list_aliases().send().await), "UnknownOperationException");
    assert_eq!(scene.kms.history()[0].operation, None);
}

/// Speaks HTTP by hand, for what no SDK would send.
async fn raw(scene: &Scene, request: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(scene.kms.address).await.expect("connect");
    socket.write_all(request.as_bytes()).await.expect("write");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("read");
    answer
}

#[tokio::test]
async fn an_unsigned_or_half_signed_request_is_refused() {
    let scene = Scene::new().await;
    let head = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Amz-Target: TrentService.ListKeys\r\n";
    let unsigned = raw(&scene, &format!("{head}Content-Length: 2\r\n\r\n{{}}")).await;
    assert!(
        unsigned.starts_with("HTTP/1.1 400") && unsigned.contains("MissingAuthenticationTokenException"),
        "{unsigned}"
    );
    let half = "Authorization: AWS4-HMAC-SHA256 Credential=AKIACALLER/20260101/us-east-1/kms/aws4_request\r\n";
    let half = raw(&scene, &format!("{head}{half}Content-Length: 2\r\n\r\n{{}}")).await;
    assert!(half.contains("IncompleteSignatureException"), "{half}");
    let get = raw(&scene, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(get.starts_with("HTTP/1.1 404") && get.contains("UnknownOperationException"), "{get}");
}

#[tokio::test]
async fn a_request_too_large_is_not_read_to_its_end() {
    let scene = Scene::new().await;
    let id = scene.add(ConnectionState::Connected);
    let update = scene.client.update_custom_key_store().custom_key_store_id(id);
    let error = update.new_custom_key_store_name("x".repeat(64 * 1024)).send().await.expect_err("too large");
    assert!(error.code().is_none(), "{error:?}");
    let call = &scene.kms.history()[0];
    assert_eq!((&call.outcome, call.answered), (&Outcome::Dropped, false));
}

#[tokio::test]
async fn it_listens_on_loopback_only() {
    let mut settings = KmsSettings::new(clock(Arc::default()), CALLER_ID, CALLER_SECRET);
    settings.bind = SocketAddr::from(([192, 0, 2, 1], 0));
    let error = SandboxKms::start(settings).await.err().expect("refused");
    assert!(matches!(error, KmsStartError::NotLoopback(_)), "{error}");
}

#[tokio::test]
async fn dropping_it_stops_it() {
    let scene = Scene::new().await;
    let address = scene.kms.address;
    let tasks = scene.kms.kms.tasks.clone();
    drop(scene.kms);
    eventually("every task ended", || tasks.is_empty()).await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
