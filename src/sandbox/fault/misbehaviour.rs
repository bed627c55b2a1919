//! A fault with its circumstances.

use std::{str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Fault, InvalidFault, Operation};

/// A fault with its circumstances. The counts are of requests, or of connections for faults that act before one can be
/// read, beginning when the misbehaviour was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Misbehaviour {
    /// What goes wrong.
    pub fault: Fault,
    /// Wait so long before acting; for `drip-answer`, between two bytes. None takes the fault's own default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// Leave the first so many alone.
    #[serde(default)]
    pub after: u64,
    /// Then act on so many and no more; None acts for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// Of those, act on every n-th only; None (like 0 and 1) acts on each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// Act on this operation only. Faults that act before a request is read disregard it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
}

impl Misbehaviour {
    /// The fault on every request or connection, with its default delay.
    pub const fn always(fault: Fault) -> Self {
        Self { fault, delay_ms: None, after: 0, first: None, every: None, operation: None }
    }

    /// The same on the first `count` only.
    #[must_use]
    pub const fn for_first(mut self, count: u64) -> Self {
        self.first = Some(count);
        self
    }

    /// The same, leaving the first `count` alone.
    #[must_use]
    pub const fn after(mut self, count: u64) -> Self {
        self.after = count;
        self
    }

    /// The same on every `n`-th only.
    #[must_use]
    pub const fn every(mut self, n: u64) -> Self {
        self.every = Some(n);
        self
    }

    /// The same on one operation only.
    #[must_use]
    pub const fn on(mut self, operation: Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// The same after a wait of so many milliseconds.
    #[must_use]
    pub const fn delayed_ms(mut self, milliseconds: u64) -> Self {
        self.delay_ms = Some(milliseconds);
        self
    }

    /// Whether it acts on the one with this number, counted from 0.
    pub fn acts_on(&self, number: u64) -> bool {
        let Some(position) = number.checked_sub(self.after) else { return false };
        let every = match (self.every, self.fault) {
            (Some(n), _) => n.max(1),
            (None, Fault::ThrottlingEverySecond) => 2,
            (None, _) => 1,
        };
        self.first.is_none_or(|count| position < count) && (position + 1).is_multiple_of(every)
    }

    /// The wait before acting, with the fault's default.
    pub fn delay(&self) -> Duration {
        let default = if self.fault == Fault::SlowAnswer { 600 } else { 0 };
        Duration::from_millis(self.delay_ms.unwrap_or(default))
    }
}

impl From<Fault> for Misbehaviour {
    fn from(fault: Fault) -> Self {
        Self::always(fault)
    }
}

impl FromStr for Misbehaviour {
    type Err = InvalidFault;

    fn from_str(text: &str) -> Result<Self, InvalidFault> {
        let (name, circumstances) = text.split_once(':').unwrap_or((text, ""));
        let mut misbehaviour = Self::always(name.parse()?);
        for part in circumstances.split(',').filter(|part| !part.is_empty()) {
            let misunderstood = || InvalidFault::Circumstance { text: part.to_owned() };
            let (key, value) = part.split_once('=').ok_or_else(misunderstood)?;
            let number = || value.parse::<u64>().map_err(|_| misunderstood());
            match key {
                "ms" => misbehaviour.delay_ms = Some(number()?),
                "first" => misbehaviour.first = Some(number()?),
                "after" => misbehaviour.after = number()?,
                "every" => misbehaviour.every = Some(number()?),
                "operation" => misbehaviour.operation = Some(Operation::from_text(value).ok_or_else(misunderstood)?),
                _ => return Err(misunderstood()),
            }
        }
        Ok(misbehaviour)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_carries_the_circumstances() {
        let parsed: Misbehaviour = "slow-answer:ms=40,after=1,first=2,operation=decrypt".parse().unwrap();
        let built = Misbehaviour::always(Fault::SlowAnswer).delayed_ms(40).after(1).for_first(2).on(Operation::Decrypt);
        assert_eq!(parsed, built);
        assert!(matches!("slow-answer:ms=soon".parse::<Misbehaviour>(), Err(InvalidFault::Circumstance { .. })));
        assert!(matches!("no-such-fault".parse::<Misbehaviour>(), Err(InvalidFault::UnknownName { .. })));
    }

    #[test]
    fn the_counts_select_requests() {
        let acting = |m: Misbehaviour| (0..6).filter(|n| m.acts_on(*n)).collect::<Vec<_>>();
        let fault = Misbehaviour::always(Fault::EmptyBody);
        assert_eq!(acting(fault.clone()), [0, 1, 2, 3, 4, 5]);
        assert_eq!(acting(fault.clone().for_first(2)), [0, 1]);
        assert_eq!(acting(fault.clone().after(1).for_first(2)), [1, 2]);
        assert_eq!(acting(fault.every(3)), [2, 5]);
        assert_eq!(acting(Fault::ThrottlingEverySecond.into()), [1, 3, 5]);
    }
}
