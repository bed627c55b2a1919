//! Composition root: a configuration becomes a running daemon.
//!
//! [`App::build`] opens the journal, makes the parts, and takes over a bound listener; [`App::run`] resumes open
//! updates, serves, and drains when told to stop: requests first, then the driver at a safe point, the monitor last.
//! Nothing is decided here.

mod build_error;
mod credentials;
mod opened;
mod places;
mod reload;
mod service_manager;
mod settings;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::middleware::from_fn;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

pub use self::build_error::BuildError;
use self::credentials::Credentials;
use self::opened::{Opened, open_journal};
use self::places::Aws;
use self::reload::Reloader;
use crate::api::{self, Bounds, Reload, Service};
use crate::audit::Action;
use crate::aws::AwsCredentials;
use crate::clock::Clock;
use crate::config::Config;
use crate::current::Current;
use crate::custodian::{self, Custodian};
use crate::drift::{self, DriftWatch};
use crate::driver::{Driver, Examiner, ExaminerParts, KeyCounter, LeaseTerms, Maker, MakerParts, Pace, ReportKeeper};
use crate::enumeration::Enumerators;
use crate::id::IdSource;
use crate::journal::Journal;
use crate::kms::{KeyStoreReader, KeyStoreWriter};
use crate::kms_endpoint;
use crate::listener::{self, Connections, Limits};
use crate::metrics::{CountedJournal, Metrics};
use crate::monitor::{self, Canaries, Candidates, Difference, Monitor, Schedule};
use crate::notary::{self, Notary};
use crate::page;
use crate::preflight::{Judging, KeyThoroughness, Preflight, Surroundings, Thoroughness};
use crate::update::KnownKeys;

/// Differences that wait to be judged; whoever looks at KMS waits when there are more.
const DIFFERENCES: usize = 1_000;

/// How long requests may go on once the daemon is told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// What a daemon needs besides its configuration.
#[derive(Debug)]
pub struct Parts {
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Seeds phases and jitter of the monitor.
    pub seed: u64,
    /// AWS credentials given outright; `None` means the SDK's default chain.
    pub aws_credentials: Option<AwsCredentials>,
    /// Where the daemon looks from, for reports.
    pub perspective: String,
    /// The configuration file, to be read anew when that is asked for; `None` means that it is not.
    pub configuration: Option<PathBuf>,
    /// Ends the process right after this many journal writes: for tests of restarts.
    #[cfg(feature = "sandbox")]
    pub crash_after_journal_writes: Option<u64>,
}

/// A daemon that is ready to run.
pub struct App {
    listener: TcpListener,
    address: SocketAddr,
    connections: Connections,
    kms_endpoint: Option<KmsEndpoint>,
    service: Arc<Service>,
    driver: Driver,
    maker: Maker,
    monitor: Arc<Monitor>,
    enumerators: Arc<Enumerators>,
    drift: Arc<DriftWatch>,
    /// What two looks at KMS show differently.
    seen: mpsc::Receiver<Difference>,
    enumerate_every: Duration,
    /// What the audit trail says of the start.
    started: String,
    reloader: Reloader,
    custodian: Arc<Custodian>,
}

/// The KMS drop-in endpoint, ready to be served.
struct KmsEndpoint {
    listener: TcpListener,
    address: SocketAddr,
    router: axum::Router,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("address", &self.address).finish_non_exhaustive()
    }
}

impl App {
    /// Opens what must be opened and puts the parts together. Nothing is probed, served or changed yet.
    #[expect(clippy::too_many_lines, reason = "a composition root is a list of parts")]
    pub async fn build(config: Config, parts: Parts) -> Result<Self, BuildError> {
        settings::fits(&config, &parts.perspective)?;
        places::fits(&config)?;
        Box::pin(places::leads_nowhere_else(&config)).await?;
        let in_force = config.clone();
        let callers = settings::callers(&config);
        let Config {
            listen,
            http,
            journal,
            audit,
            kms,
            accounts,
            vpc,
            cloudhsm,
            credentials,
            key_stores,
            preflight,
            perspectives,
            monitor,
            update,
            kms_credentials,
            sha256,
            tokens: _,
            client_certificates: _,
            oidc: _,
            reading: _,
            traces: _,
        } = config;
        let observe_only = kms.observe_only;
        let aws = Aws::new(kms.clone(), accounts, &vpc, &cloudhsm);
        let listening = |source| BuildError::Listen { address: listen.api, source };
        let listener = TcpListener::bind(listen.api).await.map_err(listening)?;
        let address = listener.local_addr().map_err(listening)?;
        let kms_listener = if kms_credentials.is_empty() {
            None
        } else {
            let listening = |source| BuildError::ListenKms { address: listen.kms, source };
            let listener = TcpListener::bind(listen.kms).await.map_err(listening)?;
            let address = listener.local_addr().map_err(listening)?;
            Some((listener, address))
        };
        let metrics = Metrics::new()?;
        let metrics = Arc::new(if monitor.every_check { metrics } else { metrics.of_failing_checks() });
        let ids = Arc::new(IdSource::from_entropy());
        let lease = journal.lease;
        let Opened { journal, canaries, freezes, vigils, trail, desk } = open_journal(journal, &parts).await?;
        let journal: Arc<dyn Journal> = Arc::new(CountedJournal::new(journal, Arc::clone(&metrics)));
        let places::Opened { places, enumerators, home } = Box::pin(aws.open(&parts, &metrics)).await;
        let reader: Arc<dyn KeyStoreReader> = places.clone();
        // Observe-only is the absence of a writer: there is nothing that could be called by mistake.
        let writer = (!observe_only).then(|| places.clone() as Arc<dyn KeyStoreWriter>);
        let enumerate_every = monitor.enumerate_every;
        let sources = credentials::sources(&credentials, parts.aws_credentials.as_ref()).await;
        let keyring = Arc::new(credentials::keyring(&credentials));
        let surroundings = Arc::new(Current::new(settings::surroundings(&in_force, Arc::clone(&keyring))));
        let configured =
            Credentials::new(Arc::clone(&keyring), &key_stores, Arc::clone(&places), Arc::clone(&surroundings));
        let configured = Arc::new(configured);
        let how_examined = Arc::new(Current::new(settings::examiner(&preflight, perspectives.as_ref(), &key_stores)));
        let policy = Arc::new(Current::new(settings::policy(&update, &key_stores)));
        let callers = Arc::new(Current::new(callers));
        let kms_credentials = Arc::new(Current::new(kms_credentials));
        let tls = listen.tls.map(|tls| Arc::new(Current::new(tls)));
        let prober = settings::prober(&preflight, &parts.clock, &ids)?;
        let engine =
            Arc::new(Preflight::new(prober, Arc::clone(&parts.clock), Arc::clone(&ids), parts.perspective.clone()));
        let counted = Arc::clone(&metrics);
        let examiner = Arc::new(Examiner::new(ExaminerParts {
            preflight: Arc::clone(&engine),
            surroundings: Arc::clone(&surroundings),
            places: Arc::clone(&places),
            enumerators: Arc::clone(&enumerators),
            settings: Arc::clone(&how_examined),
            canaries: Some(Arc::clone(&canaries)),
            clock: Arc::clone(&parts.clock),
            concurrency: preflight.concurrency,
            observer: Arc::new(move |report| counted.preflighted(report.verdict())),
            keeper: Some(ReportKeeper {
                trail: Arc::clone(&trail),
                document: |report| crate::render::json::report(report).to_string(),
            }),
        }));
        let maker = Maker::new(MakerParts {
            reader: Arc::clone(&home.reader),
            maker: home.maker,
            examiner: Arc::clone(&examiner),
            surroundings: Arc::clone(&surroundings),
            freezes: Arc::clone(&freezes),
            trail: Arc::clone(&trail),
            clock: Arc::clone(&parts.clock),
            policy: Arc::clone(&policy),
            pause: update.poll_interval,
        });
        let driver = Driver::new(crate::driver::Parts {
            journal: Arc::clone(&journal),
            freezes,
            vigils: Arc::clone(&vigils),
            known_keys: known_keys(&enumerators),
            reader: Arc::clone(&reader),
            writer,
            verifier: Arc::clone(&examiner) as Arc<dyn crate::driver::Verifier>,
            credentials: Arc::clone(&configured) as Arc<dyn crate::driver::ConfiguredCredentials>,
            judging: judging(&surroundings),
            clock: Arc::clone(&parts.clock),
            ids: Arc::clone(&ids),
            policy: Arc::clone(&policy),
            pace: Pace { interval: update.poll_interval, ..Pace::default() },
            lease: LeaseTerms { holder: holder(), ttl: lease, call: kms.timeout },
            desk,
        });
        let counted = Arc::clone(&metrics);
        let drift = Arc::new(DriftWatch::new(drift::Parts {
            driver: driver.clone(),
            trail: Arc::clone(&trail),
            clock: Arc::clone(&parts.clock),
            observer: Box::new(move |drift| counted.drifted(drift)),
        }));
        let (differences, seen) = mpsc::channel(DIFFERENCES);
        let (counted, timed) = (Arc::clone(&metrics), Arc::clone(&metrics));
        let monitor = Arc::new(Monitor::new(
            monitor::Parts {
                preflight: Arc::clone(&engine),
                surroundings: Arc::clone(&surroundings),
                places: Arc::clone(&places),
                clock: Arc::clone(&parts.clock),
                seed: parts.seed,
                stores: settings::watched(&key_stores),
                canaries: Some(Canaries { keeper: canaries, every: monitor.canary_interval }),
                candidates: Candidates { keeper: vigils, policy: Arc::clone(&policy) },
                observer: Arc::new(move |key_store, report| counted.probed(key_store, report)),
                late: Arc::new(move |by| timed.probe_began(by)),
                differences: Some(differences),
            },
            Schedule {
                interval: monitor.interval,
                jitter: f64::from(monitor.jitter_percent) / 100.0,
                concurrency: monitor.concurrency,
                per_host: monitor.per_host,
                describe_every: kms.poll_interval,
                history: monitor.history,
                history_age: monitor.history_age,
                thoroughness: Thoroughness {
                    cold: monitor.samples,
                    warm: 1,
                    // An error in the proxy's log at every probe would look like an attack.
                    keys: KeyThoroughness { tampering: false, ..KeyThoroughness::default() },
                    addresses: preflight.addresses,
                    // Guesses at a refused signature at every probe might lock the credential out.
                    diagnosis: false,
                    ..Thoroughness::default()
                },
                watch_discovered: monitor.watch_discovered,
            },
        ));
        let custodian = Arc::new(Custodian::new(custodian::Parts {
            keyring: Arc::clone(&keyring),
            sources,
            monitor: Arc::clone(&monitor),
            driver: driver.clone(),
            preflight: Arc::clone(&engine),
            surroundings: Arc::clone(&surroundings),
            clock: Arc::clone(&parts.clock),
        }));
        let draining = CancellationToken::new();
        let counted = Arc::clone(&metrics);
        let notary = Arc::new(Notary::new(notary::Parts {
            trail,
            clock: Arc::clone(&parts.clock),
            signing_key: audit.signing_key,
            left_out: Box::new(move |refusals| counted.left_out(refusals)),
        }));
        let kms_endpoint = kms_listener.map(|(listener, address)| KmsEndpoint {
            listener,
            address,
            router: kms_endpoint::router(kms_endpoint::Parts {
                driver: driver.clone(),
                maker: maker.clone(),
                reader: home.reader,
                places: Arc::clone(&places),
                describer: home.describer,
                examiner: Arc::clone(&examiner),
                credentials: Arc::clone(&kms_credentials),
                region: kms.region.clone(),
                clock: Arc::clone(&parts.clock),
                metrics: Arc::clone(&metrics),
                notary: Arc::clone(&notary),
                limits: Limits::new(http.principal_rate, http.stranger_rate),
                bounds: kms_endpoint::Bounds { body: http.body_limit, receive: http.header_timeout },
                requests: http.connections,
                draining: draining.clone(),
            }),
        });
        let (reload, orders) = Reload::new(parts.clock.now());
        let reload = Arc::new(reload);
        let reloader = Reloader {
            file: parts.configuration,
            started: in_force.reading.clone(),
            config: in_force,
            reload: Arc::clone(&reload),
            orders,
            clock: Arc::clone(&parts.clock),
            ids,
            address,
            callers: Arc::clone(&callers),
            kms_credentials,
            kms_is_open: kms_endpoint.is_some(),
            tls: tls.clone(),
            surroundings: Arc::clone(&surroundings),
            examiner: how_examined,
            policy,
            keyring,
            custodian: Arc::clone(&custodian),
            aws_credentials: parts.aws_credentials,
            credentials: configured,
            preflight: engine,
            monitor: Arc::clone(&monitor),
            notary: Arc::clone(&notary),
        };
        let service = Arc::new(Service {
            notary,
            monitor: Arc::clone(&monitor),
            driver: driver.clone(),
            examiner,
            enumerators: Arc::clone(&enumerators),
            drift: Arc::clone(&drift),
            surroundings,
            metrics,
            past: api::PastUpdates::default(),
            clock: parts.clock,
            open_metrics: address.ip().is_loopback(),
            callers,
            reload,
            limits: Limits::new(http.principal_rate, http.stranger_rate),
            bounds: Bounds {
                body: http.body_limit,
                request: http.request_timeout,
                requests: http.connections,
                streams: http.connections / 4 + 1,
            },
            requests: Semaphore::new(http.connections),
            strangers: Semaphore::new(http.connections / 8 + 1),
            streams: Arc::new(Semaphore::new(http.connections / 4 + 1)),
            draining,
        });
        let connections = Connections { most: http.connections, head: http.header_timeout, tls, grace: GRACE };
        let started = format!("version {}; SHA-256 of the configuration file: {sha256}", env!("CARGO_PKG_VERSION"));
        Ok(Self {
            listener,
            address,
            connections,
            kms_endpoint,
            service,
            driver,
            maker,
            monitor,
            enumerators,
            drift,
            seen,
            enumerate_every,
            started,
            reloader,
            custodian,
        })
    }

    /// Where the API listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the KMS drop-in endpoint listens, if it is open.
    pub fn kms_address(&self) -> Option<SocketAddr> {
        self.kms_endpoint.as_ref().map(|endpoint| endpoint.address)
    }

    /// Has the configuration read anew, while it runs.
    pub fn reload(&self) -> Arc<Reload> {
        Arc::clone(&self.service.reload)
    }

    /// Serves until `stop`, then drains. Returns when every task has ended.
    pub async fn run(self, stop: CancellationToken) -> Result<(), BuildError> {
        let notary = Arc::clone(&self.service.notary);
        notary.note_own(Action::DaemonStarted, self.started).await;
        self.custodian.begin().await;
        let resumed = self.driver.start().await.map_err(BuildError::Resume)?;
        if let Some(KmsEndpoint { address, .. }) = &self.kms_endpoint {
            tracing::info!(kms_endpoint = %address, "KMS drop-in endpoint is open");
        }
        tracing::info!(address = %self.address, resumed, "xks-preflight is running");
        let monitoring = CancellationToken::new();
        let monitor = tokio::spawn(Arc::clone(&self.monitor).run(monitoring.clone()));
        // The listeners have been open since they were made: whoever connects now is served in a moment.
        service_manager::ready(&format!("listens on {}, {resumed} updates were under way", self.address));
        let ended = CancellationToken::new();
        let attended = service_manager::attend(Arc::clone(&self.monitor), stop.clone(), ended.clone());
        let attendant = tokio::spawn(attended);
        let enumerating = monitoring.clone();
        let enumerator = tokio::spawn(async move { self.enumerators.run(self.enumerate_every, enumerating).await });
        let watching = monitoring.clone();
        let drift = tokio::spawn(async move { self.drift.run(self.seen, watching).await });
        let noting = CancellationToken::new();
        let until = noting.clone();
        let notary = tokio::spawn(async move { notary.run(until).await });
        let (examiner, attending) = (Arc::clone(&self.service.examiner), monitoring.clone());
        let attendance = tokio::spawn(async move { examiner.attend(attending).await });
        let reloader = tokio::spawn(self.reloader.run(stop.clone()));
        let custodian = tokio::spawn(self.custodian.run(monitoring.clone()));
        let draining = self.service.draining.clone();
        let ending = stop.clone();
        tokio::spawn(async move {
            ending.cancelled().await;
            draining.cancel();
        });
        let kms_endpoint = async {
            let Some(KmsEndpoint { listener, router, .. }) = self.kms_endpoint else { return true };
            listener::serve(listener, router, self.connections.clone(), stop.clone()).await
        };
        let secure = self.connections.tls.is_some();
        let router =
            api::router(Arc::clone(&self.service)).merge(page::router(self.service, secure)).layer(from_fn(page::lost));
        let api = listener::serve(self.listener, router, self.connections.clone(), stop.clone());
        let (api, kms_endpoint) = tokio::join!(api, kms_endpoint);
        if !(api && kms_endpoint) {
            tracing::warn!("some requests were cut off: they did not end within {} s", GRACE.as_secs());
        }
        // Before the driver: it waits for calls that are under way, which nothing else waits for.
        self.maker.shutdown().await;
        self.driver.shutdown().await;
        monitoring.cancel();
        // A panic of the monitor has been told by the runtime already.
        let _ = monitor.await;
        let _ = enumerator.await;
        let _ = drift.await;
        let _ = reloader.await;
        let _ = custodian.await;
        let _ = attendance.await;
        noting.cancel();
        let _ = notary.await;
        ended.cancel();
        let _ = attendant.await;
        tracing::info!("xks-preflight has drained");
        Ok(())
    }
}

/// Names this process among all that use the journal, for people, too.
fn holder() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}:{}:{:08x}", host.trim(), std::process::id(), rand::random::<u32>())
}

/// Before a sweep has ended nothing is told: no keys found would be taken for no keys.
fn known_keys(enumerators: &Arc<Enumerators>) -> KeyCounter {
    let enumerators = Arc::clone(enumerators);
    Arc::new(move |key_store| {
        let enumerator = enumerators.of(key_store)?;
        let known = enumerator.has_swept().then(|| enumerator.known(key_store))?;
        Some(KnownKeys { found: known.keys.len(), complete: known.is_complete() })
    })
}

/// Waivers and promotions as they are current each time.
fn judging(surroundings: &Arc<Current<Surroundings>>) -> Judging {
    let surroundings = Arc::clone(surroundings);
    Arc::new(move |key_store, now| (surroundings.get().judging)(key_store, now))
}
