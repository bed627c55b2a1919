use aws_sdk_kms::types::ConnectionStateType;

use super::*;

async fn rename(
    scene: &Scene,
    id: &str,
) -> Result<(), SdkError<aws_sdk_kms::operation::update_custom_key_store::UpdateCustomKeyStoreError>> {
    let update = scene.client.update_custom_key_store().custom_key_store_id(id);
    update.new_custom_key_store_name("renamed").send().await.map(drop)
}

#[tokio::test]
async fn exceptions_come_on_command_and_only_as_often_as_told() {
    let scene = Scene::new().await;
    let id = scene.add(ConnectionState::Connected);
    let named = KmsFault::Exception { name: "ExpiredTokenException".to_owned(), message: "expired".to_owned() };
    for (fault, name, status) in [
        (KmsFault::Throttling, "ThrottlingException", 400),
        (KmsFault::Internal, "KMSInternalException", 500),
        (KmsFault::AccessDenied, "AccessDeniedException", 400),
        (named, "ExpiredTokenException", 400),
    ] {
        scene.kms.inject(Operation::UpdateCustomKeyStore, fault, 2);
        for _ in 0..2 {
            let error = rename(&scene, &id).await.expect_err("fault");
            assert_eq!(error.raw_response().map(|raw| raw.status().as_u16()), Some(status));
            assert_eq!(error.code(), Some(name));
        }
    }
    assert!(scene.kms.mutations().is_empty());
    scene.client.describe_custom_key_stores().send().await.expect("other operations are spared");
    rename(&scene, &id).await.expect("the faults are used up");
}

#[tokio::test]
async fn a_bare_503_has_no_exception() {
    let scene = Scene::new().await;
    let id = scene.add(ConnectionState::Connected);
    scene.kms.inject(Operation::UpdateCustomKeyStore, KmsFault::Unavailable, 1);
    let error = rename(&scene, &id).await.expect_err("503");
    assert_eq!(error.raw_response().map(|raw| raw.status().as_u16()), Some(503));
    assert_eq!(error.code(), None);
    assert_eq!(scene.kms.history()[0].outcome, Outcome::Failed("503".to_owned()));
}

#[tokio::test]
async fn a_reply_can_be_lost_before_and_after_the_change() {
    let scene = Scene::new().await;
    let id = scene.add(ConnectionState::Connected);
    scene.kms.inject(Operation::UpdateCustomKeyStore, KmsFault::ReplyLost { applied: false }, 1);
    scene.kms.inject(Operation::UpdateCustomKeyStore, KmsFault::ReplyLost { applied: true }, 1);
    for applied in [false, true] {
        let error = rename(&scene, &id).await.expect_err("no reply");
        assert!(matches!(error, SdkError::DispatchFailure(_) | SdkError::ResponseError(_)), "{error:?}");
        assert_eq!(scene.kms.store(&id).expect("store").name == "renamed", applied);
    }
    let calls = scene.kms.history();
    let seen: Vec<_> = calls.iter().map(|call| (&call.outcome, call.applied, call.answered)).collect();
    assert_eq!(seen, [(&Outcome::Dropped, false, false), (&Outcome::Succeeded, true, false)]);
}

#[tokio::test]
async fn a_call_can_hang_before_and_after_the_change() {
    let scene = Scene::new().await;
    let id = scene.add(ConnectionState::Connected);
    for applied in [false, true] {
        scene.kms.inject(Operation::UpdateCustomKeyStore, KmsFault::Hang { applied }, 1);
        let calls = scene.kms.history().len();
        let call = rename(&scene, &id);
        let settled = eventually("the call taken", || {
            scene.kms.history().get(calls).is_some_and(|call| call.outcome != Outcome::Pending)
        });
        tokio::select! {
            answer = call => panic!("an answer: {answer:?}"),
            () = settled => {}
        }
        assert_eq!(scene.kms.store(&id).expect("store").name == "renamed", applied);
    }
    // Hanging calls do not hold the sandbox up.
    tokio::time::timeout(Duration::from_secs(20), scene.kms.shutdown()).await.expect("shutdown");
}

#[tokio::test]
async fn a_change_goes_on_when_the_caller_hangs_up() {
    let scene = Scene::new().await;
    let id = scene.add(ConnectionState::Connected);
    scene.peer.holds();
    let update = scene.client.update_custom_key_store().custom_key_store_id(&id);
    let call = update.xks_proxy_uri_path("/two/kms/xks/v1").send();
    tokio::select! {
        answer = call => panic!("an answer: {answer:?}"),
        () = eventually("the proxy asked", || !scene.peer.requests().is_empty()) => {}
    }
    scene.peer.releases();
    eventually("the change made", || scene.kms.mutations().len() == 1).await;
    assert_eq!(scene.kms.store(&id).expect("store").external().expect("external").path, "/two/kms/xks/v1");
}

#[tokio::test]
async fn a_connect_can_fail_or_never_end() {
    let scene = Scene::new().await;
    let id = scene.add(ConnectionState::Disconnected);
    let connect = || scene.client.connect_custom_key_store().custom_key_store_id(&id).send();
    let disconnect = || scene.client.disconnect_custom_key_store().custom_key_store_id(&id).send();
    scene.kms.inject(Operation::ConnectCustomKeyStore, KmsFault::ConnectFails("USER_LOCKED_OUT".to_owned()), 1);
    scene.kms.inject(Operation::ConnectCustomKeyStore, KmsFault::NeverCompletes, 1);
    scene.kms.inject(Operation::DisconnectCustomKeyStore, KmsFault::Slow(Duration::from_millis(1)), 1);
    scene.kms.inject(Operation::DisconnectCustomKeyStore, KmsFault::NeverCompletes, 1);
    connect().await.expect("accepted");
    assert_eq!(scene.state(&id), ConnectionState::Failed("USER_LOCKED_OUT".to_owned()));
    disconnect().await.expect("disconnect");
    assert_eq!(scene.state(&id), ConnectionState::Disconnected);
    connect().await.expect("accepted");
    assert_eq!(scene.peer.connections(), 0);
    tokio::time::pause();
    tokio::time::advance(Duration::from_hours(24)).await;
    assert_eq!(scene.state(&id), ConnectionState::Connecting);
    tokio::time::resume();
    disconnect().await.expect("disconnect");
    tokio::time::pause();
    tokio::time::advance(Duration::from_hours(24)).await;
    assert_eq!(scene.state(&id), ConnectionState::Disconnecting);
}

#[tokio::test]
async fn a_late_answer_of_a_proxy_does_not_end_a_newer_transition() {
    let scene = Scene::new().await;
    let id = scene.add(ConnectionState::Disconnected);
    scene.peer.holds();
    scene.client.connect_custom_key_store().custom_key_store_id(&id).send().await.expect("connect");
    eventually("the proxy asked", || !scene.peer.requests().is_empty()).await;
    scene.client.disconnect_custom_key_store().custom_key_store_id(&id).send().await.expect("disconnect");
    assert_eq!(scene.state(&id), ConnectionState::Disconnected);
    scene.peer.releases();
    // The listener and the client's connection are left once the answer is taken in.
    eventually("the connect given up", || scene.kms.kms.tasks.len() <= 2).await;
    assert_eq!(scene.state(&id), ConnectionState::Disconnected);
}

#[tokio::test]
async fn an_unknown_state_can_be_shown_once() {
    let scene = Scene::new().await;
    scene.add(ConnectionState::Connected);
    let fault = KmsFault::ShowsState("RECONNECTING".to_owned());
    scene.kms.inject(Operation::DescribeCustomKeyStores, fault, 1);
    let mut states = Vec::new();
    for _ in 0..2 {
        let answer = scene.client.describe_custom_key_stores().send().await.expect("answer");
        states.push(answer.custom_key_stores()[0].connection_state().expect("state").as_str().to_owned());
    }
    assert_eq!(states, ["RECONNECTING", ConnectionStateType::Connected.as_str()]);
}

#[tokio::test]
async fn somebody_else_changes_a_store_without_a_trace() {
    let scene = Scene::new().await;
    let id = scene.add(ConnectionState::Connected);
    assert!(scene.kms.tamper(&id, |store| {
        store.name = "theirs".to_owned();
        store.id = "cks-forged".to_owned();
    }));
    assert!(!scene.kms.tamper("cks-0", |_| {}));
    let answer = scene.client.describe_custom_key_stores().custom_key_store_id(&id).send().await.expect("answer");
    assert_eq!(answer.custom_key_stores()[0].custom_key_store_name(), Some("theirs"));
    assert!(scene.kms.mutations().is_empty());
}

#[tokio::test]
async fn somebody_else_comes_right_before_a_call() {
    let scene = Scene::new().await;
    let id = scene.add(ConnectionState::Connected);
    scene.kms.tamper_before(Operation::UpdateCustomKeyStore, &id, |store| {
        store.connection = ConnectionState::Failed("INTERNAL_ERROR".to_owned());
    });
    scene.client.describe_custom_key_stores().send().await.expect("another operation");
    assert_eq!(scene.state(&id), ConnectionState::Connected);
    assert_eq!(code(rename(&scene, &id).await), "CustomKeyStoreInvalidStateException");
}

#[tokio::test]
async fn what_changed_while_the_proxy_was_asked_is_decided_anew() {
    let scene = Scene::new().await;
    let id = scene.add(ConnectionState::Connected);
    scene.peer.holds();
    let update = scene.client.update_custom_key_store().custom_key_store_id(&id);
    let call = update.xks_proxy_uri_path("/two/kms/xks/v1").send();
    let (answer, ()) = tokio::join!(call, async {
        eventually("the proxy asked", || !scene.peer.requests().is_empty()).await;
        scene.kms.tamper(&id, |store| store.connection = ConnectionState::Disconnecting);
        scene.peer.releases();
    });
    assert_eq!(code(answer), "CustomKeyStoreInvalidStateException");
    assert!(scene.kms.mutations().is_empty());
}
