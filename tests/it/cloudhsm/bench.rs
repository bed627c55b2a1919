//! A CloudHSM key store with its cluster and others, simulated KMS and CloudHSM, and a driver with real pre-flights.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use xks_preflight::aws::{
    AwsCloudHsm, AwsCloudHsmSettings, AwsCredentials, AwsIam, AwsIamSettings, AwsKms, AwsKmsSettings, AwsVpc,
    AwsVpcSettings,
};
use xks_preflight::check::{JudgingPolicy, Report};
use xks_preflight::clock::{Clock, SystemClock, Timestamp};
use xks_preflight::current::Current;
use xks_preflight::driver::{
    ConfiguredCredentials, Driver, Examiner, ExaminerParts, ExaminerSettings, Extra, LeaseTerms, Pace, Parts,
    UpdateRequest,
};
use xks_preflight::enumeration::{self, Enumerator, Enumerators};
use xks_preflight::id::{IdSource, ReportId};
use xks_preflight::key_store::{
    AccessKeyId, Change, CloudHsmClusterId, CredentialRef, CustomKeyStoreId, CustomKeyStoreName, Fingerprint,
    KeyStorePassword, Place, ProxyCredential, Region,
};
use xks_preflight::places::{PlacePorts, Places};
use xks_preflight::preflight::{Preflight, Surroundings};
use xks_preflight::probe::{Egress, Prober, ProberSettings, ResolverSettings, TrustRoots};
use xks_preflight::sandbox::cloudhsm::{CloudHsmSettings, Cluster, ClusterAuthority, Clusters, SandboxCloudHsm};
use xks_preflight::sandbox::ec2::{Ec2State, SandboxEc2, SecurityGroup};
use xks_preflight::sandbox::iam::SandboxIam;
use xks_preflight::sandbox::kms::{Backing, ConnectionState, KmsSettings, Operation, SandboxKms, Secret, SeedStore};
use xks_preflight::sandbox::query::QuerySettings;
use xks_preflight::update::{Options, Recorded, Round};

use crate::peers::wall_clock;
use crate::update::bench::{BOUND, follow, journal, quick};

pub(crate) const PRESENT: &str = "cluster-present2345";
pub(crate) const RELATED: &str = "cluster-related2345";
pub(crate) const STRANGER: &str = "cluster-stranger234";
/// The password that KMS has, and that `kmsuser` has in the present and the related cluster.
pub(crate) const PASSWORD: &str = "FormerDoNotLeak1234";
pub(crate) const NEW_PASSWORD: &str = "NewerDoNotLeak1234";
pub(crate) const COLD: [&str; 3] = ["DisconnectCustomKeyStore", "UpdateCustomKeyStore", "ConnectCustomKeyStore"];
/// Whose permissions are simulated.
const ROLE: &str = "arn:aws:iam::111122223333:role/ops/xks-preflight";
const CALLER: &str = "AKIACALLER";
const CALLER_SECRET: &str = "CallerSecretDoNotLeak";

pub(crate) struct Bench {
    pub(crate) kms: SandboxKms,
    pub(crate) cloudhsm: SandboxCloudHsm,
    pub(crate) ec2: SandboxEc2,
    pub(crate) iam: SandboxIam,
    pub(crate) clusters: Clusters,
    pub(crate) store: CustomKeyStoreId,
    pub(crate) driver: Driver,
    pub(crate) directory: tempfile::TempDir,
    examiner: Arc<Examiner>,
}

/// Three clusters: the present one, one made from its backup, and a stranger of the same owner.
pub(crate) fn three_clusters(authority: &ClusterAuthority) -> Clusters {
    let family = authority.cluster_certificate("family").unwrap();
    let stranger = authority.cluster_certificate("stranger").unwrap();
    let clusters = Clusters::default();
    for (id, certificate) in [(PRESENT, &family), (RELATED, &family), (STRANGER, &stranger)] {
        clusters.put(Cluster::active(id, certificate, PASSWORD));
    }
    clusters
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let clock = wall_clock();
        let authority = ClusterAuthority::new("owner", clock()).unwrap();
        let clusters = three_clusters(&authority);
        let cloudhsm = CloudHsmSettings::new(clusters.clone(), clock.clone(), CALLER, CALLER_SECRET);
        let cloudhsm = SandboxCloudHsm::start(cloudhsm).await.unwrap();
        let query = || QuerySettings {
            region: "us-east-1".to_owned(),
            access_key_id: CALLER.to_owned(),
            secret_access_key: Secret::new(CALLER_SECRET),
            clock: clock.clone(),
        };
        let security_groups = vec![SecurityGroup::of_cluster("sg-0123456789abcdef0")];
        let ec2 = SandboxEc2::start(query(), Ec2State { security_groups, ..Ec2State::default() }).await.unwrap();
        let iam = SandboxIam::start(query(), ROLE).await.unwrap();
        let mut settings = KmsSettings::new(clock, CALLER, CALLER_SECRET);
        settings.clusters = Some(clusters.clone());
        let kms = SandboxKms::start(settings).await.unwrap();
        let store = kms.add_store(SeedStore::cloud_hsm("store", PRESENT, PASSWORD, authority.trust_anchor()));
        let directory = tempfile::tempdir().unwrap();
        let (driver, examiner) = Box::pin(driver(&kms, &cloudhsm, &ec2, &iam, &directory)).await;
        let store = CustomKeyStoreId::parse(&store).unwrap();
        Self { kms, cloudhsm, ec2, iam, clusters, store, driver, directory, examiner }
    }

    pub(crate) fn request(&self, change: Change, password: Option<&str>) -> UpdateRequest {
        UpdateRequest {
            key_store: self.store.clone(),
            change,
            credential: None,
            password: password.map(|password| KeyStorePassword::parse(password).unwrap()),
            former_credential: None,
            former_password: None,
            options: Options { acknowledge_outage: true, connect: true, ..Options::default() },
            by: "tester".into(),
            idempotency: None,
        }
    }

    /// Everything that happens to one update.
    pub(crate) async fn live(&self, change: Change, password: Option<&str>) -> Vec<Recorded> {
        let id = self.driver.submit(self.request(change, password)).await.unwrap().id;
        follow(&self.driver, id).await
    }

    /// The report on a change that nobody makes.
    pub(crate) async fn preflight(&self, change: Change) -> Arc<Report> {
        let plan = self.driver.plan(&self.request(change, None)).await.unwrap();
        self.examiner.plan(&plan, Round::First, None, None, &Extra::default()).await.unwrap()
    }

    pub(crate) fn report(&self, id: ReportId) -> Arc<Report> {
        self.examiner.find(id).unwrap()
    }

    /// The cluster in force and the connection state.
    pub(crate) fn shown(&self) -> (String, ConnectionState) {
        let store = self.kms.store(self.store.as_str()).unwrap();
        let Backing::CloudHsm(hsm) = store.backing else { panic!("another type") };
        (hsm.cluster_id, store.connection)
    }

    /// The mutations that reached KMS, whatever it did with them.
    pub(crate) fn calls(&self) -> Vec<&'static str> {
        let operations = self.kms.history().into_iter().filter_map(|call| call.operation);
        operations.filter(|operation| operation.is_mutation()).map(Operation::as_str).collect()
    }

    /// Wrong passwords that `kmsuser` has seen in this cluster.
    pub(crate) fn wrong(&self, cluster: &str) -> u32 {
        self.clusters.find(cluster).unwrap().kmsuser.unwrap().wrong
    }

    pub(crate) fn set_password(&self, cluster: &str, password: &str) {
        let secret = xks_preflight::sandbox::kms::Secret::new(password);
        self.clusters.change(cluster, |cluster| {
            let user = cluster.kmsuser.as_mut().unwrap();
            (user.password, user.wrong) = (secret, 0);
        });
    }
}

#[expect(clippy::too_many_lines, reason = "a composition root is a list of parts")]
async fn driver(
    kms: &SandboxKms,
    cloudhsm: &SandboxCloudHsm,
    ec2: &SandboxEc2,
    iam: &SandboxIam,
    directory: &tempfile::TempDir,
) -> (Driver, Arc<Examiner>) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let ids = Arc::new(IdSource::from_entropy());
    let region = Region::parse("us-east-1").unwrap();
    let credentials = || {
        Some(
            AwsCredentials {
                access_key_id: CALLER.into(),
                secret_access_key: SecretString::from(CALLER_SECRET.to_owned()),
                session_token: None,
            }
            .into(),
        )
    };
    let aws = AwsKms::new(AwsKmsSettings {
        region: region.clone(),
        endpoint_url: Some(kms.endpoint_url()),
        credentials: credentials(),
        timeout: BOUND,
    });
    let aws = Arc::new(aws.await);
    let clusters = AwsCloudHsm::new(AwsCloudHsmSettings {
        region: region.clone(),
        endpoint_url: Some(cloudhsm.endpoint_url()),
        credentials: credentials(),
        timeout: BOUND,
    });
    let security_groups = AwsVpc::new(AwsVpcSettings {
        region: region.clone(),
        ec2_endpoint_url: Some(ec2.endpoint_url()),
        elbv2_endpoint_url: None,
        credentials: credentials(),
        timeout: BOUND,
        clock: clock.clone(),
    });
    let security_groups = Box::pin(security_groups).await;
    let permissions = AwsIam::new(AwsIamSettings {
        region: region.clone(),
        endpoint_url: Some(iam.endpoint_url()),
        of: ROLE.to_owned(),
        credentials: credentials(),
        timeout: BOUND,
        clock: clock.clone(),
    });
    let permissions = Box::pin(permissions).await;
    let prober = Prober::new(ProberSettings {
        trust: TrustRoots::mozilla(),
        client_certificate: None,
        resolver: ResolverSettings::System,
        egress: Egress::default(),
        clock: clock.clone(),
        ids: ids.clone(),
    });
    let here = Place::home(region.clone());
    let places = Arc::new(Places::new(vec![PlacePorts {
        place: here.clone(),
        reader: aws.clone(),
        describer: aws.clone(),
        writer: Some(aws.clone()),
        maker: None,
        vpc: None,
        clusters: Arc::new(clusters.await),
        security_groups: Some(Arc::new(security_groups)),
        permissions: Some(Arc::new(permissions)),
    }]));
    places.look(&here).await.unwrap();
    let enumerator = Arc::new(Enumerator::new(aws.clone(), clock.clone(), enumeration::Pace::default()));
    let examiner = Arc::new(Examiner::new(ExaminerParts {
        preflight: Arc::new(Preflight::new(prober.unwrap(), clock.clone(), ids.clone(), "a test".into())),
        surroundings: Arc::new(Current::new(Surroundings {
            region,
            credentials: Arc::default(),
            lent: BTreeMap::new(),
            given_to: BTreeMap::new(),
            routes: BTreeMap::default(),
            capacity_allow: BTreeSet::default(),
            judging: Arc::new(|_, _| JudgingPolicy::default()),
        })),
        enumerators: Arc::new(Enumerators::new(places.clone(), [(here, enumerator)], clock.clone())),
        places,
        settings: Arc::new(Current::new(ExaminerSettings {
            key_tests: BTreeMap::new(),
            samples: 1,
            addresses: 1,
            refusals: BTreeSet::default(),
            perspectives: None,
            timeout: BOUND,
        })),
        canaries: None,
        clock: clock.clone(),
        concurrency: 1,
        observer: Arc::new(|_| ()),
        keeper: None,
    }));
    let journal = Arc::new(journal(directory.path()));
    let driver = Driver::new(Parts {
        freezes: journal.clone(),
        vigils: journal.clone(),
        known_keys: Arc::new(|_| None),
        journal,
        reader: aws.clone(),
        writer: Some(aws),
        verifier: examiner.clone(),
        credentials: Arc::new(Nobody),
        judging: Arc::new(|_, _| JudgingPolicy::default()),
        clock,
        ids,
        policy: Arc::new(Current::new(quick())),
        pace: Pace { interval: Duration::from_millis(5), longest: Duration::from_millis(50) },
        lease: LeaseTerms::default(),
        desk: None,
    });
    (driver, examiner)
}

pub(crate) fn to_cluster(id: &str) -> Change {
    Change { cluster: Some(CloudHsmClusterId::parse(id).unwrap()), ..Change::default() }
}

pub(crate) fn to_name(name: &str) -> Change {
    Change { name: Some(CustomKeyStoreName::parse(name).unwrap()), ..Change::default() }
}

/// No proxy has a credential here.
struct Nobody;

impl ConfiguredCredentials for Nobody {
    fn planned(&self, _: &str, _: &Fingerprint) -> Option<ProxyCredential> {
        None
    }

    fn by_name(&self, _: &str) -> Option<ProxyCredential> {
        None
    }

    fn present(&self, _: &CustomKeyStoreId, _: &AccessKeyId) -> Option<(String, ProxyCredential)> {
        None
    }

    fn with_fingerprint(&self, _: &Fingerprint) -> Option<(String, ProxyCredential)> {
        None
    }

    fn told(&self, _: &CustomKeyStoreId, _: &CredentialRef, _: Timestamp) {}
}
