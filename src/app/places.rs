//! The accounts and Regions of the configuration, each with whoever reads and changes AWS there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{BuildError, Parts};
use crate::aws::{
    AwsCloudHsm, AwsCloudHsmSettings, AwsIam, AwsIamSettings, AwsIdentity, AwsIdentitySettings, AwsKms, AwsKmsSettings,
    AwsService, AwsVpc, AwsVpcSettings, Steering,
};
use crate::cloudhsm::SecurityGroupReader;
use crate::config::{self, Config, PlaceEndpoints};
use crate::enumeration::{Enumerator, Enumerators, Pace};
use crate::key_store::Place;
use crate::kms::{KeyStoreDescriber, KeyStoreMaker, KeyStoreReader, KeyStoreWriter, PermissionReader};
use crate::metrics::{CountedDescriber, CountedLister, CountedMaker, CountedReader, CountedWriter, Metrics};
use crate::places::{PlacePorts, Places};
use crate::update::PROPAGATION;
use crate::vpc::VpcReader;

/// DescribeClusters reads what CloudHSM knows; it asks nobody.
const CLOUDHSM_TIMEOUT: Duration = Duration::from_secs(10);
/// EC2 and Elastic Load Balancing answer what they know.
const VPC_TIMEOUT: Duration = Duration::from_secs(10);
/// IAM answers a simulation in well under a second.
const IAM_TIMEOUT: Duration = Duration::from_secs(5);
/// STS answers in well under a second.
const STS_TIMEOUT: Duration = Duration::from_secs(5);

/// Everything about AWS in the configuration.
pub(super) struct Aws {
    kms: config::KmsSettings,
    accounts: Vec<config::AccountSettings>,
    check_service: bool,
    home: PlaceEndpoints,
}

/// Everything that asks and tells AWS.
pub(super) struct Opened {
    pub(super) places: Arc<Places>,
    pub(super) enumerators: Arc<Enumerators>,
    pub(super) home: Home,
}

/// Whoever speaks for the account and Region of `[kms]`.
pub(super) struct Home {
    pub(super) reader: Arc<dyn KeyStoreReader>,
    pub(super) describer: Arc<dyn KeyStoreDescriber>,
    pub(super) maker: Option<Arc<dyn KeyStoreMaker>>,
}

/// One place, before anybody is there.
struct Site<'a> {
    place: Place,
    endpoints: &'a PlaceEndpoints,
    identity: Option<AwsIdentity>,
    /// ARN of the IAM identity whose policies are simulated, and another endpoint of IAM.
    permissions: (Option<&'a String>, Option<&'a String>),
}

/// Plain HTTP is accepted on loopback only, and AWS's own endpoints speak HTTPS.
fn is_simulation(endpoint_url: Option<&String>) -> bool {
    endpoint_url.is_some_and(|url| url.starts_with("http://"))
}

/// Whether the parts of a configuration go together with the AWS that it names. What is for laboratories only must not
/// change a real KMS, in no place.
pub(super) fn fits(config: &Config) -> Result<(), BuildError> {
    let Config { kms, vpc, cloudhsm, accounts, credentials, key_stores, preflight, update, .. } = config;
    let is_place = |place: &Place| {
        *place == Place::home(kms.region.clone())
            || accounts.iter().any(|account| account.name == place.account && account.regions.contains(&place.region))
    };
    if let Some(other) = key_stores.iter().find(|store| !is_place(&store.place)) {
        let (key_store, place) = (other.id.clone(), other.place.clone());
        return Err(BuildError::UnknownPlace { key_store, place });
    }
    if kms.observe_only {
        return Ok(());
    }
    let home = home_endpoints(kms, vpc, cloudhsm);
    let further = accounts.iter().flat_map(|account| {
        account.regions.iter().map(|region| account.endpoints.get(region).unwrap_or(&NO_ENDPOINTS))
    });
    for endpoints in std::iter::once(&home).chain(further) {
        if is_simulation(endpoints.kms.as_ref()) {
            continue;
        }
        if preflight.trust.is_lab() {
            return Err(BuildError::LaboratoryGate);
        }
        if update.rotation.least_propagation < PROPAGATION {
            return Err(BuildError::HastyRotation);
        }
        if is_simulation(endpoints.ec2.as_ref()) || is_simulation(endpoints.elbv2.as_ref()) {
            return Err(BuildError::SimulatedVpc);
        }
        if is_simulation(endpoints.cloudhsm.as_ref()) {
            return Err(BuildError::SimulatedCloudHsm);
        }
        let simulated = |named: &&config::NamedCredential| match &named.origin {
            config::Origin::SecretsManager(origin) => is_simulation(origin.endpoint_url.as_ref()),
            _ => false,
        };
        if let Some(named) = credentials.values().find(simulated) {
            return Err(BuildError::SimulatedSecretsManager { credential: named.name.clone() });
        }
    }
    Ok(())
}

/// Whether the environment leaves it to the configuration where AWS is. Only services that are asked at all, and of which
/// no endpoint is configured, are of interest.
pub(super) async fn leads_nowhere_else(config: &Config) -> Result<(), BuildError> {
    let steering = Steering::read().await;
    let asked = asked_at_their_own(config).into_iter();
    let steered: Vec<_> = asked.filter_map(|service| Some((service, steering.of(service)?))).collect();
    if steered.is_empty() { Ok(()) } else { Err(BuildError::Steered { steered }) }
}

/// The services that are asked at AWS's own endpoints.
fn asked_at_their_own(config: &Config) -> BTreeSet<AwsService> {
    let Config { kms, vpc, cloudhsm, accounts, credentials, .. } = config;
    let mut asked = BTreeSet::new();
    let home = home_endpoints(kms, vpc, cloudhsm);
    let further = accounts.iter().flat_map(|account| {
        account.regions.iter().map(|region| account.endpoints.get(region).unwrap_or(&NO_ENDPOINTS))
    });
    for PlaceEndpoints { kms, ec2, elbv2, cloudhsm } in std::iter::once(&home).chain(further) {
        // Before a simulated KMS AWS itself is left alone, as far as that can be seen.
        let real = !is_simulation(kms.as_ref());
        asked.extend(kms.is_none().then_some(AwsService::Kms));
        asked.extend((real && ec2.is_none()).then_some(AwsService::Ec2));
        asked.extend((real && vpc.check_service && elbv2.is_none()).then_some(AwsService::Elbv2));
        asked.extend((real && cloudhsm.is_none()).then_some(AwsService::CloudHsm));
    }
    let own_iam = |of: Option<&String>, endpoint: Option<&String>| of.is_some() && endpoint.is_none();
    let home_iam = (kms.permissions_of.as_ref(), kms.iam_endpoint_url.as_ref());
    asked.extend(own_iam(home_iam.0, home_iam.1).then_some(AwsService::Iam));
    for account in accounts {
        let shared = if account.name.is_home() { home_iam } else { (None, None) };
        let of = account.permissions_of.as_ref().or(shared.0);
        asked.extend(own_iam(of, account.iam_endpoint_url.as_ref().or(shared.1)).then_some(AwsService::Iam));
        asked.extend((account.role.is_some() && account.sts_endpoint_url.is_none()).then_some(AwsService::Sts));
    }
    let at_aws = |named: &config::NamedCredential| matches!(&named.origin, config::Origin::SecretsManager(origin) if origin.endpoint_url.is_none());
    asked.extend(credentials.values().any(at_aws).then_some(AwsService::SecretsManager));
    asked
}

fn home_endpoints(
    kms: &config::KmsSettings,
    vpc: &config::VpcSettings,
    cloudhsm: &config::CloudHsmSettings,
) -> PlaceEndpoints {
    PlaceEndpoints {
        kms: kms.endpoint_url.clone(),
        ec2: vpc.ec2_endpoint_url.clone(),
        elbv2: vpc.elbv2_endpoint_url.clone(),
        cloudhsm: cloudhsm.endpoint_url.clone(),
    }
}

impl Aws {
    pub(super) fn new(
        kms: config::KmsSettings,
        accounts: Vec<config::AccountSettings>,
        vpc: &config::VpcSettings,
        cloudhsm: &config::CloudHsmSettings,
    ) -> Self {
        let home = home_endpoints(&kms, vpc, cloudhsm);
        Self { kms, accounts, check_service: vpc.check_service, home }
    }

    /// Whoever reads and changes AWS, in every place; and whoever finds the KMS keys there.
    pub(super) async fn open(&self, parts: &Parts, metrics: &Arc<Metrics>) -> Opened {
        let identity = parts.aws_credentials.clone().map(AwsIdentity::from);
        let permissions = (self.kms.permissions_of.as_ref(), self.kms.iam_endpoint_url.as_ref());
        let place = Place::home(self.kms.region.clone());
        let site = Site { place, endpoints: &self.home, identity: identity.clone(), permissions };
        let (place, speaker, enumerator) = self.site(site, parts, metrics).await;
        let home = Home {
            reader: Arc::clone(&speaker.reader),
            describer: Arc::clone(&speaker.describer),
            maker: speaker.maker.clone(),
        };
        let (mut speakers, mut enumerators) = (vec![speaker], vec![(place, enumerator)]);
        for account in &self.accounts {
            let own = (account.permissions_of.as_ref(), account.iam_endpoint_url.as_ref());
            let (identity, permissions) = if account.name.is_home() {
                (identity.clone(), (own.0.or(permissions.0), own.1.or(permissions.1)))
            } else {
                (Some(self.identity(account, parts).await), own)
            };
            for region in &account.regions {
                let site = Site {
                    place: Place { account: account.name.clone(), region: region.clone() },
                    endpoints: account.endpoints.get(region).unwrap_or(&NO_ENDPOINTS),
                    identity: identity.clone(),
                    permissions,
                };
                let (place, speaker, enumerator) = self.site(site, parts, metrics).await;
                speakers.push(speaker);
                enumerators.push((place, enumerator));
            }
        }
        let places = Arc::new(Places::new(speakers));
        let enumerators = Enumerators::new(Arc::clone(&places), enumerators, Arc::clone(&parts.clock));
        Opened { places, enumerators: Arc::new(enumerators), home }
    }

    async fn identity(&self, account: &config::AccountSettings, parts: &Parts) -> AwsIdentity {
        let settings = AwsIdentitySettings {
            region: self.kms.region.clone(),
            profile: account.profile.clone(),
            given: parts.aws_credentials.clone(),
            role: account.role.clone(),
            sts_endpoint_url: account.sts_endpoint_url.clone(),
            timeout: STS_TIMEOUT,
            clock: Arc::clone(&parts.clock),
        };
        Box::pin(AwsIdentity::new(settings)).await
    }

    async fn site(
        &self,
        site: Site<'_>,
        parts: &Parts,
        metrics: &Arc<Metrics>,
    ) -> (Place, PlacePorts, Arc<Enumerator>) {
        let settings = AwsKmsSettings {
            region: site.place.region.clone(),
            endpoint_url: site.endpoints.kms.clone(),
            credentials: site.identity.clone(),
            timeout: self.kms.timeout,
        };
        let aws = Arc::new(AwsKms::new(settings).await);
        let lister = CountedLister::new(aws.clone(), Arc::clone(metrics));
        let pace = Pace { per_second: self.kms.describe_key_rate, ..Pace::default() };
        let enumerator = Arc::new(Enumerator::new(Arc::new(lister), Arc::clone(&parts.clock), pace));
        let (vpc, security_groups) = self.ec2_readers(&site, parts).await;
        let clusters = AwsCloudHsmSettings {
            region: site.place.region.clone(),
            endpoint_url: site.endpoints.cloudhsm.clone(),
            credentials: site.identity.clone(),
            timeout: CLOUDHSM_TIMEOUT,
        };
        // Observe-only is the absence of a writer: there is nothing that could be called by mistake.
        let writer = (!self.kms.observe_only)
            .then(|| Arc::new(CountedWriter::new(aws.clone(), Arc::clone(metrics))) as Arc<dyn KeyStoreWriter>);
        let maker = (!self.kms.observe_only)
            .then(|| Arc::new(CountedMaker::new(aws.clone(), Arc::clone(metrics))) as Arc<dyn KeyStoreMaker>);
        let speaker = PlacePorts {
            place: site.place.clone(),
            reader: Arc::new(CountedReader::new(aws.clone(), Arc::clone(metrics))),
            describer: Arc::new(CountedDescriber::new(aws, Arc::clone(metrics))),
            writer,
            maker,
            vpc,
            clusters: Arc::new(AwsCloudHsm::new(clusters).await),
            security_groups,
            permissions: permissions(&site, parts).await,
        };
        (site.place, speaker, enumerator)
    }

    /// Whoever reads VPC endpoint services, if that is wanted, and the security groups of clusters, which is not a matter
    /// of wanting: a must hangs on them. Before a simulated KMS AWS itself is left alone: it knows nothing of what is
    /// simulated.
    async fn ec2_readers(
        &self,
        site: &Site<'_>,
        parts: &Parts,
    ) -> (Option<Arc<dyn VpcReader>>, Option<Arc<dyn SecurityGroupReader>>) {
        let endpoints = site.endpoints;
        let real = !is_simulation(endpoints.kms.as_ref());
        let ec2 = real || endpoints.ec2.is_some();
        let services = self.check_service && ec2 && (real || endpoints.elbv2.is_some());
        let settings = AwsVpcSettings {
            region: site.place.region.clone(),
            ec2_endpoint_url: endpoints.ec2.clone(),
            elbv2_endpoint_url: endpoints.elbv2.clone(),
            credentials: site.identity.clone(),
            timeout: VPC_TIMEOUT,
            clock: Arc::clone(&parts.clock),
        };
        let aws = Arc::new(AwsVpc::new(settings).await);
        (services.then(|| Arc::clone(&aws) as Arc<dyn VpcReader>), ec2.then_some(aws as Arc<dyn SecurityGroupReader>))
    }
}

static NO_ENDPOINTS: PlaceEndpoints = PlaceEndpoints { kms: None, ec2: None, elbv2: None, cloudhsm: None };

/// IAM is asked only about an identity that the operator named.
async fn permissions(site: &Site<'_>, parts: &Parts) -> Option<Arc<dyn PermissionReader>> {
    let (of, endpoint_url) = site.permissions;
    let settings = AwsIamSettings {
        region: site.place.region.clone(),
        endpoint_url: endpoint_url.cloned(),
        of: of?.clone(),
        credentials: site.identity.clone(),
        timeout: IAM_TIMEOUT,
        clock: Arc::clone(&parts.clock),
    };
    Some(Arc::new(AwsIam::new(settings).await))
}
