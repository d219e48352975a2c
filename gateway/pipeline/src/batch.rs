//! The open batch: one column a point, sealed as records.

use crate::stats::{Stats, add};
use protocols_model::{DictionaryHash, Instant, PointDescriptor, Timestamp, Value};
use protocols_wire::{
    Column, Dictionary, EncodeError, Record, RecordStamp, Sample, SealedRecord, Telemetry,
    Unchanged,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a point keeps for its column.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    /// Place of its dictionary, and its place in that dictionary; a withheld point has none.
    place: Option<(u32, u32)>,
    /// Readings left out that no record counts yet.
    pub(crate) filtered: u64,
    samples: Vec<Sample>,
    /// Room to ask for next time: what the last batch needed.
    expected: usize,
}

impl Lane {
    const fn is_touched(&self) -> bool {
        self.filtered > 0 || !self.samples.is_empty()
    }
}

/// The batch of all points.
#[derive(Debug)]
pub(crate) struct Batch {
    lanes: Vec<Lane>,
    dictionaries: Vec<Dictionary>,
    hashes: Vec<DictionaryHash>,
    touched: Vec<u32>,
    opened: Option<Instant>,
    bytes: usize,
    /// Signs of life by point: what was sent last, and when that was confirmed.
    confirmed: BTreeMap<u32, (Sample, Timestamp)>,
    stats: Arc<Stats>,
}

impl Batch {
    /// A batch for points in the order of their keys; `None` for those that are not named.
    pub(crate) fn new(
        points: Vec<Option<PointDescriptor>>,
        stats: Arc<Stats>,
    ) -> Result<Self, EncodeError> {
        // Sized exactly: a large point table must not carry the slack of growth.
        let mut lanes = Vec::with_capacity(points.len());
        lanes.extend(points.iter().map(|_| Lane::default()));
        let named: Vec<usize> = points
            .iter()
            .enumerate()
            .filter_map(|(key, point)| point.is_some().then_some(key))
            .collect();
        let dictionaries = Dictionary::chunk(points.into_iter().flatten().collect())?;
        let places = dictionaries.iter().zip(0u32..).flat_map(|(dictionary, d)| {
            let entries = dictionary.entries().iter().zip(0u32..);
            entries.map(move |(_, index)| (d, index))
        });
        for (key, place) in named.into_iter().zip(places) {
            if let Some(lane) = lanes.get_mut(key) {
                lane.place = Some(place);
                lane.expected = 1;
            }
        }
        Ok(Self {
            lanes,
            hashes: dictionaries.iter().map(Dictionary::hash).collect(),
            dictionaries,
            touched: Vec::new(),
            opened: None,
            bytes: 0,
            confirmed: BTreeMap::new(),
            stats,
        })
    }

    /// Gives up the dictionaries; their names are enough from then on.
    pub(crate) fn take_dictionaries(&mut self) -> Vec<Dictionary> {
        std::mem::take(&mut self.dictionaries)
    }

    #[cfg(test)]
    pub(crate) fn dictionaries(&self) -> &[Dictionary] {
        &self.dictionaries
    }

    /// Since when it is open.
    pub(crate) const fn opened(&self) -> Option<Instant> {
        self.opened
    }

    /// Memory its samples take.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Puts a sample of a point into its column. A withheld point has none: what comes here of it is a
    /// defect, and does not leave.
    pub(crate) fn keep(&mut self, key: u32, now: Instant, sample: Sample) {
        let Some(lane) = lane(&mut self.lanes, key).filter(|lane| lane.place.is_some()) else {
            return;
        };
        if !lane.is_touched() {
            self.touched.push(key);
        }
        self.bytes += size_of::<Sample>() + payload(sample.value.as_ref());
        // What `push` would take for a second sample is room for four.
        let held = lane.samples.len();
        if held == lane.samples.capacity() {
            let more = if held == 0 { lane.expected } else { held / 2 };
            lane.samples.reserve_exact(more.max(1));
        }
        lane.samples.push(sample);
        // What it says is newer than that the one before still holds.
        if !self.confirmed.is_empty() {
            self.confirmed.remove(&key);
        }
        self.opened.get_or_insert(now);
    }

    /// Notes that a point, of which readings were left out of this batch, still says what was sent of it
    /// last. What the batch holds of it already says so better.
    pub(crate) fn confirm(&mut self, key: u32, last: Sample, confirmed: Timestamp) {
        let lane = lane(&mut self.lanes, key);
        if lane.is_some_and(|lane| lane.filtered > 0 && lane.samples.is_empty()) {
            self.bytes += size_of::<Sample>() + payload(last.value.as_ref());
            self.confirmed.insert(key, (last, confirmed));
        }
    }

    /// Counts readings of a point that were left out. Those of a withheld point are nobody's business.
    pub(crate) fn count_filtered(&mut self, key: u32, now: Instant, count: u64) {
        let Some(lane) = lane(&mut self.lanes, key).filter(|lane| lane.place.is_some()) else {
            return;
        };
        if !lane.is_touched() {
            self.touched.push(key);
        }
        lane.filtered += count;
        self.opened.get_or_insert(now);
    }

    /// Seals it as as many records as the size limit asks for; none while it is not open.
    pub(crate) fn seal(&mut self, stamp: RecordStamp) -> Vec<SealedRecord> {
        self.opened = None;
        self.bytes = 0;
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
            unchanged: Vec::new(),
        };
        for &key in &self.touched {
            let Some(lane) = lane(&mut self.lanes, key) else {
                continue;
            };
            let Some((dictionary, index)) = lane.place else {
                continue;
            };
            let place = usize::try_from(dictionary).unwrap_or(usize::MAX);
            let (Some(slot), Some(hash)) = (used.get_mut(place), self.hashes.get(place)) else {
                continue;
            };
            let dictionary = *slot.get_or_insert_with(|| {
                telemetry.dictionaries.push(*hash);
                u32::try_from(telemetry.dictionaries.len() - 1).unwrap_or(u32::MAX)
            });
            lane.expected = lane.samples.len().max(1);
            if let Some((sample, confirmed)) = self.confirmed.remove(&key) {
                telemetry.unchanged.push(Unchanged {
                    dictionary,
                    index,
                    sample,
                    confirmed,
                });
            }
            telemetry.columns.push(Column {
                dictionary,
                index,
                filtered: std::mem::take(&mut lane.filtered),
                samples: std::mem::take(&mut lane.samples),
            });
        }
        telemetry
    }

    /// Lets the points have the room of their samples for the next batch: thousands of allocations
    /// a second otherwise. Room that a batch did not half fill is freed.
    fn give_back(&mut self, telemetry: Telemetry) {
        for (key, column) in self.touched.drain(..).zip(telemetry.columns) {
            let mut samples = column.samples;
            if let Some(lane) = lane(&mut self.lanes, key)
                && samples.capacity() <= 2 * samples.len()
            {
                samples.clear();
                lane.samples = samples;
            }
        }
    }
}

fn lane(lanes: &mut [Lane], key: u32) -> Option<&mut Lane> {
    lanes.get_mut(usize::try_from(key).ok()?)
}

/// Bytes of a value that live outside the sample.
fn payload(value: Option<&Value>) -> usize {
    match value {
        Some(Value::Text(text)) => text.len(),
        Some(Value::Bytes(bytes)) => bytes.len(),
        _ => 0,
    }
}
