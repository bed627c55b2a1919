//! Three accounts in two Regions behind one address, STS beside them, and the daemon that is configured for all.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use tokio::process::Command;
use xks_preflight::sandbox::kms::{ConnectionState, SandboxKms, Secret, SeedStore};
use xks_preflight::sandbox::proxy::SandboxProxy;
use xks_preflight::sandbox::query::QuerySettings;
use xks_preflight::sandbox::sts::{SandboxSts, Sessions, TrustedRole};

use crate::daemon::stage::{AWS_ACCESS_KEY_ID, AWS_SECRET, Answer, BOUND, Daemon, OLD, Stage, until};
use crate::peers::{ACCESS_KEY_ID, BINARY, PATH, SECRET, wall_clock};

pub(crate) const ROLE: &str = "arn:aws:iam::444455556666:role/xks-preflight";
pub(crate) const EXTERNAL_ID: &str = "external-id-7f3a";
pub(crate) const HOME: &str = "home/us-east-1";
pub(crate) const EU_NEW: &str = "https://eu-new.xks.example.com";
/// Of a key store that states an access key id of ours, in an account that we lent no credential to.
const OTHERS: &str = "https://others.xks.example.com";
const EU_OLD: &str = "https://eu-old.xks.example.com";
const PROFILE_ID: &str = "AKIASANDBOXPROFILED2";
const PROFILE_SECRET: &str = "ProfileSecretDoNotLeak0123456789";

pub(crate) struct World {
    pub(crate) stage: Stage,
    pub(crate) sts: SandboxSts,
    /// What it gave out.
    pub(crate) sessions: Sessions,
    /// Account and Region, other than the daemon's own, its KMS, and the key store in it.
    pub(crate) kms: Vec<(&'static str, SandboxKms, String)>,
    /// A key store whose credential nobody knows.
    pub(crate) stranger: String,
    proxies: [SandboxProxy; 3],
}

impl World {
    pub(crate) async fn new(name: &str) -> Self {
        let stage = Stage::new(name).await;
        let proxies = [
            stage.proxy_in("eu-west-1", "eu-old.xks.example.com").await,
            stage.proxy_in("eu-west-1", "eu-new.xks.example.com").await,
            stage.proxy_in("eu-west-1", "others.xks.example.com").await,
        ];
        let sessions = Sessions::default();
        let query = QuerySettings {
            region: "us-east-1".to_owned(),
            access_key_id: AWS_ACCESS_KEY_ID.to_owned(),
            secret_access_key: Secret::new(AWS_SECRET),
            clock: wall_clock(),
        };
        let role = TrustedRole { arn: ROLE.to_owned(), external_id: Some(EXTERNAL_ID.to_owned()) };
        let sts = SandboxSts::start(query, vec![role], sessions.clone()).await.unwrap();
        // The access key of the assumed account is known to nobody: only sessions of its role get in.
        let accounts = [
            ("home/eu-west-1", "111122223333", AWS_ACCESS_KEY_ID, AWS_SECRET),
            ("profiled/us-east-1", "222233334444", PROFILE_ID, PROFILE_SECRET),
            ("profiled/eu-west-1", "222233334444", PROFILE_ID, PROFILE_SECRET),
            ("assumed/us-east-1", "444455556666", "AKIANOBODYHASTHISKEY", "NobodyDoNotLeak"),
            ("assumed/eu-west-1", "444455556666", "AKIANOBODYHASTHISKEY", "NobodyDoNotLeak"),
        ];
        let mut kms = Vec::new();
        for (place, account, id, secret) in accounts {
            let region = place.split_once('/').unwrap().1;
            let mut settings = stage.another_kms(account, region, id, secret);
            settings.sessions = sessions.clone();
            settings.routes.insert("eu-old.xks.example.com".to_owned(), proxies[0].address());
            settings.routes.insert("eu-new.xks.example.com".to_owned(), proxies[1].address());
            settings.routes.insert("others.xks.example.com".to_owned(), proxies[2].address());
            settings.routes.insert("old.xks.example.com".to_owned(), stage.old.address());
            settings.routes.insert("new.xks.example.com".to_owned(), stage.new.address());
            let beside = stage.kms.beside(settings).unwrap();
            let endpoint = match (place, region) {
                ("profiled/eu-west-1", _) => OTHERS,
                (_, "us-east-1") => OLD,
                _ => EU_OLD,
            };
            let store = SeedStore::public(&place.replace('/', " "), endpoint, PATH, ACCESS_KEY_ID, SECRET);
            let store = beside.add_store(store.in_state(ConnectionState::Connected));
            kms.push((place, beside, store));
        }
        let unknown = SeedStore::public("stranger", OLD, PATH, "ANOTHERACCESSKEYID234567", SECRET);
        let stranger = kms[3].1.add_store(unknown.in_state(ConnectionState::Connected));
        assert!(stage.kms.tamper(&stage.key_store, |store| "home us-east-1".clone_into(&mut store.name)));
        let url = stage.kms.endpoint_url();
        let endpoints = |regions: &[&str]| -> String {
            let one = |region: &&str| format!("[[accounts.endpoints]]\nregion = \"{region}\"\nkms = \"{url}\"\n");
            regions.iter().map(one).collect()
        };
        let both = endpoints(&["us-east-1", "eu-west-1"]);
        stage.configured_with(&format!(
            "[monitor]\ninterval = \"1s\"\n\
             [[accounts]]\nname = \"home\"\nregions = [\"eu-west-1\"]\ncredentials = [\"proxy\"]\n{eu}\
             [[accounts]]\nname = \"profiled\"\nregions = [\"us-east-1\", \"eu-west-1\"]\nprofile = \"prod\"\n{both}\
             [[accounts]]\nname = \"assumed\"\nregions = [\"us-east-1\", \"eu-west-1\"]\nrole_arn = \"{ROLE}\"\n\
             external_id = \"{EXTERNAL_ID}\"\ncredentials = [\"proxy\"]\nsts_endpoint_url = \"{sts}\"\n{both}",
            eu = endpoints(&["eu-west-1"]),
            sts = sts.endpoint_url(),
        ));
        let profile = stage.directory.join("aws-credentials.secret");
        let lines = format!("[prod]\naws_access_key_id = {PROFILE_ID}\naws_secret_access_key = {PROFILE_SECRET}\n");
        std::fs::write(&profile, lines).unwrap();
        std::fs::set_permissions(&profile, std::fs::Permissions::from_mode(0o600)).unwrap();
        Self { stage, sts, sessions, kms, stranger, proxies }
    }

    /// How often the proxy was connected to that nobody gave us a credential for.
    pub(crate) fn visits_to_others(&self) -> u64 {
        self.proxies[2].accepted_connections()
    }

    /// The KMS of a place.
    pub(crate) fn kms(&self, place: &str) -> &SandboxKms {
        if place == HOME {
            return &self.stage.kms;
        }
        &self.kms.iter().find(|(other, _, _)| *other == place).unwrap().1
    }

    /// Every place with its KMS and the key store in it, the daemon's own first.
    pub(crate) fn all(&self) -> Vec<(&str, &SandboxKms, &str)> {
        let further = self.kms.iter().map(|(place, kms, store)| (*place, kms, store.as_str()));
        std::iter::once((HOME, &self.stage.kms, self.stage.key_store.as_str())).chain(further).collect()
    }

    pub(crate) fn store(&self, place: &str) -> &str {
        &self.kms.iter().find(|(other, _, _)| *other == place).unwrap().2
    }

    /// Somebody makes another key store; its id.
    pub(crate) fn add(&self, place: &str, name: &str) -> String {
        let store = SeedStore::public(name, OLD, PATH, ACCESS_KEY_ID, SECRET);
        self.kms(place).add_store(store.in_state(ConnectionState::Connected))
    }

    pub(crate) async fn daemon(&self) -> Watching<'_> {
        let mut command = Command::new(BINARY);
        command
            .args(["--log-level", "trace", "serve", "--config"])
            .arg(self.stage.directory.join("config.toml"))
            .env("AWS_SHARED_CREDENTIALS_FILE", self.stage.directory.join("aws-credentials.secret"))
            .env("AWS_CONFIG_FILE", self.stage.directory.join("absent"));
        Watching { daemon: Daemon::run(&self.stage, command).await, stage: &self.stage }
    }
}

/// The daemon, and what it tells of key stores.
pub(crate) struct Watching<'w> {
    pub(crate) daemon: Daemon,
    stage: &'w Stage,
}

impl Watching<'_> {
    pub(crate) async fn told(&self) -> Value {
        self.daemon.call("GET", "/v1/key-stores", None).await.json()
    }

    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) {
        let holds = &holds;
        until(BOUND, what, || async { holds(&self.told().await) }).await;
    }

    pub(crate) async fn try_change(&self, store: &str, mut members: Value) -> Answer {
        members["CustomKeyStoreId"] = json!(store);
        self.daemon.call("POST", "/v1/updates", Some(&self.stage.body(members))).await
    }

    /// An update, to its end.
    pub(crate) async fn change(&self, store: &str, members: Value) -> Value {
        let answer = self.try_change(store, members).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        self.daemon.follow(answer.json()["id"].as_str().unwrap()).await
    }

    pub(crate) async fn terminate(self) {
        self.daemon.terminate().await;
    }
}

/// A key store in what was told.
pub(crate) fn find<'t>(told: &'t Value, store: &str) -> &'t Value {
    told["key_stores"].as_array().unwrap().iter().find(|found| found["id"] == store).unwrap()
}

/// An account and Region in what was told.
pub(crate) fn place<'t>(told: &'t Value, place: &str) -> &'t Value {
    let (account, region) = place.split_once('/').unwrap();
    let mut places = told["places"].as_array().unwrap().iter();
    places.find(|told| told["account"] == account && told["region"] == region).unwrap()
}
