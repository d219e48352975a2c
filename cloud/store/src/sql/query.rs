//! Charts: record rows and blocks merged, rollups where the span is long.
//!
//! The answer does not depend on how much the compactor has done: few samples come back raw, more
//! in buckets, decided by how many lie in the range wherever they lie.

use super::db::{Connection, params};
use super::fold::{RECORD_COLUMNS, RecordRow, block_tables, blocks, hour_of, weeks};
use super::known::Known;
use super::row::{self, failed};
use super::{estimated, read, week};
use crate::downsample::{Gather, Level, bucket_start, plan};
use crate::error::StoreError;
use crate::query::{MAX_POINTS, QueryRange, QueryResult, RawSample, Series, SeriesId, TimeRange};
use crate::stamp;
use protocols_model::Timestamp;
use std::time::Duration;

/// Answers a question for a chart.
pub(super) fn query(
    conn: &Connection,
    series: SeriesId,
    asked: QueryRange,
    retention: Duration,
) -> Result<QueryResult, StoreError> {
    let Some(series) = read::series_by_id(conn, series)? else {
        return Err(StoreError::NotFound {
            what: format!("series {}", series.0),
        });
    };
    let points = asked.points.clamp(1, MAX_POINTS);
    let range = asked.range;
    let (width, level) = plan(range, points);
    let whole = TimeRange {
        from: Timestamp(bucket_start(range.from, width)),
        to: Timestamp(bucket_start(range.to, width).saturating_add(width - 1)),
    };
    let fresh = uncompacted(conn, &series, whole, retention)?;
    let inside = |sample: &RawSample| range.from <= sample.time && sample.time <= range.to;
    let few = fresh.iter().filter(|sample| inside(sample)).count() as u64
        + count_in_blocks(conn, &series, range)?
        <= points as u64;
    let mut gather = Gather::new(width, points);
    if few || level == Level::Samples {
        for sample in fresh.into_iter().filter(inside) {
            gather.sample(sample);
        }
        samples_in_blocks(conn, &series, range, |sample| gather.sample(sample))?;
    } else {
        gather.only_buckets();
        rollups(conn, &series, level, whole, &mut gather)?;
        for sample in fresh {
            gather.sample(sample);
        }
    }
    let (points, gaps) = gather.finish(asked.silence);
    Ok(QueryResult {
        points,
        gaps,
        estimated: estimated::spans(conn, &series, range)?,
    })
}

/// Plausible samples of record rows within `range`.
fn uncompacted(
    conn: &Connection,
    series: &Series,
    range: TimeRange,
    retention: Duration,
) -> Result<Vec<RawSample>, StoreError> {
    let fail = failed("reading records");
    let Some((gateway, _)) = read::gateway_row(conn, &series.gateway)? else {
        return Ok(Vec::new());
    };
    let sql = format!(
        "SELECT {RECORD_COLUMNS} FROM record WHERE gateway = ?1 AND last >= ?2 AND first <= ?3"
    );
    let statement = conn.prepare_cached(&sql).map_err(&fail)?;
    let mut known = Known::default();
    let mut all = Vec::new();
    let key = params![gateway, range.from.0, range.to.0];
    statement.each(key, fail, |row| {
        let record = RecordRow::read(row).map_err(&fail)?;
        record.samples(conn, &mut known, |of, sample| {
            let time = stamp::corrected(sample.time, record.shift);
            let asked = of == series.id.0 && range.from <= time && time <= range.to;
            if asked && !record.is_suspect(&sample, retention) {
                all.push(RawSample {
                    time,
                    value: sample.value,
                    quality: sample.quality,
                });
            }
        })
    })?;
    Ok(all)
}

/// Samples in blocks within `range`; only blocks at its ends are opened.
fn count_in_blocks(
    conn: &Connection,
    series: &Series,
    range: TimeRange,
) -> Result<u64, StoreError> {
    let fail = failed("counting samples");
    let hours = (hour_of(range.from), hour_of(range.to));
    let mut count = 0;
    for table in block_tables(conn, hours)? {
        let sql = format!(
            "SELECT CAST(coalesce(sum(count), 0) AS BIGINT) FROM \"{table}\" WHERE series = ?1
             AND hour BETWEEN ?2 AND ?3 AND first >= ?4 AND last <= ?5"
        );
        let inside: i64 = conn
            .prepare_cached(&sql)
            .and_then(|statement| {
                let key = params![series.id.0, hours.0, hours.1, range.from.0, range.to.0];
                statement.query_row(key, |row| row.get(0))
            })
            .map_err(&fail)?;
        count += inside.unsigned_abs();
        for end in [(hours.0, hours.0), (hours.1, hours.1)] {
            blocks(conn, &table, series.id.0, end, |block| {
                let within = range.from <= block.first && block.last <= range.to;
                let apart = block.last < range.from || range.to < block.first;
                if within || apart {
                    return Ok(());
                }
                let samples = block.samples()?;
                let times = samples
                    .iter()
                    .map(|sample| stamp::corrected(sample.time, block.shift));
                let inside = times.filter(|&time| range.from <= time && time <= range.to);
                count += inside.count() as u64;
                Ok(())
            })?;
            if hours.0 == hours.1 {
                break;
            }
        }
    }
    Ok(count)
}

fn samples_in_blocks(
    conn: &Connection,
    series: &Series,
    range: TimeRange,
    mut each: impl FnMut(RawSample),
) -> Result<(), StoreError> {
    let hours = (hour_of(range.from), hour_of(range.to));
    for table in block_tables(conn, hours)? {
        blocks(conn, &table, series.id.0, hours, |block| {
            if block.last < range.from || range.to < block.first {
                return Ok(());
            }
            for sample in block.samples()? {
                let time = stamp::corrected(sample.time, block.shift);
                if range.from <= time && time <= range.to {
                    each(RawSample {
                        time,
                        value: sample.value,
                        quality: sample.quality,
                    });
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn rollups(
    conn: &Connection,
    series: &Series,
    level: Level,
    range: TimeRange,
    gather: &mut Gather,
) -> Result<(), StoreError> {
    let fail = failed("reading rollups");
    let tables = match level {
        Level::Samples => Vec::new(),
        Level::Minute => weeks(conn, (hour_of(range.from), hour_of(range.to)))?
            .into_iter()
            .map(week::minute_table)
            .collect(),
        Level::Hour => vec!["rollup_hour".to_owned()],
        Level::Day => vec!["rollup_day".to_owned()],
    };
    for table in tables {
        let sql = format!(
            "SELECT start, count, bad, valued, sum, min, max, first_time, first_value, last_time,
               last_value, bad_quality
             FROM \"{table}\" WHERE series = ?1 AND start BETWEEN ?2 AND ?3 ORDER BY start"
        );
        let statement = conn.prepare_cached(&sql).map_err(&fail)?;
        let key = params![series.id.0, range.from.0, range.to.0];
        statement.each(key, fail, |row| {
            let (start, summary) = row::rollup(row, series.value_type).map_err(fail)?;
            gather.rollup(start, &summary);
            Ok(())
        })?;
    }
    Ok(())
}
