//! Who we are towards AWS: credentials of the SDK's default chain, of a profile, or of a role that is assumed.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::Region as SdkRegion;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use super::kms::sdk_config;
use crate::clock::{Clock, Timestamp};
use crate::key_store::Region;

/// Credentials are asked for again this long before they end.
const EXPIRY_MARGIN: Duration = Duration::from_mins(5);

/// AWS credentials given outright.
#[derive(Clone, Debug)]
pub struct AwsCredentials {
    /// The access key id, which is no secret.
    pub access_key_id: String,
    /// The secret access key.
    pub secret_access_key: SecretString,
    /// The session token of temporary credentials.
    pub session_token: Option<SecretString>,
}

/// Where the credentials of an account come from.
#[derive(Clone, Debug)]
pub struct AwsIdentitySettings {
    /// Whose STS is asked, and the Region of everything that a profile does not say.
    pub region: Region,
    /// A profile of the AWS configuration files (`AWS_CONFIG_FILE`, `AWS_SHARED_CREDENTIALS_FILE`); without one, what was
    /// given outright, or else the SDK's default chain.
    pub profile: Option<String>,
    /// Credentials given outright, in place of the default chain.
    pub given: Option<AwsCredentials>,
    /// A role to assume with these credentials.
    pub role: Option<AwsRole>,
    /// Another endpoint of STS than the Region's own.
    pub sts_endpoint_url: Option<String>,
    /// How long one request to STS may take.
    pub timeout: Duration,
    /// Tells when credentials end.
    pub clock: Arc<dyn Clock>,
}

/// A role of another account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsRole {
    /// Its ARN.
    pub arn: String,
    /// What its trust policy demands as `sts:ExternalId`; AWS does not treat it as a secret.
    pub external_id: Option<String>,
    /// The name of the session, which CloudTrail shows.
    pub session_name: String,
}

/// AWS refuses credentials that it gave out when a session is revoked, and also what they may not do: they are asked for
/// anew at most this often.
const ANEW_EVERY: Duration = Duration::from_mins(1);

/// The credentials of one account, shared by every client of its Regions: a role is assumed once for all of them.
#[derive(Clone)]
pub struct AwsIdentity {
    provider: SharedCredentialsProvider,
    /// Where they are remembered, if they are.
    remembered: Option<Arc<Remembered>>,
}

impl fmt::Debug for AwsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[AWS identity]")
    }
}

impl From<AwsCredentials> for AwsIdentity {
    fn from(given: AwsCredentials) -> Self {
        let provider = SharedCredentialsProvider::new(Credentials::new(
            given.access_key_id,
            given.secret_access_key.expose_secret(),
            given.session_token.as_ref().map(|token| token.expose_secret().to_owned()),
            None,
            "configuration",
        ));
        Self { provider, remembered: None }
    }
}

impl AwsIdentity {
    /// The identity; nothing is sent yet, apart from what the default chain does to find itself.
    pub async fn new(settings: AwsIdentitySettings) -> Self {
        let AwsIdentitySettings { region, profile, given, role, sts_endpoint_url, timeout, clock } = settings;
        let sdk_region = SdkRegion::new(region.to_string());
        let own = match (profile, given) {
            (Some(name), _) => {
                let config = ProviderConfig::without_region().with_region(Some(sdk_region));
                let profile = ProfileFileCredentialsProvider::builder().configure(&config).profile_name(name).build();
                Self::remembered(profile, &clock)
            }
            (None, Some(given)) => Self::from(given),
            (None, None) => {
                let chain = DefaultCredentialsChain::builder().region(sdk_region).build();
                Self::remembered(Box::pin(chain).await, &clock)
            }
        };
        let Some(AwsRole { arn, external_id, session_name }) = role else { return own };
        let config = sdk_config(&region, sts_endpoint_url, Some(own), timeout).await;
        let mut role = AssumeRoleProvider::builder(arn).session_name(session_name).configure(&config);
        if let Some(external_id) = external_id {
            role = role.external_id(external_id);
        }
        Self::remembered(role.build().await, &clock)
    }

    fn remembered(provider: impl ProvideCredentials + 'static, clock: &Arc<dyn Clock>) -> Self {
        let inner = SharedCredentialsProvider::new(provider);
        let remembered = Arc::new(Remembered { inner, latest: Mutex::default(), clock: Arc::clone(clock) });
        let provider = SharedCredentialsProvider::new(Arc::clone(&remembered) as Arc<dyn ProvideCredentials>);
        Self { provider, remembered: Some(remembered) }
    }

    pub(super) fn provider(self) -> SharedCredentialsProvider {
        self.provider
    }

    /// AWS has refused these credentials. A session may have been revoked long before its end, so the next request is
    /// signed with new ones.
    pub(super) async fn refused(&self) {
        if let Some(remembered) = &self.remembered {
            remembered.forget().await;
        }
    }
}

/// Gives the same credentials until they are about to end. The SDK remembers them in each client; an account has several
/// clients in each of its Regions.
#[derive(Debug)]
struct Remembered {
    inner: SharedCredentialsProvider,
    latest: Mutex<Latest>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Default)]
struct Latest {
    held: Option<Credentials>,
    /// When they were last forgotten before their time.
    forgotten_at: Option<Timestamp>,
}

impl Remembered {
    async fn credentials(&self) -> provider::Result {
        let now = SystemTime::from(self.clock.now());
        // Whoever comes meanwhile waits: one question is enough for all.
        let mut latest = self.latest.lock().await;
        if let Some(held) =
            latest.held.as_ref().filter(|held| held.expiry().is_none_or(|end| end > now + EXPIRY_MARGIN))
        {
            return Ok(held.clone());
        }
        let given = self.inner.provide_credentials().await?;
        Ok(latest.held.insert(given).clone())
    }

    async fn forget(&self) {
        let now = self.clock.now();
        let mut latest = self.latest.lock().await;
        let long_ago = |at: Timestamp| !(0.0..ANEW_EVERY.as_secs_f64()).contains(&now.seconds_since(at));
        if latest.held.is_some() && latest.forgotten_at.is_none_or(long_ago) {
            *latest = Latest { held: None, forgotten_at: Some(now) };
        }
    }
}

impl ProvideCredentials for Remembered {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

    use super::*;

    #[derive(Debug, Default)]
    struct Set(AtomicI64);

    impl Clock for Set {
        fn now(&self) -> Timestamp {
            Timestamp::from_unix(self.0.load(Ordering::Relaxed))
        }
    }

    /// Gives credentials for an hour, or none.
    #[derive(Debug)]
    struct Counting(Arc<AtomicUsize>, Arc<Set>);

    impl ProvideCredentials for Counting {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            self.0.fetch_add(1, Ordering::Relaxed);
            let end = SystemTime::from(self.1.now()) + Duration::from_hours(1);
            future::ProvideCredentials::ready(Ok(Credentials::new("id", "DoNotLeak", None, Some(end), "a test")))
        }
    }

    #[tokio::test]
    async fn credentials_are_asked_for_anew_shortly_before_they_end() {
        let (asked, clock) = (Arc::new(AtomicUsize::new(0)), Arc::new(Set::default()));
        let shared: Arc<dyn Clock> = clock.clone();
        let identity = AwsIdentity::remembered(Counting(asked.clone(), clock.clone()), &shared);
        for (at, times) in [(0, 1), (1, 1), (54 * 60, 1), (55 * 60 + 1, 2), (56 * 60, 2)] {
            clock.0.store(at, Ordering::Relaxed);
            identity.clone().provider().provide_credentials().await.unwrap();
            assert_eq!(asked.load(Ordering::Relaxed), times, "after {at} s");
        }
        assert!(!format!("{identity:?}").contains("DoNotLeak"));
    }

    #[tokio::test]
    async fn credentials_that_aws_refuses_are_asked_for_anew_and_not_too_often() {
        let (asked, clock) = (Arc::new(AtomicUsize::new(0)), Arc::new(Set::default()));
        let shared: Arc<dyn Clock> = clock.clone();
        let identity = AwsIdentity::remembered(Counting(asked.clone(), clock.clone()), &shared);
        for (at, refused, times) in
            [(0, false, 1), (1, true, 2), (2, false, 2), (59, true, 2), (60, true, 2), (61, true, 3), (62, false, 3)]
        {
            clock.0.store(at, Ordering::Relaxed);
            if refused {
                identity.refused().await;
            }
            identity.clone().provider().provide_credentials().await.unwrap();
            assert_eq!(asked.load(Ordering::Relaxed), times, "after {at} s");
        }
    }
}
