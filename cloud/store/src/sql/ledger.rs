//! Reading the loss ledger: entries with their points, and what it means for each series.

use super::db::{Connection, Row, params};
use super::known::Known;
use super::read::{MAX_ROWS, gateway_row, id};
use super::row::{damaged, failed};
use crate::cursor::set_from_bytes;
use crate::error::StoreError;
use crate::query::{LedgerEntry, LedgerFilter, LedgerPoint, PointCounts, SeriesId};
use protocols_model::{DictionaryHash, Epoch, GatewayId, Lane, LossReason, SeqRange, Timestamp};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// What became of the readings of a gateway, per series.
pub(super) fn counts(
    conn: &Connection,
    shared: &super::Shared,
    gateway: &GatewayId,
) -> Result<Vec<PointCounts>, StoreError> {
    let Some((row, _)) = gateway_row(conn, gateway)? else {
        return Ok(Vec::new());
    };
    let mut all: BTreeMap<i64, PointCounts> = BTreeMap::new();
    let empty = |id: i64| PointCounts {
        series: SeriesId(id),
        stored: 0,
        filtered: 0,
        lost: 0,
        lost_filtered: 0,
    };
    shared.with_derived(conn, row, |state| {
        for (&id, series) in &state.series {
            let counts = all.entry(id).or_insert_with(|| empty(id));
            counts.stored = series.stored;
            counts.filtered = series.filtered;
        }
    })?;
    let fail = failed("reading lost readings");
    let statement = conn
        .prepare_cached(
            "SELECT p.dictionary, p.place, CAST(sum(p.readings) AS BIGINT),
               CAST(sum(p.filtered) AS BIGINT) FROM claim_point p
             JOIN claim c ON c.id = p.claim WHERE c.gateway = ?1 AND c.is_lost = 1
             GROUP BY p.dictionary, p.place",
        )
        .map_err(&fail)?;
    let mut known = Known::default();
    statement.each([row], fail, |point| {
        let hash = DictionaryHash(point.get(0).map_err(fail)?);
        let place: u32 = point.get(1).map_err(fail)?;
        if let Some(id) = series_at(conn, &mut known, row, hash, place)? {
            let counts = all.entry(id).or_insert_with(|| empty(id));
            counts.lost += point.get::<i64>(2).map_err(fail)?.unsigned_abs();
            counts.lost_filtered += point.get::<i64>(3).map_err(fail)?.unsigned_abs();
        }
        Ok(())
    })?;
    Ok(all.into_values().collect())
}

/// The series at a place of a dictionary, where both are known.
fn series_at(
    conn: &Connection,
    known: &mut Known,
    gateway: i64,
    hash: DictionaryHash,
    place: u32,
) -> Result<Option<i64>, StoreError> {
    let series = known.resolve(conn, gateway, hash, 0)?;
    let place = usize::try_from(place).unwrap_or(usize::MAX);
    Ok(series.and_then(|series| series.get(place).and_then(|series| series.id)))
}

/// Entries that pass the filter.
pub(super) fn ledger(
    conn: &Connection,
    filter: &LedgerFilter,
) -> Result<Vec<LedgerEntry>, StoreError> {
    let fail = failed("reading the ledger");
    let limit = match filter.limit {
        0 => MAX_ROWS,
        limit => limit.min(MAX_ROWS),
    };
    let statement = conn
        .prepare_cached(
            "SELECT c.id, g.name, c.epoch, c.lane, c.first, c.last, c.lost, c.reason, c.time_from,
               c.time_to, c.readings, c.at_most, c.upper_bound, c.by_cloud, c.received, c.gateway
             FROM claim c JOIN gateway g ON g.id = c.gateway
             WHERE c.id > ?1 AND (g.name = ?2 OR ?2 IS NULL) AND (?3 = 1 OR c.is_lost = 1)
               AND (c.time_to IS NULL OR c.time_to >= ?4 OR ?4 IS NULL)
               AND (c.time_from IS NULL OR c.time_from <= ?5 OR ?5 IS NULL)
             ORDER BY c.id",
        )
        .map_err(&fail)?;
    let key = params![
        filter.after,
        filter.gateway.as_ref().map(GatewayId::as_str),
        filter.struck,
        filter.range.map(|range| range.from.0),
        filter.range.map(|range| range.to.0),
    ];
    let mut known = Known::default();
    let mut all = Vec::new();
    statement.each_until(key, fail, |row| {
        let (gateway, mut entry) = entry(row)?;
        entry.points = points(conn, &mut known, gateway, entry.id)?;
        let names = |series| {
            entry
                .points
                .iter()
                .any(|point| point.series == Some(series))
        };
        if filter
            .series
            .is_some_and(|series| !entry.points.is_empty() && !names(series))
        {
            return Ok(ControlFlow::Continue(()));
        }
        all.push(entry);
        Ok(if all.len() == limit {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    })?;
    Ok(all)
}

fn entry(row: &Row<'_>) -> Result<(i64, LedgerEntry), StoreError> {
    let fail = failed("reading the ledger");
    let number = |column: usize| row.get::<i64>(column).map_err(&fail);
    let some = |column: usize| row.get::<Option<i64>>(column).map_err(&fail);
    let id_of = number(0)?;
    let wrong = || damaged(format!("ledger entry {id_of}"));
    let index = |value: i64| u8::try_from(value).map_err(|_| wrong());
    let lost: Vec<u8> = row.get(6).map_err(&fail)?;
    let entry = LedgerEntry {
        id: id_of,
        gateway: id(row, 1).map_err(&fail)?,
        epoch: Epoch(number(2)?.cast_unsigned()),
        lane: Lane::from_index(index(number(3)?)?).ok_or_else(wrong)?,
        range: SeqRange::new(number(4)?.cast_unsigned(), number(5)?.cast_unsigned())
            .ok_or_else(wrong)?,
        lost: set_from_bytes(&lost).ok_or_else(wrong)?,
        reason: LossReason::from_index(index(number(7)?)?).ok_or_else(wrong)?,
        from: some(8)?.map(Timestamp),
        to: some(9)?.map(Timestamp),
        readings: some(10)?.map(i64::cast_unsigned),
        at_most: some(11)?.map(i64::cast_unsigned),
        upper_bound: row.get(12).map_err(&fail)?,
        by_cloud: row.get(13).map_err(&fail)?,
        received: Timestamp(number(14)?),
        points: Vec::new(),
    };
    Ok((number(15)?, entry))
}

fn points(
    conn: &Connection,
    known: &mut Known,
    gateway: i64,
    claim: i64,
) -> Result<Vec<LedgerPoint>, StoreError> {
    let fail = failed("reading the ledger");
    let statement = conn
        .prepare_cached(
            "SELECT dictionary, place, readings, filtered FROM claim_point WHERE claim = ?1",
        )
        .map_err(&fail)?;
    let mut all = Vec::new();
    statement.each([claim], fail, |row| {
        let dictionary = DictionaryHash(row.get(0).map_err(&fail)?);
        let index = row.get(1).map_err(&fail)?;
        all.push(LedgerPoint {
            series: series_at(conn, known, gateway, dictionary, index)?.map(SeriesId),
            dictionary,
            index,
            readings: row.get::<i64>(2).map_err(&fail)?.unsigned_abs(),
            filtered: row.get::<i64>(3).map_err(&fail)?.unsigned_abs(),
        });
        Ok(())
    })?;
    Ok(all)
}
