//! What the store must know of a telemetry record besides its bytes. Pure.
//!
//! Made once when a record comes (off the writer's thread), and again when the store is opened, for
//! the records whose counts and latest values were not yet written down: both ways give the same.

use crate::stamp;
use protocols_model::{DictionaryHash, Timestamp, ValueType};
use protocols_wire::{RecordStamp, Sample, Telemetry, TimeMap, Unchanged};
use std::time::Duration;

/// One column in numbers.
#[derive(Debug, Clone)]
pub(crate) struct ColumnDigest {
    /// Place of the dictionary.
    pub(crate) dictionary: u32,
    /// Place of the point in it.
    pub(crate) index: u32,
    /// Type of its values, where it has any.
    pub(crate) value_type: Option<ValueType>,
    /// Kept readings.
    pub(crate) readings: u64,
    /// Readings filtered out by rule.
    pub(crate) filtered: u64,
    /// The newest sample, its time corrected.
    pub(crate) newest: Option<Sample>,
    /// Whether its time cannot be right.
    pub(crate) newest_suspect: bool,
    /// Newest plausible time with a good value.
    pub(crate) last_good: Option<Timestamp>,
}

/// A sign of life of a point, its times corrected.
#[derive(Debug, Clone)]
pub(crate) struct SignDigest {
    /// Place of the dictionary.
    pub(crate) dictionary: u32,
    /// Place of the point in it.
    pub(crate) index: u32,
    /// The reading that the gateway sent last.
    pub(crate) sample: Sample,
    /// Whether its time cannot be right.
    pub(crate) suspect: bool,
    /// When it was confirmed.
    pub(crate) confirmed: Timestamp,
}

/// A telemetry record in numbers.
#[derive(Debug, Clone)]
pub(crate) struct Digest {
    /// When it was sealed.
    pub(crate) stamp: RecordStamp,
    /// [`stamp::clock_offset`] of it.
    pub(crate) offset: i64,
    /// Correction that was applied.
    pub(crate) shift: i64,
    /// Dictionaries it refers to.
    pub(crate) dictionaries: Vec<DictionaryHash>,
    /// Its columns.
    pub(crate) columns: Vec<ColumnDigest>,
    /// Its signs of life.
    pub(crate) signs: Vec<SignDigest>,
    /// Kept readings.
    pub(crate) readings: u64,
    /// Earliest and latest plausible time, corrected; `None` where there is none.
    pub(crate) span: Option<(Timestamp, Timestamp)>,
}

/// The digest of a record; `map` is its boot's time map, where one is known.
pub(crate) fn digest(
    record: RecordStamp,
    telemetry: &Telemetry,
    map: Option<&TimeMap>,
    received: Timestamp,
    retention: Duration,
) -> Digest {
    let offset = stamp::clock_offset(&record);
    let shift = stamp::shift(map, offset);
    let mut span: Option<(Timestamp, Timestamp)> = None;
    let mut columns = Vec::with_capacity(telemetry.columns.len());
    for column in &telemetry.columns {
        // Among plausible times the newest; where none is plausible, the one taken last.
        let mut newest: Option<(bool, Timestamp, &Sample)> = None;
        let (mut last_good, mut value_type) = (None, None);
        for sample in &column.samples {
            let time = stamp::corrected(sample.time, shift);
            let suspect = stamp::is_suspect(time, received, retention);
            let better = newest.is_none_or(|(was_suspect, newest, _)| {
                if suspect {
                    was_suspect
                } else {
                    was_suspect || time >= newest
                }
            });
            if better {
                newest = Some((suspect, time, sample));
            }
            if let Some(value) = &sample.value {
                value_type = value_type.or(Some(value.value_type()));
            }
            if !suspect {
                span = Some(span.map_or((time, time), |(a, b)| (a.min(time), b.max(time))));
                if sample.quality.is_good() {
                    last_good = last_good.max(Some(time));
                }
            }
        }
        columns.push(ColumnDigest {
            dictionary: column.dictionary,
            index: column.index,
            value_type,
            readings: column.samples.len() as u64,
            filtered: column.filtered,
            newest_suspect: newest.is_some_and(|(suspect, ..)| suspect),
            newest: newest.map(|(_, time, sample)| Sample {
                time,
                ..sample.clone()
            }),
            last_good,
        });
    }
    let sign = |unchanged: &Unchanged| {
        let time = stamp::corrected(unchanged.sample.time, shift);
        SignDigest {
            dictionary: unchanged.dictionary,
            index: unchanged.index,
            sample: Sample {
                time,
                ..unchanged.sample.clone()
            },
            suspect: stamp::is_suspect(time, received, retention),
            confirmed: stamp::corrected(unchanged.confirmed, shift),
        }
    };
    Digest {
        signs: telemetry.unchanged.iter().map(sign).collect(),
        stamp: record,
        offset,
        shift,
        dictionaries: telemetry.dictionaries.clone(),
        readings: columns.iter().map(|column| column.readings).sum(),
        columns,
        span,
    }
}
