//! Callers for some key stores only: which credentials they may give, and what a name is worth in another account.

use serde_json::{Value, json};

use super::world::{self, World};
use crate::daemon::stage::{NEW, Stage, TOKEN};
use crate::peers::{ACCESS_KEY_ID, SECRET};

/// For key stores called home... .
const NAMED: &str = "xkspf_TestNamedDoNotLeak0123456789012345678901234";
/// For one key store of the assumed account, by its id.
const ELSEWHERE: &str = "xkspf_TestElsewhereDoNotLeak01234567890123456789";

fn with_scopes(stage: &Stage, elsewhere: &str) {
    stage.with_people(&[("by-name", NAMED, "operator"), ("by-id", ELSEWHERE, "operator")]);
    for (name, scope) in [("by-name", "home*"), ("by-id", elsewhere)] {
        let line = format!("name = \"{name}\"");
        stage.reconfigured(&line, &format!("{line}\nkey_stores = [\"{scope}\"]"));
    }
}

/// A secret goes to KMS and signs for a proxy: whoever may change some key stores takes nobody else's there.
#[tokio::test]
async fn a_credential_that_no_key_store_has_is_given_to_whom_the_configuration_says() {
    let world = World::new("scopes-credentials").await;
    let (stage, assumed) = (&world.stage, world.store("assumed/us-east-1").to_owned());
    with_scopes(stage, &assumed);
    stage.with_secret("further.secret", SECRET);
    // The proxies know one access key id, and this is about who may name which credential.
    for (name, more) in [("free", ""), ("given", "key_stores = [\"home*\"]\n"), ("lent", "")] {
        stage.configured_with(&format!(
            "[credentials.{name}]\naccess_key_id = \"{ACCESS_KEY_ID}\"\nsecret = {{ file = \"further.secret\" }}\n{more}"
        ));
    }
    stage.reconfigured(
        "external_id = \"external-id-7f3a\"\ncredentials = [\"proxy\"]",
        "external_id = \"external-id-7f3a\"\ncredentials = [\"proxy\", \"lent\"]",
    );
    let daemon = world.daemon().await;
    let all_well = |told: &Value| told["places"].as_array().unwrap().iter().all(|place| place["told_at"].is_string());
    daemon.until("every place told", all_well).await;
    for (token, store, source, allowed) in [
        (NAMED, &stage.key_store, "proxy", true),
        (NAMED, &stage.key_store, "given", true),
        (NAMED, &stage.key_store, "free", false),
        (NAMED, &stage.key_store, "lent", false),
        (NAMED, &stage.key_store, "none-of-this-name", false),
        (ELSEWHERE, &assumed, "lent", true),
        (ELSEWHERE, &assumed, "free", false),
        // Its scope is by name, and names of other accounts are others' to give.
        (ELSEWHERE, &assumed, "given", false),
        // Another key store has it, which is not the caller's.
        (ELSEWHERE, &assumed, "proxy", false),
        (TOKEN, &assumed, "free", true),
        (TOKEN, &stage.key_store, "lent", true),
    ] {
        let body = json!({
            "CustomKeyStoreId": store,
            "XksProxyUriEndpoint": NEW,
            "XksProxyAuthenticationCredential": { "Source": source },
        });
        let answer = daemon.daemon.try_call_as(token, "POST", "/v1/preflights", Some(&body)).await.unwrap();
        assert_eq!(answer.status, if allowed { 200 } else { 403 }, "{source} for {store}: {}", answer.body);
        if !allowed {
            let answer =
                daemon.daemon.try_call_as(token, "POST", "/v1/updates", Some(&stage.body(body))).await.unwrap();
            assert_eq!(answer.status, 403, "{source} for {store}: {}", answer.body);
        }
    }
    daemon.terminate().await;
}

/// Whoever may make key stores in another account names them as they like.
#[tokio::test]
async fn a_scope_by_name_means_the_home_account() {
    let world = World::new("scopes-names").await;
    with_scopes(&world.stage, "cks-0000");
    let impostor = world.store("assumed/us-east-1").to_owned();
    assert!(world.kms("assumed/us-east-1").tamper(&impostor, |store| "home sweet home".clone_into(&mut store.name)));
    let daemon = world.daemon().await;
    let named = |told: &Value| {
        let stores = told["key_stores"].as_array().unwrap();
        stores.iter().any(|store| store["description"]["CustomKeyStoreName"] == "home sweet home")
    };
    daemon.until("the name is told", named).await;
    daemon.until("home told", |told| world::place(told, "home/eu-west-1")["told_at"].is_string()).await;
    let listed = daemon.daemon.try_call_as(NAMED, "GET", "/v1/key-stores", None).await.unwrap().json();
    let mut ids: Vec<&str> =
        listed["key_stores"].as_array().unwrap().iter().map(|store| store["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    let mut home = [world.stage.key_store.as_str(), world.store("home/eu-west-1")];
    home.sort_unstable();
    assert_eq!(ids, home, "both Regions of the home account, and nothing else");
    let change = world.stage.body(json!({ "CustomKeyStoreId": impostor, "NewCustomKeyStoreName": "home of others" }));
    for (method, path, body) in [
        ("GET", format!("/v1/key-stores/{impostor}"), None),
        ("POST", "/v1/updates".to_owned(), Some(&change)),
        ("POST", "/v1/preflights".to_owned(), Some(&change)),
    ] {
        let answer = daemon.daemon.try_call_as(NAMED, method, &path, body).await.unwrap();
        assert_eq!(answer.status, 403, "{method} {path}: {}", answer.body);
    }
    // The same caller may rename its own within its scope, in either Region.
    let own = world
        .stage
        .body(json!({ "CustomKeyStoreId": world.store("home/eu-west-1"), "NewCustomKeyStoreName": "home again" }));
    let answer = daemon.daemon.try_call_as(NAMED, "POST", "/v1/preflights", Some(&own)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    daemon.terminate().await;
}
