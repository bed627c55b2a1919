//! Endpoints of AWS that the environment or the AWS configuration files name: found and told, and never followed.
//!
//! The SDKs take `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_<SERVICE>` and `endpoint_url` of a profile for the address of AWS,
//! without a word, and our clients of EC2 and IAM know nothing of them. Which KMS is changed must not hang on a variable
//! that somebody set for another program: the configuration says it, under rules of its own, and what is only for
//! laboratories looks there. So no client follows them ([`unsteered`]), and whoever set one for our sake is told.

use std::fmt;

use aws_config::{BehaviorVersion, Region as SdkRegion, SdkConfig};
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

/// What the SDKs read, by the names that they have for it.
const VARIABLE: &str = "AWS_ENDPOINT_URL";
const PROFILE_KEY: &str = "endpoint_url";

/// A service of AWS that we ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AwsService {
    /// AWS CloudHSM.
    CloudHsm,
    /// Amazon EC2.
    Ec2,
    /// Elastic Load Balancing.
    Elbv2,
    /// IAM.
    Iam,
    /// KMS.
    Kms,
    /// Secrets Manager.
    SecretsManager,
    /// STS.
    Sts,
}

impl AwsService {
    /// Every service.
    pub const ALL: [Self; 7] =
        [Self::CloudHsm, Self::Ec2, Self::Elbv2, Self::Iam, Self::Kms, Self::SecretsManager, Self::Sts];

    /// As the SDKs call it (`sdkId` of the service's model).
    fn sdk_id(self) -> &'static str {
        match self {
            Self::CloudHsm => "CloudHSM V2",
            Self::Ec2 => "EC2",
            Self::Elbv2 => "Elastic Load Balancing v2",
            Self::Iam => "IAM",
            Self::Kms => "KMS",
            Self::SecretsManager => "Secrets Manager",
            Self::Sts => "STS",
        }
    }

    /// The key of our configuration that says where it is.
    pub fn key(self) -> &'static str {
        match self {
            Self::CloudHsm => "cloudhsm.endpoint_url (cloudhsm of [[accounts.endpoints]])",
            Self::Ec2 => "vpc.ec2_endpoint_url (ec2 of [[accounts.endpoints]])",
            Self::Elbv2 => "vpc.elbv2_endpoint_url (elbv2 of [[accounts.endpoints]])",
            Self::Iam => "kms.iam_endpoint_url (iam_endpoint_url of [[accounts]])",
            Self::Kms => "kms.endpoint_url (kms of [[accounts.endpoints]])",
            Self::SecretsManager => "endpoint_url of secrets_manager of the credential",
            Self::Sts => "sts_endpoint_url of [[accounts]]",
        }
    }
}

impl fmt::Display for AwsService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sdk_id())
    }
}

/// What the environment of this process and the AWS configuration files say about where AWS is.
#[derive(Debug)]
pub struct Steering(SdkConfig);

impl Steering {
    /// Reads them; nothing is sent.
    pub async fn read() -> Self {
        // Any Region does: without one it would be looked for in the metadata of the machine.
        let loader = aws_config::defaults(BehaviorVersion::latest()).region(SdkRegion::from_static("us-east-1"));
        Self(loader.no_credentials().load().await)
    }

    /// What would steer the SDK's client of this service elsewhere, by its name: never where to, which may hold a secret.
    pub fn of(&self, service: AwsService) -> Option<String> {
        let key = ServiceConfigKey::builder().service_id(service.sdk_id()).env(VARIABLE).profile(PROFILE_KEY).build();
        let own = self.0.service_config().zip(key.ok()).and_then(|(config, key)| config.load_config(key));
        own.as_deref().or(self.0.endpoint_url())?;
        let specific = format!("{VARIABLE}_{}", service.sdk_id().to_uppercase().replace(' ', "_"));
        let is_set = |name: &String| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let variable = [specific, VARIABLE.to_owned()].into_iter().find(is_set);
        Some(variable.unwrap_or_else(|| format!("{PROFILE_KEY} in the AWS configuration files")))
    }
}

/// The same settings for clients that go where we say: to the endpoint that we named, or to AWS's own.
pub(super) fn unsteered(config: SdkConfig, endpoint_url: Option<String>) -> SdkConfig {
    let mut config = config.into_builder();
    config.set_service_config(None::<Nowhere>);
    config.set_endpoint_url(endpoint_url);
    config.build()
}

/// Knows no setting of any service.
#[derive(Debug)]
enum Nowhere {}

impl LoadServiceConfig for Nowhere {
    fn load_config(&self, _: ServiceConfigKey<'_>) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends every service to one place.
    #[derive(Debug)]
    struct Elsewhere;

    impl LoadServiceConfig for Elsewhere {
        fn load_config(&self, _: ServiceConfigKey<'_>) -> Option<String> {
            Some("https://elsewhere.example.com".to_owned())
        }
    }

    #[test]
    fn clients_go_where_we_say() {
        let steered = || {
            let config = SdkConfig::builder().behavior_version(BehaviorVersion::latest());
            config.endpoint_url("https://elsewhere.example.com").service_config(Elsewhere).build()
        };
        for own in [None, Some("https://kms.example.com".to_owned())] {
            let config = unsteered(steered(), own.clone());
            assert_eq!(config.endpoint_url(), own.as_deref());
            assert!(config.service_config().is_none());
        }
        // Our names for the services are the SDKs': each of them finds what steers it.
        let steering = Steering(steered());
        assert!(AwsService::ALL.iter().all(|service| steering.of(*service).is_some()));
        assert_eq!(Steering(unsteered(steered(), None)).of(AwsService::Kms), None);
    }
}
