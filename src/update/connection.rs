//! Plans that change no setting: to connect a key store as it is, and to disconnect it.
//!
//! Reconnecting is when latent damage shows, so a connect is pre-flighted like a change: the settings are those that the
//! key store has. A disconnect is, too, because its reader wants to know whether there is a way back; only one that asks
//! for it, or that takes nothing out of use, goes on whatever the pre-flight says, and its plan tells so.

use serde::{Deserialize, Serialize};

use super::barrier::BreakGlass;
use super::plan::{Plan, PlanBody, PlanRefused, Rollback, Wanted, forecast};
use super::policy::{Limits, Policy};
use super::{Disruption, Step};
use crate::clock::Timestamp;
use crate::key_store::{Change, Configuration, ConnectionState, KeyStore};

/// What to do about the connection of a key store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionChange {
    /// ConnectCustomKeyStore.
    Connect,
    /// DisconnectCustomKeyStore, if connecting it again would work.
    Disconnect,
    /// DisconnectCustomKeyStore, whether or not connecting it again would work.
    DisconnectAnyway,
}

impl ConnectionChange {
    /// KMS's operation.
    pub fn operation(self) -> &'static str {
        match self {
            Self::Connect => "ConnectCustomKeyStore",
            Self::Disconnect | Self::DisconnectAnyway => "DisconnectCustomKeyStore",
        }
    }
}

/// Plans a connect or disconnect of the key store as `observed`; `wanted` asks for no change of settings.
///
/// Which states KMS takes it in: CustomKeyStoreInvalidStateException, connecting and disconnecting external key stores.
pub fn plan_connection(
    observed: &KeyStore,
    wanted: Wanted,
    to: ConnectionChange,
    policy: &Policy,
    now: Timestamp,
) -> Result<Plan, PlanRefused> {
    if let Configuration::Unrecognized { why } = &observed.configuration {
        return Err(PlanRefused::Unrecognized { why: why.clone() });
    }
    let refused = |remedy| Err(PlanRefused::State { state: observed.state.clone(), remedy });
    let step = match (to, &observed.state) {
        (_, ConnectionState::Unrecognized(_)) => {
            return refused("this version does not know the state and must not act on it");
        }
        (ConnectionChange::Connect, ConnectionState::Disconnected) => Step::Connect,
        (ConnectionChange::Connect, ConnectionState::Connected | ConnectionState::Connecting) => {
            return Err(PlanRefused::NothingToChange);
        }
        (ConnectionChange::Connect, ConnectionState::Failed(_)) => return refused("disconnect it first"),
        (ConnectionChange::Connect, ConnectionState::Disconnecting) => return refused("wait until it is DISCONNECTED"),
        (_, ConnectionState::Connected | ConnectionState::Connecting | ConnectionState::Failed(_)) => Step::Disconnect,
        (_, ConnectionState::Disconnected | ConnectionState::Disconnecting) => {
            return refused("there is nothing to disconnect");
        }
    };
    // Nothing can be used in these states, so nothing is lost by a disconnect, and it is the documented way out of them.
    let out_of_use = matches!(observed.state, ConnectionState::Failed(_) | ConnectionState::Connecting);
    let disconnects = step == Step::Disconnect;
    let because = vec![to.operation().to_owned()];
    let disruption = if disconnects { Disruption::Disconnect { because } } else { Disruption::InPlace };
    Plan::sealed(PlanBody {
        id: wanted.id,
        key_store: observed.id.clone(),
        expected: observed.clone(),
        new: observed.clone(),
        change: Change::default(),
        forecast: forecast(observed, &disruption, wanted.keys),
        break_glass: wanted.options.break_glass.map(|reason| BreakGlass { reason }),
        disruption,
        steps: vec![step],
        // To ask for a disconnect is to know that the keys will be out of use.
        outage_acknowledged: disconnects,
        reconnect_unproven: disconnects && (out_of_use || to == ConnectionChange::DisconnectAnyway),
        waivers: wanted.waivers,
        rollback: Rollback::Restore(Change::default()),
        former_credential: wanted
            .former_credential
            .filter(|held| observed.xks().is_some_and(|xks| xks.access_key_id == held.access_key_id)),
        rotation: None,
        approval: policy.approval_for(&observed.id),
        limits: Limits::of(policy, observed),
        requested_by: wanted.by,
        created_at: now,
        expires_at: now.plus(policy.plan_valid_for),
    })
}
