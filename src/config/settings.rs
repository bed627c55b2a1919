//! What a configuration comes to: every value of its final type, every reference followed, every secret read.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustls::RootCertStore;

use super::origin::Origin;
use super::reading::Reading;
use super::secret::SealingKey;
use crate::access::{KnownCertificate, KnownToken, Scope};
use crate::audit::SigningKey;
use crate::aws::AwsRole;
use crate::check::{self, JudgingPolicy};
use crate::clock::Timestamp;
use crate::journal::PostgresAddress;
use crate::key_store::{
    AccountName, CandidateName, Change, CustomKeyStoreId, ExternalKeyId, Place, ProxyCredential, Region,
    XksProxyUriPath,
};
use crate::kms_endpoint::KmsCredential;
use crate::listener::{Rate, Tls};
use crate::oidc::IssuerSettings;
use crate::peer::Peer;
use crate::perspective::Perspectives;
use crate::probe::{Egress, ResolverSettings, TrustRoots};
use crate::update::{ApprovalRule, RotationPolicy, Windows};

/// A whole configuration without fault.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[listen]`: where the API, the page and the metrics are served.
    pub listen: Listen,
    /// `[http]`: limits on what callers may use up.
    pub http: HttpLimits,
    /// `[journal]`: where updates are recorded.
    pub journal: JournalSettings,
    /// `[audit]`: how decisions can be proven.
    pub audit: AuditSettings,
    /// `[kms]`: how AWS KMS is asked and told.
    pub kms: KmsSettings,
    /// `[[accounts]]`: further accounts and Regions, unique by name.
    pub accounts: Vec<AccountSettings>,
    /// `[vpc]`: how AWS is asked about VPC endpoint services.
    pub vpc: VpcSettings,
    /// `[cloudhsm]`: how AWS CloudHSM is asked.
    pub cloudhsm: CloudHsmSettings,
    /// `[credentials.NAME]`: proxy credentials by name.
    pub credentials: BTreeMap<String, NamedCredential>,
    /// `[[key_stores]]`: unique by id.
    pub key_stores: Vec<WatchedKeyStore>,
    /// `[preflight]`: how a candidate is probed and judged.
    pub preflight: PreflightSettings,
    /// `[[perspectives]]` with `quorum` of `[preflight]`; `None` without any.
    pub perspectives: Option<Perspectives>,
    /// `[traces]`: the collector that traces are sent to, if any.
    pub traces: Option<Peer>,
    /// `[monitor]`: how often the key stores are probed.
    pub monitor: MonitorSchedule,
    /// `[update]`: what an update needs and how long it waits.
    pub update: UpdatePolicy,
    /// `[[kms_credentials]]`: who may call the KMS drop-in endpoint, unique by name and by access key id.
    pub kms_credentials: Vec<KmsCredential>,
    /// `[[tokens]]`: who may call the API, unique by name and by token. Empty on a loopback address (or with
    /// `allow_insecure`): the API asks nobody who they are.
    pub tokens: Vec<KnownToken>,
    /// `[[client_certificates]]`: unique by their names.
    pub client_certificates: Vec<KnownCertificate>,
    /// `[[oidc]]`: unique by issuer.
    pub oidc: Vec<IssuerSettings>,
    /// Digests of every value, and of the files that are named, for comparison.
    pub reading: Reading,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
}

/// `[listen]`.
#[derive(Clone, Debug)]
pub struct Listen {
    /// `api`; port 0 lets the system choose.
    pub api: SocketAddr,
    /// `kms`: the KMS drop-in endpoint, open if there are `[[kms_credentials]]`; port 0 lets the system choose.
    pub kms: SocketAddr,
    /// `tls_certificate_file` and `tls_key_file`; without them plain HTTP is served.
    pub tls: Option<Tls>,
}

/// `[http]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// `connections`: served at once.
    pub connections: usize,
    /// `header_timeout`: for the head of a request.
    pub header_timeout: Duration,
    /// `request_timeout`: for a request to be received and answered, event streams excepted.
    pub request_timeout: Duration,
    /// `body_limit`, in bytes.
    pub body_limit: usize,
    /// `requests_per_second` and `burst` of each principal.
    pub principal_rate: Rate,
    /// `failures_per_minute` of each address.
    pub stranger_rate: Rate,
}

/// `[journal]`.
#[derive(Clone, Debug)]
pub struct JournalSettings {
    /// `path` of the SQLite file; of no use with `postgres`.
    pub path: PathBuf,
    /// `postgres_url` with what belongs to it.
    pub postgres: Option<PostgresSettings>,
    /// `lease`: at least twice `timeout` of `[kms]`.
    pub lease: Duration,
    /// `sealing_key`; without it updates that bring a secret along are refused.
    pub sealing_key: Option<SealingKey>,
}

/// `[audit]`.
#[derive(Clone, Debug, Default)]
pub struct AuditSettings {
    /// `signing_key`; without it no evidence is handed out.
    pub signing_key: Option<SigningKey>,
}

/// The PostgreSQL database of `[journal]`.
#[derive(Clone, Debug)]
pub struct PostgresSettings {
    /// `postgres_url`, with `postgres_password`.
    pub address: PostgresAddress,
    /// `postgres_ca_file`, or the public roots.
    pub roots: RootCertStore,
}

/// `[kms]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KmsSettings {
    /// `region` of the key stores that name none.
    pub region: Region,
    /// `endpoint_url`: `https://`, or `http://` on a loopback address, because a request may hold a secret.
    pub endpoint_url: Option<String>,
    /// `poll_interval`: between two descriptions of the key stores.
    pub poll_interval: Duration,
    /// `timeout` of one call.
    pub timeout: Duration,
    /// `describe_key_rate`: requests per second for finding the KMS keys of key stores.
    pub describe_key_rate: u32,
    /// `permissions_of`: ARN of the IAM identity whose policies are simulated; none are without it.
    pub permissions_of: Option<String>,
    /// `iam_endpoint_url`, as `endpoint_url`.
    pub iam_endpoint_url: Option<String>,
    /// `credentials`: keys of [`Config::credentials`], for key stores of its Region that nobody configured.
    pub credentials: BTreeSet<String>,
    /// `observe_only`: make no writer at all.
    pub observe_only: bool,
}

/// `[[accounts]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSettings {
    /// `name`; that of the account of `[kms]`, if these are further Regions of it.
    pub name: AccountName,
    /// `regions`: all different, at least one.
    pub regions: Vec<Region>,
    /// `profile`: whose credentials are used, or assume the role.
    pub profile: Option<String>,
    /// `role_arn`, `external_id` and `session_name`.
    pub role: Option<AwsRole>,
    /// `sts_endpoint_url`, as `endpoint_url` of `[kms]`.
    pub sts_endpoint_url: Option<String>,
    /// `permissions_of`, as that of `[kms]`.
    pub permissions_of: Option<String>,
    /// `iam_endpoint_url`, as that of `[kms]`.
    pub iam_endpoint_url: Option<String>,
    /// `credentials`: keys of [`Config::credentials`], for key stores of its Regions that nobody configured.
    pub credentials: BTreeSet<String>,
    /// `endpoints`, of some of its Regions.
    pub endpoints: BTreeMap<Region, PlaceEndpoints>,
}

/// `[[accounts.endpoints]]`: `https://`, or `http://` on a loopback address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlaceEndpoints {
    /// `kms`
    pub kms: Option<String>,
    /// `ec2`
    pub ec2: Option<String>,
    /// `elbv2`
    pub elbv2: Option<String>,
    /// `cloudhsm`
    pub cloudhsm: Option<String>,
}

/// `[vpc]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VpcSettings {
    /// `check_service`: ask EC2 and Elastic Load Balancing about VPC endpoint services. The security groups of CloudHSM
    /// clusters are asked for in any case.
    pub check_service: bool,
    /// `ec2_endpoint_url`: `https://`, or `http://` on a loopback address.
    pub ec2_endpoint_url: Option<String>,
    /// `elbv2_endpoint_url`: `https://`, or `http://` on a loopback address.
    pub elbv2_endpoint_url: Option<String>,
}

/// `[cloudhsm]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudHsmSettings {
    /// `endpoint_url`: `https://`, or `http://` on a loopback address.
    pub endpoint_url: Option<String>,
}

/// `[credentials.NAME]`, with its secret.
#[derive(Clone, Debug)]
pub struct NamedCredential {
    /// NAME.
    pub name: String,
    /// Both halves, as they were read with the configuration; absent of what AWS keeps, which is read later.
    pub credential: Option<ProxyCredential>,
    /// The path, if the credential came in a console file.
    pub path: Option<XksProxyUriPath>,
    /// Where it comes from.
    pub origin: Origin,
    /// `refresh`: from one look there to the next.
    pub refresh: Duration,
    /// `key_stores`: which key stores it may be given besides those that have it.
    pub given_to: Scope,
}

/// `[[key_stores]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedKeyStore {
    /// `id`.
    pub id: CustomKeyStoreId,
    /// `account` and `region`: where it is.
    pub place: Place,
    /// `credential`: a key of [`Config::credentials`].
    pub credential: String,
    /// `test_key_id`: an external key for test operations.
    pub test_key: Option<ExternalKeyId>,
    /// `continuity` is `every_key`: test operations may be made with every key of the store.
    pub prove_every_key: bool,
    /// `approval`; absent means as `[update]` says.
    pub approval: Option<ApprovalRule>,
    /// `refusals`: pre-flights of updates also send requests that a proxy must refuse.
    pub refusals: bool,
    /// `require_green`; absent means as `[update]` says.
    pub require_green: Option<Duration>,
    /// `candidates`, unique by name.
    pub candidates: Vec<Candidate>,
}

/// `[[key_stores.candidates]]`: settings that are planned for a key store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// `name`.
    pub name: CandidateName,
    /// `endpoint`, `path`, `connectivity`, `vpc_endpoint_service` and `vpc_endpoint_service_owner`; what is absent stays as
    /// KMS shows it. Holds no credential.
    pub change: Change,
    /// `credential`: a key of [`Config::credentials`]; absent means the one in force.
    pub credential: Option<String>,
}

/// `[preflight]`.
#[derive(Clone, Debug)]
pub struct PreflightSettings {
    /// `samples`: cold probes of each address.
    pub samples: usize,
    /// `concurrency`: pre-flights at once.
    pub concurrency: usize,
    /// `timeout` of a whole pre-flight.
    pub timeout: Duration,
    /// `addresses`: of one name, at most.
    pub addresses: usize,
    /// The roots to judge by: the public ones, or those of `ca_files` and no others, which marks reports as lab;
    /// compared with the list of `kms_trusted_roots`, if that is set.
    pub trust: TrustRoots,
    /// `resolver`: whom to ask for names.
    pub resolver: ResolverSettings,
    /// `promote`: ids of checks of level should that block.
    pub promote: Vec<String>,
    /// `capacity_allow`: hosts of endpoints whose proxies may be put under load, in lower case.
    pub capacity_allow: BTreeSet<String>,
    /// `endpoint_hosts` and `vpc_networks`: which hosts may be probed, and where their names may lead.
    pub egress: Egress,
    /// `quorum`: how many of the perspectives must agree; absent means all.
    pub quorum: Option<usize>,
    /// `routes`: where to connect for a host, in place of what DNS says. Hosts are in lower case.
    pub routes: BTreeMap<String, Vec<SocketAddr>>,
    /// `waivers`, unique by check and key store.
    pub waivers: Vec<Waiver>,
}

impl PreflightSettings {
    /// How a report about `key_store`, if it is about one, is judged at this instant: waivers for others, and those
    /// that have ended, are left out.
    pub fn judging(&self, key_store: Option<&CustomKeyStoreId>, now: Timestamp) -> JudgingPolicy {
        let holds = |waiver: &&Waiver| {
            now < waiver.until && (waiver.key_store.is_none() || waiver.key_store.as_ref() == key_store)
        };
        let waivers = self.waivers.iter().filter(holds);
        let waivers = waivers.map(|held| held.waiver.clone()).collect();
        JudgingPolicy { promoted: self.promote.clone(), waivers }
    }
}

/// `[[preflight.waivers]]`: a failing check that is accepted for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiver {
    /// `key_store`; absent means every one.
    pub key_store: Option<CustomKeyStoreId>,
    /// `until`; RFC 3339.
    pub until: Timestamp,
    /// What is waived, by whom and why.
    pub waiver: check::Waiver,
}

/// `[monitor]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitorSchedule {
    /// `interval` between two probes of a key store.
    pub interval: Duration,
    /// `jitter_percent` of the interval, either way; at most 50.
    pub jitter_percent: u8,
    /// `samples`: cold probes of each address each time.
    pub samples: usize,
    /// `concurrency`: key stores probed at once.
    pub concurrency: usize,
    /// `per_host`: key stores behind one host probed at once.
    pub per_host: usize,
    /// `history`: reports kept for each key store.
    pub history: usize,
    /// `history_age`: how old a kept report may become.
    pub history_age: Duration,
    /// `check_series`: whether every check has a series in the metrics, or only those that fail.
    pub every_check: bool,
    /// `enumerate_every`: between two looks for the KMS keys of key stores.
    pub enumerate_every: Duration,
    /// `canary_interval`: from one canary of a key store to its next.
    pub canary_interval: Duration,
    /// `discovered` is `watch`: key stores that nobody configured are probed if a credential fits.
    pub watch_discovered: bool,
}

/// `[update]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdatePolicy {
    /// `approval`.
    pub approval: ApprovalRule,
    /// `plan_expiry`: after its making a plan may still be begun for so long.
    pub plan_expiry: Duration,
    /// `preflight_expiry`: a passed pre-flight may be so old at the first change.
    pub preflight_expiry: Duration,
    /// `disconnect_wait`: before the update is rolled back.
    pub disconnect_wait: Duration,
    /// `connect_wait`: before the update is rolled back.
    pub connect_wait: Duration,
    /// `poll_interval` of the connection state while waiting.
    pub poll_interval: Duration,
    /// `acknowledge_outage`: an update that disconnects must say that it knows.
    pub acknowledge_outage: bool,
    /// `require_green`: for so long a candidate with exactly the new settings must have been green; zero asks for none.
    pub require_green: Duration,
    /// `green_gap`: the longest pause between two probes of a candidate that does not end its green.
    pub green_gap: Duration,
    /// `rotation`: how the proxy's credential is rotated.
    pub rotation: RotationPolicy,
    /// `windows`: when keys may be taken out of use.
    pub windows: Windows,
}
