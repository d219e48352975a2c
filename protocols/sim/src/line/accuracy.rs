//! How late the thread of a line is: the difference between what it promises and what it does.

use std::time::Duration;

/// Upper edges of the classes in microseconds; each about 1.6 times the one before.
const EDGES: [u64; 24] = [
    10, 16, 25, 40, 63, 100, 160, 250, 400, 630, 1000, 1600, 2500, 4000, 6300, 10_000, 16_000,
    25_000, 40_000, 63_000, 100_000, 160_000, 250_000, 1_000_000,
];

/// Lateness of all deadlines so far: counts in classes, so that it costs nothing to keep.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accuracy {
    counts: [u64; EDGES.len()],
    beyond: u64,
    worst: Duration,
}

impl Accuracy {
    /// Enters one deadline.
    pub fn enter(&mut self, late: Duration) {
        let micros = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        let class = EDGES.partition_point(|edge| *edge < micros);
        match self.counts.get_mut(class) {
            Some(count) => *count += 1,
            None => self.beyond += 1,
        }
        self.worst = self.worst.max(late);
    }

    /// Deadlines entered.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.beyond
    }

    /// The largest lateness.
    #[must_use]
    pub const fn worst(&self) -> Duration {
        self.worst
    }

    /// A lateness that `share` (0 to 1) of the deadlines do not exceed; the upper edge of its class.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let wanted = (self.count() as f64 * share).ceil();
        let mut sum = 0;
        for (edge, count) in EDGES.iter().zip(self.counts) {
            sum += count;
            if sum as f64 >= wanted {
                return Duration::from_micros(*edge).min(self.worst);
            }
        }
        self.worst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_never_below_what_was_entered() {
        let mut accuracy = Accuracy::default();
        assert_eq!(accuracy.quantile(0.99), Duration::ZERO);
        for micros in 1..=1000 {
            accuracy.enter(Duration::from_micros(micros));
        }
        accuracy.enter(Duration::from_secs(3));
        assert_eq!(accuracy.count(), 1001);
        assert!((500..=800).contains(&accuracy.quantile(0.5).as_micros()));
        assert!((990..=1600).contains(&accuracy.quantile(0.99).as_micros()));
        assert_eq!(accuracy.quantile(1.0), Duration::from_secs(3));
    }
}
