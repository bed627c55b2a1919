//! Who is at work: a task for each account and Region that describes its key stores, and one for each key store that
//! probes it. Those of key stores that nobody configured come and go with what KMS tells.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Monitor, WatchedStore, patrol};
use crate::key_store::{CustomKeyStoreId, Place};

/// Works until `stop`; every task has ended when this returns.
pub(super) async fn run(monitor: &Arc<Monitor>, stop: CancellationToken) {
    let mut roster = Roster {
        monitor: Arc::clone(monitor),
        gate: Arc::new(Semaphore::new(monitor.schedule.concurrency.max(1))),
        rng: StdRng::seed_from_u64(monitor.parts.seed),
        tasks: JoinSet::new(),
        discovered: BTreeMap::new(),
        stop,
    };
    for place in monitor.parts.places.all().cloned().collect::<Vec<_>>() {
        roster.describe(place);
    }
    for store in monitor.parts.stores.clone() {
        let until = roster.stop.clone();
        roster.probe(store, until);
    }
    roster.attend().await;
}

struct Roster {
    monitor: Arc<Monitor>,
    gate: Arc<Semaphore>,
    rng: StdRng,
    tasks: JoinSet<()>,
    /// Ends the probing of each key store that nobody configured.
    discovered: BTreeMap<CustomKeyStoreId, CancellationToken>,
    stop: CancellationToken,
}

impl Roster {
    /// Asks KMS in one place at once, then at a random point of the interval, then with jitter.
    fn describe(&mut self, place: Place) {
        let schedule = &self.monitor.schedule;
        let rng = StdRng::from_rng(&mut self.rng);
        let mut rhythm = patrol::Rhythm::new(schedule.describe_every, schedule.jitter, rng);
        let (monitor, until) = (Arc::clone(&self.monitor), self.stop.clone());
        self.tasks.spawn(async move {
            let describing = Box::pin(async {
                monitor.look(&place).await;
                tokio::time::sleep(rhythm.phase()).await;
                loop {
                    monitor.look(&place).await;
                    tokio::time::sleep(rhythm.pause()).await;
                }
            });
            until.run_until_cancelled(describing).await.unwrap_or(());
        });
    }

    /// Probes one key store until `until`.
    fn probe(&mut self, store: WatchedStore, until: CancellationToken) {
        let schedule = &self.monitor.schedule;
        let rhythm = patrol::Rhythm::new(schedule.interval, schedule.jitter, StdRng::from_rng(&mut self.rng));
        let (monitor, gate) = (Arc::clone(&self.monitor), Arc::clone(&self.gate));
        self.tasks.spawn(async move {
            let patrol = Box::pin(async {
                monitor.first_description(&store.id).await;
                patrol::patrol(rhythm, &gate, || Box::pin(monitor.probe(&store))).await;
            });
            until.run_until_cancelled(patrol).await.unwrap_or(());
        });
    }

    /// Lets tasks come and go until all have ended.
    async fn attend(&mut self) {
        loop {
            let monitor = Arc::clone(&self.monitor);
            tokio::select! {
                ended = self.tasks.join_next() => match ended {
                    None => return,
                    Some(Ok(())) => {}
                    Some(Err(error)) => tracing::error!(%error, "a task of the monitor failed, a fault of this program"),
                },
                () = monitor.roster.notified() => self.follow(),
            }
        }
    }

    fn follow(&mut self) {
        if self.stop.is_cancelled() {
            return;
        }
        let wanted = self.monitor.board.discovered();
        self.discovered.retain(|id, until| {
            let stays = wanted.contains(id);
            if !stays {
                until.cancel();
            }
            stays
        });
        for id in wanted {
            if !self.discovered.contains_key(&id) {
                let until = self.stop.child_token();
                self.discovered.insert(id.clone(), until.clone());
                let store = WatchedStore { id, credential: None, settings: None, test_key: None };
                self.probe(store, until);
            }
        }
    }
}
