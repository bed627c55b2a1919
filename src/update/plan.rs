//! The plan: what it believed, what it does, how it is undone, and a digest over all of it.

mod fit;

use std::fmt::{self, Write};
use std::ops::Deref;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use self::fit::{members_fit, rollback, rotation, state_permits};
use super::barrier::BreakGlass;
use super::change::{changed, disruption, effective, holds_secret};
use super::forecast::{Forecast, KnownKeys};
use super::policy::{ApprovalRule, Limits, Options, Policy};
use super::rotation::Rotation;
use super::{Disruption, SettingsDigest, Standing, Step};
use crate::check::Waiver;
use crate::clock::Timestamp;
use crate::id::UpdateId;
use crate::key_store::{
    Change, Configuration, ConnectionState, CredentialRef, CustomKeyStoreId, Fingerprint, KeyStore, Member,
};

/// What is asked for, with everything that decides whether it can be undone.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The update's identifier.
    pub id: UpdateId,
    /// What shall be changed.
    pub change: Change,
    /// The requester's choices.
    pub options: Options,
    /// The credential now in force, if we hold its secret: KMS never returns it.
    pub former_credential: Option<CredentialRef>,
    /// Whether the KeyStorePassword to go back to came with the request: KMS, which changes it at every connect, tells
    /// it to nobody.
    pub former_password: bool,
    /// The failures that are accepted for this key store now.
    pub waivers: Vec<Waiver>,
    /// How many of the key store's KMS keys are known, if somebody has counted.
    pub keys: Option<KnownKeys>,
    /// Who asks.
    pub by: String,
}

/// How the update would be undone, known before anybody approves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rollback {
    /// The update that restores the former settings.
    Restore(Change),
    /// It cannot be undone.
    Impossible {
        /// Why, and what would make it possible.
        why: String,
    },
}

/// SHA-256 of a plan's canonical form, 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlanDigest(String);

impl PlanDigest {
    /// A digest as somebody states it, to be compared; any text is possible and simply does not match.
    pub fn stated(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PlanDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The contents of a [`Plan`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanBody {
    /// The update's identifier.
    pub id: UpdateId,
    /// The key store.
    pub key_store: CustomKeyStoreId,
    /// What KMS showed when the plan was made. Anything else found before the first mutation is drift.
    pub expected: KeyStore,
    /// What KMS will show once the change is in force, its connection state aside.
    pub new: KeyStore,
    /// The members that really change.
    pub change: Change,
    /// What that disrupts in the store's present state.
    pub disruption: Disruption,
    /// The mutations, in order.
    pub steps: Vec<Step>,
    /// Whether the requester acknowledged that the keys will be out of use for a while, where they will.
    #[serde(default)]
    pub outage_acknowledged: bool,
    /// Whether it goes on whatever its pre-flight says: a disconnect alone, by a person's explicit wish, or of a key store
    /// that is out of use.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reconnect_unproven: bool,
    /// What it costs those who use the keys, where it takes them out of use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Forecast>,
    /// That it passes by approval, freeze and windows, if it does; never by a pre-flight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<BreakGlass>,
    /// The failures that are accepted: whoever approves the plan approves these with it, and no later ones count.
    #[serde(default)]
    pub waivers: Vec<Waiver>,
    /// How it would be undone.
    pub rollback: Rollback,
    /// The credential now in force, if its secret is held.
    pub former_credential: Option<CredentialRef>,
    /// The terms of the rotation, if it is one. Absent from the canonical form otherwise, so that plans recorded before
    /// there were rotations keep their digests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// Who must say yes.
    pub approval: ApprovalRule,
    /// Bounds of waiting and trying.
    pub limits: Limits,
    /// Who asked.
    pub requested_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when the first mutation may happen.
    pub expires_at: Timestamp,
}

/// An immutable plan: made only by [`plan`], or read back from its record when the digest agrees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RecordedPlan")]
pub struct Plan {
    digest: PlanDigest,
    body: PlanBody,
}

impl Plan {
    /// Digest of everything in the plan.
    pub fn digest(&self) -> &PlanDigest {
        &self.digest
    }

    /// Identifies exactly the settings that a pre-flight must have probed to count for this plan.
    pub fn settings(&self) -> SettingsDigest {
        SettingsDigest::of(&self.new, self.probed_credential(), self.change.password.then_some(self.id))
    }

    /// The settings of an external key store before it; `None` where the secret in force is not known.
    pub fn former_settings(&self) -> Option<SettingsDigest> {
        let former = self.former_credential.as_ref()?;
        Some(SettingsDigest::of_xks(self.expected.xks()?, Some(&former.fingerprint)))
    }

    /// The credential in force after the update, if its secret is held.
    pub fn probed_credential(&self) -> Option<&Fingerprint> {
        self.change.credential.as_ref().or(self.former_credential.as_ref()).map(|credential| &credential.fingerprint)
    }

    /// Whose settings `found` shows.
    pub fn standing(&self, found: &KeyStore) -> Standing {
        Standing::of(found, &self.expected, &self.new)
    }

    /// Whether the key store is to be CONNECTED in the end.
    pub fn ends_connected(&self) -> bool {
        match self.steps.as_slice() {
            [Step::Disconnect] => false,
            steps => self.was_connected() || steps.contains(&Step::Connect),
        }
    }

    /// Whether keys that can be used now cannot be used for a while.
    pub fn takes_out_of_use(&self) -> bool {
        matches!(self.disruption, Disruption::Disconnect { .. }) && self.was_connected()
    }

    /// Whether it makes KMS talk to an external key store's proxy in another way: another place, path or credential. A
    /// new name alone does not, nor does a connect.
    pub fn changes_proxy(&self) -> bool {
        self.new.xks().is_some() && self.change.members().iter().any(|member| *member != Member::Name)
    }

    /// Whether it is a disconnect and nothing else.
    pub fn only_disconnects(&self) -> bool {
        self.steps == [Step::Disconnect]
    }

    /// Whether the key store was CONNECTED in the beginning.
    pub fn was_connected(&self) -> bool {
        self.expected.state == ConnectionState::Connected
    }

    /// Whether it is about a CloudHSM key store.
    pub fn is_cloud_hsm(&self) -> bool {
        matches!(self.expected.configuration, Configuration::CloudHsm(_))
    }

    /// Whether part of the change can never be seen in DescribeCustomKeyStores.
    pub fn changes_secret(&self) -> bool {
        holds_secret(&self.change)
    }

    /// The update that restores the former settings, if there is one.
    pub fn restore(&self) -> Option<&Change> {
        match &self.rollback {
            Rollback::Restore(change) => Some(change),
            Rollback::Impossible { .. } => None,
        }
    }

    pub(super) fn sealed(body: PlanBody) -> Result<Self, PlanRefused> {
        // A struct of structs, lists and enums: serde writes the fields in their declared order, which makes this
        // form canonical without further ado.
        let canonical = serde_json::to_vec(&body).map_err(|_| PlanRefused::NotRecordable)?;
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"xks-preflight/plan/1\0");
        context.update(&canonical);
        Ok(Self { digest: PlanDigest(hexadecimal(context.finish().as_ref())), body })
    }
}

/// The digits of a digest.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Deref for Plan {
    type Target = PlanBody;

    fn deref(&self) -> &PlanBody {
        &self.body
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordedPlan {
    digest: PlanDigest,
    body: PlanBody,
}

impl TryFrom<RecordedPlan> for Plan {
    type Error = PlanRefused;

    fn try_from(recorded: RecordedPlan) -> Result<Self, PlanRefused> {
        let plan = Self::sealed(recorded.body)?;
        if plan.digest == recorded.digest { Ok(plan) } else { Err(PlanRefused::DigestDiffers) }
    }
}

/// Why no plan is made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanRefused {
    /// The members do not belong to this type of key store, or belong together and came alone.
    #[error("{member} {rule}")]
    Members {
        /// The member, by AWS's name.
        member: &'static str,
        /// The rule, to follow the member's name.
        rule: &'static str,
    },
    /// Everything is already as asked.
    #[error("nothing to change: the key store already has the values that are asked for")]
    NothingToChange,
    /// Whoever asks may not have the key store disconnected.
    #[error("key store must be DISCONNECTED for a change of {because}, and it is not")]
    NotDisconnected {
        /// The members that KMS accepts only while DISCONNECTED.
        because: String,
    },
    /// A connection state in which KMS accepts no update.
    #[error("key store is {state}: {remedy}")]
    State {
        /// What KMS shows.
        state: ConnectionState,
        /// What to do first.
        remedy: &'static str,
    },
    /// A type or setting that this program does not understand.
    #[error("key store cannot be understood ({why}): this version must not change it")]
    Unrecognized {
        /// What could not be understood.
        why: String,
    },
    /// A recorded plan whose contents were altered.
    #[error("recorded plan does not match its digest: the record was altered")]
    DigestDiffers,
    /// A rotation that cannot be seen through.
    #[error("not a rotation that can be seen through: {why}")]
    Rotation {
        /// What is missing or too much, and what to do.
        why: String,
    },
    /// The plan has no JSON form, which cannot happen with the types it is made of.
    #[error("plan cannot be written as JSON")]
    NotRecordable,
}

/// Plans `wanted` against the key store as `observed`.
pub fn plan(observed: &KeyStore, wanted: Wanted, policy: &Policy, now: Timestamp) -> Result<Plan, PlanRefused> {
    members_fit(observed, &wanted.change)?;
    state_permits(observed)?;
    let change = effective(&wanted.change, observed);
    if change.is_empty() {
        return Err(PlanRefused::NothingToChange);
    }
    let members = PlanRefused::Members { member: "XksProxyVpcEndpointServiceName", rule: "is missing" };
    let new = changed(observed, &change).ok_or(members)?;
    let former_credential = wanted
        .former_credential
        .filter(|held| observed.xks().is_some_and(|xks| xks.access_key_id == held.access_key_id));
    let rollback = rollback(observed, &change, former_credential.as_ref(), wanted.former_password);
    let asked = wanted.options.rotate.as_ref();
    let rotation = asked.map(|asked| rotation(observed, &change, &rollback, asked, policy)).transpose()?;
    let connected = observed.state == ConnectionState::Connected;
    let disruption = if connected { disruption(&change) } else { Disruption::InPlace };
    if let (Disruption::Disconnect { because }, true) = (&disruption, wanted.options.in_place) {
        return Err(PlanRefused::NotDisconnected { because: because.join(", ") });
    }
    let steps = match (&disruption, connected, wanted.options.connect) {
        (Disruption::Disconnect { .. }, _, _) => vec![Step::Disconnect, Step::Update, Step::Connect],
        (Disruption::InPlace, false, true) => vec![Step::Update, Step::Connect],
        (Disruption::InPlace, _, _) => vec![Step::Update],
    };
    Plan::sealed(PlanBody {
        id: wanted.id,
        key_store: observed.id.clone(),
        expected: observed.clone(),
        new,
        outage_acknowledged: wanted.options.acknowledge_outage,
        reconnect_unproven: false,
        forecast: forecast(observed, &disruption, wanted.keys),
        break_glass: wanted.options.break_glass.map(|reason| BreakGlass { reason }),
        waivers: wanted.waivers,
        disruption,
        steps,
        rollback,
        change,
        former_credential,
        rotation,
        approval: policy.approval_for(&observed.id),
        limits: Limits::of(policy, observed),
        requested_by: wanted.by,
        created_at: now,
        expires_at: now.plus(policy.plan_valid_for),
    })
}

pub(super) fn forecast(store: &KeyStore, disruption: &Disruption, keys: Option<KnownKeys>) -> Option<Forecast> {
    let disconnects = matches!(disruption, Disruption::Disconnect { .. });
    (disconnects && store.state == ConnectionState::Connected).then(|| Forecast::of(store, keys))
}

#[cfg(test)]
mod tests;
