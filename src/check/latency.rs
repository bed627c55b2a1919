//! Latency over many samples.

use std::time::Duration;

use super::{AddressEvidence, Sample, SampleKind};

/// Quantiles of the samples of one kind, over all addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quantiles {
    /// Median.
    pub p50: Duration,
    /// 95 of 100 are not slower.
    pub p95: Duration,
    /// 99 of 100 are not slower.
    pub p99: Duration,
    /// The slowest.
    pub max: Duration,
    /// How many samples there were.
    pub count: usize,
}

/// Latency as KMS would feel it: cold on fresh connections, warm on kept ones.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Latency {
    /// Connect, TLS and request.
    pub cold: Quantiles,
    /// The request alone.
    pub warm: Quantiles,
}

impl Latency {
    /// Over every attempt that used the network; one that ran out of time counts with the time it was given.
    pub fn of(addresses: &[AddressEvidence]) -> Self {
        let samples = |kind| addresses.iter().flat_map(|a| &a.samples).filter(move |sample| sample.kind == kind);
        Self { cold: Quantiles::of(samples(SampleKind::Cold)), warm: Quantiles::of(samples(SampleKind::Warm)) }
    }
}

impl Quantiles {
    fn of<'a>(samples: impl Iterator<Item = &'a Sample>) -> Self {
        let mut times: Vec<Duration> =
            samples.flat_map(|sample| sample.attempts().map(super::Attempt::total)).collect();
        times.sort_unstable();
        // Nearest rank: with few samples the 99th percentile is the slowest one, which is what it should be.
        let rank = |percent: usize| {
            let index = (times.len() * percent).div_ceil(100).saturating_sub(1);
            times.get(index).copied().unwrap_or_default()
        };
        Self { p50: rank(50), p95: rank(95), p99: rank(99), max: rank(100), count: times.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Attempt;

    #[test]
    fn nearest_rank() {
        let samples: Vec<Sample> = (1..=100)
            .map(|ms| Sample {
                kind: SampleKind::Cold,
                first: Attempt { request: Some(Duration::from_millis(ms)), ..Attempt::default() },
                retry: None,
            })
            .collect();
        let quantiles = Quantiles::of(samples.iter());
        let ms = Duration::from_millis;
        assert_eq!(
            (quantiles.p50, quantiles.p95, quantiles.p99, quantiles.max, quantiles.count),
            (ms(50), ms(95), ms(99), ms(100), 100)
        );
        assert_eq!(Quantiles::of(samples[..5].iter()).p99, ms(5));
        assert_eq!(Quantiles::of([].iter()), Quantiles::default());
    }
}
