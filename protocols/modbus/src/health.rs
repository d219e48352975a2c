//! Which units of a bus are dead, and when one of them may be probed: pure.
//!
//! A unit is dead after so many failed requests in a row and alive with its first answer. All dead
//! units together may use one part in [`PROBE_SHARE`] of the bus time: an allowance that grows with
//! time, up to one probe, and that each failed probe is charged to. A probe takes a moment in which
//! nothing else is due; only on a bus that never has one it goes first, after [`PATIENCE`]. While no
//! unit is alive there is nobody to protect, and only the back-off counts.

use crate::config::Retry;
use protocols_driver::{Backoff, PROBE_SHARE};
use protocols_model::Instant;
use std::time::Duration;

/// How long a probe that is due and affordable waits for an idle moment. Far above the usual period,
/// so that only an overloaded bus runs into it.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The units of one bus.
#[derive(Debug, Clone)]
pub struct Health {
    units: Vec<Unit>,
    /// Bus time that probes may use; below zero after a probe that took longer than expected.
    allowance: i128,
    /// The allowance never grows beyond the costliest probe, in nanoseconds.
    ceiling: i128,
    counted_until: Instant,
    /// Since when the allowance is at its ceiling.
    full_since: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Unit {
    limit: u32,
    fails: u32,
    /// Set while the unit is dead.
    probe_at: Option<Instant>,
    backoff: Backoff,
    probe_cost: i128,
}

fn nanos(span: Duration) -> i128 {
    i128::try_from(span.as_nanos()).unwrap_or(i128::MAX / 2)
}

impl Health {
    /// Units with their retry settings and what a failed request to them costs the bus. All count
    /// as alive.
    #[must_use]
    pub fn new(units: impl IntoIterator<Item = (Retry, Duration)>, now: Instant) -> Self {
        let unit = |(retry, cost): (Retry, Duration)| Unit {
            limit: retry.fails,
            fails: 0,
            probe_at: None,
            backoff: Backoff::new(retry.backoff_min, retry.backoff_max),
            probe_cost: nanos(cost),
        };
        let units: Vec<Unit> = units.into_iter().map(unit).collect();
        let ceiling = units.iter().map(|u| u.probe_cost).max().unwrap_or(0);
        Self {
            units,
            allowance: ceiling,
            ceiling,
            counted_until: now,
            full_since: Some(now),
        }
    }

    /// Whether the unit is dead: not to be asked, only probed.
    #[must_use]
    pub fn is_dead(&self, unit: usize) -> bool {
        self.units.get(unit).is_some_and(|u| u.probe_at.is_some())
    }

    /// The unit answered. Whether it was dead before.
    pub fn answered(&mut self, unit: usize, now: Instant) -> bool {
        let Some(unit) = self.units.get_mut(unit) else {
            return false;
        };
        unit.fails = 0;
        unit.backoff.succeeded(now);
        unit.probe_at.take().is_some()
    }

    /// A request to the unit failed after `cost` of bus time. Whether it died with that.
    pub fn failed(&mut self, unit: usize, now: Instant, cost: Duration) -> bool {
        self.count(now);
        let Some(unit) = self.units.get_mut(unit) else {
            return false;
        };
        unit.fails = unit.fails.saturating_add(1);
        if unit.fails < unit.limit {
            return false;
        }
        let was_dead = unit.probe_at.is_some();
        unit.probe_at = Some(now.plus(unit.backoff.failed(now)));
        if was_dead {
            self.allowance -= nanos(cost);
            self.full_since = None;
        }
        !was_dead
    }

    /// The dead unit to probe now: of those whose wait is over the one that waited longest. `idle`
    /// says that nothing else is due.
    pub fn probe(&mut self, now: Instant, idle: bool) -> Option<usize> {
        self.count(now);
        let (at, index, cost) = self.next()?;
        let patient = |since: Instant| since.plus(PATIENCE) > now;
        let hurried = || !patient(at) && self.full_since.is_some_and(|since| !patient(since));
        let affordable = self.all_dead() || self.allowance >= cost;
        (at <= now && affordable && (idle || hurried())).then_some(index)
    }

    /// When [`Health::probe`] will have something on an idle bus; `None` while no unit is dead.
    #[must_use]
    pub fn next_probe(&self) -> Option<Instant> {
        let (at, _, cost) = self.next()?;
        if self.all_dead() {
            return Some(at);
        }
        let missing = (cost - self.allowance).max(0) * i128::from(PROBE_SHARE);
        let wait = Duration::from_nanos(u64::try_from(missing).unwrap_or(u64::MAX));
        Some(at.max(self.counted_until.plus(wait)))
    }

    fn next(&self) -> Option<(Instant, usize, i128)> {
        let dead = self.units.iter().enumerate();
        dead.filter_map(|(index, u)| Some((u.probe_at?, index, u.probe_cost)))
            .min()
    }

    fn all_dead(&self) -> bool {
        self.units.iter().all(|u| u.probe_at.is_some())
    }

    fn count(&mut self, now: Instant) {
        let earned = nanos(now.since(self.counted_until)) / i128::from(PROBE_SHARE);
        self.allowance = (self.allowance + earned).min(self.ceiling);
        self.counted_until = self.counted_until.max(now);
        if self.allowance >= self.ceiling {
            self.full_since.get_or_insert(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Schedule;
    use proptest::prelude::*;

    const RETRY: Retry = Retry {
        fails: 2,
        backoff_min: Duration::from_secs(1),
        backoff_max: Duration::from_secs(60),
    };

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_unit_dies_after_its_fails_and_lives_with_its_first_answer() {
        let mut health = Health::new([(RETRY, ms(600)), (RETRY, ms(600))], Instant::default());
        let now = Instant(Duration::from_secs(1));
        assert!(!health.failed(0, now, ms(600)));
        assert!(!health.is_dead(0));
        assert!(health.failed(0, now, ms(600)));
        assert!(health.is_dead(0) && !health.is_dead(1));
        assert_eq!(health.probe(now, true), None);
        let due = health.next_probe().unwrap();
        assert!(due.since(now) <= ms(1000) && due.since(now) >= ms(750));
        assert_eq!(health.probe(due, true), Some(0));
        assert!(health.answered(0, due));
        assert!(!health.is_dead(0));
        assert_eq!(health.next_probe(), None);
    }

    #[test]
    fn when_all_are_dead_only_the_back_off_holds_a_probe_back() {
        let mut health = Health::new([(RETRY, ms(600))], Instant::default());
        let mut now = Instant::default();
        for _ in 0..10 {
            health.failed(0, now, ms(600));
        }
        now = health.next_probe().unwrap();
        assert_eq!(health.probe(now, true), Some(0));
        assert!(now.0 <= Duration::from_secs(60));
    }

    /// One bus in simulated time: schedule and health as the driver uses them. Polls per live unit,
    /// and bus time spent on dead ones after they were found dead.
    fn simulate(live: usize, dead: usize, cost: u64, timeout: u64, span: u64) -> (Vec<u64>, u64) {
        let units = live + dead;
        let mut health = Health::new(vec![(RETRY, ms(timeout)); units], Instant::default());
        let mut schedule = Schedule::new(&vec![ms(1000); units], Instant::default());
        let (mut polls, mut probing, mut now) = (vec![0; live], 0, 0);
        while now < span {
            let at = Instant(ms(now));
            let turn = match health.probe(at, false) {
                Some(_) => None,
                None => schedule.turn(at),
            };
            if let Some(unit) = turn.is_none().then(|| health.probe(at, true)).flatten() {
                now += timeout;
                probing += timeout;
                health.failed(unit, Instant(ms(now)), ms(timeout));
            } else if let Some(turn) = turn {
                if turn.group < live {
                    now += cost;
                    polls[turn.group] += 1;
                    health.answered(turn.group, Instant(ms(now)));
                } else if !health.is_dead(turn.group) {
                    now += timeout;
                    health.failed(turn.group, Instant(ms(now)), ms(timeout));
                }
                schedule.finish(turn.group);
            } else {
                let next = [schedule.next_due(), health.next_probe()];
                let next = next.into_iter().flatten().min().unwrap();
                now = u64::try_from(next.0.as_nanos().div_ceil(1_000_000))
                    .unwrap()
                    .max(now + 1);
            }
        }
        (polls, probing)
    }

    #[test]
    fn an_overloaded_bus_still_finds_a_unit_that_came_back() {
        let (polls, probing) = simulate(20, 1, 100, 500, 600_000);
        assert!(probing >= 10 * 500, "{probing}");
        assert!(probing <= 600_000 / 20 + 1000);
        assert!(polls.iter().all(|n| n * 100 >= 280 * 95), "{polls:?}");
    }

    proptest! {
        #[test]
        fn dead_units_cost_the_bus_five_percent_and_live_ones_keep_their_rate(
            live in 1usize..10, dead in 1usize..20, cost in 1u64..80, timeout in 50u64..1000,
        ) {
            let span = 600_000;
            let (polls, probing) = simulate(live, dead, cost, timeout, span);
            prop_assert!(probing <= span / 20 + 2 * timeout, "{probing}");
            // Finding the dead ones dead costs two time-outs each, once.
            let finding = 2 * timeout * u64::try_from(dead).unwrap();
            let due = (span - finding) / 1000;
            // Nobody can keep a rate that the bus has no time for.
            prop_assume!(u64::try_from(live).unwrap() * cost < 940);
            // A probe that does not fit beside the live units costs each of them one poll.
            let fits = u64::try_from(live).unwrap() * cost + timeout <= 1000;
            let probes = if fits { 0 } else { probing.div_ceil(timeout) };
            let lost = probes.max((due - 2).div_ceil(20));
            for poll in polls {
                prop_assert!(poll + lost >= due - 2, "{poll} of {due}");
            }
        }
    }
}
