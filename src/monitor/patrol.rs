//! The rhythm in which one key store is probed, and the turns that it waits for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::key_store::{CandidateName, CustomKeyStoreId};

/// What one patrol probes again and again: the present settings of a key store, or a candidate of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Beat {
    pub(super) key_store: CustomKeyStoreId,
    /// Absent for the present settings.
    pub(super) candidate: Option<CandidateName>,
}

/// Beyond so many hosts those without a probe are forgotten.
const MOST_HOSTS: usize = 1_000;

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

/// How many probes run at once: of everything, and of the key stores behind one host. Whoever waits for its host keeps
/// no turn from the key stores of other hosts, so that a slow proxy delays nobody else's.
pub(super) struct Turns {
    all: Arc<Semaphore>,
    per_host: usize,
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// The right to probe now.
pub(super) struct Turn {
    _host: Option<OwnedSemaphorePermit>,
    _all: OwnedSemaphorePermit,
}

impl Turns {
    pub(super) fn new(all: usize, per_host: usize) -> Self {
        let all = Arc::new(Semaphore::new(all.max(1)));
        Self { all, per_host: per_host.max(1), hosts: Mutex::default() }
    }

    /// Waits for a turn; without a host only for one of all. `None` never happens: the semaphores are not closed.
    async fn take(&self, host: Option<String>) -> Option<Turn> {
        let host = match host {
            Some(host) => Some(self.host(host).acquire_owned().await.ok()?),
            None => None,
        };
        Some(Turn { _host: host, _all: Arc::clone(&self.all).acquire_owned().await.ok()? })
    }

    fn host(&self, host: String) -> Arc<Semaphore> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        // Hosts come and go with the settings of key stores; of those that nobody probes nothing need be known.
        if hosts.len() >= MOST_HOSTS && !hosts.contains_key(&host) {
            hosts.retain(|_, turns| Arc::strong_count(turns) > 1);
        }
        Arc::clone(hosts.entry(host).or_insert_with(|| Arc::new(Semaphore::new(self.per_host))))
    }
}

/// Acts for ever in this rhythm, never twice at once, and only when it is its turn among everything and at its host.
/// `late` is told how long after its time each act began.
pub(super) async fn patrol<F: Future<Output = ()>>(
    mut rhythm: Rhythm,
    turns: &Turns,
    host: impl Fn() -> Option<String>,
    late: impl Fn(Duration),
    mut act: impl FnMut() -> F,
) {
    let mut due = Instant::now() + rhythm.phase();
    loop {
        sleep_until(due).await;
        let Some(turn) = turns.take(host()).await else { return };
        late(due.elapsed());
        act().await;
        drop(turn);
        due = Instant::now() + rhythm.pause();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use rand::SeedableRng;
    use tokio::time::{Instant, sleep, timeout};

    use super::*;

    const INTERVAL: Duration = Duration::from_mins(1);
    /// Timers have a resolution of one millisecond.
    const TICK: Duration = Duration::from_millis(1);

    fn rhythm(seed: u64) -> Rhythm {
        Rhythm::new(INTERVAL, 0.2, StdRng::seed_from_u64(seed))
    }

    #[tokio::test(start_paused = true)]
    async fn starts_anywhere_in_the_interval_and_keeps_within_the_jitter() {
        let mut phases = Vec::new();
        for seed in 0..20 {
            let acts = RefCell::new(Vec::new());
            let begun = Instant::now();
            let turns = Turns::new(1, 1);
            let late = |by| assert!(by <= TICK, "nobody is before it: {by:?}");
            let act = async || acts.borrow_mut().push(begun.elapsed());
            let ended = timeout(INTERVAL * 20, patrol(rhythm(seed), &turns, || None, late, act));
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
    async fn it_must_be_its_turn() {
        let turns = Turns::new(2, 10);
        let latest = Cell::new(Duration::ZERO);
        let (now, most, acts) = (Cell::new(0), Cell::new(0), Cell::new(0));
        let act = async || {
            now.set(now.get() + 1);
            most.set(most.get().max(now.get()));
            acts.set(acts.get() + 1);
            sleep(INTERVAL).await;
            now.set(now.get() - 1);
        };
        let late = |by: Duration| latest.set(latest.get().max(by));
        let patrols = (0..10).map(|seed| patrol(rhythm(seed), &turns, || None, late, act));
        let all = futures_util::future::join_all(patrols);
        assert!(timeout(INTERVAL * 50, all).await.is_err());
        assert_eq!(most.get(), 2);
        assert!(acts.get() > 80, "{}", acts.get());
        assert!(latest.get() > INTERVAL, "ten that take a minute have to wait for their turn: {:?}", latest.get());
    }

    /// A host that hangs has all of its own turns taken, and none that others need.
    #[tokio::test(start_paused = true)]
    async fn a_slow_host_delays_no_other() {
        let turns = Turns::new(4, 2);
        let latest = Cell::new(Duration::ZERO);
        let others = Cell::new(0);
        let slow = (0..20).map(|seed| {
            let host = || Some("slow.example.com".to_owned());
            patrol(rhythm(seed), &turns, host, |_| {}, || sleep(INTERVAL * 60))
        });
        let quick = (20..30).map(|seed| {
            let host = move || Some(format!("quick{seed}.example.com"));
            let late = |by: Duration| latest.set(latest.get().max(by));
            let others = &others;
            patrol(rhythm(seed), &turns, host, late, async move || others.set(others.get() + 1))
        });
        let (slow, quick) = (futures_util::future::join_all(slow), futures_util::future::join_all(quick));
        assert!(timeout(INTERVAL * 30, async { tokio::join!(slow, quick) }).await.is_err());
        assert!(others.get() > 200, "{}", others.get());
        assert!(latest.get() <= TICK, "{:?}", latest.get());
    }

    #[test]
    fn hosts_without_a_probe_are_forgotten() {
        let turns = Turns::new(1, 1);
        let held = turns.host("held.example.com".into());
        for number in 0..3 * MOST_HOSTS {
            turns.host(format!("h{number}.example.com"));
        }
        assert!(turns.hosts.lock().unwrap().len() <= MOST_HOSTS);
        assert!(Arc::ptr_eq(&held, &turns.host("held.example.com".into())));
    }
}
