//! The operations that change a key store: each becomes an update of the driver, and waits until that can be answered.

use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt as _;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::admission::Caller;
use super::failure::Failure;
use super::operation::{self, Operation};
use super::repeat::{self, Same};
use super::witness::Witness;
use super::{Service, answer};
use crate::access::Permission;
use crate::chain::Chain;
use crate::check::Verdict;
use crate::driver::{ConnectionRequest, Extra, GivenCredential, SubmitError, Submitted, UpdateRecord, UpdateRequest};
use crate::journal::Idempotency;
use crate::key_store::{ConnectionState, CustomKeyStoreId, CustomKeyStoreName, KmsException};
use crate::metrics::Denial;
use crate::update::{ConnectionChange, Options, PlanRefused, Round, State as UpdateState};

impl Service {
    /// UpdateCustomKeyStore: answered when the new settings are verified, or why they are not in force.
    pub(super) async fn update(
        &self,
        caller: &Caller,
        parameters: Map<String, Value>,
        witness: &mut Witness,
    ) -> Result<Value, Failure> {
        let digest = digest(Operation::Update, caller, &parameters);
        let asked = operation::update(parameters)?;
        witness.about(&asked.key_store);
        self.may_change(caller, &asked.key_store, asked.change.name.as_ref()).await?;
        let whole = caller.credential.policy.run_whole_sequence;
        let key_store = asked.key_store.clone();
        // KMS looks at what is given, not at what differs: so does this, where KMS's own answer is what is wanted.
        let cold = asked.change.cold_members();
        let needs_disconnect = !whole && (!cold.is_empty() || asked.password.is_some());
        let submit = async |idempotency: Idempotency| {
            if needs_disconnect {
                self.must_be_disconnected(&asked.key_store).await?;
            }
            // Whoever lets the gate run the whole sequence knows what that means.
            let options = Options { acknowledge_outage: whole, in_place: !whole, ..Options::default() };
            let request = UpdateRequest {
                key_store: asked.key_store,
                change: asked.change,
                credential: asked.credential.map(GivenCredential::Inline),
                password: asked.password,
                former_password: None,
                former_credential: None,
                options,
                by: caller.credential.principal.name.clone(),
                idempotency: Some(idempotency),
            };
            match self.driver.submit(request).await {
                Ok(submitted) => Ok(Some(submitted)),
                Err(SubmitError::Plan(PlanRefused::NothingToChange)) => Ok(None),
                Err(error) => Err(answer::not_submitted(&error)),
            }
        };
        match self.gated(Operation::Update, caller, &digest, submit).await? {
            Some(answer) => Ok(answer),
            None => self.as_it_is(&key_store).await,
        }
    }

    /// ConnectCustomKeyStore and DisconnectCustomKeyStore: answered when KMS has taken it.
    pub(super) async fn connection(
        &self,
        operation: Operation,
        to: ConnectionChange,
        caller: &Caller,
        parameters: Map<String, Value>,
        witness: &mut Witness,
    ) -> Result<Value, Failure> {
        let digest = digest(operation, caller, &parameters);
        let key_store = operation::key_store(parameters)?;
        witness.about(&key_store);
        self.may_change(caller, &key_store, None).await?;
        let by = caller.credential.principal.name.clone();
        let submit = async |idempotency| {
            let request = ConnectionRequest { key_store, to, by, idempotency: Some(idempotency) };
            match self.driver.submit_connection(request).await {
                Ok(submitted) => Ok(Some(submitted)),
                // KMS takes a connect of a key store that is connected, and does nothing (ConnectCustomKeyStore).
                Err(SubmitError::Plan(PlanRefused::NothingToChange)) => Ok(None),
                Err(error) => Err(answer::not_submitted(&error)),
            }
        };
        Ok(self.gated(operation, caller, &digest, submit).await?.unwrap_or_else(|| json!({})))
    }

    /// Whether the caller may change this key store, and have it be called so, and whether it is one of this endpoint.
    async fn may_change(
        &self,
        caller: &Caller,
        id: &CustomKeyStoreId,
        renamed: Option<&CustomKeyStoreName>,
    ) -> Result<(), Failure> {
        self.is_allowed(caller, id, renamed).await?;
        match self.places.place_of(id) {
            Some(place) if *place == self.home => Ok(()),
            Some(_) => {
                let message = format!("There is no custom key store {id} in this account and Region.");
                Err(Failure::of(KmsException::CustomKeyStoreNotFound, message))
            }
            // Nobody has told of it yet; whether another place has it is of no interest here.
            None => self.reader.key_store(id).await.map(|_| ()).map_err(|error| answer::kms(&error)),
        }
    }

    /// Its name is asked for only where a scope is by name.
    async fn is_allowed(
        &self,
        caller: &Caller,
        id: &CustomKeyStoreId,
        renamed: Option<&CustomKeyStoreName>,
    ) -> Result<(), Failure> {
        let principal = &caller.credential.principal;
        let may = |name| principal.may(Permission::Change, Some((id, name)));
        let Err(by_id) = may(None) else { return Ok(()) };
        principal.may_somewhere(Permission::Change).map_err(|error| answer::forbidden(&error))?;
        match self.reader.key_store(id).await {
            // Nobody moves one out of a scope, or into one, without the permission at both ends.
            Ok(store) => may(Some(&store.name))
                .and_then(|()| renamed.map_or(Ok(()), |name| may(Some(name))))
                .map_err(|error| answer::forbidden(&error)),
            // Whether it exists is none of a stranger's business.
            Err(error) if error.is_not_found() => Err(answer::forbidden(&by_id)),
            Err(error) => Err(answer::kms(&error)),
        }
    }

    /// As KMS answers a change that it takes only of a DISCONNECTED key store.
    async fn must_be_disconnected(&self, id: &CustomKeyStoreId) -> Result<(), Failure> {
        let store = self.reader.key_store(id).await.map_err(|error| answer::kms(&error))?;
        if store.state == ConnectionState::Disconnected {
            return Ok(());
        }
        let message = format!(
            "The custom key store {id} is {}, and this change needs it DISCONNECTED; disconnect it first, or let this \
             credential have the gate run the whole sequence (run_whole_sequence).",
            store.state
        );
        Err(Failure::of(KmsException::CustomKeyStoreInvalidState, message).denied(Denial::Unplannable))
    }

    /// Answers for a key store that already is as it was asked for. KMS asks the proxy all the same, and so do we.
    async fn as_it_is(&self, key_store: &CustomKeyStoreId) -> Result<Value, Failure> {
        let present = self.driver.present(key_store).await;
        let (plan, credential) = present.map_err(|error| answer::not_submitted(&error))?;
        let extra = Extra::default();
        let examined = self.examiner.plan(&plan, Round::Verification, credential.clone(), credential, &extra);
        let report = examined.await.map_err(|error| Failure::internal(Chain(&error).to_string()))?;
        let summary = crate::update::PreflightSummary::of(&report);
        match summary.verdict {
            Verdict::Ready => Ok(json!({})),
            Verdict::Blocked | Verdict::Inconclusive => Err(answer::present(&summary, plan.is_cloud_hsm())),
        }
    }

    /// Finds the request's update, or makes it, and waits until it can be answered; `None` if there is nothing to do.
    async fn gated(
        &self,
        operation: Operation,
        caller: &Caller,
        digest: &str,
        submit: impl AsyncFnOnce(Idempotency) -> Result<Option<Submitted>, Failure>,
    ) -> Result<Option<Value>, Failure> {
        let invocation = caller.invocation.as_deref();
        let record = match repeat::find(self, &caller.credential, digest, invocation).await? {
            Same::Earlier(record) => *record,
            Same::New(idempotency) => match submit(idempotency).await? {
                None => return Ok(None),
                Some(submitted) => {
                    let record = self.driver.get(submitted.id).await.map_err(|error| answer::not_read(&error))?;
                    Arc::unwrap_or_clone(record)
                }
            },
        };
        let record = self.when_due(operation, record).await?;
        if record.state.ending().is_some() {
            self.told.remember(record.id(), invocation);
        }
        answer::of(operation, &record).map(|()| Some(json!({})))
    }

    /// Follows the update until it can be answered.
    async fn when_due(&self, operation: Operation, mut record: UpdateRecord) -> Result<UpdateRecord, Failure> {
        let last = record.events.last().map_or(0, |recorded| recorded.sequence);
        let news = self.driver.events(record.id(), last).await.map_err(|error| answer::not_followed(&error))?;
        let mut news = pin!(news);
        while !answer::is_due(operation, &record) {
            let next = self.draining.run_until_cancelled(news.next()).await.flatten();
            let Some(next) = next else {
                let message = format!(
                    "this instance stops; the update goes on, and the same request finds it again; update /v1/updates/{}",
                    record.id()
                );
                return Err(Failure::internal(message));
            };
            let recorded = next.map_err(|error| answer::not_followed(&error))?;
            let state: Result<UpdateState, _> = record.state.apply(&recorded.event);
            record.state = state.map_err(|illegal| Failure::internal(illegal.to_string()))?;
            record.events.push(recorded);
        }
        Ok(record)
    }
}

/// Tells whether two requests of a credential are the same one.
pub(super) fn digest(operation: Operation, caller: &Caller, parameters: &Map<String, Value>) -> String {
    // In the order of their names: what is sent in another order asks for the same.
    let mut sorted: Vec<(&String, &Value)> = parameters.iter().collect();
    sorted.sort_by_key(|(name, _)| *name);
    let request = Zeroizing::new(json!([operation.as_str(), sorted]).to_string());
    caller.credential.request_digest(request.as_bytes())
}
