//! Who is at work: a task for each account and Region that describes its key stores, and one for each key store that
//! probes it. Those of key stores that nobody configured come and go with what KMS tells.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::patrol::Turns;
use super::{Monitor, WatchedStore, patrol};
use crate::key_store::{CustomKeyStoreId, Place};

/// Works until `stop`; every task has ended when this returns.
pub(super) async fn run(monitor: &Arc<Monitor>, stop: CancellationToken) {
    let mut roster = Roster {
        monitor: Arc::clone(monitor),
        turns: Arc::new(Turns::new(monitor.schedule.concurrency, monitor.schedule.per_host)),
        rng: StdRng::seed_from_u64(monitor.parts.seed),
        tasks: JoinSet::new(),
        patrols: BTreeMap::new(),
        stop,
    };
    for place in monitor.parts.places.all().cloned().collect::<Vec<_>>() {
        roster.describe(place);
    }
    roster.follow();
    while !roster.stop.is_cancelled() {
        tokio::select! {
            () = roster.stop.cancelled() => {}
            () = monitor.roster.notified() => roster.follow(),
            Some(ended) = roster.tasks.join_next() => told(ended),
        }
    }
    while let Some(ended) = roster.tasks.join_next().await {
        told(ended);
    }
}

fn told(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a task of the monitor failed, a fault of this program");
    }
}

struct Roster {
    monitor: Arc<Monitor>,
    turns: Arc<Turns>,
    rng: StdRng,
    tasks: JoinSet<()>,
    /// Ends the probing of each key store.
    patrols: BTreeMap<CustomKeyStoreId, CancellationToken>,
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

    /// Lets the probing of key stores begin and end as it is wanted now.
    fn follow(&mut self) {
        let wanted = self.monitor.board.watched();
        self.patrols.retain(|id, ends| {
            let stays = wanted.contains(id);
            if !stays {
                ends.cancel();
            }
            stays
        });
        for id in wanted {
            if !self.patrols.contains_key(&id) {
                let until = self.stop.child_token();
                self.patrols.insert(id.clone(), until.clone());
                self.patrol(id, until);
            }
        }
    }

    /// Probes one key store in its rhythm.
    fn patrol(&mut self, id: CustomKeyStoreId, until: CancellationToken) {
        let schedule = &self.monitor.schedule;
        let rhythm = patrol::Rhythm::new(schedule.interval, schedule.jitter, StdRng::from_rng(&mut self.rng));
        let (monitor, turns) = (Arc::clone(&self.monitor), Arc::clone(&self.turns));
        self.tasks.spawn(async move {
            let patrol = Box::pin(async {
                monitor.first_description(&id).await;
                let act = || {
                    Box::pin(async {
                        // What is configured about it may have changed since its last turn.
                        let store = monitor.watched(&id).unwrap_or_else(|| WatchedStore::discovered(id.clone()));
                        monitor.probe(&store).await;
                    })
                };
                patrol::patrol(rhythm, &turns, || monitor.host(&id), |by| (monitor.parts.late)(by), act).await;
            });
            until.run_until_cancelled(patrol).await.unwrap_or(());
        });
    }
}
