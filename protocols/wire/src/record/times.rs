//! Times of samples. Points of one request share one time vector; a point of which some readings
//! were filtered uses a part of it, told by a mask.
//!
//! Times travel as ticks (1 ms unless said otherwise). A vector is its first tick, relative to that
//! of the vector before (at first: the record's wall time), then deltas of deltas.

use super::proto;
use crate::error::DecodeError;
use crate::limits::MAX_RECORD_READINGS;
use crate::pack::{
    BitReader, BitWriter, IntReader, IntWriter, Reader, RunReader, RunWriter, put_varint, unzigzag,
    zigzag,
};
use crate::record::{ColumnRef, Sample};
use protocols_model::Timestamp;
use std::ops::Range;

const MILLISECOND_NS: u32 = 1_000_000;
/// Longest vector that parts of requests are joined to: two bytes of mask for each point at 1 Hz and
/// the 10 s batches of an offline gateway, eight at the most.
const MAX_JOINED: usize = 64;
/// How many vectors back a column looks for its times: poll groups of one device interleave.
const LOOK_BACK: usize = 8;

/// Time as it travels.
pub(super) const fn to_wire(time: Timestamp) -> Timestamp {
    Timestamp::from_millis(time.as_millis())
}

/// Collects the times of columns with samples.
#[derive(Debug, Default)]
pub(super) struct TimeWriter {
    vectors: Vec<Vec<i64>>,
    /// The vector of each column.
    places: Vec<usize>,
    ticks: Vec<i64>,
}

/// How a column's ticks relate to a vector.
enum Fit {
    Same,
    Joins,
    No,
}

fn ascending(ticks: &[i64]) -> bool {
    ticks.is_sorted_by(|a, b| a < b)
}

/// Whether at least half of `ticks` stand in `vector` and the union stays small.
fn fit(vector: &[i64], ticks: &[i64]) -> Fit {
    if vector == ticks {
        return Fit::Same;
    }
    let (Some(first), Some(last)) = (ticks.first(), ticks.last()) else {
        return Fit::No;
    };
    let apart = vector.first().is_none_or(|v| v > last) || vector.last().is_none_or(|v| v < first);
    if apart || !ascending(vector) || !ascending(ticks) {
        return Fit::No;
    }
    let common = ticks
        .iter()
        .filter(|tick| vector.binary_search(tick).is_ok())
        .count();
    if common * 2 >= ticks.len() && vector.len() + ticks.len() - common <= MAX_JOINED {
        Fit::Joins
    } else {
        Fit::No
    }
}

impl TimeWriter {
    pub(super) fn column(&mut self, samples: &[Sample]) {
        self.ticks.clear();
        self.ticks
            .extend(samples.iter().map(|sample| sample.time.as_millis()));
        let recent = self.vectors.len().saturating_sub(LOOK_BACK);
        let mut joins = None;
        for place in (recent..self.vectors.len()).rev() {
            let Some(vector) = self.vectors.get(place) else {
                break;
            };
            match fit(vector, &self.ticks) {
                Fit::Same => {
                    self.places.push(place);
                    return;
                }
                Fit::Joins => joins = joins.or(Some(place)),
                Fit::No => {}
            }
        }
        let Some(place) = joins else {
            self.places.push(self.vectors.len());
            self.vectors.push(self.ticks.clone());
            return;
        };
        self.places.push(place);
        if let Some(vector) = self.vectors.get_mut(place) {
            for &tick in &self.ticks {
                if let Err(missing) = vector.binary_search(&tick) {
                    vector.insert(missing, tick);
                }
            }
        }
    }

    /// Writes everything; those of `columns` that have samples were given to [`Self::column`] in the
    /// same order.
    pub(super) fn finish(
        self,
        wall: Timestamp,
        columns: &[ColumnRef<'_>],
        out: &mut proto::Telemetry,
    ) {
        let mut ints = IntWriter::default();
        let mut start = wall.as_millis();
        let mut step = 0_i64;
        for vector in &self.vectors {
            put_varint(&mut out.time_lengths, vector.len() as u64);
            let mut before = start;
            for (place, &tick) in vector.iter().enumerate() {
                let delta = tick.wrapping_sub(before);
                before = tick;
                if place == 0 {
                    ints.push(zigzag(delta));
                    start = tick;
                } else {
                    ints.push(zigzag(delta.wrapping_sub(step)));
                    step = delta;
                }
            }
        }
        out.times = ints.into_bytes();

        let mut places = RunWriter::default();
        let mut masks = BitWriter::default();
        let mut last = 0_i64;
        let present = columns.iter().filter(|column| !column.samples.is_empty());
        for (&place, column) in self.places.iter().zip(present) {
            let vector = self.vectors.get(place).map_or(&[][..], Vec::as_slice);
            let part = vector.len() != column.samples.len();
            let place = i64::try_from(place).unwrap_or(i64::MAX);
            places.push(zigzag(place - last) << 1 | u64::from(part));
            last = place;
            if part {
                let mut samples = column.samples.iter().peekable();
                for &tick in vector {
                    let hit = samples.next_if(|s| s.time.as_millis() == tick).is_some();
                    masks.push(hit);
                }
            }
        }
        out.time_places = places.into_bytes();
        out.time_masks = masks.into_bytes();
    }
}

/// Which times a column has.
#[derive(Debug, Clone, Default)]
pub(super) struct ColumnTimes {
    /// Its vector's place among all ticks.
    ticks: Range<usize>,
    /// Where its mask begins, if it has only a part.
    mask: Option<usize>,
    /// How many samples.
    pub(super) count: usize,
}

/// All time vectors of a record.
#[derive(Debug)]
pub(super) struct TimeVectors {
    times: Vec<Timestamp>,
    vectors: Vec<Range<usize>>,
    masks: Vec<bool>,
}

impl TimeVectors {
    pub(super) fn read(message: &proto::Telemetry, wall: Timestamp) -> Result<Self, DecodeError> {
        let mut lengths = Reader::new(&message.time_lengths, "time vectors");
        let mut vectors = Vec::new();
        let mut total = 0_usize;
        while !lengths.is_empty() {
            let length = lengths.bounded("times in a record", MAX_RECORD_READINGS - total)?;
            vectors.push(total..total + length);
            total += length;
        }
        let mut ints = IntReader::new(&message.times, total, "times")?;
        let mut resolutions = message.resolutions.iter();
        if !message.resolutions.is_empty() && message.resolutions.len() != vectors.len() {
            return Err(DecodeError::Malformed(
                "time resolutions and time vectors differ in number",
            ));
        }
        let mut times = Vec::with_capacity(total);
        let mut start = None;
        let mut step = 0_i64;
        for vector in &vectors {
            let resolution = resolutions.next().copied().unwrap_or(MILLISECOND_NS);
            if resolution == 0 {
                return Err(DecodeError::Malformed("a time resolution is 0"));
            }
            let resolution = i64::from(resolution);
            let mut before = start.unwrap_or_else(|| wall.0.div_euclid(resolution));
            for place in vector.clone() {
                let int = unzigzag(ints.value()?);
                if place == vector.start {
                    before = before.wrapping_add(int);
                    start = Some(before);
                } else {
                    step = step.wrapping_add(int);
                    before = before.wrapping_add(step);
                }
                times.push(Timestamp(before.saturating_mul(resolution)));
            }
        }
        Ok(Self {
            times,
            vectors,
            masks: Vec::new(),
        })
    }

    /// Reads which times each of `count` columns with samples has.
    pub(super) fn read_columns(
        &mut self,
        message: &proto::Telemetry,
        count: usize,
    ) -> Result<Vec<ColumnTimes>, DecodeError> {
        const NO_VECTOR: DecodeError =
            DecodeError::Malformed("a column refers to a time vector that does not exist");
        let mut places = RunReader::new(&message.time_places, "time places");
        let mut bits = BitReader::new(&message.time_masks, "time masks");
        let mut columns = Vec::with_capacity(count);
        let mut place = 0_usize;
        let mut total = 0_usize;
        for _ in 0..count {
            let token = places.value()?;
            let ahead = isize::try_from(unzigzag(token >> 1)).map_err(|_| NO_VECTOR)?;
            place = place.checked_add_signed(ahead).ok_or(NO_VECTOR)?;
            let ticks = self.vectors.get(place).ok_or(NO_VECTOR)?.clone();
            let mut column = ColumnTimes {
                count: ticks.len(),
                mask: None,
                ticks,
            };
            if token & 1 == 1 {
                column.mask = Some(self.masks.len());
                column.count = 0;
                for _ in column.ticks.clone() {
                    let has = bits.bit()?;
                    column.count += usize::from(has);
                    self.masks.push(has);
                }
            }
            if column.count == 0 {
                return Err(DecodeError::Malformed("a column with samples has no times"));
            }
            total += column.count;
            if total > MAX_RECORD_READINGS {
                return Err(DecodeError::TooLarge {
                    what: "readings in a record",
                    found: total,
                    allowed: MAX_RECORD_READINGS,
                });
            }
            columns.push(column);
        }
        places.finish()?;
        bits.finish()?;
        Ok(columns)
    }

    /// The times of a column, in order.
    pub(super) fn of<'a>(
        &'a self,
        column: &'a ColumnTimes,
    ) -> impl Iterator<Item = Timestamp> + 'a {
        let times = self.times.get(column.ticks.clone()).unwrap_or_default();
        let mask = column
            .mask
            .map(|start| self.masks.get(start..).unwrap_or_default());
        times
            .iter()
            .enumerate()
            .filter(move |(place, _)| {
                mask.is_none_or(|mask| mask.get(*place).copied().unwrap_or_default())
            })
            .map(|(_, time)| *time)
    }
}
