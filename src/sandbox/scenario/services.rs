//! What AWS tells of the things behind key stores: VPC endpoint services and CloudHSM clusters.

use super::{REGION, ScenarioError, Secrets, WallClock};
use crate::sandbox::cloudhsm::{CloudHsmSettings, Cluster, ClusterAuthority, Clusters, SandboxCloudHsm};
use crate::sandbox::ec2::{Ec2State, SandboxEc2, SecurityGroup, Vpc, VpcEndpointService};
use crate::sandbox::elbv2::{NetworkLoadBalancer, SandboxElbv2};
use crate::sandbox::kms::Secret;
use crate::sandbox::query::QuerySettings;

/// A service as KMS wants it, in front of the candidate.
pub const SERVICE: &str = "com.amazonaws.vpce.us-east-1.vpce-svc-0a1b2c3d4e5f60718";
/// The same, but KMS's service principal was removed from its permissions.
pub const FORSAKEN_SERVICE: &str = "com.amazonaws.vpce.us-east-1.vpce-svc-0f9e8d7c6b5a43210";
/// The host that both services serve.
pub(super) const SERVED: &str = "candidate.xks.example.com";

/// The cluster behind the CloudHSM key store now.
pub const PRESENT_CLUSTER: &str = "cluster-present2345";
/// One made from its backup.
pub const RELATED_CLUSTER: &str = "cluster-related2345";
/// One of another backup history.
pub const STRANGE_CLUSTER: &str = "cluster-stranger234";

/// Simulated EC2, Elastic Load Balancing and CloudHSM, on any free ports.
pub struct Services {
    /// VPC endpoint services.
    pub ec2: SandboxEc2,
    /// What stands behind them.
    pub elbv2: SandboxElbv2,
    /// CloudHSM clusters.
    pub cloudhsm: SandboxCloudHsm,
    /// The clusters, for the simulated KMS.
    pub(super) clusters: Clusters,
    /// The trust anchor that KMS was given for the key store.
    pub(super) trust_anchor: String,
}

impl Services {
    pub(super) async fn start(secrets: &Secrets, clock: &WallClock) -> Result<Self, ScenarioError> {
        let started = |service: &'static str| move |source| ScenarioError::Service { service, source };
        let settings = || QuerySettings {
            region: REGION.to_owned(),
            access_key_id: secrets.aws_access_key_id.clone(),
            secret_access_key: Secret::new(secrets.aws_secret_access_key.as_str()),
            clock: clock.clone(),
        };
        let balancer = NetworkLoadBalancer::new("xks-proxies");
        let service = |name: &str| {
            let id = name.rsplit('.').next().unwrap_or_default();
            VpcEndpointService::new(id, SERVED, &balancer.arn())
        };
        let forsaken = VpcEndpointService { principals: Vec::new(), ..service(FORSAKEN_SERVICE) };
        let state = Ec2State {
            services: vec![service(SERVICE), forsaken],
            security_groups: vec![SecurityGroup::of_cluster("sg-0123456789abcdef0")],
            vpcs: vec![Vpc { id: "vpc-1".to_owned(), dns_support: true, dns_hostnames: true }],
            ..Ec2State::default()
        };
        let ec2 = SandboxEc2::start(settings(), state).await.map_err(started("EC2"))?;
        let elbv2 = SandboxElbv2::start(settings(), vec![balancer]).await.map_err(started("Elastic Load Balancing"))?;

        let authority = ClusterAuthority::new("the sandbox's owner", clock())?;
        let (family, strange) = (authority.cluster_certificate("family")?, authority.cluster_certificate("stranger")?);
        let clusters = Clusters::default();
        for (id, certificate) in [(PRESENT_CLUSTER, &family), (RELATED_CLUSTER, &family), (STRANGE_CLUSTER, &strange)] {
            clusters.put(Cluster::active(id, certificate, &secrets.kmsuser_password));
        }
        let (id, secret) = (&secrets.aws_access_key_id, &secrets.aws_secret_access_key);
        let hsm = CloudHsmSettings::new(clusters.clone(), clock.clone(), id, secret);
        let cloudhsm = SandboxCloudHsm::start(hsm).await?;
        Ok(Self { ec2, elbv2, cloudhsm, clusters, trust_anchor: authority.trust_anchor().to_owned() })
    }
}
