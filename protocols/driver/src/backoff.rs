//! Jittered exponential back-off that does not forget at the first success.
//!
//! A thing that comes back for a moment and fails again keeps its long wait: the wait starts over
//! only after the thing was well for as long as the last wait. Jitter keeps many of them apart.

use protocols_model::Instant;
use std::time::Duration;

/// How long to wait before the next attempt. The caller tells it of failures and successes.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    /// The wait without jitter that follows the next failure.
    next: Duration,
    well_since: Option<Instant>,
    rng: fastrand::Rng,
}

impl Backoff {
    /// Waits between `min` and `max`, doubling; a `max` below `min` counts as `min`.
    #[must_use]
    pub fn new(min: Duration, max: Duration) -> Self {
        Self::with_rng(min, max, fastrand::Rng::new())
    }

    /// The same with a given source of jitter, for tests.
    #[must_use]
    pub fn with_rng(min: Duration, max: Duration, rng: fastrand::Rng) -> Self {
        Self {
            min,
            max: max.max(min),
            next: min,
            well_since: None,
            rng,
        }
    }

    /// The thing failed at `now`: how long to wait. Between 3/4 of the step and the step.
    pub fn failed(&mut self, now: Instant) -> Duration {
        if let Some(since) = self.well_since.take()
            && now.since(since) >= self.next
        {
            self.next = self.min;
        }
        let step = self.next;
        self.next = step.saturating_mul(2).min(self.max);
        step.mul_f64(1.0 - 0.25 * self.rng.f64())
    }

    /// The thing works at `now`.
    pub fn succeeded(&mut self, now: Instant) {
        self.well_since.get_or_insert(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIN: Duration = Duration::from_secs(1);
    const MAX: Duration = Duration::from_secs(60);

    fn backoff(seed: u64) -> Backoff {
        Backoff::with_rng(MIN, MAX, fastrand::Rng::with_seed(seed))
    }

    #[test]
    fn a_flapping_thing_keeps_its_long_wait_and_a_healed_one_starts_over() {
        let mut b = backoff(1);
        let at = |s| Instant(Duration::from_secs(s));
        for _ in 0..5 {
            b.failed(at(0));
        }
        b.succeeded(at(10));
        assert!(b.failed(at(12)) >= Duration::from_secs(24));
        b.succeeded(at(100));
        b.succeeded(at(150));
        assert!(b.failed(at(160)) <= MIN);
    }

    proptest! {
        #[test]
        fn waits_stay_within_their_bounds(seed: u64, failures in 1usize..40) {
            let mut b = backoff(seed);
            for i in 0..failures {
                let wait = b.failed(Instant::default());
                prop_assert!(wait >= MIN.mul_f64(0.75) && wait <= MAX);
                let step = MIN.saturating_mul(1u32 << i.min(6)).min(MAX);
                prop_assert!(wait <= step && wait >= step.mul_f64(0.74));
            }
        }
    }
}
