//! How often somebody may ask: each principal, and each address from which nobody was recognised.
//!
//! An address that guesses is told to wait; one that sends what is right is let in all the same, so that nobody can lock
//! out others behind the same address. What the limit bounds is what refusals cost: lines in logs and in the trail.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

/// How many principals or addresses are told apart; further ones share one limit until some of these have been quiet.
const MOST: usize = 10_000;

/// How often somebody may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run one request each so long.
    pub every: Duration,
    /// Requests at once, after a while of quiet.
    pub burst: NonZeroU32,
}

impl Rate {
    /// So many requests within this time, all at once or spread out.
    pub fn within(time: Duration, requests: NonZeroU32) -> Self {
        Self { every: time / requests.get(), burst: requests }
    }
}

/// The limits of one face.
pub struct Limits {
    principals: Limiter<String>,
    strangers: Limiter<IpAddr>,
}

type Store<K> = RateLimiter<K, HashMapStateStore<K>, Ticks, NoOpMiddleware<Duration>>;

/// One limit for each key, and one more for all that came when there were too many.
struct Limiter<K: std::hash::Hash + Eq + Clone>(Store<Option<K>>, Ticks);

/// Time as tokio tells it, which tests can stop.
#[derive(Clone, Copy, Debug)]
struct Ticks(Instant);

impl Clock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

impl Limits {
    /// Limits for each principal, and for each address from which nobody was recognised.
    pub fn new(principal: Rate, stranger: Rate) -> Self {
        Self { principals: Limiter::new(principal), strangers: Limiter::new(stranger) }
    }

    /// Counts a request of this principal; the error says after how long the next one may come.
    pub fn principal(&self, name: &str) -> Result<(), Duration> {
        self.principals.count(name.to_owned())
    }

    /// Counts a request from this address by which nobody was recognised.
    pub fn stranger(&self, address: IpAddr) -> Result<(), Duration> {
        self.strangers.count(network(address))
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits").field("principals", &self.principals.0.len()).finish_non_exhaustive()
    }
}

impl<K: std::hash::Hash + Eq + Clone> Limiter<K> {
    fn new(rate: Rate) -> Self {
        let ticks = Ticks(Instant::now());
        // No time at all between requests is as good as a nanosecond.
        let quota = Quota::with_period(rate.every).or_else(|| Quota::with_period(Duration::from_nanos(1)));
        let quota = quota.unwrap_or_else(|| Quota::per_second(NonZeroU32::MAX)).allow_burst(rate.burst);
        Self(RateLimiter::hashmap_with_clock(quota, ticks), ticks)
    }

    fn count(&self, key: K) -> Result<(), Duration> {
        let Self(limiter, ticks) = self;
        if limiter.len() > MOST {
            // Those who could ask again at full burst need not be remembered.
            limiter.retain_recent();
        }
        let key = (limiter.len() <= MOST).then_some(key);
        limiter.check_key(&key).map_err(|until| until.wait_time_from(ticks.now()))
    }
}

/// Whoever has one IPv6 address has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: u32, burst: u32) -> Rate {
        Rate { every: Duration::from_secs(1) / per_second, burst: NonZeroU32::new(burst).unwrap() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_then_the_rate_for_each_alone() {
        let limits = Limits::new(rate(10, 3), rate(1, 1));
        for _ in 0..3 {
            assert_eq!(limits.principal("ann"), Ok(()));
        }
        let wait = limits.principal("ann").unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_millis(100), "{wait:?}");
        assert_eq!(limits.principal("bob"), Ok(()), "another one has a limit of its own");
        tokio::time::advance(Duration::from_millis(100)).await;
        assert_eq!(limits.principal("ann"), Ok(()));
        assert!(limits.principal("ann").is_err());
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!((0..10).filter(|_| limits.principal("ann").is_ok()).count(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_of_one_network_are_one() {
        let limits = Limits::new(rate(1, 1), rate(1, 1));
        let ask = |address: &str| limits.stranger(address.parse().unwrap()).is_ok();
        assert!(ask("2001:db8::1"));
        assert!(!ask("2001:db8::ffff:1"));
        assert!(ask("2001:db8:0:1::1"));
        assert!(ask("192.0.2.1"));
        assert!(!ask("::ffff:192.0.2.1"), "the same address in other clothes");
        assert!(ask("192.0.2.2"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_names_takes_bounded_room() {
        let limits = Limits::new(rate(1, 1), rate(1, 1));
        let taken =
            (0..u32::try_from(MOST).unwrap() + 500).filter(|n| limits.stranger(IpAddr::V4((*n).into())).is_ok());
        let taken = taken.count();
        assert!((MOST..MOST + 5).contains(&taken), "{taken}");
        assert!(limits.strangers.0.len() <= MOST + 2);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(limits.stranger("192.0.2.1".parse().unwrap()).is_ok(), "quiet ones are forgotten");
    }
}
