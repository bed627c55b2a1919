//! The secrets in force before an update, as far as they are known: KMS shows none.

use super::perform::credential;
use super::{Driver, SubmitError};
use crate::journal::{JournalError, SecretPurpose};
use crate::key_store::{
    AccessKeyId, ConnectionErrorCode, ConnectionState, CredentialRef, CredentialSource, CustomKeyStoreId,
    ProxyCredential,
};
use crate::update::{Event, PlanRefused};

/// How many updates, the latest first, are searched for the last connect of a key store.
const SEARCHED: usize = 100;

impl Driver {
    /// The credential now in force, from the configuration or from the last verified update that told it to KMS. If the
    /// configuration has the new one already, under the same access key id, the update that told the former one knows
    /// better.
    pub(super) async fn held(
        &self,
        key_store: &CustomKeyStoreId,
        access_key_id: &AccessKeyId,
        new: Option<&CredentialRef>,
    ) -> Result<Option<(ProxyCredential, CredentialSource)>, SubmitError> {
        let credentials = &self.0.parts.credentials;
        let configured = credentials
            .name_of(key_store, access_key_id)
            .and_then(|name| Some((credentials.by_name(&name)?, CredentialSource::Configured(name))))
            .filter(|(credential, _)| credential.access_key_id == *access_key_id);
        let is_new = |credential: &ProxyCredential| new.is_some_and(|new| new.fingerprint == credential.fingerprint());
        match configured {
            Some(configured) if !is_new(&configured.0) => Ok(Some(configured)),
            configured => Ok(self.told_to_kms(key_store, access_key_id).await?.or(configured)),
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
        let kept = match journal.secret(holder, SecretPurpose::NewCredential).await {
            Ok(kept) => kept,
            // Without its key an old secret is as good as none; that is no reason to refuse the new request.
            Err(JournalError::Seal(_)) => None,
            Err(error) => return Err(SubmitError::Journal(error)),
        };
        Ok(kept.and_then(|kept| {
            let credential = credential(access_key_id, &kept)?;
            Some((credential, CredentialSource::Sealed))
        }))
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
