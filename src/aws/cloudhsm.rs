//! AWS CloudHSM through the AWS SDK: DescribeClusters, read-only.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_cloudhsmv2::Client;
use aws_sdk_cloudhsmv2::types::{Cluster as SdkCluster, ClusterState as SdkClusterState};

use super::identity::AwsIdentity;
use super::kms::sdk_config;
use super::kms_translate::error;
use crate::check::{Cluster, ClusterState, Hsm};
use crate::cloudhsm::{ClusterError, ClusterReader};
use crate::key_store::{CertificateIdentity, CloudHsmClusterId, Region};
use crate::kms::KmsError;

const OPERATION: &str = "DescribeClusters";

/// The clusters asked for fit on one page; CloudHSM may still answer with several, even empty ones.
const MOST_PAGES: usize = 10;

/// A cluster has at most 28 HSMs; more than this is no list of a cluster's HSMs or subnets.
const MOST_MEMBERS: usize = 100;

/// How to reach CloudHSM.
#[derive(Clone, Debug)]
pub struct AwsCloudHsmSettings {
    /// The Region of the key stores; their clusters are in the same one.
    pub region: Region,
    /// Another endpoint than the Region's own, such as the sandbox.
    pub endpoint_url: Option<String>,
    /// Who asks; without it the SDK's default chain finds credentials.
    pub credentials: Option<AwsIdentity>,
    /// How long one request may take.
    pub timeout: Duration,
}

/// CloudHSM of one account and Region.
#[derive(Clone, Debug)]
pub struct AwsCloudHsm {
    client: Client,
}

impl AwsCloudHsm {
    /// A client; nothing is sent yet.
    pub async fn new(settings: AwsCloudHsmSettings) -> Self {
        let AwsCloudHsmSettings { region, endpoint_url, credentials, timeout } = settings;
        Self { client: Client::new(&sdk_config(&region, endpoint_url, credentials, timeout).await) }
    }
}

#[async_trait]
impl ClusterReader for AwsCloudHsm {
    async fn clusters(&self, ids: &[CloudHsmClusterId]) -> Result<Vec<Cluster>, ClusterError> {
        let filters =
            HashMap::from([("clusterIds".to_owned(), ids.iter().map(|id| id.as_str().to_owned()).collect::<Vec<_>>())]);
        let mut clusters = Vec::new();
        let mut token = None;
        for _ in 0..MOST_PAGES {
            let request = self.client.describe_clusters().set_filters(Some(filters.clone())).set_next_token(token);
            let answer = request.send().await.map_err(|e| refused(error(OPERATION, &e)))?;
            for told in answer.clusters() {
                // Another cluster than those asked for says nothing about them.
                if told.cluster_id().is_some_and(|told| ids.iter().any(|id| id.as_str() == told)) {
                    clusters.push(cluster(told)?);
                }
            }
            token = answer.next_token().filter(|token| !token.is_empty()).map(ToOwned::to_owned);
            if token.is_none() {
                return Ok(clusters);
            }
        }
        Err(not_understood(format!("the list does not end within {MOST_PAGES} pages")))
    }
}

/// One cluster. What a verdict rests on must be there: an HSM whose state is not told is no evidence of anything.
fn cluster(told: &SdkCluster) -> Result<Cluster, ClusterError> {
    let id = CloudHsmClusterId::parse(told.cluster_id().unwrap_or_default())
        .map_err(|invalid| not_understood(invalid.to_string()))?;
    let state = match told.state() {
        Some(SdkClusterState::Active) => ClusterState::Active,
        Some(other) => ClusterState::Other(other.as_str().to_owned()),
        None => return Err(not_understood(format!("{id} has no State"))),
    };
    let subnets: BTreeMap<String, String> =
        told.subnet_mapping().into_iter().flatten().map(|(zone, subnet)| (zone.clone(), subnet.clone())).collect();
    if told.hsms().len() > MOST_MEMBERS || subnets.len() > MOST_MEMBERS {
        return Err(not_understood(format!("{id} has more than {MOST_MEMBERS} HSMs or subnets")));
    }
    let hsms = told.hsms().iter().map(|hsm| {
        let state = hsm.state().ok_or_else(|| not_understood(format!("an HSM of {id} has no State")))?;
        Ok(Hsm {
            id: hsm.hsm_id().to_owned(),
            state: state.as_str().to_owned(),
            zone: hsm.availability_zone().map(ToOwned::to_owned),
        })
    });
    Ok(Cluster {
        hsms: hsms.collect::<Result<_, _>>()?,
        id,
        state,
        subnets,
        security_group: told.security_group().filter(|id| !id.is_empty()).map(ToOwned::to_owned),
        certificate: told
            .certificates()
            .and_then(|certificates| certificates.cluster_certificate())
            .and_then(CertificateIdentity::parse),
    })
}

fn not_understood(why: String) -> ClusterError {
    ClusterError::NotUnderstood { why }
}

/// CloudHSM speaks the same protocol as KMS; only its own exceptions have other names.
fn refused(error: KmsError) -> ClusterError {
    match error {
        KmsError::AccessDenied { message, .. } => ClusterError::AccessDenied { message },
        KmsError::Unrecognized { code, message, .. } if code == "CloudHsmAccessDeniedException" => {
            ClusterError::AccessDenied { message: format!("{code}: {message}") }
        }
        KmsError::Refused { .. } | KmsError::Unrecognized { .. } => ClusterError::Unanswered { why: error.said() },
        KmsError::Throttled { message, .. } => ClusterError::Unanswered { why: format!("throttled: {message}") },
        KmsError::Unavailable { message, .. } => {
            ClusterError::Unanswered { why: format!("it failed internally: {message}") }
        }
        KmsError::NotUnderstood { why, .. } => ClusterError::NotUnderstood { why },
        KmsError::NotSent { why, .. } | KmsError::Ambiguous { why, .. } => ClusterError::Unanswered { why },
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_cloudhsmv2::types::builders::ClusterBuilder;
    use aws_sdk_cloudhsmv2::types::{Hsm as SdkHsm, HsmState};

    use super::*;

    fn told() -> ClusterBuilder {
        let hsm = SdkHsm::builder().hsm_id("hsm-1").state(HsmState::Active).availability_zone("us-east-1a");
        SdkCluster::builder()
            .cluster_id("cluster-abcdefghijk")
            .state(SdkClusterState::Active)
            .hsms(hsm.build().unwrap())
            .subnet_mapping("us-east-1a", "subnet-1")
            .security_group("sg-1")
    }

    #[test]
    fn what_is_told_is_kept_and_what_is_new_to_us_is_not_active() {
        let seen = cluster(&told().build()).unwrap();
        assert_eq!(seen.state, ClusterState::Active);
        assert_eq!(seen.active_zones().into_iter().collect::<Vec<_>>(), ["us-east-1a"]);
        assert_eq!(seen.certificate, None);
        let new = cluster(&told().state("HIBERNATING".into()).build()).unwrap();
        assert_eq!(new.state, ClusterState::Other("HIBERNATING".into()));
    }

    #[test]
    fn what_a_verdict_rests_on_must_be_told() {
        let stateless = SdkHsm::builder().hsm_id("hsm-2").build().unwrap();
        for odd in [
            told().set_state(None),
            told().set_cluster_id(Some("cluster-1".into())),
            told().hsms(stateless.clone()),
            told().set_hsms(Some(vec![stateless; MOST_MEMBERS + 1])),
        ] {
            assert!(matches!(cluster(&odd.build()), Err(ClusterError::NotUnderstood { .. })));
        }
    }
}
