use aws_sdk_kms::types::{CustomKeyStoreType, XksProxyConnectivityType};

use super::*;
use crate::sandbox::cloudhsm::{Cluster, Clusters, WRONG_PASSWORDS};

#[tokio::test]
async fn a_store_goes_round_its_states() {
    let scene = Scene::new().await;
    let id = scene.add(ConnectionState::Disconnected);
    let connect = || scene.client.connect_custom_key_store().custom_key_store_id(&id).send();
    let disconnect = || scene.client.disconnect_custom_key_store().custom_key_store_id(&id).send();
    assert_eq!(code(disconnect().await), "CustomKeyStoreInvalidStateException");
    connect().await.expect("connect");
    scene.reaches(&id, ConnectionState::Connected).await;
    assert_eq!(scene.peer.operations(), ["ConnectCustomKeyStore"]);
    connect().await.expect("a connected store takes another connect");
    disconnect().await.expect("disconnect");
    scene.reaches(&id, ConnectionState::Disconnected).await;

    let applied: Vec<_> = scene.kms.mutations().iter().map(|call| (call.sequence, call.operation)).collect();
    let expected = [(2, Some(Operation::ConnectCustomKeyStore)), (4, Some(Operation::DisconnectCustomKeyStore))];
    assert_eq!(applied, expected);
}

#[tokio::test]
async fn a_failed_connect_says_why_and_only_disconnect_leads_out() {
    let scene = Scene::new().await;
    scene.peer.refuses(401, "AuthenticationFailedException");
    let id = scene.add(ConnectionState::Disconnected);
    scene.client.connect_custom_key_store().custom_key_store_id(&id).send().await.expect("accepted all the same");
    scene.reaches(&id, ConnectionState::Failed("INVALID_CREDENTIALS".to_owned())).await;
    let again = scene.client.connect_custom_key_store().custom_key_store_id(&id).send().await;
    assert_eq!(code(again), "CustomKeyStoreInvalidStateException");
    scene.client.disconnect_custom_key_store().custom_key_store_id(&id).send().await.expect("disconnect");
    scene.reaches(&id, ConnectionState::Disconnected).await;
}

#[tokio::test]
async fn every_failure_of_a_proxy_has_its_connection_error_code() {
    let scene = Scene::new().await;
    let untrusted = Peer::start("untrusted.sandbox.test").await;
    scene.kms.route("untrusted.sandbox.test", untrusted.address);
    let id = scene.add(ConnectionState::Disconnected);
    let ends = async |expected: &str| {
        scene.kms.tamper(&id, |store| store.connection = ConnectionState::Disconnected);
        scene.client.connect_custom_key_store().custom_key_store_id(&id).send().await.expect("accepted");
        scene.reaches(&id, ConnectionState::Failed(expected.to_owned())).await;
    };
    let cases = [
        (403, "AccessDeniedException", "XKS_PROXY_ACCESS_DENIED"),
        (404, "InvalidUriPathException", "XKS_PROXY_INVALID_CONFIGURATION"),
        (503, "DependencyTimeoutException", "XKS_PROXY_TIMED_OUT"),
        (500, "InternalException", "XKS_PROXY_INVALID_RESPONSE"),
    ];
    for (status, error, code) in cases {
        scene.peer.refuses(status, error);
        ends(code).await;
    }
    scene.peer.answers(200, &peer::health(&["UNAVAILABLE"]));
    ends("XKS_PROXY_NOT_REACHABLE").await;
    let endpoint = |host: &'static str| {
        move |store: &mut Store| {
            if let Backing::External(xks) = &mut store.backing {
                xks.endpoint = format!("https://{host}");
            }
        }
    };
    scene.kms.tamper(&id, endpoint("nowhere.sandbox.test"));
    ends("XKS_PROXY_NOT_REACHABLE").await;
    scene.kms.tamper(&id, endpoint("untrusted.sandbox.test"));
    ends("XKS_PROXY_INVALID_TLS_CONFIGURATION").await;
}

#[tokio::test]
async fn a_store_behind_a_service_is_checked_when_it_connects() {
    let scene = Scene::new().await;
    let seed = SeedStore::public("vpc", ENDPOINT, PATH, ACCESS_KEY_ID, SECRET).behind_service(SERVICE, "111122223333");
    let id = scene.kms.add_store(seed.in_state(ConnectionState::Disconnected));
    let connect = || scene.client.connect_custom_key_store().custom_key_store_id(&id).send();
    scene.kms.set_vpc_services(Some([].into()));
    connect().await.expect("accepted");
    scene.reaches(&id, ConnectionState::Failed("XKS_VPC_ENDPOINT_SERVICE_NOT_FOUND".to_owned())).await;
    scene.kms.tamper(&id, |store| store.connection = ConnectionState::Disconnected);
    scene.kms.set_vpc_services(Some([(SERVICE.to_owned(), HOST.to_owned())].into()));
    connect().await.expect("accepted");
    scene.reaches(&id, ConnectionState::Connected).await;
    assert_eq!(scene.peer.operations(), ["ConnectCustomKeyStore"]);
}

#[tokio::test]
async fn a_cloud_hsm_store_takes_its_twenty_minutes() {
    let scene = Scene::with(|settings| settings.connect_delay = Duration::from_mins(20)).await;
    let seed = SeedStore::cloud_hsm("hsm", "cluster-234567abcdef", "OldDoNotLeak", "anchor");
    let id = scene.kms.add_store(seed.in_state(ConnectionState::Disconnected));
    let update = scene.client.update_custom_key_store().custom_key_store_id(&id);
    update.key_store_password("NewDoNotLeak").send().await.expect("update");
    scene.client.connect_custom_key_store().custom_key_store_id(&id).send().await.expect("connect");
    let update = scene.client.update_custom_key_store().custom_key_store_id(&id);
    let password = update.key_store_password("OtherDoNotLeak").send().await;
    assert_eq!(code(password), "CustomKeyStoreInvalidStateException");
    // Nothing waits on a socket while time stands still.
    tokio::time::pause();
    tokio::time::advance(Duration::from_mins(19)).await;
    assert_eq!(scene.state(&id), ConnectionState::Connecting);
    tokio::time::advance(Duration::from_mins(1)).await;
    assert_eq!(scene.state(&id), ConnectionState::Connected);
    tokio::time::resume();
    assert!(!format!("{:?}", scene.kms.history()).contains("DoNotLeak"));
}

#[tokio::test]
async fn a_store_is_created_and_deleted() {
    let scene = Scene::with(|settings| settings.store_quota = 1).await;
    let create = |name: &str| {
        scene
            .client
            .create_custom_key_store()
            .custom_key_store_name(name)
            .custom_key_store_type(CustomKeyStoreType::ExternalKeyStore)
            .xks_proxy_connectivity(XksProxyConnectivityType::PublicEndpoint)
            .xks_proxy_uri_endpoint(ENDPOINT)
            .xks_proxy_authentication_credential(credential(SECRET))
    };
    assert_eq!(code(create("new").send().await), "ValidationException");
    scene.peer.refuses(404, "InvalidUriPathException");
    let refused = create("new").xks_proxy_uri_path(PATH).send().await;
    assert_eq!(code(refused), "XksProxyInvalidConfigurationException");
    scene.peer.answers(200, &peer::health(&["ACTIVE"]));
    let made = create("new").xks_proxy_uri_path(PATH).send().await.expect("create");
    let id = made.custom_key_store_id().expect("id");
    assert!(id.len() == 21 && id.starts_with("cks-"), "{id}");
    assert_eq!(scene.state(id), ConnectionState::Disconnected);
    assert_eq!(scene.peer.operations(), ["CreateCustomKeyStore", "CreateCustomKeyStore"]);
    let more = create("more").xks_proxy_uri_path(PATH).send().await;
    assert_eq!(code(more), "LimitExceededException");

    let delete = |id: &str| scene.client.delete_custom_key_store().custom_key_store_id(id).send();
    scene.kms.tamper(id, |store| store.connection = ConnectionState::Connected);
    assert_eq!(code(delete(id).await), "CustomKeyStoreInvalidStateException");
    scene.kms.tamper(id, |store| store.connection = ConnectionState::Disconnected);
    delete(id).await.expect("delete");
    assert!(scene.kms.store(id).is_none());
    let full = scene.add(ConnectionState::Disconnected);
    scene.kms.add_key(&full, "external");
    assert_eq!(code(delete(&full).await), "CustomKeyStoreHasCMKsException");
}

#[tokio::test]
async fn a_cloud_hsm_store_needs_a_cluster_that_is_there_and_free() {
    let cluster = "cluster-234567abcdef";
    let clusters = Clusters::default();
    clusters.put(Cluster::active(cluster, "certificate", "CreateDoNotLeak"));
    let scene = Scene::with(|settings| settings.clusters = Some(clusters.clone())).await;
    let create = |name: &str, cluster: &str| {
        let create = scene.client.create_custom_key_store().custom_key_store_name(name);
        create.cloud_hsm_cluster_id(cluster).key_store_password("CreateDoNotLeak").trust_anchor_certificate("anchor")
    };
    let unknown = create("hsm", "cluster-777777abcdef").send().await;
    assert_eq!(code(unknown), "CloudHsmClusterNotFoundException");
    let made = create("hsm", cluster).send().await.expect("create");
    assert_eq!(code(create("more", cluster).send().await), "CloudHsmClusterInUseException");
    let id = made.custom_key_store_id().expect("id");
    let found = scene.client.describe_custom_key_stores().custom_key_store_id(id).send().await.expect("answer");
    let store = &found.custom_key_stores()[0];
    assert_eq!(store.custom_key_store_type(), Some(&CustomKeyStoreType::AwsCloudhsm));
    assert_eq!((store.cloud_hsm_cluster_id(), store.trust_anchor_certificate()), (Some(cluster), Some("anchor")));
    assert!(store.xks_proxy_configuration().is_none());
    clusters.change(cluster, |cluster| cluster.deleted = true);
    scene.client.connect_custom_key_store().custom_key_store_id(id).send().await.expect("accepted");
    scene.reaches(id, ConnectionState::Failed("CLUSTER_NOT_FOUND".to_owned())).await;
    assert!(!format!("{:?} {:?}", scene.kms.history(), scene.kms.store(id)).contains("DoNotLeak"));
}

#[tokio::test]
async fn a_connect_logs_in_once_and_five_wrong_passwords_lock_kmsuser_out() {
    let cluster = "cluster-234567abcdef";
    let clusters = Clusters::default();
    clusters.put(Cluster::active(cluster, "certificate", "RightDoNotLeak"));
    let scene = Scene::with(|settings| settings.clusters = Some(clusters.clone())).await;
    let seed = SeedStore::cloud_hsm("hsm", cluster, "WrongDoNotLeak", "anchor");
    let id = scene.kms.add_store(seed.in_state(ConnectionState::Disconnected));
    let connect = async |end: ConnectionState| {
        scene.kms.tamper(&id, |store| store.connection = ConnectionState::Disconnected);
        scene.client.connect_custom_key_store().custom_key_store_id(&id).send().await.expect("accepted");
        scene.reaches(&id, end).await;
    };
    for wrong in 1..=WRONG_PASSWORDS {
        connect(ConnectionState::Failed("INVALID_CREDENTIALS".to_owned())).await;
        assert_eq!(clusters.find(cluster).and_then(|cluster| cluster.kmsuser).map(|user| user.wrong), Some(wrong));
    }
    connect(ConnectionState::Failed("USER_LOCKED_OUT".to_owned())).await;
    clusters.put(Cluster::active(cluster, "certificate", "WrongDoNotLeak"));
    connect(ConnectionState::Connected).await;
    let user = clusters.find(cluster).and_then(|cluster| cluster.kmsuser).expect("kmsuser");
    assert_ne!(user.password.expose(), "WrongDoNotLeak", "KMS changes the password");
    connect(ConnectionState::Connected).await;
}
