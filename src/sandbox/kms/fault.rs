//! What the simulated KMS can be told to do wrong, for which operation, and how many times.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use serde_json::Value;
use tokio::time::Instant;

use super::{history::Operation, store::Store, wire::Failure};

/// One kind of misbehaviour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KmsFault {
    /// `ThrottlingException`, 400.
    Throttling,
    /// `KMSInternalException`, 500.
    Internal,
    /// A 503 without a body, as a load balancer in front of KMS would send it.
    Unavailable,
    /// `AccessDeniedException`, 400.
    AccessDenied,
    /// An exception of this name, 400, whether the model has it or not.
    Exception {
        /// The name, such as `XksProxyUriUnreachableException`.
        name: String,
        /// The message.
        message: String,
    },
    /// The connection is closed without an answer.
    ReplyLost {
        /// Whether the operation was carried out before.
        applied: bool,
    },
    /// The request is taken and nothing is answered; after [`MAX_HANG`] the connection is closed.
    Hang {
        /// Whether the operation was carried out before.
        applied: bool,
    },
    /// The operation is carried out, the answer comes this much later, at most [`MAX_HANG`].
    Slow(Duration),
    /// On Connect: accepted, and ends `FAILED` with this `ConnectionErrorCode`; the proxy is not asked.
    ConnectFails(String),
    /// On Connect or Disconnect: accepted, and stays `CONNECTING` or `DISCONNECTING`.
    NeverCompletes,
    /// This JSON takes the place of the answer, with status 200.
    Answers(Value),
    /// On DescribeCustomKeyStores: every store of this one answer shows this word as its connection state.
    ShowsState(String),
}

/// How long a connection is held without an answer.
pub const MAX_HANG: Duration = Duration::from_mins(2);

impl KmsFault {
    /// The exception that takes the place of the operation, if the fault is one.
    pub(super) fn exception(&self) -> Option<Failure> {
        match self {
            Self::Throttling => Some(Failure::new(
                "ThrottlingException",
                "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.",
            )),
            Self::Internal => Some(Failure::internal()),
            Self::AccessDenied => Some(Failure::new(
                "AccessDeniedException",
                "User is not authorized to perform this operation because no identity-based policy allows the action",
            )),
            Self::Exception { name, message } => Some(Failure::new(name.clone(), message.clone())),
            _ => None,
        }
    }
}

/// What somebody else does to a store.
pub(super) type Intrusion = Box<dyn FnOnce(&mut Store) + Send>;

/// How many requests a second an operation is allowed, in bursts of no more than a second's worth.
#[derive(Clone, Copy, Debug)]
struct Quota {
    per_second: f64,
    left: f64,
    since: Instant,
}

impl Quota {
    /// Whether one more request is within the quota.
    fn take(&mut self, now: Instant) -> bool {
        let refilled = now.duration_since(self.since).as_secs_f64() * self.per_second;
        self.left = (self.left + refilled).min(self.per_second);
        self.since = now;
        let within = self.left >= 1.0;
        if within {
            self.left -= 1.0;
        }
        within
    }
}

/// The faults that wait, by operation, first in first out, and the quotas.
#[derive(Default)]
pub(super) struct Faults {
    quotas: HashMap<Operation, Quota>,
    waiting: HashMap<Operation, VecDeque<(KmsFault, u32)>>,
    intrusions: Vec<(Operation, String, Intrusion)>,
}

impl Faults {
    /// Lets the next `times` calls of the operation suffer the fault, after those already waiting.
    pub(super) fn inject(&mut self, operation: Operation, fault: KmsFault, times: u32) {
        let queue = self.waiting.entry(operation).or_default();
        if times > 0 {
            queue.push_back((fault, times));
        }
    }

    /// From now on the operation is allowed so many requests a second.
    pub(super) fn limit(&mut self, operation: Operation, per_second: u32) {
        let per_second = f64::from(per_second);
        self.quotas.insert(operation, Quota { per_second, left: per_second, since: Instant::now() });
    }

    /// The fault of this call, used up by one; a call beyond its quota is throttled.
    pub(super) fn take(&mut self, operation: Operation) -> Option<KmsFault> {
        if self.quotas.get_mut(&operation).is_some_and(|quota| !quota.take(Instant::now())) {
            return Some(KmsFault::Throttling);
        }
        let queue = self.waiting.get_mut(&operation)?;
        let (fault, left) = queue.front_mut()?;
        let fault = fault.clone();
        // `u32::MAX` stands for "until cleared".
        if *left != u32::MAX {
            *left -= 1;
        }
        if *left == 0 {
            queue.pop_front();
        }
        Some(fault)
    }

    /// Lets the store of this id be changed right before the next call of the operation.
    pub(super) fn intrude(&mut self, operation: Operation, id: String, intrusion: Intrusion) {
        self.intrusions.push((operation, id, intrusion));
    }

    /// What somebody else does right before this call, with the ids of the stores.
    pub(super) fn take_intrusions(&mut self, operation: Operation) -> Vec<(String, Intrusion)> {
        let now = self.intrusions.extract_if(.., |(awaited, ..)| *awaited == operation);
        now.map(|(_, id, intrusion)| (id, intrusion)).collect()
    }

    /// Forgets everything that waits.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.intrusions.clear();
    }
}
