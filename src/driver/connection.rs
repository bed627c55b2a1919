//! Connecting and disconnecting a key store as it is: the same life as an update's, with one step.

use secrecy::SecretString;

use super::{Driver, Parts, SubmitError, Submitted};
use crate::id::UpdateId;
use crate::journal::{Idempotency, JournalError, SealError, SecretPurpose};
use crate::key_store::{
    Change, Configuration, ConnectionState, CredentialRef, CredentialSource, CustomKeyStoreId, KeyStore,
    ProxyCredential,
};
use crate::update::{ConnectionChange, Options, Plan, Wanted, plan_connection};

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
    /// A plan that would leave the key store's settings as they are, to pre-flight them by, with the credential in force
    /// if it is held. Nothing is recorded.
    pub async fn present(&self, key_store: &CustomKeyStoreId) -> Result<(Plan, Option<ProxyCredential>), SubmitError> {
        let observed = self.0.parts.reader.key_store(key_store).await.map_err(SubmitError::Kms)?;
        let to = match observed.state {
            ConnectionState::Disconnected => ConnectionChange::Connect,
            _ => ConnectionChange::Disconnect,
        };
        let held = self.held_for(&observed).await?.map(|(credential, _)| credential);
        let reference = held.as_ref().map(|credential| credential.reference(CredentialSource::Sealed));
        Ok((self.connection_plan(&observed, to, reference, String::new())?, held))
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
        let Parts { journal, reader, .. } = &self.0.parts;
        let observed = reader.key_store(&request.key_store).await.map_err(SubmitError::Kms)?;
        if request.to == ConnectionChange::Connect && matches!(observed.configuration, Configuration::CloudHsm(_)) {
            self.login_was_not_refused(&request.key_store).await?;
        }
        let held = self.held_for(&observed).await?;
        let mut secrets = Vec::new();
        let former_credential = held.map(|(credential, source)| {
            if source == CredentialSource::Sealed {
                let secret = SecretString::from(credential.secret_access_key.expose().to_owned());
                secrets.push((SecretPurpose::FormerCredential, secret));
            }
            credential.reference(source)
        });
        if !secrets.is_empty() && !journal.keeps_secrets() {
            return Err(SubmitError::Journal(JournalError::Seal(SealError::NoKey)));
        }
        let plan = self.connection_plan(&observed, request.to, former_credential, request.by.clone())?;
        Ok((plan, secrets))
    }

    async fn held_for(&self, store: &KeyStore) -> Result<Option<(ProxyCredential, CredentialSource)>, SubmitError> {
        match store.xks() {
            Some(xks) => self.held(&store.id, &xks.access_key_id, None).await,
            None => Ok(None),
        }
    }

    fn connection_plan(
        &self,
        observed: &KeyStore,
        to: ConnectionChange,
        former_credential: Option<CredentialRef>,
        by: String,
    ) -> Result<Plan, SubmitError> {
        let Parts { clock, ids, policy, judging, .. } = &self.0.parts;
        let now = clock.now();
        let wanted = Wanted {
            id: UpdateId::new(ids, now),
            change: Change::default(),
            options: Options::default(),
            former_credential,
            former_password: false,
            waivers: judging(Some(&observed.id), now).waivers,
            keys: (self.0.parts.known_keys)(&observed.id),
            by,
        };
        plan_connection(observed, wanted, to, &policy.get(), now).map_err(SubmitError::Plan)
    }
}
