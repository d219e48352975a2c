//! What the API, the export and the oracle ask for.

use protocols_model::{
    DeviceId, DictionaryHash, Epoch, GatewayId, Lane, LossReason, PointId, Quality, RecordKey,
    SeqRange, SeqSet, Timestamp, Value, ValueType,
};
use protocols_wire::{AlarmNote, EventKind};
use std::time::Duration;

/// A series' number in this database; never given to another series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesId(pub i64);

/// A series: gateway, device, point, value type and unit (design.md C6).
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its number.
    pub id: SeriesId,
    /// The gateway.
    pub gateway: GatewayId,
    /// The device.
    pub device: DeviceId,
    /// The point.
    pub point: PointId,
    /// Type of its values.
    pub value_type: ValueType,
    /// Engineering unit, may be empty.
    pub unit: String,
    /// Decimal grid of the values, from the dictionary first seen; 1 for unscaled points.
    pub scale: f64,
}

/// The newest reading of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct Latest {
    /// The series.
    pub series: SeriesId,
    /// When it was taken.
    pub time: Timestamp,
    /// When the cloud received it: freshness is judged by this, not by the gateway's clock.
    pub received: Timestamp,
    /// The value; `None` exactly when the quality is bad.
    pub value: Option<Value>,
    /// How far it can be trusted.
    pub quality: Quality,
    /// When the series last had a good value; differs from `time` while readings are bad.
    pub last_good: Option<Timestamp>,
    /// The stamp is outside what can be right; `time` is as the gateway said it.
    pub suspect: bool,
    /// The gateway's last sign of life that it still says so; `None` while there was none since.
    pub confirmed: Option<Confirmed>,
}

/// A sign of life: the point was read again and said nothing new. No reading is stored for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmed {
    /// When the reading was taken that said so.
    pub at: Timestamp,
    /// When the cloud received the word.
    pub received: Timestamp,
}

/// How a device is, as far as the cloud can tell.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceState {
    /// The device.
    pub device: DeviceId,
    /// Its series.
    pub series: u64,
    /// Last link event the gateway reported: when, and its text.
    pub link: Option<(Timestamp, String)>,
    /// Newest sample, or sign of life, of any of its series, good or bad.
    pub newest: Option<Timestamp>,
    /// When the cloud received it.
    pub newest_received: Option<Timestamp>,
    /// Newest good sample of any of its series.
    pub newest_good: Option<Timestamp>,
    /// How many of its series have a latest value of bad quality.
    pub bad: u64,
}

/// A span of time, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// Begin.
    pub from: Timestamp,
    /// End.
    pub to: Timestamp,
}

/// A question for a chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryRange {
    /// Which span.
    pub range: TimeRange,
    /// At most so many buckets or samples come back; 1 to [`crate::query::MAX_POINTS`].
    pub points: usize,
    /// A span without readings longer than this, and than a bucket, is a gap; `None` lets the store judge by
    /// the spacing of what it answers, which depends on the range and on how many points are asked for.
    pub silence: Option<Duration>,
}

/// Most buckets or samples that one query returns.
pub const MAX_POINTS: usize = 10_000;

/// The answer for a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryResult {
    /// Samples when they are few, buckets otherwise.
    pub points: Points,
    /// Where there is nothing good to draw; at most [`MAX_GAPS`], the longest are kept.
    pub gaps: Vec<Gap>,
    /// Where times are estimated; at most [`MAX_ESTIMATED`].
    pub estimated: Vec<Estimated>,
}

/// Most estimated spans that one query returns.
pub const MAX_ESTIMATED: usize = 100;

/// A span whose readings come from a boot that never got a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimated {
    /// The first reading, as placed.
    pub from: Timestamp,
    /// The last.
    pub to: Timestamp,
    /// All of them together may lie so much earlier or later.
    pub uncertainty: Duration,
}

/// Most gaps that one query returns.
pub const MAX_GAPS: usize = 1_000;

/// What a chart draws.
#[derive(Debug, Clone, PartialEq)]
pub enum Points {
    /// Every sample of the range, oldest first.
    Raw(Vec<RawSample>),
    /// Down-sampled; empty buckets are left out. Buckets begin at multiples of `width`, so the
    /// first and the last may reach beyond the range.
    Buckets {
        /// Span of each bucket.
        width: Duration,
        /// The buckets, oldest first.
        buckets: Vec<Bucket>,
    },
}

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub struct RawSample {
    /// When it was taken.
    pub time: Timestamp,
    /// The value; `None` exactly when the quality is bad.
    pub value: Option<Value>,
    /// How far it can be trusted.
    pub quality: Quality,
}

/// Samples of one bucket, summed up. Minimum and maximum are exact, so peaks survive.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    /// Begin of the bucket.
    pub start: Timestamp,
    /// Samples in it.
    pub count: u64,
    /// Of these, samples of bad quality, which have no value.
    pub bad: u64,
    /// Smallest value; `None` for text, bytes, and where every sample is bad or not a number.
    pub min: Option<Value>,
    /// Largest value.
    pub max: Option<Value>,
    /// First value.
    pub first: Option<Value>,
    /// Last value.
    pub last: Option<Value>,
    /// Mean of the values that are numbers.
    pub avg: Option<f64>,
}

/// A span without good readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Last moment before it that had a reading, or the first bad one.
    pub from: Timestamp,
    /// First moment after it, or the last bad one.
    pub to: Timestamp,
    /// Why.
    pub kind: GapKind,
}

/// Why there is nothing good to draw. Lost ranges: [`crate::Queries::ledger`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapKind {
    /// Readings were taken and were bad; the first one's quality.
    Bad(Quality),
    /// There are no readings.
    Missing,
}

/// Which entries of the ledger.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LedgerFilter {
    /// Only of this gateway.
    pub gateway: Option<GatewayId>,
    /// Only those that name this series or name no points at all.
    pub series: Option<SeriesId>,
    /// Only those whose time range overlaps.
    pub range: Option<TimeRange>,
    /// Also entries whose records have all arrived after all.
    pub struck: bool,
    /// Entries with a number above this, for paging.
    pub after: i64,
    /// At most so many; 0 means 1 000, which is also the most.
    pub limit: usize,
}

/// An entry of the loss ledger.
#[derive(Debug, Clone, PartialEq)]
pub struct LedgerEntry {
    /// Its number, ascending with entry.
    pub id: i64,
    /// The gateway.
    pub gateway: GatewayId,
    /// Epoch of the lost records.
    pub epoch: Epoch,
    /// Their lane.
    pub lane: Lane,
    /// The range as claimed.
    pub range: SeqRange,
    /// What of it is lost: neither stored then nor since.
    pub lost: SeqSet,
    /// What happened.
    pub reason: LossReason,
    /// No lost reading is older. `None` where nobody knows (the cloud refused it unread).
    pub from: Option<Timestamp>,
    /// No lost reading is younger.
    pub to: Option<Timestamp>,
    /// Readings still lost; `None` when nobody can know.
    pub readings: Option<u64>,
    /// Where `readings` is unknown: at most so many.
    pub at_most: Option<u64>,
    /// Some records of the claim were stored, and how many readings they held is no longer known:
    /// `readings` and `points` are upper bounds.
    pub upper_bound: bool,
    /// Entered by the cloud at a refusal, not claimed by the gateway.
    pub by_cloud: bool,
    /// When the claim came.
    pub received: Timestamp,
    /// Per point, where known.
    pub points: Vec<LedgerPoint>,
}

/// Lost readings of one point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerPoint {
    /// The series; `None` while its dictionary is not known.
    pub series: Option<SeriesId>,
    /// The dictionary that names the point.
    pub dictionary: DictionaryHash,
    /// Its place there.
    pub index: u32,
    /// Readings lost.
    pub readings: u64,
    /// Readings that the lost records counted as filtered.
    pub filtered: u64,
}

/// Something that happened, as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// Its number, ascending with storing.
    pub id: i64,
    /// The gateway it is about.
    pub gateway: GatewayId,
    /// The record that brought it; `None` for events of the cloud itself.
    pub record: Option<RecordKey>,
    /// When it happened, corrected by the boot's time map at the time of storing.
    pub time: Timestamp,
    /// When the cloud received it.
    pub received: Timestamp,
    /// What.
    pub kind: EventKind,
    /// About what.
    pub subject: String,
    /// For people.
    pub text: String,
    /// What it says of the alarm named by the subject.
    pub alarm: Option<AlarmNote>,
}

/// What became of the readings of one series: taken = stored + filtered + lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PointCounts {
    /// The series.
    pub series: SeriesId,
    /// Readings stored since ever (retention does not lower it).
    pub stored: u64,
    /// Readings filtered out by rule, as the stored records say.
    pub filtered: u64,
    /// Readings lost, as claims say per point.
    pub lost: u64,
    /// Readings that lost records counted as filtered.
    pub lost_filtered: u64,
}

/// Input in quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineEntry {
    /// Its number.
    pub id: i64,
    /// Whose it was, where known.
    pub gateway: Option<GatewayId>,
    /// Topic it came on, or the record it was.
    pub topic: String,
    /// What is wrong with it.
    pub reason: String,
    /// When it first came.
    pub received: Timestamp,
    /// How often the same bytes came.
    pub times: u64,
    /// Its bytes, cut at [`crate::sqlite::QUARANTINE_PAYLOAD_BYTES`].
    pub payload: Vec<u8>,
}

/// Which samples to export.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ExportFilter {
    /// Only of this gateway.
    pub gateway: Option<GatewayId>,
    /// Only of this series.
    pub series: Option<SeriesId>,
}

/// One stored sample with everything known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportedSample {
    /// The series.
    pub series: SeriesId,
    /// When it was taken (corrected, where a time map said so).
    pub time: Timestamp,
    /// The value; `None` exactly when the quality is bad.
    pub value: Option<Value>,
    /// How far it can be trusted.
    pub quality: Quality,
    /// The record that brought it.
    pub record: RecordKey,
    /// Its stamp is outside what can be right.
    pub suspect: bool,
}
