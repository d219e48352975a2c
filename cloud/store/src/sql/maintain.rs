//! [`Maintain`]: plans a step on a snapshot, applies it in one transaction.

use super::compact::{self, Change, Minutes, NewBlock};
use super::db::{Arg, Connection, DbResult, params};
use super::fold::RecordRow;
use super::retention::{self, Tidy};
use super::retime;
use super::row::{failed, optional, rollup_args};
use super::threads::{Work, Worker};
use super::week::{make_week, minute_table, week_of_hour};
use super::{Limits, SqlStore, claims, read};
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
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// A planned step.
enum Step {
    Retime(retime::Step),
    Compact(Box<Change>),
    Expire(i64),
    Tidy(Tidy),
}

#[async_trait]
impl<E: Send + Sync + 'static> Maintain for SqlStore<E> {
    async fn maintain(&self, now: Timestamp) -> Result<MaintainStep, StoreError> {
        self.shared.engine.serving()?;
        let mut tidy = self.maintaining.lock().await;
        let begun = *tidy;
        let Some(planned) = self
            .planner
            .call(move |worker| plan(worker, begun, now))
            .await?
        else {
            return Ok(MaintainStep::Idle);
        };
        let apply = move |worker: &mut Worker| apply(worker, planned, now);
        if let Some(done) = self.maintainer.call(apply).await? {
            *tidy = done;
        }
        Ok(MaintainStep::Worked)
    }

    async fn maintain_report(&self) -> Result<MaintainReport, StoreError> {
        let count = |conn: &Connection| {
            conn.query_row("SELECT count(*) FROM record", [0_i64; 0], |row| row.get(0))
                .map(i64::unsigned_abs)
                .map_err(failed("counting records"))
        };
        let record_rows = self.read(count).await?;
        Ok(MaintainReport {
            record_rows,
            ..*self.shared.report()
        })
    }

    async fn restored(&self) -> Result<u64, StoreError> {
        self.shared.engine.serving()?;
        let doing = "drawing a generation";
        let generation = crate::generation::draw()?;
        let write = move |conn: &Connection| {
            conn.execute(
                "UPDATE meta SET value = ?1 WHERE key = ?2",
                params![generation.cast_signed(), "generation"],
            )
            .map(drop)
            .map_err(failed(doing))
        };
        self.write(doing, write).await?;
        self.shared.generation.store(generation, Ordering::Relaxed);
        Ok(generation)
    }

    async fn close(&self) -> Result<(), StoreError> {
        let finish = |worker: &mut Worker| {
            let engine = &worker.shared.engine;
            if engine.is_alone() && engine.serving().is_ok() {
                write_all_down(worker)?;
            }
            worker.link.close()
        };
        let done = self.writers.call(finish).await;
        self.writers.close();
        self.maintainer.close();
        done
    }
}

/// The next step, where maintenance is this process' to do, and under which election.
fn plan(
    worker: &mut Worker,
    begun: Tidy,
    now: Timestamp,
) -> Result<Option<(Step, u64)>, StoreError> {
    let Some(elected) = worker.link.elect()? else {
        return Ok(None);
    };
    let limits = worker.shared.limits.clone();
    let step = worker.read(|conn| {
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
    })?;
    Ok(step.map(|step| (step, elected)))
}

/// Writes down every gateway's state. Correctness does not need it: the next start is faster.
fn write_all_down(worker: &mut Worker) -> Result<(), StoreError> {
    let doing = "writing latest values down";
    worker.write(doing, |work| {
        for (gateway, derived) in work.shared.derived().iter() {
            write_down(work.conn, *gateway, derived).map_err(failed(doing))?;
        }
        Ok(())
    })?;
    for derived in worker.shared.derived_mut().values_mut() {
        clean(derived);
    }
    Ok(())
}

fn clean(derived: &mut GatewayDerived) {
    for series in derived.series.values_mut() {
        series.dirty = false;
    }
}

/// Applies a step; the look-through tells how far it has come.
fn apply(
    worker: &mut Worker,
    (step, elected): (Step, u64),
    now: Timestamp,
) -> Result<Option<Tidy>, StoreError> {
    if worker.link.elect()? != Some(elected) {
        return Ok(None); // somebody else may have worked since: plan anew
    }
    let begun = std::time::Instant::now();
    let limits = worker.shared.limits.clone();
    let mut report = *worker.shared.report();
    let tidied = worker.write("maintaining the database", |work| {
        let tidied = step.apply(work, &limits, &mut report, now)?;
        failpoint::hit(failpoint::COMPACT);
        Ok(tidied)
    })?;
    // Elsewhere memory may have moved on since; what is written down twice is written down right.
    if worker.shared.engine.is_alone()
        && let Step::Compact(change) = &step
        && let Some(gateway) = change.gateway
        && let Some(derived) = worker.shared.derived_mut().get_mut(&gateway)
    {
        clean(derived);
    }
    report.busy += begun.elapsed();
    *worker.shared.report() = report;
    Ok(tidied)
}

impl Step {
    fn apply(
        &self,
        work: &mut Work<'_>,
        limits: &Limits,
        report: &mut MaintainReport,
        now: Timestamp,
    ) -> Result<Option<Tidy>, StoreError> {
        let fail = failed("maintaining the database");
        let conn = work.conn;
        match self {
            Self::Retime(retime::Step::Records { gateway, records }) => {
                hold(conn, *gateway)?;
                report.retimed += records.len() as u64;
                let time =
                    |time: Option<Timestamp>| time.map_or(Arg::Null, |time| Arg::Int(time.0));
                let rows: Vec<Vec<Arg<'_>>> = records
                    .iter()
                    .map(|record| {
                        vec![
                            Arg::Int(record.id),
                            Arg::Int(record.shift),
                            time(record.span.map(|(first, _)| first)),
                            time(record.span.map(|(_, last)| last)),
                        ]
                    })
                    .collect();
                conn.execute_many(
                    "UPDATE record SET shift = ?2, first = ?3, last = ?4 WHERE id = ?1",
                    &rows,
                )
                .map_err(fail)?;
            }
            Self::Retime(retime::Step::Done { gateway, map }) => {
                hold(conn, *gateway)?;
                conn.execute(
                    "UPDATE time_map SET pending = 0 WHERE gateway = ?1 AND boot = ?2
                       AND origin = ?3 AND uncertainty = ?4",
                    params![
                        *gateway,
                        map.boot.0.cast_signed(),
                        map.origin.0,
                        map.uncertainty_ns.cast_signed()
                    ],
                )
                .map_err(fail)?;
            }
            Self::Retime(retime::Step::Blocks(change)) => {
                report.retimed += change.retimed;
                write_change(conn, change).map_err(fail)?;
            }
            Self::Compact(change) => {
                if let Some(gateway) = change.gateway {
                    hold(conn, gateway)?;
                    // Before its records go: then everything that is committed is in it.
                    let write = |state: &GatewayDerived| write_down(conn, gateway, state);
                    work.shared
                        .with_derived(conn, gateway, write)?
                        .map_err(fail)?;
                }
                write_change(conn, change).map_err(fail)?;
                for (record, why) in &change.damaged {
                    give_up(conn, record, why, limits.quarantine_per_gateway)?;
                }
                report.compacted_records += change.drop_records.len() as u64;
                report.compacted_samples += change.samples;
                report.blocks += change.blocks.len() as u64;
            }
            Self::Expire(week) => {
                report.dropped_weeks += u64::from(retention::shrink_week(conn, *week)?);
            }
            Self::Tidy(tidy) => {
                let done = tidy.step(conn, now, limits.retention, limits.rollup_retention)?;
                return Ok(Some(done));
            }
        }
        Ok(None)
    }
}

/// Lets no other transaction write of the gateway until this one ends.
fn hold(conn: &Connection, gateway: i64) -> Result<(), StoreError> {
    if conn.is_shared() {
        let sql = format!("SELECT 1 FROM gateway WHERE id = ?1{}", conn.lock_rows());
        conn.prepare_cached(&sql)
            .and_then(|statement| statement.exists([gateway]))
            .map_err(failed("holding a gateway"))?;
    }
    Ok(())
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

fn write_change(conn: &Connection, change: &Change) -> DbResult<()> {
    drop_rows(conn, change)?;
    insert_blocks(conn, &change.blocks)?;
    write_minutes(conn, &change.minutes)?;
    write_rollups(conn, "rollup_hour", &change.hours)?;
    write_rollups(conn, "rollup_day", &change.days)
}

/// Deletes the blocks and records that others take the place of.
fn drop_rows(conn: &Connection, change: &Change) -> DbResult<()> {
    let mut by_table: BTreeMap<&str, Vec<Vec<Arg<'_>>>> = BTreeMap::new();
    for (table, id) in &change.drop_blocks {
        by_table.entry(table).or_default().push(vec![Arg::Int(*id)]);
    }
    let records = change.drop_records.iter().map(|id| vec![Arg::Int(*id)]);
    by_table.entry("record").or_default().extend(records);
    for (table, ids) in by_table {
        let sql = format!("DELETE FROM \"{table}\" WHERE id = ?1");
        conn.execute_many(&sql, &ids)?;
    }
    Ok(())
}

fn insert_blocks(conn: &Connection, blocks: &[NewBlock]) -> DbResult<()> {
    let mut by_table: BTreeMap<String, Vec<Vec<Arg<'_>>>> = BTreeMap::new();
    for block in blocks {
        if !block.place.suspect {
            make_week(conn, week_of_hour(block.place.hour))?;
        }
        let summary = &block.summary;
        by_table.entry(block.place.table()).or_default().push(vec![
            Arg::Int(block.place.series),
            Arg::Int(block.place.hour),
            Arg::Int(block.first.0),
            Arg::Int(block.last.0),
            Arg::Int(block.received.0),
            Arg::Int(block.setting.boot.0.cast_signed()),
            Arg::Int(block.setting.offset),
            Arg::Int(block.setting.shift),
            Arg::Int(summary.count.cast_signed()),
            Arg::Int(summary.bad.cast_signed()),
            Arg::Int(summary.valued.cast_signed()),
            Arg::Real(summary.sum),
            optional(summary.min.as_ref()),
            optional(summary.max.as_ref()),
            optional(summary.first.as_ref().map(|(_, value)| value)),
            optional(summary.last.as_ref().map(|(_, value)| value)),
            Arg::Blob(&block.data),
        ]);
    }
    for (table, rows) in by_table {
        let sql = format!(
            "INSERT INTO \"{table}\" (series, hour, first, last, received, boot, clock_offset,
               shift, count, bad, valued, sum, min, max, first_value, last_value, data) VALUES
               (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)"
        );
        conn.execute_many(&sql, &rows)?;
    }
    Ok(())
}

/// All minutes of an hour take the place of those before.
fn write_minutes(conn: &Connection, minutes: &[Minutes]) -> DbResult<()> {
    let mut by_week: BTreeMap<i64, Vec<&Minutes>> = BTreeMap::new();
    for hour in minutes {
        by_week
            .entry(week_of_hour(hour.hour))
            .or_default()
            .push(hour);
    }
    for (week, hours) in by_week {
        make_week(conn, week)?;
        let table = minute_table(week);
        let spans: Vec<Vec<Arg<'_>>> = hours
            .iter()
            .map(|minutes| {
                let start = minutes.hour * HOUR_NS;
                [minutes.series, start, start + HOUR_NS]
                    .map(Arg::Int)
                    .to_vec()
            })
            .collect();
        let sql =
            format!("DELETE FROM \"{table}\" WHERE series = ?1 AND start >= ?2 AND start < ?3");
        conn.execute_many(&sql, &spans)?;
        let rows: Vec<Vec<Arg<'_>>> = hours
            .iter()
            .flat_map(|minutes| {
                let series = minutes.series;
                minutes
                    .rollups
                    .iter()
                    .map(move |(start, summary)| rollup_row((series, *start), summary))
            })
            .collect();
        put_rollups(conn, &table, &rows)?;
    }
    Ok(())
}

fn write_rollups(
    conn: &Connection,
    table: &str,
    rollups: &BTreeMap<(i64, i64), Option<Summary>>,
) -> DbResult<()> {
    let mut gone = Vec::new();
    let mut rows = Vec::new();
    for (key, summary) in rollups {
        match summary {
            Some(summary) => rows.push(rollup_row(*key, summary)),
            None => gone.push(vec![Arg::Int(key.0), Arg::Int(key.1)]),
        }
    }
    let sql = format!("DELETE FROM {table} WHERE series = ?1 AND start = ?2");
    conn.execute_many(&sql, &gone)?;
    put_rollups(conn, table, &rows)
}

fn rollup_row((series, start): (i64, i64), summary: &Summary) -> Vec<Arg<'_>> {
    let mut row = vec![Arg::Int(series), Arg::Int(start)];
    row.extend(rollup_args(summary));
    row
}

fn put_rollups(conn: &Connection, table: &str, rows: &[Vec<Arg<'_>>]) -> DbResult<()> {
    let sql = format!(
        "INSERT INTO \"{table}\" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
         ON CONFLICT (series, start) DO UPDATE SET count = excluded.count, bad = excluded.bad,
           valued = excluded.valued, sum = excluded.sum, min = excluded.min, max = excluded.max,
           first_time = excluded.first_time, first_value = excluded.first_value,
           last_time = excluded.last_time, last_value = excluded.last_value,
           bad_quality = excluded.bad_quality"
    );
    conn.execute_many(&sql, rows)
}

/// Writes down the latest values and counts of a gateway: everything that is committed is in them,
/// so afterwards its records may go.
fn write_down(conn: &Connection, gateway: i64, state: &GatewayDerived) -> DbResult<()> {
    let time = |time: Option<Timestamp>| time.map_or(Arg::Null, |time| Arg::Int(time.0));
    let rows: Vec<Vec<Arg<'_>>> = state
        .series
        .iter()
        .filter(|(_, series)| series.dirty)
        .map(|(id, series)| {
            let latest = series.latest.as_ref();
            let confirmed = latest.and_then(|latest| latest.confirmed);
            vec![
                Arg::Int(*id),
                Arg::Int(series.stored.cast_signed()),
                Arg::Int(series.filtered.cast_signed()),
                time(latest.map(|latest| latest.time)),
                time(latest.map(|latest| latest.received)),
                latest.map_or(Arg::Null, |latest| {
                    Arg::Int(latest.quality.to_code().into())
                }),
                time(latest.and_then(|latest| latest.last_good)),
                latest.map_or(Arg::Null, |latest| Arg::Int(latest.suspect.into())),
                optional(latest.and_then(|latest| latest.value.as_ref())),
                time(confirmed.map(|confirmed| confirmed.at)),
                time(confirmed.map(|confirmed| confirmed.received)),
            ]
        })
        .collect();
    conn.execute_many(
        "INSERT INTO series_state VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT (series) DO UPDATE SET stored = excluded.stored,
           filtered = excluded.filtered, time = excluded.time, received = excluded.received,
           quality = excluded.quality, last_good = excluded.last_good,
           suspect = excluded.suspect, value = excluded.value, confirmed = excluded.confirmed,
           confirmed_received = excluded.confirmed_received",
        &rows,
    )?;
    let newest: i64 = conn.query_row(
        "SELECT coalesce(max(id), 0) FROM record WHERE gateway = ?1",
        [gateway],
        |row| row.get(0),
    )?;
    conn.execute(
        "INSERT INTO gateway_state VALUES (?1, ?2, ?3, ?4) ON CONFLICT (gateway) DO UPDATE SET
           through = CASE WHEN gateway_state.through > excluded.through
             THEN gateway_state.through ELSE excluded.through END,
           newest_sample = excluded.newest_sample, newest_received = excluded.newest_received",
        params![
            gateway,
            newest,
            state.newest_sample.map(|time| time.0),
            state.newest_received.map(|time| time.0),
        ],
    )
    .map(drop)
}
