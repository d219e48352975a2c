//! The open batch: one column a point, sealed as records.

mod held;

use crate::stats::{Stats, add};
use held::{Chain, Samples};
use protocols_model::{DictionaryHash, Instant, PointDescriptor, Timestamp};
use protocols_wire::{
    ColumnHead, Dictionary, EncodeError, Record, RecordStamp, Sample, SealedRecord, Unchanged,
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
    samples: Chain,
}

impl Lane {
    const fn is_touched(&self) -> bool {
        self.filtered > 0 || !self.samples.is_empty()
    }

    const fn head(&self) -> Option<ColumnHead> {
        let Some((dictionary, index)) = self.place else {
            return None;
        };
        Some(ColumnHead {
            dictionary,
            index,
            filtered: self.filtered,
        })
    }
}

/// The batch of all points.
#[derive(Debug)]
pub(crate) struct Batch {
    lanes: Vec<Lane>,
    samples: Samples,
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
            }
        }
        Ok(Self {
            lanes,
            samples: Samples::default(),
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
        let bytes = Samples::bytes(&sample);
        if !self.samples.push(&mut lane.samples, sample) {
            return;
        }
        self.bytes += bytes;
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
            self.bytes += Samples::bytes(&last);
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
        // The order of the point table: alike neighbours pack well.
        self.touched.sort_unstable();
        let unchanged = self.take_signs();
        let (lanes, samples) = (&self.lanes, &self.samples);
        let touched = |key: &u32| lanes.get(usize::try_from(*key).ok()?);
        let mut columns = self.touched.iter().filter_map(touched);
        let mut next = |room: &mut Vec<Sample>| {
            let (lane, head) = columns.find_map(|lane| Some((lane, lane.head()?)))?;
            room.extend(samples.of(lane.samples));
            Some(head)
        };
        let sealed = Record::seal_columns(stamp, &self.hashes, &unchanged, &mut next);
        let readings = samples.len();
        let records = sealed.unwrap_or_else(|error| {
            // Readings are well formed here, so this is a defect; it must neither take the process
            // down nor pass in silence.
            tracing::error!(%error, readings, "a batch could not be encoded; its readings are lost");
            add(&self.stats.unsealable, readings.into());
            Vec::new()
        });
        for key in self.touched.drain(..) {
            if let Some(lane) = lane(&mut self.lanes, key) {
                lane.filtered = 0;
                lane.samples = Chain::default();
            }
        }
        self.samples.clear();
        add(&self.stats.records, records.len() as u64);
        let bytes: usize = records.iter().map(|record| record.body.len()).sum();
        add(&self.stats.bytes, bytes as u64);
        records
    }

    /// The signs of life, by the places of their points.
    fn take_signs(&mut self) -> Vec<Unchanged> {
        let confirmed = std::mem::take(&mut self.confirmed);
        let signs = confirmed
            .into_iter()
            .filter_map(|(key, (sample, confirmed))| {
                let (dictionary, index) = lane(&mut self.lanes, key)?.place?;
                Some(Unchanged {
                    dictionary,
                    index,
                    sample,
                    confirmed,
                })
            });
        signs.collect()
    }
}

fn lane(lanes: &mut [Lane], key: u32) -> Option<&mut Lane> {
    lanes.get_mut(usize::try_from(key).ok()?)
}
