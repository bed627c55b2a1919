//! One network act each: consumes the former act's value, yields evidence.
//!
//! # How it works
//!
//! `dns::resolve -> egress -> tcp::connect -> tls::secure -> exchange::send`. Each value owns the live thing - addresses, socket,
//! TLS stream - so the compiler checks the order. A *cold* sample is a fresh connection under KMS's limit, which covers
//! connect, handshake, request and the whole answer; the stages share one `deadline`, so the stage that waits when it
//! comes is the one that ran out of time. There is no pool: reuse hides faults and falsifies stage times. *Warm*
//! samples reuse one connection on purpose.
//!
//! The handshake is let finish whatever the certificate (`recorder`), so that a bad certificate is evidence and not
//! just an error. Then the chain is judged (`trust`), and only an authenticated server gets a signed request: the
//! function that sends takes a value that only that judgement hands out.
//!
//! What is asked besides the samples (`trial`) starts from the right request (`draft`) and changes exactly one thing.
//!
//! # What can go wrong
//!
//! A failed target is a value here: every sample yields what was seen and, at most, a [`Stop`] that says at which stage
//! it ended and why (`classify`). Faults of this machine are told apart from those of the target. `Err` is only for a
//! [`Prober`] that cannot be made.

mod certificate;
mod classify;
mod client_certificate;
mod deadline;
mod dns;
mod draft;
mod egress;
mod exchange;
mod old_suites;
mod recorder;
mod stranger;
mod suites;
mod tcp;
mod tls;
mod trial;
mod trust;

#[cfg(test)]
#[cfg(feature = "sandbox")]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tracing::{Instrument as _, debug_span};

use self::deadline::Deadline;
use self::dns::NameResolver;
use self::draft::Draft;
use self::tls::Terms;
use crate::check::{
    Attempt, ExchangeEvidence, Fault, Problem, ProblemKind, Resolution, Sample, SampleKind, Stage, Stop, StrangerTrial,
    SuiteEvidence, TlsEvidence,
};
use crate::clock::Clock;
use crate::id::{IdSource, RequestId};
use crate::key_store::{ProxyCredential, Region, XksProxyUriEndpoint, XksProxyUriPath};
use crate::xks::{XksOperation, health_request};

pub use self::client_certificate::{ClientCertificate, ClientCertificateError};
pub use self::dns::{ResolverSettings, is_connect_to};
pub use self::egress::{Destination, Egress, HostSuffix, vpc_network};
pub use self::exchange::KeptConnection;
pub use self::trust::{KmsTrustList, KmsTrustListError, TrustRoots, TrustRootsError};

/// What a prober is made of.
#[derive(Debug)]
pub struct ProberSettings {
    /// Which roots are taken for those that KMS trusts.
    pub trust: TrustRoots,
    /// What to present to proxies that ask for a client certificate.
    pub client_certificate: Option<ClientCertificate>,
    /// Who is asked for names.
    pub resolver: ResolverSettings,
    /// Which hosts may be probed, and where their names may lead.
    pub egress: Egress,
    /// For signatures, certificates and records.
    pub clock: Arc<dyn Clock>,
    /// For `kmsRequestId`.
    pub ids: Arc<IdSource>,
}

/// A prober that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ProberError {
    /// The TLS library refused its configuration.
    #[error("the TLS library cannot be configured; this is a fault of xks-preflight")]
    Tls(#[source] rustls::Error),
}

/// Whom to ask, and as whom.
#[derive(Clone, Debug)]
pub struct Target {
    /// `XksProxyUriEndpoint`: gives server name, `Host` and what the certificate must be for, wherever we connect.
    pub endpoint: XksProxyUriEndpoint,
    /// `XksProxyUriPath`
    pub path: XksProxyUriPath,
    /// The Region to sign for.
    pub region: Region,
    /// The credential to sign with.
    pub credential: ProxyCredential,
    /// `kmsOperation` in the request's metadata, such as `UpdateCustomKeyStore` or `KmsHealthCheck`.
    pub kms_operation: String,
}

/// A sample on a fresh connection.
#[derive(Debug)]
pub struct ColdSample {
    /// The attempts.
    pub sample: Sample,
    /// What TLS showed, from the last attempt that got as far as a certificate.
    pub tls: Option<TlsEvidence>,
    /// The connection, if the sample ended in a complete answer and the server keeps it open.
    pub connection: Option<KeptConnection>,
}

/// Performs network acts. Has no state of its own: two samples know nothing of each other.
#[derive(Debug)]
pub struct Prober {
    terms: Terms,
    resolver: NameResolver,
    egress: Egress,
    clock: Arc<dyn Clock>,
    ids: Arc<IdSource>,
}

/// One attempt on a fresh connection.
#[derive(Debug, Default)]
struct ColdAttempt {
    attempt: Attempt,
    tls: Option<TlsEvidence>,
    connection: Option<KeptConnection>,
}

impl Prober {
    /// Gets ready; no I/O but reading the machine's resolver settings.
    pub fn new(settings: ProberSettings) -> Result<Self, ProberError> {
        let ProberSettings { trust, client_certificate, resolver, egress, clock, ids } = settings;
        // The first random bytes of a process cost aws-lc tens of milliseconds, for gathering entropy. They must not
        // be taken out of KMS's 250 on the first probe. Should it fail here, the handshake will tell.
        let _ = aws_lc_rs::rand::fill(&mut [0; 32]);
        let terms = Terms::new(trust, client_certificate, Arc::clone(&clock))?;
        Ok(Self { terms, resolver: NameResolver::new(&resolver), egress, clock, ids })
    }

    /// Whether roots of a laboratory are trusted, so that verdicts hold for the laboratory only.
    pub fn is_lab(&self) -> bool {
        self.terms.is_lab()
    }

    /// Which hosts may be probed, and where their names may lead.
    pub fn egress(&self) -> &Egress {
        &self.egress
    }

    /// A fresh `kmsRequestId` that carries our marker.
    pub fn request_id(&self) -> String {
        RequestId::new(&self.ids, self.clock.now()).to_string()
    }

    /// A and AAAA records of a host, at most 256 of each, within 5 seconds.
    pub async fn resolve(&self, host: &str) -> Resolution {
        self.resolver.resolve(host).instrument(debug_span!("dns", host)).await
    }

    /// The addresses behind a `connect_to` of the form HOST:PORT. A failure is ours: the operator wrote it.
    pub async fn resolve_connect_to(&self, host_port: &str) -> Result<Vec<Destination>, Problem> {
        dns::resolve_connect_to(host_port).await
    }

    /// Asks for health on a fresh connection within `limit`; after a network time-out once more, on another fresh one
    /// and with the same limit, as KMS does (XKS proxy API, Timeouts).
    pub async fn cold_sample(&self, target: &Target, address: Destination, limit: Duration) -> ColdSample {
        let first = self.cold_attempt(target, address, limit).await;
        if !is_network_time_out(&first.attempt) {
            let ColdAttempt { attempt, tls, connection } = first;
            let sample = Sample { kind: SampleKind::Cold, first: attempt, retry: None };
            return ColdSample { sample, tls, connection };
        }
        let retry = self.cold_attempt(target, address, limit).await;
        let sample = Sample { kind: SampleKind::Cold, first: first.attempt, retry: Some(retry.attempt) };
        ColdSample { sample, tls: retry.tls.or(first.tls), connection: retry.connection }
    }

    /// The same with more patience and without a retry: tells slow from dead.
    pub async fn patient_sample(&self, target: &Target, address: Destination, patience: Duration) -> Sample {
        let ColdAttempt { attempt, .. } = self.cold_attempt(target, address, patience).await;
        Sample { kind: SampleKind::Patient, first: attempt, retry: None }
    }

    /// Asks for health on a kept connection within `limit`; there is only the request's time.
    pub async fn warm_sample(&self, target: &Target, connection: &mut KeptConnection, limit: Duration) -> Sample {
        let (took, answered) = self.ask_for_health(target, connection, Deadline::after(limit)).await;
        let mut attempt = Attempt { request: Some(took), ..Attempt::default() };
        match answered {
            Ok(exchange) => attempt.exchange = Some(exchange),
            Err(stop) => attempt.stop = Some(stop),
        }
        Sample { kind: SampleKind::Warm, first: attempt, retry: None }
    }

    /// Tries the cipher suites of KMS with TLS 1.3 and with TLS 1.2, each on a fresh connection, and on another one with
    /// more suites where they are refused; each has `limit`. What a finished handshake of ours `showed` already is not
    /// tried again. Sends no request.
    pub async fn try_suites(
        &self,
        target: &Target,
        address: Destination,
        showed: Option<&TlsEvidence>,
        limit: Duration,
    ) -> SuiteEvidence {
        suites::try_both(&self.terms, target.endpoint.host(), address, showed, limit).await
    }

    /// Asks for health on a fresh connection with a client certificate that nobody vouches for: self-signed, in the
    /// name of KMS. A proxy that wants client certificates must refuse it. To be done only with the consent of the
    /// proxy's owner: it looks like an attack.
    pub async fn try_stranger(&self, target: &Target, address: Destination, limit: Duration) -> StrangerTrial {
        match stranger::certificate(&target.region, self.clock.now()) {
            Ok(stranger) => {
                let cold = self.go_through_the_stages(target, address, Some(&stranger), limit).await;
                stranger::outcome(&cold.attempt)
            }
            Err(problem) => StrangerTrial::Untold(problem),
        }
    }

    /// Opens a connection within `limit` and asks nothing on it yet. The server is authenticated.
    pub async fn open(&self, target: &Target, address: Destination, limit: Duration) -> Result<KeptConnection, Stop> {
        let deadline = Deadline::after(limit);
        let socket = tcp::connect(address, deadline).await.1?;
        let certificate = self.terms.client_certificate();
        let secured = tls::secure(&self.terms, socket, target.endpoint.host(), certificate, deadline).await.1;
        let secured = secured.map_err(|unsecured| unsecured.stop)?;
        exchange::open(secured).await.map(|(connection, _)| connection).map_err(|failed| failed.0)
    }

    /// Carries out any operation on a kept connection within `limit`. The body is the caller's, complete with
    /// `requestMetadata`.
    pub async fn exchange(
        &self,
        target: &Target,
        connection: &mut KeptConnection,
        operation: XksOperation<'_>,
        body: Vec<u8>,
        limit: Duration,
    ) -> Result<ExchangeEvidence, Stop> {
        let request_id = request_id_in(&body);
        self.send(target, connection, operation, body, request_id, Deadline::after(limit)).await.1
    }

    async fn cold_attempt(&self, target: &Target, address: Destination, limit: Duration) -> ColdAttempt {
        let client = self.terms.client_certificate();
        let cold = Box::pin(self.go_through_the_stages(target, address, client, limit)).await;
        let stop = cold.attempt.stop.as_ref();
        tracing::debug!(
            %address,
            kms_request_id = cold.attempt.exchange.as_ref().map(|exchange| exchange.request_id.as_str()),
            total = ?cold.attempt.total(),
            stopped_at = stop.map(|stop| tracing::field::display(stop.stage)),
            problem = stop.map(|stop| tracing::field::display(stop.problem.kind)),
            "attempt"
        );
        cold
    }

    async fn go_through_the_stages(
        &self,
        target: &Target,
        address: Destination,
        client: Option<&ClientCertificate>,
        limit: Duration,
    ) -> ColdAttempt {
        let deadline = Deadline::after(limit);
        let host = target.endpoint.host();
        let mut cold = ColdAttempt::default();
        let (took, connected) = tcp::connect(address, deadline).instrument(debug_span!("tcp", %address)).await;
        cold.attempt.connect = Some(took);
        let socket = match connected {
            Ok(socket) => socket,
            Err(stop) => return cold.stopped(stop),
        };
        let securing = tls::secure(&self.terms, socket, host, client, deadline);
        let (took, secured) = securing.instrument(debug_span!("tls", %address, host)).await;
        cold.attempt.tls = Some(took);
        let secured = match secured {
            Ok(secured) => secured,
            Err(unsecured) => {
                cold.tls = unsecured.evidence;
                let mut stop = unsecured.stop;
                if unsecured.refused_offer
                    && let Some(problem) = Box::pin(suites::beyond_kms(&self.terms, host, address, limit)).await
                {
                    stop.problem = problem;
                }
                return cold.stopped(stop);
            }
        };
        let (mut connection, evidence) = match exchange::open(secured).await {
            Ok(opened) => opened,
            Err(failed) => {
                let (stop, evidence) = *failed;
                cold.tls = Some(evidence);
                return cold.stopped(stop);
            }
        };
        cold.tls = Some(evidence);
        let (took, answered) = self.ask_for_health(target, &mut connection, deadline).await;
        cold.attempt.request = Some(took);
        match answered {
            Ok(exchange) => {
                if let Some(stop) = classify::page_for_lack_of_certificate(&exchange, cold.tls.as_ref()) {
                    return cold.stopped(stop);
                }
                cold.attempt.exchange = Some(exchange);
            }
            Err(stop) => return cold.stopped(stop),
        }
        // The answer is in; whether the connection stays open shows at once.
        if connection.settle(Deadline::after(limit)).await {
            cold.connection = Some(connection);
        }
        cold
    }

    async fn ask_for_health(
        &self,
        target: &Target,
        connection: &mut KeptConnection,
        deadline: Deadline,
    ) -> (Duration, Result<ExchangeEvidence, Stop>) {
        let request_id = RequestId::new(&self.ids, self.clock.now()).to_string();
        let body = health_request(&target.kms_operation, &request_id);
        self.send(target, connection, XksOperation::GetHealthStatus, body, request_id, deadline).await
    }

    async fn send(
        &self,
        target: &Target,
        connection: &mut KeptConnection,
        operation: XksOperation<'_>,
        body: Vec<u8>,
        request_id: String,
        deadline: Deadline,
    ) -> (Duration, Result<ExchangeEvidence, Stop>) {
        let span = debug_span!("http", operation = operation.name(), kms_request_id = request_id);
        let draft = Draft::right(target, operation, body, request_id, self.clock.now());
        self.send_draft(connection, draft, deadline).instrument(span).await
    }

    async fn send_draft(
        &self,
        connection: &mut KeptConnection,
        draft: Draft,
        deadline: Deadline,
    ) -> (Duration, Result<ExchangeEvidence, Stop>) {
        match draft.sign() {
            Ok(outgoing) => exchange::send(connection, outgoing, self.clock.as_ref(), deadline).await,
            Err(error) => {
                let problem = Problem::own(ProblemKind::LocalResources, error.to_string());
                (Duration::ZERO, Err(Stop { stage: Stage::Http, problem }))
            }
        }
    }
}

impl ColdAttempt {
    fn stopped(mut self, stop: Stop) -> Self {
        self.attempt.stop = Some(stop);
        self
    }
}

/// KMS repeats a request only after a network time-out.
fn is_network_time_out(attempt: &Attempt) -> bool {
    let problem = attempt.stop.as_ref().map(|stop| &stop.problem);
    problem.is_some_and(|problem| problem.kind == ProblemKind::TimedOut && problem.fault != Fault::Own)
}

/// The `kmsRequestId` in a request's body, for the evidence.
fn request_id_in(body: &[u8]) -> String {
    serde_json::from_slice::<serde_json::Value>(body)
        .ok()
        .and_then(|body| body.pointer("/requestMetadata/kmsRequestId")?.as_str().map(ToOwned::to_owned))
        .unwrap_or_default()
}
