//! Which poll group has its turn: pure, on the monotonic clock.
//!
//! Due times lie on a grid that starts at the clock's origin, so that buses with the same period
//! wake together. On a bus the groups are set apart by phases: those of one period follow each other as
//! one ends where the next begins, so far as the bus has time for that, and groups with different periods
//! are shifted against each other, so that a slow group does not fall on a fast one. When several are due, the one whose period ends first goes first. A group
//! whose time has passed more than once is polled once; the others are counted as missed. Nothing is
//! ever queued.

use protocols_model::Instant;
use std::time::Duration;

/// The poll groups of one bus.
#[derive(Debug, Clone)]
pub struct Schedule {
    groups: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    period: Duration,
    phase: Duration,
    next: Instant,
    /// When the pass that is under way was due.
    running: Option<Instant>,
}

/// A group that may go on with its pass, or begin one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Index of the group.
    pub group: usize,
    /// Whether the pass begins with this turn.
    pub begins: bool,
    /// Polls of this group that were skipped since the one before.
    pub missed: u64,
}

impl Entry {
    /// The last point of the grid that is not after `now`, and its number.
    fn grid(&self, now: Instant) -> (Instant, u64) {
        let period = self.period.as_nanos().max(1);
        let since = now.0.saturating_sub(self.phase).as_nanos();
        let number = u64::try_from(since / period).unwrap_or(u64::MAX);
        let span = Duration::from_nanos(u64::try_from(since - since % period).unwrap_or(u64::MAX));
        (Instant(self.phase).plus(span), number)
    }

    fn begin(&mut self, now: Instant) -> u64 {
        let (latest, number) = self.grid(now);
        // `next` is off the grid before the first poll only.
        let missed = if latest > self.next {
            let (_, due) = self.grid(self.next);
            self.running = Some(latest);
            number - due
        } else {
            self.running = Some(self.next);
            0
        };
        self.next = if latest > now {
            latest
        } else {
            latest.plus(self.period)
        };
        missed
    }
}

impl Schedule {
    /// Groups with these periods; all are due at `now` for the first time.
    #[must_use]
    pub fn new(periods: &[Duration], now: Instant) -> Self {
        let groups = periods.iter().map(|period| (*period, Duration::ZERO));
        Self::staggered(&groups.collect::<Vec<_>>(), now)
    }

    /// Groups with these periods and the bus time that a pass of each takes; all are due at `now` for the
    /// first time.
    #[must_use]
    pub fn staggered(groups: &[(Duration, Duration)], now: Instant) -> Self {
        let mut distinct: Vec<Duration> = groups.iter().map(|group| group.0).collect();
        distinct.sort_unstable();
        distinct.dedup();
        let shortest = distinct.first().copied().unwrap_or_default();
        let parts = u32::try_from(distinct.len()).unwrap_or(u32::MAX).max(1);
        // How much of each period is given away already.
        let mut taken = vec![Duration::ZERO; distinct.len()];
        let entry = |&(period, cost): &(Duration, Duration)| {
            let rank = distinct.iter().position(|p| *p == period).unwrap_or(0);
            let shift = shortest / parts * u32::try_from(rank).unwrap_or(0);
            let behind = taken.get(rank).copied().unwrap_or_default();
            if let Some(taken) = taken.get_mut(rank) {
                // A bus that has no time left keeps its last groups together.
                *taken = (behind + cost).min(period / 2);
            }
            Entry {
                period,
                phase: shift + behind,
                next: now,
                running: None,
            }
        };
        Self {
            groups: groups.iter().map(entry).collect(),
        }
    }

    /// The group whose turn it is; `None` when nothing is due. The group keeps its pass until
    /// [`Schedule::finish`], but others with an earlier end come in between.
    pub fn turn(&mut self, now: Instant) -> Option<Turn> {
        let ready = self.groups.iter().enumerate().filter_map(|(index, entry)| {
            let due = entry
                .running
                .or((entry.next <= now).then_some(entry.next))?;
            Some((due.plus(entry.period), index))
        });
        let (_, group) = ready.min()?;
        let entry = self.groups.get_mut(group)?;
        let begins = entry.running.is_none();
        let missed = if begins { entry.begin(now) } else { 0 };
        Some(Turn {
            group,
            begins,
            missed,
        })
    }

    /// The pass of this group is complete.
    pub fn finish(&mut self, group: usize) {
        if let Some(entry) = self.groups.get_mut(group) {
            entry.running = None;
        }
    }

    /// When [`Schedule::turn`] will have something; may be past.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.groups
            .iter()
            .map(|entry| entry.running.unwrap_or(entry.next))
            .min()
    }
}

#[cfg(test)]
mod fairness;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    const fn at(n: u64) -> Instant {
        Instant(ms(n))
    }

    /// Runs the schedule for `span` ms with polls of `cost` ms; begin times and missed per group.
    fn run(periods: &[Duration], cost: &[u64], start: u64, span: u64) -> Vec<(Vec<u64>, u64)> {
        let mut schedule = Schedule::new(periods, at(start));
        let mut seen = vec![(Vec::new(), 0); periods.len()];
        let mut now = start;
        while now < start + span {
            match schedule.turn(at(now)) {
                Some(turn) => {
                    assert!(turn.begins);
                    seen[turn.group].0.push(now);
                    seen[turn.group].1 += turn.missed;
                    now += cost[turn.group];
                    schedule.finish(turn.group);
                }
                None => {
                    let next = schedule.next_due().unwrap();
                    assert!(next > at(now), "a due group had no turn");
                    now = u64::try_from(next.0.as_nanos().div_ceil(1_000_000)).unwrap();
                }
            }
        }
        seen
    }

    #[test]
    fn polls_begin_at_once_and_then_keep_to_the_grid() {
        let seen = run(&[ms(1000)], &[10], 350, 4000);
        assert_eq!(seen[0].0, [350, 1000, 2000, 3000, 4000]);
        assert_eq!(seen[0].1, 0);
    }

    #[test]
    fn a_slow_group_does_not_fall_on_a_fast_one() {
        let seen = run(&[ms(1000), ms(5000)], &[1, 1], 0, 12_000);
        assert!(
            seen[1].0[1..].iter().all(|t| t % 1000 == 500),
            "{:?}",
            seen[1]
        );
        assert!(seen[0].0[1..].iter().all(|t| t % 1000 == 0));
    }

    #[test]
    fn groups_of_one_period_follow_each_other_instead_of_waiting_for_each_other() {
        let groups = [(ms(1000), ms(100)), (ms(1000), ms(200)), (ms(1000), ms(50))];
        let mut schedule = Schedule::staggered(&groups, at(0));
        let mut begun = vec![Vec::new(); 3];
        for now in 0..4000 {
            while let Some(turn) = schedule.turn(at(now)) {
                begun[turn.group].push(now);
                schedule.finish(turn.group);
            }
        }
        assert_eq!(begun[0], [0, 1000, 2000, 3000]);
        // All at once when the bus begins, then each when the one before it is done.
        assert_eq!(begun[1], [0, 100, 1100, 2100, 3100]);
        assert_eq!(begun[2], [0, 300, 1300, 2300, 3300]);
        // A bus with too little time keeps the last ones together, and nobody a whole period late.
        let crowded = Schedule::staggered(&[(ms(100), ms(90)); 5], at(0));
        assert!(crowded.groups.iter().all(|group| group.phase <= ms(50)));
    }

    #[test]
    fn what_could_not_be_polled_in_time_is_counted_and_not_queued() {
        let mut schedule = Schedule::new(&[ms(100)], at(0));
        assert_eq!(schedule.turn(at(0)).unwrap().missed, 0);
        // The pass takes until 350: due at 100 and 200 are gone, 300 is polled late.
        assert!(!schedule.turn(at(350)).unwrap().begins);
        schedule.finish(0);
        let turn = schedule.turn(at(350)).unwrap();
        assert_eq!((turn.begins, turn.missed), (true, 2));
        schedule.finish(0);
        assert_eq!(schedule.turn(at(399)), None);
        assert_eq!(schedule.turn(at(400)).unwrap().missed, 0);
    }

    #[test]
    fn a_long_pass_lets_a_short_period_in_between() {
        let mut schedule = Schedule::new(&[ms(60_000), ms(1000)], at(0));
        assert_eq!(schedule.turn(at(0)).unwrap().group, 1);
        schedule.finish(1);
        assert_eq!(schedule.turn(at(1)).unwrap().group, 0);
        assert_eq!(schedule.turn(at(999)).unwrap().group, 0);
        assert_eq!(schedule.turn(at(1000)).unwrap().group, 1);
        schedule.finish(1);
        let back = schedule.turn(at(1001)).unwrap();
        assert_eq!((back.group, back.begins), (0, false));
    }

    proptest! {
        #[test]
        fn each_due_time_is_polled_or_counted(
            groups in prop::collection::vec((1u64..50, 1u64..30), 1..6),
            start in 0u64..10_000,
        ) {
            let periods: Vec<_> = groups.iter().map(|g| ms(g.0 * 100)).collect();
            let cost: Vec<_> = groups.iter().map(|g| g.1).collect();
            let span = 60_000;
            for ((polls, missed), period) in run(&periods, &cost, start, span).iter().zip(&periods) {
                let due = u128::from(span) / period.as_millis();
                let got = polls.len() as u128 + u128::from(*missed);
                prop_assert!(got.abs_diff(due) <= 2, "{got} of {due}");
            }
        }

        #[test]
        fn an_overloaded_bus_starves_no_group(count in 2usize..8) {
            // Each poll takes as long as the fast period: ten times too much to do.
            let mut periods = vec![ms(100); count];
            periods.push(ms(10_000));
            let seen = run(&periods, &vec![100; count + 1], 0, 100_000);
            for (polls, missed) in &seen {
                prop_assert!(polls.len() >= 5);
                prop_assert!(*missed > 0 || polls.len() >= 9);
            }
        }
    }
}
