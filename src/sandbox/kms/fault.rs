//! What the simulated KMS can be told to do wrong, for which operation, and how many times.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

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

/// The faults that wait, by operation, first in first out.
#[derive(Default)]
pub(super) struct Faults {
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

    /// The fault of this call, used up by one.
    pub(super) fn take(&mut self, operation: Operation) -> Option<KmsFault> {
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
