//! AWS JSON 1.1 as KMS speaks it: the shapes of the requests, the shapes of the answers, and how a failure is written.

use std::{borrow::Cow, time::SystemTime};

use http::StatusCode;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    constraint::{
        ACCESS_KEY_ID, CLUSTER_ID, Constraints, ENDPOINT, Member, PATH, RAW_SECRET, SERVICE_NAME, SERVICE_OWNER,
    },
    store::{Backing, ConnectionState, Connectivity, Store},
};

/// An exception of KMS on its way to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sandbox) struct Failure {
    pub(in crate::sandbox) name: Cow<'static, str>,
    pub(in crate::sandbox) message: String,
    pub(in crate::sandbox) status: StatusCode,
}

impl Failure {
    /// A client fault: 400.
    pub(in crate::sandbox) fn new(name: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { name: name.into(), message: message.into(), status: StatusCode::BAD_REQUEST }
    }

    pub(super) fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationException", message)
    }

    /// The one modelled server fault: 500.
    pub(super) fn internal() -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            ..Self::new(
                "KMSInternalException",
                "The request was rejected because an internal exception occurred. This error can be retried.",
            )
        }
    }

    pub(in crate::sandbox) fn body(&self) -> Value {
        json!({ "__type": self.name, "message": self.message })
    }
}

/// Reads the parameters; a wrong JSON type is a `SerializationException`. The message says nothing of the value.
pub(super) fn parse<T: DeserializeOwned>(parameters: Value) -> Result<T, Failure> {
    // serde's own message may quote the value, which may be a secret.
    serde_json::from_value(parameters)
        .map_err(|_| Failure::new("SerializationException", "A member of the request has the wrong type."))
}

/// `XksProxyAuthenticationCredential`.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Credential {
    pub(super) access_key_id: Option<String>,
    pub(super) raw_secret_access_key: Option<String>,
}

/// The members of UpdateCustomKeyStore and of CreateCustomKeyStore; each uses its own of them.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StoreParameters {
    pub(super) custom_key_store_id: Option<String>,
    pub(super) new_custom_key_store_name: Option<String>,
    pub(super) custom_key_store_name: Option<String>,
    pub(super) custom_key_store_type: Option<String>,
    pub(super) key_store_password: Option<String>,
    pub(super) cloud_hsm_cluster_id: Option<String>,
    pub(super) trust_anchor_certificate: Option<String>,
    pub(super) xks_proxy_uri_endpoint: Option<String>,
    pub(super) xks_proxy_uri_path: Option<String>,
    pub(super) xks_proxy_vpc_endpoint_service_name: Option<String>,
    pub(super) xks_proxy_vpc_endpoint_service_owner: Option<String>,
    pub(super) xks_proxy_authentication_credential: Option<Credential>,
    pub(super) xks_proxy_connectivity: Option<String>,
}

fn plain<'a>(name: &'static str, value: Option<&'a String>) -> Member<'a> {
    Member { name, value: value.map(String::as_str), sensitive: false }
}

fn sensitive<'a>(name: &'static str, value: Option<&'a String>) -> Member<'a> {
    Member { name, value: value.map(String::as_str), sensitive: true }
}

impl StoreParameters {
    /// Every length and pattern of the model that these members have.
    pub(super) fn constrain(&self, constraints: &mut Constraints) {
        constraints.length(&plain("customKeyStoreId", self.custom_key_store_id.as_ref()), 1, 64);
        constraints.length(&plain("newCustomKeyStoreName", self.new_custom_key_store_name.as_ref()), 1, 256);
        constraints.length(&plain("customKeyStoreName", self.custom_key_store_name.as_ref()), 1, 256);
        let kind = plain("customKeyStoreType", self.custom_key_store_type.as_ref());
        constraints.one_of(&kind, &["AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"]);
        constraints.length(&sensitive("keyStorePassword", self.key_store_password.as_ref()), 7, 32);
        let cluster = plain("cloudHsmClusterId", self.cloud_hsm_cluster_id.as_ref());
        constraints.length(&cluster, 19, 24);
        constraints.pattern(&cluster, &CLUSTER_ID);
        constraints.length(&plain("trustAnchorCertificate", self.trust_anchor_certificate.as_ref()), 1, 5000);
        let endpoint = plain("xksProxyUriEndpoint", self.xks_proxy_uri_endpoint.as_ref());
        constraints.length(&endpoint, 10, 128);
        constraints.pattern(&endpoint, &ENDPOINT);
        let path = plain("xksProxyUriPath", self.xks_proxy_uri_path.as_ref());
        constraints.length(&path, 10, 128);
        constraints.pattern(&path, &PATH);
        // The API reference wants an empty name when a store goes public, against the model's own minimum of 20.
        let name = self.xks_proxy_vpc_endpoint_service_name.as_ref().filter(|name| !name.is_empty());
        let service = plain("xksProxyVpcEndpointServiceName", name);
        constraints.length(&service, 20, 64);
        constraints.pattern(&service, &SERVICE_NAME);
        let owner = plain("xksProxyVpcEndpointServiceOwner", self.xks_proxy_vpc_endpoint_service_owner.as_ref());
        constraints.length(&owner, 12, 12);
        constraints.pattern(&owner, &SERVICE_OWNER);
        let connectivity = plain("xksProxyConnectivity", self.xks_proxy_connectivity.as_ref());
        constraints.one_of(&connectivity, &["PUBLIC_ENDPOINT", "VPC_ENDPOINT_SERVICE"]);
        if let Some(credential) = &self.xks_proxy_authentication_credential {
            let id_name = "xksProxyAuthenticationCredential.accessKeyId";
            let secret_name = "xksProxyAuthenticationCredential.rawSecretAccessKey";
            constraints.required(id_name, credential.access_key_id.is_some());
            constraints.required(secret_name, credential.raw_secret_access_key.is_some());
            let id = sensitive(id_name, credential.access_key_id.as_ref());
            constraints.length(&id, 20, 30);
            constraints.pattern(&id, &ACCESS_KEY_ID);
            let secret = sensitive(secret_name, credential.raw_secret_access_key.as_ref());
            constraints.length(&secret, 43, 64);
            constraints.pattern(&secret, &RAW_SECRET);
        }
    }
}

/// The members of DescribeCustomKeyStores, ListKeys, DescribeKey, Connect, Disconnect and Delete.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Query {
    pub(super) custom_key_store_id: Option<String>,
    pub(super) custom_key_store_name: Option<String>,
    pub(super) key_id: Option<String>,
    pub(super) limit: Option<i64>,
    pub(super) marker: Option<String>,
}

impl Query {
    /// Every length and range of the model that these members have.
    pub(super) fn constrain(&self) -> Constraints {
        let mut constraints = Constraints::default();
        constraints.length(&plain("customKeyStoreId", self.custom_key_store_id.as_ref()), 1, 64);
        constraints.length(&plain("customKeyStoreName", self.custom_key_store_name.as_ref()), 1, 256);
        constraints.length(&plain("keyId", self.key_id.as_ref()), 1, 2048);
        constraints.length(&plain("marker", self.marker.as_ref()), 1, 1024);
        constraints.range("limit", self.limit, 1, 1000);
        constraints
    }
}

/// An instant as AWS JSON writes it: seconds since 1970, with a fraction.
pub(super) fn epoch_seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_millis() as f64 / 1000.0)
}

/// `CustomKeyStoresListEntry`. Secrets have no member.
pub(super) fn list_entry(store: &Store) -> Value {
    let mut entry = json!({
        "CustomKeyStoreId": store.id,
        "CustomKeyStoreName": store.name,
        "ConnectionState": store.connection.as_str(),
        "CreationDate": epoch_seconds(store.created_at),
    });
    if let ConnectionState::Failed(code) = &store.connection {
        entry["ConnectionErrorCode"] = json!(code);
    }
    match &store.backing {
        Backing::CloudHsm(hsm) => {
            entry["CustomKeyStoreType"] = json!("AWS_CLOUDHSM");
            entry["CloudHsmClusterId"] = json!(hsm.cluster_id);
            entry["TrustAnchorCertificate"] = json!(hsm.trust_anchor);
        }
        Backing::External(xks) => {
            entry["CustomKeyStoreType"] = json!("EXTERNAL_KEY_STORE");
            entry["XksProxyConfiguration"] = json!({
                "Connectivity": xks.connectivity.as_str(),
                "AccessKeyId": xks.access_key_id,
                "UriEndpoint": xks.endpoint,
                "UriPath": xks.path,
            });
            if let Connectivity::VpcEndpointService { name, owner } = &xks.connectivity {
                entry["XksProxyConfiguration"]["VpcEndpointServiceName"] = json!(name);
                entry["XksProxyConfiguration"]["VpcEndpointServiceOwner"] = json!(owner);
            }
        }
    }
    entry
}
