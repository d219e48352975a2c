//! Telemetry into its packed columns and back.
//!
//! Columns are written in the order given. What most of them share (consecutive points, one time
//! vector, one layout, good quality, nothing filtered) stands in runs, so that a column of one
//! reading costs little more than its value.

use super::proto;
use super::read::{ValueReader, quality};
use super::times::{ColumnTimes, TimeVectors, TimeWriter, to_wire};
use super::write::pack_values;
use crate::error::{DecodeError, EncodeError};
use crate::limits::{MAX_RECORD_COLUMNS, MAX_RECORD_READINGS};
use crate::pack::runs::MAX_RUN_VALUE;
use crate::pack::{
    BitReader, BitWriter, PointReader, PointWriter, RunReader, RunWriter, put_hashes, read_hashes,
};
use crate::record::{Column, ColumnRef, RecordSummary, Sample, Telemetry};
use protocols_model::{DictionaryHash, PointLoss, Quality, Timestamp};

/// Packs `columns`, whose dictionary places `place` translates to places in `dictionaries`.
pub(super) fn pack(
    wall: Timestamp,
    dictionaries: &[DictionaryHash],
    columns: &[ColumnRef<'_>],
    place: impl Fn(u32) -> Option<u32>,
) -> Result<(proto::Telemetry, RecordSummary), EncodeError> {
    within("columns in a record", columns.len(), MAX_RECORD_COLUMNS)?;
    let readings = columns.iter().map(|column| column.samples.len()).sum();
    within("readings in a record", readings, MAX_RECORD_READINGS)?;

    let mut out = proto::Telemetry {
        dictionaries: put_hashes(dictionaries),
        columns: u32::try_from(columns.len()).unwrap_or(u32::MAX),
        ..proto::Telemetry::default()
    };
    let mut summary = Tally::default();
    let mut points = PointWriter::default();
    let mut absent = BitWriter::default();
    let mut filtered_present = RunWriter::default();
    let mut filtered_absent = RunWriter::default();
    let mut times = TimeWriter::default();
    let mut qualities = RunWriter::default();
    let mut all_present = true;
    for column in columns {
        let dictionary = place(column.dictionary).ok_or(EncodeError::Invalid(
            "a column refers to a dictionary that is not listed",
        ))?;
        points.push(dictionary, column.index);
        if column.filtered > MAX_RUN_VALUE {
            return Err(EncodeError::Invalid(
                "a count of filtered readings is absurd",
            ));
        }
        summary.0.filtered = summary.0.filtered.saturating_add(column.filtered);
        absent.push(column.samples.is_empty());
        if column.samples.is_empty() {
            all_present = false;
            filtered_absent.push(column.filtered);
            continue;
        }
        filtered_present.push(column.filtered);
        for sample in column.samples {
            if sample.value.is_none() != sample.quality.is_bad() {
                return Err(EncodeError::Invalid(
                    "a reading must have no value exactly when its quality is bad",
                ));
            }
            qualities.push(sample.quality.to_code().into());
            summary.add(to_wire(sample.time));
        }
        times.column(column.samples);
    }
    out.points = points.into_bytes();
    if !all_present {
        out.absent = absent.into_bytes();
    }
    out.filtered_present = filtered_present.into_bytes();
    out.filtered_absent = filtered_absent.into_bytes();
    out.qualities = qualities.into_bytes();
    times.finish(wall, columns, &mut out);
    pack_values(columns, &mut out)?;
    Ok((out, summary.finish(wall)))
}

const fn within(what: &'static str, found: usize, allowed: usize) -> Result<(), EncodeError> {
    if found > allowed {
        return Err(EncodeError::TooLarge {
            what,
            found,
            allowed,
        });
    }
    Ok(())
}

/// Counts readings and finds the oldest and youngest.
#[derive(Default)]
struct Tally(RecordSummary);

impl Tally {
    fn add(&mut self, time: Timestamp) {
        if self.0.readings == 0 {
            (self.0.first, self.0.last) = (time, time);
        }
        self.0.readings += 1;
        self.0.first = self.0.first.min(time);
        self.0.last = self.0.last.max(time);
    }

    fn finish(mut self, wall: Timestamp) -> RecordSummary {
        if self.0.readings == 0 {
            (self.0.first, self.0.last) = (wall, wall);
        }
        self.0
    }
}

/// Everything about the columns but their values.
struct Shape {
    dictionaries: Vec<DictionaryHash>,
    columns: Vec<ShapeColumn>,
    times: TimeVectors,
}

struct ShapeColumn {
    dictionary: u32,
    index: u32,
    filtered: u64,
    /// `count` is 0 for a column without samples.
    times: ColumnTimes,
}

impl Shape {
    fn read(
        message: &proto::Telemetry,
        dictionaries: Vec<DictionaryHash>,
        wall: Timestamp,
    ) -> Result<Self, DecodeError> {
        let count = message.columns as usize;
        if count > MAX_RECORD_COLUMNS {
            return Err(DecodeError::TooLarge {
                what: "columns in a record",
                found: count,
                allowed: MAX_RECORD_COLUMNS,
            });
        }
        let absent = read_absent(&message.absent, count)?;
        let present = absent.iter().filter(|absent| !**absent).count();
        let mut times = TimeVectors::read(message, wall)?;
        let mut with_samples = times.read_columns(message, present)?.into_iter();

        let mut points = PointReader::new(&message.points, dictionaries.len());
        let mut filtered_present = RunReader::new(&message.filtered_present, "filtered counts");
        let mut filtered_absent = RunReader::new(&message.filtered_absent, "filtered counts");
        let mut columns = Vec::with_capacity(count);
        for absent in absent {
            let (dictionary, index) = points.point()?;
            let (filtered, times) = if absent {
                (filtered_absent.value()?, ColumnTimes::default())
            } else {
                let times = with_samples
                    .next()
                    .ok_or(DecodeError::Truncated("time places"))?;
                (filtered_present.value()?, times)
            };
            columns.push(ShapeColumn {
                dictionary,
                index,
                filtered,
                times,
            });
        }
        points.finish()?;
        filtered_present.finish()?;
        filtered_absent.finish()?;
        Ok(Self {
            dictionaries,
            columns,
            times,
        })
    }

    fn present(&self) -> impl Iterator<Item = &ShapeColumn> {
        self.columns.iter().filter(|column| column.times.count > 0)
    }
}

fn read_absent(bytes: &[u8], count: usize) -> Result<Vec<bool>, DecodeError> {
    if bytes.is_empty() {
        return Ok(vec![false; count]);
    }
    let mut bits = BitReader::new(bytes, "columns without samples");
    let absent = (0..count).map(|_| bits.bit()).collect::<Result<_, _>>()?;
    bits.finish()?;
    Ok(absent)
}

/// Unpacks all columns.
pub(super) fn unpack(
    message: &proto::Telemetry,
    wall: Timestamp,
) -> Result<Telemetry, DecodeError> {
    unpack_with(message, read_hashes(&message.dictionaries)?, wall)
}

/// The same, where the dictionaries stand elsewhere.
pub(super) fn unpack_with(
    message: &proto::Telemetry,
    dictionaries: Vec<DictionaryHash>,
    wall: Timestamp,
) -> Result<Telemetry, DecodeError> {
    let shape = Shape::read(message, dictionaries, wall)?;
    let mut qualities = RunReader::new(&message.qualities, "qualities");
    let mut all: Vec<Quality> = Vec::new();
    let mut values_per_column = Vec::new();
    for column in shape.present() {
        let mut good = 0;
        for _ in 0..column.times.count {
            let quality = quality(qualities.value()?)?;
            good += usize::from(!quality.is_bad());
            all.push(quality);
        }
        values_per_column.push(good);
    }
    qualities.finish()?;

    let mut qualities = all.into_iter();
    let mut values = ValueReader::new(message, values_per_column.into_iter())?;
    let mut columns = Vec::with_capacity(shape.columns.len());
    for (at, column) in shape.columns.iter().enumerate() {
        let mut samples = Vec::with_capacity(column.times.count);
        if column.times.count > 0 {
            let mut place = values.column(at)?;
            for (time, quality) in shape.times.of(&column.times).zip(&mut qualities) {
                let value = if quality.is_bad() {
                    None
                } else {
                    Some(values.value(&mut place)?)
                };
                samples.push(Sample {
                    time,
                    value,
                    quality,
                });
            }
        }
        columns.push(Column {
            dictionary: column.dictionary,
            index: column.index,
            filtered: column.filtered,
            samples,
        });
    }
    values.finish()?;
    Ok(Telemetry {
        dictionaries: shape.dictionaries,
        columns,
        unchanged: Vec::new(),
    })
}

/// The numbers of packed telemetry, in all and per point, without its values.
pub(super) fn count(
    message: &proto::Telemetry,
    wall: Timestamp,
) -> Result<(RecordSummary, Vec<PointLoss>), DecodeError> {
    let shape = Shape::read(message, read_hashes(&message.dictionaries)?, wall)?;
    let mut summary = Tally::default();
    let mut points = Vec::with_capacity(shape.columns.len());
    for column in &shape.columns {
        summary.0.filtered = summary.0.filtered.saturating_add(column.filtered);
        if column.times.count > 0 {
            shape
                .times
                .of(&column.times)
                .for_each(|time| summary.add(time));
        }
        let dictionary = shape
            .dictionaries
            .get(column.dictionary as usize)
            .ok_or(DecodeError::Malformed("a point without a dictionary"))?;
        points.push(PointLoss {
            dictionary: *dictionary,
            index: column.index,
            readings: column.times.count as u64,
            filtered: column.filtered,
        });
    }
    Ok((summary.finish(wall), points))
}
