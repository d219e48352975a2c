//! A record: what one identity stands for. Bytes never change under an identity.
//!
//! These are the types. `seal` goes between them and bodies within the size limit, `cut` decides how much
//! goes into each, `telemetry` packs columns (`times`, `layout`, `write`, `read`) and `unchanged` signs of life beside them, `claims` and
//! `event` the rest, `proto` is the protobuf.

mod claims;
mod cut;
mod event;
mod layout;
mod proto;
mod read;
mod seal;
mod telemetry;
#[cfg(test)]
mod tests;
mod times;
mod unchanged;
mod write;

use bytes::Bytes;
use protocols_model::{
    AlarmLevel, AlarmState, BootId, Claim, DeviceId, DictionaryHash, Instant, PointId, Quality,
    Timestamp, Value,
};

/// When and in which boot a record was sealed; lets the cloud correct times later (design.md C9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordStamp {
    /// The boot.
    pub boot: BootId,
    /// Monotonic time since that boot's origin.
    pub mono: Instant,
    /// Wall clock estimate at the same moment.
    pub wall: Timestamp,
}

/// One record.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// When it was sealed.
    pub stamp: RecordStamp,
    /// What it holds.
    pub body: Body,
}

/// What a record holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Readings (lanes telemetry and bulk; alarm values).
    Telemetry(Telemetry),
    /// Entries of the loss ledger (lane event).
    Claims(Vec<Claim>),
    /// Something that happened (lane event or alarm).
    Event(Event),
    /// How a boot's clock maps to UTC (lane event).
    TimeMap(TimeMap),
}

/// Readings of many points, by column.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Telemetry {
    /// The dictionaries that the columns refer to by place.
    pub dictionaries: Vec<DictionaryHash>,
    /// One column a point.
    pub columns: Vec<Column>,
    /// Signs of life: points of which nothing new was worth sending. No readings: nothing is stored,
    /// counted or claimed of them.
    pub unchanged: Vec<Unchanged>,
}

/// A point still says what was sent of it last, within what its filters let pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Unchanged {
    /// Place of the dictionary in [`Telemetry::dictionaries`].
    pub dictionary: u32,
    /// Place of the point in that dictionary.
    pub index: u32,
    /// The reading that was sent last, with its own time.
    pub sample: Sample,
    /// When the newest reading was taken that said so; travels at millisecond resolution.
    pub confirmed: Timestamp,
}

/// The readings of one point, oldest first as taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Place of the dictionary in [`Telemetry::dictionaries`].
    pub dictionary: u32,
    /// Place of the point in that dictionary.
    pub index: u32,
    /// Readings of this point taken since the last record and filtered out by rule.
    pub filtered: u64,
    /// The readings that were kept.
    pub samples: Vec<Sample>,
}

impl Column {
    /// As the encoder looks at it.
    const fn view(&self) -> ColumnRef<'_> {
        ColumnRef {
            dictionary: self.dictionary,
            index: self.index,
            filtered: self.filtered,
            samples: self.samples.as_slice(),
        }
    }
}

/// A [`Column`] without its samples, which come beside it ([`Record::seal_columns`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnHead {
    /// Place of the dictionary among those that are listed.
    pub dictionary: u32,
    /// Place of the point in that dictionary.
    pub index: u32,
    /// Readings of this point taken since the last record and filtered out by rule.
    pub filtered: u64,
}

/// Gives columns one after the other; `None` after the last.
pub type NextColumn<'a> = &'a mut dyn FnMut(&mut Vec<Sample>) -> Option<ColumnHead>;

/// A column whose samples are somebody else's.
#[derive(Debug, Clone, Copy)]
struct ColumnRef<'a> {
    dictionary: u32,
    index: u32,
    filtered: u64,
    samples: &'a [Sample],
}

/// One kept reading.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// When it was taken; travels at millisecond resolution.
    pub time: Timestamp,
    /// The value; `None` exactly when the quality is bad. All values of a column have one type.
    pub value: Option<Value>,
    /// How far it can be trusted.
    pub quality: Quality,
}

/// What kind of thing happened. Numbers on the wire are never reassigned; an unknown one decodes
/// as [`EventKind::Other`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// The gateway process started.
    Started,
    /// The gateway process stops cleanly.
    Stopping,
    /// A device's link went up or down.
    DeviceLink,
    /// Sweeps were skipped because the bus was late.
    SweepsSkipped,
    /// The spool was damaged, rotated, quarantined or reached its bound.
    Spool,
    /// The wall clock stepped.
    ClockStep,
    /// The configuration changed or was refused.
    Configuration,
    /// Acknowledgements for something never sent, or a cloned identity.
    Identity,
    /// The cloud takes messages but does not settle them.
    StoreAway,
    /// An alarm was raised, acknowledged or cleared; see [`Event::alarm`].
    Alarm,
    /// A rule did something, or could not.
    Rule,
    /// A number this version does not know.
    Other(u32),
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When.
    pub time: Timestamp,
    /// What.
    pub kind: EventKind,
    /// About what: a device id, a bus, a file; may be empty. At most 256 bytes.
    pub subject: String,
    /// For people. At most 1024 bytes.
    pub text: String,
    /// What became of the alarm named by the subject.
    pub alarm: Option<AlarmNote>,
}

/// What an event says of an alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmNote {
    /// How bad.
    pub level: AlarmLevel,
    /// Where it stands now.
    pub state: AlarmState,
    /// It is shelved: nobody is to be disturbed.
    pub quiet: bool,
    /// Points that the alarm is about, as they are named in dictionaries; none that may not leave the
    /// site. At most [`crate::limits::MAX_ALARM_POINTS`].
    pub points: Vec<AlarmPoint>,
}

/// A point that an alarm is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmPoint {
    /// Its device.
    pub device: DeviceId,
    /// Its name there.
    pub point: PointId,
}

/// UTC of a boot's monotonic origin, once the clock is known to be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeMap {
    /// The boot.
    pub boot: BootId,
    /// UTC at monotonic zero of that boot.
    pub origin: Timestamp,
    /// How far off it may be, nanoseconds.
    pub uncertainty_ns: u64,
}

impl TimeMap {
    /// From this uncertainty on, 10 s, nobody has looked at a clock: the boot was placed between its
    /// neighbours.
    pub const ESTIMATED_FROM_NS: u64 = 10_000_000_000;

    /// Whether times by this map are to be shown as estimated.
    #[must_use]
    pub const fn is_estimate(&self) -> bool {
        self.uncertainty_ns >= Self::ESTIMATED_FROM_NS
    }
}

/// What the spool and the ledger need to know of a record without decoding it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecordSummary {
    /// Kept readings.
    pub readings: u64,
    /// Readings counted as filtered.
    pub filtered: u64,
    /// Oldest reading; the stamp's wall time where there is none.
    pub first: Timestamp,
    /// Youngest reading; the stamp's wall time where there is none.
    pub last: Timestamp,
}

/// A record in its final bytes, not yet numbered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedRecord {
    /// The encoded body, at most [`crate::limits::MAX_RECORD_BYTES`].
    pub body: Bytes,
    /// What it holds, in numbers.
    pub summary: RecordSummary,
}
