//! Correcting times after the fact: a time map came for a boot whose records are stored already
//! (design.md C9).
//!
//! Steps of bounded work until nothing of the boot disagrees with the map; what a step corrected
//! agrees, so the work ends. Records first, then the suspect partition (where samples of a clock
//! that was never set wait), then every week.

use super::compact::{Change, Fresh, Place, Setting, place, rebuild};
use super::db::{Connection, OptionalExtension, params};
use super::fold::{self, BLOCK_COLUMNS, BlockRow, RECORD_COLUMNS, RecordRow, SUSPECT};
use super::row::failed;
use crate::digest::digest;
use crate::error::StoreError;
use crate::stamp;
use protocols_model::{BootId, Timestamp};
use protocols_wire::{Body, Record, TimeMap};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

/// Most records corrected in a step.
const STEP_RECORDS: usize = 256;
/// Most blocks corrected in a step.
const STEP_BLOCKS: usize = 64;

/// A record row with its corrected times.
#[derive(Debug)]
pub(super) struct Retimed {
    pub(super) id: i64,
    pub(super) shift: i64,
    pub(super) span: Option<(Timestamp, Timestamp)>,
}

/// The next step.
#[derive(Debug)]
pub(super) enum Step {
    Records {
        gateway: i64,
        records: Vec<Retimed>,
    },
    Blocks(Box<Change>),
    /// Nothing of the boot disagrees any more, if the map is still this one.
    Done {
        gateway: i64,
        map: TimeMap,
    },
}

/// The next step of the oldest pending time map.
pub(super) fn plan(conn: &Connection, retention: Duration) -> Result<Option<Step>, StoreError> {
    let pending = conn
        .prepare_cached(
            "SELECT gateway, boot, origin, uncertainty FROM time_map WHERE pending = 1
             ORDER BY received LIMIT 1",
        )
        .and_then(|statement| {
            statement
                .query_row([0_i64; 0], |row| {
                    let map = TimeMap {
                        boot: BootId(row.get::<i64>(1)?.cast_unsigned()),
                        origin: Timestamp(row.get(2)?),
                        uncertainty_ns: row.get::<i64>(3)?.cast_unsigned(),
                    };
                    Ok((row.get::<i64>(0)?, map))
                })
                .optional()
        })
        .map_err(failed("looking for time maps"))?;
    let Some((gateway, map)) = pending else {
        return Ok(None);
    };
    let records = records(conn, gateway, &map, retention)?;
    if !records.is_empty() {
        return Ok(Some(Step::Records { gateway, records }));
    }
    if let Some(change) = blocks(conn, gateway, &map, retention)? {
        return Ok(Some(Step::Blocks(Box::new(change))));
    }
    Ok(Some(Step::Done { gateway, map }))
}

fn records(
    conn: &Connection,
    gateway: i64,
    map: &TimeMap,
    retention: Duration,
) -> Result<Vec<Retimed>, StoreError> {
    let fail = failed("reading records to correct");
    let sql = format!("SELECT {RECORD_COLUMNS} FROM record WHERE gateway = ?1 AND boot = ?2");
    let statement = conn.prepare_cached(&sql).map_err(fail)?;
    let mut all = Vec::new();
    let key = params![gateway, map.boot.0.cast_signed()];
    statement.each_until(key, fail, |row| {
        let row = RecordRow::read(row).map_err(fail)?;
        let shift = stamp::shift(Some(map), row.offset);
        if shift == row.shift {
            return Ok(ControlFlow::Continue(()));
        }
        let span = match Record::decode(&row.body) {
            Ok(Record {
                stamp,
                body: Body::Telemetry(telemetry),
            }) => digest(stamp, &telemetry, Some(map), row.received, retention).span,
            _ => None,
        };
        all.push(Retimed {
            id: row.id,
            shift,
            span,
        });
        Ok(if all.len() == STEP_RECORDS {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    })?;
    Ok(all)
}

fn blocks(
    conn: &Connection,
    gateway: i64,
    map: &TimeMap,
    retention: Duration,
) -> Result<Option<Change>, StoreError> {
    let fail = failed("reading blocks to correct");
    let mut tables = vec![SUSPECT.to_owned()];
    tables.extend(fold::block_tables(conn, (i64::MIN, i64::MAX))?);
    let (mut fresh, mut removed) = (Fresh::new(), BTreeSet::new());
    for table in tables {
        let sql = format!(
            "SELECT {BLOCK_COLUMNS} FROM \"{table}\" WHERE boot = ?1
             AND series IN (SELECT id FROM series WHERE gateway = ?2)"
        );
        let statement = conn.prepare_cached(&sql).map_err(fail)?;
        let key = params![map.boot.0.cast_signed(), gateway];
        statement.each_until(key, fail, |row| {
            let block = BlockRow::read(row).map_err(fail)?;
            let shift = stamp::shift(Some(map), block.offset);
            if shift == block.shift {
                return Ok(ControlFlow::Continue(()));
            }
            let setting = Setting {
                boot: block.boot,
                offset: block.offset,
                shift,
            };
            let samples = match block.samples() {
                Ok(samples) => samples,
                Err(why) => {
                    tracing::error!(error = %why, "a damaged block keeps its times");
                    return Ok(ControlFlow::Continue(()));
                }
            };
            for sample in samples {
                place(
                    &mut fresh,
                    block.series,
                    setting,
                    block.received,
                    retention,
                    sample,
                );
            }
            if table != SUSPECT {
                // The hour it leaves gets new rollups too.
                let left = Place {
                    suspect: false,
                    series: block.series,
                    hour: block.hour,
                };
                fresh.entry(left).or_default();
            }
            removed.insert((table.clone(), block.id));
            Ok(if removed.len() == STEP_BLOCKS {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })?;
        if removed.len() == STEP_BLOCKS {
            break;
        }
    }
    if removed.is_empty() {
        return Ok(None);
    }
    let mut change = rebuild(conn, fresh, &removed)?;
    change.retimed = removed.len() as u64;
    Ok(Some(change))
}
