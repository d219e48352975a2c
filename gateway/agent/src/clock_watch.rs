//! Watches the wall clock against the monotonic clock (design.md C9), pure.
//!
//! A step is told once it is larger than drift and rounding can be; once a time service says that
//! the clock is right, the map from this boot's monotonic clock to UTC is told, and again after
//! every step while it stays right. Where no service does, the map comes from a GNSS receiver.

use protocols_model::{Instant, Timestamp};

/// Smaller differences between two looks are drift, suspended timers or a slewing clock.
const STEP_NS: i64 = 500_000_000;

/// What a look at the clocks shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The wall clock stepped by so many nanoseconds.
    Step(i64),
    /// UTC of the monotonic origin, and how far off it may be in nanoseconds.
    Map(Timestamp, u64),
}

/// Uncertainty of a clock that a network time service keeps: far above its usual error, far below
/// what matters to a chart.
const UNCERTAINTY_NS: u64 = 100_000_000;

/// Uncertainty of a GNSS receiver's time as it arrives here: a sentence comes up to a second after the
/// moment it names.
const GNSS_UNCERTAINTY_NS: u64 = 1_000_000_000;

#[derive(Debug, Default)]
pub(crate) struct ClockWatch {
    origin: Option<i64>,
    mapped: bool,
    /// The origin that was last told by a GNSS receiver's word.
    by_gnss: Option<i64>,
}

impl ClockWatch {
    /// Compares the clocks, read as closely together as possible. While no time service has set the wall
    /// clock, `gnss` may know UTC of the monotonic origin.
    pub(crate) fn look(
        &mut self,
        mono: Instant,
        wall: Timestamp,
        synced: bool,
        gnss: Option<Timestamp>,
    ) -> Vec<Seen> {
        let since_origin = i64::try_from(mono.0.as_nanos()).unwrap_or(i64::MAX);
        let origin = wall.0.saturating_sub(since_origin);
        let mut seen = Vec::new();
        let before = *self.origin.get_or_insert(origin);
        let step = origin.saturating_sub(before);
        if step.abs() >= STEP_NS {
            seen.push(Seen::Step(step));
            self.mapped = false;
        }
        self.origin = Some(origin);
        if synced {
            self.by_gnss = None;
            if !self.mapped {
                self.mapped = true;
                seen.push(Seen::Map(Timestamp(origin), UNCERTAINTY_NS));
            }
            return seen;
        }
        self.mapped = false;
        if let Some(Timestamp(origin)) = gnss {
            let told = self.by_gnss;
            if told.is_none_or(|told| told.abs_diff(origin) >= 2 * GNSS_UNCERTAINTY_NS) {
                self.by_gnss = Some(origin);
                seen.push(Seen::Map(Timestamp(origin), GNSS_UNCERTAINTY_NS));
            }
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SECOND: i64 = 1_000_000_000;

    fn look(watch: &mut ClockWatch, seconds: u64, offset_ns: i64, synced: bool) -> Vec<Seen> {
        let mono = Instant(Duration::from_secs(seconds));
        let wall = Timestamp(i64::try_from(seconds).unwrap() * SECOND + offset_ns);
        watch.look(mono, wall, synced, None)
    }

    #[test]
    fn a_gnss_receiver_places_the_readings_until_a_time_service_does() {
        let mut watch = ClockWatch::default();
        let at = |seconds| Instant(Duration::from_secs(seconds));
        let utc = 1_700_000_000 * SECOND;
        // The board believes that it is 1970.
        let mut look = |seconds, synced, gnss| {
            let wall = Timestamp(i64::try_from(seconds).unwrap() * SECOND);
            watch.look(at(seconds), wall, synced, gnss)
        };
        assert_eq!(look(0, false, None), []);
        let map = |ns, off| Seen::Map(Timestamp(ns), off);
        let told = look(5, false, Some(Timestamp(utc)));
        assert_eq!(told, [map(utc, GNSS_UNCERTAINTY_NS)]);
        let late = Some(Timestamp(utc + SECOND / 2));
        assert_eq!(look(10, false, late), [], "within what was told");
        let other = Some(Timestamp(utc + 3 * SECOND));
        let again = look(15, false, other);
        assert_eq!(again, [map(utc + 3 * SECOND, GNSS_UNCERTAINTY_NS)]);
        assert_eq!(look(20, true, other), [map(0, UNCERTAINTY_NS)]);
    }

    #[test]
    fn a_step_is_told_once_with_its_size_and_drift_is_not() {
        let mut watch = ClockWatch::default();
        assert!(look(&mut watch, 0, 0, false).is_empty());
        assert!(look(&mut watch, 5, 2_000_000, false).is_empty());
        let back = -3_600 * SECOND;
        let step = Seen::Step(back - 2_000_000);
        assert_eq!(look(&mut watch, 10, back, false), [step]);
        assert!(look(&mut watch, 15, back, false).is_empty());
    }

    #[test]
    fn the_map_is_told_when_the_clock_becomes_right_and_again_after_a_step() {
        let mut watch = ClockWatch::default();
        assert!(look(&mut watch, 0, 0, false).is_empty());
        let map = |ns| Seen::Map(Timestamp(ns), UNCERTAINTY_NS);
        assert_eq!(look(&mut watch, 5, 0, true), [map(0)]);
        assert!(look(&mut watch, 10, 0, true).is_empty());
        let step = [Seen::Step(SECOND), map(SECOND)];
        assert_eq!(look(&mut watch, 15, SECOND, true), step);
    }
}
