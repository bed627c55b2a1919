//! How updates are run here, and what a requester may choose.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rotation::{Rotate, RotationPolicy};
use super::window::Windows;
use crate::key_store::{Configuration, CustomKeyStoreId, KeyStore};

/// Who must say yes besides the pre-flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalRule {
    /// Nobody: a passing pre-flight is enough.
    #[default]
    None,
    /// One person other than the author, for exactly this plan and the report of its first pre-flight.
    One,
    /// Two people, neither of them the author.
    Two,
}

impl ApprovalRule {
    /// Every rule, by its word in the configuration.
    pub const NAMES: [&'static str; 3] = ["none", "one", "two"];

    /// Reads the word of the configuration.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "none" => Some(Self::None),
            "one" => Some(Self::One),
            "two" => Some(Self::Two),
            _ => None,
        }
    }

    /// The word in the configuration and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::One => "one",
            Self::Two => "two",
        }
    }

    /// How many people must agree.
    pub fn people(self) -> usize {
        match self {
            Self::None => 0,
            Self::One => 1,
            Self::Two => 2,
        }
    }
}

/// How updates are run here; `config` builds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Who must say yes, where a key store has no rule of its own.
    pub approval: ApprovalRule,
    /// Who must say yes for these key stores.
    pub approval_of: BTreeMap<CustomKeyStoreId, ApprovalRule>,
    /// When keys may be taken out of use.
    pub windows: Windows,
    /// How long after its making a plan may begin; default one hour.
    pub plan_valid_for: Duration,
    /// How old the pre-flight before the first mutation may be; default one minute.
    pub preflight_valid_for: Duration,
    /// How long an external key store may be CONNECTING; default 10 minutes (AWS: about 5).
    pub connect_xks: Duration,
    /// How long a CloudHSM key store may be CONNECTING; default 25 minutes (AWS: up to 20).
    pub connect_cloudhsm: Duration,
    /// How long a key store may be DISCONNECTING; default 10 minutes (AWS: about 5).
    pub disconnect: Duration,
    /// How long to look before an unanswered call is taken to have had no effect; default 15 seconds.
    pub settle: Duration,
    /// The pause before a second attempt of a step; it doubles with every further one. Default 5 seconds.
    pub pause: Duration,
    /// How often one step is attempted in one direction; default 4.
    pub attempts: u32,
    /// Whether an update that disconnects is refused unless its requester acknowledges the outage.
    pub acknowledge_outage: bool,
    /// How rotations are run.
    pub rotation: RotationPolicy,
    /// For how long a candidate with exactly the new settings must have been green before a change of the proxy begins,
    /// where a key store has no rule of its own; default zero, which asks for none.
    pub require_green: Duration,
    /// The same for these key stores.
    pub require_green_of: BTreeMap<CustomKeyStoreId, Duration>,
    /// The longest pause between two looks at a candidate that does not interrupt its green; default 5 minutes.
    pub green_gap: Duration,
}

impl Policy {
    /// How long a candidate for this key store must have been green.
    pub fn require_green_for(&self, key_store: &CustomKeyStoreId) -> Duration {
        self.require_green_of.get(key_store).copied().unwrap_or(self.require_green)
    }

    /// Who must say yes for this key store.
    pub fn approval_for(&self, key_store: &CustomKeyStoreId) -> ApprovalRule {
        self.approval_of.get(key_store).copied().unwrap_or(self.approval)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            approval: ApprovalRule::None,
            approval_of: BTreeMap::new(),
            windows: Windows::default(),
            plan_valid_for: Duration::from_hours(1),
            preflight_valid_for: Duration::from_mins(1),
            connect_xks: Duration::from_mins(10),
            connect_cloudhsm: Duration::from_mins(25),
            disconnect: Duration::from_mins(10),
            settle: Duration::from_secs(15),
            pause: Duration::from_secs(5),
            attempts: 4,
            acknowledge_outage: true,
            rotation: RotationPolicy::default(),
            require_green: Duration::ZERO,
            require_green_of: BTreeMap::new(),
            green_gap: Duration::from_mins(5),
        }
    }
}

/// The bounds of one plan, taken from the [`Policy`] when it was made, so that a restart with another configuration
/// carries it to its end under the terms that were approved. Milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    preflight_valid_for_ms: u64,
    connect_ms: u64,
    disconnect_ms: u64,
    settle_ms: u64,
    pause_ms: u64,
    /// How often one step is attempted in one direction.
    pub attempts: u32,
}

impl Limits {
    pub(super) fn of(policy: &Policy, store: &KeyStore) -> Self {
        let connect = match store.configuration {
            Configuration::CloudHsm(_) => policy.connect_cloudhsm,
            Configuration::Xks(_) | Configuration::Unrecognized { .. } => policy.connect_xks,
        };
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            preflight_valid_for_ms: ms(policy.preflight_valid_for),
            connect_ms: ms(connect),
            disconnect_ms: ms(policy.disconnect),
            settle_ms: ms(policy.settle),
            pause_ms: ms(policy.pause),
            attempts: policy.attempts.max(1),
        }
    }

    /// How old the pre-flight before the first mutation may be.
    pub fn preflight_valid_for(&self) -> Duration {
        Duration::from_millis(self.preflight_valid_for_ms)
    }

    /// How long CONNECTING may last.
    pub fn connect(&self) -> Duration {
        Duration::from_millis(self.connect_ms)
    }

    /// How long DISCONNECTING may last.
    pub fn disconnect(&self) -> Duration {
        Duration::from_millis(self.disconnect_ms)
    }

    /// How long to look before an unanswered call is taken to have had no effect.
    pub fn settle(&self) -> Duration {
        Duration::from_millis(self.settle_ms)
    }

    /// The pause before the attempt that follows `made` attempts.
    pub fn pause_after(&self, made: u32) -> Duration {
        let doublings = made.saturating_sub(1).min(6);
        if made == 0 { Duration::ZERO } else { Duration::from_millis(self.pause_ms.saturating_mul(1 << doublings)) }
    }
}

/// What the requester chose about the update.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Connect a store that was found DISCONNECTED; otherwise it stays so.
    #[serde(default)]
    pub connect: bool,
    /// The requester knows that a change which disconnects the store takes its keys out of use for minutes.
    #[serde(default)]
    pub acknowledge_outage: bool,
    /// Pass by approval, freeze, windows and hours of green, for this reason; whoever asks must have the right to.
    #[serde(default)]
    pub break_glass: Option<String>,
    /// Refuse the change if the store would have to be disconnected for it.
    #[serde(default)]
    pub in_place: bool,
    /// Make it a rotation: see the former credential refused in the end.
    #[serde(default)]
    pub rotate: Option<Rotate>,
}
