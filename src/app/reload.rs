//! The configuration, read anew while the daemon runs.
//!
//! # How it works
//!
//! One task takes orders, from a signal or from the API, one after the other. It reads the whole file with all that it
//! names, and makes of it everything that could fail. Only then it puts the new settings in the place of the former
//! ones, each as a whole ([`Current`]): work that is under way keeps those it began with, the next piece of work has the
//! new ones. Connections stay open, and an open update goes on with its plan and the secrets that its plan means.
//!
//! What cannot change without a restart ([`AT_START`](config::AT_START)) stays as it was at the start, and is named each
//! time for as long as the file says otherwise.
//!
//! # What can go wrong
//!
//! A file with faults changes nothing at all; every fault is in the log and in the answer, and
//! `config_last_reload_successful` is 0 until a good one is read.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::credentials::{self, Credentials};
use super::{places, settings};
use crate::access::{KnownCertificate, KnownToken, Principal};
use crate::api::{AtRestart, Callers, NotReloaded, Reload, ReloadOrder, Reloaded};
use crate::audit::{Action, By, Decision, Entry};
use crate::aws::AwsCredentials;
use crate::chain::Chain;
use crate::clock::Clock;
use crate::config::{self, Config, Reading};
use crate::current::Current;
use crate::custodian::{Custodian, Source};
use crate::driver::ExaminerSettings;
use crate::id::IdSource;
use crate::keyring::Keyring;
use crate::kms_endpoint::KmsCredential;
use crate::listener::Tls;
use crate::monitor::Monitor;
use crate::notary::Notary;
use crate::preflight::{Preflight, Surroundings};
use crate::probe::Prober;
use crate::update::Policy;

/// Everything that a new configuration replaces, and what is needed for that.
pub(super) struct Reloader {
    /// The file; without one nothing is read anew.
    pub(super) file: Option<PathBuf>,
    /// What is in force.
    pub(super) config: Config,
    /// As read at the start.
    pub(super) started: Reading,
    pub(super) reload: Arc<Reload>,
    pub(super) orders: mpsc::Receiver<ReloadOrder>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: Arc<IdSource>,
    /// Where the API listens.
    pub(super) address: SocketAddr,
    pub(super) callers: Arc<Current<Callers>>,
    pub(super) kms_credentials: Arc<Current<Vec<KmsCredential>>>,
    /// Whether the KMS drop-in endpoint is open.
    pub(super) kms_is_open: bool,
    pub(super) tls: Option<Arc<Current<Tls>>>,
    pub(super) surroundings: Arc<Current<Surroundings>>,
    pub(super) examiner: Arc<Current<ExaminerSettings>>,
    pub(super) policy: Arc<Current<Policy>>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) custodian: Arc<Custodian>,
    pub(super) aws_credentials: Option<AwsCredentials>,
    pub(super) credentials: Arc<Credentials>,
    pub(super) preflight: Arc<Preflight>,
    pub(super) monitor: Arc<Monitor>,
    pub(super) notary: Arc<Notary>,
}

/// A configuration with all that had to be read or made for it: nothing of it can fail any more.
struct Ready {
    config: Config,
    prober: Prober,
    callers: Callers,
    sources: BTreeMap<String, Source>,
}

impl Reloader {
    /// Takes orders until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        while let Some(Some(ReloadOrder { by, answer })) = stop.run_until_cancelled(self.orders.recv()).await {
            let outcome = Box::pin(self.reload(&by)).await;
            self.tell(&by, &outcome).await;
            // Whoever asked may have gone.
            let _ = answer.send(outcome);
        }
    }

    async fn reload(&mut self, by: &By) -> Result<Reloaded, NotReloaded> {
        let file = self.file.clone().ok_or(NotReloaded::Nowhere)?;
        let loaded = tokio::task::spawn_blocking(move || load(&file)).await;
        let loaded =
            loaded.map_err(|_| NotReloaded::Unfit("reading it failed, a fault of xks-preflight".to_owned()))?;
        let new = self.within_this_process(loaded?);
        settings::fits(&new, self.preflight.perspective()).map_err(|error| NotReloaded::Unfit(error.to_string()))?;
        places::fits(&new).map_err(|error| NotReloaded::Unfit(error.to_string()))?;
        let steered = Box::pin(places::leads_nowhere_else(&new)).await;
        steered.map_err(|error| NotReloaded::Unfit(error.to_string()))?;
        let prober = settings::prober(&new.preflight, &self.clock, &self.ids);
        let prober = prober.map_err(|error| NotReloaded::Unfit(Chain(&error).to_string()))?;
        let callers = self.callers(&new)?;
        let sources = credentials::sources(&new.credentials, self.aws_credentials.as_ref()).await;
        let told = self.compare(&new);
        self.record(by, &told).await?;
        self.put_in_place(Ready { config: new, prober, callers, sources });
        Ok(told)
    }

    /// Puts everything in its place. Nothing in here can fail, and nothing in here waits, which is why it is not async: no
    /// request gets between two halves of a configuration that is slow to come. What is judged by comes first and who may
    /// ask last, so that whoever is new finds the rules that they came with.
    fn put_in_place(&mut self, ready: Ready) {
        let Ready { config: new, prober, callers, sources } = ready;
        let named = credentials::named(&new.credentials, &self.config.credentials);
        self.keyring.replace(&named, self.clock.now());
        self.credentials.used_by(&new.key_stores);
        self.preflight.probe_with(prober);
        self.surroundings.replace(settings::surroundings(&new, Arc::clone(&self.keyring)));
        self.examiner.replace(settings::examiner(&new.preflight, new.perspectives.as_ref(), &new.key_stores));
        self.policy.replace(settings::policy(&new.update, &new.key_stores));
        self.monitor.watch(settings::watched(&new.key_stores));
        if let (Some(current), Some(tls)) = (&self.tls, &new.listen.tls) {
            current.replace(tls.clone());
        }
        self.kms_credentials.replace(new.kms_credentials.clone());
        self.callers.replace(callers);
        // This one drops former credentials, too, as soon as the journal has told which of them open updates mean.
        self.custodian.look_at(sources);
        self.config = new;
    }

    /// With everything that cannot change now as it was at the start.
    fn within_this_process(&self, new: Config) -> Config {
        let old = self.config.clone();
        Config {
            listen: config::Listen { api: old.listen.api, kms: old.listen.kms, tls: new.listen.tls },
            http: old.http,
            journal: old.journal,
            audit: old.audit,
            kms: old.kms,
            accounts: old.accounts,
            vpc: old.vpc,
            cloudhsm: old.cloudhsm,
            monitor: old.monitor,
            preflight: config::PreflightSettings { concurrency: old.preflight.concurrency, ..new.preflight },
            update: config::UpdatePolicy { poll_interval: old.update.poll_interval, ..new.update },
            ..new
        }
    }

    /// Who is known from now on. Whoever was known in the very same words stays the very same, and so do the providers of
    /// identities: they have keys that were fetched.
    fn callers(&self, new: &Config) -> Result<Callers, NotReloaded> {
        let before = self.callers.get();
        let mut callers = settings::callers(new);
        for token in &mut callers.tokens {
            let same = |old: &&KnownToken| old.hash == token.hash && is_same(&old.principal, &token.principal);
            if let Some(old) = before.tokens.iter().find(same) {
                token.principal = Arc::clone(&old.principal);
            }
        }
        for certificate in &mut callers.certificates {
            let same = |old: &&KnownCertificate| {
                old.name == certificate.name && is_same(&old.principal, &certificate.principal)
            };
            if let Some(old) = before.certificates.iter().find(same) {
                certificate.principal = Arc::clone(&old.principal);
            }
        }
        if let (Some(old), Some(same)) = (&before.authorities, &callers.authorities)
            && old.are(same)
        {
            callers.authorities = Some(Arc::clone(old));
        }
        let changed = self.config.reading.changed(&new.reading);
        if !changed.iter().any(|key| key == "oidc") {
            callers.issuers.clone_from(&before.issuers);
        }
        if callers.is_empty() && !before.is_empty() && !self.address.ip().is_loopback() {
            let why = format!(
                "it leaves nobody who is known, and others can reach {}: anyone could change key stores. Leave one of \
                 [[tokens]], [[client_certificates]] or [[oidc]], or restart on a loopback address",
                self.address
            );
            return Err(NotReloaded::Unfit(why));
        }
        Ok(callers)
    }

    fn compare(&self, new: &Config) -> Reloaded {
        let changed = self.config.reading.changed(&new.reading);
        let waiting = self.started.changed(&new.reading).into_iter();
        let mut needs_restart: Vec<AtRestart> = waiting
            .filter_map(|key| config::at_start(&key).map(|why| AtRestart { why: why.to_owned(), key }))
            .collect();
        let mut also = |key: &str, why: &str| {
            needs_restart.push(AtRestart { key: key.to_owned(), why: why.to_owned() });
        };
        if self.tls.is_some() != new.listen.tls.is_some() {
            also("listen.tls_certificate_file", "whether TLS is spoken at all is settled with the listener");
        }
        if !self.kms_is_open && !new.kms_credentials.is_empty() {
            also("kms_credentials", "the KMS drop-in endpoint is not open: there were none at the start");
        }
        Reloaded { changed: changed.into_iter().collect(), needs_restart, sha256: new.sha256.clone() }
    }

    /// What is allowed to somebody waits for its line in the trail. A signal comes from whoever runs the process, and
    /// takes effect all the same: it may be there to shut somebody out.
    async fn record(&self, by: &By, told: &Reloaded) -> Result<(), NotReloaded> {
        let message = format!(
            "SHA-256 of the configuration file: {}; changed: {}; waiting for a restart: {}",
            told.sha256,
            list(told.changed.iter()),
            list(told.needs_restart.iter().map(|waiting| &waiting.key))
        );
        let own = *by == By::daemon();
        let decision = if own { Decision::Recorded } else { Decision::Allowed };
        let entry = Entry::new(self.clock.now(), Some(by.clone()), Action::ConfigurationLoaded, decision, message);
        match self.notary.note(&entry).await {
            Err(error) => {
                tracing::error!(error = %Chain(&error), "a reading of the configuration is missing in the audit trail");
                if own { Ok(()) } else { Err(NotReloaded::Unrecorded) }
            }
            Ok(_) => Ok(()),
        }
    }

    async fn tell(&self, by: &By, outcome: &Result<Reloaded, NotReloaded>) {
        let by = by.name.as_str();
        self.reload.note(outcome.is_ok(), self.clock.now());
        match outcome {
            Ok(Reloaded { changed, needs_restart, sha256 }) => {
                tracing::info!(by, changed = list(changed.iter()), sha256, "configuration is read anew");
                for AtRestart { key, why } in needs_restart {
                    tracing::warn!(key, why, "a changed key waits for a restart");
                }
            }
            Err(why) => {
                if let NotReloaded::Faults { faults, left_off } = why {
                    for (key, fault) in faults {
                        tracing::error!(key, fault, "fault in the configuration");
                    }
                    if *left_off > 0 {
                        tracing::error!(left_off, "more faults in the configuration");
                    }
                }
                tracing::error!(by, %why, "configuration is not taken");
                self.notary.note_own(Action::ConfigurationLoaded, format!("asked by {by}: {why}")).await;
            }
        }
    }
}

fn load(file: &Path) -> Result<Config, NotReloaded> {
    Config::load(file, &|name| std::env::var(name).ok()).map_err(|faults| NotReloaded::Faults {
        left_off: faults.left_off,
        faults: faults
            .faults
            .into_iter()
            .map(|fault| {
                let line = fault.line.map(|line| format!("line {line}: ")).unwrap_or_default();
                (fault.key, format!("{line}{}", fault.message))
            })
            .collect(),
    })
}

fn is_same(one: &Arc<Principal>, other: &Arc<Principal>) -> bool {
    **one == **other
}

fn list<'a>(keys: impl Iterator<Item = &'a String>) -> String {
    let keys: Vec<&str> = keys.map(String::as_str).collect();
    if keys.is_empty() { "nothing".to_owned() } else { keys.join(", ") }
}
