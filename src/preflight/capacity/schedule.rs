//! The open loop: requests are due at instants fixed beforehand, and nothing that the proxy does moves them.

use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use super::tally::{Ended, Tally};
use super::{Answer, LoadProgress};

/// How often the progress is told.
const TOLD_EVERY: Duration = Duration::from_millis(250);

/// When each request is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    rate: u32,
    seconds: u32,
}

impl Schedule {
    pub(super) fn new(rate: u32, seconds: u32) -> Self {
        Self { rate, seconds }
    }

    pub(super) fn length(self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }

    fn requests(self) -> u64 {
        u64::from(self.rate) * u64::from(self.seconds)
    }

    /// When a request is due, after the beginning. Computed anew for each, so that no error adds up.
    fn due(self, number: u64) -> Duration {
        Duration::from_nanos(number * 1_000_000_000 / u64::from(self.rate.max(1)))
    }

    /// Begins every request when it is due, until the schedule ends or the tally says stop; then everything still
    /// under way is dropped, which closes its connections. `ask` is told when its request was due and must end.
    /// Returns how long it all took. The timer counts in milliseconds, so a request may begin so much late.
    pub(super) async fn keep<Asked: Future<Output = Answer>>(
        self,
        tally: &mut Tally,
        ask: impl Fn(Instant) -> Asked,
        told: impl Fn(LoadProgress),
    ) -> Duration {
        let began = Instant::now();
        let mut under_way = FuturesUnordered::new();
        let mut tick = interval_at(began + TOLD_EVERY, TOLD_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while tally.stop().is_none() {
            let next = began + self.due(tally.begun);
            let all_begun = tally.begun == self.requests();
            // By fair turns: a machine at its limits then begins requests late, which the lag shows; answers left unread
            // would look like a slow proxy.
            tokio::select! {
                () = sleep_until(next), if !all_begun => {
                    let due = next;
                    tally.begun += 1;
                    let asked = ask(due);
                    under_way.push(async move {
                        let lag = due.elapsed();
                        let Answer { at, outcome, problem } = asked.await;
                        Ended { at: at - began, latency: at.saturating_duration_since(due), lag, outcome, problem }
                    });
                }
                Some(ended) = under_way.next() => tally.note(ended, self.length()),
                _ = tick.tick(), if !all_begun || !under_way.is_empty() => told(self.progress(began, tally)),
                else => break,
            }
        }
        let took = began.elapsed();
        told(self.progress(began, tally));
        took
    }

    fn progress(self, began: Instant, tally: &Tally) -> LoadProgress {
        let answered = tally.answered();
        LoadProgress {
            elapsed: began.elapsed(),
            planned: self.length(),
            requests: tally.begun,
            answered,
            failed: tally.ended() - answered,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::sleep;

    use super::*;
    use crate::check::{LoadOutcome, LoadStop, Problem, ProblemKind};

    const MS: Duration = Duration::from_millis(1);

    fn ended(outcome: LoadOutcome) -> Answer {
        let problem = Problem::target(ProblemKind::ProxyError, "as told");
        Answer { at: Instant::now(), outcome, problem: (outcome != LoadOutcome::Answered).then_some(problem) }
    }

    async fn kept<Asked: Future<Output = Answer>>(
        schedule: Schedule,
        ask: impl Fn(Instant) -> Asked,
    ) -> (Tally, Duration) {
        let mut tally = Tally::new().unwrap();
        let took = schedule.keep(&mut tally, ask, |_| ()).await;
        (tally, took)
    }

    #[tokio::test(start_paused = true)]
    async fn a_steady_proxy_is_seen_as_it_is() {
        let schedule = Schedule::new(200, 3);
        let (tally, took) = kept(schedule, |_| async {
            sleep(20 * MS).await;
            ended(LoadOutcome::Answered)
        })
        .await;
        assert_eq!((tally.begun, tally.answered(), tally.late, tally.stop()), (600, 600, 0, None));
        assert!(tally.latency().p99 < 25 * MS && took < schedule.length() + 25 * MS, "{tally:?}");
        let achieved = tally.achieved(schedule.length(), took);
        assert!((achieved - 200.0).abs() < 0.1, "{achieved}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_is_seen_by_every_request_that_was_due_in_it() {
        let began = Instant::now();
        let (tally, _) = kept(Schedule::new(100, 4), |due| async move {
            let at = due - began;
            // Nothing is answered between the first and the second second.
            let stalled = (1_000 * MS..2_000 * MS).contains(&at);
            sleep(if stalled { (2_000 * MS).saturating_sub(began.elapsed()) } else { MS }).await;
            ended(LoadOutcome::Answered)
        })
        .await;
        // One question after the other would have met the stall once: 1 of 301, beyond the 99th percentile.
        assert_eq!((tally.begun, tally.answered()), (400, 400));
        let latency = tally.latency();
        assert!(latency.p50 < 5 * MS && latency.p99 > 900 * MS && latency.max > 990 * MS, "{latency:?}");
        // Of the 100 requests due in the stall those of its first 750 ms got their answer after KMS's limit.
        assert!((74..=76).contains(&tally.late), "{}", tally.late);
    }

    #[tokio::test(start_paused = true)]
    async fn half_the_rate_is_not_the_rate() {
        let free_at = Cell::new(Instant::now());
        let schedule = Schedule::new(100, 5);
        let (tally, took) = kept(schedule, |_| {
            let turn = free_at.get().max(Instant::now()) + 20 * MS;
            free_at.set(turn);
            async move {
                sleep_until(turn).await;
                ended(LoadOutcome::Answered)
            }
        })
        .await;
        let achieved = tally.achieved(schedule.length(), took);
        assert!((50.0..54.0).contains(&achieved), "{achieved}");
        assert!(tally.latency().p99 > 2_000 * MS, "{:?}", tally.latency());
    }

    #[tokio::test(start_paused = true)]
    async fn it_stops_by_itself() {
        for (outcome, after, stop, most) in [
            (LoadOutcome::Throttled, 50, LoadStop::Throttled, 52),
            (LoadOutcome::Unconnected, 50, LoadStop::Unconnected, 56),
            (LoadOutcome::Refused, 50, LoadStop::Errors, 57),
        ] {
            let asked = Cell::new(0);
            let (tally, _) = kept(Schedule::new(100, 60), |_| {
                asked.set(asked.get() + 1);
                let outcome = if asked.get() > after { outcome } else { LoadOutcome::Answered };
                async move { ended(outcome) }
            })
            .await;
            assert_eq!(tally.stop(), Some(stop));
            assert!(asked.get() <= most, "{outcome:?}: {}", asked.get());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_error_in_twenty_is_borne_and_counted() {
        let asked = Cell::new(0);
        let (tally, _) = kept(Schedule::new(100, 10), |_| {
            asked.set(asked.get() + 1);
            let outcome = if asked.get() % 20 == 0 { LoadOutcome::TimedOut } else { LoadOutcome::Answered };
            async move { ended(outcome) }
        })
        .await;
        assert_eq!((tally.stop(), tally.answered(), tally.ended()), (None, 950, 1_000));
    }
}
