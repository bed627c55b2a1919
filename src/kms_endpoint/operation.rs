//! The operations that are served, and their parameters.

use axum::http::HeaderMap;
use serde_json::{Map, Value};

use super::failure::Failure;
use super::members::{self, Members};
use crate::key_store::{
    AccessKeyId, AccountId, Change, CloudHsmClusterId, Connectivity, ConnectivityKind, CustomKeyStoreId,
    CustomKeyStoreName, Invalid, KeyStorePassword, KmsException, Member, ProxyCredential, RawSecretAccessKey,
    VpcEndpointServiceName, XksConfiguration, XksProxyUriEndpoint, XksProxyUriPath,
};
use crate::metrics::Denial;
use crate::update::Creation;

const TARGET: &str = "x-amz-target";

/// The name in `X-Amz-Target`, if it is one of KMS's service.
pub(super) fn target(headers: &HeaderMap) -> Option<&str> {
    headers.get(TARGET)?.to_str().ok()?.strip_prefix("TrentService.")
}

/// Whether a name may be that of an operation, so that it can be repeated where people read it.
pub(super) fn is_plausible(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// An operation that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Create,
    Update,
    Connect,
    Disconnect,
    Describe,
}

impl Operation {
    const ALL: [Self; 5] = [Self::Create, Self::Update, Self::Connect, Self::Disconnect, Self::Describe];

    /// The name in `X-Amz-Target`, after `TrentService.`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CreateCustomKeyStore",
            Self::Update => "UpdateCustomKeyStore",
            Self::Connect => "ConnectCustomKeyStore",
            Self::Disconnect => "DisconnectCustomKeyStore",
            Self::Describe => "DescribeCustomKeyStores",
        }
    }

    /// The operation of this name, if it is served.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.as_str() == name)
    }
}

/// UpdateCustomKeyStore, as asked for.
#[derive(Debug)]
pub(super) struct AskedUpdate {
    pub(super) key_store: CustomKeyStoreId,
    pub(super) change: Change,
    pub(super) credential: Option<ProxyCredential>,
    pub(super) password: Option<KeyStorePassword>,
}

/// DescribeCustomKeyStores, as asked for.
#[derive(Debug)]
pub(super) struct AskedDescription {
    pub(super) id: Option<CustomKeyStoreId>,
    pub(super) name: Option<CustomKeyStoreName>,
    pub(super) limit: Option<u64>,
    pub(super) marker: Option<CustomKeyStoreId>,
}

const STORE: &str = "CustomKeyStoreId";
const TYPE: &str = "CustomKeyStoreType";
const EXTERNAL: &str = "EXTERNAL_KEY_STORE";

/// What a member that is missing makes of a request whose faults were all told.
fn told() -> Failure {
    Failure::internal("parameters were neither read nor refused, which is a fault of xks-preflight")
}

/// Reads the parameters of UpdateCustomKeyStore.
pub(super) fn update(map: Map<String, Value>) -> Result<AskedUpdate, Failure> {
    let (key_store, change, credential, password) = members::read(map, |members| {
        let key_store = members.required(STORE, CustomKeyStoreId::parse);
        // The API reference wants an empty name when a store goes public, against the model's own minimum.
        members.drop_text(Member::ServiceName.as_str(), "");
        let change = Change {
            name: members.text(Member::Name.as_str(), CustomKeyStoreName::parse),
            endpoint: members.text(Member::Endpoint.as_str(), XksProxyUriEndpoint::parse),
            path: members.text(Member::Path.as_str(), XksProxyUriPath::parse),
            connectivity: members.text(Member::Connectivity.as_str(), ConnectivityKind::parse),
            service_name: members.text(Member::ServiceName.as_str(), VpcEndpointServiceName::parse),
            service_owner: members.text(Member::ServiceOwner.as_str(), AccountId::parse),
            cluster: members.text(Member::Cluster.as_str(), CloudHsmClusterId::parse),
            credential: None,
            password: false,
        };
        let credential = members.structure(Member::Credential.as_str(), credential).flatten();
        let password = members.text(Member::Password.as_str(), KeyStorePassword::parse);
        (key_store, change, credential, password)
    })?;
    Ok(AskedUpdate { key_store: key_store.ok_or_else(told)?, change, credential, password })
}

fn credential(members: &mut Members<'_>) -> Option<ProxyCredential> {
    let access_key_id = members.required("AccessKeyId", AccessKeyId::parse);
    let secret_access_key = members.required("RawSecretAccessKey", RawSecretAccessKey::parse);
    Some(ProxyCredential { access_key_id: access_key_id?, secret_access_key: secret_access_key? })
}

/// Reads the parameters of CreateCustomKeyStore.
pub(super) fn create(map: Map<String, Value>) -> Result<(Creation, ProxyCredential), Failure> {
    // KMS takes a missing type for this one, too.
    let kind = map.get(TYPE).and_then(Value::as_str).unwrap_or("AWS_CLOUDHSM");
    if kind == "AWS_CLOUDHSM" {
        let message = "This gate makes external key stores only (CustomKeyStoreType EXTERNAL_KEY_STORE, which must be \
                       said: KMS makes a CloudHSM key store without it); make one in a CloudHSM cluster at KMS itself.";
        return Err(Failure::of(KmsException::AccessDenied, message).denied(Denial::Forbidden));
    }
    let read = members::read(map, |members| {
        let kind = |text: &str| match text {
            EXTERNAL => Ok(()),
            _ => Err(Invalid { member: TYPE, rule: "must be EXTERNAL_KEY_STORE" }),
        };
        let _external = members.required(TYPE, kind);
        let name = members.required("CustomKeyStoreName", CustomKeyStoreName::parse);
        let endpoint = members.required(Member::Endpoint.as_str(), XksProxyUriEndpoint::parse);
        let path = members.required(Member::Path.as_str(), XksProxyUriPath::parse);
        let kind = members.required(Member::Connectivity.as_str(), ConnectivityKind::parse);
        let (service, owner) = (Member::ServiceName.as_str(), Member::ServiceOwner.as_str());
        let connectivity = match kind {
            Some(ConnectivityKind::VpcEndpointService) => members
                .required(service, VpcEndpointServiceName::parse)
                .map(|name| Connectivity::VpcEndpointService { name, owner: members.text(owner, AccountId::parse) }),
            Some(ConnectivityKind::PublicEndpoint) => {
                members.drop_text(service, "");
                for member in [service, owner] {
                    if members.text(member, |_| Ok(())).is_some() {
                        members.fault(member, "be absent with PUBLIC_ENDPOINT");
                    }
                }
                Some(Connectivity::PublicEndpoint)
            }
            None => {
                members.text(service, VpcEndpointServiceName::parse);
                members.text(owner, AccountId::parse);
                None
            }
        };
        let missing = members.is_absent(Member::Credential.as_str());
        let credential = members.structure(Member::Credential.as_str(), credential).flatten();
        if missing {
            members.fault(Member::Credential.as_str(), "not be null");
        }
        (name, endpoint, path, connectivity, credential)
    })?;
    let (Some(name), Some(endpoint), Some(path), Some(connectivity), Some(credential)) = read else {
        return Err(told());
    };
    let settings = XksConfiguration { endpoint, path, access_key_id: credential.access_key_id.clone(), connectivity };
    Ok((Creation { name, settings }, credential))
}

/// Reads the parameters of ConnectCustomKeyStore and DisconnectCustomKeyStore.
pub(super) fn key_store(map: Map<String, Value>) -> Result<CustomKeyStoreId, Failure> {
    members::read(map, |members| members.required(STORE, CustomKeyStoreId::parse))?.ok_or_else(told)
}

/// Reads the parameters of DescribeCustomKeyStores.
pub(super) fn describe(map: Map<String, Value>) -> Result<AskedDescription, Failure> {
    members::read(map, |members| {
        let id = members.text(STORE, CustomKeyStoreId::parse);
        let name = members.text("CustomKeyStoreName", CustomKeyStoreName::parse);
        if id.is_some() && name.is_some() {
            members.fault("CustomKeyStoreName", "be absent beside a customKeyStoreId");
        }
        let limit = members.number("Limit", 1, 1_000);
        let ours = |_| Invalid { member: "Marker", rule: "must be the NextMarker of an earlier answer" };
        let marker = members.text("Marker", |text| CustomKeyStoreId::parse(text).map_err(ours));
        AskedDescription { id, name, limit, marker }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { panic!("an object") };
        map
    }

    #[test]
    fn every_fault_of_an_update_is_named_and_no_value() {
        let failure = update(map(json!({
            "NewCustomKeyStoreName": "x".repeat(257),
            "XksProxyUriEndpoint": "http://DoNotLeak",
            "XksProxyUriPath": 7,
            "XksProxyConnectivity": "DoNotLeak",
            "XksProxyAuthenticationCredential": { "AccessKeyId": "DoNotLeak", "Secret": "DoNotLeak" },
            "KeyStorePassword": ["DoNotLeak"],
            "DryRun": true,
        })))
        .unwrap_err();
        assert_eq!((failure.name, failure.status.as_u16()), ("ValidationException", 400));
        for told in [
            "10 validation errors detected",
            "'customKeyStoreId' failed to satisfy constraint: Member must not be null",
            "'newCustomKeyStoreName'",
            "'xksProxyUriEndpoint'",
            "'xksProxyUriPath' failed to satisfy constraint: Member must be a string",
            "'xksProxyConnectivity'",
            "'xksProxyAuthenticationCredential.accessKeyId'",
            "'xksProxyAuthenticationCredential.rawSecretAccessKey' failed to satisfy constraint: Member must not be null",
            "'xksProxyAuthenticationCredential.secret' failed to satisfy constraint: Member must be one that the operation knows",
            "'keyStorePassword'",
            "'dryRun'",
        ] {
            assert!(failure.message.contains(told), "{told}: {}", failure.message);
        }
        assert!(!failure.message.contains("DoNotLeak"), "{}", failure.message);
    }

    #[test]
    fn every_fault_of_a_creation_is_named_and_no_value() {
        let failure = create(map(json!({
            "CustomKeyStoreType": "DoNotLeak",
            "XksProxyUriEndpoint": "http://DoNotLeak",
            "XksProxyConnectivity": "PUBLIC_ENDPOINT",
            "XksProxyVpcEndpointServiceName": "com.amazonaws.vpce.us-east-1.vpce-svc-1",
            "CloudHsmClusterId": "cluster-1",
        })))
        .unwrap_err();
        assert_eq!((failure.name, failure.status.as_u16()), ("ValidationException", 400));
        for told in [
            "7 validation errors detected",
            "'customKeyStoreType' failed to satisfy constraint: Member must be EXTERNAL_KEY_STORE",
            "'customKeyStoreName' failed to satisfy constraint: Member must not be null",
            "'xksProxyUriEndpoint'",
            "'xksProxyUriPath' failed to satisfy constraint: Member must not be null",
            "'xksProxyVpcEndpointServiceName' failed to satisfy constraint: Member must be absent with PUBLIC_ENDPOINT",
            "'xksProxyAuthenticationCredential' failed to satisfy constraint: Member must not be null",
            "'cloudHsmClusterId' failed to satisfy constraint: Member must be one that the operation knows",
        ] {
            assert!(failure.message.contains(told), "{told}: {}", failure.message);
        }
        assert!(!failure.message.contains("DoNotLeak"), "{}", failure.message);
        for cloudhsm in [json!({}), json!({ "CustomKeyStoreType": "AWS_CLOUDHSM", "CloudHsmClusterId": "cluster-1" })] {
            let refused = create(map(cloudhsm)).unwrap_err();
            assert_eq!(refused.name, "AccessDeniedException");
        }
    }

    #[test]
    fn null_is_absent_and_so_is_an_empty_service_name() {
        let asked = update(map(json!({
            "CustomKeyStoreId": "cks-1", "XksProxyUriPath": null, "XksProxyVpcEndpointServiceName": "",
            "XksProxyConnectivity": "PUBLIC_ENDPOINT",
        })))
        .unwrap();
        assert_eq!(asked.change.members(), [Member::Connectivity]);
    }

    #[test]
    fn descriptions_are_asked_for_by_one_of_two_names() {
        let asked = describe(map(json!({ "Limit": 3, "Marker": "cks-1" }))).unwrap();
        assert_eq!((asked.limit, asked.marker.unwrap().as_str()), (Some(3), "cks-1"));
        for bad in [
            json!({ "CustomKeyStoreId": "cks-1", "CustomKeyStoreName": "a" }),
            json!({ "Limit": 0 }),
            json!({ "Limit": "3" }),
            json!({ "Limit": 1001 }),
            json!({ "Marker": "a marker of nobody" }),
        ] {
            assert_eq!(describe(map(bad.clone())).unwrap_err().name, "ValidationException", "{bad}");
        }
    }
}
