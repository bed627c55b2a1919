//! What of a request goes into the audit trail: whatever was decided against its caller. What was allowed is told by the
//! events of the update that it made.

use axum::http::HeaderMap;

use super::Service;
use super::failure::{Decided, Failure};
use super::operation::{self, Operation};
use crate::access::Principal;
use crate::audit::{Action, By};
use crate::key_store::CustomKeyStoreId;
use crate::notary::Refusal;

/// What is known of a request; more of it, the farther the request comes.
#[derive(Debug)]
pub(super) struct Witness {
    /// The name of the operation, if it looks like one.
    operation: Option<String>,
    action: Action,
    by: Option<By>,
    /// Whose access key id an unrecognised request has in it.
    claimed: Option<String>,
    key_store: Option<CustomKeyStoreId>,
}

impl Witness {
    /// Sees a request arrive.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let name = operation::target(headers);
        let action = match name.map(Operation::parse) {
            Some(Some(Operation::Create)) => Action::KmsCreate,
            Some(Some(Operation::Update)) => Action::KmsUpdate,
            Some(Some(Operation::Connect)) => Action::KmsConnect,
            Some(Some(Operation::Disconnect)) => Action::KmsDisconnect,
            Some(Some(Operation::Describe)) => Action::KmsDescribe,
            Some(None) | None => Action::KmsOther,
        };
        let operation = name.filter(|name| operation::is_plausible(name)).map(ToOwned::to_owned);
        Self { operation, action, by: None, claimed: None, key_store: None }
    }

    /// The caller was recognised.
    pub(super) fn recognised(&mut self, principal: &Principal) {
        self.by = Some(By::from(principal));
    }

    /// The caller was not recognised, but named somebody's access key id.
    pub(super) fn claims(&mut self, principal: Option<&Principal>) {
        self.claimed = principal.map(|principal| principal.name.clone());
    }

    /// The request is about this key store.
    pub(super) fn about(&mut self, key_store: &CustomKeyStoreId) {
        self.key_store = Some(key_store.clone());
    }

    /// Counts the refusal and writes it, if it is a decision.
    pub(super) async fn refused(self, service: &Service, failure: &Failure) {
        let Some(Decided { denial, update }) = failure.decided else { return };
        if let Some(denial) = denial {
            service.metrics.denied(denial);
        }
        let Self { operation, action, by, claimed, key_store } = self;
        let action = if by.is_none() { Action::Authenticate } else { action };
        let operation = operation.unwrap_or_else(|| "a request to the KMS endpoint".to_owned());
        let claimed = claimed.map(|name| format!("; it has the access key id of {name}")).unwrap_or_default();
        let message = format!("{operation}: {}: {}{claimed}", failure.name, failure.message);
        service.notary.refused(Refusal { by, action, key_store, update, message }).await;
    }
}
