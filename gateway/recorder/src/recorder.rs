//! Readings to frames: pure, time as an argument.

use crate::frame::{Frame, Kind};
use protocols_model::{BootId, Instant, PointDescriptor, Reading, Timestamp};
use protocols_wire::{Column, Dictionary, EncodeError, Record, RecordStamp, Sample, Telemetry};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long readings wait for others: records of a second pack well, and a crash costs no more.
const AGE: Duration = Duration::from_secs(1);
/// Samples after which a record is made at once.
const MANY: usize = 8_192;

/// The recorder of one configuration.
#[derive(Debug)]
pub struct Recorder {
    dictionaries: Vec<Dictionary>,
    /// Place of each point in them.
    places: Vec<(u32, u32)>,
    open: BTreeMap<u32, Vec<Sample>>,
    samples: usize,
    opened: Option<Instant>,
    boot: BootId,
}

impl Recorder {
    /// A recorder of these points, in the order of their keys.
    ///
    /// # Errors
    /// Where a point cannot stand in a dictionary.
    pub fn new(points: Vec<PointDescriptor>, boot: BootId) -> Result<Self, EncodeError> {
        let dictionaries = Dictionary::chunk(points)?;
        let places = dictionaries.iter().zip(0u32..).flat_map(|(dictionary, d)| {
            let entries = dictionary.entries().iter().zip(0u32..);
            entries.map(move |(_, index)| (d, index))
        });
        Ok(Self {
            places: places.collect(),
            dictionaries,
            open: BTreeMap::new(),
            samples: 0,
            opened: None,
            boot,
        })
    }

    /// The frames that a segment begins with.
    #[must_use]
    pub fn beginning(&self) -> Vec<Frame> {
        let frame = |dictionary: &Dictionary| Frame {
            kind: Kind::Dictionary,
            body: dictionary.encoded().clone(),
        };
        self.dictionaries.iter().map(frame).collect()
    }

    /// Takes readings as a driver made them.
    pub fn take(&mut self, now: Instant, readings: &[Reading]) {
        for reading in readings {
            let column = self.open.entry(reading.point.0).or_default();
            column.push(Sample {
                time: reading.sampled,
                value: reading.value.clone(),
                quality: reading.quality,
            });
            self.samples += 1;
            self.opened.get_or_insert(now);
        }
    }

    /// When [`Recorder::seal`] is due.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let opened = self.opened?;
        Some(if self.samples >= MANY {
            opened
        } else {
            opened.plus(AGE)
        })
    }

    /// Frames of what was taken.
    pub fn seal(&mut self, now: Instant, wall: Timestamp) -> Vec<Frame> {
        self.opened = None;
        self.samples = 0;
        let mut telemetry = Telemetry {
            dictionaries: self.dictionaries.iter().map(Dictionary::hash).collect(),
            columns: Vec::with_capacity(self.open.len()),
            unchanged: Vec::new(),
        };
        for (key, samples) in std::mem::take(&mut self.open) {
            let place = usize::try_from(key).ok();
            let Some((dictionary, index)) = place.and_then(|key| self.places.get(key)) else {
                continue;
            };
            telemetry.columns.push(Column {
                dictionary: *dictionary,
                index: *index,
                filtered: 0,
                samples,
            });
        }
        if telemetry.columns.is_empty() {
            return Vec::new();
        }
        let stamp = RecordStamp {
            boot: self.boot,
            mono: now,
            wall,
        };
        let records = Record::seal_telemetry(stamp, &telemetry).unwrap_or_else(|error| {
            tracing::error!(%error, "readings could not be recorded");
            Vec::new()
        });
        let frame = |record: protocols_wire::SealedRecord| Frame {
            kind: Kind::Record,
            body: record.body,
        };
        records.into_iter().map(frame).collect()
    }
}
