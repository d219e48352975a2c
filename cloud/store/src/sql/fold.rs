//! Walking over stored samples, wherever they lie: record rows, blocks, the suspect partition.

use super::commit::series_of;
use super::db::{Connection, DbResult, Error, Row, params};
use super::known::Known;
use super::row::{damaged, failed};
use super::week::{block_table, week_of_hour};
use crate::block::{self, BlockSample};
use crate::error::StoreError;
use crate::stamp;
use protocols_model::{BootId, Epoch, Lane, RecordKey, Timestamp};
use protocols_wire::{Body, Record};
use std::time::Duration;

/// Name of the suspect partition.
pub(super) const SUSPECT: &str = "block_suspect";

/// Columns of [`RecordRow`].
pub(super) const RECORD_COLUMNS: &str =
    "id, gateway, epoch, lane, seq, received, boot, clock_offset, shift, body";

/// A record row.
#[derive(Debug)]
pub(super) struct RecordRow {
    pub(super) id: i64,
    pub(super) gateway: i64,
    pub(super) key: RecordKey,
    pub(super) received: Timestamp,
    pub(super) boot: BootId,
    pub(super) offset: i64,
    pub(super) shift: i64,
    pub(super) body: Vec<u8>,
}

impl RecordRow {
    /// Reads a row of [`RECORD_COLUMNS`].
    pub(super) fn read(row: &Row<'_>) -> DbResult<Self> {
        let lane: u8 = row.get(3)?;
        Ok(Self {
            id: row.get(0)?,
            gateway: row.get(1)?,
            key: RecordKey {
                epoch: Epoch(row.get::<i64>(2)?.cast_unsigned()),
                lane: Lane::from_index(lane).ok_or(Error::Column {
                    column: 3,
                    found: "another number",
                    expected: "a lane",
                })?,
                seq: row.get::<i64>(4)?.cast_unsigned(),
            },
            received: Timestamp(row.get(5)?),
            boot: BootId(row.get::<i64>(6)?.cast_unsigned()),
            offset: row.get(7)?,
            shift: row.get(8)?,
            body: row.get(9)?,
        })
    }

    /// Gives every sample to `each`, with its series; times are as sent.
    pub(super) fn samples(
        &self,
        conn: &Connection,
        known: &mut Known,
        mut each: impl FnMut(i64, BlockSample),
    ) -> Result<(), StoreError> {
        let wrong = |why: &dyn std::fmt::Display| damaged(format!("record {}: {why}", self.id));
        let record = Record::decode(&self.body).map_err(|why| wrong(&why))?;
        let Body::Telemetry(telemetry) = record.body else {
            return Err(wrong(&"it holds no readings"));
        };
        let mut dictionaries = Vec::with_capacity(telemetry.dictionaries.len());
        for hash in telemetry.dictionaries {
            let series = known.resolve(conn, self.gateway, hash, 0)?;
            dictionaries.push(series.ok_or_else(|| wrong(&"its dictionary is gone"))?);
        }
        for column in telemetry.columns {
            let series = series_of(&dictionaries, column.dictionary, column.index)
                .and_then(|series| series.id)
                .ok_or_else(|| wrong(&"a series is gone"))?;
            for sample in column.samples {
                each(
                    series,
                    BlockSample {
                        time: sample.time,
                        value: sample.value,
                        quality: sample.quality,
                        record: self.key,
                    },
                );
            }
        }
        Ok(())
    }

    /// Whether a sample of this record, at its corrected time, cannot be right.
    pub(super) fn is_suspect(&self, sample: &BlockSample, retention: Duration) -> bool {
        let time = stamp::corrected(sample.time, self.shift);
        stamp::is_suspect(time, self.received, retention)
    }
}

/// Columns of [`BlockRow`].
pub(super) const BLOCK_COLUMNS: &str =
    "id, series, hour, received, boot, clock_offset, shift, count, first, last, data";

/// A block row.
#[derive(Debug)]
pub(super) struct BlockRow {
    pub(super) id: i64,
    pub(super) series: i64,
    pub(super) hour: i64,
    pub(super) received: Timestamp,
    pub(super) boot: BootId,
    pub(super) offset: i64,
    pub(super) shift: i64,
    pub(super) count: u64,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) data: Vec<u8>,
}

impl BlockRow {
    /// Reads a row of [`BLOCK_COLUMNS`].
    pub(super) fn read(row: &Row<'_>) -> DbResult<Self> {
        Ok(Self {
            id: row.get(0)?,
            series: row.get(1)?,
            hour: row.get(2)?,
            received: Timestamp(row.get(3)?),
            boot: BootId(row.get::<i64>(4)?.cast_unsigned()),
            offset: row.get(5)?,
            shift: row.get(6)?,
            count: row.get::<i64>(7)?.unsigned_abs(),
            first: Timestamp(row.get(8)?),
            last: Timestamp(row.get(9)?),
            data: row.get(10)?,
        })
    }

    /// Its samples; times are as sent.
    pub(super) fn samples(&self) -> Result<Vec<BlockSample>, StoreError> {
        block::decode(&self.data).map_err(|why| {
            damaged(format!(
                "block {} of series {}: {why}",
                self.id, self.series
            ))
        })
    }
}

/// Blocks of `table` for one series and a run of hours.
pub(super) fn blocks(
    conn: &Connection,
    table: &str,
    series: i64,
    hours: (i64, i64),
    mut each: impl FnMut(BlockRow) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let fail = failed("reading blocks");
    let sql = format!(
        "SELECT {BLOCK_COLUMNS} FROM \"{table}\" WHERE series = ?1 AND hour BETWEEN ?2 AND ?3
         ORDER BY hour, id"
    );
    let statement = conn.prepare_cached(&sql).map_err(&fail)?;
    let rows = statement
        .query_map(params![series, hours.0, hours.1], BlockRow::read)
        .map_err(&fail)?;
    for row in rows {
        each(row.map_err(&fail)?)?;
    }
    Ok(())
}

/// Weeks that have tables, of those that the hours touch.
pub(super) fn weeks(conn: &Connection, hours: (i64, i64)) -> Result<Vec<i64>, StoreError> {
    let range = params![week_of_hour(hours.0), week_of_hour(hours.1)];
    conn.prepare_cached("SELECT week FROM week WHERE week BETWEEN ?1 AND ?2 ORDER BY week")
        .and_then(|statement| statement.query_map(range, |row| row.get(0))?.collect())
        .map_err(failed("reading weeks"))
}

/// Tables of blocks of those weeks.
pub(super) fn block_tables(
    conn: &Connection,
    hours: (i64, i64),
) -> Result<Vec<String>, StoreError> {
    Ok(weeks(conn, hours)?.into_iter().map(block_table).collect())
}

/// The hour (since 1970) that holds a time.
pub(super) const fn hour_of(time: Timestamp) -> i64 {
    time.0.div_euclid(block::HOUR_NS)
}
