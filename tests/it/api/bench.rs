//! Everything behind the API, and a client for it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use xks_preflight::access::{Grant, KnownToken, Method, Pattern, Principal, Role, Scope, Token};
use xks_preflight::api::{Bounds, Callers, PastUpdates, Reload, Service, router};
use xks_preflight::audit::SigningKey;
use xks_preflight::aws::{
    AwsCloudHsm, AwsCloudHsmSettings, AwsCredentials, AwsIam, AwsIamSettings, AwsIdentity, AwsKms, AwsKmsSettings,
};
use xks_preflight::check::{JudgingPolicy, Waiver};
use xks_preflight::clock::{Clock, SystemClock, Timestamp};
use xks_preflight::current::Current;
use xks_preflight::drift::{self, DriftWatch};
use xks_preflight::driver::{self, ConfiguredCredentials, Driver, Examiner, ExaminerParts, ExaminerSettings, KeyTests};
use xks_preflight::enumeration::{Enumerator, Enumerators, Pace};
use xks_preflight::id::IdSource;
use xks_preflight::journal::{SealingKey, SqliteJournal, SqliteOptions};
use xks_preflight::key_store::{
    AccessKeyId, CredentialRef, CustomKeyStoreId, ExternalKeyId, Fingerprint, Place, ProxyCredential,
    RawSecretAccessKey, Region,
};
use xks_preflight::keyring::Keyring;
use xks_preflight::kms::{KeyStoreReader, KeyStoreWriter};
use xks_preflight::listener::{Connections, Limits, Rate, serve};
use xks_preflight::metrics::{CountedJournal, CountedLister, CountedReader, CountedWriter, Metrics};
use xks_preflight::monitor::{self, Canaries, Candidates, Monitor, Schedule, WatchedStore};
use xks_preflight::notary::{self, Notary};
use xks_preflight::places::{PlacePorts, Places};
use xks_preflight::preflight::{Preflight, Surroundings, Thoroughness};
use xks_preflight::probe::{Egress, Prober, ProberSettings, ResolverSettings, TrustRoots};
use xks_preflight::render;
use xks_preflight::sandbox::iam::SandboxIam;
use xks_preflight::sandbox::kms::{KmsSettings, Operation, SandboxKms, Secret, SeedStore};
use xks_preflight::sandbox::pki::Pki;
use xks_preflight::sandbox::proxy::{Credentials, ExternalKey, KeyMaterials, ProxySettings, SandboxProxy};
use xks_preflight::sandbox::query::QuerySettings;
use xks_preflight::update::Policy;

use crate::peers;

pub(crate) const OLD: &str = "https://current.example.com";
pub(crate) const NEW: &str = "https://candidate.example.com";
pub(crate) const PATH: &str = "/kms/xks/v1";
pub(crate) const KEY_ID: &str = "AKIAI2SFODNN7EXAMPLE";
pub(crate) const SECRET: &str = "TestSecretDoNotLeak7dHk2Lq9ZtRw4XyBn6MvCs3PjFg1";
pub(crate) const NEW_SECRET: &str = "TestSecretDoNotLeak8eIl3Mr0AuSx5YzCo7NwDt4QkGh2";
const TEST_KEY: &str = "xks-preflight-test";
/// What the daemon runs as.
pub(crate) const ROLE: &str = "arn:aws:iam::111122223333:role/ops/xks-preflight";
/// Longer than anything a test waits for on purpose.
pub(crate) const BOUND: Duration = Duration::from_mins(1);
const BOUNDS: Bounds = Bounds { body: 64 * 1024, request: BOUND, requests: 32, streams: 4 };

/// A service on a port of its own.
pub(crate) struct Bench {
    pub(crate) kms: SandboxKms,
    pub(crate) iam: SandboxIam,
    pub(crate) current: SandboxProxy,
    pub(crate) candidate: SandboxProxy,
    pub(crate) store: String,
    pub(crate) address: SocketAddr,
    pub(crate) service: Arc<Service>,
    pub(crate) viewer: Token,
    pub(crate) operator: Token,
    pub(crate) stop: CancellationToken,
    pub(crate) served: JoinHandle<bool>,
    directory: PathBuf,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.body))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

/// The credential of both proxies, by the name `main`.
struct Named(ProxyCredential);

impl ConfiguredCredentials for Named {
    fn by_name(&self, name: &str) -> Option<ProxyCredential> {
        (name == "main").then(|| self.0.clone())
    }

    fn planned(&self, name: &str, _: &Fingerprint) -> Option<ProxyCredential> {
        self.by_name(name)
    }

    fn present(&self, _: &CustomKeyStoreId, access_key_id: &AccessKeyId) -> Option<(String, ProxyCredential)> {
        (*access_key_id == self.0.access_key_id).then(|| ("main".to_owned(), self.0.clone()))
    }

    fn with_fingerprint(&self, fingerprint: &Fingerprint) -> Option<(String, ProxyCredential)> {
        (self.0.fingerprint() == *fingerprint).then(|| ("main".to_owned(), self.0.clone()))
    }

    fn told(&self, _: &CustomKeyStoreId, _: &CredentialRef, _: Timestamp) {}
}

impl Bench {
    pub(crate) async fn new(name: &str) -> Self {
        Self::with_bounds(name, BOUNDS).await
    }

    pub(crate) async fn with_bounds(name: &str, bounds: Bounds) -> Self {
        Box::pin(Self::made_of(name, bounds, KeyTests::default(), policy(), nobody_else())).await
    }

    pub(crate) async fn with_policy(name: &str, policy: Policy) -> Self {
        Box::pin(Self::made_of(name, BOUNDS, KeyTests::default(), policy, nobody_else())).await
    }

    /// With keys of the key store that may be used for test operations.
    pub(crate) async fn with_key_tests(name: &str, every_key: bool) -> Self {
        let test_key = (!every_key).then(|| ExternalKeyId::parse(TEST_KEY).unwrap());
        Box::pin(Self::made_of(name, BOUNDS, KeyTests { test_key, every_key }, policy(), nobody_else())).await
    }

    /// With further callers beside the bench's tokens, and limits.
    pub(crate) async fn with_callers(name: &str, further: Callers, limits: Limits) -> Self {
        Box::pin(Self::made_of(name, BOUNDS, KeyTests::default(), policy(), (further, limits, false))).await
    }

    /// As on a loopback address, where metrics are for whoever does not say who they are, too.
    pub(crate) async fn open(name: &str, limits: Limits) -> Self {
        let callers = (Callers::default(), limits, true);
        Box::pin(Self::made_of(name, BOUNDS, KeyTests::default(), policy(), callers)).await
    }

    async fn made_of(
        name: &str,
        bounds: Bounds,
        key_tests: KeyTests,
        policy: Policy,
        (mut callers, limits, open): (Callers, Limits, bool),
    ) -> Self {
        let pki = Arc::new(Pki::new(peers::wall_clock()()).unwrap());
        let start = |host: &str| {
            let mut settings = ProxySettings::new(pki.clone(), peers::wall_clock(), host, PATH);
            settings.credentials = Credentials::default().with(KEY_ID, SECRET);
            let keys = KeyMaterials::default().with(TEST_KEY, ExternalKey::from_seed("shared"));
            settings.keys = (0..10).map(|number| format!("external-{number}")).fold(keys, |keys, id| {
                let key = ExternalKey::from_seed(&id);
                keys.with(&id, key)
            });
            SandboxProxy::start(settings)
        };
        let (current, candidate) =
            (start("current.example.com").await.unwrap(), start("candidate.example.com").await.unwrap());
        let mut settings = KmsSettings::new(peers::wall_clock(), "AKIACALLER", "CallerSecretDoNotLeak");
        settings.routes.insert("current.example.com".into(), current.address());
        settings.routes.insert("candidate.example.com".into(), candidate.address());
        let mut roots = RootCertStore::empty();
        roots.add(pki.root_der().clone()).unwrap();
        settings.roots = roots;
        // Generous: tests share the machine, and this is not about KMS's own limit.
        settings.attempt_timeout = Duration::from_secs(20);
        let kms = SandboxKms::start(settings).await.unwrap();
        let store = kms.add_store(SeedStore::public("store", OLD, PATH, KEY_ID, SECRET));
        let iam = SandboxIam::start(
            QuerySettings {
                region: "us-east-1".to_owned(),
                access_key_id: "AKIACALLER".to_owned(),
                secret_access_key: Secret::new("CallerSecretDoNotLeak"),
                clock: peers::wall_clock(),
            },
            ROLE,
        );
        let iam = iam.await.unwrap();
        let directory = peers::output_directory(name);
        let credential = ProxyCredential {
            access_key_id: AccessKeyId::parse(KEY_ID).unwrap(),
            secret_access_key: RawSecretAccessKey::parse(SECRET).unwrap(),
        };
        let surroundings = Arc::new(Current::new(Surroundings {
            region: Region::parse("us-east-1").unwrap(),
            credentials: Arc::new(Keyring::new([("main".to_owned(), Some(credential.clone()))])),
            lent: BTreeMap::new(),
            given_to: BTreeMap::new(),
            routes: BTreeMap::from([
                ("current.example.com".to_owned(), vec![current.address().to_string()]),
                ("candidate.example.com".to_owned(), vec![candidate.address().to_string()]),
            ]),
            capacity_allow: ["candidate.example.com".to_owned()].into(),
            judging: Arc::new(|_, _| JudgingPolicy { promoted: Vec::new(), waivers: vec![waiver()] }),
        }));
        let (viewer, operator) = (Token::from_random(&[1; 32]), Token::from_random(&[2; 32]));
        callers.tokens.extend(known_tokens());
        let parts = ServiceParts {
            kms: &kms,
            iam: &iam,
            pki: &pki,
            store: &store,
            directory: &directory,
            credential,
            key_tests,
            policy,
            open,
        };
        let service = Arc::new(parts.service(surroundings, callers, limits, bounds).await);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(Arc::clone(&service.monitor).run(stop.clone()));
        let (enumerating, until) = (service.clone(), stop.clone());
        tokio::spawn(async move { enumerating.enumerators.run(Duration::from_millis(200), until).await });
        let connections = Connections { most: 64, head: Duration::from_secs(2), tls: None, grace: BOUND };
        let served = tokio::spawn(serve(listener, router(service.clone()), connections, stop.clone()));
        let bench =
            Self { kms, iam, current, candidate, store, address, service, viewer, operator, stop, served, directory };
        bench.until("/readyz", |answer| answer.status == 200).await;
        // Looked at from within: asking would use up somebody's limit.
        let described = async {
            while !bench.service.monitor.sightings().iter().any(|sighting| sighting.description.is_some()) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(BOUND, described).await.unwrap();
        bench
    }

    /// Asks as the operator.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, Some(&self.operator), &[], "").await
    }

    /// Sends JSON as the operator.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/json")];
        self.call("POST", path, Some(&self.operator), &headers, &body.to_string()).await
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        token: Option<&Token>,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", self.address.to_string());
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {}", token.expose()));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        let answer = tokio::time::timeout(BOUND, async {
            let stream = TcpStream::connect(self.address).await.unwrap();
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            let answer = sender.send_request(request).await.unwrap();
            let (head, body) = answer.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Answer { status: head.status.as_u16(), headers: head.headers, body: String::from_utf8_lossy(&body).into() }
        })
        .await
        .unwrap();
        // Everything that was answered is searched for secrets later.
        let file = self.directory.join(format!("answers-{}", self.address.port()));
        let earlier = std::fs::read_to_string(&file).unwrap_or_default();
        std::fs::write(file, format!("{earlier}{method} {path}\n{:?}\n{}\n", answer.headers, answer.body)).unwrap();
        assert!(!answer.body.contains("DoNotLeak"), "{method} {path} tells a secret");
        answer
    }

    /// Asks until the answer is as wanted.
    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        let asked = async {
            loop {
                let answer = self.get(path).await;
                if wanted(&answer) {
                    return answer;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(BOUND, asked).await.unwrap_or_else(|_| panic!("{path} never came to what was wanted"))
    }

    /// The mutations that reached KMS, whatever it did with them.
    pub(crate) fn mutations(&self) -> Vec<&'static str> {
        let operations = self.kms.history().into_iter().filter_map(|call| call.operation);
        operations.filter(|operation| operation.is_mutation()).map(Operation::as_str).collect()
    }
}

/// The token of everybody on the bench by their place: viewer, operator, prober, approver, admin; then an admin of key
/// stores that are elsewhere, an operator of this one by its name, a viewer of this one by its name who is an operator
/// elsewhere, and an admin whose time is over.
pub(crate) fn token(place: u8) -> Token {
    Token::from_random(&[place; 32])
}

pub(crate) const PROBER: u8 = 3;
pub(crate) const APPROVER: u8 = 4;
pub(crate) const ADMIN: u8 = 5;
pub(crate) const ELSEWHERE: u8 = 6;
pub(crate) const HERE: u8 = 7;
pub(crate) const BOTH: u8 = 8;
pub(crate) const EXPIRED: u8 = 10;

fn known_tokens() -> Vec<KnownToken> {
    let only = |patterns: &[&str]| {
        Scope::from(patterns.iter().map(|pattern| Pattern::parse(pattern).unwrap()).collect::<Vec<_>>())
    };
    let known = |place, name: &str, grants: &[(Role, Scope)]| {
        let grants = grants.iter().map(|(role, scope)| Grant { role: *role, scope: scope.clone() }).collect();
        let principal = Arc::new(Principal { name: name.to_owned(), how: Method::Token, grants });
        let expires = (place == EXPIRED).then(|| Timestamp::from_unix(1_000_000_000));
        KnownToken { hash: token(place).hash(), expires, principal }
    };
    let elsewhere = only(&["cks-elsewhere*", "other-*"]);
    vec![
        known(1, "watch", &[(Role::Viewer, Scope::All)]),
        known(2, "deploy", &[(Role::Operator, Scope::All)]),
        known(PROBER, "probe", &[(Role::Prober, Scope::All)]),
        known(APPROVER, "approve", &[(Role::Approver, Scope::All)]),
        known(ADMIN, "admin", &[(Role::Admin, Scope::All)]),
        known(ELSEWHERE, "elsewhere", &[(Role::Admin, elsewhere.clone())]),
        known(HERE, "here", &[(Role::Operator, only(&["sto*"]))]),
        known(BOTH, "both", &[(Role::Viewer, only(&["store"])), (Role::Operator, elsewhere)]),
        known(EXPIRED, "expired", &[(Role::Admin, Scope::All)]),
    ]
}

fn nobody_else() -> (Callers, Limits, bool) {
    (Callers::default(), unlimited(), false)
}

/// Tests of other things ask in tight loops.
pub(crate) fn unlimited() -> Limits {
    let rate = Rate::within(Duration::from_millis(1), NonZeroU32::new(1_000_000).unwrap());
    Limits::new(rate, rate)
}

struct ServiceParts<'a> {
    kms: &'a SandboxKms,
    iam: &'a SandboxIam,
    pki: &'a Pki,
    store: &'a str,
    directory: &'a std::path::Path,
    credential: ProxyCredential,
    key_tests: KeyTests,
    policy: Policy,
    open: bool,
}

/// How updates are run on a bench: without anybody's patience.
pub(crate) fn policy() -> Policy {
    Policy { settle: Duration::from_millis(60), pause: Duration::from_millis(5), ..Policy::default() }
}

impl ServiceParts<'_> {
    #[expect(clippy::too_many_lines, reason = "a composition root is a list of parts")]
    async fn service(
        self,
        surroundings: Arc<Current<Surroundings>>,
        callers: Callers,
        limits: Limits,
        bounds: Bounds,
    ) -> Service {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ids = Arc::new(IdSource::from_entropy());
        let metrics = Arc::new(Metrics::new().unwrap());
        let credentials = AwsCredentials {
            access_key_id: "AKIACALLER".into(),
            secret_access_key: "CallerSecretDoNotLeak".to_owned().into(),
            session_token: None,
        };
        let credentials = AwsIdentity::from(credentials);
        let iam = AwsIam::new(AwsIamSettings {
            region: surroundings.get().region.clone(),
            endpoint_url: Some(self.iam.endpoint_url()),
            of: ROLE.to_owned(),
            credentials: Some(credentials),
            timeout: Duration::from_secs(5),
            clock: clock.clone(),
        });
        let iam = iam.await;
        let aws = Arc::new(client(self.kms).await);
        let lister = CountedLister::new(aws.clone(), metrics.clone());
        let pace = Pace { per_second: 1_000, ..Pace::default() };
        let enumerator = Arc::new(Enumerator::new(Arc::new(lister), clock.clone(), pace));
        let reader: Arc<dyn KeyStoreReader> = Arc::new(CountedReader::new(aws.clone(), metrics.clone()));
        let writer: Arc<dyn KeyStoreWriter> = Arc::new(CountedWriter::new(aws.clone(), metrics.clone()));
        let here = Place::home(surroundings.get().region.clone());
        let ports = PlacePorts {
            place: here.clone(),
            reader: reader.clone(),
            describer: aws,
            writer: Some(writer.clone()),
            maker: None,
            vpc: None,
            clusters: Arc::new(no_clusters(self.kms).await),
            security_groups: None,
            permissions: Some(Arc::new(iam)),
        };
        let places = Arc::new(Places::new(vec![ports]));
        let enumerators = Arc::new(Enumerators::new(places.clone(), [(here.clone(), enumerator)], clock.clone()));
        let prober = Prober::new(ProberSettings {
            trust: TrustRoots::laboratory(self.pki.root_pem().as_bytes()).unwrap(),
            client_certificate: None,
            resolver: ResolverSettings::System,
            egress: Egress::default(),
            clock: clock.clone(),
            ids: ids.clone(),
        });
        let preflight = Arc::new(Preflight::new(prober.unwrap(), clock.clone(), ids.clone(), "a test".into()));
        let journal = SqliteJournal::open(SqliteOptions {
            path: self.directory.join("journal.sqlite"),
            sealing_key: Some(SealingKey::parse(&"0a".repeat(32).into()).unwrap()),
            crash_after_writes: None,
        })
        .unwrap();
        let counting = metrics.clone();
        let examiner = Arc::new(Examiner::new(ExaminerParts {
            preflight: preflight.clone(),
            surroundings: surroundings.clone(),
            places: places.clone(),
            enumerators: enumerators.clone(),
            settings: Arc::new(Current::new(ExaminerSettings {
                key_tests: BTreeMap::from([(CustomKeyStoreId::parse(self.store).unwrap(), self.key_tests)]),
                samples: 2,
                addresses: 16,
                refusals: std::collections::BTreeSet::new(),
                perspectives: None,
                timeout: BOUND,
            })),
            canaries: None,
            clock: clock.clone(),
            concurrency: 4,
            observer: Arc::new(move |report| counting.preflighted(report.verdict())),
            keeper: Some(driver::ReportKeeper {
                trail: Arc::new(journal.clone()),
                document: |report| render::json::report(report).to_string(),
            }),
        }));
        let trail = Arc::new(journal.clone());
        let policy = Arc::new(Current::new(self.policy));
        let driver = Driver::new(driver::Parts {
            freezes: Arc::new(journal.clone()),
            vigils: Arc::new(journal.clone()),
            known_keys: Arc::new(|_| None),
            journal: Arc::new(CountedJournal::new(Arc::new(journal.clone()), metrics.clone())),
            reader: reader.clone(),
            writer: Some(writer),
            verifier: examiner.clone(),
            credentials: Arc::new(Named(self.credential)),
            judging: surroundings.get().judging.clone(),
            clock: clock.clone(),
            ids,
            policy: policy.clone(),
            pace: driver::Pace { interval: Duration::from_millis(5), longest: Duration::from_millis(50) },
            lease: driver::LeaseTerms::default(),
            desk: None,
        });
        let counting = metrics.clone();
        let (differences, seen) = tokio::sync::mpsc::channel(100);
        let monitor = Monitor::new(
            monitor::Parts {
                preflight,
                surroundings: surroundings.clone(),
                places,
                clock: clock.clone(),
                seed: 7,
                stores: vec![WatchedStore {
                    id: CustomKeyStoreId::parse(self.store).unwrap(),
                    credential: Some("main".to_owned()),
                    settings: None,
                    test_key: Some(ExternalKeyId::parse(TEST_KEY).unwrap()),
                    place: Some(here.clone()),
                    candidates: Vec::new(),
                }],
                candidates: Candidates { keeper: Arc::new(journal.clone()), policy },
                canaries: Some(Canaries { keeper: Arc::new(journal), every: Duration::from_hours(6) }),
                observer: Arc::new(move |id, report| counting.probed(id, report)),
                late: Arc::new(|_| {}),
                differences: Some(differences),
            },
            Schedule {
                interval: Duration::from_millis(50),
                describe_every: Duration::from_millis(50),
                thoroughness: Thoroughness { cold: 1, warm: 0, ..Thoroughness::default() },
                ..Schedule::default()
            },
        );
        let drift = Arc::new(DriftWatch::new(drift::Parts {
            driver: driver.clone(),
            trail: trail.clone(),
            clock: clock.clone(),
            observer: Box::new(|_| ()),
        }));
        let watching = drift.clone();
        // Until the monitor is gone.
        tokio::spawn(async move { watching.run(seen, CancellationToken::new()).await });
        let signing_key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
        let signing_key = SigningKey::parse(&signing_key).unwrap();
        let notary = Notary::new(notary::Parts {
            trail,
            clock: clock.clone(),
            signing_key: Some(signing_key),
            left_out: Box::new(|_| ()),
        });
        Service {
            notary: Arc::new(notary),
            monitor: Arc::new(monitor),
            driver,
            examiner,
            enumerators,
            drift,
            surroundings,
            metrics,
            past: PastUpdates::default(),
            reload: Arc::new(Reload::new(clock.now()).0),
            clock,
            callers: Arc::new(Current::new(callers)),
            limits,
            open_metrics: self.open,
            bounds,
            requests: Semaphore::new(bounds.requests),
            strangers: Semaphore::new(1),
            streams: Arc::new(Semaphore::new(bounds.streams)),
            draining: CancellationToken::new(),
        }
    }
}

async fn client(kms: &SandboxKms) -> AwsKms {
    AwsKms::new(AwsKmsSettings {
        region: Region::parse("us-east-1").unwrap(),
        endpoint_url: Some(kms.endpoint_url()),
        credentials: Some(
            AwsCredentials {
                access_key_id: "AKIACALLER".into(),
                secret_access_key: "CallerSecretDoNotLeak".to_owned().into(),
                session_token: None,
            }
            .into(),
        ),
        timeout: Duration::from_secs(20),
    })
    .await
}

/// Nothing here is about clusters: the simulated KMS does not know the operation.
async fn no_clusters(kms: &SandboxKms) -> AwsCloudHsm {
    AwsCloudHsm::new(AwsCloudHsmSettings {
        region: Region::parse("us-east-1").unwrap(),
        endpoint_url: Some(kms.endpoint_url()),
        credentials: None,
        timeout: BOUND,
    })
    .await
}

/// A failure that is accepted on this bench, for every key store.
fn waiver() -> Waiver {
    Waiver {
        check: "health.redundancy".to_owned(),
        owner: "ann".to_owned(),
        approved_by: None,
        reason: "a bench".to_owned(),
        until: Some(Timestamp::from_unix(4_000_000_000)),
    }
}
