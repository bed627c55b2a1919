//! Who reads IAM and EC2 for the daemon, if anybody.

use std::sync::Arc;
use std::time::Duration;

use super::Parts;
use crate::aws::{AwsIam, AwsIamSettings, AwsVpc, AwsVpcSettings};
use crate::cloudhsm::SecurityGroupReader;
use crate::config;
use crate::kms::PermissionReader;
use crate::vpc::VpcReader;

/// EC2 and Elastic Load Balancing answer what they know.
const VPC_TIMEOUT: Duration = Duration::from_secs(10);
/// IAM answers a simulation in well under a second.
const IAM_TIMEOUT: Duration = Duration::from_secs(5);

/// IAM is asked only about an identity that the operator named.
pub(super) async fn permissions(kms: &config::KmsSettings, parts: &Parts) -> Option<Arc<dyn PermissionReader>> {
    let settings = AwsIamSettings {
        region: kms.region.clone(),
        endpoint_url: kms.iam_endpoint_url.clone(),
        of: kms.permissions_of.clone()?,
        credentials: parts.aws_credentials.clone(),
        timeout: IAM_TIMEOUT,
        clock: Arc::clone(&parts.clock),
    };
    Some(Arc::new(AwsIam::new(settings).await))
}

/// Plain HTTP is accepted on loopback only, and AWS's own endpoints speak HTTPS.
pub(super) fn is_simulation(endpoint_url: &str) -> bool {
    endpoint_url.starts_with("http://")
}

/// Whoever reads VPC endpoint services, if that is wanted, and the security groups of clusters, which is not a matter of
/// wanting: a must hangs on them. Before a simulated KMS AWS itself is left alone: it knows nothing of what is simulated.
pub(super) async fn ec2_readers(
    vpc: config::VpcSettings,
    kms: &config::KmsSettings,
    parts: &Parts,
) -> (Option<Arc<dyn VpcReader>>, Option<Arc<dyn SecurityGroupReader>>) {
    let real = !kms.endpoint_url.as_deref().is_some_and(is_simulation);
    let ec2 = real || vpc.ec2_endpoint_url.is_some();
    let services = vpc.check_service && ec2 && (real || vpc.elbv2_endpoint_url.is_some());
    let settings = AwsVpcSettings {
        region: kms.region.clone(),
        ec2_endpoint_url: vpc.ec2_endpoint_url,
        elbv2_endpoint_url: vpc.elbv2_endpoint_url,
        credentials: parts.aws_credentials.clone(),
        timeout: VPC_TIMEOUT,
        clock: Arc::clone(&parts.clock),
    };
    let aws = Arc::new(AwsVpc::new(settings).await);
    (services.then(|| Arc::clone(&aws) as Arc<dyn VpcReader>), ec2.then_some(aws as Arc<dyn SecurityGroupReader>))
}
