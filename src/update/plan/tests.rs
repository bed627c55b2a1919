//! Which changes make a plan, which do not, and what a plan says.

use super::*;
use crate::id::IdSource;
use crate::key_store::{
    AccessKeyId, AccountId, CloudHsmClusterId, CloudHsmConfiguration, ConnectionErrorCode, Connectivity,
    ConnectivityKind, CredentialSource, CustomKeyStoreName, ProxyCredential, RawSecretAccessKey,
    VpcEndpointServiceName, XksConfiguration, XksProxyUriEndpoint, XksProxyUriPath,
};

fn store(connectivity: Connectivity) -> KeyStore {
    KeyStore {
        id: CustomKeyStoreId::parse("cks-1").unwrap(),
        name: CustomKeyStoreName::parse("store").unwrap(),
        created: None,
        state: ConnectionState::Connected,
        configuration: Configuration::Xks(XksConfiguration {
            endpoint: endpoint("old"),
            path: XksProxyUriPath::parse("/kms/xks/v1").unwrap(),
            access_key_id: AccessKeyId::parse("AKIAI2SFODNN7EXAMPLE").unwrap(),
            connectivity,
        }),
    }
}

fn endpoint(host: &str) -> XksProxyUriEndpoint {
    XksProxyUriEndpoint::parse(&format!("https://{host}.example.com")).unwrap()
}

fn service(id: &str) -> VpcEndpointServiceName {
    VpcEndpointServiceName::parse(&format!("com.amazonaws.vpce.us-east-1.vpce-svc-{id}")).unwrap()
}

fn make(store: &KeyStore, change: Change) -> Result<Plan, PlanRefused> {
    make_with(store, change, None)
}

fn make_with(store: &KeyStore, change: Change, held: Option<CredentialRef>) -> Result<Plan, PlanRefused> {
    let now = Timestamp::from_unix(0);
    let id = UpdateId::new(&IdSource::from_seed(1), now);
    let options = Options::default();
    let (former_credential, former_password, waivers, by) = (held, false, Vec::new(), "t".into());
    let wanted = Wanted { id, change, options, former_credential, former_password, waivers, keys: None, by };
    plan(store, wanted, &Policy::default(), now)
}

#[test]
fn what_belongs_together_must_come_together() {
    let public = store(Connectivity::PublicEndpoint);
    let vpc = store(Connectivity::VpcEndpointService { name: service("a"), owner: None });
    let to_vpc = Change { connectivity: Some(ConnectivityKind::VpcEndpointService), ..Change::default() };
    let to_public = Change { connectivity: Some(ConnectivityKind::PublicEndpoint), ..Change::default() };
    for (store, change, member) in [
        (&public, to_vpc.clone(), "XksProxyUriEndpoint"),
        (&public, Change { endpoint: Some(endpoint("new")), ..to_vpc }, "XksProxyVpcEndpointServiceName"),
        (&public, Change { service_name: Some(service("b")), ..Change::default() }, "XksProxyVpcEndpointServiceName"),
        (&public, Change { password: true, ..Change::default() }, "KeyStorePassword"),
        (&vpc, to_public, "XksProxyUriEndpoint"),
    ] {
        match make(store, change) {
            Err(PlanRefused::Members { member: named, .. }) => assert_eq!(named, member),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn states_and_types_that_are_not_safe_are_refused() {
    let change = Change { endpoint: Some(endpoint("new")), ..Change::default() };
    let mut store = store(Connectivity::PublicEndpoint);
    for state in [
        ConnectionState::Connecting,
        ConnectionState::Disconnecting,
        ConnectionState::Failed(ConnectionErrorCode::XksProxyTimedOut),
        ConnectionState::Unrecognized("NEW".into()),
    ] {
        store.state = state;
        assert!(matches!(make(&store, change.clone()), Err(PlanRefused::State { .. })));
    }
    store.state = ConnectionState::Connected;
    store.configuration = Configuration::Unrecognized { why: "new type".into() };
    assert!(matches!(make(&store, change), Err(PlanRefused::Unrecognized { .. })));
}

#[test]
fn values_that_are_already_there_cost_no_outage() {
    let store = store(Connectivity::PublicEndpoint);
    let same = Change { endpoint: Some(endpoint("old")), ..Change::default() };
    assert_eq!(make(&store, same.clone()), Err(PlanRefused::NothingToChange));
    let path = XksProxyUriPath::parse("/a/kms/xks/v1").unwrap();
    let plan = make(&store, Change { path: Some(path), ..same }).unwrap();
    assert_eq!(plan.disruption, Disruption::InPlace);
    assert_eq!(plan.steps, [Step::Update]);
    assert_eq!(plan.change.endpoint, None);
}

#[test]
fn the_way_back_is_known_beforehand() {
    let former = store(Connectivity::VpcEndpointService { name: service("a"), owner: None });
    let to_public = Change {
        connectivity: Some(ConnectivityKind::PublicEndpoint),
        endpoint: Some(endpoint("new")),
        ..Change::default()
    };
    let plan = make(&former, to_public).unwrap();
    assert_eq!(plan.steps, [Step::Disconnect, Step::Update, Step::Connect]);
    let restored = changed(&plan.new, plan.restore().unwrap()).unwrap();
    assert_eq!(restored, former);

    let owner = Some(AccountId::parse("111122223333").unwrap());
    let plan = make(&former, Change { service_owner: owner, ..Change::default() }).unwrap();
    assert!(matches!(plan.rollback, Rollback::Impossible { .. }));
}

#[test]
fn what_is_restored_is_not_what_is_put_in_its_place() {
    let credential = |secret: &str| {
        let access_key_id = AccessKeyId::parse("AKIAI2SFODNN7EXAMPLE").unwrap();
        let secret_access_key = RawSecretAccessKey::parse(secret).unwrap();
        ProxyCredential { access_key_id, secret_access_key }.reference(CredentialSource::Sealed)
    };
    let former = credential("TestSecretDoNotLeak0123456789012345678901234567");
    let new = credential("TestSecretDoNotLeak0123456789012345678901234568");
    let store = store(Connectivity::PublicEndpoint);
    let rotation = |to: &CredentialRef| Change { credential: Some(to.clone()), ..Change::default() };
    let plan = make_with(&store, rotation(&new), Some(former.clone())).unwrap();
    assert_eq!(plan.restore().and_then(|restore| restore.credential.as_ref()), Some(&former));
    // The configuration was edited before the update.
    let plan = make_with(&store, rotation(&new), Some(new)).unwrap();
    assert!(matches!(&plan.rollback, Rollback::Impossible { why } if why.contains("is the new one")));
}

#[test]
fn cloudhsm_stores_have_their_own_members_and_patience() {
    let mut hsm = store(Connectivity::PublicEndpoint);
    let cluster = |text| CloudHsmClusterId::parse(text).unwrap();
    hsm.configuration =
        Configuration::CloudHsm(CloudHsmConfiguration { cluster: cluster("cluster-abcdefghijk"), trust_anchor: None });
    let change = Change { cluster: Some(cluster("cluster-zyxwvutsrqp")), ..Change::default() };
    let plan = make(&hsm, change).unwrap();
    assert_eq!(plan.limits.connect(), std::time::Duration::from_mins(25));
    assert!(plan.restore().is_some());
    let password = make(&hsm, Change { password: true, ..Change::default() }).unwrap();
    assert!(password.restore().is_none());
    let foreign = Change { endpoint: Some(endpoint("new")), ..Change::default() };
    assert!(matches!(make(&hsm, foreign), Err(PlanRefused::Members { member: "XksProxyUriEndpoint", .. })));
}
