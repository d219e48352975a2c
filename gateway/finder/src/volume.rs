//! How many bytes a day a configuration will send, as a range: what is certain is the most that can come.
//!
//! A reading costs what the wire format was measured to take (design: 3.3 bytes in batches of a second,
//! 1.2 and less in batches of ten); how many of a point's readings are reported depends on what the
//! device says, between the sign of life and every reading.

use std::time::Duration;

/// Bytes of a reading in a batch of one second, envelope included; measured, rounded up.
const BYTES_DENSE: f64 = 3.3;
/// Bytes of a reading that stands alone in its batch: stamp and column cost more than the value.
const BYTES_ALONE: f64 = 12.0;
/// Seconds of a day.
const DAY: f64 = 86_400.0;

/// How a point is reported.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flow {
    /// Readings a second.
    pub rate: f64,
    /// Longest silence of a point that reports changes; `None` when each reading is reported.
    pub changes: Option<Option<Duration>>,
}

/// Bytes a day, at least and at most.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Volume {
    /// When nothing changes.
    pub least: f64,
    /// When every reading is reported.
    pub most: f64,
}

/// What `flows` send in batches of the age `batch`.
#[must_use]
pub fn volume(flows: impl IntoIterator<Item = Flow>, batch: Duration) -> Volume {
    let mut volume = Volume::default();
    for flow in flows {
        let day = |rate: f64| {
            // How many readings of the point share a batch: its column is told once for all of them.
            let shared = (rate * batch.as_secs_f64()).max(0.0);
            let bytes = if shared >= 1.0 {
                BYTES_DENSE
            } else {
                BYTES_DENSE + (BYTES_ALONE - BYTES_DENSE) * (1.0 - shared)
            };
            rate * DAY * bytes
        };
        volume.most += day(flow.rate);
        volume.least += day(match flow.changes {
            None => flow.rate,
            Some(None) => 0.0,
            Some(Some(beat)) => flow
                .rate
                .min(1.0 / beat.as_secs_f64().max(f64::MIN_POSITIVE)),
        });
    }
    volume
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_point_that_is_read_each_second_costs_a_few_hundred_kilobytes_a_day() {
        let every = Flow {
            rate: 1.0,
            changes: None,
        };
        let found = volume([every], Duration::from_secs(1));
        assert!((found.most - 285_120.0).abs() < 1.0 && (found.least - found.most).abs() < 1.0);
        let quiet = Flow {
            rate: 1.0,
            changes: Some(Some(Duration::from_secs(300))),
        };
        let found = volume([quiet], Duration::from_secs(1));
        assert!(found.least < found.most / 50.0, "{found:?}");
    }

    proptest! {
        #[test]
        fn the_least_is_never_more_than_the_most(
            rates in prop::collection::vec(0.0..1000.0f64, 0..20),
            beat in 1u64..100_000,
            batch in 1u64..600,
        ) {
            let flows = rates.iter().enumerate().map(|(i, rate)| Flow {
                rate: *rate,
                changes: match i % 3 {
                    0 => None,
                    1 => Some(None),
                    _ => Some(Some(Duration::from_secs(beat))),
                },
            });
            let found = volume(flows, Duration::from_secs(batch));
            prop_assert!(found.least >= 0.0 && found.least <= found.most * (1.0 + 1e-9));
        }
    }
}
