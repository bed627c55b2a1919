//! What a proxy has seen: the evidence of tests, and what an operator of the sandbox looks at.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use super::{Distrust, ErrorName};
use crate::sandbox::fault::{Fault, Operation};

/// A request that reached the proxy, and what became of it. It carries neither signature nor body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenRequest {
    /// The proxy's clock when the request had been read.
    pub at: SystemTime,
    /// The number of its connection, counted from 1: equal numbers shared a connection.
    pub connection: u64,
    /// The HTTP method.
    pub method: String,
    /// The path with the query, as sent.
    pub path: String,
    /// The Host header as sent.
    pub host: Option<String>,
    /// The User-Agent header as sent.
    pub user_agent: Option<String>,
    /// What the path asks for; None for a path the proxy does not serve.
    pub operation: Option<Operation>,
    /// The external key id in the path.
    pub external_key_id: Option<String>,
    /// The access key id claimed in the Authorization header.
    pub access_key_id: Option<String>,
    /// `requestMetadata.kmsOperation`
    pub kms_operation: Option<String>,
    /// `requestMetadata.kmsRequestId`
    pub kms_request_id: Option<String>,
    /// Why the signature was refused; None if it was accepted, or never looked at because the path is unknown.
    pub distrust: Option<Distrust>,
    /// Whether the signature was accepted.
    pub authenticated: bool,
    /// The status that a proxy without faults in its answer would have given.
    pub status: u16,
    /// The error name likewise.
    pub error_name: Option<ErrorName>,
    /// The faults that acted on this request.
    pub faults: Vec<Fault>,
}

/// The latest requests, up to a bound.
#[derive(Debug)]
pub(super) struct History {
    limit: usize,
    requests: Mutex<VecDeque<SeenRequest>>,
}

impl History {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, requests: Mutex::default() }
    }

    pub(super) fn record(&self, request: SeenRequest) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.push_back(request);
        while requests.len() > self.limit {
            requests.pop_front();
        }
    }

    pub(super) fn requests(&self) -> Vec<SeenRequest> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(super) fn clear(&self) {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
