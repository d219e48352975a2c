//! How long records wait for the disk: the commit interval, stretched where the flash needs rest.
//!
//! Pure. Each commit tells how many bytes it made the system write; their moving average times the
//! commits of a day must stay under `max_write_per_day`, up to the configured ceiling.

use std::time::Duration;

const DAY_SECONDS: u64 = 24 * 60 * 60;

/// The interval and what it is made of.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    normal: Duration,
    ceiling: Duration,
    per_day: Option<u64>,
    /// Moving average of the bytes written by one commit.
    per_commit: u64,
}

impl Pace {
    pub(crate) const fn new(normal: Duration, ceiling: Duration, per_day: Option<u64>) -> Self {
        Self {
            normal,
            ceiling,
            per_day,
            per_commit: 0,
        }
    }

    /// Notes that a commit wrote `bytes`.
    pub(crate) const fn committed(&mut self, bytes: u64) {
        self.per_commit = if self.per_commit == 0 {
            bytes
        } else {
            (self.per_commit / 8)
                .saturating_mul(7)
                .saturating_add(bytes / 8)
        };
    }

    /// How long a record waits now.
    pub(crate) fn interval(&self) -> Duration {
        let Some(per_day) = self.per_day else {
            return self.normal;
        };
        let millis = self.per_commit.saturating_mul(DAY_SECONDS * 1000) / per_day.max(1);
        Duration::from_millis(millis).clamp(self.normal, self.ceiling.max(self.normal))
    }

    /// Whether even the ceiling does not hold the day's limit.
    pub(crate) fn is_over(&self) -> bool {
        self.per_day.is_some_and(|per_day| {
            let ceiling = self.ceiling.max(self.normal).as_millis();
            u128::from(self.per_commit) * u128::from(DAY_SECONDS) * 1000
                > u128::from(per_day) * ceiling
        })
    }

    pub(crate) fn is_stretched(&self) -> bool {
        self.interval() > self.normal
    }
}

/// Bytes this process has caused to be written so far, if the system tells.
pub(crate) fn written_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/io").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("write_bytes:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_stretches_until_the_days_writes_fit_and_comes_back() {
        let (two, thirty) = (Duration::from_secs(2), Duration::from_secs(30));
        let mut pace = Pace::new(two, thirty, Some(1_000_000_000));
        assert_eq!(pace.interval(), two);
        pace.committed(100_000);
        // 100 kB a commit, 1 GB a day: 10 000 commits a day, one each 8.64 s.
        assert_eq!(pace.interval(), Duration::from_millis(8640));
        assert!(pace.is_stretched());
        assert!(!pace.is_over());
        pace.committed(100_000_000);
        assert_eq!(pace.interval(), thirty);
        assert!(pace.is_over(), "thirty seconds are not enough");
        for _ in 0..100 {
            pace.committed(1000);
        }
        assert_eq!(pace.interval(), two);
        assert!(!pace.is_over());
        let mut free = Pace::new(two, thirty, None);
        free.committed(u64::MAX);
        assert_eq!(free.interval(), two);
    }
}
