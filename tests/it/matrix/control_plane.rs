//! What KMS says of the key stores, and what it does not say.

use serde_json::{Value, json};
use xks_preflight::driver::{Extra, UpdateRequest};
use xks_preflight::key_store::{
    AccessKeyId, Change, CustomKeyStoreId, ProxyCredential, RawSecretAccessKey, VpcEndpointServiceName,
    XksProxyUriEndpoint,
};
use xks_preflight::sandbox::kms::{Backing, ConnectionState, Connectivity, KmsFault, Operation, SeedStore};
use xks_preflight::update::{Options, Round};

use super::row::*;
use crate::api::bench::{Bench, KEY_ID, NEW, NEW_SECRET, OLD, PATH, SECRET};

/// A change that needs a disconnect, and is well.
fn cold() -> Value {
    json!({ "XksProxyUriEndpoint": NEW, "options": { "acknowledge_outage": true } })
}

const NEW_KEY_ID: &str = "AKIAI3SFODNN7EXAMPLE";
const SERVICE: &str = "com.amazonaws.vpce.us-east-1.vpce-svc-0123456789abcdef0";

/// The same, behind a VPC endpoint service.
fn to_vpc() -> Value {
    json!({
        "XksProxyUriEndpoint": NEW,
        "XksProxyConnectivity": "VPC_ENDPOINT_SERVICE",
        "XksProxyVpcEndpointServiceName": SERVICE,
        "options": { "acknowledge_outage": true },
    })
}

fn other(bench: &Bench, name: &str, endpoint: &str) {
    bench.kms.add_store(SeedStore::public(name, endpoint, PATH, KEY_ID, SECRET));
}

pub(super) const ROWS: &[Row] = &[
    run_by(|_| Box::pin(look(|_| (), cold)), "a change that needs a disconnect, acknowledged", Expected::Permitted),
    run_by(
        |_| Box::pin(look(|_| (), || json!({ "NewCustomKeyStoreName": "renamed" }))),
        "a new name",
        Expected::Permitted,
    ),
    run_by(
        |_| {
            Box::pin(after_plan(|bench| {
                let nothing = json!({ "CustomKeyStores": [], "Truncated": false });
                bench.kms.inject(Operation::DescribeCustomKeyStores, KmsFault::Answers(nothing), u32::MAX);
            }))
        },
        "the key store is gone when the plan is to be made true",
        blocked("kms.key_store_exists", "not_found", raises("CustomKeyStoreNotFoundException")),
    ),
    run_by(
        |_| {
            Box::pin(after_plan(|bench| {
                assert!(bench.kms.tamper(&bench.store, |store| "renamed".clone_into(&mut store.name)));
            }))
        },
        "somebody renamed the key store after the plan was made",
        blocked("kms.no_drift", "drift", UNSAID),
    ),
    run_by(
        |_| {
            Box::pin(after_plan(|bench| {
                bench.kms.tamper(&bench.store, |store| {
                    let Backing::External(xks) = &mut store.backing else { return };
                    "https://elsewhere.example.com".clone_into(&mut xks.endpoint);
                });
            }))
        },
        "somebody changed the key store after the plan was made",
        blocked("kms.no_drift", "drift", UNSAID),
    ),
    run_by(
        |_| {
            Box::pin(after_plan(|bench| {
                bench.kms.tamper(&bench.store, |store| {
                    let hsm = SeedStore::cloud_hsm("hsm", "cluster-2a3b4c5d6e7", "PasswordDoNotLeak", "anchor");
                    store.backing = hsm.backing;
                });
            }))
        },
        "a change of an external key store, and the key store is a CloudHSM key store",
        blocked("kms.type_matches", "wrong_type", VALIDATION),
    ),
    run_by(
        |_| {
            Box::pin(after_plan_of(
                Change { service_name: Some(VpcEndpointServiceName::parse(SERVICE).unwrap()), ..Change::default() },
                behind,
                |bench| {
                    bench.kms.tamper(&bench.store, |store| {
                        let Backing::External(xks) = &mut store.backing else { return };
                        xks.connectivity = Connectivity::Public;
                    });
                },
            ))
        },
        "another VPC endpoint service, and somebody made the endpoint public",
        blocked("input.travels_together", "member_excluded", VALIDATION),
    ),
    run_by(
        |_| Box::pin(after_plan(in_state(ConnectionState::Connecting))),
        "the key store is CONNECTING",
        blocked("kms.connection_state", "wrong_state", raises("CustomKeyStoreInvalidStateException")),
    ),
    run_by(
        |_| Box::pin(after_plan(in_state(ConnectionState::Disconnecting))),
        "the key store is DISCONNECTING",
        blocked("kms.connection_state", "wrong_state", raises("CustomKeyStoreInvalidStateException")),
    ),
    run_by(
        |_| Box::pin(after_plan(in_state(ConnectionState::Failed("XKS_PROXY_NOT_REACHABLE".to_owned())))),
        "the key store is FAILED",
        blocked("kms.connection_state", "wrong_state", raises("CustomKeyStoreInvalidStateException")),
    ),
    run_by(
        |_| Box::pin(after_plan(in_state(ConnectionState::Other("PAUSED".to_owned())))),
        "the key store is in a state that nobody knows",
        blocked("kms.connection_state", "wrong_state", raises("CustomKeyStoreInvalidStateException")),
    ),
    run_by(
        |_| Box::pin(look(in_state(ConnectionState::Disconnected), cold)),
        "the key store is DISCONNECTED already",
        Expected::Permitted,
    ),
    run_by(
        |_| {
            Box::pin(look(
                |bench| other(bench, "taken", "https://other.example.com"),
                || json!({ "NewCustomKeyStoreName": "Taken" }),
            ))
        },
        "another key store has the new name, but for case",
        blocked("kms.name_free", "in_use", raises("CustomKeyStoreNameInUseException")),
    ),
    run_by(
        |_| Box::pin(look(|bench| other(bench, "other", NEW), cold)),
        "another key store has this endpoint and path",
        blocked("kms.uri_free", "in_use", raises("XksProxyUriInUseException")),
    ),
    run_by(
        |_| {
            Box::pin(look(
                |bench| {
                    let store = SeedStore::public("other", NEW, "/other/kms/xks/v1", KEY_ID, SECRET);
                    bench.kms.add_store(store.behind_service(SERVICE, "111122223333"));
                },
                cold,
            ))
        },
        "another key store with VPC connectivity has this endpoint",
        blocked("kms.endpoint_free", "in_use", raises("XksProxyUriEndpointInUseException")),
    ),
    run_by(
        |_| {
            Box::pin(look(
                |bench| {
                    let store = SeedStore::public("other", "https://other.example.com", PATH, KEY_ID, SECRET);
                    bench.kms.add_store(store.behind_service(SERVICE, "111122223333"));
                },
                to_vpc,
            ))
        },
        "another key store uses the VPC endpoint service",
        blocked("kms.service_free", "in_use", raises("XksProxyVpcEndpointServiceInUseException")),
    ),
    run_by(
        |_| Box::pin(look(|_| (), to_vpc)),
        "from a public endpoint to a VPC endpoint service that nobody uses",
        Expected::Permitted,
    ),
    run_by(
        |_| {
            Box::pin(after_plan(|bench| {
                bench.kms.tamper(&bench.store, |store| {
                    let Backing::External(xks) = &mut store.backing else { return };
                    NEW.clone_into(&mut xks.endpoint);
                });
            }))
        },
        "somebody has made the change already",
        blocked("kms.changes_something", "no_change", UNSAID),
    ),
    run_by(
        |_| Box::pin(look(|_| (), || json!({ "XksProxyUriEndpoint": NEW }))),
        "nobody acknowledged the outage",
        warned("kms.outage", "outage"),
    ),
    run_by(
        |_| {
            Box::pin(look(
                |bench| {
                    bench.current.add_credential(NEW_KEY_ID, NEW_SECRET.to_owned());
                    bench.kms.tamper(&bench.store, |store| {
                        let Backing::External(xks) = &mut store.backing else { return };
                        "AKIAI4SFODNN7EXAMPLE".clone_into(&mut xks.access_key_id);
                    });
                },
                || {
                    let credential = json!({ "AccessKeyId": NEW_KEY_ID, "RawSecretAccessKey": NEW_SECRET });
                    json!({ "XksProxyAuthenticationCredential": credential })
                },
            ))
        },
        "the credential now in KMS is not known here",
        warned("kms.rollback_possible", "no_way_back"),
    ),
    run_by(
        |_| {
            Box::pin(look(
                |_| (),
                || {
                    let credential = json!({ "AccessKeyId": KEY_ID, "RawSecretAccessKey": SECRET });
                    json!({ "XksProxyAuthenticationCredential": credential })
                },
            ))
        },
        "the credential held for the way back is the new one",
        warned("kms.rollback_possible", "no_way_back"),
    ),
    run_by(
        |_| Box::pin(look(|bench| bench.iam.decide("kms:UpdateCustomKeyStore", "implicitDeny"), cold)),
        "the identity used here may not update key stores",
        warned("kms.permissions", "access_denied"),
    ),
    run_by(
        |_| Box::pin(look(|bench| bench.kms.inject(Operation::ListKeys, KmsFault::AccessDenied, u32::MAX), cold)),
        "keys may not be listed",
        inconclusive("key.metadata", "access_denied", UNSAID),
    ),
    run_by(
        |_| {
            Box::pin(look(
                |bench| {
                    let arn = bench.kms.add_key(&bench.store, "external-1");
                    bench.kms.deny_key(&arn, true);
                },
                cold,
            ))
        },
        "the only key may not be described",
        inconclusive("key.metadata", "access_denied", UNSAID),
    ),
    run_by(
        |_| {
            Box::pin(look(
                |bench| {
                    bench.kms.add_key(&bench.store, "external-1");
                    let arn = bench.kms.add_key(&bench.store, "external-2");
                    bench.kms.deny_key(&arn, true);
                },
                cold,
            ))
        },
        "a key may not be described",
        warned("key.enumerated", "access_denied"),
    ),
    run_by(
        |_| {
            Box::pin(look(
                |bench| bench.kms.inject(Operation::ListKeys, KmsFault::Answers(json!({ "Keys": 7 })), u32::MAX),
                cold,
            ))
        },
        "the list of keys makes no sense",
        inconclusive("key.metadata", "unread", UNSAID),
    ),
    run_by(
        |_| {
            Box::pin(look(
                |bench| {
                    bench.kms.add_key(&bench.store, "external-1");
                    bench.kms.add_key(&bench.store, "only-in-kms");
                },
                cold,
            ))
        },
        "a key of the key store that the candidate does not have",
        blocked("key.metadata", "not_found", UNSAID),
    ),
    run_by(
        |_| Box::pin(look_with(true, |bench| drop(bench.kms.add_key(&bench.store, "external-1")), cold)),
        "every key is to be proven, and is the same",
        Expected::Permitted,
    ),
    run_by(
        |_| {
            Box::pin(look_with(
                true,
                |bench| {
                    bench.kms.add_key(&bench.store, "external-1");
                    let arn = bench.kms.add_key(&bench.store, "external-2");
                    bench.kms.deny_key(&arn, true);
                },
                cold,
            ))
        },
        "every key is to be proven, and one may not be described",
        inconclusive("key.continuity", "access_denied", UNSAID),
    ),
    run_by(
        |_| {
            Box::pin(look_with(
                true,
                |bench| bench.kms.inject(Operation::ListKeys, KmsFault::AccessDenied, u32::MAX),
                cold,
            ))
        },
        "every key is to be proven, and keys may not be listed",
        inconclusive("key.continuity", "access_denied", UNSAID),
    ),
    run_by(
        |_| Box::pin(look_with(true, |_| (), cold)),
        "every key is to be proven, and the key store has none",
        Expected::Permitted,
    ),
    run_by(
        |_| {
            Box::pin(look_with(
                false,
                behind,
                || json!({ "XksProxyVpcEndpointServiceName": SERVICE, "options": { "acknowledge_outage": true } }),
            ))
        },
        "another VPC endpoint service under the same name, and no canary of the proxy behind the present one",
        inconclusive("key.continuity", "no_proof", UNSAID),
    ),
    run_by(
        |_| {
            Box::pin(look_with(
                false,
                |_| (),
                || {
                    json!({
                        "XksProxyUriEndpoint": OLD,
                        "XksProxyConnectivity": "VPC_ENDPOINT_SERVICE",
                        "XksProxyVpcEndpointServiceName": SERVICE,
                        "options": { "acknowledge_outage": true },
                    })
                },
            ))
        },
        "from a public endpoint to a VPC endpoint service under the same name, and no canary was kept",
        inconclusive("key.continuity", "no_proof", UNSAID),
    ),
    run_by(
        |_| {
            Box::pin(after_plan(|bench| {
                bench.kms.inject(Operation::DescribeCustomKeyStores, KmsFault::AccessDenied, u32::MAX);
            }))
        },
        "key stores may not be described any more",
        inconclusive("kms.key_store_exists", "access_denied", UNSAID),
    ),
    run_by(
        |_| {
            Box::pin(after_plan(|bench| {
                bench.kms.inject(Operation::DescribeCustomKeyStores, KmsFault::Answers(json!([])), u32::MAX);
            }))
        },
        "what KMS says of the key stores makes no sense",
        inconclusive("kms.key_store_exists", "unread", UNSAID),
    ),
];

fn in_state(state: ConnectionState) -> impl FnOnce(&Bench) {
    move |bench| assert!(bench.kms.tamper(&bench.store, |store| store.connection = state))
}

/// The report on a change, after the stage was set.
async fn look(set: impl FnOnce(&Bench), change: impl FnOnce() -> Value) -> Seen {
    look_at(Bench::new("matrix-control-plane").await, set, change).await
}

/// The same, with test operations: with every key of the key store, or with a test key.
async fn look_with(every_key: bool, set: impl FnOnce(&Bench), change: impl FnOnce() -> Value) -> Seen {
    look_at(Bench::with_key_tests("matrix-control-plane", every_key).await, set, change).await
}

async fn look_at(bench: Bench, set: impl FnOnce(&Bench), change: impl FnOnce() -> Value) -> Seen {
    set(&bench);
    let mut body = change();
    body["CustomKeyStoreId"] = json!(bench.store);
    let answer = bench.post("/v1/preflights", &body).await;
    // A refusal to look is no verdict; the comparison shows it.
    let report = if answer.status == 200 { answer.json() } else { json!({ "verdict": answer.body }) };
    Seen { exit: None, report }
}

/// The key store is behind a VPC endpoint service.
fn behind(bench: &Bench) {
    bench.kms.tamper(&bench.store, |store| {
        let Backing::External(xks) = &mut store.backing else { return };
        let name = SERVICE.replace("def0", "def1");
        xks.connectivity = Connectivity::VpcEndpointService { name, owner: "111122223333".to_owned() };
    });
}

/// The report on a plan to change the endpoint that was made before the stage was set.
async fn after_plan(set: impl FnOnce(&Bench)) -> Seen {
    let change = Change { endpoint: Some(XksProxyUriEndpoint::parse(NEW).unwrap()), ..Change::default() };
    after_plan_of(change, |_| (), set).await
}

/// The report on a plan that was made between the two.
async fn after_plan_of(change: Change, before: impl FnOnce(&Bench), set: impl FnOnce(&Bench)) -> Seen {
    let bench = Bench::new("matrix-control-plane").await;
    let credential = ProxyCredential {
        access_key_id: AccessKeyId::parse(KEY_ID).unwrap(),
        secret_access_key: RawSecretAccessKey::parse(SECRET).unwrap(),
    };
    let request = UpdateRequest {
        key_store: CustomKeyStoreId::parse(&bench.store).unwrap(),
        change,
        credential: None,
        password: None,
        former_password: None,
        former_credential: None,
        options: Options { acknowledge_outage: true, connect: true, ..Options::default() },
        by: "matrix".to_owned(),
        idempotency: None,
    };
    before(&bench);
    let plan = bench.service.driver.plan(&request).await.unwrap();
    set(&bench);
    let (new, former) = (Some(credential.clone()), Some(credential));
    let report = bench.service.examiner.plan(&plan, Round::Last, new, former, &Extra::default()).await.unwrap();
    Seen { exit: None, report: xks_preflight::render::json::report(&report) }
}
