//! Alarms, and what filters saved.

use super::ms;
use cloud_store::{AlarmCounts, AlarmSeries, PointCounts, StoredAlarm, Traffic};
use protocols_model::{AlarmLevel, Timestamp};
use protocols_wire::{AlarmNote, AlarmPoint};
use serde::Serialize;
use utoipa::ToSchema;

/// A point that an alarm is about.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlarmPointView {
    /// Its device.
    pub(crate) device: String,
    /// Its name there.
    pub(crate) point: String,
    /// Its newest series; none while it has none, and in events.
    pub(crate) series: Option<i64>,
}

impl From<AlarmSeries> for AlarmPointView {
    fn from(point: AlarmSeries) -> Self {
        Self {
            device: point.device.to_string(),
            point: point.point.to_string(),
            series: point.series.map(|series| series.0),
        }
    }
}

/// An alarm as it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlarmView {
    /// The gateway.
    pub(crate) gateway: String,
    /// Its name there: that of its rule.
    pub(crate) name: String,
    /// `low`, `medium`, `high` or `critical`.
    pub(crate) level: &'static str,
    /// `raised`, `acknowledged`, `returned` (over, and nobody said they know) or `normal`.
    pub(crate) state: &'static str,
    /// Somebody on site has put it aside.
    pub(crate) shelved: bool,
    /// For people.
    pub(crate) text: String,
    /// When it was last raised, by the gateway's clock; none where nobody said.
    pub(crate) raised_ms: Option<i64>,
    /// When it last changed, by the gateway's clock.
    pub(crate) changed_ms: i64,
    /// When word of that came.
    pub(crate) received_ms: i64,
    /// The points it is about.
    pub(crate) points: Vec<AlarmPointView>,
}

impl From<StoredAlarm> for AlarmView {
    fn from(alarm: StoredAlarm) -> Self {
        Self {
            gateway: alarm.gateway.to_string(),
            name: alarm.name,
            level: alarm.level.as_str(),
            state: alarm.state.as_str(),
            shelved: alarm.shelved,
            text: alarm.text,
            raised_ms: alarm.raised.map(ms),
            changed_ms: ms(alarm.changed),
            received_ms: ms(alarm.received),
            points: alarm.points.into_iter().map(AlarmPointView::from).collect(),
        }
    }
}

/// Open alarms in numbers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlarmCountsView {
    /// Raised, and nobody said they know. Those put aside are not among these three.
    pub(crate) raised: u64,
    /// Raised, and somebody knows.
    pub(crate) acknowledged: u64,
    /// Over, and nobody said they know.
    pub(crate) returned: u64,
    /// Of whatever open state, put aside on site.
    pub(crate) shelved: u64,
    /// The worst level among the raised and acknowledged; none where there is none.
    pub(crate) worst: Option<&'static str>,
}

impl From<AlarmCounts> for AlarmCountsView {
    fn from(counts: AlarmCounts) -> Self {
        Self {
            raised: counts.raised,
            acknowledged: counts.acknowledged,
            returned: counts.returned,
            shelved: counts.shelved,
            worst: counts.worst.map(AlarmLevel::as_str),
        }
    }
}

/// What an event says of its alarm.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventAlarmView {
    /// `low`, `medium`, `high` or `critical`.
    pub(crate) level: &'static str,
    /// Where the alarm stood from then on: `raised`, `acknowledged`, `returned` or `normal`.
    pub(crate) state: &'static str,
    /// It was put aside: nobody was to be disturbed.
    pub(crate) shelved: bool,
    /// The points it is about.
    pub(crate) points: Vec<AlarmPointView>,
}

impl From<AlarmNote> for EventAlarmView {
    fn from(note: AlarmNote) -> Self {
        let point = |AlarmPoint { device, point }| AlarmPointView {
            device: device.to_string(),
            point: point.to_string(),
            series: None,
        };
        Self {
            level: note.level.as_str(),
            state: note.state.as_str(),
            shelved: note.quiet,
            points: note.points.into_iter().map(point).collect(),
        }
    }
}

/// What came of a gateway lately, and what its filters saved.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TrafficView {
    /// Counted since this full hour, some 24 hours ago, by when it came.
    pub(crate) since_ms: i64,
    /// Readings taken from devices: stored and left out.
    pub(crate) taken: u64,
    /// Readings that were sent and stored.
    pub(crate) stored: u64,
    /// Readings that filters on the gateway left out.
    pub(crate) filtered: u64,
    /// Bytes of the records that brought the stored ones.
    pub(crate) bytes: u64,
    /// What a stored reading cost of them, without what a record costs whatever it holds; none where
    /// nothing was stored.
    pub(crate) bytes_per_reading: Option<f64>,
    /// What the left-out readings would have cost at that price: an estimate; none where there is no
    /// price.
    pub(crate) bytes_saved: Option<u64>,
}

impl TrafficView {
    pub(crate) fn new(since: Timestamp, traffic: Traffic) -> Self {
        Self {
            since_ms: ms(since),
            taken: traffic.stored.saturating_add(traffic.filtered),
            stored: traffic.stored,
            filtered: traffic.filtered,
            bytes: traffic.bytes,
            bytes_per_reading: traffic.bytes_per_reading(),
            bytes_saved: traffic.bytes_saved(),
        }
    }
}

/// What became of all readings of a gateway since ever: taken = stored + filtered + lost.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct CountsView {
    /// Taken from devices.
    pub(crate) taken: u64,
    /// Sent and stored; what retention dropped later still counts.
    pub(crate) stored: u64,
    /// Left out by filters on the gateway.
    pub(crate) filtered: u64,
    /// Lost, as far as the ledger can tell it per point.
    pub(crate) lost: u64,
}

impl CountsView {
    pub(crate) fn sum(counts: &[PointCounts]) -> Self {
        let mut sum = Self::default();
        for count in counts {
            sum.stored += count.stored;
            sum.filtered += count.filtered + count.lost_filtered;
            sum.lost += count.lost;
        }
        sum.taken = sum.stored + sum.filtered + sum.lost;
        sum
    }
}

/// What became of a gateway's readings.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GatewayTrafficView {
    /// Within a day.
    pub(crate) day: TrafficView,
    /// Since ever.
    pub(crate) ever: CountsView,
}
