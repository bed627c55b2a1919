//! Who is at work: a task for each account and Region that describes its key stores, and one for each key store, and each
//! candidate, that probes it. Those of key stores that nobody configured come and go with what KMS tells.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::patrol::{Beat, Turns};
use super::{Monitor, WatchedStore, patrol};
use crate::key_store::Place;

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
    /// Ends the probing of each.
    patrols: BTreeMap<Beat, CancellationToken>,
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

    /// Lets the probing of key stores and candidates begin and end as it is wanted now.
    fn follow(&mut self) {
        let present = self.monitor.board.watched().into_iter().map(|key_store| Beat { key_store, candidate: None });
        let candidates = self.monitor.candidates();
        let planned = candidates
            .iter()
            .map(|sight| Beat { key_store: sight.key_store.clone(), candidate: Some(sight.name.clone()) });
        let wanted: BTreeSet<Beat> = present.chain(planned).collect();
        self.patrols.retain(|beat, ends| {
            let stays = wanted.contains(beat);
            if !stays {
                ends.cancel();
            }
            stays
        });
        for beat in wanted {
            if !self.patrols.contains_key(&beat) {
                let until = self.stop.child_token();
                self.patrols.insert(beat.clone(), until.clone());
                self.patrol(beat, until);
            }
        }
    }

    /// Probes one of them in its rhythm.
    fn patrol(&mut self, beat: Beat, until: CancellationToken) {
        let schedule = &self.monitor.schedule;
        let rhythm = patrol::Rhythm::new(schedule.interval, schedule.jitter, StdRng::from_rng(&mut self.rng));
        let (monitor, turns) = (Arc::clone(&self.monitor), Arc::clone(&self.turns));
        self.tasks.spawn(async move {
            let patrol = Box::pin(async {
                let Beat { key_store: id, candidate } = &beat;
                monitor.first_description(id).await;
                if let Some(name) = candidate {
                    monitor.recall(id, name).await;
                }
                let host = || match candidate {
                    Some(name) => monitor.candidate_host(id, name),
                    None => monitor.host(id),
                };
                let act = || {
                    Box::pin(async {
                        if let Some(name) = candidate {
                            return monitor.probe_candidate(id, name).await;
                        }
                        // What is configured about it may have changed since its last turn.
                        let store = monitor.watched(id).unwrap_or_else(|| WatchedStore::discovered(id.clone()));
                        monitor.probe(&store).await;
                    })
                };
                patrol::patrol(rhythm, &turns, host, |by| (monitor.parts.late)(by), act).await;
            });
            until.run_until_cancelled(patrol).await.unwrap_or(());
        });
    }
}
