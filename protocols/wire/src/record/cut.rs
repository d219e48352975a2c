//! Columns of any number and length into as many records as the size limit asks for.
//!
//! How much fits is known only after packing, so it is guessed from how the last records turned out, and
//! corrected. A column that alone is too large is continued in the next record.

use super::seal::seal;
use super::{proto, telemetry, unchanged};
use crate::error::EncodeError;
use crate::limits::{MAX_RECORD_BYTES, MAX_RECORD_COLUMNS, MAX_RECORD_READINGS};
use crate::record::{ColumnHead, ColumnRef, NextColumn, RecordStamp, SealedRecord, Unchanged};
use protocols_model::{DictionaryHash, Value};
use std::collections::HashMap;
use std::ops::Range;

/// A chunk aims at so much of the limit, so that the next guess seldom fails.
const AIM: usize = MAX_RECORD_BYTES - MAX_RECORD_BYTES / 16;
/// A chunk smaller than this is tried again larger, unless it holds all that is left.
const POOR: usize = MAX_RECORD_BYTES / 2;
/// So many guesses for one chunk.
const MAX_TRIES: u32 = 4;

/// Cuts columns into records: guesses how many fit from how the last ones turned out.
pub(super) struct Cutter<'a> {
    stamp: RecordStamp,
    dictionaries: &'a [DictionaryHash],
    /// Signs of life by point.
    unchanged: HashMap<(u32, u32), &'a Unchanged>,
    /// Encoded bytes for 1024 units of [`weight`], as last seen.
    bytes_per_kilo: usize,
    pub(super) sealed: Vec<SealedRecord>,
}

/// A rough measure of what a sign of life adds to a column.
const SIGN: usize = 6;

/// A rough measure of what a column takes.
fn weight(column: &ColumnRef<'_>) -> usize {
    let long = |value: &Value| match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Bool(_) | Value::I64(_) | Value::U64(_) | Value::F64(_) => 0,
    };
    match column.samples.first().and_then(|s| s.value.as_ref()) {
        Some(Value::Text(_) | Value::Bytes(_)) => column
            .samples
            .iter()
            .map(|sample| 2 + sample.value.as_ref().map_or(0, long))
            .sum(),
        _ => 1 + 2 * column.samples.len(),
    }
}

impl<'a> Cutter<'a> {
    pub(super) fn new(
        stamp: RecordStamp,
        dictionaries: &'a [DictionaryHash],
        unchanged: &'a [Unchanged],
    ) -> Self {
        let by_point = |sign: &'a Unchanged| ((sign.dictionary, sign.index), sign);
        Self {
            stamp,
            dictionaries,
            unchanged: unchanged.iter().map(by_point).collect(),
            bytes_per_kilo: 1024,
            sealed: Vec::new(),
        }
    }

    fn weight(&self, column: &ColumnRef<'_>) -> usize {
        let key = (column.dictionary, column.index);
        let sign = !self.unchanged.is_empty() && self.unchanged.contains_key(&key);
        weight(column) + if sign { SIGN } else { 0 }
    }

    /// How many of `columns` weigh at most `target` and keep the limits of a record; at least one.
    fn prefix(&self, columns: &[ColumnRef<'_>], target: usize) -> usize {
        let (mut weighed, mut readings) = (0, 0);
        let fitting = columns
            .iter()
            .take(MAX_RECORD_COLUMNS)
            .take_while(|column| {
                weighed += self.weight(column);
                readings += column.samples.len();
                weighed <= target && readings <= MAX_RECORD_READINGS
            });
        fitting.count().max(1)
    }

    /// Cuts all of them.
    pub(super) fn cut<'c>(&mut self, mut columns: &'c [ColumnRef<'c>]) -> Result<(), EncodeError> {
        while !columns.is_empty() {
            columns = self.cut_one(columns)?;
        }
        Ok(())
    }

    /// Cuts what `next` gives, with a window of what a record may hold: no cut looks further.
    pub(super) fn cut_from(&mut self, next: NextColumn<'_>) -> Result<(), EncodeError> {
        let mut samples = Vec::new();
        let mut heads: Vec<(ColumnHead, Range<usize>)> = Vec::new();
        let mut more = true;
        while more {
            while more && heads.len() < MAX_RECORD_COLUMNS && samples.len() <= MAX_RECORD_READINGS {
                let from = samples.len();
                match next(&mut samples) {
                    Some(head) => heads.push((head, from..samples.len())),
                    None => more = false,
                }
            }
            let view = |(head, range): &(ColumnHead, Range<usize>)| ColumnRef {
                dictionary: head.dictionary,
                index: head.index,
                filtered: head.filtered,
                samples: samples.get(range.clone()).unwrap_or_default(),
            };
            let columns: Vec<_> = heads.iter().map(view).collect();
            if !more {
                return self.cut(&columns);
            }
            let left = self.cut_one(&columns)?.len();
            let cut = heads.len() - left;
            let to = heads
                .get(cut)
                .map_or(samples.len(), |(_, range)| range.start);
            heads.drain(..cut);
            samples.drain(..to);
            for (_, range) in &mut heads {
                *range = range.start - to..range.end - to;
            }
        }
        Ok(())
    }

    /// Seals the first of `columns`, as many as a record takes; those that are left.
    fn cut_one<'c>(
        &mut self,
        columns: &'c [ColumnRef<'c>],
    ) -> Result<&'c [ColumnRef<'c>], EncodeError> {
        let (rest, sealed) = self.next(columns)?;
        match sealed {
            Some(sealed) => self.sealed.push(sealed),
            None => self.halve(columns.first())?,
        }
        Ok(rest)
    }

    /// Seals the first of `columns`; `None` when not even one of them fits, which is then skipped.
    fn next<'c>(
        &mut self,
        columns: &'c [ColumnRef<'c>],
    ) -> Result<(&'c [ColumnRef<'c>], Option<SealedRecord>), EncodeError> {
        let mut most = self.prefix(columns, usize::MAX);
        let mut best: Option<(usize, SealedRecord)> = None;
        // Ends: each try is shorter than the last that failed or longer than the last that fitted.
        // After some tries the guesses are not trusted any more: halve, and take what fits.
        for tries in 0.. {
            let target = AIM * 1024 / self.bytes_per_kilo.max(1);
            let least = best.as_ref().map_or(1, |(count, _)| count + 1);
            let count = self.prefix(columns, target).clamp(least, most);
            let chunk = columns.get(..count).unwrap_or(columns);
            let weighed: usize = chunk.iter().map(|column| self.weight(column)).sum();
            let sealed = self.seal(chunk)?;
            let size = sealed
                .as_ref()
                .map_or(2 * MAX_RECORD_BYTES, |s| s.body.len());
            self.bytes_per_kilo = (size * 1024).div_ceil(weighed.max(1));
            match sealed {
                Some(sealed) if sealed.body.len() <= MAX_RECORD_BYTES => {
                    let enough = sealed.body.len() >= POOR;
                    best = Some((count, sealed));
                    if enough {
                        break;
                    }
                }
                _ if count == 1 => return Ok((columns.get(1..).unwrap_or_default(), None)),
                _ if tries >= MAX_TRIES => most = count / 2,
                _ => most = count - 1,
            }
            if let Some((count, _)) = &best
                && (*count >= most || tries >= MAX_TRIES)
            {
                break;
            }
        }
        let (count, sealed) = best.ok_or(EncodeError::Invalid("nothing to seal"))?;
        Ok((columns.get(count..).unwrap_or_default(), Some(sealed)))
    }

    /// Continues a column that is too large for one record in the next ones.
    fn halve(&mut self, column: Option<&ColumnRef<'_>>) -> Result<(), EncodeError> {
        let Some(column) = column else {
            return Ok(());
        };
        let half = column.samples.len() / 2;
        let Some((front @ [_, ..], back)) = column.samples.split_at_checked(half) else {
            return Err(EncodeError::Invalid("one reading does not fit a record"));
        };
        for (samples, filtered) in [(front, column.filtered), (back, 0)] {
            self.cut(&[ColumnRef {
                samples,
                filtered,
                ..*column
            }])?;
        }
        Ok(())
    }

    /// `None` where a single column breaks a limit that cutting it cures.
    fn seal(&self, columns: &[ColumnRef<'_>]) -> Result<Option<SealedRecord>, EncodeError> {
        if let [column] = columns
            && column.samples.len() > MAX_RECORD_READINGS
        {
            return Ok(None);
        }
        let mut used = Vec::new();
        let mut places = vec![None; self.dictionaries.len()];
        for column in columns {
            let place = column.dictionary as usize;
            if let (Some(slot @ None), Some(hash)) =
                (places.get_mut(place), self.dictionaries.get(place))
            {
                *slot = u32::try_from(used.len()).ok();
                used.push(*hash);
            }
        }
        let wall = self.stamp.wall;
        let place = |place: u32| places.get(place as usize).copied().flatten();
        let (packed, summary) = telemetry::pack(wall, &used, columns, place)?;
        let beside = if self.unchanged.is_empty() {
            None
        } else {
            let key = |column: &ColumnRef<'_>| (column.dictionary, column.index);
            let signs = columns.iter().filter_map(|c| self.unchanged.get(&key(c)));
            unchanged::pack(wall, signs.copied(), place)?
        };
        let body = proto::Body::Telemetry(packed);
        Ok(Some(seal(self.stamp, body, beside, summary)))
    }
}
