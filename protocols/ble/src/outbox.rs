//! Readings that were heard and not yet handed over, because the pipeline had no room.
//!
//! Invariants: 1. every point has at most one reading here, its latest, so that the outbox is as large as
//! the point table at most; 2. a sweep's readings share device and time, as everywhere; 3. the oldest sweep
//! goes first. What has to make way for a newer reading of the same point is counted, sweep by sweep.

use protocols_driver::Sweep;
use std::collections::VecDeque;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: VecDeque<Sweep>,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds what was just heard. How many sweeps lost readings to it.
    pub(crate) fn push(&mut self, sweep: Sweep) -> u64 {
        let mut overrun = 0;
        for old in &mut self.waiting {
            if old.device != sweep.device {
                continue;
            }
            let before = old.readings.len();
            let newer = |point| sweep.readings.iter().any(|new| new.point == point);
            old.readings.retain(|reading| !newer(reading.point));
            overrun += u64::from(old.readings.len() < before);
        }
        self.waiting.retain(|old| !old.readings.is_empty());
        self.waiting.push_back(sweep);
        overrun
    }

    /// Takes the sweep that waited longest.
    pub(crate) fn pop(&mut self) -> Option<Sweep> {
        self.waiting.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocols_model::{DeviceId, Instant, PointKey, Reading, Timestamp, Value};

    fn sweep(device: &str, at: i64, points: &[u32]) -> Sweep {
        let value = Value::I64(at);
        let readings = points.iter();
        Sweep {
            bus: "radio".into(),
            device: DeviceId::try_new(device).unwrap(),
            taken: Instant::default(),
            readings: readings
                .map(|point| Reading::good(PointKey(*point), Timestamp(at), value.clone()))
                .collect(),
        }
    }

    #[test]
    fn the_latest_reading_of_each_point_survives_and_what_made_way_is_counted() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.push(sweep("a", 1, &[1, 2])), 0);
        assert_eq!(outbox.push(sweep("b", 2, &[3])), 0);
        assert_eq!(outbox.push(sweep("a", 3, &[2, 4])), 1);
        assert_eq!(outbox.push(sweep("b", 4, &[3])), 1);
        let all: Vec<_> = std::iter::from_fn(|| outbox.pop()).collect();
        let expected = [
            sweep("a", 1, &[1]),
            sweep("a", 3, &[2, 4]),
            sweep("b", 4, &[3]),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn ten_thousand_sweeps_of_one_device_are_one() {
        let mut outbox = Outbox::default();
        let overrun: u64 = (0..10_000)
            .map(|at| outbox.push(sweep("a", at, &[1, 2])))
            .sum();
        assert_eq!((overrun, outbox.waiting.len()), (9_999, 1));
    }
}
