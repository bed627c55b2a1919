//! Further accounts and Regions of the story, each with a key store: what discovery finds.
//!
//! All of them are served at the address of the simulated KMS, where the signature of a request tells which one it is for.
//! Other accounts than the first let nobody in but sessions of a role that the simulated STS gives out for an external id,
//! as yours would.

use std::fmt;
use std::sync::Arc;

use super::super::kms::{ConnectionState, KmsSettings, SandboxKms, Secret, SeedStore};
use super::super::proxy::WallClock;
use super::super::query::QuerySettings;
use super::super::sts::{SandboxSts, Sessions, TrustedRole};
use super::{ACCESS_KEY_ID, Actor, KEYS, REGION, Role, ScenarioError, Secrets, TRANSITION, URI_PATH, role};

/// Accounts by the names that the configuration gives them, the daemon's own first.
const ACCOUNTS: [(&str, &str); 4] = [
    ("home", "111122223333"),
    ("payments", "222233334444"),
    ("archive", "333344445555"),
    ("laboratory", "444455556666"),
];

/// The daemon's own first.
const REGIONS: [&str; 3] = [REGION, "eu-west-1", "ap-southeast-2"];

/// The proxies of further Regions: a signature of one Region is none in another.
pub(super) const REGIONAL: &[Role] = &[
    Role { region: "eu-west-1", ..role("eu-west-1", "the proxy behind the key stores of eu-west-1", None) },
    Role { region: "eu-west-1", ..role("eu-west-1-candidate", "a healthy candidate there", None) },
    Role { region: "ap-southeast-2", ..role("ap-southeast-2", "the proxy behind those of ap-southeast-2", None) },
    Role { region: "ap-southeast-2", ..role("ap-southeast-2-candidate", "a healthy candidate there", None) },
];

/// How far the story goes: accounts and Regions, the daemon's own among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    accounts: u8,
    regions: u8,
}

impl Extent {
    /// The most accounts.
    pub const MOST_ACCOUNTS: u8 = 4;
    /// The most Regions.
    pub const MOST_REGIONS: u8 = 3;

    /// At least one of each, and no more than there are.
    pub fn new(accounts: u8, regions: u8) -> Self {
        Self { accounts: accounts.clamp(1, Self::MOST_ACCOUNTS), regions: regions.clamp(1, Self::MOST_REGIONS) }
    }

    /// Whether there is more than the daemon's own account and Region.
    pub fn is_wide(self) -> bool {
        self.accounts > 1 || self.regions > 1
    }

    fn accounts(self) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
        ACCOUNTS.iter().take(usize::from(self.accounts))
    }

    fn regions(self) -> impl Iterator<Item = &'static str> {
        REGIONS.iter().copied().take(usize::from(self.regions))
    }

    /// Whether a proxy of this Region has a part in it.
    pub(super) fn reaches(self, region: &str) -> bool {
        self.regions().any(|one| one == region)
    }
}

/// A further account and Region.
pub struct FurtherPlace {
    /// The name of its account in the configuration.
    pub account: &'static str,
    /// Its Region.
    pub region: &'static str,
    /// The role to assume there and the external id for it; absent of the daemon's own account.
    pub role: Option<(String, String)>,
    /// The external key store in it.
    pub key_store: String,
    /// The endpoint of its proxy.
    pub endpoint: String,
    /// The endpoint of a healthy candidate.
    pub candidate: String,
    /// Its KMS.
    pub kms: SandboxKms,
}

impl fmt::Debug for FurtherPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FurtherPlace")
            .field("account", &self.account)
            .field("region", &self.region)
            .field("key_store", &self.key_store)
            .finish_non_exhaustive()
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Further {
    /// In the order of accounts, then Regions.
    pub places: Vec<FurtherPlace>,
    /// Who lets roles be assumed; absent where there is one account only.
    pub sts: Option<SandboxSts>,
}

pub(super) async fn start(
    extent: Extent,
    first: &SandboxKms,
    home: &KmsSettings,
    actors: &Arc<Vec<Actor>>,
    secrets: &Secrets,
    clock: &WallClock,
) -> Result<Further, ScenarioError> {
    let sessions = Sessions::default();
    let mut further = Further::default();
    let mut roles = Vec::new();
    for &(name, account) in extent.accounts() {
        let is_home = name == "home";
        let role =
            (!is_home).then(|| (format!("arn:aws:iam::{account}:role/xks-preflight"), format!("sandbox-{name}")));
        roles.extend(role.clone().map(|(arn, external_id)| TrustedRole { arn, external_id: Some(external_id) }));
        for region in extent.regions().filter(|region| !(is_home && *region == REGION)) {
            // The keys of another account are nobody's here: only sessions get in.
            let (id, secret) = if is_home {
                (secrets.aws_access_key_id.as_str(), secrets.aws_secret_access_key.as_str())
            } else {
                ("AKIASANDBOXNOBODYHAS", secrets.nobodys_secret.as_str())
            };
            let mut settings = KmsSettings::new(Arc::clone(clock), id, secret);
            region.clone_into(&mut settings.region);
            account.clone_into(&mut settings.account_id);
            settings.connect_delay = TRANSITION;
            settings.disconnect_delay = TRANSITION;
            settings.sessions = sessions.clone();
            settings.routes = home.routes.clone();
            settings.roots = home.roots.clone();
            let kms = first.beside(settings)?;
            let endpoint = |name: &str| {
                actors.iter().find(|actor| actor.name == name).map(|actor| actor.endpoint.clone()).unwrap_or_default()
            };
            let (current, candidate) = match region {
                REGION => (endpoint("current"), endpoint("candidate")),
                other => (endpoint(other), endpoint(&format!("{other}-candidate"))),
            };
            let store =
                SeedStore::public(&format!("{name}-keys"), &current, URI_PATH, ACCESS_KEY_ID, &secrets.proxy_secret);
            let key_store = kms.add_store(store.in_state(ConnectionState::Connected));
            for key in KEYS {
                kms.add_key(&key_store, key);
            }
            let (account, role) = (name, role.clone());
            further.places.push(FurtherPlace { account, region, role, key_store, endpoint: current, candidate, kms });
        }
    }
    if !roles.is_empty() {
        let settings = QuerySettings {
            region: REGION.to_owned(),
            access_key_id: secrets.aws_access_key_id.clone(),
            secret_access_key: Secret::new(&secrets.aws_secret_access_key),
            clock: Arc::clone(clock),
        };
        let started = SandboxSts::start(settings, roles, sessions).await;
        further.sts = Some(started.map_err(|source| ScenarioError::Service { service: "STS", source })?);
    }
    Ok(further)
}
