use aws_sdk_kms::operation::{describe_custom_key_stores::DescribeCustomKeyStoresOutput, list_keys::ListKeysOutput};
use aws_sdk_kms::types::{ConnectionErrorCodeType, ConnectionStateType, CustomKeyStoreType, KeyState, OriginType};

use super::*;

#[tokio::test]
async fn a_store_shows_everything_but_its_secret() {
    let scene = Scene::new().await;
    let seed = SeedStore::public("vpc", ENDPOINT, PATH, ACCESS_KEY_ID, SECRET)
        .behind_service(SERVICE, "444455556666")
        .in_state(ConnectionState::Failed("XKS_PROXY_TIMED_OUT".to_owned()));
    let id = scene.kms.add_store(seed);
    let answer = scene.client.describe_custom_key_stores().custom_key_store_id(&id).send().await.expect("answer");
    let store = &answer.custom_key_stores()[0];
    assert_eq!(store.custom_key_store_id(), Some(id.as_str()));
    assert_eq!(store.custom_key_store_type(), Some(&CustomKeyStoreType::ExternalKeyStore));
    assert_eq!(store.connection_state(), Some(&ConnectionStateType::Failed));
    assert_eq!(store.connection_error_code(), Some(&ConnectionErrorCodeType::XksProxyTimedOut));
    assert!(store.creation_date().is_some());
    let proxy = store.xks_proxy_configuration().expect("configuration");
    assert_eq!(proxy.uri_endpoint(), Some(ENDPOINT));
    assert_eq!(proxy.uri_path(), Some(PATH));
    assert_eq!(proxy.access_key_id(), Some(ACCESS_KEY_ID));
    assert_eq!(proxy.vpc_endpoint_service_name(), Some(SERVICE));
    assert_eq!(proxy.vpc_endpoint_service_owner(), Some("444455556666"));
    assert!(!format!("{:?}", scene.kms.store(&id)).contains("DoNotLeak"));
}

#[tokio::test]
async fn stores_are_found_by_name_and_missing_ones_are_not() {
    let scene = Scene::new().await;
    let id = scene.add(ConnectionState::Connected);
    let describe = || scene.client.describe_custom_key_stores();
    let found = describe().custom_key_store_name("first").send().await.expect("answer");
    assert_eq!(found.custom_key_stores()[0].custom_key_store_id(), Some(id.as_str()));
    assert_eq!(code(describe().custom_key_store_name("none").send().await), "CustomKeyStoreNotFoundException");
    assert_eq!(code(describe().custom_key_store_id("cks-0").send().await), "CustomKeyStoreNotFoundException");
    let both = describe().custom_key_store_id(&id).custom_key_store_name("first").send().await;
    assert_eq!(code(both), "ValidationException");
    assert_eq!(code(describe().limit(0).send().await), "ValidationException");
}

#[tokio::test]
async fn pages_cover_every_store_once() {
    let scene = Scene::new().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let path = format!("/{n}{PATH}");
        let seed = SeedStore::public(&format!("store {n}"), ENDPOINT, &path, ACCESS_KEY_ID, SECRET);
        ids.push(scene.kms.add_store(seed));
    }
    let pages = scene.client.describe_custom_key_stores().into_paginator().page_size(2).send();
    let pages = pages.try_collect().await.expect("pages");
    assert_eq!(pages.iter().map(|page| page.custom_key_stores().len()).collect::<Vec<_>>(), [2, 2, 1]);
    let stores = pages.iter().flat_map(DescribeCustomKeyStoresOutput::custom_key_stores);
    assert_eq!(stores.filter_map(|store| store.custom_key_store_id()).collect::<Vec<_>>(), ids);
    let wrong = scene.client.describe_custom_key_stores().marker("made up").send().await;
    assert_eq!(code(wrong), "InvalidMarkerException");
}

#[tokio::test]
async fn keys_are_listed_in_pages_and_tell_their_store() {
    let scene = Scene::new().await;
    let id = scene.add(ConnectionState::Connected);
    let external = scene.kms.add_key(&id, "external-1");
    let ordinary = scene.kms.add_ordinary_key();
    let pages = scene.client.list_keys().limit(1).into_paginator().send().try_collect().await.expect("pages");
    let arns: Vec<_> = pages.iter().flat_map(ListKeysOutput::keys).filter_map(|key| key.key_arn()).collect();
    assert_eq!(arns, [&external, &ordinary]);

    let describe = |arn: &str| scene.client.describe_key().key_id(arn).send();
    let key = describe(&external).await.expect("key").key_metadata.expect("metadata");
    assert_eq!(key.origin(), Some(&OriginType::ExternalKeyStore));
    assert_eq!(key.custom_key_store_id(), Some(id.as_str()));
    assert_eq!(key.xks_key_configuration().and_then(|key| key.id()), Some("external-1"));
    assert_eq!(key.key_state(), Some(&KeyState::Enabled));
    let by_id = describe(key.key_id()).await.expect("key").key_metadata.expect("metadata");
    assert_eq!(by_id.arn(), Some(external.as_str()));
    let key = describe(&ordinary).await.expect("key").key_metadata.expect("metadata");
    assert_eq!((key.origin(), key.custom_key_store_id()), (Some(&OriginType::AwsKms), None));

    scene.kms.tamper(&id, |store| store.connection = ConnectionState::Disconnected);
    let key = describe(&external).await.expect("key").key_metadata.expect("metadata");
    assert_eq!(key.key_state(), Some(&KeyState::Unavailable));
    assert_eq!(code(describe("nothing").await), "NotFoundException");
}
