//! A request before it is signed: the right one, of which trials and diagnoses change exactly one thing.

use http::Method;

use super::Target;
use super::exchange::Outgoing;
use crate::clock::Timestamp;
use crate::key_store::{ProxyCredential, Region};
use crate::xks::{SigningError, SigningScope, XksOperation, sign};

/// What a request will be.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) method: Method,
    /// What `Host` will say.
    pub(super) host: String,
    pub(super) path: String,
    pub(super) credential: ProxyCredential,
    pub(super) region: Region,
    /// What is signed in place of what `Host` says.
    pub(super) signed_host: Option<String>,
    pub(super) signed_at: Timestamp,
    /// Whether it has an Authorization header at all.
    pub(super) authorized: bool,
    /// Put behind our name in `User-Agent`, for requests that may have no body to carry a `kmsRequestId`.
    pub(super) remark: Option<String>,
    pub(super) body: Vec<u8>,
    pub(super) request_id: String,
}

impl Draft {
    /// The request that KMS would send.
    pub(super) fn right(
        target: &Target,
        operation: XksOperation<'_>,
        body: Vec<u8>,
        request_id: String,
        now: Timestamp,
    ) -> Self {
        Self {
            method: Method::POST,
            host: target.endpoint.host().to_owned(),
            path: operation.path(&target.path),
            credential: target.credential.clone(),
            region: target.region.clone(),
            signed_host: None,
            signed_at: now,
            authorized: true,
            remark: None,
            body,
            request_id,
        }
    }

    /// Signs it.
    pub(super) fn sign(self) -> Result<Outgoing, SigningError> {
        let scope = SigningScope {
            method: self.method.as_str(),
            region: &self.region,
            host: self.signed_host.as_deref().unwrap_or(&self.host),
            path: &self.path,
            body: &self.body,
        };
        let signed = sign(&self.credential, &scope, self.signed_at)?;
        Ok(Outgoing {
            authorization: self.authorized.then_some(signed.authorization),
            x_amz_date: signed.x_amz_date,
            method: self.method,
            host: self.host,
            path: self.path,
            remark: self.remark,
            body: self.body,
            request_id: self.request_id,
        })
    }
}
