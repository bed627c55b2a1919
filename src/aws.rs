//! AWS clients live here and nowhere else: whatever crosses this wall is in our own words.
//!
//! [`AwsKms`] implements the ports of [`crate::kms`] with the AWS SDK, [`AwsCloudHsm`] that of [`crate::cloudhsm`]. The SDK's types are open-ended (every enum has
//! an unknown variant, every member is optional); they are translated once, here, and what cannot be understood
//! becomes a value that nothing acts on.

mod cloudhsm;
mod kms;
mod kms_translate;

pub use cloudhsm::{AwsCloudHsm, AwsCloudHsmSettings};
pub use kms::{AwsCredentials, AwsKms, AwsKmsSettings};
