//! Which poll group has its turn: pure, on the monotonic clock.
//!
//! Each group is due at its beginning and then once a period, on a grid that does not drift. When several
//! are due, the one whose period ends first goes first. A group whose time has passed more than once is
//! polled once; the others are counted as missed. Nothing is ever queued.

use protocols_model::Instant;
use std::time::Duration;

/// The poll groups of one line.
#[derive(Debug, Clone)]
pub struct Schedule(Vec<Entry>);

#[derive(Debug, Clone, Copy)]
struct Entry {
    period: Duration,
    next: Instant,
}

/// A group that is polled now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Its index.
    pub group: usize,
    /// Its polls that were skipped since the last one.
    pub missed: u64,
}

impl Schedule {
    /// Groups with these periods; all are due at `now` for the first time.
    #[must_use]
    pub fn new(periods: impl IntoIterator<Item = Duration>, now: Instant) -> Self {
        let entry = |period| Entry { period, next: now };
        Self(periods.into_iter().map(entry).collect())
    }

    /// The group whose turn it is, if one is due at `now`. Its next time is one or more periods later.
    pub fn turn(&mut self, now: Instant) -> Option<Turn> {
        let due = self
            .0
            .iter_mut()
            .enumerate()
            .filter(|(_, entry)| entry.next <= now);
        let (group, entry) =
            due.min_by_key(|(index, entry)| (entry.next.plus(entry.period), *index))?;
        let period = entry.period.as_nanos().max(1);
        let missed = u64::try_from(now.since(entry.next).as_nanos() / period).unwrap_or(u64::MAX);
        let late = u64::try_from(period.saturating_mul(u128::from(missed))).unwrap_or(u64::MAX);
        entry.next = entry
            .next
            .plus(Duration::from_nanos(late))
            .plus(entry.period);
        Some(Turn { group, missed })
    }

    /// When [`Schedule::turn`] will have something; may be past. `None` without groups.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.0.iter().map(|entry| entry.next).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn groups_keep_to_their_grid_and_count_what_they_miss() {
        let mut schedule = Schedule::new([ms(1000), ms(100)], Instant(ms(50)));
        let mut turn = |at| {
            schedule
                .turn(Instant(ms(at)))
                .map(|turn| (turn.group, turn.missed))
        };
        assert_eq!(turn(50), Some((1, 0)));
        assert_eq!(turn(50), Some((0, 0)));
        assert_eq!(turn(149), None);
        assert_eq!(turn(160), Some((1, 0)));
        // Due at 250, 350 and 450: polled once, two missed, and back on the grid at 550.
        assert_eq!(turn(460), Some((1, 2)));
        assert_eq!(turn(549), None);
        assert_eq!(turn(550), Some((1, 0)));
        assert_eq!(schedule.next_due(), Some(Instant(ms(650))));
    }

    #[test]
    fn an_overloaded_line_starves_no_group() {
        let mut schedule = Schedule::new([ms(100), ms(100), ms(1000)], Instant::default());
        let (mut polls, mut missed) = ([0; 3], 0);
        for step in 0..100 {
            let turn = schedule
                .turn(Instant(ms(step * 100)))
                .expect("always overdue");
            polls[turn.group] += 1;
            missed += turn.missed;
        }
        assert!(
            polls[2] >= 4 && polls[0] >= 40 && polls[1] >= 40,
            "{polls:?}"
        );
        assert!(missed >= 80);
    }
}
