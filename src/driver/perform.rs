//! One update's life: does what is decided, and records it before and after.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::in_force::carried;
use super::lease::Lease;
use super::{Inner, Order, OrderError, PreflightRequest};
use crate::chain::Chain;
use crate::check::Verdict;
use crate::clock::Timestamp;
use crate::id::{ReportId, UpdateId};
use crate::journal::{JournalError, SecretPurpose};
use crate::key_store::{
    AccessKeyId, ConnectionState, CredentialRef, CredentialSource, KeyStore, KeyStorePassword, ProxyCredential,
    RawSecretAccessKey,
};
use crate::kms::{Effect, KmsError, Secrets};
use crate::update::{
    Barriers, Decision, Direction, Event, How, IllegalEvent, Moment, Mutation, PassedBy, Phase, PreflightSummary,
    Recorded, Round, Standing, State, Step, StepOutcome, decide,
};

/// Why a life was interrupted.
pub(super) enum Stopped {
    /// The journal failed.
    Journal(JournalError),
    /// The record cannot be followed.
    Record(IllegalEvent),
}

/// An update, being lived.
pub(super) struct Life {
    inner: Arc<Inner>,
    id: UpdateId,
    lease: Arc<Lease>,
    state: State,
    sequence: u64,
    /// See [`Moment::waited`].
    since: Instant,
    /// What the key store showed when it was last recorded.
    seen: Option<(ConnectionState, Standing)>,
    /// Failures to look, in a row.
    failures: u32,
}

impl Life {
    /// Reads the update.
    pub(super) async fn load(inner: &Arc<Inner>, id: UpdateId, lease: &Arc<Lease>) -> Result<Self, Stopped> {
        let events = inner.parts.journal.load(id).await.map_err(Stopped::Journal)?;
        let state = State::replay(events.iter().map(|recorded| &recorded.event)).map_err(Stopped::Record)?;
        let state = state.ok_or(Stopped::Journal(JournalError::NotFound(id)))?;
        let seen = events.iter().rev().find_map(|recorded| match &recorded.event {
            Event::Observed { state, standing } => Some((state.clone(), *standing)),
            _ => None,
        });
        let sequence = events.last().map_or(0, |recorded| recorded.sequence);
        let (inner, lease) = (Arc::clone(inner), Arc::clone(lease));
        Ok(Self { inner, id, lease, state, sequence, since: Instant::now(), seen, failures: 0 })
    }

    /// Goes on until the update has concluded or the driver stops.
    pub(super) async fn run(mut self, orders: &mut mpsc::Receiver<Order>) -> Result<(), Stopped> {
        while self.state.ending().is_none() && !self.inner.stop.is_cancelled() {
            while let Ok(order) = orders.try_recv() {
                self.obey(order).await?;
            }
            let found = match self.observe().await {
                Ok(found) => found,
                Err(error) => {
                    self.failures = self.failures.saturating_add(1);
                    tracing::warn!(update = %self.id, error = %Chain(&error), "key store cannot be read");
                    self.wait(self.patience(), orders).await?;
                    continue;
                }
            };
            self.failures = 0;
            self.note(found.as_ref()).await?;
            let now = self.now();
            let moment = Moment { now, waited: self.since.elapsed() };
            let barriers = self.inner.barriers_of(&self.state).await.map_err(Stopped::Journal)?;
            match decide(&self.state, found.as_ref(), moment, &barriers) {
                Decision::Preflight(round) => self.preflight(round, orders).await?,
                Decision::RequestApproval => self.record(Event::ApprovalRequested {}).await?,
                Decision::BreakGlass { passed_by } => self.break_glass(passed_by).await?,
                Decision::AwaitGate => self.wait(self.inner.parts.pace.longest, orders).await?,
                Decision::Perform(step) => self.carry_out(Direction::Forward, step, &barriers, orders).await?,
                Decision::Undo(step) => self.carry_out(Direction::Back, step, &barriers, orders).await?,
                Decision::Settle(direction, step, outcome) => {
                    self.record(Event::StepSettled { direction, step, outcome }).await?;
                }
                Decision::RollBack { why } => self.record(Event::RollbackDecided { why }).await?,
                Decision::Watch(round) => self.watch(round, orders).await?,
                Decision::AwaitRemoval { until } => self.record(Event::RemovalAwaited { until }).await?,
                Decision::Wait => self.wait(self.inner.parts.pace.interval, orders).await?,
                Decision::Rest(pause) => self.wait(pause.min(self.inner.parts.pace.longest), orders).await?,
                Decision::Conclude(ending) => self.record(Event::Concluded { ending }).await?,
            }
        }
        Ok(())
    }

    async fn break_glass(&mut self, passed_by: Vec<PassedBy>) -> Result<(), Stopped> {
        let plan = self.state.plan();
        let reason = plan.break_glass.as_ref().map(|glass| glass.reason.clone()).unwrap_or_default();
        let by = plan.requested_by.clone();
        tracing::error!(update = %self.id, key_store = %plan.key_store, by, reason, ?passed_by, "glass is broken");
        self.record(Event::BrokeGlass { by, reason, passed_by }).await
    }

    fn now(&self) -> Timestamp {
        self.inner.parts.clock.now()
    }

    fn patience(&self) -> Duration {
        let pace = self.inner.parts.pace;
        pace.interval.saturating_mul(1 << self.failures.saturating_sub(1).min(10)).min(pace.longest)
    }

    /// Records an event: legal first, durable second, in force third.
    async fn record(&mut self, event: Event) -> Result<(), Stopped> {
        let next = self.state.clone().apply(&event).map_err(Stopped::Record)?;
        let sequence = self.sequence + 1;
        let journal = &self.inner.parts.journal;
        let recorded = journal
            .append(self.id, self.lease.fence(), sequence, self.now(), &event)
            .await
            .map_err(Stopped::Journal)?;
        self.state = next;
        self.sequence = sequence;
        let plan = self.state.plan();
        if let Some(told) = carried(plan, &event) {
            self.inner.parts.credentials.told(&plan.key_store, told, self.now());
        }
        if !matches!(event, Event::Observed { .. }) {
            self.since = Instant::now();
        }
        self.tell(recorded);
        Ok(())
    }

    fn tell(&self, recorded: Recorded) {
        let status = self.state.status();
        match &recorded.event {
            Event::Concluded { ending: ending @ crate::update::Ending::Stuck { .. } } => {
                tracing::error!(update = %self.id, ?ending, "update is stuck: a person must look");
            }
            Event::Concluded { ending } => tracing::info!(update = %self.id, ?ending, "update concluded"),
            event => tracing::info!(
                update = %self.id,
                status = status.status.as_str(),
                step = status.step,
                event = event.name(),
                kms_request = kms_request(event),
            ),
        }
        // Nobody has to listen.
        let _ = self.inner.news.send((self.id, recorded));
    }

    /// The key store as KMS shows it; `None` when KMS says that there is none.
    async fn observe(&self) -> Result<Option<KeyStore>, KmsError> {
        match self.inner.parts.reader.key_store(&self.state.plan().key_store).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Records what the key store shows, when that is new and the update is under way.
    async fn note(&mut self, found: Option<&KeyStore>) -> Result<(), Stopped> {
        let Some(found) = found else { return Ok(()) };
        if !matches!(self.state.phase(), Phase::Running(_) | Phase::Rotating(_) | Phase::RollingBack(_)) {
            return Ok(());
        }
        let seen = (found.state.clone(), self.state.plan().standing(found));
        if self.seen.as_ref() == Some(&seen) {
            return Ok(());
        }
        let (state, standing) = seen.clone();
        self.seen = Some(seen);
        self.record(Event::Observed { state, standing }).await
    }

    async fn wait(&mut self, pause: Duration, orders: &mut mpsc::Receiver<Order>) -> Result<(), Stopped> {
        let stop = self.inner.stop.clone();
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = stop.cancelled() => Ok(()),
            () = self.lease.lost() => Err(self.fenced()),
            Some(order) = orders.recv() => self.obey(order).await.map(drop),
        }
    }

    fn fenced(&self) -> Stopped {
        Stopped::Journal(JournalError::Fenced { update: self.id })
    }

    /// Records what a person wants, if it is possible now; says whether it was.
    async fn obey(&mut self, order: Order) -> Result<bool, Stopped> {
        let Order { event, seen, answer } = order;
        let legal = self.state.clone().apply(&event).map(drop);
        let legal = legal.map_err(|illegal| OrderError::NotNow { status: self.state.status(), why: illegal.why });
        let answered = seen.is(self.sequence).and(legal);
        if answered.is_ok() {
            // A failure is answered by dropping `answer`: whether it is recorded is not known.
            self.record(event).await?;
        }
        let obeyed = answered.is_ok();
        // Whoever asked may have left.
        let _ = answer.send(answered);
        Ok(obeyed)
    }

    async fn preflight(&mut self, round: Round, orders: &mut mpsc::Receiver<Order>) -> Result<(), Stopped> {
        self.record(Event::PreflightStarted { round }).await?;
        match self.probe(round, orders).await? {
            Some(summary) => self.record(Event::PreflightFinished { round, summary }).await,
            None => Ok(()),
        }
    }

    /// One look of a rotation, recorded if it tells anything new.
    async fn watch(&mut self, round: Round, orders: &mut mpsc::Receiver<Order>) -> Result<(), Stopped> {
        let Some(summary) = self.probe(round, orders).await? else { return Ok(()) };
        if !self.state.is_news(round, &summary) {
            self.since = Instant::now();
            return Ok(());
        }
        let waited_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.record(Event::Watched { round, waited_ms, summary }).await
    }

    /// Runs a pre-flight; `None` when an order or the end of the process made its result not matter any more.
    async fn probe(
        &mut self,
        round: Round,
        orders: &mut mpsc::Receiver<Order>,
    ) -> Result<Option<PreflightSummary>, Stopped> {
        let plan = self.state.plan().clone();
        let former_credential = self.resolve(plan.former_credential.as_ref(), SecretPurpose::FormerCredential).await;
        let credential = match &plan.change.credential {
            Some(new) => self.resolve(Some(new), SecretPurpose::NewCredential).await,
            None => former_credential.clone(),
        };
        // A secret that cannot be had is the pre-flight's matter: it says so in its report, and does not pass.
        let (credential, former_credential) = (credential.ok().flatten(), former_credential.ok().flatten());
        let request = PreflightRequest { plan: plan.clone(), round, credential, former_credential };
        let verifier = Arc::clone(&self.inner.parts.verifier);
        let stop = self.inner.stop.clone();
        let mut probing = verifier.preflight(request);
        let result = loop {
            tokio::select! {
                result = &mut probing => break result,
                // It is run again after the restart.
                () = stop.cancelled() => return Ok(None),
                () = self.lease.lost() => return Err(self.fenced()),
                // Cancelled, or asked to go back: its result does not matter any more.
                Some(order) = orders.recv() => if self.obey(order).await? { return Ok(None) },
            }
        };
        let summary = result.unwrap_or_else(|why| PreflightSummary {
            report: ReportId::new(&self.inner.parts.ids, self.now()),
            verdict: Verdict::Inconclusive,
            settings: plan.settings(),
            exception: None,
            message: format!("the pre-flight could not be run: {why}"),
            finished_at: self.now(),
            credentials: None,
        });
        self.inner.count_against(&plan, &summary).await;
        Ok(Some(summary))
    }

    /// One mutation: permit, intention, call, outcome.
    async fn carry_out(
        &mut self,
        direction: Direction,
        step: Step,
        barriers: &Barriers,
        orders: &mut mpsc::Receiver<Order>,
    ) -> Result<(), Stopped> {
        let Some(writer) = self.inner.parts.writer.clone() else {
            return self.wait(self.inner.parts.pace.longest, orders).await;
        };
        let permit = match self.state.permit(direction, step, self.now(), barriers) {
            Ok(permit) => permit,
            Err(denied) => {
                tracing::error!(update = %self.id, %step, error = %denied, "gate denies what was decided");
                return self.wait(self.inner.parts.pace.interval, orders).await;
            }
        };
        let secrets = self.secrets(permit.mutation(), direction).await;
        if !self.lease.outlasts_a_call_or_is_renewed().await {
            tracing::warn!(update = %self.id, %step, "lease may end during a call to KMS: nothing is sent until it is renewed");
            return self.wait(self.inner.parts.pace.interval, orders).await;
        }
        // Fetching secrets takes time, and a permit is for this moment.
        let barriers = self.inner.barriers_of(&self.state).await.map_err(Stopped::Journal)?;
        let permit = match self.state.permit(direction, step, self.now(), &barriers) {
            Ok(permit) => permit,
            Err(denied) => {
                tracing::info!(update = %self.id, %step, why = %denied, "the gate closed meanwhile");
                return Ok(());
            }
        };
        let attempt = self.state.next_attempt(direction, step);
        self.record(Event::StepIntended { direction, step, attempt }).await?;
        // Looked at last of all: recording the intention may have taken long, and by now somebody else may be at work.
        let closed = self.closed_meanwhile().await;
        let result = match secrets {
            _ if closed.is_some() => {
                Err(KmsError::NotSent { operation: step.operation(), why: closed.unwrap_or_default() })
            }
            Ok(secrets) if self.lease.outlasts_a_call() => writer.carry_out(permit, &secrets).await,
            Ok(_) => Err(KmsError::NotSent { operation: step.operation(), why: "the lease may end meanwhile".into() }),
            Err(why) => Err(KmsError::NotSent { operation: "UpdateCustomKeyStore", why }),
        };
        if let Some(outcome) = outcome(result) {
            return self.record(Event::StepSettled { direction, step, outcome }).await;
        }
        // Sent and not answered. It stays unsettled, exactly as after a crash, and is settled by looking.
        tracing::warn!(update = %self.id, %step, "no answer from KMS; looking at the key store instead");
        self.since = Instant::now();
        self.wait(self.inner.parts.pace.interval, orders).await
    }

    /// Why the first mutation is not sent although it is intended: somebody froze changes while that was being recorded,
    /// or the hour is over. What has begun goes on.
    async fn closed_meanwhile(&self) -> Option<String> {
        match self.inner.barriers_of(&self.state).await {
            Ok(barriers) => barriers.let_pass(self.state.plan(), self.now()).err().map(|denied| denied.to_string()),
            Err(error) => Some(format!("whether changes are frozen cannot be read: {}", Chain(&error))),
        }
    }

    /// The secrets of a mutation, or why they cannot be had.
    async fn secrets(&self, mutation: &Mutation, direction: Direction) -> Result<Secrets, String> {
        let Mutation::Update(change) = mutation else { return Ok(Secrets::default()) };
        let (of_credential, of_password) = match direction {
            Direction::Forward => (SecretPurpose::NewCredential, SecretPurpose::NewPassword),
            Direction::Back => (SecretPurpose::FormerCredential, SecretPurpose::FormerPassword),
        };
        let credential = self.resolve(change.credential.as_ref(), of_credential).await?;
        let mut password = None;
        if change.password {
            let kept = self.inner.parts.journal.secret(self.id, of_password).await;
            let kept = kept.map_err(|error| Chain(&error).to_string())?.ok_or("the password is not kept any more")?;
            password = Some(KeyStorePassword::parse(kept.expose_secret()).map_err(|invalid| invalid.to_string())?);
        }
        Ok(Secrets { credential, password })
    }

    /// The credential behind a reference, if it is still the same one.
    async fn resolve(
        &self,
        reference: Option<&CredentialRef>,
        purpose: SecretPurpose,
    ) -> Result<Option<ProxyCredential>, String> {
        let Some(reference) = reference else { return Ok(None) };
        let found = match &reference.source {
            CredentialSource::Configured(name) => self.inner.parts.credentials.planned(name, &reference.fingerprint),
            CredentialSource::Sealed => {
                let kept = self.inner.parts.journal.secret(self.id, purpose).await;
                let kept = kept.map_err(|error| Chain(&error).to_string())?;
                kept.and_then(|kept| credential(&reference.access_key_id, &kept))
            }
        };
        match found {
            Some(found) if found.fingerprint() == reference.fingerprint => Ok(Some(found)),
            Some(_) => Err(format!("credential {} is not the one of the plan any more", reference.access_key_id)),
            None => Err(format!("credential {} is not held any more", reference.access_key_id)),
        }
    }
}

/// A credential from its halves, the secret as it was kept.
pub(super) fn credential(access_key_id: &AccessKeyId, kept: &SecretString) -> Option<ProxyCredential> {
    let secret_access_key = RawSecretAccessKey::parse(kept.expose_secret()).ok()?;
    Some(ProxyCredential { access_key_id: access_key_id.clone(), secret_access_key })
}

/// How a step ended by KMS's answer; `None` when only the key store can tell.
fn outcome(result: Result<crate::kms::Receipt, KmsError>) -> Option<StepOutcome> {
    let error = match result {
        Ok(receipt) => return Some(StepOutcome::Done { request_id: receipt.request_id, how: How::Performed }),
        Err(error) => error,
    };
    match error.effect() {
        Effect::NoneYet => Some(StepOutcome::NotDone { why: error.to_string() }),
        Effect::Unknown => None,
        Effect::None => Some(StepOutcome::Refused {
            exception: error.exception(),
            request_id: error.request_id().map(ToOwned::to_owned),
            message: error.said(),
        }),
    }
}

/// The id of KMS's answer to a mutation, which CloudTrail has, too.
fn kms_request(event: &Event) -> Option<&str> {
    match event {
        Event::StepSettled {
            outcome: StepOutcome::Done { request_id, .. } | StepOutcome::Refused { request_id, .. },
            ..
        } => request_id.as_deref(),
        _ => None,
    }
}
