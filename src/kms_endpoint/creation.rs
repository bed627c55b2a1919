//! CreateCustomKeyStore: for external key stores, answered as KMS answers it.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::admission::Caller;
use super::failure::Failure;
use super::gated::digest;
use super::operation::{self, Operation};
use super::{Service, answer};
use crate::access::Permission;
use crate::audit::By;
use crate::chain::Chain;
use crate::check::Verdict;
use crate::driver::{Authority, CreationError, CreationRequest};
use crate::key_store::KmsException;
use crate::metrics::Denial;

impl Service {
    /// Answered when KMS has made the key store, which is DISCONNECTED then, or why it has not.
    pub(super) async fn create(&self, caller: &Caller, parameters: Map<String, Value>) -> Result<Value, Failure> {
        // The number that an SDK gives a call tells its repetitions from a new call with the same contents.
        let call = caller.invocation.as_ref().map(|invocation| {
            let digest = digest(Operation::Create, caller, &parameters);
            format!("{}/{invocation}/{digest}", caller.credential.principal.name)
        });
        let (creation, credential) = operation::create(parameters)?;
        let principal = &caller.credential.principal;
        principal.may_name(Permission::Change, &creation.name).map_err(|error| answer::forbidden(&error))?;
        if !caller.credential.policy.create {
            let message = format!(
                "{} may not make key stores: set create = true for it under [[kms_credentials]], or make the key store \
                 at KMS itself",
                principal.name
            );
            return Err(Failure::of(KmsException::AccessDenied, message).denied(Denial::Forbidden));
        }
        let (credentials, signed_by) =
            (Arc::clone(&self.verifier.credentials), caller.credential.access_key_id.clone());
        let name = creation.name.clone();
        let may_still = Authority(Box::new(move || {
            let known = credentials.get();
            let known = known.iter().find(|known| known.access_key_id == signed_by);
            known
                .is_some_and(|known| known.policy.create && known.principal.may_name(Permission::Change, &name).is_ok())
        }));
        let request = CreationRequest { creation, credential, by: By::from(principal), call, may_still };
        let id = self.maker.make(request).await.map_err(|error| not_made(&error))?;
        Ok(json!({ "CustomKeyStoreId": id.as_str() }))
    }
}

/// Why there is no new key store, in KMS's words.
fn not_made(error: &CreationError) -> Failure {
    let detail = Chain(error).to_string();
    let of = Failure::of;
    match error {
        CreationError::ObserveOnly => of(KmsException::AccessDenied, detail).denied(Denial::Refused),
        CreationError::NoLongerAllowed => of(KmsException::AccessDenied, detail).denied(Denial::Forbidden),
        CreationError::Busy => of(KmsException::Throttling, detail).denied(Denial::RateLimited),
        CreationError::NameInUse { .. } => {
            of(KmsException::CustomKeyStoreNameInUse, detail).denied(Denial::Unplannable)
        }
        CreationError::NotReady(summary) => {
            let exception = match summary.verdict {
                Verdict::Inconclusive => KmsException::KmsInternal,
                Verdict::Ready | Verdict::Blocked => answer::unfit(Operation::Create, summary.exception, false),
            };
            let undecided = match summary.verdict {
                Verdict::Inconclusive => "the pre-flight could not tell whether KMS would accept it: ",
                Verdict::Ready | Verdict::Blocked => "",
            };
            let message = format!("{undecided}{detail}; nothing was made; report /v1/preflights/{}", summary.report);
            of(exception, message).denied(Denial::Blocked)
        }
        // No exception of this operation says that it may not be made now; SDKs do not repeat this one.
        CreationError::Denied(denied) => of(KmsException::AccessDenied, detail).denied(Denial::of(denied)),
        CreationError::Kms(error) => answer::forwarded(Operation::Create, error),
        CreationError::ShuttingDown
        | CreationError::Unexamined(_)
        | CreationError::Unknown { .. }
        | CreationError::Journal(_)
        | CreationError::Lost => {
            tracing::error!(error = detail, "a key store was not made");
            Failure::internal(detail)
        }
    }
}
