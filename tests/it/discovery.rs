//! The real daemon before the simulated KMS of three accounts in two Regions: its own, one by a profile, one by a role
//! that STS lets it assume with an external id.

mod scopes;
pub(crate) mod world;

use serde_json::{Value, json};
use xks_preflight::sandbox::kms::{Backing, KmsFault, Operation};

use crate::daemon::stage::{BOUND, KMS_ID, until};
use crate::kms_endpoint;
use world::{EXTERNAL_ID, ROLE, World};

/// Every key store of every place is found, and probed if its credential is one of its place; an update of one in an
/// assumed account and another Region runs there and nowhere else.
#[tokio::test]
async fn key_stores_of_three_accounts_and_two_regions_are_found_probed_and_changed_where_they_are() {
    let world = World::new("discovery").await;
    let daemon = world.daemon().await;
    daemon
        .until("all are ready", |told| {
            let ready = |store: &&Value| store["latest"]["verdict"] == "ready";
            told["key_stores"].as_array().unwrap().iter().filter(ready).count() == 4
        })
        .await;
    let told = daemon.told().await;
    assert_eq!(told["describe_failure"], Value::Null);
    let places = told["places"].as_array().unwrap();
    assert!(places.len() == 6 && places.iter().all(|place| place["failure"].is_null()), "{places:?}");
    assert_eq!(told["key_stores"].as_array().unwrap().len(), 7);
    for (place, kms, store) in world.all() {
        let found = world::find(&told, store);
        assert_eq!(format!("{}/{}", found["account"].as_str().unwrap(), found["region"].as_str().unwrap()), place);
        assert_eq!(found["configured"], place == world::HOME);
        assert_eq!(found["watched"], !place.starts_with("profiled/"), "{found}");
        assert_eq!(found["description"]["CustomKeyStoreName"], place.replace('/', " ").as_str());
        assert!(kms.history().iter().all(|call| call.operation != Some(Operation::UpdateCustomKeyStore)));
    }
    // Nobody gave us a credential for this one: it is shown, and its proxy is left alone.
    let mut strangers = vec![world.stranger.as_str()];
    // These state an access key id of ours, in an account that no credential is lent to: our secret signs nothing there.
    strangers.extend(["profiled/us-east-1", "profiled/eu-west-1"].map(|place| world.store(place)));
    for stranger in strangers {
        let stranger = world::find(&told, stranger);
        assert_eq!((&stranger["watched"], &stranger["latest"]), (&json!(false), &Value::Null));
        assert!(stranger["not_probed"].as_str().unwrap().starts_with("no credential known here"), "{stranger}");
    }
    let asked = json!({ "CustomKeyStoreId": world.store("profiled/eu-west-1") });
    let refused = daemon.daemon.call("POST", "/v1/preflights", Some(&asked)).await;
    assert!(refused.status == 422 && refused.body.contains("access key id"), "{} {}", refused.status, refused.body);
    assert_eq!(world.visits_to_others(), 0);

    let (place, store) = ("assumed/eu-west-1", world.store("assumed/eu-west-1").to_owned());
    let update = daemon.change(&store, json!({ "XksProxyUriEndpoint": world::EU_NEW })).await;
    assert_eq!(update["status"], "verified", "{update}");
    for (other, kms, _) in world.all() {
        let mutations: Vec<_> = kms.mutations().into_iter().filter_map(|call| call.operation).collect();
        let wanted = if other == place {
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
    let metrics = daemon.daemon.call("GET", "/metrics", None).await.body;
    let failing = |account: &str, region: &str| {
        let sample = format!("xks_preflight_discovery_failing{{account=\"{account}\",region=\"{region}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&sample)).unwrap_or_else(|| panic!("{metrics}")).to_owned()
    };
    assert_eq!((failing("profiled", "eu-west-1"), failing("assumed", "us-east-1")), ("1".into(), "1".into()));
    assert_eq!(failing("home", "us-east-1"), "0");
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

/// As when somebody revokes the sessions of a role (IAM, AWSRevokeOlderSessions): they would have lasted for an hour.
#[tokio::test]
async fn a_session_that_was_revoked_is_given_up_before_its_time() {
    let world = World::new("discovery-revoked").await;
    let daemon = world.daemon().await;
    let told_at = |told: &Value| world::place(told, "assumed/us-east-1")["told_at"].as_str().map(ToOwned::to_owned);
    daemon.until("the account told", |told| told_at(told).is_some()).await;
    assert_eq!(world.sts.history().len(), 1);
    world.sessions.end();
    until(BOUND, "the role is assumed anew", || async { world.sts.history().len() == 2 }).await;
    let before = told_at(&daemon.daemon.call("GET", "/v1/key-stores", None).await.json());
    daemon
        .until("it tells again", |told| {
            told_at(told) > before && world::place(told, "assumed/us-east-1")["failure"].is_null()
        })
        .await;
    daemon.terminate().await;
}

/// Without the right external id there is no session, and nothing is asked with another identity instead.
#[tokio::test]
async fn a_role_is_not_assumed_with_another_external_id() {
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

/// Somebody else's changes are told with what was before and after, wherever they happen; our own update is none.
#[tokio::test]
async fn what_is_changed_behind_our_back_is_drift_and_what_we_change_is_not() {
    let world = World::new("discovery-drift").await;
    let daemon = world.daemon().await;
    let all_well = |told: &Value| told["places"].as_array().unwrap().iter().all(|place| place["told_at"].is_string());
    daemon.until("every place told", all_well).await;
    assert_eq!(daemon.told().await["drifts"], json!([]), "the first look has nothing to compare with");

    // Our own update, while somebody renames a key store of another account.
    let (store, renamed) = (world.store("assumed/eu-west-1"), world.store("profiled/us-east-1"));
    let update = daemon.change(store, json!({ "XksProxyUriEndpoint": world::EU_NEW })).await;
    assert_eq!(update["status"], "verified", "{update}");
    assert!(world.kms("profiled/us-east-1").tamper(renamed, |store| "renamed".clone_into(&mut store.name)));
    let of = |told: &Value, id: &str| -> Vec<Value> {
        told["drifts"].as_array().unwrap().iter().filter(|drift| drift["key_store"] == id).cloned().collect()
    };
    daemon.until("the renaming is seen", |told| !of(told, renamed).is_empty()).await;
    let drift = of(&daemon.told().await, renamed).remove(0);
    assert_eq!((&drift["kinds"], &drift["account"]), (&json!(["renamed"]), &json!("profiled")));
    let change = json!([{ "member": "CustomKeyStoreName", "before": "profiled us-east-1", "now": "renamed" }]);
    assert_eq!(drift["changes"], change);

    // Settings, in the place of our update, which explains others only.
    assert!(world.kms("assumed/eu-west-1").tamper(store, |store| {
        let Backing::External(xks) = &mut store.backing else { panic!("it is external") };
        xks.endpoint = "https://elsewhere.xks.example.com".to_owned();
    }));
    let gone = world.store("home/eu-west-1").to_owned();
    assert!(world.kms("home/eu-west-1").delete_store(&gone));
    let added = world.add("assumed/us-east-1", "brand new");
    daemon.until("all are seen", |told| [store, &gone, &added].iter().all(|id| !of(told, id).is_empty())).await;
    let told = daemon.told().await;
    for (id, kind) in [(store, "changed"), (gone.as_str(), "deleted"), (added.as_str(), "added")] {
        let seen = of(&told, id);
        assert_eq!((seen.len(), &seen[0]["kinds"]), (1, &json!([kind])), "{seen:?}");
    }
    assert!(told["key_stores"].as_array().unwrap().iter().all(|store| store["id"] != gone.as_str()));

    // In the audit trail by nobody, in the metrics by kind; and on the page.
    let lines = daemon.daemon.call("GET", &format!("/v1/audit?key_store={renamed}"), None).await.json();
    let line = lines["lines"].as_array().unwrap().last().unwrap()["entry"].clone();
    assert_eq!((&line["action"], &line["by"]), (&json!("drift_seen"), &Value::Null), "{lines}");
    assert!(line["message"].as_str().unwrap().contains("\"profiled us-east-1\" -> \"renamed\""), "{line}");
    let metrics = daemon.daemon.call("GET", "/metrics", None).await.body;
    for kind in ["added", "changed", "deleted", "renamed"] {
        assert!(metrics.contains(&format!("xks_preflight_drift_total{{kind=\"{kind}\"}} 1\n")), "{kind}: {metrics}");
    }
    assert!(
        metrics.contains("xks_preflight_discovery_failing{account=\"assumed\",region=\"eu-west-1\"} 0"),
        "{metrics}"
    );
    assert!(daemon.daemon.has_told("drift: renamed in profiled/us-east-1"));
    daemon.terminate().await;
}

/// As KMS answers whoever asks one account and Region for a key store of another: the endpoint is that of the daemon's own.
#[tokio::test]
async fn the_drop_in_endpoint_has_no_key_store_of_another_place() {
    let world = World::new("discovery-drop-in").await;
    let daemon = world.daemon().await;
    let all_well = |told: &Value| told["places"].as_array().unwrap().iter().all(|place| place["told_at"].is_string());
    daemon.until("every place told", all_well).await;
    let client = kms_endpoint::client(&daemon.daemon, KMS_ID, None);
    for place in ["home/eu-west-1", "assumed/us-east-1"] {
        let id = world.store(place);
        let update = client.update_custom_key_store().custom_key_store_id(id).new_custom_key_store_name("renamed");
        let refused = update.send().await.unwrap_err().into_service_error();
        assert!(refused.is_custom_key_store_not_found_exception(), "{place}: {refused:?}");
        let refused = client.disconnect_custom_key_store().custom_key_store_id(id).send().await;
        assert!(refused.unwrap_err().into_service_error().is_custom_key_store_not_found_exception(), "{place}");
    }
    assert!(world.all().iter().all(|(_, kms, _)| kms.mutations().is_empty()));
    let own = client.update_custom_key_store().custom_key_store_id(&world.stage.key_store);
    own.new_custom_key_store_name("renamed").send().await.unwrap();
    assert_eq!(world.stage.kms.mutations().len(), 1);
    daemon.terminate().await;
}
