//! What stands between plans and their first mutation: freezes and what was seen of candidates, which are kept durably,
//! and maintenance windows.

use super::{Driver, Inner, OrderError, SubmitError, UpdateRecord};
use crate::chain::Chain;
use crate::check::Verdict;
use crate::journal::JournalError;
use crate::key_store::CustomKeyStoreId;
use crate::update::{
    Barriers, Denied, Ending, Freeze, GreenRule, Look, Phase, Plan, PreflightSummary, ProxyChange, State,
};

/// How many updates are looked through for the latest one of a key store.
const LATEST: usize = 100;

impl Driver {
    /// Stops the beginning of changes. An update whose first mutation is intended already goes on: see its status.
    pub async fn freeze(&self, freeze: &Freeze) -> Result<(), JournalError> {
        self.0.parts.freezes.freeze(freeze).await?;
        let Freeze { key_store, reason, by, until, .. } = freeze;
        let key_store = key_store.as_ref().map_or("all", CustomKeyStoreId::as_str);
        let until = until.map(tracing::field::display);
        tracing::warn!(key_store, by, reason, until, "changes are frozen");
        Ok(())
    }

    /// Ends a freeze before its time; gives it, if there was one in force.
    pub async fn lift(&self, key_store: Option<&CustomKeyStoreId>, by: &str) -> Result<Option<Freeze>, JournalError> {
        let now = self.0.parts.clock.now();
        let lifted = self.0.parts.freezes.lift(key_store, by, now).await?;
        let key_store = key_store.map_or("all", CustomKeyStoreId::as_str);
        if let Some(Freeze { reason, .. }) = &lifted {
            tracing::warn!(key_store, by, reason, "freeze is lifted");
        }
        Ok(lifted.filter(|freeze| freeze.is_in_force(now)))
    }

    /// The freezes in force.
    pub async fn freezes(&self) -> Result<Vec<Freeze>, JournalError> {
        let now = self.0.parts.clock.now();
        let mut freezes = self.0.parts.freezes.freezes().await?;
        freezes.retain(|freeze| freeze.is_in_force(now));
        Ok(freezes)
    }

    /// What keeps the update from its first mutation at this moment although nothing is missing any more.
    pub async fn barred(&self, record: &UpdateRecord) -> Result<Option<Denied>, JournalError> {
        if !record.state.lacks_nothing() {
            return Ok(None);
        }
        let barriers = self.0.barriers_of(&record.state).await?;
        Ok(record.state.barred(self.0.parts.clock.now(), &barriers))
    }

    /// What would keep a plan that was just made from its first mutation, were nothing else missing.
    pub async fn would_be_barred(&self, plan: &Plan) -> Result<Option<Denied>, JournalError> {
        let barriers = self.0.barriers(&plan.key_store).await?;
        Ok(barriers.let_pass(plan, plan.created_at).err())
    }

    /// Whether a plan that was just made may be recorded: not while changes are frozen, nor if every window opens too
    /// late for it, or its new settings will not have been watched for long enough in its time.
    pub(super) async fn open_for(&self, plan: &Plan) -> Result<(), SubmitError> {
        match self.would_be_barred(plan).await.map_err(SubmitError::Journal)? {
            Some(denied) if denied.ends_at().is_none_or(|at| at > plan.expires_at) => Err(SubmitError::Denied(denied)),
            Some(_) | None => Ok(()),
        }
    }
}

impl Inner {
    /// What stands in the way of changes of the key store now.
    pub(super) async fn barriers(&self, key_store: &CustomKeyStoreId) -> Result<Barriers, JournalError> {
        let now = self.parts.clock.now();
        let freezes = self.parts.freezes.freezes().await.inspect_err(|error| {
            tracing::error!(error = %Chain(error), "freezes cannot be read: nothing is begun");
        })?;
        let policy = self.parts.policy.get();
        let opening = policy.windows.opening(key_store, now);
        let required = policy.require_green_for(key_store);
        let mut green = GreenRule { required, silence: policy.green_gap, ..GreenRule::default() };
        if !required.is_zero() {
            green.vigils = self.parts.vigils.vigils(key_store).await.inspect_err(|error| {
                tracing::error!(error = %Chain(error), "what was seen of candidates cannot be read: nothing is begun");
            })?;
            green.latest = self.latest_change(key_store).await;
        }
        Ok(Barriers { freeze: Freeze::longest(freezes, key_store, now), opening, green })
    }

    /// The latest verified change of the key store's proxy, of the updates that are not too long ago. If they cannot be read
    /// there is none, and going back needs hours of green as all else does.
    async fn latest_change(&self, key_store: &CustomKeyStoreId) -> Option<ProxyChange> {
        let ids = self.parts.journal.list(None, LATEST).await.map_err(OrderError::Journal);
        let records = match ids {
            Ok(ids) => self.records(&ids).await,
            Err(error) => Err(error),
        };
        let records = records.inspect_err(|error| {
            tracing::warn!(error = %Chain(error), "former updates cannot be read: going back is judged as any change");
        });
        let plans = records.ok()?;
        let mut verified = plans.iter().filter(|record| matches!(record.state.ending(), Some(Ending::Verified)));
        verified.find_map(|record| {
            Some(record.state.plan()).filter(|plan| plan.key_store == *key_store).and_then(ProxyChange::of)
        })
    }

    /// What was seen of exactly these settings in a pre-flight counts for candidates with them, if it was not good: whoever
    /// looked, it was red.
    pub(super) async fn count_against(&self, plan: &Plan, summary: &PreflightSummary) {
        if summary.verdict == Verdict::Ready {
            return;
        }
        let keeper = &self.parts.vigils;
        let silence = self.parts.policy.get().green_gap;
        let counted = async {
            for vigil in keeper.vigils(&plan.key_store).await? {
                if vigil.settings == summary.settings {
                    let (key_store, candidate) = (vigil.key_store, vigil.candidate);
                    keeper
                        .look(Look { key_store, candidate, summary: summary.clone(), interrupted: false }, silence)
                        .await?;
                }
            }
            Ok::<_, JournalError>(())
        };
        if let Err(error) = counted.await {
            tracing::warn!(key_store = %plan.key_store, error = %Chain(&error), "a pre-flight is not counted against candidates");
        }
    }

    /// As [`Inner::barriers`], but nothing stands in the way of what has begun: seeing it through and taking it back must
    /// not depend on what can be read of freezes.
    pub(super) async fn barriers_of(&self, state: &State) -> Result<Barriers, JournalError> {
        match state.phase() {
            Phase::RollingBack(_) | Phase::Concluded(_) => Ok(Barriers::default()),
            Phase::Running(run) if !run.is_still_first() => Ok(Barriers::default()),
            _ => self.barriers(&state.plan().key_store).await,
        }
    }
}
