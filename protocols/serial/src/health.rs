//! Which devices of an asked line are dead, and when one of them may be probed: pure.
//!
//! A device is dead after so many failed questions in a row and alive with its first answer. A probe
//! that failed keeps all dead devices waiting for so long that probing takes one part in
//! [`PROBE_SHARE`] of the time of the line; while no device is alive there is nobody to protect, and only
//! the back-off counts.

use crate::config::Retry;
use protocols_driver::{Backoff, PROBE_SHARE};
use protocols_model::Instant;
use std::time::Duration;

/// A probe waits for a moment in which nothing else is due, but no longer than this.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The devices of one line.
#[derive(Debug, Clone)]
pub struct Health {
    devices: Vec<Device>,
    /// While somebody is alive no dead device is probed before.
    affordable_at: Instant,
}

#[derive(Debug, Clone)]
struct Device {
    limit: u32,
    fails: u32,
    backoff: Backoff,
    /// Set while the device is dead.
    probe_at: Option<Instant>,
}

impl Health {
    /// Devices with these settings; all count as alive.
    #[must_use]
    pub fn new(retries: impl IntoIterator<Item = Retry>) -> Self {
        let device = |retry: Retry| Device {
            limit: retry.fails,
            fails: 0,
            backoff: Backoff::new(retry.backoff_min, retry.backoff_max),
            probe_at: None,
        };
        Self {
            devices: retries.into_iter().map(device).collect(),
            affordable_at: Instant::default(),
        }
    }

    /// Whether the device is dead: not to be asked, only probed.
    #[must_use]
    pub fn is_dead(&self, device: usize) -> bool {
        self.devices
            .get(device)
            .is_some_and(|d| d.probe_at.is_some())
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

    /// A question to the device failed after `cost` of line time. Whether it died with that.
    pub fn failed(&mut self, device: usize, now: Instant, cost: Duration) -> bool {
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
            self.affordable_at = now.plus(cost.saturating_mul(PROBE_SHARE - 1));
        }
        !was_dead
    }

    /// The dead device to probe now, the one that waited longest. `idle`: nothing else is due.
    #[must_use]
    pub fn probe(&self, now: Instant, idle: bool) -> Option<usize> {
        let (at, index) = self.next()?;
        let patient = !idle && now.since(at) < PATIENCE;
        (at <= now && !patient).then_some(index)
    }

    /// When [`Health::probe`] will have something on an idle line; `None` while no device is dead.
    #[must_use]
    pub fn next_probe(&self) -> Option<Instant> {
        self.next().map(|(at, _)| at)
    }

    fn next(&self) -> Option<(Instant, usize)> {
        let dead = self.devices.iter().enumerate();
        let next = dead
            .filter_map(|(index, d)| Some((d.probe_at?, index)))
            .min();
        let alone = self.devices.iter().all(|d| d.probe_at.is_some());
        let earliest = if alone {
            Instant::default()
        } else {
            self.affordable_at
        };
        next.map(|(at, index)| (at.max(earliest), index))
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

    #[test]
    fn a_device_dies_after_its_fails_and_lives_with_its_first_answer() {
        let mut health = Health::new([RETRY, RETRY]);
        let now = Instant(Duration::from_secs(5));
        assert!(!health.failed(0, now, Duration::ZERO));
        assert!(health.failed(0, now, Duration::ZERO));
        assert!(health.is_dead(0) && !health.is_dead(1));
        assert_eq!(health.probe(now, true), None);
        let due = health.next_probe().unwrap();
        assert_eq!(health.probe(due, true), Some(0));
        assert_eq!(health.probe(due, false), None);
        assert_eq!(health.probe(due.plus(PATIENCE), false), Some(0));
        assert!(health.answered(0, due));
        assert_eq!((health.is_dead(0), health.next_probe()), (false, None));
    }

    #[test]
    fn dead_devices_together_take_no_more_than_their_share() {
        let mut health = Health::new([RETRY; 4]);
        let mut now = Instant::default();
        let cost = Duration::from_secs(2);
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
        // Alone on the line only the back-off counts.
        health.failed(3, now, cost);
        health.failed(3, now, cost);
        assert!(health.next_probe().unwrap().since(now) < Duration::from_secs(2));
    }
}
