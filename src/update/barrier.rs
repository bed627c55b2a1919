//! What may stand between a plan that is allowed and its first mutation: a freeze, the hour, or that nobody has watched
//! the new settings for long enough.

use serde::{Deserialize, Serialize};

use super::freeze::Freeze;
use super::gate::Denied;
use super::green::GreenRule;
use super::plan::Plan;
use super::window::Opening;
use crate::clock::Timestamp;

/// What stands in the way at one moment, of changes of one key store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Barriers {
    /// The freeze that holds for it.
    pub freeze: Option<Freeze>,
    /// Its maintenance windows.
    pub opening: Opening,
    /// How long its new settings must have been watched, and what was seen of them.
    pub green: GreenRule,
}

impl Barriers {
    /// Whether the plan may begin at `now` as far as these are concerned.
    pub fn let_pass(&self, plan: &Plan, now: Timestamp) -> Result<(), Denied> {
        if plan.break_glass.is_some() {
            return Ok(());
        }
        self.not_frozen(now)?;
        let closed = match self.opening {
            Opening::Closed { opens_at } if plan.takes_out_of_use() => Some(Denied::OutsideWindow { opens_at }),
            Opening::Closed { .. } | Opening::Open => None,
        };
        let not_green = self.green.met(plan, now).err().map(|lacking| Denied::NotGreen(Box::new(lacking)));
        // What ends last is told, and waited for; what has no end known comes after everything.
        let last = [closed, not_green].into_iter().flatten().max_by_key(|denied| {
            let ends_at = denied.ends_at();
            (ends_at.is_none(), ends_at)
        });
        last.map_or(Ok(()), Err)
    }

    /// Whether no freeze is in force at `now`.
    pub(super) fn not_frozen(&self, now: Timestamp) -> Result<(), Denied> {
        match self.freeze.as_ref().filter(|freeze| freeze.is_in_force(now)) {
            Some(freeze) => Err(Denied::Frozen(Box::new(freeze.clone()))),
            None => Ok(()),
        }
    }

    /// What a break-glass passes by.
    pub(super) fn passed_by(&self, plan: &Plan, now: Timestamp) -> Vec<PassedBy> {
        let closed = matches!(self.opening, Opening::Closed { .. }) && plan.takes_out_of_use();
        [
            (plan.approval.people() > 0, PassedBy::Approval),
            (self.not_frozen(now).is_err(), PassedBy::Freeze),
            (closed, PassedBy::Window),
            (self.green.met(plan, now).is_err(), PassedBy::Green),
        ]
        .into_iter()
        .filter_map(|(stood, by)| stood.then_some(by))
        .collect()
    }
}

/// What a break-glass was used to pass by. A pre-flight is never among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PassedBy {
    /// The approval that the plan needs.
    Approval,
    /// A freeze.
    Freeze,
    /// The maintenance windows.
    Window,
    /// The hours of green that the new settings need.
    Green,
}

impl PassedBy {
    /// The word in records and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approval => "approval",
            Self::Freeze => "freeze",
            Self::Window => "window",
            Self::Green => "green",
        }
    }
}

/// Somebody with the right to do so passes by approval, freeze, windows and hours of green, and says why. It is part of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakGlass {
    /// Why.
    pub reason: String,
}
