//! What KMS decides about new settings before it asks any proxy: which parameters belong together, what the state of the
//! store permits, and what other stores already use.

use super::{
    constraint::Constraints,
    region::Region,
    store::{Backing, CloudHsm, ConnectionState, Connectivity, ExternalKeyStore, Secret, Store},
    wire::{Failure, StoreParameters},
};

/// Settings that KMS would take, the proxy permitting.
pub(super) struct Prepared {
    pub(super) name: String,
    pub(super) backing: Backing,
    /// Whether the proxy must answer GetHealthStatus first: public connectivity and proxy settings that change. A store
    /// with VPC connectivity is first contacted when it connects.
    pub(super) ask_proxy: bool,
}

fn invalid_state(store: &Store) -> Failure {
    Failure::new(
        "CustomKeyStoreInvalidStateException",
        format!(
            "The custom key store {} is in the state {}, which does not permit this operation.",
            store.id,
            store.connection.as_str()
        ),
    )
}

impl StoreParameters {
    fn any_cloud_hsm(&self) -> bool {
        self.key_store_password.is_some() || self.cloud_hsm_cluster_id.is_some()
    }

    fn any_external(&self) -> bool {
        self.xks_proxy_uri_endpoint.is_some()
            || self.xks_proxy_uri_path.is_some()
            || self.xks_proxy_authentication_credential.is_some()
            || self.xks_proxy_connectivity.is_some()
            || self.xks_proxy_vpc_endpoint_service_name.is_some()
            || self.xks_proxy_vpc_endpoint_service_owner.is_some()
    }

    /// Whether an update with these parameters needs a disconnected store: everything but the name, the path and the
    /// credential.
    fn is_cold(&self) -> bool {
        self.any_cloud_hsm()
            || self.xks_proxy_uri_endpoint.is_some()
            || self.xks_proxy_connectivity.is_some()
            || self.xks_proxy_vpc_endpoint_service_name.is_some()
            || self.xks_proxy_vpc_endpoint_service_owner.is_some()
    }

    fn credential(&self) -> Option<(String, Secret)> {
        let credential = self.xks_proxy_authentication_credential.as_ref()?;
        Some((credential.access_key_id.clone()?, Secret::new(credential.raw_secret_access_key.clone()?)))
    }

    fn service_name(&self) -> Option<&String> {
        self.xks_proxy_vpc_endpoint_service_name.as_ref().filter(|name| !name.is_empty())
    }
}

/// Decides about an UpdateCustomKeyStore.
pub(super) fn prepare_update(
    region: &Region,
    store: &Store,
    parameters: &StoreParameters,
) -> Result<Prepared, Failure> {
    let mut name = store.name.clone();
    let backing = match &store.backing {
        Backing::External(xks) => {
            if parameters.any_cloud_hsm() {
                return Err(Failure::validation(
                    "KeyStorePassword and CloudHsmClusterId are valid only for an AWS CloudHSM key store.",
                ));
            }
            Backing::External(changed_external(xks, parameters, &region.account_id)?)
        }
        Backing::CloudHsm(hsm) => {
            if parameters.any_external() {
                return Err(Failure::validation("XksProxy parameters are valid only for an external key store."));
            }
            let mut hsm = hsm.clone();
            hsm.cluster_id = parameters.cloud_hsm_cluster_id.clone().unwrap_or(hsm.cluster_id);
            hsm.password = parameters.key_store_password.clone().map_or(hsm.password, Secret::new);
            Backing::CloudHsm(hsm)
        }
    };
    let permitted = match store.connection {
        ConnectionState::Disconnected => true,
        ConnectionState::Connected => !parameters.is_cold(),
        _ => false,
    };
    if !permitted {
        return Err(invalid_state(store));
    }
    if let Some(new) = &parameters.new_custom_key_store_name {
        name.clone_from(new);
    }
    check_uniqueness(region, Some(&store.id), &name, &backing)?;
    check_backing(region, &backing, Some(store), parameters.is_cold())?;
    let ask_proxy = parameters.any_external() && is_public(&backing);
    Ok(Prepared { name, backing, ask_proxy })
}

/// Decides about a CreateCustomKeyStore.
pub(super) fn prepare_create(region: &Region, parameters: &StoreParameters) -> Result<Prepared, Failure> {
    let external = parameters.custom_key_store_type.as_deref() == Some("EXTERNAL_KEY_STORE");
    if external && (parameters.any_cloud_hsm() || parameters.trust_anchor_certificate.is_some()) {
        return Err(Failure::validation("CloudHSM parameters are valid only for an AWS CloudHSM key store."));
    }
    if !external && parameters.any_external() {
        return Err(Failure::validation("XksProxy parameters are valid only for an external key store."));
    }
    let mut constraints = Constraints::default();
    constraints.required("customKeyStoreName", parameters.custom_key_store_name.is_some());
    if external {
        constraints.required("xksProxyConnectivity", parameters.xks_proxy_connectivity.is_some());
        constraints.required("xksProxyUriEndpoint", parameters.xks_proxy_uri_endpoint.is_some());
        constraints.required("xksProxyUriPath", parameters.xks_proxy_uri_path.is_some());
        constraints
            .required("xksProxyAuthenticationCredential", parameters.xks_proxy_authentication_credential.is_some());
    } else {
        constraints.required("cloudHsmClusterId", parameters.cloud_hsm_cluster_id.is_some());
        constraints.required("keyStorePassword", parameters.key_store_password.is_some());
        constraints.required("trustAnchorCertificate", parameters.trust_anchor_certificate.is_some());
    }
    constraints.finish()?;
    let backing = if external {
        // An empty public store on which every parameter is then a change.
        let empty = ExternalKeyStore {
            connectivity: Connectivity::Public,
            endpoint: String::new(),
            path: String::new(),
            access_key_id: String::new(),
            secret: Secret::new(""),
        };
        Backing::External(changed_external(&empty, parameters, &region.account_id)?)
    } else {
        Backing::CloudHsm(CloudHsm {
            cluster_id: parameters.cloud_hsm_cluster_id.clone().unwrap_or_default(),
            password: Secret::new(parameters.key_store_password.clone().unwrap_or_default()),
            trust_anchor: parameters.trust_anchor_certificate.clone().unwrap_or_default(),
        })
    };
    let name = parameters.custom_key_store_name.clone().unwrap_or_default();
    if region.is_full() {
        return Err(Failure::new(
            "LimitExceededException",
            "The custom key store quota of this account and Region is used up.",
        ));
    }
    check_uniqueness(region, None, &name, &backing)?;
    let cluster = |backing: &Backing| match backing {
        Backing::CloudHsm(hsm) => Some(hsm.cluster_id.clone()),
        Backing::External(_) => None,
    };
    // Create only: whether Update checks it is not documented.
    if cluster(&backing).is_some_and(|new| region.stores().any(|other| cluster(&other.backing).as_ref() == Some(&new)))
    {
        return Err(Failure::new(
            "CloudHsmClusterInUseException",
            "The CloudHSM cluster is already associated with another custom key store.",
        ));
    }
    check_backing(region, &backing, None, true)?;
    let ask_proxy = is_public(&backing);
    Ok(Prepared { name, backing, ask_proxy })
}

fn is_public(backing: &Backing) -> bool {
    matches!(backing, Backing::External(ExternalKeyStore { connectivity: Connectivity::Public, .. }))
}

/// The settings after the change, with the rules about what must travel together.
fn changed_external(
    xks: &ExternalKeyStore,
    parameters: &StoreParameters,
    account_id: &str,
) -> Result<ExternalKeyStore, Failure> {
    let mut new = xks.clone();
    let owner = parameters.xks_proxy_vpc_endpoint_service_owner.clone();
    let wanted = parameters.xks_proxy_connectivity.as_deref();
    let moves = wanted.is_some_and(|wanted| wanted != xks.connectivity.as_str());
    if moves && parameters.xks_proxy_uri_endpoint.is_none() {
        return Err(Failure::validation("A change of XksProxyConnectivity requires XksProxyUriEndpoint."));
    }
    new.connectivity = match (wanted.unwrap_or(xks.connectivity.as_str()), &xks.connectivity) {
        ("VPC_ENDPOINT_SERVICE", Connectivity::VpcEndpointService { name, owner: present }) => {
            Connectivity::VpcEndpointService {
                name: parameters.service_name().unwrap_or(name).clone(),
                owner: owner.unwrap_or_else(|| present.clone()),
            }
        }
        ("VPC_ENDPOINT_SERVICE", Connectivity::Public) => {
            let name = parameters.service_name().ok_or_else(|| {
                Failure::validation(
                    "XksProxyConnectivity VPC_ENDPOINT_SERVICE requires XksProxyVpcEndpointServiceName.",
                )
            })?;
            Connectivity::VpcEndpointService {
                name: name.clone(),
                owner: owner.unwrap_or_else(|| account_id.to_owned()),
            }
        }
        _ if parameters.service_name().is_some() || owner.is_some() => {
            return Err(Failure::validation(
                "XksProxyVpcEndpointServiceName and XksProxyVpcEndpointServiceOwner are valid only when \
                 XksProxyConnectivity is VPC_ENDPOINT_SERVICE.",
            ));
        }
        _ => Connectivity::Public,
    };
    if let Some(endpoint) = &parameters.xks_proxy_uri_endpoint {
        new.endpoint.clone_from(endpoint);
    }
    if let Some(path) = &parameters.xks_proxy_uri_path {
        new.path.clone_from(path);
    }
    if let Some((access_key_id, secret)) = parameters.credential() {
        new.access_key_id = access_key_id;
        new.secret = secret;
    }
    Ok(new)
}

/// Name, URI, endpoint and VPC endpoint service against every other store.
fn check_uniqueness(region: &Region, own: Option<&str>, name: &str, backing: &Backing) -> Result<(), Failure> {
    for other in region.stores().filter(|other| Some(other.id.as_str()) != own) {
        if other.name == name {
            return Err(Failure::new(
                "CustomKeyStoreNameInUseException",
                "The custom key store name is already assigned to another custom key store in the account.",
            ));
        }
        let (Backing::External(new), Some(old)) = (backing, other.external()) else { continue };
        // Whether KMS compares without case is not documented; host names do.
        let same_endpoint = new.host() == old.host();
        let both_public = new.connectivity == Connectivity::Public && old.connectivity == Connectivity::Public;
        if same_endpoint && !both_public {
            return Err(Failure::new(
                "XksProxyUriEndpointInUseException",
                "The proxy URI endpoint is already used by another external key store with which it cannot be shared.",
            ));
        }
        if same_endpoint && new.path == old.path {
            return Err(Failure::new(
                "XksProxyUriInUseException",
                "The proxy URI endpoint and path are already used by another external key store in this Region.",
            ));
        }
        if let (Connectivity::VpcEndpointService { name: new, .. }, Connectivity::VpcEndpointService { name: old, .. }) =
            (&new.connectivity, &old.connectivity)
            && new == old
        {
            return Err(Failure::new(
                "XksProxyVpcEndpointServiceInUseException",
                "The VPC endpoint service is already used by another external key store in this Region.",
            ));
        }
    }
    Ok(())
}

/// The cluster or the VPC endpoint service that stands behind the store, when the change touches it.
fn check_backing(region: &Region, backing: &Backing, present: Option<&Store>, touched: bool) -> Result<(), Failure> {
    match backing {
        _ if !touched => Ok(()),
        Backing::CloudHsm(hsm) => {
            let present = present.and_then(|store| match &store.backing {
                Backing::CloudHsm(present) => Some(present.cluster_id.as_str()),
                Backing::External(_) => None,
            });
            region.check_cluster(&hsm.cluster_id, present)
        }
        Backing::External(xks) => region.check_service(xks),
    }
}

/// Whether Connect has anything to do: `false` for a store that is connected or connecting already.
pub(super) fn prepare_connect(store: &Store) -> Result<bool, Failure> {
    match store.connection {
        ConnectionState::Disconnected => Ok(true),
        ConnectionState::Connected | ConnectionState::Connecting => Ok(false),
        _ => Err(invalid_state(store)),
    }
}

/// Whether the state permits Disconnect.
pub(super) fn prepare_disconnect(store: &Store) -> Result<(), Failure> {
    match store.connection {
        ConnectionState::Connected | ConnectionState::Connecting | ConnectionState::Failed(_) => Ok(()),
        _ => Err(invalid_state(store)),
    }
}

/// Whether the state permits Delete.
pub(super) fn prepare_delete(store: &Store) -> Result<(), Failure> {
    if store.connection == ConnectionState::Disconnected { Ok(()) } else { Err(invalid_state(store)) }
}
