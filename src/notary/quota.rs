//! How many refusals get a line of their own.

use std::collections::HashMap;

use tokio::time::Instant;

use crate::audit::By;

/// Lines at once, after a quiet time.
const BURST: f64 = 30.0;
/// Lines a second in the long run.
const RATE: f64 = 0.5;
/// Names that are counted each by itself; further ones are counted with the strangers.
const NAMES: usize = 1_000;

/// Of each principal, and of all strangers together.
#[derive(Debug, Default)]
pub(super) struct Quotas(HashMap<Option<String>, Quota>);

#[derive(Debug)]
struct Quota {
    by: Option<By>,
    left: f64,
    at: Instant,
    left_out: u64,
}

impl Quotas {
    /// Whether a refusal gets a line; one that does not is counted.
    pub(super) fn admit(&mut self, by: Option<&By>, now: Instant) -> bool {
        let mut name = by.map(|by| by.name.clone());
        if !self.0.contains_key(&name) && self.0.len() >= NAMES {
            name = None;
        }
        let by = by.filter(|_| name.is_some()).cloned();
        let quota = self.0.entry(name).or_insert_with(|| Quota { by, left: BURST, at: now, left_out: 0 });
        quota.refill(now);
        if quota.left < 1.0 {
            quota.left_out += 1;
            return false;
        }
        quota.left -= 1.0;
        true
    }

    /// How many were left out of whom since the last time.
    pub(super) fn take_left_out(&mut self, now: Instant) -> Vec<(Option<By>, u64)> {
        let left_out = self.0.values_mut().filter(|quota| quota.left_out > 0);
        let counted = left_out.map(|quota| (quota.by.clone(), std::mem::take(&mut quota.left_out))).collect();
        // Whoever has been quiet long enough begins anew anyway.
        self.0.retain(|_, quota| {
            quota.refill(now);
            quota.left < BURST
        });
        counted
    }
}

impl Quota {
    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * RATE).min(BURST);
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn strangers_share_a_bound_and_the_rest_is_counted() {
        let (mut quotas, start) = (Quotas::default(), Instant::now());
        let alice = By::named("alice");
        let admitted = |quotas: &mut Quotas, by: Option<&By>, at| (0..1_000).filter(|_| quotas.admit(by, at)).count();
        assert_eq!(admitted(&mut quotas, None, start), 30);
        assert_eq!(admitted(&mut quotas, Some(&alice), start), 30, "nobody else uses up hers");
        let mut left_out = quotas.take_left_out(start);
        left_out.sort_by_key(|(by, _)| by.is_some());
        assert_eq!(left_out, [(None, 970), (Some(alice), 970)]);
        assert_eq!(quotas.take_left_out(start), []);
        assert_eq!(admitted(&mut quotas, None, start + Duration::from_secs(10)), 5);
    }

    #[test]
    fn names_are_bounded() {
        let (mut quotas, start) = (Quotas::default(), Instant::now());
        for number in 0..3 * NAMES {
            quotas.admit(Some(&By::named(&number.to_string())), start);
        }
        assert!(quotas.0.len() <= NAMES + 1);
    }
}
