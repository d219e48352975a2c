//! Alarms and filters as the API asks for them.

use crate::query::SeriesId;
use protocols_model::{AlarmLevel, AlarmState, DeviceId, GatewayId, PointId, Timestamp};
use protocols_wire::EventKind;
use std::time::Duration;

/// How an alarm stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAlarm {
    /// Whose it is.
    pub gateway: GatewayId,
    /// Its name there.
    pub name: String,
    /// How bad.
    pub level: AlarmLevel,
    /// Where it stands.
    pub state: AlarmState,
    /// Somebody on site has put it aside.
    pub shelved: bool,
    /// For people.
    pub text: String,
    /// When it was last raised; `None` where nobody said.
    pub raised: Option<Timestamp>,
    /// When its gateway last spoke of it.
    pub changed: Timestamp,
    /// When that came.
    pub received: Timestamp,
    /// The points it is about.
    pub points: Vec<AlarmSeries>,
}

/// A point that an alarm is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmSeries {
    /// Its device.
    pub device: DeviceId,
    /// Its name there.
    pub point: PointId,
    /// Its newest series; `None` while it has none.
    pub series: Option<SeriesId>,
}

/// Which alarms.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AlarmFilter {
    /// Only of this gateway, revoked or not; without it, of all that are trusted.
    pub gateway: Option<GatewayId>,
    /// Only in one of these states; all when empty.
    pub states: Vec<AlarmState>,
    /// At most so many; 0 means 1 000, which is also the most.
    pub limit: usize,
}

/// Alarms in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AlarmCounts {
    /// Raised, and nobody said they know. Those put aside are not among these three.
    pub raised: u64,
    /// Raised, and somebody knows.
    pub acknowledged: u64,
    /// Over, and nobody said they know.
    pub returned: u64,
    /// Of whatever open state, put aside.
    pub shelved: u64,
    /// The worst level among the raised and acknowledged.
    pub worst: Option<AlarmLevel>,
}

/// Which events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter {
    /// Only of this gateway.
    pub gateway: Option<GatewayId>,
    /// Only of this kind.
    pub kind: Option<EventKind>,
    /// Only about this.
    pub subject: Option<String>,
    /// Only with a lower number.
    pub before: Option<i64>,
    /// At most so many; 1 000 are the most.
    pub limit: usize,
}

/// What came of a gateway in a span of time, counted as it was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Telemetry records.
    pub records: u64,
    /// Readings in them.
    pub stored: u64,
    /// Readings that filters of the gateway left out, as these records say.
    pub filtered: u64,
    /// Bytes of the records, each as it was sealed.
    pub bytes: u64,
}

/// What a record costs whatever it holds: version, boot, clocks, the name of its dictionary. Not charged
/// to its readings, so that what filters saved is not made larger by records that hold little.
pub const RECORD_FIXED_BYTES: u64 = 48;

/// Traffic is counted by hours, for so long.
pub const TRAFFIC_KEPT: Duration = Duration::from_secs(35 * 24 * 3600);

impl Traffic {
    /// What the left-out readings would have cost at the price of those that were stored; `None` where
    /// nothing was stored that could tell a price. An estimate: nobody encoded them.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate for people, of numbers far below 2^53"
    )]
    pub fn bytes_saved(&self) -> Option<u64> {
        let price = self.bytes_per_reading()?;
        Some((price * self.filtered as f64).round() as u64)
    }

    /// What a stored reading cost.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
    pub fn bytes_per_reading(&self) -> Option<f64> {
        let fixed = self.records.saturating_mul(RECORD_FIXED_BYTES);
        let bytes = self.bytes.saturating_sub(fixed);
        (self.stored > 0).then(|| bytes as f64 / self.stored as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saved_bytes_are_charged_at_the_price_of_stored_readings() {
        let day = Traffic {
            records: 10,
            stored: 100,
            filtered: 400,
            bytes: 10 * RECORD_FIXED_BYTES + 250,
        };
        assert_eq!(day.bytes_saved(), Some(1000));
        // Nothing was stored: there is no price.
        assert_eq!(Traffic::default().bytes_saved(), None);
        let only_counts = Traffic {
            records: 1,
            filtered: 5,
            bytes: 60,
            ..Traffic::default()
        };
        assert_eq!(only_counts.bytes_saved(), None);
    }
}
