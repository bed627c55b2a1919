//! How fast KMS is asked: a rate that leaves most of the shared quota to others, and patience when KMS has had enough.
//!
//! The rate is kept by a few lines here because they follow tokio's clock, which tests pause; limiters from the shelf
//! bring clocks of their own.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::kms::KmsError;

/// How fast and how patiently KMS is asked for keys.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Requests per second, ListKeys and DescribeKey together; default 100, a twentieth of the DescribeKey quota that
    /// the whole account and Region shares.
    pub per_second: u32,
    /// Requests at once; default 32.
    pub concurrency: usize,
    /// How often one request is made before the sweep gives up, when KMS throttles or does not answer; default 7.
    pub attempts: u32,
    /// How long everybody waits after the first refusal; each further one doubles it, up to 30 seconds. Default half a
    /// second.
    pub pause: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { per_second: 100, concurrency: 32, attempts: 7, pause: Duration::from_millis(500) }
    }
}

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How far requests may catch up with their rate after something else held them up.
const CATCH_UP: Duration = Duration::from_millis(50);

/// Keeps a [`Pace`].
#[derive(Debug)]
pub(super) struct Pacer {
    pace: Pace,
    /// When the next request may be made.
    next: Mutex<Option<Instant>>,
}

impl Pacer {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, next: Mutex::new(None) }
    }

    pub(super) fn concurrency(&self) -> usize {
        self.pace.concurrency.max(1)
    }

    /// Asks, in its turn and again as long as there is hope; every attempt takes a turn of its own.
    pub(super) async fn patiently<T, A>(&self, ask: impl Fn() -> A) -> Result<T, KmsError>
    where
        A: Future<Output = Result<T, KmsError>>,
    {
        let mut pause = self.pace.pause;
        let mut attempt = 1;
        loop {
            self.turn().await;
            match ask().await {
                Err(error) if error.is_worth_another_try() && attempt < self.pace.attempts => {
                    tracing::debug!(%error, attempt, "KMS is given time");
                    self.hold(pause);
                    // Others may have been given this one's turn; after the pause it queues again.
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    attempt += 1;
                }
                answer => return answer,
            }
        }
    }

    /// Waits until the rate permits one more request.
    async fn turn(&self) {
        let between = Duration::from_secs(1) / self.pace.per_second.max(1);
        let now = Instant::now();
        let mine = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let earliest = now.checked_sub(CATCH_UP).unwrap_or(now);
            let mine = next.map_or(now, |next| next.max(earliest));
            *next = Some(mine + between);
            mine
        };
        tokio::time::sleep_until(mine).await;
    }

    /// Lets everybody wait.
    fn hold(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        *next = next.map(|next| next.max(until)).or(Some(until));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::future::join_all;

    use super::*;

    fn throttled() -> KmsError {
        KmsError::Throttled { operation: "DescribeKey", message: "slow down".to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_holds_however_many_ask() {
        let pacer = Pacer::new(Pace { per_second: 100, ..Pace::default() });
        let begun = Instant::now();
        join_all((0..500).map(|_| pacer.patiently(async || Ok(())))).await;
        let took = begun.elapsed();
        assert!((4_900..5_100).contains(&took.as_millis()), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn patience_doubles_and_ends() {
        let pacer = Pacer::new(Pace { attempts: 4, pause: Duration::from_secs(1), ..Pace::default() });
        let asked = Cell::new(0);
        let begun = Instant::now();
        let refused = pacer.patiently(async || {
            asked.set(asked.get() + 1);
            Err::<(), _>(throttled())
        });
        assert_eq!(refused.await, Err(throttled()));
        assert_eq!(asked.get(), 4);
        assert!((7_000..7_100).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_is_throttled_holds_the_others() {
        let pacer = Pacer::new(Pace { pause: Duration::from_secs(3), ..Pace::default() });
        let first = Cell::new(true);
        pacer.patiently(async || if first.replace(false) { Err(throttled()) } else { Ok(()) }).await.unwrap();
        let held = Pacer::new(Pace::default());
        held.hold(Duration::from_secs(3));
        let begun = Instant::now();
        held.patiently(async || Ok(())).await.unwrap();
        assert!(begun.elapsed() >= Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_denial_is_not_repeated() {
        let pacer = Pacer::new(Pace::default());
        let asked = Cell::new(0);
        let denied = KmsError::AccessDenied { operation: "DescribeKey", message: "no".to_owned() };
        let answer = pacer.patiently(async || {
            asked.set(asked.get() + 1);
            Err::<(), _>(denied.clone())
        });
        assert_eq!(answer.await, Err(denied.clone()));
        assert_eq!(asked.get(), 1);
    }
}
