//! What the operator told about the world around KMS: credentials by name, and where hosts are really found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::{Candidate, CandidateKeys, OfferedCredential};
use crate::access::Scope;
use crate::check::JudgingPolicy;
use crate::clock::Timestamp;
use crate::key_store::{
    AccessKeyId, Connectivity, CustomKeyStoreId, Place, ProxyCredential, Region, XksConfiguration, XksProxyUriEndpoint,
};
use crate::keyring::Keyring;

/// How a report about a key store, if it is about one, is judged at an instant: waivers end.
pub type Judging = Arc<dyn Fn(Option<&CustomKeyStoreId>, Timestamp) -> JudgingPolicy + Send + Sync>;

/// Configured credentials and routes, for making candidates of what KMS tells, and how to judge them.
#[derive(Clone)]
pub struct Surroundings {
    /// The Region of the daemon, for candidates that name no other.
    pub region: Region,
    /// Credentials by their name in the configuration.
    pub credentials: Arc<Keyring>,
    /// The names of the credentials that key stores may be probed with that nobody configured, by where they are: those of
    /// configured ones there, and those that the configuration lends to the place.
    pub lent: BTreeMap<Place, BTreeSet<String>>,
    /// Which key stores a credential may be given besides those that have it, by its name in the configuration.
    pub given_to: BTreeMap<String, Scope>,
    /// HOST:PORT to connect to, by the host name of an endpoint in lower case.
    pub routes: BTreeMap<String, Vec<String>>,
    /// The hosts of endpoints whose proxies may be put under load, in lower case.
    pub capacity_allow: BTreeSet<String>,
    /// How to judge.
    pub judging: Judging,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("region", &self.region)
            .field("routes", &self.routes)
            .finish_non_exhaustive()
    }
}

impl Surroundings {
    /// The credential that KMS has for a key store that nobody configured, under this access key id, with its name: of those
    /// that are lent to its place, because whoever makes a key store says which access key id it has and where its requests go.
    pub fn lent_to(
        &self,
        place: &Place,
        key_store: &CustomKeyStoreId,
        access_key_id: &AccessKeyId,
    ) -> Option<(String, ProxyCredential)> {
        self.credentials.among(self.lent.get(place)?, key_store, access_key_id)
    }

    /// Where to connect for this endpoint; empty means its own addresses.
    pub fn connect_to(&self, endpoint: &XksProxyUriEndpoint) -> Vec<String> {
        self.routes.get(&endpoint.host().to_ascii_lowercase()).cloned().unwrap_or_default()
    }

    /// The candidate that these settings of a key store in this Region are. `kms_operation` is what KMS would be doing.
    pub fn candidate(
        &self,
        region: &Region,
        xks: &XksConfiguration,
        credential: OfferedCredential,
        kms_operation: &str,
    ) -> Candidate {
        let (vpc_endpoint_service, vpc_endpoint_service_owner) = match &xks.connectivity {
            Connectivity::PublicEndpoint => (None, None),
            Connectivity::VpcEndpointService { name, owner } => (Some(name.to_string()), owner.clone()),
        };
        Candidate {
            endpoint: xks.endpoint.to_string(),
            path: xks.path.to_string(),
            connectivity: xks.connectivity.kind(),
            vpc_endpoint_service,
            vpc_endpoint_service_owner,
            region: region.clone(),
            credential,
            connect_to: self.connect_to(&xks.endpoint),
            keys: CandidateKeys::default(),
            baseline: None,
            kms_operation: kms_operation.to_owned(),
        }
    }
}
