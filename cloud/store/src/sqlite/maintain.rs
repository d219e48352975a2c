//! [`Maintain`] on SQLite: plans a step on a snapshot, has the writer apply it in one transaction.

use super::compact::{self, Change, Minutes, NewBlock};
use super::fold::RecordRow;
use super::retention::{self, Tidy};
use super::retime;
use super::row::{failed, rollup_params, to_sql};
use super::schema::{make_week, minute_table, week_of_hour};
use super::threads::WriterState;
use super::{SqliteStore, claims, draw_generation, read};
use crate::block::HOUR_NS;
use crate::derived::GatewayDerived;
use crate::error::StoreError;
use crate::failpoint;
use crate::ingest::QuarantineInput;
use crate::maintain::{MaintainReport, MaintainStep};
use crate::store::Maintain;
use crate::summary::Summary;
use async_trait::async_trait;
use protocols_model::{LossReason, Timestamp};
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, params, params_from_iter};
use std::sync::atomic::Ordering;

/// A planned step.
enum Step {
    Retime(retime::Step),
    Compact(Box<Change>),
    Expire(i64),
    Tidy(Tidy),
}

#[async_trait]
impl Maintain for SqliteStore {
    async fn maintain(&self, now: Timestamp) -> Result<MaintainStep, StoreError> {
        self.serving()?;
        let mut tidy = self.maintaining.lock().await;
        let limits = self.shared.limits.clone();
        let begun = *tidy;
        let plan = move |conn: &Connection| {
            if let Some(step) = retime::plan(conn, limits.retention)? {
                return Ok(Some(Step::Retime(step)));
            }
            let after = limits.compact_after;
            if let Some(change) = compact::plan(conn, now, after, limits.retention)? {
                return Ok(Some(Step::Compact(Box::new(change))));
            }
            let oldest = now.minus(limits.retention);
            if let Some(week) = retention::expired_week(conn, oldest)? {
                return Ok(Some(Step::Expire(week)));
            }
            Ok(begun.is_due(now).then_some(Step::Tidy(begun)))
        };
        let Some(step) = self.background.call(plan).await? else {
            return Ok(MaintainStep::Idle);
        };
        let apply = move |state: &mut WriterState| apply(state, step, now);
        if let Some(done) = self.writer.call(apply).await? {
            *tidy = done;
        }
        Ok(MaintainStep::Worked)
    }

    async fn maintain_report(&self) -> Result<MaintainReport, StoreError> {
        let read = |state: &mut WriterState| {
            let rows: i64 = state
                .conn
                .query_row("SELECT count(*) FROM record", [], |row| row.get(0))
                .map_err(failed("counting records"))?;
            Ok(MaintainReport {
                record_rows: rows.unsigned_abs(),
                ..state.report
            })
        };
        self.writer.call(read).await
    }

    async fn restored(&self) -> Result<u64, StoreError> {
        self.serving()?;
        let write = |state: &mut WriterState| {
            let generation = draw_generation()?;
            state
                .conn
                .execute(
                    "UPDATE meta SET value = ?1 WHERE key = 'generation'",
                    [generation.cast_signed()],
                )
                .map_err(failed("drawing a generation"))?;
            state.shared.generation.store(generation, Ordering::Relaxed);
            Ok(generation)
        };
        self.writer.call(write).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        let serving = self.serving().is_ok();
        let write = move |state: &mut WriterState| {
            if serving {
                write_all_down(state)?;
            }
            state
                .conn
                .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
                .map_err(failed("closing the database"))
        };
        let done = self.writer.call(write).await;
        self.writer.close();
        done
    }
}

/// Writes down every gateway's state. Correctness does not need it: the next start is faster.
fn write_all_down(state: &mut WriterState) -> Result<(), StoreError> {
    let fail = failed("writing latest values down");
    let tx = state.conn.transaction().map_err(&fail)?;
    for (gateway, derived) in state.shared.derived().iter() {
        write_down(&tx, *gateway, derived).map_err(&fail)?;
    }
    tx.commit().map_err(&fail)?;
    for derived in state.shared.derived_mut().values_mut() {
        for series in derived.series.values_mut() {
            series.dirty = false;
        }
    }
    Ok(())
}

/// Applies a step; the look-through tells how far it has come.
fn apply(state: &mut WriterState, step: Step, now: Timestamp) -> Result<Option<Tidy>, StoreError> {
    let fail = failed("maintaining the database");
    let begun = std::time::Instant::now();
    let limits = state.shared.limits.clone();
    let mut report = state.report;
    let (mut tidied, mut flushed) = (None, None);
    let tx = state
        .conn
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .map_err(&fail)?;
    match step {
        Step::Retime(retime::Step::Records(records)) => {
            report.retimed += records.len() as u64;
            for record in records {
                tx.prepare_cached(
                    "UPDATE record SET shift = ?2, first = ?3, last = ?4 WHERE id = ?1",
                )
                .and_then(|mut update| {
                    update.execute(params![
                        record.id,
                        record.shift,
                        record.span.map(|(first, _)| first.0),
                        record.span.map(|(_, last)| last.0),
                    ])
                })
                .map_err(&fail)?;
            }
        }
        Step::Retime(retime::Step::Done { gateway, map }) => {
            tx.execute(
                "UPDATE time_map SET pending = 0 WHERE gateway = ?1 AND boot = ?2 AND origin = ?3
                   AND uncertainty = ?4",
                params![
                    gateway,
                    map.boot.0.cast_signed(),
                    map.origin.0,
                    map.uncertainty_ns.cast_signed()
                ],
            )
            .map_err(&fail)?;
        }
        Step::Retime(retime::Step::Blocks(change)) => {
            report.retimed += change.retimed;
            write_change(&tx, &change).map_err(&fail)?;
        }
        Step::Compact(change) => {
            write_change(&tx, &change).map_err(&fail)?;
            for (record, why) in &change.damaged {
                give_up(&tx, record, why, limits.quarantine_per_gateway)?;
            }
            if let Some(gateway) = change.gateway {
                if let Some(derived) = state.shared.derived().get(&gateway) {
                    write_down(&tx, gateway, derived).map_err(&fail)?;
                }
                flushed = Some(gateway);
            }
            report.compacted_records += change.drop_records.len() as u64;
            report.compacted_samples += change.samples;
            report.blocks += change.blocks.len() as u64;
        }
        Step::Expire(week) => {
            report.dropped_weeks += u64::from(retention::shrink_week(&tx, week)?);
        }
        Step::Tidy(tidy) => {
            tidied = Some(tidy.step(&tx, now, limits.retention, limits.rollup_retention)?);
        }
    }
    failpoint::hit(failpoint::COMPACT);
    tx.commit().map_err(&fail)?;
    if let Some(gateway) = flushed
        && let Some(derived) = state.shared.derived_mut().get_mut(&gateway)
    {
        for series in derived.series.values_mut() {
            series.dirty = false;
        }
    }
    report.busy += begun.elapsed();
    state.report = report;
    Ok(tidied)
}

/// Sets a damaged row aside and enters its record as lost; it may come again and be stored.
fn give_up(conn: &Connection, record: &RecordRow, why: &str, most: u64) -> Result<(), StoreError> {
    tracing::error!(
        why,
        "a damaged record is set aside and entered in the ledger"
    );
    let key = record.key;
    let input = QuarantineInput {
        gateway: None,
        topic: format!("record {} {} {}", key.epoch, key.lane, key.seq),
        payload: record.body.clone(),
        reason: why.to_owned(),
        received: record.received,
    };
    read::set_aside(conn, record.gateway, &input, most)?;
    claims::by_cloud(
        conn,
        record.gateway,
        key,
        LossReason::Damaged,
        record.received,
    )?;
    conn.execute(
        "UPDATE cursor SET has_lost = 1 WHERE gateway = ?1 AND epoch = ?2 AND lane = ?3",
        params![
            record.gateway,
            key.epoch.0.cast_signed(),
            key.lane.to_index()
        ],
    )
    .map(drop)
    .map_err(failed("giving a damaged record up"))
}

fn write_change(conn: &Connection, change: &Change) -> rusqlite::Result<()> {
    for (table, id) in &change.drop_blocks {
        let sql = format!("DELETE FROM \"{table}\" WHERE id = ?1");
        conn.prepare_cached(&sql)?.execute([id])?;
    }
    for block in &change.blocks {
        insert_block(conn, block)?;
    }
    for Minutes {
        series,
        hour,
        rollups,
    } in &change.minutes
    {
        make_week(conn, week_of_hour(*hour))?;
        let table = minute_table(week_of_hour(*hour));
        let start = hour * HOUR_NS;
        let sql =
            format!("DELETE FROM \"{table}\" WHERE series = ?1 AND start >= ?2 AND start < ?3");
        conn.prepare_cached(&sql)?
            .execute(params![series, start, start + HOUR_NS])?;
        for (start, summary) in rollups {
            put_rollup(conn, &table, (*series, *start), summary)?;
        }
    }
    for (table, rollups) in [("rollup_hour", &change.hours), ("rollup_day", &change.days)] {
        for (key, summary) in rollups {
            match summary {
                Some(summary) => put_rollup(conn, table, *key, summary)?,
                None => {
                    let sql = format!("DELETE FROM {table} WHERE series = ?1 AND start = ?2");
                    conn.prepare_cached(&sql)?.execute([key.0, key.1])?;
                }
            }
        }
    }
    let mut delete = conn.prepare_cached("DELETE FROM record WHERE id = ?1")?;
    for id in &change.drop_records {
        delete.execute([id])?;
    }
    Ok(())
}

fn insert_block(conn: &Connection, block: &NewBlock) -> rusqlite::Result<()> {
    if !block.place.suspect {
        make_week(conn, week_of_hour(block.place.hour))?;
    }
    let summary = &block.summary;
    let sql = format!(
        "INSERT INTO \"{}\" (series, hour, first, last, received, boot, clock_offset, shift, count,
           bad, valued, sum, min, max, first_value, last_value, data)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
        block.place.table()
    );
    conn.prepare_cached(&sql)?.execute(params![
        block.place.series,
        block.place.hour,
        block.first.0,
        block.last.0,
        block.received.0,
        block.setting.boot.0.cast_signed(),
        block.setting.offset,
        block.setting.shift,
        summary.count.cast_signed(),
        summary.bad.cast_signed(),
        summary.valued.cast_signed(),
        summary.sum,
        to_sql(summary.min.as_ref()),
        to_sql(summary.max.as_ref()),
        to_sql(summary.first.as_ref().map(|(_, value)| value)),
        to_sql(summary.last.as_ref().map(|(_, value)| value)),
        block.data,
    ])?;
    Ok(())
}

fn put_rollup(
    conn: &Connection,
    table: &str,
    (series, start): (i64, i64),
    summary: &Summary,
) -> rusqlite::Result<()> {
    let sql = format!(
        "INSERT OR REPLACE INTO \"{table}\" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11,
           ?12, ?13)"
    );
    let key = [Sql::Integer(series), Sql::Integer(start)];
    conn.prepare_cached(&sql)?.execute(params_from_iter(
        key.into_iter().chain(rollup_params(summary)),
    ))?;
    Ok(())
}

/// Writes down the latest values and counts of a gateway: everything that is committed is in them,
/// so afterwards its records may go.
fn write_down(conn: &Connection, gateway: i64, state: &GatewayDerived) -> rusqlite::Result<()> {
    let mut put = conn.prepare_cached(
        "INSERT OR REPLACE INTO series_state VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    for (id, series) in state.series.iter().filter(|(_, series)| series.dirty) {
        let latest = series.latest.as_ref();
        let confirmed = latest.and_then(|latest| latest.confirmed);
        put.execute(params![
            id,
            series.stored.cast_signed(),
            series.filtered.cast_signed(),
            latest.map(|latest| latest.time.0),
            latest.map(|latest| latest.received.0),
            latest.map(|latest| latest.quality.to_code()),
            latest
                .and_then(|latest| latest.last_good)
                .map(|time| time.0),
            latest.map(|latest| latest.suspect),
            to_sql(latest.and_then(|latest| latest.value.as_ref())),
            confirmed.map(|confirmed| confirmed.at.0),
            confirmed.map(|confirmed| confirmed.received.0),
        ])?;
    }
    conn.prepare_cached(
        "INSERT OR REPLACE INTO gateway_state VALUES
           (?1, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'record'), 0), ?2, ?3)",
    )?
    .execute(params![
        gateway,
        state.newest_sample.map(|time| time.0),
        state.newest_received.map(|time| time.0),
    ])?;
    Ok(())
}
