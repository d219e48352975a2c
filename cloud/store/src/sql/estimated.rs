//! Where the times of a series are estimated: readings of boots that never got a clock, placed between
//! their neighbours by a map of their gateway (design.md C9).
//!
//! Looked for anew at each question, so that a better map takes the mark away. A gateway whose clock was
//! always right costs one look into a table.

use super::db::{Connection, Row, params};
use super::fold::{block_tables, hour_of};
use super::read::gateway_row;
use super::row::failed;
use crate::error::StoreError;
use crate::query::{Estimated, MAX_ESTIMATED, Series, TimeRange};
use protocols_model::Timestamp;
use protocols_wire::TimeMap;
use std::time::Duration;

/// Spans of `series` within `range`, oldest first.
pub(super) fn spans(
    conn: &Connection,
    series: &Series,
    range: TimeRange,
) -> Result<Vec<Estimated>, StoreError> {
    let fail = failed("reading estimated times");
    let Some((gateway, _)) = gateway_row(conn, &series.gateway)? else {
        return Ok(Vec::new());
    };
    let least = TimeMap::ESTIMATED_FROM_NS.cast_signed();
    // Written by us from an unsigned number: a negative one is large.
    let boots: Vec<(i64, i64)> = conn
        .prepare_cached(
            "SELECT boot, uncertainty FROM time_map
             WHERE gateway = ?1 AND (uncertainty >= ?2 OR uncertainty < 0)",
        )
        .and_then(|statement| {
            let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
            statement.query_map(params![gateway, least], row)?.collect()
        })
        .map_err(&fail)?;
    if boots.is_empty() {
        return Ok(Vec::new());
    }
    let tables = block_tables(conn, (hour_of(range.from), hour_of(range.to)))?;
    let mut all = Vec::new();
    for (boot, uncertainty) in boots {
        let mut span: Option<(i64, i64)> = None;
        let mut join = |(first, last): (Option<i64>, Option<i64>)| {
            let (Some(first), Some(last)) = (first, last) else {
                return;
            };
            let (from, to) = span.unwrap_or((first, last));
            span = Some((from.min(first), to.max(last)));
        };
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let fresh = conn
            .prepare_cached(
                "SELECT min(first), max(last) FROM record
                 WHERE gateway = ?1 AND boot = ?2 AND last >= ?3 AND first <= ?4",
            )
            .and_then(|statement| {
                let key = params![gateway, boot, range.from.0, range.to.0];
                statement.query_row(key, read)
            });
        join(fresh.map_err(&fail)?);
        for table in &tables {
            let sql = format!(
                "SELECT min(first), max(last) FROM \"{table}\"
                 WHERE boot = ?1 AND series = ?2 AND last >= ?3 AND first <= ?4"
            );
            let packed = conn.prepare_cached(&sql).and_then(|statement| {
                let key = params![boot, series.id.0, range.from.0, range.to.0];
                statement.query_row(key, read)
            });
            join(packed.map_err(&fail)?);
        }
        all.extend(span.map(|(from, to)| Estimated {
            from: Timestamp(from),
            to: Timestamp(to),
            uncertainty: Duration::from_nanos(uncertainty.cast_unsigned()),
        }));
    }
    all.sort_by_key(|span| span.from);
    all.truncate(MAX_ESTIMATED);
    Ok(all)
}
