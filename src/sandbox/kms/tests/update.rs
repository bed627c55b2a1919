use aws_sdk_kms::types::XksProxyConnectivityType as Connectivity;

use super::*;

fn update(
    scene: &Scene,
    id: &str,
) -> aws_sdk_kms::operation::update_custom_key_store::builders::UpdateCustomKeyStoreFluentBuilder {
    scene.client.update_custom_key_store().custom_key_store_id(id)
}

#[tokio::test]
async fn a_name_changes_without_a_word_to_the_proxy() {
    let scene = Scene::new().await;
    let id = scene.add(ConnectionState::Connected);
    update(&scene, &id).new_custom_key_store_name("second").send().await.expect("update");
    assert_eq!(scene.kms.store(&id).expect("store").name, "second");
    assert_eq!(scene.peer.connections(), 0);
}

#[tokio::test]
async fn path_and_credential_change_while_connected_after_the_proxy_was_asked() {
    let scene = Scene::new().await;
    let id = scene.add(ConnectionState::Connected);
    let new_path = "/two/kms/xks/v1";
    let call = update(&scene, &id).xks_proxy_uri_path(new_path);
    call.xks_proxy_authentication_credential(credential(NEW_SECRET)).send().await.expect("update");

    let store = scene.kms.store(&id).expect("store");
    let xks = store.external().expect("external");
    assert_eq!((xks.path.as_str(), xks.secret.expose()), (new_path, NEW_SECRET));
    assert_eq!(store.connection, ConnectionState::Connected);
    assert_eq!(scene.peer.operations(), ["UpdateCustomKeyStore"]);
    // The call carries the new settings and a signature that holds under the new secret.
    let (head, body) = scene.peer.requests().remove(0);
    assert_eq!(head.uri.path(), "/two/kms/xks/v1/health");
    assert_eq!(head.headers["host"], HOST);
    let verifier = |secret: &str| signature::Verifier {
        access_key_id: ACCESS_KEY_ID.to_owned(),
        secret: Secret::new(secret),
        region: "us-east-1".to_owned(),
        service: "kms-xks-proxy",
    };
    let now = clock(scene.skew.clone())();
    verifier(NEW_SECRET).verify(&head, &body, now).expect("signature");
    assert!(verifier(SECRET).verify(&head, &body, now).is_err());
}

#[tokio::test]
async fn endpoint_service_and_connectivity_need_a_disconnected_store() {
    let scene = Scene::new().await;
    let id = scene.add(ConnectionState::Connected);
    let public = update(&scene, &id).xks_proxy_connectivity(Connectivity::PublicEndpoint);
    assert_eq!(code(public.xks_proxy_uri_endpoint(ENDPOINT).send().await), "CustomKeyStoreInvalidStateException");
    let endpoint = update(&scene, &id).xks_proxy_uri_endpoint("https://other.sandbox.test");
    assert_eq!(code(endpoint.send().await), "CustomKeyStoreInvalidStateException");
    assert_eq!(scene.peer.connections(), 0);
}

#[tokio::test]
async fn nothing_changes_in_a_failed_or_moving_store() {
    let scene = Scene::with(|settings| {
        settings.connect_delay = Duration::from_mins(5);
        settings.disconnect_delay = Duration::from_mins(5);
    })
    .await;
    let failed = ConnectionState::Failed("INTERNAL_ERROR".to_owned());
    for state in [failed, ConnectionState::Connecting, ConnectionState::Disconnecting] {
        let seed = SeedStore::public(state.as_str(), ENDPOINT, PATH, ACCESS_KEY_ID, SECRET);
        let id = scene.kms.add_store(seed.in_state(state.clone()));
        let result = update(&scene, &id).new_custom_key_store_name("new").send().await;
        assert_eq!(code(result), "CustomKeyStoreInvalidStateException", "{state:?}");
    }
}

#[tokio::test]
async fn a_public_store_moves_behind_a_service_and_back() {
    let scene = Scene::with(|settings| {
        settings.vpc_services = Some([(SERVICE.to_owned(), HOST.to_owned())].into());
    })
    .await;
    let id = scene.add(ConnectionState::Disconnected);
    let to_vpc = || update(&scene, &id).xks_proxy_connectivity(Connectivity::VpcEndpointService);
    assert_eq!(code(to_vpc().xks_proxy_uri_endpoint(ENDPOINT).send().await), "ValidationException");
    let unknown = "com.amazonaws.vpce.us-east-1.vpce-svc-0000000000000000f";
    let call = |name: &str, endpoint: &str| {
        to_vpc().xks_proxy_uri_endpoint(endpoint).xks_proxy_vpc_endpoint_service_name(name).send()
    };
    assert_eq!(code(call(unknown, ENDPOINT).await), "XksProxyVpcEndpointServiceNotFoundException");
    let other_host = call(SERVICE, "https://other.sandbox.test").await;
    assert_eq!(code(other_host), "XksProxyVpcEndpointServiceInvalidConfigurationException");
    call(SERVICE, ENDPOINT).await.expect("to VPC");
    let service =
        super::super::Connectivity::VpcEndpointService { name: SERVICE.to_owned(), owner: "111122223333".to_owned() };
    let connectivity = || scene.kms.store(&id).expect("store").external().expect("external").connectivity.clone();
    assert_eq!(connectivity(), service);
    // KMS has no path to a proxy behind a disconnected service.
    assert_eq!(scene.peer.connections(), 0);

    let to_public = || update(&scene, &id).xks_proxy_connectivity(Connectivity::PublicEndpoint);
    assert_eq!(code(to_public().send().await), "ValidationException");
    let back = to_public().xks_proxy_uri_endpoint(ENDPOINT).xks_proxy_vpc_endpoint_service_name("");
    back.send().await.expect("to public");
    assert_eq!(connectivity(), super::super::Connectivity::Public);
    assert_eq!(scene.peer.operations(), ["UpdateCustomKeyStore"]);
}

#[tokio::test]
async fn what_other_stores_use_is_refused() {
    let scene = Scene::new().await;
    let id = scene.add(ConnectionState::Disconnected);
    let public = SeedStore::public("public", ENDPOINT, "/two/kms/xks/v1", ACCESS_KEY_ID, SECRET);
    scene.kms.add_store(public);
    let vpc = SeedStore::public("vpc", "https://vpc.sandbox.test", PATH, ACCESS_KEY_ID, SECRET);
    scene.kms.add_store(vpc.behind_service(SERVICE, "111122223333"));

    let name = update(&scene, &id).new_custom_key_store_name("vpc").send().await;
    assert_eq!(code(name), "CustomKeyStoreNameInUseException");
    let uri = update(&scene, &id).xks_proxy_uri_path("/two/kms/xks/v1").send().await;
    assert_eq!(code(uri), "XksProxyUriInUseException");
    let endpoint = update(&scene, &id).xks_proxy_uri_endpoint("https://VPC.sandbox.test").send().await;
    assert_eq!(code(endpoint), "XksProxyUriEndpointInUseException");
    let service = update(&scene, &id)
        .xks_proxy_connectivity(Connectivity::VpcEndpointService)
        .xks_proxy_uri_endpoint("https://new.sandbox.test")
        .xks_proxy_vpc_endpoint_service_name(SERVICE);
    assert_eq!(code(service.send().await), "XksProxyVpcEndpointServiceInUseException");
    assert!(scene.kms.mutations().is_empty());
}

#[tokio::test]
async fn every_answer_of_a_proxy_has_its_exception_and_leaves_the_store_alone() {
    let scene = Scene::new().await;
    let id = scene.add(ConnectionState::Connected);
    let cases = [
        (401, "AuthenticationFailedException", "XksProxyIncorrectAuthenticationCredentialException"),
        (404, "InvalidUriPathException", "XksProxyInvalidConfigurationException"),
        (429, "ThrottlingException", "XksProxyUriUnreachableException"),
        (503, "DependencyTimeoutException", "XksProxyUriUnreachableException"),
        (500, "InternalException", "XksProxyInvalidResponseException"),
        (400, "ValidationException", "XksProxyInvalidResponseException"),
        (418, "TeapotException", "XksProxyInvalidResponseException"),
    ];
    for (status, error, exception) in cases {
        scene.peer.refuses(status, error);
        let result = update(&scene, &id).xks_proxy_uri_path("/two/kms/xks/v1").send().await;
        assert_eq!(code(result), exception, "{error}");
    }
    let bodies = [
        (peer::health(&["UNAVAILABLE", "UNAVAILABLE"]), "XksProxyUriUnreachableException"),
        (peer::health(&["ACTIVE", "BROKEN"]), "XksProxyInvalidResponseException"),
        (peer::health(&[]), "XksProxyInvalidResponseException"),
        (serde_json::json!("no object"), "XksProxyInvalidResponseException"),
    ];
    for (body, exception) in bodies {
        scene.peer.answers(200, &body);
        let result = update(&scene, &id).xks_proxy_uri_path("/two/kms/xks/v1").send().await;
        assert_eq!(code(result), exception, "{body}");
    }
    assert_eq!(scene.kms.store(&id).expect("store").external().expect("external").path, PATH);
    scene.peer.answers(200, &peer::health(&["UNAVAILABLE", "DEGRADED"]));
    update(&scene, &id).xks_proxy_uri_path("/two/kms/xks/v1").send().await.expect("one manager is enough");
}

#[tokio::test]
async fn a_silent_proxy_is_asked_twice() {
    let scene = Scene::with(|settings| settings.attempt_timeout = Duration::from_millis(250)).await;
    scene.peer.holds();
    let id = scene.add(ConnectionState::Connected);
    let result = update(&scene, &id).xks_proxy_uri_path("/two/kms/xks/v1").send().await;
    assert_eq!(code(result), "XksProxyUriUnreachableException");
    assert_eq!(scene.peer.connections(), 2);
}

#[tokio::test]
async fn a_proxy_that_cannot_be_trusted_or_found_is_unreachable() {
    let scene = Scene::with(|settings| settings.roots = RootCertStore::empty()).await;
    let id = scene.add(ConnectionState::Disconnected);
    let path = update(&scene, &id).xks_proxy_uri_path("/two/kms/xks/v1").send().await;
    assert_eq!(code(path), "XksProxyUriUnreachableException");
    // No signature goes to a server that has not proved who it is.
    assert!(scene.peer.requests().is_empty());
    let endpoint = update(&scene, &id).xks_proxy_uri_endpoint("https://nowhere.sandbox.test").send().await;
    assert_eq!(code(endpoint), "XksProxyUriUnreachableException");
}

#[tokio::test]
async fn broken_parameters_are_named_without_echoing_secrets() {
    let scene = Scene::new().await;
    let id = scene.add(ConnectionState::Connected);
    let port = update(&scene, &id).xks_proxy_uri_endpoint("https://proxy.sandbox.test:8443").send().await;
    let message_of_port = message(port);
    assert!(message_of_port.contains("at 'xksProxyUriEndpoint' failed to satisfy constraint"), "{message_of_port}");
    let short = update(&scene, &id).xks_proxy_authentication_credential(credential("ShortDoNotLeak")).send().await;
    let message_of_secret = message(short);
    assert!(message_of_secret.contains("greater than or equal to 43"), "{message_of_secret}");
    assert!(!message_of_secret.contains("DoNotLeak"), "{message_of_secret}");
    let mixed = update(&scene, &id).cloud_hsm_cluster_id("cluster-234567abcdef").send().await;
    assert_eq!(code(mixed), "ValidationException");
    let service = update(&scene, &id).xks_proxy_vpc_endpoint_service_name(SERVICE).send().await;
    assert_eq!(code(service), "ValidationException");
    let missing = update(&scene, "cks-0").new_custom_key_store_name("x").send().await;
    assert_eq!(code(missing), "CustomKeyStoreNotFoundException");
    let history = format!("{:?}", scene.kms.history());
    assert!(!history.contains("DoNotLeak"), "{history}");
}
