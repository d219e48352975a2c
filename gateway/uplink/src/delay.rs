//! How long settling takes: the last delays, and their quantiles.

use std::time::Duration;

/// Delays remembered: enough for a 99th percentile, small enough to sort.
const REMEMBERED: usize = 256;

/// The last delays from handing over to being settled.
#[derive(Debug, Default)]
pub struct Delays {
    last: Vec<Duration>,
    next: usize,
}

impl Delays {
    /// One more.
    pub fn add(&mut self, delay: Duration) {
        if let Some(place) = self.last.get_mut(self.next) {
            *place = delay;
        } else {
            self.last.push(delay);
        }
        self.next = (self.next + 1) % REMEMBERED;
    }

    /// Median and 99th percentile; `None` before the first.
    #[must_use]
    pub fn quantiles(&self) -> Option<(Duration, Duration)> {
        let mut sorted = self.last.clone();
        sorted.sort_unstable();
        let at = |percent: usize| sorted.get(sorted.len() * percent / 100).copied();
        Some((at(50)?, at(99)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_follow_the_last_delays_only() {
        let mut delays = Delays::default();
        assert_eq!(delays.quantiles(), None);
        for ms in 1..=1000 {
            delays.add(Duration::from_millis(ms));
        }
        let (median, p99) = delays.quantiles().unwrap();
        assert!((860..890).contains(&median.as_millis()), "{median:?}");
        assert!((995..=1000).contains(&p99.as_millis()), "{p99:?}");
    }
}
