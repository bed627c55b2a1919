//! The real daemon before the simulated KMS of three accounts in two Regions: its own, one by a profile, one by a role
//! that STS lets it assume with an external id.

mod world;

use serde_json::{Value, json};
use xks_preflight::sandbox::kms::{KmsFault, Operation};

use crate::daemon::stage::{BOUND, until};
use world::{EXTERNAL_ID, ROLE, World};

/// Every key store of every place is found, and probed if its credential is known; an update of one in an assumed account
/// and another Region runs there and nowhere else.
#[tokio::test]
async fn key_stores_of_three_accounts_and_two_regions_are_found_probed_and_changed_where_they_are() {
    let world = World::new("discovery").await;
    let daemon = world.daemon().await;
    daemon
        .until("all are ready", |told| {
            let ready = |store: &&Value| store["latest"]["verdict"] == "ready";
            told["key_stores"].as_array().unwrap().iter().filter(ready).count() == 6
        })
        .await;
    let told = daemon.told().await;
    assert_eq!(told["describe_failure"], Value::Null);
    let places = told["places"].as_array().unwrap();
    assert!(places.len() == 6 && places.iter().all(|place| place["failure"].is_null()), "{places:?}");
    assert_eq!(told["key_stores"].as_array().unwrap().len(), 7);
    for (place, kms, store) in &world.kms {
        let found = world::find(&told, store);
        assert_eq!(format!("{}/{}", found["account"].as_str().unwrap(), found["region"].as_str().unwrap()), *place);
        assert_eq!(found["configured"], *place == "home/us-east-1");
        assert_eq!(found["description"]["CustomKeyStoreName"], place.replace('/', " ").as_str());
        assert!(kms.history().iter().all(|call| call.operation != Some(Operation::UpdateCustomKeyStore)));
    }
    // Nobody gave us a credential for this one: it is shown, and its proxy is left alone.
    let stranger = world::find(&told, &world.stranger);
    assert_eq!((&stranger["watched"], &stranger["latest"]), (&json!(false), &Value::Null));
    assert!(stranger["not_probed"].as_str().unwrap().starts_with("no credential known"), "{stranger}");

    let (place, store) = ("assumed/eu-west-1", world.store("assumed/eu-west-1").to_owned());
    let update = daemon.change(&store, json!({ "XksProxyUriEndpoint": world::EU_NEW })).await;
    assert_eq!(update["status"], "verified", "{update}");
    for (other, kms, _) in &world.kms {
        let mutations: Vec<_> = kms.mutations().into_iter().filter_map(|call| call.operation).collect();
        let wanted = if *other == place {
            vec![Operation::DisconnectCustomKeyStore, Operation::UpdateCustomKeyStore, Operation::ConnectCustomKeyStore]
        } else {
            Vec::new()
        };
        assert_eq!(mutations, wanted, "{other}");
    }
    assert_eq!(world.kms(place).store(&store).unwrap().external().unwrap().endpoint, world::EU_NEW);

    // One session does for both Regions of the account, and the external id went along.
    let assumed = world.sts.history();
    assert_eq!(assumed.len(), 1, "{assumed:?}");
    for (name, value) in [("RoleArn", ROLE), ("ExternalId", EXTERNAL_ID), ("RoleSessionName", "xks-preflight")] {
        assert!(assumed[0].parameters.contains(&(name.to_owned(), value.to_owned())), "{assumed:?}");
    }
    daemon.terminate().await;
}

/// A role that is denied and a Region that is down are shown as such; what they told before stays, and the others do not
/// notice.
#[tokio::test]
async fn a_place_that_fails_hides_and_delays_no_other() {
    let world = World::new("discovery-failing").await;
    // Denied from the beginning: nothing is ever known of this account.
    world.sts.deny(ROLE, true);
    let daemon = world.daemon().await;
    let failure = |told: &Value, place: &str| world::place(told, place)["failure"].as_str().map(ToOwned::to_owned);
    daemon
        .until("the denied account is shown", |told| {
            let denied = |place| {
                failure(told, place).is_some_and(|why| why.contains("not authorized to perform: sts:AssumeRole"))
            };
            denied("assumed/us-east-1")
                && denied("assumed/eu-west-1")
                && told["key_stores"].as_array().unwrap().len() == 4
        })
        .await;
    // A Region goes down after it told.
    world.kms("profiled/eu-west-1").inject(Operation::DescribeCustomKeyStores, KmsFault::Unavailable, u32::MAX);
    daemon.until("the Region is shown", |told| failure(told, "profiled/eu-west-1").is_some()).await;
    let told = daemon.told().await;
    let kept = world::find(&told, world.store("profiled/eu-west-1"));
    assert_eq!(kept["description"]["ConnectionState"], "CONNECTED", "what it told before");
    assert!(world::place(&told, "profiled/eu-west-1")["told_at"].is_string());
    assert!(world::place(&told, "assumed/eu-west-1")["told_at"].is_null());
    for place in ["home/us-east-1", "home/eu-west-1", "profiled/us-east-1"] {
        assert_eq!(failure(&told, place), None);
    }
    // The others are looked at as before, and changed.
    let home = world::place(&told, "home/eu-west-1")["told_at"].as_str().unwrap().to_owned();
    daemon.until("the others are asked", |told| world::place(told, "home/eu-west-1")["told_at"] != home.as_str()).await;
    let store = world.store("home/eu-west-1").to_owned();
    let update = daemon.change(&store, json!({ "XksProxyUriEndpoint": world::EU_NEW })).await;
    assert_eq!(update["status"], "verified", "{update}");
    // Nothing is planned against a place that does not answer.
    let refused =
        daemon.try_change(world.store("profiled/eu-west-1"), json!({ "XksProxyUriEndpoint": world::EU_NEW })).await;
    assert!(refused.status >= 500, "{}", refused.body);
    assert!(world.kms("profiled/eu-west-1").mutations().is_empty());
    // Both come back by themselves.
    world.sts.deny(ROLE, false);
    world.kms("profiled/eu-west-1").clear_faults();
    daemon
        .until("all tell", |told| {
            let all_well = told["places"].as_array().unwrap().iter().all(|place| place["failure"].is_null());
            all_well && told["key_stores"].as_array().unwrap().len() == 7
        })
        .await;
    daemon.terminate().await;
}

/// A session that has ended is not the end: the role is assumed anew.
#[tokio::test]
async fn a_session_of_another_id_or_without_the_external_id_is_none() {
    let world = World::new("discovery-external-id").await;
    let text = std::fs::read_to_string(world.stage.directory.join("config.toml")).unwrap();
    std::fs::write(world.stage.directory.join("config.toml"), text.replace(EXTERNAL_ID, "another-id")).unwrap();
    let daemon = world.daemon().await;
    let failed = |told: &Value| world::place(told, "assumed/us-east-1")["failure"].is_string();
    daemon.until("the role is refused", failed).await;
    until(BOUND, "it is tried again", || async { world.sts.history().len() > 2 }).await;
    assert!(world.kms("assumed/us-east-1").history().is_empty(), "nothing was signed with other credentials");
    daemon.terminate().await;
}
