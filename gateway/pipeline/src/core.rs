//! The pipeline itself, pure: readings in, sealed records out, time as an argument.
//!
//! ```text
//! reading ─▶ well formed? ─▶ keep or filter ─▶ batch (one column a point) ─▶ seal ─▶ records
//! ```
//!
//! Invariants:
//! 1. For every point: readings taken = kept + filtered, and every kept reading and every filtered
//!    count leaves in exactly one record (design.md C5). The batch that is open when the process
//!    dies is the crash tail's part of the loss window.
//! 2. A filtered reading's count leaves with the next batch, also when nothing of its point is sent.
//! 3. A batch is never older than its age on the monotonic clock and never holds more than
//!    [`MAX_BATCH_BYTES`]; the wall clock decides nothing.
//! 4. While nothing arrives nothing is due.

use crate::filter::{self, LastKept};
use crate::stats::{Stats, add};
use gateway_config::{PointConfig, Report};
use protocols_model::{DictionaryHash, Instant, Reading, Value, ValueType};
use protocols_wire::{
    Column, Dictionary, EncodeError, Record, RecordStamp, Sample, SealedRecord, Telemetry,
};
use std::sync::Arc;
use std::time::Duration;

/// Most memory the samples of an open batch may take before it is sealed early: about 100 000
/// numbers, ten seconds of 10 000 points a second.
pub const MAX_BATCH_BYTES: usize = 5 * 1024 * 1024;

/// How long a batch may wait for more readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchAge {
    /// While the uplink is live.
    pub live: Duration,
    /// While it is not: longer batches pack better.
    pub offline: Duration,
}

impl Default for BatchAge {
    fn default() -> Self {
        Self {
            live: Duration::from_secs(1),
            offline: Duration::from_secs(10),
        }
    }
}

/// Why a pipeline cannot be made of a point table.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A point's dictionary entry breaks a rule of the wire format.
    #[error("the point table does not fit a dictionary")]
    Dictionary(#[source] EncodeError),
}

#[derive(Debug)]
struct Point {
    report: Report,
    value_type: ValueType,
    /// Place of its dictionary in the pipeline's list, and its place in that dictionary.
    dictionary: u32,
    index: u32,
    last: Option<LastKept>,
    filtered: u64,
    samples: Vec<Sample>,
    /// Room to ask for next time: what the last batch needed.
    expected: usize,
}

impl Point {
    const fn is_touched(&self) -> bool {
        self.filtered > 0 || !self.samples.is_empty()
    }
}

/// The pipeline of one configuration.
#[derive(Debug)]
pub struct Pipeline {
    points: Vec<Point>,
    dictionaries: Vec<Dictionary>,
    hashes: Vec<DictionaryHash>,
    touched: Vec<u32>,
    opened: Option<Instant>,
    batch_bytes: usize,
    age: BatchAge,
    live: bool,
    stats: Arc<Stats>,
}

impl Pipeline {
    /// Makes the pipeline of `points`, in the order of their keys.
    ///
    /// # Errors
    /// [`SetupError`] where a point cannot stand in a dictionary.
    pub fn try_new(
        points: Vec<PointConfig>,
        age: BatchAge,
        stats: Arc<Stats>,
    ) -> Result<Self, SetupError> {
        let split = points
            .into_iter()
            .map(|point| (point.descriptor, point.report));
        let (descriptors, reports): (Vec<_>, Vec<_>) = split.unzip();
        let dictionaries = Dictionary::chunk(descriptors).map_err(SetupError::Dictionary)?;
        let places = dictionaries.iter().zip(0u32..).flat_map(|(dictionary, d)| {
            let entries = dictionary.entries().iter().zip(0u32..);
            entries.map(move |(entry, index)| (d, index, entry.value_type))
        });
        // Sized exactly: a large point table must not carry the slack of growth.
        let mut points = Vec::with_capacity(reports.len());
        points.extend(
            places
                .zip(reports)
                .map(|((dictionary, index, value_type), report)| Point {
                    report,
                    value_type,
                    dictionary,
                    index,
                    last: None,
                    filtered: 0,
                    samples: Vec::new(),
                    expected: 1,
                }),
        );
        Ok(Self {
            points,
            hashes: dictionaries.iter().map(Dictionary::hash).collect(),
            dictionaries,
            touched: Vec::new(),
            opened: None,
            batch_bytes: 0,
            age,
            live: false,
            stats,
        })
    }

    /// Gives up the dictionaries that its records refer to; the spool must hold them before the
    /// first record. Here only their names are needed from then on.
    pub fn take_dictionaries(&mut self) -> Vec<Dictionary> {
        std::mem::take(&mut self.dictionaries)
    }

    /// Whether the uplink is live: decides how old a batch may become.
    pub const fn set_live(&mut self, live: bool) {
        self.live = live;
    }

    /// Takes readings that arrived at `now`. Returns how many named no point of the table (those
    /// are not taken; it cannot happen while drivers and pipeline are swapped together).
    pub fn take(&mut self, now: Instant, readings: impl IntoIterator<Item = Reading>) -> u64 {
        let (mut kept, mut filtered, mut not_good, mut unknown) = (0u64, 0u64, 0u64, 0u64);
        for reading in readings {
            let key = reading.point.0;
            let point = usize::try_from(key)
                .ok()
                .and_then(|place| self.points.get_mut(place));
            let Some(point) = point else {
                unknown += 1;
                continue;
            };
            let (value, quality) =
                filter::normalise(point.value_type, reading.value, reading.quality);
            if !point.is_touched() {
                self.touched.push(key);
            }
            not_good += u64::from(!quality.is_good());
            if filter::keep(&point.report, &mut point.last, now, value.as_ref(), quality) {
                kept += 1;
                self.batch_bytes += size_of::<Sample>() + payload(value.as_ref());
                // What `push` would take for a second sample is room for four.
                let held = point.samples.len();
                if held == point.samples.capacity() {
                    let more = if held == 0 { point.expected } else { held / 2 };
                    point.samples.reserve_exact(more.max(1));
                }
                point.samples.push(Sample {
                    time: reading.sampled,
                    value,
                    quality,
                });
            } else {
                filtered += 1;
                point.filtered += 1;
            }
        }
        if kept + filtered > 0 {
            self.opened.get_or_insert(now);
            add(&self.stats.taken, kept + filtered);
            add(&self.stats.kept, kept);
            add(&self.stats.filtered, filtered);
            add(&self.stats.not_good, not_good);
        }
        unknown
    }

    /// When the open batch must be sealed; `None` while there is none.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let age = if self.live {
            self.age.live
        } else {
            self.age.offline
        };
        self.opened.map(|opened| opened.plus(age))
    }

    /// Whether the open batch must be sealed now, because of its age or its size.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.batch_bytes >= MAX_BATCH_BYTES || self.due().is_some_and(|due| due <= now)
    }

    /// Seals the open batch as as many records as the size limit asks for; none while none is open.
    pub fn seal(&mut self, stamp: RecordStamp) -> Vec<SealedRecord> {
        self.opened = None;
        self.batch_bytes = 0;
        let telemetry = self.drain();
        if telemetry.columns.is_empty() {
            self.touched.clear();
            return Vec::new();
        }
        let readings: usize = telemetry.columns.iter().map(|c| c.samples.len()).sum();
        let records = Record::seal_telemetry(stamp, &telemetry).unwrap_or_else(|error| {
            // Readings are well formed here, so this is a defect; it must neither take the process
            // down nor pass in silence.
            tracing::error!(%error, readings, "a batch could not be encoded; its readings are lost");
            add(&self.stats.unsealable, readings as u64);
            Vec::new()
        });
        self.give_back(telemetry);
        add(&self.stats.records, records.len() as u64);
        let bytes: usize = records.iter().map(|record| record.body.len()).sum();
        add(&self.stats.bytes, bytes as u64);
        records
    }

    /// Takes everything out of the columns, in the order of the point table.
    fn drain(&mut self) -> Telemetry {
        self.touched.sort_unstable();
        let mut used: Vec<Option<u32>> = vec![None; self.hashes.len()];
        let mut telemetry = Telemetry {
            dictionaries: Vec::new(),
            columns: Vec::with_capacity(self.touched.len()),
        };
        for &key in &self.touched {
            let point = usize::try_from(key)
                .ok()
                .and_then(|place| self.points.get_mut(place));
            let Some(point) = point else { continue };
            let place = usize::try_from(point.dictionary).unwrap_or(usize::MAX);
            let (Some(slot), Some(dictionary)) = (used.get_mut(place), self.hashes.get(place))
            else {
                continue;
            };
            let dictionary = *slot.get_or_insert_with(|| {
                telemetry.dictionaries.push(*dictionary);
                u32::try_from(telemetry.dictionaries.len() - 1).unwrap_or(u32::MAX)
            });
            point.expected = point.samples.len().max(1);
            telemetry.columns.push(Column {
                dictionary,
                index: point.index,
                filtered: std::mem::take(&mut point.filtered),
                samples: std::mem::take(&mut point.samples),
            });
        }
        telemetry
    }

    /// Lets the points have the room of their samples for the next batch: thousands of allocations
    /// a second otherwise. Room that a batch did not half fill is freed.
    fn give_back(&mut self, telemetry: Telemetry) {
        for (key, column) in self.touched.drain(..).zip(telemetry.columns) {
            let point = usize::try_from(key)
                .ok()
                .and_then(|place| self.points.get_mut(place));
            let mut samples = column.samples;
            if let Some(point) = point
                && samples.capacity() <= 2 * samples.len()
            {
                samples.clear();
                point.samples = samples;
            }
        }
    }
}

/// Bytes of a value that live outside the sample.
fn payload(value: Option<&Value>) -> usize {
    match value {
        Some(Value::Text(text)) => text.len(),
        Some(Value::Bytes(bytes)) => bytes.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
