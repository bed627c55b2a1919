//! Connecting and disconnecting a key store as it is: the same life as an update's, with one step.

use super::{Driver, Parts, SubmitError, Submitted};
use crate::id::UpdateId;
use crate::journal::{Idempotency, JournalError, SealError, SecretPurpose};
use crate::key_store::{Configuration, CredentialSource, CustomKeyStoreId, ProxyCredential};
use crate::update::{ConnectionChange, Options, Plan, Wanted, plan_connection};
use secrecy::SecretString;

/// A request to connect or disconnect a key store.
#[derive(Debug)]
pub struct ConnectionRequest {
    /// Which key store.
    pub key_store: CustomKeyStoreId,
    /// What to do about its connection.
    pub to: ConnectionChange,
    /// Who asks.
    pub by: String,
    /// So that a repeated request finds the same update.
    pub idempotency: Option<Idempotency>,
}

impl Driver {
    /// Makes the plan that [`Driver::submit_connection`] would record, and records nothing.
    pub async fn plan_connection(&self, request: &ConnectionRequest) -> Result<Plan, SubmitError> {
        Ok(self.prepare_connection(request).await?.0)
    }

    /// Plans, records and starts a connect or disconnect, or finds the one that the same request has started before.
    pub async fn submit_connection(&self, request: ConnectionRequest) -> Result<Submitted, SubmitError> {
        if let Some(earlier) = self.admit(request.idempotency.as_ref()).await? {
            return Ok(earlier);
        }
        let (plan, secrets) = self.prepare_connection(&request).await?;
        self.create(plan, request.idempotency, secrets).await
    }

    async fn prepare_connection(
        &self,
        request: &ConnectionRequest,
    ) -> Result<(Plan, Vec<(SecretPurpose, SecretString)>), SubmitError> {
        let Parts { journal, reader, clock, ids, policy, .. } = &self.0.parts;
        let observed = reader.key_store(&request.key_store).await.map_err(SubmitError::Kms)?;
        if request.to == ConnectionChange::Connect && matches!(observed.configuration, Configuration::CloudHsm(_)) {
            self.login_was_not_refused(&request.key_store).await?;
        }
        let held = match observed.xks() {
            Some(xks) => self.held(&request.key_store, &xks.access_key_id, None).await?,
            None => None,
        };
        let mut secrets = Vec::new();
        let former_credential = held.map(|(credential, source): (ProxyCredential, CredentialSource)| {
            if source == CredentialSource::Sealed {
                let secret = SecretString::from(credential.secret_access_key.expose().to_owned());
                secrets.push((SecretPurpose::FormerCredential, secret));
            }
            credential.reference(source)
        });
        if !secrets.is_empty() && !journal.keeps_secrets() {
            return Err(SubmitError::Journal(JournalError::Seal(SealError::NoKey)));
        }
        let now = clock.now();
        let wanted = Wanted {
            id: UpdateId::new(ids, now),
            change: crate::key_store::Change::default(),
            options: Options::default(),
            former_credential,
            former_password: false,
            waivers: (self.0.parts.judging)(Some(&request.key_store), now).waivers,
            keys: (self.0.parts.known_keys)(&request.key_store),
            by: request.by.clone(),
        };
        let plan = plan_connection(&observed, wanted, request.to, policy, now).map_err(SubmitError::Plan)?;
        Ok((plan, secrets))
    }
}
