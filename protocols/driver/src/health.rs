//! Which devices of a bus that are asked are dead, and when one of them may be probed: pure.
//!
//! A device is dead after so many failed requests in a row and alive with its first answer. All dead
//! devices together may use one part in [`PROBE_SHARE`] of the bus time: an allowance that grows with
//! time, up to one probe, and that each failed probe is charged to. A probe takes a moment in which
//! nothing else is due; only on a bus that never has one it goes first, after [`PATIENCE`]. While no
//! device is alive there is nobody to protect, and only the back-off counts.

use crate::{Backoff, PROBE_SHARE};
use protocols_model::Instant;
use std::time::Duration;

/// How long a probe that is due and affordable waits for an idle moment. Far above the usual period,
/// so that only an overloaded bus runs into it.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// When a silent device counts as dead, and how often it is probed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Failed requests in a row, at least 1, default 2.
    pub fails: u32,
    /// First wait before a probe, default 5 s.
    pub backoff_min: Duration,
    /// Longest wait before a probe, default 1 min.
    pub backoff_max: Duration,
}

impl Retry {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        fails: 2,
        backoff_min: Duration::from_secs(5),
        backoff_max: Duration::from_mins(1),
    };
}

impl Default for Retry {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The devices of one bus.
#[derive(Debug, Clone)]
pub struct Health {
    devices: Vec<Device>,
    /// Bus time that probes may use; below zero after a probe that took longer than expected.
    allowance: i128,
    /// The allowance never grows beyond the costliest probe, in nanoseconds.
    ceiling: i128,
    counted_until: Instant,
    /// Since when the allowance is at its ceiling.
    full_since: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Device {
    limit: u32,
    fails: u32,
    /// Set while the device is dead.
    probe_at: Option<Instant>,
    backoff: Backoff,
    probe_cost: i128,
}

fn nanos(span: Duration) -> i128 {
    i128::try_from(span.as_nanos()).unwrap_or(i128::MAX / 2)
}

impl Health {
    /// Devices with their retry settings and what a failed request to them costs the bus. All count
    /// as alive.
    #[must_use]
    pub fn new(devices: impl IntoIterator<Item = (Retry, Duration)>, now: Instant) -> Self {
        let device = |(retry, cost): (Retry, Duration)| Device {
            limit: retry.fails,
            fails: 0,
            probe_at: None,
            backoff: Backoff::new(retry.backoff_min, retry.backoff_max),
            probe_cost: nanos(cost),
        };
        let devices: Vec<Device> = devices.into_iter().map(device).collect();
        let ceiling = devices.iter().map(|u| u.probe_cost).max().unwrap_or(0);
        Self {
            devices,
            allowance: ceiling,
            ceiling,
            counted_until: now,
            full_since: Some(now),
        }
    }

    /// Whether the device is dead: not to be asked, only probed.
    #[must_use]
    pub fn is_dead(&self, device: usize) -> bool {
        self.devices
            .get(device)
            .is_some_and(|u| u.probe_at.is_some())
    }

    /// The device answered. Whether it was dead before.
    pub fn answered(&mut self, device: usize, now: Instant) -> bool {
        let Some(device) = self.devices.get_mut(device) else {
            return false;
        };
        device.fails = 0;
        device.backoff.succeeded(now);
        device.probe_at.take().is_some()
    }

    /// A request to the device failed after `cost` of bus time. Whether it died with that.
    pub fn failed(&mut self, device: usize, now: Instant, cost: Duration) -> bool {
        self.count(now);
        let Some(device) = self.devices.get_mut(device) else {
            return false;
        };
        device.fails = device.fails.saturating_add(1);
        if device.fails < device.limit {
            return false;
        }
        let was_dead = device.probe_at.is_some();
        device.probe_at = Some(now.plus(device.backoff.failed(now)));
        if was_dead {
            self.allowance -= nanos(cost);
            self.full_since = None;
        }
        !was_dead
    }

    /// The dead device to probe now: of those whose wait is over the one that waited longest. `idle`
    /// says that nothing else is due.
    pub fn probe(&mut self, now: Instant, idle: bool) -> Option<usize> {
        self.count(now);
        let (at, index, cost) = self.next()?;
        let patient = |since: Instant| since.plus(PATIENCE) > now;
        let hurried = || !patient(at) && self.full_since.is_some_and(|since| !patient(since));
        let affordable = self.all_dead() || self.allowance >= cost;
        (at <= now && affordable && (idle || hurried())).then_some(index)
    }

    /// When [`Health::probe`] will have something on an idle bus; `None` while no device is dead.
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
        let dead = self.devices.iter().enumerate();
        dead.filter_map(|(index, u)| Some((u.probe_at?, index, u.probe_cost)))
            .min()
    }

    fn all_dead(&self) -> bool {
        self.devices.iter().all(|u| u.probe_at.is_some())
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

    const RETRY: Retry = Retry {
        fails: 2,
        backoff_min: Duration::from_secs(1),
        backoff_max: Duration::from_secs(60),
    };

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_device_dies_after_its_fails_and_lives_with_its_first_answer() {
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

    #[test]
    fn dead_devices_together_take_no_more_than_their_share() {
        let cost = Duration::from_secs(2);
        let mut health = Health::new([(RETRY, cost); 4], Instant::default());
        let mut now = Instant::default();
        for dead in 0..3 {
            assert!(!health.failed(dead, now, cost));
            assert!(health.failed(dead, now, cost));
        }
        let mut spent = Duration::ZERO;
        while now.0 < Duration::from_secs(10_000) {
            now = now.max(health.next_probe().unwrap());
            let dead = health.probe(now, true).unwrap();
            now = now.plus(cost);
            spent += cost;
            health.failed(dead, now, cost);
        }
        let share = spent.as_secs_f64() / now.0.as_secs_f64();
        // The very first probe had not to be earned.
        assert!((0.04..=0.051).contains(&share), "{share}");
    }
}
