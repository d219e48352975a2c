//! How much of its time a bus needs, stated before a configuration is applied: pure.
//!
//! Reckoned from the plan, the speed of the line and the turnaround that was measured, or is assumed
//! ([`crate::timing::ASSUMED_TURNAROUND`], [`crate::timing::ASSUMED_ROUND_TRIP`]) until it is. Only answers
//! are reckoned; what silence costs is stated beside it: a device that dies costs
//! [`DeviceLoad::until_dead`] once, and all dead devices together at most a twentieth of the bus after
//! that. Writes come on top.

use crate::config::{Bus, Device};
use crate::learned::Snapshot;
use crate::plan::{self, Request, Rules};
use crate::timing::Timing;
use protocols_driver::PROBE_SHARE;
use protocols_model::DeviceId;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A bus that is to be busy for a larger part of its time does not keep its periods.
pub const MOST: f64 = 0.95;

/// What one device needs.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceLoad {
    /// The device.
    pub device: DeviceId,
    /// Each poll group, shortest period first.
    pub groups: Vec<GroupLoad>,
    /// The turnaround it was reckoned with.
    pub turnaround: Duration,
    /// Whether that was measured.
    pub is_measured: bool,
    /// Part of the bus time, 0 to 1 and above.
    pub share: f64,
    /// What one request costs that it does not answer.
    pub silence: Duration,
    /// What it costs until it counts as dead, once.
    pub until_dead: Duration,
}

/// The points of a device that share a period.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupLoad {
    /// How often.
    pub period: Duration,
    /// The requests of one pass.
    pub requests: Vec<Request>,
    /// How long one pass keeps the bus busy.
    pub busy: Duration,
}

/// What a bus needs.
#[derive(Debug, Clone, PartialEq)]
pub struct BusLoad {
    /// Each device, in the order of the configuration.
    pub devices: Vec<DeviceLoad>,
    /// How long it takes to read every point once.
    pub cycle: Duration,
    /// Part of the bus time, 0 to 1 and above.
    pub share: f64,
}

/// A bus has more to do than it has time.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "{load} needed, and more than {most} % cannot be kept: use longer periods, fewer points, a higher speed or another bus; `force = true` takes it as it is, and polls that do not fit are counted as missed",
    most = MOST * 100.0
)]
pub struct Overload {
    /// What is needed.
    pub load: String,
}

/// What the bus needs. With what was learned the plan is the one the driver will use.
#[must_use]
pub fn load(bus: &Bus, learned: Option<&Snapshot>) -> BusLoad {
    let timing = Timing::of(bus);
    let devices: Vec<_> = bus
        .devices
        .iter()
        .map(|device| device_load(bus, device, &timing, learned))
        .collect();
    BusLoad {
        cycle: devices.iter().flat_map(|d| &d.groups).map(|g| g.busy).sum(),
        share: sum(devices.iter().map(|d| d.share)),
        devices,
    }
}

/// The standard library's sum of no floats is -0.
fn sum(parts: impl Iterator<Item = f64>) -> f64 {
    parts.fold(0.0, |sum, part| sum + part)
}

fn device_load(
    bus: &Bus,
    device: &Device,
    timing: &Timing,
    learned: Option<&Snapshot>,
) -> DeviceLoad {
    let learned = learned.map(|snapshot| snapshot.learned(device));
    let learned = learned.unwrap_or_default();
    let turnaround = learned.turnaround().unwrap_or(timing.assumed());
    let rules = Rules::new(device, timing, &learned);
    let mut by_period = BTreeMap::<Duration, Vec<_>>::new();
    if !device.is_broadcast(bus.transport.is_rtu()) {
        for (index, point) in plan::polled(device) {
            let group = by_period.entry(point.period).or_default();
            group.push((index, point));
        }
    }
    let group = |(period, points): (Duration, Vec<_>)| {
        let requests = plan::plan(&points, &rules);
        let busy = |request| timing.request(request, device, turnaround);
        GroupLoad {
            period,
            busy: requests.iter().map(busy).sum(),
            requests,
        }
    };
    let groups: Vec<_> = by_period.into_iter().map(group).collect();
    let silence = timing.silence(device);
    DeviceLoad {
        device: device.id.clone(),
        turnaround,
        is_measured: learned.turnaround().is_some(),
        share: sum(groups.iter().map(GroupLoad::share)),
        silence,
        until_dead: silence * device.retry.fails,
        groups,
    }
}

impl GroupLoad {
    /// Part of the bus time.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.busy.as_secs_f64() / self.period.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl BusLoad {
    /// Whether the bus can keep its periods.
    ///
    /// # Errors
    /// [`Overload`] when more than [`MOST`] of the time is needed. Whoever applies the configuration may
    /// let it pass when told to.
    pub fn check(&self) -> Result<(), Overload> {
        if self.share <= MOST {
            return Ok(());
        }
        Err(Overload {
            load: self.to_string(),
        })
    }

    /// What the numbers assume, for people.
    #[must_use]
    pub fn assumptions(&self) -> String {
        let unmeasured = self.devices.iter().filter(|d| !d.is_measured);
        let slowest = self.devices.iter().map(|d| d.until_dead).max();
        let share = 100 / PROBE_SHARE;
        let all = self.devices.len();
        let mut text = match unmeasured.count() {
            0 => "turnaround as measured".to_owned(),
            count => format!("turnaround assumed, not measured yet, for {count} of {all} devices"),
        };
        if let Some(slowest) = slowest {
            text.push_str(&format!(
                "; a device that falls silent costs up to {} once, and all dead ones together at most {share} % after that",
                Millis(slowest)
            ));
        }
        text
    }
}

struct Millis(Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs_f64() {
            seconds if seconds >= 10.0 => write!(f, "{seconds:.0} s"),
            seconds if seconds >= 1.0 => write!(f, "{seconds:.1} s"),
            seconds if seconds >= 0.01 => write!(f, "{:.0} ms", seconds * 1e3),
            seconds => write!(f, "{:.1} ms", seconds * 1e3),
        }
    }
}

impl fmt::Display for BusLoad {
    /// `cycle 740 ms, 71 % of the bus`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.share * 100.0;
        let cycle = Millis(self.cycle);
        if percent < 1.0 {
            write!(f, "cycle {cycle}, {percent:.1} % of the bus")
        } else {
            write!(f, "cycle {cycle}, {percent:.0} % of the bus")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::bus_of;

    #[test]
    fn the_load_is_what_the_line_needs_for_the_plan() {
        let mut bus = bus_of("9600 8N1", &["hr:0", "hr:1", "hr:200"]);
        let load_now = load(&bus, None);
        // Two requests: 8 + 5 + 4 and 8 + 5 + 2 characters, two gaps of 3.5: 39 characters of 10 bits,
        // and twice the assumed turnaround.
        let expected = Duration::from_nanos(390_000_000_000 / 9600) + Duration::from_millis(20);
        assert!(load_now.cycle.abs_diff(expected) < Duration::from_micros(5));
        assert_eq!(load_now.to_string(), "cycle 61 ms, 6 % of the bus");
        assert_eq!(load_now.devices[0].groups[0].requests.len(), 2);
        assert_eq!(load_now.check(), Ok(()));
        for point in &mut bus.devices[0].points {
            point.period = Duration::from_millis(62);
        }
        let error = load(&bus, None).check().unwrap_err().to_string();
        assert!(
            error.starts_with("cycle 61 ms, 98 % of the bus needed"),
            "{error}"
        );
        assert!(error.contains("force = true"), "{error}");
        let text = load_now.assumptions();
        assert!(
            text.contains("1 of 1 devices") && text.contains("1.2 s once"),
            "{text}"
        );
    }

    #[test]
    fn what_is_only_written_and_what_is_broadcast_needs_nothing() {
        let mut bus = bus_of("9600 8N1", &["hr:0"]);
        bus.devices[0].points[0].write = Some(crate::config::Write {
            only: true,
            ..Default::default()
        });
        assert_eq!(load(&bus, None).cycle, Duration::ZERO);
        bus.devices[0].points[0].write = Some(crate::config::Write::default());
        bus.devices[0].unit = 0;
        assert_eq!(load(&bus, None).share.to_bits(), 0.0f64.to_bits());
        assert_eq!(
            load(&bus, None).to_string(),
            "cycle 0.0 ms, 0.0 % of the bus"
        );
    }
}
