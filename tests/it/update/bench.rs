//! A KMS with one connected key store, two proxies, and a driver in front.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures_util::StreamExt;
use rustls::RootCertStore;
use secrecy::SecretString;
use tempfile::TempDir;
use xks_preflight::aws::{AwsCredentials, AwsKms, AwsKmsSettings};
use xks_preflight::check::{Acceptance, CredentialsSeen, JudgingPolicy, Verdict};
use xks_preflight::clock::{Clock, SystemClock, Timestamp};
use xks_preflight::current::Current;
use xks_preflight::driver::{
    ConfiguredCredentials, Driver, GivenCredential, LeaseTerms, Pace, Parts, PreflightRequest, UpdateRequest, Verifier,
};
use xks_preflight::id::{IdSource, ReportId, UpdateId};
use xks_preflight::journal::{Journal, SealingKey, SqliteJournal, SqliteOptions};
use xks_preflight::key_store::{
    AccessKeyId, Change, CredentialRef, CustomKeyStoreId, Fingerprint, ProxyCredential, RawSecretAccessKey, Region,
    XksProxyUriEndpoint,
};
use xks_preflight::sandbox::kms::{ConnectionState, KmsSettings, Operation, SandboxKms, SeedStore};
use xks_preflight::sandbox::pki::Pki;
use xks_preflight::sandbox::proxy::{Credentials, ProxySettings, SandboxProxy};
use xks_preflight::update::{
    Ending, Event, Options, Policy, PreflightSummary, Recorded, Rotate, RotationPolicy, Round,
};

pub(crate) const OLD: &str = "https://old.example.com";
pub(crate) const NEW: &str = "https://new.example.com";
pub(crate) const PATH: &str = "/kms/xks/v1";
pub(crate) const KEY_ID: &str = "AKIAI2SFODNN7EXAMPLE";
/// Accepted by the old proxy as well: for rotations.
pub(crate) const NEXT_ID: &str = "AKIAIOSFODNN7EXAMPLE";
pub(crate) const SECRET: &str = "TestSecretDoNotLeakFormerFormerFormerFormerForm";
pub(crate) const NEW_SECRET: &str = "TestSecretDoNotLeakNewerrNewerrNewerrNewerrNewe";
/// Longer than anything a test waits for on purpose.
pub(crate) const BOUND: Duration = Duration::from_mins(1);

pub(crate) struct Bench {
    pub(crate) kms: SandboxKms,
    pub(crate) aws: Arc<AwsKms>,
    pub(crate) store: CustomKeyStoreId,
    /// Where freezes are kept, whatever becomes of the journal.
    pub(crate) freezes: Arc<SqliteJournal>,
    _proxies: [SandboxProxy; 2],
    _directory: TempDir,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let clock: Arc<dyn Fn() -> SystemTime + Send + Sync> = Arc::new(|| SystemClock.now().into());
        let pki = Arc::new(Pki::new(clock()).unwrap());
        let start = |host: &str, secrets: Credentials| {
            let mut settings = ProxySettings::new(pki.clone(), clock.clone(), host, PATH);
            settings.credentials = secrets;
            SandboxProxy::start(settings)
        };
        let both = Credentials::default().with(KEY_ID, SECRET).with(NEXT_ID, NEW_SECRET);
        let old = start("old.example.com", both).await.unwrap();
        let new = start("new.example.com", Credentials::default().with(KEY_ID, SECRET)).await.unwrap();
        let mut settings = KmsSettings::new(clock, "AKIACALLER", "CallerSecretDoNotLeak");
        settings.routes.insert("old.example.com".into(), old.address());
        settings.routes.insert("new.example.com".into(), new.address());
        let mut roots = RootCertStore::empty();
        roots.add(pki.root_der().clone()).unwrap();
        settings.roots = roots;
        // Generous: tests share the machine, and this is not about KMS's own limit.
        settings.attempt_timeout = Duration::from_secs(20);
        let kms = SandboxKms::start(settings).await.unwrap();
        let store = kms.add_store(SeedStore::public("store", OLD, PATH, KEY_ID, SECRET));
        let aws = Arc::new(aws(&kms.endpoint_url(), Duration::from_secs(20)).await);
        let directory = tempfile::tempdir().unwrap();
        let freezes = Arc::new(journal(directory.path()));
        let store = CustomKeyStoreId::parse(&store).unwrap();
        Self { kms, aws, store, freezes, _proxies: [old, new], _directory: directory }
    }

    /// The endpoint in force and the connection state.
    pub(crate) fn shown(&self) -> (String, ConnectionState) {
        let store = self.kms.store(self.store.as_str()).unwrap();
        (store.external().unwrap().endpoint.clone(), store.connection)
    }

    /// The access key id that KMS has.
    pub(crate) fn in_force(&self) -> String {
        self.kms.store(self.store.as_str()).unwrap().external().unwrap().access_key_id.clone()
    }

    /// The mutations that reached KMS, whatever it did with them.
    pub(crate) fn calls(&self) -> Vec<&'static str> {
        let operations = self.kms.history().into_iter().filter_map(|call| call.operation);
        operations.filter(|operation| operation.is_mutation()).map(Operation::as_str).collect()
    }

    pub(crate) fn driver(&self, journal: Arc<dyn Journal>, verifier: &Arc<Says>) -> Driver {
        self.driver_with(journal, verifier, quick())
    }

    pub(crate) fn driver_with(&self, journal: Arc<dyn Journal>, verifier: &Arc<Says>, policy: Policy) -> Driver {
        let policy = Arc::new(Current::new(policy));
        Driver::new(Parts { verifier: verifier.clone(), policy, ..self.parts(journal) })
    }

    /// What a driver is made of that finds every candidate ready.
    pub(crate) fn parts(&self, journal: Arc<dyn Journal>) -> Parts {
        Parts {
            journal,
            freezes: self.freezes.clone(),
            vigils: self.freezes.clone(),
            known_keys: Arc::new(|_| None),
            reader: self.aws.clone(),
            writer: Some(self.aws.clone()),
            verifier: Says::ready(),
            credentials: Arc::new(Named),
            judging: Arc::new(|_, _| JudgingPolicy::default()),
            clock: Arc::new(SystemClock),
            ids: Arc::new(IdSource::from_entropy()),
            policy: Arc::new(Current::new(quick())),
            pace: Pace { interval: Duration::from_millis(5), longest: Duration::from_millis(50) },
            lease: LeaseTerms::default(),
            desk: None,
        }
    }

    pub(crate) fn endpoint_request(&self) -> UpdateRequest {
        let endpoint = Some(XksProxyUriEndpoint::parse(NEW).unwrap());
        UpdateRequest {
            key_store: self.store.clone(),
            change: Change { endpoint, ..Change::default() },
            credential: None,
            password: None,
            former_credential: None,
            former_password: None,
            options: Options { acknowledge_outage: true, ..Options::default() },
            by: "tester".into(),
            idempotency: None,
        }
    }

    /// A rotation to [`NEXT_ID`].
    pub(crate) fn rotation_request(&self) -> UpdateRequest {
        let access_key_id = AccessKeyId::parse(NEXT_ID).unwrap();
        let next = GivenCredential::Inline(ProxyCredential { access_key_id, ..credential(NEW_SECRET) });
        let options = Options { rotate: Some(Rotate::default()), ..Options::default() };
        UpdateRequest { change: Change::default(), credential: Some(next), options, ..self.endpoint_request() }
    }

    pub(crate) fn secret_request(&self, secret: &str) -> UpdateRequest {
        let credential = Some(GivenCredential::Inline(credential(secret)));
        UpdateRequest { change: Change::default(), credential, ..self.endpoint_request() }
    }
}

pub(crate) async fn aws(url: &str, timeout: Duration) -> AwsKms {
    AwsKms::new(AwsKmsSettings {
        region: Region::parse("us-east-1").unwrap(),
        endpoint_url: Some(url.to_owned()),
        credentials: Some(
            AwsCredentials {
                access_key_id: "AKIACALLER".into(),
                secret_access_key: SecretString::from("CallerSecretDoNotLeak".to_owned()),
                session_token: None,
            }
            .into(),
        ),
        timeout,
    })
    .await
}

pub(crate) fn quick() -> Policy {
    let settle = Duration::from_millis(60);
    let look = Duration::from_millis(20);
    // One look is enough to see the update propagated: how many there are must not hang on the machine.
    let rotation = RotationPolicy {
        propagation: look,
        least_propagation: look,
        watch_every: look,
        look_every: look,
        ..RotationPolicy::default()
    };
    Policy { settle, pause: Duration::from_millis(5), rotation, ..Policy::default() }
}

pub(crate) fn journal(directory: &Path) -> SqliteJournal {
    SqliteJournal::open(SqliteOptions {
        path: directory.join("journal.sqlite"),
        sealing_key: Some(SealingKey::parse(&SecretString::from("0a".repeat(32))).unwrap()),
        crash_after_writes: None,
    })
    .unwrap()
}

pub(crate) fn credential(secret: &str) -> ProxyCredential {
    ProxyCredential {
        access_key_id: AccessKeyId::parse(KEY_ID).unwrap(),
        secret_access_key: RawSecretAccessKey::parse(secret).unwrap(),
    }
}

/// The configuration holds the former credential.
struct Named;

impl ConfiguredCredentials for Named {
    fn by_name(&self, name: &str) -> Option<ProxyCredential> {
        (name == "former").then(|| credential(SECRET))
    }

    fn planned(&self, name: &str, _: &Fingerprint) -> Option<ProxyCredential> {
        self.by_name(name)
    }

    fn present(&self, _: &CustomKeyStoreId, access_key_id: &AccessKeyId) -> Option<(String, ProxyCredential)> {
        (access_key_id.as_str() == KEY_ID).then(|| ("former".to_owned(), credential(SECRET)))
    }

    fn with_fingerprint(&self, fingerprint: &Fingerprint) -> Option<(String, ProxyCredential)> {
        let former = ("former".to_owned(), credential(SECRET));
        (former.1.fingerprint() == *fingerprint).then_some(former)
    }

    fn told(&self, _: &CustomKeyStoreId, _: &CredentialRef, _: Timestamp) {}
}

/// Stands where the pre-flight will be and says what it is told, about the settings it is asked about.
pub(crate) struct Says {
    verdicts: Mutex<[Verdict; 3]>,
    /// Of the new and the former credential, in the looks of a rotation.
    looks: [(Acceptance, Acceptance); 2],
}

impl Says {
    pub(crate) fn ready() -> Arc<Self> {
        Self::of([Verdict::Ready; 3])
    }

    /// The verdicts of first, last and verifying pre-flights.
    pub(crate) fn of(verdicts: [Verdict; 3]) -> Arc<Self> {
        Self::with_looks(verdicts, [(Acceptance::Accepted, Acceptance::Accepted); 2])
    }

    /// And what is seen of the new and of the former credential while a rotation propagates, and while the former one is
    /// to be removed.
    pub(crate) fn with_looks(verdicts: [Verdict; 3], looks: [(Acceptance, Acceptance); 2]) -> Arc<Self> {
        Arc::new(Self { verdicts: Mutex::new(verdicts), looks })
    }
}

#[async_trait]
impl Verifier for Says {
    async fn preflight(&self, request: PreflightRequest) -> Result<PreflightSummary, String> {
        let verdicts = *self.verdicts.lock().unwrap();
        let (new, former) = match request.round {
            Round::First | Round::Last | Round::Verification => (Acceptance::Accepted, Acceptance::Accepted),
            Round::Propagation => self.looks[0],
            Round::Removal => self.looks[1],
        };
        let now = SystemClock.now();
        Ok(PreflightSummary {
            report: ReportId::new(&IdSource::from_entropy(), now),
            verdict: match request.round {
                Round::First => verdicts[0],
                Round::Last => verdicts[1],
                Round::Verification | Round::Propagation | Round::Removal => verdicts[2],
            },
            settings: request.plan.settings(),
            exception: None,
            message: "as told".into(),
            finished_at: now,
            credentials: request.plan.rotation.is_some().then_some(CredentialsSeen { new, former }),
        })
    }
}

/// Everything that happens to an update until it concludes.
pub(crate) async fn follow(driver: &Driver, id: UpdateId) -> Vec<Recorded> {
    let events = driver.events(id, 0).await.unwrap();
    let all = events.map(|event| event.unwrap()).collect::<Vec<_>>();
    tokio::time::timeout(BOUND, all).await.unwrap()
}

pub(crate) async fn ending(driver: &Driver, id: UpdateId) -> Ending {
    match follow(driver, id).await.pop().map(|recorded| recorded.event) {
        Some(Event::Concluded { ending }) => ending,
        other => panic!("no conclusion: {other:?}"),
    }
}
