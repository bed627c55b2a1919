//! The rhythm in which one key store is probed.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::sync::Semaphore;
use tokio::time::sleep;

/// Pauses between probes.
pub(super) struct Rhythm {
    interval: Duration,
    jitter: f64,
    rng: StdRng,
}

impl Rhythm {
    pub(super) fn new(interval: Duration, jitter: f64, rng: StdRng) -> Self {
        Self { interval, jitter: jitter.clamp(0.0, 1.0), rng }
    }

    /// Before the first probe: anywhere in the interval.
    pub(super) fn phase(&mut self) -> Duration {
        self.interval.mul_f64(self.rng.random_range(0.0..1.0))
    }

    /// Before every further one: the interval, more or less.
    pub(super) fn pause(&mut self) -> Duration {
        let stretch = 1.0 + self.jitter * self.rng.random_range(-1.0..=1.0);
        self.interval.mul_f64(stretch)
    }
}

/// Acts for ever in this rhythm, never twice at once, and only with a place in `gate`.
pub(super) async fn patrol<F: Future<Output = ()>>(mut rhythm: Rhythm, gate: &Semaphore, mut act: impl FnMut() -> F) {
    sleep(rhythm.phase()).await;
    loop {
        // Closed only by dropping, which ends this task, too.
        let Ok(place) = gate.acquire().await else { return };
        act().await;
        drop(place);
        sleep(rhythm.pause()).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use rand::SeedableRng;
    use tokio::time::{Instant, timeout};

    use super::*;

    const INTERVAL: Duration = Duration::from_mins(1);

    fn rhythm(seed: u64) -> Rhythm {
        Rhythm::new(INTERVAL, 0.2, StdRng::seed_from_u64(seed))
    }

    #[tokio::test(start_paused = true)]
    async fn starts_anywhere_in_the_interval_and_keeps_within_the_jitter() {
        let mut phases = Vec::new();
        for seed in 0..20 {
            let acts = RefCell::new(Vec::new());
            let begun = Instant::now();
            let gate = Semaphore::new(1);
            let ended =
                timeout(INTERVAL * 20, patrol(rhythm(seed), &gate, async || acts.borrow_mut().push(begun.elapsed())));
            assert!(ended.await.is_err(), "it never ends by itself");
            let acts = acts.into_inner();
            phases.push(acts[0]);
            assert!(acts[0] < INTERVAL);
            for pair in acts.windows(2) {
                let pause = pair[1].saturating_sub(pair[0]).as_secs_f64();
                assert!((47.9..=72.1).contains(&pause), "{pause}");
            }
        }
        phases.dedup();
        assert_eq!(phases.len(), 20, "stores do not begin in step");
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_in_the_gate_is_needed() {
        let gate = Semaphore::new(2);
        let (now, most, acts) = (Cell::new(0), Cell::new(0), Cell::new(0));
        let act = async || {
            now.set(now.get() + 1);
            most.set(most.get().max(now.get()));
            acts.set(acts.get() + 1);
            sleep(INTERVAL).await;
            now.set(now.get() - 1);
        };
        let patrols = (0..10).map(|seed| patrol(rhythm(seed), &gate, act));
        let all = futures_util::future::join_all(patrols);
        assert!(timeout(INTERVAL * 50, all).await.is_err());
        assert_eq!(most.get(), 2);
        assert!(acts.get() > 80, "{}", acts.get());
    }
}
