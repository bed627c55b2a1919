//! Load on request: whether a candidate sustains a rate, and what becomes of latency meanwhile.
//!
//! # How it works
//!
//! The schedule is fixed by the clock before the first request (`schedule`): whatever the proxy does, the questions
//! do not wait for its answers, and latency counts from the instant at which a request was due. A client that waits
//! before it asks again would hide every stall (coordinated omission). Requests go over kept connections, as those of
//! KMS do, and a new one is opened while all are busy (`pool`). What comes of them goes into a histogram (`tally`).
//!
//! # What can go wrong
//!
//! Load is dangerous to a proxy that carries traffic. So it is bounded in rate, time and number, is made only when
//! the candidate was found fit before, and ends by itself when the proxy throttles, fails, or cannot be reached any
//! more. Who may be loaded is decided by those who ask for it.

mod pool;
mod schedule;
mod tally;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::pool::Pool;
use self::schedule::Schedule;
use self::tally::Tally;
use super::Candidate;
use crate::check::{
    CapacityEvidence, ExchangeEvidence, LoadEvidence, LoadOperation, LoadOutcome, Problem, ProblemKind, Stage, Stop,
};
use crate::key_store::ExternalKeyId;
use crate::probe::{Destination, Prober, Target};
use crate::xks::{
    EncryptRequest, EncryptedData, ErrorName, HealthStatus, KeyRequestMetadata, Refusal, XksOperation, health_request,
};

/// The highest rate, in requests per second. KMS itself sends an external key store 1,800 at most by default.
pub const HIGHEST_RATE: u32 = 2_000;

/// The longest load, in seconds.
pub const LONGEST_LOAD: u32 = 300;

/// The most requests of one load.
pub const MOST_REQUESTS: u32 = 100_000;

/// How long an answer is waited for, from when its request was due: long enough to tell slow from dead.
const PATIENCE: Duration = Duration::from_secs(2);

/// A load as it was asked for, within its bounds.
#[derive(Clone, Debug)]
pub struct Load {
    rate: u32,
    seconds: u32,
    operation: LoadOperation,
    watcher: Option<Watcher>,
}

/// A load beyond its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadBeyondBounds {
    /// The rate.
    #[error("the rate must be 1 to {HIGHEST_RATE} requests per second")]
    Rate,
    /// The time.
    #[error("a load may last 1 to {LONGEST_LOAD} seconds")]
    Time,
    /// Both together.
    #[error("a load may have {MOST_REQUESTS} requests at most: lower the rate or the time")]
    Requests,
}

/// How far a load has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadProgress {
    /// Time since its beginning.
    pub elapsed: Duration,
    /// How long it is meant to last.
    pub planned: Duration,
    /// Requests that were begun.
    pub requests: u64,
    /// Requests that were answered rightly.
    pub answered: u64,
    /// Requests that failed.
    pub failed: u64,
}

#[derive(Clone)]
struct Watcher(Arc<dyn Fn(LoadProgress) + Send + Sync>);

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watcher")
    }
}

impl Load {
    /// `rate` in requests per second, for so many `seconds`.
    pub fn new(rate: u32, seconds: u32, operation: LoadOperation) -> Result<Self, LoadBeyondBounds> {
        if !(1..=HIGHEST_RATE).contains(&rate) {
            return Err(LoadBeyondBounds::Rate);
        }
        if !(1..=LONGEST_LOAD).contains(&seconds) {
            return Err(LoadBeyondBounds::Time);
        }
        if rate * seconds > MOST_REQUESTS {
            return Err(LoadBeyondBounds::Requests);
        }
        Ok(Self { rate, seconds, operation, watcher: None })
    }

    /// Has `watcher` told a few times a second how far it has come.
    #[must_use]
    pub fn watched_by(self, watcher: Arc<dyn Fn(LoadProgress) + Send + Sync>) -> Self {
        Self { watcher: Some(Watcher(watcher)), ..self }
    }

    /// The longest time that it takes, waiting for the last answers included.
    pub fn longest(&self) -> Duration {
        Duration::from_secs(self.seconds.into()) + PATIENCE
    }

    fn tell(&self, progress: LoadProgress) {
        if let Some(Watcher(watcher)) = &self.watcher {
            watcher(progress);
        }
    }
}

/// What came of one request.
#[derive(Debug)]
struct Answer {
    /// When it was over.
    at: Instant,
    outcome: LoadOutcome,
    /// Why, if it failed.
    problem: Option<Problem>,
}

/// Puts the load on a candidate, over all its addresses by turns.
pub(super) async fn put(
    prober: &Prober,
    candidate: &Candidate,
    addresses: Vec<Destination>,
    load: &Load,
) -> CapacityEvidence {
    let Some(target) = candidate.target() else { return CapacityEvidence::NotReached { stopped_at: Stage::Input } };
    let question = match (load.operation, &candidate.keys.test) {
        (LoadOperation::GetHealthStatus, _) => Question::Health,
        (LoadOperation::Encrypt, Some(key)) => Question::Encrypt(key),
        (LoadOperation::Encrypt, None) => {
            let detail = "load by Encrypt needs a test key, and none was named";
            return CapacityEvidence::OwnFault(Problem::own(ProblemKind::Syntax, detail));
        }
    };
    let Some(mut tally) = Tally::new() else {
        let detail = "the histogram of latencies cannot be made; this is a fault of xks-preflight";
        return CapacityEvidence::OwnFault(Problem::own(ProblemKind::LocalResources, detail));
    };
    let pool = Pool::new(prober, &target, addresses);
    let schedule = Schedule::new(load.rate, load.seconds);
    let took = schedule
        .keep(&mut tally, |due| question.ask(prober, &target, &pool, due + PATIENCE), |progress| load.tell(progress))
        .await;
    CapacityEvidence::Loaded(Box::new(LoadEvidence {
        operation: load.operation,
        rate: load.rate,
        planned: schedule.length(),
        took,
        requests: tally.begun,
        achieved: tally.achieved(schedule.length(), took),
        latency: tally.latency(),
        lag: tally.lag(),
        late: tally.late,
        connections: pool.opened(),
        stopped: tally.stop(),
        outcomes: tally.outcomes,
        first_failure: tally.first_failure,
    }))
}

/// What every request of a load asks.
#[derive(Clone, Copy, Debug)]
enum Question<'a> {
    Health,
    Encrypt(&'a ExternalKeyId),
}

impl Question<'_> {
    async fn ask(self, prober: &Prober, target: &Target, pool: &Pool<'_>, deadline: Instant) -> Answer {
        let id = prober.request_id();
        let asked = match self {
            Self::Health => {
                let body = health_request(&target.kms_operation, &id);
                let answered = pool.exchange(XksOperation::GetHealthStatus, body, deadline).await;
                answered.map(|(at, exchange)| (at, health(&exchange)))
            }
            Self::Encrypt(key) => {
                let metadata = metadata(id);
                let request = encrypt_request(&metadata);
                let answered = pool.exchange(XksOperation::Encrypt(key), request.body(), deadline).await;
                answered.map(|(at, exchange)| (at, encrypted(&exchange, &request)))
            }
        };
        match asked {
            Ok((at, Ok(()))) => Answer { at, outcome: LoadOutcome::Answered, problem: None },
            Ok((at, Err((outcome, problem)))) => Answer { at, outcome, problem: Some(problem) },
            Err(Some(stop)) => Answer { at: Instant::now(), outcome: stopped(&stop), problem: Some(stop.problem) },
            Err(None) => {
                let detail = "every connection that may be open was waiting for an answer";
                let problem = Problem::target(ProblemKind::TimedOut, detail);
                Answer { at: Instant::now(), outcome: LoadOutcome::Unsent, problem: Some(problem) }
            }
        }
    }
}

type Judged = Result<(), (LoadOutcome, Problem)>;

fn health(exchange: &ExchangeEvidence) -> Judged {
    refused(exchange)?;
    HealthStatus::parse(&exchange.body).map(|_| ()).map_err(|violation| invalid(violation.to_string()))
}

fn encrypted(exchange: &ExchangeEvidence, request: &EncryptRequest<'_>) -> Judged {
    refused(exchange)?;
    EncryptedData::parse(&exchange.body, request).map(|_| ()).map_err(|violation| invalid(violation.to_string()))
}

/// An error name counts whatever the status, as it does for KMS.
fn refused(exchange: &ExchangeEvidence) -> Judged {
    match Refusal::parse(&exchange.body) {
        Ok(refusal) => {
            let throttled = refusal.name == Some(ErrorName::Throttling);
            let outcome = if throttled { LoadOutcome::Throttled } else { LoadOutcome::Refused };
            let kind = if throttled { ProblemKind::Throttled } else { ProblemKind::ProxyError };
            let detail = format!("the proxy answers {} {}", exchange.status, refusal.name_as_sent);
            Err((outcome, Problem::target(kind, detail)))
        }
        Err(_) if exchange.status != 200 => {
            let detail = format!("the answer has status {}", exchange.status);
            Err((LoadOutcome::Invalid, Problem::target(ProblemKind::Status, detail)))
        }
        Err(_) => Ok(()),
    }
}

fn invalid(detail: String) -> (LoadOutcome, Problem) {
    (LoadOutcome::Invalid, Problem::target(ProblemKind::Schema, detail))
}

fn stopped(stop: &Stop) -> LoadOutcome {
    match (stop.stage, stop.problem.kind) {
        _ if stop.problem.fault == crate::check::Fault::Own => LoadOutcome::OwnFault,
        (Stage::Http, ProblemKind::TimedOut) => LoadOutcome::TimedOut,
        (Stage::Http, ProblemKind::NotHttp | ProblemKind::TooLarge) => LoadOutcome::Invalid,
        (Stage::Http, _) => LoadOutcome::Broken,
        _ => LoadOutcome::Unconnected,
    }
}

fn metadata(kms_request_id: String) -> KeyRequestMetadata {
    KeyRequestMetadata {
        aws_principal_arn: "arn:aws:iam::000000000000:role/xks-preflight".to_owned(),
        kms_key_arn: Some("arn:aws:kms:us-east-1:000000000000:key/xks-preflight-test".to_owned()),
        kms_operation: "Encrypt".to_owned(),
        kms_request_id,
    }
}

/// The additional data says who did it and why, for whoever reads the key manager's audit log.
fn encrypt_request(metadata: &KeyRequestMetadata) -> EncryptRequest<'_> {
    EncryptRequest {
        metadata,
        plaintext: b"xks-preflight load, not customer data",
        additional_authenticated_data: b"purpose=xks-preflight-load",
        with_integrity_value: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_are_bounded() {
        let load = |rate, seconds| Load::new(rate, seconds, LoadOperation::GetHealthStatus).err();
        assert_eq!(load(2_000, 50), None);
        assert_eq!(load(333, 300), None);
        for rate in [0, 2_001, u32::MAX] {
            assert_eq!(load(rate, 10), Some(LoadBeyondBounds::Rate));
        }
        for seconds in [0, 301, u32::MAX] {
            assert_eq!(load(10, seconds), Some(LoadBeyondBounds::Time));
        }
        assert_eq!(load(2_000, 51), Some(LoadBeyondBounds::Requests));
    }
}
