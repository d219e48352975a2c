//! Thinning: many readings of a point become the few that say the most.
//!
//! Pure: telemetry in, telemetry out; how long a bucket is comes from the caller. Of every point and
//! bucket stay, with their exact times: the first and the last reading, the smallest and the largest
//! number (among good readings, and among uncertain ones apart), the first reading of each quality, and
//! of texts, bytes and switches the first changes. A second pass with longer buckets keeps the extremes
//! of the original: they are among what the first one kept.
//!
//! Order comes from the records, never from a clock: readings are taken in the order given, and a
//! clock that steps back begins a bucket anew, so more is kept, never less. Counts are conserved: what
//! goes in is what comes out plus [`Thinned::lost`]; filtered counts move along as they are.
//! Signs of life are left out: nothing counts them, and newer ones follow.

use protocols_model::{DictionaryHash, PointLoss, Timestamp, Value};
use protocols_wire::{Column, Sample, Telemetry};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

/// The coarsest level.
pub(crate) const COARSEST: u8 = 15;
/// The bucket of level 1: 30 readings at 1 Hz become four.
const FIRST_BUCKET: Duration = Duration::from_secs(30);
/// Changes of a text, bytes or a switch that a bucket keeps, beside its first and last reading.
const CHANGES: usize = 4;

/// The bucket of a level: 30 s at level 1, twice as long at each next, 5.7 days at the coarsest.
/// Level 0 are readings as they were taken.
pub(crate) fn bucket(level: u8) -> Duration {
    FIRST_BUCKET * (1 << level.clamp(1, COARSEST).saturating_sub(1))
}

/// What thinning made of some records.
#[derive(Debug)]
pub(crate) struct Thinned {
    /// What stays.
    pub(crate) telemetry: Telemetry,
    /// Per point, how many readings went; filtered counts moved into `telemetry`.
    pub(crate) lost: Vec<PointLoss>,
    /// Readings taken.
    pub(crate) taken: u64,
    /// Of those, kept.
    pub(crate) kept: u64,
    /// The oldest and the youngest reading taken; `None` when there was none.
    pub(crate) span: Option<(Timestamp, Timestamp)>,
}

/// Takes records of one stretch, oldest first.
#[derive(Debug)]
pub(crate) struct Thinner {
    bucket_ns: i64,
    points: BTreeMap<(DictionaryHash, u32), Point>,
    taken: u64,
    closed: usize,
    span: Option<(Timestamp, Timestamp)>,
}

#[derive(Debug, Default)]
struct Point {
    filtered: u64,
    taken: u64,
    done: Vec<Sample>,
    open: Option<Bucket>,
}

/// A reading that stays, with its place among those of its point.
#[derive(Debug, Clone)]
struct Kept {
    place: u64,
    sample: Sample,
}

#[derive(Debug, Default)]
struct Extremes {
    least: Option<Kept>,
    most: Option<Kept>,
}

#[derive(Debug)]
struct Bucket {
    number: i64,
    first: Kept,
    last: Kept,
    good: Extremes,
    uncertain: Extremes,
    /// The first reading of each quality; the bucket's first reading stands for its own.
    qualities: Vec<Kept>,
    changes: Vec<Kept>,
}

impl Thinner {
    pub(crate) fn new(bucket: Duration) -> Self {
        Self {
            bucket_ns: i64::try_from(bucket.as_nanos()).unwrap_or(i64::MAX).max(1),
            points: BTreeMap::new(),
            taken: 0,
            closed: 0,
            span: None,
        }
    }

    /// Takes the readings of the next record. `false`, and nothing is taken, when it names a dictionary
    /// that it does not list.
    pub(crate) fn take(&mut self, telemetry: &Telemetry) -> bool {
        let listed = telemetry.dictionaries.len();
        let known = |column: &Column| (column.dictionary as usize) < listed;
        if !telemetry.columns.iter().all(known) {
            return false;
        }
        for column in &telemetry.columns {
            let Some(&hash) = telemetry.dictionaries.get(column.dictionary as usize) else {
                continue;
            };
            let point = self.points.entry((hash, column.index)).or_default();
            point.filtered = point.filtered.saturating_add(column.filtered);
            self.taken += column.samples.len() as u64;
            let before = point.done.len();
            for sample in &column.samples {
                point.take(sample, sample.time.0.div_euclid(self.bucket_ns));
                let (from, to) = self.span.unwrap_or((sample.time, sample.time));
                self.span = Some((from.min(sample.time), to.max(sample.time)));
            }
            self.closed += point.done.len() - before;
        }
        true
    }

    /// Readings held now, about.
    pub(crate) fn held(&self) -> usize {
        self.closed + 4 * self.points.len()
    }

    /// Points seen.
    pub(crate) fn points(&self) -> usize {
        self.points.len()
    }

    pub(crate) fn finish(self) -> Thinned {
        let mut telemetry = Telemetry {
            dictionaries: Vec::new(),
            columns: Vec::with_capacity(self.points.len()),
            unchanged: Vec::new(),
        };
        let mut lost = Vec::new();
        let mut kept = 0;
        for ((hash, index), mut point) in self.points {
            point.close();
            // The map is sorted: points of one dictionary stand together.
            if telemetry.dictionaries.last() != Some(&hash) {
                telemetry.dictionaries.push(hash);
            }
            let stay = point.done.len() as u64;
            kept += stay;
            if point.taken > stay {
                lost.push(PointLoss {
                    dictionary: hash,
                    index,
                    readings: point.taken - stay,
                    filtered: 0,
                });
            }
            let place = telemetry.dictionaries.len().saturating_sub(1);
            telemetry.columns.push(Column {
                dictionary: u32::try_from(place).unwrap_or(u32::MAX),
                index,
                filtered: point.filtered,
                samples: point.done,
            });
        }
        Thinned {
            telemetry,
            lost,
            taken: self.taken,
            kept,
            span: self.span,
        }
    }
}

impl Point {
    fn take(&mut self, sample: &Sample, number: i64) {
        let place = self.taken;
        self.taken += 1;
        match &mut self.open {
            Some(open) if open.number == number => open.take(place, sample),
            _ => {
                self.close();
                self.open = Some(Bucket::new(number, place, sample));
            }
        }
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            open.close(&mut self.done);
        }
    }
}

impl Bucket {
    fn new(number: i64, place: u64, sample: &Sample) -> Self {
        let kept = Kept {
            place,
            sample: sample.clone(),
        };
        let mut bucket = Self {
            number,
            first: kept.clone(),
            last: kept,
            good: Extremes::default(),
            uncertain: Extremes::default(),
            qualities: Vec::new(),
            changes: Vec::new(),
        };
        bucket.weigh(place, sample);
        bucket
    }

    fn take(&mut self, place: u64, sample: &Sample) {
        let keep = || Kept {
            place,
            sample: sample.clone(),
        };
        let before = &self.last.sample;
        if before.quality != sample.quality {
            let quality = sample.quality;
            let same = |kept: &Kept| kept.sample.quality == quality;
            if !same(&self.first) && !self.qualities.iter().any(same) {
                self.qualities.push(keep());
            }
        }
        let changes = match &sample.value {
            Some(Value::Bool(_) | Value::Text(_) | Value::Bytes(_)) => {
                before.value != sample.value && self.changes.len() < CHANGES
            }
            Some(Value::I64(_) | Value::U64(_) | Value::F64(_)) | None => false,
        };
        if changes {
            self.changes.push(keep());
        }
        self.weigh(place, sample);
        self.last.place = place;
        self.last.sample.clone_from(sample);
    }

    /// Whether it is the least or the most so far.
    fn weigh(&mut self, place: u64, sample: &Sample) {
        let Some(value) = &sample.value else {
            return;
        };
        let extremes = if sample.quality.is_good() {
            &mut self.good
        } else {
            &mut self.uncertain
        };
        let keep = || {
            Some(Kept {
                place,
                sample: sample.clone(),
            })
        };
        // No number at all (NaN) is no extreme either.
        if order(value, value).is_none() {
            return;
        }
        let against = |kept: &Option<Kept>| {
            let other = kept.as_ref().and_then(|kept| kept.sample.value.as_ref());
            other.and_then(|other| order(value, other))
        };
        if extremes.least.is_none() || against(&extremes.least) == Some(Ordering::Less) {
            extremes.least = keep();
        }
        if extremes.most.is_none() || against(&extremes.most) == Some(Ordering::Greater) {
            extremes.most = keep();
        }
    }

    fn close(self, done: &mut Vec<Sample>) {
        let mut kept = vec![self.first, self.last];
        for extremes in [self.good, self.uncertain] {
            kept.extend(extremes.least);
            kept.extend(extremes.most);
        }
        kept.extend(self.qualities);
        kept.extend(self.changes);
        kept.sort_unstable_by_key(|kept| kept.place);
        kept.dedup_by_key(|kept| kept.place);
        done.extend(kept.into_iter().map(|kept| kept.sample));
    }
}

/// How two numbers of one point compare; `None` for what has no order.
fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::I64(a), Value::I64(b)) => Some(a.cmp(b)),
        (Value::U64(a), Value::U64(b)) => Some(a.cmp(b)),
        (Value::F64(a), Value::F64(b)) => a.partial_cmp(b),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
