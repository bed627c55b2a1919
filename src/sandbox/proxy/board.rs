//! The faults now set on a proxy, and which of them act on a given connection or request.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::sandbox::fault::{Fault, Layer, Misbehaviour, Operation};

/// The misbehaviours set, each with the number of occasions it has seen.
#[derive(Debug, Default)]
pub(super) struct Board {
    entries: Mutex<Vec<(Misbehaviour, u64)>>,
}

impl Board {
    /// Replaces everything that was set; all counts begin anew.
    pub(super) fn set(&self, misbehaviours: Vec<Misbehaviour>) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        *entries = misbehaviours.into_iter().map(|misbehaviour| (misbehaviour, 0)).collect();
    }

    pub(super) fn current(&self) -> Vec<Misbehaviour> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().map(|(misbehaviour, _)| misbehaviour.clone()).collect()
    }

    /// Whether the port shall be closed.
    pub(super) fn closes_listener(&self) -> bool {
        self.current().iter().any(|misbehaviour| misbehaviour.fault == Fault::ListenerClosed)
    }

    /// What acts on a connection just accepted.
    pub(super) fn on_connection(&self) -> Acting {
        self.count(|misbehaviour| {
            matches!(misbehaviour.fault.layer(), Layer::Connection | Layer::Tls | Layer::Certificate)
        })
    }

    /// What acts on a request just read; `operation` is None for a path that the proxy does not serve.
    pub(super) fn on_request(&self, operation: Option<Operation>) -> Acting {
        self.count(|misbehaviour| {
            let of_layer = match misbehaviour.fault.layer() {
                Layer::Listener | Layer::Connection | Layer::Tls | Layer::Certificate => false,
                Layer::Authentication | Layer::Answer => true,
                Layer::Refusal => operation.is_some(),
                Layer::Health => operation == Some(Operation::GetHealthStatus),
                Layer::KeyMetadata => operation == Some(Operation::GetKeyMetadata),
                Layer::Cipher => matches!(operation, Some(Operation::Encrypt | Operation::Decrypt)),
            };
            of_layer && (misbehaviour.operation.is_none() || misbehaviour.operation == operation)
        })
    }

    fn count(&self, concerns: impl Fn(&Misbehaviour) -> bool) -> Acting {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let mut acting = Vec::new();
        for (misbehaviour, seen) in entries.iter_mut().filter(|(misbehaviour, _)| concerns(misbehaviour)) {
            if misbehaviour.acts_on(*seen) {
                acting.push(misbehaviour.clone());
            }
            *seen += 1;
        }
        Acting(acting)
    }
}

/// The misbehaviours that act on one occasion.
#[derive(Clone, Debug, Default)]
pub(super) struct Acting(Vec<Misbehaviour>);

impl Acting {
    pub(super) fn has(&self, fault: Fault) -> bool {
        self.0.iter().any(|misbehaviour| misbehaviour.fault == fault)
    }

    /// The first that acts in this layer.
    pub(super) fn in_layer(&self, layer: Layer) -> Option<Fault> {
        self.0.iter().map(|misbehaviour| misbehaviour.fault).find(|fault| fault.layer() == layer)
    }

    /// Everything that acts, for the history.
    pub(super) fn faults(&self) -> Vec<Fault> {
        self.0.iter().map(|misbehaviour| misbehaviour.fault).collect()
    }

    /// How long to wait before acting. The wait of `drip-answer` is between its bytes instead.
    pub(super) fn delay(&self) -> Duration {
        let waiting = self.0.iter().filter(|misbehaviour| misbehaviour.fault != Fault::DripAnswer);
        waiting.map(Misbehaviour::delay).sum()
    }

    /// The wait between two bytes of a dripping answer.
    pub(super) fn drip_pause(&self) -> Duration {
        let dripping = self.0.iter().find(|misbehaviour| misbehaviour.fault == Fault::DripAnswer);
        Duration::from_millis(dripping.and_then(|misbehaviour| misbehaviour.delay_ms).unwrap_or(20))
    }
}
