//! The secrets in force before an update, as far as they are known: KMS shows none.

use super::perform::credential;
use super::{Driver, OrderError, SubmitError};
use crate::chain::Chain;
use crate::id::UpdateId;
use crate::journal::{JournalError, SecretPurpose};
use crate::key_store::{
    AccessKeyId, ConnectionErrorCode, ConnectionState, CredentialRef, CredentialSource, CustomKeyStoreId,
    ProxyCredential,
};
use crate::update::{Direction, Event, Plan, PlanRefused, Step, StepOutcome};

/// Updates that are read at once, the latest first, until one has told KMS a credential: the first, as a rule.
const AT_ONCE: usize = 8;

/// How many updates, the latest first, are searched for the last connect of a key store.
const SEARCHED: usize = 100;

/// The credential that KMS has since this event, if it told KMS one.
pub(super) fn carried<'a>(plan: &'a Plan, event: &Event) -> Option<&'a CredentialRef> {
    let Event::StepSettled { direction, step: Step::Update, outcome: StepOutcome::Done { .. } } = event else {
        return None;
    };
    let new = plan.change.credential.as_ref()?;
    match direction {
        Direction::Forward => Some(new),
        Direction::Back => plan.former_credential.as_ref(),
    }
}

impl Driver {
    /// The credential now in force. What an update of ours told KMS last is it, if its secret is at hand; otherwise the
    /// configuration's. If that has the new one already, under the same access key id, the last verified update that told
    /// one knows better.
    pub(super) async fn held(
        &self,
        key_store: &CustomKeyStoreId,
        access_key_id: &AccessKeyId,
        new: Option<&CredentialRef>,
    ) -> Result<Option<(ProxyCredential, CredentialSource)>, SubmitError> {
        let credentials = &self.0.parts.credentials;
        let source = |name: String, value: &ProxyCredential| {
            // A name that stands for a newer one may not find this one after a restart.
            let is_newest = credentials.by_name(&name).as_ref() == Some(value);
            let sealed = !is_newest && self.0.parts.journal.keeps_secrets();
            if sealed { CredentialSource::Sealed } else { CredentialSource::Configured(name) }
        };
        let with_source = |(name, value): (String, ProxyCredential)| {
            let source = source(name, &value);
            (value, source)
        };
        let configured = credentials.present(key_store, access_key_id).map(with_source);
        if let Some((update, told)) = self.told_last(key_store).await?
            && told.access_key_id == *access_key_id
            && configured.as_ref().is_none_or(|(value, _)| value.fingerprint() != told.fingerprint)
        {
            if let Some(found) = credentials.with_fingerprint(&told.fingerprint) {
                return Ok(Some(with_source(found)));
            }
            if let Some(kept) =
                self.kept(update, access_key_id).await?.filter(|kept| kept.fingerprint() == told.fingerprint)
            {
                return Ok(Some((kept, CredentialSource::Sealed)));
            }
        }
        let is_new = |credential: &ProxyCredential| new.is_some_and(|new| new.fingerprint == credential.fingerprint());
        match configured {
            Some(configured) if !is_new(&configured.0) => Ok(Some(configured)),
            configured => Ok(self.told_to_kms(key_store, access_key_id).await?.or(configured)),
        }
    }

    /// What KMS was told last of a key store, by which update; whenever that was.
    pub async fn last_told(
        &self,
        key_store: &CustomKeyStoreId,
    ) -> Result<Option<(UpdateId, CredentialRef)>, OrderError> {
        let journal = &self.0.parts.journal;
        let mut before = None;
        loop {
            let page = journal.with_new_credential(key_store, before, AT_ONCE).await.map_err(OrderError::Journal)?;
            for record in self.0.records(&page).await? {
                let plan = record.state.plan();
                if let Some(told) = record.events.iter().rev().find_map(|recorded| carried(plan, &recorded.event)) {
                    return Ok(Some((plan.id, told.clone())));
                }
            }
            // None of these came so far as to tell KMS anything.
            before = page.last().copied();
            if page.len() < AT_ONCE {
                return Ok(None);
            }
        }
    }

    /// What KMS was told last of every key store, as far as updates of ours told it anything.
    pub async fn all_last_told(&self) -> Result<Vec<(CustomKeyStoreId, CredentialRef)>, OrderError> {
        let key_stores = self.0.parts.journal.key_stores_with_new_credential().await.map_err(OrderError::Journal)?;
        let mut all = Vec::new();
        for key_store in key_stores {
            if let Some((_, told)) = self.last_told(&key_store).await? {
                all.push((key_store, told));
            }
        }
        Ok(all)
    }

    async fn told_last(&self, key_store: &CustomKeyStoreId) -> Result<Option<(UpdateId, CredentialRef)>, SubmitError> {
        match self.last_told(key_store).await {
            Ok(told) => Ok(told),
            Err(OrderError::Journal(error)) => Err(SubmitError::Journal(error)),
            Err(error) => {
                tracing::warn!(%key_store, error = %Chain(&error), "what KMS was told last cannot be read");
                Ok(None)
            }
        }
    }

    /// The credential that an update told to KMS, if its secret is kept.
    async fn kept(
        &self,
        update: UpdateId,
        access_key_id: &AccessKeyId,
    ) -> Result<Option<ProxyCredential>, SubmitError> {
        match self.0.parts.journal.secret(update, SecretPurpose::NewCredential).await {
            Ok(kept) => Ok(kept.and_then(|kept| credential(access_key_id, &kept))),
            // Without its key an old secret is as good as none; that is no reason to refuse the new request.
            Err(JournalError::Seal(_)) => Ok(None),
            Err(error) => Err(SubmitError::Journal(error)),
        }
    }

    /// The credential that the last verified update told to KMS, if its secret is kept.
    async fn told_to_kms(
        &self,
        key_store: &CustomKeyStoreId,
        access_key_id: &AccessKeyId,
    ) -> Result<Option<(ProxyCredential, CredentialSource)>, SubmitError> {
        let journal = &self.0.parts.journal;
        let holder = journal.holder_of(key_store, access_key_id).await.map_err(SubmitError::Journal)?;
        let Some(holder) = holder else { return Ok(None) };
        Ok(self.kept(holder, access_key_id).await?.map(|credential| (credential, CredentialSource::Sealed)))
    }

    /// Refuses to connect a CloudHSM key store with the password that KMS has, if the last connect on record ended
    /// because it is wrong: five wrong ones lock `kmsuser` out (CloudHSM key stores, troubleshooting).
    pub(super) async fn login_was_not_refused(&self, key_store: &CustomKeyStoreId) -> Result<(), SubmitError> {
        let journal = &self.0.parts.journal;
        for id in journal.list(None, SEARCHED).await.map_err(SubmitError::Journal)? {
            let events = journal.load(id).await.map_err(SubmitError::Journal)?;
            let planned = |event: &Event| matches!(event, Event::Planned { plan, .. } if plan.key_store == *key_store);
            if !events.iter().any(|recorded| planned(&recorded.event)) {
                continue;
            }
            let connects = events.iter().rev().filter_map(|recorded| match &recorded.event {
                Event::Observed { state, .. } => Some(state),
                _ => None,
            });
            for state in connects {
                match state {
                    ConnectionState::Connected => return Ok(()),
                    ConnectionState::Failed(
                        ConnectionErrorCode::InvalidCredentials | ConnectionErrorCode::UserLockedOut,
                    ) => {
                        return Err(SubmitError::Plan(PlanRefused::Members {
                            member: "KeyStorePassword",
                            rule: "must be given: the last connect found that the password KMS has is not kmsuser's, \
                                   and five wrong ones lock kmsuser out",
                        }));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}
