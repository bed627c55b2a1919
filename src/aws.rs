//! AWS clients live here and nowhere else: whatever crosses this wall is in our own words.
//!
//! [`AwsKms`] implements the ports of [`crate::kms`] with the AWS SDK, [`AwsCloudHsm`] that of [`crate::cloudhsm`]. The SDK's types are open-ended (every enum has
//! an unknown variant, every member is optional); they are translated once, here, and what cannot be understood
//! becomes a value that nothing acts on.
//!
//! [`AwsVpc`] implements [`crate::vpc`]: Elastic Load Balancing through its SDK, EC2 through a thin client of its Query
//! API, because aws-sdk-ec2 takes minutes and 8 GiB to compile for five reads. [`AwsIam`] makes its one read of IAM
//! through the same client. [`AwsIdentity`] is who asks: an account's own credentials, or a role in it that STS lets us
//! assume. Where AWS is our configuration says, and nobody else ([`Steering`]).

mod cloudhsm;
mod ec2;
mod elbv2;
mod iam;
mod identity;
mod kms;
mod kms_create;
mod kms_keys;
mod kms_translate;
mod query;
mod secrets_manager;
mod steering;
mod unread;
mod vpc;

pub use cloudhsm::{AwsCloudHsm, AwsCloudHsmSettings};
pub use iam::{AwsIam, AwsIamSettings};
pub use identity::{AwsCredentials, AwsIdentity, AwsIdentitySettings, AwsRole};
pub use kms::{AwsKms, AwsKmsSettings};
pub use secrets_manager::{AwsSecretsManager, AwsSecretsManagerSettings, SecretError};
pub use steering::{AwsService, Steering};
pub use vpc::{AwsVpc, AwsVpcSettings};
